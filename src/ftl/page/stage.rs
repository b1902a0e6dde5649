//! Staging in pages, and the commit that points to them.

use alloc::string::ToString;

use super::PageVolume;
use super::layout::{Lpn, Ppn};
use super::log::Group;
use super::map::{Near, physical};
use crate::error::{Error, Result};
use crate::flash::FlashHardware;
use crate::ftl::staging::{self, Staging, Unit};
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::{MAX_CLOCK, StoredPage};

/// A staged change of a logical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ftl) enum Change {
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
pub(super) type Staged = staging::Staged<Lpn, Change>;

impl Unit for Lpn {
    fn nth(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

impl<H: FlashHardware> Staging for PageVolume<H> {
    type Unit = Lpn;
    type Change = Change;

    fn staged(&self) -> &Staged {
        &self.staged
    }

    fn staged_mut(&mut self) -> &mut Staged {
        &mut self.staged
    }

    fn unit_size(&self) -> u64 {
        self.page_size()
    }

    fn is_stored(&self, logical: Lpn) -> Result<bool> {
        Ok(self.lookup(logical)? != MapEntry::Unmapped)
    }

    fn read_unit(&self, logical: Lpn, data: &mut [u8]) -> Result<()> {
        self.read_within_page(logical, 0, data, &mut Near::default())
    }

    /// Put the content of a logical page into a fresh page. When there is no room, what is placed so far is committed, which makes
    /// room by what it replaces.
    fn place(&mut self, logical: Lpn, data: &[u8]) -> Result<()> {
        if !self.make_room()? {
            if self.staged.changes.is_empty() {
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
        self.staged.note_placed();
        Ok(())
    }

    fn unmap(&mut self, from: Lpn, to: Lpn) -> Result<()> {
        let to = to.0.min(self.layout.capacity_pages);
        let mut at = from.0;
        while at < to {
            let logical = Lpn(at);
            if self.staged.changes.range(logical..).next().is_none()
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
}

impl<H: FlashHardware> PageVolume<H> {
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

    /// Where `logical` lies, staged changes included.
    pub(super) fn lookup(&self, logical: Lpn) -> Result<MapEntry> {
        self.lookup_near(logical, &mut Near::default())
    }

    /// The same for one of many that are near each other.
    pub(super) fn lookup_near(&self, logical: Lpn, near: &mut Near) -> Result<MapEntry> {
        Ok(match self.staged.changes.get(&logical) {
            Some(Change::At { page, crc, .. }) => MapEntry::At { address: page.0, crc: *crc },
            Some(Change::Gone) => MapEntry::Unmapped,
            None => self.map.get_near(&self.hw, logical, near)?,
        })
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
        let replaced = match self.staged.changes.get(&logical) {
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
        if let Some(Change::At { page, .. }) = self.staged.changes.insert(logical, change) {
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
        for change in core::mem::take(&mut self.staged.changes).into_values() {
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
        if self.staged.changes.len() as u64 >= self.layout.most_changes() {
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
