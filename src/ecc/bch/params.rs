//! What a BCH code is made from, and the default of Linux.

use thiserror::Error;

/// The most flips a step that a code is made for.
pub const MAX_STRENGTH: u32 = 64;

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
    /// Flips a step that are corrected: 1 to [`MAX_STRENGTH`].
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
    /// The code of Linux's software ECC (`ecc-sw-bch.c`) for steps of `data_len` bytes and `t` flips.
    #[must_use]
    pub fn linux(data_len: usize, t: u32) -> Self {
        // The least m with 2^m above the bits of a step.
        let m = data_len.saturating_mul(8).checked_ilog2().map_or(0, |log| log + 1);
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
    #[error("there is no BCH code over GF(2^{0}) here: m must be 5 to 15")]
    Field(u32),
    /// No flips, or too many.
    #[error("there is no BCH code for {0} flips a step here: t must be 1 to {MAX_STRENGTH}")]
    Strength(u32),
    /// The polynomial does not generate the field.
    #[error("{polynomial:#x} does not generate GF(2^{m}): it must be a primitive polynomial of degree {m}")]
    Polynomial {
        /// The polynomial.
        polynomial: u32,
        /// The degree.
        m: u32,
    },
    /// Data and parity are longer than a codeword.
    #[error(
        "steps of {data_len} bytes with {ecc_bits} bits of parity: a codeword over GF(2^{m}) must have a byte of data at least and {} bits in all at most",
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
