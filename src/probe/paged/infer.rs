//! The geometry of a volume of which no anchor is left.
//!
//! Two metadata pages at different addresses give the distance between pages, and one of them where the volume starts.
//! A block summary stands in the last pages of its block and tells of all others in it: that gives the pages a block. How many
//! blocks there are, nothing tells but the size of the file.

use std::collections::BTreeMap;

use super::super::volumes::{Format, FoundVolume, Hints};
use super::PAGE_SIZES;
use super::page::MetadataPage;
use crate::flash::Geometry;
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::summary;

/// Pages a block that are tried where no summary tells: powers of two.
const PAGES_PER_BLOCK_BITS: std::ops::RangeInclusive<u32> = 2..=14;
/// Those of chips there are, for where nothing tells.
const USUAL_BITS: std::ops::RangeInclusive<u32> = 4..=9;

/// A geometry that explains the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inferred {
    page_size: u32,
    spare_size: u32,
    pages_per_block: u32,
    first_block: u32,
    pub(super) start: u64,
    /// Where the first page that it explains lies.
    pub(super) first_seen: u64,
}

impl Inferred {
    /// Whether both are the same volume.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        Self { first_seen: 0, ..*self } == Self { first_seen: 0, ..*other }
    }

    pub(super) fn found(&self, rank: u32) -> Option<FoundVolume> {
        Some(FoundVolume {
            format: Format::Page,
            page_size: Some(self.page_size),
            spare_size: self.spare_size,
            block_size: self.page_size.checked_mul(self.pages_per_block)?,
            blocks: None,
            first_block: self.first_block,
            max_erase_cycles: None,
            page_layout: None,
            start: self.start,
            fills_file: false,
            rank,
        })
    }
}

/// The geometries that explain `pages` of one volume best; more than one where the pages leave it open.
pub(super) fn infer(pages: &[MetadataPage], file_len: u64, hints: &Hints) -> Vec<Inferred> {
    let Some(raw_page) = raw_page_size(pages, hints) else { return Vec::new() };
    let Some(start) = start(pages, raw_page) else { return Vec::new() };
    let in_place = |page: &&MetadataPage| start_of(page, raw_page) == Some(start);
    let members: Vec<&MetadataPage> = pages.iter().filter(in_place).collect();
    let Some(first_seen) = members.iter().map(|page| page.offset).min() else { return Vec::new() };
    let used = members.iter().map(|page| page.used).max().unwrap_or(0);
    let Some((page_size, spare_size)) = page_shape(raw_page, used, hints) else { return Vec::new() };
    let blocks = pages_per_block(&members, page_size, hints);
    let made = |pages_per_block: u32| {
        let raw_block = u64::from(pages_per_block) * raw_page;
        let first_block =
            u32::try_from(start / raw_block).ok().filter(|_| start.is_multiple_of(raw_block))?;
        let block_size = page_size.checked_mul(pages_per_block)?;
        Geometry::new(page_size, spare_size, block_size, 1).ok()?;
        let whole = (file_len - start).is_multiple_of(raw_block);
        Some((whole, Inferred { page_size, spare_size, pages_per_block, first_block, start, first_seen }))
    };
    let mut found: Vec<_> = blocks.into_iter().filter_map(made).collect();
    // A file that ends within a block is the worse explanation.
    if found.iter().any(|&(whole, _)| whole) {
        found.retain(|&(whole, _)| whole);
    }
    found.into_iter().map(|(_, volume)| volume).collect()
}

/// The bytes from one page to the next that most pairs of neighbours agree on.
fn raw_page_size(pages: &[MetadataPage], hints: &Hints) -> Option<u64> {
    if let (Some(page), Some(spare)) = (hints.page_size, hints.spare_size) {
        return Some(u64::from(page) + u64::from(spare)).filter(|&raw| raw > 0);
    }
    let largest = 2 * u64::from(*PAGE_SIZES.end());
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    // They were found in the order of their offsets.
    for (a, b) in pages.iter().zip(pages.iter().skip(1)) {
        let pages_between = b.head.address.checked_sub(a.head.address).map(u64::from).filter(|&n| n > 0);
        let bytes_between = b.offset.saturating_sub(a.offset);
        let even = pages_between.filter(|&n| bytes_between.is_multiple_of(n)).map(|n| bytes_between / n);
        if let Some(raw) = even.filter(|raw| (u64::from(*PAGE_SIZES.start())..=largest).contains(raw)) {
            *votes.entry(raw).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|&(raw, votes)| (votes, std::cmp::Reverse(raw))).map(|(raw, _)| raw)
}

fn start_of(page: &MetadataPage, raw_page: u64) -> Option<u64> {
    page.offset.checked_sub(u64::from(page.head.address) * raw_page)
}

/// Where most pages say that the volume starts: others are a copy of it, stored in itself.
fn start(pages: &[MetadataPage], raw_page: u64) -> Option<u64> {
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    for start in pages.iter().filter_map(|page| start_of(page, raw_page)) {
        *votes.entry(start).or_default() += 1;
    }
    votes.into_iter().max_by_key(|&(start, votes)| (votes, std::cmp::Reverse(start))).map(|(start, _)| start)
}

/// How a raw page divides into data and spare bytes: on every chip there is, the data is the largest power of two within.
fn page_shape(raw_page: u64, used: u32, hints: &Hints) -> Option<(u32, u32)> {
    let raw = u32::try_from(raw_page).ok()?;
    let power = 1u32.checked_shl(raw.checked_ilog2()?)?;
    let by_hint =
        hints.page_size.into_iter().chain(hints.spare_size.and_then(|spare| raw.checked_sub(spare)));
    let mut shapes = by_hint.chain([power, raw]);
    let page = shapes.find(|&page| page >= used && page <= raw && PAGE_SIZES.contains(&page))?;
    Some((page, raw - page))
}

/// The pages a block that the summaries fit; the usual ones, or the one known, where there are none.
fn pages_per_block(pages: &[&MetadataPage], page_size: u32, hints: &Hints) -> Vec<u32> {
    let known = hints.block_size.filter(|size| size.is_multiple_of(page_size)).map(|size| size / page_size);
    let summaries: Vec<&&MetadataPage> =
        pages.iter().filter(|page| page.head.kind == Kind::Summary).collect();
    if summaries.is_empty() {
        return match known {
            Some(known) => vec![known],
            None => USUAL_BITS.map(|bits| 1 << bits).collect(),
        };
    }
    // A summary of one page tells of all the others of its block.
    let told = summaries.iter().take(64).filter_map(|page| page.entries).filter(|&n| n > 0).map(|n| n + 1);
    let mut tried: Vec<u32> = PAGES_PER_BLOCK_BITS.map(|bits| 1 << bits).chain(told).chain(known).collect();
    tried.sort_unstable();
    tried.dedup();
    let fit = |pages_per_block: u32, page: &MetadataPage| {
        let take = summary::summary_pages(page_size, pages_per_block)?;
        let index = (page.head.address % pages_per_block).checked_sub(pages_per_block - take)?;
        let per_page = summary::entries_per_page(page_size);
        let expected = (pages_per_block - take).saturating_sub(index * per_page).min(per_page);
        Some(page.entries == Some(expected))
    };
    let score = |pages_per_block: u32| {
        let fits = summaries.iter().map(|page| fit(pages_per_block, page));
        fits.fold((0, 0), |(stand, tell), fit| {
            (stand + usize::from(fit.is_some()), tell + usize::from(fit == Some(true)))
        })
    };
    let scored: Vec<(u32, (usize, usize))> = tried.into_iter().map(|n| (n, score(n))).collect();
    let best = scored.iter().map(|&(_, score)| score).max().filter(|&(stand, _)| stand > 0);
    scored.into_iter().filter(|&(_, score)| Some(score) == best).map(|(n, _)| n).collect()
}
