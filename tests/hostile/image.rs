//! The images that are damaged, and the format read anew from its fact sheet: nothing here asks the library what bytes mean.

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry};
use nandimg::ftl::Volume;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};
use nandimg::prng::SplitMix64;
use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(crate) const UNMAPPED: u32 = 0xFFFF_FFFF;
/// Header and checksum.
pub(crate) const FRAME: usize = 32;

/// Where things lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) page: usize,
    pub(crate) block: usize,
    pub(crate) blocks: usize,
    pub(crate) blocks_per_slot: usize,
    pub(crate) reserved: usize,
    pub(crate) logical: usize,
}

impl Shape {
    pub(crate) fn of(geometry: &Geometry) -> Self {
        let (block, blocks) = (geometry.block_size() as usize, geometry.blocks() as usize);
        let blocks_per_slot = (8 * blocks + blocks.div_ceil(8) + 64).div_ceil(block);
        let reserved = 2 * blocks_per_slot + 2;
        let page = geometry.page_size() as usize;
        Self { page, block, blocks, blocks_per_slot, reserved, logical: blocks - reserved - 2 }
    }

    pub(crate) fn slot_len(&self) -> usize {
        self.blocks_per_slot * self.block
    }

    pub(crate) fn data_blocks(&self) -> usize {
        self.blocks - self.reserved
    }

    pub(crate) fn bad_table_len(&self) -> usize {
        self.blocks.div_ceil(8)
    }
}

/// An image and what its chip says of its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) geometry: Geometry,
    pub(crate) shape: Shape,
    pub(crate) bytes: Vec<u8>,
    /// The chip's bad-block marks; `None` where it carries none.
    pub(crate) marks: Option<Vec<bool>>,
}

impl Image {
    pub(crate) fn slot(&self, slot: usize) -> &[u8] {
        let len = self.shape.slot_len();
        &self.bytes[slot * len..][..len]
    }

    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        let len = self.shape.slot_len();
        &mut self.bytes[slot * len..][..len]
    }

    pub(crate) fn block(&self, block: usize) -> &[u8] {
        &self.bytes[block * self.shape.block..][..self.shape.block]
    }

    pub(crate) fn is_marked(&self, block: usize) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks[block])
    }

    pub(crate) fn chip(&self) -> SimFlash {
        let mut chip = SimFlash::from_data(self.geometry, &self.bytes);
        match &self.marks {
            None => chip.without_marks(),
            Some(marks) => {
                let marked = self.geometry.iter_blocks().filter(|b| marks[b.index()]);
                marked.for_each(|block| chip.set_factory_bad(block));
                chip
            }
        }
    }
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Erased,
    NoMagic,
    /// The entry claims more than a slot.
    TooLong,
    /// The checksum is wrong; whether the last page of the entry is erased.
    BadSum {
        unfinished: bool,
    },
    /// The checksum is right and the tables do not fill the payload.
    BadTables {
        unfinished: bool,
    },
    Entry(Entry),
}

impl Found {
    /// Whether the checksum is right.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self, Self::BadTables { .. } | Self::Entry(_))
    }

    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) logical_len: u64,
    pub(crate) map: Vec<u32>,
    pub(crate) counts: Vec<u32>,
    pub(crate) bad: Vec<u8>,
    pub(crate) trailing: Vec<u8>,
}

impl Entry {
    pub(crate) fn is_in_bad_table(&self, block: usize) -> bool {
        self.bad.get(block / 8).is_some_and(|byte| byte & (1 << (block % 8)) != 0)
    }

    pub(crate) fn set_bad(&mut self, block: usize) {
        if let Some(byte) = self.bad.get_mut(block / 8) {
            *byte |= 1 << (block % 8);
        }
    }

    /// The payload, and where in it the three length words lie.
    pub(crate) fn payload(&self) -> (Vec<u8>, [usize; 3]) {
        let mut out = self.logical_len.to_le_bytes().to_vec();
        let mut lengths = [0; 3];
        for (table, at) in [&self.map, &self.counts].into_iter().zip(&mut lengths) {
            *at = out.len();
            out.extend((4 * table.len() as u32).to_le_bytes());
            out.extend(table.iter().flat_map(|n| n.to_le_bytes()));
        }
        lengths[2] = out.len();
        out.extend((self.bad.len() as u32).to_le_bytes());
        out.extend(&self.bad);
        out.extend(&self.trailing);
        (out, lengths)
    }
}

/// The checksum that ends an entry.
pub(crate) fn checksum(covered: &[u8]) -> [u8; 16] {
    xxh3_128_with_seed(covered, 0xF7DE_ADBE_EFCA_FE00).to_le_bytes()
}

/// Header, payload and a checksum that is right.
pub(crate) fn seal(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = b"FTLJ".to_vec();
    out.extend(sequence.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    out.extend(checksum(&out));
    out
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn double(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// What the bytes of a slot are.
pub(crate) fn parse(slot: &[u8], page: usize) -> Found {
    if !slot.starts_with(b"FTLJ") {
        return if slot.iter().all(|&b| b == 0xFF) { Found::Erased } else { Found::NoMagic };
    }
    let payload_len = word(slot, 12) as usize;
    let len = payload_len + FRAME;
    if len > slot.len() {
        return Found::TooLong;
    }
    let unfinished = slot[(len - 1) / page * page..len].iter().all(|&b| b == 0xFF);
    if checksum(&slot[..16 + payload_len]) != slot[16 + payload_len..len] {
        return Found::BadSum { unfinished };
    }
    let tables = parse_tables(double(slot, 4), &slot[16..16 + payload_len]);
    tables.map_or(Found::BadTables { unfinished }, Found::Entry)
}

fn parse_tables(sequence: u64, payload: &[u8]) -> Option<Entry> {
    let logical_len = double(payload.get(..8)?, 0);
    let mut rest = &payload[8..];
    let mut tables = [&[][..]; 3];
    for table in &mut tables {
        let len = word(rest.get(..4)?, 0) as usize;
        *table = rest.get(4..4 + len)?;
        rest = &rest[4 + len..];
    }
    let words = |table: &[u8]| {
        table.len().is_multiple_of(4).then(|| table.chunks(4).map(|w| word(w, 0)).collect::<Vec<u32>>())
    };
    let [map, counts, bad] = tables;
    let (map, counts, bad) = (words(map)?, words(counts)?, bad.to_vec());
    Some(Entry { sequence, logical_len, map, counts, bad, trailing: rest.to_vec() })
}

/// Chips as small as the format allows, and what differs between them.
struct Kind {
    page: u32,
    block: u32,
    blocks: u32,
    rated: Option<u32>,
    factory_bad: &'static [u32],
    carries_marks: bool,
}

const KINDS: [Kind; 7] = [
    Kind { page: 64, block: 256, blocks: 16, rated: None, factory_bad: &[], carries_marks: true },
    Kind { page: 64, block: 256, blocks: 16, rated: Some(50), factory_bad: &[6, 11], carries_marks: true },
    Kind { page: 64, block: 256, blocks: 16, rated: Some(1000), factory_bad: &[], carries_marks: false },
    // Slots of two blocks.
    Kind { page: 64, block: 256, blocks: 40, rated: Some(100), factory_bad: &[7], carries_marks: true },
    Kind { page: 256, block: 512, blocks: 45, rated: None, factory_bad: &[], carries_marks: false },
    // Blocks of one page, slots of three blocks.
    Kind { page: 128, block: 128, blocks: 24, rated: Some(50), factory_bad: &[20], carries_marks: true },
    Kind { page: 512, block: 2048, blocks: 20, rated: None, factory_bad: &[], carries_marks: true },
];

/// Volumes made by the engine, from freshly formatted to full and much rewritten.
pub(crate) fn bases() -> Vec<Image> {
    let mut rng = SplitMix64::new(0xBA5E);
    let mut bases = Vec::new();
    for kind in &KINDS {
        for commits in [0, 1, 2, 7, 40] {
            bases.push(base(kind, commits, &mut rng));
        }
    }
    bases
}

fn base(kind: &Kind, commits: u32, rng: &mut SplitMix64) -> Image {
    let geometry = Geometry::new(kind.page, 0, kind.block, kind.blocks).unwrap();
    let geometry = geometry.with_max_erase_cycles(kind.rated);
    let mut chip = SimFlash::new(geometry);
    if !kind.carries_marks {
        chip = chip.without_marks();
    }
    kind.factory_bad.iter().for_each(|&block| chip.set_factory_bad(Block(block)));
    FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
    let mut volume = BlockVolume::mount(chip, &Mount::default()).unwrap();
    let capacity = volume.capacity();
    for _ in 0..commits {
        // A hole is left here and there.
        let offset = rng.below(capacity * 3 / 4);
        let longest = (capacity - offset).min(3 * u64::from(kind.block));
        let mut data = vec![0; 1 + rng.below(longest) as usize];
        rng.fill(&mut data);
        volume.write(offset, &data).unwrap();
        volume.sync().unwrap();
    }
    let chip = volume.into_flash();
    let marks = geometry.iter_blocks().map(|block| chip.is_bad(block).unwrap()).collect();
    let marks = kind.carries_marks.then_some(marks);
    Image { geometry, shape: Shape::of(&geometry), bytes: chip.data().to_vec(), marks }
}
