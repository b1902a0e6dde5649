//! What shows that something was committed after the state that the newest log leads to.

use alloc::format;
use alloc::string::String;

use super::chain::Pair;
use super::io::{block_place, fingerprint, place, read_metadata};
use super::layout::Layout;
use super::replay::CleanEnd;
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::MAX_CLOCK;
use crate::onflash::paged::head::{Head, Kind};
use crate::onflash::paged::log::flags;

/// A checkpoint and its log, as far as they can be followed.
pub(super) struct Followed<'a, H> {
    pub(super) hw: &'a H,
    pub(super) layout: &'a Layout,
    pub(super) volume: u32,
    pub(super) epoch: u32,
    pub(super) pairs: &'a [Pair],
    /// The pair that the log would go on in.
    pub(super) next: Option<Pair>,
    /// The number of the first log page that was not found, and the host clock until there.
    pub(super) next_log: u64,
    pub(super) clock: u64,
    /// The clean record that is the last of the log, and whether it is in both blocks.
    pub(super) end: Option<&'a CleanEnd>,
    pub(super) end_twice: bool,
}

impl<H: FlashHardware> Followed<'_, H> {
    /// Whether the session has ended well, and the pair that the clean record names is as it was then: if not, another has begun
    /// since.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub(super) fn is_as_left(&self) -> Result<bool> {
        let (Some(end), Some(next)) = (self.end.filter(|_| self.end_twice), self.next) else {
            return Ok(false);
        };
        for (block, print) in next.into_iter().zip(end.prints) {
            if fingerprint(self.hw, PageAddr { block, page: 0 })? != print {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What shows a newer state, if anything does, where a session has begun since or did not end well.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub(super) fn sign_of_newer(&self) -> Result<Option<String>> {
        if let (Some(end), Some(next)) = (self.end, self.next)
            && let Some(sign) = self.lost_session(next, end)?
        {
            return Ok(Some(sign));
        }
        if let Some(sign) = self.written_behind_the_log()? {
            return Ok(Some(sign));
        }
        let is_of_log =
            |block: &Block| self.pairs.last().into_iter().chain(&self.next).flatten().any(|b| b == block);
        for block in self.hw.geometry().iter_blocks().skip(self.layout.zone_blocks as usize) {
            let sign = match is_of_log(&block) {
                true => self.in_pages_of(block)?,
                false => self.in_block(block)?,
            };
            if sign.is_some() {
                return Ok(sign);
            }
        }
        Ok(None)
    }

    /// A session that began in the next pair, and of which nothing is left: a cut tears one of the blocks at most. One copy of the clean
    /// record will do: had a cut kept the other from being written, the next session would have gone elsewhere.
    fn lost_session(&self, next: Pair, end: &CleanEnd) -> Result<Option<String>> {
        for (block, print) in next.into_iter().zip(end.prints) {
            let as_it_was = fingerprint(self.hw, PageAddr { block, page: 0 })? == print;
            if as_it_was || self.is_begun(block)? {
                return Ok(None);
            }
        }
        let [a, b] = next.map(|block| block_place(self.hw, block));
        Ok(Some(format!(
            "the session after the last clean end was to begin in {a} and {b}, and neither is as it was left or erased: this is an older state"
        )))
    }

    /// Something stands in both blocks of the pair that the log ends in, more than a page behind the last one that is whole: a cut
    /// tears one page, and all behind it is as it was erased.
    fn written_behind_the_log(&self) -> Result<Option<String>> {
        let Some(&pair) = self.pairs.last() else { return Ok(None) };
        let mut torn = None;
        for page in (0..self.layout.pages_per_block).rev() {
            let places = pair.map(|block| PageAddr { block, page });
            for at in places {
                if self.head(at)?.is_some() {
                    let behind = torn.filter(|&behind| behind > page + 1);
                    return Ok(behind.map(|behind| {
                        format!(
                            "the log ends before {}, and what is written in both copies of its pages from there up to page {behind} is not whole: this is an older state",
                            place(self.hw, PageAddr { page: page + 1, ..at })
                        )
                    }));
                }
            }
            if torn.is_none() && self.is_written(places[0])? && self.is_written(places[1])? {
                torn = Some(page);
            }
        }
        Ok(None)
    }

    fn is_written(&self, at: PageAddr) -> Result<bool> {
        Ok(!read_metadata(self.hw, at)?.is_erased())
    }

    /// Nothing is in the block, or a first page.
    fn is_begun(&self, block: Block) -> Result<bool> {
        for at in self.hw.geometry().iter_pages(block).skip(1) {
            if !read_metadata(self.hw, at)?.is_erased() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first page of a block, and its summary.
    fn in_block(&self, block: Block) -> Result<Option<String>> {
        let Some(first) = self.head(PageAddr { block, page: 0 })? else {
            let at = PageAddr { block, page: self.layout.data_pages() };
            let summary = self.head(at)?.filter(|head| head.kind == Kind::Summary);
            let later =
                |head: &Head| head.number > self.clock && head.number <= MAX_CLOCK || head.epoch > self.epoch;
            return Ok(summary.filter(later).map(|head| {
                format!(
                    "the summary at {} states host clock {} of sequence {}, and the log leads to {} of {}: this is an older state",
                    place(self.hw, at), head.number, head.epoch, self.clock, self.epoch
                )
            }));
        };
        let sign = self.in_page(PageAddr { block, page: 0 }, &first);
        if sign.is_none() && first.epoch > self.epoch { self.in_pages_of(block) } else { Ok(sign) }
    }

    /// Every page of a block that may hold the log.
    fn in_pages_of(&self, block: Block) -> Result<Option<String>> {
        for at in self.hw.geometry().iter_pages(block) {
            if let Some(sign) = self.head(at)?.and_then(|head| self.in_page(at, &head)) {
                return Ok(Some(sign));
            }
        }
        Ok(None)
    }

    /// A page of the log past what was found, or of that of a later checkpoint.
    fn in_page(&self, at: PageAddr, head: &Head) -> Option<String> {
        if head.kind != Kind::Log || head.flags & flags::SNAPSHOT != 0 {
            return None;
        }
        if head.epoch > self.epoch {
            return Some(format!(
                "the log of a later checkpoint is at {} (sequence {} here, {} there), and its anchor is gone: this is an older state",
                place(self.hw, at),
                self.epoch,
                head.epoch
            ));
        }
        (head.epoch == self.epoch && head.number >= self.next_log).then(|| {
            format!(
                "log page {} is at {}, and page {} cannot be found: this is an older state",
                head.number,
                place(self.hw, at),
                self.next_log
            )
        })
    }

    /// The head of a page that this volume wrote there.
    fn head(&self, at: PageAddr) -> Result<Option<Head>> {
        let page = read_metadata(self.hw, at)?.written_by(self.volume, self.layout.address(at).0);
        Ok(page.map(|(head, _)| head))
    }
}
