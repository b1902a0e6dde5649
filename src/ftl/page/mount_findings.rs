//! What a mount found that is not as it should be.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::io::{block_place, place};
use super::load::Loaded;
use super::zone::{Zone, ZoneSurvey, why_no_anchor};
use super::{Mount, PageVolume};
use crate::flash::{Block, FlashHardware};

/// What a mount found that is not as it should be.
#[derive(Default)]
pub(super) struct MountFindings {
    fallback: Option<String>,
    read_only: Option<String>,
    older: bool,
    unclean: bool,
}

impl MountFindings {
    /// This is not the newest state.
    pub(super) fn stale(&mut self, reason: String) {
        self.older = true;
        self.read_only.get_or_insert_with(|| reason.clone());
        self.fallback.get_or_insert(reason);
    }

    pub(super) fn judge<H: FlashHardware>(
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
        let left_over = zone.blocks.len() == 2 && survey.in_doubt().count() == 1;
        for (block, reading) in survey.in_doubt().filter(|_| !left_over) {
            let (block, why) = (block_place(hw, *block), reading.reason());
            self.fallback.get_or_insert(format!("the anchor in {block} is damaged: {why}"));
        }
        if zone.in_doubt && survey.in_doubt().next().is_none() {
            let (sequence, places) = (loaded.anchor.head.number, places(&zone.blocks));
            let how = match zone.blocks.len() {
                0 | 1 => "is whole in one block alone",
                2 => "is not the last thing in its blocks, or not in the same page of both",
                _ => "is in more than two blocks",
            };
            self.fallback.get_or_insert(format!("the anchor (sequence {sequence}) {how}: {places}"));
        }
        if let Some((_, reason)) = loaded.damaged.first() {
            self.fallback.get_or_insert(format!("one copy of the metadata is damaged: {reason}"));
        }
        if let Some(at) = loaded.replayed.torn {
            self.fallback.get_or_insert(format!("the last page of its log is torn: {}", place(hw, at)));
        }
        self.unclean = !clean;
    }
}

impl<H: FlashHardware> PageVolume<H> {
    pub(super) fn with_findings(
        mut self,
        findings: MountFindings,
        survey: &ZoneSurvey,
        options: &Mount,
    ) -> Self {
        let MountFindings { fallback, read_only, older, unclean } = findings;
        self.older = older;
        self.read_only = read_only.or_else(|| self.why_read_only());
        self.fallback = fallback;
        self.warnings.extend(self.fallback.clone());
        if unclean {
            let recovers = if self.read_only.is_none() { ": the next write recovers it first" } else { "" };
            self.warnings.push(format!("it was not ended well{recovers}"));
        }
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
        why_no_anchor(self.good_zone_blocks().count(), self.layout.zone_blocks)
            .or_else(|| self.over_reserve(self.blocks.bad_count()))
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
}
