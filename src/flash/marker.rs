//! Where a chip's bad-block mark lies.

use alloc::vec;
use alloc::vec::Vec;

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

    /// Whether the rule lies within a spare area of `spare_size` bytes and a block of `pages_per_block` pages.
    #[must_use]
    pub fn fits(&self, spare_size: u32, pages_per_block: u32) -> bool {
        self.len > 0
            && !self.pages.is_empty()
            && self.byte.checked_add(self.len).is_some_and(|end| end <= spare_size)
            && self.pages.iter().all(|&p| p < pages_per_block)
    }
}
