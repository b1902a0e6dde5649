//! The head that every metadata page begins with: see *Page head* in the [specification](crate::onflash).

use alloc::vec::Vec;
use core::ops::Range;

use thiserror::Error;

use super::cursor::{Put, Reader};

/// The first bytes of every metadata page.
pub const MAGIC: [u8; 4] = *b"NIMG";
/// Bytes of the head.
pub const HEAD_LEN: usize = 36;
/// Where the head's CRC-32 lies; it covers what stands before it, and the payload.
const CRC: Range<usize> = 32..36;
const _: () = assert!(CRC.end == HEAD_LEN);

/// What a metadata page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The superblock of a checkpoint.
    Anchor,
    /// Changes since a checkpoint.
    Log,
    /// A part of the map.
    Map,
    /// Where the map pages lie.
    Directory,
    /// The block table.
    Table,
    /// What the pages of a data block hold.
    Summary,
    /// Nothing but that its block has not been erased since: the first page of a block that is erased next, and looked it.
    Witness,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Anchor, Self::Log, Self::Map, Self::Directory, Self::Table, Self::Summary, Self::Witness];

    /// Its number on flash.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Anchor => 1,
            Self::Log => 2,
            Self::Map => 3,
            Self::Directory => 4,
            Self::Table => 5,
            Self::Summary => 6,
            Self::Witness => 7,
        }
    }

    /// Its name in a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anchor => "an anchor",
            Self::Log => "a log page",
            Self::Map => "a map page",
            Self::Directory => "a directory page",
            Self::Table => "a block-table page",
            Self::Summary => "a block summary",
            Self::Witness => "a witness page",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// The head of a metadata page, whose CRC was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the page is.
    pub kind: Kind,
    /// Meaning by kind.
    pub flags: u8,
    /// Which volume it belongs to.
    pub volume: u32,
    /// The low half of the sequence number of the anchor that was in force when it was written.
    pub epoch: u32,
    /// Its number among those of its kind; meaning by kind.
    pub number: u64,
    /// Where it was written: block x pages a block + page.
    pub address: u32,
    /// Erase count of its block.
    pub erases: u32,
}

/// Why the bytes of a page are not the metadata page they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PageError {
    /// Every byte is 0xFF.
    #[error("it is erased")]
    Erased,
    /// No magic at the start.
    #[error("it does not begin with \"NIMG\"")]
    NoMagic,
    /// The kind is none that is known.
    #[error("its kind {0} is unknown")]
    UnknownKind(u8),
    /// The payload would reach past the page.
    #[error("its payload of {len} bytes does not fit its page")]
    TooLong {
        /// The length claimed.
        len: u16,
    },
    /// The CRC does not match.
    #[error("its CRC-32 is {stored:08x}, and its content has {computed:08x}")]
    Checksum {
        /// The CRC in the head.
        stored: u32,
        /// That of the content.
        computed: u32,
    },
    /// Whole, and something else than what was looked for.
    #[error("its CRC-32 is right, but its {field} is {found}, not {expected}")]
    Other {
        /// Which field says so.
        field: &'static str,
        /// What was looked for.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Whole, and the payload is not what such a page holds.
    #[error("its CRC-32 is right, but its {0} cannot be")]
    Malformed(&'static str),
}

/// A whole page of `page_size` bytes: head, payload, and 0xFF up to its end. The payload must fit.
#[must_use]
pub fn seal(head: &Head, payload: &[u8], page_size: usize) -> Vec<u8> {
    let mut page = Vec::with_capacity(page_size);
    page.put(&MAGIC);
    page.put_u8(head.kind.code());
    page.put_u8(head.flags);
    page.put_u16(payload.len() as u16);
    page.put_u32(head.volume);
    page.put_u32(head.epoch);
    page.put_u64(head.number);
    page.put_u32(head.address);
    page.put_u32(head.erases);
    let crc = checksum(&page, payload);
    page.put_u32(crc);
    page.put(payload);
    page.resize(page_size, 0xFF);
    page
}

/// The head and the payload of a page.
///
/// # Errors
/// When it is no whole metadata page.
pub fn open(page: &[u8]) -> Result<(Head, &[u8]), PageError> {
    let mut fields = Reader(page);
    if fields.bytes(MAGIC.len()) != Some(&MAGIC[..]) {
        let erased = page.iter().all(|&byte| byte == 0xFF);
        return Err(if erased { PageError::Erased } else { PageError::NoMagic });
    }
    read_head(page, fields).unwrap_or(Err(PageError::NoMagic))
}

fn read_head<'a>(page: &'a [u8], mut fields: Reader<'a>) -> Option<Result<(Head, &'a [u8]), PageError>> {
    let (kind, flags, len) = (fields.u8()?, fields.u8()?, fields.u16()?);
    let head = Head {
        kind: Kind::Anchor,
        flags,
        volume: fields.u32()?,
        epoch: fields.u32()?,
        number: fields.u64()?,
        address: fields.u32()?,
        erases: fields.u32()?,
    };
    let stored = fields.u32()?;
    let Some(payload) = fields.bytes(usize::from(len)) else { return Some(Err(PageError::TooLong { len })) };
    let computed = checksum(page.get(..CRC.start)?, payload);
    if stored != computed {
        return Some(Err(PageError::Checksum { stored, computed }));
    }
    Some(match Kind::from_code(kind) {
        Some(kind) => Ok((Head { kind, ..head }, payload)),
        None => Err(PageError::UnknownKind(kind)),
    })
}

impl Head {
    /// That this is the head of a page of `kind`, of `volume`, at `address`.
    ///
    /// # Errors
    /// With what differs.
    pub fn expect(&self, kind: Kind, volume: u32, address: u32) -> Result<(), PageError> {
        let fields = [
            ("kind", u64::from(kind.code()), u64::from(self.kind.code())),
            ("volume", u64::from(volume), u64::from(self.volume)),
            ("address", u64::from(address), u64::from(self.address)),
        ];
        match fields.into_iter().find(|(_, expected, found)| expected != found) {
            Some((field, expected, found)) => Err(PageError::Other { field, expected, found }),
            None => Ok(()),
        }
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
