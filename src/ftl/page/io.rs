//! Reading metadata pages: what is there, and whether it can be believed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::onflash::paged::head::{self, Head, Kind, PageError};

/// What was found in a page.
#[derive(Debug)]
pub(super) enum Reading {
    /// A whole metadata page, of whatever kind.
    Whole(Head, Vec<u8>),
    /// No whole metadata page.
    Not(PageError),
    /// The page cannot be read.
    Unreadable(FlashError),
}

impl Reading {
    /// It is erased.
    pub(super) fn is_erased(&self) -> bool {
        matches!(self, Self::Not(PageError::Erased))
    }

    /// It holds something, and that is no whole page.
    pub(super) fn is_torn(&self) -> bool {
        !self.is_erased() && !matches!(self, Self::Whole(..))
    }

    /// What was read in `page` of a block does not keep it from being used: it is erased, or shows an erase count first thing.
    pub(super) fn is_vacant(&self, page: u32) -> bool {
        self.is_erased() || page == 0 && matches!(self, Self::Whole(head, _) if head.kind == Kind::Witness)
    }

    /// Why it is not what it should be.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Whole(head, _) => format!("it holds {}", head.kind.name()),
            Self::Not(error) => error.to_string(),
            Self::Unreadable(_) => "it cannot be read".to_string(),
        }
    }

    /// The content, if it is a page that `volume` wrote at `address`.
    pub(super) fn written_by(self, volume: u32, address: u32) -> Option<(Head, Vec<u8>)> {
        match self {
            Self::Whole(head, payload) if (head.volume, head.address) == (volume, address) => {
                Some((head, payload))
            }
            _ => None,
        }
    }

    /// The same, if it is a page of `kind`.
    pub(super) fn of(self, kind: Kind, volume: u32, address: u32) -> Option<(Head, Vec<u8>)> {
        self.written_by(volume, address).filter(|(head, _)| head.kind == kind)
    }
}

/// A page as a message names it.
pub(super) fn place<H: FlashHardware + ?Sized>(hw: &H, at: PageAddr) -> String {
    format!("{at} (offset {:#x})", hw.raw_offset(at))
}

/// A block as a message names it.
pub(super) fn block_place<H: FlashHardware + ?Sized>(hw: &H, block: Block) -> String {
    format!("{block} (offset {:#x})", hw.raw_offset(PageAddr { block, page: 0 }))
}

/// Read one page.
///
/// # Errors
/// When the chip fails otherwise than by a page that cannot be read.
pub(super) fn read_metadata<H: FlashHardware + ?Sized>(hw: &H, at: PageAddr) -> Result<Reading, FlashError> {
    let size = hw.geometry().page_size();
    let mut page = vec![0; size as usize];
    match hw.read_pages(at, &mut page) {
        Ok(()) => Ok(match head::open(&page) {
            Ok((head, payload)) => Reading::Whole(head, payload.to_vec()),
            Err(error) => Reading::Not(error),
        }),
        Err(error @ FlashError::Unreadable { .. }) => Ok(Reading::Unreadable(error)),
        Err(error) => Err(error),
    }
}

/// The CRC-32 of a page's content; of nothing where it cannot be read.
///
/// # Errors
/// When the chip fails otherwise.
pub(super) fn fingerprint<H: FlashHardware + ?Sized>(hw: &H, at: PageAddr) -> Result<u32, FlashError> {
    let size = hw.geometry().page_size();
    let mut page = vec![0; size as usize];
    match hw.read_pages(at, &mut page) {
        Ok(()) => Ok(crc32fast::hash(&page)),
        Err(FlashError::Unreadable { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}
