//! Whether what a code finds in steps could be chance.
//!
//! The outcomes of steps have a probability if they are chance, and another if they come as often as they did come. How much
//! smaller the first one is, as a binary logarithm, is the evidence (the divergence of Kullback and Leibler, times the number of
//! steps). It says by itself that a weak code is worth little and a strong one much, and few flips more than many.
//!
//! Of random steps with n bits, r of them ECC, the share C(n, i) / 2^r is i flips away from a codeword of BCH, and the rest is taken
//! for uncorrectable. With a Hamming code it is even odds that a step seems to have one flip, where the ECC looks like one: half of
//! it repeats the parity of the data, by each address bit two parities that are equal or are not, and that is so with bytes such
//! as 00 and FF, too.
//!
//! Some steps are codewords of any layout, or look so:
//! * A Hamming code has FF FF FF for a step that is all FF or all 00, counts up, or repeats itself; so have pages without ECC.
//! * A BCH code has 00 for a step of 00, or FF for one of FF, and takes for such a step what differs by few bits.
//!
//! Those where the ECC is one byte throughout say nothing, nor do those of a Hamming code where the two halves of the data are
//! equal. A step that was seen before is no more evidence: what is chance once is chance each time. But it counts for how much
//! of the image a layout explains.

use std::collections::HashSet;

use xxhash_rust::xxh3::Xxh3;

use crate::layout::{CodeKind, Layout, Span, Step, Verdict};

/// What was found in the steps that tell anything.
pub(super) struct Tally<'a> {
    steps: &'a [Step],
    odds: Vec<Odds>,
    is_hamming: bool,
    seen: HashSet<u64>,
    /// Different steps by their flips; those that cannot be corrected.
    right: Vec<u64>,
    wrong: u64,
    /// What is expected of random steps: how improbable these outcomes are, in bits, and how many are right.
    surprise: f64,
    right_by_chance: f64,
    /// All steps, as often as they were found; the bits that those have that are right.
    all_right: u64,
    all_wrong: u64,
    right_bits: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        let (steps, kind) = (layout.steps(), layout.code().map(|code| code.kind));
        Self {
            steps,
            odds: kind.iter().flat_map(|kind| steps.iter().map(|step| Odds::new(step, *kind))).collect(),
            is_hamming: matches!(kind, Some(CodeKind::Hamming { .. })),
            seen: HashSet::new(),
            right: Vec::new(),
            wrong: 0,
            surprise: 0.0,
            right_by_chance: 0.0,
            all_right: 0,
            all_wrong: 0,
            right_bits: 0,
        }
    }

    /// Count the steps of a page that was `stored` and `corrected`, and found so many times.
    pub(super) fn note(&mut self, stored: &[u8], corrected: &[u8], verdict: &Verdict, times: u64) {
        for (number, (step, odds)) in self.steps.iter().zip(&self.odds).enumerate() {
            let is_wrong = verdict.uncorrectable.contains(&number);
            let is_trivial = |raw| is_trivial(step, raw, self.is_hamming);
            if is_wrong {
                self.all_wrong += times;
            } else if is_trivial(stored) || is_trivial(corrected) {
                continue;
            } else {
                self.all_right += times;
                self.right_bits += times * step.bits();
            }
            if !self.seen.insert(hash(step, corrected)) {
                continue;
            }
            self.right_by_chance += odds.right;
            if is_wrong {
                self.wrong += 1;
                self.surprise += odds.bits_if_wrong();
                continue;
            }
            let flips = match verdict.corrected_bits {
                0 => 0,
                _ => step.code_bits().iter().map(|span| difference(*span, stored, corrected)).sum(),
            };
            if self.right.len() <= flips {
                self.right.resize(flips + 1, 0);
            }
            if let Some(right) = self.right.get_mut(flips) {
                *right += 1;
            }
            self.surprise += odds.bits_if_right.get(flips).unwrap_or(&0.0);
        }
    }

    fn total(&self) -> u64 {
        self.right.iter().sum::<u64>() + self.wrong
    }

    /// The share of the steps that are right, however often they were found.
    pub(super) fn explained(&self) -> f64 {
        self.all_right as f64 / (self.all_right + self.all_wrong).max(1) as f64
    }

    /// Bits in steps that are right.
    pub(super) fn right_bits(&self) -> u64 {
        self.right_bits
    }

    /// Whether there is much that speaks against the layout, and hardly more for it than chance.
    pub(super) fn is_hopeless(&self) -> bool {
        let total = self.total() as f64;
        let right = total - self.wrong as f64;
        self.wrong >= 8 && right < self.right_by_chance + 0.125 * total
    }

    /// How much speaks for the layout, in bits.
    pub(super) fn evidence(&self) -> f64 {
        let total = self.total();
        if total == 0 || (total - self.wrong) as f64 <= self.right_by_chance {
            return 0.0;
        }
        let kinds: Vec<f64> =
            self.right.iter().chain([&self.wrong]).filter(|n| **n > 0).map(|n| *n as f64).collect();
        let total = total as f64;
        let as_it_came: f64 = kinds.iter().map(|n| n * (n / total).log2()).sum();
        // How often each kind comes was not said beforehand: that has its price.
        let price = (kinds.len() - 1) as f64 * (total + 1.0).log2();
        self.surprise + as_it_came - price
    }
}

/// How probable the outcomes of a step are if they are chance.
struct Odds {
    /// How improbable it is that a step is right by so many flips, in bits.
    bits_if_right: Vec<f64>,
    /// The probability that it is right.
    right: f64,
}

impl Odds {
    fn new(step: &Step, code: CodeKind) -> Self {
        let bits = step.bits() as f64;
        let ecc_bits = bits - step.protects().iter().map(|span| span.len).sum::<u64>() as f64;
        let bits_if_right = match code {
            CodeKind::Hamming { .. } => vec![ecc_bits, 1.0],
            CodeKind::Bch { t, .. } => {
                let choices = (0..t).map(|i| (bits - f64::from(i)) / f64::from(i + 1));
                let fewer = choices.scan(ecc_bits, |left, choices| {
                    *left -= choices.log2();
                    Some(*left)
                });
                std::iter::once(ecc_bits).chain(fewer).collect()
            }
        };
        let right = bits_if_right.iter().map(|bits: &f64| (-bits).exp2()).sum::<f64>();
        Self { bits_if_right, right: right.min(0.999) }
    }

    /// How improbable it is that the step cannot be corrected, in bits.
    fn bits_if_wrong(&self) -> f64 {
        -(1.0 - self.right).log2()
    }
}

/// The bytes that hold the bits of `span`.
fn touched(span: Span, raw: &[u8]) -> &[u8] {
    raw.get((span.start / 8) as usize..span.end().div_ceil(8) as usize).unwrap_or_default()
}

/// The same bytes, each with the mask of its bits that are of `span`.
fn masked(span: Span, raw: &[u8]) -> impl Iterator<Item = (u8, u8)> {
    let first = span.start / 8;
    (first..).zip(touched(span, raw)).map(move |(at, byte)| {
        let below = |bit: u64| 0xFF_u8.checked_shl(bit.saturating_sub(8 * at) as u32).unwrap_or(0);
        (*byte, below(span.start) & !below(span.end()))
    })
}

/// Whether the step would look the same without the layout.
fn is_trivial(step: &Step, raw: &[u8], is_hamming: bool) -> bool {
    let ecc = || step.ecc().iter().flat_map(|span| masked(*span, raw));
    let first = ecc().next().map_or(0, |(byte, _)| byte);
    let is = |ground: u8| ecc().all(|(byte, mask)| (byte ^ ground) & mask == 0);
    if is(first) || is(0x00) || is(0xFF) {
        return true;
    }
    let data = step.protects().iter().map(|span| touched(*span, raw)).max_by_key(|bytes| bytes.len());
    let (half, other) = data.map(|data| data.split_at(data.len() / 2)).unwrap_or_default();
    is_hamming && other.starts_with(half)
}

/// The step's bytes in a number.
fn hash(step: &Step, raw: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    step.protects().iter().chain(step.ecc()).for_each(|span| hash.update(touched(*span, raw)));
    hash.digest()
}

/// How many bits of `span` are not the same in both.
fn difference(span: Span, a: &[u8], b: &[u8]) -> usize {
    let bytes = masked(span, a).zip(masked(span, b));
    bytes.map(|((a, mask), (b, _))| ((a ^ b) & mask).count_ones() as usize).sum()
}
