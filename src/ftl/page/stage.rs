//! Staging: what the host writes goes to fresh pages at once, and to one page in RAM, until a commit points to them.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::PageVolume;
use super::layout::{Lpn, Ppn};
use super::log::Group;
use super::map::{Near, physical};
use crate::error::{Error, Result};
use crate::flash::FlashHardware;
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::{MAX_CLOCK, StoredPage};

/// A staged change of a logical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It lies there now.
    At {
        page: Ppn,
        crc: u32,
        /// The host clock when it was written.
        stamp: u64,
    },
    /// It is stored nowhere.
    Gone,
}

/// What has been written since the last commit.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) pages: BTreeMap<Lpn, Change>,
    /// The logical length with all that is staged.
    pub(super) len: u64,
    /// The logical length that what is in fresh pages already accounts for: the part of a long write that a commit in its middle
    /// can make durable.
    pub(super) placed_len: u64,
    /// The same, with what is in the open page too.
    reached_len: u64,
    /// A logical page that is being put together.
    open: Option<OpenPage>,
}

#[derive(Clone, Debug)]
struct OpenPage {
    logical: Lpn,
    data: Vec<u8>,
    dirty: bool,
}

impl Staged {
    pub(super) fn clean(len: u64) -> Self {
        Self { pages: BTreeMap::new(), len, placed_len: len, reached_len: len, open: None }
    }

    pub(super) fn is_clean(&self, committed_len: u64) -> bool {
        self.pages.is_empty() && self.len == committed_len && !self.open.as_ref().is_some_and(|o| o.dirty)
    }

    pub(super) fn open_data(&self, logical: Lpn) -> Option<&[u8]> {
        self.open.as_ref().filter(|open| open.logical == logical).map(|open| open.data.as_slice())
    }
}

impl<H: FlashHardware> PageVolume<H> {
    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(Error::ReadOnly(reason.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn check_len(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        let capacity = self.capacity_bytes();
        if len > capacity && len > self.staged.len {
            return Err(Error::TooLarge { needed: len, capacity });
        }
        Ok(())
    }

    /// Do `change` in a session of writing; if it fails, give up all that is staged.
    pub(super) fn or_rollback(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = self.begin_session().and_then(|()| change(self));
        if result.is_err() {
            self.give_up_staged();
        }
        result
    }

    pub(super) fn page_size(&self) -> u64 {
        u64::from(self.layout.page_size)
    }

    fn first_page_after(&self, len: u64) -> Lpn {
        Lpn(u32::try_from(len.div_ceil(self.page_size())).unwrap_or(u32::MAX))
    }

    pub(super) fn stage_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        if end > self.staged.len {
            self.grow(offset, end)?;
        }
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let within = at % self.page_size();
            let take = (self.page_size() - within).min(rest.len() as u64);
            let (chunk, tail) = rest.split_at(take as usize);
            // `check_write` holds `at` below the capacity, which is a count of u32 pages.
            let logical = Lpn((at / self.page_size()) as u32);
            if take == self.page_size() {
                self.replace_open(logical)?;
                self.reach(at + take);
                self.stage_page(logical, chunk)?;
            } else {
                let open = self.open_page(logical)?;
                open.dirty = true;
                open.data[within as usize..][..chunk.len()].copy_from_slice(chunk);
                self.reach(at + take);
            }
            rest = tail;
            at += take;
        }
        Ok(())
    }

    pub(super) fn stage_len(&mut self, len: u64) -> Result<()> {
        if len > self.staged.len {
            self.grow(len, len)?;
            self.reach(len);
            return Ok(());
        }
        let first_gone = self.first_page_after(len);
        match &self.staged.open {
            Some(open) if open.logical >= first_gone => self.staged.open = None,
            _ => self.flush_open()?,
        }
        self.unmap(first_gone, Lpn(self.layout.capacity_pages))?;
        self.staged.len = len;
        self.staged.placed_len = len;
        self.staged.reached_len = len;
        Ok(())
    }

    /// Unmap the logical pages that lie within the range, and stage zeros for the rest of it.
    pub(super) fn stage_discard(&mut self, offset: u64, length: u64) -> Result<()> {
        let end = offset.saturating_add(length).min(self.staged.len);
        let size = self.page_size();
        let mut at = offset;
        while at < end {
            let logical = Lpn((at / size) as u32);
            let stop = (at / size * size + size).min(end);
            let whole = at.is_multiple_of(size) && (stop - at == size || stop == self.staged.len);
            if whole {
                let after = Lpn(if end == self.staged.len { end.div_ceil(size) } else { end / size } as u32);
                match &self.staged.open {
                    Some(open) if (logical..after).contains(&open.logical) => self.staged.open = None,
                    // What was written before must not be committed after.
                    _ => self.flush_open()?,
                }
                self.unmap(logical, after)?;
                at = (u64::from(after.0) * size).min(end);
                continue;
            }
            let stored = self.lookup(logical)? != MapEntry::Unmapped;
            if stored || self.staged.open_data(logical).is_some() {
                let open = self.open_page(logical)?;
                open.dirty = true;
                open.data[(at % size) as usize..][..(stop - at) as usize].fill(0);
            }
            at = stop;
        }
        Ok(())
    }

    fn reach(&mut self, end: u64) {
        self.staged.reached_len = self.staged.reached_len.max(end);
    }

    /// Lengthen the volume to `end`, for a write from `offset` on: whatever lies between the old end and `offset` reads as
    /// zeros from now on, also where a shorter length once hid old bytes.
    fn grow(&mut self, offset: u64, end: u64) -> Result<()> {
        let old_end = self.staged.len;
        let boundary = Lpn((old_end / self.page_size()) as u32);
        let boundary_start = u64::from(boundary.0) * self.page_size();
        if boundary_start < old_end && boundary_start < offset && self.lookup(boundary)? != MapEntry::Unmapped
        {
            self.open_page(boundary)?;
        }
        self.unmap(self.first_page_after(old_end), self.first_page_after(end))?;
        self.staged.len = end;
        Ok(())
    }

    /// Cut off the logical pages from `from` up to, not including, `to`.
    fn unmap(&mut self, from: Lpn, to: Lpn) -> Result<()> {
        let to = to.0.min(self.layout.capacity_pages);
        let mut at = from.0;
        while at < to {
            let logical = Lpn(at);
            if self.staged.pages.range(logical..).next().is_none()
                && let Some(next) = self.map.skip_unmapped(logical)
            {
                at = next.0;
                continue;
            }
            if self.lookup(logical)? != MapEntry::Unmapped {
                self.remap(logical, Change::Gone);
            }
            at += 1;
        }
        Ok(())
    }

    /// Where `logical` lies, staged changes included.
    pub(super) fn lookup(&self, logical: Lpn) -> Result<MapEntry> {
        self.lookup_near(logical, &mut Near::default())
    }

    /// The same for one of many that are near each other.
    pub(super) fn lookup_near(&self, logical: Lpn, near: &mut Near) -> Result<MapEntry> {
        Ok(match self.staged.pages.get(&logical) {
            Some(Change::At { page, crc, .. }) => MapEntry::At { address: page.0, crc: *crc },
            Some(Change::Gone) => MapEntry::Unmapped,
            None => self.map.get_near(&self.hw, logical, near)?,
        })
    }

    /// The open page, which is `logical` from now on. Bytes of it past the end of the volume are zeros.
    fn open_page(&mut self, logical: Lpn) -> Result<&mut OpenPage> {
        let is_open = self.staged.open.as_ref().is_some_and(|open| open.logical == logical);
        let open = if is_open { self.staged.open.take() } else { None };
        let open = match open {
            Some(open) => open,
            None => {
                self.flush_open()?;
                self.load(logical)?
            }
        };
        Ok(self.staged.open.insert(open))
    }

    fn load(&self, logical: Lpn) -> Result<OpenPage> {
        let mut data = vec![0; self.layout.page_size as usize];
        let start = u64::from(logical.0) * self.page_size();
        let content = self.staged.len.saturating_sub(start).min(self.page_size()) as usize;
        // Past the end there is nothing to be read, and nothing that could be damaged.
        if content > 0 {
            self.read_within_page(logical, 0, &mut data, &mut Near::default())?;
        }
        let stale = &mut data[content..];
        let dirty = stale.iter().any(|&byte| byte != 0);
        stale.fill(0);
        Ok(OpenPage { logical, data, dirty })
    }

    /// Make way for a whole new content of `logical`.
    fn replace_open(&mut self, logical: Lpn) -> Result<()> {
        if self.staged.open.as_ref().is_some_and(|open| open.logical == logical) {
            self.staged.open = None;
        }
        self.flush_open()
    }

    /// Move the open page, if there is one, to flash.
    pub(super) fn flush_open(&mut self) -> Result<()> {
        match self.staged.open.take() {
            Some(open) if open.dirty => self.stage_page(open.logical, &open.data),
            _ => Ok(()),
        }
    }

    /// Put the content of a logical page into a fresh page. When there is no room, what is placed so far is committed, which makes
    /// room by what it replaces.
    fn stage_page(&mut self, logical: Lpn, data: &[u8]) -> Result<()> {
        if !self.make_room()? {
            if self.staged.pages.is_empty() {
                return Err(self.no_room());
            }
            self.commit()?;
            self.check_writable()?;
            if !self.make_room()? {
                return Err(self.no_room());
            }
        }
        if self.clock >= MAX_CLOCK {
            return Err(Error::ReadOnly("its host clock is the last one there is".to_string()));
        }
        let crc = crc32fast::hash(data);
        let class = self.class_of(logical)?;
        self.clock += 1;
        let stamp = self.clock;
        let page = self.append_data(class, StoredPage { logical: logical.0, crc, stamp }, data)?;
        let block = self.layout.block_of(page);
        self.blocks.info_mut(block).staged += 1;
        self.remap(logical, Change::At { page, crc, stamp });
        // Not the length that is being written to: a commit in the middle takes the pages in order.
        self.staged.placed_len = self.staged.reached_len;
        Ok(())
    }

    /// There is no room, which is no wonder where more blocks are bad, or will be once they can be emptied, than were reserved for
    /// that.
    fn no_room(&mut self) -> Error {
        match self.check_reserve_for(self.blocks.bad_count() + self.blocks.failing_count()) {
            Err(error) => error,
            Ok(()) => self.no_free_block(),
        }
    }

    /// The stream for new content of `logical`.
    fn class_of(&mut self, logical: Lpn) -> Result<u8> {
        let replaced = match self.staged.pages.get(&logical) {
            Some(Change::At { page, .. }) => Some(*page),
            Some(Change::Gone) => None,
            None => physical(self.map.fetch(&self.hw, logical)?, &self.layout),
        };
        let replaced = replaced.map(|page| {
            let info = self.blocks.info(self.layout.block_of(page));
            (info.class, info.written)
        });
        Ok(self.streams().class_of_write(replaced))
    }

    /// Let `logical` be staged so. What was staged for it before is no longer of any use.
    pub(super) fn remap(&mut self, logical: Lpn, change: Change) {
        if let Some(Change::At { page, .. }) = self.staged.pages.insert(logical, change) {
            self.forget(page);
            self.blocks.drop_staged(self.layout.block_of(page));
        }
    }

    /// A page that no commit ever pointed to holds nothing.
    fn forget(&mut self, page: Ppn) {
        let at = self.layout.page_addr(page);
        if let Some(slot) =
            self.blocks.lists.get_mut(&at.block).and_then(|list| list.get_mut(at.page as usize))
        {
            *slot = None;
        }
    }

    pub(super) fn give_up_staged(&mut self) {
        for change in core::mem::take(&mut self.staged.pages).into_values() {
            let Change::At { page, .. } = change else { continue };
            let block = self.layout.block_of(page);
            self.forget(page);
            self.blocks.drop_staged(block);
        }
        self.tainted.append(&mut self.to_confirm);
        self.staged = Staged::clean(self.len);
    }

    /// Commit what has been placed.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.purge_tainted()?;
        if self.staged.pages.len() as u64 >= self.layout.most_changes() {
            self.commit_by_checkpoint()?;
        } else {
            self.write_group(Group::Commit)?;
        }
        self.commits += 1;
        // The write has taken effect; what fails from here on shows at the next one.
        let _ = self.tidy_up();
        Ok(())
    }
}
