//! Which page the host writes next, and what it writes.

use nandimg::prng::SplitMix64;

/// Bytes of a host write, and of a page of the chip.
pub(crate) const PAGE: usize = 2048;

/// A workload. See [`WORKLOADS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Writes from one sync to the next.
    pub(crate) sync_each: u32,
    /// What follows the fill; where nothing does, the fill is what is measured.
    pub(crate) overwrites: Option<Overwrites>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Overwrites {
    Uniform,
    /// Four writes in five go to the first fifth of the volume.
    Hot,
    /// Zipf's law, the ranks scattered over the volume.
    Zipf(f64),
}

pub(crate) const WORKLOADS: [Workload; 5] = [
    Workload { name: "W1", sync_each: u32::MAX, overwrites: None },
    Workload { name: "W2", sync_each: 1, overwrites: Some(Overwrites::Uniform) },
    Workload { name: "W3", sync_each: 64, overwrites: Some(Overwrites::Uniform) },
    Workload { name: "W4", sync_each: 64, overwrites: Some(Overwrites::Hot) },
    Workload { name: "W5", sync_each: 64, overwrites: Some(Overwrites::Zipf(0.99)) },
];

/// The pages that are written, one after the other; the same in every run.
#[derive(Debug)]
pub(crate) struct Source {
    rng: SplitMix64,
    pages: u32,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Uniform,
    Hot {
        fifth: u32,
    },
    /// The probability of a rank or a lower one, and the page of each rank.
    Zipf {
        cumulative: Vec<f64>,
        page_of: Vec<u32>,
    },
}

impl Source {
    pub(crate) fn new(overwrites: Overwrites, pages: u32) -> Self {
        let mut rng = SplitMix64::new(0x776F_726B);
        let shape = match overwrites {
            Overwrites::Uniform => Shape::Uniform,
            Overwrites::Hot => Shape::Hot { fifth: pages / 5 },
            Overwrites::Zipf(exponent) => {
                let page_of = permutation(pages, &mut rng);
                Shape::Zipf { cumulative: zipf(exponent, pages), page_of }
            }
        };
        Self { rng, pages, shape }
    }

    pub(crate) fn next_page(&mut self) -> u32 {
        match &self.shape {
            Shape::Uniform => below(&mut self.rng, self.pages),
            &Shape::Hot { fifth } => match below(&mut self.rng, 5) {
                0 => fifth + below(&mut self.rng, self.pages - fifth),
                _ => below(&mut self.rng, fifth),
            },
            Shape::Zipf { cumulative, page_of } => {
                let unit = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                let rank = cumulative.partition_point(|&up_to| up_to <= unit);
                page_of[rank.min(page_of.len() - 1)]
            }
        }
    }
}

pub(crate) fn below(rng: &mut SplitMix64, bound: u32) -> u32 {
    rng.below(u64::from(bound)) as u32
}

fn permutation(n: u32, rng: &mut SplitMix64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last as usize, below(rng, last + 1) as usize);
    }
    order
}

fn zipf(exponent: f64, n: u32) -> Vec<f64> {
    let weights = (1..=n).map(|rank| f64::from(rank).powf(-exponent));
    let mut cumulative: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let total = cumulative.last().copied().unwrap_or(1.0);
    cumulative.iter_mut().for_each(|up_to| *up_to /= total);
    cumulative
}

/// What `page` holds once it has been written `version` times: no two pages or versions alike, and little work to make,
/// since the time it takes is measured too.
pub(crate) fn content(page: u32, version: u32, buf: &mut [u8; PAGE]) {
    let mut word = SplitMix64::new(u64::from(page) << 32 | u64::from(version)).next_u64();
    for chunk in buf.chunks_exact_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(0x0101_0101_0101_0101);
    }
}
