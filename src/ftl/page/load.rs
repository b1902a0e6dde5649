//! A checkpoint and its log, read: what an anchor leads to.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Mount;
use super::blocks::Blocks;
use super::chain::Pair;
use super::layout::Layout;
use super::map::Map;
use super::newer::Followed;
use super::replay::{CleanEnd, Replayed};
use super::walk::Walker;
use super::zone::{FoundAnchor, ZoneSurvey};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::tables::{BlockTable, Directory};

/// A checkpoint with its log, as it can be mounted.
pub(super) struct Loaded {
    pub(super) anchor: FoundAnchor,
    pub(super) layout: Layout,
    pub(super) replayed: Replayed,
    /// Pairs that hold the checkpoint's tables and the log.
    pub(super) pairs: Vec<Pair>,
    /// The pair that the chain goes on in.
    pub(super) next: Option<Pair>,
    /// Copies that are not whole beside one that is.
    pub(super) damaged: Vec<(PageAddr, String)>,
    /// Why there is no block table.
    pub(super) no_table: Option<String>,
    /// A block that cannot be read and may have held the last commit; whether it is the block's own damage.
    pub(super) lost_half: Option<(Block, bool)>,
}

impl Loaded {
    /// How far it goes; `end` is the clean record that is the last of the log.
    pub(super) fn followed<'a, H>(&'a self, hw: &'a H, end: Option<&'a CleanEnd>) -> Followed<'a, H> {
        Followed {
            hw,
            layout: &self.layout,
            volume: self.anchor.head.volume,
            epoch: self.anchor.head.epoch,
            pairs: &self.pairs,
            next: self.next,
            next_log: self.replayed.next_log,
            clock: self.replayed.clock,
            end,
            end_twice: self.replayed.clean_twice,
        }
    }

    /// Where a block of the zone failed while an anchor was written, only the anchor itself tells how often the block that
    /// took its place was erased.
    pub(super) fn take_counts_of(&mut self, survey: &ZoneSurvey) {
        let Some(blocks) = &mut self.replayed.blocks else { return };
        for (found, _) in &survey.newest {
            if found.head.volume == self.anchor.head.volume && found.at.block.0 < self.layout.zone_blocks {
                blocks.at_least(found.at.block, found.head.erases);
            }
        }
    }
}

/// Load the checkpoint of `anchor`, and replay its log.
pub(super) fn load<H: FlashHardware>(hw: &H, anchor: &FoundAnchor, options: &Mount) -> Result<Loaded> {
    let layout = Layout::of_anchor(&anchor.anchor, hw.geometry())?;
    let (volume, epoch) = (anchor.head.volume, anchor.head.epoch);
    let stated = &anchor.anchor;
    let unusable = |what: &str| Error::Unmountable(format!("its {what} cannot be"));
    let mut walker =
        Walker::new(hw, &layout, volume, stated.body).ok_or_else(|| unusable("checkpoint's place"))?;
    let directory = read_directory(&mut walker, stated.directory_pages, epoch)?;
    let map = Map::new(&layout, volume, directory, options.cached_map_pages);
    let map = map.ok_or_else(|| unusable("directory"))?;
    let at_table = walker.clone();
    let mut no_table = None;
    let mut blocks = None;
    if options.block_table {
        match read_table(&mut walker, stated.table_pages, epoch, &layout) {
            Ok(table) => blocks = Some(table),
            Err(Error::Unmountable(reason)) => {
                no_table = Some(reason);
                walker = at_table;
            }
            Err(error) => return Err(error),
        }
    }
    if blocks.is_none() {
        walker.skip(Kind::Table, stated.table_pages, epoch)?;
    }
    let mut replayed = Replayed::new(&layout, map, blocks, stated.logical_len, stated.clock, stated.next_log);
    let lost_half = replay(&mut replayed, hw, &mut walker, epoch)?;
    if replayed.snapshot_pages < u32::from(stated.snapshot_pages) {
        let number = stated.next_log + u64::from(replayed.snapshot_pages);
        return Err(Error::Unmountable(format!(
            "no copy of log page {number} is whole, and the checkpoint (sequence {}) counts on {} from log page {} on",
            anchor.head.number, stated.snapshot_pages, stated.next_log
        )));
    }
    let (pairs, next, damaged) = (walker.pairs.clone(), walker.next, walker.damaged.clone());
    Ok(Loaded { anchor: anchor.clone(), layout, replayed, pairs, next, damaged, no_table, lost_half })
}

/// Replay the log from where `walker` is to its end; a block that cannot be read and may have held the last commit, and whether that
/// is the block's own damage.
pub(super) fn replay<H: FlashHardware>(
    replayed: &mut Replayed,
    hw: &H,
    walker: &mut Walker<'_, H>,
    epoch: u32,
) -> Result<Option<(Block, bool)>> {
    replayed.run(hw, walker, epoch)?;
    if !replayed.clean_twice {
        walker.damaged.retain(|(at, _)| !replayed.last.contains(at));
        replayed.torn = replayed.torn.or(walker.first_torn(&replayed.last)?);
    }
    let lost_half = if replayed.clean.is_none() { walker.lost_half()? } else { None };
    walker.leave_if_unused();
    Ok(lost_half)
}

pub(super) fn read_directory<H: FlashHardware>(
    walker: &mut Walker<'_, H>,
    pages: u32,
    epoch: u32,
) -> Result<Directory> {
    let stream = walker.stream(Kind::Directory, pages, epoch)?;
    Directory::decode(&stream).map_err(|error| Error::Unmountable(format!("{error}")))
}

pub(super) fn read_table<H: FlashHardware>(
    walker: &mut Walker<'_, H>,
    pages: u32,
    epoch: u32,
    layout: &Layout,
) -> Result<Blocks> {
    let stream = walker.stream(Kind::Table, pages, epoch)?;
    let table = BlockTable::decode(&stream).map_err(|error| Error::Unmountable(format!("{error}")))?;
    Blocks::from_table(table, layout)
        .ok_or_else(|| Error::Unmountable("its block table contradicts itself".to_string()))
}
