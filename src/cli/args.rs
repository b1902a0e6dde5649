//! Arguments that several subcommands share, and how they are written.

use std::path::PathBuf;

use clap::Args;
use nandimg::flash::chips::{CHIPS, Chip, Kind};

use super::output;

/// The image, and what is known of its chip.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The raw flash image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) geometry: GeometryArgs,
}

/// The geometry flags.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GeometryArgs {
    /// A chip by part number ("help" lists them)
    #[arg(long, help_heading = "Geometry", value_name = "NAME", value_parser = parse_chip)]
    pub(crate) chip: Option<&'static Chip>,
    /// Data bytes a page
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_size_u32)]
    pub(crate) page_size: Option<u32>,
    /// Spare (out-of-band) bytes a page
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_size_u32)]
    pub(crate) spare_size: Option<u32>,
    /// Data bytes an erase block, spare not counted
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_size_u32)]
    pub(crate) block_size: Option<u32>,
    /// Erase blocks of the volume
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_size_u32)]
    pub(crate) blocks: Option<u32>,
    /// Block of the image at which the volume starts
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_size_u32)]
    pub(crate) first_block: Option<u32>,
    /// Rated program/erase cycles of a block
    #[arg(long, help_heading = "Geometry", value_name = "N", value_parser = parse_cycles)]
    pub(crate) max_erase_cycles: Option<u32>,
    /// How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)
    #[arg(long, help_heading = "Geometry", value_name = "NAME|FILE")]
    pub(crate) layout: Option<String>,
    /// The chip file, if not IMAGE.chip.json; "none" for none
    #[arg(long, help_heading = "Geometry", value_name = "PATH")]
    pub(crate) chip_file: Option<PathBuf>,
}

fn parse_chip(name: &str) -> Result<&'static Chip, String> {
    Chip::by_name(name).ok_or_else(|| {
        let similar = |chip: &&Chip| {
            let len = chip.name.len().min(name.len());
            len > 0 && name.get(..len).is_some_and(|start| start.eq_ignore_ascii_case(&chip.name[..len]))
        };
        let names: Vec<_> = CHIPS.iter().filter(similar).map(|chip| chip.name).collect();
        let hint = if names.is_empty() { String::new() } else { format!("; similar: {}", names.join(", ")) };
        format!("no chip is known by that name, \"--chip help\" lists them{hint}")
    })
}

/// A table of the chips known by name.
pub(crate) fn list_chips() -> String {
    const HEADER: [&str; 9] =
        ["part", "chip", "page+spare", "pages/block", "blocks", "size", "ECC", "erase cycles", "bad at most"];
    let mut table = output::table(&HEADER);
    for chip in CHIPS {
        // What cannot be is told apart from what is not known.
        let known = |fact: Option<String>| fact.unwrap_or_else(|| "?".to_string());
        let of_nand = |fact| if chip.kind == Kind::SpiNor { "-".to_string() } else { known(fact) };
        table.add_row([
            chip.name.to_string(),
            format!("{} {}", chip.maker, chip.kind),
            format!("{}+{}", chip.page_size, chip.spare_size),
            chip.pages_per_block.to_string(),
            chip.blocks.to_string(),
            output::size(chip.size()),
            of_nand(chip.ecc.map(|ecc| ecc.to_string())),
            known(chip.max_erase_cycles.map(|cycles| cycles.to_string())),
            of_nand(chip.max_bad_blocks().map(|blocks| blocks.to_string())),
        ]);
    }
    format!("{table}\n? is what no source tells; an x in a name stands for any letter or digit")
}

/// A number of bytes: decimal or hex, with a binary suffix (`2KiB`, `128k`, `1MiB`, `4M`).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    const SUFFIXES: [(&str, u32); 9] = [
        ("kib", 10),
        ("mib", 20),
        ("gib", 30),
        ("tib", 40),
        ("k", 10),
        ("m", 20),
        ("g", 30),
        ("t", 40),
        ("b", 0),
    ];
    let wrong = || format!("{text:?} is not a size: write 2048, 0x800, 2KiB, 128k or 1MiB");
    let lower = text.trim().to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).map_err(|_| wrong());
    }
    let (digits, shift) = SUFFIXES
        .iter()
        .find_map(|&(suffix, shift)| lower.strip_suffix(suffix).map(|digits| (digits.trim_end(), shift)))
        .unwrap_or((lower.as_str(), 0));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

pub(crate) fn parse_size_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| format!("{text:?} is too large"))
}

fn parse_cycles(text: &str) -> Result<u32, String> {
    parse_size_u32(text)
        .and_then(|n| if n > 0 { Ok(n) } else { Err("no block is rated for 0 cycles".to_string()) })
}

/// Block numbers: `3,77,100-103`.
pub(crate) fn parse_blocks(text: &str) -> Result<BlockList, String> {
    const MOST: u32 = 1 << 20;
    let mut blocks = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_size_u32(first)?, parse_size_u32(last)?);
        if first > last || last - first >= MOST {
            return Err(format!("{part:?} is not a range of blocks"));
        }
        blocks.extend(first..=last);
    }
    if blocks.is_empty() {
        return Err("no block is named".to_string());
    }
    blocks.sort_unstable();
    blocks.dedup();
    Ok(BlockList(blocks))
}

/// Block numbers in order, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockList(pub(crate) Vec<u32>);

/// A stored bit to flip: `BIT@BLOCK:PAGE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitPlace {
    pub(crate) bit: u64,
    pub(crate) block: u32,
    pub(crate) page: u32,
}

pub(crate) fn parse_bit_place(text: &str) -> Result<BitPlace, String> {
    let wrong = || format!("{text:?} is not a place: write BIT@BLOCK:PAGE");
    let (bit, place) = text.split_once('@').ok_or_else(wrong)?;
    let (block, page) = place.split_once(':').ok_or_else(wrong)?;
    Ok(BitPlace { bit: parse_size(bit)?, block: parse_size_u32(block)?, page: parse_size_u32(page)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("2048", 2048),
            ("0x800", 2048),
            ("2KiB", 2048),
            ("2k", 2048),
            ("128KiB", 131_072),
            ("1MiB", 1 << 20),
            ("4M", 4 << 20),
            ("7b", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5k", "0x", "12q", "99999999999999999999", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_blocks_take_ranges() {
        assert_eq!(parse_blocks("3,77,100-103").unwrap().0, [3, 77, 100, 101, 102, 103]);
        assert_eq!(parse_blocks("5,5, 4").unwrap().0, [4, 5]);
        for text in ["", "a", "4-2", "0-9999999"] {
            assert!(parse_blocks(text).is_err(), "{text}");
        }
    }
}
