//! The records of the page-mapped format: see *Page-mapped format* in the [specification](super).
//!
//! What is decoded here is *well-formed*, not *believed*: an address may still point anywhere.

pub mod anchor;
mod cursor;
pub mod head;
pub mod log;
pub mod map;
pub mod summary;
pub mod tables;

use alloc::vec::Vec;

use cursor::{Put, Reader};

/// No page: a logical page that is stored nowhere, an entry that says nothing.
pub const NO_PAGE: u32 = u32::MAX;
/// In place of an address: the page that held it could not be read.
pub const LOST_PAGE: u32 = u32::MAX - 1;
/// The largest host clock there is.
pub const MAX_CLOCK: u64 = (1 << 40) - 1;
/// No block.
pub const NO_BLOCK: u32 = u32::MAX;

/// What a physical page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPage {
    /// The logical page.
    pub logical: u32,
    /// CRC-32 of its content.
    pub crc: u32,
    /// The host clock when the host wrote it; kept by garbage collection.
    pub stamp: u64,
}

/// The two blocks that the chain of metadata goes on in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPair(pub u32, pub u32);

impl NextPair {
    /// Bytes it takes.
    pub const LEN: usize = 8;
    /// There is none.
    pub const NONE: Self = Self(NO_BLOCK, NO_BLOCK);

    fn put(self, out: &mut Vec<u8>) {
        out.put_u32(self.0);
        out.put_u32(self.1);
    }

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        Some(Self(fields.u32()?, fields.u32()?))
    }

    /// The pair that the payload of a page of the chain names.
    #[must_use]
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        Self::read(&mut Reader(payload))
    }
}
