//! Reading logical bytes: the map says where each page lies, and the CRC-32 that it has there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::PageVolume;
use super::layout::Lpn;
use super::map::{Near, physical};
use crate::error::{Error, Result};
use crate::flash::{FlashError, FlashHardware, PageAddr};
use crate::onflash::paged::map::MapEntry;

/// Logical pages that follow each other and lie one after the other in one block: the first one's place, and the CRC-32 of each.
struct Run {
    at: PageAddr,
    crcs: Vec<u32>,
}

impl<H: FlashHardware> PageVolume<H> {
    /// Read from `offset` on, within the volume.
    pub(super) fn read_logical(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let page_size = self.page_size();
        let (mut at, mut rest) = (offset, buf);
        let mut near = Near::default();
        while !rest.is_empty() {
            let within = at % page_size;
            let logical = Lpn(u32::try_from(at / page_size).unwrap_or(u32::MAX));
            let run = if within == 0 { self.read_run(logical, rest, &mut near)? } else { 0 };
            let take = match run {
                0 => (page_size - within).min(rest.len() as u64) as usize,
                run => run,
            };
            let (chunk, tail) = rest.split_at_mut(take);
            if run == 0 {
                self.read_within_page(logical, within as u32, chunk, &mut near)?;
            }
            rest = tail;
            at += take as u64;
        }
        Ok(())
    }

    /// Read the [`Run`] that begins with `first` in one go, as far as `buf` has room for whole pages. How many bytes of it are
    /// right: none where it is no longer than a page, or where the first page has to be read alone, for its error.
    fn read_run(&self, first: Lpn, buf: &mut [u8], near: &mut Near) -> Result<usize> {
        let page_size = self.layout.page_size as usize;
        let Some(Run { at, mut crcs }) = self.run_from(first, buf.len() / page_size, near) else {
            return Ok(0);
        };
        while crcs.len() > 1 {
            let pages = &mut buf[..crcs.len() * page_size];
            match self.hw.read_pages(at, pages) {
                Ok(()) => {
                    let stored = pages.chunks_exact(page_size).zip(&crcs);
                    return Ok(
                        stored.take_while(|(page, crc)| crc32fast::hash(page) == **crc).count() * page_size
                    );
                }
                Err(FlashError::Unreadable { at: bad, .. }) => {
                    let readable = bad.page.saturating_sub(at.page) as usize;
                    crcs.truncate(readable.min(crcs.len() - 1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }

    /// The run that begins with `first`, of at most so many pages; `None` for less than two.
    fn run_from(&self, first: Lpn, most: usize, near: &mut Near) -> Option<Run> {
        if most < 2 {
            return None;
        }
        let (at, crc) = self.stored_at(first, near)?;
        let mut crcs = alloc::vec![crc];
        while crcs.len() < most {
            let ahead = crcs.len() as u32;
            let next = PageAddr { page: at.page + ahead, ..at };
            match first.0.checked_add(ahead).and_then(|logical| self.stored_at(Lpn(logical), near)) {
                Some((found, crc)) if found == next => crcs.push(crc),
                _ => break,
            }
        }
        (crcs.len() > 1).then_some(Run { at, crcs })
    }

    /// The page of the chip that holds `logical`, and its CRC-32; `None` also where RAM does, or nobody knows.
    fn stored_at(&self, logical: Lpn, near: &mut Near) -> Option<(PageAddr, u32)> {
        if self.staged.open_data(logical).is_some() {
            return None;
        }
        let entry = self.lookup_near(logical, near).ok()?;
        let at = self.layout.page_addr(physical(entry, &self.layout)?);
        match entry {
            MapEntry::At { crc, .. } => Some((at, crc)),
            MapEntry::Unmapped | MapEntry::Lost => None,
        }
    }

    /// Read within one logical page.
    pub(super) fn read_within_page(
        &self,
        logical: Lpn,
        within: u32,
        buf: &mut [u8],
        near: &mut Near,
    ) -> Result<()> {
        if let Some(data) = self.staged.open_data(logical) {
            buf.copy_from_slice(&data[within as usize..][..buf.len()]);
            return Ok(());
        }
        let entry = self
            .lookup_near(logical, near)
            .map_err(|error| self.unreadable_map(logical, buf.len(), within, error))?;
        let page_size = self.layout.page_size as usize;
        if within == 0 && buf.len() == page_size {
            return self.read_entry(logical, entry, buf).map_err(|error| narrow(error, within, page_size));
        }
        let mut page = alloc::vec![0; page_size];
        self.read_entry(logical, entry, &mut page).map_err(|error| narrow(error, within, buf.len()))?;
        buf.copy_from_slice(&page[within as usize..within as usize + buf.len()]);
        Ok(())
    }

    fn unreadable_map(&self, logical: Lpn, len: usize, within: u32, error: Error) -> Error {
        match error {
            Error::ReadOnly(reason) => Error::Unreadable {
                offset: u64::from(logical.0) * self.page_size() + u64::from(within),
                length: len as u64,
                at: None,
                reason,
            },
            other => other,
        }
    }

    /// Read a whole page by its map entry, and hold it against its CRC.
    pub(super) fn read_entry(&self, logical: Lpn, entry: MapEntry, page: &mut [u8]) -> Result<()> {
        let offset = u64::from(logical.0) * self.page_size();
        let unreadable = |at: Option<PageAddr>, reason: String| Error::Unreadable {
            offset,
            length: self.page_size(),
            at,
            reason,
        };
        let MapEntry::At { crc, address } = entry else {
            page.fill(0);
            return match entry {
                MapEntry::Lost => Err(unreadable(
                    None,
                    "it was lost: no page that held it could be read any more".to_string(),
                )),
                _ => Ok(()),
            };
        };
        let Some(at) = physical(entry, &self.layout).map(|page| self.layout.page_addr(page)) else {
            return Err(unreadable(None, format!("the map says page address {address}, and there is none")));
        };
        match self.hw.read_pages(at, page) {
            Ok(()) => {}
            Err(error @ FlashError::Unreadable { .. }) => {
                return Err(unreadable(Some(at), error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let found = crc32fast::hash(page);
        if found == crc {
            return Ok(());
        }
        let offset = self.hw.raw_offset(at);
        Err(unreadable(
            Some(at),
            format!(
                "{at} (offset {offset:#x}) is damaged: its CRC-32 is {found:08x}, and {crc:08x} was stored"
            ),
        ))
    }
}

/// The same error, about the part of a page that was asked for.
fn narrow(error: Error, within: u32, len: usize) -> Error {
    match error {
        Error::Unreadable { offset, at, reason, .. } => {
            Error::Unreadable { offset: offset + u64::from(within), length: len as u64, at, reason }
        }
        other => other,
    }
}
