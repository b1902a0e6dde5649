//! The summary that closes a data block: what each of its pages holds. See *Block summaries* in the
//! [specification](crate::onflash).

use alloc::vec::Vec;

use super::cursor::{Put, Reader};
use super::head::{HEAD_LEN, PageError};
use super::{NO_PAGE, StoredPage};

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 13;
/// Bytes before the entries.
const FIXED_LEN: usize = 12;

/// One page of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Logical length of the volume, as committed when the block was closed.
    pub logical_len: u64,
    /// The stream the block belongs to.
    pub class: u8,
    /// What the block's pages hold, in order, beginning where the summary page before this one ended; `None` for a page that
    /// holds nothing that counts.
    pub pages: Vec<Option<StoredPage>>,
}

/// Entries that one summary page has room for.
#[must_use]
pub fn entries_per_page(page_size: u32) -> u32 {
    (page_size as usize).saturating_sub(HEAD_LEN + FIXED_LEN).div_euclid(ENTRY_LEN) as u32
}

/// Pages that the summary of a block takes; `None` where it leaves no room for data.
#[must_use]
pub fn summary_pages(page_size: u32, pages_per_block: u32) -> Option<u32> {
    let per_page = entries_per_page(page_size);
    let pages = (1..pages_per_block).find(|&pages| pages * per_page >= pages_per_block - pages)?;
    u8::try_from(pages).ok().map(u32::from)
}

impl Summary {
    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.pages.len() * ENTRY_LEN);
        out.put_u64(self.logical_len);
        out.put_u8(self.class);
        out.put_u8(0);
        out.put_u16(self.pages.len() as u16);
        self.pages.iter().for_each(|page| put_stored(&mut out, page.as_ref()));
        out
    }

    /// The summary in `payload`.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(payload: &[u8]) -> Result<Self, PageError> {
        let mut fields = Reader(payload);
        let short = PageError::Malformed("number of entries");
        let mut fixed = || Some((fields.u64()?, fields.u8()?, fields.u8()?, fields.u16()?));
        let (logical_len, class, _, count) = fixed().ok_or(short)?;
        let pages = (0..count).map(|_| read_stored(&mut fields)).collect::<Option<_>>().ok_or(short)?;
        Ok(Self { logical_len, class, pages })
    }
}

/// Append an entry.
pub(super) fn put_stored(out: &mut Vec<u8>, page: Option<&StoredPage>) {
    let none = StoredPage { logical: NO_PAGE, crc: 0, stamp: 0 };
    let page = page.unwrap_or(&none);
    out.put_u32(page.logical);
    out.put_u32(page.crc);
    out.put_u40(page.stamp);
}

/// Read an entry.
pub(super) fn read_stored(fields: &mut Reader<'_>) -> Option<Option<StoredPage>> {
    let page = StoredPage { logical: fields.u32()?, crc: fields.u32()?, stamp: fields.u40()? };
    Some((page.logical != NO_PAGE).then_some(page))
}
