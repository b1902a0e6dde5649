//! Mending a volume of the page-mapped format.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::super::{Checked, Collector, Finding, Remedy, Severity, mark, merge};
use super::rebuilt::describe;
use super::{REBUILT_PAGES, check};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, Inspected};
use crate::ftl::Volume;
use crate::ftl::page::{Mount, PageVolume, rebuild};

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
    if before.asks_for(|_| true) {
        known.extend(mend(hw, before)?);
    }
    let mut after = check(hw, progress)?;
    // A rebuild leaves the blocks as they are, and a session that was cut short those it has emptied: what is wrong with them is
    // mended where there is a map again, and an end.
    let is_new = |found: &Finding| {
        found.repair.is_some() && before.findings.iter().all(|finding| finding.key() != found.key())
    };
    let shows_more =
        before.asks_for(is_rebuild) || before.asks_for(|_| true) && after.findings.iter().any(is_new);
    if shows_more && after.asks_for(|_| true) && !after.asks_for(is_rebuild) {
        known = merge(known, &after).findings;
        known.extend(mend(hw, &after)?);
        after = check(hw, progress)?;
    }
    Ok(merge(known, &after))
}

fn is_rebuild(remedy: Remedy) -> bool {
    remedy == Remedy::Rebuild
}

/// Mend; what is to be said of it that the check before it had no reason to say.
fn mend<H: FlashHardware>(hw: &mut H, before: &Checked) -> Result<Vec<Finding>> {
    if before.asks_for(is_rebuild) {
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
    if before.asks_for(|remedy| remedy == Remedy::MarkBad) {
        mark_what_the_table_says(hw)?;
    }
    if before.asks_for(|remedy| remedy != Remedy::MarkBad) {
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
    let content = match PageVolume::mount(Inspected(&*hw), &Mount::for_checking()) {
        Err(why @ Error::Unmountable(_)) => return Ok(Some(why)),
        mounted => mounted?.map_content()?,
    };
    let to_move = |finding: &&Finding| finding.repair == Some(Remedy::MoveData);
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
    mark(hw, &bad)
}
