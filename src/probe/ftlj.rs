//! Finding volumes of the block-mapped format and their geometry.
//!
//! The format stores neither page size, block size nor place. A metadata entry proves itself by its checksum and says how
//! many blocks there are; block and slot sizes follow from the file's size and from where the other slot lies.

use std::io;

use super::magic;
use super::source::ReadAt;
use super::volumes::{Finds, Format, FoundVolume, Hints};
use crate::flash::Geometry;
use crate::onflash::ftlj::{HEADER_LEN, Layout, MAGIC, Metadata, RawHeader};

/// Block sizes that are tried: powers of two, from 256 bytes to 64 MiB.
const BLOCK_SIZE_BITS: std::ops::RangeInclusive<u32> = 8..=26;

/// How much may be read to verify entries, for each byte of the image and besides: hostile images claim many large ones.
const WORK_PER_BYTE: u64 = 4;
const WORK_FREE: u64 = 64 << 20;
/// What looking at a magic costs at least.
const WORK_PER_MAGIC: u64 = 512;
/// The slots of a volume that fills the file lie before this, on any chip there is.
const HEAD_LEN: u64 = 16 << 20;
/// No number of volumes needs more entries to be told apart.
const MAX_ENTRIES: usize = 256;

/// A geometry that explains a metadata entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Explained {
    page_size: Option<u32>,
    spare_size: u32,
    block_size: u32,
    blocks: u32,
    first_block: u32,
    /// Both slots hold a whole entry.
    both_slots: bool,
    /// The map has an entry for each logical block.
    map_fits: bool,
    /// It takes the whole of the image.
    fills_file: bool,
    /// How well everything else fits.
    score: u32,
    /// Where it starts, in bytes.
    start: u64,
}

impl Explained {
    fn found(&self) -> FoundVolume {
        FoundVolume {
            format: Format::Block,
            page_size: self.page_size,
            spare_size: self.spare_size,
            block_size: self.block_size,
            blocks: Some(self.blocks),
            first_block: self.first_block,
            max_erase_cycles: None,
            page_layout: None,
            start: self.start,
            fills_file: self.fills_file,
            rank: self.score,
        }
    }
}

impl Hints {
    /// The page and spare sizes to try where pages have a spare area.
    fn interleaved(&self) -> Vec<(u32, u32)> {
        self.with_spare().iter().map(|l| (l.page as u32, l.spare as u32)).collect()
    }

    /// The block sizes to try. All of them, also where one is known: two slots may show that it is not so.
    fn block_sizes(&self) -> impl Iterator<Item = u32> + use<> {
        let known = self.block_size.filter(|size| !size.is_power_of_two());
        BLOCK_SIZE_BITS.map(|bits| 1 << bits).chain(known)
    }
}

/// A metadata entry that proved itself.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    page_size: u32,
    spare_size: u32,
    blocks: u32,
    /// Logical blocks that its map has room for.
    mapped: usize,
    len: u64,
}

/// Find the volumes in `source`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn find<S: ReadAt + ?Sized>(source: &S, hints: &Hints) -> io::Result<Finds> {
    let mut search = Finds::default();
    let mut work = source.len().saturating_mul(WORK_PER_BYTE).saturating_add(WORK_FREE);
    let mut entries = Vec::new();
    let head = HEAD_LEN.min(source.len());
    for range in [0..head, head.saturating_sub(MAGIC.len() as u64 - 1)..source.len()] {
        magic::for_each(source, range, MAGIC, &mut |offset| {
            search.traces.first_magic.get_or_insert(offset);
            match verify(source, offset, hints, &mut work)? {
                Verdict::Entry(entry) => entries.push(entry),
                Verdict::No => {}
                Verdict::OutOfWork => search.exhausted = true,
            }
            search.exhausted |= entries.len() == MAX_ENTRIES;
            Ok(!search.exhausted)
        })?;
        search.volumes = explanations(source, &entries, hints)?.iter().map(Explained::found).collect();
        // A volume that fills the file outranks whatever lies within it.
        if search.exhausted || search.volumes.iter().any(|volume| volume.fills_file) {
            break;
        }
    }
    search.traces.valid = entries.len();
    Ok(search)
}

enum Verdict {
    Entry(Entry),
    No,
    OutOfWork,
}

/// Whether an entry starts at `offset`, in one piece or across pages with spare bytes between them.
fn verify<S: ReadAt + ?Sized>(source: &S, offset: u64, hints: &Hints, work: &mut u64) -> io::Result<Verdict> {
    match work.checked_sub(WORK_PER_MAGIC) {
        Some(left) => *work = left,
        None => return Ok(Verdict::OutOfWork),
    }
    let mut head = [0; HEADER_LEN];
    if offset + HEADER_LEN as u64 > source.len() {
        return Ok(Verdict::No);
    }
    source.read_at(offset, &mut head)?;
    let Some(header) = RawHeader::parse(&head) else { return Ok(Verdict::No) };
    let len = header.entry_len();
    if offset + len > source.len() {
        return Ok(Verdict::No);
    }
    let shapes = std::iter::once((0, 0)).chain(hints.interleaved());
    for (page_size, spare_size) in shapes {
        let raw_page = u64::from(page_size) + u64::from(spare_size);
        let crosses = spare_size > 0 && len > u64::from(page_size) && offset.is_multiple_of(raw_page);
        if spare_size > 0 && !crosses {
            continue;
        }
        if *work < len {
            return Ok(Verdict::OutOfWork);
        }
        *work -= len;
        let Some(bytes) = read_entry(source, offset, len, page_size, spare_size)? else { continue };
        if let Ok((_, metadata)) = Metadata::decode(&bytes)
            && let Ok(blocks) = u32::try_from(metadata.erase_counts.len())
        {
            let mapped = metadata.map.len();
            return Ok(Verdict::Entry(Entry { offset, page_size, spare_size, blocks, mapped, len }));
        }
    }
    Ok(Verdict::No)
}

/// `len` data bytes from the start of a page at `offset`; `None` where the image ends before.
fn read_entry<S: ReadAt + ?Sized>(
    source: &S,
    offset: u64,
    len: u64,
    page_size: u32,
    spare_size: u32,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; len as usize];
    if spare_size == 0 {
        if offset + len > source.len() {
            return Ok(None);
        }
        source.read_at(offset, &mut bytes)?;
        return Ok(Some(bytes));
    }
    let raw_page = u64::from(page_size) + u64::from(spare_size);
    let pages = len.div_ceil(u64::from(page_size));
    if offset + pages * raw_page > source.len() {
        return Ok(None);
    }
    for (i, page) in (0..).zip(bytes.chunks_mut(page_size as usize)) {
        source.read_at(offset + i * raw_page, page)?;
    }
    Ok(Some(bytes))
}

/// What lies where the slots of a volume would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotsSeen {
    /// A whole entry, of a volume with this many blocks.
    Entry {
        /// Blocks it counts the erases of.
        blocks: usize,
    },
    /// The magic alone.
    Magic,
    /// Neither.
    Nothing,
}

/// Look at the slots of a volume with this geometry, `start` bytes into `source`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn look_at_slots<S: ReadAt + ?Sized>(
    source: &S,
    geometry: &Geometry,
    start: u64,
) -> io::Result<SlotsSeen> {
    let mut seen = SlotsSeen::Nothing;
    let Ok(layout) = Layout::new(geometry.block_size(), geometry.blocks()) else { return Ok(seen) };
    let distance = u64::from(layout.blocks_per_slot) * geometry.raw_block_size();
    for offset in [start, start.saturating_add(distance)] {
        let mut head = [0; HEADER_LEN];
        if offset.saturating_add(HEADER_LEN as u64) > source.len() {
            continue;
        }
        source.read_at(offset, &mut head)?;
        let Some(header) = RawHeader::parse(&head) else { continue };
        seen = SlotsSeen::Magic;
        if header.entry_len() > layout.slot_len() {
            continue;
        }
        let (page_size, spare_size) = (geometry.page_size(), geometry.spare_size());
        if let Some(bytes) = read_entry(source, offset, header.entry_len(), page_size, spare_size)?
            && let Ok((_, metadata)) = Metadata::decode(&bytes)
        {
            return Ok(SlotsSeen::Entry { blocks: metadata.erase_counts.len() });
        }
    }
    Ok(seen)
}

/// The geometries that explain the entries. Where one makes two entries the two slots of a volume, those that explain one of
/// them alone are left out: that would be chance.
fn explanations<S: ReadAt + ?Sized>(
    source: &S,
    entries: &[Entry],
    hints: &Hints,
) -> io::Result<Vec<Explained>> {
    let mut found: Vec<Explained> = Vec::new();
    for entry in entries {
        let mut of_entry = Vec::new();
        for block_size in hints.block_sizes() {
            for (page_size, spare_size) in page_shapes(entry, block_size, source.len(), hints) {
                for is_slot_b in [false, true] {
                    let shape = Shape { page_size, spare_size, block_size };
                    of_entry.extend(explain(source, entries, entry, shape, is_slot_b)?);
                }
            }
        }
        let paired = |volume: &Explained| (volume.both_slots, volume.both_slots && volume.map_fits);
        let best = of_entry.iter().map(paired).max();
        of_entry.retain(|volume| Some(paired(volume)) == best && !found.contains(volume));
        found.extend(of_entry);
    }
    Ok(found)
}

/// The page and spare sizes an entry may have been written with, given the block size.
fn page_shapes(entry: &Entry, block_size: u32, file_len: u64, hints: &Hints) -> Vec<(u32, u32)> {
    if entry.spare_size > 0 {
        return vec![(entry.page_size, entry.spare_size)];
    }
    // An entry of one page reads the same with spare bytes behind it: only the file's size can tell, or who knows.
    let known = hints.spare_size.is_some_and(|spare| spare > 0);
    let fits = |&(page, spare): &(u32, u32)| {
        entry.len <= u64::from(page)
            && page > 0
            && block_size.is_multiple_of(page)
            && (known
                || u64::from(entry.blocks)
                    * u64::from(block_size / page)
                    * (u64::from(page) + u64::from(spare))
                    == file_len)
    };
    std::iter::once((0, 0)).chain(hints.interleaved().into_iter().filter(fits)).collect()
}

#[derive(Clone, Copy)]
struct Shape {
    page_size: u32,
    spare_size: u32,
    block_size: u32,
}

impl Shape {
    fn raw_block(self) -> Option<u64> {
        if self.spare_size == 0 {
            return Some(u64::from(self.block_size));
        }
        let whole = self.page_size > 0 && self.block_size.is_multiple_of(self.page_size);
        let raw_page = u64::from(self.page_size) + u64::from(self.spare_size);
        whole.then(|| u64::from(self.block_size / self.page_size) * raw_page)
    }
}

/// The volume that `entry` belongs to, if it lies in slot A (or B) of one with this shape.
fn explain<S: ReadAt + ?Sized>(
    source: &S,
    entries: &[Entry],
    entry: &Entry,
    shape: Shape,
    is_slot_b: bool,
) -> io::Result<Option<Explained>> {
    let Ok(layout) = Layout::new(shape.block_size, entry.blocks) else { return Ok(None) };
    let Some(raw_block) = shape.raw_block() else { return Ok(None) };
    let distance = u64::from(layout.blocks_per_slot) * raw_block;
    let start = if is_slot_b { entry.offset.checked_sub(distance) } else { Some(entry.offset) };
    let Some(start) = start else { return Ok(None) };
    let end = start.saturating_add(u64::from(entry.blocks).saturating_mul(raw_block));
    let other = if is_slot_b { start } else { start.saturating_add(distance) };
    let both_slots = entries.iter().any(|e| e.offset == other && e.blocks == entry.blocks);
    // Two slots in place tell the geometry of a volume whose end was cut off, too.
    if !start.is_multiple_of(raw_block)
        || (end > source.len() && !both_slots)
        || entry.len > layout.slot_len()
    {
        return Ok(None);
    }
    let Ok(first_block) = u32::try_from(start / raw_block) else { return Ok(None) };
    let fills_file = start == 0 && end == source.len();
    // Without better evidence a dump starts with the volume.
    let mut score = 8 * u32::from(both_slots) + u32::from(start == 0);
    if !both_slots {
        let head = slot_head(source, other)?;
        score += if head == MAGIC { 4 } else { 2 * u32::from(head == [0xFF; 4]) };
    }
    // A format gives the map an entry for each logical block, and how many there are depends on the block size.
    let map_fits = entry.mapped == layout.logical_blocks as usize;
    score += 4 * u32::from(map_fits);
    let page_size = (shape.spare_size > 0).then_some(shape.page_size);
    let (spare_size, block_size, blocks) = (shape.spare_size, shape.block_size, entry.blocks);
    Ok(Some(Explained {
        page_size,
        spare_size,
        block_size,
        blocks,
        first_block,
        both_slots,
        map_fits,
        fills_file,
        score,
        start,
    }))
}

fn slot_head<S: ReadAt + ?Sized>(source: &S, offset: u64) -> io::Result<[u8; 4]> {
    let mut head = [0; 4];
    if offset + 4 <= source.len() {
        source.read_at(offset, &mut head)?;
    }
    Ok(head)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
mod tests {
    use super::super::volumes::find_volumes;
    use super::*;
    use crate::flash::sim::SimFlash;
    use crate::ftl::Volume;
    use crate::ftl::block::{BlockVolume, FormatPlan, Mount};

    /// A volume with a few commits, as page data.
    fn volume(page: u32, block: u32, blocks: u32, commits: u32) -> Vec<u8> {
        let mut chip = SimFlash::new(Geometry::new(page, 0, block, blocks).unwrap());
        FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
        let mut volume = BlockVolume::mount(chip, &Mount::default()).unwrap();
        for i in 0..commits {
            volume.write(u64::from(i) * 100, b"some content").unwrap();
            volume.sync().unwrap();
        }
        volume.into_flash().data().to_vec()
    }

    /// The same bytes with `spare` bytes of 0xFF behind each page.
    fn interleave(data: &[u8], page: usize, spare: usize) -> Vec<u8> {
        data.chunks(page).flat_map(|p| p.iter().copied().chain(std::iter::repeat_n(0xFF, spare))).collect()
    }

    fn found(image: &[u8]) -> (Option<u32>, u32, u32, u32, u32) {
        let search = find_volumes(image, &Hints::default()).unwrap();
        let best = search.best(|_| true);
        assert_eq!(best.len(), 1, "{search:?}");
        let v = best[0];
        (v.page_size, v.spare_size, v.block_size, v.blocks.unwrap(), v.first_block)
    }

    #[test]
    fn a_bare_dump_tells_its_geometry() {
        for (page, block, blocks) in
            [(512, 4096, 64), (2048, 16384, 32), (256, 1024, 300), (4096, 4096, 1100)]
        {
            for commits in [0, 1, 2, 5] {
                let image = volume(page, block, blocks, commits);
                assert_eq!(found(&image), (None, 0, block, blocks, 0), "{commits} commits");
            }
        }
    }

    #[test]
    fn a_volume_further_in_a_dump_is_found() {
        let mut image = vec![0xA5; 3 * 16384];
        image.extend(volume(2048, 16384, 32, 3));
        image.extend(vec![0xFF; 2 * 16384]);
        assert_eq!(found(&image), (None, 0, 16384, 32, 3));
    }

    #[test]
    fn a_dump_that_was_cut_short_keeps_its_geometry() {
        let image = volume(2048, 16384, 32, 3);
        for keep in [16, 8, 4, 3] {
            assert_eq!(found(&image[..keep * 16384]), (None, 0, 16384, 32, 0), "{keep} blocks");
        }
    }

    #[test]
    fn what_is_known_is_used() {
        // One page holds the entry and the volume is but a part of the dump: nothing tells of the spare bytes.
        let mut image = vec![0xA5; 20 * 8 * 528];
        image.extend(interleave(&volume(512, 4096, 40, 3), 512, 16));
        image.extend(vec![0xFF; 7 * 8 * 528]);
        let hints = Hints { page_size: Some(512), spare_size: Some(16), block_size: None };
        let search = find_volumes(&image[..], &hints).unwrap();
        let shapes: Vec<_> =
            search.best(|_| true).iter().map(|v| (v.spare_size, v.block_size, v.first_block)).collect();
        assert_eq!(shapes, [(16, 4096, 20)]);
    }

    #[test]
    fn a_volume_within_a_volume_is_data() {
        let inner = volume(512, 4096, 16, 5);
        let mut chip = SimFlash::new(Geometry::new(512, 0, 4096, 64).unwrap());
        FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
        let mut outer = BlockVolume::mount(chip, &Mount::default()).unwrap();
        outer.write(0, &inner).unwrap();
        outer.sync().unwrap();
        assert_eq!(found(outer.into_flash().data()), (None, 0, 4096, 64, 0));
    }

    #[test]
    fn pages_with_spare_bytes_are_seen_through() {
        // The entry takes more than a page, so its checksum proves the interleaving.
        let image = interleave(&volume(512, 4096, 256, 3), 512, 16);
        assert_eq!(found(&image), (Some(512), 16, 4096, 256, 0));
        // Here it does not, and the size of the file does.
        let image = interleave(&volume(512, 4096, 40, 3), 512, 16);
        let search = find_volumes(&image[..], &Hints::default()).unwrap();
        let shapes = search.best(|_| true);
        assert!(shapes.iter().any(|v| v.page_size == Some(512) && v.spare_size == 16), "{shapes:?}");
        assert!(shapes.iter().all(|v| v.block_size == 4096 && v.blocks == Some(40)), "{shapes:?}");
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let blank = vec![0xFF; 1 << 20];
        assert!(find_volumes(&blank[..], &Hints::default()).unwrap().volumes.is_empty());
        let mut magics = vec![0; 1 << 16];
        for at in (0..magics.len() - 4).step_by(4) {
            magics[at..at + 4].copy_from_slice(&MAGIC);
        }
        let search = find_volumes(&magics[..], &Hints::default()).unwrap();
        assert!(search.volumes.is_empty() && search.block.first_magic == Some(0));
    }
}
