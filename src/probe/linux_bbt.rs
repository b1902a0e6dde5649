//! The bad-block table that Linux left at the end of a chip: finding it, and which of its copies counts.
//!
//! It does as Linux does: each copy is looked for from the last block of the chip down, and the first block with its header is
//! taken. Where both are found the main copy counts, unless the mirror has been written since. Nothing is corrected here: what
//! `source` gives is taken as it is.

use std::io;

use super::source::ReadAt;
use crate::flash::{BadBlockMarker, Block, Geometry, PageAddr};
use crate::onflash::linux_bbt::{BlockMark, Header, Placement, Role, SEARCHED_BLOCKS, Table};

/// A bad-block table that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundBbt {
    /// The copy that counts.
    pub current: BbtCopy,
    /// The copy that does not, where there are two.
    pub other: Option<BbtCopy>,
}

/// One copy of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BbtCopy {
    /// What its header says.
    pub header: Header,
    /// Where that header lies.
    pub placement: Placement,
    /// The block it begins.
    pub block: Block,
    /// Where that block begins in the source, in bytes.
    pub offset: u64,
    /// What it says of the chip's blocks.
    pub table: Table,
}

impl FoundBbt {
    /// The table of the copies that were found, if one was.
    fn of(main: Option<BbtCopy>, mirror: Option<BbtCopy>) -> Option<Self> {
        let (current, other) = match (main, mirror) {
            (Some(main), Some(mirror)) if main.header.outranks(mirror.header) => (main, Some(mirror)),
            (main, Some(mirror)) => (mirror, main),
            (main, None) => (main?, None),
        };
        Some(Self { current, other })
    }

    /// Whether both copies say the same of every block; `None` where there is one copy only. They say different things where
    /// an update was cut short, which their versions show, or where bits have flipped.
    #[must_use]
    pub fn copies_agree(&self) -> Option<bool> {
        self.other.as_ref().map(|other| other.table == self.current.table)
    }

    /// What the copy that counts says of a block. A good block among the last, where tables go, is
    /// [`Reserved`](BlockMark::Reserved), as Linux has it. `None` past the end of the chip.
    #[must_use]
    pub fn mark(&self, block: Block) -> Option<BlockMark> {
        let table = &self.current.table;
        match table.mark(block.0)? {
            BlockMark::Good if block.0 >= table.blocks().saturating_sub(SEARCHED_BLOCKS) => {
                Some(BlockMark::Reserved)
            }
            mark => Some(mark),
        }
    }

    /// The bad blocks by the copy that counts, in order.
    pub fn bad_blocks(&self) -> impl Iterator<Item = (Block, BlockMark)> + '_ {
        self.current.table.bad_blocks().map(|(block, mark)| (Block(block), mark))
    }
}

/// Find the table of the chip whose raw pages lie in `source` from byte `start` on, data and spare bytes as `geometry` says.
///
/// The geometry is that of the whole chip: the table lies at the chip's end and not at that of a volume within it. A device of
/// several chips may have one at the end of each. Headers in the spare area come before those in the data. A block that `marker` shows to be bad is passed over, as far as its bytes are
/// not those of the header.
///
/// # Errors
/// When `source` cannot be read.
pub fn find_bbt<S: ReadAt + ?Sized>(
    source: &S,
    geometry: &Geometry,
    start: u64,
    marker: Option<&BadBlockMarker>,
) -> io::Result<Option<FoundBbt>> {
    let marker = marker.filter(|m| m.fits(geometry.spare_size(), geometry.pages_per_block()));
    let chip = Chip { source, geometry, start, marker };
    for placement in Placement::ALL {
        let [main, mirror] = Role::ALL.map(|role| chip.find(placement, role));
        if let Some(found) = FoundBbt::of(main?, mirror?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The chip that is looked at.
struct Chip<'a, S: ?Sized> {
    source: &'a S,
    geometry: &'a Geometry,
    start: u64,
    marker: Option<&'a BadBlockMarker>,
}

impl<S: ReadAt + ?Sized> Chip<'_, S> {
    /// The copy in the last block that has its header.
    fn find(&self, placement: Placement, role: Role) -> io::Result<Option<BbtCopy>> {
        for block in self.geometry.iter_blocks().rev().take(SEARCHED_BLOCKS as usize) {
            let header = self.header(placement, block)?.filter(|header| header.role == role);
            let Some(header) = header else { continue };
            if self.is_marked(placement, block)? {
                continue;
            }
            let Some(table) = self.table(placement, block)? else { continue };
            let offset = self.start + self.geometry.raw_offset(PageAddr { block, page: 0 });
            return Ok(Some(BbtCopy { header, placement, block, offset, table }));
        }
        Ok(None)
    }

    fn header(&self, placement: Placement, block: Block) -> io::Result<Option<Header>> {
        let (column, room) = match placement {
            Placement::Spare => (self.geometry.page_size(), self.geometry.spare_size()),
            Placement::InBand => (0, self.geometry.page_size()),
        };
        let mut bytes = vec![0; placement.header().end];
        if (room as usize) < bytes.len() || !self.read(PageAddr { block, page: 0 }, column, &mut bytes)? {
            return Ok(None);
        }
        Ok(Header::decode(placement, &bytes))
    }

    fn is_marked(&self, placement: Placement, block: Block) -> io::Result<bool> {
        let Some(marker) = self.marker else { return Ok(false) };
        let (mark, header) = (marker.byte as usize..(marker.byte + marker.len) as usize, placement.header());
        if placement == Placement::Spare && mark.start < header.end && header.start < mark.end {
            return Ok(false);
        }
        let mut bytes = vec![0; mark.len()];
        for &page in &marker.pages {
            let there =
                self.read(PageAddr { block, page }, self.geometry.page_size() + marker.byte, &mut bytes)?;
            if there && bytes.iter().any(|&byte| byte != 0xFF) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The table in a block that has a header; `None` where the block ends before it does.
    fn table(&self, placement: Placement, block: Block) -> io::Result<Option<Table>> {
        let blocks = self.geometry.blocks();
        let len = placement.table_at() + Table::len_for(blocks);
        let last = PageAddr { block, page: self.geometry.pages_per_block() - 1 };
        if len > self.geometry.block_size() as usize || !self.holds(last, 0, self.geometry.page_size()) {
            return Ok(None);
        }
        let mut data = vec![0; len];
        let chunks = data.chunks_mut(self.geometry.page_size() as usize);
        for (page, chunk) in self.geometry.iter_pages(block).zip(chunks) {
            self.read(page, 0, chunk)?;
        }
        Ok(data.get(placement.table_at()..).and_then(|bytes| Table::decode(bytes, blocks)))
    }

    /// Read from a column of a page; whether the source holds so much.
    fn read(&self, page: PageAddr, column: u32, buf: &mut [u8]) -> io::Result<bool> {
        let Some(at) = self.place(page, column, buf.len() as u64) else { return Ok(false) };
        self.source.read_at(at, buf).map(|()| true)
    }

    fn holds(&self, page: PageAddr, column: u32, len: u32) -> bool {
        self.place(page, column, u64::from(len)).is_some()
    }

    /// Where `len` bytes from a column of a page lie in the source, if it has them.
    fn place(&self, page: PageAddr, column: u32, len: u64) -> Option<u64> {
        let at = self.start.checked_add(self.geometry.raw_offset(page))?.checked_add(u64::from(column))?;
        (at.checked_add(len)? <= self.source.len()).then_some(at)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests know their bytes")]
mod tests {
    use super::BlockMark::{FactoryBad, Good, Reserved, Worn};
    use super::*;
    use crate::prng::SplitMix64;

    const SAMPLE: &[u8] =
        include_bytes!("../../testdata/linux-mtd/linux61_bbt_oob_2048+64_block14+15_page0.raw");

    fn geometry(blocks: u32) -> Geometry {
        Geometry::new(2048, 64, 4 * 2048, blocks).unwrap()
    }

    /// An erased chip to put tables on, behind `start` other bytes.
    struct Image {
        geometry: Geometry,
        start: u64,
        bytes: Vec<u8>,
        marker: Option<BadBlockMarker>,
    }

    impl Image {
        fn blank(geometry: Geometry, start: u64) -> Self {
            let bytes = vec![0xFF; (start + geometry.raw_size()) as usize];
            Self { geometry, start, bytes, marker: None }
        }

        /// A page of a block, data and spare bytes.
        fn page(&mut self, block: u32, page: u32) -> &mut [u8] {
            let at = self.start + self.geometry.raw_offset(PageAddr { block: Block(block), page });
            &mut self.bytes[at as usize..][..self.geometry.raw_page_size() as usize]
        }

        fn put(&mut self, block: u32, role: Role, version: u8, placement: Placement, marks: &[BlockMark]) {
            let (page, spare) = (self.geometry.page_size() as usize, self.geometry.spare_size() as usize);
            let (data, of_first) =
                Table::new(marks).encode(Header { role, version }, placement, page, spare).unwrap();
            for (n, data) in data.chunks(page).enumerate() {
                self.page(block, n as u32)[..page].copy_from_slice(data);
            }
            self.page(block, 0)[page..].copy_from_slice(&of_first);
        }

        fn find(&self) -> Option<FoundBbt> {
            find_bbt(&self.bytes, &self.geometry, self.start, self.marker.as_ref()).unwrap()
        }
    }

    fn marks(blocks: usize, bad: &[(usize, BlockMark)]) -> Vec<BlockMark> {
        let mut marks = vec![Good; blocks];
        bad.iter().for_each(|&(block, mark)| marks[block] = mark);
        marks
    }

    fn place(copy: &BbtCopy) -> (Role, u8, Placement, u32) {
        (copy.header.role, copy.header.version, copy.placement, copy.block.0)
    }

    #[test]
    fn the_table_of_a_chip_that_linux_used_is_found() {
        let mut image = Image::blank(geometry(16), 0);
        image.page(14, 0).copy_from_slice(&SAMPLE[..2112]);
        image.page(15, 0).copy_from_slice(&SAMPLE[2112..]);
        let found = image.find().unwrap();
        assert_eq!(place(&found.current), (Role::Main, 3, Placement::Spare, 15));
        assert_eq!(found.current.offset, 15 * 4 * 2112);
        assert_eq!(found.other.as_ref().map(place), Some((Role::Mirror, 3, Placement::Spare, 14)));
        assert_eq!(found.copies_agree(), Some(true));
        assert_eq!(found.bad_blocks().collect::<Vec<_>>(), [(Block(2), Worn), (Block(5), Worn)]);
        let all = [0, 2, 11, 12, 15, 16].map(|block| found.mark(Block(block)));
        assert_eq!(all, [Some(Good), Some(Worn), Some(Good), Some(Reserved), Some(Reserved), None]);
    }

    #[test]
    fn both_placements_are_found_behind_other_bytes_and_over_several_pages() {
        // 10,000 blocks need 2500 bytes, and so a second page.
        for placement in Placement::ALL {
            let small = Geometry::new(2048, 64, 2 * 2048, 10_000).unwrap();
            let mut image = Image::blank(small, 777);
            image.put(9998, Role::Main, 1, placement, &marks(10_000, &[(9997, FactoryBad), (9999, Worn)]));
            let found = image.find().unwrap();
            assert_eq!(place(&found.current), (Role::Main, 1, placement, 9998));
            assert_eq!(found.current.offset, 777 + 9998 * 2 * 2112);
            assert_eq!((found.other.as_ref(), found.copies_agree()), (None, None));
            let bad: Vec<_> = found.bad_blocks().collect();
            assert_eq!(bad, [(Block(9997), FactoryBad), (Block(9999), Worn)]);
            assert_eq!(
                [9996, 9997, 9998].map(|block| found.mark(Block(block)).unwrap()),
                [Reserved, FactoryBad, Reserved]
            );
        }
    }

    #[test]
    fn the_copy_that_was_written_last_counts() {
        let (old, new) = (marks(16, &[(3, Worn)]), marks(16, &[(3, Worn), (7, Worn)]));
        for (main, mirror, wins) in
            [(4, 5, Role::Mirror), (255, 0, Role::Mirror), (0, 255, Role::Main), (5, 5, Role::Main)]
        {
            let mut image = Image::blank(geometry(16), 0);
            let [of_main, of_mirror] = if wins == Role::Main { [&new, &old] } else { [&old, &new] };
            image.put(15, Role::Main, main, Placement::Spare, of_main);
            image.put(13, Role::Mirror, mirror, Placement::Spare, of_mirror);
            let found = image.find().unwrap();
            assert_eq!(found.current.header.role, wins, "{main} {mirror}");
            assert_eq!(found.copies_agree(), Some(false));
            assert_eq!(found.bad_blocks().count(), 2);
        }
    }

    #[test]
    fn the_last_block_with_a_header_is_taken_and_only_the_last_four_are_searched() {
        let mut image = Image::blank(geometry(16), 0);
        image.put(11, Role::Main, 9, Placement::Spare, &marks(16, &[]));
        assert_eq!(image.find(), None);
        image.put(12, Role::Mirror, 9, Placement::Spare, &marks(16, &[]));
        assert_eq!(place(&image.find().unwrap().current), (Role::Mirror, 9, Placement::Spare, 12));
        // An older one above it is taken first, as Linux does.
        image.put(14, Role::Mirror, 2, Placement::Spare, &marks(16, &[]));
        assert_eq!(place(&image.find().unwrap().current), (Role::Mirror, 2, Placement::Spare, 14));
    }

    #[test]
    fn a_block_that_is_marked_bad_is_passed_over() {
        let mut image = Image::blank(geometry(16), 0);
        image.put(15, Role::Main, 1, Placement::Spare, &marks(16, &[]));
        image.put(14, Role::Main, 2, Placement::Spare, &marks(16, &[(15, Worn)]));
        image.page(15, 3)[2048] = 0;
        let place_of = |image: &Image| place(&image.find().unwrap().current).3;
        assert_eq!(place_of(&image), 15, "nobody said where marks lie");
        image.marker = Some(BadBlockMarker { pages: vec![0, 3], byte: 0, len: 2 });
        assert_eq!(place_of(&image), 14);
        // A marker where the header lies says nothing.
        image.marker = Some(BadBlockMarker { pages: vec![0], byte: 5, len: 4 });
        assert_eq!(place_of(&image), 15);
        // Nor does one that the chip has no room for.
        image.page(15, 1)[0] = 0;
        image.marker = Some(BadBlockMarker { pages: vec![0], byte: 64, len: 1 });
        assert_eq!(place_of(&image), 15);
    }

    #[test]
    fn a_chip_without_table_or_without_its_end_has_none() {
        let mut image = Image::blank(geometry(16), 0);
        assert_eq!(image.find(), None);
        image.put(15, Role::Main, 1, Placement::InBand, &marks(16, &[]));
        image.put(14, Role::Mirror, 1, Placement::InBand, &marks(16, &[]));
        let place_of = |bytes: &[u8], start| {
            find_bbt(bytes, &image.geometry, start, None).unwrap().map(|found| place(&found.current).3)
        };
        assert_eq!(place_of(&image.bytes, 0), Some(15));
        let end = image.bytes.len();
        assert_eq!(place_of(&image.bytes[..end - 4 * 2112], 0), Some(14));
        // The header is there, and the block is not whole.
        assert_eq!(place_of(&image.bytes[..end - 2112], 0), Some(14));
        assert_eq!(place_of(&image.bytes[..end - 8 * 2112], 0), None);
        for start in [1, 64, u64::MAX] {
            assert_eq!(place_of(&image.bytes, start), None);
        }
    }

    #[test]
    fn geometries_that_have_no_room_for_a_table_have_none() {
        // No room for the header in 4 bytes of data, nor in 12 spare bytes; none for the table of 64 blocks in 8 bytes.
        for (page, spare, block, room) in
            [(4, 0, 32, false), (4, 12, 32, false), (4, 13, 32, true), (8, 16, 8, false), (8, 16, 16, true)]
        {
            let small = Geometry::new(page, spare, block, 64).unwrap();
            let raw =
                [b"Bbt0\xFF\xFF\xFF\xFF".get(..page as usize).unwrap(), &[0xFF; 8], b"Bbt0\x01\xFF\xFF\xFF"];
            let bytes = raw.concat()[..small.raw_page_size() as usize].repeat(64 * (block / page) as usize);
            let found = find_bbt(&bytes, &small, 0, None).unwrap();
            assert_eq!(found.is_some(), room, "{page}+{spare}, {block}");
        }
        // Fewer blocks than are searched.
        let mut image = Image::blank(geometry(1), 0);
        image.put(0, Role::Main, 1, Placement::Spare, &marks(1, &[]));
        assert_eq!(image.find().unwrap().mark(Block(0)), Some(Reserved));
    }

    #[test]
    fn a_place_that_cannot_be_read_is_an_error() {
        struct Broken;
        impl ReadAt for Broken {
            fn len(&self) -> u64 {
                u64::MAX
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
                Err(io::Error::other("bad sector"))
            }
        }
        assert!(find_bbt(&Broken, &geometry(16), 0, None).is_err());
    }

    #[test]
    fn whatever_a_chip_holds_its_table_speaks_of_its_own_blocks() {
        let mut rng = SplitMix64::new(3);
        let mut found = 0;
        for _ in 0..2000 {
            let sizes = [1u32, 5, 8, 16, 64];
            let mut pick = || sizes[rng.below(5) as usize];
            let (page, spare, pages, blocks) = (pick(), pick() - 1, pick(), pick());
            let geometry = Geometry::new(page, spare, page * pages, blocks).unwrap();
            let mut bytes = vec![0xFF; (geometry.raw_size() + rng.below(100)) as usize];
            for _ in 0..rng.below(8) {
                let at = rng.below(bytes.len() as u64) as usize;
                let header = [b"Bbt0\x01", b"1tbB\x02"][rng.below(2) as usize];
                bytes[at..].iter_mut().zip(header).for_each(|(byte, &new)| *byte = new);
            }
            let start = rng.below(20);
            bytes.truncate(bytes.len() - rng.below(20).min(bytes.len() as u64) as usize);
            let marker = BadBlockMarker { pages: vec![0, 1], byte: rng.below(20) as u32, len: 1 };
            let Some(bbt) = find_bbt(&bytes, &geometry, start, Some(&marker)).unwrap() else { continue };
            found += 1;
            assert!(bbt.current.block.0 < blocks && bbt.current.offset < bytes.len() as u64);
            assert!(bbt.bad_blocks().all(|(block, mark)| block.0 < blocks && bbt.mark(block) == Some(mark)));
        }
        assert!(found > 20, "{found}");
    }
}
