//! The chip file: what a chip knows and its cells cannot say, as JSON beside the image.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::faults::LatentFault;
use super::file_io::replace_file;
use super::{BadBlockMarker, Geometry};
use crate::layout::Layout;

/// The schema this library writes and reads.
pub const SCHEMA: &str = "nandimg.chip/1";

/// No chip file is nearly as large as this many bytes.
const MAX_LEN: u64 = 16 << 20;

/// Commas and brackets of what others keep in a chip file: each may take a hundred times its size in RAM.
const MAX_OTHER: usize = 1 << 16;

/// The content of a chip file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChipFile {
    schema: String,
    /// The geometry, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<ChipGeometry>,
    /// Where the chip's bad-block mark lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_block_marker: Option<BadBlockMarker>,
    /// How raw pages are laid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<StoredLayout>,
    /// Blocks that are bad, where no spare area can carry their mark.
    #[serde(default)]
    pub bad_blocks: Vec<u32>,
    /// Blocks that will fail later.
    #[serde(default)]
    pub faults: Vec<LatentFault>,
    /// What others keep here is kept.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// A layout as a chip file keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredLayout {
    /// The name of one that is known.
    Named(String),
    /// All that a layout file says.
    Whole(serde_json::Map<String, serde_json::Value>),
}

impl StoredLayout {
    /// `layout` by its name, if that is enough to know it by; else all of it.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let known = Layout::preset(layout.name(), layout.page_size(), layout.spare_size());
        match (known, serde_json::from_str(&layout.to_json())) {
            (Err(_), Ok(whole)) => Self::Whole(whole),
            (Ok(known), Ok(whole)) if known != *layout => Self::Whole(whole),
            _ => Self::Named(layout.name().to_string()),
        }
    }
}

/// The parts of a chip file that grow with the chip.
#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    bad_blocks: Vec<u32>,
    #[serde(default)]
    faults: Vec<LatentFault>,
}

/// A geometry of which parts may be unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChipGeometry {
    /// Data bytes a page.
    pub page_size: Option<u32>,
    /// Spare bytes a page.
    pub spare_size: Option<u32>,
    /// Pages an erase block.
    pub pages_per_block: Option<u32>,
    /// Data bytes an erase block, where the page size is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u32>,
    /// Erase blocks of the volume.
    pub blocks: Option<u32>,
    /// Where the volume starts, in blocks.
    pub first_block: Option<u32>,
    /// Rated erase cycles.
    pub max_erase_cycles: Option<u32>,
}

impl ChipGeometry {
    /// What is to be recorded of `geometry`; the page size only where it is known.
    #[must_use]
    pub fn of(geometry: &Geometry, first_block: u32, page_size_known: bool) -> Self {
        let pages = page_size_known.then(|| (geometry.page_size(), geometry.pages_per_block()));
        Self {
            page_size: pages.map(|p| p.0),
            spare_size: Some(geometry.spare_size()),
            pages_per_block: pages.map(|p| p.1),
            block_size: (!page_size_known).then(|| geometry.block_size()),
            blocks: Some(geometry.blocks()),
            first_block: Some(first_block),
            max_erase_cycles: geometry.max_erase_cycles(),
        }
    }

    /// Data bytes an erase block, if it says so either way; `None` too where the two ways contradict each other.
    #[must_use]
    pub fn block_bytes(&self) -> Option<u32> {
        let product = self.page_size.zip(self.pages_per_block).and_then(|(p, n)| p.checked_mul(n));
        match (product, self.block_size) {
            (Some(a), Some(b)) => (a == b).then_some(a),
            (a, b) => a.or(b),
        }
    }
}

/// Why a chip file could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChipFileError {
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("it is not a chip file: {0}")]
    Invalid(String),
}

impl Default for ChipFile {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_string(),
            geometry: None,
            bad_block_marker: None,
            layout: None,
            bad_blocks: Vec::new(),
            faults: Vec::new(),
            other: serde_json::Map::new(),
        }
    }
}

impl ChipFile {
    /// Where the chip file of the image at `image` lies.
    #[must_use]
    pub fn path_beside(image: &Path) -> PathBuf {
        let mut name = image.as_os_str().to_owned();
        name.push(".chip.json");
        name.into()
    }

    /// Read the chip file at `path`; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is no chip file.
    pub fn load(path: &Path) -> Result<Option<Self>, ChipFileError> {
        let found = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if !found.is_file() || found.len() > MAX_LEN {
            return Err(ChipFileError::Invalid(format!("{} bytes", found.len())));
        }
        Self::parse(&std::fs::read(path)?).map(Some)
    }

    /// The chip file in `bytes`.
    ///
    /// # Errors
    /// When they are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChipFileError> {
        let invalid = |error: serde_json::Error| ChipFileError::Invalid(error.to_string());
        let lists: Lists = serde_json::from_slice(bytes).map_err(invalid)?;
        let expected = 4 * lists.faults.len() + lists.bad_blocks.len();
        let found = bytes.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
        if found > expected + MAX_OTHER {
            return Err(ChipFileError::Invalid("it holds far more than what a chip knows".into()));
        }
        drop(lists);
        let chip: Self = serde_json::from_slice(bytes).map_err(invalid)?;
        if chip.schema != SCHEMA {
            return Err(ChipFileError::Invalid(format!("its schema is {:?}, not {SCHEMA:?}", chip.schema)));
        }
        if let Some(geometry) = &chip.geometry
            && geometry.block_bytes().is_none()
            && (geometry.block_size.is_some()
                || (geometry.page_size.is_some() && geometry.pages_per_block.is_some()))
        {
            return Err(ChipFileError::Invalid(
                "its page, block and pages-per-block sizes contradict each other".into(),
            ));
        }
        Ok(chip)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Only maps with keys that are no strings fail, and there are none.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Put it at `path`, whole or not at all, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        replace_file(path, &self.to_bytes())
    }
}
