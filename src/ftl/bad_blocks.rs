//! The bad-block table, as a set.

use alloc::vec;
use alloc::vec::Vec;

use crate::flash::Block;

/// The bad blocks of a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBlockTable {
    bad: Vec<bool>,
}

impl BadBlockTable {
    /// A table for `blocks` blocks, none of them bad.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        Self { bad: vec![false; blocks as usize] }
    }

    /// The table for `blocks` blocks in a bitmap: bit `b % 8`, least significant first, of byte `b / 8` is block `b`.
    /// Missing bytes say good.
    #[must_use]
    pub fn from_bitmap(bitmap: &[u8], blocks: u32) -> Self {
        let bit = |b: usize| bitmap.get(b / 8).is_some_and(|byte| byte >> (b % 8) & 1 == 1);
        Self { bad: (0..blocks as usize).map(bit).collect() }
    }

    /// The table of `blocks` blocks of which `bad` are bad.
    #[must_use]
    pub fn from_blocks(blocks: u32, bad: impl IntoIterator<Item = Block>) -> Self {
        let mut table = Self::new(blocks);
        table.extend(bad);
        table
    }

    /// Add blocks.
    pub fn extend(&mut self, bad: impl IntoIterator<Item = Block>) {
        for block in bad {
            self.insert(block);
        }
    }

    /// The bitmap of the table.
    #[must_use]
    pub fn to_bitmap(&self) -> Vec<u8> {
        let byte = |chunk: &[bool]| chunk.iter().rev().fold(0, |byte, &bad| byte << 1 | u8::from(bad));
        self.bad.chunks(8).map(byte).collect()
    }

    /// Whether `block` is bad. A block past the table is not.
    #[must_use]
    pub fn contains(&self, block: Block) -> bool {
        self.bad.get(block.index()).copied().unwrap_or(false)
    }

    /// Add a block; whether that is news.
    pub fn insert(&mut self, block: Block) -> bool {
        self.bad.get_mut(block.index()).is_some_and(|bad| !core::mem::replace(bad, true))
    }

    /// The bad blocks, in order.
    pub fn iter(&self) -> impl Iterator<Item = Block> + '_ {
        (0..).map(Block).zip(&self.bad).filter_map(|(block, &bad)| bad.then_some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitmap_is_least_significant_first() {
        let mut table = BadBlockTable::new(12);
        for b in [0, 3, 9] {
            assert!(table.insert(Block(b)));
        }
        assert!(!table.insert(Block(3)) && !table.insert(Block(12)));
        assert_eq!(table.to_bitmap(), [0b0000_1001, 0b0000_0010]);
        assert_eq!(BadBlockTable::from_bitmap(&table.to_bitmap(), 12), table);
        assert_eq!(table.iter().collect::<Vec<_>>(), [Block(0), Block(3), Block(9)]);
    }
}
