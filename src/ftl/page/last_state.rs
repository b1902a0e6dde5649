//! The newest checkpoint with its log, found with or without its anchor: what tells a page that was never written from one that is gone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::blocks::Blocks;
use super::io::read_metadata;
use super::layout::{Layout, Lpn};
use super::load::{read_directory, read_table, replay};
use super::map::{Map, MapError};
use super::newer::Followed;
use super::replay::Replayed;
use super::walk::Walker;
use super::zone::{FoundAnchor, LAST_NUMBER};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::MAX_CLOCK;
use crate::onflash::paged::anchor::Anchor;
use crate::onflash::paged::head::{Head, Kind};
use crate::onflash::paged::log::flags;
use crate::onflash::paged::map::{self, MapEntry};
use crate::onflash::paged::tables::{BlockState, Directory};

/// Places that a directory may begin in: its two copies, and those of recoveries before it that were cut short.
const MOST_PLACES: usize = 16;

/// The pages of the chain of one epoch.
#[derive(Clone, Debug, Default)]
struct Trail {
    /// Where the directory begins.
    begins: Vec<PageAddr>,
    /// The last log page.
    last_log: Option<u64>,
    /// The log or an anchor shows that the checkpoint was in force.
    in_force: bool,
    /// Its anchor, which knows all of this better.
    anchor: Option<Anchor>,
}

/// The pages of the chain, by epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Trails(BTreeMap<u32, Trail>);

impl Trails {
    /// There is such an anchor.
    pub(super) fn note_anchor(&mut self, found: &FoundAnchor) {
        if found.anchor.next_log < LAST_NUMBER && found.anchor.clock <= MAX_CLOCK {
            let trail = self.0.entry(found.head.epoch).or_default();
            trail.anchor = Some(found.anchor);
            trail.in_force = true;
        }
    }

    /// There is such a page.
    pub(super) fn note(&mut self, head: &Head, at: PageAddr) {
        let trail = self.0.entry(head.epoch).or_default();
        match head.kind {
            Kind::Directory if head.number == 0 && trail.begins.len() < MOST_PLACES => trail.begins.push(at),
            Kind::Log if head.number < LAST_NUMBER => {
                trail.last_log = trail.last_log.max(Some(head.number));
                trail.in_force |= head.flags & flags::SNAPSHOT == 0;
            }
            _ => {}
        }
    }
}

impl Trail {
    /// Where the directory may begin, in both blocks.
    fn bodies(&self) -> Vec<(u32, u32, u32)> {
        if let Some(anchor) = &self.anchor {
            return Vec::from([anchor.body]);
        }
        let others = |(i, a)| self.begins.iter().skip(i + 1).map(move |b: &PageAddr| (a, b));
        let pairs = self.begins.iter().enumerate().flat_map(others);
        let same = pairs.filter(|(a, b): &(&PageAddr, &PageAddr)| a.page == b.page);
        same.map(|(a, b)| (a.block.0, b.block.0, a.page)).collect()
    }

    /// Pages of the directory and of the block table; the first log page. Without an anchor, as they are found from `walker` on:
    /// one that was cut short may have had others.
    fn extent<H: FlashHardware>(
        &self,
        mut walker: Walker<'_, H>,
        epoch: u32,
    ) -> Result<Option<(u32, u32, u64)>> {
        if let Some(anchor) = &self.anchor {
            return Ok(Some((anchor.directory_pages, anchor.table_pages, anchor.next_log)));
        }
        let Some(directory_pages) = walker.count(Kind::Directory, epoch)? else { return Ok(None) };
        let Some(table_pages) = walker.count(Kind::Table, epoch)? else { return Ok(None) };
        let first = walker.first_log_page(epoch)?;
        Ok(first.map(|first| (directory_pages, table_pages, first)))
    }
}

/// A volume as a mount would find it if its newest anchor, or an older one, were there.
#[derive(Debug)]
pub(super) struct LastState {
    map: Map,
    capacity_pages: u32,
    /// The block table, where it can be read.
    blocks: Option<Blocks>,
}

/// Where the newest checkpoint and its log lead.
#[derive(Debug, Default)]
pub(super) enum Lead {
    /// To an end that leaves nothing open.
    Last(LastState),
    /// To a state that was committed, and may not be the last one.
    Older(LastState),
    /// Nowhere.
    #[default]
    None,
}

impl Lead {
    /// Follow the newest log from its checkpoint on. Host clock `committed` is known to be committed.
    pub(super) fn find<H: FlashHardware>(
        hw: &H,
        layout: &Layout,
        volume: u32,
        trails: &Trails,
        committed: u64,
    ) -> Result<Self> {
        let mut lead = Self::None;
        let Some((&epoch, trail)) = trails.0.iter().rev().find(|(_, trail)| trail.in_force) else {
            return Ok(lead);
        };
        for body in trail.bodies() {
            match LastState::follow(hw, layout, (volume, epoch), trail, body, committed) {
                Ok(found @ Self::Last(_)) => return Ok(found),
                Ok(Self::None) | Err(Error::Unmountable(_)) => {}
                Ok(found) => lead = found,
                Err(error) => return Err(error),
            }
        }
        Ok(lead)
    }

    /// The last state.
    pub(super) fn last(&self) -> Option<&LastState> {
        match self {
            Self::Last(state) => Some(state),
            Self::Older(_) | Self::None => None,
        }
    }

    /// An older state, where the last one is not known.
    pub(super) fn older(&self) -> Option<&LastState> {
        match self {
            Self::Older(state) => Some(state),
            Self::Last(_) | Self::None => None,
        }
    }
}

impl LastState {
    fn follow<H: FlashHardware>(
        hw: &H,
        layout: &Layout,
        (volume, epoch): (u32, u32),
        trail: &Trail,
        body: (u32, u32, u32),
        committed: u64,
    ) -> Result<Lead> {
        let Some(mut walker) = Walker::new(hw, layout, volume, body) else { return Ok(Lead::None) };
        let Some((directory_pages, table_pages, first)) = trail.extent(walker.clone(), epoch)? else {
            return Ok(Lead::None);
        };
        let directory = read_directory(&mut walker, directory_pages, epoch)?;
        let Some(layout) = with_capacity_of(hw, layout, &directory)? else { return Ok(Lead::None) };
        let at_table = walker.clone();
        let blocks = match read_table(&mut walker, table_pages, epoch, &layout) {
            Ok(blocks) => Some(blocks),
            // Where it ends, only the anchor tells.
            Err(Error::Unmountable(_)) if trail.anchor.is_some() => {
                walker = at_table;
                if !walker.pass(Kind::Table, table_pages, epoch)? {
                    return Ok(Lead::None);
                }
                None
            }
            Err(error) => return Err(error),
        };
        let Some(map) = Map::new(&layout, volume, directory, usize::MAX) else { return Ok(Lead::None) };
        let clock = trail.anchor.map_or(0, |anchor| anchor.clock);
        let mut replayed = Replayed::new(&layout, map, blocks, 0, clock, first);
        let lost_half = replay(&mut replayed, hw, &mut walker, epoch)?;
        let followed = Followed {
            hw,
            layout: &layout,
            volume,
            epoch,
            pairs: &walker.pairs,
            next: walker.next,
            next_log: replayed.next_log,
            clock: replayed.clock,
            end: replayed.clean.as_ref(),
            end_twice: replayed.clean_twice,
        };
        let ended_well = replayed.torn.is_none() && followed.is_as_left()?;
        let snapshot_pages = trail.anchor.map_or(0, |anchor| u32::from(anchor.snapshot_pages));
        let is_all = replayed.damage.is_none()
            && replayed.snapshot_pages >= snapshot_pages
            && trail.last_log.is_none_or(|last| replayed.next_log > last)
            && replayed.clock >= committed
            && lost_half.is_none()
            && (ended_well || followed.sign_of_newer()?.is_none());
        let Replayed { map, blocks, .. } = replayed;
        let state = Self { map, capacity_pages: layout.capacity_pages, blocks };
        Ok(if is_all { Lead::Last(state) } else { Lead::Older(state) })
    }

    /// Where `logical` lies; `None` where its map page is damaged.
    pub(super) fn entry<H: FlashHardware>(&self, hw: &H, logical: Lpn) -> Result<Option<MapEntry>> {
        if logical.0 >= self.capacity_pages {
            return Ok(Some(MapEntry::Unmapped));
        }
        match self.map.get(hw, logical) {
            Ok(entry) => Ok(Some(entry)),
            Err(MapError::Damaged(_)) => Ok(None),
            Err(MapError::Flash(error)) => Err(error.into()),
        }
    }

    /// Whether a page of `block` may count: by the block table, where it can be read.
    pub(super) fn may_hold(&self, block: Block) -> bool {
        self.blocks.as_ref().is_none_or(|blocks| blocks.info(block).live > 0)
    }

    /// Blocks that are closed by a summary and hold pages that count; `None` where the block table cannot be read.
    pub(super) fn closed(&self) -> Option<impl Iterator<Item = Block>> {
        let blocks = self.blocks.as_ref()?;
        let is_closed = |&block: &Block| blocks.state(block) == BlockState::Closed;
        Some(blocks.iter().filter(is_closed).filter(|&block| blocks.info(block).live > 0))
    }
}

/// The layout with as many logical pages as the map pages describe: only the anchor states it, and the last of them shows it.
fn with_capacity_of<H: FlashHardware>(
    hw: &H,
    layout: &Layout,
    directory: &Directory,
) -> Result<Option<Layout>> {
    let per_page = u64::from(layout.entries_per_map_page());
    let Some((&last, others)) = directory.map_pages.split_last() else { return Ok(None) };
    if directory.map_pages.len() == layout.map_pages() as usize {
        return Ok(Some(*layout));
    }
    let mut entries = per_page;
    if let Some(page) = layout.physical(last)
        && let super::io::Reading::Whole(head, payload) = read_metadata(hw, layout.page_addr(page))?
        && head.kind == Kind::Map
        && let Ok(found) = map::decode(&payload)
    {
        entries = found.len() as u64;
    }
    let capacity = others.len() as u64 * per_page + entries;
    let room = u64::from(layout.blocks) * u64::from(layout.data_pages());
    let fits = u32::try_from(capacity).ok().filter(|_| capacity <= room);
    Ok(fits.map(|capacity_pages| Layout { capacity_pages, ..*layout }))
}
