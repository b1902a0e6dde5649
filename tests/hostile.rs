//! Hostile images: whatever the bytes are, there is an answer, in bounded time and memory, and it is never wrong data.
//!
//! `NANDIMG_DEEP=1` runs ten times the images. A failure prints the seed; `NANDIMG_HOSTILE_SEED=N` runs that one alone.
#![cfg(all(target_os = "linux", feature = "cli"))]
#![forbid(unsafe_code)]

#[path = "hostile/beside.rs"]
mod beside;
#[path = "hostile/cli.rs"]
mod cli;
#[path = "hostile/image.rs"]
mod image;
#[path = "hostile/limits.rs"]
mod limits;
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "hostile/oracle.rs"]
mod oracle;
#[path = "hostile/ordeal.rs"]
mod ordeal;

use std::collections::BTreeMap;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nandimg::prng::SplitMix64;

use image::{Image, parse};
use limits::{ALLOWANCE, TIME_LIMIT, limited, peak_of, said};
use ordeal::Seen;

const IMAGES: u64 = 120_000;
const PROCESSES: u64 = 2;
/// Tells a worker which seeds are its own: `FROM..TO`.
const SEEDS: &str = "NANDIMG_HOSTILE_SEEDS";
/// Tells a worker to take this many bytes for nothing.
const HOARD: &str = "NANDIMG_HOSTILE_HOARD";
const ONE_SEED: &str = "NANDIMG_HOSTILE_SEED";

#[test]
fn mutated_metadata_is_never_believed() {
    let images =
        if std::env::var_os("NANDIMG_DEEP").is_some_and(|v| v == "1") { 10 * IMAGES } else { IMAGES };
    let limit = baseline() + largest_image() + ALLOWANCE;
    let share = images.div_ceil(PROCESSES);
    let started = Instant::now();
    let workers: Vec<Child> = (0..PROCESSES)
        .map(|i| start_worker(limit, SEEDS, &format!("{}..{}", i * share, (i + 1) * share)))
        .collect();
    let mut seen = BTreeMap::<String, u64>::new();
    for worker in workers {
        let output = worker.wait_with_output().expect("a worker that ends");
        assert!(output.status.success(), "{}", said(&output));
        for (what, count) in reported(&output) {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{seen:#?}\nin {:.1?}, within {} MiB", started.elapsed(), limit >> 20);
    assert!(seen["images"] >= 100_000);
    assert!(seen["sealed over the damage"] * 2 >= seen["images"]);
    for what in MUST_BE_SEEN {
        assert!(seen.get(*what).is_some_and(|&n| n >= 25), "{what}: {:?}", seen.get(*what));
    }
}

/// What a run that tests anything comes across.
const MUST_BE_SEEN: &[&str] = &[
    "mounted",
    "mounted older",
    "refused",
    "read-only",
    "wrote",
    "write refused",
    "no free block",
    "mended",
    "not mended",
    "formatted",
    "not to be formatted",
    "nothing found",
    "no-valid-slot",
    "slot-torn",
    "slot-corrupt",
    "slot-wrong-tables",
    "sequence-tie",
    "sequence-exhausted",
    "map-short",
    "map-long",
    "map-out-of-range",
    "map-duplicate",
    "mapped-bad-block",
    "mapped-past-length",
    "bad-table-long",
    "bad-table-incomplete",
    "bad-mark-missing",
    "bad-slot-block",
    "length-past-map",
    "length-past-capacity",
    "worn-past-rating",
];

/// The limit on memory is one: a worker that takes more dies of it.
#[test]
fn a_worker_that_takes_too_much_memory_dies() {
    let limit = baseline() + largest_image() + ALLOWANCE;
    for (bytes, lives) in [(ALLOWANCE / 2, true), (ALLOWANCE + largest_image(), false)] {
        let output = start_worker(limit, HOARD, &bytes.to_string()).wait_with_output().unwrap();
        assert_eq!(output.status.success(), lives, "{bytes} bytes: {}", said(&output));
    }
}

/// What a worker takes that has nothing to do.
fn baseline() -> u64 {
    let output = start_worker(u64::MAX, SEEDS, "0..0").wait_with_output().expect("a worker that ends");
    assert!(output.status.success(), "{}", said(&output));
    reported(&output).find(|(what, _)| what == "peak").expect("its peak").1
}

fn largest_image() -> u64 {
    image::bases().iter().map(|image| image.bytes.len() as u64).max().unwrap_or(0)
}

fn start_worker(limit: u64, variable: &str, value: &str) -> Child {
    let mut command = limited(limit, std::env::current_exe().expect("this program"));
    command.args(["--exact", "worker", "--ignored", "--nocapture", "--test-threads=1"]);
    // To print a backtrace takes more than the memory there is.
    command.env("RUST_BACKTRACE", "0").env(variable, value).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("a worker that starts")
}

/// The lines `= WHAT: COUNT` of a worker.
fn reported(output: &Output) -> impl Iterator<Item = (String, u64)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (what, count) = line.strip_prefix("= ")?.rsplit_once(": ")?;
        Some((what.to_string(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect::<Vec<_>>().into_iter()
}

#[test]
#[ignore = "the other tests start it, with little memory"]
fn worker() {
    let (seeds, hoard) = (std::env::var(SEEDS), std::env::var(HOARD));
    if seeds.is_err() && hoard.is_err() {
        return;
    }
    let watch = Watch::start();
    // The test runner has not ended its line.
    println!();
    if let Ok(bytes) = hoard {
        let hoard = vec![1u8; bytes.parse().unwrap()];
        println!("= hoard: {}", std::hint::black_box(&hoard).len());
    }
    let Ok(seeds) = seeds else { return };
    let (from, to) = seeds.split_once("..").expect("FROM..TO");
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    if from == to {
        println!("= peak: {}", peak_of("self"));
        return;
    }
    let bases = image::bases();
    let mut seen = Seen::default();
    for seed in from..to {
        watch.now(seed);
        run_seed(&bases, seed, &mut seen);
    }
    for (what, count) in &seen.counts {
        println!("= {what}: {count}");
    }
}

/// To look at one failure at leisure.
#[test]
#[ignore = "runs the seed in NANDIMG_HOSTILE_SEED"]
fn one_seed() {
    let Ok(seed) = std::env::var(ONE_SEED) else { return };
    let seed = seed.parse().unwrap();
    let bases = image::bases();
    let image = mutate::damaged(&bases, seed);
    println!("{:#?}", oracle::Verdict::of(&image));
    run_seed(&bases, seed, &mut Seen::default());
}

/// Names the seed of a run that fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: {ONE_SEED}={}", self.0);
        }
    }
}

fn run_seed(bases: &[Image], seed: u64, seen: &mut Seen) {
    let _replay = Replay(seed);
    let image = mutate::damaged(bases, seed);
    seen.note("images");
    let is_base = |slot: usize| bases.iter().any(|b| b.slot(slot) == image.slot(slot));
    let sealed = |slot: usize| parse(image.slot(slot), image.shape.page).is_sealed();
    if (0..2).any(|slot| !is_base(slot) && sealed(slot)) {
        seen.note("sealed over the damage");
    }
    ordeal::run(&image, &mut SplitMix64::new(!seed), seen);
}

/// Ends the process when one image takes too long.
struct Watch(Arc<AtomicU64>);

impl Watch {
    fn start() -> Self {
        let watch = Self(Arc::new(AtomicU64::new(0)));
        let current = watch.0.clone();
        std::thread::spawn(move || {
            let mut last = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let seed = current.load(Ordering::Relaxed);
                if seed != last.0 {
                    last = (seed, Instant::now());
                } else if last.1.elapsed() > TIME_LIMIT {
                    eprintln!("it hangs; replay: {ONE_SEED}={seed}");
                    std::process::abort();
                }
            }
        });
        watch
    }

    fn now(&self, seed: u64) {
        self.0.store(seed, Ordering::Relaxed);
    }
}
