//! Images with the metadata pages of a page-mapped volume, for tests.

use super::zone_blocks;
use crate::onflash::paged::anchor::{Anchor, INCOMPATIBLE, VERSION};
use crate::onflash::paged::head::{Head, Kind, seal};
use crate::onflash::paged::summary::{self, Summary};
use crate::onflash::paged::{NextPair, StoredPage, map};

/// The metadata pages that a volume of this shape has, in an image of it.
#[derive(Clone, Copy)]
pub(in crate::probe) struct Shape {
    pub(in crate::probe) page: u32,
    pub(in crate::probe) spare: u32,
    pub(in crate::probe) pages: u32,
    pub(in crate::probe) blocks: u32,
    pub(in crate::probe) volume: u32,
}

pub(in crate::probe) const PLAIN: Shape = Shape { page: 512, spare: 0, pages: 16, blocks: 40, volume: 7 };

impl Shape {
    pub(in crate::probe) fn raw_page(self) -> usize {
        (self.page + self.spare) as usize
    }

    pub(in crate::probe) fn raw_block(self) -> usize {
        self.raw_page() * self.pages as usize
    }

    pub(in crate::probe) fn blank(self) -> Vec<u8> {
        vec![0xFF; self.raw_block() * self.blocks as usize]
    }

    pub(in crate::probe) fn put(self, image: &mut [u8], kind: Kind, block: u32, page: u32, payload: &[u8]) {
        let address = block * self.pages + page;
        let head = Head { kind, flags: 0, volume: self.volume, epoch: 1, number: 1, address, erases: 3 };
        let page = seal(&head, payload, self.page as usize);
        image[address as usize * self.raw_page()..][..page.len()].copy_from_slice(&page);
    }

    pub(in crate::probe) fn anchor(self) -> Vec<u8> {
        let anchor = Anchor {
            version: VERSION,
            incompatible: INCOMPATIBLE,
            page_size: self.page,
            spare_size: self.spare,
            pages_per_block: self.pages,
            blocks: self.blocks,
            max_erase_cycles: 3000,
            zone_blocks: zone_blocks(self.blocks) as u16,
            summary_pages: 1,
            classes: 1,
            capacity_pages: 100,
            reserve_blocks: 2,
            wear_interval: 256,
            wear_threshold: 100,
            logical_len: 0,
            clock: 0,
            body: (10, 11, 0),
            directory_pages: 1,
            table_pages: 1,
            snapshot_pages: 0,
            page_layout: 0,
            page_layout_name: [0; 24],
            next_log: 1,
        };
        anchor.encode()
    }

    /// Anchors in pages 0 and 1 of blocks 1 and 3.
    pub(in crate::probe) fn put_anchors(self, image: &mut [u8]) {
        for (block, page) in [(1, 0), (3, 0), (1, 1), (3, 1)] {
            self.put(image, Kind::Anchor, block, page, &self.anchor());
        }
    }

    /// The summaries of the given data blocks.
    pub(in crate::probe) fn put_summaries(self, image: &mut [u8], blocks: impl IntoIterator<Item = u32>) {
        let take = summary::summary_pages(self.page, self.pages).unwrap();
        let per_page = summary::entries_per_page(self.page) as usize;
        let stored = Some(StoredPage { logical: 1, crc: 2, stamp: 3 });
        let all = vec![stored; (self.pages - take) as usize];
        for block in blocks {
            for (i, pages) in (0..).zip(all.chunks(per_page)) {
                let summary = Summary { logical_len: 5000, class: 0, pages: pages.to_vec() };
                self.put(image, Kind::Summary, block, self.pages - take + i, &summary.encode());
            }
        }
    }

    pub(in crate::probe) fn put_map_pages(self, image: &mut [u8], block: u32, count: u32) {
        let payload = map::encode(NextPair::NONE, &[map::MapEntry::Unmapped.into(); 9]);
        (0..count).for_each(|page| self.put(image, Kind::Map, block, page, &payload));
    }

    pub(in crate::probe) fn volume(self) -> Vec<u8> {
        let mut image = self.blank();
        self.put_anchors(&mut image);
        self.put_summaries(&mut image, 6..self.blocks - 4);
        self.put_map_pages(&mut image, self.blocks - 3, 4);
        image
    }

    /// The same without an anchor.
    pub(in crate::probe) fn wiped(self) -> Vec<u8> {
        let mut image = self.volume();
        image[..4 * self.raw_block()].fill(0xFF);
        image
    }

    /// What a search should say.
    pub(in crate::probe) fn told(self, first_block: u32) -> (Option<u32>, u32, u32, Option<u32>, u32) {
        (Some(self.page), self.spare, self.page * self.pages, Some(self.blocks), first_block)
    }
}
