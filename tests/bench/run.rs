//! One workload on one engine: fill, settle, measure, hold everything against the model, mount again.

use std::fmt;
use std::time::Instant;

use nandimg::check::wear::WearStatistics;
use nandimg::flash::FlashHardware;
use nandimg::flash::sim::Counts;
use nandimg::ftl::BlockUse;
use nandimg::prng::SplitMix64;

use crate::MEMORY;
use crate::shodh::Chip;
use crate::store::{Access, Engine, Store};
use crate::workload::{PAGE, Source, Workload, below, content};

/// The chip of the published figures: 1024 blocks of 64 pages.
const BLOCK: usize = 64 * PAGE;
const BLOCKS: u32 = 1024;

/// What to run. Writes and reads are of one page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) workload: Workload,
    pub(crate) engine: Engine,
    /// Logical pages of the volume, all of them filled.
    pub(crate) pages: u32,
    /// Writes between the fill and the measured ones.
    pub(crate) settle: u32,
    pub(crate) measured: u32,
    /// Reads of random pages at the end.
    pub(crate) reads: u32,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.engine.name(), self.workload.name, self.pages)
    }
}

/// What a part of the run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Host pages written or read.
    pub(crate) host_pages: u32,
    pub(crate) ops: Counts,
    pub(crate) seconds: f64,
}

impl Cost {
    pub(crate) fn per_host_page(&self, ops: u64) -> f64 {
        ops as f64 / f64::from(self.host_pages)
    }

    pub(crate) fn host_mib(&self) -> f64 {
        f64::from(self.host_pages) * PAGE as f64 / (1 << 20) as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.host_pages) / self.seconds
    }
}

/// Real erases of each block, since the chip was new.
#[derive(Clone, Debug)]
pub(crate) struct Wear {
    /// After which part of the run.
    pub(crate) after: String,
    /// Of the blocks that levelling can reach.
    pub(crate) levelled: WearStatistics,
    /// Of the metadata blocks that have a fixed place.
    pub(crate) fixed: Option<WearStatistics>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MountCost {
    pub(crate) access: Access,
    pub(crate) ops: Counts,
    /// Bytes held by the mounted volume, and once every page has been read.
    pub(crate) held: usize,
    pub(crate) held_after_reads: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) job: Job,
    pub(crate) writes: Cost,
    pub(crate) reads: Cost,
    pub(crate) wear: Vec<Wear>,
    pub(crate) mounts: Vec<MountCost>,
    /// The most bytes that the volume held at once in the measured part.
    pub(crate) peak: usize,
}

impl Outcome {
    /// Pages programmed for each page of the host.
    pub(crate) fn amplification(&self) -> f64 {
        self.writes.per_host_page(self.writes.ops.programs)
    }
}

pub(crate) fn counts(chip: &Chip) -> Counts {
    chip.board().flash.inner().counts()
}

pub(crate) fn difference(now: Counts, before: Counts) -> Counts {
    Counts {
        page_reads: now.page_reads - before.page_reads,
        programs: now.programs - before.programs,
        erases: now.erases - before.erases,
        marks: now.marks - before.marks,
        syncs: now.syncs - before.syncs,
    }
}

/// A volume, its chip, and the version of each page that it should hold.
struct Bench {
    store: Box<dyn Store>,
    chip: Chip,
    model: Vec<u32>,
    page: [u8; PAGE],
}

impl Bench {
    /// Write these pages, with a sync after each so many and at the end.
    fn write(&mut self, pages: impl ExactSizeIterator<Item = u32>, sync_each: u32) -> Cost {
        let host_pages = pages.len() as u32;
        let (before, start) = (counts(&self.chip), Instant::now());
        let mut unsynced = 0;
        for page in pages {
            let version = &mut self.model[page as usize];
            *version += 1;
            content(page, *version, &mut self.page);
            self.store.write(offset(page), &self.page);
            unsynced += 1;
            if unsynced == sync_each {
                self.store.sync();
                unsynced = 0;
            }
        }
        if unsynced > 0 {
            self.store.sync();
        }
        let seconds = start.elapsed().as_secs_f64();
        Cost { host_pages, ops: difference(counts(&self.chip), before), seconds }
    }

    fn read_at_random(&mut self, reads: u32) -> Cost {
        let (before, start) = (counts(&self.chip), Instant::now());
        let mut rng = SplitMix64::new(0x7265_6164);
        for _ in 0..reads {
            self.store.read(offset(below(&mut rng, self.model.len() as u32)), &mut self.page);
        }
        let seconds = start.elapsed().as_secs_f64();
        Cost { host_pages: reads, ops: difference(counts(&self.chip), before), seconds }
    }

    fn wear(&self, after: &str) -> Wear {
        let erases = self.chip.board().flash.inner().erases().to_vec();
        let blocks = self.chip.geometry().iter_blocks();
        let used: Vec<_> = blocks.map(|block| self.store.block_use(block)).zip(erases).collect();
        let of = |wanted: fn(BlockUse) -> bool| {
            WearStatistics::of(used.iter().filter(|(used, _)| wanted(*used)).map(|&(_, erases)| erases))
        };
        let levelled = of(|used| {
            matches!(used, BlockUse::Data | BlockUse::Free | BlockUse::Metadata { fixed: false, .. })
        });
        let fixed = of(|used| matches!(used, BlockUse::Metadata { fixed: true, .. }));
        Wear { after: after.to_owned(), levelled: levelled.expect("blocks to level"), fixed }
    }
}

fn offset(page: u32) -> u64 {
    u64::from(page) * PAGE as u64
}

/// # Panics
/// When a page does not hold what was written last.
fn check(store: &dyn Store, model: &[u32]) {
    let (mut found, mut expected) = ([0; PAGE], [0; PAGE]);
    for (page, &version) in model.iter().enumerate() {
        content(page as u32, version, &mut expected);
        store.read(offset(page as u32), &mut found);
        assert!(found == expected, "page {page} is not what write {version} to it made it");
    }
}

fn mount_again(engine: Engine, chip: &Chip, access: Access, model: &[u32]) -> MountCost {
    let (before, memory) = (counts(chip), MEMORY.current_usage());
    let mut store = engine.mount(chip, access);
    let held = MEMORY.current_usage() - memory;
    let ops = difference(counts(chip), before);
    check(store.as_ref(), model);
    let held_after_reads = MEMORY.current_usage() - memory;
    if access != Access::ReadOnly {
        store.end();
    }
    MountCost { access, ops, held, held_after_reads }
}

/// # Panics
/// When the engine fails, breaks a rule of NAND, or does not hold what was written.
pub(crate) fn run(job: Job) -> Outcome {
    let Job { workload, engine, pages, .. } = job;
    let chip = Chip::blank(PAGE as u32, BLOCK as u32, BLOCKS);
    let model = vec![0; pages as usize];
    let mut source = workload.overwrites.map(|overwrites| Source::new(overwrites, pages));
    // All that the benchmark itself keeps is there by now: what comes on top is the engine's.
    engine.format(&chip);
    let memory = MEMORY.current_usage();
    let mut store = engine.mount(&chip, Access::ReadWrite);
    store.set_len(offset(pages));
    store.sync();
    let mut bench = Bench { store, chip, model, page: [0; PAGE] };

    MEMORY.reset_peak_usage();
    let mut writes = bench.write(0..pages, u32::MAX);
    let mut peak = MEMORY.peak_usage() - memory;
    let mut wear = vec![bench.wear("fill")];
    if let Some(source) = &mut source {
        let mut overwrite =
            |bench: &mut Bench, n: u32| bench.write((0..n).map(|_| source.next_page()), workload.sync_each);
        overwrite(&mut bench, job.settle);
        wear.push(bench.wear(&times(job.settle, pages)));
        MEMORY.reset_peak_usage();
        writes = overwrite(&mut bench, job.measured);
        peak = MEMORY.peak_usage() - memory;
        wear.push(bench.wear(&times(job.measured, pages)));
    }
    check(bench.store.as_ref(), &bench.model);
    let reads = bench.read_at_random(job.reads);

    let Bench { mut store, chip, model, .. } = bench;
    store.end();
    drop(store);
    let mounts = engine.accesses().iter().map(|&access| mount_again(engine, &chip, access, &model)).collect();
    Outcome { job, writes, reads, wear, mounts, peak }
}

fn times(writes: u32, pages: u32) -> String {
    format!("+{}x", (f64::from(writes) / f64::from(pages) * 100.0).round() / 100.0)
}
