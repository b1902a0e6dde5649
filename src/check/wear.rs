//! Statistics of erase counts.

use alloc::vec::Vec;

/// What a set of erase counts looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "std", derive(serde::Serialize))]
pub struct WearStatistics {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the whole set.
    pub stddev: f64,
    /// The median, by nearest rank.
    pub p50: u32,
    /// The 99th percentile, by nearest rank.
    pub p99: u32,
}

impl WearStatistics {
    /// Statistics of `counts`; `None` of none.
    #[must_use]
    pub fn of(counts: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut counts: Vec<u32> = counts.into_iter().collect();
        counts.sort_unstable();
        let (&min, &max) = counts.first().zip(counts.last())?;
        let n = counts.len() as f64;
        let mean = counts.iter().map(|&c| f64::from(c)).sum::<f64>() / n;
        let variance = counts.iter().map(|&c| (f64::from(c) - mean) * (f64::from(c) - mean)).sum::<f64>() / n;
        let rank = |percent: usize| {
            let rank = (counts.len() * percent).div_ceil(100).max(1);
            counts.get(rank - 1).copied().unwrap_or(max)
        };
        Some(Self { min, max, mean, stddev: square_root(variance), p50: rank(50), p99: rank(99) })
    }

    /// The difference between the most and the least.
    #[must_use]
    pub fn spread(&self) -> u32 {
        self.max - self.min
    }
}

/// The square root by Newton's method: `core` has none.
fn square_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = if x < 1.0 { 1.0 } else { x };
    loop {
        let next = (root + x / root) / 2.0;
        if next >= root {
            return root;
        }
        root = next;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_right() {
        let s = WearStatistics::of([2, 4, 4, 4, 5, 5, 7, 9]).unwrap();
        assert_eq!((s.min, s.max, s.mean, s.p50, s.p99, s.spread()), (2, 9, 5.0, 4, 9, 7));
        assert!((s.stddev - 2.0).abs() < 1e-12);
        assert_eq!(WearStatistics::of([]), None);
        let even = WearStatistics::of([3, 3]).unwrap();
        assert_eq!((even.stddev, even.p50), (0.0, 3));
        assert!((square_root(0.25) - 0.5).abs() < 1e-12);
    }
}
