//! The two metadata slots: reading what is there, and writing one anew.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::error::Result;
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::onflash::ftlj::{EntryError, HEADER_LEN, Layout, Metadata, RawHeader};

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotId {
    /// The first slot.
    A,
    /// The slot behind it.
    B,
}

impl SlotId {
    /// Both, in the order they lie in.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other slot.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "slot A",
            Self::B => "slot B",
        }
    }

    /// Its blocks, in order.
    pub fn blocks(self, layout: &Layout) -> impl DoubleEndedIterator<Item = Block> + Clone + use<> {
        let first = match self {
            Self::A => 0,
            Self::B => layout.blocks_per_slot,
        };
        (first..first + layout.blocks_per_slot).map(Block)
    }

    /// Its first block.
    #[must_use]
    pub fn first_block(self, layout: &Layout) -> Block {
        match self {
            Self::A => Block(0),
            Self::B => Block(layout.blocks_per_slot),
        }
    }

    /// The slot that `block` belongs to, if any.
    #[must_use]
    pub fn of_block(block: Block, layout: &Layout) -> Option<Self> {
        Self::BOTH.into_iter().find(|slot| {
            let first = slot.first_block(layout).0;
            (first..first + layout.blocks_per_slot).contains(&block.0)
        })
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing but 0xFF.
    Empty,
    /// A commit that was cut short, or the remains of an interrupted erase.
    Torn(EntryError),
    /// A whole entry, damaged since.
    Corrupt(EntryError),
    /// A page of it cannot be read.
    Unreadable(FlashError),
    /// A well-formed entry.
    Valid {
        /// Its sequence number.
        sequence: u64,
        /// What it says.
        metadata: Metadata,
    },
}

impl Slot {
    /// The sequence number of a well-formed entry.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Self::Valid { sequence, .. } => Some(*sequence),
            _ => None,
        }
    }

    /// Whether something here shows that a volume was written, or hides whether one was.
    #[must_use]
    pub fn shows_a_volume(&self) -> bool {
        !matches!(self, Self::Empty | Self::Torn(EntryError::NoMagic))
    }

    /// What is wrong with it, unless it is whole or erased.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Empty | Self::Valid { .. } => None,
            Self::Torn(error) => Some(alloc::format!("torn: {error}")),
            Self::Corrupt(error) => Some(alloc::format!("damaged: {error}")),
            Self::Unreadable(error) => Some(alloc::format!("unreadable: {error}")),
        }
    }

    /// Read the slot at `id`.
    ///
    /// # Errors
    /// When the chip fails otherwise than by a page that cannot be read.
    pub fn read<H: FlashHardware>(hw: &H, layout: &Layout, id: SlotId) -> Result<Self> {
        match Self::read_entry(hw, layout, id) {
            Ok(slot) => Ok(slot),
            Err(error @ FlashError::Unreadable { .. }) => Ok(Self::Unreadable(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn read_entry<H: FlashHardware>(
        hw: &H,
        layout: &Layout,
        id: SlotId,
    ) -> core::result::Result<Self, FlashError> {
        let head = read_start(hw, layout, id, HEADER_LEN as u64)?;
        let Some(header) = RawHeader::parse(&head) else {
            let whole = read_start(hw, layout, id, layout.slot_len())?;
            let empty = whole.iter().all(|&byte| byte == 0xFF);
            return Ok(if empty { Self::Empty } else { Self::Torn(EntryError::NoMagic) });
        };
        let claimed = header.entry_len();
        if claimed > layout.slot_len() {
            return Ok(Self::Corrupt(EntryError::TooLong { claimed, slot: layout.slot_len() }));
        }
        let entry = read_start(hw, layout, id, claimed)?;
        Ok(match Metadata::decode(&entry) {
            Ok((sequence, metadata)) => Self::Valid { sequence, metadata },
            Err(error) => {
                // Pages are programmed in order: an erased last page says that the commit never got there.
                let page = hw.geometry().page_size() as usize;
                let last_page = (entry.len() - 1) / page * page;
                let unfinished = entry.iter().skip(last_page).all(|&byte| byte == 0xFF);
                if unfinished { Self::Torn(error) } else { Self::Corrupt(error) }
            }
        })
    }
}

/// The first `len` bytes of a slot.
fn read_start<H: FlashHardware>(
    hw: &H,
    layout: &Layout,
    id: SlotId,
    len: u64,
) -> core::result::Result<Vec<u8>, FlashError> {
    let mut bytes = vec![0; len.min(layout.slot_len()) as usize];
    for (block, chunk) in id.blocks(layout).zip(bytes.chunks_mut(layout.block_size as usize)) {
        hw.read(block, 0, chunk)?;
    }
    Ok(bytes)
}

/// Erase the slot at `id`, block by block in rising order.
///
/// # Errors
/// When the chip fails.
pub(super) fn erase<H: FlashHardware>(
    hw: &mut H,
    layout: &Layout,
    id: SlotId,
) -> core::result::Result<(), FlashError> {
    id.blocks(layout).try_for_each(|block| hw.erase(block))
}

/// Make `entry` the content of the slot at `id`, durably, and see that it reads back: a copy that cannot be read must not
/// count as one.
///
/// # Errors
/// When the chip fails.
pub(super) fn write<H: FlashHardware>(
    hw: &mut H,
    layout: &Layout,
    id: SlotId,
    entry: &[u8],
) -> core::result::Result<(), FlashError> {
    erase_and_program(hw, layout, id, entry)?;
    hw.sync()?;
    if read_start(hw, layout, id, entry.len() as u64)? == entry {
        return Ok(());
    }
    Err(FlashError::Io(alloc::format!("{id} does not hold what was written to it")))
}

/// Erase the slot at `id` and program `entry` into it, in rising order, padded with 0xFF to whole pages.
fn erase_and_program<H: FlashHardware>(
    hw: &mut H,
    layout: &Layout,
    id: SlotId,
    entry: &[u8],
) -> core::result::Result<(), FlashError> {
    erase(hw, layout, id)?;
    let geometry = *hw.geometry();
    let pages = id.blocks(layout).flat_map(|block| geometry.iter_pages(block));
    program_pages(hw, pages, entry)
}

/// Program `bytes` into `pages`, one after the other, the last padded with 0xFF.
pub(super) fn program_pages<H: FlashHardware>(
    hw: &mut H,
    pages: impl Iterator<Item = PageAddr>,
    bytes: &[u8],
) -> core::result::Result<(), FlashError> {
    let size = hw.geometry().page_size() as usize;
    let (whole, rest) = bytes.split_at(bytes.len() / size * size);
    let mut pages = pages;
    for (data, page) in whole.chunks_exact(size).zip(pages.by_ref()) {
        hw.program(page, data)?;
    }
    if rest.is_empty() {
        return Ok(());
    }
    let mut last = vec![0xFF; size];
    last[..rest.len()].copy_from_slice(rest);
    match pages.next() {
        Some(page) => hw.program(page, &last),
        None => Ok(()),
    }
}
