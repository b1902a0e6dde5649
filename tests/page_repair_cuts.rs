//! The power goes at every operation of a repair of a page-mapped volume, in every way it can, and again at operations of the
//! repair after it: what comes of it is what an uninterrupted repair gives.
//!
//! Run with `--nocapture` to see the number of cut points; `NANDIMG_DEEP=1` leaves out none of the second ones.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;
mod support;

use std::collections::BTreeSet;

use nandimg::check::{Checked, page as fsck};
use nandimg::flash::Operation::{Erase, Program};
use nandimg::flash::faults::{Cut, Faulty, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{Lpn, Mount, PageVolume};
use nandimg::onflash::paged::head::{Head, Kind};
use nandimg::onflash::paged::map::MapEntry;
use nandimg::prng::SplitMix64;
use nandimg::{Error, Result};

use paged::{Chip, repair, spoil};
use support::engine::PageMapped;
use support::sweep::{CUTS, Place, Ram, Report, ScenarioOf, sweep};
use support::{geometry, read_all};

type Log = support::LogOf<PageMapped>;
type Scenario = ScenarioOf<PageMapped>;

const PAGE: u64 = 512;

fn small() -> Geometry {
    geometry(PAGE as u32, 8 * PAGE as u32, 48)
}

fn wants_repair(checked: &Checked) -> bool {
    checked.findings.iter().any(|finding| finding.repair.is_some() && !finding.repaired)
}

/// Repair until there is nothing left to repair: a page that reads once may be lost between the check and the repair.
fn repair_again(hw: &mut dyn FlashHardware) -> Result<()> {
    for _ in 0..3 {
        match repair(hw) {
            Ok(repaired) if !wants_repair(&repaired) => return Ok(()),
            Ok(_) | Err(Error::Unmountable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    panic!("a repair leaves something to be repaired: {:?}", fsck::check(&hw, &mut |_, _| {}));
}

fn is_clean(hw: &mut dyn FlashHardware) {
    let found = fsck::check(&hw, &mut |_, _| {}).expect("it mounts");
    assert!(found.is_clean(), "{:?}", found.findings);
}

fn scenario(name: &'static str, prepare: fn(&mut Chip, &mut Log) -> Result<()>) -> Scenario {
    Scenario {
        cuts: &CUTS,
        second_cut_step: 61,
        prepare,
        run: |hw, _| {
            let repaired = repair(hw)?;
            assert!(!wants_repair(&repaired) && repaired.is_clean(), "{:?}", repaired.findings);
            Ok(())
        },
        recover: repair_again,
        inspect: is_clean,
        quiet: true,
        ..Scenario::new(name, small())
    }
}

/// The same of damage that takes a part of the log along: that it may have taken data, too, is said by the repair alone.
fn lossy(name: &'static str, prepare: fn(&mut Chip, &mut Log) -> Result<()>) -> Scenario {
    Scenario {
        run: |hw, _| {
            let repaired = repair(hw)?;
            assert!(!wants_repair(&repaired) && !repaired.is_clean(), "{:?}", repaired.findings);
            Ok(())
        },
        ..scenario(name, prepare)
    }
}

/// Cut the repair short everywhere: in these places at the least.
fn run(scenario: &Scenario, places: &[Place]) -> Report {
    let report = sweep(&Ram, scenario);
    report.assert_reached(places);
    assert!(report.second > 0, "{report:?}");
    report
}

/// A volume that has been written for a while, and has collected garbage.
fn used(chip: &mut Chip, log: &mut Log, ends: bool) -> Result<()> {
    log.format(chip)?;
    let mut session = log.mount(chip)?;
    session.write(0, session.volume.capacity() * 8 / 10)?;
    session.end()?;
    for n in 0..30 {
        session.write(n * 23 % 60 * PAGE + n, 3 * PAGE)?;
        session.sync()?;
    }
    session.end()?;
    drop(session);
    let mut session = log.mount(chip)?;
    for n in 0..5 {
        session.write(n * 31 % 70 * PAGE, PAGE + n)?;
        session.sync()?;
    }
    if ends { session.end() } else { Ok(()) }
}

/// Damage the chip. What is acknowledged from then on is what an uninterrupted repair gives back.
fn damage(chip: &mut Chip, log: &mut Log, damage: impl FnOnce(&mut Chip)) -> Vec<u8> {
    damage(chip);
    let mut repaired = chip.clone();
    let checked = repair(&mut repaired).expect("a repair");
    assert!(checked.findings.iter().any(|f| f.repaired), "{:?}", checked.findings);
    let volume = PageVolume::mount(repaired, &Mount::default()).expect("a volume that was repaired mounts");
    std::mem::replace(&mut log.model.committed, read_all(&volume))
}

/// Damage of which nothing is lost.
fn harmless(chip: &mut Chip, log: &mut Log, how: impl FnOnce(&mut Chip)) {
    let acknowledged = damage(chip, log, how);
    assert!(acknowledged == log.model.committed, "a repair gives back all that was acknowledged");
}

/// The pages of metadata of which `which` holds.
fn pages(chip: &Chip, which: impl Fn(PageAddr, &Head) -> bool) -> Vec<PageAddr> {
    let found = paged::metadata_pages(chip).into_iter().filter(|(at, head)| which(*at, head));
    let pages: Vec<PageAddr> = found.map(|(at, _)| at).collect();
    assert!(!pages.is_empty(), "there is no such page");
    pages
}

/// The pages of one kind with the highest number of their newest epoch.
fn newest(chip: &Chip, kind: Kind) -> Vec<PageAddr> {
    let of_kind = paged::metadata_pages(chip).into_iter().filter(|(_, head)| head.kind == kind);
    let newest = of_kind.map(|(_, head)| (head.epoch, head.number)).max();
    pages(chip, |_, head| head.kind == kind && Some((head.epoch, head.number)) == newest)
}

fn garble(chip: &mut Chip, pages: &[PageAddr]) {
    for &page in pages {
        chip.inner_mut().overwrite(page, &[0x5A; PAGE as usize]).unwrap();
    }
}

/// What a checkpoint takes, with its map.
const CHECKPOINT: [Place; 6] = [
    (Erase, "map"),
    (Program, "map"),
    (Program, "directory"),
    (Program, "table"),
    (Erase, "zone"),
    (Program, "zone"),
];

#[test]
fn without_any_metadata() {
    let report = run(
        &Scenario {
            uncounted: 1,
            ..lossy("without any metadata", |chip, log| {
                used(chip, log, true)?;
                let before = PageVolume::mount(chip.clone(), &Mount::default())?;
                let wiped = pages(chip, |_, head| head.kind != Kind::Summary);
                let acknowledged = damage(chip, log, |chip| {
                    for page in wiped {
                        chip.inner_mut().overwrite(page, &[0xFF; PAGE as usize]).unwrap();
                    }
                    // What counted the erases is gone.
                    *chip = Faulty::new(SimFlash::from_data(*chip.geometry(), chip.inner().data()));
                });
                let found = &log.model.committed;
                let mut same = 0;
                for (logical, (found, expected)) in (0..).zip(found.chunks(512).zip(acknowledged.chunks(512)))
                {
                    let MapEntry::At { address, .. } = before.entry(Lpn(logical))? else { continue };
                    let is_closed = before.is_closed(Block(address / 8));
                    assert!(found == expected || !is_closed, "logical page {logical}");
                    same += u32::from(found == expected);
                }
                assert!(same > 100 && found.len() == acknowledged.len(), "{same} pages come back");
                Ok(())
            })
        },
        &CHECKPOINT,
    );
    assert!(report.cuts(Program, "log, clean end") > 0);
}

#[test]
fn the_newest_anchor_cannot_be_read() {
    run(
        &scenario("the newest anchor is gone", |chip, log| {
            used(chip, log, false)?;
            harmless(chip, log, |chip| spoil(chip, &newest(chip, Kind::Anchor)));
            Ok(())
        }),
        &CHECKPOINT,
    );
    run(
        &scenario("one copy of the newest anchor is gone", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| spoil(chip, &newest(chip, Kind::Anchor)[..1]));
            Ok(())
        }),
        &CHECKPOINT,
    );
}

#[test]
fn an_older_anchor_beside_the_newest_is_damaged() {
    run(
        &scenario("an older anchor is gone", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| {
                let at = newest(chip, Kind::Anchor)[0];
                assert!(at.page > 0, "{at}");
                spoil(chip, &[PageAddr { page: at.page - 1, ..at }]);
            });
            Ok(())
        }),
        &CHECKPOINT,
    );
}

#[test]
fn a_damaged_log() {
    run(
        &lossy("a damaged log", |chip, log| {
            used(chip, log, true)?;
            let newest = paged::metadata_pages(chip).into_iter().map(|(_, head)| head.epoch).max();
            let log_pages = |number: u64| {
                move |_: PageAddr, head: &Head| {
                    head.kind == Kind::Log && Some(head.epoch) == newest && head.number == number
                }
            };
            let numbers = paged::metadata_pages(chip).into_iter();
            let numbers = numbers.filter(|(_, h)| h.kind == Kind::Log && Some(h.epoch) == newest);
            let numbers: BTreeSet<u64> = numbers.map(|(_, head)| head.number).collect();
            assert!(numbers.len() > 1, "{numbers:?}");
            let middle = *numbers.iter().nth((numbers.len() - 1) / 2).unwrap();
            damage(chip, log, |chip| garble(chip, &pages(chip, log_pages(middle))));
            Ok(())
        }),
        &CHECKPOINT,
    );
}

#[test]
fn a_damaged_map_page() {
    run(
        &scenario("a damaged map page", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| spoil(chip, &newest(chip, Kind::Map)));
            Ok(())
        }),
        &CHECKPOINT,
    );
}

/// The blocks that hold data by the block table.
fn data_blocks(chip: &Chip) -> Vec<Block> {
    let volume = paged::mount(chip.clone());
    let blocks = chip.geometry().iter_blocks().filter(|&b| volume.live_pages(b).is_some_and(|n| n > 0));
    blocks.collect()
}

const MOVES: [Place; 4] =
    [(Program, "data, moved"), (Program, "log, session"), (Program, "log"), (Program, "map")];

#[test]
fn data_on_bad_blocks() {
    let report = run(
        &scenario("data on bad blocks", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| {
                for block in data_blocks(chip).into_iter().step_by(9) {
                    chip.inner_mut().set_factory_bad(block);
                }
            });
            Ok(())
        }),
        &MOVES,
    );
    assert_eq!(report.uncut.replaced, 0, "they were bad before");
}

#[test]
fn blocks_that_fail_under_the_repair() {
    let marked = |chip: &mut Chip, log: &mut Log| {
        used(chip, log, false)?;
        harmless(chip, log, |chip| {
            let block = data_blocks(chip)[4];
            chip.inner_mut().set_factory_bad(block);
        });
        Ok(())
    };
    let older = |chip: &mut Chip, log: &mut Log| {
        used(chip, log, false)?;
        harmless(chip, log, |chip| spoil(chip, &newest(chip, Kind::Anchor)));
        Ok(())
    };
    for (name, faults, prepare) in [
        (
            "an erase for data fails",
            &[((Erase, "data, moved"), 0)],
            marked as fn(&mut Chip, &mut Log) -> Result<()>,
        ),
        ("a page of data fails", &[((Program, "data, moved"), 0)], marked),
        ("a page of the map fails", &[((Program, "map"), 0)], marked),
        ("the clean end fails", &[((Program, "log, clean end"), 0)], marked),
        ("the directory of a rebuild fails", &[((Program, "directory"), 0)], older),
        ("the anchor of a rebuild fails", &[((Program, "zone"), 0)], older),
        ("an erase for the anchor of a rebuild fails", &[((Erase, "zone"), 0)], older),
    ] {
        let scenario = Scenario { faults, second_cut_step: 401, ..scenario(name, prepare) };
        run(&scenario, &CHECKPOINT[1..]).assert_failed(faults);
    }
}

#[test]
fn a_block_of_the_newest_pair_cannot_be_read() {
    run(
        &scenario("a block of the newest pair is gone", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| {
                let block = newest(chip, Kind::Log)[0].block;
                spoil(chip, &pages(chip, |at, _| at.block == block));
            });
            Ok(())
        }),
        &CHECKPOINT,
    );
}

#[test]
fn a_damaged_summary() {
    run(
        &scenario("a damaged summary", |chip, log| {
            used(chip, log, true)?;
            harmless(chip, log, |chip| {
                let summaries = pages(chip, |_, head| head.kind == Kind::Summary);
                let in_use = data_blocks(chip);
                let damaged = summaries.into_iter().filter(|at| in_use.contains(&at.block)).step_by(5);
                garble(chip, &damaged.collect::<Vec<_>>());
            });
            Ok(())
        }),
        &MOVES,
    );
}

/// How a volume was left.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// There is a log page since the newest checkpoint.
    in_log: bool,
    /// All that was committed is in two blocks.
    in_twins: bool,
}

impl Ends {
    fn of(chip: &Chip, options: &Mount) -> Self {
        let epoch_of = |kind| {
            let pages = paged::metadata_pages(chip).into_iter().filter(|(_, head)| head.kind == kind);
            pages.map(|(_, head)| head.epoch).max()
        };
        let checked = fsck::check(chip, &mut |_, _| {}).expect("a check");
        let ended = !checked.findings.iter().any(|finding| finding.code == "not-ended");
        Self {
            in_log: epoch_of(Kind::Log) == epoch_of(Kind::Anchor),
            in_twins: options.mirror_every_commit || ended,
        }
    }
}

/// How volumes are damaged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    NewestAnchor,
    AllAnchors,
    /// All copies but one of one anchor.
    AnchorsButOne,
    Log,
    Map,
    Table,
    /// One block with the newest directory.
    Chain,
    /// All metadata but the log.
    AllButLog,
    AllMetadata,
}

impl Damage {
    const ALL: [Self; 9] = [
        Self::NewestAnchor,
        Self::AllAnchors,
        Self::AnchorsButOne,
        Self::Log,
        Self::Map,
        Self::Table,
        Self::Chain,
        Self::AllButLog,
        Self::AllMetadata,
    ];

    /// Whether a repair gives all back of such a volume, and is certain of it.
    fn is_harmless(self, ends: Ends) -> bool {
        match self {
            Self::Log | Self::AllButLog | Self::AllMetadata => false,
            // Only the anchor shows that the newest checkpoint is in force.
            Self::NewestAnchor | Self::AllAnchors => ends.in_log,
            // The last commit may have stood there alone.
            Self::Chain => ends.in_twins,
            Self::AnchorsButOne | Self::Map | Self::Table => true,
        }
    }

    fn apply(self, chip: &mut Chip) {
        let damaged = match self {
            Self::NewestAnchor => newest(chip, Kind::Anchor),
            Self::AllAnchors => pages(chip, |_, head| head.kind == Kind::Anchor),
            Self::AnchorsButOne => {
                let newest = newest(chip, Kind::Anchor)[0];
                pages(chip, |at, head| head.kind == Kind::Anchor && at != newest)
            }
            Self::Log => {
                let logs = paged::metadata_pages(chip).into_iter().filter(|(_, head)| head.kind == Kind::Log);
                let epoch = logs.map(|(_, head)| head.epoch).max();
                let log = pages(chip, |_, head| head.kind == Kind::Log && Some(head.epoch) == epoch);
                let middle = log[log.len() / 2].page;
                log.into_iter().filter(|at| at.page == middle).collect()
            }
            Self::Map => newest(chip, Kind::Map),
            Self::Table => newest(chip, Kind::Table),
            Self::Chain => {
                let block = newest(chip, Kind::Directory)[0].block;
                pages(chip, |at, _| at.block == block)
            }
            Self::AllButLog => pages(chip, |_, head| !matches!(head.kind, Kind::Log | Kind::Summary)),
            Self::AllMetadata => pages(chip, |_, head| head.kind != Kind::Summary),
        };
        spoil(chip, &damaged);
    }
}

/// A volume of some kind, and where it comes from.
fn random_volume(rng: &mut SplitMix64, seed: u64) -> (paged::Used, Mount) {
    let geometry = if rng.below(3) == 0 { geometry(256, 4096, 64) } else { geometry(256, 2048, 48) };
    let rounds = [20, 60, 600][rng.below(3) as usize];
    let options = Mount { mirror_every_commit: rng.below(2) == 0, ..Mount::default() };
    let mut used = paged::used(geometry, seed, rng.below(rounds) as u32, rng.below(2) == 0, &options);
    if rng.below(3) == 0 {
        // Then something is written that is never committed.
        let mut volume = PageVolume::mount(used.chip, &options).unwrap();
        let len = rng.below(volume.len() / 3);
        volume.write(rng.below(volume.len() - len), &paged::bytes(rng, len)).unwrap();
        used.chip = volume.into_flash();
    }
    (used, options)
}

fn content_of(chip: Chip) -> Vec<Option<Vec<u8>>> {
    paged::what_is_left(&paged::mount(chip))
}

/// A volume that was damaged, and what a repair makes of it.
struct Repaired {
    damaged: Chip,
    repaired: Chip,
    content: Vec<Option<Vec<u8>>>,
    complete: bool,
}

fn damage_and_repair(used: &paged::Used, options: &Mount, how: Damage) -> Repaired {
    let mut damaged = used.chip.clone();
    how.apply(&mut damaged);
    let mut repaired = damaged.clone();
    let checked = repair(&mut repaired).expect("a repair");
    let content = content_of(repaired.clone());
    let all = content.iter().cloned().collect::<Option<Vec<_>>>().map(|all| all.concat());
    let complete = all.as_ref() == Some(&used.content);
    if how.is_harmless(Ends::of(&used.chip, options)) {
        assert!(checked.is_clean() && complete, "complete: {complete}, {:?}", checked.findings);
    }
    Repaired { damaged, repaired, content, complete }
}

#[test]
fn what_is_harmless_is_repaired_without_a_doubt() {
    let seeds = paged::deep_or(4000, 400);
    // These have made a difference.
    let complete = (0..seeds).chain([671, 1275, 1499]).map(|seed| {
        let (used, options) = random_volume(&mut SplitMix64::new(seed), seed);
        let complete = Damage::ALL.map(|how| {
            let _seed = paged::Replay(format!("seed {seed}, {how:?}"));
            damage_and_repair(&used, &options, how).complete
        });
        complete.into_iter().filter(|&complete| complete).count() as u64
    });
    let complete: u64 = complete.sum();
    println!("{complete} repairs of {} volumes without a loss", seeds + 3);
    assert!(complete > 8 * seeds, "{complete}");
}

/// Cut the repair of many volumes short, once and mostly twice, at all operations.
#[test]
fn whatever_is_repaired() {
    let (mut cuts, mut lossless) = (0, 0);
    // These have made a difference.
    for seed in (0..paged::deep_or(200, 2)).chain([2, 21, 28, 177]) {
        let mut rng = SplitMix64::new(seed);
        let (used, options) = random_volume(&mut rng, seed);
        for how in Damage::ALL {
            let Repaired { damaged, repaired, content, complete } = damage_and_repair(&used, &options, how);
            let operations = repaired.operations() - damaged.operations();
            lossless += u32::from(complete);
            for (n, cut) in (0..operations).flat_map(|n| Cut::ALL.map(|cut| (n, cut))) {
                let second = rng.below(2 * operations);
                let _replay =
                    paged::Replay(format!("seed {seed}, {how:?}, cuts {cut:?} at {n} and {second}"));
                let mut chip = damaged.clone();
                for n in [n, second] {
                    chip.cut_power_after(n, cut);
                    let _ = repair(&mut chip);
                    chip.restore_power();
                }
                repair_again(&mut chip).expect("a repair after the cuts");
                assert!(content_of(chip) == content, "after the cuts");
                cuts += 1;
            }
        }
    }
    println!("{cuts} repairs cut short");
    assert!(cuts > 10_000 && lossless > 15, "{cuts}, {lossless} without a loss");
}
