//! The map from logical to physical blocks, believed no further than it makes sense.

use alloc::vec;
use alloc::vec::Vec;

use crate::flash::Block;
use crate::onflash::ftlj::{Layout, UNMAPPED};

/// A logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogicalBlock(pub u32);

impl LogicalBlock {
    /// The block as an index into the map.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a logical block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Nowhere: it reads as zeros.
    Unmapped,
    /// In this block, which no other logical block claims.
    At(Block),
    /// In a block that another logical block claims too: which of them is right cannot be known.
    Shared(Block),
    /// In a block that does not exist: the entry, relative to the data region.
    OutOfRange(u32),
}

impl Mapping {
    /// The block it lies in, if that is beyond doubt.
    #[must_use]
    pub fn block(self) -> Option<Block> {
        match self {
            Self::At(block) => Some(block),
            _ => None,
        }
    }

    /// Whether the entry contradicts the rest of the map.
    #[must_use]
    pub fn is_damaged(self) -> bool {
        matches!(self, Self::Shared(_) | Self::OutOfRange(_))
    }
}

/// Judge the entries of a map. The result has at least an entry for each logical block of the layout: what a short map
/// lacks is unmapped.
#[must_use]
pub fn judge(map: &[u32], layout: &Layout) -> Vec<Mapping> {
    let mut claims = vec![0u8; layout.data_blocks() as usize];
    for &entry in map {
        if let Some(count) = claims.get_mut(entry as usize) {
            *count = count.saturating_add(1);
        }
    }
    let mapping = |&entry: &u32| match claims.get(entry as usize) {
        _ if entry == UNMAPPED => Mapping::Unmapped,
        Some(1) => Mapping::At(Block(layout.reserved + entry)),
        Some(_) => Mapping::Shared(Block(layout.reserved + entry)),
        None => Mapping::OutOfRange(entry),
    };
    let mut judged: Vec<Mapping> = map.iter().map(mapping).collect();
    judged.resize(judged.len().max(layout.logical_blocks as usize), Mapping::Unmapped);
    judged
}

/// The entry for a mapping.
#[must_use]
pub fn entry(mapping: Mapping, layout: &Layout) -> u32 {
    match mapping {
        Mapping::Unmapped => UNMAPPED,
        Mapping::At(block) | Mapping::Shared(block) => block.0 - layout.reserved,
        Mapping::OutOfRange(entry) => entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_contradict_the_rest_are_not_believed() {
        let layout = Layout::new(4096, 16).unwrap();
        let map = [3, UNMAPPED, 5, 3, 12, 11];
        let judged = judge(&map, &layout);
        let expected = [
            Mapping::Shared(Block(7)),
            Mapping::Unmapped,
            Mapping::At(Block(9)),
            Mapping::Shared(Block(7)),
            Mapping::OutOfRange(12),
            Mapping::At(Block(15)),
        ];
        assert_eq!(judged[..6], expected);
        assert!(judged[6..].iter().all(|&m| m == Mapping::Unmapped) && judged.len() == 10);
        let back: Vec<u32> = judged.iter().map(|&m| entry(m, &layout)).collect();
        assert_eq!(back[..6], map);
    }
}
