//! Where, in a raw page, the data lies, and the ECC that protects it.
//!
//! A *raw page* is what a chip stores: `page_size` bytes and the spare bytes behind them, however a controller divides them. A
//! [`Layout`] says of each bit what it is: data, ECC of a *step* (bits that have one ECC over them), free, the bad-block
//! mark. [`PageCodec`] is a layout made ready: page to raw page and back, correcting.
//!
//! Layouts are data: [`PRESETS`] has those that are known by name, others are said in a file. A layout is of one page: a
//! chip whose boot blocks have another than the rest has two.
//!
//! Bits are numbered as on the bus: bit b of a raw page is bit b % 8, least significant first, of byte b / 8.
//!
//! # In a file
//! `Layout::from_json` (feature `std`) reads one JSON object:
//!
//! | key | what it says |
//! |---|---|
//! | `schema` | `"nandimg.layout/1"` |
//! | `name` | what it is called |
//! | `description` | anything more; may be left out |
//! | `page_size`, `spare_size` | data and spare bytes a page |
//! | `data` | intervals that, one after the other, are the page's data |
//! | `code` | the code of all steps; left out where there is no ECC, or its code is not known |
//! | `steps` | steps of ECC: `protects`, the intervals that the ECC is over, in the code's order, and `ecc`, those it is stored in. `times` (1): so many steps, whose intervals `advance` from one to the next |
//! | `free` | intervals of bytes that are free to be used |
//! | `zeros` | intervals of bytes that hold 00 in a page that is programmed |
//! | `marker` | the interval of the bad-block mark |
//!
//! An interval is `{"byte": 2048, "bytes": 2}` or, between bytes, `{"bit": 4180, "bits": 52}`. `times` repeats it every
//! `stride`; in steps, `advance` is from each step to the next. All numbers of an interval are in its unit.
//!
//! A code has the `kind` `"hamming"`, with `order` (`"linux"` or `"smartmedia"`), or `"bch"`, with `m`, `t`, `polynomial` (that of
//! Linux), `erased_mask` (false), `reverse_bits` (false) and `align` (`"left"` or `"right"`), as in
//! [`BchParams`](crate::ecc::BchParams). With `invert_data` and `invert_ecc` (false) it is over inverted data, or stored inverted.
//!
//! No bit has two uses, but free bytes and the mark may be protected, and the mark may lie in the data, where a controller
//! takes no notice of it. With a code, steps protect all data.
//!
//! ```
//! # #[cfg(not(feature = "std"))] fn main() {}
//! # #[cfg(feature = "std")] fn main() -> Result<(), nandimg::layout::LayoutError> {
//! use nandimg::layout::Layout;
//!
//! // A small page that has its spare bytes in the middle.
//! let layout = Layout::from_json(br#"{
//!     "schema": "nandimg.layout/1",
//!     "name": "middle",
//!     "page_size": 512,
//!     "spare_size": 16,
//!     "data": [{"byte": 0, "bytes": 256, "times": 2, "stride": 272}],
//!     "code": {"kind": "hamming", "order": "smartmedia"},
//!     "steps": [{
//!         "times": 2,
//!         "protects": [{"byte": 0, "bytes": 256, "advance": 272}],
//!         "ecc": [{"byte": 256, "bytes": 3, "advance": 3}]
//!     }],
//!     "free": [{"byte": 262, "bytes": 9}],
//!     "marker": {"byte": 271, "bytes": 1}
//! }"#)?;
//! assert_eq!(layout.steps()[1].ecc()[0].bytes(), Some(259..262));
//! # Ok(()) }
//! ```

mod codec;
#[cfg(feature = "std")]
mod json;
mod presets;
mod rules;
mod span;
mod spec;
mod transcode;

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::ecc::Code;
pub use codec::{PageCodec, Verdict};
#[cfg(feature = "std")]
pub use json::SCHEMA;
pub use presets::{PRESETS, Preset};
pub use span::Span;
pub use spec::{CodeKind, CodeSpec, Interval, LayoutSpec, StepSpec};
pub use transcode::{Transcoded, Transcoder};

/// The largest raw page, in bytes: as large as the largest block.
pub const MAX_RAW_PAGE: u64 = 1 << 30;

/// Why there is no such layout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No preset has that name.
    #[error("there is no layout {name:?}: expected one of {}", presets::names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The preset is not for such pages.
    #[error("the layout {name} does not fit pages of {page_size} + {spare_size} bytes: {reason}")]
    Unfit {
        /// The name of the preset.
        name: String,
        /// Data bytes a page.
        page_size: u32,
        /// Spare bytes a page.
        spare_size: u32,
        /// What it would need.
        reason: String,
    },
    /// What is written down is no layout.
    #[error("{0}")]
    Invalid(String),
}

/// Where everything lies in a raw page; it holds together. Two are equal when they mean the same, whatever they are called and
/// however it is said.
#[derive(Clone, Debug)]
pub struct Layout {
    spec: LayoutSpec,
    data: Vec<Span>,
    steps: Vec<Step>,
    free: Vec<Span>,
    zeros: Vec<Span>,
    marker: Option<Span>,
    codes: Vec<Code>,
}

/// Some bits of a page, and the ECC over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    protects: Vec<Span>,
    ecc: Vec<Span>,
    code_bits: Vec<Span>,
    /// Which of the layout's codes it has.
    code: usize,
}

impl Step {
    /// The bits that its ECC is over, in the order of the code; empty where that is not known.
    #[must_use]
    pub fn protects(&self) -> &[Span] {
        &self.protects
    }

    /// Where its ECC is stored, pad bits included.
    #[must_use]
    pub fn ecc(&self) -> &[Span] {
        &self.ecc
    }

    /// Every bit whose flip counts: those protected, then those of the ECC without pad bits. Empty without a code.
    #[must_use]
    pub fn code_bits(&self) -> &[Span] {
        &self.code_bits
    }

    /// How many [`code_bits`](Self::code_bits) there are.
    #[must_use]
    pub fn bits(&self) -> u64 {
        span::total(&self.code_bits)
    }

    /// The raw page's number of the `n`th of [`code_bits`](Self::code_bits).
    #[must_use]
    pub fn code_bit(&self, n: u64) -> Option<u64> {
        let mut before = 0;
        for span in &self.code_bits {
            if n - before < span.len {
                return Some(span.start + n - before);
            }
            before += span.len;
        }
        None
    }
}

impl Layout {
    /// The layout that `spec` writes down.
    ///
    /// # Errors
    /// Where it does not hold together: intervals past the page, bits with two uses, data that is not a page, a code that does
    /// not fit its steps, data outside of every step.
    pub fn new(spec: LayoutSpec) -> Result<Self, LayoutError> {
        let rules::Resolved { data, steps, free, zeros, marker, codes } = rules::resolve(&spec)?;
        Ok(Self { spec, data, steps, free, zeros, marker, codes })
    }

    /// The preset called `name`, for pages of `page_size` and `spare_size` bytes. [`PRESETS`] says which there are.
    ///
    /// # Errors
    /// Where there is none, or it is not for such pages.
    pub fn preset(name: &str, page_size: u32, spare_size: u32) -> Result<Self, LayoutError> {
        presets::spec(name, page_size, spare_size).and_then(Self::new)
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &LayoutSpec {
        &self.spec
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Data bytes a page.
    #[must_use]
    pub fn page_size(&self) -> u32 {
        self.spec.page_size
    }

    /// Spare bytes a page.
    #[must_use]
    pub fn spare_size(&self) -> u32 {
        self.spec.spare_size
    }

    /// Bytes of a raw page.
    #[must_use]
    pub fn raw_page_size(&self) -> usize {
        self.spec.page_size as usize + self.spec.spare_size as usize
    }

    /// Where the data lies: one after the other, these are the bits of the page.
    #[must_use]
    pub fn data(&self) -> &[Span] {
        &self.data
    }

    /// The steps of ECC. Without a code they say where ECC lies that is kept as it is.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Where the free bytes lie, in order.
    #[must_use]
    pub fn free(&self) -> &[Span] {
        &self.free
    }

    /// How many bytes are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        span::total(&self.free) / 8
    }

    /// The bytes that hold 00 in a page that is programmed, in order.
    #[must_use]
    pub fn zeros(&self) -> &[Span] {
        &self.zeros
    }

    /// The bytes of the bad-block mark in the raw page. Where a controller puts data there, the mark can be told only in blocks
    /// that were never programmed.
    #[must_use]
    pub fn marker(&self) -> Option<Span> {
        self.marker
    }

    /// The code of the steps.
    #[must_use]
    pub fn code(&self) -> Option<&CodeSpec> {
        self.spec.code.as_ref()
    }

    /// Flips a step that are surely corrected; 0 without a code.
    #[must_use]
    pub fn strength(&self) -> u32 {
        self.code().map_or(0, CodeSpec::strength)
    }

    /// Whether nothing is checked or corrected. The page may still hold ECC: see [`has_unknown_ecc`](Self::has_unknown_ecc).
    #[must_use]
    pub fn ecc_less(&self) -> bool {
        self.spec.code.is_none()
    }

    /// Whether it is nothing but data in front of spare bytes that are left alone.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.ecc_less() && self.is_contiguous_data()
    }

    /// Whether there is ECC that cannot be computed: a page that is programmed anew has none.
    #[must_use]
    pub fn has_unknown_ecc(&self) -> bool {
        self.ecc_less() && !self.steps.is_empty()
    }

    /// Whether the data is the first `page_size` bytes, in order.
    #[must_use]
    pub fn is_contiguous_data(&self) -> bool {
        matches!(self.data[..], [Span { start: 0, .. }])
    }

    /// The CRC-32 (IEEE) of what the layout means: its name, and how it is written down, are left out. It is the same in
    /// all versions.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(&self.meaning())
    }

    /// What it means, in bytes: "NLAY", version 1 (u32), page size, spare size (u32), the code, then data, free, zeros, marker,
    /// and of each step what it protects and its ECC. Lists begin with their length (u64), spans are start and length (u64);
    /// everything is little-endian.
    fn meaning(&self) -> Vec<u8> {
        let mut bytes = b"NLAY".to_vec();
        for number in [1, self.spec.page_size, self.spec.spare_size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&code_bytes(self.code()));
        let number = |bytes: &mut Vec<u8>, n: u64| bytes.extend_from_slice(&n.to_le_bytes());
        let list = |bytes: &mut Vec<u8>, spans: &[Span]| {
            number(bytes, spans.len() as u64);
            for span in spans {
                number(bytes, span.start);
                number(bytes, span.len);
            }
        };
        for spans in [&self.data, &self.free, &self.zeros] {
            list(&mut bytes, spans);
        }
        list(&mut bytes, self.marker.as_slice());
        number(&mut bytes, self.steps.len() as u64);
        for step in &self.steps {
            list(&mut bytes, &step.protects);
            list(&mut bytes, &step.ecc);
        }
        bytes
    }
}

/// A code in [`Layout::meaning`]: a byte for the kind (0 none, 1 Hamming, 2 BCH), a byte of flags, and m, t and the polynomial
/// (u32), which are 0 without BCH.
fn code_bytes(code: Option<&CodeSpec>) -> [u8; 14] {
    use crate::ecc::{Align, HammingOrder};
    let mut bytes = [0; 14];
    let Some(code) = code else { return bytes };
    let (kind, flags, numbers) = match code.kind {
        CodeKind::Hamming { order } => (1, [order == HammingOrder::SmartMedia, false, false], [0; 3]),
        CodeKind::Bch { m, t, polynomial, erased_mask, reverse_bits, align } => {
            (2, [erased_mask, reverse_bits, align == Align::Right], [m, t, polynomial])
        }
    };
    let flags = flags.into_iter().chain([code.invert_data, code.invert_ecc]);
    bytes[0] = kind;
    bytes[1] = flags.enumerate().fold(0, |sum, (bit, set)| sum | u8::from(set) << bit);
    for (place, number) in bytes[2..].chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }
}

impl Eq for Layout {}
