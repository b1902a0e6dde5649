//! What a family of formats gives the scan to look for.

use super::super::layouts;
use super::head::{Head, Hit};

/// Where a structure may begin.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Where a page begins, in some layout.
    Page,
    /// At a multiple of this many bytes, at most 8: every layout is made of such, so spare bytes shift nothing.
    Multiple(u64),
    /// Within the spare bytes of a page.
    Spare,
}

/// A magic number and the check that a place with it must pass.
pub(super) struct Signature {
    /// The name whose find, once checked, makes looking further needless.
    pub(super) name: &'static str,
    pub(super) magic: &'static [u8],
    /// Where in the structure the magic number lies.
    pub(super) at: usize,
    pub(super) place: Place,
    pub(super) check: fn(&Head<'_>) -> Option<Hit>,
}

impl Place {
    pub(super) fn fits(self, offset: u64) -> bool {
        match self {
            Self::Page => layouts::all().any(|layout| offset.is_multiple_of(layout.stride())),
            Self::Multiple(of) => offset.is_multiple_of(of),
            Self::Spare => layouts::all().any(|layout| offset % layout.stride() >= layout.page),
        }
    }
}
