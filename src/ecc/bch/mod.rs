//! Binary BCH codes, shortened to steps of bytes, as Linux's `lib/bch.c` and the ECC engines of controllers have them.
//!
//! A codeword is a polynomial over GF(2) that the *generator* divides: the bits of the data, first byte first and in each byte
//! the highest bit first, are its coefficients from the highest down; the remainder that makes it divisible, the *parity*,
//! is the rest. The generator is the product of the minimal polynomials of α, α³, ... α^(2t-1), α being a root of the field's
//! polynomial; so a word that is 1 to 2t flips away from a codeword is not one itself, and up to t flips can be found.
//!
//! How a codeword becomes bytes is this module's; [`encode`] makes the parity, [`decode`] finds the flips.

mod decode;
mod encode;
mod field;
mod generator;
mod params;
mod roots;
mod words;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::Uncorrectable;
use decode::Decoder;
use encode::Remainders;
use field::Field;
pub use params::{Align, BchParams, CodeError, MAX_STRENGTH, default_polynomial};
use words::Words;

/// One BCH code, with its tables: about 50 KiB for m = 13 and t = 4, 250 KiB for m = 14 and t = 40, never more than 512 KiB.
#[derive(Clone)]
pub struct Bch {
    params: BchParams,
    ecc_bits: usize,
    remainders: Remainders,
    decoder: Decoder,
    /// What the parity is XORed with where it is stored.
    mask: Words,
    /// The bits of the ECC that are of the code.
    code_bits: Words,
}

impl fmt::Debug for Bch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bch")
            .field("params", &self.params)
            .field("ecc_bits", &self.ecc_bits)
            .finish_non_exhaustive()
    }
}

impl Bch {
    /// The code of `params`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn new(params: BchParams) -> Result<Self, CodeError> {
        let BchParams { m, t, data_len, polynomial, .. } = params;
        if default_polynomial(m).is_none() {
            return Err(CodeError::Field(m));
        }
        if !(1..=MAX_STRENGTH).contains(&t) {
            return Err(CodeError::Strength(t));
        }
        let field = Field::new(m, polynomial).ok_or(CodeError::Polynomial { polynomial, m })?;
        let generator = generator::generator(&field, t);
        let ecc_bits = generator.as_ref().map_or(field.order(), |g| g.len() - 1);
        let fits = data_len > 0 && data_len <= field.order().saturating_sub(ecc_bits) / 8;
        let Some(generator) = generator.filter(|_| fits) else {
            return Err(CodeError::Length { data_len, ecc_bits, m });
        };
        let remainders = Remainders::new(&generator, params.reverse_bits);
        let decoder = Decoder::new(field, ecc_bits, t as usize);
        let mut code = Self { params, ecc_bits, remainders, decoder, mask: [0; _], code_bits: [0; _] };
        code.code_bits = code.placed(code.turned(words::ones(ecc_bits)));
        if params.erased_mask {
            let erased = code.parity(&vec![0xFF; data_len]);
            code.mask = words::xor(&erased, &words::ones(8 * code.ecc_len()));
        }
        Ok(code)
    }

    /// What the code is made from.
    #[must_use]
    pub fn params(&self) -> &BchParams {
        &self.params
    }

    /// Flips a step that are surely corrected.
    #[must_use]
    pub fn strength(&self) -> u32 {
        self.params.t
    }

    /// Bits of parity: the degree of the generator, m t or less.
    #[must_use]
    pub fn ecc_bits(&self) -> usize {
        self.ecc_bits
    }

    /// Bytes of the ECC.
    #[must_use]
    pub fn ecc_len(&self) -> usize {
        self.ecc_bits.div_ceil(8)
    }

    /// Writes the ECC of `data`.
    ///
    /// # Panics
    /// Where `data` is longer than a step, or `ecc` not as long as [`Bch::ecc_len`].
    pub fn encode(&self, data: &[u8], ecc: &mut [u8]) {
        assert_eq!(ecc.len(), self.ecc_len(), "the length of the ECC");
        words::store(&self.parity(data), ecc);
    }

    /// Corrects up to t flips of data and ECC, and tells how many there were.
    ///
    /// # Errors
    /// Where more are detected, and nothing is changed.
    ///
    /// # Panics
    /// As [`Bch::encode`].
    pub fn correct(&self, data: &mut [u8], ecc: &mut [u8]) -> Result<u32, Uncorrectable> {
        assert_eq!(ecc.len(), self.ecc_len(), "the length of the ECC");
        let parity = self.parity(data);
        let difference = words::and(&words::xor(&parity, &words::load(ecc)), &self.code_bits);
        let degrees = if difference == [0; _] { Vec::new() } else { self.flips(&difference, data.len())? };
        // The ECC as read, with pad bits as they should be.
        words::store(&words::xor(&parity, &difference), ecc);
        for degree in degrees.iter().map(|degree| usize::from(*degree)) {
            match degree.checked_sub(self.ecc_bits) {
                Some(above) => self.flip(data, 8 * data.len() - 1 - above),
                None => self.flip(ecc, self.pad_before() as usize + self.ecc_bits - 1 - degree),
            }
        }
        Ok(degrees.len() as u32)
    }

    /// The degrees of the flipped bits of a step of `data_len` bytes.
    fn flips(&self, difference: &Words, data_len: usize) -> Result<Vec<u16>, Uncorrectable> {
        let difference = words::earlier(&self.turned(*difference), self.pad_before());
        let degrees = self.decoder.flips(&difference).ok_or(Uncorrectable)?;
        // A flip among the bits that are not stored is none.
        let bits = self.ecc_bits + 8 * data_len;
        if degrees.iter().any(|degree| usize::from(*degree) >= bits) {
            Err(Uncorrectable)
        } else {
            Ok(degrees)
        }
    }

    fn flip(&self, bytes: &mut [u8], bit: usize) {
        bytes[bit / 8] ^= if self.params.reverse_bits { 1 << (bit % 8) } else { 0x80 >> (bit % 8) };
    }

    /// The parity of `data` as it is stored.
    fn parity(&self, data: &[u8]) -> Words {
        assert!(data.len() <= self.params.data_len, "the data is at most one step");
        words::xor(&self.placed(self.remainders.of(data)), &self.mask)
    }

    /// Bits between the order of the flash and that of the code, either way.
    fn turned(&self, bits: Words) -> Words {
        if self.params.reverse_bits { bits.map(words::reverse_bytes) } else { bits }
    }

    /// A parity that starts with the first bit, where it lies in the ECC.
    fn placed(&self, parity: Words) -> Words {
        match self.pad_before() {
            0 => parity,
            pad => self.turned(words::later(&self.turned(parity), pad)),
        }
    }

    /// Pad bits before the parity.
    fn pad_before(&self) -> u32 {
        match self.params.align {
            Align::Left => 0,
            Align::Right => (8 * self.ecc_len() - self.ecc_bits) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_bounded() {
        for (m, t, kib) in [(13, 4, 49), (14, 40, 252), (15, MAX_STRENGTH, 512)] {
            let code = Bch::new(BchParams {
                m,
                polynomial: default_polynomial(m).unwrap(),
                ..BchParams::linux(512, t)
            });
            let code = code.expect("a code");
            let bytes = code.remainders.table_len() + code.decoder.table_len();
            assert!((kib - 30) << 10 < bytes && bytes <= kib << 10, "m = {m}, t = {t}: {bytes} bytes");
        }
    }
}
