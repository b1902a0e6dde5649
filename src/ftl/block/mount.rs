//! From what the slots hold to a mounted volume: which copy to use, and how far to believe it.
//!
//! Mounting changes nothing on the chip.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::map::judge;
use super::slots::{Slot, SlotId};
use super::stage::Staged;
use super::{BlockVolume, CopyState, MetadataCopy, Mount};
use crate::error::{Error, Result};
use crate::flash::{FlashHardware, marked_blocks};
use crate::ftl::bad_blocks::BadBlockTable;
use crate::onflash::ftlj::{Layout, Metadata};

/// Both slots, as read.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Where things lie.
    pub layout: Layout,
    /// Slot A.
    pub a: Slot,
    /// Slot B.
    pub b: Slot,
}

/// The copy of the metadata to mount from.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// Its slot.
    pub slot: SlotId,
    /// Its sequence number.
    pub sequence: u64,
    /// What it says.
    pub metadata: &'a Metadata,
    /// Why it is used although all is not well.
    pub fallback: Option<String>,
    /// Why nothing may be written on top of it.
    pub read_only: Option<String>,
}

impl Survey {
    /// Read both slots.
    ///
    /// # Errors
    /// When the geometry leaves no room for a volume, or the chip fails otherwise than by unreadable pages.
    pub fn read<H: FlashHardware>(hw: &H) -> Result<Self> {
        let geometry = hw.geometry();
        let layout = Layout::new(geometry.block_size(), geometry.blocks())?;
        let a = Slot::read(hw, &layout, SlotId::A)?;
        let b = Slot::read(hw, &layout, SlotId::B)?;
        Ok(Self { layout, a, b })
    }

    /// The slot at `id`.
    #[must_use]
    pub fn slot(&self, id: SlotId) -> &Slot {
        match id {
            SlotId::A => &self.a,
            SlotId::B => &self.b,
        }
    }

    /// The entry in slot `id`, if it is well-formed and made for this geometry.
    fn fitting(&self, id: SlotId) -> Option<(u64, &Metadata)> {
        match self.slot(id) {
            Slot::Valid { sequence, metadata } if misfit(metadata, &self.layout).is_none() => {
                Some((*sequence, metadata))
            }
            _ => None,
        }
    }

    /// What keeps slot `id` from being used, if anything; an erased slot is nothing unusual.
    #[must_use]
    pub fn trouble(&self, id: SlotId) -> Option<String> {
        match self.slot(id) {
            Slot::Valid { metadata, .. } => misfit(metadata, &self.layout),
            slot => slot.trouble(),
        }
    }

    /// The copy to mount from: the newest one that fits, A on a tie; or the one with sequence number `wanted`.
    ///
    /// # Errors
    /// When there is none.
    pub fn choose(&self, wanted: Option<u64>) -> Result<Choice<'_>> {
        let fitting = |id| self.fitting(id).map(|(sequence, metadata)| (id, sequence, metadata));
        let candidates = SlotId::BOTH.into_iter().filter_map(fitting);
        // `max_by_key` keeps the last of equals, and A is to win.
        let newest = candidates.clone().rev().max_by_key(|&(_, sequence, _)| sequence);
        let Some(newest) = newest else { return Err(self.why_nothing_fits()) };
        let chosen = match wanted {
            None => newest,
            Some(wanted) => candidates
                .clone()
                .find(|&(_, sequence, _)| sequence == wanted)
                .ok_or_else(|| self.no_such_sequence(wanted))?,
        };
        let (slot, sequence, metadata) = chosen;
        let mut choice = Choice { slot, sequence, metadata, fallback: None, read_only: None };
        if wanted.is_some_and(|_| slot != newest.0) {
            choice.read_only = Some(format!("it is mounted as of sequence {sequence}, not the newest copy"));
        }
        if let Some(trouble) = self.trouble(slot.other()) {
            choice.fallback =
                Some(format!("mounts from {slot} (sequence {sequence}); {} is {trouble}", slot.other()));
            if self.slot(slot.other()).sequence() >= Some(sequence) {
                choice.read_only =
                    Some(format!("{} is no older and cannot be used: {trouble}", slot.other()));
            }
        }
        Ok(choice)
    }

    fn no_such_sequence(&self, wanted: u64) -> Error {
        let found: Vec<String> =
            SlotId::BOTH.into_iter().filter_map(|id| self.fitting(id)).map(|(s, _)| s.to_string()).collect();
        Error::Unmountable(format!(
            "no metadata copy has sequence {wanted}; there is {}",
            if found.is_empty() { "none".to_string() } else { found.join(" and ") }
        ))
    }

    fn why_nothing_fits(&self) -> Error {
        let describe = |id: SlotId| {
            let trouble = self.trouble(id).unwrap_or_else(|| "erased".to_string());
            format!("{id} (block {}) is {trouble}", id.first_block(&self.layout).0)
        };
        let both = format!("{}; {}", describe(SlotId::A), describe(SlotId::B));
        let other_blocks = SlotId::BOTH.into_iter().find_map(|id| match self.slot(id) {
            Slot::Valid { metadata, .. } if metadata.erase_counts.len() != self.layout.blocks as usize => {
                Some(metadata.erase_counts.len())
            }
            _ => None,
        });
        match other_blocks {
            Some(found) => Error::GeometryMismatch(format!(
                "the geometry has {} blocks of {} bytes, and the volume's metadata is for {found} blocks",
                self.layout.blocks, self.layout.block_size
            )),
            None if self.a.shows_a_volume() || self.b.shows_a_volume() => Error::Unmountable(both),
            None => Error::NotFormatted(both),
        }
    }
}

/// Why well-formed metadata cannot be that of a chip with this layout.
fn misfit(metadata: &Metadata, layout: &Layout) -> Option<String> {
    let counts = metadata.erase_counts.len();
    if counts != layout.blocks as usize {
        return Some(format!(
            "unusable: it counts the erases of {counts} blocks, and there are {}",
            layout.blocks
        ));
    }
    let bad_table = metadata.bad_table.len();
    if bad_table < layout.bad_table_len() {
        return Some(format!(
            "unusable: its bad-block table has {bad_table} bytes, and {} are needed",
            layout.bad_table_len()
        ));
    }
    None
}

impl<H: FlashHardware> BlockVolume<H> {
    /// Mount the volume on `hw`.
    ///
    /// # Errors
    /// [`Error::NotFormatted`] where nothing shows a volume, [`Error::Unmountable`] where one is and no copy of its
    /// metadata can be used, [`Error::GeometryMismatch`] where it was made for another geometry.
    pub fn mount(hw: H, options: &Mount) -> Result<Self> {
        let survey = Survey::read(&hw)?;
        let layout = survey.layout;
        let choice = survey.choose(options.sequence)?;
        let metadata = choice.metadata;
        let mut bad = BadBlockTable::from_bitmap(&metadata.bad_table, layout.blocks);
        bad.extend(marked_blocks(&hw)?);
        let map = judge(&metadata.map, &layout);
        let copies = SlotId::BOTH.map(|id| describe(&survey, id, choice.slot));
        let mut volume = Self {
            hw,
            layout,
            slot: choice.slot,
            sequence: choice.sequence,
            map,
            len: metadata.logical_len,
            erase_counts: metadata.erase_counts.clone(),
            bad,
            free: BTreeSet::new(),
            staged: Staged::clean(metadata.logical_len),
            wear: options.wear,
            levelled_at: 0,
            read_only: choice.read_only.clone(),
            fallback: choice.fallback.clone(),
            warnings: Vec::new(),
            copies,
            commits: 0,
            tables_changed: false,
        };
        volume.levelled_at = volume.data_erases();
        volume.free = volume.unused_blocks();
        volume.warnings = volume.mount_warnings();
        volume.read_only = volume.read_only.take().or_else(|| volume.why_read_only());
        if options.read_only {
            volume.read_only.get_or_insert_with(|| crate::ftl::MOUNTED_READ_ONLY.to_string());
        }
        Ok(volume)
    }

    fn unused_blocks(&self) -> BTreeSet<(u32, crate::flash::Block)> {
        let mut used = BadBlockTable::new(self.layout.blocks);
        for mapping in &self.map {
            use super::map::Mapping;
            if let Mapping::At(block) | Mapping::Shared(block) = *mapping {
                used.insert(block);
            }
        }
        let data = (self.layout.reserved..self.layout.blocks).map(crate::flash::Block);
        data.filter(|&b| !used.contains(b) && !self.bad.contains(b))
            .map(|b| (self.erase_count(b), b))
            .collect()
    }

    /// Why a volume in this state must not be written, if so.
    fn why_read_only(&self) -> Option<String> {
        for id in SlotId::BOTH {
            if let Some(bad) = id.blocks(&self.layout).find(|&b| self.bad.contains(b)) {
                return Some(format!("{bad} is bad, and {id} has no other place"));
            }
        }
        if self.sequence == u64::MAX {
            return Some("its sequence number is the last one there is".to_string());
        }
        let damaged = self.map.iter().filter(|m| m.is_damaged()).count();
        (damaged > 0).then(|| format!("entries of its map ({damaged}) contradict each other or the geometry"))
    }

    fn mount_warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.fallback.clone().into_iter().collect();
        if self.copies.iter().any(|copy| copy.sequence > Some(self.sequence)) {
            warnings.push(
                "this is an older state: blocks that only it uses may hold newer bytes since".to_string(),
            );
        }
        let block_size = u64::from(self.layout.block_size);
        let mapped_end = self.map.len() as u64 * block_size;
        if self.len > mapped_end {
            warnings
                .push(format!("the logical length {} is past the end of the map at {mapped_end}", self.len));
        } else if self.len > self.capacity_bytes() {
            warnings.push(format!(
                "the logical length {} is past the capacity {}: it can be read, not lengthened",
                self.len,
                self.capacity_bytes()
            ));
        }
        let on_bad = self.map.iter().filter_map(|m| m.block()).filter(|&b| self.bad.contains(b)).count();
        if on_bad > 0 {
            warnings.push(format!("{on_bad} blocks that hold data are marked bad"));
        }
        if let Some(rated) = self.hw.geometry().max_erase_cycles() {
            let worn = self.erase_counts.iter().filter(|&&count| count > rated).count();
            if worn > 0 {
                warnings.push(format!("{worn} blocks are past their {rated} rated erase cycles"));
            }
        }
        warnings
    }
}

/// A copy of the metadata, as a report shows it, when the one in `current` is used.
fn describe(survey: &Survey, id: SlotId, current: SlotId) -> MetadataCopy {
    let slot = survey.slot(id);
    let state = match slot {
        Slot::Empty => CopyState::Empty,
        Slot::Valid { .. } if id == current => CopyState::Current,
        Slot::Valid { .. } if survey.trouble(id).is_none() => CopyState::Stale,
        _ => CopyState::Torn,
    };
    MetadataCopy { slot: id, block: id.first_block(&survey.layout), state, sequence: slot.sequence() }
}

impl Survey {
    /// The copies found, for a report; `current` is the one in use, if any.
    #[must_use]
    pub fn copies(&self) -> [MetadataCopy; 2] {
        let current = self.choose(None).ok().map(|choice| choice.slot);
        SlotId::BOTH.map(|id| match current {
            Some(current) => describe(self, id, current),
            None => MetadataCopy {
                state: if *self.slot(id) == Slot::Empty { CopyState::Empty } else { CopyState::Torn },
                ..describe(self, id, id)
            },
        })
    }
}
