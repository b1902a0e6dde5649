//! What can go wrong with a volume, as sentences that say where, what was expected and what was found.

use alloc::string::String;

use thiserror::Error;

use crate::flash::{Block, FlashError, GeometryError};
use crate::onflash::ftlj::TooSmall;

/// An operation on a volume that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The chip, or what carries it, failed.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The sizes given do not make a chip.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The chip is too small for the format.
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    /// The volume needs what is not known here.
    #[error("{0}")]
    Unsupported(String),
    /// The format cannot be used with this geometry.
    #[error("{0}")]
    UnsuitableGeometry(String),
    /// A block that the format needs at a fixed place is bad.
    #[error(
        "{block} is marked bad, and it belongs to metadata {slot}, which the block-mapped format keeps at a fixed place: choose a geometry or first block that leaves it out"
    )]
    BadSlotBlock {
        /// The block.
        block: Block,
        /// Which slot it belongs to.
        slot: &'static str,
    },
    /// There is no trace of a volume.
    #[error("there is no volume here: {0}")]
    NotFormatted(String),
    /// There is a volume, and it cannot be mounted.
    #[error("the volume does not mount: {0}")]
    Unmountable(String),
    /// The volume, or the chip, says something else than was asked for.
    #[error("geometry mismatch: {0}")]
    GeometryMismatch(String),
    /// The volume cannot be written.
    #[error("the volume is read-only: {0}")]
    ReadOnly(String),
    /// A range lies past the end of what can be read, or written.
    #[error("offset {offset} + {length} bytes is past the end of the volume at {end}")]
    OutOfRange {
        /// First byte of the range.
        offset: u64,
        /// Bytes in the range.
        length: u64,
        /// The end it passes.
        end: u64,
    },
    /// The data does not fit.
    #[error("the volume cannot hold {needed} bytes: its capacity is {capacity}")]
    TooLarge {
        /// Logical length the operation needs.
        needed: u64,
        /// The largest logical length that can be written.
        capacity: u64,
    },
    /// No erased or erasable block is left to copy to.
    #[error("no free block is left: {good} good data blocks, {in_use} in use")]
    NoFreeBlock {
        /// Data blocks that are not bad.
        good: u32,
        /// Data blocks that hold data.
        in_use: u32,
    },
    /// Logical bytes that cannot be read.
    #[error("logical bytes {offset}..{} cannot be read: {reason}", offset + length)]
    Unreadable {
        /// First logical byte that cannot be read.
        offset: u64,
        /// How many; up to the end of the smallest unit that fails.
        length: u64,
        /// Where that is on the chip, if anywhere.
        at: Option<crate::flash::PageAddr>,
        /// Why.
        reason: String,
    },
}

/// The result of an operation on a volume.
pub type Result<T> = core::result::Result<T, Error>;
