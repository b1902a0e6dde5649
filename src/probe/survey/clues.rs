//! What the bytes of an image show of its pages and blocks, whatever is in it.

use std::collections::BTreeMap;
use std::io;

use super::super::magic;
use super::super::sample::Sample;
use super::super::source::ReadAt;

/// Pages that tell where blocks begin: written ones behind erased ones, by the power of two that their number is a multiple of.
/// Blocks are written from their first page on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beginnings {
    by_power: [u64; 32],
}

impl Beginnings {
    /// Read all pages of `stride` bytes.
    pub(super) fn find(source: &(impl ReadAt + ?Sized), stride: u64) -> io::Result<Self> {
        const WINDOW: u64 = 256 << 10;
        let mut beginnings = Self::default();
        let pages = source.len() / stride;
        let per_window = (WINDOW / stride).max(1);
        let mut window = vec![0; (per_window * stride) as usize];
        let mut was_blank = false;
        for first in (0..pages).step_by(per_window as usize) {
            let here = per_window.min(pages - first);
            let Some(window) = window.get_mut(..(here * stride) as usize) else { break };
            source.read_at(first * stride, window)?;
            for (page, raw) in (first..).zip(window.chunks_exact(stride as usize)) {
                let is_blank = raw.iter().all(|byte| *byte == 0xFF);
                if was_blank
                    && !is_blank
                    && let Some(count) = beginnings.by_power.get_mut(page.trailing_zeros().min(31) as usize)
                {
                    *count += 1;
                }
                was_blank = is_blank;
            }
        }
        Ok(beginnings)
    }

    pub(super) fn total(&self) -> u64 {
        self.by_power.iter().sum()
    }

    /// The most pages a block that nearly all of them are multiples of; `None` where too few pages tell.
    pub(super) fn pages_per_block(&self) -> Option<u64> {
        const ENOUGH: u64 = 8;
        let total = self.total();
        let multiples = |power: usize| self.by_power.iter().skip(power).sum::<u64>();
        let nearly_all = |power: &usize| 100 * multiples(*power) >= 95 * total;
        let power = (1..31).take_while(nearly_all).last()?;
        (total >= ENOUGH).then_some(1 << power)
    }
}

/// What the spare bytes of pages with content hold.
#[derive(Clone, Debug, Default)]
pub(super) struct SpareUse {
    /// Pages that were looked at.
    pub(super) pages: u64,
    /// The spare byte of the bad-block mark.
    mark: usize,
    /// For each spare byte, in how many of them it is not FF.
    used: Vec<u64>,
    /// The share of FF among the data.
    ff_in_data: f64,
}

impl SpareUse {
    pub(super) fn of(sample: &Sample) -> Self {
        let (page_size, spare_size) = (sample.shape.page as usize, sample.shape.spare as usize);
        let mut used = vec![0; spare_size];
        for page in &sample.pages {
            let spare = page.raw.iter().skip(page_size);
            used.iter_mut().zip(spare).for_each(|(used, byte)| *used += u64::from(*byte != 0xFF));
        }
        let mark = if page_size <= 512 { 5 } else { 0 };
        Self { pages: sample.pages.len() as u64, mark, used, ff_in_data: sample.ff_in_data() }
    }

    /// In how many pages the byte of the mark is FF, as it is where no block is bad.
    pub(super) fn marks_free(&self) -> u64 {
        self.pages - self.used.get(self.mark).unwrap_or(&self.pages)
    }

    /// Whether there is FF in nearly all data, so that FF in a spare byte says nothing.
    pub(super) fn says_nothing(&self) -> bool {
        self.pages < 4 || self.ff_in_data > 0.8
    }

    /// Whether there is nothing but bad-block marks.
    pub(super) fn is_empty(&self) -> bool {
        self.used.iter().enumerate().all(|(at, used)| *used == 0 || at == self.mark)
    }

    /// Runs of spare bytes that hold something in most pages: first and last.
    pub(super) fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (at, _) in self.used.iter().enumerate().filter(|(_, used)| 2 * **used > self.pages) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == at => *last = at,
                _ => runs.push((at, at)),
            }
        }
        runs
    }
}

/// How far apart the headers are that UBI begins each block with, and how many there are; `None` where they are not at equal
/// distances.
pub(super) fn ubi_spacing(source: &(impl ReadAt + ?Sized)) -> io::Result<Option<(u64, usize)>> {
    const MOST: usize = 1 << 16;
    let mut found: Vec<u64> = Vec::new();
    magic::for_each(source, 0..source.len(), *b"UBI#", &mut |at| {
        found.push(at);
        Ok(found.len() < MOST)
    })?;
    let mut distances: BTreeMap<u64, usize> = BTreeMap::new();
    for (a, b) in found.iter().zip(found.iter().skip(1)) {
        *distances.entry(b - a).or_default() += 1;
    }
    let most = distances.iter().max_by_key(|(_, times)| **times);
    Ok(most.filter(|(_, times)| **times >= 3).map(|(distance, times)| (*distance, times + 1)))
}
