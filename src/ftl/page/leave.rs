//! Making way for a volume of another format: what is there stays mountable, and its erase counts known, until the other is.

use alloc::vec::Vec;

use super::log::Group;
use super::{Mount, PageVolume, Session};
use crate::error::Result;
use crate::flash::{Block, FlashHardware, Inspected};
use crate::ftl::Volume;

/// What is to be known of a page-mapped volume that another is put in place of.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Its bad blocks.
    pub bad: Vec<Block>,
    /// The good blocks that it may have anchors in.
    zone: Vec<Block>,
    /// It is in its newest state, and takes writes.
    is_writable: bool,
}

/// What a page-mapped volume leaves to another.
#[derive(Clone, Debug)]
pub struct Left {
    /// The erase counts of the chip.
    pub erases: Vec<u32>,
    /// Its bad blocks.
    pub bad: Vec<Block>,
    /// The good blocks with anchors, in the order in which they are to be erased, one after the other: up to the last of them the
    /// volume is there, as it was.
    pub anchors: Vec<Block>,
}

impl Leaving {
    /// The volume on `hw`, if there is one that mounts.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn find<H: FlashHardware>(hw: &H) -> Result<Option<Self>> {
        let volume = match PageVolume::mount(Inspected(hw), &Mount::default()) {
            Ok(volume) => volume,
            Err(error @ crate::Error::Flash(crate::flash::FlashError::Io(_))) => return Err(error),
            Err(_) => return Ok(None),
        };
        Ok(volume.has_table.then(|| Self {
            bad: volume.bad_blocks(),
            zone: volume.good_zone_blocks().collect(),
            is_writable: volume.read_only.is_none(),
        }))
    }

    /// Whether `blocks` can be had: they are good blocks of the zone, and enough are left there for an anchor.
    #[must_use]
    pub fn can_leave(&self, blocks: &[Block]) -> bool {
        self.is_writable
            && blocks.iter().all(|block| self.zone.contains(block))
            && self.zone.len() >= blocks.len() + 2
    }

    /// See that the volume on `hw` does not need `blocks`, and has counted an erase of each.
    ///
    /// # Errors
    /// When the chip fails, or the volume cannot be written after all.
    pub fn leave<H: FlashHardware>(&self, hw: &mut H, blocks: &[Block]) -> Result<Left> {
        let mut volume = PageVolume::mount(hw, &Mount::default())?;
        volume.begin_session()?;
        volume.move_anchors_from(blocks)?;
        blocks.iter().for_each(|&block| volume.announce_erase(block));
        volume.write_group(Group::Erases)?;
        let anchors = volume.zone_blocks_but(blocks);
        Ok(Left { erases: volume.erase_counts().to_vec(), bad: volume.bad_blocks(), anchors })
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// See that the newest anchor stands in none of `blocks`.
    fn move_anchors_from(&mut self, blocks: &[Block]) -> Result<()> {
        debug_assert!(self.session == Session::Active);
        // Where a block fails under an anchor, any other takes its place.
        while self.zone.blocks.iter().any(|block| blocks.contains(block)) {
            self.zone.in_doubt = true;
            let mut others = self.zone_blocks_but(blocks);
            others.truncate(2);
            if others.len() < 2 {
                return Err(self.too_few_anchor_blocks());
            }
            others.iter().for_each(|&block| self.announce_erase(block));
            self.zone.planned = others;
            self.checkpoint()?;
        }
        Ok(())
    }
}
