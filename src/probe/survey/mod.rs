//! All that an image shows of itself: its content, the geometries it may have with what speaks for each, and how its pages are
//! laid out.
//!
//! What is found is weighed, not decided: a size fits many chips, and the best of the candidates may be wrong. What opens an image
//! is stricter.

mod arithmetic;
mod candidates;
mod clues;
mod table;

use std::io;

use super::corrected::Corrected;
use super::ecc::{ScoredLayout, beyond_doubt, score_layouts};
use super::foreign::{Foreign, recognise};
use super::linux_bbt::FoundBbt;
use super::source::ReadAt;
use super::volumes::{FoundVolume, Hints, Search, find_volumes};
use crate::flash::BadBlockMarker;
use crate::layout::Layout;
pub use arithmetic::{NearFit, Shape};
pub use candidates::{Candidate, Evidence};
use table::Table;

/// What is known of an image beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Of its pages and blocks.
    pub hints: Hints,
    /// How many blocks the volume has.
    pub blocks: Option<u32>,
    /// The block that it begins with.
    pub first_block: Option<u32>,
    /// How its raw pages are laid out.
    pub layout: Option<&'a Layout>,
    /// Its pages have no ECC: none is looked for.
    pub no_ecc: bool,
    /// Where bad blocks are marked; usually where chips with such pages have it.
    pub marker: Option<&'a BadBlockMarker>,
}

impl Known<'_> {
    /// Whether a volume that was found may be the one.
    fn allows(&self, found: &FoundVolume) -> bool {
        may_be(self.hints.page_size, found.page_size)
            && may_be(self.hints.spare_size, Some(found.spare_size))
            && may_be(self.hints.block_size, Some(found.block_size))
            && may_be(self.blocks, found.blocks)
            && may_be(self.first_block, Some(found.first_block))
    }
}

/// Whether two numbers may be the same: one that is not known may be any.
fn may_be(known: Option<u32>, found: Option<u32>) -> bool {
    known.is_none() || found.is_none() || known == found
}

/// What an image shows of itself.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Volumes of ours that fit best: all equally well, one where the answer is clear.
    pub volumes: Vec<FoundVolume>,
    /// What else there is of our formats.
    pub search: Search,
    /// Something that is not ours, where it says more about the image.
    pub foreign: Option<Foreign>,
    /// The geometries it may have, the best first.
    pub candidates: Vec<Candidate>,
    /// Whether its pages have the ECC of a code that is known, beyond doubt.
    pub has_known_ecc: bool,
    /// The bad-block table of Linux at its end, if the best candidate is right.
    pub bbt: Option<FoundBbt>,
    /// The sizes next to its own that chips have, where its own is no whole number of blocks.
    pub nearest: Vec<NearFit>,
    /// Of its bytes, in bits a byte: 8 where they are all as frequent. From a sample.
    pub entropy: f64,
}

impl Survey {
    /// Whether anything was recognised, beyond a size that fits.
    #[must_use]
    pub fn recognised(&self) -> bool {
        !self.volumes.is_empty()
            || self.search.first_magic().is_some()
            || self.foreign.is_some()
            || self.has_known_ecc
            || self.bbt.is_some()
    }
}

/// Look at all of `source`, given what is known of it.
///
/// # Errors
/// When it cannot be read.
pub fn survey(source: &dyn ReadAt, known: &Known<'_>) -> io::Result<Survey> {
    let scored = match known.layout {
        None if !known.no_ecc => score_layouts(source, &known.hints, None)?,
        _ => Vec::new(),
    };
    let certain = beyond_doubt(&scored).map(|scored| &scored.layout);
    let corrected = known.layout.or(certain).map(|layout| Corrected::new(source, layout));
    let view: &dyn ReadAt = match &corrected {
        Some(corrected) => corrected,
        None => source,
    };
    let search = find_volumes(view, &known.hints)?;
    let volumes: Vec<FoundVolume> = search.best(|found| known.allows(found)).into_iter().copied().collect();
    let foreign = if volumes.is_empty() { foreign(view, &search)? } else { None };
    let shapes = arithmetic::shapes(&known.hints);
    let mut table = Table::of_size(source.len(), &shapes, known);
    let nearest = if table.is_empty() { arithmetic::nearest(source.len(), &shapes) } else { Vec::new() };
    table.add_volumes(&volumes);
    table.weigh_size_and_chips(source.len());
    let is_confirmed = match known.layout {
        Some(layout) => table.add_said_layout(source, layout)?,
        None => {
            table.add_layouts(&scored);
            scored.iter().any(ScoredLayout::is_certain)
        }
    };
    table.weigh_spare(source, known)?;
    if foreign.as_ref().is_some_and(|foreign| foreign.name == "ubi") {
        table.weigh_ubi(view)?;
    }
    table.retain(&known.hints);
    table.weigh_beginnings(source)?;
    let bbt = table.weigh_bbt(view, known.marker)?;
    Ok(Survey {
        volumes,
        search,
        foreign,
        candidates: table.into_best(),
        has_known_ecc: is_confirmed,
        bbt,
        nearest,
        entropy: entropy(source)?,
    })
}

/// What is not ours in the image, if it says more than what there is of ours.
fn foreign(view: &dyn ReadAt, search: &Search) -> io::Result<Option<Foreign>> {
    let foreign = recognise(view)?;
    Ok(foreign.filter(|foreign| match search.first_trace() {
        Some((_, at, whole)) => !whole && foreign.offset < at,
        None => true,
    }))
}

/// How evenly the bytes of a sample are spread, in bits a byte.
fn entropy(source: &dyn ReadAt) -> io::Result<f64> {
    const WINDOWS: u64 = 64;
    const WINDOW: u64 = 4096;
    let mut counts = [0u64; 256];
    let mut window = vec![0; WINDOW.min(source.len()) as usize];
    let room = source.len() - window.len() as u64;
    for number in 0..WINDOWS {
        let at = u128::from(room) * u128::from(number) / u128::from(WINDOWS - 1);
        source.read_at(at as u64, &mut window)?;
        for byte in &window {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total);
    Ok(shares.map(|share| share * (1.0 / share).log2()).sum())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
mod tests;
