//! Staging, the same for every engine. A volume keeps its content in *units*, logical pages or blocks, each of which is replaced as a
//! whole: what is written goes to fresh places at once, and to one unit in RAM, until a commit points to them.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Volume;
use crate::error::{Error, Result};

/// The number of a logical unit.
pub(super) trait Unit: Copy + Ord {
    fn nth(number: u32) -> Self;

    fn number(self) -> u32;
}

/// What has been written since the last commit.
#[derive(Clone, Debug)]
pub(super) struct Staged<U, C> {
    /// The last change of each unit that lies elsewhere now, or nowhere.
    pub(super) changes: BTreeMap<U, C>,
    /// The logical length with all that is staged.
    pub(super) len: u64,
    /// The logical length that what is in fresh places already accounts for: the part of a long write that a commit in its middle
    /// can make durable.
    placed_len: u64,
    /// The same, with what is in the open unit too.
    reached_len: u64,
    /// A unit that is being put together.
    open: Option<OpenUnit<U>>,
}

#[derive(Clone, Debug)]
pub(super) struct OpenUnit<U> {
    unit: U,
    data: Vec<u8>,
    dirty: bool,
}

impl<U: Unit, C> Staged<U, C> {
    /// Nothing, for a volume of that length.
    pub(super) fn clean(len: u64) -> Self {
        Self { changes: BTreeMap::new(), len, placed_len: len, reached_len: len, open: None }
    }

    pub(super) fn is_clean(&self, committed_len: u64) -> bool {
        self.changes.is_empty() && self.len == committed_len && !self.open.as_ref().is_some_and(|o| o.dirty)
    }

    /// The logical length that a commit now makes durable.
    pub(super) fn placed_len(&self) -> u64 {
        self.placed_len
    }

    /// A unit was put into a fresh place. Not the length that is being written to: a commit in the middle takes the units in order.
    pub(super) fn note_placed(&mut self) {
        self.placed_len = self.reached_len;
    }

    /// The content of `unit`, where it is the one in RAM.
    pub(super) fn open_data(&self, unit: U) -> Option<&[u8]> {
        self.open.as_ref().filter(|open| open.unit == unit).map(|open| open.data.as_slice())
    }

    fn reach(&mut self, end: u64) {
        self.reached_len = self.reached_len.max(end);
    }

    /// All that is written to the volume up to `len` is what counts.
    fn end_at(&mut self, len: u64) {
        (self.len, self.placed_len, self.reached_len) = (len, len, len);
    }
}

/// An engine, as staging sees it.
pub(super) trait Staging: Volume {
    type Unit: Unit;
    type Change;

    fn staged(&self) -> &Staged<Self::Unit, Self::Change>;

    fn staged_mut(&mut self) -> &mut Staged<Self::Unit, Self::Change>;

    /// Bytes of a unit.
    fn unit_size(&self) -> u64;

    /// Whether `unit` lies anywhere, staged changes included; what does not reads as zeros.
    fn is_stored(&self, unit: Self::Unit) -> Result<bool>;

    /// Read a whole unit from flash.
    fn read_unit(&self, unit: Self::Unit, data: &mut [u8]) -> Result<()>;

    /// Put the whole content of `unit` into a fresh place, and [note](Staged::note_placed) that.
    fn place(&mut self, unit: Self::Unit, data: &[u8]) -> Result<()>;

    /// Let the units from `from` up to, not including, `to` lie nowhere; past the last one there is nothing to do.
    fn unmap(&mut self, from: Self::Unit, to: Self::Unit) -> Result<()>;

    fn check_writable(&self) -> Result<()> {
        match self.read_only() {
            Some(reason) => Err(Error::ReadOnly(reason.to_string())),
            None => Ok(()),
        }
    }

    fn check_len(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        let capacity = self.capacity();
        if len > capacity && len > self.len() {
            return Err(Error::TooLarge { needed: len, capacity });
        }
        Ok(())
    }

    fn check_read(&self, offset: u64, length: u64) -> Result<()> {
        let end = self.len();
        match offset.checked_add(length) {
            Some(read_end) if read_end <= end => Ok(()),
            _ => Err(Error::OutOfRange { offset, length, end }),
        }
    }

    fn unit_of(&self, at: u64) -> Self::Unit {
        Unit::nth(u32::try_from(at / self.unit_size()).unwrap_or(u32::MAX))
    }

    fn first_unit_after(&self, len: u64) -> Self::Unit {
        Unit::nth(u32::try_from(len.div_ceil(self.unit_size())).unwrap_or(u32::MAX))
    }

    /// Stage a write, which has been checked to fit.
    fn stage_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        if end > self.len() {
            self.grow(offset, end)?;
        }
        let size = self.unit_size();
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let within = at % size;
            let take = (size - within).min(rest.len() as u64);
            let (chunk, tail) = rest.split_at(take as usize);
            let unit = self.unit_of(at);
            if take == size {
                self.replace_open(unit)?;
                self.staged_mut().reach(at + take);
                self.place(unit, chunk)?;
            } else {
                self.change_open(unit, within..within + take, |part| part.copy_from_slice(chunk))?;
                self.staged_mut().reach(at + take);
            }
            rest = tail;
            at += take;
        }
        Ok(())
    }

    /// Stage a logical length, which has been checked to fit.
    fn stage_len(&mut self, len: u64) -> Result<()> {
        if len > self.len() {
            self.grow(len, len)?;
            self.staged_mut().reach(len);
            return Ok(());
        }
        let first_gone = self.first_unit_after(len);
        self.give_up_open(|open| open >= first_gone)?;
        self.unmap(first_gone, Unit::nth(u32::MAX))?;
        self.staged_mut().end_at(len);
        Ok(())
    }

    /// Unmap the units that lie within the range, and stage zeros for the rest of it.
    fn stage_discard(&mut self, offset: u64, length: u64) -> Result<()> {
        let len = self.len();
        // Past what the map describes nothing is stored, however long a damaged volume says that it is.
        let end = offset.saturating_add(length).min(len).min(self.mapped_end());
        let size = self.unit_size();
        let mut at = offset;
        while at < end {
            let unit = self.unit_of(at);
            let within = at % size;
            let stop = (at - within + size).min(end);
            if within == 0 && (stop - at == size || stop == len) {
                let after = if end == len { end.div_ceil(size) } else { end / size };
                let after_unit = Unit::nth(after as u32);
                // What was written before must not be committed after.
                self.give_up_open(|open| (unit..after_unit).contains(&open))?;
                self.unmap(unit, after_unit)?;
                at = (after * size).min(end);
                continue;
            }
            if self.is_stored(unit)? || self.staged().open_data(unit).is_some() {
                self.change_open(unit, within..within + (stop - at), |part| part.fill(0))?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Lengthen the volume to `end`, for a write from `offset` on: whatever lies between the old end and `offset` reads as
    /// zeros from now on, also where a shorter length once hid old bytes.
    fn grow(&mut self, offset: u64, end: u64) -> Result<()> {
        let old_end = self.len();
        let boundary = self.unit_of(old_end);
        let boundary_start = old_end - old_end % self.unit_size();
        if boundary_start < old_end && boundary_start < offset && self.is_stored(boundary)? {
            self.open_unit(boundary)?;
        }
        self.unmap(self.first_unit_after(old_end), self.first_unit_after(end))?;
        self.staged_mut().len = end;
        Ok(())
    }

    /// Change bytes `within` a unit, in RAM.
    fn change_open(
        &mut self,
        unit: Self::Unit,
        within: Range<u64>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        let open = self.open_unit(unit)?;
        open.dirty = true;
        change(&mut open.data[within.start as usize..within.end as usize]);
        Ok(())
    }

    /// The open unit, which is `unit` from now on. Bytes of it past the end of the volume are zeros.
    fn open_unit(&mut self, unit: Self::Unit) -> Result<&mut OpenUnit<Self::Unit>> {
        let is_open = self.staged().open_data(unit).is_some();
        let open = if is_open { self.staged_mut().open.take() } else { None };
        let open = match open {
            Some(open) => open,
            None => {
                self.flush_open()?;
                self.load(unit)?
            }
        };
        Ok(self.staged_mut().open.insert(open))
    }

    fn load(&self, unit: Self::Unit) -> Result<OpenUnit<Self::Unit>> {
        let mut data = vec![0; self.unit_size() as usize];
        let start = u64::from(unit.number()) * self.unit_size();
        let content = self.len().saturating_sub(start).min(self.unit_size()) as usize;
        // Past the end there is nothing to be read, and nothing that could be damaged.
        if content > 0 {
            self.read_unit(unit, &mut data)?;
        }
        let stale = &mut data[content..];
        let dirty = stale.iter().any(|&byte| byte != 0);
        stale.fill(0);
        Ok(OpenUnit { unit, data, dirty })
    }

    /// Make way for a whole new content of `unit`.
    fn replace_open(&mut self, unit: Self::Unit) -> Result<()> {
        self.give_up_open(|open| open == unit)
    }

    /// Forget the open unit if it `is_gone`, else move it to flash.
    fn give_up_open(&mut self, is_gone: impl FnOnce(Self::Unit) -> bool) -> Result<()> {
        match &self.staged().open {
            Some(open) if is_gone(open.unit) => {
                self.staged_mut().open = None;
                Ok(())
            }
            _ => self.flush_open(),
        }
    }

    /// Move the open unit, if there is one, to flash.
    fn flush_open(&mut self) -> Result<()> {
        match self.staged_mut().open.take() {
            Some(open) if open.dirty => self.place(open.unit, &open.data),
            _ => Ok(()),
        }
    }

    /// Put all that is staged into fresh places, for a commit.
    fn place_all(&mut self) -> Result<()> {
        self.flush_open()?;
        let len = self.len();
        self.staged_mut().placed_len = len;
        Ok(())
    }
}
