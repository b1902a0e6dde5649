//! Log pages: what has changed since the checkpoint. See *Log* in the [specification](crate::onflash).

use alloc::vec::Vec;

use super::cursor::{Put, Reader};
use super::head::{HEAD_LEN, PageError};
use super::{NO_PAGE, NextPair};

/// Bytes of a log page's payload before its records.
pub const FIXED_LEN: usize = NextPair::LEN + 18;

/// Flags of a log page, in its head.
pub mod flags {
    /// The group of records ends with this page, and takes effect.
    pub const COMMIT: u8 = 1;
    /// There is no twin: the next log page repeats the records.
    pub const SINGLE: u8 = 2;
    /// The page belongs to the checkpoint: it says where pages lie that the map on flash does not know yet, and the block table
    /// counts them already.
    pub const SNAPSHOT: u8 = 4;
    /// No log page of this session has no twin. Pages of a checkpoint say so, too: no log page may have followed yet.
    pub const MIRRORED: u8 = 8;
}

/// A page that was written: the logical page, its CRC-32, and where its content lay before ([`NO_PAGE`] for nowhere).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The logical page.
    pub logical: u32,
    /// CRC-32 of its content.
    pub crc: u32,
    /// Its address until now.
    pub old: u32,
}

/// A block that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBlock {
    /// The block.
    pub block: u32,
    /// Its stream.
    pub class: u8,
    /// The next page to be programmed.
    pub next: u32,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Pages programmed one after the other from `address` on.
    Extent {
        /// The first of them.
        address: u32,
        /// They were moved as they were, and not written by the host.
        moved: bool,
        /// What they hold.
        pages: Vec<Written>,
    },
    /// Logical pages whose content could not be read when it was to be moved, and where it lay.
    Lost(Vec<(u32, u32)>),
    /// `count` logical pages from `first` on are stored nowhere.
    Discard {
        /// The first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The logical length in bytes.
    Length(u64),
    /// Blocks that may be erased from now on; each erase is counted by this.
    Erase(Vec<u32>),
    /// A block that is bad.
    Bad(u32),
    /// A session of writing begins.
    Session,
    /// It ended well.
    Clean {
        /// CRC-32 of the first page of each block of the next pair.
        prints: [u32; 2],
        /// Blocks that are being filled.
        open: Vec<OpenBlock>,
        /// Blocks that may be erased and have not been.
        announced: Vec<u32>,
    },
}

/// Bytes of a record of a clean end before its blocks, and of each block that is being filled.
pub const CLEAN_FIXED: usize = 14;
/// See [`CLEAN_FIXED`].
pub const OPEN_LEN: usize = 9;
/// Bytes of a record of the logical length.
pub const LENGTH_LEN: usize = 12;

/// A log page's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Where the chain goes on after this pair of blocks.
    pub next: NextPair,
    /// The host clock before its group has taken effect.
    pub before: u64,
    /// The host clock once it has.
    pub clock: u64,
    /// The records of the log page before it, where that one has no twin.
    pub repeated: Records,
    /// Its own records.
    pub records: Records,
}

/// Records as they are on flash, known to be whole: kept like that they take no more room than there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records(Vec<u8>);

impl Records {
    /// # Errors
    /// When a record is cut short, or none that is known.
    pub fn check(bytes: &[u8]) -> Result<Self, PageError> {
        decode_records(bytes).map(|_| Self(bytes.to_vec()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they say.
    #[must_use]
    pub fn decode(&self) -> Vec<Record> {
        decode_records(&self.0).unwrap_or_default()
    }
}

/// Bytes that records may take in a page of `page_size` bytes.
#[must_use]
pub fn room(page_size: u32) -> usize {
    (page_size as usize).saturating_sub(HEAD_LEN + FIXED_LEN)
}

const EXTENT: u8 = 1;
const LOST: u8 = 2;
const DISCARD: u8 = 3;
const LENGTH: u8 = 4;
const ERASE: u8 = 5;
const BAD: u8 = 6;
const SESSION: u8 = 7;
const CLEAN: u8 = 8;

/// Flag of an extent: its logical pages follow each other.
const IN_ORDER: u8 = 1;
/// Flag of an extent: none of its pages was stored before.
const NEW: u8 = 2;
/// Flag of an extent: its pages were moved.
const MOVED: u8 = 8;
/// Flag of an extent: where its pages lay before is told by offsets from one address.
const NEAR: u8 = 4;

/// The payload of a log page whose records are encoded already; the host clock goes from the first to the second of `clocks`
/// when its group takes effect.
#[must_use]
pub fn encode_page(next: NextPair, clocks: (u64, u64), repeated: &[u8], records: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_LEN + repeated.len() + records.len());
    next.put(&mut out);
    out.put_u64(clocks.0);
    out.put_u64(clocks.1);
    out.put_u16(repeated.len() as u16);
    out.put(repeated);
    out.put(records);
    out
}

impl LogPage {
    /// The log page in `payload`.
    ///
    /// # Errors
    /// When a record is cut short or unknown.
    pub fn decode(payload: &[u8]) -> Result<Self, PageError> {
        let mut fields = Reader(payload);
        let mut fixed = || Some((NextPair::read(&mut fields)?, fields.u64()?, fields.u64()?, fields.u16()?));
        let (next, before, clock, repeated) = fixed().ok_or(PageError::Malformed("length"))?;
        let repeated = fields.bytes(usize::from(repeated)).ok_or(PageError::Malformed("repeated part"))?;
        Ok(Self {
            next,
            before,
            clock,
            repeated: Records::check(repeated)?,
            records: Records::check(fields.0)?,
        })
    }
}

fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, PageError> {
    let mut fields = Reader(bytes);
    let mut records = Vec::new();
    while !fields.0.is_empty() {
        records.push(Record::read(&mut fields).ok_or(PageError::Malformed("record"))?);
    }
    Ok(records)
}

/// What an extent's flags decide is written of each of its pages.
#[derive(Clone, Copy)]
struct Shape {
    in_order: bool,
    new: bool,
    /// The least of the old addresses, where the others are less than 2^16 behind it.
    near: Option<u32>,
}

impl Shape {
    fn of(pages: &[Written]) -> Self {
        let in_order = pages.windows(2).all(|w| match w {
            [a, b] => a.logical.checked_add(1) == Some(b.logical),
            _ => true,
        });
        let new = pages.iter().all(|page| page.old == NO_PAGE);
        let olds = || pages.iter().map(|page| page.old);
        let least = olds().min().unwrap_or(NO_PAGE);
        let near = pages.len() > 2 && olds().all(|old| u16::try_from(old - least).is_ok());
        Self { in_order, new, near: (near && !new).then_some(least) }
    }

    fn flags(self) -> u8 {
        IN_ORDER * u8::from(self.in_order) + NEW * u8::from(self.new) + NEAR * u8::from(self.near.is_some())
    }

    /// Bytes before the pages.
    fn fixed_len(self) -> usize {
        8 + if self.in_order { 4 } else { 0 } + if self.near.is_some() { 4 } else { 0 }
    }

    /// Bytes of each page.
    fn page_len(self) -> usize {
        let old = match (self.new, self.near) {
            (true, _) => 0,
            (false, Some(_)) => 2,
            (false, None) => 4,
        };
        4 + old + if self.in_order { 0 } else { 4 }
    }
}

impl Record {
    /// Append it to `out`, as far as `room` bytes allow; what is left of it, if anything.
    ///
    /// A record that cannot be cut is put whole or not at all.
    #[must_use]
    pub fn put(self, out: &mut Vec<u8>, room: usize) -> Option<Self> {
        let left = room.saturating_sub(out.len());
        match self {
            Self::Extent { address, moved, pages } => put_extent(out, left, address, moved, pages),
            Self::Lost(mut pages) => {
                let fits = left.saturating_sub(4).div_euclid(8).min(pages.len());
                let rest = pages.split_off(fits);
                if !pages.is_empty() {
                    put_tag(out, LOST, pages.len());
                    pages.iter().for_each(|&(logical, old)| {
                        out.put_u32(logical);
                        out.put_u32(old);
                    });
                }
                (!rest.is_empty()).then_some(Self::Lost(rest))
            }
            Self::Erase(mut blocks) => {
                let fits = left.saturating_sub(4).div_euclid(4).min(blocks.len());
                let rest = blocks.split_off(fits);
                if !blocks.is_empty() {
                    put_tag(out, ERASE, blocks.len());
                    blocks.iter().for_each(|&block| out.put_u32(block));
                }
                (!rest.is_empty()).then_some(Self::Erase(rest))
            }
            whole => {
                let from = out.len();
                whole.put_whole(out);
                if out.len() - from > left {
                    out.truncate(from);
                    return Some(whole);
                }
                None
            }
        }
    }

    fn put_whole(&self, out: &mut Vec<u8>) {
        match self {
            Self::Discard { first, count } => {
                put_tag(out, DISCARD, 0);
                out.put_u32(*first);
                out.put_u32(*count);
            }
            Self::Length(len) => {
                put_tag(out, LENGTH, 0);
                out.put_u64(*len);
            }
            Self::Bad(block) => {
                put_tag(out, BAD, 0);
                out.put_u32(*block);
            }
            Self::Clean { prints, open, announced } => {
                put_tag(out, CLEAN, open.len());
                prints.iter().for_each(|&print| out.put_u32(print));
                for open in open {
                    out.put_u32(open.block);
                    out.put_u8(open.class);
                    out.put_u32(open.next);
                }
                out.put_u16(announced.len() as u16);
                announced.iter().for_each(|&block| out.put_u32(block));
            }
            Self::Session => put_tag(out, SESSION, 0),
            Self::Extent { .. } | Self::Lost(_) | Self::Erase(_) => {
                debug_assert!(false, "these are cut where a page ends");
            }
        }
    }

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        let (tag, shape, count) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let mut words = |n: u16| (0..n).map(|_| fields.u32()).collect::<Option<Vec<u32>>>();
        Some(match tag {
            EXTENT => read_extent(fields, shape, count)?,
            LOST => {
                let words = words(count.checked_mul(2)?)?;
                Self::Lost(words.as_chunks::<2>().0.iter().map(|&[logical, old]| (logical, old)).collect())
            }
            DISCARD => Self::Discard { first: fields.u32()?, count: fields.u32()? },
            LENGTH => Self::Length(fields.u64()?),
            ERASE => Self::Erase(words(count)?),
            BAD => Self::Bad(fields.u32()?),
            SESSION => Self::Session,
            CLEAN => {
                let prints = [fields.u32()?, fields.u32()?];
                let mut open = Vec::new();
                for _ in 0..count {
                    open.push(OpenBlock { block: fields.u32()?, class: fields.u8()?, next: fields.u32()? });
                }
                let announced = fields.u16()?;
                let announced = (0..announced).map(|_| fields.u32()).collect::<Option<Vec<u32>>>()?;
                Self::Clean { prints, open, announced }
            }
            _ => return None,
        })
    }
}

fn put_tag(out: &mut Vec<u8>, tag: u8, count: usize) {
    put_shaped(out, tag, 0, count);
}

fn put_shaped(out: &mut Vec<u8>, tag: u8, shape: u8, count: usize) {
    out.put_u8(tag);
    out.put_u8(shape);
    out.put_u16(count as u16);
}

fn put_extent(
    out: &mut Vec<u8>,
    left: usize,
    address: u32,
    moved: bool,
    mut pages: Vec<Written>,
) -> Option<Record> {
    let shape = Shape::of(&pages);
    let fits = left.saturating_sub(shape.fixed_len()).div_euclid(shape.page_len());
    let fits = fits.min(pages.len()).min(usize::from(u16::MAX));
    let rest = pages.split_off(fits);
    if let Some(first) = pages.first() {
        put_shaped(out, EXTENT, shape.flags() + MOVED * u8::from(moved), fits);
        out.put_u32(address);
        if shape.in_order {
            out.put_u32(first.logical);
        }
        if let Some(base) = shape.near {
            out.put_u32(base);
        }
        for page in &pages {
            if !shape.in_order {
                out.put_u32(page.logical);
            }
            out.put_u32(page.crc);
            match shape.near {
                Some(base) => out.put_u16((page.old - base) as u16),
                None if shape.new => {}
                None => out.put_u32(page.old),
            }
        }
    }
    let address = address.saturating_add(fits as u32);
    (!rest.is_empty()).then_some(Record::Extent { address, moved, pages: rest })
}

fn read_extent(fields: &mut Reader<'_>, flags: u8, count: u16) -> Option<Record> {
    let address = fields.u32()?;
    // The address behind it, too: whoever counts along comes to it.
    address.checked_add(u32::from(count) + 1)?;
    let first = if flags & IN_ORDER == 0 { None } else { Some(fields.u32()?) };
    if flags & (NEW | NEAR) == NEW | NEAR {
        return None;
    }
    let base = if flags & NEAR == 0 { None } else { Some(fields.u32()?) };
    let mut page = |i: u32| {
        Some(Written {
            logical: match first {
                Some(first) => first.checked_add(i)?,
                None => fields.u32()?,
            },
            crc: fields.u32()?,
            old: match base {
                Some(base) => base.checked_add(u32::from(fields.u16()?))?,
                None if flags & NEW == 0 => fields.u32()?,
                None => NO_PAGE,
            },
        })
    };
    let pages = (0..u32::from(count)).map(&mut page).collect::<Option<_>>()?;
    Some(Record::Extent { address, moved: flags & MOVED != 0, pages })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
mod tests {
    use super::*;

    fn round_trip(records: &[Record], room: usize) -> Vec<Vec<Record>> {
        let mut pages = Vec::new();
        let mut bytes = Vec::new();
        for record in records.iter().cloned() {
            let mut left = Some(record);
            while let Some(record) = left.take() {
                left = record.put(&mut bytes, room);
                if left.is_some() {
                    assert!(!bytes.is_empty(), "no room for {left:?}");
                    pages.push(core::mem::take(&mut bytes));
                }
            }
        }
        pages.push(bytes);
        pages.iter().map(|bytes| decode_records(bytes).unwrap()).collect()
    }

    #[test]
    fn every_record_comes_back() {
        let page = |logical, old| Written { logical, crc: logical * 7, old };
        let records = [
            Record::Extent { address: 70, moved: true, pages: [3, 9, 1].map(|l| page(l, 5)).to_vec() },
            Record::Extent { address: 90, moved: false, pages: [3, 4, 5].map(|l| page(l, NO_PAGE)).to_vec() },
            Record::Extent { address: 95, moved: true, pages: [3, 4].map(|l| page(l, 6)).to_vec() },
            Record::Extent {
                address: 97,
                moved: false,
                pages: [(8, 70), (3, 65_605), (5, 71)].map(|(l, o)| page(l, o)).to_vec(),
            },
            Record::Extent {
                address: 97,
                moved: false,
                pages: [(8, 70), (3, 65_606), (5, 71)].map(|(l, o)| page(l, o)).to_vec(),
            },
            Record::Lost([(1, 2), (3, 4)].to_vec()),
            Record::Discard { first: 5, count: 6 },
            Record::Length(1 << 40),
            Record::Erase([7, 8, 9].to_vec()),
            Record::Bad(4),
            Record::Session,
            Record::Clean {
                prints: [1, 2],
                open: [OpenBlock { block: 4, class: 3, next: 17 }].to_vec(),
                announced: [6, 7].to_vec(),
            },
        ];
        assert_eq!(round_trip(&records, 4096), [records.to_vec()]);
    }

    #[test]
    fn long_records_go_on_in_the_next_page() {
        let pages: Vec<_> = (0..100).map(|i| Written { logical: 7 * i, crc: i, old: i << 16 }).collect();
        let cut = round_trip(&[Record::Extent { address: 1000, moved: false, pages: pages.clone() }], 220);
        assert!(cut.len() > 5);
        let mut again = Vec::new();
        for record in cut.into_iter().flatten() {
            let Record::Extent { address, pages, .. } = record else { panic!("an extent") };
            assert_eq!(address as usize, 1000 + again.len());
            again.extend(pages);
        }
        assert_eq!(again, pages);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut bytes = Vec::new();
        assert_eq!(Record::Erase([1, 2, 3].to_vec()).put(&mut bytes, 100), None);
        for len in 1..bytes.len() {
            assert!(decode_records(&bytes[..len]).is_err());
        }
    }
}
