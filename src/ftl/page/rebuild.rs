//! Rebuilding a volume from what its blocks say of themselves, when its metadata cannot be followed.
//!
//! Each logical page gets its newest committed version. Nothing that was not committed is taken for committed, and no content
//! is made up: a version whose content is damaged stays in the map, where reading it is an error, and what cannot be told from
//! a page that is gone is recorded as lost.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::evidence::{Evidence, Version, find_volume};
use super::format::{FormatPlan, Previous};
use super::layout::{Layout, Lpn, Ppn};
use super::place::Proof;
use super::zone::why_no_anchor;
use super::{Mount, PageVolume};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::onflash::paged::StoredPage;
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::tables::BlockState;

/// What a rebuild comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The log could be followed to its end: what it does not confirm was never committed, and what is in no version of it
    /// was never written.
    pub by_log: bool,
    /// The map that it leads to is all there, too: nothing that was discarded is back.
    pub by_map: bool,
    /// Pages that the host has written, by its clock, and that no block shows: they were written again since, or are gone.
    pub unaccounted: u64,
    /// Logical pages that have their newest version again.
    pub restored: u64,
    /// Logical pages whose newest version is damaged, and where it is.
    pub damaged: Vec<(Lpn, PageAddr)>,
    /// Logical pages of which a newer version was written than the one that is there, and where that was; or may have been, where
    /// only an older state of the map tells of the one that is there.
    pub older: Vec<(Lpn, Option<PageAddr>)>,
    /// Logical pages that are lost, and where their newest version was, where that is known. Where not all of the log is there,
    /// they are all below the logical length of which no version is left: nothing tells them from those never written.
    pub lost: Vec<(Lpn, Option<PageAddr>)>,
    /// Blocks that held, or may have held, pages that count, and nothing says which.
    pub in_doubt: Vec<Block>,
    /// Versions that are not known to have been committed, and are left out.
    pub unconfirmed: Vec<(Lpn, PageAddr)>,
    /// Why it cannot be done on this chip, if so.
    pub refused: Option<String>,
}

impl Rebuilt {
    /// Whether there is anything that is known to have been committed. A rebuild would otherwise only erase what cannot be
    /// confirmed.
    #[must_use]
    pub fn is_worth_it(&self) -> bool {
        self.by_log || self.restored > 0 || !self.damaged.is_empty() || !self.older.is_empty()
    }
}

/// Which version of each logical page to take.
struct Choice {
    report: Rebuilt,
    map: BTreeMap<Lpn, (Version, StoredPage)>,
    /// Blocks with pages that were never committed.
    tainted: BTreeSet<Block>,
}

/// Whether a volume could be rebuilt, and what that would come to; nothing is changed.
///
/// # Errors
/// When nothing is there to rebuild it from, or the chip fails otherwise than by pages that cannot be read.
pub fn plan_rebuild<H: FlashHardware>(hw: &H) -> Result<Rebuilt> {
    let (layout, evidence) = gather(hw)?;
    Ok(choose(hw, &layout, &evidence)?.report)
}

/// Rebuild the volume on `hw`: a new checkpoint, made from what the blocks say of themselves. Data blocks are left as they are,
/// and what else tells until the checkpoint is in force, so that it can be done again if it is cut short.
///
/// # Errors
/// As for [`plan_rebuild`], and when there is no room for a checkpoint.
pub fn rebuild<H: FlashHardware>(hw: &mut H) -> Result<Rebuilt> {
    let (layout, evidence) = gather(hw)?;
    let choice = choose(hw, &layout, &evidence)?;
    let count = |block: u32| evidence.erases.get(&Block(block)).copied().unwrap_or(0);
    let erases: Vec<u32> = (0..layout.blocks).map(count).collect();
    let previous = Previous { sequence: evidence.sequence, ..Previous::default() };
    let plan = FormatPlan::for_rebuild(layout, evidence.bad.clone(), previous);
    let mut volume = plan.blank(hw, evidence.volume, &erases);
    volume.take_over(&evidence, choice.map);
    for (logical, _) in &choice.report.lost {
        volume.map.set(*logical, MapEntry::Lost);
    }
    volume.keep_until_rebuilt(&evidence);
    volume.tainted = choice.tainted;
    // A rebuild that was cut short before may have erased any block that does not show its own count.
    let recovery = volume.make_counts_certain()?;
    volume.recovering = Some(if evidence.has_table { recovery } else { recovery.without_table() });
    volume.first_checkpoint(&[])?;
    Ok(choice.report)
}

fn gather<H: FlashHardware>(hw: &H) -> Result<(Layout, Evidence)> {
    let nothing = || Error::Unmountable(String::from("there is nothing to rebuild it from"));
    let chip = Layout::of_chip(hw.geometry()).ok_or_else(nothing)?;
    let (volume, layout) = find_volume(hw, &chip)?.ok_or_else(nothing)?;
    let known = layout.is_some();
    let usual = chip.with_capacity(0, super::format::DEFAULT_SPARE_PERCENT).ok_or_else(nothing)?;
    let mut layout = layout.unwrap_or(usual);
    let evidence = Evidence::gather(hw, &layout, volume)?;
    let length = evidence.length.1.div_ceil(u64::from(layout.page_size));
    let written = evidence.versions.keys().next_back().map_or(0, |logical| logical.0.saturating_add(1));
    let needed = written.max(u32::try_from(length).unwrap_or(u32::MAX));
    let room = (layout.blocks - layout.zone_blocks) * layout.data_pages();
    if !known && needed > layout.capacity_pages && needed <= room {
        // It was formatted with less spare than usual.
        layout.capacity_pages = needed;
    }
    Ok((layout, evidence))
}

/// Choose for each logical page the newest version that was committed, and hold it against what is really there.
fn choose<H: FlashHardware>(hw: &H, layout: &Layout, evidence: &Evidence) -> Result<Choice> {
    let mut choice = Choice { report: Rebuilt::default(), map: BTreeMap::new(), tainted: BTreeSet::new() };
    choice.report.by_log = evidence.lead.last().is_some();
    choice.report.unaccounted = evidence.unaccounted();
    let discarded = evidence.discarded();
    let length = evidence.length.1.div_ceil(u64::from(layout.page_size));
    let mut data = vec![0; layout.page_size as usize];
    let by_map = entries_of_map(hw, layout, evidence)?;
    let followed = by_map.iter().all(Option::is_some);
    let known = evidence.versions.values().flatten().map(|version| version.page);
    let mut claimed: BTreeSet<Ppn> =
        if evidence.lead.older().is_some() { known.collect() } else { BTreeSet::new() };
    for (logical, known) in layout.iter_logical().zip(by_map) {
        let given_up = discarded.get(&logical).copied();
        let left = choice.newest_left(hw, layout, evidence, logical, given_up, &mut data)?;
        let left = match (known, left.found) {
            (Some(MapEntry::Lost), _) => Left { is_lost: true, ..Left::default() },
            (Some(MapEntry::Unmapped), _) => Left::default(),
            (Some(MapEntry::At { address, crc }), _) => {
                let mapped = layout.physical(address).map(|page| evidence.version_at(logical, page, crc));
                let may_be_wrong = mapped.is_none_or(|version| !evidence.bears_out(layout, logical, version));
                left.by_map(hw, layout, mapped, crc, may_be_wrong, &mut data)?
            }
            // Nothing tells it from a page that was never written.
            (None, None) => {
                let is_within = given_up.is_none() && u64::from(logical.0) < length;
                let left = Left { is_lost: is_within || left.newer.is_some(), ..left };
                left.by_older_map(hw, layout, evidence, logical, &mut claimed, &mut data)?
            }
            (None, Some(_)) => left,
        };
        choice.take(layout, logical, left);
    }
    choice.report.by_map = choice.report.by_log && followed;
    choice.report.in_doubt = evidence.blocks_in_doubt(followed);
    let anchor_blocks =
        (0..layout.zone_blocks).filter(|&block| !evidence.bad.contains(&Block(block))).count();
    choice.report.refused = why_no_anchor(anchor_blocks, layout.zone_blocks);
    Ok(choice)
}

/// What the map says of each logical page where the log leads to one; `None` where that cannot be told. Where it puts several
/// into one place, it counts for those that are known to have been written there, and for one whose content is there.
fn entries_of_map<H: FlashHardware>(
    hw: &H,
    layout: &Layout,
    evidence: &Evidence,
) -> Result<Vec<Option<MapEntry>>> {
    let Some(last) = evidence.lead.last() else { return Ok(vec![None; layout.capacity_pages as usize]) };
    let mut entries =
        layout.iter_logical().map(|logical| last.entry(hw, logical)).collect::<Result<Vec<_>>>()?;
    let mut places: Vec<(u32, u32)> = entries
        .iter()
        .filter_map(|entry| match *entry {
            Some(MapEntry::At { address, crc }) => Some((address, crc)),
            _ => None,
        })
        .collect();
    places.sort_unstable();
    // In order, so that a map which puts all into one place is not gone through for each.
    let claims = |from: (u32, u32), to: (u32, u32)| {
        places.partition_point(|&place| place <= to) - places.partition_point(|&place| place < from)
    };
    let mut data = vec![0; layout.page_size as usize];
    for (logical, entry) in layout.iter_logical().zip(&mut entries) {
        let Some(MapEntry::At { address, crc }) = *entry else { continue };
        let Some(page) = layout.physical(address) else { continue };
        let is_shared = claims((address, 0), (address, u32::MAX)) > 1;
        if !is_shared || evidence.known_at(logical, page, crc).is_some() {
            continue;
        }
        let only = claims((address, crc), (address, crc)) == 1;
        if !only || !is_whole(hw, layout, evidence.version_at(logical, page, crc), &mut data)? {
            *entry = None;
        }
    }
    Ok(entries)
}

/// What is left of a logical page.
#[derive(Default)]
struct Left {
    /// The newest version that was committed, and whether its content is as it was written.
    found: Option<(Version, bool)>,
    /// Where a newer one was.
    newer: Option<PageAddr>,
    /// Only an older state of the map tells of what was found.
    may_be_older: bool,
    /// It is lost if nothing is found.
    is_lost: bool,
}

impl Left {
    /// The same where the map says that content of such a CRC-32 counts, and where it is: what is there, if it is whole, else the
    /// same content elsewhere. No older one takes its place, unless the map `may_be_wrong` about it.
    fn by_map<H: FlashHardware>(
        self,
        hw: &H,
        layout: &Layout,
        mapped: Option<Version>,
        crc: u32,
        may_be_wrong: bool,
        data: &mut [u8],
    ) -> Result<Self> {
        if let Some(version) = mapped
            && is_whole(hw, layout, version, data)?
        {
            return Ok(Self { found: Some((version, true)), ..Self::default() });
        }
        if self.found.is_some_and(|(version, _)| version.crc == crc) {
            return Ok(Self { newer: None, ..self });
        }
        if !may_be_wrong && let Some(version) = mapped {
            return Ok(Self { found: Some((version, false)), ..Self::default() });
        }
        let newer = mapped.map(|version| layout.page_addr(version.page));
        Ok(Self { newer, is_lost: true, ..self })
    }

    /// The same where nothing is left of a page that was written: what an older state of the map tells of, if it is whole and no other
    /// logical page is known to have been written there.
    fn by_older_map<H: FlashHardware>(
        self,
        hw: &H,
        layout: &Layout,
        evidence: &Evidence,
        logical: Lpn,
        claimed: &mut BTreeSet<Ppn>,
        data: &mut [u8],
    ) -> Result<Self> {
        let Some(older) = evidence.lead.older().filter(|_| self.is_lost) else { return Ok(self) };
        let Some(MapEntry::At { address, crc }) = older.entry(hw, logical)? else { return Ok(self) };
        let Some(page) = layout.data_page(address) else { return Ok(self) };
        let version = evidence.version_at(logical, page, crc);
        let is_silent = !evidence.closed.contains_key(&layout.block_of(page)) && !claimed.contains(&page);
        if !is_silent || !is_whole(hw, layout, version, data)? {
            return Ok(self);
        }
        claimed.insert(page);
        Ok(Self { found: Some((version, true)), may_be_older: true, ..self })
    }
}

impl Choice {
    fn newest_left<H: FlashHardware>(
        &mut self,
        hw: &H,
        layout: &Layout,
        evidence: &Evidence,
        logical: Lpn,
        given_up: Option<u64>,
        data: &mut [u8],
    ) -> Result<Left> {
        let mut missing: Option<(PageAddr, u32)> = None;
        for version in evidence.versions.get(&logical).into_iter().flat_map(|all| newest_first(all)) {
            let at = layout.page_addr(version.page);
            if version.stamp > evidence.committed {
                self.report.unconfirmed.push((logical, at));
                self.tainted.extend(evidence.closed.contains_key(&at.block).then_some(at.block));
                continue;
            }
            if given_up.is_some_and(|clock| version.stamp <= clock) {
                break;
            }
            let whole = is_whole(hw, layout, version, data)?;
            if whole || version.by_summary {
                // Where it was moved from, or on the way, it was no newer.
                let newer = missing.filter(|&(_, crc)| crc != version.crc).map(|(at, _)| at);
                return Ok(Left { found: Some((version, whole)), newer, ..Left::default() });
            }
            // Its block has been erased since, or it is damaged: which, the blocks do not tell.
            let may_count = evidence.lead.last().is_none_or(|last| last.may_hold(at.block));
            let reused = evidence.closed.contains_key(&at.block);
            missing = missing.or((may_count && !reused).then_some((at, version.crc)));
        }
        Ok(Left { newer: missing.map(|(at, _)| at), ..Left::default() })
    }

    fn take(&mut self, layout: &Layout, logical: Lpn, Left { found, newer, may_be_older, is_lost }: Left) {
        let report = &mut self.report;
        let Some((version, whole)) = found else {
            report.lost.extend(is_lost.then_some((logical, newer)));
            return;
        };
        let at = layout.page_addr(version.page);
        match (whole, newer) {
            (false, _) => report.damaged.push((logical, at)),
            (true, None) if !may_be_older => report.restored += 1,
            (true, newer) => report.older.push((logical, newer)),
        }
        let stored = StoredPage { logical: logical.0, crc: version.crc, stamp: version.stamp };
        self.map.insert(logical, (version, stored));
    }
}

/// Each place once, the newest version first. A summary knows best when a page was written; the log of a place that was used
/// again since is out of date.
fn newest_first(versions: &[Version]) -> Vec<Version> {
    let mut by_place: BTreeMap<Ppn, Version> = BTreeMap::new();
    for &version in versions {
        let known = by_place.entry(version.page).or_insert(version);
        if (version.by_summary, version) > (known.by_summary, *known) {
            *known = version;
        }
    }
    let mut versions: Vec<Version> = by_place.into_values().collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions
}

fn is_whole<H: FlashHardware>(hw: &H, layout: &Layout, version: Version, data: &mut [u8]) -> Result<bool> {
    let at = layout.page_addr(version.page);
    match hw.read_pages(at, data) {
        Ok(()) => Ok(crc32fast::hash(data) == version.crc),
        Err(FlashError::Unreadable { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// Be the volume that was chosen.
    fn take_over(&mut self, evidence: &Evidence, map: BTreeMap<Lpn, (Version, StoredPage)>) {
        let committed = evidence.committed;
        (self.clock, self.committed_clock) = (committed, committed);
        self.log.next = evidence.next_log.max(1);
        self.len = evidence.length.1.min(self.layout.capacity());
        self.staged = super::stage::Staged::clean(self.len);
        let mut pages: BTreeMap<Block, Vec<(u32, StoredPage)>> = BTreeMap::new();
        for (logical, (version, stored)) in map {
            let at = self.layout.page_addr(version.page);
            pages.entry(at.block).or_default().push((at.page, stored));
            let Ppn(address) = version.page;
            self.map.set(logical, MapEntry::At { address, crc: version.crc });
        }
        for (block, pages) in pages {
            match evidence.closed.get(&block) {
                Some(summary) => {
                    self.blocks.set_state(block, BlockState::Closed);
                    self.blocks.info_mut(block).class = summary.class;
                }
                None => {
                    self.blocks.set_state(block, BlockState::Listed);
                    let end = pages.iter().map(|(page, _)| page + 1).max().unwrap_or(0);
                    let list = self.blocks.lists.entry(block).or_default();
                    list.resize(end as usize, None);
                    for &(page, stored) in &pages {
                        list[page as usize] = Some(stored);
                    }
                }
            }
            let stamps: u64 = pages.iter().map(|(_, stored)| stored.stamp).sum();
            let info = self.blocks.info_mut(block);
            info.written = stamps / pages.len() as u64;
            info.closed = committed;
            pages.iter().for_each(|_| self.blocks.add_live(block));
            if evidence.bad.contains(&block) {
                self.blocks.info_mut(block).failing = true;
                self.failing = true;
            }
        }
        self.take_over_proof(evidence);
    }

    /// Summaries may prove less to be committed than the log has: the end of the session sees to it.
    fn take_over_proof(&mut self, evidence: &Evidence) {
        let (block, proven) = evidence.proof().unzip();
        let proven = proven.unwrap_or(0);
        let stays = block.filter(|&block| self.blocks.state(block) == BlockState::Closed);
        let stamps =
            evidence.closed.values().flat_map(|summary| summary.contents.iter().map(|(_, s)| s.stamp));
        let unproven = stamps.filter(|&stamp| stamp > proven && stamp <= evidence.committed).count() as u64;
        self.proof = Proof::by(stays, proven);
        self.proof.unproven = unproven.max(u64::from(stays.is_none() && self.mapped_pages() > 0));
    }

    /// What this goes by is erased last: if it is cut short, the next rebuild goes by the same. Once the new checkpoint is in force,
    /// it is free.
    fn keep_until_rebuilt(&mut self, evidence: &Evidence) {
        for block in evidence.telling() {
            if self.blocks.state(block) == BlockState::Free {
                self.blocks.set_state(block, BlockState::Listed);
                self.blocks.lists.insert(block, Vec::new());
                self.blocks.note_emptied(block);
                self.doubtful.push(block);
            }
        }
    }
}

impl Mount {
    /// To check: with everything, and nothing changed.
    #[must_use]
    pub fn for_checking() -> Self {
        Self { read_only: true, ..Self::default() }
    }
}
