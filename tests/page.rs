//! The page-mapped engine, as its user sees it.
#![forbid(unsafe_code)]

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Geometry, Inspected};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
use nandimg::prng::SplitMix64;

fn fresh(page: u32, block: u32, blocks: u32) -> PageVolume<SimFlash> {
    let mut chip = SimFlash::new(Geometry::new(page, 0, block, blocks).unwrap());
    FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
    PageVolume::mount(chip, &Mount::default()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let mut volume = fresh(256, 2048, 64);
    assert!(volume.warnings().is_empty(), "{:?}", volume.warnings());
    let capacity = volume.capacity();
    let mut model = vec![0u8; capacity as usize];
    let mut rng = SplitMix64::new(1);
    volume.set_len(capacity).unwrap();
    for round in 0..3000 {
        let offset = rng.below(capacity - 700);
        let mut data = vec![0; rng.below(700) as usize];
        rng.fill(&mut data);
        volume.write(offset, &data).unwrap();
        model[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
        if rng.below(3) == 0 {
            volume.sync().unwrap();
        }
        if rng.below(100) == 0 {
            volume.end().unwrap();
            let chip = volume.into_flash();
            volume = PageVolume::mount(chip, &Mount::default()).unwrap();
            assert_eq!(volume.warnings(), &[] as &[String], "round {round}");
        } else if rng.below(100) == 0 {
            volume.sync().unwrap();
            let chip = volume.into_flash();
            volume = PageVolume::mount(chip, &Mount::default()).unwrap();
        }
        if round % 100 == 0 {
            let mut found = vec![0; capacity as usize];
            volume.read(0, &mut found).unwrap();
            assert!(found == model, "round {round}");
        }
    }
}

/// With pages that need not be written again, nothing but the length changes, and then it does not.
#[test]
fn a_length_that_comes_back_is_the_length() {
    let mut volume = fresh(256, 2048, 64);
    volume.write(0, &[0; 1000]).unwrap();
    volume.sync().unwrap();
    volume.set_len(900).unwrap();
    volume.set_len(1000).unwrap();
    volume.end().unwrap();
    let volume = PageVolume::mount(volume.into_flash(), &Mount::default()).unwrap();
    assert_eq!(volume.len(), 1000);
}

/// However little of the map is kept in memory: where one ends, the next is looked into and it is taken again.
#[test]
fn a_long_read_takes_each_page_of_the_map_a_few_times() {
    let mut volume = fresh(256, 2048, 256);
    let pages = volume.capacity() / 256;
    for page in 0..pages {
        // Scattered, so that the map is written: in order, the log says it in less.
        volume.write(page * 7 % pages * 256, &[page as u8 | 1; 256]).unwrap();
        if page % 16 == 15 {
            volume.sync().unwrap();
        }
    }
    volume.end().unwrap();
    let chip = volume.into_flash();
    let map_pages =
        u64::from(PageVolume::mount(Inspected(&chip), &Mount::for_reading()).unwrap().layout().map_pages());
    for cached_map_pages in [0, 1, usize::MAX] {
        let volume =
            PageVolume::mount(Inspected(&chip), &Mount { cached_map_pages, ..Mount::for_reading() }).unwrap();
        let before = chip.counts().page_reads;
        let mut found = vec![0; volume.capacity() as usize];
        volume.read(0, &mut found).unwrap();
        let read = (chip.counts().page_reads - before) as u64;
        assert!(
            (pages..=pages + 3 * map_pages).contains(&read),
            "{read} pages read for {pages} and {map_pages} of the map"
        );
    }
}
