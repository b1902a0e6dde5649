//! Map pages: where each logical page lies. See *Map pages* in the [specification](crate::onflash).

use alloc::vec::Vec;

use super::cursor::{Put, Reader};
use super::head::{HEAD_LEN, PageError};
use super::{LOST_PAGE, NO_PAGE, NextPair};

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 8;

/// Where a logical page lies, and the CRC-32 of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapEntry {
    /// Nowhere: it reads as zeros.
    Unmapped,
    /// It was in a page that could not be read.
    Lost,
    /// In a physical page.
    At {
        /// Block x pages a block + page.
        address: u32,
        /// CRC-32 of its content.
        crc: u32,
    },
}

/// An entry in the eight bytes that it has on flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedEntry(u64);

impl PackedEntry {
    /// What it says.
    #[must_use]
    pub fn unpack(self) -> MapEntry {
        match self.0 as u32 {
            NO_PAGE => MapEntry::Unmapped,
            LOST_PAGE => MapEntry::Lost,
            address => MapEntry::At { address, crc: (self.0 >> 32) as u32 },
        }
    }
}

impl From<MapEntry> for PackedEntry {
    fn from(entry: MapEntry) -> Self {
        let (address, crc) = match entry {
            MapEntry::Unmapped => (NO_PAGE, 0),
            MapEntry::Lost => (LOST_PAGE, 0),
            MapEntry::At { address, crc } => (address, crc),
        };
        Self(u64::from(crc) << 32 | u64::from(address))
    }
}

/// Entries a map page holds.
#[must_use]
pub fn entries_per_page(page_size: u32) -> u32 {
    (page_size as usize).saturating_sub(HEAD_LEN + NextPair::LEN).div_euclid(ENTRY_LEN) as u32
}

/// The payload of a map page.
#[must_use]
pub fn encode(next: NextPair, entries: &[PackedEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(NextPair::LEN + entries.len() * ENTRY_LEN);
    next.put(&mut out);
    for entry in entries {
        out.put_u64(entry.0);
    }
    out
}

/// The entries in the payload of a map page.
///
/// # Errors
/// When it is not made of entries.
pub fn decode(payload: &[u8]) -> Result<Vec<PackedEntry>, PageError> {
    let mut fields = Reader(payload);
    NextPair::read(&mut fields).ok_or(PageError::Malformed("length"))?;
    let (entries, rest) = fields.0.as_chunks::<ENTRY_LEN>();
    if !rest.is_empty() {
        return Err(PageError::Malformed("length"));
    }
    Ok(entries.iter().map(|bytes| PackedEntry(u64::from_le_bytes(*bytes))).collect())
}
