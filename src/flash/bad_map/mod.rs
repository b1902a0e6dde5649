//! Lists of bad blocks in files: JSON, or what the tools that found them printed.
//!
//! * JSON: an array of block numbers, or an object that has such an array as `bad_blocks`, as the reports of nandimg and the
//!   chip file do.
//! * Text: the lines in which nanddump, nandtest, nandwrite, flash_erase and mtdinfo (mtd-utils), the Linux kernel and U-Boot
//!   name bad blocks; other lines are passed over. A line that seems to tell of a bad block and cannot be made out is an
//!   error, since a block that is missed is written to later.
//!
//! Such tools print offsets in the data of the device or partition that they looked at: it has to be what the geometry
//! describes.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
mod text;

use std::collections::BTreeSet;

use serde::Deserialize;
use thiserror::Error;

use super::{Block, Geometry};

/// No list of bad blocks is larger, in bytes.
pub const MAX_LEN: usize = 16 << 20;

/// Why a list of bad blocks is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadMapError {
    /// It is larger than [`MAX_LEN`].
    #[error("it has {0} bytes, and no list of bad blocks has more than {MAX_LEN}")]
    TooLarge(usize),
    /// There is nothing in it.
    #[error("it is empty; the list for a chip without bad blocks is []")]
    Empty,
    /// It is JSON, and not of the kind expected.
    #[error("expected a JSON array of block numbers, or an object with one as \"bad_blocks\": {0}")]
    Json(String),
    /// It is neither JSON nor the output of a tool that is known.
    #[error(
        "no line tells of bad blocks; expected JSON, or what nanddump, nandtest, nandwrite, flash_erase, mtdinfo, U-Boot or \
         Linux print"
    )]
    Foreign,
    /// A line that seems to name a bad block cannot be made out.
    #[error(
        "line {line} tells of a bad block, but not where: {text:?}; expected an offset as in \"bad block at 0x20000\""
    )]
    NotUnderstood {
        /// The line, from 1 on.
        line: usize,
        /// What it says.
        text: String,
    },
    /// A line is a number and no more.
    #[error(
        "line {line} is a number alone, {text:?}, and may be a block or an offset: write block numbers as JSON, such as [3, 77]"
    )]
    Bare {
        /// The line, from 1 on.
        line: usize,
        /// What it says.
        text: String,
    },
    /// An offset is not that of a block.
    #[error("line {line} names offset {offset:#x}, and blocks begin at multiples of {block_size:#x}")]
    Uneven {
        /// The line, from 1 on.
        line: usize,
        /// The offset it names, in data bytes.
        offset: u64,
        /// Data bytes a block.
        block_size: u32,
    },
    /// A line names a block and an offset that is not in it.
    #[error(
        "line {line} names block {block} at offset {offset:#x}, which is in block {}: blocks have {block_size:#x} bytes",
        offset / u64::from(*block_size)
    )]
    Contradiction {
        /// The line, from 1 on.
        line: usize,
        /// The block it names.
        block: u64,
        /// The offset it names, in data bytes.
        offset: u64,
        /// Data bytes a block.
        block_size: u32,
    },
    /// A line names a block that the chip does not have.
    #[error("line {line} names block {block}, and there are {blocks} blocks")]
    OutOfRange {
        /// The line, from 1 on.
        line: usize,
        /// The block it names.
        block: u64,
        /// Blocks there are.
        blocks: u32,
    },
    /// A JSON list has a block that the chip does not have.
    #[error("the list has block {block}, and there are {blocks} blocks")]
    ListedOutOfRange {
        /// The block.
        block: u32,
        /// Blocks there are.
        blocks: u32,
    },
    /// A line counts more bad blocks than are named.
    #[error("line {line} counts {counted} bad blocks, and {named} are named")]
    Miscounted {
        /// The line, from 1 on.
        line: usize,
        /// Bad blocks it counts.
        counted: u64,
        /// Bad blocks named in all of the text.
        named: usize,
    },
}

/// The bad blocks that the file with the content `bytes` lists, in order, each once.
///
/// The memory taken is in proportion to `bytes`, of which there may be [`MAX_LEN`].
///
/// # Errors
/// When it is no such list, does not fit `geometry`, or leaves a bad block in doubt.
pub fn parse_bad_map(bytes: &[u8], geometry: &Geometry) -> Result<Vec<Block>, BadMapError> {
    if bytes.len() > MAX_LEN {
        return Err(BadMapError::TooLarge(bytes.len()));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match bytes.trim_ascii_start() {
        [] => Err(BadMapError::Empty),
        [b'{', ..] => {
            listed(serde_json::from_slice::<Report>(bytes).map(|report| report.bad_blocks), geometry)
        }
        [b'[', inner @ ..] if !is_log_stamp(inner) => listed(serde_json::from_slice(bytes), geometry),
        _ => text::parse(bytes, geometry),
    }
}

/// Reports and chip files, of which nothing else matters here.
#[derive(Deserialize)]
struct Report {
    bad_blocks: BTreeSet<u32>,
}

/// Whether what follows a bracket is a time, as kernel logs begin their lines with, and not the beginning of an array.
fn is_log_stamp(inner: &[u8]) -> bool {
    let inner = inner.trim_ascii_start();
    let digits = inner.iter().take_while(|byte| byte.is_ascii_digit()).count();
    inner.get(digits).is_some_and(|&next| if digits > 0 { next == b'.' } else { next.is_ascii_alphabetic() })
}

fn listed(list: serde_json::Result<BTreeSet<u32>>, geometry: &Geometry) -> Result<Vec<Block>, BadMapError> {
    let list = list.map_err(|error| BadMapError::Json(error.to_string()))?;
    match list.last() {
        Some(&block) if block >= geometry.blocks() => {
            Err(BadMapError::ListedOutOfRange { block, blocks: geometry.blocks() })
        }
        _ => Ok(list.into_iter().map(Block).collect()),
    }
}
