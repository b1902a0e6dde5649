//! The anchor: the superblock of a checkpoint. See *Anchors* in the [specification](crate::onflash).

use alloc::vec::Vec;

use super::cursor::{Put, Reader};
use super::head::PageError;

/// The version of the format.
pub const VERSION: u16 = 1;
/// Incompatible features that are understood, as bits: none is defined.
pub const INCOMPATIBLE: u32 = 0;
/// Bytes of an anchor's payload.
pub const ANCHOR_LEN: usize = 122;
/// Bytes for the name of a page layout.
pub const LAYOUT_NAME_LEN: usize = 24;

/// What an anchor says of the volume and of its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Version of the format.
    pub version: u16,
    /// Features without which the volume cannot be understood, as bits.
    pub incompatible: u32,
    /// Data bytes a page.
    pub page_size: u32,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Pages an erase block.
    pub pages_per_block: u32,
    /// Erase blocks of the volume.
    pub blocks: u32,
    /// Rated erase cycles; 0 where they are not known.
    pub max_erase_cycles: u32,
    /// Blocks of the anchor zone.
    pub zone_blocks: u16,
    /// Pages of a data block's summary.
    pub summary_pages: u8,
    /// Streams that data is kept apart in.
    pub classes: u8,
    /// Logical pages that can be written.
    pub capacity_pages: u32,
    /// Blocks kept for those that fail.
    pub reserve_blocks: u32,
    /// Erases between two checks of static wear levelling.
    pub wear_interval: u32,
    /// Difference in erase counts at which it acts.
    pub wear_threshold: u32,
    /// Logical length in bytes.
    pub logical_len: u64,
    /// Host clock: pages written by the host until the checkpoint.
    pub clock: u64,
    /// The two blocks where the checkpoint's directory begins, and the page in both.
    pub body: (u32, u32, u32),
    /// Pages of the directory.
    pub directory_pages: u32,
    /// Pages of the block table, which follow.
    pub table_pages: u32,
    /// Log pages that are a part of the checkpoint, at the least: a snapshot of the changes to the map.
    pub snapshot_pages: u16,
    /// The number that the next log page has.
    pub next_log: u64,
    /// How the raw pages of the chip are laid out: the CRC-32 of what it means, 0 where nothing is recorded.
    pub page_layout: u32,
    /// What that is called; filled up with zeros, cut off where it is longer.
    pub page_layout_name: [u8; LAYOUT_NAME_LEN],
}

impl Anchor {
    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ANCHOR_LEN);
        out.put_u16(self.version);
        out.put_u16(0);
        out.put_u32(self.incompatible);
        for n in [self.page_size, self.spare_size, self.pages_per_block, self.blocks, self.max_erase_cycles] {
            out.put_u32(n);
        }
        out.put_u16(self.zone_blocks);
        out.put_u8(self.summary_pages);
        out.put_u8(self.classes);
        for n in [self.capacity_pages, self.reserve_blocks, self.wear_interval, self.wear_threshold] {
            out.put_u32(n);
        }
        out.put_u64(self.logical_len);
        out.put_u64(self.clock);
        for n in [self.body.0, self.body.1, self.body.2, self.directory_pages, self.table_pages] {
            out.put_u32(n);
        }
        out.put_u16(self.snapshot_pages);
        out.put_u64(self.next_log);
        out.put_u32(self.page_layout);
        out.put(&self.page_layout_name);
        debug_assert_eq!(out.len(), ANCHOR_LEN);
        out
    }

    /// The anchor in `payload`; what follows it is ignored.
    ///
    /// # Errors
    /// When it is too short. The version and the features are the caller's to judge.
    pub fn decode(payload: &[u8]) -> Result<Self, PageError> {
        Self::read(Reader(payload)).ok_or(PageError::Malformed("length"))
    }

    fn read(mut fields: Reader<'_>) -> Option<Self> {
        let version = fields.u16()?;
        fields.u16()?;
        Some(Self {
            version,
            incompatible: fields.u32()?,
            page_size: fields.u32()?,
            spare_size: fields.u32()?,
            pages_per_block: fields.u32()?,
            blocks: fields.u32()?,
            max_erase_cycles: fields.u32()?,
            zone_blocks: fields.u16()?,
            summary_pages: fields.u8()?,
            classes: fields.u8()?,
            capacity_pages: fields.u32()?,
            reserve_blocks: fields.u32()?,
            wear_interval: fields.u32()?,
            wear_threshold: fields.u32()?,
            logical_len: fields.u64()?,
            clock: fields.u64()?,
            body: (fields.u32()?, fields.u32()?, fields.u32()?),
            directory_pages: fields.u32()?,
            table_pages: fields.u32()?,
            snapshot_pages: fields.u16()?,
            next_log: fields.u64()?,
            // An anchor may end here: then nothing is recorded.
            page_layout: fields.u32().unwrap_or(0),
            page_layout_name: fields
                .bytes(LAYOUT_NAME_LEN)
                .and_then(|name| name.try_into().ok())
                .unwrap_or_default(),
        })
    }
}
