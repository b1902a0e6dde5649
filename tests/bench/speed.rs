//! How fast each engine writes, syncs and reads on a full volume in RAM: the distribution of the times, beside the real shodh-redb.
//!
//! `cargo bench --bench speed`. Of the times only the ratios within one run mean anything.

#[path = "../support/shodh.rs"]
#[allow(dead_code, reason = "the interoperability tests need more of it")]
mod shodh;
#[allow(dead_code, reason = "the exact figures need more of it")]
mod store;

use std::fmt;

use divan::Bencher;
use divan::counter::ItemsCount;
use nandimg::prng::SplitMix64;

use shodh::Chip;
use store::{Access, Engine, Store};

const PAGE: usize = 2048;
const PAGES_PER_BLOCK: usize = 64;
/// Logical pages of a volume on 1024 blocks, all of them filled.
const FULL: u64 = 47_824;
/// Pages of a commit.
const COMMIT: u64 = 64;

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn filled(engine: Engine) -> Box<dyn Store> {
    let chip = Chip::blank(PAGE as u32, (PAGE * PAGES_PER_BLOCK) as u32, 1024);
    engine.format(&chip);
    let mut store = engine.mount(&chip, Access::ReadWrite);
    store.set_len(FULL * PAGE as u64);
    let block = [0x5A; PAGE * PAGES_PER_BLOCK];
    for at in (0..FULL * PAGE as u64).step_by(block.len()) {
        let rest = (FULL * PAGE as u64 - at).min(block.len() as u64);
        store.write(at, &block[..rest as usize]);
    }
    store.sync();
    store
}

fn main() {
    divan::main();
}

/// Pages at random, synced once each 64: W3 of the exact figures.
#[divan::bench(args = Engine::ALL, sample_count = 20, sample_size = 1)]
fn write_64_pages_and_sync(bencher: Bencher<'_, '_>, engine: Engine) {
    let (mut store, mut rng) = (filled(engine), SplitMix64::new(3));
    bencher.counter(ItemsCount::new(COMMIT)).bench_local(|| {
        for n in 0..COMMIT {
            store.write(rng.below(FULL) * PAGE as u64, &[n as u8; PAGE]);
        }
        store.sync();
    });
}

#[divan::bench(args = Engine::ALL, sample_count = 100, sample_size = 1000)]
fn read_a_page(bencher: Bencher<'_, '_>, engine: Engine) {
    let (store, mut rng) = (filled(engine), SplitMix64::new(4));
    let mut page = [0; PAGE];
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        store.read(rng.below(FULL) * PAGE as u64, &mut page);
        page[0]
    });
}
