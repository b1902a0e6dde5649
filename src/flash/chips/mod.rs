#![doc = include_str!("../CHIPS.md")]
//!
//! # In code
//! [`CHIPS`] is the table, [`Chip::by_name`] looks a part up in it, and [`usual_max_bad_blocks`] stands in where a limit is not
//! known.

// A part is a row here, and one in CHIPS.md, which a test writes.
mod catalogue;

use alloc::vec;
use core::fmt;

use super::{BadBlockMarker, Geometry, GeometryError};

pub use catalogue::CHIPS;

/// What is known of one part.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Chip {
    /// The part number, as it is asked for; each `x` in it stands for any one letter or digit.
    pub name: &'static str,
    /// Who makes it.
    pub maker: &'static str,
    /// What it is, and how it is connected.
    pub kind: Kind,
    /// Data bytes a page.
    pub page_size: u32,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Pages an erase block.
    pub pages_per_block: u32,
    /// Erase blocks, of all dies together: those of the first die come first.
    pub blocks: u32,
    /// Dies that the blocks are shared out over, where a source names several; else 1.
    pub dies: u32,
    /// The error correction it needs, or does itself.
    pub ecc: Option<Ecc>,
    /// Rated program/erase cycles.
    pub max_erase_cycles: Option<u32>,
    /// How often a page may be programmed between two erases.
    pub programs: Option<PagePrograms>,
    /// What else is to be known of it; empty if nothing is.
    pub note: &'static str,
    /// Where the facts come from.
    pub source: &'static str,
    max_bad_blocks: Option<u32>,
    marked: Option<MarkedPages>,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// NAND with a parallel bus.
    ParallelNand,
    /// NAND behind a serial bus.
    SpiNand,
    /// NOR behind a serial bus: no spare bytes, and shipped without bad blocks.
    SpiNor,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ParallelNand => "parallel NAND",
            Self::SpiNand => "SPI NAND",
            Self::SpiNor => "SPI NOR",
        })
    }
}

/// An error correction: so many bits in every so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecc {
    /// Bits corrected in each step.
    pub bits: u32,
    /// Bytes of a step.
    pub bytes: u32,
    /// The part corrects by itself; else the host has to.
    pub on_die: bool,
}

impl fmt::Display for Ecc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.bits, self.bytes, if self.on_die { " on-die" } else { "" })
    }
}

/// How often a page may be programmed between two erases (NOP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePrograms {
    /// Programs of its data bytes.
    pub data: u32,
    /// Programs of its spare bytes.
    pub spare: u32,
}

/// The pages of a block that may carry the bad-block mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarkedPages {
    First,
    FirstTwo,
    FirstTwoAndLast,
    Last,
}

impl Chip {
    /// The part of that name, upper or lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        CHIPS.iter().find(|chip| {
            let stands_for = |(pattern, typed): (u8, u8)| {
                pattern.eq_ignore_ascii_case(&typed) || (pattern == b'x' && typed.is_ascii_alphanumeric())
            };
            chip.name.len() == name.len() && chip.name.bytes().zip(name.bytes()).all(stands_for)
        })
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

    /// Data bytes of the whole part.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.block_size()) * u64::from(self.blocks)
    }

    /// Where the part marks bad blocks; none on a part without marks.
    ///
    /// The mark begins at spare byte 5 of pages of 512 bytes and less, at byte 0 of larger ones; SPI NAND has two bytes of it
    /// (Linux `raw/nand_base.c`, `spi/core.c`).
    #[must_use]
    pub fn marker(&self) -> Option<BadBlockMarker> {
        let last = self.pages_per_block - 1;
        let pages = match self.marked? {
            MarkedPages::First => vec![0],
            MarkedPages::FirstTwo => vec![0, 1],
            MarkedPages::FirstTwoAndLast => vec![0, 1, last],
            MarkedPages::Last => vec![last],
        };
        let byte = if self.page_size <= 512 { 5 } else { 0 };
        Some(BadBlockMarker { pages, byte, len: if self.kind == Kind::SpiNand { 2 } else { 1 } })
    }

    /// How many blocks may be bad at most, from the factory and over the part's life together, where a source states it.
    /// [`usual_max_bad_blocks`] is what is usual elsewhere.
    #[must_use]
    pub fn max_bad_blocks(&self) -> Option<u32> {
        self.max_bad_blocks
    }
}

/// How many of so many blocks of NAND may be bad over its life, where its data sheet is not known: 20 in 1024, which is a
/// little under 2 %, rounded down.
///
/// So it is with nearly all parts whose limit Linux lists (`max_bad_eraseblocks_per_lun` in `spi/*.c`: 10 of 512, 20 of 1024,
/// 40 of 2048), and with the data sheets that say how many blocks stay valid (4016 of 4096).
#[must_use]
pub fn usual_max_bad_blocks(blocks: u32) -> u32 {
    (u64::from(blocks) * 20 / 1024) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_geometry_its_marker_fits() {
        for chip in CHIPS {
            let geometry = chip.geometry().expect(chip.name);
            assert_eq!(geometry.raw_size() > chip.size(), chip.spare_size > 0, "{}", chip.name);
            assert_eq!(chip.marker().is_some(), chip.spare_size > 0, "{}", chip.name);
            assert_eq!(chip.kind == Kind::SpiNor, chip.spare_size == 0, "{}", chip.name);
            if let Some(marker) = chip.marker() {
                assert!(marker.fits(geometry.spare_size(), geometry.pages_per_block()), "{}", chip.name);
            }
        }
    }

    #[test]
    fn every_fact_is_of_a_sane_size_and_has_a_source() {
        for chip in CHIPS {
            assert!(chip.size().is_power_of_two(), "{}: {} bytes", chip.name, chip.size());
            assert!(chip.blocks.is_multiple_of(chip.dies), "{}", chip.name);
            assert!(chip.max_bad_blocks().is_none_or(|n| 0 < n && n <= chip.blocks / 25), "{}", chip.name);
            assert!(chip.max_erase_cycles.is_none_or(|n| n >= 1000), "{}", chip.name);
            let step = |ecc: Ecc| ecc.bits > 0 && (512..=1024).contains(&ecc.bytes);
            assert!(chip.ecc.is_none_or(step), "{}", chip.name);
            assert!(!chip.source.is_empty() && !chip.maker.is_empty(), "{}", chip.name);
        }
    }

    #[test]
    fn marks_lie_where_the_makers_put_them() {
        let rule = |name| {
            let marker = Chip::by_name(name).unwrap().marker().unwrap();
            (marker.pages, marker.byte, marker.len)
        };
        assert_eq!(rule("K9F1208U0B"), (vec![0, 1], 5, 1));
        assert_eq!(rule("NAND01GW3A2B"), (vec![0], 5, 1));
        assert_eq!(rule("K9F1G08U0A"), (vec![0, 1], 0, 1));
        assert_eq!(rule("S34ML02G1"), (vec![0, 1, 63], 0, 1));
        assert_eq!(rule("H27UCG8T2A"), (vec![255], 0, 1));
        assert_eq!(rule("SDTNRGAMA"), (vec![0], 0, 1));
        assert_eq!(rule("W25N01GV"), (vec![0], 0, 2));
        assert_eq!(rule("MX35LF1GE4AB"), (vec![0, 1], 0, 2));
        assert!(Chip::by_name("W25Q256").unwrap().marker().is_none());
    }

    #[test]
    fn names_are_found_in_either_case() {
        assert_eq!(Chip::by_name("w25q128jv").map(|c| c.name), Some("W25Q128JV"));
        assert!(Chip::by_name("W25Q").is_none() && Chip::by_name("W25Q128JVX").is_none());
    }

    #[test]
    fn an_x_in_a_name_stands_for_any_letter_and_each_name_for_one_part() {
        assert_eq!(Chip::by_name("gd5f1gq4ueyig").map(|c| c.name), Some("GD5F1GQ4UExxG"));
        assert!(Chip::by_name("GD5F1GQ4UE-IG").is_none());
        // A capital X is an X.
        assert!(Chip::by_name("MA30LF1G08AA").is_none());
        for chip in CHIPS {
            assert_eq!(Chip::by_name(chip.name).map(|c| c.name), Some(chip.name));
            assert_eq!(Chip::by_name(&chip.name.replace('x', "U")).map(|c| c.name), Some(chip.name));
        }
    }

    #[test]
    fn a_limit_that_is_known_is_not_the_usual_one() {
        let limit = |name| Chip::by_name(name).unwrap().max_bad_blocks();
        assert_eq!(
            (limit("W25N02KV"), limit("W25N04KV"), limit("MT29F2G01AAAED")),
            (Some(40), Some(40), Some(80))
        );
        assert_eq!(limit("MX30LF1G08AA"), None);
        for (blocks, bad) in
            [(512, 10), (1024, 20), (2048, 40), (4096, 80), (51, 0), (52, 1), (u32::MAX, 83_886_079)]
        {
            assert_eq!(usual_max_bad_blocks(blocks), bad);
        }
    }
}
