//! Where a chip's bad-block mark lies.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Geometry;
use crate::layout::Layout;

/// The rule by which a chip marks a block as bad: any of `len` bytes from `byte` of the spare area not 0xFF, in any
/// of `pages`.
///
/// Sources: Linux `drivers/mtd/nand/raw/nand_base.c` (`nand_decode_bbm_options`: byte 5 on 8-bit small pages, else
/// byte 0), `raw/nand_macronix.c`, `raw/nand_micron.c` (pages 0 and 1), `spi/core.c` (two bytes of page 0).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct BadBlockMarker {
    /// Pages of the block that may carry the mark.
    pub pages: Vec<u32>,
    /// First marker byte within the spare area.
    pub byte: u32,
    /// Number of marker bytes.
    #[cfg_attr(feature = "std", serde(default = "one", skip_serializing_if = "is_one"))]
    pub len: u32,
}

/// Pages that may carry a mark: the chips there are have three at most.
const MAX_PAGES: usize = 8;

#[cfg(feature = "std")]
fn one() -> u32 {
    1
}

#[cfg(feature = "std")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if takes a reference")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

impl BadBlockMarker {
    /// The common rule for a page of `page_size` data bytes: pages 0 and 1; byte 5 on small (512-byte and smaller)
    /// pages, byte 0 on larger ones.
    #[must_use]
    pub fn usual(page_size: u32, pages_per_block: u32) -> Self {
        let pages = if pages_per_block > 1 { vec![0, 1] } else { vec![0] };
        Self { pages, byte: if page_size <= 512 { 5 } else { 0 }, len: 1 }
    }

    /// Where a chip of this geometry carries its marks: as `stated`, or where it is usual. `None` without a spare area, and where
    /// `layout`, if it is more than [plain](Layout::is_plain), has something else in that place.
    #[must_use]
    pub fn of_chip(geometry: &Geometry, layout: Option<&Layout>, stated: Option<&Self>) -> Option<Self> {
        let usual = || Self::usual(geometry.page_size(), geometry.pages_per_block());
        let marker = (geometry.spare_size() > 0).then(|| stated.cloned().unwrap_or_else(usual));
        let layout = layout.filter(|layout| !layout.is_plain());
        marker.filter(|marker| layout.is_none_or(|layout| !marker.is_overlaid_by(layout)))
    }

    /// How a byte of the mark is read: any bit that is not 1 tells. Where it is among the bits that an ECC protects it may have
    /// flips as these have, and half of its bits must tell.
    #[must_use]
    pub fn reading(&self, layout: Option<&Layout>) -> fn(u8) -> bool {
        let protected = layout.is_some_and(|layout| self.is_protected_by(layout));
        if protected { |byte| byte.count_ones() <= 4 } else { |byte| byte != 0xFF }
    }

    /// Whether the mark is among the bits that an ECC protects.
    #[must_use]
    pub fn is_protected_by(&self, layout: &Layout) -> bool {
        let bits = self.bits(layout.page_size());
        let mut protected = layout.steps().iter().flat_map(|step| step.code_bits());
        protected.any(|span| span.start < bits.end && bits.start < span.end())
    }

    /// The bits of the mark in a raw page.
    fn bits(&self, page_size: u32) -> Range<u64> {
        let start = 8 * (u64::from(page_size) + u64::from(self.byte));
        start..start + 8 * u64::from(self.len)
    }

    /// Whether `layout` has data or ECC where the mark would be, so that it cannot be told.
    #[must_use]
    pub fn is_overlaid_by(&self, layout: &Layout) -> bool {
        let Range { start, end } = self.bits(layout.page_size());
        let ecc = layout.steps().iter().flat_map(|step| step.ecc());
        layout.data().iter().chain(ecc).any(|span| span.start < end && start < span.end())
    }

    /// Whether the rule lies within a spare area of `spare_size` bytes and a block of `pages_per_block` pages.
    #[must_use]
    pub fn fits(&self, spare_size: u32, pages_per_block: u32) -> bool {
        self.len > 0
            && (1..=MAX_PAGES).contains(&self.pages.len())
            && self.byte.checked_add(self.len).is_some_and(|end| end <= spare_size)
            && self.pages.iter().all(|&p| p < pages_per_block)
    }
}
