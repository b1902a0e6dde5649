//! From what a chip holds to a mounted volume: which anchor to use, and how far to believe it. Mounting changes nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::blocks::Blocks;
use super::chain::{Chain, Pair};
use super::io::{Reading, block_place, fingerprint, read_metadata};
use super::layout::Layout;
use super::log::{Log, Pending};
use super::map::Map;
use super::newer::sign_of_newer;
use super::place::{Announced, Proof};
use super::replay::{CleanEnd, Replayed};
use super::stage::Staged;
use super::walk::Walker;
use super::zone::{FoundAnchor, Zone, ZoneSurvey};
use super::{Mount, PageVolume, Session};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr, marked_blocks};
use crate::ftl::gc::Heat;
use crate::ftl::wear::WearPolicy;
use crate::ftl::{CopyState, MetadataCopy};
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::log::OpenBlock;
use crate::onflash::paged::tables::{BlockState, BlockTable, Directory};

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
    /// Where a block of the zone failed while an anchor was written, only the anchor itself tells how often the block that
    /// took its place was erased.
    fn take_counts_of(&mut self, survey: &ZoneSurvey) {
        let Some(blocks) = &mut self.replayed.blocks else { return };
        for (found, _) in &survey.newest {
            if found.head.volume == self.anchor.head.volume && found.at.block.0 < self.layout.zone_blocks {
                blocks.at_least(found.at.block, found.head.erases);
            }
        }
    }
}

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

/// The anchors on `hw`, also where none of them can be mounted: the newest of each block, and all older ones that can.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn metadata<H: FlashHardware>(hw: &H) -> Result<Vec<MetadataCopy>> {
    let survey = ZoneSurvey::read(hw, zone_blocks(hw))?;
    let mut copies: Vec<MetadataCopy> =
        survey.newest.iter().map(|(found, _)| describe_anchor(found, CopyState::Stale)).collect();
    copies.extend(survey.damaged.iter().map(|(block, _)| damaged_anchor(*block)));
    add_mountable(hw, &mut copies, None)?;
    Ok(copies)
}

/// Put the anchors that can be mounted and are not among `copies` where they belong there; `current` is the sequence in use.
fn add_mountable<H: FlashHardware>(
    hw: &H,
    copies: &mut Vec<MetadataCopy>,
    current: Option<u64>,
) -> Result<()> {
    // An anchor outlives its checkpoint, whose blocks are used again.
    let mut mounts: BTreeMap<u64, bool> = BTreeMap::new();
    for found in all_anchors(hw)? {
        let number = found.head.number;
        let loads = match mounts.get(&number) {
            Some(&loads) => loads,
            None => match load(hw, &found, &Mount::default()) {
                Err(error @ Error::Flash(FlashError::Io(_))) => return Err(error),
                loaded => loaded.is_ok(),
            },
        };
        mounts.insert(number, loads);
        if loads && copies.iter().all(|copy| copy.at != found.at) {
            let state = if current == Some(number) { CopyState::Current } else { CopyState::Stale };
            copies.push(describe_anchor(&found, state));
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

fn describe_anchor(found: &FoundAnchor, state: CopyState) -> MetadataCopy {
    let location = ANCHOR.to_string();
    MetadataCopy { location, at: found.at, state, sequence: Some(found.head.number) }
}

/// Blocks to look for anchors in.
pub(super) fn zone_blocks<H: FlashHardware + ?Sized>(hw: &H) -> u32 {
    Layout::of_chip(hw.geometry()).map_or(4, |layout| layout.zone_blocks)
}

/// Load the checkpoint of `anchor`, and replay its log.
fn load<H: FlashHardware>(hw: &H, anchor: &FoundAnchor, options: &Mount) -> Result<Loaded> {
    let layout = Layout::of_anchor(&anchor.anchor, hw.geometry())?;
    let (volume, epoch) = (anchor.head.volume, anchor.head.epoch);
    let stated = &anchor.anchor;
    let unusable = |what: &str| Error::Unmountable(format!("its {what} cannot be"));
    let mut walker =
        Walker::new(hw, &layout, volume, stated.body).ok_or_else(|| unusable("checkpoint's place"))?;
    let directory = walker.stream(Kind::Directory, stated.directory_pages, epoch)?;
    let directory = Directory::decode(&directory).map_err(|error| Error::Unmountable(format!("{error}")))?;
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
    replayed.run(hw, &mut walker, epoch)?;
    if replayed.snapshot_pages < u32::from(stated.snapshot_pages) {
        let number = stated.next_log + u64::from(replayed.snapshot_pages);
        return Err(Error::Unmountable(format!(
            "no copy of log page {number} is whole, and the checkpoint (sequence {}) counts on {} from log page {} on",
            anchor.head.number, stated.snapshot_pages, stated.next_log
        )));
    }
    let may_lack_one = replayed.clean.is_none() && !replayed.mirrored;
    let lost_half = if may_lack_one { walker.lost_half()? } else { None };
    walker.leave_if_unused();
    let (pairs, next, damaged) = (walker.pairs.clone(), walker.next, walker.damaged.clone());
    Ok(Loaded { anchor: anchor.clone(), layout, replayed, pairs, next, damaged, no_table, lost_half })
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
        let holds = match &end {
            Some(end) => {
                loaded.replayed.clean_twice
                    && !loaded.replayed.torn
                    && prints_match(&hw, &loaded, end)?
                    && can_be_filled_on(&loaded.layout, end)
            }
            None => false,
        };
        let clean = end.as_ref().filter(|_| holds);
        let mut findings = Findings::default();
        if let Some(reason) = fallback {
            findings.stale(reason);
        } else if !is_newest {
            let sequence = loaded.anchor.head.number;
            findings.stale(format!("it is mounted as of sequence {sequence}, not the newest anchor"));
        } else if clean.is_none()
            && let Some(reason) =
                sign_of_newer(&hw, &loaded, end.as_ref().filter(|_| loaded.replayed.clean_twice))?
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

    fn with_findings(mut self, findings: Findings, survey: &ZoneSurvey, options: &Mount) -> Self {
        let Findings { fallback, read_only, older, warnings } = findings;
        self.older = older;
        self.read_only = read_only.or_else(|| self.why_read_only());
        self.fallback = fallback;
        self.warnings = warnings;
        self.warnings.splice(0..0, self.fallback.clone());
        self.copies = self.describe_copies(survey);
        self.add_warnings();
        if options.read_only {
            self.read_only.get_or_insert_with(|| crate::ftl::MOUNTED_READ_ONLY.to_string());
        }
        self
    }

    fn why_read_only(&self) -> Option<String> {
        if !self.has_table {
            return Some("it was mounted without its block table, to be read only".to_string());
        }
        if self.good_zone_blocks().count() < 2 {
            return Some(match self.too_few_anchor_blocks() {
                Error::ReadOnly(reason) => reason,
                other => other.to_string(),
            });
        }
        self.over_reserve()
    }

    fn add_warnings(&mut self) {
        let on_bad = self.marked.iter().filter(|&&b| self.blocks.info(b).live > 0).count();
        if on_bad > 0 {
            self.warnings.push(format!("{on_bad} blocks that hold data are marked bad"));
        }
        if let Some(rated) = self.hw.geometry().max_erase_cycles() {
            let worn = self.blocks.erases().iter().filter(|&&count| count > rated).count();
            if worn > 0 {
                self.warnings.push(format!("{worn} blocks are past their {rated} rated erase cycles"));
            }
        }
    }

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

    fn describe_copies(&self, survey: &ZoneSurvey) -> Vec<MetadataCopy> {
        let state = |found: &FoundAnchor| match found.head.number == self.sequence {
            true => CopyState::Current,
            false => CopyState::Stale,
        };
        let mut copies: Vec<MetadataCopy> =
            survey.newest.iter().map(|(found, _)| describe_anchor(found, state(found))).collect();
        copies.extend(survey.damaged.iter().map(|(block, _)| damaged_anchor(*block)));
        copies.sort_by_key(|copy| copy.at);
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

/// What the blocks are now that the log has been replayed: only those that a clean end names are filled on.
fn settle_states(
    blocks: &mut Blocks,
    layout: &Layout,
    pairs: &[Pair],
    next: &[Block],
    clean: Option<&CleanEnd>,
    open: &mut [Option<Block>],
    announced: &mut Announced,
) {
    let in_chain: BTreeSet<Block> = pairs.iter().flatten().chain(next).copied().collect();
    for &block in &in_chain {
        if blocks.state(block) != BlockState::Bad {
            blocks.set_state(block, BlockState::Chain);
        }
    }
    let mut may_be_used: BTreeSet<Block> = BTreeSet::new();
    if let Some(end) = clean {
        for filled in &end.open {
            let block = Block(filled.block);
            let known = filled.block < layout.blocks
                && filled.next < layout.data_pages()
                && matches!(blocks.state(block), BlockState::Listed | BlockState::Announced);
            let Some(slot) = open.get_mut(usize::from(filled.class)).filter(|_| known) else { continue };
            blocks.set_state(block, BlockState::Listed);
            blocks.lists.entry(block).or_default().resize(filled.next as usize, None);
            blocks.info_mut(block).class = filled.class;
            *slot = Some(block);
        }
        let inside = end.announced.iter().filter(|&&b| b < layout.blocks);
        may_be_used.extend(inside.map(|&b| Block(b)));
    }
    let class = layout.classes / 2;
    // Its summary proves what is committed, whatever else it holds.
    let last = blocks.closed_last();
    for block in blocks.iter() {
        let is_open = open.contains(&Some(block));
        match blocks.state(block) {
            BlockState::Chain if !in_chain.contains(&block) => {
                let is_known = clean.is_some() && !may_be_used.contains(&block);
                let state = if is_known { BlockState::Free } else { BlockState::Announced };
                blocks.set_state(block, state);
            }
            BlockState::Announced if clean.is_some() && !may_be_used.contains(&block) => {
                blocks.set_state(block, BlockState::Free);
            }
            BlockState::Listed if clean.is_some() && !is_open => {
                let full = blocks.lists.get(&block).is_some_and(|l| l.len() as u32 == layout.data_pages());
                // What was filled up has its summary; what was abandoned has none.
                if full {
                    let closed = blocks.info(block).written;
                    blocks.set_state(block, BlockState::Closed);
                    let info = blocks.info_mut(block);
                    (info.class, info.closed) = (class, closed);
                }
            }
            _ => {}
        }
        let info = blocks.info(block);
        let empty = info.live == 0 && !is_open && Some(block) != last;
        if empty && matches!(info.state, BlockState::Closed | BlockState::Listed) && clean.is_some() {
            blocks.set_state(block, BlockState::Free);
        }
        if blocks.state(block) == BlockState::Announced {
            announced.pool(Heat::Hot).push_back(block);
        }
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
        || !survey.damaged.is_empty();
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

/// Whether the pair that a clean end names is as it was then: if not, another session has begun since.
fn prints_match<H: FlashHardware>(hw: &H, loaded: &Loaded, end: &CleanEnd) -> Result<bool> {
    let Some(next) = loaded.next else { return Ok(false) };
    for (block, print) in next.into_iter().zip(end.prints) {
        if fingerprint(hw, PageAddr { block, page: 0 })? != print {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the blocks that a clean end names to be filled on can be such.
fn can_be_filled_on(layout: &Layout, end: &CleanEnd) -> bool {
    let mut seen = BTreeSet::new();
    let fits = |open: &OpenBlock| open.block < layout.blocks && open.next < layout.data_pages();
    end.open.iter().all(|open| fits(open) && seen.insert(open.block))
}

/// What a mount found that is not as it should be.
#[derive(Default)]
struct Findings {
    fallback: Option<String>,
    read_only: Option<String>,
    older: bool,
    warnings: Vec<String>,
}

impl Findings {
    /// This is not the newest state.
    fn stale(&mut self, reason: String) {
        self.older = true;
        self.read_only.get_or_insert_with(|| reason.clone());
        self.fallback.get_or_insert(reason);
    }

    fn judge<H: FlashHardware>(
        &mut self,
        hw: &H,
        survey: &ZoneSurvey,
        loaded: &Loaded,
        clean: bool,
        zone: &Zone,
    ) {
        let places = |blocks: &[Block]| {
            blocks.iter().map(|&block| block_place(hw, block)).collect::<Vec<_>>().join(" and ")
        };
        let log_end = || loaded.pairs.last().map_or(String::new(), |pair| places(pair));
        if let Some(reason) = &loaded.no_table {
            self.stale(format!("its block table cannot be used: {reason}"));
        }
        if let Some(reason) = &loaded.replayed.damage {
            self.stale(format!("its log is damaged at {}: {reason}", log_end()));
        }
        if let Some((block, certain)) = loaded.lost_half {
            let block = block_place(hw, block);
            let reason = format!("{block} cannot be read, and it may have held the last commit");
            if certain {
                self.stale(format!("{reason}: this may be an older state"));
            } else {
                self.fallback.get_or_insert(reason);
            }
        }
        // Two whole copies of the newest one, and a single block that could hold a newer one, which would have been written to another
        // as well: that is left over from a cut.
        let left_over = zone.blocks.len() == 2 && survey.damaged.len() == 1;
        for (block, reading) in survey.damaged.iter().filter(|_| !left_over) {
            let (block, why) = (block_place(hw, *block), reading.why_no_anchor());
            self.fallback.get_or_insert(format!("the anchor in {block} is damaged: {why}"));
        }
        if zone.in_doubt && survey.damaged.is_empty() {
            let sequence = loaded.anchor.head.number;
            self.fallback.get_or_insert(format!(
                "the anchor (sequence {sequence}) is whole in one block alone, or a torn one follows it: {}",
                places(&zone.blocks)
            ));
        }
        if let Some((_, reason)) = loaded.damaged.first() {
            self.fallback.get_or_insert(format!("one copy of the metadata is damaged: {reason}"));
        }
        if loaded.replayed.torn {
            self.fallback
                .get_or_insert(format!("the last page of its log is torn: it ends at {}", log_end()));
        }
        if !clean {
            self.warnings.push("it was not ended well: the next write recovers it first".to_string());
        }
    }
}
