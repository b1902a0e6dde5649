//! Runs of bits in a raw page, and moving bits between them and buffers.
//!
//! Bits are numbered as on the bus: bit b is bit b % 8, least significant first, of byte b / 8. Whole bytes move as slices.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// A run of bits of a raw page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Its first bit.
    pub start: u64,
    /// How many bits.
    pub len: u64,
}

impl Span {
    /// The bit behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// The bytes it is, if it starts and ends between bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<Range<usize>> {
        let whole = self.start.is_multiple_of(8) && self.len.is_multiple_of(8);
        whole.then(|| (self.start / 8) as usize..(self.end() / 8) as usize)
    }

    /// The bytes it touches, each with the mask of its bits.
    fn touched(self) -> impl Iterator<Item = (usize, u8)> {
        let bytes = self.start / 8..self.end().div_ceil(8);
        bytes.map(move |byte| {
            let from = self.start.saturating_sub(8 * byte).min(8) as u32;
            let to = (self.end() - 8 * byte).min(8) as u32;
            (byte as usize, ones(to) & !ones(from))
        })
    }

    /// Whether all its bits are 1, as those of erased cells.
    pub(super) fn is_ones(self, raw: &[u8]) -> bool {
        match self.bytes() {
            Some(bytes) => all_ones(&raw[bytes]),
            None => self.touched().all(|(byte, mask)| raw[byte] & mask == mask),
        }
    }

    /// Make all its bits 1, or 0.
    pub(super) fn fill(self, raw: &mut [u8], ones: bool) {
        for (byte, mask) in self.touched() {
            raw[byte] = if ones { raw[byte] | mask } else { raw[byte] & !mask };
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => write!(f, "bytes {}..{}", bytes.start, bytes.end),
            None => write!(f, "bits {}..{}", self.start, self.end()),
        }
    }
}

/// Bits of all `spans` together.
pub(super) fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len).sum()
}

/// The same bits in the same order, in as few spans as there can be.
pub(super) fn joined(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if last.end() == span.start => last.len += span.len,
            _ => joined.push(span),
        }
    }
    joined
}

/// The bits of `spans` of `raw`, one after the other, into `out` from its first bit on.
pub(super) fn gather(raw: &[u8], spans: &[Span], out: &mut [u8]) {
    let mut at = 0;
    for span in spans {
        copy_bits(raw, span.start, out, at, span.len);
        at += span.len;
    }
}

/// What [`gather`] took, back to where it was.
pub(super) fn scatter(bits: &[u8], spans: &[Span], raw: &mut [u8]) {
    let mut at = 0;
    for span in spans {
        copy_bits(bits, at, raw, span.start, span.len);
        at += span.len;
    }
}

/// Whether every byte is FF; where not, that is seen early as a rule.
pub(super) fn all_ones(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let ones = |bytes: &[u8]| bytes.iter().fold(0xFF, |sum, byte| sum & byte) == 0xFF;
    blocks.iter().all(|block| ones(block)) && ones(rest)
}

/// The lowest `n` bits; `n` is 8 at most.
fn ones(n: u32) -> u8 {
    ((1u16 << n) - 1) as u8
}

fn copy_bits(src: &[u8], from: u64, dst: &mut [u8], to: u64, len: u64) {
    if (from | to | len).is_multiple_of(8) {
        let (from, to, len) = ((from / 8) as usize, (to / 8) as usize, (len / 8) as usize);
        dst[to..to + len].copy_from_slice(&src[from..from + len]);
        return;
    }
    let mut done = 0;
    while done < len {
        let (at, shift) = (((to + done) / 8) as usize, ((to + done) % 8) as u32);
        if shift == 0 && len - done >= 64 {
            dst[at..at + 8].copy_from_slice(&word_at(src, from + done).to_le_bytes());
            done += 64;
            continue;
        }
        let n = (u64::from(8 - shift)).min(len - done) as u32;
        let byte = &mut dst[at];
        *byte = *byte & !(ones(n) << shift) | bits_at(src, from + done, n) << shift;
        done += u64::from(n);
    }
}

/// The 64 bits of `src` from bit `at` on.
fn word_at(src: &[u8], at: u64) -> u64 {
    let (byte, shift) = ((at / 8) as usize, at % 8);
    let low = src[byte..byte + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    match shift {
        0 => low,
        _ => low >> shift | u64::from(src[byte + 8]) << (64 - shift),
    }
}

/// The `n` bits of `src` from bit `at` on; `n` is 8 at most.
fn bits_at(src: &[u8], at: u64, n: u32) -> u8 {
    let (byte, shift) = ((at / 8) as usize, (at % 8) as u32);
    let mut bits = u16::from(src[byte]) >> shift;
    if shift + n > 8 {
        bits |= u16::from(src[byte + 1]) << (8 - shift);
    }
    bits as u8 & ones(n)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::prng::SplitMix64;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] >> (at % 8) & 1 == 1
    }

    #[test]
    fn bits_move_one_by_one_or_by_bytes_alike() {
        let mut rng = SplitMix64::new(1);
        for _ in 0..4000 {
            let (mut src, mut dst) = ([0; 24], [0; 24]);
            rng.fill(&mut src);
            rng.fill(&mut dst);
            let before = dst;
            let (from, to) = (rng.below(100), rng.below(100));
            let len = rng.below(193 - from.max(to));
            copy_bits(&src, from, &mut dst, to, len);
            for at in 0..192 {
                let expected =
                    if (to..to + len).contains(&at) { bit(&src, from + at - to) } else { bit(&before, at) };
                assert_eq!(bit(&dst, at), expected, "{from} -> {to}, {len}: bit {at}");
            }
        }
    }

    #[test]
    fn spans_are_filled_and_looked_at_bit_by_bit() {
        let mut rng = SplitMix64::new(2);
        for _ in 0..2000 {
            let start = rng.below(150);
            let span = Span { start, len: 1 + rng.below(191 - start) };
            let mut raw = vec![0; 24];
            span.fill(&mut raw, true);
            for at in 0..192 {
                assert_eq!(bit(&raw, at), (span.start..span.end()).contains(&at), "{span}: bit {at}");
            }
            assert!(span.is_ones(&raw));
            let hole = span.start + rng.below(span.len);
            Span { start: hole, len: 1 }.fill(&mut raw, false);
            assert!(!span.is_ones(&raw), "{span}: hole at {hole}");
        }
    }

    #[test]
    fn what_is_gathered_goes_back_where_it_was() {
        let spans = [Span { start: 3, len: 14 }, Span { start: 40, len: 16 }, Span { start: 20, len: 2 }];
        let raw = [0xA5, 0x3C, 0x77, 0x19, 0xE2, 0x8D, 0x5B, 0xFF];
        let (mut bits, mut back) = ([0; 4], raw);
        gather(&raw, &spans, &mut bits);
        assert!((0..14).all(|at| bit(&bits, at) == bit(&raw, 3 + at)));
        assert!((0..16).all(|at| bit(&bits, 14 + at) == bit(&raw, 40 + at)));
        spans.iter().for_each(|span| span.fill(&mut back, false));
        assert_ne!(back, raw);
        scatter(&bits, &spans, &mut back);
        assert_eq!(back, raw);
    }

    #[test]
    fn neighbours_are_joined_in_order() {
        let [a, b, c] = [Span { start: 0, len: 8 }, Span { start: 8, len: 3 }, Span { start: 0, len: 4 }];
        assert_eq!(joined([a, b, c]), [Span { start: 0, len: 11 }, c]);
    }
}
