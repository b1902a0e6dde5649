//! The candidates while they are weighed: each clue speaks for some and against others.

use std::collections::BTreeSet;
use std::io;

use super::super::ecc::{ScoredLayout, count_pages};
use super::super::linux_bbt::{FoundBbt, find_bbt};
use super::super::sample::{MAX_STRIDE, samplers};
use super::super::source::ReadAt;
use super::super::volumes::{FoundVolume, Hints};
use super::candidates::{self, Candidate};
use super::clues::{self, Beginnings, SpareUse};
use super::{Known, Shape, may_be};
use crate::flash::BadBlockMarker;
use crate::layout::Layout;

/// Candidates that are told, and those that are worth reading more of the image.
const MOST: usize = 8;
const WORTHY: usize = 3;

/// The candidates while they are weighed.
pub(super) struct Table {
    candidates: Vec<Candidate>,
}

impl Table {
    /// The shapes of which a file of so many bytes is whole blocks.
    pub(super) fn of_size(len: u64, shapes: &BTreeSet<Shape>, known: &Known<'_>) -> Self {
        let fits = |shape| candidates::by_size(shape, len, known.first_block, known.blocks);
        Self { candidates: shapes.iter().filter_map(fits).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    pub(super) fn weigh_size_and_chips(&mut self, len: u64) {
        for candidate in &mut self.candidates {
            candidate.weigh_size(len);
            candidate.weigh_chips();
        }
    }

    /// Only those that are as is known.
    pub(super) fn retain(&mut self, hints: &Hints) {
        self.candidates.retain(|candidate| {
            may_be(hints.page_size, candidate.page_size)
                && may_be(hints.spare_size, Some(candidate.spare_size))
                && may_be(hints.block_size, candidate.block_size)
        });
        self.sort();
    }

    /// The best of them, the best first.
    pub(super) fn into_best(mut self) -> Vec<Candidate> {
        self.sort();
        self.candidates.truncate(MOST);
        self.candidates
    }

    fn sort(&mut self) {
        self.candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
    }

    pub(super) fn add_volumes(&mut self, volumes: &[FoundVolume]) {
        let clear = volumes.len() == 1;
        for volume in volumes {
            if !self.candidates.iter().any(|candidate| candidate.is_of(volume)) {
                self.candidates.push(Candidate::of_volume(volume));
            }
            let (weight, text) = match (volume.fills_file(), clear) {
                (true, true) => (0.99, "a volume of ours says so"),
                (false, true) => (0.95, "a volume of ours says so, or the places of its metadata do"),
                (_, false) => (0.6, "it explains where the metadata of a volume of ours lies, as others do"),
            };
            for candidate in &mut self.candidates {
                if !candidate.is_of(volume) {
                    if clear && volume.fills_file() {
                        candidate.add(-0.9, "a volume of ours says otherwise");
                    }
                    continue;
                }
                candidate.add(weight, text);
                if let (Some(tag), Some(page_size)) = (volume.page_layout, candidate.page_size) {
                    let layout = Layout::preset(&tag.name(), page_size, candidate.spare_size).ok();
                    let is_it = |layout: &Layout| layout.fingerprint() == tag.fingerprint;
                    candidate.layout = layout.filter(is_it).or(candidate.layout.take());
                }
            }
        }
    }

    /// The candidates with such pages; where there is none, one of which the blocks are not known.
    fn with_pages(&mut self, page_size: u32, spare_size: u32) -> impl Iterator<Item = &mut Candidate> {
        let has = move |candidate: &Candidate| candidate.has_pages(page_size, spare_size);
        if !self.candidates.iter().any(has) {
            self.candidates.push(Candidate::new(Some(page_size), spare_size));
        }
        self.candidates.iter_mut().filter(move |candidate| has(candidate))
    }

    /// The best of the layouts for each kind of pages.
    pub(super) fn add_layouts(&mut self, scored: &[ScoredLayout]) {
        let mut done = Vec::new();
        for found in scored {
            let (page_size, spare_size) = (found.layout.page_size(), found.layout.spare_size());
            if done.contains(&(page_size, spare_size)) {
                continue;
            }
            done.push((page_size, spare_size));
            let text = format!(
                "under {} {} of {} pages in a sample are right, which {} chance",
                found.layout.name(),
                found.count.clean + found.count.corrected,
                found.count.pages - found.count.blank,
                if found.is_certain() { "is no" } else { "may be" }
            );
            for candidate in self.with_pages(page_size, spare_size) {
                candidate.add(0.98 * found.score(), text.as_str());
                candidate.layout = Some(found.layout.clone());
            }
        }
    }

    /// A layout that was said, and what the pages say of it: whether they have it.
    pub(super) fn add_said_layout(&mut self, source: &dyn ReadAt, layout: &Layout) -> io::Result<bool> {
        const SAMPLE: u64 = 256;
        let count = count_pages(source, layout, SAMPLE, |_, _| ())?;
        let has_it = !layout.ecc_less() && count.right() > 0.5;
        for candidate in self.with_pages(layout.page_size(), layout.spare_size()) {
            candidate.add(0.3, format!("its layout was said to be {}", layout.name()));
            if !layout.ecc_less() {
                let (right, programmed) = (count.clean + count.corrected, count.pages - count.blank);
                let text = format!("under it {right} of {programmed} pages in a sample are right");
                candidate.add(0.9 * count.right(), text);
            }
            candidate.layout = Some(layout.clone());
        }
        Ok(has_it)
    }

    /// Whether spare bytes look like such.
    pub(super) fn weigh_spare(&mut self, source: &dyn ReadAt, known: &Known<'_>) -> io::Result<()> {
        for sampler in samplers(source, &known.hints)? {
            let sample = sampler.take(source)?;
            let (page, spare) = (sample.shape.page as u32, sample.shape.spare as u32);
            let found = SpareUse::of(&sample);
            if found.says_nothing() {
                continue;
            }
            let (free, pages, runs) = (found.marks_free(), found.pages, found.runs());
            let of_these = |candidate: &&mut Candidate| candidate.has_pages(page, spare);
            for candidate in self.candidates.iter_mut().filter(of_these) {
                let has_ecc = candidate.layout.as_ref().is_some_and(|layout| !layout.ecc_less());
                if 10 * free < 9 * pages {
                    // A controller may put other bytes there; then the ECC has shown that.
                    if !has_ecc {
                        let text = format!(
                            "where the bad-block mark would be, {} of {pages} pages hold something",
                            pages - free
                        );
                        candidate.add(-0.5, text);
                    }
                    continue;
                }
                candidate
                    .add(0.4, format!("the byte of the bad-block mark is FF in {free} of {pages} pages"));
                if found.is_empty() && known.layout.is_none() {
                    candidate.add(0.2, "the spare bytes hold nothing: there is no ECC");
                    candidate.set_layout("raw", page);
                } else if candidate.layout.is_none() && !runs.is_empty() {
                    let text =
                        format!("spare bytes {} hold something, under no ECC that is known", list(&runs));
                    candidate.add(0.1, text);
                }
            }
        }
        Ok(())
    }

    /// The distance of UBI's headers is that of blocks.
    pub(super) fn weigh_ubi(&mut self, view: &dyn ReadAt) -> io::Result<()> {
        let Some((distance, headers)) = clues::ubi_spacing(view)? else { return Ok(()) };
        for candidate in &mut self.candidates {
            match candidate.shape().map(|shape| shape.raw_block_size()) {
                Some(raw) if raw == distance => {
                    candidate.add(0.8, format!("{headers} UBI headers are {distance} bytes apart"));
                }
                Some(raw) => {
                    candidate.add(-0.7, format!("UBI headers are {distance} bytes apart, not {raw}"));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Where writing began, for the kinds of pages that are the most likely.
    pub(super) fn weigh_beginnings(&mut self, source: &dyn ReadAt) -> io::Result<()> {
        let mut strides: Vec<u64> = self.candidates.iter().take(WORTHY).map(Candidate::stride).collect();
        strides.sort_unstable();
        strides.dedup();
        for stride in strides.into_iter().filter(|stride| (1..=MAX_STRIDE).contains(stride)) {
            let beginnings = Beginnings::find(source, stride)?;
            let Some(pages) = beginnings.pages_per_block() else { continue };
            let of_these = |candidate: &&mut Candidate| candidate.stride() == stride;
            for candidate in self.candidates.iter_mut().filter(of_these) {
                if candidate.pages_per_block() == Some(pages) {
                    let text = format!(
                        "at {} places writing began at a multiple of {pages} pages",
                        beginnings.total()
                    );
                    candidate.add(0.5, text);
                }
            }
        }
        Ok(())
    }

    /// The tables of Linux that lie where the candidates have their last blocks: that of the best, if it is there.
    pub(super) fn weigh_bbt(
        &mut self,
        view: &dyn ReadAt,
        marker: Option<&BadBlockMarker>,
    ) -> io::Result<Option<FoundBbt>> {
        let mut found = Vec::new();
        self.sort();
        for candidate in self.candidates.iter_mut().take(MOST) {
            let Some(geometry) = candidate.geometry() else { continue };
            let usual = BadBlockMarker::usual(geometry.page_size(), geometry.pages_per_block());
            if let Some(bbt) = find_bbt(view, &geometry, 0, marker.or(Some(&usual)))? {
                candidate.add(0.7, format!("Linux keeps a bad-block table in block {}", bbt.current.block.0));
                found.push((geometry, bbt));
            }
        }
        self.sort();
        let best = self.candidates.first().and_then(Candidate::geometry);
        Ok(found.into_iter().find(|(geometry, _)| Some(*geometry) == best).map(|(_, bbt)| bbt))
    }
}

/// Runs of bytes in a sentence.
fn list(runs: &[(usize, usize)]) -> String {
    let run = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}
