//! Checking and mending a volume of the block-mapped format.
//!
//! The format carries no checksum over data: a page that can be read is taken for right.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Checked, Collector, Finding, Remedy, Severity};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, Inspected};
use crate::ftl::Volume;
use crate::ftl::bad_blocks::BadBlockTable;
use crate::ftl::block::map::Mapping;
use crate::ftl::block::slots::{Slot, SlotId};
use crate::ftl::block::{BlockVolume, Choice, Mount, Survey, restart_sequence};
use crate::ftl::wear::WearPolicy;
use crate::onflash::ftlj::Metadata;

const BAD_SLOT_BLOCK: &str = "bad-slot-block";

/// Check everything. Nothing is changed. `progress` is told of the data bytes read so far and in all.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read, or there is no trace of a volume.
pub fn check<H: FlashHardware>(hw: &H, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked> {
    let survey = Survey::read(hw)?;
    let mut checked = Checked { blocks: u64::from(survey.layout.blocks), ..Checked::default() };
    let mut findings = Collector::default();
    let choice = match survey.choose(None) {
        Ok(choice) => Some(choice),
        Err(error @ Error::Unmountable(_)) => {
            let finding = Finding::new("no-valid-slot", Severity::Error, format!("{error}"));
            findings.push(finding);
            None
        }
        Err(error) => return Err(error),
    };
    check_slots(hw, &survey, choice.as_ref(), &mut findings);
    if let Some(choice) = choice {
        let volume = BlockVolume::mount(Inspected(hw), &Mount { read_only: true, ..Mount::default() })?;
        check_tables(hw, &volume, &choice, &mut findings)?;
        check_map(&volume, &mut findings);
        check_data(&volume, &mut checked, &mut findings, progress)?;
    }
    Ok(Checked { findings: findings.finish(), ..checked })
}

fn check_slots<H: FlashHardware>(
    hw: &H,
    survey: &Survey,
    choice: Option<&Choice<'_>>,
    findings: &mut Collector,
) {
    for id in SlotId::BOTH {
        let severity = match choice {
            Some(choice) if survey.slot(id).sequence() < Some(choice.sequence) => Severity::Warning,
            _ => Severity::Error,
        };
        let code = match survey.slot(id) {
            Slot::Empty => continue,
            Slot::Torn(_) => "slot-torn",
            Slot::Corrupt(_) => "slot-corrupt",
            Slot::Unreadable(_) => "slot-unreadable",
            Slot::Valid { .. } => "slot-wrong-tables",
        };
        let Some(trouble) = survey.trouble(id) else { continue };
        let finding = Finding::new(code, severity, format!("{id} is {trouble}"));
        let finding = finding.at_block(hw, id.first_block(&survey.layout));
        // A newer copy that cannot be used is evidence: writing over it would decide that it never counted.
        findings.push(if severity == Severity::Warning {
            finding.mended_by(Remedy::RewriteSlot)
        } else {
            finding
        });
    }
    if let (Slot::Valid { sequence: a, metadata: in_a }, Slot::Valid { sequence: b, metadata: in_b }) =
        (&survey.a, &survey.b)
        && a == b
        && in_a != in_b
        && SlotId::BOTH.into_iter().all(|id| survey.trouble(id).is_none())
    {
        let message = format!("both slots have sequence {a} and differ; slot A is used");
        findings.push(Finding::new("sequence-tie", Severity::Warning, message).mended_by(Remedy::Commit));
    }
}

fn check_tables<H: FlashHardware>(
    hw: &H,
    volume: &BlockVolume<Inspected<'_, H>>,
    choice: &Choice<'_>,
    findings: &mut Collector,
) -> Result<()> {
    let metadata = choice.metadata;
    check_sizes(volume, metadata, findings);
    if choice.sequence == u64::MAX {
        let message =
            String::from("the sequence number is the last one there is: nothing more can be committed");
        let finding = Finding::new("sequence-exhausted", Severity::Error, message);
        findings.push(
            finding.at_block(hw, choice.slot.first_block(volume.layout())).mended_by(Remedy::RestartSequence),
        );
    }
    let table = BadBlockTable::from_bitmap(&metadata.bad_table, volume.layout().blocks);
    for block in hw.geometry().iter_blocks() {
        let marked = hw.is_bad(block)?;
        if (marked || table.contains(block))
            && let Some(slot) = SlotId::of_block(block, volume.layout())
        {
            let message = format!("{block} is bad, and {slot} has no other place: the volume is read-only");
            findings.push(Finding::new(BAD_SLOT_BLOCK, Severity::Error, message).at_block(hw, block));
        }
        if marked && !table.contains(block) {
            let message = format!("{block} is marked bad on the chip and not in the volume's table");
            let finding =
                Finding::new("bad-table-incomplete", Severity::Warning, message).at_block(hw, block);
            findings.push(finding.mended_by(Remedy::Commit));
        }
        if !marked && table.contains(block) && hw.carries_marks() {
            let message = format!("{block} is bad in the volume's table and carries no mark on the chip");
            let finding = Finding::new("bad-mark-missing", Severity::Warning, message).at_block(hw, block);
            findings.push(finding.mended_by(Remedy::MarkBad));
        }
    }
    if let Some(rated) = hw.geometry().max_erase_cycles() {
        for (block, &count) in hw.geometry().iter_blocks().zip(&metadata.erase_counts) {
            if count > rated {
                let message = format!("{block} has been erased {count} times and is rated for {rated}");
                findings
                    .push(Finding::new("worn-past-rating", Severity::Warning, message).at_block(hw, block));
            }
        }
    }
    Ok(())
}

fn check_sizes<H: FlashHardware>(volume: &BlockVolume<H>, metadata: &Metadata, findings: &mut Collector) {
    let layout = volume.layout();
    let logical = layout.logical_blocks as usize;
    let map = metadata.map.len();
    if map < logical {
        let message =
            format!("the map has {map} entries, and {logical} are expected: the rest counts as unmapped");
        findings.push(Finding::new("map-short", Severity::Warning, message).mended_by(Remedy::Commit));
    } else if map > logical {
        let message = format!("the map has {map} entries, and {logical} are expected");
        findings.push(Finding::new("map-long", Severity::Warning, message));
    }
    let bad_table = metadata.bad_table.len();
    if bad_table > layout.bad_table_len() {
        let message =
            format!("the bad-block table has {bad_table} bytes, and {} are expected", layout.bad_table_len());
        findings.push(Finding::new("bad-table-long", Severity::Warning, message).mended_by(Remedy::Commit));
    }
    let len = metadata.logical_len;
    if len > volume.mapped_end() {
        let message =
            format!("the logical length {len} is past the end of the map at {}", volume.mapped_end());
        findings.push(Finding::new("length-past-map", Severity::Error, message));
    } else if len > volume.capacity() {
        let message = format!("the logical length {len} is past the capacity {}", volume.capacity());
        findings.push(Finding::new("length-past-capacity", Severity::Warning, message));
    }
}

fn check_map<H: FlashHardware>(volume: &BlockVolume<H>, findings: &mut Collector) {
    let hw = volume.flash();
    let first_past_end = volume.len().div_ceil(u64::from(volume.layout().block_size));
    let bad = BadBlockTable::from_blocks(volume.layout().blocks, volume.bad_blocks());
    for (logical, mapping) in (0u64..).zip(volume.map()) {
        let finding = match *mapping {
            Mapping::Unmapped => continue,
            Mapping::OutOfRange(entry) => {
                let there_are = volume.layout().data_blocks();
                let message = format!(
                    "logical block {logical} is mapped to data block {entry}, and there are {there_are}"
                );
                Finding::new("map-out-of-range", Severity::Error, message)
            }
            Mapping::Shared(block) => {
                let message = format!(
                    "logical block {logical} is mapped to {block}, which another logical block claims too"
                );
                Finding::new("map-duplicate", Severity::Error, message).at_block(hw, block)
            }
            Mapping::At(block) if bad.contains(block) => {
                let message = format!("{block} holds logical block {logical} and is bad");
                let finding = Finding::new("mapped-bad-block", Severity::Error, message).at_block(hw, block);
                finding.mended_by(Remedy::MoveData)
            }
            Mapping::At(block) if logical >= first_past_end => {
                let message = format!("{block} holds logical block {logical}, past the end of the volume");
                Finding::new("mapped-past-length", Severity::Info, message).at_block(hw, block)
            }
            Mapping::At(_) => continue,
        };
        findings.push(finding);
    }
}

/// Read every block that holds data.
fn check_data<H: FlashHardware>(
    volume: &BlockVolume<H>,
    checked: &mut Checked,
    findings: &mut Collector,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let hw = volume.flash();
    let geometry = *hw.geometry();
    let mut data = vec![0; geometry.block_size() as usize];
    let logical = (0..).step_by(geometry.block_size() as usize);
    let mapped: Vec<(Block, u64)> =
        volume.map().iter().zip(logical).filter_map(|(m, logical)| Some((m.block()?, logical))).collect();
    let total = mapped.len() as u64 * u64::from(geometry.block_size());
    for (block, logical) in mapped {
        match hw.read(block, 0, &mut data) {
            Ok(()) => {}
            Err(FlashError::Unreadable { .. }) => {
                find_unreadable_pages(hw, (block, logical), &mut data, findings)?;
            }
            Err(error) => return Err(error.into()),
        }
        checked.pages += u64::from(geometry.pages_per_block());
        checked.bytes += u64::from(geometry.block_size());
        progress(checked.bytes, total);
    }
    Ok(())
}

/// The pages of a block that cannot be read; it holds the data from a logical byte on.
fn find_unreadable_pages<H: FlashHardware>(
    hw: &H,
    (block, logical): (Block, u64),
    buf: &mut [u8],
    findings: &mut Collector,
) -> Result<()> {
    let page_size = hw.geometry().page_size();
    for (page, bytes) in hw.geometry().iter_pages(block).zip(buf.chunks_mut(page_size as usize)) {
        match hw.read_pages(page, bytes) {
            Err(error @ FlashError::Unreadable { .. }) => {
                let finding = Finding::new("data-unreadable", Severity::Error, format!("{error}"));
                let within = u64::from(page.page) * u64::from(page_size);
                findings.push(finding.at_page(hw, page).about_data_at(logical + within));
            }
            read => read?,
        }
    }
    Ok(())
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
    if before.asks_for(|_| true) {
        mend(hw, before)?;
    }
    Ok(super::merge(before.findings.clone(), &check(hw, progress)?))
}

fn mend<H: FlashHardware>(hw: &mut H, before: &Checked) -> Result<()> {
    if before.asks_for(|remedy| remedy == Remedy::MarkBad) {
        mark_what_the_table_says(hw)?;
    }
    if before.asks_for(|remedy| remedy != Remedy::MarkBad) {
        match mend_metadata(hw, before) {
            // A slot that fails under the repair is what the next check finds.
            Err(Error::Flash(FlashError::Unreadable { .. }) | Error::ReadOnly(_)) => {}
            mended => mended?,
        }
    }
    Ok(hw.sync()?)
}

/// Mark the blocks that the volume's table holds for bad.
fn mark_what_the_table_says<H: FlashHardware>(hw: &mut H) -> Result<()> {
    let bad = BlockVolume::mount(Inspected(hw), &Mount { read_only: true, ..Mount::default() })?.bad_blocks();
    super::mark(hw, &bad)
}

fn mend_metadata<H: FlashHardware>(hw: &mut H, before: &Checked) -> Result<()> {
    if needs_to_count_anew(hw, before)? {
        restart_sequence(hw)?;
    }
    // Data is moved where a finding says so, and not for the sake of wear.
    let wear = WearPolicy { interval: u64::MAX, threshold: u32::MAX };
    let mut volume = BlockVolume::mount(&mut *hw, &Mount { wear, ..Mount::default() })?;
    if volume.read_only().is_none() {
        volume.evacuate_bad_blocks()?;
        volume.rewrite_metadata()?;
    }
    Ok(())
}

/// Whether the sequence number is the last one there is, or a repair could reach that.
fn needs_to_count_anew<H: FlashHardware>(hw: &H, before: &Checked) -> Result<bool> {
    let survey = Survey::read(hw)?;
    let choice = survey.choose(None)?;
    // Writing would go over evidence, or into a block that is bad.
    if choice.read_only.is_some() || before.findings.iter().any(|f| f.code == BAD_SLOT_BLOCK) {
        return Ok(false);
    }
    // Each block moves once at most, with a commit of its own where room is short.
    let left = u64::from(survey.layout.blocks) + 2;
    let volume = BlockVolume::mount(Inspected(hw), &Mount::default())?;
    Ok(choice.sequence == u64::MAX || (choice.sequence > u64::MAX - left && volume.read_only().is_none()))
}
