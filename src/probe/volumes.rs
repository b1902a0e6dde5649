//! The volumes in an image, of either format, and which of them the image is about.
//!
//! An image may hold more than one: another image may be stored in a volume as data, an earlier format may have left
//! remains. What takes the whole of the file, or else lies first, is what the image is; the rest is what is in it.

use std::io;
use std::ops::Range;

use super::ftlj::{self, SlotsSeen};
use super::paged::{self, ZoneSeen};
use super::source::ReadAt;
use crate::flash::{Geometry, PageLayoutTag};

/// A format of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The block-mapped one.
    Block,
    /// The page-mapped one.
    Page,
}

/// A volume that was found, and its geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundVolume {
    /// Its format.
    pub format: Format,
    /// Data bytes a page; unknown where the format does not tell and there is no spare area.
    pub page_size: Option<u32>,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Data bytes an erase block.
    pub block_size: u32,
    /// Erase blocks; unknown where all that would tell is lost.
    pub blocks: Option<u32>,
    /// Where the volume starts in the image, in blocks.
    pub first_block: u32,
    /// Rated erases of a block, where the volume says.
    pub max_erase_cycles: Option<u32>,
    /// How its raw pages are laid out, where it says.
    pub page_layout: Option<PageLayoutTag>,
    /// Where it starts in the image, in bytes.
    pub(super) start: u64,
    /// It takes the whole of the image, and says so itself.
    pub(super) fills_file: bool,
    /// For telling those of one format apart.
    pub(super) rank: u32,
}

impl FoundVolume {
    /// Whether it takes the whole of the image, and says so itself.
    #[must_use]
    pub fn fills_file(&self) -> bool {
        self.fills_file
    }

    /// Where it starts in the image, in bytes.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Where in the image a page-mapped one keeps its anchors, in bytes.
    #[must_use]
    pub fn anchor_zone(&self) -> Range<u64> {
        let pages = self.page_size.map_or(0, |page_size| self.block_size / page_size.max(1));
        let spare = u64::from(pages) * u64::from(self.spare_size);
        let blocks = paged::zone_blocks(self.blocks.unwrap_or(u32::MAX));
        let len = u64::from(blocks) * (u64::from(self.block_size) + spare);
        self.start..self.start.saturating_add(len)
    }
}

/// What is known of the geometry beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Data bytes a page.
    pub page_size: Option<u32>,
    /// Spare bytes a page.
    pub spare_size: Option<u32>,
    /// Data bytes an erase block.
    pub block_size: Option<u32>,
}

/// What there is of the metadata of one format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Offset of the first magic, whether or not more follows.
    pub first_magic: Option<u64>,
    /// Records whose checksum is right, as far as the search went.
    pub valid: usize,
}

/// What a search for volumes of one format came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Finds {
    pub(super) volumes: Vec<FoundVolume>,
    pub(super) traces: Traces,
    pub(super) exhausted: bool,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Every geometry that explains what was found; see [`best`](Self::best).
    pub volumes: Vec<FoundVolume>,
    /// What there is of the block-mapped format.
    pub block: Traces,
    /// What there is of the page-mapped format.
    pub page: Traces,
    /// The image claims so much metadata that the search was cut short.
    pub exhausted: bool,
}

impl Search {
    /// The geometries that fit best of those that `may_be`, all equally well; one where the answer is clear.
    pub fn best(&self, may_be: impl Fn(&FoundVolume) -> bool) -> Vec<&FoundVolume> {
        let of = |format: Format| {
            let rank = |volume: &&FoundVolume| (volume.fills_file, volume.rank);
            let mut found: Vec<&FoundVolume> =
                self.volumes.iter().filter(|v| v.format == format && may_be(v)).collect();
            let best = found.iter().map(rank).max();
            found.retain(|volume| Some(rank(volume)) == best);
            found
        };
        let (block, page) = (of(Format::Block), of(Format::Page));
        let place = |found: &[&FoundVolume]| {
            let (fills, start) = (found.first()?.fills_file, found.iter().map(|v| v.start).min()?);
            Some((!fills, start))
        };
        match (place(&block), place(&page)) {
            (Some(b), Some(p)) if b < p => block,
            (_, Some(_)) => page,
            (_, None) => block,
        }
    }

    /// Where metadata of a format of ours first stands, and of which; what is whole goes before what is not.
    #[must_use]
    pub fn first_trace(&self) -> Option<(Format, u64, bool)> {
        let traces = [(Format::Block, self.block), (Format::Page, self.page)];
        let found = traces.into_iter().filter_map(|(f, t)| Some((f, t.first_magic?, t.valid > 0)));
        found.min_by_key(|&(_, at, whole)| (!whole, at))
    }

    /// The lowest offset at which a magic of ours stands.
    #[must_use]
    pub fn first_magic(&self) -> Option<u64> {
        self.block.first_magic.into_iter().chain(self.page.first_magic).min()
    }
}

/// Find the volumes in `source`.
///
/// # Errors
/// When it cannot be read.
pub fn find_volumes<S: ReadAt + ?Sized>(source: &S, hints: &Hints) -> io::Result<Search> {
    let mut paged = paged::find(source, hints)?;
    let mut replaced = Vec::new();
    for volume in &paged.volumes {
        replaced.push(is_replaced(source, volume)?);
    }
    let mut replaced = replaced.into_iter();
    paged.volumes.retain(|_| !replaced.next().unwrap_or(false));
    let mut search = Search {
        volumes: paged.volumes,
        page: paged.traces,
        exhausted: paged.exhausted,
        block: Traces::default(),
    };
    if search.volumes.iter().any(|volume| volume.fills_file) {
        return Ok(search);
    }
    let blocks = ftlj::find(source, hints)?;
    search.volumes.extend(blocks.volumes);
    search.block = blocks.traces;
    search.exhausted |= blocks.exhausted;
    Ok(search)
}

/// Whether the volume is what another format left: a block-mapped one stands in its place, and it has no anchor left. A format to
/// blocks erases the anchors first, and one to pages makes one last, so that with an anchor it is the page-mapped one that
/// counts.
fn is_replaced<S: ReadAt + ?Sized>(source: &S, volume: &FoundVolume) -> io::Result<bool> {
    let (Some(page_size), None) = (volume.page_size, volume.blocks) else { return Ok(false) };
    let room = source.len().saturating_sub(volume.start) / u64::from(volume.block_size.max(1));
    let blocks = u32::try_from(room).unwrap_or(u32::MAX);
    let Ok(geometry) = Geometry::new(page_size, volume.spare_size, volume.block_size, blocks) else {
        return Ok(false);
    };
    let seen = ftlj::look_at_slots(source, &geometry, volume.start)?;
    Ok(matches!(seen, SlotsSeen::Entry { .. }))
}

/// What lies where the metadata of a volume of a known geometry would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Whole metadata of such a block-mapped volume.
    Block,
    /// Whole metadata of a block-mapped volume with another number of blocks.
    OtherBlocks(usize),
    /// An anchor of such a page-mapped volume.
    Page(FoundVolume),
    /// The magic of a format, and no more.
    Magic(Format),
    /// Nothing of ours.
    Nothing,
}

/// Look for the metadata of a volume with this geometry, `start` bytes into `source`.
///
/// # Errors
/// When it cannot be read.
pub fn look_at<S: ReadAt + ?Sized>(source: &S, geometry: &Geometry, start: u64) -> io::Result<Seen> {
    let anchors = paged::look_at_zone(source, geometry, start)?;
    if let ZoneSeen::Anchor(volume) = anchors {
        return Ok(Seen::Page(volume));
    }
    let slots = ftlj::look_at_slots(source, geometry, start)?;
    Ok(match slots {
        SlotsSeen::Entry { blocks, .. } if blocks == geometry.blocks() as usize => Seen::Block,
        SlotsSeen::Entry { blocks, .. } => Seen::OtherBlocks(blocks),
        SlotsSeen::Magic => Seen::Magic(Format::Block),
        SlotsSeen::Nothing if anchors == ZoneSeen::Magic => Seen::Magic(Format::Page),
        SlotsSeen::Nothing => Seen::Nothing,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
mod tests {
    use super::super::paged::specimens::{PLAIN, Shape};
    use super::*;
    use crate::flash::sim::SimFlash;
    use crate::ftl::Volume;
    use crate::ftl::block::{BlockVolume, FormatPlan, Mount};
    use crate::onflash::paged::head::Kind;

    fn search(image: &[u8]) -> Search {
        find_volumes(image, &Hints::default()).unwrap()
    }

    /// Format, block size and number of blocks of what an image is about.
    fn found(image: &[u8]) -> Vec<(Format, u32, Option<u32>)> {
        let search = search(image);
        search.best(|_| true).iter().map(|v| (v.format, v.block_size, v.blocks)).collect()
    }

    /// A block-mapped volume that holds `content`.
    fn block_volume(content: &[u8]) -> Vec<u8> {
        let mut chip = SimFlash::new(Geometry::new(512, 0, 8192, 200).unwrap());
        FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
        let mut volume = BlockVolume::mount(chip, &Mount::default()).unwrap();
        volume.write(0, content).unwrap();
        volume.sync().unwrap();
        volume.into_flash().data().to_vec()
    }

    #[test]
    fn of_two_formats_the_outer_one_counts() {
        let in_blocks = block_volume(&PLAIN.volume());
        assert_eq!(found(&in_blocks), [(Format::Block, 8192, Some(200))]);

        let outer = Shape { blocks: 300, ..PLAIN };
        let mut image = outer.volume();
        image[40 * outer.raw_block()..][..in_blocks.len()].copy_from_slice(&in_blocks);
        assert_eq!(found(&image), [(Format::Page, 8192, Some(300))]);
        assert_eq!(found(&[image, vec![0xFF; 512]].concat()), [(Format::Page, 8192, Some(300))]);
    }

    #[test]
    fn an_anchor_decides_between_two_formats_in_one_place() {
        let shape = Shape { blocks: 200, ..PLAIN };
        let mut image = block_volume(b"content");
        assert_eq!(image.len(), shape.raw_block() * 200);
        // What a format to blocks leaves of a page-mapped volume.
        shape.put_summaries(&mut image, 100..110);
        for image in [&image[..], &image[..150 * shape.raw_block()]] {
            assert_eq!(found(image), [(Format::Block, 8192, Some(200))], "{:?}", search(image));
        }
        // What one to pages leaves of a block-mapped one.
        shape.put(&mut image, Kind::Anchor, 3, 0, &shape.anchor());
        for image in [&image[..], &image[..150 * shape.raw_block()]] {
            assert_eq!(found(image), [(Format::Page, 8192, Some(200))], "{:?}", search(image));
            let geometry = Geometry::new(512, 0, 8192, 200).unwrap();
            assert!(matches!(look_at(image, &geometry, 0).unwrap(), Seen::Page(_)));
        }
    }
}
