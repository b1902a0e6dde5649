//! Power cuts at every operation of a scenario, of every kind, and again at every operation of what follows.
//!
//! A scenario is a function over the chip; what carries the chip is a [`Medium`], so that the same sweep runs over RAM
//! and over a file.

use nandimg::Result;
use nandimg::flash::faults::{Cut, Faulty, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::block::slots::SlotId;
use nandimg::ftl::wear::WearPolicy;
use nandimg::onflash::ftlj::Layout;

use super::{Log, Tally};

/// What carries the chip.
pub(crate) trait Medium {
    type Chip: Tearable;

    /// A chip as it was prepared: the same bytes, marks and faults.
    fn fresh(&self, prepared: &Faulty<SimFlash>) -> Faulty<Self::Chip>;

    /// Another chip in the state of this one.
    fn copy(&self, chip: &Faulty<Self::Chip>) -> Faulty<Self::Chip>;

    /// The chip as a process finds it that starts after the power came back.
    fn reopen(&self, chip: Faulty<Self::Chip>) -> Faulty<Self::Chip>;

    /// The second cut comes at every so manieth operation.
    fn second_cut_step(&self) -> usize {
        1
    }

    /// How often each block was really erased, if the medium knows.
    fn erases<'a>(&self, chip: &'a Faulty<Self::Chip>) -> Option<&'a [u32]>;
}

/// The simulator.
pub(crate) struct Ram;

impl Medium for Ram {
    type Chip = SimFlash;

    fn fresh(&self, prepared: &Faulty<SimFlash>) -> Faulty<SimFlash> {
        prepared.clone()
    }

    fn copy(&self, chip: &Faulty<SimFlash>) -> Faulty<SimFlash> {
        chip.clone()
    }

    fn reopen(&self, chip: Faulty<SimFlash>) -> Faulty<SimFlash> {
        chip
    }

    fn erases<'a>(&self, chip: &'a Faulty<SimFlash>) -> Option<&'a [u32]> {
        Some(chip.inner().erases())
    }
}

/// Makes a chip ready, and notes what is on it.
pub(crate) type Prepare = fn(&mut Faulty<SimFlash>, &mut Log) -> Result<()>;

/// What is done to a chip while the power may go.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) geometry: Geometry,
    pub(crate) wear: WearPolicy,
    /// Whether a transaction may take effect in parts: it is larger than the free blocks.
    pub(crate) batched: bool,
    /// The chip to start from.
    pub(crate) prepare: Prepare,
    /// The steps.
    pub(crate) run: fn(&mut dyn FlashHardware, &mut Log) -> Result<()>,
    /// What is done after a cut before the volume is mounted, itself interrupted by the second cut.
    pub(crate) recover: fn(&mut dyn FlashHardware) -> Result<()>,
    /// Anything else that must hold of a chip after a cut, and after the volume was written again.
    pub(crate) inspect: fn(&mut dyn FlashHardware),
}

impl Scenario {
    pub(crate) fn new(name: &'static str, geometry: Geometry) -> Self {
        Self {
            name,
            geometry,
            wear: super::NO_LEVELLING,
            batched: false,
            prepare: |chip, log| log.format(chip),
            run: |_, _| Ok(()),
            recover: |_| Ok(()),
            inspect: |_| {},
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.geometry.block_size(), self.geometry.blocks()).unwrap()
    }
}

/// How many cuts there were, and where they fell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) slot_erase: u64,
    pub(crate) slot_program: u64,
    pub(crate) data_erase: u64,
    pub(crate) data_program: u64,
    /// A sync, or a mark being set.
    pub(crate) other: u64,
    /// Cuts after which the transaction was there, and was not.
    pub(crate) took_effect: u64,
    pub(crate) undone: u64,
    /// What the run did when nothing cut it short.
    pub(crate) uncut: Tally,
}

impl Report {
    fn note(&mut self, interrupted: Option<(Operation, PageAddr)>, layout: &Layout) {
        let Some((operation, at)) = interrupted else {
            self.other += 1;
            return;
        };
        let in_slot = SlotId::of_block(at.block, layout).is_some();
        let place = match (operation, in_slot) {
            (Operation::Erase, true) => &mut self.slot_erase,
            (Operation::Erase, false) => &mut self.data_erase,
            (_, true) => &mut self.slot_program,
            (_, false) => &mut self.data_program,
        };
        *place += 1;
    }

    /// That the power really went in every kind of place.
    pub(crate) fn assert_everywhere(&self) {
        let places = [self.slot_erase, self.slot_program, self.data_erase, self.data_program, self.other];
        assert!(places.iter().all(|&n| n > 0), "no cut in some kind of place: {self:?}");
        assert!(self.took_effect > 0 && self.undone > 0, "all cuts had one outcome: {self:?}");
    }
}

/// The second cuts' kinds. All of them: a shorter list would be quicker and is not needed.
const SECOND: [Cut; 7] = Cut::ALL;

/// Says on a failure how to come back to it.
struct Replay<'a> {
    scenario: &'a str,
    first: (u64, Cut),
    second: Option<(u64, Cut)>,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { scenario, first, second } = self;
            eprintln!("replay: scenario {scenario:?}, first cut {first:?}, second cut {second:?}");
        }
    }
}

/// Cut the power everywhere.
pub(crate) fn sweep<M: Medium>(medium: &M, scenario: &Scenario) -> Report {
    let mut prepared = Faulty::new(SimFlash::new(scenario.geometry));
    let mut base = Log::new(scenario.wear, scenario.batched);
    (scenario.prepare)(&mut prepared, &mut base).expect("the chip is prepared");
    base.tally = Tally::default();
    let (operations, uncut) = run_uncut(medium, scenario, &prepared, &base);
    let mut sweep = Sweep { medium, scenario, report: Report { uncut, ..Report::default() } };
    for n in 0..operations {
        for cut in Cut::ALL {
            sweep.cut_once(&prepared, base.clone(), (n, cut));
        }
    }
    let report = sweep.report;
    println!("{}: {} cut points, {} second ones; {report:?}", scenario.name, report.first, report.second);
    report
}

/// The run as it is without a cut: how many operations it takes, and what happened in it.
fn run_uncut<M: Medium>(
    medium: &M,
    scenario: &Scenario,
    prepared: &Faulty<SimFlash>,
    base: &Log,
) -> (u64, Tally) {
    let mut chip = medium.fresh(prepared);
    let mut log = base.clone();
    let before = chip.operations();
    (scenario.run)(&mut chip, &mut log).expect("nothing fails while the power is on");
    let operations = chip.operations() - before;
    if let Some(erases) = medium.erases(&chip) {
        let counted = log.counts();
        assert!(
            counted.len() == erases.len() && counted.iter().zip(erases).all(|(counted, n)| counted >= n),
            "{counted:?} erases are counted, and {erases:?} were done"
        );
    }
    (operations, log.tally)
}

struct Sweep<'a, M> {
    medium: &'a M,
    scenario: &'a Scenario,
    report: Report,
}

impl<M: Medium> Sweep<'_, M> {
    fn cut_once(&mut self, prepared: &Faulty<SimFlash>, mut log: Log, (n, cut): (u64, Cut)) {
        let mut replay = Replay { scenario: self.scenario.name, first: (n, cut), second: None };
        let mut chip = self.medium.fresh(prepared);
        chip.cut_power_after(n, cut);
        // Whether it fails is no matter: a levelling that is cut short does not fail the sync it follows.
        let _ = (self.scenario.run)(&mut chip, &mut log);
        assert!(chip.is_off(), "the run did the same up to the cut as without it");
        self.report.first += 1;
        self.report.note(chip.interrupted(), &self.scenario.layout());
        chip.restore_power();
        let chip = self.medium.reopen(chip);

        let mut uncut = self.medium.copy(&chip);
        let before = uncut.operations();
        let mut recovered = log.clone();
        let undone = self
            .recover(&mut uncut, &mut recovered)
            .expect("the volume mounts, and is written, after the cut");
        let operations = uncut.operations() - before;
        self.check(&mut uncut, &mut recovered);
        *if undone { &mut self.report.undone } else { &mut self.report.took_effect } += 1;
        // Shifted with the first cut, so that a step leaves out no operation in all.
        let step = self.medium.second_cut_step();
        for n in (n % step as u64..operations).step_by(step) {
            for cut in SECOND {
                replay.second = Some((n, cut));
                self.cut_again(self.medium.copy(&chip), log.clone(), (n, cut));
            }
        }
    }

    fn cut_again(&mut self, mut chip: Faulty<M::Chip>, mut log: Log, (n, cut): (u64, Cut)) {
        chip.cut_power_after(n, cut);
        let _ = self.recover(&mut chip, &mut log);
        assert!(chip.is_off(), "the recovery did the same up to the cut as without it");
        self.report.second += 1;
        chip.restore_power();
        let mut chip = self.medium.reopen(chip);
        self.recover(&mut chip, &mut log).expect("the volume mounts, and is written, after the second cut");
        self.check(&mut chip, &mut log);
    }

    /// What the next process does: mount, see what is there, and write on. Whether it found what was acknowledged, and
    /// nothing of what was being done.
    fn recover(&self, hw: &mut dyn FlashHardware, log: &mut Log) -> Result<bool> {
        (self.scenario.recover)(hw)?;
        (self.scenario.inspect)(hw);
        let mut session = log.mount(hw)?;
        assert_eq!(session.volume.read_only(), None, "the volume can be written");
        let undone = session.log.settle(&session.volume);
        let block_size = u64::from(session.volume.layout().block_size);
        let offset = block_size / 2;
        session.write(offset, (block_size + 10).min(session.volume.capacity() - offset))?;
        session.sync()?;
        Ok(undone)
    }

    /// That what was written after the cut is there.
    fn check(&self, hw: &mut dyn FlashHardware, log: &mut Log) {
        (self.scenario.inspect)(hw);
        let session = log.mount(hw).expect("the volume mounts again");
        let as_written = session.log.settle(&session.volume);
        assert!(as_written, "what was written after the cut is there");
    }
}
