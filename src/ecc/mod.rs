//! Error-correcting codes over steps of a page, bit for bit those that the Linux kernel computes in software.
//!
//! A *step* is the data that one ECC protects, 256 to 1024 bytes as a rule; a page holds several. Where the ECC of which step
//! lies in the spare area is not known here. [`Hamming`] corrects one bit of a step, [`Bch`] as many as it is made for; both
//! stand behind [`Code`].
//!
//! An ECC is stored in whole bytes. Bits of them that are not of the code are *pad bits*: what they hold is neither looked at
//! nor counted as a flip, and [`Code::correct`] leaves them as [`Code::encode`] writes them.

mod bch;
mod erased;
mod hamming;

pub use bch::{Align, Bch, BchParams, CodeError, MAX_STRENGTH, default_polynomial};
pub use erased::{count_zero_bits, is_erased};
pub use hamming::{Hamming, HammingOrder, HammingStep};

use thiserror::Error;

/// A step with more flips than its code corrects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more bits of the step have flipped than its ECC corrects")]
pub struct Uncorrectable;

/// One error-correcting code over steps of bytes.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "few are made, and each has tables many times as large")]
pub enum Code {
    /// One bit a step.
    Hamming(Hamming),
    /// As many bits a step as it was made for.
    Bch(Bch),
}

impl Code {
    /// Flips a step, data and ECC together, that are surely corrected.
    #[must_use]
    pub fn strength(&self) -> u32 {
        match self {
            Self::Hamming(_) => 1,
            Self::Bch(code) => code.strength(),
        }
    }

    /// Bits of the ECC that are of the code, pad bits left out.
    #[must_use]
    pub fn ecc_bits(&self) -> usize {
        match self {
            Self::Hamming(code) => code.ecc_bits(),
            Self::Bch(code) => code.ecc_bits(),
        }
    }

    /// Bytes of the ECC.
    #[must_use]
    pub fn ecc_len(&self) -> usize {
        self.ecc_bits().div_ceil(8)
    }

    /// Bytes that a step may have: exactly so many with Hamming, at most so many with BCH.
    #[must_use]
    pub fn max_data_len(&self) -> usize {
        match self {
            Self::Hamming(code) => code.step().len(),
            Self::Bch(code) => code.params().data_len,
        }
    }

    /// Writes the ECC of `data`.
    ///
    /// # Panics
    /// Where `data` is not as long as [`Code::max_data_len`] allows, or `ecc` not as long as [`Code::ecc_len`].
    pub fn encode(&self, data: &[u8], ecc: &mut [u8]) {
        match self {
            Self::Hamming(code) => code.encode(data, ecc),
            Self::Bch(code) => code.encode(data, ecc),
        }
    }

    /// Corrects a step in place, and tells how many bits of data and ECC had flipped.
    ///
    /// # Errors
    /// Where more bits have flipped than the code corrects, and nothing is changed. More than [`Code::strength`] flips may
    /// also make the step look like another with few: no code can know, and the data is then wrong.
    ///
    /// # Panics
    /// As [`Code::encode`].
    pub fn correct(&self, data: &mut [u8], ecc: &mut [u8]) -> Result<u32, Uncorrectable> {
        match self {
            Self::Hamming(code) => code.correct(data, ecc),
            Self::Bch(code) => code.correct(data, ecc),
        }
    }
}
