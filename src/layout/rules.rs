//! What must hold of a layout, and from what is written down to where every bit lies.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::span::{Span, joined, total};
use super::spec::{CodeSpec, Interval, LayoutSpec};
use super::{LayoutError, MAX_RAW_PAGE, Step};
use crate::ecc::Code;

/// Runs of bits, repeats counted, that a layout may have.
const MAX_SPANS: u64 = 1 << 16;
/// Lengths that steps may have: each has a code with tables of its own.
const MAX_STEP_LENGTHS: usize = 4;
/// Bytes of a name, and of a description.
const MAX_NAME: usize = 64;
const MAX_DESCRIPTION: usize = 4096;

/// Where everything lies.
pub(super) struct Resolved {
    pub(super) data: Vec<Span>,
    pub(super) steps: Vec<Step>,
    pub(super) free: Vec<Span>,
    pub(super) zeros: Vec<Span>,
    pub(super) marker: Option<Span>,
    /// The codes of the steps; see [`Step`].
    pub(super) codes: Vec<Code>,
}

fn invalid<T>(sentence: String) -> Result<T, LayoutError> {
    Err(LayoutError::Invalid(sentence))
}

/// Check `spec` and find where everything lies.
pub(super) fn resolve(spec: &LayoutSpec) -> Result<Resolved, LayoutError> {
    check_texts(spec)?;
    let raw_page = u64::from(spec.page_size) + u64::from(spec.spare_size);
    if spec.page_size == 0 || raw_page > MAX_RAW_PAGE {
        return invalid(format!(
            "the page is {} + {} bytes: expected at least one byte of data and at most {MAX_RAW_PAGE} bytes in all",
            spec.page_size, spec.spare_size
        ));
    }
    let spans = span_count(spec);
    if spans > u128::from(MAX_SPANS) {
        return invalid(format!(
            "with its repeats the layout has {spans} intervals: expected at most {MAX_SPANS}"
        ));
    }
    let place = Place { raw_bits: 8 * raw_page };
    let data = joined(place.all("data", &spec.data)?);
    if total(&data) != 8 * u64::from(spec.page_size) {
        return invalid(format!(
            "the data intervals hold {} bits: expected the {} bytes of a page",
            total(&data),
            spec.page_size
        ));
    }
    let mut resolved = Resolved {
        data,
        steps: Vec::new(),
        free: place.sorted_bytes("free", &spec.free)?,
        zeros: place.sorted_bytes("zeros", &spec.zeros)?,
        marker: place.marker(spec.marker.as_slice())?,
        codes: Vec::new(),
    };
    place.steps(spec, &mut resolved)?;
    check_overlaps(&resolved)?;
    if spec.code.is_some() {
        check_all_is_protected(&resolved)?;
    }
    Ok(resolved)
}

fn check_texts(spec: &LayoutSpec) -> Result<(), LayoutError> {
    for (what, text, least, most) in
        [("name", &spec.name, 1, MAX_NAME), ("description", &spec.description, 0, MAX_DESCRIPTION)]
    {
        if !(least..=most).contains(&text.len()) || text.chars().any(char::is_control) {
            return invalid(format!(
                "{what}: expected {least} to {most} bytes of text without control characters, found {} bytes",
                text.len()
            ));
        }
    }
    Ok(())
}

/// Runs of bits that `spec` has with all repeats.
fn span_count(spec: &LayoutSpec) -> u128 {
    let times = |intervals: &[Interval]| intervals.iter().map(|i| u128::from(i.times)).sum::<u128>();
    let of_steps = spec.steps.iter().map(|step| {
        // A step takes room even if nothing is in it.
        let spans = 1 + times(&step.protects) + times(&step.ecc);
        u128::from(step.times).saturating_mul(spans)
    });
    let outside = times(&spec.data) + times(&spec.free) + times(&spec.zeros) + times(spec.marker.as_slice());
    of_steps.fold(outside, u128::saturating_add)
}

/// The raw page that everything lies in.
struct Place {
    raw_bits: u64,
}

impl Place {
    /// The spans of `interval` in the step with number `step` of its kind. There are few: [`span_count`] was looked at.
    fn spans(
        &self,
        what: &dyn fmt::Display,
        interval: &Interval,
        step: u64,
    ) -> Result<impl Iterator<Item = Span>, LayoutError> {
        let Interval { start, len, times, stride, advance } = *interval;
        if len == 0 || times == 0 {
            return invalid(format!(
                "{what}: an interval of {len} bits, {times} times: expected at least one of each"
            ));
        }
        let end = u128::from(start)
            + u128::from(len)
            + u128::from(times - 1) * u128::from(stride)
            + u128::from(step) * u128::from(advance);
        if end > u128::from(self.raw_bits) {
            return invalid(format!(
                "{what}: an interval ends at bit {end}, past the raw page of {} bytes ({} bits)",
                self.raw_bits / 8,
                self.raw_bits
            ));
        }
        Ok((0..times).map(move |i| Span { start: start + i * stride + step * advance, len }))
    }

    /// The spans of all `intervals`, which are outside of steps.
    fn all(&self, what: &str, intervals: &[Interval]) -> Result<Vec<Span>, LayoutError> {
        let mut spans = Vec::new();
        for interval in intervals {
            if interval.advance != 0 {
                return invalid(format!("{what}: an interval advances: expected that in steps only"));
            }
            spans.extend(self.spans(&what, interval, 0)?);
        }
        Ok(spans)
    }

    fn sorted_bytes(&self, what: &str, intervals: &[Interval]) -> Result<Vec<Span>, LayoutError> {
        let mut spans = self.all(what, intervals)?;
        spans.sort_unstable();
        match spans.iter().find(|span| span.bytes().is_none()) {
            Some(span) => invalid(format!("{what}: {span}: expected whole bytes")),
            None => Ok(joined(spans)),
        }
    }

    fn marker(&self, marker: &[Interval]) -> Result<Option<Span>, LayoutError> {
        let spans = self.sorted_bytes("marker", marker)?;
        match spans[..] {
            [] => Ok(None),
            [span] => Ok(Some(span)),
            _ => invalid("marker: expected bytes that follow each other".to_string()),
        }
    }

    fn steps(&self, spec: &LayoutSpec, resolved: &mut Resolved) -> Result<(), LayoutError> {
        let mut codes = Codes { spec: spec.code, of_length: BTreeMap::new() };
        for group in &spec.steps {
            if group.times == 0 {
                return invalid("steps that come 0 times: expected at least once".to_string());
            }
            for i in 0..group.times {
                let number = resolved.steps.len();
                let step = self.step(number, i, &group.protects, &group.ecc)?;
                resolved.steps.push(codes.fitted(number, step, &mut resolved.codes)?);
            }
        }
        match spec.code {
            Some(_) if resolved.steps.is_empty() => {
                invalid("there is a code, and no step of ECC: expected at least one".to_string())
            }
            _ => Ok(()),
        }
    }

    /// Step `number` of the page, and `i` of its kind.
    fn step(
        &self,
        number: usize,
        i: u64,
        protects: &[Interval],
        ecc: &[Interval],
    ) -> Result<Step, LayoutError> {
        let collect = |what: &str, intervals: &[Interval]| {
            let mut spans = Vec::new();
            for interval in intervals {
                spans.extend(self.spans(&format_args!("{what} of step {number}"), interval, i)?);
            }
            Ok(joined(spans))
        };
        let (protects, ecc) = (collect("the protected bits", protects)?, collect("the ECC", ecc)?);
        if ecc.is_empty() {
            return invalid(format!("step {number} has no ECC"));
        }
        Ok(Step { protects, ecc, code_bits: Vec::new(), code: 0 })
    }
}

/// The codes met so far.
struct Codes {
    spec: Option<CodeSpec>,
    /// Which code steps of so many bytes have.
    of_length: BTreeMap<u64, usize>,
}

impl Codes {
    /// `step` with its code, if there is one and they fit.
    fn fitted(&mut self, number: usize, step: Step, codes: &mut Vec<Code>) -> Result<Step, LayoutError> {
        let Some(spec) = self.spec else { return Ok(step) };
        let bits = total(&step.protects);
        if bits == 0 || !bits.is_multiple_of(8) {
            return invalid(format!(
                "step {number} protects {bits} bits: expected whole bytes, at least one"
            ));
        }
        let index = match self.of_length.get(&(bits / 8)) {
            Some(index) => *index,
            None if codes.len() == MAX_STEP_LENGTHS => {
                return invalid(format!(
                    "step {number} protects {} bytes: expected steps of at most {MAX_STEP_LENGTHS} different lengths",
                    bits / 8
                ));
            }
            None => {
                let code = new_code(&spec, number, bits / 8)?;
                self.of_length.insert(bits / 8, codes.len());
                codes.push(code);
                codes.len() - 1
            }
        };
        let code_bits = code_bits(&spec, number, &step, codes[index].ecc_bits() as u64)?;
        Ok(Step { code_bits, code: index, ..step })
    }
}

fn new_code(spec: &CodeSpec, number: usize, len: u64) -> Result<Code, LayoutError> {
    match spec.code(len as usize) {
        Some(Ok(code)) => Ok(code),
        Some(Err(error)) => invalid(format!("step {number} protects {len} bytes: {error}")),
        None => {
            invalid(format!("step {number} protects {len} bytes: expected 256 or 512 with a Hamming code"))
        }
    }
}

/// The bits of `step` that are of the code, whose ECC has `ecc_bits` bits: pad bits are left out.
fn code_bits(spec: &CodeSpec, number: usize, step: &Step, ecc_bits: u64) -> Result<Vec<Span>, LayoutError> {
    let (stored, in_bytes) = (total(&step.ecc), ecc_bits.next_multiple_of(8));
    let pads = spec.pad_bits(ecc_bits);
    // Without pad bits what is stored must be what comes first.
    let may_be_short = pads.1 == in_bytes;
    if stored != in_bytes && !(may_be_short && stored == ecc_bits) {
        let short =
            if may_be_short && ecc_bits < in_bytes { format!("{ecc_bits} or ") } else { String::new() };
        return invalid(format!(
            "the ECC of step {number} has {stored} bits: expected {short}{in_bytes}, as its code has"
        ));
    }
    let mut ecc = Vec::new();
    let mut at = 0;
    for span in &step.ecc {
        // Of this span, what is before the pad bits, and what is behind them.
        for (from, to) in [(0, pads.0), (pads.1, in_bytes)] {
            let (from, to) = (from.max(at), to.min(at + span.len));
            if from < to {
                ecc.push(Span { start: span.start + from - at, len: to - from });
            }
        }
        at += span.len;
    }
    Ok(joined(step.protects.iter().copied().chain(ecc)))
}

/// What a run of bits is for, in a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Data,
    Protected(usize),
    Ecc(usize),
    Free,
    Zeros,
    Marker,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("data"),
            Self::Protected(step) => write!(f, "protected bits of step {step}"),
            Self::Ecc(step) => write!(f, "ECC of step {step}"),
            Self::Free => f.write_str("free bytes"),
            Self::Zeros => f.write_str("zeros"),
            Self::Marker => f.write_str("the bad-block mark"),
        }
    }
}

/// The mark and free bytes may be protected, and the mark may lie in the data, where a controller takes no notice of it; no
/// other bit has two uses.
fn check_overlaps(resolved: &Resolved) -> Result<(), LayoutError> {
    let spans = |of: Use, spans: &[Span]| spans.iter().map(|span| (*span, of)).collect::<Vec<_>>();
    let steps = || resolved.steps.iter().enumerate();
    let data = spans(Use::Data, &resolved.data);
    let protected =
        steps().flat_map(|(i, step)| spans(Use::Protected(i), &step.protects)).collect::<Vec<_>>();
    let free = spans(Use::Free, &resolved.free);
    let marker = spans(Use::Marker, resolved.marker.as_slice());
    let mut own = steps().flat_map(|(i, step)| spans(Use::Ecc(i), &step.ecc)).collect::<Vec<_>>();
    own.extend(spans(Use::Zeros, &resolved.zeros));
    check_disjoint(&[&data, &free, &own])?;
    check_disjoint(&[&marker, &free, &own])?;
    check_disjoint(&[&protected, &own])
}

fn check_disjoint(uses: &[&[(Span, Use)]]) -> Result<(), LayoutError> {
    let mut all = uses.concat();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0].0.end() > pair[1].0.start) {
        Some([(a, of_a), (b, of_b)]) => invalid(format!("{of_a} ({a}) and {of_b} ({b}) overlap")),
        _ => Ok(()),
    }
}

fn check_all_is_protected(resolved: &Resolved) -> Result<(), LayoutError> {
    let mut protected: Vec<Span> =
        resolved.steps.iter().flat_map(|step| step.protects.iter().copied()).collect();
    protected.sort_unstable();
    let protected = joined(protected);
    for span in &resolved.data {
        let holder = protected.partition_point(|p| p.end() <= span.start);
        let covered = protected.get(holder).is_some_and(|p| p.start <= span.start && span.end() <= p.end());
        if !covered {
            return invalid(format!(
                "data ({span}) is not all protected: expected steps that protect all data"
            ));
        }
    }
    Ok(())
}
