//! The layout that an anchor states, held against the chip it was found on.

use alloc::format;

use super::layout::{Layout, MAX_CLASSES};
use super::zone::LAST_NUMBER;
use crate::error::{Error, Result};
use crate::flash::Geometry;
use crate::onflash::paged::MAX_CLOCK;
use crate::onflash::paged::anchor::{Anchor, INCOMPATIBLE, VERSION};

impl Layout {
    /// The layout that `anchor` states.
    ///
    /// # Errors
    /// With what keeps it from being the anchor of a volume on a chip of this geometry.
    pub(super) fn of_anchor(anchor: &Anchor, geometry: &Geometry) -> Result<Self> {
        if anchor.version != VERSION {
            return Err(Error::Unsupported(format!(
                "the volume has version {} of the page-mapped format, and this is made for version {VERSION}",
                anchor.version
            )));
        }
        let unknown = anchor.incompatible & !INCOMPATIBLE;
        if unknown != 0 {
            return Err(Error::Unsupported(format!(
                "the volume uses features that are not known here: incompatible bit {} (bits {unknown:#x})",
                unknown.trailing_zeros()
            )));
        }
        for (name, on_flash, here) in [
            ("page size", anchor.page_size, geometry.page_size()),
            ("number of pages a block", anchor.pages_per_block, geometry.pages_per_block()),
            ("number of blocks", anchor.blocks, geometry.blocks()),
        ] {
            if on_flash != here {
                return Err(Error::GeometryMismatch(format!(
                    "the {name} is {on_flash} according to the volume's anchor, and {here} according to the geometry"
                )));
            }
        }
        let unusable = |what: &str| Error::Unmountable(format!("its anchor's {what} cannot be"));
        let chip = Self::of_chip(geometry).ok_or_else(|| unusable("geometry"))?;
        let layout = Self {
            zone_blocks: u32::from(anchor.zone_blocks),
            summary_pages: u32::from(anchor.summary_pages),
            classes: anchor.classes,
            capacity_pages: anchor.capacity_pages,
            reserve_blocks: anchor.reserve_blocks,
            ..chip
        };
        let data_blocks = u64::from(layout.blocks.saturating_sub(layout.zone_blocks));
        let room = data_blocks * u64::from(layout.pages_per_block.saturating_sub(layout.summary_pages));
        let checks = [
            ("anchor zone", layout.zone_blocks == chip.zone_blocks),
            ("summary size", layout.summary_pages == chip.summary_pages),
            ("number of streams", (1..=MAX_CLASSES).contains(&layout.classes)),
            ("capacity", layout.capacity_pages > 0 && u64::from(layout.capacity_pages) <= room),
            ("length", anchor.logical_len <= layout.capacity()),
            ("clock", anchor.clock <= MAX_CLOCK),
            ("next log page", anchor.next_log < LAST_NUMBER),
        ];
        match checks.into_iter().find(|(_, fits)| !fits) {
            Some((what, _)) => Err(unusable(what)),
            None => Ok(layout),
        }
    }
}
