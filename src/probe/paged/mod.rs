//! Finding volumes of the page-mapped format and their geometry.
//!
//! Every metadata page proves itself by its checksum and states its own address. An anchor states the geometry too, so
//! that one alone tells where its volume starts and ends. Where none is left, the addresses of other metadata pages
//! and where block summaries stand tell most of it ([`infer`]).

mod infer;
mod page;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
pub(super) mod specimens;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
mod tests;

use std::collections::BTreeMap;
use std::io;

use super::layouts;
use super::magic;
use super::source::ReadAt;
use super::volumes::{Finds, Format, FoundVolume, Hints};
use crate::flash::{Geometry, PageAddr, PageLayoutTag};
use crate::onflash::paged::head::MAGIC;
use page::{MetadataPage, Verdict, Work, read_page};

/// Page sizes of the format.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 256..=32_768;
/// Blocks that keep anchors.
const ZONE_BLOCKS: u32 = 4;
/// No number of volumes needs more to be told apart.
const MAX_VOLUMES: usize = 64;
/// Pages besides anchors that are remembered: more tell nothing new.
const MAX_PAGES: usize = 1 << 16;
/// Pages of an anchor zone that are looked at: more than any has.
const MAX_ZONE_PAGES: u32 = 8 * 16_384;

/// Blocks that keep anchors in a volume of so many blocks.
pub(super) fn zone_blocks(blocks: u32) -> u32 {
    ZONE_BLOCKS.min(blocks)
}

/// A volume by what an anchor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchored {
    geometry: Geometry,
    start: u64,
    zone_blocks: u32,
    page_layout: Option<PageLayoutTag>,
}

impl Anchored {
    /// The volume that the anchor in `page` belongs to, if it makes sense where it lies in a source of `len` bytes. The spare bytes
    /// that it records are those of the chip it was made for: a dump may have been taken without, or with others.
    fn of(page: &MetadataPage, len: u64) -> Option<Self> {
        let anchor = page.anchor?;
        let as_recorded = Self::with_spare(page, anchor.spare_size);
        if as_recorded.is_some_and(|volume| volume.reaches(len)) {
            return as_recorded;
        }
        let of_such_pages = layouts::all().filter(|l| l.page == u64::from(anchor.page_size));
        let spares = of_such_pages.filter_map(|l| u32::try_from(l.spare).ok()).chain([0]);
        let others = spares.filter_map(|spare| Self::with_spare(page, spare));
        others.into_iter().find(|volume| volume.reaches(len)).or(as_recorded)
    }

    /// The same, in a source with `spare_size` spare bytes a page.
    fn with_spare(page: &MetadataPage, spare_size: u32) -> Option<Self> {
        let anchor = page.anchor?;
        if !PAGE_SIZES.contains(&anchor.page_size) {
            return None;
        }
        let block_size = anchor.page_size.checked_mul(anchor.pages_per_block)?;
        let geometry = Geometry::new(anchor.page_size, spare_size, block_size, anchor.blocks).ok()?;
        let cycles = Some(anchor.max_erase_cycles).filter(|&cycles| cycles > 0);
        let geometry = geometry.with_max_erase_cycles(cycles);
        let zone_blocks = u32::from(anchor.zone_blocks).min(ZONE_BLOCKS);
        let in_zone = page.head.address / geometry.pages_per_block() < zone_blocks;
        let start = page.offset.checked_sub(u64::from(page.head.address) * geometry.raw_page_size())?;
        let whole = start.is_multiple_of(geometry.raw_block_size());
        let page_layout = PageLayoutTag { fingerprint: anchor.page_layout, name: anchor.page_layout_name };
        let page_layout = Some(page_layout).filter(|tag| tag.fingerprint != 0);
        (in_zone && whole).then_some(Self { geometry, start, zone_blocks, page_layout })
    }

    /// Whether `page` stands where it says in this volume.
    fn holds(&self, page: &MetadataPage) -> bool {
        let address = u64::from(page.head.address);
        address < self.geometry.raw_size() / self.geometry.raw_page_size()
            && self.start + address * self.geometry.raw_page_size() == page.offset
    }

    /// Whether the volume ends where the source does.
    fn reaches(&self, len: u64) -> bool {
        self.start.checked_add(self.geometry.raw_size()) == Some(len)
    }

    fn fills(&self, file_len: u64) -> bool {
        self.start == 0 && self.geometry.raw_size() == file_len
    }

    fn zone_len(&self) -> u64 {
        u64::from(self.zone_blocks) * self.geometry.raw_block_size()
    }

    fn found(&self, file_len: u64, rank: u32) -> Option<FoundVolume> {
        let geometry = &self.geometry;
        Some(FoundVolume {
            format: Format::Page,
            page_size: Some(geometry.page_size()),
            spare_size: geometry.spare_size(),
            block_size: geometry.block_size(),
            blocks: Some(geometry.blocks()),
            first_block: u32::try_from(self.start / geometry.raw_block_size()).ok()?,
            max_erase_cycles: geometry.max_erase_cycles(),
            page_layout: self.page_layout,
            start: self.start,
            fills_file: self.fills(file_len),
            rank,
        })
    }
}

/// Find the volumes in `source`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn find<S: ReadAt + ?Sized>(source: &S, hints: &Hints) -> io::Result<Finds> {
    let file_len = source.len();
    let mut finds = Finds::default();
    let mut work = Work::for_image(file_len);
    let mut anchored: Vec<Anchored> = Vec::new();
    let mut others: BTreeMap<u32, Vec<MetadataPage>> = BTreeMap::new();
    let mut remembered = 0;
    magic::for_each(source, 0..file_len, MAGIC, &mut |offset| {
        finds.traces.first_magic.get_or_insert(offset);
        let page = match read_page(source, offset, &mut work)? {
            Verdict::Page(page) => page,
            Verdict::No => return Ok(true),
            Verdict::OutOfWork => {
                finds.exhausted = true;
                return Ok(false);
            }
        };
        finds.traces.valid += 1;
        match Anchored::of(&page, file_len) {
            Some(volume) if anchored.contains(&volume) || anchored.len() == MAX_VOLUMES => {}
            Some(volume) => {
                anchored.push(volume);
                // It outranks whatever lies within it.
                return Ok(!volume.fills(file_len));
            }
            None if page.anchor.is_none() && remembered < MAX_PAGES => {
                remembered += 1;
                others.entry(page.head.volume).or_default().push(page);
            }
            None => {}
        }
        Ok(true)
    })?;
    let fills = anchored.iter().any(|volume| volume.fills(file_len));
    let inferred = if fills { Vec::new() } else { inferred(&mut others, &anchored, file_len, hints) };
    finds.volumes = ranked(anchored, &inferred, file_len);
    Ok(finds)
}

/// The volumes of which no anchor is left, by pages that belong to none of those that have one.
fn inferred(
    others: &mut BTreeMap<u32, Vec<MetadataPage>>,
    anchored: &[Anchored],
    file_len: u64,
    hints: &Hints,
) -> Vec<infer::Inferred> {
    let mut found: Vec<infer::Inferred> = Vec::new();
    for pages in others.values_mut() {
        pages.retain(|page| !anchored.iter().any(|volume| volume.holds(page)));
        for volume in infer::infer(pages, file_len, hints) {
            if found.len() < MAX_VOLUMES && !found.iter().any(|known| known.same_place(&volume)) {
                found.push(volume);
            }
        }
    }
    found
}

/// What lies first is the volume, what lies in it is data. Where a format left anchors of two in one place, the volume with the
/// smaller zone came later: it clears its own zone only.
///
/// A volume without anchors is believed to be the one if something of it lies before all that have some. If not, the
/// two are equal: either may be remains of what was there before, or data of the other.
fn ranked(mut anchored: Vec<Anchored>, inferred: &[infer::Inferred], file_len: u64) -> Vec<FoundVolume> {
    anchored.sort_by_key(|volume| (!volume.fills(file_len), volume.start, volume.zone_len()));
    let first = anchored.first().map(|volume| volume.start);
    let top = 2 * MAX_VOLUMES as u32;
    let mut found: Vec<FoundVolume> =
        (0..).zip(&anchored).filter_map(|(i, volume)| volume.found(file_len, top - i)).collect();
    let outermost = inferred.iter().map(|volume| volume.start).min();
    for volume in inferred {
        let rank = match first {
            Some(first) if volume.start >= first => 0,
            _ if Some(volume.start) != outermost => 0,
            Some(first) if volume.first_seen >= first => top,
            _ => top + 1,
        };
        found.extend(volume.found(rank));
    }
    found
}

/// What lies where a volume of a known geometry keeps its anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneSeen {
    /// An anchor of that very volume.
    Anchor(FoundVolume),
    /// The magic alone, at the start of a page.
    Magic,
    /// Neither.
    Nothing,
}

/// Look at the anchor zone of a volume with this geometry, `start` bytes into `source`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn look_at_zone<S: ReadAt + ?Sized>(
    source: &S,
    geometry: &Geometry,
    start: u64,
) -> io::Result<ZoneSeen> {
    let mut seen = ZoneSeen::Nothing;
    let mut work = Work::for_image(source.len());
    let zone = (0..zone_blocks(geometry.blocks())).map(crate::flash::Block);
    let pages = zone.flat_map(|block| geometry.iter_pages(block)).take(MAX_ZONE_PAGES as usize);
    for at in pages {
        let PageAddr { block, page } = at;
        let offset = start.saturating_add(geometry.raw_offset(at));
        if !page::has_magic(source, offset)? {
            continue;
        }
        seen = ZoneSeen::Magic;
        let Verdict::Page(found) = read_page(source, offset, &mut work)? else { continue };
        let Some(volume) = Anchored::with_spare(&found, geometry.spare_size()) else { continue };
        let is_it = volume.geometry.with_max_erase_cycles(None) == geometry.with_max_erase_cycles(None);
        let address = u64::from(block.0) * u64::from(geometry.pages_per_block()) + u64::from(page);
        if is_it
            && volume.start == start
            && u64::from(found.head.address) == address
            && let Some(found) = volume.found(source.len(), 0)
        {
            return Ok(ZoneSeen::Anchor(found));
        }
    }
    Ok(seen)
}
