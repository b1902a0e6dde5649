//! A finding: what is wrong, where, and what a repair does about it.

use alloc::string::String;
use alloc::vec::Vec;

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
    /// A sentence: what, expected, found.
    pub message: String,
    /// What a repair does about it; `None` where nothing can be done without guessing.
    pub repair: Option<&'static str>,
    /// A repair has mended it.
    pub repaired: bool,
}

impl Finding {
    /// A finding that concerns no single place.
    #[must_use]
    pub fn new(code: &'static str, severity: Severity, message: String) -> Self {
        Self { code, severity, block: None, page: None, offset: None, message, repair: None, repaired: false }
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

    /// The same finding, which a repair mends by `what`.
    #[must_use]
    pub fn mended_by(self, what: &'static str) -> Self {
        Self { repair: Some(what), ..self }
    }

    /// Whether `other` says the same of the same place.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.code, self.block, self.page) == (other.code, other.block, other.page)
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
    /// Whether no error is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|f| f.severity < Severity::Error || f.repaired)
    }
}
