//! Which blocks a dump of a chip holds, and where they go when it is put on a chip: bad blocks as nanddump and nandwrite
//! (mtd-utils) treat them. Decisions only; the blocks are moved elsewhere.

use alloc::collections::BTreeSet;

use super::Block;

/// What a dump has of bad blocks: nanddump's `--bb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlocks {
    /// FF in their place; their marks are lost.
    Pad,
    /// What they hold, marks included.
    Dump,
    /// Nothing: what follows moves up. On a chip, what comes to lie on a bad block goes to the next good one, as nandwrite
    /// has it.
    Skip,
}

/// What goes into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A block of the source: data that is expected to be whole.
    Good(Block),
    /// A bad block of the source, as it is.
    Bad(Block),
    /// Nothing: FF.
    Blank,
    /// The block is bad on the chip that it is for; it is left FF.
    Unusable,
}

/// What goes into the blocks `0..blocks()` of a target.
#[derive(Clone, Debug)]
pub struct Arrangement<F> {
    handling: BadBlocks,
    source_blocks: u32,
    is_bad: F,
    around: BTreeSet<Block>,
    blocks: u32,
}

impl<F: Fn(Block) -> bool> Arrangement<F> {
    /// Of a source with `source_blocks` blocks, of which `is_bad` tells the bad ones.
    ///
    /// With [`Skip`](BadBlocks::Skip) the source's good blocks are laid around the blocks `around`, in a target of
    /// `target_blocks` if it is said how many; else the target ends with the last block of the source or of `around` that
    /// follows it directly. Otherwise every block stays where it is, and neither counts.
    pub fn new(
        handling: BadBlocks,
        source_blocks: u32,
        is_bad: F,
        around: BTreeSet<Block>,
        target_blocks: Option<u32>,
    ) -> Self {
        let mut it = Self { handling, source_blocks, is_bad, around, blocks: source_blocks };
        if handling == BadBlocks::Skip {
            it.blocks = target_blocks.unwrap_or_else(|| it.needed());
        }
        it
    }

    /// How many blocks the target has.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// How many it must have at least.
    pub fn needed(&self) -> u32 {
        if self.handling != BadBlocks::Skip {
            return self.source_blocks;
        }
        let good = (0..self.source_blocks).filter(|&block| !(self.is_bad)(Block(block))).count() as u32;
        // Each of them that the source reaches moves its end on by one.
        self.around.iter().fold(good, |end, block| if block.0 <= end { end.saturating_add(1) } else { end })
    }

    /// What goes into each block, in order.
    pub fn contents(&self) -> impl Iterator<Item = Content> + '_ {
        let skips = self.handling == BadBlocks::Skip;
        let mut source = (0..self.source_blocks).map(Block).filter_map(move |block| {
            match ((self.is_bad)(block), self.handling) {
                (false, _) => Some(Content::Good(block)),
                (true, BadBlocks::Dump) => Some(Content::Bad(block)),
                (true, BadBlocks::Pad) => Some(Content::Blank),
                (true, BadBlocks::Skip) => None,
            }
        });
        (0..self.blocks).map(Block).map(move |block| match skips && self.around.contains(&block) {
            true => Content::Unusable,
            false => source.next().unwrap_or(Content::Blank),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Content::{Bad, Blank, Good, Unusable};
    use super::*;

    /// Four blocks of which 1 is bad, laid around `around`.
    fn arranged(handling: BadBlocks, around: &[u32], blocks: Option<u32>) -> Vec<Content> {
        let around = around.iter().copied().map(Block).collect();
        Arrangement::new(handling, 4, |block| block == Block(1), around, blocks).contents().collect()
    }

    #[test]
    fn bad_blocks_are_padded_dumped_or_left_out() {
        let good = |block| Good(Block(block));
        let pad = [good(0), Blank, good(2), good(3)];
        assert_eq!(arranged(BadBlocks::Pad, &[2], Some(9)), pad);
        let dump = [good(0), Bad(Block(1)), good(2), good(3)];
        assert_eq!(arranged(BadBlocks::Dump, &[2], Some(9)), dump);
        assert_eq!(arranged(BadBlocks::Skip, &[], None), [good(0), good(2), good(3)]);
    }

    #[test]
    fn what_is_left_is_laid_around_the_bad_blocks_of_the_target() {
        let (a, b, c) = (Good(Block(0)), Good(Block(2)), Good(Block(3)));
        assert_eq!(arranged(BadBlocks::Skip, &[0, 2], None), [Unusable, a, Unusable, b, c]);
        assert_eq!(arranged(BadBlocks::Skip, &[1, 4, 5], None), [a, Unusable, b, c, Unusable, Unusable]);
        // One that is far behind is not reached.
        assert_eq!(arranged(BadBlocks::Skip, &[1, 9], None), [a, Unusable, b, c]);
        assert_eq!(arranged(BadBlocks::Skip, &[4], Some(6)), [a, b, c, Blank, Unusable, Blank]);
        // Too small a target is seen by what is needed.
        let small = Arrangement::new(BadBlocks::Skip, 4, |_| false, [Block(0)].into(), Some(4));
        assert_eq!((small.blocks(), small.needed()), (4, 5));
    }
}
