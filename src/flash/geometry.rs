//! The shape of a chip, and the numbers that name places on it.
//!
//! A block and a page are always meant as *indices*; sizes and counts are plain integers. Block numbers count
//! from the start of the volume, not from the start of a dump that holds it.

use core::fmt;

use thiserror::Error;

/// An erase block, counted from the first block of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(pub u32);

impl Block {
    /// The block as an index into a table that has one entry for each block.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.0)
    }
}

/// One page of one erase block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageAddr {
    /// The block that holds the page.
    pub block: Block,
    /// The page within its block.
    pub page: u32,
}

impl fmt::Display for PageAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, page {}", self.block, self.page)
    }
}

/// The shape of a volume on a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    page_size: u32,
    spare_size: u32,
    pages_per_block: u32,
    blocks: u32,
    max_erase_cycles: Option<u32>,
}

/// Why numbers do not make a geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// One of the sizes or counts is zero.
    #[error("the {0} is zero")]
    Zero(&'static str),
    /// The block does not divide into whole pages.
    #[error("the block size {block_size} is not a multiple of the page size {page_size}")]
    Uneven {
        /// Data bytes a block.
        block_size: u32,
        /// Data bytes a page.
        page_size: u32,
    },
    /// A block, or the whole chip, is larger than this library addresses.
    #[error("the {0} is too large")]
    TooLarge(&'static str),
}

impl Geometry {
    /// The largest block, data and spare together, that is accepted: 1 GiB.
    pub const MAX_RAW_BLOCK: u64 = 1 << 30;

    /// A geometry of `blocks` erase blocks of `block_size` data bytes, in pages of `page_size` data bytes followed
    /// by `spare_size` spare bytes each.
    ///
    /// # Errors
    /// When a size is zero, the block is not a whole number of pages, or a number is out of all proportion.
    pub fn new(page_size: u32, spare_size: u32, block_size: u32, blocks: u32) -> Result<Self, GeometryError> {
        for (value, name) in
            [(page_size, "page size"), (block_size, "block size"), (blocks, "number of blocks")]
        {
            if value == 0 {
                return Err(GeometryError::Zero(name));
            }
        }
        if !block_size.is_multiple_of(page_size) {
            return Err(GeometryError::Uneven { block_size, page_size });
        }
        let pages_per_block = block_size / page_size;
        let raw_page = u64::from(page_size) + u64::from(spare_size);
        if raw_page * u64::from(pages_per_block) > Self::MAX_RAW_BLOCK {
            return Err(GeometryError::TooLarge("block size"));
        }
        if blocks > u32::MAX / 8 {
            return Err(GeometryError::TooLarge("number of blocks"));
        }
        Ok(Self { page_size, spare_size, pages_per_block, blocks, max_erase_cycles: None })
    }

    /// The same geometry, rated for `cycles` erases of each block.
    #[must_use]
    pub fn with_max_erase_cycles(self, cycles: Option<u32>) -> Self {
        Self { max_erase_cycles: cycles, ..self }
    }

    /// Data bytes a page.
    #[must_use]
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Spare (out-of-band) bytes a page; 0 where the image carries none.
    #[must_use]
    pub fn spare_size(&self) -> u32 {
        self.spare_size
    }

    /// Pages an erase block.
    #[must_use]
    pub fn pages_per_block(&self) -> u32 {
        self.pages_per_block
    }

    /// Erase blocks of the volume.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Rated program/erase cycles of a block, where known.
    #[must_use]
    pub fn max_erase_cycles(&self) -> Option<u32> {
        self.max_erase_cycles
    }

    /// Data bytes an erase block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.page_size * self.pages_per_block
    }

    /// Bytes a page takes in a raw image: data, then spare.
    #[must_use]
    pub fn raw_page_size(&self) -> u64 {
        u64::from(self.page_size) + u64::from(self.spare_size)
    }

    /// Bytes an erase block takes in a raw image.
    #[must_use]
    pub fn raw_block_size(&self) -> u64 {
        self.raw_page_size() * u64::from(self.pages_per_block)
    }

    /// Bytes the volume takes in a raw image.
    #[must_use]
    pub fn raw_size(&self) -> u64 {
        self.raw_block_size() * u64::from(self.blocks)
    }

    /// Where `page` starts, in bytes from the start of the volume in a raw image.
    #[must_use]
    pub fn raw_offset(&self, page: PageAddr) -> u64 {
        u64::from(page.block.0) * self.raw_block_size() + u64::from(page.page) * self.raw_page_size()
    }

    /// Every block of the volume, in order.
    pub fn iter_blocks(&self) -> impl DoubleEndedIterator<Item = Block> + use<> {
        (0..self.blocks).map(Block)
    }

    /// Every page of `block`, in order.
    pub fn iter_pages(&self, block: Block) -> impl DoubleEndedIterator<Item = PageAddr> + use<> {
        (0..self.pages_per_block).map(move |page| PageAddr { block, page })
    }

    /// The page of `block` that holds data byte `offset` of that block.
    #[must_use]
    pub fn page_at(&self, block: Block, offset: u32) -> PageAddr {
        PageAddr { block, page: offset / self.page_size }
    }
}
