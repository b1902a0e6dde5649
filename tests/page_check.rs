//! Checking a page-mapped volume over all cores says what checking it block by block says, and how far it is.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use nandimg::Result;
use nandimg::check::Checked;
use nandimg::check::page::{check, check_in_parallel};
use nandimg::flash::FlashHardware;
use nandimg::ftl::page::Mount;

use paged::{Chip, geometry, mount, spoil, used};

type Check = fn(&Chip, &mut dyn FnMut(u64, u64)) -> Result<Checked>;

/// What a check finds; it is told of more and more bytes, up to all of them: no fewer than the blocks with data have.
fn watched(check: Check, chip: &Chip) -> Checked {
    let mut seen = Vec::new();
    let checked = check(chip, &mut |done, total| seen.push((done, total))).unwrap();
    assert!(seen.is_sorted() && seen.iter().all(|&(done, total)| done <= total), "{seen:?}");
    let volume = mount(chip.clone());
    let holds_data = |&block: &_| volume.live_pages(block).is_some_and(|live| live > 0);
    let blocks = chip.geometry().iter_blocks().filter(holds_data).count() as u64;
    let all = blocks * u64::from(chip.geometry().block_size());
    assert!(blocks > 20 && seen.iter().all(|&(_, total)| total >= all), "{blocks} blocks: {seen:?}");
    assert_eq!(seen.last().map(|&(done, total)| total - done), Some(0), "it ends with all");
    checked
}

#[test]
fn both_checks_say_the_same_and_how_far_they_are() {
    for seed in 0..20 {
        let mut chip = used(geometry(256, 8, 48), seed, 60, true, &Mount::default()).chip;
        for _ in 0..2 {
            let (one, all) = (watched(check, &chip), watched(check_in_parallel, &chip));
            assert_eq!(one.findings, all.findings, "seed {seed}");
            assert_eq!((one.blocks, one.pages, one.bytes), (all.blocks, all.pages, all.bytes));
            let blocks = chip.geometry().iter_blocks().skip(4 + seed as usize % 7).step_by(7);
            let pages = blocks.flat_map(|block| chip.geometry().iter_pages(block).take(3));
            let pages: Vec<_> = pages.collect();
            spoil(&mut chip, &pages);
        }
        assert!(!watched(check, &chip).findings.is_empty());
    }
}
