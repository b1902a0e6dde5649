//! Page to raw page and back, by one layout.
//!
//! Steps whose data and ECC are runs of whole bytes are checked where they lie; a clean page of such steps costs no allocation.
//! Others are gathered into buffers first.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::span::{all_ones, gather, scatter, total};
use super::{Layout, Step};
use crate::ecc::{Code, Uncorrectable, is_erased};

/// A layout made ready to be used.
#[derive(Clone, Debug)]
pub struct PageCodec {
    layout: Layout,
    /// For each step, where it lies if it is checked there.
    places: Vec<Option<InPlace>>,
    /// Whether an erased step is a codeword of its code: true of Hamming codes, and of BCH codes with Linux's mask.
    erased_is_codeword: bool,
}

#[derive(Clone, Debug)]
struct InPlace {
    data: Range<usize>,
    ecc: Range<usize>,
}

/// What was found in a raw page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The page is erased: data, protected bits and ECC are all ones, once corrected.
    pub blank: bool,
    /// Bits that had flipped and were corrected, in all steps.
    pub corrected_bits: u32,
    /// The most bits that were corrected in one step.
    pub max_corrected: u32,
    /// Steps with more flips than their code corrects, in order: they are left as they are.
    pub uncorrectable: Vec<usize>,
}

impl Verdict {
    /// Whether no bit had flipped, as far as the code can tell.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.corrected_bits == 0 && self.uncorrectable.is_empty()
    }

    /// Whether the data is now what was programmed, as far as the code can tell.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.uncorrectable.is_empty()
    }

    fn note(&mut self, step: usize, outcome: Result<u32, Uncorrectable>) {
        match outcome {
            Ok(flips) => {
                self.corrected_bits += flips;
                self.max_corrected = self.max_corrected.max(flips);
            }
            Err(Uncorrectable) => self.uncorrectable.push(step),
        }
    }
}

impl PageCodec {
    /// The codec of `layout`.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let inverted = layout.code().is_some_and(|code| code.invert_data || code.invert_ecc);
        let in_place = |step: &Step| match (&step.protects[..], &step.ecc[..]) {
            ([data], [ecc]) if !inverted => Some(InPlace { data: data.bytes()?, ecc: ecc.bytes()? }),
            _ => None,
        };
        let mut codec = Self {
            layout: layout.clone(),
            places: layout.steps.iter().map(in_place).collect(),
            erased_is_codeword: true,
        };
        codec.erased_is_codeword = layout.codes.iter().all(|code| {
            let (mut data, mut ecc) = (vec![0xFF; code.max_data_len()], vec![0; code.ecc_len()]);
            codec.invert(&mut data, &mut ecc);
            code.encode(&data, &mut ecc);
            codec.invert(&mut data, &mut ecc);
            all_ones(&ecc)
        });
        codec
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The steps of ECC, as [`Layout::steps`].
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.layout.steps
    }

    /// Flips a step that are surely corrected, as [`Layout::strength`].
    #[must_use]
    pub fn strength(&self) -> u32 {
        self.layout.strength()
    }

    /// Puts a page and its ECC into `raw`, which holds FF or spare bytes that are to be kept.
    ///
    /// A page that would be FF throughout its data and protected bits has no ECC: where that belongs, FF is put, so that it
    /// reads as erased. Linux's software codes have FF there anyway. ECC of a code that is not known stays as it is.
    ///
    /// # Panics
    /// When `data` is not a page, or `raw` not a raw page.
    pub fn encode(&self, data: &[u8], raw: &mut [u8]) {
        assert_eq!(data.len(), self.layout.page_size() as usize, "data is one page");
        self.expect_raw_page(raw);
        if self.layout.is_contiguous_data() {
            raw[..data.len()].copy_from_slice(data);
        } else {
            scatter(data, &self.layout.data, raw);
        }
        let blank = self.is_unwritten(raw);
        self.layout.zeros.iter().for_each(|span| span.fill(raw, blank));
        if self.layout.ecc_less() {
            return;
        }
        if blank {
            self.steps().iter().flat_map(Step::ecc).for_each(|span| span.fill(raw, true));
            return;
        }
        for (step, place) in self.steps().iter().zip(&self.places) {
            match place {
                Some(place) => place.with(raw, |data, ecc| self.code(step).encode(data, ecc)),
                None => self.encode_gathered(step, raw),
            }
        }
    }

    /// Corrects `raw` in place, and tells what was found.
    ///
    /// Under a code of which an erased step is no codeword, a step is taken for erased when it is nearer to all ones than to any
    /// codeword, and has no more zeros than the code corrects.
    ///
    /// # Panics
    /// When `raw` is not a raw page.
    pub fn decode(&self, raw: &mut [u8]) -> Verdict {
        self.expect_raw_page(raw);
        let mut verdict = Verdict { blank: all_ones(raw), ..Verdict::default() };
        if verdict.blank {
            return verdict;
        }
        if !self.layout.ecc_less() {
            for (number, (step, place)) in self.steps().iter().zip(&self.places).enumerate() {
                let outcome = match place {
                    Some(place) => self.correct_in_place(step, place, raw),
                    None => self.correct_gathered(step, raw),
                };
                verdict.note(number, outcome);
            }
        }
        verdict.blank =
            self.is_unwritten(raw) && self.steps().iter().flat_map(Step::ecc).all(|span| span.is_ones(raw));
        verdict
    }

    /// The data bytes of `raw`, as they are, into `out`.
    ///
    /// # Panics
    /// When `raw` is not a raw page, or `out` not a page.
    pub fn data(&self, raw: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), self.layout.page_size() as usize, "out is one page");
        self.expect_raw_page(raw);
        gather(raw, &self.layout.data, out);
    }

    fn expect_raw_page(&self, raw: &[u8]) {
        assert_eq!(raw.len(), self.layout.raw_page_size(), "raw is one raw page");
    }

    fn code(&self, step: &Step) -> &Code {
        &self.layout.codes[step.code]
    }

    /// Whether data and protected bits are all ones.
    fn is_unwritten(&self, raw: &[u8]) -> bool {
        let protected = self.steps().iter().flat_map(Step::protects);
        self.layout.data.iter().chain(protected).all(|span| span.is_ones(raw))
    }

    fn correct_in_place(&self, step: &Step, place: &InPlace, raw: &mut [u8]) -> Result<u32, Uncorrectable> {
        let code = self.code(step);
        let InPlace { data, ecc } = place.clone();
        if !self.erased_is_codeword && is_erased(&raw[data], &raw[ecc], code.strength()).is_some() {
            return self.correct_gathered(step, raw);
        }
        place.with(raw, |data, ecc| code.correct(data, ecc))
    }

    fn correct_gathered(&self, step: &Step, raw: &mut [u8]) -> Result<u32, Uncorrectable> {
        let code = self.code(step);
        let (mut data, mut ecc) = self.gathered(step, raw);
        gather(raw, &step.ecc, &mut ecc);
        let erased = match self.erased_is_codeword {
            true => None,
            false => is_erased(&data, &ecc, code.strength()),
        };
        self.invert(&mut data, &mut ecc);
        let corrected = code.correct(&mut data, &mut ecc);
        match erased {
            Some(zeros) if corrected.is_err() || corrected.is_ok_and(|flips| flips >= zeros) => {
                step.protects.iter().chain(&step.ecc).for_each(|span| span.fill(raw, true));
                Ok(zeros)
            }
            _ => {
                if corrected.is_ok() {
                    self.invert(&mut data, &mut ecc);
                    scatter(&data, &step.protects, raw);
                    scatter(&ecc, &step.ecc, raw);
                }
                corrected
            }
        }
    }

    fn encode_gathered(&self, step: &Step, raw: &mut [u8]) {
        let (mut data, mut ecc) = self.gathered(step, raw);
        self.invert(&mut data, &mut ecc);
        self.code(step).encode(&data, &mut ecc);
        self.invert(&mut data, &mut ecc);
        scatter(&ecc, &step.ecc, raw);
    }

    /// What `step` protects, and room for its ECC. Pad bits that are not stored stay all ones, as those of an erased step.
    fn gathered(&self, step: &Step, raw: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut data = vec![0; (total(&step.protects) / 8) as usize];
        gather(raw, &step.protects, &mut data);
        (data, vec![0xFF; self.code(step).ecc_len()])
    }

    /// From what is stored to what the code sees, and back.
    fn invert(&self, data: &mut [u8], ecc: &mut [u8]) {
        let Some(code) = self.layout.code() else { return };
        for (bytes, inverted) in [(data, code.invert_data), (ecc, code.invert_ecc)] {
            if inverted {
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    }
}

impl InPlace {
    /// Data and ECC, which never overlap.
    fn with<T>(&self, raw: &mut [u8], f: impl FnOnce(&mut [u8], &mut [u8]) -> T) -> T {
        let (data, ecc) = (&self.data, &self.ecc);
        if data.end <= ecc.start {
            let (before, from_ecc) = raw.split_at_mut(ecc.start);
            f(&mut before[data.clone()], &mut from_ecc[..ecc.len()])
        } else {
            let (before, from_data) = raw.split_at_mut(data.start);
            f(&mut from_data[..data.len()], &mut before[ecc.clone()])
        }
    }
}
