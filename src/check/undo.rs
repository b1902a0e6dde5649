//! The undo file of a repair: every block as it was before it was changed, and the chip file. Once the repair has ended it is
//! only read: the image itself shows how far the repair has been taken back.
//!
//! # Layout (little-endian)
//! A header, then records; each part ends with the CRC-32 (IEEE) of its bytes.
//! * Header: "NANDUNDO", version 2 (u32), raw block size (u64), volume start (u64), blocks (u32), length of the chip
//!   file (u64, 2^64-1 where there is none), the chip file, the XXH3-64 of each block before the repair.
//! * Record `B`: "B", block (u32), its raw bytes. Durable before the block changes.
//! * Record `E`, after these: "E", number of blocks (u32), for each its number (u32) and, after the repair, the XXH3-64 of each part of
//!   it that lies in one sector (512 bytes) of the image; the XXH3-64 of the chip file after it (of nothing where there is
//!   none). A repair that was cut short has none.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::flash::Block;
use crate::flash::image::ChangeLog;

const MAGIC: &[u8; 8] = b"NANDUNDO";
const VERSION: u32 = 2;
/// A write that is cut short leaves each of these, in the image, as it was or as it was to be.
const SECTOR: u64 = 512;
const NO_CHIP_FILE: u64 = u64::MAX;
/// No chip file and no block is larger.
const MAX_PART: u64 = 1 << 30;

/// What identifies the image that an undo file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoHeader {
    /// Bytes of a block in the image, spare included.
    pub raw_block_size: u64,
    /// Where the volume starts in the image, in bytes.
    pub start: u64,
    /// The chip file before the repair.
    pub chip_file: Option<Vec<u8>>,
    /// The hash of each block before the repair.
    pub hashes: Vec<u64>,
}

impl UndoHeader {
    /// Where in a sector of the image a block begins.
    fn offset_in_sector(&self, block: Block) -> u64 {
        let from_start = u64::from(block.0) % SECTOR * (self.raw_block_size % SECTOR);
        (self.start % SECTOR + from_start) % SECTOR
    }

    /// How many sectors of the image a block touches.
    fn sectors(&self, block: Block) -> u64 {
        (self.offset_in_sector(block) + self.raw_block_size).div_ceil(SECTOR)
    }

    /// The raw bytes of a block, by the sectors of the image that they lie in.
    pub fn by_sector<'a>(&self, block: Block, raw: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let to_boundary = (SECTOR - self.offset_in_sector(block)) as usize;
        let (first, others) = raw.split_at(to_boundary.min(raw.len()));
        std::iter::once(first).chain(others.chunks(SECTOR as usize))
    }
}

/// An undo file, read back.
#[derive(Clone, Debug)]
pub struct Undo {
    /// What it belongs to.
    pub header: UndoHeader,
    /// Blocks that changed, as they were.
    pub blocks: BTreeMap<Block, Vec<u8>>,
    /// Hashes after the repair; `None` when it was cut short.
    pub after: Option<After>,
}

/// What a repair left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// The hashes of each block that changed, by [sectors](UndoHeader::by_sector).
    pub hashes: BTreeMap<Block, Vec<u64>>,
    /// The hash of the chip file.
    pub chip_file: u64,
}

/// How a block of the image stands to the repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is as it was before.
    Before,
    /// It is as the repair left it, or on the way from there to what it was before: it can be put back.
    Repaired,
    /// Something else has changed it.
    Changed,
}

/// Why an undo file could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UndoError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no undo file, or damaged.
    #[error("it is not a whole undo file: {0}")]
    Invalid(&'static str),
}

/// The hash that an undo file keeps of a block or a chip file.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// An undo file that is being written.
#[derive(Debug)]
pub struct UndoWriter {
    file: File,
}

impl UndoWriter {
    /// Begin the undo file at `path`, where there must be none.
    ///
    /// # Errors
    /// When there is one, or it cannot be written.
    pub fn create(path: &Path, header: &UndoHeader) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&header.raw_block_size.to_le_bytes());
        bytes.extend_from_slice(&header.start.to_le_bytes());
        bytes.extend_from_slice(&(header.hashes.len() as u32).to_le_bytes());
        let chip_len = header.chip_file.as_ref().map_or(NO_CHIP_FILE, |chip| chip.len() as u64);
        bytes.extend_from_slice(&chip_len.to_le_bytes());
        bytes.extend_from_slice(header.chip_file.as_deref().unwrap_or_default());
        header.hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
        let mut writer = Self { file: OpenOptions::new().write(true).create_new(true).open(path)? };
        let begun = writer
            .append(&bytes)
            .and_then(|()| crate::flash::file_io::sync_directory(crate::flash::file_io::directory_of(path)));
        match begun {
            Ok(()) => Ok(writer),
            Err(error) => {
                // Nothing has changed yet: what is left would only be in the way of the next attempt.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// A second handle on the same file, to be given to what makes the changes.
    ///
    /// # Errors
    /// When the system cannot give one.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// End the undo file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, after: &After) -> io::Result<()> {
        let mut bytes = b"E".to_vec();
        bytes.extend_from_slice(&(after.hashes.len() as u32).to_le_bytes());
        for (block, hashes) in &after.hashes {
            bytes.extend_from_slice(&block.0.to_le_bytes());
            hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
        }
        bytes.extend_from_slice(&after.chip_file.to_le_bytes());
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        self.file.sync_data()
    }
}

impl ChangeLog for UndoWriter {
    fn before_change(&mut self, block: Block, raw: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(raw.len() + 5);
        bytes.push(b'B');
        bytes.extend_from_slice(&block.0.to_le_bytes());
        bytes.extend_from_slice(raw);
        self.append(&bytes)
    }
}

impl Undo {
    /// Read the undo file at `path`. What is wrong at its end, as a crash leaves it, belongs to a block that had not changed yet
    /// and is left out.
    ///
    /// # Errors
    /// When it cannot be read, or is no undo file.
    pub fn load(path: &Path) -> Result<Self, UndoError> {
        let mut source = Parts { reader: io::BufReader::new(File::open(path)?), part: Vec::new() };
        let header = source.header().map_err(|error| match error {
            UndoError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                UndoError::Invalid("it ends within its header")
            }
            other => other,
        })?;
        let mut undo = Self { header, blocks: BTreeMap::new(), after: None };
        loop {
            match source.record(&undo.header) {
                Ok(Some(Record::Block(block, raw))) if undo.after.is_none() => {
                    undo.blocks.entry(block).or_insert(raw);
                }
                Ok(Some(Record::End(after))) if undo.after.is_none() => undo.after = Some(after),
                Ok(Some(_)) => return Err(UndoError::Invalid("something follows its end")),
                Ok(None) => return Ok(undo),
                Err(UndoError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(UndoError::Io(error));
                }
                Err(_) => return Ok(undo),
            }
        }
    }

    /// How `block`, which holds `raw` now, stands to the repair. What a repair that was cut short had begun to change may be in
    /// any state.
    #[must_use]
    pub fn standing(&self, block: Block, raw: &[u8]) -> Standing {
        if self.header.hashes.get(block.index()) == Some(&hash(raw)) {
            return Standing::Before;
        }
        let Some(before) = self.blocks.get(&block) else { return Standing::Changed };
        let Some(after) = &self.after else { return Standing::Repaired };
        let Some(left) = after.hashes.get(&block) else { return Standing::Changed };
        let sectors = self.header.by_sector(block, raw).zip(self.header.by_sector(block, before)).zip(left);
        match sectors.into_iter().all(|((now, before), left)| now == before || hash(now) == *left) {
            true => Standing::Repaired,
            false => Standing::Changed,
        }
    }
}

enum Record {
    Block(Block, Vec<u8>),
    End(After),
}

/// Reads parts and checks their CRC.
struct Parts<R> {
    reader: R,
    part: Vec<u8>,
}

impl<R: Read> Parts<R> {
    fn take(&mut self, len: u64) -> Result<&[u8], UndoError> {
        let from = self.part.len();
        let read = (&mut self.reader).take(len).read_to_end(&mut self.part)?;
        if (read as u64) < len {
            return Err(UndoError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(self.part.get(from..).unwrap_or_default())
    }

    fn number(&mut self, len: u64) -> Result<u64, UndoError> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    /// End a part: its CRC must be right.
    fn end(&mut self) -> Result<(), UndoError> {
        let expected = crc32fast::hash(&self.part);
        let found = self.number(4)?;
        self.part.clear();
        if found == u64::from(expected) {
            Ok(())
        } else {
            Err(UndoError::Invalid("a checksum does not match"))
        }
    }

    fn header(&mut self) -> Result<UndoHeader, UndoError> {
        if self.take(8)? != MAGIC {
            return Err(UndoError::Invalid("it does not begin as one"));
        }
        if self.number(4)? != u64::from(VERSION) {
            return Err(UndoError::Invalid("it is of another version"));
        }
        let raw_block_size = self.number(8)?;
        let start = self.number(8)?;
        let blocks = self.number(4)?;
        let chip_len = self.number(8)?;
        if raw_block_size > MAX_PART || (chip_len != NO_CHIP_FILE && chip_len > MAX_PART) {
            return Err(UndoError::Invalid("its sizes are out of all proportion"));
        }
        let chip_file = if chip_len == NO_CHIP_FILE { None } else { Some(self.take(chip_len)?.to_vec()) };
        let hashes =
            self.take(8 * blocks)?.as_chunks::<8>().0.iter().map(|h| u64::from_le_bytes(*h)).collect();
        self.end()?;
        Ok(UndoHeader { raw_block_size, start, chip_file, hashes })
    }

    fn record(&mut self, header: &UndoHeader) -> Result<Option<Record>, UndoError> {
        let kind = match self.take(1) {
            Ok(kind) => kind.first().copied(),
            Err(UndoError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let blocks = header.hashes.len() as u64;
        let record = match kind {
            Some(b'B') => {
                let block = self.block(blocks)?;
                Record::Block(block, self.take(header.raw_block_size)?.to_vec())
            }
            Some(b'E') => {
                let count = self.number(4)?;
                let mut after = After::default();
                for _ in 0..count {
                    let block = self.block(blocks)?;
                    let hashes = (0..header.sectors(block)).map(|_| self.number(8));
                    after.hashes.insert(block, hashes.collect::<Result<_, _>>()?);
                }
                Record::End(After { chip_file: self.number(8)?, ..after })
            }
            _ => return Err(UndoError::Invalid("it holds an unknown record")),
        };
        self.end()?;
        Ok(Some(record))
    }

    fn block(&mut self, blocks: u64) -> Result<Block, UndoError> {
        match u32::try_from(self.number(4)?) {
            Ok(block) if u64::from(block) < blocks => Ok(Block(block)),
            _ => Err(UndoError::Invalid("it names a block that does not exist")),
        }
    }
}
