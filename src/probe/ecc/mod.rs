//! Which layout the pages of an image have: every one with a code that we know is tried on a sample of them.
//!
//! Whether what a code finds could be chance is counted in bits; [`evidence`] says how. A layout is certain when chance is out
//! of the question and it explains most of what it was tried on: pages that were torn, or that a boot loader writes in another
//! layout, do not speak against it.

mod evidence;

use std::io;

use super::layouts::PageLayout;
use super::sample::{Sample, SampledPage, samplers};
use super::source::ReadAt;
use super::volumes::Hints;
use crate::ecc::MAX_STRENGTH;
use crate::layout::{Layout, PRESETS, PageCodec, Verdict};
use evidence::Tally;

/// Pages after which a layout is given up that explains next to nothing of them: as long as another may be found, and after that.
const FEW_PAGES: usize = 2;
const ENOUGH_PAGES: usize = 8;
/// Bits of evidence that make a layout possible, and certain. Some hundred layouts are tried: that alone takes seven.
const POSSIBLE: f64 = 20.0;
const CERTAIN: f64 = 40.0;
/// A layout that covers so much of what the best covers makes that doubtful. One of other pages whose first steps lie as those of
/// the best do covers half.
const RIVAL: f64 = 0.75;

/// What the codec found in pages, counted by page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EccCount {
    /// Pages examined: the sum of the four kinds.
    pub pages: u64,
    /// Programmed pages without a flip.
    pub clean: u64,
    /// Programmed pages that were corrected.
    pub corrected: u64,
    /// Bits that were corrected, in all pages.
    pub corrected_bits: u64,
    /// Pages with a step that cannot be corrected.
    pub uncorrectable: u64,
    /// Erased pages, with or without flips.
    pub blank: u64,
}

impl EccCount {
    /// Count a page of which the codec found `verdict`.
    pub fn note(&mut self, verdict: &Verdict) {
        self.pages += 1;
        self.corrected_bits += u64::from(verdict.corrected_bits);
        let kind = match verdict {
            verdict if !verdict.is_readable() => &mut self.uncorrectable,
            verdict if verdict.blank => &mut self.blank,
            verdict if verdict.is_clean() => &mut self.clean,
            _ => &mut self.corrected,
        };
        *kind += 1;
    }

    /// The share of the pages that are right, of those that are not blank: 0 to 1.
    #[must_use]
    pub fn right(&self) -> f64 {
        let programmed = self.pages - self.blank;
        if programmed == 0 { 0.0 } else { (self.clean + self.corrected) as f64 / programmed as f64 }
    }
}

/// A layout that an image may have, and what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredLayout {
    /// The layout.
    pub layout: Layout,
    /// What it finds in the sample.
    pub count: EccCount,
    /// How much less probable that is by chance, in bits.
    evidence: f64,
    /// The share of the steps that it explains, of those that tell anything.
    explained: f64,
    /// The share of the bits that were looked at that are in steps that it explains.
    covered: f64,
}

impl ScoredLayout {
    /// Whether the image has this layout beyond doubt.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.evidence >= CERTAIN && self.explained >= 0.5
    }

    /// Whether no other can be nearly as good. Where ECC lies between the data, the parts of a page look right as smaller pages, too.
    fn settles(&self) -> bool {
        self.is_certain() && self.explained > 0.9 && self.layout.is_contiguous_data()
    }

    /// How well it fits, 0 to 1: what share of the sample it explains, less where that may be chance.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.explained * (self.evidence / CERTAIN).clamp(0.0, 1.0)
    }
}

/// The layouts that `source` may have, the best first: those with a code, of pages as `hints` has them, and only those called
/// `name` if there is one.
///
/// # Errors
/// When it cannot be read.
pub fn score_layouts(
    source: &(impl ReadAt + ?Sized),
    hints: &Hints,
    name: Option<&str>,
) -> io::Result<Vec<ScoredLayout>> {
    let samples = samplers(source, hints)?.into_iter().map(|sampler| sampler.take(source));
    let samples: Vec<Sample> = samples.collect::<io::Result<_>>()?;
    if samples.iter().any(Sample::shows_no_ecc) {
        return Ok(Vec::new());
    }
    let mut scored = Vec::new();
    for sample in &samples {
        let found = try_all(sample, name);
        let is_settled = found.iter().any(ScoredLayout::settles);
        scored.extend(found);
        if is_settled {
            break;
        }
    }
    scored.sort_by(|a, b| b.is_certain().cmp(&a.is_certain()).then(b.covered.total_cmp(&a.covered)));
    Ok(scored)
}

/// The one layout that `source` has beyond doubt; otherwise as [`score_layouts`].
///
/// # Errors
/// When it cannot be read.
pub fn detect_layout(
    source: &(impl ReadAt + ?Sized),
    hints: &Hints,
    name: Option<&str>,
) -> io::Result<Option<ScoredLayout>> {
    Ok(beyond_doubt(&score_layouts(source, hints, name)?).cloned())
}

/// The one of `scored`, the best of which come first, that is beyond doubt.
pub(super) fn beyond_doubt(scored: &[ScoredLayout]) -> Option<&ScoredLayout> {
    let mut certain = scored.iter().filter(|scored| scored.is_certain());
    let first = certain.next()?;
    (!certain.any(|other| other.covered > RIVAL * first.covered)).then_some(first)
}

/// Examine the pages of `source` as `layout` has them: all, or `most` spread evenly. `progress` is told how many are done, and
/// of how many.
///
/// # Errors
/// When it cannot be read.
pub fn count_pages(
    source: &(impl ReadAt + ?Sized),
    layout: &Layout,
    most: u64,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<EccCount> {
    let codec = PageCodec::new(layout);
    let mut raw = vec![0; layout.raw_page_size()];
    let stride = raw.len() as u64;
    let there = source.len() / stride;
    let pages = there.min(most);
    let mut count = EccCount::default();
    for i in 0..pages {
        let page = (u128::from(i) * u128::from(there) / u128::from(pages)) as u64;
        source.read_at(page * stride, &mut raw)?;
        count.note(&codec.decode(&mut raw));
        progress(i + 1, pages);
    }
    Ok(count)
}

/// The layouts with a code that there are for pages of this shape.
fn candidates(shape: PageLayout, name: Option<&str>) -> impl Iterator<Item = Layout> {
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_string()],
        None => PRESETS.iter().flat_map(|preset| names_of(preset.name)).collect(),
    };
    let layout = move |name: String| Layout::preset(&name, shape.page as u32, shape.spare as u32).ok();
    names.into_iter().filter_map(layout).filter(|layout| !layout.ecc_less())
}

/// The names that a preset goes by.
fn names_of(preset: &str) -> Vec<String> {
    match preset.strip_suffix("<t>") {
        Some(stem) => (1..=MAX_STRENGTH).map(|t| format!("{stem}{t}")).collect(),
        None => vec![preset.to_string()],
    }
}

/// The layouts that are possible for the pages of `sample`; one that settles it is found with few of them.
fn try_all(sample: &Sample, name: Option<&str>) -> Vec<ScoredLayout> {
    let mut found = Vec::new();
    // Where all data lies in front, the ECC is behind it.
    let has_spare_content = sample.has_spare_content();
    let may_be = |layout: &Layout| has_spare_content || !layout.is_contiguous_data();
    for patience in [FEW_PAGES, ENOUGH_PAGES] {
        found.clear();
        let layouts = candidates(sample.shape, name).filter(may_be);
        for scored in layouts.filter_map(|layout| score(&layout, sample, patience)) {
            let settles = scored.settles();
            found.push(scored);
            if settles {
                return found;
            }
        }
    }
    found
}

/// What speaks for `layout`, if it is possible. After some pages it is given up if it explains next to nothing of them.
fn score(layout: &Layout, sample: &Sample, patience: usize) -> Option<ScoredLayout> {
    let codec = PageCodec::new(layout);
    let mut count = EccCount { pages: sample.blank, blank: sample.blank, ..EccCount::default() };
    let mut tally = Tally::new(layout);
    for (number, SampledPage { raw, times }) in sample.pages.iter().enumerate() {
        if number >= patience && tally.is_hopeless() {
            return None;
        }
        let mut corrected = raw.clone();
        let verdict = codec.decode(&mut corrected);
        (0..*times).for_each(|_| count.note(&verdict));
        tally.note(raw, &corrected, &verdict, *times);
    }
    let (evidence, explained) = (tally.evidence(), tally.explained());
    let bits = sample.looked_at * 8 * sample.shape.stride();
    let covered = tally.right_bits() as f64 / bits.max(1) as f64;
    (evidence >= POSSIBLE).then(|| ScoredLayout {
        layout: layout.clone(),
        count,
        evidence,
        explained,
        covered,
    })
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests know their bytes"
)]
mod tests;
