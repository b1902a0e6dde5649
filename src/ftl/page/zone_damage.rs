//! What is damaged in the anchor zone, also where no volume mounts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::mount::zone_blocks;
use super::zone::read_anchor;
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};

/// Pages of the anchor zone, one after the other, that are neither anchors nor erased, for the same reason.
#[derive(Clone, Debug)]
pub struct DamagedAnchor {
    /// The first.
    pub at: PageAddr,
    /// The last, in the same block.
    pub last: u32,
    /// Why it is no anchor.
    pub reason: String,
    /// A whole anchor, as new or newer, is in another block, or it was never acknowledged.
    pub has_twin: bool,
    /// The sequence of the last whole anchor before it in its block; 0 for none.
    before: u64,
}

impl DamagedAnchor {
    fn goes_on(&self, at: PageAddr, reason: &str) -> bool {
        self.at.block == at.block && self.last + 1 == at.page && self.reason == reason
    }
}

/// All of the zone.
#[derive(Default)]
struct ZoneDamage {
    runs: Vec<DamagedAnchor>,
    /// The newest whole anchor of each block.
    newest: BTreeMap<Block, u64>,
}

/// The pages of the anchor zone that are damaged.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn damaged_anchors<H: FlashHardware>(hw: &H) -> Result<Vec<DamagedAnchor>> {
    let mut damage = ZoneDamage::default();
    for block in (0..zone_blocks(hw).min(hw.geometry().blocks())).map(Block) {
        if !hw.is_bad(block)? {
            damage.read_block(hw, block)?;
        }
    }
    let was_cut = damage.was_cut();
    let mut runs = core::mem::take(&mut damage.runs);
    for run in &mut runs {
        run.has_twin = was_cut || damage.is_outdated(run);
    }
    Ok(runs)
}

impl ZoneDamage {
    fn read_block<H: FlashHardware>(&mut self, hw: &H, block: Block) -> Result<()> {
        let mut before = 0;
        for at in hw.geometry().iter_pages(block) {
            match read_anchor(hw, at)? {
                Ok(found) => {
                    before = found.head.number;
                    self.newest.insert(block, before);
                }
                Err(reading) if reading.is_vacant(at.page) => {}
                Err(reading) => self.add(at, reading.reason(), before),
            }
        }
        Ok(())
    }

    fn add(&mut self, at: PageAddr, reason: String, before: u64) {
        match self.runs.last_mut() {
            Some(run) if run.goes_on(at, &reason) => run.last = at.page,
            _ => {
                self.runs.push(DamagedAnchor { at, last: at.page, reason, has_twin: false, before });
            }
        }
    }

    /// Whether another block has a whole anchor that is as new as anything that the run may have been, or newer.
    fn is_outdated(&self, run: &DamagedAnchor) -> bool {
        self.newest.iter().any(|(&block, &number)| block != run.at.block && number > run.before)
    }

    /// Whether the power went while an anchor was written to the first of its blocks, behind one that is whole in two.
    fn was_cut(&self) -> bool {
        let in_doubt: BTreeSet<Block> =
            self.runs.iter().filter(|run| !self.is_outdated(run)).map(|run| run.at.block).collect();
        let newest = self.newest.values().max();
        let copies = self.newest.values().filter(|&number| Some(number) == newest).count();
        in_doubt.len() == 1 && copies > 1
    }
}
