//! Where the flips are, from how the parity of the data read differs from the parity read.
//!
//! That difference is what the generator leaves of the *error*, the polynomial of the flipped bits; so it has the error's
//! *syndromes*, its values at α, α², ... α^2t. The shortest recurrence that makes them (Berlekamp, Massey) is the polynomial
//! whose roots are α^d for the degree d of each flipped bit. If there are as many such roots as its degree, then flipping those
//! bits makes a codeword; if not, more than t bits have flipped.

use alloc::vec::Vec;

use super::MAX_STRENGTH;
use super::field::Field;
use super::roots::RootFinder;
use super::words::Words;

/// S_1 to S_2t behind an unused S_0.
type Syndromes = [u16; 2 * MAX_STRENGTH as usize + 1];

/// Coefficients from that of x^0 up.
type Locator = [u16; MAX_STRENGTH as usize + 1];

/// Finds the flips of one code.
#[derive(Clone)]
pub(super) struct Decoder {
    field: Field,
    roots: RootFinder,
    /// Flips that are found.
    t: usize,
    /// For each bit of the parity, the first one first, its share in S_1, S_3, ... S_(2t-1), four in a word.
    shares: Vec<u64>,
}

impl Decoder {
    pub(super) fn new(field: Field, ecc_bits: usize, t: usize) -> Self {
        let share = |degree: usize, i: usize| u64::from(field.power(degree * (2 * i + 1) % field.order()));
        let four = |degree, first| {
            (first..t.min(first + 4)).fold(0, |word, i| word | share(degree, i) << (16 * (i % 4)))
        };
        let shares = (0..ecc_bits).rev().flat_map(|degree| (0..t).step_by(4).map(move |i| four(degree, i)));
        let shares = shares.collect();
        Self { roots: RootFinder::new(&field), field, t, shares }
    }

    /// Bytes of the tables.
    #[cfg(test)]
    pub(super) fn table_len(&self) -> usize {
        self.field.table_len() + size_of_val(&self.shares[..])
    }

    /// The degrees of the flipped bits, in no order; `None` if there are more than t.
    pub(super) fn flips(&self, difference: &Words) -> Option<Vec<u16>> {
        let (mut locator, flips) = self.locator(&self.syndromes(difference))?;
        let locator = &mut locator[..=flips];
        // Roots at the inverses become roots at the powers themselves.
        locator.reverse();
        self.roots.logs(&self.field, locator)
    }

    fn syndromes(&self, difference: &Words) -> Syndromes {
        let mut odd = [0; MAX_STRENGTH as usize / 4];
        let odd = &mut odd[..self.t.div_ceil(4)];
        for (i, word) in difference.iter().enumerate() {
            let mut bits = *word;
            while bits != 0 {
                let first = bits.leading_zeros();
                bits ^= 1 << (63 - first);
                let start = (64 * i + first as usize) * odd.len();
                for (sum, share) in odd.iter_mut().zip(&self.shares[start..]) {
                    *sum ^= share;
                }
            }
        }
        let mut syndromes = [0; 2 * MAX_STRENGTH as usize + 1];
        for i in 0..self.t {
            syndromes[2 * i + 1] = (odd[i / 4] >> (16 * (i % 4))) as u16;
        }
        // A square of sums is the sum of the squares.
        for i in 1..=self.t {
            syndromes[2 * i] = self.field.mul(syndromes[i], syndromes[i]);
        }
        syndromes
    }

    /// The product of 1 + α^d x over the degrees d of the flipped bits, and how many there are; `None` if more than t.
    ///
    /// Every other discrepancy of the recurrence is 0 over GF(2) and left out (Berlekamp).
    fn locator(&self, syndromes: &Syndromes) -> Option<(Locator, usize)> {
        let field = &self.field;
        let (mut locator, mut before): (Locator, Locator) = ([0; _], [0; _]);
        (locator[0], before[0]) = (1, 1);
        // Length of the recurrence, the discrepancy at its last change, and how far back that was.
        let (mut length, mut last, mut shift) = (0, 1, 1);
        for n in (0..2 * self.t).step_by(2) {
            let terms = locator[..=length].iter().zip(syndromes[..=n + 1].iter().rev());
            let discrepancy = terms.fold(0, |sum, (a, b)| sum ^ field.mul(*a, *b));
            if discrepancy != 0 {
                let longer = length.max(n + 1 - length);
                if longer > self.t {
                    return None;
                }
                let was = locator;
                let factor = field.div(discrepancy, last);
                field.add_multiple(&mut locator[shift..=longer], factor, &before);
                if longer > length {
                    (before, last, shift) = (was, discrepancy, 0);
                }
                length = longer;
            }
            shift += 2;
        }
        // The highest coefficient is not 0: it came with the length, and what is added without a change of it ends below, at
        // n + 1 - length, which is not length, n being even.
        Some((locator, length))
    }
}
