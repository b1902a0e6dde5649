//! Random operations on a volume beside a plain model of it, while blocks fail, marks appear and the power goes.
//!
//! `NANDIMG_DEEP=1` runs ten times the seeds.

#![forbid(unsafe_code)]

mod support;

use nandimg::flash::faults::{Cut, Faulty, LatentFault};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::block::FormatPlan;
use nandimg::ftl::wear::WearPolicy;
use nandimg::onflash::ftlj::Layout;
use nandimg::prng::SplitMix64;
use nandimg::{Error, Result};

use support::{Log, Model, Session, geometry, read_all};

const SEEDS: u64 = 300;
const OPERATIONS: u32 = 300;

/// What happened in all the runs, so that the test can tell that it did test something.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    refused: u64,
    no_free_block: u64,
    read_only: u64,
    cuts: u64,
    splits: u64,
    dropped: u64,
    rolled_back: u64,
    bad: u64,
    moved: u64,
}

/// Names the seed of a run that fails.
struct Replay(Geometry, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: seed {} of {:?}", self.1, self.0);
        }
    }
}

fn run_seeds(geometry: Geometry) -> Seen {
    let deep = std::env::var_os("NANDIMG_DEEP").is_some_and(|value| value == "1");
    let mut seen = Seen::default();
    for seed in 0..if deep { 10 * SEEDS } else { SEEDS } {
        let _replay = Replay(geometry, seed);
        Run::new(geometry, seed, &mut seen).run();
    }
    println!("{} blocks of {} bytes: {seen:?}", geometry.blocks(), geometry.block_size());
    assert!(seen.refused > 0 && seen.splits > 0 && seen.dropped > 0 && seen.rolled_back > 0, "{seen:?}");
    assert!(seen.read_only > 0 && seen.cuts > 0 && seen.bad > 0 && seen.moved > 0, "{seen:?}");
    seen
}

#[test]
fn blocks_of_four_pages() {
    run_seeds(geometry(64, 256, 16));
}

#[test]
fn slots_of_two_blocks() {
    run_seeds(geometry(64, 256, 40));
}

#[test]
fn blocks_of_one_page() {
    let seen = run_seeds(geometry(128, 128, 14));
    assert!(seen.no_free_block > 0, "so few blocks run out when some fail: {seen:?}");
}

#[test]
fn pages_of_512_bytes() {
    run_seeds(geometry(512, 2048, 24));
}

struct Run<'a> {
    chip: Faulty<SimFlash>,
    layout: Layout,
    log: Log,
    rng: SplitMix64,
    seen: &'a mut Seen,
    operations: u32,
    /// How many more blocks may be broken.
    spare: u32,
    /// Whether a block of a metadata slot may fail.
    slot_fault: bool,
    /// Blocks known to be bad: that is for ever.
    bad: Vec<Block>,
}

impl<'a> Run<'a> {
    fn new(geometry: Geometry, seed: u64, seen: &'a mut Seen) -> Self {
        let layout = Layout::new(geometry.block_size(), geometry.blocks()).unwrap();
        let wear =
            if seed % 8 == 7 { WearPolicy::default() } else { WearPolicy { interval: 5, threshold: 3 } };
        let mut chip = Faulty::new(SimFlash::new(geometry));
        let mut rng = SplitMix64::new(seed);
        if rng.below(3) == 0 {
            chip.inner_mut().set_factory_bad(Block(layout.reserved + rng.below(4) as u32));
        }
        FormatPlan::new(&chip, true).and_then(|plan| plan.execute(&mut chip)).unwrap();
        let mut log = Log::new(wear, false);
        log.rng = SplitMix64::new(!seed);
        let spare = layout.data_blocks() / 3;
        Self { chip, layout, log, rng, seen, operations: 0, spare, slot_fault: false, bad: Vec::new() }
    }

    fn run(&mut self) {
        while self.operations < OPERATIONS {
            self.one_mount();
            self.between_mounts();
        }
    }

    /// One of `n` times.
    fn rarely(&mut self, n: u64) -> bool {
        self.rng.below(n) == 0
    }

    /// What happens to the chip while nobody looks.
    fn between_mounts(&mut self) {
        if self.spare > 0 && self.rarely(4) {
            self.spare -= 1;
            let block = self.layout.reserved + self.rng.below(self.layout.data_blocks().into()) as u32;
            let on = if self.rarely(2) { Operation::Erase } else { Operation::Program };
            match self.rarely(3) {
                true => self.chip.inner_mut().set_factory_bad(Block(block)),
                false => self.chip.latent_mut().add(LatentFault { block, on, after: self.rng.below(6) }),
            }
        }
        if self.rarely(60) {
            self.slot_fault = true;
            let block = self.rng.below(2 * u64::from(self.layout.blocks_per_slot)) as u32;
            let on = if self.rarely(2) { Operation::Erase } else { Operation::Program };
            self.chip.latent_mut().add(LatentFault { block, on, after: self.rng.below(6) });
        }
        if self.rarely(4) {
            let cut = Cut::ALL[self.rng.below(7) as usize];
            self.chip.cut_power_after(self.rng.below(80), cut);
        }
    }

    /// Mount, and do some operations, until it is time for another mount or the power goes.
    fn one_mount(&mut self) {
        let Self { chip, log, rng, seen, .. } = self;
        let session = log.mount(chip).expect("the volume mounts");
        session.log.settle(&session.volume);
        session.log.batched = false;
        let bad = session.volume.bad_blocks();
        assert!(
            self.bad.iter().all(|b| bad.contains(b)),
            "{:?} are bad for ever, not only {bad:?}",
            self.bad
        );
        let mut mounted =
            Mounted { free: session.volume.free_blocks(), session, rng, slot_fault: self.slot_fault, seen };
        mounted.check_blocks();
        let mut result = Ok(());
        while result.is_ok() && self.operations < OPERATIONS && mounted.rng.below(16) > 0 {
            self.operations += 1;
            result = mounted.operate();
        }
        mounted.leave(result.is_err());
        self.bad = mounted.session.volume.bad_blocks();
        seen.moved += std::mem::take(&mut log.tally).moved;
        if chip.is_off() {
            // A block that was about to be marked when the power went is found out once more.
            self.bad.retain(|&b| chip.inner().is_bad(b).unwrap());
        }
        chip.restore_power();
    }
}

/// The power went.
struct PowerLost;

struct Mounted<'a, 'b> {
    session: Session<'a>,
    rng: &'b mut SplitMix64,
    seen: &'b mut Seen,
    slot_fault: bool,
    /// Free blocks when the transaction began.
    free: u64,
}

impl Mounted<'_, '_> {
    fn operate(&mut self) -> std::result::Result<(), PowerLost> {
        match self.rng.below(100) {
            0..45 => self.write(),
            45..57 => self.set_len(),
            57..62 => self.past_capacity(),
            62..82 => self.sync(),
            82..86 => {
                self.session.rollback();
                self.free = self.session.volume.free_blocks();
                self.seen.rolled_back += 1;
                Ok(())
            }
            _ => self.read(),
        }
    }

    /// Mostly small numbers below `bound`, and sometimes any.
    fn size(&mut self, bound: u64) -> u64 {
        let block_size = u64::from(self.session.volume.layout().block_size);
        let bound = match self.rng.below(4) {
            0 => bound,
            1 => bound.min(3 * block_size),
            _ => bound.min(block_size),
        };
        self.rng.below(bound + 1)
    }

    fn write(&mut self) -> std::result::Result<(), PowerLost> {
        let capacity = self.session.volume.capacity();
        let len = self.size(capacity);
        let near_end = self.rng.below(4) == 0;
        let offset = match near_end {
            true => self.session.volume.len().min(capacity - len),
            false => self.rng.below(capacity - len + 1),
        };
        let result = self.session.write(offset, len);
        self.after(result)
    }

    fn set_len(&mut self) -> std::result::Result<(), PowerLost> {
        let len = self.rng.below(self.session.volume.capacity() + 1);
        let result = self.session.set_len(len);
        self.after(result)
    }

    fn sync(&mut self) -> std::result::Result<(), PowerLost> {
        self.seen.splits += u64::from(self.session.split());
        let result = self.session.sync();
        let synced = result.is_ok();
        self.after(result)?;
        if synced {
            self.free = self.session.volume.free_blocks();
            self.check_blocks();
        }
        Ok(())
    }

    /// What does not fit is refused, and nothing is changed, not even what is staged.
    fn past_capacity(&mut self) -> std::result::Result<(), PowerLost> {
        let volume = &self.session.volume;
        let (capacity, len) = (volume.capacity(), volume.len());
        let (offset, size) = match self.rng.below(3) {
            0 => (capacity, 1 + self.rng.below(500)),
            1 => (capacity + 1 + self.rng.below(9), self.rng.below(500)),
            _ => (capacity.saturating_sub(10), 11 + self.rng.below(500)),
        };
        let result = match self.rng.below(2) {
            0 => self.session.write(offset, size),
            _ => self.session.set_len(capacity.max(len) + size + 1),
        };
        let refused =
            matches!(result, Err(Error::TooLarge { .. } | Error::OutOfRange { .. } | Error::ReadOnly(_)));
        assert!(refused, "write of {size} at {offset}, of {capacity}: {result:?}");
        self.session.log.model.pending.pop();
        self.seen.refused += 1;
        self.check_content();
        Ok(())
    }

    fn read(&mut self) -> std::result::Result<(), PowerLost> {
        let staged = self.session.log.model.staged();
        let offset = self.rng.below(staged.len() as u64 + 1) as usize;
        let mut buf = vec![0xAA; self.size((staged.len() - offset) as u64) as usize];
        self.session.volume.read(offset as u64, &mut buf).expect("the volume reads");
        assert!(buf == staged[offset..][..buf.len()], "{} bytes at {offset}", buf.len());
        let past = self.session.volume.read(offset as u64, &mut vec![0; staged.len() - offset + 1]);
        assert!(matches!(past, Err(Error::OutOfRange { .. })), "{past:?}");
        Ok(())
    }

    /// Whether an operation that could fail did so for a good reason, and what it left.
    fn after(&mut self, result: Result<()>) -> std::result::Result<(), PowerLost> {
        // Also when the operation succeeded: a levelling after it may be what was interrupted.
        if self.is_off() {
            return Err(PowerLost);
        }
        let read_only = self.session.volume.read_only().is_some();
        match result {
            Ok(()) => {}
            Err(Error::NoFreeBlock { .. }) => {
                let needed = self.longest();
                assert!(needed > self.session.volume.capacity(), "no free block, and yet {needed} bytes fit");
                self.seen.no_free_block += 1;
                self.session.note_rollback();
                self.free = self.session.volume.free_blocks();
            }
            Err(Error::ReadOnly(_)) if read_only && self.slot_fault => {
                self.seen.read_only += 1;
                self.session.note_rollback();
            }
            Err(error) => panic!("{error}"),
        }
        self.check_content();
        Ok(())
    }

    /// The greatest length of the volume since the last sync: blocks that failed may have left too few for it.
    fn longest(&self) -> u64 {
        let Model { committed, pending } = &self.session.log.model;
        let mut len = committed.len() as u64;
        let lengths = pending.iter().map(|change| {
            len = change.len_after(len);
            len
        });
        lengths.fold(committed.len() as u64, u64::max)
    }

    /// Whether the chip answers no more: the faults have no other way to say so through the volume.
    fn is_off(&self) -> bool {
        self.session.volume.flash().read(Block(0), 0, &mut [0]).is_err()
    }

    fn check_content(&self) {
        let staged = self.session.log.model.staged();
        assert_eq!(self.session.volume.len(), staged.len() as u64);
        assert!(read_all(&self.session.volume) == staged, "the content is what was written");
    }

    /// Every good data block is either free or in the map, and the capacity is what the good ones make it.
    fn check_blocks(&self) {
        let volume = &self.session.volume;
        let (layout, bad) = (volume.layout(), volume.bad_blocks());
        let good =
            u64::from(layout.data_blocks()) - bad.iter().filter(|b| b.0 >= layout.reserved).count() as u64;
        let used = volume.map().iter().filter_map(|m| m.block()).filter(|b| !bad.contains(b)).count() as u64;
        assert_eq!(volume.free_blocks() + used, good, "a block is lost, or used twice");
        let blocks = good.saturating_sub(2).min(layout.logical_blocks.into());
        assert_eq!(volume.capacity(), blocks * u64::from(layout.block_size));
    }

    /// End the mount as it is. What was not synced may be found only if it did not fit the free blocks.
    fn leave(&mut self, power_lost: bool) {
        let block_size = u64::from(self.session.volume.layout().block_size);
        let pending = &self.session.log.model.pending;
        let mut len = self.session.log.model.committed.len() as u64;
        let mut blocks = 0;
        for change in pending {
            let range = change.range(len);
            // The block at the old end, too, when what lies past it is zeroed.
            blocks += range.end.div_ceil(block_size) - range.start / block_size + 1;
            len = change.len_after(len);
        }
        self.seen.dropped += u64::from(!pending.is_empty());
        self.seen.cuts += u64::from(power_lost);
        self.seen.bad = self.seen.bad.max(self.session.volume.bad_blocks().len() as u64);
        // Blocks that fail take the place of free ones.
        let failed = u64::from(self.session.volume.layout().data_blocks() / 3);
        let may_split = power_lost && blocks + failed > self.free;
        self.session.log.batched = self.session.split() || may_split;
    }
}
