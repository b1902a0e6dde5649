//! What geometry an image has: claims by flags, chip file and flash, held against each other.

use std::fmt;

use nandimg::flash::chip_file::{ChipFile, ChipGeometry};
use nandimg::flash::chips::Chip;
use nandimg::flash::{BadBlockMarker, Geometry, PageLayoutTag};
use nandimg::probe::{Candidate, FoundVolume, Hints};
use serde_json::{Value, json};

use super::args::GeometryArgs;
use super::exit::{Failure, Kind};

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Preset(&'static str),
    ChipFile,
    Flash,
    /// The ECC of the pages.
    Pages,
    FileSize,
    /// The image that is converted.
    Image,
    /// Nobody: it is what is usual.
    Usual,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Preset(chip) => write!(f, "--chip {chip}"),
            Self::ChipFile => f.write_str("the chip file"),
            Self::Flash => f.write_str("the flash itself"),
            Self::Pages => f.write_str("the ECC of its pages"),
            Self::FileSize => f.write_str("the size of the file"),
            Self::Image => f.write_str("the image that is converted"),
            Self::Usual => f.write_str("what is usual"),
        }
    }
}

/// A value and who says so.
type Claim = Option<(u32, Source)>;

/// What is claimed of a geometry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) page_size: Claim,
    pub(crate) spare_size: Claim,
    pub(crate) block_size: Claim,
    pub(crate) blocks: Claim,
    pub(crate) first_block: Claim,
    pub(crate) max_erase_cycles: Claim,
    /// What a volume that was found records of the layout of its pages.
    pub(crate) page_layout: Option<PageLayoutTag>,
}

impl Claims {
    /// What the flags say: a single flag overrides what the preset says of it.
    pub(crate) fn of_flags(args: &GeometryArgs) -> Self {
        let flag = |value: Option<u32>| value.map(|v| (v, Source::Flag));
        let preset = |value: fn(&Chip) -> Option<u32>| {
            args.chip.and_then(|chip| Some((value(chip)?, Source::Preset(chip.name))))
        };
        Self {
            page_size: flag(args.page_size).or_else(|| preset(|c| Some(c.page_size))),
            spare_size: flag(args.spare_size).or_else(|| preset(|c| Some(c.spare_size))),
            block_size: flag(args.block_size).or_else(|| preset(|c| Some(c.block_size()))),
            blocks: flag(args.blocks).or_else(|| preset(|c| Some(c.blocks))),
            first_block: flag(args.first_block),
            max_erase_cycles: flag(args.max_erase_cycles).or_else(|| preset(|c| c.max_erase_cycles)),
            page_layout: None,
        }
    }

    /// What the chip file says.
    pub(crate) fn of_chip_file(chip: &ChipFile) -> Self {
        let Some(geometry) = chip.geometry else { return Self::default() };
        let claim = |value: Option<u32>| value.map(|v| (v, Source::ChipFile));
        Self {
            page_size: claim(geometry.page_size),
            spare_size: claim(geometry.spare_size),
            block_size: claim(geometry.block_bytes()),
            blocks: claim(geometry.blocks),
            first_block: claim(geometry.first_block),
            max_erase_cycles: claim(geometry.max_erase_cycles),
            page_layout: None,
        }
    }

    /// What flags and chip file say of an image of `file_len` bytes, which must not contradict each other.
    pub(crate) fn stated(
        args: &GeometryArgs,
        chip: Option<&ChipFile>,
        file_len: u64,
    ) -> Result<Self, Failure> {
        let of_chip = chip.map_or_else(Self::default, Self::of_chip_file);
        Self::of_flags(args).without_spare_if_so(file_len).and(of_chip)
    }

    /// What a volume that was found shows.
    pub(crate) fn of_flash(found: &FoundVolume) -> Self {
        let claim = |value: u32| Some((value, Source::Flash));
        Self {
            page_size: found.page_size.and_then(claim),
            spare_size: claim(found.spare_size),
            block_size: claim(found.block_size),
            blocks: found.blocks.and_then(claim),
            first_block: claim(found.first_block),
            max_erase_cycles: found.max_erase_cycles.and_then(claim),
            page_layout: found.page_layout,
        }
    }

    /// What a candidate for the geometry is.
    pub(crate) fn of_candidate(candidate: &Candidate) -> Self {
        let claim = |value: Option<u32>| value.map(|v| (v, Source::Flash));
        Self {
            page_size: claim(candidate.page_size),
            spare_size: claim(Some(candidate.spare_size)),
            block_size: claim(candidate.block_size),
            blocks: claim(candidate.blocks),
            first_block: claim(Some(candidate.first_block)),
            ..Self::default()
        }
    }

    fn fields(&self) -> [(&'static str, Claim); 6] {
        [
            ("page size", self.page_size),
            ("spare size", self.spare_size),
            ("block size", self.block_size),
            ("number of blocks", self.blocks),
            ("first block", self.first_block),
            ("rated erase cycles", self.max_erase_cycles),
        ]
    }

    /// These claims and those of `other`, which must not contradict each other.
    pub(crate) fn and(self, other: Self) -> Result<Self, Failure> {
        for ((name, mine), (_, theirs)) in self.fields().into_iter().zip(other.fields()) {
            if let (Some((a, from_a)), Some((b, from_b))) = (mine, theirs)
                && a != b
            {
                let message =
                    format!("the {name} is {a} according to {from_a}, and {b} according to {from_b}");
                return Err(Failure::new(Kind::GeometryMismatch, message));
            }
        }
        Ok(Self {
            page_size: self.page_size.or(other.page_size),
            spare_size: self.spare_size.or(other.spare_size),
            block_size: self.block_size.or(other.block_size),
            blocks: self.blocks.or(other.blocks),
            first_block: self.first_block.or(other.first_block),
            max_erase_cycles: self.max_erase_cycles.or(other.max_erase_cycles),
            page_layout: self.page_layout.or(other.page_layout),
        })
    }

    /// What a probe should know of these claims.
    pub(crate) fn hints(&self) -> Hints {
        let value = |claim: Claim| claim.map(|(value, _)| value);
        Hints {
            page_size: value(self.page_size),
            spare_size: value(self.spare_size),
            block_size: value(self.block_size),
        }
    }

    /// Whether these claims and those of `other` could both be true.
    pub(crate) fn agree_with(self, other: Self) -> bool {
        self.and(other).is_ok()
    }

    /// A dump of the preset's chip without its spare area says so by its size.
    pub(crate) fn without_spare_if_so(mut self, file_len: u64) -> Self {
        if let (Some((_, from @ Source::Preset(_))), Some((blocks, _)), Some((block_size, _))) =
            (self.spare_size, self.blocks, self.block_size)
            && u64::from(blocks) * u64::from(block_size) == file_len
        {
            self.spare_size = Some((0, from));
        }
        self
    }

    /// What each claim is and who makes it, for `--verbose`.
    pub(crate) fn describe(&self) -> Vec<String> {
        let show = |(name, claim): (&str, Claim)| claim.map(|(v, from)| format!("{name} {v}: from {from}"));
        self.fields().into_iter().filter_map(show).collect()
    }

    /// The claims without who makes them, for a list of candidates.
    pub(crate) fn describe_shape(&self) -> String {
        let show = |(name, claim): (&str, Claim)| claim.map(|(v, _)| format!("{name} {v}"));
        self.fields().into_iter().filter_map(show).collect::<Vec<_>>().join(", ")
    }

    /// The geometry claimed, in a file of `file_len` bytes if there is one; `None` as long as the block size is not known.
    pub(crate) fn resolve(&self, file_len: Option<u64>) -> Result<Option<Resolved>, Failure> {
        let spare_size = self.spare_size.map_or(0, |c| c.0);
        let Some((block_size, _)) = self.block_size else { return Ok(None) };
        let page_size = match self.page_size {
            Some((page_size, _)) => page_size,
            None if spare_size == 0 => assumed_page_size(block_size),
            None => {
                let message =
                    format!("pages with {spare_size} spare bytes need a page size: give --page-size");
                return Err(Failure::new(Kind::GeometryUnknown, message));
            }
        };
        let first_block = self.first_block.map_or(0, |c| c.0);
        let one = Geometry::new(page_size, spare_size, block_size, 1).map_err(nandimg::Error::from)?;
        let blocks = match (self.blocks, file_len) {
            (Some((blocks, _)), _) => blocks,
            (None, Some(len)) => blocks_in(len, one.raw_block_size(), first_block)?,
            (None, None) => return Ok(None),
        };
        let geometry =
            Geometry::new(page_size, spare_size, block_size, blocks).map_err(nandimg::Error::from)?;
        let geometry = geometry.with_max_erase_cycles(self.max_erase_cycles.map(|c| c.0));
        let resolved =
            Resolved { geometry, first_block, page_size_known: self.page_size.is_some(), claims: *self };
        if let Some(len) = file_len {
            resolved.check_fit(len)?;
        }
        Ok(Some(resolved))
    }
}

fn blocks_in(file_len: u64, raw_block: u64, first_block: u32) -> Result<u32, Failure> {
    let whole = file_len.is_multiple_of(raw_block);
    let blocks = (file_len / raw_block).checked_sub(u64::from(first_block)).filter(|&n| n > 0 && whole);
    blocks.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
        let message = format!(
            "a file of {file_len} bytes does not hold whole blocks of {raw_block} raw bytes from block {first_block} on"
        );
        Failure::new(Kind::GeometryMismatch, message)
    })
}

/// The page size to format to pages with where none is known: as chips have it whose blocks are of this size.
pub(crate) fn usual_page_size(block_size: u32) -> u32 {
    const PAGES_PER_BLOCK: u32 = 32;
    let assumed = assumed_page_size(block_size);
    (block_size / PAGES_PER_BLOCK).max(512).checked_next_power_of_two().map_or(assumed, |n| n.min(assumed))
}

/// The page size to work with where none is known and it changes no byte.
fn assumed_page_size(block_size: u32) -> u32 {
    let largest_power = 1u32.checked_shl(block_size.trailing_zeros()).unwrap_or(0);
    if largest_power >= 256 { largest_power.min(2048) } else { block_size.max(1) }
}

/// A geometry to work with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub(crate) geometry: Geometry,
    pub(crate) first_block: u32,
    pub(crate) page_size_known: bool,
    pub(crate) claims: Claims,
}

impl Resolved {
    /// Where the volume ends in the image, in bytes.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.first_block) * self.geometry.raw_block_size() + self.geometry.raw_size()
    }

    /// The volume must fill the file, unless it was said where in a larger file it lies.
    fn check_fit(&self, file_len: u64) -> Result<(), Failure> {
        let placed =
            self.claims.first_block.is_some_and(|(first, from)| first > 0 || from != Source::ChipFile)
                || self.claims.blocks.is_some_and(|(_, from)| from == Source::Flash);
        let end = self.end();
        if end == file_len || (end < file_len && placed) {
            return Ok(());
        }
        let from = |claim: Claim| claim.map_or(Source::FileSize, |(_, from)| from);
        let missing;
        let message = format!(
            "{} blocks ({}) of {} raw bytes ({}) from block {} on end at {end}, and the file has {file_len} bytes{}",
            self.geometry.blocks(),
            from(self.claims.blocks),
            self.geometry.raw_block_size(),
            from(self.claims.block_size),
            self.first_block,
            match end < file_len {
                true => ": give --first-block if the volume is only a part of it",
                false => {
                    missing = format!(
                        ": {} missing; if it was cut short, pad it with bytes of FF up to there",
                        match end - file_len {
                            1 => "1 byte is".to_string(),
                            n => format!("{n} bytes are"),
                        }
                    );
                    missing.as_str()
                }
            }
        );
        Err(Failure::new(Kind::GeometryMismatch, message))
    }

    /// The geometry as a report shows it.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "page_size": self.page_size_known.then(|| self.geometry.page_size()),
            "spare_size": self.geometry.spare_size(),
            "block_size": self.geometry.block_size(),
            "blocks": self.geometry.blocks(),
            "first_block": self.first_block,
            "max_erase_cycles": self.geometry.max_erase_cycles(),
        })
    }

    /// The geometry as the chip file records it.
    pub(crate) fn to_chip_file(self) -> ChipGeometry {
        ChipGeometry::of(&self.geometry, self.first_block, self.page_size_known)
    }
}

/// Where a preset says that the bad-block mark lies.
pub(crate) fn preset_marker(args: &GeometryArgs, spare_size: u32) -> Option<BadBlockMarker> {
    args.chip.and_then(Chip::marker).filter(|_| spare_size > 0)
}

/// A geometry in a sentence.
pub(crate) fn describe(geometry: &Value) -> String {
    let number = |key: &str| geometry[key].as_u64();
    let page = match (number("page_size"), number("spare_size").unwrap_or(0)) {
        (Some(page), 0) => format!("pages of {page} bytes, "),
        (Some(page), spare) => format!("pages of {page}+{spare} bytes, "),
        (None, _) => String::new(),
    };
    let block = number("block_size").map_or(String::new(), super::output::size);
    let first = match number("first_block") {
        Some(first) if first > 0 => format!(", from block {first} of the image on"),
        _ => String::new(),
    };
    format!("{page}{} blocks of {block}{first}", number("blocks").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(block_size: u32, blocks: Option<u32>) -> Claims {
        Claims::of_flags(&GeometryArgs { block_size: Some(block_size), blocks, ..GeometryArgs::default() })
    }

    #[test]
    fn contradictions_name_both_values() {
        let mut chip = ChipFile::default();
        chip.geometry = Some(ChipGeometry { block_size: Some(8192), ..ChipGeometry::default() });
        let failure = flags(4096, None).and(Claims::of_chip_file(&chip)).unwrap_err();
        assert_eq!(failure.kind, Kind::GeometryMismatch);
        assert!(
            failure.message().contains("4096") && failure.message().contains("8192"),
            "{}",
            failure.message()
        );
    }

    #[test]
    fn the_file_gives_the_number_of_blocks() {
        let resolved = flags(4096, None).resolve(Some(64 * 4096)).unwrap().unwrap();
        assert_eq!((resolved.geometry.blocks(), resolved.page_size_known), (64, false));
        assert!(flags(4096, None).resolve(Some(64 * 4096 + 1)).is_err());
        assert!(flags(4096, Some(63)).resolve(Some(64 * 4096)).is_err());
        assert!(flags(4096, Some(65)).resolve(Some(64 * 4096)).is_err());
        assert!(flags(4096, None).resolve(None).unwrap().is_none());
    }

    #[test]
    fn an_odd_block_size_still_has_pages() {
        assert_eq!(assumed_page_size(131_072), 2048);
        assert_eq!(assumed_page_size(1536), 512);
        assert_eq!(assumed_page_size(1000), 1000);
        for (block, page) in [(131_072, 2048), (65_536, 2048), (16_384, 512), (4096, 512), (1536, 512)] {
            assert_eq!(usual_page_size(block), page, "{block}");
        }
    }
}
