//! The engines that are compared, and what the benchmark asks of each.

use nandimg::flash::{Block, FlashHardware};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::block::{self, BlockVolume};
use nandimg::ftl::page::{self, PageVolume};
use nandimg::ftl::{BlockUse, Volume};
use nandimg::onflash::ftlj::Layout;
use shodh_redb::{FlashBackend, StorageBackend};

use crate::shodh::{BadBlocks, Chip, Theirs, format_theirs, mount_theirs};

/// A mounted volume under load. What an engine refuses or fails here ends its run.
pub(crate) trait Store {
    fn set_len(&mut self, len: u64);
    fn read(&self, offset: u64, buf: &mut [u8]);
    fn write(&mut self, offset: u64, data: &[u8]);
    fn sync(&mut self);
    fn end(&mut self);
    fn block_use(&self, block: Block) -> BlockUse;
}

impl<V: Volume> Store for V {
    fn set_len(&mut self, len: u64) {
        Volume::set_len(self, len).expect("the volume takes a length");
    }
    fn read(&self, offset: u64, buf: &mut [u8]) {
        Volume::read(self, offset, buf).expect("the volume reads");
    }
    fn write(&mut self, offset: u64, data: &[u8]) {
        Volume::write(self, offset, data).expect("the volume writes");
    }
    fn sync(&mut self) {
        Volume::sync(self).expect("the volume syncs");
    }
    fn end(&mut self) {
        Volume::end(self).expect("the volume ends well");
    }
    fn block_use(&self, block: Block) -> BlockUse {
        Volume::block_use(self, block)
    }
}

/// The real crate. It says nothing of its blocks, so the layout of its format does.
struct Shodh {
    backend: FlashBackend<Theirs>,
    layout: Layout,
}

impl Store for Shodh {
    fn set_len(&mut self, len: u64) {
        self.backend.set_len(len).expect("the crate takes a length");
    }
    fn read(&self, offset: u64, buf: &mut [u8]) {
        self.backend.read(offset, buf).expect("the crate reads");
    }
    fn write(&mut self, offset: u64, data: &[u8]) {
        self.backend.write(offset, data).expect("the crate writes");
    }
    fn sync(&mut self) {
        self.backend.sync_data().expect("the crate syncs");
    }
    fn end(&mut self) {
        self.backend.close().expect("the crate ends well");
    }
    fn block_use(&self, block: Block) -> BlockUse {
        if block.0 < 2 * self.layout.blocks_per_slot {
            BlockUse::Metadata { role: "slot", fixed: true }
        } else if block.0 < self.layout.reserved {
            BlockUse::Reserved
        } else {
            BlockUse::Data
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Page,
    Block,
    Shodh,
}

/// How to mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
    /// With a map cache of so many pages.
    Cached(usize),
}

impl Access {
    pub(crate) fn name(self) -> String {
        match self {
            Self::ReadOnly => "read-only".to_owned(),
            Self::ReadWrite => "read-write".to_owned(),
            Self::Cached(pages) => format!("read-write, {pages} map pages"),
        }
    }
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Page, Self::Block, Self::Shodh];

    /// Its name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Block => "block",
            Self::Shodh => "shodh",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Block => "block",
            Self::Shodh => "shodh-redb",
        }
    }

    /// The ways to mount that it knows.
    pub(crate) fn accesses(self) -> &'static [Access] {
        match self {
            Self::Page => &[Access::ReadOnly, Access::ReadWrite, Access::Cached(16)],
            Self::Block => &[Access::ReadOnly, Access::ReadWrite],
            Self::Shodh => &[Access::ReadWrite],
        }
    }

    pub(crate) fn format(self, chip: &Chip) {
        match self {
            Self::Page | Self::Block => self.format_ours(&mut chip.clone()),
            Self::Shodh => drop(format_theirs(chip, BadBlocks::Fail)),
        }
    }

    pub(crate) fn mount(self, chip: &Chip, access: Access) -> Box<dyn Store> {
        match self {
            Self::Page => Box::new(mount_page(chip.clone(), access)),
            Self::Block => Box::new(mount_block(chip.clone(), access)),
            Self::Shodh => {
                let geometry = *chip.geometry();
                let layout = Layout::new(geometry.block_size(), geometry.blocks()).expect("a layout");
                Box::new(Shodh { backend: mount_theirs(chip, BadBlocks::Fail), layout })
            }
        }
    }

    /// The same on any chip, for the engines that take one.
    pub(crate) fn format_ours<H: FlashHardware>(self, hw: &mut H) {
        let done = match self {
            Self::Page => page::FormatPlan::new(hw, &FormatOptions::default())
                .and_then(|plan| plan.execute(hw))
                .map(drop),
            Self::Block => block::FormatPlan::new(hw, true).and_then(|plan| plan.execute(hw)).map(drop),
            Self::Shodh => panic!("the crate takes a chip of its own kind only"),
        };
        done.expect("the chip takes the format");
    }

    pub(crate) fn mount_ours<'a, H: FlashHardware + 'a>(self, hw: H, access: Access) -> Box<dyn Volume + 'a> {
        match self {
            Self::Page => Box::new(mount_page(hw, access)),
            Self::Block => Box::new(mount_block(hw, access)),
            Self::Shodh => panic!("the crate takes a chip of its own kind only"),
        }
    }
}

fn mount_page<H: FlashHardware>(hw: H, access: Access) -> PageVolume<H> {
    let read_only = access == Access::ReadOnly;
    let mut options = if read_only { page::Mount::for_reading() } else { page::Mount::default() };
    if let Access::Cached(pages) = access {
        options.cached_map_pages = pages;
    }
    PageVolume::mount(hw, &options).expect("the page-mapped volume mounts")
}

fn mount_block<H: FlashHardware>(hw: H, access: Access) -> BlockVolume<H> {
    let read_only = access == Access::ReadOnly;
    let options = block::Mount { read_only, ..block::Mount::default() };
    BlockVolume::mount(hw, &options).expect("the block-mapped volume mounts")
}
