//! The power goes at every operation of the page-mapped engine, in every way it can, and again while the next process
//! recovers: what was acknowledged is there, what was not is there wholly or not at all, and the volume takes writes.
//!
//! Run with `--nocapture` to see the number of cut points; `NANDIMG_DEEP=1` leaves out none of the second ones.

#![forbid(unsafe_code)]

mod support;

use nandimg::flash::Geometry;
use nandimg::flash::Operation::{Erase, Program};
use nandimg::flash::faults::{Cut, Faulty};
use nandimg::flash::sim::SimFlash;
use nandimg::ftl::Volume;
use nandimg::ftl::page::{self, PageVolume};
use nandimg::ftl::wear::WearPolicy;
use nandimg::{Error, Result};

use support::engine::PageMapped;
#[cfg(feature = "std")]
use support::files::Files;
use support::geometry;
use support::sweep::{CUTS, Place, Ram, Report, ScenarioOf, sweep};

type Log = support::LogOf<PageMapped>;
type Session<'a> = support::SessionOf<'a, PageMapped>;
type Scenario = ScenarioOf<PageMapped>;

/// Bytes a page.
const PAGE: u64 = 512;
const SCATTERED: u64 = 50;

/// Blocks of 8 pages.
fn small(blocks: u32) -> Geometry {
    geometry(PAGE as u32, 8 * PAGE as u32, blocks)
}

fn scenario(name: &'static str, geometry: Geometry) -> Scenario {
    Scenario { cuts: &CUTS, quiet: true, second_cut_step: 31, ..Scenario::new(name, geometry) }
}

/// Format, fill the first `len` bytes, and end well.
fn fill(chip: &mut Faulty<SimFlash>, log: &mut Log, len: u64) -> Result<()> {
    log.format(chip)?;
    let mut session = log.mount(chip)?;
    session.write(0, len)?;
    session.end()
}

/// Over the simulator, and over an image in a file.
fn run(scenario: &Scenario) -> Report {
    let report = sweep(&Ram, scenario);
    #[cfg(feature = "std")]
    sweep(&Files::new(), scenario);
    report
}

/// Over the simulator; over an image in a file only when all is asked for.
fn run_in_ram(scenario: &Scenario) -> Report {
    if std::env::var_os("NANDIMG_DEEP").is_some() { run(scenario) } else { sweep(&Ram, scenario) }
}

#[test]
fn a_write_of_several_pages() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(PAGE / 2, 9 * PAGE + 17)?;
            session.sync()?;
            session.write(15 * PAGE + 1, 40)?;
            session.write(PAGE - 3, 6)?;
            session.sync()
        },
        ..scenario("a write of several pages", small(48))
    });
    report.assert_places(&[(Program, "data"), (Program, "log")]);
    assert_eq!((report.uncut.syncs, report.uncut.of_several_blocks), (2, 2));
}

/// What a checkpoint takes.
const CHECKPOINT: [Place; 3] = [(Program, "directory"), (Program, "table"), (Program, "zone")];

/// So many commits of a few bytes.
fn tiny_commits(session: &mut Session<'_>, commits: u64) -> Result<()> {
    for n in 0..commits {
        session.write(3 * PAGE * (n % 5) + n, 20 + n)?;
        session.sync()?;
    }
    Ok(())
}

/// Pages that a page of the map describes, in another order: to write that page takes less than to say where each lies.
fn scatter(session: &mut Session<'_>) -> Result<()> {
    for n in 0..SCATTERED {
        session.write(7 * n % SCATTERED * PAGE, PAGE)?;
    }
    session.sync()
}

#[test]
fn tiny_commits_one_after_the_other() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| tiny_commits(&mut log.mount(hw)?, 7),
        ..scenario("tiny commits", small(48))
    });
    report.assert_places(&[
        (Program, "data"),
        (Program, "log, session"),
        (Program, "log, one copy"),
        (Program, "log, one copy and the one before"),
    ]);
}

/// What moving data takes.
const MOVED: [Place; 2] = [(Program, "data, moved"), (Erase, "data, moved")];

fn collecting() -> Scenario {
    Scenario {
        prepare: |chip, log| {
            log.format(chip)?;
            let mut session = log.mount(chip)?;
            let capacity = session.volume.capacity();
            session.write(0, capacity)?;
            session.sync()?;
            for n in 0..8 {
                session.write(n * 23 % 60 * PAGE, 4 * PAGE)?;
                session.sync()?;
            }
            session.end()
        },
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            for n in 0..6 {
                session.write(n * 37 % 90 * PAGE, 5 * PAGE)?;
                session.sync()?;
            }
            Ok(())
        },
        ..scenario("garbage collection", small(48))
    }
}

#[test]
fn garbage_collection() {
    let report = run_in_ram(&collecting());
    report.assert_places(&[(Program, "data"), (Program, "summary"), (Erase, "data"), (Program, "log")]);
    report.assert_places(&MOVED[..1]);
    assert!(report.uncut.moved > 0, "nothing was collected: {report:?}");
}

fn levelling() -> Scenario {
    Scenario {
        wear: WearPolicy { interval: 3, threshold: 1 },
        prepare: |chip, log| {
            fill(chip, log, 60 * PAGE)?;
            // What levelling is to do is not done before.
            let wear = std::mem::replace(&mut log.wear, support::NO_LEVELLING);
            let mut session = log.mount(chip)?;
            for _ in 0..60 {
                session.write(0, 12 * PAGE)?;
                session.sync()?;
            }
            session.end()?;
            drop(session);
            log.wear = wear;
            Ok(())
        },
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            for _ in 0..4 {
                session.write(0, 12 * PAGE)?;
                session.sync()?;
            }
            Ok(())
        },
        ..scenario("static levelling", small(48))
    }
}

#[test]
fn static_levelling() {
    let report = run_in_ram(&levelling());
    report.assert_places(&[(Program, "data"), (Erase, "data"), (Program, "log")]);
    report.assert_places(&MOVED);
    assert!(report.uncut.moved > 0, "levelling does nothing: {report:?}");
    let without = sweep(&Ram, &Scenario { wear: support::NO_LEVELLING, cuts: &[], ..levelling() });
    assert_eq!(without.uncut.moved, 0, "garbage collection moves data, too: {without:?}");
}

#[test]
fn a_session_that_was_killed() {
    let report = run(&Scenario {
        prepare: |chip, log| {
            fill(chip, log, SCATTERED * PAGE)?;
            let mut session = log.mount(chip)?;
            scatter(&mut session)?;
            tiny_commits(&mut session, 3)
        },
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(7, PAGE)?;
            session.sync()?;
            drop(session);
            // Killed again.
            let mut session = log.mount(hw)?;
            session.write(9 * PAGE, PAGE)?;
            session.sync()
        },
        ..scenario("a session that was killed", small(48))
    });
    report.assert_places(&CHECKPOINT);
    report.assert_places(&[(Program, "map"), (Erase, "zone"), (Erase, "map"), (Program, "log, one copy")]);
    assert!(report.uncut.sequences >= 2);
}

#[test]
fn the_end_of_a_session_and_the_next_one() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(2 * PAGE, 30)?;
            session.end()?;
            drop(session);
            let mut session = log.mount(hw)?;
            assert!(session.volume.warnings().is_empty(), "{:?}", session.volume.warnings());
            session.write(2 * PAGE, 30)?;
            session.end()?;
            // Go on after the end.
            session.write(4 * PAGE, PAGE + 30)?;
            session.end()
        },
        ..scenario("the end of a session", small(48))
    });
    report.assert_places(&[(Program, "log, session"), (Program, "log, clean end"), (Erase, "log, session")]);
}

fn checkpointing() -> Scenario {
    Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            tiny_commits(&mut session, 8)?;
            session.end()
        },
        ..scenario("a checkpoint", small(48))
    }
}

#[test]
fn a_checkpoint() {
    let report = run_in_ram(&checkpointing());
    report.assert_places(&CHECKPOINT);
    assert_eq!(report.uncut.sequences, 1, "one checkpoint");
    assert_eq!(report.cuts(Erase, "zone"), 0, "the anchor is appended");
}

fn turning_over_the_zone() -> Scenario {
    Scenario {
        prepare: |chip, log| {
            fill(chip, log, 20 * PAGE)?;
            loop {
                let mut session = log.mount(chip)?;
                if session.volume.sequence() >= 7 {
                    return Ok(());
                }
                tiny_commits(&mut session, 7)?;
                session.end()?;
            }
        },
        run: |hw, log| {
            for len in [19, 18] {
                let mut session = log.mount(hw)?;
                session.set_len(len * PAGE)?;
                session.end()?;
                drop(session);
            }
            Ok(())
        },
        ..scenario("the anchor zone turns over", small(48))
    }
}

#[test]
fn the_anchor_zone_turns_over() {
    let report = run_in_ram(&turning_over_the_zone());
    report.assert_places(&CHECKPOINT);
    report.assert_places(&[(Erase, "zone")]);
}

fn turning_over_the_log() -> Scenario {
    Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            for n in 0..9 {
                session.write(n * PAGE, 5 * PAGE)?;
                session.sync()?;
            }
            Ok(())
        },
        ..scenario("the log goes on in the next pair", small(48))
    }
}

#[test]
fn the_log_goes_on_in_the_next_pair() {
    let report = run_in_ram(&turning_over_the_log());
    report.assert_places(&[(Erase, "log"), (Program, "log"), (Erase, "data"), (Program, "summary")]);
}

#[test]
fn a_truncation() {
    let report = run_in_ram(&Scenario {
        prepare: |chip, log| fill(chip, log, 40 * PAGE + 100),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.set_len(13 * PAGE + 30)?;
            session.sync()?;
            session.set_len(25 * PAGE + 70)?;
            session.sync()?;
            session.write(27 * PAGE + 9, 20)?;
            session.sync()?;
            session.discard(2 * PAGE + 100, 7 * PAGE)?;
            session.sync()?;
            session.write(5 * PAGE, 2 * PAGE)?;
            session.set_len(5 * PAGE + 5)?;
            session.write(5 * PAGE + 50, 10)?;
            session.sync()?;
            session.set_len(0)?;
            session.end()
        },
        ..scenario("a truncation", small(48))
    });
    report.assert_places(&CHECKPOINT);
    report.assert_places(&[(Program, "data"), (Program, "log")]);
}

#[test]
fn a_write_larger_than_the_free_space() {
    let report = run_in_ram(&Scenario {
        batched: true,
        second_cut_step: 83,
        prepare: |chip, log| {
            log.format(chip)?;
            let mut session = log.mount(chip)?;
            let capacity = session.volume.capacity();
            session.write(0, capacity)?;
            session.end()
        },
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            let capacity = session.volume.capacity();
            session.write(PAGE / 2, capacity - PAGE)?;
            session.sync()
        },
        ..scenario("a write larger than the free space", small(48))
    });
    report.assert_places(&[(Program, "data"), (Program, "summary"), (Erase, "data"), (Program, "log")]);
    assert!(report.uncut.extra_commits >= 1, "{report:?}");
}

#[test]
fn a_rollback() {
    let report = run_in_ram(&Scenario {
        prepare: |chip, log| fill(chip, log, 40 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            session.write(3 * PAGE, 17 * PAGE)?;
            session.rollback();
            session.write(5 * PAGE, 3 * PAGE)?;
            session.sync()?;
            session.write(0, 9 * PAGE)?;
            session.rollback();
            session.end()
        },
        ..scenario("a rollback", small(48))
    });
    report.assert_places(&[(Program, "data"), (Program, "summary"), (Program, "log"), (Erase, "nothing")]);
}

#[test]
fn a_format_over_a_volume() {
    let report = run(&Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            log.format(hw)?;
            let mut session = log.mount(hw)?;
            session.write(30, 2 * PAGE)?;
            session.sync()?;
            drop(session);
            log.format(hw)
        },
        ..scenario("a format over a volume", small(48))
    });
    report.assert_places(&[(Program, "directory"), (Program, "table"), (Program, "zone"), (Erase, "zone")]);
}

#[test]
fn a_format_of_a_blank_chip() {
    let report = sweep(
        &Ram,
        &Scenario {
            prepare: |_, _| Ok(()),
            run: |hw, log| log.format(hw),
            // There was nothing to lose: what does not mount is formatted again.
            recover: |mut hw| match PageVolume::mount(&mut hw, &page::Mount::default()) {
                Err(Error::NotFormatted(_) | Error::Unmountable(_)) => {
                    page::FormatPlan::new(&hw, &Default::default())?.execute(&mut hw).map(drop)
                }
                other => other.map(drop),
            },
            counted: false,
            // An anchor that reads once is no volume, and nothing is lost with it.
            cuts: &[
                Cut::NotDone,
                Cut::Done,
                Cut::Prefix,
                Cut::Garbage,
                Cut::Unreadable,
                Cut::Reordered,
                Cut::Fades,
            ],
            ..scenario("a format of a blank chip", small(48))
        },
    );
    assert!(report.cuts(Program, "zone") > 0 && report.cuts(Erase, "directory") > 0 && report.other() > 0);
}

/// Several blocks fail, each in another place.
fn with_faults(name: &'static str, faults: &'static [(Place, usize)], base: fn() -> Scenario) {
    let report = run_in_ram(&Scenario { name, faults, second_cut_step: 83, ..base() });
    report.assert_failed(faults);
    assert!(report.uncut.replaced > 0, "no block was replaced: {report:?}");
}

fn writes() -> Scenario {
    Scenario {
        prepare: |chip, log| fill(chip, log, 20 * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            for n in 0..6 {
                session.write(n * PAGE, 6 * PAGE)?;
                session.sync()?;
            }
            session.end()
        },
        ..scenario("writes", small(48))
    }
}

fn scattered_writes() -> Scenario {
    Scenario {
        prepare: |chip, log| fill(chip, log, SCATTERED * PAGE),
        run: |hw, log| {
            let mut session = log.mount(hw)?;
            scatter(&mut session)?;
            tiny_commits(&mut session, 3)?;
            session.end()
        },
        ..scenario("scattered writes", small(48))
    }
}

/// On pages with ECC a torn page is one that cannot be corrected.
#[cfg(feature = "std")]
#[test]
fn writes_to_pages_with_ecc() {
    let files = Files::with_ecc(PAGE as u32);
    let report = sweep(&files, &writes());
    report.assert_places(&[(Program, "data"), (Program, "log"), (Program, "directory"), (Program, "zone")]);
    assert!(files.uncorrectable() > 100, "{} torn pages", files.uncorrectable());
}

#[test]
fn blocks_that_fail_while_data_is_written() {
    let faults =
        &[((Program, "data"), 5), ((Erase, "data"), 1), ((Program, "summary"), 1), ((Program, "data"), 30)];
    with_faults("data blocks that fail", faults, writes);
}

#[test]
fn blocks_that_fail_while_garbage_is_collected() {
    with_faults("moved data fails", &[((Program, "data, moved"), 2)], collecting);
    with_faults("an erase fails as garbage is collected", &[((Erase, "data"), 1)], collecting);
    with_faults("a block fails to close as garbage is collected", &[((Program, "summary"), 0)], collecting);
}

#[test]
fn blocks_that_fail_while_wear_is_levelled() {
    with_faults("levelled data fails", &[((Program, "data, moved"), 2)], levelling);
    with_faults("an erase for levelled data fails", &[((Erase, "data, moved"), 0)], levelling);
}

#[test]
fn blocks_that_fail_under_a_checkpoint() {
    with_faults("the table fails", &[((Program, "table"), 0)], checkpointing);
    with_faults("the directory fails", &[((Program, "directory"), 0)], checkpointing);
    with_faults("the anchor fails", &[((Program, "zone"), 0)], checkpointing);
    let faults = &[((Program, "log, one copy"), 0), ((Program, "map"), 0), ((Erase, "map"), 1)];
    with_faults("the map fails", faults, scattered_writes);
}

#[test]
fn blocks_that_fail_as_the_anchor_zone_turns_over() {
    with_faults("an erase in the zone fails", &[((Erase, "zone"), 0)], turning_over_the_zone);
    with_faults("the first anchor in a block fails", &[((Program, "zone"), 2)], turning_over_the_zone);
}

#[test]
fn blocks_that_fail_as_the_log_turns_over() {
    with_faults("an erase for the log fails", &[((Erase, "log"), 0)], turning_over_the_log);
    with_faults("an erase for its second copy fails", &[((Erase, "log"), 1)], turning_over_the_log);
    with_faults("the log fails", &[((Program, "log"), 2)], turning_over_the_log);
    with_faults("the second copy of the log fails", &[((Program, "log"), 3)], turning_over_the_log);
}

#[test]
fn blocks_that_fail_as_a_session_begins_and_ends() {
    with_faults("the erase for a session fails", &[((Erase, "log, session"), 1)], writes);
    with_faults("the first page of a session fails", &[((Program, "log, session"), 1)], writes);
    with_faults("the clean end fails", &[((Program, "log, clean end"), 0)], writes);
}
