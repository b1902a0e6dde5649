//! Wear levelling, as pure decisions.
//!
//! *Dynamic* levelling takes the least worn free block for each write. *Static* levelling moves data that is never
//! rewritten off blocks that are hardly worn, so that these take their share.

use alloc::vec::Vec;

use crate::flash::Block;

/// When static levelling acts. The defaults are those of shodh-redb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WearPolicy {
    /// Erases between two checks.
    pub interval: u64,
    /// Difference in erase counts that makes a check act.
    pub threshold: u32,
}

impl Default for WearPolicy {
    fn default() -> Self {
        Self { interval: 256, threshold: 100 }
    }
}

impl WearPolicy {
    /// Whether a check is due once the sum of erase counts has gone from `before` to `now`: when it passed a multiple of
    /// the interval. The sum is on flash, so a process of a few erases does its share.
    #[must_use]
    pub fn is_due(&self, before: u64, now: u64) -> bool {
        let interval = self.interval.max(1);
        before / interval != now / interval
    }

    /// Which data to move where: from the least worn blocks in use to the most worn free ones, pair by pair, while
    /// they differ by the threshold.
    ///
    /// Both are pairs of erase count and block. Afterwards no free block is worn more than the threshold beyond any block
    /// in use, so between two checks the spread grows by an interval at most.
    #[must_use]
    pub fn plan_moves(
        &self,
        in_use: impl IntoIterator<Item = (u32, Block)>,
        free: impl IntoIterator<Item = (u32, Block)>,
    ) -> Vec<(Block, Block)> {
        let threshold = self.threshold.max(1);
        let mut in_use: Vec<_> = in_use.into_iter().collect();
        let mut free: Vec<_> = free.into_iter().collect();
        in_use.sort_unstable();
        free.sort_unstable();
        let pairs = in_use.into_iter().zip(free.into_iter().rev());
        pairs
            .take_while(|&((cold, _), (hot, _))| hot.saturating_sub(cold) >= threshold)
            .map(|((_, from), (_, to))| (from, to))
            .collect()
    }
}

/// Count one more erase of `block`. A count stays at the largest there is, and blocks past the table have none.
pub fn count_erase(counts: &mut [u32], block: Block) {
    if let Some(count) = counts.get_mut(block.index()) {
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_due_when_a_multiple_is_passed() {
        let policy = WearPolicy { interval: 256, threshold: 100 };
        assert!(!policy.is_due(0, 255));
        assert!(policy.is_due(255, 256));
        assert!(!policy.is_due(256, 511));
        assert!(policy.is_due(500, 1300));
        assert!(WearPolicy { interval: 0, threshold: 1 }.is_due(1, 2));
    }

    #[test]
    fn the_coldest_data_goes_to_the_most_worn_free_blocks() {
        let policy = WearPolicy { interval: 256, threshold: 100 };
        let in_use = [(50, Block(1)), (0, Block(2)), (10, Block(3))];
        let free = [(5, Block(4)), (120, Block(5)), (105, Block(6))];
        assert_eq!(policy.plan_moves(in_use, free), [(Block(2), Block(5))]);
        let worn = [(109, Block(7)), (110, Block(5)), (105, Block(6))];
        assert_eq!(policy.plan_moves(in_use, worn), [(Block(2), Block(5))]);
        assert_eq!(policy.plan_moves([(0, Block(2))], [(99, Block(5))]), []);
    }
}
