//! Chips known by part number. A fact without a source is left out: unknown stays unknown.

use super::{BadBlockMarker, Geometry, GeometryError};

/// What is known of one part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Chip {
    /// The part number, as it is asked for.
    pub name: &'static str,
    /// Maker and kind, for a list.
    pub description: &'static str,
    /// Data bytes a page.
    pub page_size: u32,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Pages an erase block.
    pub pages_per_block: u32,
    /// Erase blocks.
    pub blocks: u32,
    /// Rated program/erase cycles, where a source states them.
    pub max_erase_cycles: Option<u32>,
    /// Pages that may carry the bad-block mark; none on a chip that has no marks.
    marker_pages: &'static [u32],
    /// Bytes of the mark.
    marker_len: u32,
    /// Where the facts come from.
    pub source: &'static str,
}

/// Every part known by name.
pub const CHIPS: &[Chip] = &[
    Chip {
        name: "MX30LF1G08AA",
        description: "Macronix 1 Gbit SLC parallel NAND",
        page_size: 2048,
        spare_size: 64,
        pages_per_block: 64,
        blocks: 1024,
        max_erase_cycles: Some(100_000),
        marker_pages: &[0, 1],
        marker_len: 1,
        source: "Macronix AN0366 (dtsheet.com/doc/1273115); marker: Linux nand_macronix.c",
    },
    Chip {
        name: "MT29F1G01ABAFD",
        description: "Micron 1 Gbit SPI NAND",
        page_size: 2048,
        spare_size: 128,
        pages_per_block: 64,
        blocks: 1024,
        max_erase_cycles: Some(100_000),
        marker_pages: &[0],
        marker_len: 2,
        source: "Linux spi/micron.c; endurance: pdf.elecfans.com/MICRON/MT29F1G01ABAFDWB-IT:F.html; marker: Linux spi/core.c",
    },
    Chip {
        name: "W25Q128JV",
        description: "Winbond 128 Mbit SPI NOR, 4 KiB sectors",
        page_size: 256,
        spare_size: 0,
        pages_per_block: 16,
        blocks: 4096,
        max_erase_cycles: None,
        marker_pages: &[],
        marker_len: 0,
        source: "Linux spi-nor/winbond.c; W25Q128JV data sheet",
    },
];

impl Chip {
    /// The part of that name, upper or lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        CHIPS.iter().find(|chip| chip.name.eq_ignore_ascii_case(name))
    }

    /// The geometry of the whole part.
    ///
    /// # Errors
    /// Never for a part of [`CHIPS`]; a test holds that.
    pub fn geometry(&self) -> Result<Geometry, GeometryError> {
        Geometry::new(self.page_size, self.spare_size, self.block_size(), self.blocks)
            .map(|g| g.with_max_erase_cycles(self.max_erase_cycles))
    }

    /// Data bytes an erase block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.page_size * self.pages_per_block
    }

    /// Where the part marks bad blocks; none on a chip without marks.
    #[must_use]
    pub fn marker(&self) -> Option<BadBlockMarker> {
        (self.marker_len > 0).then(|| BadBlockMarker {
            pages: self.marker_pages.to_vec(),
            byte: 0,
            len: self.marker_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_geometry_its_marker_fits() {
        for chip in CHIPS {
            let geometry = chip.geometry().expect(chip.name);
            assert_eq!(chip.marker().is_some(), chip.spare_size > 0, "{}", chip.name);
            if let Some(marker) = chip.marker() {
                assert!(marker.fits(geometry.spare_size(), geometry.pages_per_block()), "{}", chip.name);
            }
        }
    }

    #[test]
    fn names_are_found_in_either_case() {
        assert_eq!(Chip::by_name("w25q128jv").map(|c| c.name), Some("W25Q128JV"));
        assert!(Chip::by_name("W25Q").is_none());
    }
}
