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
//! Those where the ECC is one byte throughout, or the two halves of the data are equal, say nothing. So does a step that was seen
//! before: what is chance once is chance each time.

use std::collections::HashSet;

use xxhash_rust::xxh3::Xxh3;

use crate::layout::{CodeKind, CodeSpec, Layout, Span, Step, Verdict};

/// What was found in the steps that tell anything.
pub(super) struct Tally {
    odds: Vec<Odds>,
    seen: HashSet<u64>,
    /// Steps by their flips; those that cannot be corrected.
    right: Vec<u64>,
    wrong: u64,
    /// What is expected of random steps: how improbable these outcomes are, in bits, and how many are right.
    surprise: f64,
    right_by_chance: f64,
}

impl Tally {
    pub(super) fn new(layout: &Layout) -> Self {
        let odds = |code: &CodeSpec| layout.steps().iter().map(|step| Odds::new(step, code.kind)).collect();
        Self {
            odds: layout.code().map_or_else(Vec::new, odds),
            seen: HashSet::new(),
            right: Vec::new(),
            wrong: 0,
            surprise: 0.0,
            right_by_chance: 0.0,
        }
    }

    /// Count the steps of a page that was `stored` and `corrected`.
    pub(super) fn note(&mut self, steps: &[Step], stored: &[u8], corrected: &[u8], verdict: &Verdict) {
        for (number, step) in steps.iter().enumerate() {
            let is_wrong = verdict.uncorrectable.contains(&number);
            let says_nothing = !is_wrong && (is_trivial(step, stored) || is_trivial(step, corrected));
            if says_nothing || !self.seen.insert(hash(step, corrected)) {
                continue;
            }
            let Some(odds) = self.odds.get(number) else { continue };
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

    /// The share of the steps that are right.
    pub(super) fn explained(&self) -> f64 {
        1.0 - self.wrong as f64 / self.total().max(1) as f64
    }

    /// Whether there is much that speaks against the layout, and hardly more for it than chance.
    pub(super) fn is_hopeless(&self) -> bool {
        let by_chance = self.right_by_chance / self.total().max(1) as f64;
        self.wrong >= 8 && self.explained() < by_chance + 0.125
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
        let total = |spans: &[Span]| spans.iter().map(|span| span.len).sum::<u64>() as f64;
        let bits = total(step.code_bits());
        let ecc_bits = bits - total(step.protects());
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

/// Whether the step would look the same without the layout.
fn is_trivial(step: &Step, raw: &[u8]) -> bool {
    let mut ecc = step.ecc().iter().flat_map(|span| touched(*span, raw));
    let first = ecc.next();
    let data = step.protects().iter().map(|span| touched(*span, raw)).max_by_key(|bytes| bytes.len());
    let (half, other) = data.map(|data| data.split_at(data.len() / 2)).unwrap_or_default();
    ecc.all(|byte| Some(byte) == first) || other.starts_with(half)
}

/// The step's bytes in a number.
fn hash(step: &Step, raw: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    step.protects().iter().chain(step.ecc()).for_each(|span| hash.update(touched(*span, raw)));
    hash.digest()
}

/// How many bits of `span` are not the same in both.
fn difference(span: Span, a: &[u8], b: &[u8]) -> usize {
    let first = span.start / 8;
    let bytes = touched(span, a).iter().zip(touched(span, b));
    let differ = |(at, (a, b)): (u64, (&u8, &u8))| {
        let within = |bit: &u64| (span.start..span.end()).contains(&(8 * at + bit));
        (0..8).filter(within).filter(|bit| (a ^ b) >> bit & 1 == 1).count()
    };
    (first..).zip(bytes).filter(|(_, (a, b))| a != b).map(differ).sum()
}
