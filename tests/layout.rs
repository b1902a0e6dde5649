//! Layouts: what the kernel wrote, every preset there and back through flips, and files that say no layout.
#![cfg(feature = "std")]
#![forbid(unsafe_code)]

#[path = "layout/hostile.rs"]
mod hostile;
#[path = "layout/kernel.rs"]
mod kernel;
#[path = "layout/presets.rs"]
mod presets;
#[path = "layout/sayable.rs"]
mod sayable;

use nandimg::layout::{Layout, PRESETS, PageCodec};
use nandimg::prng::SplitMix64;

/// Every preset on its example pages, with several strengths where it has them.
fn examples() -> Vec<Layout> {
    let mut layouts = Vec::new();
    for preset in PRESETS {
        let names: Vec<String> = match preset.name.strip_suffix("<t>") {
            Some(stem) => (1..=64).map(|t| format!("{stem}{t}")).collect(),
            None => vec![preset.name.to_string()],
        };
        for (page_size, spare_size) in preset.examples {
            let of_page = names.iter().filter_map(|name| Layout::preset(name, *page_size, *spare_size).ok());
            let before = layouts.len();
            layouts.extend(of_page);
            assert!(layouts.len() > before, "{} fits its own example {page_size}+{spare_size}", preset.name);
        }
    }
    layouts
}

fn called(layout: &Layout) -> String {
    format!("{} on {}+{}", layout.name(), layout.page_size(), layout.spare_size())
}

fn random_page(rng: &mut SplitMix64, layout: &Layout) -> Vec<u8> {
    let mut data = vec![0; layout.page_size() as usize];
    rng.fill(&mut data);
    data
}

fn encoded(codec: &PageCodec, data: &[u8]) -> Vec<u8> {
    let mut raw = vec![0xFF; codec.layout().raw_page_size()];
    codec.encode(data, &mut raw);
    raw
}

fn flip(raw: &mut [u8], bit: u64) {
    raw[(bit / 8) as usize] ^= 1 << (bit % 8);
}

/// Flip `flips` different bits that the code of `step` is over.
fn flip_step(rng: &mut SplitMix64, codec: &PageCodec, step: usize, flips: u32, raw: &mut [u8]) {
    let step = &codec.steps()[step];
    let bits = step.bits();
    let mut flipped = Vec::new();
    while flipped.len() < flips as usize {
        let bit = step.code_bit(rng.below(bits)).unwrap();
        if !flipped.contains(&bit) {
            flipped.push(bit);
            flip(raw, bit);
        }
    }
}
