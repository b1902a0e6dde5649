//! What a checkpoint holds besides map pages: the directory and the block table, each a stream of bytes cut into pages. See
//! *Checkpoint* in the [specification](crate::onflash).

use alloc::vec::Vec;

use super::cursor::{Put, Reader};
use super::head::{HEAD_LEN, PageError};
use super::summary::{ENTRY_LEN, put_stored, read_stored};
use super::{NextPair, StoredPage};

/// Bytes of a stream that one page holds.
#[must_use]
pub fn chunk_len(page_size: u32) -> usize {
    (page_size as usize).saturating_sub(HEAD_LEN + NextPair::LEN)
}

/// The payload of a page that holds `chunk` of a stream.
#[must_use]
pub fn encode_chunk(next: NextPair, chunk: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(NextPair::LEN + chunk.len());
    next.put(&mut out);
    out.put(chunk);
    out
}

/// The part of a stream in the payload of a page.
#[must_use]
pub fn decode_chunk(payload: &[u8]) -> Option<&[u8]> {
    payload.get(NextPair::LEN..)
}

/// Where the map pages lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Pairs of blocks that hold map pages: what lies in a page of the first lies in the same page of the second.
    pub pairs: Vec<(u32, u32)>,
    /// The address of each map page, in the first block of its pair; [`NO_PAGE`](super::NO_PAGE) where every entry is
    /// unmapped.
    pub map_pages: Vec<u32>,
}

impl Directory {
    /// Bytes of the stream for so many pairs and map pages.
    #[must_use]
    pub fn stream_len(pairs: usize, map_pages: usize) -> usize {
        8 + 8 * pairs + 4 * map_pages
    }

    /// Its stream.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::stream_len(self.pairs.len(), self.map_pages.len()));
        out.put_u32(self.pairs.len() as u32);
        out.put_u32(self.map_pages.len() as u32);
        for &(a, b) in &self.pairs {
            out.put_u32(a);
            out.put_u32(b);
        }
        self.map_pages.iter().for_each(|&page| out.put_u32(page));
        out
    }

    /// The directory in a stream.
    ///
    /// # Errors
    /// When it is cut short, or goes on.
    pub fn decode(stream: &[u8]) -> Result<Self, PageError> {
        Self::read(Reader(stream)).ok_or(PageError::Malformed("directory"))
    }

    fn read(mut fields: Reader<'_>) -> Option<Self> {
        let (pairs, map_pages) = (fields.u32()? as usize, fields.u32()? as usize);
        let expected = pairs.checked_mul(8)?.checked_add(map_pages.checked_mul(4)?)?;
        if fields.0.len() != expected {
            return None;
        }
        let pairs = (0..pairs).map(|_| Some((fields.u32()?, fields.u32()?))).collect::<Option<_>>()?;
        let map_pages = (0..map_pages).map(|_| fields.u32()).collect::<Option<_>>()?;
        Some(Self { pairs, map_pages })
    }
}

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// It holds nothing that counts.
    Free,
    /// The same, and it may be erased: the erase is counted.
    Announced,
    /// Data, closed by a summary.
    Closed,
    /// Data, without a summary: its pages are listed behind the table.
    Listed,
    /// Metadata of the chain.
    Chain,
    /// A block of the anchor zone.
    Zone,
    /// Bad.
    Bad,
}

impl BlockState {
    const ALL: [Self; 7] =
        [Self::Free, Self::Announced, Self::Closed, Self::Listed, Self::Chain, Self::Zone, Self::Bad];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    fn code(self) -> u8 {
        Self::ALL.iter().position(|&state| state == self).unwrap_or_default() as u8
    }
}

/// What the block table says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRow {
    /// What it is used for.
    pub state: BlockState,
    /// The stream its data belongs to.
    pub class: u8,
    /// Pages whose content is current.
    pub live: u16,
    /// How often it has been erased.
    pub erases: u32,
    /// The mean host clock at which its pages were written, in units of 64.
    pub written: u32,
    /// The host clock when it was closed, in units of 64.
    pub closed: u32,
}

impl BlockRow {
    /// Bytes it takes.
    pub const LEN: usize = 15;

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        let state = fields.u8()?;
        Some(Self {
            state: BlockState::from_code(state & 15)?,
            class: state >> 4,
            live: fields.u16()?,
            erases: fields.u32()?,
            written: fields.u32()?,
            closed: fields.u32()?,
        })
    }
}

/// The pages of a block that has no summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageList {
    /// The block.
    pub block: u32,
    /// What its pages hold, from the first on; `None` for what does not count. Those behind hold nothing.
    pub pages: Vec<Option<StoredPage>>,
}

impl PageList {
    /// Bytes before its pages.
    const HEAD_LEN: usize = 6;
}

/// The block table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    /// A row for each block.
    pub rows: Vec<BlockRow>,
    /// The pages of blocks without a summary.
    pub lists: Vec<PageList>,
}

impl BlockTable {
    /// Bytes of the stream for so many blocks, and lists with so many pages in all.
    #[must_use]
    pub fn stream_len(rows: usize, lists: usize, pages: usize) -> usize {
        4 + rows * BlockRow::LEN + lists * PageList::HEAD_LEN + pages * ENTRY_LEN
    }

    /// Bytes of its stream.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let pages = self.lists.iter().map(|list| list.pages.len()).sum();
        Self::stream_len(self.rows.len(), self.lists.len(), pages)
    }

    /// Its stream.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.put_u32(self.rows.len() as u32);
        for row in &self.rows {
            out.put_u8(row.state.code() | row.class << 4);
            out.put_u16(row.live);
            out.put_u32(row.erases);
            out.put_u32(row.written);
            out.put_u32(row.closed);
        }
        for list in &self.lists {
            out.put_u32(list.block);
            out.put_u16(list.pages.len() as u16);
            list.pages.iter().for_each(|page| put_stored(&mut out, page.as_ref()));
        }
        out
    }

    /// The block table in a stream.
    ///
    /// # Errors
    /// When it is cut short, or a state is unknown.
    pub fn decode(stream: &[u8]) -> Result<Self, PageError> {
        Self::read(Reader(stream)).ok_or(PageError::Malformed("block table"))
    }

    /// The rows that are whole in the first chunk of a stream.
    #[must_use]
    pub fn first_rows(chunk: &[u8]) -> Option<Vec<BlockRow>> {
        let mut fields = Reader(chunk);
        let count = (fields.u32()? as usize).min(fields.0.len() / BlockRow::LEN);
        (0..count).map(|_| BlockRow::read(&mut fields)).collect()
    }

    fn read(mut fields: Reader<'_>) -> Option<Self> {
        let count = fields.u32()? as usize;
        if fields.0.len() < count.checked_mul(BlockRow::LEN)? {
            return None;
        }
        let rows = (0..count).map(|_| BlockRow::read(&mut fields)).collect::<Option<_>>()?;
        let mut lists = Vec::new();
        while !fields.0.is_empty() {
            let (block, pages) = (fields.u32()?, fields.u16()?);
            let pages = (0..pages).map(|_| read_stored(&mut fields)).collect::<Option<_>>()?;
            lists.push(PageList { block, pages });
        }
        Some(Self { rows, lists })
    }
}
