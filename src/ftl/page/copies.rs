//! The copies of the metadata that are on a chip, as they are reported.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::load::load;
use super::mount::{all_anchors, zone_blocks};
use super::zone::{FoundAnchor, ZoneSurvey};
use super::{Mount, PageVolume};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::ftl::{CopyState, MetadataCopy};

/// The anchors on `hw`, also where none of them can be mounted: the newest of each block, and all older ones that can.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn metadata<H: FlashHardware>(hw: &H) -> Result<Vec<MetadataCopy>> {
    let survey = ZoneSurvey::read(hw, zone_blocks(hw))?;
    let mut copies = anchors(&survey, None);
    add_mountable(hw, &mut copies, None)?;
    Ok(copies)
}

/// Put the anchors that can be mounted and are not among `copies` where they belong there; `current` is the sequence in use.
fn add_mountable<H: FlashHardware>(
    hw: &H,
    copies: &mut Vec<MetadataCopy>,
    current: Option<u64>,
) -> Result<()> {
    // An anchor outlives its checkpoint, whose blocks are used again. No page is of two epochs, so this reads each once or so;
    // no chip lives to see two anchors of one epoch.
    let mut mounts: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
    for found in all_anchors(hw)? {
        let number = found.head.number;
        let loads = match mounts.get(&found.head.epoch) {
            Some(&(of, loads)) => loads && of == number,
            None => match load(hw, &found, &Mount::default()) {
                Err(error @ Error::Flash(FlashError::Io(_))) => return Err(error),
                loaded => loaded.is_ok(),
            },
        };
        mounts.entry(found.head.epoch).or_insert((number, loads));
        if loads && copies.iter().all(|copy| copy.at != found.at) {
            copies.push(describe_anchor(&found, current));
        }
    }
    // The checkpoint and the log of the one in use follow, as they are.
    copies.sort_by_key(|copy| (copy.location != ANCHOR, (copy.location == ANCHOR).then_some(copy.at)));
    Ok(())
}

const ANCHOR: &str = "anchor";

fn damaged_anchor(block: Block) -> MetadataCopy {
    let at = PageAddr { block, page: 0 };
    MetadataCopy { location: ANCHOR.to_string(), at, state: CopyState::Torn, sequence: None }
}

fn describe_anchor(found: &FoundAnchor, current: Option<u64>) -> MetadataCopy {
    let (location, sequence) = (ANCHOR.to_string(), Some(found.head.number));
    let state = if sequence == current { CopyState::Current } else { CopyState::Stale };
    MetadataCopy { location, at: found.at, state, sequence }
}

/// The newest anchor of each block, and the damaged ones, by their places; `current` is the sequence in use.
fn anchors(survey: &ZoneSurvey, current: Option<u64>) -> Vec<MetadataCopy> {
    let newest = survey.newest.iter().map(|(found, _)| describe_anchor(found, current));
    let damaged = survey.damaged.iter().map(|(block, _)| damaged_anchor(*block));
    let mut copies: Vec<MetadataCopy> = newest.chain(damaged).collect();
    copies.sort_by_key(|copy| copy.at);
    copies
}

impl<H: FlashHardware> PageVolume<H> {
    /// The metadata that the volume was mounted from, and all other anchors that it could be mounted from. They are looked for
    /// anew.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn all_metadata(&self) -> Result<Vec<MetadataCopy>> {
        let mut copies = self.copies.clone();
        add_mountable(&self.hw, &mut copies, Some(self.sequence))?;
        Ok(copies)
    }

    pub(super) fn describe_copies(&self, survey: &ZoneSurvey) -> Vec<MetadataCopy> {
        let mut copies = anchors(survey, Some(self.sequence));
        let page = self.anchor.body.2;
        for block in [self.anchor.body.0, self.anchor.body.1].map(Block) {
            copies.push(MetadataCopy {
                location: "checkpoint".to_string(),
                at: PageAddr { block, page },
                state: CopyState::Current,
                sequence: Some(self.sequence),
            });
        }
        if self.log.pages > 0
            && let Some(pair) = self.chain.pairs.last()
        {
            for &block in pair {
                copies.push(MetadataCopy {
                    location: "log".to_string(),
                    at: PageAddr { block, page: 0 },
                    state: CopyState::Current,
                    sequence: Some(self.sequence),
                });
            }
        }
        copies
    }
}
