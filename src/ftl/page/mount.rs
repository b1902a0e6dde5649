//! From what a chip holds to a mounted volume: which anchor to use, and how far to believe it. Mounting changes nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::blocks::Blocks;
use super::chain::{Chain, Pair};
use super::io::{Reading, read_metadata};
use super::layout::Layout;
use super::load::{Loaded, load};
use super::log::{Log, Pending};
use super::mount_findings::MountFindings;
use super::place::{Announced, Proof};
use super::replay::CleanEnd;
use super::settle::settle_states;
use super::stage::Staged;
use super::zone::{FoundAnchor, Zone, ZoneSurvey};
use super::{Mount, PageVolume, Session};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr, marked_blocks};
use crate::ftl::wear::WearPolicy;
use crate::onflash::paged::log::OpenBlock;
use crate::onflash::paged::tables::BlockState;

/// Whether anything on the chip shows a volume of this format.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn shows_a_volume<H: FlashHardware>(hw: &H) -> Result<bool> {
    for block in hw.geometry().iter_blocks().take(8) {
        if let Reading::Whole(..) = read_metadata(hw, PageAddr { block, page: 0 })? {
            return Ok(true);
        }
    }
    // Nothing of the anchors is left: the data blocks may tell by their summaries.
    let Some(layout) = Layout::of_chip(hw.geometry()) else { return Ok(false) };
    for block in hw.geometry().iter_blocks() {
        for page in [layout.data_pages(), 0] {
            if let Reading::Whole(..) = read_metadata(hw, PageAddr { block, page })? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Blocks to look for anchors in.
pub(super) fn zone_blocks<H: FlashHardware + ?Sized>(hw: &H) -> u32 {
    Layout::of_chip(hw.geometry()).map_or(4, |layout| layout.zone_blocks)
}

/// The anchor to mount from, and what it leads to; then why an older one had to be taken, if so.
fn choose<H: FlashHardware>(
    hw: &H,
    survey: &ZoneSurvey,
    options: &Mount,
) -> Result<(Loaded, Option<String>)> {
    let mut anchors: Vec<FoundAnchor> = survey.newest.iter().map(|(found, _)| found.clone()).collect();
    if let Some(wanted) = options.sequence {
        anchors = all_anchors(hw)?;
        anchors.retain(|found| found.head.number == wanted);
        if anchors.is_empty() {
            return Err(Error::Unmountable(format!("no anchor has sequence {wanted}")));
        }
    }
    anchors.sort_by_key(|found| core::cmp::Reverse(found.head.number));
    anchors.dedup_by_key(|found| found.head.number);
    let mut first_error = None;
    for found in &anchors {
        match load(hw, found, options) {
            Ok(loaded) => {
                let fallback: Option<&Error> = first_error.as_ref();
                let fallback = fallback.map(|error| {
                    format!("mounts from an older checkpoint (sequence {}): {error}", found.head.number)
                });
                return Ok((loaded, fallback));
            }
            Err(error @ Error::Unmountable(_)) => {
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(match first_error {
        Some(error) => error,
        None if shows_a_volume(hw)? => {
            Error::Unmountable(format!("none of its anchors can be read: {}", survey.describe(hw)))
        }
        None => Error::NotFormatted("no anchor is in its first blocks".to_string()),
    })
}

/// Every anchor in the zone.
pub(super) fn all_anchors<H: FlashHardware + ?Sized>(hw: &H) -> Result<Vec<FoundAnchor>> {
    let mut anchors = Vec::new();
    for block in (0..zone_blocks(hw).min(hw.geometry().blocks())).map(Block) {
        for at in hw.geometry().iter_pages(block) {
            anchors.extend(super::zone::read_anchor(hw, at)?.ok());
        }
    }
    Ok(anchors)
}

impl<H: FlashHardware> PageVolume<H> {
    /// Mount the volume on `hw`.
    ///
    /// # Errors
    /// [`Error::NotFormatted`] where nothing shows a volume, [`Error::Unmountable`] where one is and none of its checkpoints can
    /// be used, [`Error::GeometryMismatch`] where it was made for another geometry, [`Error::Unsupported`] where it needs what
    /// is not known here.
    pub fn mount(hw: H, options: &Mount) -> Result<Self> {
        let survey = ZoneSurvey::read(&hw, zone_blocks(&hw))?;
        let (mut loaded, fallback) = choose(&hw, &survey, options)?;
        let newest = survey.newest.first().map(|(found, _)| found.head.number);
        let is_newest = newest == Some(loaded.anchor.head.number);
        let zone = zone_of(&survey, &loaded.anchor);
        loaded.take_counts_of(&survey);
        let end = loaded.replayed.clean.take();
        let followed = loaded.followed(&hw, end.as_ref());
        let holds = loaded.replayed.torn.is_none() && followed.is_as_left()?;
        let clean = end.as_ref().filter(|end| holds && can_be_filled_on(&loaded.layout, end));
        let mut findings = MountFindings::default();
        if let Some(reason) = fallback {
            findings.stale(reason);
        } else if !is_newest {
            let sequence = loaded.anchor.head.number;
            findings.stale(format!("it is mounted as of sequence {sequence}, not the newest anchor"));
        } else if clean.is_none()
            && let Some(reason) = followed.sign_of_newer()?
        {
            findings.stale(reason);
        }
        findings.judge(&hw, &survey, &loaded, clean.is_some(), &zone);
        let mut marked = marked_blocks(&hw)?;
        marked.extend(loaded.replayed.bad.iter().copied());
        let mut volume = Self::assemble(hw, loaded, zone, clean, options, &marked);
        volume.merge_marks(&marked)?;
        Ok(volume.with_findings(findings, &survey, options))
    }

    fn assemble(
        hw: H,
        loaded: Loaded,
        zone: Zone,
        clean: Option<&CleanEnd>,
        options: &Mount,
        marked: &[Block],
    ) -> Self {
        let Loaded { anchor, layout, replayed, mut pairs, next, .. } = loaded;
        let map_pairs: Vec<Pair> = replayed.map.twins.iter().map(|(&a, &b)| [a, b]).collect();
        let mut all: Vec<Pair> = map_pairs.into_iter().filter(|pair| !pairs.contains(pair)).collect();
        all.append(&mut pairs);
        let has_table = replayed.blocks.is_some();
        let mut blocks = replayed.blocks.unwrap_or_else(|| Blocks::new(&layout));
        let holds_no_data = |block: &Block| {
            !marked.contains(block)
                && !matches!(blocks.state(*block), BlockState::Closed | BlockState::Listed)
        };
        let named: Vec<Block> = next.into_iter().flatten().filter(holds_no_data).collect();
        let next = next.filter(|_| clean.is_some() && has_table && named.len() == 2);
        let mut open = vec![None; usize::from(layout.classes)];
        let mut announced = Announced::none();
        if has_table {
            settle_states(&mut blocks, &layout, &all, &named, clean, &mut open, &mut announced);
        }
        let wear = WearPolicy {
            interval: u64::from(anchor.anchor.wear_interval),
            threshold: anchor.anchor.wear_threshold,
        };
        let session = if clean.is_some() && next.is_some() { Session::Clean } else { Session::Unclean };
        let proof = Proof::by(blocks.closed_last(), replayed.clock);
        let mut chain = Chain::at_end_of_pair(&layout, all, next);
        if session == Session::Unclean && has_table {
            chain.left = named;
        }
        let mut volume = Self {
            hw,
            layout,
            volume: anchor.head.volume,
            anchor: anchor.anchor,
            sequence: anchor.head.number,
            map: replayed.map,
            blocks,
            open,
            announced,
            chain,
            zone,
            log: Log {
                pages: replayed.pages,
                holds_discards: replayed.discards,
                ..Log::begin(replayed.next_log)
            },
            pending: Pending::default(),
            staged: Staged::clean(replayed.len),
            coming: 0,
            tainted: BTreeSet::new(),
            to_confirm: BTreeSet::new(),
            proof,
            marked: BTreeSet::new(),
            failing: false,
            len: replayed.len,
            clock: replayed.clock,
            committed_clock: replayed.clock,
            committing: None,
            wear: options.wear.unwrap_or(wear),
            host_pages_since_map: 0,
            levelled_at: 0,
            session,
            recovering: None,
            doubtful: replayed.emptied_last.into_iter().collect(),
            always_mirror: options.mirror_every_commit,
            has_table,
            read_only: None,
            lost_track: false,
            fallback: None,
            older: false,
            warnings: Vec::new(),
            copies: Vec::new(),
            commits: 0,
        };
        volume.levelled_at = volume.blocks.total_erases();
        volume.host_pages_since_map = volume.map.changes() as u64;
        volume
    }

    /// Blocks that the chip marks are bad. What they hold is still read, and moves at the next writing.
    fn merge_marks(&mut self, marked: &[Block]) -> Result<()> {
        for &block in marked {
            // Where one failed as an anchor was written, or in a recovery that was cut short, the mark alone tells that it was
            // erased for that.
            let may_be_erased = match self.blocks.state(block) {
                BlockState::Zone => true,
                BlockState::Free | BlockState::Announced => self.session == Session::Unclean,
                _ => false,
            };
            if may_be_erased && self.own_count(block)?.is_none() {
                self.blocks.count_erase(block);
            }
            if self.blocks.state(block) == BlockState::Zone && self.session == Session::Unclean {
                self.count_replacements(block)?;
            }
            let holds_something = matches!(
                self.blocks.state(block),
                BlockState::Closed | BlockState::Listed | BlockState::Chain
            );
            if holds_something && self.has_table {
                self.open.iter_mut().filter(|open| **open == Some(block)).for_each(|open| *open = None);
                self.blocks.info_mut(block).failing = true;
                if self.blocks.state(block) == BlockState::Chain {
                    // Nothing can be appended to it: the chain begins anew.
                    self.session = Session::Unclean;
                } else {
                    self.failing = true;
                }
            } else {
                self.blocks.set_state(block, BlockState::Bad);
                self.announced.remove(block);
            }
            self.marked.insert(block);
        }
        Ok(())
    }

    /// Where `failed` failed in a session that was cut short, another block of the zone was erased in its place: one that shows no
    /// count, if the power went before the anchor was there.
    fn count_replacements(&mut self, failed: Block) -> Result<()> {
        let others: Vec<Block> = self.good_zone_blocks().filter(|&block| block != failed).collect();
        for block in others {
            if self.own_count(block)?.is_none() {
                self.blocks.count_erase(block);
            }
        }
        Ok(())
    }
}

/// Where the newest anchor lies, and whether another may be put behind it.
fn zone_of(survey: &ZoneSurvey, anchor: &FoundAnchor) -> Zone {
    let holding = survey.newest.iter().filter(|(found, _)| found.head.number == anchor.head.number);
    let pages: BTreeMap<Block, (u32, bool)> =
        holding.map(|(found, erased_behind)| (found.at.block, (found.at.page, *erased_behind))).collect();
    let next = pages.values().map(|(page, _)| page + 1).max().unwrap_or(0);
    let in_doubt = pages.len() != 2
        || pages.values().any(|&(page, erased_behind)| page + 1 != next || !erased_behind)
        || survey.in_doubt().next().is_some();
    let number = |found: &FoundAnchor| found.head.number;
    let before = survey.newest.iter().map(|(found, _)| number(found)).find(|&n| n < number(anchor));
    let holding_it = survey.newest.iter().filter(|(found, _)| Some(number(found)) == before);
    Zone {
        blocks: pages.into_keys().collect(),
        next,
        in_doubt,
        planned: Vec::new(),
        previous: holding_it.map(|(found, _)| found.at.block).collect(),
        damaged: survey.damaged.iter().map(|&(block, _)| block).collect(),
    }
}

/// Whether the blocks that a clean end names to be filled on can be such.
fn can_be_filled_on(layout: &Layout, end: &CleanEnd) -> bool {
    let mut seen = BTreeSet::new();
    let fits = |open: &OpenBlock| open.block < layout.blocks && open.next < layout.data_pages();
    end.open.iter().all(|open| fits(open) && seen.insert(open.block))
}
