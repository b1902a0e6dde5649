//! What the ECC of a chip has had to do: a count, and the places.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::{Geometry, PageAddr};
use crate::layout::Verdict;

/// Places of each kind that are named; the rest is counted.
const MAX_PLACES: u64 = 1000;

/// What was found in one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCorrection {
    /// Bits that were corrected.
    pub bits: u32,
    /// The most bits that were corrected in one step.
    pub most_in_a_step: u32,
    /// Steps that could not be corrected.
    pub uncorrectable_steps: u32,
}

/// What the ECC has found in the pages that were read. Each page counts once, as it was when it first had a flip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    /// Pages with flips, all of them corrected.
    pub corrected_pages: u64,
    /// Bits that were corrected in these.
    pub corrected_bits: u64,
    /// Pages with more flips than could be corrected.
    pub uncorrectable_pages: u64,
    /// Flips that one step can have and still be corrected.
    pub strength: u32,
    /// The most bits that were corrected in one step.
    pub most_in_a_step: u32,
    /// The first thousand pages of each kind that were met.
    pub places: BTreeMap<PageAddr, PageCorrection>,
    /// Pages that were counted, a bit each.
    seen: Vec<u64>,
}

impl Corrections {
    /// Nothing has been read as yet, from a chip whose ECC corrects `strength` bits a step.
    #[must_use]
    pub fn of_strength(strength: u32) -> Self {
        Self { strength, ..Self::default() }
    }

    /// Note what was found in a page.
    pub(super) fn note(&mut self, geometry: &Geometry, page: PageAddr, verdict: &Verdict) {
        if verdict.is_clean() || !self.is_new(geometry, page) {
            return;
        }
        self.most_in_a_step = self.most_in_a_step.max(verdict.max_corrected);
        let of_its_kind = if verdict.is_readable() {
            self.corrected_bits += u64::from(verdict.corrected_bits);
            &mut self.corrected_pages
        } else {
            &mut self.uncorrectable_pages
        };
        *of_its_kind += 1;
        if *of_its_kind <= MAX_PLACES {
            let found = PageCorrection {
                bits: verdict.corrected_bits,
                most_in_a_step: verdict.max_corrected,
                uncorrectable_steps: verdict.uncorrectable.len() as u32,
            };
            self.places.insert(page, found);
        }
    }

    fn is_new(&mut self, geometry: &Geometry, page: PageAddr) -> bool {
        let pages = geometry.blocks() as usize * geometry.pages_per_block() as usize;
        if self.seen.is_empty() {
            self.seen = vec![0; pages.div_ceil(64)];
        }
        let index = page.block.index() * geometry.pages_per_block() as usize + page.page as usize;
        let Some(word) = self.seen.get_mut(index / 64) else { return false };
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}
