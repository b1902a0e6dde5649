//! A chip in a file: a raw image, page data with or without spare bytes, and the chip file beside it.
//!
//! With a [layout](crate::layout) that has ECC, every page that is programmed gets its ECC, and every one that is read is
//! corrected; what could not be is unreadable. Nothing above the chip notices but by that.
//!
//! An erase is deferred: the block is kept in RAM, filled by the programs that follow, and written in one go when
//! another block's turn comes or at a sync. A process that is killed leaves the block as it was, or its new head before
//! its old tail, as [`FlashHardware`] allows. Dropping the image without a sync is such a kill.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::chip_file::ChipFile;
use super::corrections::Corrections;
use super::faults::{LatentFaults, Strike, Tearable};
use super::file_io::{LockedFile, read_exact_at, write_all_at};
use super::{BadBlockMarker, Block, FlashError, FlashHardware, Geometry, Operation, PageAddr, PageLayoutTag};
use crate::layout::{Layout, PageCodec};

/// Raw bytes read at a time to be corrected.
const WINDOW: usize = 256 << 10;

/// Told of each block before it changes.
pub trait ChangeLog: Send + Sync {
    /// `block` is about to change for the first time; `raw` is all of it, spare included.
    ///
    /// # Errors
    /// When it cannot be noted; the block is then left alone.
    fn before_change(&mut self, block: Block, raw: &[u8]) -> io::Result<()>;
}

/// The chip file of an image: its content, and where it is kept.
#[derive(Clone, Debug, Default)]
pub struct ChipState {
    /// Its content.
    pub content: ChipFile,
    /// Where it is kept; `None` when nothing is to be written beside the image.
    pub path: Option<PathBuf>,
    /// It has changed since it was read or written.
    pub changed: bool,
}

/// A chip in a file. See the [module](self).
pub struct ImageFile {
    file: File,
    geometry: Geometry,
    /// Where the volume starts in the file.
    start: u64,
    /// How pages are stored, where it is not data in front of spare bytes that are left alone.
    codec: Option<PageCodec>,
    corrections: Mutex<Corrections>,
    marker: Option<BadBlockMarker>,
    /// The marks of the chip, by block.
    marks: Vec<bool>,
    latent: LatentFaults,
    chip: ChipState,
    pending: Option<Pending>,
    log: Option<(Box<dyn ChangeLog>, Vec<bool>)>,
}

impl std::fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageFile")
            .field("file", &self.file)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

/// A block that has been erased and is being filled; the file still holds its old bytes.
struct Pending {
    block: Block,
    raw: Vec<u8>,
}

impl ImageFile {
    /// The chip in `file`, whose volume starts at block `first_block` of the file, each page data in front of its spare
    /// bytes. Its bad-block marks are read.
    ///
    /// # Errors
    /// As for [`with_layout`](Self::with_layout).
    pub fn new(
        file: LockedFile,
        geometry: Geometry,
        first_block: u32,
        chip: ChipState,
    ) -> Result<Self, FlashError> {
        Self::with_layout(file, geometry, None, first_block, chip)
    }

    /// The same, with pages that are stored as `layout` says; one that is [plain](Layout::is_plain) is as none.
    ///
    /// # Errors
    /// When the volume does not lie within the file, the layout is for other pages, the chip file names blocks that do not
    /// exist, or the marks cannot be read.
    pub fn with_layout(
        file: LockedFile,
        geometry: Geometry,
        layout: Option<&Layout>,
        first_block: u32,
        chip: ChipState,
    ) -> Result<Self, FlashError> {
        let layout = layout.filter(|layout| !layout.is_plain());
        let start = u64::from(first_block) * geometry.raw_block_size();
        if start.checked_add(geometry.raw_size()).is_none_or(|end| end > file.len) {
            return Err(FlashError::Unfit(format!(
                "{} blocks of {} raw bytes from block {first_block} on do not lie within a file of {} bytes",
                geometry.blocks(),
                geometry.raw_block_size(),
                file.len
            )));
        }
        let listed =
            chip.content.bad_blocks.iter().copied().chain(chip.content.faults.iter().map(|f| f.block));
        if let Some(block) = listed.clone().find(|&b| b >= geometry.blocks()) {
            return Err(FlashError::Unfit(format!(
                "the chip file names block {block}, and there are {}",
                geometry.blocks()
            )));
        }
        if let Some(layout) = layout
            && (layout.page_size(), layout.spare_size()) != (geometry.page_size(), geometry.spare_size())
        {
            return Err(FlashError::Unfit(format!(
                "the layout {} is for pages of {}+{} bytes, and these have {}+{}",
                layout.name(),
                layout.page_size(),
                layout.spare_size(),
                geometry.page_size(),
                geometry.spare_size()
            )));
        }
        let marker = Self::marker_rule(&geometry, layout, &chip)?;
        let codec = layout.map(PageCodec::new);
        let mut image = Self {
            file: file.file,
            geometry,
            start,
            corrections: Mutex::new(Corrections::of_strength(codec.as_ref().map_or(0, PageCodec::strength))),
            codec,
            marker,
            marks: vec![false; geometry.blocks() as usize],
            latent: LatentFaults::new(chip.content.faults.clone()),
            chip,
            pending: None,
            log: None,
        };
        image.read_marks()?;
        Ok(image)
    }

    /// Where the bad-block mark of this chip lies.
    fn marker_rule(
        geometry: &Geometry,
        layout: Option<&Layout>,
        chip: &ChipState,
    ) -> Result<Option<BadBlockMarker>, FlashError> {
        let stated = chip.content.bad_block_marker.as_ref();
        let Some(marker) = BadBlockMarker::of_chip(geometry, layout, stated) else { return Ok(None) };
        if !marker.fits(geometry.spare_size(), geometry.pages_per_block()) {
            return Err(FlashError::Unfit(format!(
                "the bad-block mark (bytes {}..{} of the spare area, pages {:?}) does not lie within {} spare bytes and {} pages",
                marker.byte,
                u64::from(marker.byte) + u64::from(marker.len),
                marker.pages,
                geometry.spare_size(),
                geometry.pages_per_block()
            )));
        }
        Ok(Some(marker))
    }

    fn read_marks(&mut self) -> Result<(), FlashError> {
        for &block in &self.chip.content.bad_blocks {
            if let Some(mark) = self.marks.get_mut(block as usize) {
                *mark = true;
            }
        }
        let Some(marker) = &self.marker else { return Ok(()) };
        let is_mark = marker.reading(self.layout());
        let mut bytes = vec![0; marker.len as usize];
        for block in self.geometry.iter_blocks() {
            for &page in &marker.pages {
                let at = self.marker_offset(marker, PageAddr { block, page });
                read_exact_at(&self.file, &mut bytes, at).map_err(|e| self.io("read", at, &e))?;
                if bytes.iter().any(|&byte| is_mark(byte)) {
                    self.marks[block.index()] = true;
                }
            }
        }
        Ok(())
    }

    fn marker_offset(&self, marker: &BadBlockMarker, page: PageAddr) -> u64 {
        self.raw_offset(page) + u64::from(self.geometry.page_size()) + u64::from(marker.byte)
    }

    /// The file, to be looked at.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the chip marks bad blocks, if it can.
    pub fn marker(&self) -> Option<&BadBlockMarker> {
        self.marker.as_ref()
    }

    /// How pages are stored, where it is not data in front of spare bytes that are left alone.
    pub fn layout(&self) -> Option<&Layout> {
        self.codec.as_ref().map(PageCodec::layout)
    }

    /// What the ECC has found in the pages that were read so far.
    pub fn corrections(&self) -> Corrections {
        self.corrections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Set the mark in one page. What else the page holds can still be read: where an ECC protects the mark, it is made anew.
    fn set_mark(&mut self, marker: &BadBlockMarker, at: PageAddr) -> Result<(), FlashError> {
        let zeros = vec![0; marker.len as usize];
        if let Some(codec) = self.codec.as_ref().filter(|codec| marker.is_protected_by(codec.layout())) {
            let mut raw = vec![0; self.geometry.raw_page_size() as usize];
            self.read_raw(at, &mut raw)?;
            if codec.decode(&mut raw).is_readable() {
                let mut data = vec![0; self.geometry.page_size() as usize];
                codec.data(&raw, &mut data);
                let start = self.geometry.page_size() as usize + marker.byte as usize;
                raw[start..start + zeros.len()].copy_from_slice(&zeros);
                codec.encode(&data, &mut raw);
                return self.overwrite_stored(at, &raw);
            }
        }
        let offset = self.marker_offset(marker, at);
        write_all_at(&self.file, &zeros, offset).map_err(|e| self.io("write", offset, &e))
    }

    /// The chip file and where it is kept.
    pub fn chip(&self) -> &ChipState {
        &self.chip
    }

    /// Keep the chip file at `path` from now on.
    pub fn keep_chip_file_at(&mut self, path: Option<PathBuf>) {
        self.chip.path = path;
    }

    /// The chip file, to be changed; it is written at the next sync.
    pub fn chip_mut(&mut self) -> &mut ChipFile {
        self.chip.changed = true;
        &mut self.chip.content
    }

    /// Replace the plan of latent faults.
    pub fn set_latent_faults(&mut self, faults: LatentFaults) {
        self.latent = faults;
        self.chip.changed = true;
    }

    /// The plan of latent faults.
    pub fn latent_faults(&self) -> &LatentFaults {
        &self.latent
    }

    /// Let `log` be told of each block before it changes.
    pub fn set_change_log(&mut self, log: Box<dyn ChangeLog>) {
        self.log = Some((log, vec![false; self.geometry.blocks() as usize]));
    }

    /// All bytes of a block as the file holds them, spare included.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn raw_block(&self, block: Block) -> Result<Vec<u8>, FlashError> {
        let mut raw = vec![0; self.geometry.raw_block_size() as usize];
        let at = self.raw_offset(PageAddr { block, page: 0 });
        read_exact_at(&self.file, &mut raw, at).map_err(|e| self.io("read", at, &e))?;
        Ok(raw)
    }

    /// Put all bytes of a block back, against every rule of NAND.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn restore_raw_block(&mut self, block: Block, raw: &[u8]) -> Result<(), FlashError> {
        self.flush()?;
        let at = self.raw_offset(PageAddr { block, page: 0 });
        write_all_at(&self.file, raw, at).map_err(|e| self.io("write", at, &e))
    }

    /// Flip one stored bit of a page: bit `bit % 8`, least significant first, of raw byte `bit / 8`. Returns where it lies
    /// in the file.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn flip_bit(&mut self, page: PageAddr, bit: u64) -> Result<u64, FlashError> {
        self.flush()?;
        self.note_change(page.block)?;
        let at = self.raw_offset(page) + bit / 8;
        let mut byte = [0];
        read_exact_at(&self.file, &mut byte, at).map_err(|e| self.io("read", at, &e))?;
        byte[0] ^= 1 << (bit % 8);
        write_all_at(&self.file, &byte, at).map_err(|e| self.io("write", at, &e))?;
        Ok(at)
    }

    fn io(&self, what: &str, at: u64, error: &io::Error) -> FlashError {
        FlashError::Io(format!("cannot {what} the image at offset {at:#x}: {error}"))
    }

    fn note_change(&mut self, block: Block) -> Result<(), FlashError> {
        let Some((mut log, mut noted)) = self.log.take() else { return Ok(()) };
        let result = match noted[block.index()] {
            true => Ok(()),
            false => self.raw_block(block).and_then(|raw| {
                log.before_change(block, &raw)
                    .map_err(|e| FlashError::Io(format!("cannot save what is about to change: {e}")))
            }),
        };
        noted[block.index()] |= result.is_ok();
        self.log = Some((log, noted));
        result
    }

    /// Write the block that is being filled, if there is one, to the file; its buffer is free again.
    fn flush(&mut self) -> Result<Vec<u8>, FlashError> {
        let Some(pending) = self.pending.take() else { return Ok(Vec::new()) };
        let at = self.raw_offset(PageAddr { block: pending.block, page: 0 });
        write_all_at(&self.file, &pending.raw, at).map_err(|e| self.io("write", at, &e))?;
        Ok(pending.raw)
    }

    fn strike(&mut self, block: Block, on: Operation) -> bool {
        let strike = self.latent.strike(block, on);
        self.chip.changed |= strike == Strike::Counted;
        strike == Strike::Fails
    }

    fn failed(&self, operation: Operation, at: PageAddr) -> FlashError {
        FlashError::Failed { operation, at, offset: self.raw_offset(at) }
    }

    fn refuse_bad(&self, block: Block) -> Result<(), FlashError> {
        if self.marks[block.index()] {
            return Err(FlashError::Io(format!(
                "{block} is marked bad: it is neither erased nor programmed"
            )));
        }
        Ok(())
    }

    /// Raw bytes of consecutive pages of a block, as they are stored.
    fn read_raw(&self, first: PageAddr, raw: &mut [u8]) -> Result<(), FlashError> {
        if let Some(pending) = self.pending.as_ref().filter(|p| p.block == first.block) {
            let start = first.page as usize * self.geometry.raw_page_size() as usize;
            raw.copy_from_slice(&pending.raw[start..start + raw.len()]);
            return Ok(());
        }
        let at = self.raw_offset(first);
        read_exact_at(&self.file, raw, at).map_err(|e| self.io("read", at, &e))
    }

    /// Read data bytes from data byte `skip` of page `first` on, corrected.
    fn read_corrected(
        &self,
        codec: &PageCodec,
        first: PageAddr,
        skip: usize,
        buf: &mut [u8],
    ) -> Result<(), FlashError> {
        let (page_size, raw_size) =
            (self.geometry.page_size() as usize, self.geometry.raw_page_size() as usize);
        let pages = (skip + buf.len()).div_ceil(page_size);
        let mut window = vec![0; pages.min((WINDOW / raw_size).max(1)) * raw_size];
        let mut part = Vec::new();
        let (mut next, mut skip, mut rest) = (first, skip, buf);
        while !rest.is_empty() {
            let pages = (skip + rest.len()).div_ceil(page_size).min(window.len() / raw_size);
            let raws = &mut window[..pages * raw_size];
            self.read_raw(next, raws)?;
            for raw in raws.chunks_exact_mut(raw_size) {
                self.correct(codec, next, raw)?;
                let (out, tail) = rest.split_at_mut((page_size - skip).min(rest.len()));
                if out.len() == page_size {
                    codec.data(raw, out);
                } else {
                    part.resize(page_size, 0);
                    codec.data(raw, &mut part);
                    out.copy_from_slice(&part[skip..skip + out.len()]);
                }
                (rest, skip) = (tail, 0);
                next.page += 1;
            }
        }
        Ok(())
    }

    fn correct(&self, codec: &PageCodec, at: PageAddr, raw: &mut [u8]) -> Result<(), FlashError> {
        let verdict = codec.decode(raw);
        if verdict.is_clean() {
            return Ok(());
        }
        let mut corrections = self.corrections.lock().unwrap_or_else(PoisonError::into_inner);
        corrections.note(&self.geometry, at, &verdict);
        match verdict.is_readable() {
            true => Ok(()),
            false => Err(FlashError::Unreadable { at, offset: self.raw_offset(at) }),
        }
    }

    /// What a page is to hold so that it reads as `data`; without a layout, its data bytes alone.
    fn with_ecc<'a>(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.codec {
            None => Cow::Borrowed(data),
            Some(codec) => {
                let mut raw = vec![0xFF; self.geometry.raw_page_size() as usize];
                codec.encode(data, &mut raw);
                Cow::Owned(raw)
            }
        }
    }

    /// Let the cells of a page hold these bytes.
    fn overwrite_stored(&mut self, page: PageAddr, stored: &[u8]) -> Result<(), FlashError> {
        self.flush()?;
        let at = self.raw_offset(page);
        write_all_at(&self.file, stored, at).map_err(|e| self.io("write", at, &e))
    }

    /// Data bytes of consecutive pages, gathered from between their spare bytes.
    fn read_interleaved(&self, raw_at: u64, skip: usize, buf: &mut [u8]) -> Result<(), FlashError> {
        let (page, raw_page) = (self.geometry.page_size() as usize, self.geometry.raw_page_size() as usize);
        let pages = (skip + buf.len()).div_ceil(page);
        let mut raw = vec![0; (pages - 1) * raw_page + page];
        read_exact_at(&self.file, &mut raw, raw_at).map_err(|e| self.io("read", raw_at, &e))?;
        gather(&raw, raw_page, page, skip, buf);
        Ok(())
    }
}

/// Copy the data bytes of the raw pages in `raw`, from data byte `skip` on, into `buf`.
fn gather(raw: &[u8], raw_page: usize, page: usize, skip: usize, buf: &mut [u8]) {
    let mut skip = skip;
    let mut rest = buf;
    for raw in raw.chunks(raw_page) {
        let data = &raw[core::mem::take(&mut skip)..page.min(raw.len())];
        let (head, tail) = rest.split_at_mut(data.len().min(rest.len()));
        head.copy_from_slice(&data[..head.len()]);
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
}

impl FlashHardware for ImageFile {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let first = self.geometry.page_at(block, offset);
        if self.latent.unreadable(block) {
            return Err(FlashError::Unreadable { at: first, offset: self.raw_offset(first) });
        }
        if buf.is_empty() {
            return Ok(());
        }
        let (page, raw_page) = (self.geometry.page_size() as usize, self.geometry.raw_page_size() as usize);
        let skip = (offset - first.page * self.geometry.page_size()) as usize;
        if let Some(codec) = &self.codec {
            return self.read_corrected(codec, first, skip, buf);
        }
        if let Some(pending) = self.pending.as_ref().filter(|p| p.block == block) {
            gather(&pending.raw[first.page as usize * raw_page..], raw_page, page, skip, buf);
            return Ok(());
        }
        let at = self.raw_offset(first);
        if raw_page == page || skip + buf.len() <= page {
            let at = at + skip as u64;
            return read_exact_at(&self.file, buf, at).map_err(|e| self.io("read", at, &e));
        }
        self.read_interleaved(at, skip, buf)
    }

    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        self.refuse_bad(page.block)?;
        if self.strike(page.block, Operation::Program) {
            return Err(self.failed(Operation::Program, page));
        }
        let stored = self.with_ecc(data);
        let start = page.page as usize * self.geometry.raw_page_size() as usize;
        if let Some(pending) = self.pending.as_mut().filter(|p| p.block == page.block) {
            pending.raw[start..start + stored.len()].copy_from_slice(&stored);
            return Ok(());
        }
        self.flush()?;
        self.note_change(page.block)?;
        // Programming only clears bits.
        let at = self.raw_offset(page);
        let mut cells = vec![0; stored.len()];
        read_exact_at(&self.file, &mut cells, at).map_err(|e| self.io("read", at, &e))?;
        cells.iter_mut().zip(&*stored).for_each(|(cell, byte)| *cell &= byte);
        write_all_at(&self.file, &cells, at).map_err(|e| self.io("write", at, &e))
    }

    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        self.refuse_bad(block)?;
        if self.strike(block, Operation::Erase) {
            return Err(self.failed(Operation::Erase, PageAddr { block, page: 0 }));
        }
        self.note_change(block)?;
        let mut raw = self.flush()?;
        raw.clear();
        raw.resize(self.geometry.raw_block_size() as usize, 0xFF);
        self.pending = Some(Pending { block, raw });
        Ok(())
    }

    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        Ok(self.marks.get(block.index()).copied().unwrap_or(false))
    }

    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        self.flush()?;
        if let Some(marker) = self.marker.clone() {
            self.note_change(block)?;
            for &page in &marker.pages {
                self.set_mark(&marker, PageAddr { block, page })?;
            }
        } else if !self.chip.content.bad_blocks.contains(&block.0) {
            let listed = &mut self.chip_mut().bad_blocks;
            listed.push(block.0);
            listed.sort_unstable();
        }
        self.marks[block.index()] = true;
        Ok(())
    }

    fn carries_marks(&self) -> bool {
        self.marker.is_some()
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.flush()?;
        self.file.sync_data().map_err(|e| FlashError::Io(format!("cannot sync the image: {e}")))?;
        // After the image: a mark that is lost is still in the volume's table, or the block holds nothing.
        if let Some(path) = self.chip.path.as_ref().filter(|_| self.chip.changed) {
            self.chip.content.faults = self.latent.to_vec();
            let saved = self.chip.content.save(path);
            saved
                .map_err(|e| FlashError::Io(format!("cannot write the chip file {}: {e}", path.display())))?;
            self.chip.changed = false;
        }
        Ok(())
    }

    fn page_layout(&self) -> Option<PageLayoutTag> {
        self.layout().map(PageLayoutTag::of)
    }

    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.start + self.geometry.raw_offset(page)
    }
}

impl Tearable for ImageFile {
    fn overwrite(&mut self, page: PageAddr, bytes: &[u8]) -> Result<(), FlashError> {
        let stored = self.with_ecc(bytes);
        self.overwrite_stored(page, &stored)
    }

    fn tear(&mut self, page: PageAddr, bytes: &[u8]) -> Result<(), FlashError> {
        let mut stored = self.with_ecc(bytes).into_owned();
        stored[self.geometry.page_size() as usize..].fill(0xFF);
        self.overwrite_stored(page, &stored)
    }
}
