//! Where each logical page lies: the map on flash, the directory of its pages, and what has changed since the checkpoint.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::io::{Reading, place, read_metadata};
use super::layout::{Layout, Lpn, Ppn};
use super::log::extents;
use crate::flash::{Block, FlashError, FlashHardware};
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::log::{Record, Written};
use crate::onflash::paged::map::{MapEntry, PackedEntry, decode};
use crate::onflash::paged::tables::Directory;
use crate::onflash::paged::{LOST_PAGE, NO_PAGE};

#[cfg(not(feature = "std"))]
use core::cell::OnceCell as Once;
#[cfg(feature = "std")]
use std::sync::OnceLock as Once;

/// The entries of a map page.
pub(super) type Entries = Box<[PackedEntry]>;

#[derive(Clone, Debug)]
pub(super) struct Map {
    layout: Layout,
    volume: u32,
    /// The address of each map page, in the first block of its pair.
    pub(super) directory: Vec<u32>,
    /// The second block of each pair that holds map pages, by the first.
    pub(super) twins: BTreeMap<Block, Block>,
    cache: Vec<Once<Entries>>,
    /// Map pages in the cache, the oldest first; kept where their number is bounded.
    cached: VecDeque<u32>,
    bound: usize,
    /// What has changed since the checkpoint.
    overlay: BTreeMap<Lpn, MapEntry>,
}

/// The map page that was read last, for as long as nothing changes.
#[derive(Debug, Default)]
pub(super) struct Near(Option<(u32, Entries)>);

/// Why a map page cannot be had.
#[derive(Debug)]
pub(super) enum MapError {
    /// Neither copy is whole.
    Damaged(String),
    /// The chip failed otherwise.
    Flash(FlashError),
}

impl From<MapError> for crate::Error {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Damaged(reason) => Self::ReadOnly(reason),
            MapError::Flash(error) => error.into(),
        }
    }
}

impl Map {
    /// The map that a directory describes; `None` where it is not made for this layout.
    pub(super) fn new(layout: &Layout, volume: u32, directory: Directory, bound: usize) -> Option<Self> {
        let twins: BTreeMap<Block, Block> =
            directory.pairs.iter().map(|&(a, b)| (Block(a), Block(b))).collect();
        let pages = layout.map_pages() as usize;
        let placed = |&address: &u32| {
            address == NO_PAGE
                || layout.physical(address).is_some_and(|page| twins.contains_key(&layout.block_of(page)))
        };
        let in_range = |&block: &Block| (layout.zone_blocks..layout.blocks).contains(&block.0);
        let fits = directory.map_pages.len() == pages
            && directory.map_pages.iter().all(placed)
            && twins.iter().all(|(a, b)| in_range(a) && in_range(b) && a != b);
        fits.then(|| Self {
            layout: *layout,
            volume,
            directory: directory.map_pages,
            twins,
            cache: (0..pages).map(|_| Once::new()).collect(),
            cached: VecDeque::new(),
            bound,
            overlay: BTreeMap::new(),
        })
    }

    pub(super) fn directory_for_flash(&self) -> Directory {
        Directory {
            pairs: self.twins.iter().map(|(a, b)| (a.0, b.0)).collect(),
            map_pages: self.directory.clone(),
        }
    }

    /// Number of the map page that describes `logical`, and the entry in it.
    fn place(&self, logical: Lpn) -> (u32, usize) {
        let per_page = self.layout.entries_per_map_page();
        (logical.0 / per_page, (logical.0 % per_page) as usize)
    }

    /// Where `logical` lies, as committed.
    pub(super) fn get<H: FlashHardware>(&self, hw: &H, logical: Lpn) -> Result<MapEntry, MapError> {
        self.get_near(hw, logical, &mut Near::default())
    }

    /// The same for one of many that are near each other: where the cache does not keep the map page, `near` does.
    pub(super) fn get_near<H: FlashHardware>(
        &self,
        hw: &H,
        logical: Lpn,
        near: &mut Near,
    ) -> Result<MapEntry, MapError> {
        let (index, within) = self.place(logical);
        // What is cached is kept up to date.
        if let Some(cached) = self.cache.get(index as usize).and_then(Once::get) {
            return Ok(entry_of(cached, within));
        }
        if let Some(entry) = self.overlay.get(&logical) {
            return Ok(*entry);
        }
        if self.directory.get(index as usize) == Some(&NO_PAGE) {
            return Ok(MapEntry::Unmapped);
        }
        if let Some((_, entries)) = near.0.as_ref().filter(|(loaded, _)| *loaded == index) {
            return Ok(entry_of(entries, within));
        }
        let entries = self.load_current(hw, index)?;
        let entry = entry_of(&entries, within);
        // Through a shared reference nothing can be given up again.
        match self.cache.get(index as usize).filter(|_| self.bound == usize::MAX) {
            Some(slot) => _ = slot.set(entries),
            None => near.0 = Some((index, entries)),
        }
        Ok(entry)
    }

    /// The same, keeping what was read as far as the bound allows.
    pub(super) fn fetch<H: FlashHardware>(&mut self, hw: &H, logical: Lpn) -> Result<MapEntry, MapError> {
        let (index, _) = self.place(logical);
        let stored = self.directory.get(index as usize).is_some_and(|&address| address != NO_PAGE);
        let cached = self.cache.get(index as usize).is_some_and(|slot| slot.get().is_some());
        if stored && !cached && self.bound > 0 && !self.overlay.contains_key(&logical) {
            let entries = self.load_current(hw, index)?;
            self.keep(index, entries);
        }
        self.get(hw, logical)
    }

    /// Put a map page into the cache; the oldest one makes way.
    pub(super) fn keep(&mut self, index: u32, entries: Entries) {
        let Some(slot) = self.cache.get_mut(index as usize) else { return };
        let is_new = slot.take().is_none();
        if self.bound == 0 {
            return;
        }
        let _ = slot.set(entries);
        if self.bound == usize::MAX || !is_new {
            return;
        }
        self.cached.push_back(index);
        while self.cached.len() > self.bound {
            if let Some(slot) = self.cached.pop_front().and_then(|i| self.cache.get_mut(i as usize)) {
                slot.take();
            }
        }
    }

    /// The entries of a map page as they are on flash.
    pub(super) fn load<H: FlashHardware>(&self, hw: &H, index: u32) -> Result<Entries, MapError> {
        let address = self.directory.get(index as usize).copied().unwrap_or(NO_PAGE);
        let Some(page) = self.layout.physical(address) else { return Ok(self.unmapped(index)) };
        let expected = self.described_by(index).len();
        let at = self.layout.page_addr(page);
        let twin = self.twins.get(&at.block).map(|&block| crate::flash::PageAddr { block, ..at });
        let mut reasons = String::new();
        for at in [Some(at), twin].into_iter().flatten() {
            let here = || place(hw, at);
            match read_metadata(hw, at) {
                Ok(Reading::Whole(head, payload)) => {
                    let address = self.layout.address(at).0;
                    let right = head.expect(Kind::Map, self.volume, address);
                    let entries = right.and_then(|()| decode(&payload));
                    match entries {
                        Ok(entries) if head.number == u64::from(index) && entries.len() == expected => {
                            return Ok(entries.into());
                        }
                        Ok(_) => reasons.push_str(&format!("; {} holds another part of the map", here())),
                        Err(error) => reasons.push_str(&format!("; {}: {error}", here())),
                    }
                }
                Ok(Reading::Not(error)) => reasons.push_str(&format!("; {}: {error}", here())),
                Ok(Reading::Unreadable(error)) => reasons.push_str(&format!("; {error}")),
                Err(error) => return Err(MapError::Flash(error)),
            }
        }
        Err(MapError::Damaged(format!("no copy of map page {index} is whole{reasons}")))
    }

    /// The logical pages that a map page describes.
    fn described_by(&self, index: u32) -> Range<u32> {
        let per_page = self.layout.entries_per_map_page();
        let first = index * per_page;
        first..first + (self.layout.capacity_pages - first).min(per_page)
    }

    /// A map page that describes nothing.
    fn unmapped(&self, index: u32) -> Entries {
        alloc::vec![MapEntry::Unmapped.into(); self.described_by(index).len()].into()
    }

    /// Map page `index` with all that has changed, out of the cache.
    pub(super) fn current<H: FlashHardware>(&mut self, hw: &H, index: u32) -> Result<Entries, MapError> {
        match self.cache.get_mut(index as usize).and_then(Once::take) {
            Some(entries) => Ok(entries),
            None => self.load_current(hw, index),
        }
    }

    /// The entries of a map page as they are on flash, with all that has changed since.
    fn load_current<H: FlashHardware>(&self, hw: &H, index: u32) -> Result<Entries, MapError> {
        let described = self.described_by(index);
        let changed = || self.overlay.range(Lpn(described.start)..Lpn(described.end));
        let mut entries = match self.load(hw, index) {
            // Nothing of it is missed.
            Err(MapError::Damaged(_)) if changed().count() == described.len() => self.unmapped(index),
            loaded => loaded?,
        };
        for (logical, entry) in changed() {
            if let Some(slot) = entries.get_mut((logical.0 - described.start) as usize) {
                *slot = (*entry).into();
            }
        }
        Ok(entries)
    }

    /// Map pages that differ from what is on flash, in order.
    pub(super) fn dirty(&self) -> Vec<u32> {
        let mut pages: Vec<u32> = self.overlay.keys().map(|&logical| self.place(logical).0).collect();
        pages.dedup();
        pages
    }

    pub(super) fn set(&mut self, logical: Lpn, entry: MapEntry) {
        self.overlay.insert(logical, entry);
        let (index, within) = self.place(logical);
        let cached = self.cache.get_mut(index as usize).and_then(Once::get_mut);
        if let Some(slot) = cached.and_then(|entries| entries.get_mut(within)) {
            *slot = entry.into();
        }
    }

    /// What has changed is on flash.
    pub(super) fn settle(&mut self) {
        self.overlay.clear();
    }

    /// What has changed, as records: where pages lie now, in the order of their places.
    pub(super) fn snapshot(&self, layout: &Layout) -> Vec<Record> {
        let mut written: Vec<(Ppn, Written)> = Vec::new();
        let (mut lost, mut gone): (Vec<(u32, u32)>, Vec<Record>) = (Vec::new(), Vec::new());
        for (&logical, &entry) in &self.overlay {
            match entry {
                MapEntry::At { crc, .. } => {
                    let Some(page) = physical(entry, layout) else { continue };
                    written.push((page, Written { logical: logical.0, crc, old: NO_PAGE }));
                }
                MapEntry::Lost => lost.push((logical.0, NO_PAGE)),
                MapEntry::Unmapped => match gone.last_mut() {
                    Some(Record::Discard { first, count }) if *first + *count == logical.0 => *count += 1,
                    _ => gone.push(Record::Discard { first: logical.0, count: 1 }),
                },
            }
        }
        written.sort_unstable_by_key(|&(page, _)| page);
        let lost = if lost.is_empty() { None } else { Some(Record::Lost(lost)) };
        gone.into_iter().chain(lost).chain(extents(written, false)).collect()
    }

    pub(super) fn changes(&self) -> usize {
        self.overlay.len()
    }

    /// Whether nothing in `logical`'s map page is, or may be, stored; then its first logical page not described by it.
    pub(super) fn skip_unmapped(&self, logical: Lpn) -> Option<Lpn> {
        let (index, _) = self.place(logical);
        let first = index * self.layout.entries_per_map_page();
        let next = first + self.layout.entries_per_map_page();
        let empty = self.directory.get(index as usize) == Some(&NO_PAGE)
            && self.overlay.range(logical..Lpn(next)).next().is_none();
        empty.then_some(Lpn(next))
    }
}

fn entry_of(entries: &Entries, within: usize) -> MapEntry {
    entries.get(within).map_or(MapEntry::Unmapped, |entry| entry.unpack())
}

/// The physical page an entry points to, if it is one.
pub(super) fn physical(entry: MapEntry, layout: &Layout) -> Option<Ppn> {
    match entry {
        MapEntry::At { address, .. } => layout.data_page(address),
        _ => None,
    }
}

/// The address an entry has in a log record.
pub(super) fn address_of(entry: MapEntry) -> u32 {
    match entry {
        MapEntry::Unmapped => NO_PAGE,
        MapEntry::Lost => LOST_PAGE,
        MapEntry::At { address, .. } => address,
    }
}
