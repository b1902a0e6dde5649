//! The bad-block table that Linux keeps on a chip of raw NAND, and U-Boot with it.
//!
//! Two copies, a main one and a mirror, begin each in the first page of one of the chip's last blocks. A header tells them from
//! other content; where there is no room for it in the spare area it stands before the table:
//!
//! | header | signature | version | table |
//! |---|---|---|---|
//! | [`Spare`](Placement::Spare) | spare bytes 8-11 of the first page | spare byte 12 | data from the first page on |
//! | [`InBand`](Placement::InBand) | data bytes 0-3 | data byte 4 | data from byte 5 on |
//!
//! The table has two bits a block: block `n` those from bit `2 * (n % 4)` of byte `n / 4` on. It may run on through the data of
//! the pages behind; what is left of the last page is FF. All of it is written with the ECC of the chip's other pages: whoever
//! reads a raw dump corrects it first, or takes it as it is.
//!
//! Source: Linux `drivers/mtd/nand/raw/nand_bbt.c` as far as it describes the record, and tables written by Linux 6.1
//! (`testdata/linux-mtd`).

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Blocks at the end of a chip that may hold a table.
pub const SEARCHED_BLOCKS: u32 = 4;

/// Which of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Role {
    /// The first one, in the chip's last good block at first.
    Main,
    /// The second one, in the good block before.
    Mirror,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Main, Self::Mirror];

    /// The bytes that begin its header.
    #[must_use]
    pub const fn signature(self) -> [u8; 4] {
        match self {
            Self::Main => *b"Bbt0",
            Self::Mirror => *b"1tbB",
        }
    }
}

/// Where the header lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Placement {
    /// In the spare bytes of the first page.
    Spare,
    /// In its data bytes, before the table.
    InBand,
}

impl Placement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Spare, Self::InBand];

    /// The bytes that the header takes: of the spare area, or of the data.
    #[must_use]
    pub const fn header(self) -> Range<usize> {
        match self {
            Self::Spare => 8..8 + Header::LEN,
            Self::InBand => 0..Header::LEN,
        }
    }

    /// Where in the data the table begins.
    #[must_use]
    pub const fn table_at(self) -> usize {
        match self {
            Self::Spare => 0,
            Self::InBand => Header::LEN,
        }
    }
}

/// What stands before a table, or beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which copy it is.
    pub role: Role,
    /// How often the table has been written; it wraps.
    pub version: u8,
}

impl Header {
    /// Bytes of a header: signature and version.
    pub const LEN: usize = 5;

    /// The header in the spare bytes of a page, or in its data, as `placement` says; `None` where there is none.
    #[must_use]
    pub fn decode(placement: Placement, bytes: &[u8]) -> Option<Self> {
        let [signature @ .., version] = <[u8; Self::LEN]>::try_from(bytes.get(placement.header())?).ok()?;
        let role = Role::ALL.into_iter().find(|role| role.signature() == signature)?;
        Some(Self { role, version })
    }

    fn encode(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.role.signature();
        [a, b, c, d, self.version]
    }

    /// Whether this copy counts where `mirror` is there, too: unless the mirror has been written since.
    #[must_use]
    pub fn outranks(self, mirror: Self) -> bool {
        self.version.wrapping_sub(mirror.version) as i8 >= 0
    }
}

/// What a table says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum BlockMark {
    /// It may be used.
    Good,
    /// It was bad from the factory.
    FactoryBad,
    /// It went bad since.
    Worn,
    /// It is kept for the tables themselves. Linux holds the last blocks of a chip for such and stores them as good.
    Reserved,
}

impl BlockMark {
    /// Whether the block is bad.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::FactoryBad | Self::Worn)
    }

    fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b11 => Self::Good,
            0b00 => Self::FactoryBad,
            _ => Self::Worn,
        }
    }

    /// The bits that are cleared of an erased pair.
    fn cleared(self) -> u8 {
        match self {
            Self::Good | Self::Reserved => 0b00,
            Self::Worn => 0b01,
            Self::FactoryBad => 0b11,
        }
    }
}

/// The marks of a chip's blocks, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    blocks: u32,
    /// Two bits a block; those past the last block are set.
    pairs: Vec<u8>,
}

impl Table {
    /// Bytes of the table of so many blocks.
    #[must_use]
    pub fn len_for(blocks: u32) -> usize {
        blocks.div_ceil(4) as usize
    }

    /// The table of blocks with these marks.
    #[must_use]
    pub fn new(marks: &[BlockMark]) -> Self {
        let pair = |(n, mark): (usize, &BlockMark)| mark.cleared() << (2 * n);
        let byte = |four: &[BlockMark]| !four.iter().enumerate().map(pair).fold(0, |byte, bits| byte | bits);
        Self { blocks: marks.len() as u32, pairs: marks.chunks(4).map(byte).collect() }
    }

    /// The table of so many blocks at the start of `bytes`; `None` if they are too few.
    #[must_use]
    pub fn decode(bytes: &[u8], blocks: u32) -> Option<Self> {
        let mut pairs = bytes.get(..Self::len_for(blocks))?.to_vec();
        if let (Some(last), rest @ 1..) = (pairs.last_mut(), blocks % 4) {
            *last |= 0xFF << (2 * rest);
        }
        Some(Self { blocks, pairs })
    }

    /// Blocks it covers.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// What it says of a block, never [`Reserved`](BlockMark::Reserved); `None` past its last block.
    #[must_use]
    pub fn mark(&self, block: u32) -> Option<BlockMark> {
        let byte = self.pairs.get((block / 4) as usize).filter(|_| block < self.blocks)?;
        Some(BlockMark::from_bits(byte >> (2 * (block % 4))))
    }

    /// The blocks that are bad, in order.
    pub fn bad_blocks(&self) -> impl Iterator<Item = (u32, BlockMark)> + '_ {
        let some_bad = (0u32..).zip(&self.pairs).filter(|&(_, &byte)| byte != 0xFF);
        let marks = some_bad
            .flat_map(|(at, byte)| (0..4).map(move |n| (4 * at + n, BlockMark::from_bits(byte >> (2 * n)))));
        marks.filter(|(_, mark)| mark.is_bad())
    }

    /// The pages of a copy as Linux writes them, without ECC: the data bytes of all of them, and the spare bytes of the first
    /// (those of the others are erased). `None` if the pages have no room for the header.
    #[must_use]
    pub fn encode(
        &self,
        header: Header,
        placement: Placement,
        page_size: usize,
        spare_size: usize,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        let table = placement.table_at()..placement.table_at() + self.pairs.len();
        let mut data = vec![0xFF; table.end.max(1).next_multiple_of(page_size.max(1))];
        let mut spare = vec![0xFF; spare_size];
        data.get_mut(table)?.copy_from_slice(&self.pairs);
        let area = if placement == Placement::Spare { &mut spare } else { &mut data };
        area.get_mut(placement.header())?.copy_from_slice(&header.encode());
        Some((data, spare))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::BlockMark::{FactoryBad, Good, Reserved, Worn};
    use super::*;

    const SAMPLE: &[u8] =
        include_bytes!("../../testdata/linux-mtd/linux61_bbt_oob_2048+64_block14+15_page0.raw");

    /// Data and spare bytes of the mirror, in block 14, and of the main copy, in block 15.
    fn sample() -> [(&'static [u8], &'static [u8]); 2] {
        let [mirror, main] = [0, 2112].map(|at| SAMPLE[at..at + 2112].split_at(2048));
        [mirror, main]
    }

    /// 16 blocks, of which 2 and 5 were marked at run time.
    fn marks_of_sample() -> [BlockMark; 16] {
        let mut marks = [Good; 16];
        (marks[2], marks[5]) = (Worn, Worn);
        (marks[14], marks[15]) = (Reserved, Reserved);
        marks
    }

    #[test]
    fn a_table_that_linux_wrote_is_read() {
        for ((data, spare), role) in sample().into_iter().zip([Role::Mirror, Role::Main]) {
            assert_eq!(Header::decode(Placement::Spare, spare), Some(Header { role, version: 3 }));
            assert_eq!(Header::decode(Placement::InBand, data), None);
            let table = Table::decode(data, 16).unwrap();
            assert_eq!(table.bad_blocks().collect::<Vec<_>>(), [(2, Worn), (5, Worn)]);
            assert_eq!(table, Table::new(&marks_of_sample()));
        }
    }

    #[test]
    fn a_table_is_written_as_linux_writes_it() {
        for ((data, spare), role) in sample().into_iter().zip([Role::Mirror, Role::Main]) {
            let header = Header { role, version: 3 };
            let table = Table::new(&marks_of_sample());
            let (ours, our_spare) = table.encode(header, Placement::Spare, 2048, 64).unwrap();
            assert_eq!(ours, data);
            // From byte 40 on lies the ECC.
            assert_eq!((our_spare.len(), &our_spare[..40]), (64, &spare[..40]));
        }
    }

    #[test]
    fn without_room_in_the_spare_area_the_header_stands_before_the_table() {
        let header = Header { role: Role::Main, version: 0xFE };
        let table = Table::new(&[FactoryBad, Worn, Good, Good, FactoryBad]);
        assert_eq!(table.encode(header, Placement::Spare, 512, 12), None);
        let (data, spare) = table.encode(header, Placement::InBand, 512, 12).unwrap();
        assert_eq!((data.len(), &data[..8]), (512, b"Bbt0\xFE\xF8\xFC\xFF".as_slice()));
        assert_eq!(spare, [0xFF; 12]);
        assert_eq!(Header::decode(Placement::InBand, &data), Some(header));
        assert_eq!(Table::decode(&data[Placement::InBand.table_at()..], 5), Some(table));
    }

    #[test]
    fn every_mark_comes_back_and_both_mixed_pairs_are_worn() {
        let marks = [FactoryBad, Worn, Good, Worn, Good, FactoryBad, Good];
        let table = Table::new(&marks);
        for (block, mark) in (0..).zip(marks) {
            assert_eq!(table.mark(block), Some(mark), "{block}");
        }
        assert_eq!(table.mark(7), None);
        assert_eq!(Table::new(&[Reserved]), Table::new(&[Good]));
        let mixed = Table::decode(&[0b11_10_01_00], 4).unwrap();
        assert_eq!([0, 1, 2, 3].map(|block| mixed.mark(block).unwrap()), [FactoryBad, Worn, Worn, Good]);
        assert_eq!(mixed.bad_blocks().collect::<Vec<_>>(), [(0, FactoryBad), (1, Worn), (2, Worn)]);
    }

    #[test]
    fn bits_past_the_last_block_mean_nothing() {
        let table = Table::decode(&[0xFF, 0x00], 5).unwrap();
        assert_eq!(table.bad_blocks().collect::<Vec<_>>(), [(4, FactoryBad)]);
        assert_eq!(table, Table::new(&[Good, Good, Good, Good, FactoryBad]));
        assert_eq!(Table::decode(&[0xFF], 5), None);
        assert_eq!(Table::decode(&[], 0).unwrap().bad_blocks().count(), 0);
    }

    #[test]
    fn a_table_may_take_several_pages() {
        let marks: Vec<BlockMark> = (0..8192).map(|n| if n == 8191 { Worn } else { Good }).collect();
        let header = Header { role: Role::Mirror, version: 1 };
        for (placement, pages) in [(Placement::Spare, 4), (Placement::InBand, 5)] {
            let (data, _) = Table::new(&marks).encode(header, placement, 512, 16).unwrap();
            assert_eq!(data.len(), pages * 512);
            let table = Table::decode(&data[placement.table_at()..], 8192).unwrap();
            assert_eq!(table.bad_blocks().collect::<Vec<_>>(), [(8191, Worn)]);
        }
    }

    #[test]
    fn the_version_wraps() {
        let [main, mirror] = Role::ALL.map(|role| move |version| Header { role, version });
        for (ours, theirs, outranks) in
            [(3, 3, true), (4, 3, true), (3, 4, false), (0, 255, true), (255, 0, false), (127, 255, false)]
        {
            assert_eq!(main(ours).outranks(mirror(theirs)), outranks, "{ours} {theirs}");
        }
    }

    #[test]
    fn other_bytes_are_no_header() {
        assert_eq!(Header::decode(Placement::Spare, &[0xFF; 64]), None);
        for placement in Placement::ALL {
            let mut bytes = [0xFF; 13];
            bytes[placement.header()].copy_from_slice(b"1tbB\x07");
            assert_eq!(Header::decode(placement, &bytes), Some(Header { role: Role::Mirror, version: 7 }));
            assert_eq!(Header::decode(placement, &bytes[..placement.header().end - 1]), None);
        }
    }
}
