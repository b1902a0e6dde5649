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

/// Entries a map page holds.
#[must_use]
pub fn entries_per_page(page_size: u32) -> u32 {
    (page_size as usize).saturating_sub(HEAD_LEN + NextPair::LEN).div_euclid(ENTRY_LEN) as u32
}

/// The payload of a map page.
#[must_use]
pub fn encode(next: NextPair, entries: &[MapEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(NextPair::LEN + entries.len() * ENTRY_LEN);
    next.put(&mut out);
    for entry in entries {
        let (address, crc) = match *entry {
            MapEntry::Unmapped => (NO_PAGE, 0),
            MapEntry::Lost => (LOST_PAGE, 0),
            MapEntry::At { address, crc } => (address, crc),
        };
        out.put_u32(address);
        out.put_u32(crc);
    }
    out
}

/// The entries in the payload of a map page.
///
/// # Errors
/// When it is not made of entries.
pub fn decode(payload: &[u8]) -> Result<Vec<MapEntry>, PageError> {
    let mut fields = Reader(payload);
    NextPair::read(&mut fields).ok_or(PageError::Malformed("length"))?;
    let (entries, rest) = fields.0.as_chunks::<ENTRY_LEN>();
    if !rest.is_empty() {
        return Err(PageError::Malformed("length"));
    }
    let entry = |bytes: &[u8; ENTRY_LEN]| {
        let word = u64::from_le_bytes(*bytes);
        match word as u32 {
            NO_PAGE => MapEntry::Unmapped,
            LOST_PAGE => MapEntry::Lost,
            address => MapEntry::At { address, crc: (word >> 32) as u32 },
        }
    };
    Ok(entries.iter().map(entry).collect())
}
