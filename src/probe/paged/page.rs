//! One metadata page of the page-mapped format, wherever in an image it may stand.

use std::io;

use super::super::source::ReadAt;
use super::PAGE_SIZES;
use crate::onflash::paged::anchor::Anchor;
use crate::onflash::paged::head::{self, HEAD_LEN, Head, Kind, MAGIC};
use crate::onflash::paged::summary::Summary;

/// How much may be read to verify pages, for each byte of the image and besides: hostile images claim many large ones.
const WORK_PER_BYTE: u64 = 4;
const WORK_FREE: u64 = 64 << 20;
/// What looking at a magic costs at least.
const WORK_PER_MAGIC: u64 = 512;
/// Where the length of the payload stands in a head.
const LEN_AT: usize = 6;

/// A page that proved itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetadataPage {
    /// Where it starts in the image.
    pub(super) offset: u64,
    pub(super) head: Head,
    /// Bytes of its data that are in use.
    pub(super) used: u32,
    /// What it says, if it is an anchor.
    pub(super) anchor: Option<Anchor>,
    /// Pages it tells of, if it is a block summary.
    pub(super) entries: Option<u32>,
}

/// What looking at pages may still cost.
pub(super) struct Work(u64);

impl Work {
    pub(super) fn for_image(len: u64) -> Self {
        Self(len.saturating_mul(WORK_PER_BYTE).saturating_add(WORK_FREE))
    }

    fn take(&mut self, cost: u64) -> Option<()> {
        self.0 = self.0.checked_sub(cost)?;
        Some(())
    }
}

pub(super) enum Verdict {
    Page(MetadataPage),
    No,
    OutOfWork,
}

/// Whether the magic stands at `offset`.
pub(super) fn has_magic<S: ReadAt + ?Sized>(source: &S, offset: u64) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if offset.saturating_add(magic.len() as u64) > source.len() {
        return Ok(false);
    }
    source.read_at(offset, &mut magic)?;
    Ok(magic == MAGIC)
}

/// Whether a whole metadata page starts at `offset`. Head and payload lie in the data of one page, so that no spare bytes
/// come between them.
pub(super) fn read_page<S: ReadAt + ?Sized>(source: &S, offset: u64, work: &mut Work) -> io::Result<Verdict> {
    if work.take(WORK_PER_MAGIC).is_none() {
        return Ok(Verdict::OutOfWork);
    }
    let room = source.len().saturating_sub(offset);
    let mut bytes = vec![0; HEAD_LEN];
    if room < bytes.len() as u64 {
        return Ok(Verdict::No);
    }
    source.read_at(offset, &mut bytes)?;
    let len =
        bytes.get(LEN_AT..).and_then(|rest| rest.first_chunk::<2>()).map_or(0, |b| u16::from_le_bytes(*b));
    let used = HEAD_LEN as u32 + u32::from(len);
    if used > *PAGE_SIZES.end() || u64::from(used) > room {
        return Ok(Verdict::No);
    }
    if work.take(u64::from(used)).is_none() {
        return Ok(Verdict::OutOfWork);
    }
    bytes.resize(used as usize, 0);
    source.read_at(offset, &mut bytes)?;
    let Ok((head, payload)) = head::open(&bytes) else { return Ok(Verdict::No) };
    let anchor = (head.kind == Kind::Anchor).then(|| Anchor::decode(payload).ok()).flatten();
    let summary = (head.kind == Kind::Summary).then(|| Summary::decode(payload).ok()).flatten();
    let entries = summary.map(|summary| summary.pages.len() as u32);
    Ok(Verdict::Page(MetadataPage { offset, head, used, anchor, entries }))
}
