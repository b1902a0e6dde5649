//! Binary BCH codes, shortened to steps of bytes, as Linux's `lib/bch.c` and the ECC engines of controllers have them.
//!
//! A codeword is a polynomial over GF(2) that the *generator* divides: the bits of the data, first byte first and in each byte
//! the highest bit first, are its coefficients from the highest down; the remainder that makes it divisible, the *parity*,
//! is the rest. The generator is the product of the minimal polynomials of α, α³, ... α^(2t-1), α being a root of the field's
//! polynomial; so a word that 1 to 2t flips away from a codeword is none, and up to t flips are found.
//!
//! How a codeword becomes bytes is this module's; [`encode`] makes the parity, [`decode`] finds the flips.

mod decode;
mod encode;
mod field;
mod generator;
mod roots;
mod words;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use super::Uncorrectable;
use decode::Decoder;
use encode::Remainders;
use field::Field;
use words::Words;

/// The most flips a step that a code is made for.
pub(super) const MAX_STRENGTH: u32 = 64;

/// Where the pad bits are, if the parity does not fill its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Align {
    /// The parity starts with the first bit, and pad bits come last: Linux.
    Left,
    /// The parity ends with the last bit, and pad bits come first.
    Right,
}

/// What a BCH code is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BchParams {
    /// The field is GF(2^m); 5 to 15. A codeword has 2^m - 1 bits at most.
    pub m: u32,
    /// Flips a step that are corrected: 1 to 64.
    pub t: u32,
    /// Data bytes a step; fewer stand for a step that starts with bytes 00 which are not stored.
    pub data_len: usize,
    /// A primitive polynomial of degree m, the coefficient of x^i at bit i.
    pub polynomial: u32,
    /// The ECC is stored as the parity XOR the inverted parity of a step of bytes FF, so that an erased step is a codeword
    /// (Linux). Pad bits are stored as 1 then, else as 0.
    pub erased_mask: bool,
    /// The lowest bit of each byte, of data and ECC, is its first.
    pub reverse_bits: bool,
    /// Where the pad bits are.
    pub align: Align,
}

impl BchParams {
    /// The code of Linux's software ECC for steps of `data_len` bytes and `t` flips.
    #[must_use]
    pub fn linux(data_len: usize, t: u32) -> Self {
        // The least m with 2^m above the bits of a step and one more.
        let m = (data_len.saturating_mul(8).saturating_add(1)).checked_ilog2().map_or(0, |log| log + 1);
        Self {
            m,
            t,
            data_len,
            polynomial: default_polynomial(m).unwrap_or(0),
            erased_mask: true,
            reverse_bits: false,
            align: Align::Left,
        }
    }
}

/// The primitive polynomial that Linux (`lib/bch.c`) takes for GF(2^m); none outside m = 5 to 15.
#[must_use]
pub fn default_polynomial(m: u32) -> Option<u32> {
    const POLYNOMIALS: [u32; 11] =
        [0x25, 0x43, 0x83, 0x11D, 0x211, 0x409, 0x805, 0x1053, 0x201B, 0x402B, 0x8003];
    POLYNOMIALS.get(m.checked_sub(5)? as usize).copied()
}

/// Parameters that make no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The field is too small or too large.
    #[error("a BCH code over GF(2^{0}): m is 5 to 15")]
    Field(u32),
    /// No flips, or too many.
    #[error("a BCH code that corrects {0} bits a step: t is 1 to {MAX_STRENGTH}")]
    Strength(u32),
    /// The polynomial does not generate the field.
    #[error("{polynomial:#x} is not a primitive polynomial of degree {m}")]
    Polynomial {
        /// The polynomial.
        polynomial: u32,
        /// The degree.
        m: u32,
    },
    /// Data and parity are longer than a codeword.
    #[error(
        "steps of {data_len} bytes with {ecc_bits} bits of ECC: a codeword over GF(2^{m}) has at least 8 bits of data and at most {} bits in all",
        (1 << m) - 1
    )]
    Length {
        /// Data bytes a step.
        data_len: usize,
        /// Bits of parity.
        ecc_bits: usize,
        /// The degree of the field.
        m: u32,
    },
}

/// One BCH code, with its tables: about 50 KiB for m = 13 and t = 4, 260 KiB for t = 40, never more than 512 KiB.
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
