//! The power goes at every operation of the page-mapped engine, in every way it can, and again while the next process
//! recovers: what was acknowledged is there, what was not is there wholly or not at all, and the volume takes writes.
//!
//! Run with `--nocapture` to see the number of cut points; `NANDIMG_DEEP=1` leaves out none of the second ones.

#![forbid(unsafe_code)]

mod support;

use nandimg::Result;
use nandimg::flash::Geometry;
use nandimg::flash::Operation::{Erase, Program};
use nandimg::flash::faults::{Cut, Faulty};
use nandimg::flash::sim::SimFlash;

use support::engine::PageMapped;
#[cfg(feature = "std")]
use support::files::Files;
use support::geometry;
use support::sweep::{Ram, Report, ScenarioOf, sweep};

type Log = support::LogOf<PageMapped>;
type Scenario = ScenarioOf<PageMapped>;

/// Bytes a page.
const PAGE: u64 = 512;

/// Blocks of 8 pages.
fn small(blocks: u32) -> Geometry {
    geometry(PAGE as u32, 8 * PAGE as u32, blocks)
}

const CUTS: [Cut; 9] = [
    Cut::NotDone,
    Cut::Done,
    Cut::Prefix,
    Cut::Garbage,
    Cut::Unreadable,
    Cut::OldTail,
    Cut::Reordered,
    Cut::ReadsOnce,
    Cut::Fades,
];

fn scenario(name: &'static str, geometry: Geometry) -> Scenario {
    Scenario { cuts: &CUTS, quiet: true, second_cut_step: 3, ..Scenario::new(name, geometry) }
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
    if std::env::var_os("NANDIMG_RAM").is_none() {
        sweep(&Files::new(), scenario);
    }
    report
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
    let _ = Erase;
}
