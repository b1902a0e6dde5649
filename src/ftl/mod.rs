//! The flash translation layers, behind one [`Volume`].
//!
//! [`block`] is the engine for the block-mapped format. Policy that does not depend on a format ([`wear`],
//! [`bad_blocks`]) stands beside it: decisions there are pure, only an engine's write path programs or erases.

pub mod bad_blocks;
pub mod block;
pub mod wear;

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Result;
use crate::flash::Block;

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

    /// Make all that is staged take effect, durably.
    ///
    /// # Errors
    /// When it could not be done; what was staged is given up.
    fn sync(&mut self) -> Result<()>;

    /// Give up all that is staged.
    fn rollback(&mut self);

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

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockUse {
    /// It is bad, whatever it holds.
    Bad,
    /// It holds metadata, at a fixed place.
    Metadata {
        /// The role it plays.
        role: &'static str,
    },
    /// It holds data.
    Data,
    /// It is set aside and holds nothing.
    Reserved,
    /// It holds nothing that counts.
    Free,
}
