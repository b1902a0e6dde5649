//! What the tests have to know of an engine to test either in the same way.

use std::fmt::Debug;

use nandimg::Result;
use nandimg::flash::{FlashHardware, Geometry, Inspected, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::block::slots::SlotId;
use nandimg::ftl::block::{self, BlockVolume, Survey};
use nandimg::ftl::page::{self, Lpn, PageVolume};
use nandimg::ftl::wear::WearPolicy;
use nandimg::onflash::ftlj::Layout;
use nandimg::onflash::paged::head::{self, Kind};
use nandimg::onflash::paged::log::{LogPage, Record, flags};

/// An engine.
pub(crate) trait Engine: Clone + Debug + Default {
    type Volume<'a>: Volume;

    /// Whether an erase is counted also if the power goes before it serves a commit.
    const COUNTS_ALL_ERASES: bool;

    fn mount<'a>(hw: &'a mut dyn FlashHardware, wear: WearPolicy) -> Result<Self::Volume<'a>>;

    /// The bytes of the volume as those read them who only read, in every way there is.
    fn read_only(hw: &dyn FlashHardware) -> Vec<Result<Vec<u8>>>;

    /// Format, whatever is there.
    fn format(hw: &mut dyn FlashHardware) -> Result<()>;

    /// Bytes of what is mapped as one: a long write may take effect up to the end of each.
    fn unit(volume: &Self::Volume<'_>) -> u64;

    /// Where each of these units lies; `None` for those that are stored nowhere.
    fn places(volume: &Self::Volume<'_>) -> Vec<Option<u64>>;

    fn chip<'a>(volume: &'a Self::Volume<'_>) -> &'a dyn FlashHardware;

    /// The erase counts that are acknowledged with each commit; `None` where a mount alone can tell.
    fn acknowledged_counts(hw: &dyn FlashHardware) -> Option<Vec<u32>>;

    /// What a page is that is programmed at `at`, and whether it is a copy of another; for a block that is erased, the page that
    /// is programmed into it next.
    fn kind_of(geometry: &Geometry, at: PageAddr, page: Option<(&[u8], bool)>) -> &'static str;
}

/// The block-mapped engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockMapped;

impl Engine for BlockMapped {
    type Volume<'a> = BlockVolume<&'a mut dyn FlashHardware>;

    const COUNTS_ALL_ERASES: bool = false;

    fn mount<'a>(hw: &'a mut dyn FlashHardware, wear: WearPolicy) -> Result<Self::Volume<'a>> {
        BlockVolume::mount(hw, &block::Mount { wear, ..block::Mount::default() })
    }

    fn read_only(_: &dyn FlashHardware) -> Vec<Result<Vec<u8>>> {
        Vec::new()
    }

    fn format(mut hw: &mut dyn FlashHardware) -> Result<()> {
        block::FormatPlan::new(&hw, true)?.execute(&mut hw).map(drop)
    }

    fn unit(volume: &Self::Volume<'_>) -> u64 {
        u64::from(volume.layout().block_size)
    }

    fn places(volume: &Self::Volume<'_>) -> Vec<Option<u64>> {
        volume.map().iter().map(|mapping| Some(u64::from(mapping.block()?.0))).collect()
    }

    fn chip<'a>(volume: &'a Self::Volume<'_>) -> &'a dyn FlashHardware {
        volume.flash()
    }

    fn acknowledged_counts(hw: &dyn FlashHardware) -> Option<Vec<u32>> {
        let hw = Inspected(hw);
        let choice = Survey::read(&hw).ok()?;
        let counts = choice.choose(None).ok()?.metadata.erase_counts.clone();
        Some(counts)
    }

    fn kind_of(geometry: &Geometry, at: PageAddr, _: Option<(&[u8], bool)>) -> &'static str {
        let layout = Layout::new(geometry.block_size(), geometry.blocks()).unwrap();
        if SlotId::of_block(at.block, &layout).is_some() { "slot" } else { "data" }
    }
}

/// The page-mapped engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageMapped;

impl Engine for PageMapped {
    type Volume<'a> = PageVolume<&'a mut dyn FlashHardware>;

    const COUNTS_ALL_ERASES: bool = true;

    fn mount<'a>(hw: &'a mut dyn FlashHardware, wear: WearPolicy) -> Result<Self::Volume<'a>> {
        PageVolume::mount(hw, &page::Mount { wear: Some(wear), ..page::Mount::default() })
    }

    fn read_only(hw: &dyn FlashHardware) -> Vec<Result<Vec<u8>>> {
        let with_table = page::Mount { read_only: true, ..page::Mount::default() };
        let read = |options: &page::Mount| {
            let volume = PageVolume::mount(Inspected(hw), options)?;
            let mut content = vec![0; volume.len() as usize];
            volume.read(0, &mut content)?;
            Ok(content)
        };
        vec![read(&page::Mount::for_reading()), read(&with_table)]
    }

    fn format(mut hw: &mut dyn FlashHardware) -> Result<()> {
        page::FormatPlan::new(&hw, &FormatOptions::default())?.execute(&mut hw).map(drop)
    }

    fn unit(volume: &Self::Volume<'_>) -> u64 {
        u64::from(volume.layout().page_size)
    }

    fn places(volume: &Self::Volume<'_>) -> Vec<Option<u64>> {
        use nandimg::onflash::paged::map::MapEntry;
        let place = |page| match volume.entry(page).expect("the map can be read") {
            MapEntry::At { address, .. } => Some(u64::from(address)),
            _ => None,
        };
        (0..volume.layout().capacity_pages).map(Lpn).map(place).collect()
    }

    fn chip<'a>(volume: &'a Self::Volume<'_>) -> &'a dyn FlashHardware {
        volume.flash()
    }

    fn acknowledged_counts(_: &dyn FlashHardware) -> Option<Vec<u32>> {
        None
    }

    fn kind_of(geometry: &Geometry, at: PageAddr, page: Option<(&[u8], bool)>) -> &'static str {
        let layout = page::Layout::of_chip(geometry).unwrap();
        if at.block.0 < layout.zone_blocks {
            return "zone";
        }
        let Some((page, copied)) = page else { return "nothing" };
        let Ok((head, payload)) = head::open(page) else {
            return if copied { "data, moved" } else { "data" };
        };
        match head.kind {
            Kind::Anchor => "zone",
            Kind::Map => "map",
            Kind::Directory => "directory",
            Kind::Table => "table",
            Kind::Summary => "summary",
            Kind::Witness => "witness",
            Kind::Log => kind_of_log_page(head.flags, &LogPage::decode(payload).unwrap()),
        }
    }
}

fn kind_of_log_page(flags: u8, page: &LogPage) -> &'static str {
    let records = page.records.decode();
    let holds = |what: fn(&Record) -> bool| records.iter().any(what);
    if holds(|record| matches!(record, Record::Clean { .. })) {
        "log, clean end"
    } else if holds(|record| matches!(record, Record::Session)) {
        "log, session"
    } else if flags & flags::SINGLE == 0 {
        "log"
    } else if page.repeated.is_empty() {
        "log, one copy"
    } else {
        "log, one copy and the one before"
    }
}
