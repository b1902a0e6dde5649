//! Geometries that an image may have, and what speaks for each.

use super::super::volumes::FoundVolume;
use super::arithmetic::Shape;
use crate::flash::Geometry;
use crate::flash::chips::CHIPS;
use crate::layout::Layout;

/// What speaks for a geometry, or against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// A clause that says it.
    pub text: String,
    /// How much it says: 1 is proof, -1 proof of the contrary.
    pub weight: f64,
}

/// A geometry that an image may have.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Data bytes a page; unknown where there are no spare bytes and nothing tells.
    pub page_size: Option<u32>,
    /// Spare bytes a page.
    pub spare_size: u32,
    /// Data bytes an erase block, where that is known.
    pub block_size: Option<u32>,
    /// Erase blocks.
    pub blocks: Option<u32>,
    /// The block of the image that they begin with.
    pub first_block: u32,
    /// How raw pages are laid out; unknown where there are spare bytes that nothing explains.
    pub layout: Option<Layout>,
    /// What speaks for it and against it.
    pub evidence: Vec<Evidence>,
}

impl Candidate {
    /// A candidate that nothing speaks for yet.
    pub(super) fn new(page_size: Option<u32>, spare_size: u32) -> Self {
        let (block_size, blocks, first_block) = (None, None, 0);
        let mut candidate = Self {
            page_size,
            spare_size,
            block_size,
            blocks,
            first_block,
            layout: None,
            evidence: Vec::new(),
        };
        if spare_size == 0 {
            // Without spare bytes the page size changes no byte.
            candidate.set_layout("none", page_size.unwrap_or(512));
        }
        candidate
    }

    /// So many blocks of a shape.
    pub(super) fn of_shape(shape: &Shape, first_block: u32, blocks: u32) -> Self {
        Self {
            block_size: Some(shape.block_size),
            blocks: Some(blocks),
            first_block,
            ..Self::new(shape.page_size, shape.spare_size)
        }
    }

    pub(super) fn of_volume(volume: &FoundVolume) -> Self {
        Self {
            block_size: Some(volume.block_size),
            blocks: volume.blocks,
            first_block: volume.first_block,
            ..Self::new(volume.page_size, volume.spare_size)
        }
    }

    pub(super) fn set_layout(&mut self, name: &str, page_size: u32) {
        self.layout = Layout::preset(name, page_size, self.spare_size).ok();
    }

    pub(super) fn add(&mut self, weight: f64, text: impl Into<String>) {
        self.evidence.push(Evidence { text: text.into(), weight });
    }

    /// How much speaks for it, 0 to 1: what each piece of evidence leaves open is what the others may settle.
    #[must_use]
    pub fn score(&self) -> f64 {
        let left_open =
            |weights: &mut dyn Iterator<Item = f64>| weights.map(|weight| 1.0 - weight).product::<f64>();
        let weights = || self.evidence.iter().map(|evidence| evidence.weight);
        let open = left_open(&mut weights().filter(|weight| *weight > 0.0));
        let spared = left_open(&mut weights().filter(|weight| *weight < 0.0).map(|weight| -weight));
        (1.0 - open) * spared
    }

    /// Its pages and blocks, where both are known.
    pub(super) fn shape(&self) -> Option<Shape> {
        let Self { page_size, spare_size, .. } = *self;
        self.block_size.map(|block_size| Shape { page_size, spare_size, block_size })
    }

    /// Bytes from one page to the next; 512 where that is not known.
    pub(super) fn stride(&self) -> u64 {
        self.page_size.map_or(512, |page| u64::from(page) + u64::from(self.spare_size))
    }

    /// Pages of `stride` bytes that a block has.
    pub(super) fn pages_per_block(&self) -> Option<u64> {
        self.shape().map(|shape| shape.raw_block_size() / self.stride().max(1))
    }

    pub(super) fn has_pages(&self, page_size: u32, spare_size: u32) -> bool {
        (self.page_size, self.spare_size) == (Some(page_size), spare_size)
    }

    /// Whether it is the geometry of `volume`, whose page size may not be known.
    pub(super) fn is_of(&self, volume: &FoundVolume) -> bool {
        let same_pages = volume.page_size.is_none() || self.page_size == volume.page_size;
        let blocks = volume.blocks.is_none_or(|blocks| self.blocks == Some(blocks));
        let place = (self.spare_size, self.block_size, self.first_block);
        same_pages && blocks && place == (volume.spare_size, Some(volume.block_size), volume.first_block)
    }

    /// The chip up to the last of its blocks, where those are known.
    pub(super) fn geometry(&self) -> Option<Geometry> {
        let blocks = self.blocks?.checked_add(self.first_block)?;
        // Without spare bytes any size of pages does.
        let page_size = self.page_size.or((self.spare_size == 0).then_some(512))?;
        Geometry::new(page_size, self.spare_size, self.block_size?, blocks).ok()
    }

    /// What a size of the file says that is theirs.
    pub(super) fn weigh_size(&mut self, len: u64) {
        let (Some(shape), Some(blocks)) = (self.shape(), self.blocks) else { return };
        if shape.blocks_in(len) != Some(blocks) {
            return;
        }
        let size = format!("the file is {blocks} x {} bytes", shape.raw_block_size());
        match blocks.is_power_of_two() && blocks > 1 {
            true => self.add(0.15, format!("{size}: a power of two, as chips have it")),
            false => self.add(0.05, size),
        }
    }

    /// What the chips known by name say.
    pub(super) fn weigh_chips(&mut self) {
        let Some(shape) = self.shape() else { return };
        let (mut same_size, mut same_shape) = (Vec::new(), 0);
        for chip in CHIPS {
            // A dump may leave the spare bytes out.
            let shows = if self.spare_size == 0 { 0 } else { chip.spare_size };
            let same_page = self.page_size.is_none_or(|page| page == chip.page_size);
            if (shows, chip.block_size()) != (self.spare_size, shape.block_size) || !same_page {
                continue;
            }
            same_shape += 1;
            if Some(chip.blocks) == self.blocks && self.first_block == 0 {
                same_size.push(chip.name);
            }
        }
        match same_size.as_slice() {
            [] if same_shape > 0 => self.add(0.05, "chips known by name have such blocks"),
            [] => {}
            names => self.add(0.3, format!("it is the size of {}", some_of(names))),
        }
    }
}

/// Names in a sentence, not too many.
fn some_of(names: &[&str]) -> String {
    const MOST: usize = 3;
    let named = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => named,
        more => format!("{named} and {more} more of the chips known by name"),
    }
}

/// The geometries that the size of a file allows.
pub(super) fn by_size(
    shape: &Shape,
    len: u64,
    first_block: Option<u32>,
    blocks: Option<u32>,
) -> Option<Candidate> {
    let first = first_block.unwrap_or(0);
    let rest = shape.blocks_in(len)?.checked_sub(first).filter(|rest| *rest > 0)?;
    let blocks = blocks.unwrap_or(rest);
    let fits = blocks == rest || (blocks < rest && first_block.is_some());
    fits.then(|| Candidate::of_shape(shape, first, blocks))
}
