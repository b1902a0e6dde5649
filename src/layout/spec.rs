//! What a layout says, as it is written down: by a preset, or in a JSON file. Nothing here is checked yet.

use alloc::string::String;
use alloc::vec::Vec;

use crate::ecc::{Align, BchParams, Code, CodeError, Hamming, HammingOrder, HammingStep};

/// A layout as it is written down. [`Layout::new`](super::Layout::new) checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutSpec {
    /// What it is called.
    pub name: String,
    /// Anything more about it: where it is known from, say.
    pub description: String,
    /// Data bytes a page.
    pub page_size: u32,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Where the page's data lies: the intervals one after the other are its bytes.
    pub data: Vec<Interval>,
    /// The code of all steps; none where there is no ECC, or its code is not known.
    pub code: Option<CodeSpec>,
    /// Steps of ECC, in the order of the code words in the page.
    pub steps: Vec<StepSpec>,
    /// Spare bytes that are free for whoever uses the page.
    pub free: Vec<Interval>,
    /// Bytes that hold 00 in a page that is programmed.
    pub zeros: Vec<Interval>,
    /// The bytes of the bad-block mark.
    pub marker: Option<Interval>,
}

/// Steps of ECC that differ by where they lie only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSpec {
    /// How many there are.
    pub times: u64,
    /// The bits that the ECC of the first is over, in the order of the code.
    pub protects: Vec<Interval>,
    /// Where the ECC of the first lies.
    pub ecc: Vec<Interval>,
}

/// A run of bits of the raw page, once or several times. Every field but `times` is in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first bit.
    pub start: u64,
    /// How many bits.
    pub len: u64,
    /// How often it comes.
    pub times: u64,
    /// From one time to the next.
    pub stride: u64,
    /// From one step to the next; 0 outside of steps.
    pub advance: u64,
}

impl Interval {
    /// `len` bits from bit `start` on.
    #[must_use]
    pub fn bits(start: u64, len: u64) -> Self {
        Self { start, len, times: 1, stride: 0, advance: 0 }
    }

    /// `len` bytes from byte `start` on.
    #[must_use]
    pub fn bytes(start: u64, len: u64) -> Self {
        Self::bits(start.saturating_mul(8), len.saturating_mul(8))
    }

    /// The same, `times` times, every `stride` bits.
    #[must_use]
    pub fn repeated(self, times: u64, stride: u64) -> Self {
        Self { times, stride, ..self }
    }

    /// The same, `advance` bits further at each step.
    #[must_use]
    pub fn advancing(self, advance: u64) -> Self {
        Self { advance, ..self }
    }
}

/// An error-correcting code, and how its ECC is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSpec {
    /// Which code.
    pub kind: CodeKind,
    /// The code is over the inverted data.
    pub invert_data: bool,
    /// Its ECC is stored inverted.
    pub invert_ecc: bool,
}

/// Which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// The Hamming code, of steps of 256 or 512 bytes.
    Hamming {
        /// Which parities come first.
        order: HammingOrder,
    },
    /// A BCH code; see [`BchParams`].
    Bch {
        /// The field is GF(2^m).
        m: u32,
        /// Flips a step that are corrected.
        t: u32,
        /// The primitive polynomial.
        polynomial: u32,
        /// An erased step is a codeword, as Linux has it.
        erased_mask: bool,
        /// The lowest bit of each byte is its first.
        reverse_bits: bool,
        /// Where the pad bits are.
        align: Align,
    },
}

impl From<CodeKind> for CodeSpec {
    /// The code with nothing inverted.
    fn from(kind: CodeKind) -> Self {
        Self { kind, invert_data: false, invert_ecc: false }
    }
}

impl CodeSpec {
    /// Bits a step that are surely corrected.
    #[must_use]
    pub fn strength(&self) -> u32 {
        match self.kind {
            CodeKind::Hamming { .. } => 1,
            CodeKind::Bch { t, .. } => t,
        }
    }

    /// The code for steps of `len` bytes; `None` where a Hamming code has no such steps.
    pub(super) fn code(&self, len: usize) -> Option<Result<Code, CodeError>> {
        match self.kind {
            CodeKind::Hamming { order } => {
                let step =
                    [HammingStep::Bytes256, HammingStep::Bytes512].into_iter().find(|s| s.len() == len);
                step.map(|step| Ok(Code::Hamming(Hamming::new(step, order))))
            }
            CodeKind::Bch { m, t, polynomial, erased_mask, reverse_bits, align } => {
                let params = BchParams { m, t, data_len: len, polynomial, erased_mask, reverse_bits, align };
                Some(crate::ecc::Bch::new(params).map(Code::Bch))
            }
        }
    }

    /// The pad bits of an ECC of `bits` bits in whole bytes, as the numbers of the first and the one behind the last; bit b is
    /// bit b % 8, least significant first, of byte b / 8.
    pub(super) fn pad_bits(&self, bits: u64) -> (u64, u64) {
        let stored = bits.next_multiple_of(8);
        let pads = stored - bits;
        let (first_byte, highest) = match self.kind {
            CodeKind::Hamming { .. } => (false, false),
            CodeKind::Bch { reverse_bits, align, .. } => {
                (align == Align::Right, reverse_bits != (align == Align::Right))
            }
        };
        let byte = if first_byte { 0 } else { stored - 8 };
        let start = if highest { byte + 8 - pads } else { byte };
        (start, start + pads)
    }
}
