//! The power goes at every operation, in every way it can, and again while the next process recovers: what was
//! acknowledged is there, what was not is there wholly or not at all, and the volume takes writes.
//!
//! Run with `--nocapture` to see the number of cut points.

#![forbid(unsafe_code)]

mod support;

use nandimg::check::block;
use nandimg::flash::faults::Tearable;
use nandimg::flash::faults::{Cut, Faulty, LatentFault};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};
use nandimg::ftl::wear::WearPolicy;
use nandimg::onflash::ftlj::Layout;
use nandimg::{Error, Result};

#[cfg(feature = "std")]
use support::files::Files;
use support::sweep::{Prepare, Ram, Report, Scenario, sweep};
use support::{Log, Part, geometry, read_all};

/// Bytes a block, in pages of 64: a commit of a small chip takes several pages of one.
const BLOCK: u64 = 256;

fn small(blocks: u32) -> Geometry {
    geometry(64, BLOCK as u32, blocks)
}

/// Format, and fill the first `len` bytes.
fn fill(chip: &mut Faulty<SimFlash>, log: &mut Log, len: u64) -> Result<()> {
    log.format(chip)?;
    let mut session = log.mount(chip)?;
    session.write(0, len)?;
    session.sync()
}

/// Over the simulator, and over an image in a file.
fn run(scenario: &Scenario) -> Report {
    let report = sweep(&Ram, scenario);
    report.assert_everywhere();
    #[cfg(feature = "std")]
    sweep(&Files::new(), scenario).assert_everywhere();
    report
}

/// What `fsck --repair` does.
fn repair(mut hw: &mut dyn FlashHardware) -> Result<()> {
    let found = block::check(&hw, &mut |_, _| {})?;
    block::repair(&mut hw, &found, &mut |_, _| {}).map(drop)
}

#[test]
fn a_repair() {
    let report = run(&Scenario {
        prepare: |chip, log| {
            fill(chip, log, 7 * BLOCK)?;
            let mut session = log.mount(chip)?;
            session.write(10, 2 * BLOCK)?;
            session.sync()?;
            let stale = session.volume.current().0.other().first_block(session.volume.layout());
            let mapped: Vec<Block> = session.volume.map().iter().filter_map(|m| m.block()).take(2).collect();
            drop(session);
            let page = PageAddr { block: stale, page: 1 };
            chip.inner_mut().overwrite(page, &[0xA5; 64])?;
            mapped.iter().for_each(|&block| chip.inner_mut().set_factory_bad(block));
            // A block that the repair takes fails, too.
            chip.latent_mut().add(LatentFault { block: 14, on: Operation::Program, after: 2 });
            Ok(())
        },
        run: |mut hw, log| {
            let found = block::check(&hw, &mut |_, _| {})?;
            let mut codes: Vec<_> = found.findings.iter().map(|f| f.code).collect();
            codes.dedup();
            assert_eq!(codes, ["slot-corrupt", "bad-table-incomplete", "mapped-bad-block"]);
            repair(&mut hw)?;
            let mut session = log.mount(hw)?;
            session.write(3 * BLOCK + 7, BLOCK)?;
            session.sync()
        },
        recover: repair,
        inspect: |hw| {
            let found = block::check(&hw, &mut |_, _| {}).expect("the check can be done");
            assert!(found.findings.is_empty(), "the repair left something: {:?}", found.findings);
            assert_eq!(hw.is_bad(Block(14)), Ok(true), "the repair met the block that fails");
        },
        ..Scenario::new("a repair", small(16))
    });
    assert_eq!(report.uncut.syncs, 1);
}

/// On pages with ECC a torn page is one that cannot be corrected.
#[cfg(feature = "std")]
#[test]
fn writes_to_pages_with_ecc() {
    const PAGE: u64 = 512;
    let files = Files::with_ecc(PAGE as u32);
    let report = sweep(
        &files,
        &Scenario {
            prepare: |chip, log| fill(chip, log, 6 * 4 * PAGE),
            run: |hw, log| {
                let mut session = log.mount(hw)?;
                session.write(PAGE / 2, 9 * PAGE)?;
                session.sync()?;
                session.write(5 * PAGE + 1, 40)?;
                session.sync()
            },
            ..Scenario::new("writes to pages with ECC", geometry(PAGE as u32, 4 * PAGE as u32, 16))
        },
    );
    report.assert_everywhere();
    assert!(files.uncorrectable() > 100, "{} torn pages", files.uncorrectable());
}

#[test]
fn a_write_of_several_blocks() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 7 * BLOCK),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(BLOCK / 2, 3 * BLOCK + 17)?;
            session.sync()?;
            session.write(2 * BLOCK, 2 * BLOCK)?;
            session.write(5 * BLOCK + 1, 40)?;
            session.write(BLOCK - 3, 6)?;
            session.sync()?;
            session.write(0, 3 * BLOCK)?;
            session.rollback();
            session.write(6 * BLOCK + 100, 2 * BLOCK)?;
            session.sync()
        },
        ..Scenario::new("a write of several blocks", small(16))
    });
    assert_eq!((report.uncut.syncs, report.uncut.of_several_blocks), (3, 3));
    assert_eq!((report.uncut.extra_commits, report.uncut.moved), (0, 0), "one transaction is one commit");
}

#[test]
fn a_truncation() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 7 * BLOCK + 100),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.set_len(3 * BLOCK + 30)?;
            session.sync()?;
            session.set_len(5 * BLOCK + 70)?;
            session.sync()?;
            session.write(7 * BLOCK + 9, 20)?;
            session.sync()?;
            session.set_len(BLOCK / 3)?;
            session.set_len(6 * BLOCK)?;
            session.sync()?;
            session.write(BLOCK, 2 * BLOCK)?;
            session.set_len(BLOCK + 5)?;
            session.write(BLOCK + 50, 10)?;
            session.sync()?;
            session.set_len(0)?;
            session.sync()
        },
        ..Scenario::new("a truncation", small(16))
    });
    assert_eq!((report.uncut.syncs, report.uncut.extra_commits), (6, 0));
}

/// Rewrite one small part of a volume, most of which is never written again.
fn rewrite(hw: &mut dyn FlashHardware, log: &mut Log, rounds: u64) -> Result<()> {
    let mut session = log.mount(hw)?;
    for round in 0..rounds {
        session.write(BLOCK / 2 + round, 100 + round * 10)?;
        session.sync()?;
    }
    Ok(())
}

#[test]
fn static_levelling() {
    let report = run(&Scenario {
        wear: WearPolicy { interval: 4, threshold: 2 },
        prepare: |chip, log| fill(chip, log, 8 * BLOCK),
        run: |hw, log| rewrite(hw, log, 16),
        ..Scenario::new("static levelling", small(16))
    });
    let uncut = report.uncut;
    assert!(uncut.moved >= 4 && uncut.level_commits >= 3, "levelling does nothing: {uncut:?}");
}

#[test]
fn static_levelling_onto_blocks_that_fail() {
    let report = run(&Scenario {
        wear: WearPolicy { interval: 4, threshold: 2 },
        prepare: |chip, log| {
            fill(chip, log, 8 * BLOCK)?;
            // The host's writes wear the blocks from 12 on; the next erase of these, or program, is of levelling.
            chip.latent_mut().add(LatentFault { block: 12, on: Operation::Erase, after: 2 });
            chip.latent_mut().add(LatentFault { block: 15, on: Operation::Program, after: 8 });
            Ok(())
        },
        run: |hw, log| rewrite(hw, log, 14),
        ..Scenario::new("static levelling onto blocks that fail", small(16))
    });
    let uncut = report.uncut;
    assert!(uncut.moved >= 2 && uncut.level_commits >= 1, "levelling does nothing: {uncut:?}");
    assert_eq!(uncut.replaced, 2);
}

#[test]
fn static_levelling_within_a_long_write() {
    let report = run(&Scenario {
        wear: WearPolicy { interval: 3, threshold: 1 },
        batched: true,
        prepare: |chip, log| fill(chip, log, 10 * BLOCK),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            for round in 0..3 {
                session.write(BLOCK / 2 + round, 5 * BLOCK + 30)?;
                session.sync()?;
            }
            Ok(())
        },
        ..Scenario::new("static levelling within a long write", small(16))
    });
    let uncut = report.uncut;
    assert!(uncut.moved > 0 && uncut.level_commits > 0 && uncut.extra_commits > 0, "{uncut:?}");
}

#[test]
fn blocks_that_fail() {
    let report = run(&Scenario {
        prepare: |chip, log| {
            chip.inner_mut().set_factory_bad(Block(16));
            fill(chip, log, 6 * BLOCK)?;
            // The least worn free blocks, which the next writes take, fail one after the other.
            let faults = [
                (10, Operation::Erase, 0),
                (11, Operation::Erase, 0),
                (12, Operation::Program, 2),
                (13, Operation::Program, 0),
                (17, Operation::Erase, 0),
            ];
            for (block, on, after) in faults {
                chip.latent_mut().add(LatentFault { block, on, after });
            }
            Ok(())
        },
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(BLOCK / 2, 2 * BLOCK)?;
            session.sync()?;
            session.write(0, 3 * BLOCK)?;
            session.sync()
        },
        ..Scenario::new("blocks that fail", small(20))
    });
    assert_eq!(report.uncut.replaced, 5);
    assert_eq!(report.uncut.extra_commits, 0, "a replaced block does not split the write");
}

#[test]
fn a_write_larger_than_the_free_blocks() {
    let report = run(&Scenario {
        batched: true,
        prepare: |chip, log| fill(chip, log, 10 * BLOCK),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(BLOCK / 2, 6 * BLOCK + 30)?;
            session.sync()?;
            session.set_len(3 * BLOCK - 50)?;
            session.write(3 * BLOCK + 10, 6 * BLOCK)?;
            session.write(BLOCK, 2 * BLOCK)?;
            session.write(7 * BLOCK, 3 * BLOCK)?;
            session.sync()?;
            session.set_len(9 * BLOCK - 100)?;
            session.sync()?;
            // The second begins within the volume and ends past it, while the block at the old end is being put together:
            // that block must not lengthen the volume before its turn.
            session.write(9 * BLOCK - 100, 20)?;
            session.write(100, 10 * BLOCK - 150)?;
            session.sync()
        },
        ..Scenario::new("a write larger than the free blocks", small(16))
    });
    assert_eq!(report.uncut.syncs, 4);
    assert!(report.uncut.extra_commits >= 8, "{} commits split the writes", report.uncut.extra_commits);
}

#[test]
fn slots_of_several_blocks() {
    let scenario = Scenario {
        prepare: |chip, log| fill(chip, log, 30 * BLOCK),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(BLOCK / 2, 2 * BLOCK)?;
            session.sync()?;
            session.set_len(20 * BLOCK + 1)?;
            session.sync()?;
            session.write(31 * BLOCK, BLOCK)?;
            session.sync()
        },
        ..Scenario::new("slots of several blocks", small(64))
    };
    let layout = Layout::new(scenario.geometry.block_size(), scenario.geometry.blocks()).unwrap();
    assert_eq!(layout.blocks_per_slot, 3);
    run(&scenario);
}

#[test]
fn a_format_over_a_volume() {
    // The volume that is there lies in either slot.
    let in_slot_a: Prepare = |chip, log| fill(chip, log, 4 * BLOCK);
    let in_slot_b: Prepare = |chip, log| {
        fill(chip, log, 4 * BLOCK)?;
        let mut session = log.mount(chip)?;
        session.write(10, 2 * BLOCK)?;
        session.sync()
    };
    for (name, prepare) in [("a format over slot A", in_slot_a), ("a format over slot B", in_slot_b)] {
        let report = run(&Scenario {
            prepare,
            run: |hw, log| {
                log.format(hw)?;
                let mut session = log.mount(hw)?;
                session.write(30, 2 * BLOCK)?;
                session.sync()?;
                drop(session);
                log.format(hw)
            },
            ..Scenario::new(name, small(40))
        });
        assert_eq!(report.uncut.syncs, 3);
    }
}

#[test]
fn a_format_of_a_blank_chip() {
    let report = sweep(
        &Ram,
        &Scenario {
            prepare: |_, _| Ok(()),
            run: |hw, log| log.format(hw),
            // There was nothing to lose: what does not mount is formatted again.
            recover: |mut hw| match BlockVolume::mount(&mut hw, &Mount::default()) {
                Err(Error::NotFormatted(_) | Error::Unmountable(_)) => {
                    FormatPlan::new(&hw, true)?.execute(&mut hw).map(drop)
                }
                other => other.map(drop),
            },
            ..Scenario::new("a format of a blank chip", small(40))
        },
    );
    assert!(report.cuts(Operation::Erase, "slot") > 0 && report.cuts(Operation::Program, "slot") > 0);
    assert!(report.other() > 0);
}

/// A format for `new` blocks, over a volume made for `old` blocks of the same size.
fn reformat(old: u32, new: u32) -> u64 {
    let (old, new) = (small(old), small(new));
    let whole = small(old.blocks().max(new.blocks()));
    let mut prepared = Faulty::new(SimFlash::new(whole));
    let mut log = Log::new(support::NO_LEVELLING, false);
    let mut part = Part::new(&mut prepared, old);
    log.format(&mut part).unwrap();
    let mut session = log.mount(&mut part).unwrap();
    session.write(0, 3 * BLOCK + 9).unwrap();
    session.sync().unwrap();

    let mut cuts = 0;
    for start in 0..2 {
        let format = |chip: &mut dyn FlashHardware| {
            let mut chip = Part::new(chip, new);
            FormatPlan::new(&chip, true).and_then(|plan| plan.execute(&mut chip)).map(drop)
        };
        let before = prepared.operations();
        let mut uncut = prepared.clone();
        format(&mut uncut).unwrap();
        for n in 0..uncut.operations() - before {
            for cut in Cut::ALL {
                let at = format!(
                    "{} over {} blocks, start {start}, cut ({n}, {cut:?})",
                    new.blocks(),
                    old.blocks()
                );
                cuts += 1;
                let mut chip = prepared.clone();
                chip.cut_power_after(n, cut);
                assert!(format(&mut chip).is_err(), "{at}");
                chip.restore_power();
                old_or_new(&mut chip, old, new, &log, &at);
                format(&mut chip).unwrap();
                let fresh = BlockVolume::mount(Part::new(&mut chip, new), &Mount::default()).expect(&at);
                assert!(fresh.is_empty(), "{at}");
                assert!(fresh.erase_counts().iter().zip(log.counts()).all(|(now, then)| now >= then), "{at}");
            }
        }
        // Once more, with the old volume's newest copy in its other slot.
        let mut part = Part::new(&mut prepared, old);
        let mut session = log.mount(&mut part).unwrap();
        session.write(5, BLOCK).unwrap();
        session.sync().unwrap();
    }
    cuts
}

fn old_or_new(chip: &mut dyn FlashHardware, old: Geometry, new: Geometry, log: &Log, at: &str) {
    let options = Mount::default();
    if let Ok(volume) = BlockVolume::mount(Part::new(chip, new), &options) {
        return assert!(volume.is_empty(), "{at}");
    }
    let volume = BlockVolume::mount(Part::new(chip, old), &options).expect(at);
    assert_eq!(volume.len(), log.model.committed.len() as u64, "{at}");
    // Much larger slots lie across the old data; the old metadata, which must not be lost, is all that can be kept.
    let slots = Layout::new(new.block_size(), new.blocks()).unwrap().blocks_per_slot * 2;
    if slots <= volume.layout().reserved {
        assert!(read_all(&volume) == log.model.committed, "{at}");
    }
}

#[test]
fn a_format_for_another_geometry() {
    let pairs = [(16, 20), (20, 16), (16, 40), (40, 16), (40, 64), (64, 40), (16, 64), (64, 16)];
    let cuts: u64 = pairs.map(|(old, new)| reformat(old, new)).iter().sum();
    println!("a format for another geometry: {cuts} cut points");
}
