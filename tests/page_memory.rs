//! What a mounted page-mapped volume holds in memory is bounded by a setting, however much is written.

#![forbid(unsafe_code)]

use nandimg::flash::Geometry;
use nandimg::flash::sim::SimFlash;
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Layout, Mount, PageVolume};
use nandimg::prng::SplitMix64;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const PAGE: usize = 2048;

fn geometry(blocks: u32) -> Geometry {
    Geometry::new(PAGE as u32, 0, 64 * PAGE as u32, blocks).unwrap()
}

/// The most bytes that the engine holds at once while a volume is filled and then overwritten at random, three times its size, with
/// a sync each so many pages, and while it is mounted and read; the chip apart.
fn peak(blocks: u32, cached_map_pages: usize, sync_each: u64) -> usize {
    let mut chip = SimFlash::new(geometry(blocks));
    FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
    let options = Mount { cached_map_pages, ..Mount::default() };
    let (mut rng, mut page) = (SplitMix64::new(1), vec![0; PAGE]);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut volume = PageVolume::mount(&mut chip, &options).unwrap();
    let pages = volume.capacity() / PAGE as u64;
    for n in 0..4 * pages {
        let logical = if n < pages { n } else { rng.below(pages) };
        page[..8].copy_from_slice(&n.to_le_bytes());
        volume.write(logical * PAGE as u64, &page).unwrap();
        if n % sync_each == sync_each - 1 {
            volume.sync().unwrap();
        }
    }
    volume.end().unwrap();
    drop(volume);
    let volume = PageVolume::mount(&mut chip, &options).unwrap();
    (0..pages).for_each(|logical| volume.read(logical * PAGE as u64, &mut page).unwrap());
    MEMORY.peak_usage() - before
}

/// Bytes that a transaction takes, each page of it; that what changed since the last checkpoint takes, each change; of a block table, each block; and all else.
const STAGED: u64 = 140;
const CHANGE: u64 = 40;
const BLOCK: u64 = 24;
const REST: u64 = 4096;

#[test]
fn what_a_volume_holds_in_memory_is_bounded() {
    for blocks in [256, 512] {
        let layout = Layout::of_chip(&geometry(blocks)).unwrap().with_capacity(0, 7).unwrap();
        let always = CHANGE * layout.most_changes() + BLOCK * u64::from(blocks) + REST;
        let bound = |cached: u64| always + cached * PAGE as u64;
        let map = u64::from(layout.map_pages());
        for cached in [0, 4, 32] {
            let held = peak(blocks, cached as usize, 64) as u64;
            println!(
                "{blocks} blocks, {cached} of {map} map pages: {held} bytes of {} at most",
                bound(cached)
            );
            assert!(held <= bound(cached), "{held} bytes with {cached} map pages, of {}", bound(cached));
        }
        let held = peak(blocks, usize::MAX, 64) as u64;
        assert!((bound(map / 2)..=bound(map)).contains(&held), "{held} bytes with all {map} map pages");
    }

    let (blocks, pages) = (256, 4096);
    let layout = Layout::of_chip(&geometry(blocks)).unwrap().with_capacity(0, 7).unwrap();
    let always = CHANGE * layout.most_changes() + BLOCK * u64::from(blocks) + REST;
    let held = peak(blocks, 0, pages) as u64;
    println!("{blocks} blocks, transactions of {pages} pages: {held} bytes");
    assert!((always + 1..=always + STAGED * pages).contains(&held), "{held} bytes, {always} without");
}
