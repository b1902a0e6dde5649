//! Which shapes of chip a size fits, and which it nearly fits.

use std::collections::BTreeSet;

use super::super::layouts::PageLayout;
use super::super::volumes::Hints;
use crate::flash::chips::{CHIPS, Chip};

/// Pages that blocks have, on chips with spare bytes.
const PAGES_PER_BLOCK: [u64; 4] = [32, 64, 128, 256];
/// Sizes that blocks have in files without spare bytes.
const BLOCK_SIZES: [u64; 8] =
    [4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20];

/// The pages and blocks of a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Data bytes a page; unknown where there are no spare bytes and nothing tells.
    pub page_size: Option<u32>,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Data bytes an erase block.
    pub block_size: u32,
}

impl Shape {
    fn of_chip(chip: &Chip) -> Self {
        let page_size = Some(chip.page_size).filter(|_| chip.spare_size > 0);
        Self { page_size, spare_size: chip.spare_size, block_size: chip.block_size() }
    }

    /// Pages a block.
    fn pages_per_block(&self) -> Option<u64> {
        self.page_size.and_then(|page| self.block_size.checked_div(page)).map(u64::from)
    }

    /// Bytes of a block, spare bytes included.
    #[must_use]
    pub fn raw_block_size(&self) -> u64 {
        let spare = self.pages_per_block().unwrap_or(0) * u64::from(self.spare_size);
        u64::from(self.block_size) + spare
    }

    /// Blocks of this shape that are exactly so many bytes.
    #[must_use]
    pub fn blocks_in(&self, len: u64) -> Option<u32> {
        let raw = self.raw_block_size();
        let whole = len > 0 && raw > 0 && len.is_multiple_of(raw);
        u32::try_from(len / raw.max(1)).ok().filter(|_| whole)
    }
}

/// The size of a file beside the nearest one that blocks of some shape have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearFit {
    /// The shape.
    pub shape: Shape,
    /// How many blocks of it come nearest.
    pub blocks: u32,
    /// Bytes that the file has more than these; negative where it has fewer.
    pub excess: i64,
}

impl NearFit {
    /// Bytes of that many blocks.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.blocks) * self.shape.raw_block_size()
    }
}

/// The shapes that chips have, as far as `hints` lets them.
pub(super) fn shapes(hints: &Hints) -> BTreeSet<Shape> {
    let with_spare = hints.with_spare().into_iter().flat_map(|PageLayout { page, spare }| {
        let of_block = move |pages| (page, spare, pages * page);
        PAGES_PER_BLOCK.map(of_block)
    });
    let given = hints.block_size.map(u64::from);
    let without = BLOCK_SIZES.into_iter().chain(given).map(|block| (0, 0, block));
    let given = given.into_iter().flat_map(|block| {
        hints.with_spare().into_iter().map(move |layout| (layout.page, layout.spare, block))
    });
    let of_chips = CHIPS
        .iter()
        .map(Shape::of_chip)
        .map(|shape| (shape.page_size.unwrap_or(0).into(), shape.spare_size.into(), shape.block_size.into()));
    let all = with_spare.chain(without).chain(given).chain(of_chips);
    all.filter_map(|(page, spare, block)| shape(hints, page, spare, block)).collect()
}

/// A shape, if it is one and `hints` do not speak against it. A page size of 0 is not known.
fn shape(hints: &Hints, page: u64, spare: u64, block: u64) -> Option<Shape> {
    let number = |n: u64| u32::try_from(n).ok();
    let page_size = if page == 0 { hints.page_size } else { number(page) };
    let shape = Shape { page_size, spare_size: number(spare)?, block_size: number(block)? };
    let agrees = |known: Option<u32>, size| known.is_none_or(|known| known == size);
    let whole = shape.page_size.is_none_or(|page| page > 0 && shape.block_size.is_multiple_of(page));
    let fits = whole
        && agrees(hints.page_size, shape.page_size.or(hints.page_size).unwrap_or(0))
        && agrees(hints.spare_size, shape.spare_size)
        && agrees(hints.block_size, shape.block_size);
    fits.then_some(shape)
}

/// The sizes next to `len` that chips have, the nearest first, measured by the block.
pub(super) fn nearest(len: u64, shapes: &BTreeSet<Shape>) -> Vec<NearFit> {
    const MOST: usize = 3;
    const NEAR: f64 = 0.125;
    let near = |shape: &Shape| {
        let raw = shape.raw_block_size();
        let blocks = u32::try_from(len.checked_add(raw / 2)?.checked_div(raw)?.max(1)).ok()?;
        let excess = i64::try_from(len).ok()?.checked_sub_unsigned(u64::from(blocks).checked_mul(raw)?)?;
        Some(NearFit { shape: *shape, blocks, excess })
    };
    let mut fits: Vec<NearFit> = shapes.iter().filter_map(near).collect();
    // By the block, for any size is near to some small ones; a chip that is known is the likeliest, then a power of two of blocks.
    let distance = |fit: &NearFit| fit.excess.unsigned_abs() as f64 / fit.shape.raw_block_size() as f64;
    let unlikely = |fit: &NearFit| match fit.blocks {
        blocks if CHIPS.iter().any(|chip| Shape::of_chip(chip) == fit.shape && chip.blocks == blocks) => {
            0.001
        }
        blocks if blocks >= 16 && blocks.is_power_of_two() => 1.0,
        blocks if blocks >= 16 => 10.0,
        _ => 100.0,
    };
    fits.sort_by(|a, b| (unlikely(a) * distance(a)).total_cmp(&(unlikely(b) * distance(b))));
    let mut seen = BTreeSet::new();
    fits.retain(|fit| seen.insert(fit.size()));
    let near = |(number, fit): &(usize, NearFit)| *number == 0 || distance(fit) < NEAR;
    fits.into_iter().enumerate().filter(near).map(|(_, fit)| fit).take(MOST).collect()
}
