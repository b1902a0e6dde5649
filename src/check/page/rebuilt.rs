//! What a rebuild of the map comes to, as findings.

use alloc::format;
use alloc::string::ToString;

use super::super::{Collector, Finding, Remedy, Severity};
use super::{LOST_PAGE, REBUILT_PAGES};
use crate::error::{Error, Result};
use crate::flash::FlashHardware;
use crate::ftl::page::{Lpn, Rebuilt, plan_rebuild};

/// What a rebuild would make of a volume that does not mount, or only as it was: `why`.
pub(super) fn check_what_is_left<H: FlashHardware>(
    hw: &H,
    why: Finding,
    findings: &mut Collector,
) -> Result<()> {
    match plan_rebuild(hw) {
        Ok(rebuilt) => {
            let offered = rebuilt.is_worth_it() && rebuilt.refused.is_none();
            findings.push(if offered { why.mended_by(Remedy::Rebuild) } else { why });
            describe(hw, &rebuilt, findings);
            Ok(())
        }
        Err(Error::Unmountable(_) | Error::Unsupported(_)) => {
            findings.push(why);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What a rebuild comes to, page by page.
pub(super) fn describe<H: FlashHardware>(hw: &H, rebuilt: &Rebuilt, findings: &mut Collector) {
    let message = format!("{} logical pages can be given their newest version again", rebuilt.restored);
    findings.push(Finding::new(REBUILT_PAGES, Severity::Info, message));
    if let Some(reason) = &rebuilt.refused {
        let message = format!("it cannot be rebuilt on this chip: {reason}");
        findings.push(Finding::new("rebuild-refused", Severity::Error, message));
    }
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
        let which = at.map_or(
            "has the version of the last state that the log leads to, and a newer one may be gone"
                .to_string(),
            |at| format!("has an older version than the newest, which was at {at}"),
        );
        let message = format!("{} {which}", named(logical));
        let finding = Finding::new("rebuilt-older", Severity::Error, message).about_data_at(offset(logical));
        findings.push(at.map_or(finding.clone(), |at| finding.at_page(hw, at)));
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
    if rebuilt.by_map {
        return;
    }
    let message = "logical pages that were discarded may be back: only the log knows of those, and only since its checkpoint";
    findings.push(Finding::new("rebuilt-discards", Severity::Info, message.to_string()));
}
