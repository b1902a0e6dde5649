//! Each block that holds data: its pages, its summary and its counts against the map and the block table.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::super::{Collector, Finding, Remedy, Severity};
use crate::error::Result;
use crate::flash::{Block, FlashError, FlashHardware, Inspected, PageAddr};
use crate::ftl::Volume;
use crate::ftl::page::{BlockContent, Layout, MapContent, PageVolume, StoredAt};

/// What is to be checked of one block.
pub(super) struct BlockWork<'a> {
    block: Block,
    /// Pages that the map says it holds.
    stored: &'a [StoredAt],
    /// The table says that a summary closes it.
    closed: bool,
    /// The table says that it holds no data.
    empty: bool,
    erases: u32,
}

/// What every block is held against.
pub(super) struct Blocks<'a, H> {
    pub(super) hw: &'a H,
    pub(super) layout: Layout,
    pub(super) volume: u32,
}

/// The blocks that hold data by the map or by the table.
pub(super) fn work_of<'a, H: FlashHardware>(
    volume: &PageVolume<Inspected<'_, H>>,
    content: &'a MapContent,
) -> Vec<BlockWork<'a>> {
    let layout = volume.layout();
    let by_block = content.stored.chunk_by(|a, b| layout.block_of(a.page) == layout.block_of(b.page));
    let mut stored: BTreeMap<Block, &[StoredAt]> = BTreeMap::new();
    for pages in by_block {
        if let Some(first) = pages.first() {
            stored.insert(layout.block_of(first.page), pages);
        }
    }
    let by_table = volume.flash().geometry().iter_blocks().filter(|&b| volume.is_closed(b));
    let blocks: BTreeSet<Block> = by_table.chain(stored.keys().copied()).collect();
    let work = |block: Block| BlockWork {
        block,
        stored: stored.get(&block).copied().unwrap_or_default(),
        // A recovery that was cut short has taken those that hold nothing.
        closed: volume.is_closed(block) && (volume.ended_well() || stored.contains_key(&block)),
        empty: holds_no_data(volume, block),
        erases: volume.erase_counts().get(block.index()).copied().unwrap_or(0),
    };
    blocks.into_iter().map(work).collect()
}

/// Whether the block table says that nothing is stored in `block`.
pub(super) fn holds_no_data<H: FlashHardware>(volume: &PageVolume<H>, block: Block) -> bool {
    volume.knows_blocks() && volume.live_pages(block).is_none() && !volume.is_bad_by_table(block)
}

pub(super) fn check_counts<H: FlashHardware>(
    hw: &H,
    volume: &PageVolume<Inspected<'_, H>>,
    work: &[BlockWork<'_>],
    findings: &mut Collector,
) {
    for work in work {
        let Some(live) = volume.live_pages(work.block).filter(|_| volume.knows_blocks()) else { continue };
        if live as usize != work.stored.len() {
            let message = format!(
                "{} holds {} pages that count, and the block table says {live}",
                work.block,
                work.stored.len()
            );
            let finding =
                Finding::new("live-count-wrong", Severity::Warning, message).at_block(hw, work.block);
            findings.push(finding.mended_by(Remedy::CountPages));
        }
    }
}

impl<H: FlashHardware> Blocks<'_, H> {
    pub(super) fn bytes_of(&self, work: &[BlockWork<'_>]) -> u64 {
        work.len() as u64 * u64::from(self.hw.geometry().block_size())
    }

    /// Read a block once, and hold it against the map, its summary and its erase count.
    pub(super) fn check(&self, work: &BlockWork<'_>) -> Result<Vec<Finding>> {
        let geometry = self.hw.geometry();
        let mut findings = Vec::new();
        let mut bytes = vec![0; geometry.block_size() as usize];
        let mut unreadable = BTreeSet::new();
        match self.hw.read(work.block, 0, &mut bytes) {
            Ok(()) => {}
            Err(FlashError::Unreadable { .. }) => {
                unreadable = self.read_page_by_page(work.block, &mut bytes)?;
            }
            Err(error) => return Err(error.into()),
        }
        for same in work.stored.chunk_by(|a, b| a.page == b.page) {
            // Where the map is wrong, so is what it says of the content.
            let wrong = work.empty || same.len() > 1;
            let found = same.iter().filter_map(|stored| self.check_page(stored, &bytes, &unreadable));
            findings.extend(found.map(|f| if wrong { f.mended_by(Remedy::Rebuild) } else { f }));
        }
        if work.closed {
            self.check_summary(work, &bytes, &mut findings);
        }
        Ok(findings)
    }

    fn read_page_by_page(&self, block: Block, bytes: &mut [u8]) -> Result<BTreeSet<u32>> {
        let size = self.layout.page_size;
        let mut unreadable = BTreeSet::new();
        for (at, page) in self.hw.geometry().iter_pages(block).zip(bytes.chunks_mut(size as usize)) {
            match self.hw.read_pages(at, page) {
                Ok(()) => {}
                Err(FlashError::Unreadable { .. }) => {
                    unreadable.insert(at.page);
                    page.fill(0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(unreadable)
    }

    fn check_page(&self, stored: &StoredAt, bytes: &[u8], unreadable: &BTreeSet<u32>) -> Option<Finding> {
        let at = self.layout.page_addr(stored.page);
        let size = self.layout.page_size as usize;
        let logical_offset = u64::from(stored.logical.0) * size as u64;
        let logical = format!("{} (logical byte {logical_offset})", stored.logical);
        let finding = |code, message| {
            Finding::new(code, Severity::Error, message).at_page(self.hw, at).about_data_at(logical_offset)
        };
        if unreadable.contains(&at.page) {
            let offset = self.hw.raw_offset(at);
            let message = format!("{logical}: {}", FlashError::Unreadable { at, offset });
            return Some(finding("data-unreadable", message));
        }
        let found = crc32fast::hash(bytes.get(at.page as usize * size..)?.get(..size)?);
        (found != stored.crc).then(|| {
            let message =
                format!("{logical} is damaged: its CRC-32 is {found:08x}, and {:08x} was stored", stored.crc);
            finding("data-damaged", message)
        })
    }

    fn check_summary(&self, work: &BlockWork<'_>, bytes: &[u8], findings: &mut Vec<Finding>) {
        let block = work.block;
        let Some(content) = BlockContent::of_block(&self.layout, self.volume, block, bytes) else {
            let at = PageAddr { block, page: self.layout.data_pages() };
            let message = format!("the summary of {block} is damaged");
            let finding = Finding::new("summary-damaged", Severity::Warning, message).at_page(self.hw, at);
            findings.push(finding.mended_by(Remedy::MoveData));
            return;
        };
        for stored in work.stored {
            let at = self.layout.page_addr(stored.page);
            let entry = content.pages.get(&at.page);
            if entry.is_none_or(|entry| entry.logical != stored.logical || entry.crc != stored.crc) {
                let holds = entry.map_or("nothing".to_string(), |entry| format!("{}", entry.logical));
                let message =
                    format!("the map puts {} here, and the summary of {block} says {holds}", stored.logical);
                let finding = Finding::new("summary-disagrees", Severity::Warning, message);
                findings.push(finding.at_page(self.hw, at).mended_by(Remedy::MoveData));
            }
        }
        if content.erases != work.erases {
            let message = format!(
                "the summary of {block} states {} erases, and the block table {}",
                content.erases, work.erases
            );
            let finding =
                Finding::new("erase-count-wrong", Severity::Warning, message).at_block(self.hw, block);
            findings.push(if content.erases > work.erases {
                finding.mended_by(Remedy::CountErases)
            } else {
                finding
            });
        }
    }
}
