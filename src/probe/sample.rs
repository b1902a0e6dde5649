//! Pages to judge by: few, with content, each another, from all over the file.
//!
//! Most of an image may be erased. Where it is written is looked for at as many places as there may be blocks, for blocks are
//! written from their first page on; the pages that follow such a place are taken by turns.

use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

use super::layouts::PageLayout;
use super::source::ReadAt;
use super::volumes::Hints;
use crate::prng::SplitMix64;

/// Places that are looked at, and those with content that are enough.
const PROBES: u64 = 4096;
const PLACES: usize = 64;
/// Pages that are judged, those that are looked at from each place on, and the most bytes that they may have.
const PAGES: usize = 64;
const RUN: u64 = 64;
const MAX_BYTES: u64 = 2 << 20;
/// The longest page that is looked at, in bytes; there are none half as long.
pub(super) const MAX_STRIDE: u64 = 64 << 10;

/// Pages of one shape that the file may consist of, and where to take a sample of them.
pub(super) struct Sampler {
    shape: PageLayout,
    places: Rc<[u64]>,
    /// Bytes from a place on that the first page is taken from.
    window: u64,
}

/// Some pages of one shape.
pub(super) struct Sample {
    pub(super) shape: PageLayout,
    /// Pages with content, no two the same.
    pub(super) pages: Vec<SampledPage>,
    /// Pages that were met on the way, and the erased ones of them.
    pub(super) looked_at: u64,
    pub(super) blank: u64,
}

/// A raw page, and how often it was met.
pub(super) struct SampledPage {
    pub(super) raw: Vec<u8>,
    pub(super) times: u64,
}

impl Sample {
    /// Whether there is anything behind the data.
    pub(super) fn has_spare_content(&self) -> bool {
        let data = self.shape.page as usize;
        self.pages.iter().any(|page| page.raw.iter().skip(data).any(|byte| *byte != 0xFF))
    }

    /// The share of FF among the data.
    pub(super) fn ff_in_data(&self) -> f64 {
        let data = self.pages.iter().flat_map(|page| page.raw.iter().take(self.shape.page as usize));
        let (ff, all) = data.fold((0u64, 0u64), |(ff, all), byte| (ff + u64::from(*byte == 0xFF), all + 1));
        ff as f64 / all.max(1) as f64
    }

    /// Whether data that is not FF has spare bytes behind it that are: these are the pages, and there is no ECC.
    pub(super) fn shows_no_ecc(&self) -> bool {
        self.pages.len() >= 4 && self.ff_in_data() < 0.5 && !self.has_spare_content()
    }
}

/// A sampler for each shape with spare bytes that `hints` allow and whose pages fill `source`.
pub(super) fn samplers(source: &(impl ReadAt + ?Sized), hints: &Hints) -> io::Result<Vec<Sampler>> {
    let fills = |shape: &PageLayout| {
        let stride = shape.stride();
        shape.page > 0 && stride <= MAX_STRIDE && source.len().is_multiple_of(stride)
    };
    let mut samplers = Vec::new();
    for family in families(hints.with_spare().into_iter().filter(fills)) {
        let (Some(least), Some(largest)) = (family.first(), family.last()) else { continue };
        let window = largest.stride();
        let places: Rc<[u64]> = places(source, least.stride(), window)?.into();
        let sampler = |shape: &PageLayout| Sampler { shape: *shape, places: Rc::clone(&places), window };
        samplers.extend(family.iter().map(sampler));
    }
    Ok(samplers)
}

/// The shapes in groups whose strides are powers of two apart, the shortest first: places for the first of a group do for all.
fn families(shapes: impl Iterator<Item = PageLayout>) -> Vec<Vec<PageLayout>> {
    let odd = |shape: &PageLayout| shape.stride() >> shape.stride().trailing_zeros();
    let mut families: Vec<Vec<PageLayout>> = Vec::new();
    for shape in shapes {
        match families.iter_mut().find(|family| family.iter().any(|other| odd(other) == odd(&shape))) {
            Some(family) => family.push(shape),
            None => families.push(vec![shape]),
        }
    }
    families.iter_mut().for_each(|family| family.sort_by_key(|shape| shape.stride()));
    families
}

/// Places in `source` with content in the next `window` bytes, spread over it; each is a multiple of `unit` bytes, and of the
/// largest power of two of them that leaves enough to look at.
fn places(source: &(impl ReadAt + ?Sized), unit: u64, window: u64) -> io::Result<Vec<u64>> {
    let mut step = unit.max(1);
    while source.len() / step > PROBES {
        step *= 2;
    }
    let count = source.len() / step;
    let mut window = vec![0; window as usize];
    let mut places = Vec::new();
    for number in spread(count) {
        let at = number * step;
        let take = (source.len() - at).min(window.len() as u64) as usize;
        let Some(window) = window.get_mut(..take) else { break };
        source.read_at(at, window)?;
        if has_content(window) {
            places.push(at);
            if places.len() == PLACES {
                break;
            }
        }
    }
    Ok(places)
}

/// The numbers below `count`, so that those that come first are far apart: each is the other's bits in reverse.
fn spread(count: u64) -> impl Iterator<Item = u64> {
    let bits = count.next_power_of_two().trailing_zeros();
    let reversed = move |number: u64| number.reverse_bits().checked_shr(u64::BITS - bits).unwrap_or(0);
    (0..1 << bits).map(reversed).filter(move |number| *number < count)
}

impl Sampler {
    /// Pages at the places and behind them, in turns. From each place the first is any within the window: under a layout of larger
    /// pages all that start there would be alike.
    pub(super) fn take(&self, source: &(impl ReadAt + ?Sized)) -> io::Result<Sample> {
        let stride = self.shape.stride();
        let (there, most) = (source.len() / stride, PAGES.min((MAX_BYTES / stride) as usize));
        let in_window = (self.window / stride).max(1);
        let mut sample = Sample { shape: self.shape, pages: Vec::new(), looked_at: 0, blank: 0 };
        let (mut looked_at, mut seen) = (HashSet::new(), HashMap::new());
        let mut rng = SplitMix64::new(0);
        let mut runs: Vec<(u64, u64)> =
            self.places.iter().map(|place| (place / stride, rng.below(in_window))).collect();
        for turn in 0..RUN.max(in_window) {
            let mut going_on = Vec::new();
            for (first, phase) in runs {
                if sample.pages.len() == most {
                    return Ok(sample);
                }
                let page = first + if turn < in_window { (phase + turn) % in_window } else { turn };
                let mut goes_on = turn < in_window;
                if page < there && looked_at.insert(page) {
                    let mut raw = vec![0; stride as usize];
                    source.read_at(page * stride, &mut raw)?;
                    let is_blank = raw.iter().all(|byte| *byte == 0xFF);
                    sample.looked_at += 1;
                    sample.blank += u64::from(is_blank);
                    goes_on |= !is_blank;
                    if has_content(&raw) {
                        let number = *seen.entry(xxh3_64(&raw)).or_insert(sample.pages.len());
                        match sample.pages.get_mut(number) {
                            Some(page) => page.times += 1,
                            None => sample.pages.push(SampledPage { raw, times: 1 }),
                        }
                    }
                }
                if goes_on {
                    going_on.push((first, phase));
                }
            }
            runs = going_on;
        }
        Ok(sample)
    }
}

/// Whether it holds anything: it is not one byte throughout, but for a few that may have flipped.
fn has_content(bytes: &[u8]) -> bool {
    const MORE_THAN_FLIPS: usize = 6;
    let other_than = |ground: u8| bytes.iter().filter(|byte| **byte != ground).take(MORE_THAN_FLIPS).count();
    let first = bytes.first().copied().unwrap_or(0xFF);
    other_than(0xFF).min(other_than(first)) == MORE_THAN_FLIPS
}
