//! Power cuts at every operation of a scenario, of every kind, and again at every operation of what follows.
//!
//! A scenario is a function over the chip; what carries the chip is a [`Medium`], so that the same sweep runs over RAM
//! and over a file.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

use nandimg::Result;
use nandimg::flash::faults::{Cut, Faulty, LatentFault, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::wear::WearPolicy;

use super::engine::{BlockMapped, Engine};
use super::{LogOf, SessionOf, Tally};

/// Every kind of cut.
pub(crate) const CUTS: [Cut; 9] = [
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

/// What carries the chip.
pub(crate) trait Medium {
    type Chip: Tearable;

    /// A chip as it was prepared: the same bytes, marks and faults.
    fn fresh(&self, prepared: &Faulty<SimFlash>) -> Faulty<Self::Chip>;

    /// Another chip in the state of this one.
    fn copy(&self, chip: &Faulty<Self::Chip>) -> Faulty<Self::Chip>;

    /// The chip as a process finds it that starts after the power came back.
    fn reopen(&self, chip: Faulty<Self::Chip>) -> Faulty<Self::Chip>;

    /// The second cut comes at every so manieth operation, where a scenario says `step`.
    fn second_cut_step(&self, step: usize, deep: bool) -> usize {
        if deep { 1 } else { step }
    }

    /// How often each block was asked to be erased, if the medium knows.
    fn erases<'a>(&self, chip: &'a Faulty<Self::Chip>) -> Option<&'a [u32]>;

    /// How often each block was really erased.
    fn erases_done(&self, chip: &Faulty<Self::Chip>) -> Option<Vec<u32>> {
        let asked = self.erases(chip)?.iter().zip(0..).map(|(&asked, block)| (asked, Block(block)));
        Some(asked.map(|(asked, block)| asked - chip.undone_erases(block)).collect())
    }

    /// A number for all that the chip is, if it is cheap to have.
    fn state(&self, chip: &Faulty<Self::Chip>) -> Option<u64>;
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

    fn state(&self, chip: &Faulty<SimFlash>) -> Option<u64> {
        let bad: Vec<_> = chip.geometry().iter_blocks().map(|block| chip.is_bad(block).ok()).collect();
        let mut hasher = DefaultHasher::new();
        (chip.inner().data(), bad, self.erases_done(chip)).hash(&mut hasher);
        for page in chip
            .unreadable()
            .into_iter()
            .enumerate()
            .flat_map(|(i, pages)| pages.into_iter().map(move |page| (i, page.block.0, page.page)))
        {
            page.hash(&mut hasher);
        }
        format!("{:?}", chip.latent()).hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// Makes a chip ready, and notes what is on it.
pub(crate) type PrepareOf<E> = fn(&mut Faulty<SimFlash>, &mut LogOf<E>) -> Result<()>;
pub(crate) type Prepare = PrepareOf<BlockMapped>;

/// What is done to a chip while the power may go.
pub(crate) struct ScenarioOf<E: Engine> {
    pub(crate) name: &'static str,
    pub(crate) geometry: Geometry,
    pub(crate) wear: WearPolicy,
    /// Whether a transaction may take effect in parts: it is larger than the free blocks.
    pub(crate) batched: bool,
    /// The kinds of cuts.
    pub(crate) cuts: &'static [Cut],
    /// The second cut comes at every so manieth operation, on most media.
    pub(crate) second_cut_step: usize,
    /// The chip to start from.
    pub(crate) prepare: PrepareOf<E>,
    /// Blocks that fail, each at the so manieth operation of the run that is of that kind.
    pub(crate) faults: &'static [(Place, usize)],
    /// The steps.
    pub(crate) run: fn(&mut dyn FlashHardware, &mut LogOf<E>) -> Result<()>,
    /// What is done after a cut before the volume is mounted, itself interrupted by the second cut.
    pub(crate) recover: fn(&mut dyn FlashHardware) -> Result<()>,
    /// What is done with the mounted volume after a cut.
    pub(crate) go_on: fn(&mut SessionOf<'_, E>) -> Result<()>,
    /// Anything else that must hold of a chip after a cut, and after the volume was written again.
    pub(crate) inspect: fn(&mut dyn FlashHardware),
    /// Whether a volume that was ended well mounts without a warning.
    pub(crate) quiet: bool,
    /// Whether every erase is counted: there was a volume to count them.
    pub(crate) counted: bool,
    /// Erases of a block that may be left uncounted after a second cut: where no metadata is left to count them, nothing tells of
    /// rebuilds in a row that were each cut short between an erase and the first page.
    pub(crate) uncounted: u32,
}

pub(crate) type Scenario = ScenarioOf<BlockMapped>;

impl<E: Engine> ScenarioOf<E> {
    pub(crate) fn new(name: &'static str, geometry: Geometry) -> Self {
        Self {
            name,
            geometry,
            wear: super::NO_LEVELLING,
            batched: false,
            cuts: &Cut::ALL,
            second_cut_step: 1,
            faults: &[],
            prepare: |chip, log| log.format(chip),
            run: |_, _| Ok(()),
            recover: |_| Ok(()),
            go_on: write_across_units,
            inspect: |_| {},
            quiet: false,
            counted: true,
            uncounted: 0,
        }
    }
}

/// Write a unit and a little more, from the middle of the first one on.
pub(crate) fn write_across_units<E: Engine>(session: &mut SessionOf<'_, E>) -> Result<()> {
    let unit = E::unit(&session.volume);
    let offset = unit / 2;
    session.write(offset, (unit + 10).min(session.volume.capacity() - offset))?;
    session.sync()
}

/// Where a cut fell: what was being done, to what.
pub(crate) type Place = (Operation, &'static str);

/// A sync, or a mark being set.
pub(crate) const OTHER: Place = (Operation::Read, "other");

/// How many cuts there were, and where they fell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) first: u64,
    pub(crate) second: u64,
    /// Of all these, the ones that left what another had left already.
    pub(crate) alike: u64,
    /// First cuts by place, and second ones.
    pub(crate) places: BTreeMap<Place, u64>,
    pub(crate) second_places: BTreeMap<Place, u64>,
    /// Cuts after which the transaction was there, and was not.
    pub(crate) took_effect: u64,
    pub(crate) undone: u64,
    /// What the run did when nothing cut it short, and what failed in it.
    pub(crate) uncut: Tally,
    pub(crate) failed: Vec<Place>,
}

impl Report {
    /// First cuts in a place.
    pub(crate) fn cuts(&self, operation: Operation, what: &'static str) -> u64 {
        self.places.get(&(operation, what)).copied().unwrap_or(0)
    }

    /// Cuts in a sync, or in setting a mark.
    pub(crate) fn other(&self) -> u64 {
        self.cuts(OTHER.0, OTHER.1)
    }

    /// That the power really went in all these places.
    pub(crate) fn assert_reached(&self, places: &[Place]) {
        let missing: Vec<_> = places.iter().filter(|place| !self.places.contains_key(*place)).collect();
        assert!(missing.is_empty(), "no cut at {missing:?}: {self:?}");
        assert!(self.other() > 0, "{self:?}");
    }

    /// That a block failed in each of these places, as they were found in the run without the fault. Into a data block that
    /// cannot be erased nothing is programmed.
    pub(crate) fn assert_failed(&self, faults: &[(Place, usize)]) {
        let mut expected: Vec<Place> = faults
            .iter()
            .map(|&((operation, what), _)| match operation {
                Operation::Erase if what != "zone" => (operation, "nothing"),
                _ => (operation, what),
            })
            .collect();
        let mut failed = self.failed.clone();
        expected.sort_unstable();
        failed.sort_unstable();
        assert_eq!(failed, expected, "what failed, and what was to fail: {self:?}");
    }

    /// That the power really went in all these places, and that some cuts undid what others left.
    pub(crate) fn assert_places(&self, places: &[Place]) {
        self.assert_reached(places);
        assert!(self.took_effect > 0 && self.undone > 0, "all cuts had one outcome: {self:?}");
    }

    /// That the power really went in every kind of place of the block-mapped format.
    pub(crate) fn assert_everywhere(&self) {
        self.assert_places(&[
            (Operation::Erase, "slot"),
            (Operation::Program, "slot"),
            (Operation::Erase, "data"),
            (Operation::Program, "data"),
        ]);
    }
}

/// A program or an erase that was asked for.
struct Done {
    operation: Operation,
    at: PageAddr,
    /// What was programmed.
    page: Vec<u8>,
    /// It was read from another page before.
    copied: bool,
    failed: bool,
}

/// A chip that notes what is done to it.
struct Watched<'a> {
    chip: &'a mut dyn FlashHardware,
    /// `None` for a sync, or a mark being set.
    done: RefCell<Vec<Option<Done>>>,
    /// Whole pages that were read.
    read: RefCell<HashSet<Vec<u8>>>,
}

impl<'a> Watched<'a> {
    fn new(chip: &'a mut dyn FlashHardware) -> Self {
        Self { chip, done: RefCell::default(), read: RefCell::default() }
    }

    fn note(&self, operation: Operation, at: PageAddr, page: &[u8], failed: bool) {
        let copied = self.read.borrow().contains(page);
        self.done.borrow_mut().push(Some(Done { operation, at, page: page.to_vec(), copied, failed }));
    }

    fn places<E: Engine>(&self) -> Vec<Place> {
        let done = self.done.borrow();
        let place = |(i, now): (usize, &Option<Done>)| {
            let Some(Done { operation, at, .. }) = now else { return OTHER };
            // For an erase, what is programmed into the block next.
            let programmed = done[i..]
                .iter()
                .flatten()
                .find(|done| done.operation == Operation::Program && done.at.block == at.block)
                .map(|done| (done.page.as_slice(), done.copied));
            (*operation, E::kind_of(self.geometry(), *at, programmed))
        };
        done.iter().enumerate().map(place).collect()
    }

    /// What failed.
    fn failed<E: Engine>(&self) -> Vec<Place> {
        let done = self.done.borrow();
        let failed = self.places::<E>().into_iter().zip(done.iter());
        failed
            .filter(|(_, done)| done.as_ref().is_some_and(|done| done.failed))
            .map(|(place, _)| place)
            .collect()
    }
}

impl FlashHardware for Watched<'_> {
    fn geometry(&self) -> &Geometry {
        self.chip.geometry()
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> std::result::Result<(), FlashError> {
        self.chip.read(block, offset, buf)?;
        if buf.len() == self.geometry().page_size() as usize {
            self.read.borrow_mut().insert(buf.to_vec());
        }
        Ok(())
    }
    fn program(&mut self, page: PageAddr, data: &[u8]) -> std::result::Result<(), FlashError> {
        let result = self.chip.program(page, data);
        self.note(Operation::Program, page, data, result.is_err());
        result
    }
    fn erase(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        let result = self.chip.erase(block);
        self.note(Operation::Erase, PageAddr { block, page: 0 }, &[], result.is_err());
        result
    }
    fn is_bad(&self, block: Block) -> std::result::Result<bool, FlashError> {
        self.chip.is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        self.done.borrow_mut().push(None);
        self.chip.mark_bad(block)
    }
    fn carries_marks(&self) -> bool {
        self.chip.carries_marks()
    }
    fn sync(&mut self) -> std::result::Result<(), FlashError> {
        self.done.borrow_mut().push(None);
        self.chip.sync()
    }
    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.chip.raw_offset(page)
    }
}

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
pub(crate) fn sweep<M: Medium, E: Engine>(medium: &M, scenario: &ScenarioOf<E>) -> Report {
    let mut prepared = Faulty::new(SimFlash::new(scenario.geometry));
    let mut base = LogOf::new(scenario.wear, scenario.batched);
    (scenario.prepare)(&mut prepared, &mut base).expect("the chip is prepared");
    base.tally = Tally::default();
    for &(place, nth) in scenario.faults {
        let fault = fault_at(scenario, &prepared, &base, place, nth);
        prepared.latent_mut().add(fault);
    }
    let Uncut { places, failed, tally: uncut } = run_uncut(medium, scenario, &prepared, &base);
    let deep = std::env::var_os("NANDIMG_DEEP").is_some();
    let step = medium.second_cut_step(scenario.second_cut_step, deep);
    let report = Report { uncut, failed, ..Report::default() };
    let mut sweep = Sweep { medium, scenario, step, report, seen: HashSet::new() };
    base.watching = false;
    for (n, &place) in (0..).zip(&places) {
        for &cut in scenario.cuts {
            if !asked_for("NANDIMG_FIRST_CUT", (n, cut)) {
                continue;
            }
            *sweep.report.places.entry(place).or_default() += 1;
            sweep.cut_once(&prepared, base.clone(), (n, cut));
        }
    }
    let report = sweep.report;
    println!("{}: {} cut points, {} second ones; {report:?}", scenario.name, report.first, report.second);
    report
}

/// The fault that strikes at the `nth` operation of the run that is of that kind.
fn fault_at<E: Engine>(
    scenario: &ScenarioOf<E>,
    prepared: &Faulty<SimFlash>,
    base: &LogOf<E>,
    place: Place,
    nth: usize,
) -> LatentFault {
    let mut chip = prepared.clone();
    let mut watched = Watched::new(&mut chip);
    (scenario.run)(&mut watched, &mut base.clone()).expect("nothing fails while the power is on");
    let places = watched.places::<E>();
    let found = places.iter().enumerate().filter(|(_, other)| **other == place).nth(nth);
    let (n, _) = found.unwrap_or_else(|| panic!("{place:?} is done no {nth} times in {places:?}"));
    let done = watched.done.borrow();
    let block = done[n].as_ref().map_or(Block(0), |done| done.at.block);
    let same = |done: &&Done| done.operation == place.0 && done.at.block == block;
    let after = done[..n].iter().flatten().filter(same).count() as u64;
    LatentFault { block: block.0, on: place.0, after }
}

/// A run as it is without a cut.
struct Uncut {
    /// What each operation of it is.
    places: Vec<Place>,
    failed: Vec<Place>,
    tally: Tally,
}

fn run_uncut<M: Medium, E: Engine>(
    medium: &M,
    scenario: &ScenarioOf<E>,
    prepared: &Faulty<SimFlash>,
    base: &LogOf<E>,
) -> Uncut {
    let mut chip = medium.fresh(prepared);
    let mut log = base.clone();
    let mut watched = Watched::new(&mut chip);
    (scenario.run)(&mut watched, &mut log).expect("nothing fails while the power is on");
    let uncut = Uncut { places: watched.places::<E>(), failed: watched.failed::<E>(), tally: log.tally };
    if let Some(erases) = medium.erases(&chip).map(<[u32]>::to_vec) {
        if std::env::var_os("NANDIMG_TRACE").is_some() {
            println!("{:?}", uncut.places);
        }
        let session = log.mount(&mut chip).expect("the volume mounts");
        assert_counted(session.volume.erase_counts(), &erases, 0);
    }
    uncut
}

/// Whether this cut is to be done: all are, unless one is named, as `3 Done`, to come back to a failure.
fn asked_for(name: &str, (n, cut): (u64, Cut)) -> bool {
    std::env::var(name).map_or(true, |one| one == format!("{n} {cut:?}"))
}

/// That no erase was left uncounted, but for so many of each block.
fn assert_counted(counted: &[u32], erases: &[u32], uncounted: u32) {
    let behind = |(block, (counted, erases)): (usize, (&u32, &u32))| {
        (counted + uncounted < *erases).then(|| format!("block {block}: {counted} for {erases}"))
    };
    let behind: Vec<_> = counted.iter().zip(erases).enumerate().filter_map(behind).collect();
    assert!(
        counted.len() == erases.len() && behind.is_empty(),
        "fewer erases are counted than were done: {behind:?}"
    );
}

struct Sweep<'a, M, E: Engine> {
    medium: &'a M,
    scenario: &'a ScenarioOf<E>,
    step: usize,
    report: Report,
    /// What cuts have left: chip, and what may be on it.
    seen: HashSet<u64>,
}

impl<M: Medium, E: Engine> Sweep<'_, M, E> {
    /// Whether this chip, with that log, has not been met before.
    fn is_new(&mut self, chip: &Faulty<M::Chip>, log: &LogOf<E>, depth: u8) -> bool {
        let Some(state) = self.medium.state(chip) else { return true };
        let mut hasher = DefaultHasher::new();
        (depth, state, log.state()).hash(&mut hasher);
        let is_new = self.seen.insert(hasher.finish());
        self.report.alike += u64::from(!is_new);
        is_new
    }

    fn cut_once(&mut self, prepared: &Faulty<SimFlash>, mut log: LogOf<E>, (n, cut): (u64, Cut)) {
        let mut replay = Replay { scenario: self.scenario.name, first: (n, cut), second: None };
        let mut chip = self.medium.fresh(prepared);
        chip.cut_power_after(n, cut);
        // Whether it fails is no matter: a levelling that is cut short does not fail the sync it follows.
        let _ = (self.scenario.run)(&mut chip, &mut log);
        assert!(chip.is_off(), "the run did the same up to the cut as without it");
        self.report.first += 1;
        log.note_cut(cut);
        chip.restore_power();
        let chip = self.medium.reopen(chip);
        if !self.is_new(&chip, &log, 1) {
            return;
        }

        let mut uncut = self.medium.copy(&chip);
        let mut recovered = log.clone();
        let mut watched = Watched::new(&mut uncut);
        let undone = self
            .recover(&mut watched, &mut recovered)
            .expect("the volume mounts, and is written, after the cut");
        let places = watched.places::<E>();
        self.check(&mut uncut, &mut recovered, 1);
        *if undone { &mut self.report.undone } else { &mut self.report.took_effect } += 1;
        // Shifted with the first cut, so that a step leaves out no operation in all.
        for (n, &place) in (0u64..).zip(&places).skip(n as usize % self.step).step_by(self.step) {
            for &cut in self.scenario.cuts {
                if !asked_for("NANDIMG_SECOND_CUT", (n, cut)) {
                    continue;
                }
                replay.second = Some((n, cut));
                *self.report.second_places.entry(place).or_default() += 1;
                self.cut_again(self.medium.copy(&chip), log.clone(), (n, cut));
            }
        }
    }

    fn cut_again(&mut self, mut chip: Faulty<M::Chip>, mut log: LogOf<E>, (n, cut): (u64, Cut)) {
        chip.cut_power_after(n, cut);
        let _ = self.recover(&mut chip, &mut log);
        assert!(chip.is_off(), "the recovery did the same up to the cut as without it");
        self.report.second += 1;
        log.note_cut(cut);
        chip.restore_power();
        let mut chip = self.medium.reopen(chip);
        if !self.is_new(&chip, &log, 2) {
            return;
        }
        self.recover(&mut chip, &mut log).expect("the volume mounts, and is written, after the second cut");
        self.check(&mut chip, &mut log, 2);
    }

    /// What the next process does: mount, see what is there, write on, and end. Whether it found what was acknowledged, and
    /// nothing of what was being done.
    fn recover(&self, hw: &mut dyn FlashHardware, log: &mut LogOf<E>) -> Result<bool> {
        (self.scenario.recover)(hw)?;
        (self.scenario.inspect)(hw);
        // Once more read than the pages may stand that read right once.
        let seen = if log.fading { Vec::new() } else { E::read_only(hw) };
        let mut session = log.mount(hw)?;
        assert_eq!(session.volume.read_only(), None, "the volume can be written");
        let undone = session.log.settle(&session.volume);
        for content in seen {
            let content = content.expect("the volume can be read without writing");
            assert!(content == session.log.model.committed, "all who read it read the same");
        }
        (self.scenario.go_on)(&mut session)?;
        session.end()?;
        Ok(undone)
    }

    /// That what was written after the cut is there, and can be written on.
    fn check(&self, chip: &mut Faulty<M::Chip>, log: &mut LogOf<E>, cuts: u32) {
        // What may be lost once more is lost now.
        chip.restore_power();
        (self.scenario.inspect)(chip);
        let erases = self.medium.erases_done(chip);
        let log_fades = log.fading;
        for again in [false, true] {
            let mut session = log.mount(chip).expect("the volume mounts again");
            let as_written = session.log.settle(&session.volume);
            assert!(as_written, "what was written after the cut is there");
            if let Some(erases) = &erases
                && !again
                && self.scenario.counted
                && E::COUNTS_ALL_ERASES
            {
                // A page that tells may be lost between two recoveries.
                let uncounted = if cuts == 1 { 0 } else { self.scenario.uncounted.max(u32::from(log_fades)) };
                assert_counted(session.volume.erase_counts(), erases, uncounted);
            }
            if !self.scenario.quiet || again {
                return;
            }
            let warnings = session.volume.warnings();
            // Pages that fade are lost where nothing was done to them.
            assert!(log_fades || warnings.is_empty(), "it was ended well: {warnings:?}");
            session
                .write(0, E::unit(&session.volume))
                .and_then(|()| session.sync())
                .expect("it is written on");
        }
    }
}
