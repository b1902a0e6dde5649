//! Block tables of checkpoints that recoveries wrote and were cut short before their anchor: they alone say how often blocks of the
//! zone were erased for it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::PageVolume;
use super::io::read_metadata;
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::tables::{BlockTable, decode_chunk};

/// What these tables say.
#[derive(Debug, Default)]
pub(super) struct Unanchored {
    /// Erase counts of the blocks of the zone, the highest that any of them states.
    erases: Vec<u32>,
    /// Where the tables stand that may state the highest: while no later one is there, they are needed.
    holding: BTreeSet<Block>,
}

impl Unanchored {
    /// The erase count of a block of the zone.
    pub(super) fn erases(&self, block: Block) -> u32 {
        self.erases.get(block.index()).copied().unwrap_or(0)
    }

    /// Whether that is known from what stands in `block`.
    pub(super) fn is_in(&self, block: Block) -> bool {
        self.holding.contains(&block)
    }

    /// A later recovery counts on from what an earlier one states, but for blocks that failed.
    fn note(&mut self, erases: &[u32], block: Block) {
        self.erases.resize(self.erases.len().max(erases.len()), 0);
        let mut tells = false;
        for (known, &stated) in self.erases.iter_mut().zip(erases) {
            tells |= stated >= *known;
            *known = stated.max(*known);
        }
        if tells {
            self.holding.insert(block);
        }
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// Look for the tables of the next checkpoint, which no anchor points to.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub(super) fn find_unanchored(&self) -> Result<Unanchored> {
        let epoch = (self.sequence + 1) as u32;
        let mut found = Unanchored::default();
        for block in self.blocks.iter().skip(self.layout.zone_blocks as usize) {
            for page in 0..self.layout.pages_per_block {
                let at = PageAddr { block, page };
                let page = read_metadata(&self.hw, at)?.written_by(self.volume, self.layout.address(at).0);
                let Some((head, payload)) = page.filter(|(head, _)| head.epoch == epoch) else { break };
                if head.kind == Kind::Table && head.number == 0 {
                    let rows = decode_chunk(&payload).and_then(BlockTable::first_rows).unwrap_or_default();
                    let zone = rows.iter().take(self.layout.zone_blocks as usize);
                    let erases: Vec<u32> = zone.map(|row| row.erases).collect();
                    found.note(&erases, block);
                    break;
                }
            }
        }
        Ok(found)
    }
}
