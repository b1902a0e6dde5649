//! The undo file of a repair: every block as it was before it was changed, and the chip file.
//!
//! # Layout (little-endian)
//! A header, then records; each part ends with the CRC-32 (IEEE) of its bytes.
//! * Header: "NANDUNDO", version 1 (u32), raw block size (u64), volume start (u64), blocks (u32), length of the chip
//!   file (u64, 2^64-1 where there is none), the chip file, the XXH3-64 of each block before the repair.
//! * Record `B`: "B", block (u32), its raw bytes. Durable before the block changes.
//! * Record `E`, after these: "E", number of blocks (u32), for each its number (u32) and XXH3-64 after the repair, the XXH3-64 of
//!   the chip file after it (of nothing where there is none). A repair that was cut short has none.
//! * Record `U`: "U". Durable before the first block is put back. Record `D`: "D", when all are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::flash::Block;
use crate::flash::image::ChangeLog;

const MAGIC: &[u8; 8] = b"NANDUNDO";
const VERSION: u32 = 1;
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

/// An undo file, read back.
#[derive(Clone, Debug)]
pub struct Undo {
    /// What it belongs to.
    pub header: UndoHeader,
    /// Blocks that changed, as they were.
    pub blocks: Vec<(Block, Vec<u8>)>,
    /// Hashes after the repair; `None` when it was cut short.
    pub after: Option<After>,
    /// How far it has been used.
    pub used: Option<Step>,
    /// Bytes of the file that are whole.
    len: u64,
}

/// How far an undo file has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Blocks are being put back.
    Begun,
    /// All of them are back.
    Done,
}

/// What a repair left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The hash of each block that changed.
    pub hashes: Vec<(Block, u64)>,
    /// The hash of the chip file.
    pub chip_file: u64,
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
        writer.append(&bytes)?;
        crate::flash::file_io::sync_directory(crate::flash::file_io::directory_of(path))?;
        Ok(writer)
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
        for (block, hash) in &after.hashes {
            bytes.extend_from_slice(&block.0.to_le_bytes());
            bytes.extend_from_slice(&hash.to_le_bytes());
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
        let mut source = Parts { reader: io::BufReader::new(File::open(path)?), part: Vec::new(), read: 0 };
        let header = source.header()?;
        let blocks = header.hashes.len() as u64;
        let mut undo = Self { header, blocks: Vec::new(), after: None, used: None, len: source.read };
        loop {
            let record = source.record(undo.header.raw_block_size, blocks);
            match record {
                Ok(Some(Record::Block(block, raw))) if undo.after.is_none() => undo.blocks.push((block, raw)),
                Ok(Some(Record::End(after))) if undo.after.is_none() => undo.after = Some(after),
                Ok(Some(Record::Used(step))) => undo.used = Some(step),
                Ok(Some(_)) => return Err(UndoError::Invalid("something follows its end")),
                Ok(None) => return Ok(undo),
                Err(UndoError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(UndoError::Io(error));
                }
                Err(_) => return Ok(undo),
            }
            undo.len = source.read;
        }
    }

    /// Note in the undo file at `path`, durably, how far it has been used. Between the two, blocks it holds may be in any
    /// state, and it can be used again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, path: &Path, step: Step) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        if step == Step::Begun {
            file.set_len(self.len)?;
        }
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        UndoWriter { file }.append(match step {
            Step::Begun => b"U",
            Step::Done => b"D",
        })
    }
}

enum Record {
    Block(Block, Vec<u8>),
    End(After),
    Used(Step),
}

/// Reads parts and checks their CRC.
struct Parts<R> {
    reader: R,
    part: Vec<u8>,
    /// Bytes of the parts that were whole.
    read: u64,
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
        self.read += self.part.len() as u64;
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

    fn record(&mut self, raw_block_size: u64, blocks: u64) -> Result<Option<Record>, UndoError> {
        let kind = match self.take(1) {
            Ok(kind) => kind.first().copied(),
            Err(UndoError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let record = match kind {
            Some(b'B') => {
                let block = self.block(blocks)?;
                Record::Block(block, self.take(raw_block_size)?.to_vec())
            }
            Some(b'E') => {
                let count = self.number(4)?;
                let mut hashes = Vec::new();
                for _ in 0..count {
                    hashes.push((self.block(blocks)?, self.number(8)?));
                }
                Record::End(After { hashes, chip_file: self.number(8)? })
            }
            Some(b'U') => Record::Used(Step::Begun),
            Some(b'D') => Record::Used(Step::Done),
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
