//! Making a fresh volume: a plan that only looks, and its execution.
//!
//! Where a volume was, its erase counts and bad blocks are carried over, and a cut at any moment leaves either the old
//! volume or the new one. Only where the slots of another geometry reach into the old data may some of that be gone
//! already, and the old metadata still be there. A page-mapped volume makes way in the same manner, if a slot fits its
//! anchor zone.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::mount::{Choice, Survey};
use super::slots::{self, Slot, SlotId};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, marked_blocks};
use crate::ftl::bad_blocks::BadBlockTable;
use crate::ftl::page::{self, Leaving};
use crate::ftl::wear::count_erase;
use crate::onflash::ftlj::{
    COPY_ON_WRITE_BLOCKS, HEADER_LEN, Layout, Metadata, RawHeader, UNMAPPED, UNTOUCHED_BLOCKS,
};

/// What a format would do: a plan that only looked, and can be carried out.
#[derive(Clone, Debug)]
pub struct FormatPlan {
    layout: Layout,
    bad: BadBlockTable,
    previous: Option<Previous>,
    /// The page-mapped volume that was there, where its erase counts are carried over, and the slot that it makes way for first.
    pages: Option<(Leaving, SlotId)>,
    carry_wear: bool,
}

/// The block-mapped volume that was there.
#[derive(Clone, Debug)]
struct Previous {
    layout: Layout,
    slot: SlotId,
    sequence: u64,
    metadata: Metadata,
}

/// What the blocks that do not add to the capacity are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Blocks of the two metadata slots.
    pub metadata: u32,
    /// Blocks between the slots and the data region, which the format leaves alone.
    pub untouched: u32,
    /// Data blocks that copy-on-write needs beyond the logical ones.
    pub copy_on_write: u32,
    /// Bad blocks of the data region.
    pub bad: u32,
}

impl FormatPlan {
    /// Look at the chip and plan a fresh volume on it. With `carry_wear` the erase counts of a volume that is there
    /// are carried over, and its bad-block table always.
    ///
    /// # Errors
    /// When the geometry does not suit the format, or a block of a metadata slot is bad.
    pub fn new<H: FlashHardware>(hw: &H, carry_wear: bool) -> Result<Self> {
        Self::with_bad_blocks(hw, carry_wear, &[])
    }

    /// The same for a chip of which `also_bad` are about to be marked bad.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_bad_blocks<H: FlashHardware>(hw: &H, carry_wear: bool, also_bad: &[Block]) -> Result<Self> {
        let layout = Layout::new(hw.geometry().block_size(), hw.geometry().blocks())?;
        let pages = Leaving::find(hw)?;
        let mut also_bad = also_bad.to_vec();
        also_bad.extend(pages.iter().flat_map(|pages| &pages.bad));
        let pages = pages.filter(|_| carry_wear).and_then(|pages| with_target(pages, &layout));
        let previous = if pages.is_some() { None } else { Previous::find(hw, &layout)? };
        Self::over(hw, layout, previous, pages, carry_wear, &also_bad)
    }

    /// The same, with no regard to a volume that is there.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn afresh<H: FlashHardware>(hw: &H, also_bad: &[Block]) -> Result<Self> {
        let layout = Layout::new(hw.geometry().block_size(), hw.geometry().blocks())?;
        Self::over(hw, layout, None, None, false, also_bad)
    }

    fn over<H: FlashHardware>(
        hw: &H,
        layout: Layout,
        previous: Option<Previous>,
        pages: Option<(Leaving, SlotId)>,
        carry_wear: bool,
        also_bad: &[Block],
    ) -> Result<Self> {
        let geometry = hw.geometry();
        let block_size = geometry.block_size();
        if !block_size.is_power_of_two() {
            return Err(Error::UnsuitableGeometry(format!(
                "the block-mapped format wants a block size that is a power of two, and {block_size} is not"
            )));
        }
        let mut bad = match &previous {
            Some(previous) => BadBlockTable::from_bitmap(&previous.metadata.bad_table, layout.blocks),
            None => BadBlockTable::new(layout.blocks),
        };
        bad.extend(marked_blocks(hw)?);
        bad.extend(also_bad.iter().copied());
        let plan = Self { layout, bad, previous, pages, carry_wear };
        plan.check_slots()?;
        let zone = page::Layout::of_chip(geometry).map_or(0, |chip| chip.zone_blocks);
        for block in plan.bad.iter().take_while(|block| block.0 < zone) {
            if page::holds_an_anchor(hw, block)? {
                return Err(Error::Unsupported(format!(
                    "{block} is bad and holds an anchor of the page-mapped volume that is there, by which the new volume would be taken for the old one: make a page-mapped one"
                )));
            }
        }
        if plan.capacity() == 0 {
            return Err(Error::UnsuitableGeometry(format!(
                "{} of {} data blocks are bad: none is left for data",
                plan.reserved().bad,
                layout.data_blocks()
            )));
        }
        Ok(plan)
    }

    fn check_slots(&self) -> Result<()> {
        for slot in SlotId::BOTH {
            if let Some(block) = slot.blocks(&self.layout).find(|&b| self.bad.contains(b)) {
                return Err(Error::BadSlotBlock { block, slot: slot.name() });
            }
        }
        Ok(())
    }

    /// The largest logical length the fresh volume can take, in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.layout.capacity(self.reserved().bad)
    }

    /// What the other blocks are for.
    #[must_use]
    pub fn reserved(&self) -> Reserved {
        Reserved {
            metadata: 2 * self.layout.blocks_per_slot,
            untouched: UNTOUCHED_BLOCKS,
            copy_on_write: COPY_ON_WRITE_BLOCKS,
            bad: self.bad.iter().filter(|b| b.0 >= self.layout.reserved).count() as u32,
        }
    }

    /// Bad blocks, by the old volume's table and the chip's marks.
    #[must_use]
    pub fn bad_blocks(&self) -> Vec<Block> {
        self.bad.iter().collect()
    }

    /// Whether erase counts of a volume that is there are carried over.
    #[must_use]
    pub fn carries_wear_over(&self) -> bool {
        self.carry_wear && (self.previous.is_some() || self.pages.is_some())
    }

    /// Make the fresh volume. The plan comes back as it was carried out: blocks that failed are bad in it.
    ///
    /// # Errors
    /// When the chip fails.
    pub fn execute<H: FlashHardware>(mut self, hw: &mut H) -> Result<Self> {
        self.make_room(hw)?;
        let target = self.target();
        let slot: Vec<Block> = target.blocks(&self.layout).collect();
        // No chip lives to see the middle: such a number is damage, and leaves too few to go on from.
        let next = self.previous.as_ref().map(|p| p.sequence).filter(|&n| n < u64::MAX / 2);
        let sequence = next.unwrap_or(0) + 1;
        let left = self.pages.as_ref().map(|(pages, _)| pages.leave(hw, &slot)).transpose()?;
        let mut counts = self.carried_counts();
        match &left {
            Some(left) => {
                counts.clone_from(&left.erases);
                self.bad.extend(left.bad.iter().copied());
                self.check_slots()?;
            }
            None => slot.iter().for_each(|&block| count_erase(&mut counts, block)),
        }
        let anchors = left.map_or(Vec::new(), |left| left.anchors);
        let stale = self.stale_blocks(target, &anchors);
        // What is erased after the commit is counted in it: a cut may count too much, never too little.
        stale.iter().for_each(|&block| count_erase(&mut counts, block));
        let metadata = Metadata {
            logical_len: 0,
            map: vec![UNMAPPED; self.layout.logical_blocks as usize],
            erase_counts: counts,
            bad_table: self.bad.to_bitmap(),
        };
        let stays = self.previous.is_some() || self.pages.is_some();
        if !stays {
            // Remains that do not mount must not outlive the new volume's first copy.
            erase_in_order(hw, &stale)?;
        }
        slots::write(hw, &self.layout, target, &metadata.encode(sequence))?;
        if stays {
            erase_in_order(hw, &stale)?;
        }
        Ok(self)
    }

    /// The slot for the first copy: B as on a blank chip, unless the old volume's newest copy lies there.
    fn target(&self) -> SlotId {
        if let Some((_, slot)) = self.pages {
            return slot;
        }
        if self.overlaps_previous(SlotId::B) { SlotId::A } else { SlotId::B }
    }

    fn overlaps_previous(&self, slot: SlotId) -> bool {
        self.previous.as_ref().is_some_and(|previous| {
            previous.slot.blocks(&previous.layout).any(|old| slot.blocks(&self.layout).any(|new| new == old))
        })
    }

    /// See that one of the new slots leaves the old volume's newest copy alone: where the slots of another geometry lie
    /// across it, write it once more into its other slot.
    fn make_room<H: FlashHardware>(&mut self, hw: &mut H) -> Result<()> {
        if !SlotId::BOTH.into_iter().all(|slot| self.overlaps_previous(slot)) {
            return Ok(());
        }
        let Some(previous) = &mut self.previous else { return Ok(()) };
        previous.slot = previous.slot.other();
        previous.sequence = previous.sequence.saturating_add(1);
        for block in previous.slot.blocks(&previous.layout) {
            count_erase(&mut previous.metadata.erase_counts, block);
        }
        let entry = previous.metadata.encode(previous.sequence);
        Ok(slots::write(hw, &previous.layout, previous.slot, &entry)?)
    }

    /// Blocks of slots, old and new, that hold no copy of the fresh volume, and after them those with `anchors` of a page-mapped one.
    fn stale_blocks(&self, target: SlotId, anchors: &[Block]) -> Vec<Block> {
        let old = self.previous.iter().flat_map(|p| SlotId::BOTH.map(|slot| slot.blocks(&p.layout)));
        let mut stale: Vec<Block> = old.flatten().chain(target.other().blocks(&self.layout)).collect();
        stale.sort_unstable();
        stale.dedup();
        stale.retain(|block| !anchors.contains(block));
        stale.extend(anchors);
        stale.retain(|&b| {
            b.0 < self.layout.blocks && !self.bad.contains(b) && target.blocks(&self.layout).all(|t| t != b)
        });
        stale
    }

    fn carried_counts(&self) -> Vec<u32> {
        let mut counts = match &self.previous {
            Some(previous) if self.carry_wear => previous.metadata.erase_counts.clone(),
            _ => Vec::new(),
        };
        counts.resize(self.layout.blocks as usize, 0);
        counts
    }
}

fn erase_in_order<H: FlashHardware>(hw: &mut H, blocks: &[Block]) -> Result<()> {
    for &block in blocks {
        hw.erase(block)?;
        hw.sync()?;
    }
    Ok(())
}

/// With a slot in blocks that the page-mapped volume can leave, if there is one.
fn with_target(pages: Leaving, layout: &Layout) -> Option<(Leaving, SlotId)> {
    let fits = |slot: &SlotId| pages.can_leave(&slot.blocks(layout).collect::<Vec<_>>());
    let slot = [SlotId::B, SlotId::A].into_iter().find(fits)?;
    Some((pages, slot))
}

impl Previous {
    /// The volume on the chip, also one made for another number of blocks of the same size.
    fn find<H: FlashHardware>(hw: &H, layout: &Layout) -> Result<Option<Self>> {
        let found =
            |survey: &Survey| survey.choose(None).ok().map(|choice| Self::new(survey.layout, &choice));
        if let Some(previous) = found(&Survey::read(hw)?) {
            return Ok(Some(previous));
        }
        // The first block of slot A is 0, and that of slot B tells the size of the slots: either may be the only one left.
        // What claims to be an entry is read as long as that takes no more than reading the chip a few times.
        let mut budget = 4 * u64::from(layout.blocks) * u64::from(layout.block_size);
        for first in (0..=layout.blocks / 2).map(Block) {
            let Some(old) = layout_by_entry(hw, layout, first, &mut budget)? else { continue };
            let a = Slot::read(hw, &old, SlotId::A)?;
            let b = Slot::read(hw, &old, SlotId::B)?;
            if let Some(previous) = found(&Survey { layout: old, a, b }) {
                return Ok(Some(previous));
            }
        }
        Ok(None)
    }

    fn new(layout: Layout, choice: &Choice<'_>) -> Self {
        Self { layout, slot: choice.slot, sequence: choice.sequence, metadata: choice.metadata.clone() }
    }
}

/// The layout of the volume whose slot starts with block `first`, if an entry there says so.
fn layout_by_entry<H: FlashHardware>(
    hw: &H,
    chip: &Layout,
    first: Block,
    budget: &mut u64,
) -> Result<Option<Layout>> {
    let mut head = vec![0; HEADER_LEN.min(chip.block_size as usize)];
    match hw.read(first, 0, &mut head) {
        Err(FlashError::Unreadable { .. }) => return Ok(None),
        read => read?,
    }
    let Some(header) = RawHeader::parse(&head) else { return Ok(None) };
    let (id, blocks_per_slot) = match first {
        Block(0) => (SlotId::A, header.entry_len().div_ceil(u64::from(chip.block_size))),
        Block(first) => (SlotId::B, u64::from(first)),
    };
    if blocks_per_slot > u64::from(chip.blocks) || header.entry_len() > *budget {
        return Ok(None);
    }
    *budget -= header.entry_len();
    let guess = Layout { blocks_per_slot: blocks_per_slot as u32, ..*chip };
    let Slot::Valid { metadata, .. } = Slot::read(hw, &guess, id)? else { return Ok(None) };
    let blocks = u32::try_from(metadata.erase_counts.len()).unwrap_or(u32::MAX);
    let old = Layout::new(chip.block_size, blocks).ok();
    Ok(old.filter(|old| 2 * old.blocks_per_slot <= chip.blocks && id.first_block(old) == first))
}
