//! Checking and mending a volume of the page-mapped format.

mod blocks;
mod rebuilt;
mod repair;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Checked, Collector, Finding, Remedy, Severity};
use crate::error::{Error, Result};
use crate::flash::{FlashHardware, Inspected};
use crate::ftl::Volume;
use crate::ftl::page::{MapContent, Mount, PageVolume, StoredAt, damaged_anchors};

use self::blocks::{BlockWork, Blocks, check_counts, holds_no_data, work_of};
use self::rebuilt::check_what_is_left;

pub use self::repair::repair;

const LOST_PAGE: &str = "lost-page";
const REBUILT_PAGES: &str = "rebuilt-pages";

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
            progress(total, total);
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
            let why = Finding::new("no-usable-metadata", Severity::Error, error.to_string());
            check_what_is_left(hw, why, &mut findings)?;
            return Ok(Checked { findings: findings.finish(), ..checked });
        }
        Err(error) => return Err(error),
    };
    if let Some(why) = older_state(&volume) {
        // Its map is out of date: what it says of each page means nothing.
        drop(volume);
        check_what_is_left(hw, why, &mut findings)?;
        return Ok(Checked { findings: findings.finish(), ..checked });
    }
    check_state(&volume, &mut findings);
    for (at, reason) in volume.damaged_copies()? {
        let message = format!("one copy of the metadata is damaged: {reason}");
        let finding = Finding::new("metadata-copy-damaged", Severity::Warning, message).at_page(hw, at);
        findings.push(finding.mended_by(Remedy::RewriteMetadata));
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
        let (at, reason) = (damaged.at, &damaged.reason);
        let message = if damaged.last == at.page {
            format!("the anchor at {at} is damaged: {reason}")
        } else {
            format!(
                "the anchors at {}, pages {} to {} are damaged: {reason}",
                at.block, at.page, damaged.last
            )
        };
        let finding = Finding::new("anchor-damaged", severity, message).at_page(hw, at);
        findings.push(finding.mended_by(Remedy::ReplaceAnchor));
    }
    Ok(())
}

/// Why this volume is not the newest there was, if so.
fn older_state<H: FlashHardware>(volume: &PageVolume<Inspected<'_, H>>) -> Option<Finding> {
    let reason = volume.read_only().filter(|_| volume.is_older_state())?;
    Some(Finding::new("older-state", Severity::Error, reason.to_string()))
}

fn check_state<H: FlashHardware>(volume: &PageVolume<Inspected<'_, H>>, findings: &mut Collector) {
    let stale = volume.read_only().filter(|reason| *reason != crate::ftl::MOUNTED_READ_ONLY);
    if let Some(reason) = stale {
        findings.push(Finding::new("read-only", Severity::Error, reason.to_string()));
    }
    if let Some(reason) = volume.fallback() {
        let finding = Finding::new("fallback", Severity::Warning, reason.to_string());
        findings.push(match stale {
            None => finding.mended_by(Remedy::RewriteMetadata),
            Some(_) => finding,
        });
    }
    if !volume.ended_well() {
        let recovers = if stale.is_none() { ": the next one recovers first" } else { "" };
        let message = format!("the last session of writing did not end well{recovers}");
        findings.push(Finding::new("not-ended", Severity::Info, message));
    }
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
        findings.push(Finding { page: Some(*index), ..finding.mended_by(Remedy::Rebuild) });
    }
    for (logical, address) in &content.misplaced {
        let message = format!("the map puts {logical} at page address {address}, and there is no such place");
        findings.push(Finding::new("map-misplaced", Severity::Error, message).mended_by(Remedy::Rebuild));
    }
    for logical in &content.lost {
        let offset = u64::from(logical.0) * u64::from(layout.page_size);
        let message = format!(
            "{logical} (logical byte {offset}) was lost: no page that held it could be read any more"
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
            findings.push(finding.mended_by(Remedy::Rebuild));
        }
        if holds_no_data(volume, at.block) {
            let message = format!(
                "the map puts {} into {}, which holds no data by the block table",
                stored.logical, at.block
            );
            let finding = Finding::new("map-wrong-block", Severity::Error, message).at_page(hw, at);
            findings.push(finding.mended_by(Remedy::Rebuild));
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
            findings.push(finding.mended_by(Remedy::MoveData));
        }
        if !marked && in_table && hw.carries_marks() {
            let message = format!("{block} is bad in the volume's table and carries no mark on the chip");
            let finding = Finding::new("bad-mark-missing", Severity::Warning, message).at_block(hw, block);
            findings.push(finding.mended_by(Remedy::MarkBad));
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
