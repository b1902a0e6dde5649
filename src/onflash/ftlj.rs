//! The metadata entry of the block-mapped format and where it lies: see *Block-mapped format* in the
//! [specification](super).
//!
//! What is decoded here is *well-formed*, not *believed*: a map entry may still point anywhere.

use alloc::vec::Vec;
use core::ops::Range;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The first bytes of an entry.
pub const MAGIC: [u8; 4] = *b"FTLJ";
/// The seed of the entry's XXH3-128.
pub const CHECKSUM_SEED: u64 = 0xF7DE_ADBE_EFCA_FE00;
/// The map entry of a logical block that is stored nowhere and reads as zeros.
pub const UNMAPPED: u32 = u32::MAX;
/// Bytes of the entry's header.
pub const HEADER_LEN: usize = 16;
/// Bytes of the checksum that ends the entry.
pub const CHECKSUM_LEN: usize = 16;

const SEQUENCE: Range<usize> = 4..12;
const PAYLOAD_LEN: Range<usize> = 12..16;
const _: () = assert!(MAGIC.len() == SEQUENCE.start && PAYLOAD_LEN.end == HEADER_LEN);

/// Spare data blocks that copy-on-write needs beyond the logical ones.
pub const COPY_ON_WRITE_BLOCKS: u32 = 2;
/// Blocks between the slots and the data region that nothing touches.
pub const UNTOUCHED_BLOCKS: u32 = 2;

/// Where things lie on a chip of `blocks` blocks of `block_size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Data bytes an erase block.
    pub block_size: u32,
    /// Erase blocks of the volume.
    pub blocks: u32,
    /// Erase blocks a metadata slot.
    pub blocks_per_slot: u32,
    /// Blocks before the data region.
    pub reserved: u32,
    /// Logical blocks, each as large as an erase block.
    pub logical_blocks: u32,
}

/// There is no room on the chip for a single logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{blocks} blocks of {block_size} bytes are too few: metadata and copy-on-write take {needed} of them and data needs one"
)]
pub struct TooSmall {
    /// Blocks there are.
    pub blocks: u32,
    /// Bytes a block.
    pub block_size: u32,
    /// Blocks taken before there is room for data.
    pub needed: u64,
}

impl Layout {
    /// The layout of a volume.
    ///
    /// # Errors
    /// When no logical block is left.
    pub fn new(block_size: u32, blocks: u32) -> Result<Self, TooSmall> {
        let per_slot = Self::tables_len(blocks).div_ceil(u64::from(block_size.max(1)));
        let reserved = 2 * per_slot + u64::from(UNTOUCHED_BLOCKS);
        let needed = reserved + u64::from(COPY_ON_WRITE_BLOCKS);
        let too_small = TooSmall { blocks, block_size, needed };
        let logical = u64::from(blocks).checked_sub(needed).filter(|&n| n > 0).ok_or(too_small)?;
        // All are below `blocks`, a u32.
        let narrow = |n: u64| u32::try_from(n).map_err(|_| too_small);
        Ok(Self {
            block_size,
            blocks,
            blocks_per_slot: narrow(per_slot)?,
            reserved: narrow(reserved)?,
            logical_blocks: narrow(logical)?,
        })
    }

    /// Bytes that the format allows for an entry of a chip of `blocks` blocks when it sizes its slots.
    #[must_use]
    pub fn tables_len(blocks: u32) -> u64 {
        8 * u64::from(blocks) + u64::from(blocks.div_ceil(8)) + 64
    }

    /// Bytes a slot.
    #[must_use]
    pub fn slot_len(&self) -> u64 {
        u64::from(self.blocks_per_slot) * u64::from(self.block_size)
    }

    /// Erase blocks of the data region.
    #[must_use]
    pub fn data_blocks(&self) -> u32 {
        self.blocks - self.reserved
    }

    /// The largest logical length that can be written, in bytes, with so many bad blocks in the data region.
    #[must_use]
    pub fn capacity(&self, bad_data_blocks: u32) -> u64 {
        let good = self.data_blocks().saturating_sub(bad_data_blocks);
        let blocks = good.saturating_sub(COPY_ON_WRITE_BLOCKS).min(self.logical_blocks);
        u64::from(blocks) * u64::from(self.block_size)
    }

    /// Bytes of the bad-block bitmap.
    #[must_use]
    pub fn bad_table_len(&self) -> usize {
        self.blocks.div_ceil(8) as usize
    }
}

/// An entry's header, as read: nothing in it is verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawHeader {
    /// The sequence number it claims.
    pub sequence: u64,
    /// The payload length it claims, in bytes.
    pub payload_len: u32,
}

impl RawHeader {
    /// The header in the first [`HEADER_LEN`] of `bytes`, if they begin with the magic.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_LEN)?;
        if header.get(..MAGIC.len())? != MAGIC {
            return None;
        }
        Some(Self {
            sequence: u64::from_le_bytes(header.get(SEQUENCE)?.try_into().ok()?),
            payload_len: u32::from_le_bytes(header.get(PAYLOAD_LEN)?.try_into().ok()?),
        })
    }

    /// Bytes of the whole entry: header, payload and checksum.
    #[must_use]
    pub fn entry_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.payload_len) + CHECKSUM_LEN as u64
    }
}

/// Why the bytes of a slot are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// No magic at the start.
    #[error("it does not begin with \"FTLJ\"")]
    NoMagic,
    /// The claimed length is longer than a slot.
    #[error("its header claims an entry of {claimed} bytes, and a slot holds {slot}")]
    TooLong {
        /// Bytes the entry claims to have.
        claimed: u64,
        /// Bytes a slot has.
        slot: u64,
    },
    /// The checksum does not match.
    #[error("its checksum does not match (sequence {sequence} claimed)")]
    Checksum {
        /// The sequence number the damaged entry claims.
        sequence: u64,
    },
    /// The checksum matches, and a table runs past the end of the payload.
    #[error("its checksum is right, but its {table} is cut short: {needed} bytes needed, {left} there")]
    Short {
        /// Which table.
        table: &'static str,
        /// Bytes it claims.
        needed: u64,
        /// Bytes left of the payload.
        left: u64,
    },
    /// The checksum matches, and a table of 4-byte entries has some other length.
    #[error("its checksum is right, but its {table} has {len} bytes, not a multiple of 4")]
    Uneven {
        /// Which table.
        table: &'static str,
        /// Its length in bytes.
        len: u64,
    },
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Logical length of the volume in bytes.
    pub logical_len: u64,
    /// For each logical block the physical one, relative to the data region, or [`UNMAPPED`].
    pub map: Vec<u32>,
    /// Erase count of each block.
    pub erase_counts: Vec<u32>,
    /// Bit `b % 8` (least significant first) of byte `b / 8`: block `b` is bad.
    pub bad_table: Vec<u8>,
}

impl Metadata {
    /// Bytes of the payload.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        8 + 4
            + 4 * self.map.len() as u64
            + 4
            + 4 * self.erase_counts.len() as u64
            + 4
            + self.bad_table.len() as u64
    }

    /// Bytes of the whole entry.
    #[must_use]
    pub fn entry_len(&self) -> u64 {
        (HEADER_LEN + CHECKSUM_LEN) as u64 + self.payload_len()
    }

    /// The whole entry, unpadded. Its tables must be shorter than 4 GiB together.
    #[must_use]
    pub fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entry_len() as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&(self.payload_len() as u32).to_le_bytes());
        out.extend_from_slice(&self.logical_len.to_le_bytes());
        for table in [&self.map, &self.erase_counts] {
            out.extend_from_slice(&(4 * table.len() as u32).to_le_bytes());
            table.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        }
        out.extend_from_slice(&(self.bad_table.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.bad_table);
        let checksum = xxh3_128_with_seed(&out, CHECKSUM_SEED);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The sequence number and content of the entry at the start of `bytes` (what follows it is ignored).
    ///
    /// # Errors
    /// When there is no well-formed entry.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), EntryError> {
        let header = RawHeader::parse(bytes).ok_or(EntryError::NoMagic)?;
        let too_long = EntryError::TooLong { claimed: header.entry_len(), slot: bytes.len() as u64 };
        let end = usize::try_from(header.entry_len()).map_err(|_| too_long)?;
        let entry = bytes.get(..end).ok_or(too_long)?;
        let (covered, checksum) = entry.split_at(end - CHECKSUM_LEN);
        if xxh3_128_with_seed(covered, CHECKSUM_SEED).to_le_bytes() != *checksum {
            return Err(EntryError::Checksum { sequence: header.sequence });
        }
        let mut payload = Fields(covered.get(HEADER_LEN..).unwrap_or_default());
        let logical_len = payload.take("length", 8)?;
        let logical_len = logical_len.try_into().map_or(0, u64::from_le_bytes);
        let map = payload.words("map")?;
        let erase_counts = payload.words("table of erase counts")?;
        let bad_table = payload.table("bad-block table")?.to_vec();
        Ok((header.sequence, Self { logical_len, map, erase_counts, bad_table }))
    }
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, table: &'static str, len: u64) -> Result<&'a [u8], EntryError> {
        let short = EntryError::Short { table, needed: len, left: self.0.len() as u64 };
        let len = usize::try_from(len).map_err(|_| short)?;
        let (head, tail) = self.0.split_at_checked(len).ok_or(short)?;
        self.0 = tail;
        Ok(head)
    }

    fn table(&mut self, table: &'static str) -> Result<&'a [u8], EntryError> {
        let len = self.take(table, 4)?.try_into().map_or(0, u32::from_le_bytes);
        self.take(table, u64::from(len))
    }

    fn words(&mut self, table: &'static str) -> Result<Vec<u32>, EntryError> {
        let (words, rest) = self.table(table)?.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(EntryError::Uneven { table, len: (words.len() * 4 + rest.len()) as u64 });
        }
        Ok(words.iter().map(|w| u32::from_le_bytes(*w)).collect())
    }
}
