//! Random operations on a page-mapped volume beside a plain model of it, while blocks fail, marks appear and processes are
//! killed.
//!
//! `NANDIMG_DEEP=1` runs ten times the seeds.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use nandimg::flash::faults::LatentFault;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{Mount, PageVolume};
use nandimg::prng::SplitMix64;
use nandimg::{Error, Result};

use paged::{
    Change, Chip, Model, Paged, Replay, apply, assert_same, bytes, check_books, content, deep_or, formatted,
    geometry, read_only,
};

/// What happened in all the runs, so that the test can tell that it did test something.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    refused: u64,
    read_only: u64,
    splits: u64,
    dropped: u64,
    parts: u64,
    bad: u64,
    mounts: u64,
    checkpoints: u64,
}

/// Seeds in which a block of the anchor zone fails as an anchor is written, and then the power goes; and one in which a log that was
/// cut short is to go on in a block with one data page.
const NAMED: [u64; 3] = [323, 904, 1277];

fn run_seeds(geometry: Geometry, seeds: u64, operations: u32) {
    let mut seen = Seen::default();
    for seed in (0..deep_or(10 * seeds, seeds)).chain(NAMED) {
        let _replay = Replay(format!("seed {seed} of {geometry:?}"));
        Run::new(geometry, seed, &mut seen).run(operations);
    }
    println!("{} blocks of {} bytes: {seen:?}", geometry.blocks(), geometry.block_size());
    assert!(seen.refused > 0 && seen.splits > 0 && seen.dropped > 0 && seen.bad > 0, "{seen:?}");
    assert!(seen.mounts > 0 && seen.checkpoints > seen.mounts, "{seen:?}");
}

#[test]
fn pages_of_256_bytes() {
    run_seeds(geometry(256, 8, 64), 300, 300);
}

#[test]
fn pages_of_512_bytes() {
    run_seeds(geometry(512, 16, 80), 100, 300);
}

#[test]
fn pages_of_2048_bytes() {
    run_seeds(geometry(2048, 64, 64), 12, 300);
}

#[test]
fn several_streams() {
    run_seeds(geometry(256, 16, 300), 40, 400);
}

struct Run<'a> {
    chip: Option<Chip>,
    model: Model,
    options: Mount,
    rng: SplitMix64,
    seen: &'a mut Seen,
    operations: u32,
    /// How many more blocks may be broken.
    spare: u32,
    zone_spare: u32,
    /// Blocks known to be bad: that is for ever.
    bad: Vec<Block>,
}

impl<'a> Run<'a> {
    fn new(geometry: Geometry, seed: u64, seen: &'a mut Seen) -> Self {
        let mut rng = SplitMix64::new(seed);
        let factory: &[u32] = if rng.below(4) == 0 { &[20] } else { &[] };
        let chip = formatted(geometry, factory);
        let options = Mount {
            cached_map_pages: [usize::MAX, 0, 1, 3][(seed % 4) as usize],
            mirror_every_commit: seed % 3 == 1,
            ..Mount::default()
        };
        let volume = PageVolume::mount(chip, &read_only()).unwrap();
        let spare = if rng.below(3) == 0 { volume.layout().reserve_blocks + 2 } else { 1 };
        let zone_spare = if rng.below(3) == 0 { volume.layout().zone_blocks - 2 } else { 0 };
        let chip = Some(volume.into_flash());
        let model = Model::default();
        Self { chip, model, options, rng, seen, operations: 0, spare, zone_spare, bad: Vec::new() }
    }

    fn run(&mut self, operations: u32) {
        while self.operations < operations {
            self.one_mount(operations);
            self.between_mounts();
        }
    }

    /// One of `n` times.
    fn rarely(&mut self, n: u64) -> bool {
        self.rng.below(n) == 0
    }

    /// What happens to the chip while nobody looks.
    fn between_mounts(&mut self) {
        let mut chip = self.chip.take().expect("a chip");
        let (blocks, zone) = (u64::from(chip.geometry().blocks()), self.zone_spare > 0 && self.rarely(6));
        let on = if self.rarely(2) { Operation::Erase } else { Operation::Program };
        if zone {
            self.zone_spare -= 1;
            let block = self.rng.below(4) as u32;
            chip.latent_mut().add(LatentFault { block, on, after: self.rng.below(4) });
        } else if self.spare > 0 && self.rarely(4) {
            self.spare -= 1;
            let block = 8 + self.rng.below(blocks - 8) as u32;
            match self.rarely(3) {
                true => chip.inner_mut().set_factory_bad(Block(block)),
                false => chip.latent_mut().add(LatentFault { block, on, after: self.rng.below(9) }),
            }
        }
        if self.rarely(3) {
            let before = chip.inner().clone();
            let volume = PageVolume::mount(chip, &read_only()).expect("the volume mounts");
            assert_eq!(volume.fallback(), None);
            assert_same(&content(&volume), &self.model.committed, "a read-only mount");
            check_books(&volume);
            chip = volume.into_flash();
            assert!(chip.inner().data() == before.data(), "a read-only mount changes nothing");
            assert_eq!(chip.inner().counts().erases, before.counts().erases);
            assert_eq!(chip.inner().counts().programs, before.counts().programs);
        }
        self.chip = Some(chip);
    }

    /// Mount, do some operations, and leave, well or not.
    fn one_mount(&mut self, operations: u32) {
        let chip = self.chip.take().expect("a chip");
        let volume = PageVolume::mount(chip, &self.options).expect("the volume mounts");
        self.seen.mounts += 1;
        assert_same(&content(&volume), &self.model.committed, "what was acknowledged");
        assert_eq!(volume.fallback(), None);
        let (commits, sequence) = (volume.commits(), volume.sequence());
        let mut mounted = Mounted { volume, commits, run: self };
        mounted.check();
        mounted.run.check_bad(&mounted.volume);
        while mounted.run.operations < operations && mounted.run.rng.below(25) > 0 {
            mounted.run.operations += 1;
            mounted.operate();
        }
        mounted.run.seen.checkpoints += mounted.volume.sequence() - sequence;
        let chip = mounted.leave();
        self.chip = Some(chip);
    }

    fn check_bad(&mut self, volume: &Paged) {
        let bad = volume.bad_blocks();
        assert!(
            self.bad.iter().all(|b| bad.contains(b)),
            "{:?} are bad for ever, not only {bad:?}",
            self.bad
        );
        self.seen.bad = self.seen.bad.max(bad.len() as u64);
        self.bad = bad;
    }
}

struct Mounted<'a, 'b> {
    volume: Paged,
    run: &'b mut Run<'a>,
    /// Commits when the transaction began.
    commits: u64,
}

impl Mounted<'_, '_> {
    fn operate(&mut self) {
        match self.run.rng.below(100) {
            0..45 => self.write(),
            45..53 => self.set_len(),
            53..61 => self.discard(),
            61..64 => self.past_capacity(),
            64..82 => self.sync(false),
            82..84 => self.sync(true),
            84..88 => self.rollback(),
            _ => self.read(),
        }
    }

    /// Mostly small numbers up to `bound`, and sometimes any.
    fn size(&mut self, bound: u64) -> u64 {
        let page = u64::from(self.volume.layout().page_size);
        let bound = match self.run.rng.below(16) {
            0 => bound,
            1..4 => bound.min(30 * page),
            4..8 => bound.min(3 * page),
            _ => bound.min(page),
        };
        self.run.rng.below(bound + 1)
    }

    fn write(&mut self) {
        let capacity = self.volume.capacity().max(self.volume.len());
        let mut length = self.size(capacity);
        let mut offset = match self.run.rng.below(4) {
            0 => self.volume.len().min(capacity - length),
            _ => self.run.rng.below(capacity - length + 1),
        };
        if self.run.rarely(3) {
            let page = u64::from(self.volume.layout().page_size);
            (offset, length) = (offset / page * page, length / page * page);
        }
        let data = bytes(&mut self.run.rng, length);
        self.change(Change::Write { offset, data });
    }

    fn set_len(&mut self) {
        let capacity = self.volume.capacity();
        let len = match self.run.rng.below(3) {
            0 => self.run.rng.below(capacity + 1),
            1 => self.volume.len().saturating_sub(self.size(capacity)),
            _ => (self.volume.len() + self.size(capacity)).min(capacity),
        };
        self.change(Change::SetLen(len));
    }

    fn discard(&mut self) {
        let offset = self.run.rng.below(self.volume.len() + 1);
        let length = self.size(self.volume.len());
        self.change(Change::Discard { offset, length });
    }

    fn change(&mut self, change: Change) {
        let result = apply(&mut self.volume, &change);
        // Also of what fails, a part may have been committed.
        self.run.model.stage(change);
        self.after(result);
    }

    fn past_capacity(&mut self) {
        let (capacity, len) = (self.volume.capacity(), self.volume.len());
        let size = 1 + self.run.rng.below(500);
        let result = match self.run.rng.below(3) {
            0 => self.volume.write(capacity.max(len), &vec![1; size as usize]),
            1 => self.volume.write(capacity.max(len) + 1, &vec![1; size as usize]),
            _ => self.volume.set_len(capacity.max(len) + size),
        };
        let refused =
            matches!(result, Err(Error::TooLarge { .. } | Error::OutOfRange { .. } | Error::ReadOnly(_)));
        assert!(refused, "{size} bytes past the capacity: {result:?}");
        self.run.seen.refused += 1;
        assert_same(&content(&self.volume), &self.run.model.staged, "after what was refused");
    }

    fn sync(&mut self, end: bool) {
        self.run.seen.splits += u64::from(self.split());
        let result = if end { self.volume.end() } else { self.volume.sync() };
        if result.is_ok() {
            self.run.model.acknowledge();
        }
        self.after(result);
        self.commits = self.volume.commits();
        self.check();
    }

    fn rollback(&mut self) {
        self.volume.rollback();
        self.settle();
    }

    fn read(&mut self) {
        let staged = &self.run.model.staged;
        let offset = self.run.rng.below(staged.len() as u64 + 1) as usize;
        let length = self.run.rng.below((staged.len() - offset).min(9000) as u64 + 1) as usize;
        let mut found = vec![0xAA; length];
        self.volume.read(offset as u64, &mut found).expect("the volume reads");
        assert!(found == staged[offset..][..length], "{length} bytes at {offset}");
    }

    /// Whether a part of what is pending has been committed already.
    fn split(&self) -> bool {
        self.volume.commits() > self.commits
    }

    /// Whether an operation that failed did so for a good reason, and what it left.
    fn after(&mut self, result: Result<()>) {
        match result {
            Ok(()) => assert_eq!(self.volume.len(), self.run.model.staged.len() as u64),
            Err(Error::ReadOnly(_)) => {
                self.check_read_only();
                self.run.seen.read_only += 1;
                self.settle();
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether there is a reason to write no more.
    fn check_read_only(&self) {
        let layout = self.volume.layout();
        let reason = self.volume.read_only().expect("it says why");
        let bad = self.volume.bad_blocks();
        let zone = bad.iter().filter(|b| b.0 < layout.zone_blocks).count() as u32;
        let full = bad.len() as u32 > layout.reserve_blocks;
        assert!(full || layout.zone_blocks - zone < 2, "{bad:?}: {reason}");
    }

    /// What was staged has been given up; what is there now?
    fn settle(&mut self) {
        self.settle_as(self.split());
    }

    fn settle_as(&mut self, split: bool) {
        let page = u64::from(self.volume.layout().page_size);
        let found = content(&self.volume);
        self.run.seen.dropped += u64::from(!self.run.model.pending.is_empty());
        if found != self.run.model.committed {
            assert!(split, "what was not synced is gone");
            assert!(self.run.model.is_prefix(&found, page), "what was committed in the middle is in order");
            self.run.seen.parts += 1;
        }
        self.run.model.settle(found);
        self.commits = self.volume.commits();
    }

    fn check(&self) {
        assert_same(&content(&self.volume), &self.run.model.staged, "what was written");
        if self.run.model.pending.is_empty() {
            check_books(&self.volume);
        }
    }

    fn leave(mut self) -> Chip {
        if self.run.rarely(3) && self.volume.read_only().is_none() {
            self.sync(true);
            self.run.check_bad(&self.volume);
            return self.volume.into_flash();
        }
        if self.run.rarely(2) {
            self.rollback();
            return self.volume.into_flash();
        }
        let split = self.split();
        self.volume = PageVolume::mount(self.volume.into_flash(), &read_only()).expect("the volume mounts");
        assert_eq!(self.volume.fallback(), None);
        self.settle_as(split);
        self.volume.into_flash()
    }
}
