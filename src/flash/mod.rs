//! The chip: what an FTL may ask of it, and what it may find after the power went.
//!
//! [`FlashHardware`] is the whole contract. A raw image in a file ([`image`]) and a simulator in RAM ([`sim`])
//! implement it; [`faults`] wraps either and breaks it on purpose. Nothing here knows of an FTL.

#[cfg(feature = "std")]
pub mod bad_map;
pub mod blank;
#[cfg(feature = "std")]
pub mod chip_file;
pub mod chips;
#[cfg(feature = "std")]
pub mod corrections;
pub mod dump;
pub mod faults;
#[cfg(feature = "std")]
pub mod file_io;
mod geometry;
#[cfg(feature = "std")]
pub mod image;
mod latent;
mod marker;
// It counts reads, through a shared reference.
#[cfg(target_has_atomic = "ptr")]
pub mod sim;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::layout::Layout;
pub use geometry::{Block, Geometry, GeometryError, PageAddr};
pub use marker::BadBlockMarker;

/// What the FTL asks of a chip.
///
/// # The rules of NAND, which a caller keeps
/// * A page is programmed once between two erases of its block, and pages of a block in ascending order.
/// * A block that is marked bad is neither erased nor programmed.
///
/// # What an interrupted operation may leave
/// When the power goes during an operation, that operation may have been done not at all, wholly, or in part:
/// * a page being programmed may hold any bytes, or be unreadable;
/// * a block being erased may hold any mixture of its old bytes, erased bytes and garbage, or be unreadable;
/// * a block that was erased and is being programmed may still hold its old bytes past the last programmed page
///   (an implementation may defer an erase into the programs that follow it).
///
/// Everything before the last [`sync`](Self::sync) stays as it was. What came after it, up to the interrupted
/// operation, may have reached the chip in any order.
pub trait FlashHardware {
    /// The shape of the volume.
    fn geometry(&self) -> &Geometry;

    /// Read data bytes of one block into `buf`, starting `offset` data bytes into it. A range may cross pages, not
    /// the end of the block. Erased bytes read as 0xFF. Bad blocks may be read.
    ///
    /// # Errors
    /// [`FlashError::Unreadable`] names the first page of the range that cannot be read; the content of `buf` is
    /// then unspecified.
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError>;

    /// The same from the start of a page on, for as many bytes as `buf` has.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn read_pages(&self, from: PageAddr, buf: &mut [u8]) -> Result<(), FlashError> {
        self.read(from.block, from.page * self.geometry().page_size(), buf)
    }

    /// Program one whole page with `data` (exactly `page_size` bytes).
    ///
    /// # Errors
    /// [`FlashError::Failed`] when the chip reports that the program failed: the block is then to be given up.
    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError>;

    /// Erase one block: all its bytes, spare included, read as 0xFF afterwards.
    ///
    /// # Errors
    /// [`FlashError::Failed`] when the chip reports that the erase failed: the block is then to be given up.
    fn erase(&mut self, block: Block) -> Result<(), FlashError>;

    /// Whether the chip says that `block` is bad (by its factory or by [`mark_bad`](Self::mark_bad)).
    ///
    /// # Errors
    /// When the mark could not be looked up.
    fn is_bad(&self, block: Block) -> Result<bool, FlashError>;

    /// Mark `block` as bad, for good. The rest of the block is left as it is, as far as the chip can.
    ///
    /// # Errors
    /// When the mark could not be set.
    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError>;

    /// Whether the chip itself carries bad-block marks. Where it does not, a block that an FTL holds for bad has no
    /// mark to agree with.
    fn carries_marks(&self) -> bool;

    /// Make everything done so far durable, and order it before everything that follows.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn sync(&mut self) -> Result<(), FlashError>;

    /// How the raw pages of the chip are laid out, where that is to be recorded for whoever opens its image next.
    fn page_layout(&self) -> Option<PageLayoutTag> {
        None
    }

    /// Where `page` starts in a raw image of the chip, in bytes: for messages.
    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.geometry().raw_offset(page)
    }
}

/// Which layout raw pages have; to be recorded, and recognised by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageLayoutTag {
    /// [`Layout::fingerprint`](crate::layout::Layout::fingerprint).
    pub fingerprint: u32,
    /// Its name, filled up with zeros, cut off where it is longer.
    pub name: [u8; 24],
}

impl PageLayoutTag {
    /// That of `layout`.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let mut name = [0; 24];
        name.iter_mut().zip(layout.name().bytes()).for_each(|(to, byte)| *to = byte);
        Self { fingerprint: layout.fingerprint(), name }
    }

    /// Its name, as far as it is recorded.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.name.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

/// The blocks that a chip says are bad, in order.
///
/// # Errors
/// When a mark could not be looked up.
pub fn marked_blocks<H: FlashHardware + ?Sized>(hw: &H) -> Result<Vec<Block>, FlashError> {
    let mut marked = Vec::new();
    for block in hw.geometry().iter_blocks() {
        if hw.is_bad(block)? {
            marked.push(block);
        }
    }
    Ok(marked)
}

impl<H: FlashHardware + ?Sized> FlashHardware for &mut H {
    fn geometry(&self) -> &Geometry {
        (**self).geometry()
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        (**self).read(block, offset, buf)
    }
    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        (**self).program(page, data)
    }
    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        (**self).erase(block)
    }
    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        (**self).is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        (**self).mark_bad(block)
    }
    fn carries_marks(&self) -> bool {
        (**self).carries_marks()
    }
    fn sync(&mut self) -> Result<(), FlashError> {
        (**self).sync()
    }
    fn page_layout(&self) -> Option<PageLayoutTag> {
        (**self).page_layout()
    }
    fn raw_offset(&self, page: PageAddr) -> u64 {
        (**self).raw_offset(page)
    }
}

/// A chip to be looked at only: whoever holds it cannot change a byte.
#[derive(Debug)]
pub struct Inspected<'a, H: ?Sized>(pub &'a H);

impl<H: FlashHardware + ?Sized> FlashHardware for Inspected<'_, H> {
    fn geometry(&self) -> &Geometry {
        self.0.geometry()
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        self.0.read(block, offset, buf)
    }
    fn program(&mut self, page: PageAddr, _: &[u8]) -> Result<(), FlashError> {
        Err(FlashError::Io(alloc::format!("{page} is not to be programmed: the chip is only looked at")))
    }
    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        Err(FlashError::Io(alloc::format!("{block} is not to be erased: the chip is only looked at")))
    }
    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        self.0.is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        Err(FlashError::Io(alloc::format!("{block} is not to be marked: the chip is only looked at")))
    }
    fn carries_marks(&self) -> bool {
        self.0.carries_marks()
    }
    fn sync(&mut self) -> Result<(), FlashError> {
        Ok(())
    }
    fn page_layout(&self) -> Option<PageLayoutTag> {
        self.0.page_layout()
    }
    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.0.raw_offset(page)
    }
}

/// An operation of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Operation {
    /// Erase of a block.
    Erase,
    /// Program of a page.
    Program,
    /// Read of a page.
    Read,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erase => "erase",
            Self::Program => "program",
            Self::Read => "read",
        })
    }
}

/// What a chip, or what stands in for it, answers when it cannot do as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The chip reported that an erase or a program failed. The block is worn out or broken.
    #[error("{operation} of {at} (offset {offset:#x}) failed")]
    Failed {
        /// What failed.
        operation: Operation,
        /// Where; page 0 for an erase.
        at: PageAddr,
        /// The same place, in bytes from the start of a raw image.
        offset: u64,
    },
    /// A page cannot be read: more flipped bits than its ECC corrects.
    #[error("{at} (offset {offset:#x}) cannot be read")]
    Unreadable {
        /// Where.
        at: PageAddr,
        /// The same place, in bytes from the start of a raw image.
        offset: u64,
    },
    /// The chip no longer answers: its power went.
    #[error("the chip has no power")]
    PowerLost,
    /// What carries the chip is not what the geometry says.
    #[error("{0}")]
    Unfit(String),
    /// What carries the chip (a file, a bus) failed; says nothing about the block.
    #[error("{0}")]
    Io(String),
}

impl FlashError {
    /// Whether it is the block that failed, so that another one may do.
    #[must_use]
    pub fn is_block_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}
