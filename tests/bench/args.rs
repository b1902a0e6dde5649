//! The words of the command line, and what they select.

use crate::ecc::Measured;
use crate::large::LargeChip;
use crate::run::Job;
use crate::store::Engine;
use crate::workload::{WORKLOADS, Workload};

/// Logical pages: Dhara's default and its maximum on the same chip.
const COMFORTABLE: u32 = 38_259;
const FULL: u32 = 47_824;
/// Of the engines that rewrite whole blocks no more is measured: their cost does not depend on state.
const BLOCK_WRITES: u32 = 150_000;

const LARGE: &str = "large";
const FSCK: &str = "fsck";
const ECC: &str = "ecc";
const QUICK: &str = "quick";

#[derive(Debug)]
pub(crate) struct Args {
    workloads: Vec<Workload>,
    large: bool,
    fsck: bool,
    ecc: bool,
    engines: Vec<Engine>,
    quick: bool,
}

impl Args {
    /// # Errors
    /// With what would have been understood.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            workloads: Vec::new(),
            large: false,
            fsck: false,
            ecc: false,
            engines: Vec::new(),
            quick: false,
        };
        for word in words {
            let workload = WORKLOADS.into_iter().find(|w| w.name.eq_ignore_ascii_case(&word));
            let engine = Engine::ALL.into_iter().find(|e| e.word() == word);
            match (workload, engine) {
                (Some(workload), _) => args.workloads.push(workload),
                (_, Some(engine)) => args.engines.push(engine),
                _ if word == LARGE => args.large = true,
                _ if word == FSCK => args.fsck = true,
                _ if word == ECC => args.ecc = true,
                _ if word == QUICK => args.quick = true,
                // Cargo says it to every benchmark.
                _ if word == "--bench" => {}
                _ => return Err(format!("{word}: expected {}", Self::words())),
            }
        }
        if args.workloads.is_empty() && !args.large && !args.fsck && !args.ecc {
            args.workloads = WORKLOADS.to_vec();
            args.large = true;
            (args.fsck, args.ecc) = (args.engines.is_empty(), args.engines.is_empty());
        }
        if args.engines.is_empty() {
            args.engines = Engine::ALL.to_vec();
        }
        Ok(args)
    }

    fn words() -> String {
        let workloads = WORKLOADS.map(|w| w.name.to_ascii_lowercase());
        let engines = Engine::ALL.map(Engine::word);
        format!("{}, {LARGE}, {FSCK}, {ECC}, {} or {QUICK}", workloads.join(", "), engines.join(", "))
    }

    /// The runs on the chip of the published figures, workload by workload.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for &workload in &self.workloads {
            for &engine in &self.engines {
                let both = workload.name == "W3" && engine == Engine::Page;
                let levels = if both { &[COMFORTABLE, FULL][..] } else { &[FULL] };
                jobs.extend(levels.iter().map(|&pages| self.job(workload, engine, pages)));
            }
        }
        jobs
    }

    fn job(&self, workload: Workload, engine: Engine, pages: u32) -> Job {
        let (settle, measured) = match engine {
            Engine::Page => (5 * pages, if self.quick { pages } else { 25 * pages }),
            Engine::Block | Engine::Shodh if self.quick => (pages / 2, pages / 4),
            Engine::Block | Engine::Shodh => (pages / 2, BLOCK_WRITES.min(3 * pages)),
        };
        Job { workload, engine, pages, settle, measured, reads: if self.quick { 100_000 } else { 1_000_000 } }
    }

    /// The chips of which only the mount is measured.
    pub(crate) fn large_chips(&self) -> Vec<LargeChip> {
        let engines = self.engines.iter().filter(|_| self.large);
        let chips = engines.flat_map(|&engine| [8192, 65_536].map(|blocks| LargeChip { engine, blocks }));
        chips.filter(|chip| chip.engine != Engine::Shodh).collect()
    }

    /// How many times `fsck` is run to measure it, if it is.
    pub(crate) fn scans(&self) -> Option<u32> {
        self.fsck.then_some(if self.quick { 3 } else { 12 })
    }

    /// The codes of which the speed is measured.
    pub(crate) fn codes(&self) -> &'static [Measured] {
        if self.ecc { &Measured::ALL } else { &[] }
    }

    pub(crate) fn quick(&self) -> bool {
        self.quick
    }
}
