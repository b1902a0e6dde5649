//! A finding: what is wrong, where, and what a repair does about it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::remedy::Remedy;
use crate::flash::{Block, FlashHardware, PageAddr};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "std", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The volume works, with less in reserve.
    Warning,
    /// Data or the ability to write is lost or at stake.
    Error,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize))]
pub struct Finding {
    /// A stable name in kebab case.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The block, where there is one.
    pub block: Option<u32>,
    /// The page, where there is one.
    pub page: Option<u32>,
    /// The same place in bytes from the start of the image.
    pub offset: Option<u64>,
    /// The first logical byte of what is concerned, where that is data.
    pub logical_offset: Option<u64>,
    /// A sentence: what, expected, found.
    pub message: String,
    /// What a repair does about it; `None` where nothing can be done without guessing.
    pub repair: Option<Remedy>,
    /// A repair has mended it.
    pub repaired: bool,
}

impl Finding {
    /// A finding that concerns no single place.
    #[must_use]
    pub fn new(code: &'static str, severity: Severity, message: String) -> Self {
        Self {
            code,
            severity,
            block: None,
            page: None,
            offset: None,
            logical_offset: None,
            message,
            repair: None,
            repaired: false,
        }
    }

    /// The same finding, about `block`.
    #[must_use]
    pub fn at_block<H: FlashHardware + ?Sized>(self, hw: &H, block: Block) -> Self {
        let offset = hw.raw_offset(PageAddr { block, page: 0 });
        Self { block: Some(block.0), offset: Some(offset), ..self }
    }

    /// The same finding, about `page`.
    #[must_use]
    pub fn at_page<H: FlashHardware + ?Sized>(self, hw: &H, page: PageAddr) -> Self {
        let offset = hw.raw_offset(page);
        Self { block: Some(page.block.0), page: Some(page.page), offset: Some(offset), ..self }
    }

    /// The same finding, about the data from logical byte `offset` on.
    #[must_use]
    pub fn about_data_at(self, offset: u64) -> Self {
        Self { logical_offset: Some(offset), ..self }
    }

    /// The same finding, which a repair mends by `remedy`.
    #[must_use]
    pub fn mended_by(self, remedy: Remedy) -> Self {
        Self { repair: Some(remedy), ..self }
    }

    /// What makes it the same finding when the check is done again: what, and where. Damage to data stays the same wherever a
    /// repair moves it, and whether it then says that it is damaged or lost.
    #[must_use]
    pub fn key(&self) -> FindingKey {
        match self.logical_offset {
            Some(offset) => FindingKey::Content(offset),
            None => FindingKey::At(self.code, self.block, self.page),
        }
    }
}

/// What tells a finding from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKey {
    /// Data, by its first logical byte.
    Content(u64),
    /// A code, with the block and the page where it has one.
    At(&'static str, Option<u32>, Option<u32>),
}

/// Takes findings, and of each code no more than anyone reads: a hostile image could ask for millions.
#[derive(Debug, Default)]
pub(super) struct Collector {
    findings: Vec<Finding>,
    /// How many there are of each code.
    seen: BTreeMap<&'static str, u64>,
    /// What is left out, by code: a finding without a place, and how many it stands for.
    left_out: BTreeMap<&'static str, (Finding, u64)>,
}

impl Collector {
    /// Findings of a code that are listed one by one.
    const LISTED: u64 = 1000;

    pub(super) fn push(&mut self, finding: Finding) {
        let seen = self.seen.entry(finding.code).or_default();
        *seen += 1;
        if *seen <= Self::LISTED {
            return self.findings.push(finding);
        }
        let summary =
            Finding { repair: finding.repair, ..Finding::new(finding.code, finding.severity, String::new()) };
        self.left_out.entry(finding.code).or_insert((summary, 0)).1 += 1;
    }

    /// The findings, and for each code one that stands for those left out.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut findings = self.findings;
        for (summary, count) in self.left_out.into_values() {
            findings.push(Finding { message: alloc::format!("and {count} more of the same"), ..summary });
        }
        findings
    }
}

/// What a check found, and how much it looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The findings, metadata before data, in the order of the places.
    pub findings: Vec<Finding>,
    /// Blocks whose state was checked.
    pub blocks: u64,
    /// Pages read.
    pub pages: u64,
    /// Data bytes read.
    pub bytes: u64,
}

impl Checked {
    /// Whether a repair that `is_meant` is to be done.
    pub(super) fn asks_for(&self, is_meant: impl Fn(Remedy) -> bool) -> bool {
        self.findings.iter().any(|finding| finding.repair.is_some_and(&is_meant))
    }

    /// Whether no error is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|f| f.severity < Severity::Error || f.repaired)
    }
}
