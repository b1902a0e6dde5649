//! The engine for the page-mapped format.

use alloc::string::String;
use alloc::vec::Vec;

use super::any::{FormatOptions, ReservedBlocks};
use super::wear::WearPolicy;
use super::{BlockUse, MetadataCopy, Volume};
use crate::error::Result;
use crate::flash::{Block, FlashHardware};

/// How to mount.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Refuse to write.
    pub read_only: bool,
    /// Mount from the anchor with this sequence number; read-only unless it is the newest.
    pub sequence: Option<u64>,
    /// When to level wear, if not as the volume says.
    pub wear: Option<WearPolicy>,
    /// Map pages to keep in RAM.
    pub cached_map_pages: usize,
}

impl Default for Mount {
    fn default() -> Self {
        Self { read_only: false, sequence: None, wear: None, cached_map_pages: usize::MAX }
    }
}

/// Whether anything on the chip shows a volume of this format.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn shows_a_volume<H: FlashHardware>(_: &H) -> Result<bool> {
    Ok(false)
}

/// The anchors and the checkpoint on `hw`, also where they cannot be mounted.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn metadata<H: FlashHardware>(_: &H) -> Result<Vec<MetadataCopy>> {
    unimplemented!()
}

/// A mounted volume of the page-mapped format.
#[derive(Debug)]
pub struct PageVolume<H> {
    hw: H,
}

impl<H: FlashHardware> PageVolume<H> {
    /// Mount the volume on `hw`.
    ///
    /// # Errors
    /// Where there is none, or it cannot be used.
    pub fn mount(_: H, _: &Mount) -> Result<Self> {
        unimplemented!()
    }

    /// The chip the volume lies on.
    pub fn flash(&self) -> &H {
        &self.hw
    }

    /// Give up what is staged, and the volume; the chip is left.
    pub fn into_flash(self) -> H {
        self.hw
    }
}

impl<H: FlashHardware> Volume for PageVolume<H> {
    fn len(&self) -> u64 {
        unimplemented!()
    }
    fn mapped_end(&self) -> u64 {
        unimplemented!()
    }
    fn capacity(&self) -> u64 {
        unimplemented!()
    }
    fn read(&self, _: u64, _: &mut [u8]) -> Result<()> {
        unimplemented!()
    }
    fn check_write(&self, _: u64, _: u64) -> Result<()> {
        unimplemented!()
    }
    fn write(&mut self, _: u64, _: &[u8]) -> Result<()> {
        unimplemented!()
    }
    fn set_len(&mut self, _: u64) -> Result<()> {
        unimplemented!()
    }
    fn discard(&mut self, _: u64, _: u64) -> Result<()> {
        unimplemented!()
    }
    fn sync(&mut self) -> Result<()> {
        unimplemented!()
    }
    fn rollback(&mut self) {
        unimplemented!()
    }
    fn write_unit(&self) -> u64 {
        unimplemented!()
    }
    fn sequence(&self) -> u64 {
        unimplemented!()
    }
    fn metadata(&self) -> Vec<MetadataCopy> {
        unimplemented!()
    }
    fn fallback(&self) -> Option<&str> {
        unimplemented!()
    }
    fn commits(&self) -> u64 {
        unimplemented!()
    }
    fn read_only(&self) -> Option<&str> {
        unimplemented!()
    }
    fn warnings(&self) -> &[String] {
        unimplemented!()
    }
    fn bad_blocks(&self) -> Vec<Block> {
        unimplemented!()
    }
    fn erase_counts(&self) -> &[u32] {
        unimplemented!()
    }
    fn block_use(&self, _: Block) -> BlockUse {
        unimplemented!()
    }
    fn mapped_units(&self) -> u64 {
        unimplemented!()
    }
    fn free_blocks(&self) -> u64 {
        unimplemented!()
    }
}

/// What a format would do: a plan that only looked, and can be carried out.
#[derive(Clone, Debug)]
pub struct FormatPlan;

impl FormatPlan {
    /// Look at the chip and plan a fresh volume on it.
    ///
    /// # Errors
    /// When the geometry does not suit the format, or too many blocks are bad.
    pub fn new<H: FlashHardware>(_: &H, _: &FormatOptions) -> Result<Self> {
        unimplemented!()
    }
    /// The largest logical length the fresh volume can take, in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        unimplemented!()
    }
    /// What the other blocks are for.
    #[must_use]
    pub fn reserved(&self) -> Vec<ReservedBlocks> {
        unimplemented!()
    }
    /// Bad blocks.
    #[must_use]
    pub fn bad_blocks(&self) -> Vec<Block> {
        unimplemented!()
    }
    /// Whether erase counts of a volume that is there are carried over.
    #[must_use]
    pub fn carries_wear_over(&self) -> bool {
        unimplemented!()
    }
    /// Make the fresh volume.
    ///
    /// # Errors
    /// When the chip fails.
    pub fn execute<H: FlashHardware>(self, _: &mut H) -> Result<()> {
        unimplemented!()
    }
}
