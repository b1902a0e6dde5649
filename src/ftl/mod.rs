//! The flash translation layers, behind one [`Volume`].
//!
//! [`block`] is the engine for the block-mapped format, [`page`] the one for the page-mapped; [`any`] is whichever an image
//! holds. Policy that does not depend on a format ([`wear`], [`bad_blocks`], [`gc`]) stands beside them: decisions there are
//! pure, only an engine's write path programs or erases. What is written is staged by one piece of code (`staging`), which an
//! engine tells where units lie and how one is placed.

pub mod any;
pub mod bad_blocks;
pub mod block;
mod erase;
pub mod gc;
pub mod page;
mod staging;
pub mod wear;

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Result;
use crate::flash::{Block, PageAddr};

pub use any::{AnyFormatPlan, AnyVolume, Mapping, MountOptions};

/// A mounted volume: bytes `0..len` on a chip that takes care of itself.
///
/// Reading goes through `&self`, so any number of readers can share a volume; what changes it needs `&mut self`.
///
/// Changes are *staged*: they are seen by reads at once, and neither durable nor visible to a later mount before
/// [`sync`](Self::sync). All that is staged when `sync` is called takes effect as one, or not at all, whenever the power
/// goes, as long as it fits the free blocks; more than that takes effect in parts, each atomic, in the order of writing.
pub trait Volume {
    /// Logical length in bytes.
    fn len(&self) -> u64;

    /// Where what the volume's map can describe ends, in bytes; before [`len`](Self::len) only in a damaged volume.
    fn mapped_end(&self) -> u64;

    /// Whether there is no byte in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest logical length that can be written.
    fn capacity(&self) -> u64;

    /// Read `buf.len()` bytes from `offset` on. What was never written reads as zeros.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) past the end, [`Error::Unreadable`](crate::Error::Unreadable)
    /// with the first logical bytes that cannot be read.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Whether a write of `length` bytes at `offset` would be refused before anything is changed.
    ///
    /// # Errors
    /// With which it would be refused.
    fn check_write(&self, offset: u64, length: u64) -> Result<()>;

    /// Stage a write of `data` at `offset`, lengthening the volume where it ends past it. A gap is zeros.
    ///
    /// # Errors
    /// When it does not fit (nothing is changed), or the chip fails (all that is staged is given up).
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()>;

    /// Stage a new logical length. What is cut off is gone; what is added is zeros.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn set_len(&mut self, len: u64) -> Result<()>;

    /// Stage giving up `length` bytes from `offset` on, as a trim does: they read as zeros from then on. The length of the
    /// volume stays; what lies past it is ignored.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn discard(&mut self, offset: u64, length: u64) -> Result<()>;

    /// Make all that is staged take effect, durably.
    ///
    /// # Errors
    /// When it could not be done; what was staged is given up.
    fn sync(&mut self) -> Result<()>;

    /// Give up all that is staged.
    fn rollback(&mut self);

    /// Sync, and leave the volume so that the next mount has least to do. It can be written on.
    ///
    /// # Errors
    /// As for [`sync`](Self::sync).
    fn end(&mut self) -> Result<()> {
        self.sync()
    }

    /// Bytes that are best written at once, beginning at a multiple of them.
    fn write_unit(&self) -> u64;

    /// The sequence number of the metadata in use.
    fn sequence(&self) -> u64;

    /// The copies of the metadata, as the mount found them.
    fn metadata(&self) -> Vec<MetadataCopy>;

    /// Why the mount had to fall back on older or partial metadata, if so.
    fn fallback(&self) -> Option<&str>;

    /// How often staged changes have taken effect since the mount; moves that level wear do not count.
    fn commits(&self) -> u64;

    /// Why nothing can be written, if so.
    fn read_only(&self) -> Option<&str>;

    /// What the mount found that its user should hear of, as sentences.
    fn warnings(&self) -> &[String];

    /// Blocks that are bad by the volume's table or the chip's marks, in order.
    fn bad_blocks(&self) -> Vec<Block>;

    /// How often each block has been erased, as far as the volume counted, by block.
    fn erase_counts(&self) -> &[u32];

    /// What `block` is used for.
    fn block_use(&self, block: Block) -> BlockUse;

    /// Logical units (blocks or pages) that are stored somewhere.
    fn mapped_units(&self) -> u64;

    /// Blocks that could be written next.
    fn free_blocks(&self) -> u64;
}

/// What [`Volume::read_only`] says of a volume that could be written, had it not been mounted to look only.
pub const MOUNTED_READ_ONLY: &str = "it was mounted read-only";

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockUse {
    /// It is bad, whatever it holds.
    Bad,
    /// It holds metadata.
    Metadata {
        /// The role it plays.
        role: &'static str,
        /// Its place is fixed, so that it takes no part in wear levelling.
        fixed: bool,
    },
    /// It holds data.
    Data,
    /// It is set aside and holds nothing.
    Reserved,
    /// It holds nothing that counts.
    Free,
}

/// A copy of the metadata, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataCopy {
    /// Which one it is, for a report.
    pub location: String,
    /// Where it begins.
    pub at: PageAddr,
    /// Its state.
    pub state: CopyState,
    /// Its sequence number, if it is well-formed.
    pub sequence: Option<u64>,
}

/// The state of a copy of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// The volume is mounted from it.
    Current,
    /// Whole, and not the one in use.
    Stale,
    /// Torn, damaged, or unusable.
    Torn,
    /// Erased.
    Empty,
}

impl CopyState {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Stale => "stale",
            Self::Torn => "torn",
            Self::Empty => "empty",
        }
    }
}
