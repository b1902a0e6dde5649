//! How dumps interleave pages with their spare bytes.

use super::volumes::Hints;

/// A page's data and spare bytes, as a dump interleaves them.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLayout {
    pub(super) page: u64,
    pub(super) spare: u64,
}

impl PageLayout {
    /// Bytes from one page to the next.
    pub(super) fn stride(self) -> u64 {
        self.page + self.spare
    }
}

const fn layout(page: u64, spare: u64) -> PageLayout {
    PageLayout { page, spare }
}

/// Layouts a dump may have, the most common first: those of the chips in the Linux tables (drivers/mtd/nand:
/// raw/nand_ids.c, spi/*.c) and of QEMU's `hw/block/nand.c` (spare = page / 32). A new chip's belongs here too.
pub(super) const WITH_SPARE: [PageLayout; 16] = [
    layout(2048, 64),
    layout(512, 16),
    layout(4096, 128),
    layout(2048, 128),
    layout(4096, 224),
    layout(4096, 256),
    layout(2048, 96),
    layout(2048, 112),
    layout(4096, 232),
    layout(8192, 640),
    layout(16384, 1280),
    layout(16384, 1664),
    layout(256, 8),
    layout(1024, 32),
    layout(8192, 256),
    layout(8192, 448),
];

/// Without spare bytes every page begins at a multiple of 512.
pub(super) const WITHOUT_SPARE: PageLayout = layout(512, 0);

/// All of them.
pub(super) fn all() -> impl Iterator<Item = PageLayout> {
    std::iter::once(WITHOUT_SPARE).chain(WITH_SPARE)
}

impl Hints {
    /// The layouts with spare bytes to try.
    pub(super) fn with_spare(&self) -> Vec<PageLayout> {
        match (self.page_size, self.spare_size) {
            (_, Some(0)) => Vec::new(),
            (Some(page), Some(spare)) => vec![layout(page.into(), spare.into())],
            (page, spare) => {
                let is = |known: Option<u32>, size: u64| known.is_none_or(|known| u64::from(known) == size);
                WITH_SPARE.into_iter().filter(|l| is(page, l.page) && is(spare, l.spare)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::chips::CHIPS;

    #[test]
    fn every_chip_known_by_name_is_among_them() {
        for chip in CHIPS.iter().filter(|chip| chip.spare_size > 0) {
            let known =
                |l: &PageLayout| (l.page, l.spare) == (u64::from(chip.page_size), u64::from(chip.spare_size));
            assert!(WITH_SPARE.iter().any(known), "{}", chip.name);
        }
    }
}
