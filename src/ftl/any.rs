//! Whichever format a chip holds: the volume and the format plan of either, chosen when the program runs.

use alloc::string::String;
use alloc::vec::Vec;

use super::block::{self, BlockVolume};
use super::page::{self, PageVolume};
use super::wear::WearPolicy;
use super::{BlockUse, MetadataCopy, Volume};
use crate::error::Result;
use crate::flash::{Block, FlashHardware};

/// Which flash translation layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The block-mapped format of shodh-redb.
    Block,
    /// The page-mapped format.
    Page,
}

impl Mapping {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Page => "page",
        }
    }

    /// The format of what is on the chip, by its metadata; the block-mapped one where nothing shows. Pages of a page-mapped volume
    /// without an anchor may be left from before a format.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn detect<H: FlashHardware>(hw: &H) -> Result<Self> {
        if page::shows_an_anchor(hw)? {
            return Ok(Self::Page);
        }
        let is_block = block::Survey::read(hw).is_ok_and(|survey| survey.choose(None).is_ok());
        Ok(if !is_block && page::shows_a_volume(hw)? { Self::Page } else { Self::Block })
    }
}

/// How to mount a volume of either format.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions {
    /// Refuse to write.
    pub read_only: bool,
    /// Mount from the metadata with this sequence number; read-only unless it is the newest.
    pub sequence: Option<u64>,
}

impl MountOptions {
    /// To look only.
    #[must_use]
    pub fn read_only() -> Self {
        Self { read_only: true, ..Self::default() }
    }
}

/// A mounted volume of either format.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum AnyVolume<H> {
    /// A block-mapped one.
    Block(BlockVolume<H>),
    /// A page-mapped one.
    Page(PageVolume<H>),
}

/// The same call on whichever volume it is.
macro_rules! either {
    ($any:expr, $volume:ident => $call:expr) => {
        match $any {
            AnyVolume::Block($volume) => $call,
            AnyVolume::Page($volume) => $call,
        }
    };
}

impl<H: FlashHardware> AnyVolume<H> {
    /// Mount the volume on `hw`, which is of that format.
    ///
    /// # Errors
    /// As for [`BlockVolume::mount`] and [`PageVolume::mount`].
    pub fn mount(hw: H, mapping: Mapping, options: &MountOptions) -> Result<Self> {
        let &MountOptions { read_only, sequence } = options;
        Ok(match mapping {
            Mapping::Block => {
                let options = block::Mount { read_only, sequence, ..block::Mount::default() };
                Self::Block(BlockVolume::mount(hw, &options)?)
            }
            Mapping::Page => {
                let options = page::Mount { read_only, sequence, ..page::Mount::default() };
                Self::Page(PageVolume::mount(hw, &options)?)
            }
        })
    }

    /// Its format.
    pub fn mapping(&self) -> Mapping {
        match self {
            Self::Block(_) => Mapping::Block,
            Self::Page(_) => Mapping::Page,
        }
    }

    /// The metadata that the volume was mounted from, and all other that it could be mounted from.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn all_metadata(&self) -> Result<Vec<MetadataCopy>> {
        match self {
            Self::Block(volume) => Ok(volume.metadata()),
            Self::Page(volume) => volume.all_metadata(),
        }
    }

    /// When wear is levelled.
    pub fn wear_policy(&self) -> WearPolicy {
        either!(self, volume => volume.wear_policy())
    }

    /// Level wear by another policy from now on.
    pub fn set_wear_policy(&mut self, wear: WearPolicy) {
        either!(self, volume => volume.set_wear_policy(wear));
    }

    /// The chip the volume lies on.
    pub fn flash(&self) -> &H {
        either!(self, volume => volume.flash())
    }

    /// Give up what is staged, and the volume; the chip is left.
    pub fn into_flash(self) -> H {
        either!(self, volume => volume.into_flash())
    }
}

/// The copies of the metadata on `hw`, also where none of them can be mounted.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn metadata<H: FlashHardware>(hw: &H, mapping: Mapping) -> Result<Vec<MetadataCopy>> {
    Ok(match mapping {
        Mapping::Block => {
            block::Survey::read(hw)?.copies().iter().map(block::MetadataCopy::to_report).collect()
        }
        Mapping::Page => page::metadata(hw)?,
    })
}

impl<H: FlashHardware> Volume for AnyVolume<H> {
    fn len(&self) -> u64 {
        either!(self, volume => volume.len())
    }
    fn mapped_end(&self) -> u64 {
        either!(self, volume => volume.mapped_end())
    }
    fn capacity(&self) -> u64 {
        either!(self, volume => volume.capacity())
    }
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        either!(self, volume => volume.read(offset, buf))
    }
    fn check_write(&self, offset: u64, length: u64) -> Result<()> {
        either!(self, volume => volume.check_write(offset, length))
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        either!(self, volume => volume.write(offset, data))
    }
    fn set_len(&mut self, len: u64) -> Result<()> {
        either!(self, volume => volume.set_len(len))
    }
    fn discard(&mut self, offset: u64, length: u64) -> Result<()> {
        either!(self, volume => volume.discard(offset, length))
    }
    fn sync(&mut self) -> Result<()> {
        either!(self, volume => volume.sync())
    }
    fn rollback(&mut self) {
        either!(self, volume => volume.rollback());
    }
    fn end(&mut self) -> Result<()> {
        either!(self, volume => volume.end())
    }
    fn write_unit(&self) -> u64 {
        either!(self, volume => volume.write_unit())
    }
    fn sequence(&self) -> u64 {
        either!(self, volume => volume.sequence())
    }
    fn metadata(&self) -> Vec<MetadataCopy> {
        either!(self, volume => volume.metadata())
    }
    fn fallback(&self) -> Option<&str> {
        either!(self, volume => volume.fallback())
    }
    fn commits(&self) -> u64 {
        either!(self, volume => volume.commits())
    }
    fn read_only(&self) -> Option<&str> {
        either!(self, volume => volume.read_only())
    }
    fn warnings(&self) -> &[String] {
        either!(self, volume => volume.warnings())
    }
    fn bad_blocks(&self) -> Vec<Block> {
        either!(self, volume => volume.bad_blocks())
    }
    fn erase_counts(&self) -> &[u32] {
        either!(self, volume => volume.erase_counts())
    }
    fn block_use(&self, block: Block) -> BlockUse {
        either!(self, volume => volume.block_use(block))
    }
    fn mapped_units(&self) -> u64 {
        either!(self, volume => volume.mapped_units())
    }
    fn free_blocks(&self) -> u64 {
        either!(self, volume => volume.free_blocks())
    }
}

/// What to make of a chip.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// Blocks that are about to be marked bad.
    pub also_bad: Vec<Block>,
    /// Begin all erase counts at 0.
    pub reset_wear: bool,
    /// Do not even look for a volume that is there: its block numbers mean nothing in this geometry.
    pub afresh: bool,
    /// Room for what the volume itself needs, in percent of the good blocks; page-mapped only.
    pub spare_percent: Option<u32>,
}

/// Blocks that do not add to the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedBlocks {
    /// What for: a name for scripts.
    pub key: &'static str,
    /// What for: words for people.
    pub title: &'static str,
    /// How many.
    pub blocks: u32,
}

/// What a format would do: a plan that only looked, and can be carried out.
#[derive(Clone, Debug)]
pub enum AnyFormatPlan {
    /// A fresh block-mapped volume.
    Block(block::FormatPlan),
    /// A fresh page-mapped volume.
    Page(page::FormatPlan),
}

impl AnyFormatPlan {
    /// Look at the chip and plan a fresh volume on it.
    ///
    /// # Errors
    /// When the geometry does not suit the format, or too many blocks are bad.
    pub fn new<H: FlashHardware>(hw: &H, mapping: Mapping, options: &FormatOptions) -> Result<Self> {
        Ok(match mapping {
            Mapping::Block if options.afresh => {
                Self::Block(block::FormatPlan::afresh(hw, &options.also_bad)?)
            }
            Mapping::Block => {
                let carry = !options.reset_wear;
                Self::Block(block::FormatPlan::with_bad_blocks(hw, carry, &options.also_bad)?)
            }
            Mapping::Page => Self::Page(page::FormatPlan::new(hw, options)?),
        })
    }

    /// The format of the fresh volume.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        match self {
            Self::Block(_) => Mapping::Block,
            Self::Page(_) => Mapping::Page,
        }
    }

    /// The largest logical length the fresh volume can take, in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Block(plan) => plan.capacity(),
            Self::Page(plan) => plan.capacity(),
        }
    }

    /// What the other blocks are for.
    #[must_use]
    pub fn reserved(&self) -> Vec<ReservedBlocks> {
        match self {
            Self::Block(plan) => {
                let reserved = plan.reserved();
                let row = |key, title, blocks| ReservedBlocks { key, title, blocks };
                Vec::from([
                    row("metadata", "metadata, two slots", reserved.metadata),
                    row("untouched", "left untouched by the format", reserved.untouched),
                    row("copy_on_write", "copy-on-write", reserved.copy_on_write),
                    row("bad", "bad data blocks", reserved.bad),
                ])
            }
            Self::Page(plan) => plan.reserved(),
        }
    }

    /// Bad blocks, by the old volume's table and the chip's marks.
    #[must_use]
    pub fn bad_blocks(&self) -> Vec<Block> {
        match self {
            Self::Block(plan) => plan.bad_blocks(),
            Self::Page(plan) => plan.bad_blocks(),
        }
    }

    /// Whether erase counts of a volume that is there are carried over.
    #[must_use]
    pub fn carries_wear_over(&self) -> bool {
        match self {
            Self::Block(plan) => plan.carries_wear_over(),
            Self::Page(plan) => plan.carries_wear_over(),
        }
    }

    /// Make the fresh volume. The plan comes back as it was carried out: blocks that failed are bad in it.
    ///
    /// # Errors
    /// When the chip fails.
    pub fn execute<H: FlashHardware>(self, hw: &mut H) -> Result<Self> {
        Ok(match self {
            Self::Block(plan) => Self::Block(plan.execute(hw)?),
            Self::Page(plan) => Self::Page(plan.execute(hw)?),
        })
    }
}
