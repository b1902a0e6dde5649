//! Garbage collection, as pure decisions: which stream a page belongs to, which block to collect, which to fill.
//! When, and how much at once, the engine decides by what its free blocks are spoken for.
//!
//! Streams keep data apart by how often it changes (DAC: M.-L. Chiang, P. C. H. Lee, R.-C. Chang, "Using data clustering to
//! improve cleaning performance for flash memory", Software: Practice and Experience 29(3), 1999). Class 0 is the coldest.
//! The victim is the block with the best ratio of benefit to cost (M. Rosenblum, J. K. Ousterhout, "The design and
//! implementation of a log-structured file system", ACM TOCS 10(1), 1992). Times are in pages written by the host.

use alloc::collections::BTreeSet;

use crate::flash::Block;

/// A block that may be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The block.
    pub block: Block,
    /// Pages of it that count; at least one.
    pub live: u32,
    /// The host clock when it was closed.
    pub closed: u64,
    /// How often it has been erased.
    pub erases: u32,
    /// It is to be collected before all others.
    pub first: bool,
}

/// What the streams of a volume go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// How many there are.
    pub classes: u8,
    /// Pages written by the host until now.
    pub clock: u64,
    /// Logical pages that are stored.
    pub mapped: u64,
}

/// What a block is written with, as far as wear goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heat {
    /// What changes soon: it wears the least worn blocks.
    Hot,
    /// What stays: it lets the most worn blocks rest.
    Cold,
}

impl Heat {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Hot, Self::Cold];

    /// That of a class.
    #[must_use]
    pub fn of_class(class: u8, classes: u8) -> Self {
        if classes > 2 && class <= 1 { Self::Cold } else { Self::Hot }
    }
}

impl Streams {
    /// The class that data belongs to which was last written `age` ago: the time that a class spans is a quarter of that of the
    /// class below it, and the coldest begins with the size of the volume.
    fn class_of_age(&self, age: u64) -> u8 {
        if age >= self.mapped {
            return 0;
        }
        let mut class = 2;
        let mut span = self.mapped >> 2;
        while class + 1 < self.classes && age < span {
            class += 1;
            span >>= 2;
        }
        class.min(self.classes - 1)
    }

    /// The class of what the host writes: that of the block it replaces, or one hotter if that one's pages are young.
    /// `replaced` is that block's class and the mean host clock of its pages; new data is cold until it changes.
    #[must_use]
    pub fn class_of_write(&self, replaced: Option<(u8, u64)>) -> u8 {
        let Some((class, written)) = replaced else { return 0 };
        let hotter = self.class_of_age(self.clock.saturating_sub(written)) > class;
        (class + u8::from(hotter)).min(self.classes - 1)
    }

    /// The class of what survives in a block of `class` whose pages were written at `written` in the mean: one colder if they are
    /// old.
    #[must_use]
    pub fn class_of_survivor(&self, class: u8, written: u64) -> u8 {
        let colder = self.class_of_age(self.clock.saturating_sub(written) / 4) < class;
        class - u8::from(colder)
    }
}

/// The block to collect, of blocks with `full` pages of data; `None` where no block would give anything. With `greedy` the one
/// that gives most now, whatever its age.
pub fn victim(
    candidates: impl Iterator<Item = Candidate>,
    full: u32,
    clock: u64,
    greedy: bool,
) -> Option<Block> {
    let mut best: Option<(Block, u128, u128)> = None;
    for candidate in candidates {
        if candidate.first {
            return Some(candidate.block);
        }
        let dead = full.saturating_sub(candidate.live);
        if dead == 0 {
            continue;
        }
        let age = if greedy { 1 } else { clock.saturating_sub(candidate.closed) + 1 };
        let (gain, cost) = (u128::from(dead) * u128::from(age), u128::from(candidate.live));
        if best.is_none_or(|(_, best_gain, best_cost)| gain * best_cost > best_gain * cost) {
            best = Some((candidate.block, gain, cost));
        }
    }
    best.map(|(block, ..)| block)
}

/// One of so many blocks is many.
const MANY: u64 = 16;

/// How worn the blocks are that share the wear, and how far apart they may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// The mean of their erase counts, rounded down.
    pub mean: u32,
    /// The difference between two of them at which levelling acts.
    pub threshold: u32,
}

impl Wear {
    /// Whether a block has taken so little wear that what it holds should move, of the erase counts of `all` that share it: where
    /// it is behind the mean by half of what blocks may be apart, or where many are ahead of it by the whole; that of a single
    /// block that ran ahead says nothing. Where most data never changes the mean hardly rises, but many blocks get ahead.
    pub fn lags(&self, erases: u32, all: impl IntoIterator<Item = u32>) -> bool {
        if self.mean.saturating_sub(erases) >= (self.threshold - self.threshold / 2).max(1) {
            return true;
        }
        let far = erases.saturating_add(self.threshold.max(1));
        let (count, ahead) = all
            .into_iter()
            .fold((0u64, 0u64), |(count, ahead), other| (count + 1, ahead + u64::from(other >= far)));
        ahead > 0 && ahead >= count / MANY
    }

    /// Whether a block has taken so much that it should rest.
    #[must_use]
    pub fn is_ahead(&self, erases: u32) -> bool {
        erases >= self.mean.saturating_add((self.threshold / 2).max(1))
    }
}

/// The free block to be filled next, of erase counts and blocks in order; `waiting` are already chosen.
///
/// For cold data the most worn one that is not ahead of the others, and none that has yet to take its share while there is
/// another choice; for hot data the least worn one. One that is ahead is taken only where there is no other.
#[must_use]
pub fn free_block(free: &BTreeSet<(u32, Block)>, heat: Heat, wear: Wear, waiting: usize) -> Option<Block> {
    let &(least, block) = free.first()?;
    if wear.is_ahead(least) {
        return (waiting == 0).then_some(block);
    }
    if heat == Heat::Hot {
        return Some(block);
    }
    let rested = free.iter().rev().find(|&&(erases, _)| !wear.is_ahead(erases));
    match rested {
        Some(&(erases, _)) if erases <= wear.mean && waiting > 0 => None,
        // Of equally worn ones the first.
        Some(&(erases, _)) => free.range((erases, Block(0))..).next().map(|&(_, block)| block),
        None => None,
    }
}

/// The block whose data is to move so that it can take its share of the wear: the least worn of those that hold data, if it lags
/// behind `all` that share it.
pub fn block_to_level(
    candidates: impl Iterator<Item = Candidate>,
    wear: Wear,
    all: impl IntoIterator<Item = u32>,
) -> Option<Block> {
    let least = candidates.min_by_key(|candidate| (candidate.erases, candidate.closed, candidate.block))?;
    wear.lags(least.erases, all).then_some(least.block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: Streams = Streams { classes: 8, clock: 100_000, mapped: 10_000 };

    #[test]
    fn what_changes_soon_is_hotter() {
        assert_eq!(STREAMS.class_of_write(None), 0);
        assert_eq!(STREAMS.class_of_write(Some((0, 50_000))), 0);
        assert_eq!(STREAMS.class_of_write(Some((0, 95_000))), 1);
        assert_eq!(STREAMS.class_of_write(Some((2, 95_000))), 2);
        assert_eq!(STREAMS.class_of_write(Some((2, 99_000))), 3);
        assert_eq!(STREAMS.class_of_write(Some((7, 100_000))), 7);
        assert_eq!(Streams { classes: 1, ..STREAMS }.class_of_write(Some((0, 100_000))), 0);
    }

    #[test]
    fn what_survives_long_is_colder() {
        assert_eq!(STREAMS.class_of_survivor(3, 50_000), 2);
        assert_eq!(STREAMS.class_of_survivor(3, 99_000), 3);
        assert_eq!(STREAMS.class_of_survivor(0, 0), 0);
    }

    fn candidate(block: u32, live: u32, closed: u64, erases: u32) -> Candidate {
        Candidate { block: Block(block), live, closed, erases, first: false }
    }

    #[test]
    fn the_victim_gives_most_for_its_cost() {
        let young_and_empty = candidate(1, 10, 99_000, 0);
        let old_and_full = candidate(2, 55, 1_000, 0);
        let full = candidate(3, 63, 0, 0);
        let all = [young_and_empty, old_and_full, full];
        assert_eq!(victim(all.into_iter(), 63, 100_000, false), Some(Block(2)));
        assert_eq!(victim(all.into_iter(), 63, 100_000, true), Some(Block(1)));
        assert_eq!(victim([full].into_iter(), 63, 100_000, false), None);
        let first = Candidate { first: true, ..full };
        assert_eq!(victim([old_and_full, first].into_iter(), 63, 100_000, false), Some(Block(3)));
    }

    #[test]
    fn cold_data_rests_on_worn_blocks() {
        let wear = Wear { mean: 5, threshold: 8 };
        let free: BTreeSet<_> = [(3, Block(1)), (8, Block(2)), (8, Block(3)), (9, Block(4))].into();
        assert_eq!(free_block(&free, Heat::Hot, wear, 0), Some(Block(1)));
        assert_eq!(free_block(&free, Heat::Cold, wear, 0), Some(Block(2)));
        let young: BTreeSet<_> = [(3, Block(1)), (4, Block(2))].into();
        assert_eq!(free_block(&young, Heat::Cold, wear, 0), Some(Block(2)));
        assert_eq!(free_block(&young, Heat::Cold, wear, 1), None);
        let ahead: BTreeSet<_> = [(9, Block(1))].into();
        assert_eq!(free_block(&ahead, Heat::Hot, wear, 1), None);
        assert_eq!(free_block(&ahead, Heat::Hot, wear, 0), Some(Block(1)));
        assert_eq!(free_block(&BTreeSet::new(), Heat::Cold, wear, 0), None);
    }

    #[test]
    fn the_least_worn_block_moves_when_it_lags() {
        let blocks = [candidate(1, 5, 7, 12), candidate(2, 63, 9, 10), candidate(3, 63, 8, 10)];
        let level = |mean, all: &[u32]| {
            block_to_level(blocks.into_iter(), Wear { mean, threshold: 7 }, all.iter().copied())
        };
        assert_eq!(level(14, &[]), Some(Block(3)));
        assert_eq!(level(13, &[]), None);
        // Many are ahead, or one.
        let mut all = [10; 40];
        all[7] = 100;
        assert_eq!(level(13, &all), None);
        all[9] = 16;
        assert_eq!(level(13, &all), None);
        all[9] = 17;
        assert_eq!(level(13, &all), Some(Block(3)));
    }
}
