//! Hostile page-mapped images: whatever the bytes are, there is an answer, in bounded time and memory, and it is never wrong
//! data.
//!
//! `NANDIMG_DEEP=1` runs ten times the images. A failure prints the seed; `NANDIMG_HOSTILE_SEED=N` runs that one alone.
#![cfg(all(target_os = "linux", feature = "std"))]
#![forbid(unsafe_code)]

#[path = "hostile/limits.rs"]
mod limits;
#[path = "page_hostile/image.rs"]
mod page_image;
#[path = "page_hostile/mutate.rs"]
mod page_mutate;
#[path = "page_hostile/ordeal.rs"]
mod page_ordeal;
#[path = "hostile/worker.rs"]
mod worker;

use std::time::Instant;

use nandimg::prng::SplitMix64;

use limits::ALLOWANCE;
use page_image::Base;
use worker::{ONE_SEED, Replay, Seen, baseline};

const IMAGES: u64 = 32_000;

#[test]
fn mutated_pages_are_never_believed() {
    let images =
        if std::env::var_os("NANDIMG_DEEP").is_some_and(|v| v == "1") { 10 * IMAGES } else { IMAGES };
    let largest = page_image::bases().iter().map(|base| base.chip.data().len() as u64).max().unwrap_or(0);
    let limit = baseline() + largest + ALLOWANCE;
    let started = Instant::now();
    let seen = worker::run(limit, images);
    println!("{seen:#?}\nin {:.1?}, within {} MiB", started.elapsed(), limit >> 20);
    assert!(seen["images"] >= 30_000);
    assert!(seen["sealed over the damage"] * 2 >= seen["images"]);
    for what in MUST_BE_SEEN {
        assert!(seen.get(*what).is_some_and(|&n| n >= 25), "{what}: {:?}", seen.get(*what));
    }
}

/// What a run that tests anything comes across.
const MUST_BE_SEEN: &[&str] = &[
    "mounted",
    "mounted an older checkpoint",
    "unmountable",
    "other geometry",
    "unsupported",
    "read-only",
    "wrote",
    "older state",
    "rebuilt",
    "mended",
    "formatted",
    "nothing found",
    "anchor-damaged",
    "no-usable-metadata",
    "older-state",
    "fallback",
    "not-ended",
    "metadata-copy-damaged",
    "map-page-damaged",
    "map-misplaced",
    "map-duplicate",
    "map-wrong-block",
    "lost-page",
    "data-damaged",
    "summary-damaged",
    "summary-disagrees",
    "live-count-wrong",
    "erase-count-wrong",
    "bad-mark-missing",
    "rebuilt-pages",
    "rebuilt-older",
    "rebuilt-damaged",
    "rebuilt-in-doubt",
    "rebuilt-without-log",
    "rebuilt-unconfirmed",
];

#[test]
#[ignore = "the other test starts it, with little memory"]
fn worker() {
    let mut bases = Vec::new();
    worker::work(&mut |seed, seen| {
        if bases.is_empty() {
            bases = page_image::bases();
        }
        run_seed(&bases, seed, seen);
    });
}

/// A clean end that names a block to be filled on that a summary closes, and whose next page is erased; an anchor of another
/// geometry in the zone, beside a map that is to be built anew.
#[test]
fn images_that_have_made_a_difference() {
    let bases = page_image::bases();
    for seed in [99_134, 236_263] {
        run_seed(&bases, seed, &mut Seen::default());
    }
}

/// To look at one failure at leisure.
#[test]
#[ignore = "runs the seed in NANDIMG_HOSTILE_SEED"]
fn one_seed() {
    let Ok(seed) = std::env::var(ONE_SEED) else { return };
    let seed = seed.parse().unwrap();
    let bases = page_image::bases();
    println!("{:#?}", page_mutate::damaged(&bases, seed).said);
    run_seed(&bases, seed, &mut Seen::default());
}

/// To see all that fails at once: NANDIMG_HOSTILE_SEED seeds, what fails by where it does.
#[test]
#[ignore = "a survey of failures"]
fn survey() {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    static LAST: Mutex<String> = Mutex::new(String::new());
    let Ok(seeds) = std::env::var(ONE_SEED) else { return };
    let bases = std::sync::Arc::new(page_image::bases());
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or_default();
        let at = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let message: String = message.chars().take(200).collect();
        *LAST.lock().unwrap() = format!("{at}: {message}");
    }));
    let mut failures: BTreeMap<String, (u64, String, Vec<u64>)> = BTreeMap::new();
    let mut seen = Seen::default();
    let started = Instant::now();
    let first: u64 = std::env::var("NANDIMG_HOSTILE_FIRST").map_or(0, |n| n.parse().unwrap());
    for seed in first..first + seeds.parse::<u64>().unwrap() {
        let mine = bases.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            let image = page_mutate::damaged(&mine, seed);
            page_ordeal::run(&image, &mine, &mut SplitMix64::new(!seed), &mut seen);
            tell.send(seen).unwrap();
        });
        let done = told.recv_timeout(std::time::Duration::from_secs(2));
        if let Ok(one) = &done {
            for (what, count) in &one.counts {
                *seen.counts.entry(what.clone()).or_default() += count;
            }
            thread.join().unwrap();
        } else {
            if matches!(done, Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
                *LAST.lock().unwrap() = "hang:0".to_string();
            }
            let last = LAST.lock().unwrap().clone();
            let place: String = last.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
            let entry = failures.entry(place).or_insert((0, last, Vec::new()));
            entry.0 += 1;
            if entry.2.len() < 5 {
                entry.2.push(seed);
            }
        }
    }
    let _ = std::panic::take_hook();
    println!("{:#?}\n{failures:#?}\nin {:?}", seen.counts, started.elapsed());
}

fn run_seed(bases: &[Base], seed: u64, seen: &mut Seen) {
    let _replay = Replay(seed);
    let image = page_mutate::damaged(bases, seed);
    seen.note("images");
    if image.sealed {
        seen.note("sealed over the damage");
    }
    page_ordeal::run(&image, bases, &mut SplitMix64::new(!seed), seen);
}
