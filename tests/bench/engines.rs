//! What each engine costs: operations on a simulated chip, wear, mounts, memory and speed, beside the real shodh-redb; and the
//! speed of the error-correcting codes beside a CRC-32.
//!
//! `cargo bench` runs everything, `cargo bench -- w3 page` what the words select: workloads `w1` to `w5` and `large`,
//! engines `page`, `block` and `shodh`, `fsck` and `ecc`; `quick` measures the page engine over one data set instead of 25. Operation
//! counts are exact and repeat bit for bit; of the speeds only the ratios within one run mean anything.

mod args;
mod bounds;
mod ecc;
mod fsck;
mod large;
mod report;
mod run;
#[path = "../support/shodh.rs"]
#[allow(dead_code, reason = "the interoperability tests need more of it")]
mod shodh;
mod sparse;
mod store;
mod workload;

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use args::Args;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One engine that fails does not take the figures of the others with it.
fn attempt<T>(what: impl Display, failed: &mut bool, work: impl FnOnce() -> T) -> Option<T> {
    let start = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    *failed |= done.is_none();
    let state = if done.is_some() { "done in" } else { "FAILED after" };
    eprintln!("{what}: {state} {:.1} s", start.elapsed().as_secs_f64());
    done
}

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    let jobs = args.jobs();
    let outcomes: Vec<_> =
        jobs.iter().filter_map(|job| attempt(job, &mut failed, || run::run(*job))).collect();
    let chips = args.large_chips();
    let large: Vec<_> = chips
        .iter()
        .filter_map(|chip| attempt(chip, &mut failed, || large::measure(*chip)))
        .flatten()
        .collect();
    let codes: Vec<_> = args
        .codes()
        .iter()
        .filter_map(|code| attempt(code, &mut failed, || ecc::measure(*code, args.quick())))
        .collect();
    let scan = args.scans().and_then(|runs| attempt("fsck", &mut failed, || fsck::measure(runs)));
    report::print(&outcomes, &large, scan.as_ref(), &codes);
    let bounds = bounds::of(&outcomes, &large, scan.as_ref());
    report::print_bounds(&bounds);
    failed |= bounds.iter().any(|bound| !bound.is_kept());
    ExitCode::from(u8::from(failed))
}
