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
#[path = "page_hostile/image.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod page_image;
#[path = "page_hostile/mutate.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod page_mutate;
#[path = "hostile/worker.rs"]
mod worker;

use std::time::Instant;

use nandimg::prng::SplitMix64;

use image::{Image, parse};
use limits::{ALLOWANCE, said};
use worker::{HOARD, ONE_SEED, Replay, Seen, baseline, start_worker};

const IMAGES: u64 = 120_000;

#[test]
fn mutated_metadata_is_never_believed() {
    let images =
        if std::env::var_os("NANDIMG_DEEP").is_some_and(|v| v == "1") { 10 * IMAGES } else { IMAGES };
    let limit = baseline() + largest_image() + ALLOWANCE;
    let started = Instant::now();
    let seen = worker::run(limit, images);
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

fn largest_image() -> u64 {
    image::bases().iter().map(|image| image.bytes.len() as u64).max().unwrap_or(0)
}

#[test]
#[ignore = "the other tests start it, with little memory"]
fn worker() {
    let mut bases = Vec::new();
    worker::work(&mut |seed, seen| {
        if bases.is_empty() {
            bases = image::bases();
        }
        run_seed(&bases, seed, seen);
    });
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
