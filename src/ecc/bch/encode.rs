//! Parities, eight bytes of data at a time.
//!
//! The remainder stands at the left of W words, as if the generator had been multiplied by a power of x to a degree of 64 W.
//! Then one step of the division takes a word of data: the first word of the remainder and the data are a polynomial of which
//! a table for each of its eight bytes holds the remainder, and the other words move up. The tables are in the bit order of
//! the flash, which the division itself does not see: bytes index them, words move whole.
//!
//! The tables take 16 KiB for each 64 bits of parity.

use alloc::vec;
use alloc::vec::Vec;

use super::words::{MAX_WORDS, Words, reverse_bytes};

/// Division by one generator.
#[derive(Clone)]
pub(super) struct Remainders {
    /// Words that a parity needs.
    words: usize,
    /// Rows of as many words: for each byte of a word of data, first byte first, and each of its values the remainder.
    rows: Vec<u64>,
}

impl Remainders {
    /// For a generator given by its coefficients from x^0 up; with `reversed` the lowest bit of each byte is its first.
    pub(super) fn new(generator: &[u8], reversed: bool) -> Self {
        let bits = generator.len() - 1;
        let words = bits.div_ceil(64);
        // x^64W by the generator leaves the generator without its highest term.
        let mut low = vec![0; words];
        for (i, coefficient) in generator[..bits].iter().rev().enumerate() {
            low[i / 64] |= u64::from(*coefficient) << (63 - i % 64);
        }
        // Of each bit of a data word, lowest first.
        let mut of_bits = Vec::with_capacity(64);
        let mut remainder = low.clone();
        for _ in 0..64 {
            of_bits.push(remainder.clone());
            times_x(&mut remainder, &low);
        }
        let mut rows = vec![0; 8 * 256 * words];
        for (i, row) in rows.chunks_exact_mut(words).enumerate() {
            let (byte, value) = (i / 256, (i % 256) as u8);
            let value = if reversed { value.reverse_bits() } else { value };
            for (bit, remainder) in of_bits[8 * (7 - byte)..].iter().take(8).enumerate() {
                if value >> bit & 1 == 1 {
                    row.iter_mut().zip(remainder).for_each(|(sum, word)| *sum ^= word);
                }
            }
            if reversed {
                row.iter_mut().for_each(|word| *word = reverse_bytes(*word));
            }
        }
        Self { words, rows }
    }

    /// The remainder of `data`, in the bit order of the flash.
    pub(super) fn of(&self, data: &[u8]) -> Words {
        match self.words {
            1 => divide::<1>(&self.rows, data),
            2 => divide::<2>(&self.rows, data),
            3 => divide::<3>(&self.rows, data),
            4 => divide::<4>(&self.rows, data),
            5 => divide::<5>(&self.rows, data),
            6 => divide::<6>(&self.rows, data),
            7 => divide::<7>(&self.rows, data),
            8 => divide::<8>(&self.rows, data),
            9 => divide::<9>(&self.rows, data),
            10 => divide::<10>(&self.rows, data),
            11 => divide::<11>(&self.rows, data),
            12 => divide::<12>(&self.rows, data),
            13 => divide::<13>(&self.rows, data),
            14 => divide::<14>(&self.rows, data),
            _ => divide::<MAX_WORDS>(&self.rows, data),
        }
    }

    /// Bytes of the tables.
    #[cfg(test)]
    pub(super) fn table_len(&self) -> usize {
        size_of_val(&self.rows[..])
    }
}

/// `remainder` times x, divided; `low` is the generator without its highest term.
fn times_x(remainder: &mut [u64], low: &[u64]) {
    let carry = remainder[0] >> 63 == 1;
    for i in 0..remainder.len() {
        let next = remainder.get(i + 1).map_or(0, |next| next >> 63);
        remainder[i] = remainder[i] << 1 | next;
    }
    if carry {
        remainder.iter_mut().zip(low).for_each(|(sum, word)| *sum ^= word);
    }
}

fn divide<const W: usize>(rows: &[u64], data: &[u8]) -> Words {
    let mut parity = [0; MAX_WORDS];
    let Some(tables) = rows.as_chunks::<W>().0.as_chunks::<256>().0.first_chunk::<8>() else {
        return parity;
    };
    let mut remainder = [0; W];
    let mut step = |bytes: &[u8; 8]| {
        let bytes = (remainder[0] ^ u64::from_be_bytes(*bytes)).to_be_bytes();
        remainder.copy_within(1.., 0);
        remainder[W - 1] = 0;
        for (table, byte) in tables.iter().zip(bytes) {
            for (sum, word) in remainder.iter_mut().zip(table[usize::from(byte)]) {
                *sum ^= word;
            }
        }
    };
    // Zeros before the first byte leave the remainder as it is.
    let (head, chunks) = data.as_rchunks::<8>();
    let mut first = [0; 8];
    first[8 - head.len()..].copy_from_slice(head);
    step(&first);
    chunks.iter().for_each(step);
    parity[..W].copy_from_slice(&remainder);
    parity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::SplitMix64;

    /// Division bit by bit; the coefficients from that of x^0 up.
    fn slow_remainder(generator: &[u8], data: &[u8]) -> Vec<u8> {
        let degree = generator.len() - 1;
        let mut remainder = vec![0; degree];
        for bit in (0..8 * data.len()).map(|i| data[i / 8] >> (7 - i % 8) & 1) {
            let carry = remainder.pop().unwrap() ^ bit;
            remainder.insert(0, 0);
            remainder.iter_mut().zip(generator).for_each(|(sum, coefficient)| *sum ^= carry & coefficient);
        }
        remainder
    }

    #[test]
    fn remainders_are_those_of_long_division() {
        let mut rng = SplitMix64::new(3);
        for bits in
            [5, 8, 13, 52, 63, 64, 65, 104, 128, 200, 300, 377, 440, 512, 520, 600, 704, 768, 830, 896, 960]
        {
            let mut generator: Vec<u8> = (0..=bits).map(|_| rng.below(2) as u8).collect();
            generator[bits] = 1;
            let plain = Remainders::new(&generator, false);
            let reversed = Remainders::new(&generator, true);
            for len in [0, 1, 2, 7, 8, 9, 16, 29] {
                let mut data = vec![0; len];
                rng.fill(&mut data);
                let mut expected = [0; MAX_WORDS];
                for (i, bit) in slow_remainder(&generator, &data).iter().rev().enumerate() {
                    expected[i / 64] |= u64::from(*bit) << (63 - i % 64);
                }
                assert_eq!(plain.of(&data), expected, "{bits} bits, {len} bytes");
                data.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
                assert_eq!(reversed.of(&data), expected.map(reverse_bytes), "{bits} bits, {len} bytes");
            }
        }
    }
}
