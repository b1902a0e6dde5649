//! Checking and mending a volume of the page-mapped format.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::{Checked, Collector, Finding, Severity};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, Inspected, PageAddr};
use crate::ftl::Volume;
use crate::ftl::page::{
    BlockContent, Layout, Lpn, MapContent, Mount, PageVolume, Rebuilt, StoredAt, damaged_anchors,
    plan_rebuild, rebuild,
};

const REBUILDS: &str = "rebuilds the map from what the blocks say of themselves";
const REWRITES: &str = "writes all metadata anew into other blocks";
const MOVES: &str = "moves its data to a good block";

const LOST_PAGE: &str = "lost-page";
const REBUILT_PAGES: &str = "rebuilt-pages";

// The codes that a repair asks for.
const BAD_MARK_MISSING: &str = "bad-mark-missing";
const SUMMARY_DAMAGED: &str = "summary-damaged";
const SUMMARY_DISAGREES: &str = "summary-disagrees";

/// What is to be checked of one block.
struct BlockWork<'a> {
    block: Block,
    /// Pages that the map says it holds.
    stored: &'a [StoredAt],
    /// The table says that a summary closes it.
    closed: bool,
    erases: u32,
}

/// What every block is held against.
struct Blocks<'a, H> {
    hw: &'a H,
    layout: Layout,
    volume: u32,
}

/// Check everything. Nothing is changed. `progress` is told of the data bytes read so far and in all.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read, or there is no trace of a volume.
pub fn check<H: FlashHardware>(hw: &H, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked> {
    check_with(hw, &mut |blocks, work| {
        let total = blocks.bytes_of(work);
        let mut findings = Vec::new();
        let mut done = 0;
        for block in work {
            findings.extend(blocks.check(block)?);
            done += u64::from(blocks.hw.geometry().block_size());
            progress(done, total);
        }
        Ok(findings)
    })
}

/// The same, over all cores.
///
/// # Errors
/// As for [`check`].
#[cfg(feature = "std")]
pub fn check_in_parallel<H: FlashHardware + Sync>(
    hw: &H,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked> {
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    check_with(hw, &mut |blocks, work| {
        let total = blocks.bytes_of(work);
        let block_size = u64::from(blocks.hw.geometry().block_size());
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(work.len().max(1));
        let run = || -> Result<Vec<Finding>> {
            let mut findings = Vec::new();
            while let Some(block) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                findings.extend(blocks.check(block)?);
                done.fetch_add(block_size, Ordering::Relaxed);
            }
            Ok(findings)
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
            while running.iter().any(|worker| !worker.is_finished()) {
                progress(done.load(Ordering::Relaxed), total);
                std::thread::sleep(Duration::from_millis(2));
            }
            let mut findings = Vec::new();
            for worker in running {
                findings.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(findings)
        })
    })
}

/// The same where there are no threads.
///
/// # Errors
/// As for [`check`].
#[cfg(not(feature = "std"))]
pub fn check_in_parallel<H: FlashHardware>(hw: &H, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked> {
    check(hw, progress)
}

/// Checks all blocks, in whatever order.
type CheckBlocks<'c, H> = &'c mut dyn FnMut(&Blocks<'_, H>, &[BlockWork<'_>]) -> Result<Vec<Finding>>;

fn check_with<H: FlashHardware>(hw: &H, check_blocks: CheckBlocks<'_, H>) -> Result<Checked> {
    let mut findings = Collector::default();
    let mut checked = Checked { blocks: u64::from(hw.geometry().blocks()), ..Checked::default() };
    let mounted = PageVolume::mount(Inspected(hw), &Mount::for_checking());
    check_anchors(hw, mounted.is_ok(), &mut findings)?;
    let volume = match mounted {
        Ok(volume) => volume,
        Err(error @ Error::Unmountable(_)) => {
            check_what_is_left(hw, &error, &mut findings)?;
            return Ok(Checked { findings: findings.finish(), ..checked });
        }
        Err(error) => return Err(error),
    };
    if check_state(&volume, &mut findings) == State::Older {
        // Its map is out of date: what it says of each page means nothing.
        drop(volume);
        describe(hw, &plan_rebuild(hw)?, &mut findings);
        return Ok(Checked { findings: findings.finish(), ..checked });
    }
    for (at, reason) in volume.damaged_copies()? {
        let message = format!("one copy of the metadata is damaged: {reason}");
        let finding = Finding::new("metadata-copy-damaged", Severity::Warning, message).at_page(hw, at);
        findings.push(finding.mended_by(REWRITES));
    }
    let content = volume.map_content()?;
    check_map(&volume, &content, &mut findings);
    check_bad_blocks(hw, &volume, &mut findings)?;
    check_wear(hw, &volume, &mut findings);
    let work = work_of(&volume, &content);
    check_counts(hw, &volume, &work, &mut findings);
    let blocks = Blocks { hw, layout: *volume.layout(), volume: volume.id() };
    let mut found = check_blocks(&blocks, &work)?;
    found.sort_by_key(|finding| (finding.block, finding.page));
    found.into_iter().for_each(|finding| findings.push(finding));
    checked.pages = content.stored.len() as u64;
    checked.bytes = checked.pages * u64::from(volume.layout().page_size);
    Ok(Checked { findings: findings.finish(), ..checked })
}

fn check_anchors<H: FlashHardware>(hw: &H, mounts: bool, findings: &mut Collector) -> Result<()> {
    for damaged in damaged_anchors(hw)? {
        let severity = if mounts && damaged.has_twin { Severity::Warning } else { Severity::Error };
        let message = format!("the anchor at {} is damaged: {}", damaged.at, damaged.reason);
        let finding = Finding::new("anchor-damaged", severity, message).at_page(hw, damaged.at);
        findings.push(finding.mended_by("writes an anchor into other blocks and erases this one"));
    }
    Ok(())
}

/// What a rebuild would make of a volume that does not mount, or only as it was.
fn check_what_is_left<H: FlashHardware>(hw: &H, error: &Error, findings: &mut Collector) -> Result<()> {
    let finding = Finding::new("no-usable-metadata", Severity::Error, format!("{error}"));
    match plan_rebuild(hw) {
        Ok(rebuilt) => {
            // With nothing to show for it, a rebuild would only erase what cannot be confirmed.
            findings.push(if rebuilt.is_worth_it() { finding.mended_by(REBUILDS) } else { finding });
            describe(hw, &rebuilt, findings);
            Ok(())
        }
        Err(Error::Unmountable(_) | Error::Unsupported(_)) => {
            findings.push(finding);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What a rebuild comes to, page by page.
fn describe<H: FlashHardware>(hw: &H, rebuilt: &Rebuilt, findings: &mut Collector) {
    let message = format!("{} logical pages can be given their newest version again", rebuilt.restored);
    findings.push(Finding::new(REBUILT_PAGES, Severity::Info, message));
    if !rebuilt.by_log {
        let (severity, message) = match rebuilt.unaccounted {
            0 => {
                (Severity::Warning, "the log is not all there: what was written last may be gone".to_string())
            }
            writes => (
                Severity::Error,
                format!(
                    "the log is not all there: {writes} pages that were written are in no block, and whether all of those were written again, nothing tells"
                ),
            ),
        };
        findings.push(Finding::new("rebuilt-without-log", severity, message));
    }
    for &block in &rebuilt.in_doubt {
        let message = format!(
            "nothing says what {block} holds: newer versions of logical pages may have been there, or others than were found"
        );
        findings.push(Finding::new("rebuilt-in-doubt", Severity::Error, message).at_block(hw, block));
    }
    let offset = |logical: Lpn| u64::from(logical.0) * u64::from(hw.geometry().page_size());
    let named = |logical: Lpn| format!("{logical} (logical byte {})", offset(logical));
    for &(logical, at) in &rebuilt.lost {
        let how =
            at.map_or("no version of it is left".to_string(), |at| format!("it was at {at}, and is gone"));
        let message = format!("{} is lost: {how}", named(logical));
        let finding = Finding::new(LOST_PAGE, Severity::Error, message).about_data_at(offset(logical));
        findings.push(at.map_or(finding.clone(), |at| finding.at_page(hw, at)));
    }
    for &(logical, at) in &rebuilt.older {
        let message = format!("{} has an older version than the newest, which was at {at}", named(logical));
        let finding = Finding::new("rebuilt-older", Severity::Error, message);
        findings.push(finding.at_page(hw, at).about_data_at(offset(logical)));
    }
    for &(logical, at) in &rebuilt.damaged {
        let message = format!("the newest version of {}, at {at}, is damaged", named(logical));
        let finding = Finding::new("rebuilt-damaged", Severity::Error, message);
        findings.push(finding.at_page(hw, at).about_data_at(offset(logical)));
    }
    for (logical, at) in &rebuilt.unconfirmed {
        // By the log it was not; without, it may have been the newest.
        let severity = if rebuilt.by_log { Severity::Info } else { Severity::Error };
        let message = format!("a version of {logical}, at {at}, is not known to have been committed");
        findings.push(Finding::new("rebuilt-unconfirmed", severity, message).at_page(hw, *at));
    }
    let message = "logical pages that were discarded may be back: only the log knows of those, and only since its checkpoint";
    findings.push(Finding::new("rebuilt-discards", Severity::Info, message.to_string()));
}

/// What a volume that mounts can be taken for.
#[derive(PartialEq, Eq)]
enum State {
    Newest,
    Older,
}

fn check_state<H: FlashHardware>(volume: &PageVolume<Inspected<'_, H>>, findings: &mut Collector) -> State {
    let stale = volume.read_only().filter(|reason| *reason != crate::ftl::MOUNTED_READ_ONLY);
    match (stale, volume.fallback()) {
        (Some(reason), _) if volume.is_older_state() => {
            let finding = Finding::new("older-state", Severity::Error, reason.to_string());
            findings.push(finding.mended_by(REBUILDS));
            return State::Older;
        }
        (Some(reason), _) => {
            findings.push(Finding::new("read-only", Severity::Error, reason.to_string()));
        }
        (None, Some(reason)) => {
            let finding = Finding::new("fallback", Severity::Warning, reason.to_string());
            findings.push(finding.mended_by(REWRITES));
        }
        (None, None) => {}
    }
    if !volume.ended_well() {
        let message = "the last session of writing did not end well: the next one recovers first";
        findings.push(Finding::new("not-ended", Severity::Info, message.to_string()));
    }
    State::Newest
}

fn check_map<H: FlashHardware>(
    volume: &PageVolume<Inspected<'_, H>>,
    content: &MapContent,
    findings: &mut Collector,
) {
    let hw = volume.flash();
    let layout = volume.layout();
    for (index, reason) in &content.damaged {
        let finding = Finding::new("map-page-damaged", Severity::Error, reason.clone());
        findings.push(Finding { page: Some(*index), ..finding.mended_by(REBUILDS) });
    }
    for (logical, address) in &content.misplaced {
        let message = format!("the map puts {logical} at page address {address}, and there is no such place");
        findings.push(Finding::new("map-misplaced", Severity::Error, message).mended_by(REBUILDS));
    }
    for logical in &content.lost {
        let offset = u64::from(logical.0) * u64::from(layout.page_size);
        let message = format!(
            "{logical} (logical byte {offset}) was lost: the page that held it could not be read any more"
        );
        findings.push(Finding::new(LOST_PAGE, Severity::Error, message).about_data_at(offset));
    }
    let length = volume.len().div_ceil(u64::from(layout.page_size));
    let mut past = 0u64;
    let mut before: Option<&StoredAt> = None;
    for stored in &content.stored {
        let at = layout.page_addr(stored.page);
        if let Some(other) = before.filter(|other| other.page == stored.page) {
            let message = format!("the map puts {} and {} into the same page", other.logical, stored.logical);
            let finding = Finding::new("map-duplicate", Severity::Error, message).at_page(hw, at);
            findings.push(finding.mended_by(REBUILDS));
        }
        if volume.knows_blocks() && volume.live_pages(at.block).is_none() && !volume.is_bad_by_table(at.block)
        {
            let message = format!(
                "the map puts {} into {}, which holds no data by the block table",
                stored.logical, at.block
            );
            let finding = Finding::new("map-wrong-block", Severity::Error, message).at_page(hw, at);
            findings.push(finding.mended_by(REBUILDS));
        }
        past += u64::from(u64::from(stored.logical.0) >= length);
        before = Some(stored);
    }
    if past > 0 {
        let message = format!("{past} logical pages are stored past the end of the volume");
        findings.push(Finding::new("mapped-past-length", Severity::Info, message));
    }
}

fn check_bad_blocks<H: FlashHardware>(
    hw: &H,
    volume: &PageVolume<Inspected<'_, H>>,
    findings: &mut Collector,
) -> Result<()> {
    if !volume.knows_blocks() {
        return Ok(());
    }
    for block in hw.geometry().iter_blocks() {
        let (marked, in_table) = (hw.is_bad(block)?, volume.is_bad_by_table(block));
        if marked && volume.live_pages(block).is_some_and(|live| live > 0) {
            let message = format!("{block} holds data and is bad");
            let finding = Finding::new("mapped-bad-block", Severity::Error, message).at_block(hw, block);
            findings.push(finding.mended_by(MOVES));
        }
        if !marked && in_table && hw.carries_marks() {
            let message = format!("{block} is bad in the volume's table and carries no mark on the chip");
            let finding = Finding::new(BAD_MARK_MISSING, Severity::Warning, message).at_block(hw, block);
            findings.push(finding.mended_by("marks the block on the chip"));
        }
    }
    Ok(())
}

fn check_wear<H: FlashHardware>(hw: &H, volume: &PageVolume<Inspected<'_, H>>, findings: &mut Collector) {
    let Some(rated) = hw.geometry().max_erase_cycles() else { return };
    for (block, &count) in hw.geometry().iter_blocks().zip(volume.erase_counts()) {
        if count > rated {
            let message = format!("{block} has been erased {count} times and is rated for {rated}");
            findings.push(Finding::new("worn-past-rating", Severity::Warning, message).at_block(hw, block));
        }
    }
}

/// The blocks that hold data by the map or by the table.
fn work_of<'a, H: FlashHardware>(
    volume: &PageVolume<Inspected<'_, H>>,
    content: &'a MapContent,
) -> Vec<BlockWork<'a>> {
    let layout = volume.layout();
    let by_block = content.stored.chunk_by(|a, b| layout.block_of(a.page) == layout.block_of(b.page));
    let mut stored: BTreeMap<Block, &[StoredAt]> = BTreeMap::new();
    for pages in by_block {
        if let Some(first) = pages.first() {
            stored.insert(layout.block_of(first.page), pages);
        }
    }
    let by_table = volume.flash().geometry().iter_blocks().filter(|&b| volume.is_closed(b));
    let blocks: BTreeSet<Block> = by_table.chain(stored.keys().copied()).collect();
    let work = |block: Block| BlockWork {
        block,
        stored: stored.get(&block).copied().unwrap_or_default(),
        closed: volume.is_closed(block),
        erases: volume.erase_counts().get(block.index()).copied().unwrap_or(0),
    };
    blocks.into_iter().map(work).collect()
}

fn check_counts<H: FlashHardware>(
    hw: &H,
    volume: &PageVolume<Inspected<'_, H>>,
    work: &[BlockWork<'_>],
    findings: &mut Collector,
) {
    for work in work {
        let Some(live) = volume.live_pages(work.block).filter(|_| volume.knows_blocks()) else { continue };
        if live as usize != work.stored.len() {
            let message = format!(
                "{} holds {} pages that count, and the block table says {live}",
                work.block,
                work.stored.len()
            );
            let finding =
                Finding::new("live-count-wrong", Severity::Warning, message).at_block(hw, work.block);
            findings.push(finding.mended_by("counts again"));
        }
    }
}

impl<H: FlashHardware> Blocks<'_, H> {
    fn bytes_of(&self, work: &[BlockWork<'_>]) -> u64 {
        work.len() as u64 * u64::from(self.hw.geometry().block_size())
    }

    /// Read a block once, and hold it against the map, its summary and its erase count.
    fn check(&self, work: &BlockWork<'_>) -> Result<Vec<Finding>> {
        let geometry = self.hw.geometry();
        let mut findings = Vec::new();
        let mut bytes = vec![0; geometry.block_size() as usize];
        let mut unreadable = BTreeSet::new();
        match self.hw.read(work.block, 0, &mut bytes) {
            Ok(()) => {}
            Err(FlashError::Unreadable { .. }) => {
                unreadable = self.read_page_by_page(work.block, &mut bytes)?;
            }
            Err(error) => return Err(error.into()),
        }
        for stored in work.stored {
            findings.extend(self.check_page(stored, &bytes, &unreadable));
        }
        if work.closed {
            self.check_summary(work, &bytes, &mut findings);
        }
        Ok(findings)
    }

    fn read_page_by_page(&self, block: Block, bytes: &mut [u8]) -> Result<BTreeSet<u32>> {
        let size = self.layout.page_size;
        let mut unreadable = BTreeSet::new();
        for (at, page) in self.hw.geometry().iter_pages(block).zip(bytes.chunks_mut(size as usize)) {
            match self.hw.read(block, at.page * size, page) {
                Ok(()) => {}
                Err(FlashError::Unreadable { .. }) => {
                    unreadable.insert(at.page);
                    page.fill(0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(unreadable)
    }

    fn check_page(&self, stored: &StoredAt, bytes: &[u8], unreadable: &BTreeSet<u32>) -> Option<Finding> {
        let at = self.layout.page_addr(stored.page);
        let size = self.layout.page_size as usize;
        let logical_offset = u64::from(stored.logical.0) * size as u64;
        let logical = format!("{} (logical byte {logical_offset})", stored.logical);
        let finding = |code, message| {
            Finding::new(code, Severity::Error, message).at_page(self.hw, at).about_data_at(logical_offset)
        };
        if unreadable.contains(&at.page) {
            let offset = self.hw.raw_offset(at);
            let message = format!("{logical}: {}", FlashError::Unreadable { at, offset });
            return Some(finding("data-unreadable", message));
        }
        let found = crc32fast::hash(bytes.get(at.page as usize * size..)?.get(..size)?);
        (found != stored.crc).then(|| {
            let message =
                format!("{logical} is damaged: its CRC-32 is {found:08x}, and {:08x} was stored", stored.crc);
            finding("data-damaged", message)
        })
    }

    fn check_summary(&self, work: &BlockWork<'_>, bytes: &[u8], findings: &mut Vec<Finding>) {
        let block = work.block;
        let Some(content) = BlockContent::of_block(&self.layout, self.volume, block, bytes) else {
            let at = PageAddr { block, page: self.layout.data_pages() };
            let message = format!("the summary of {block} is damaged");
            let finding = Finding::new(SUMMARY_DAMAGED, Severity::Warning, message).at_page(self.hw, at);
            findings.push(finding.mended_by(MOVES));
            return;
        };
        for stored in work.stored {
            let at = self.layout.page_addr(stored.page);
            let entry = content.pages.get(&at.page);
            if entry.is_none_or(|entry| entry.logical != stored.logical || entry.crc != stored.crc) {
                let holds = entry.map_or("nothing".to_string(), |entry| format!("{}", entry.logical));
                let message =
                    format!("the map puts {} here, and the summary of {block} says {holds}", stored.logical);
                let finding = Finding::new(SUMMARY_DISAGREES, Severity::Warning, message);
                findings.push(finding.at_page(self.hw, at).mended_by(MOVES));
            }
        }
        if content.erases != work.erases {
            let message = format!(
                "the summary of {block} states {} erases, and the block table {}",
                content.erases, work.erases
            );
            let finding =
                Finding::new("erase-count-wrong", Severity::Warning, message).at_block(self.hw, block);
            findings.push(if content.erases > work.erases {
                finding.mended_by("counts from there")
            } else {
                finding
            });
        }
    }
}

/// Mend what can be mended without guessing, and check again. The findings are those of `before`, with what the second
/// check no longer finds repaired, and what only it finds.
///
/// # Errors
/// When the chip fails; what was mended until then stays so.
pub fn repair<H: FlashHardware>(
    hw: &mut H,
    before: &Checked,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked> {
    let mut known = before.findings.clone();
    if before.findings.iter().any(|finding| finding.repair.is_some()) {
        known.extend(mend(hw, before)?);
    }
    Ok(super::merge(known, &check(hw, progress)?))
}

/// Mend; what is to be said of it that the check before it had no reason to say.
fn mend<H: FlashHardware>(hw: &mut H, before: &Checked) -> Result<Vec<Finding>> {
    let is_asked = |repair: &str| before.findings.iter().any(|finding| finding.repair == Some(repair));
    if is_asked(REBUILDS) {
        let rebuilt = match rebuild(hw) {
            Err(why @ (Error::ReadOnly(_) | Error::NoFreeBlock { .. })) => return Ok(vec![given_up(&why)]),
            rebuilt => rebuilt?,
        };
        let mut findings = Collector::default();
        if !before.findings.iter().any(|finding| finding.code == REBUILT_PAGES) {
            describe(hw, &rebuilt, &mut findings);
        }
        hw.sync()?;
        return Ok(findings.finish());
    }
    let mut why = None;
    if before.findings.iter().any(|finding| finding.code == BAD_MARK_MISSING) {
        mark_what_the_table_says(hw)?;
    }
    if before.findings.iter().any(|f| f.repair.is_some() && f.code != BAD_MARK_MISSING) {
        why = mend_mounted(hw, before)?;
    }
    hw.sync()?;
    Ok(why.iter().map(given_up).collect())
}

fn given_up(why: &Error) -> Finding {
    let message = format!("the repair was given up: {why}");
    Finding::new("repair-given-up", Severity::Info, message)
}

/// Mend a volume that mounts; why that was given up, if it was: what is left to mend is what the next check finds.
fn mend_mounted<H: FlashHardware>(hw: &mut H, before: &Checked) -> Result<Option<Error>> {
    let content = PageVolume::mount(Inspected(&*hw), &Mount::for_checking())?.map_content()?;
    let to_move = |finding: &&Finding| [SUMMARY_DAMAGED, SUMMARY_DISAGREES].contains(&finding.code);
    let blocks: BTreeSet<Block> =
        before.findings.iter().filter(to_move).filter_map(|finding| finding.block.map(Block)).collect();
    let blocks: Vec<Block> = blocks.into_iter().collect();
    let mut volume = PageVolume::mount(&mut *hw, &Mount::default())?;
    if let Some(reason) = volume.read_only() {
        return Ok(Some(Error::ReadOnly(reason.to_string())));
    }
    match volume.mend(&content, &blocks) {
        // What there is no room for, and what fails under the repair.
        Err(
            why @ (Error::ReadOnly(_)
            | Error::NoFreeBlock { .. }
            | Error::Flash(FlashError::Unreadable { .. })),
        ) => Ok(Some(why)),
        mended => mended.map(|()| None),
    }
}

/// Mark the blocks that the volume's table holds for bad.
fn mark_what_the_table_says<H: FlashHardware>(hw: &mut H) -> Result<()> {
    let volume = PageVolume::mount(Inspected(&*hw), &Mount::for_checking())?;
    let bad: Vec<Block> =
        hw.geometry().iter_blocks().filter(|&block| volume.is_bad_by_table(block)).collect();
    drop(volume);
    super::mark(hw, &bad)
}
