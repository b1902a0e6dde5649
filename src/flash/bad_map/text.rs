//! The lines in which tools name bad blocks.
//!
//! Offsets are hexadecimal, with or without `0x`; block numbers decimal. Sources of the formats: mtd-utils
//! (`nand-utils/{nanddump,nandtest,nandwrite}.c`, `misc-utils/flash_erase.c`, `ubi-utils/mtdinfo.c`), Linux
//! (`drivers/mtd/nand/raw/nand_bbt.c`, `drivers/mtd/tests/mtd_test.c`), U-Boot `cmd/{nand,mtd}.c`, and logs in public forums.
//!
//! The work is in proportion to the text, whatever it says.

use std::collections::BTreeSet;

use super::BadMapError;
use crate::flash::{Block, Geometry};

/// Bytes of a line that an error shows.
const SHOWN: usize = 80;

/// Bytes before the word "bad" that may tell what is bad.
const CONTEXT: usize = 64;

/// The bad blocks that the lines of `bytes` name.
pub(super) fn parse(bytes: &[u8], geometry: &Geometry) -> Result<Vec<Block>, BadMapError> {
    let mut reader =
        Reader { geometry, line: 0, bad: BTreeSet::new(), counted: None, known: false, in_list: false };
    for line in bytes.split(|&byte| byte == b'\n') {
        reader.line += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            reader.read(text)?;
        }
    }
    reader.finish()
}

/// A block as a line names it.
#[derive(Clone, Copy, Debug)]
enum Place {
    Number(u64),
    Offset(u64),
    Both { block: u64, offset: u64 },
}

/// What the word "bad" is about, where it stands.
enum Mention {
    NoBlock,
    Block(Place),
    /// A block, and it cannot be made out which.
    Unclear,
}

/// What was read so far.
struct Reader<'a> {
    geometry: &'a Geometry,
    /// The line that is being read, from 1 on.
    line: usize,
    bad: BTreeSet<Block>,
    /// The largest number of bad blocks that was told, and in which line.
    counted: Option<(u64, usize)>,
    /// A line came by that would be followed by bad blocks if there were any.
    known: bool,
    /// The lines that follow are offsets and no more.
    in_list: bool,
}

impl Reader<'_> {
    fn read(&mut self, text: &[u8]) -> Result<(), BadMapError> {
        if self.in_list && self.read_list(text)? {
            return Ok(());
        }
        self.in_list = false;
        if let Some(told) = told_of_bad_blocks(text) {
            self.known = true;
            self.in_list = told.is_empty() || self.read_list(told)?;
            return match (self.in_list, decimal(told)) {
                (true, _) => Ok(()),
                (false, Some(count)) => {
                    self.counted = self.counted.max(Some((count, self.line)));
                    Ok(())
                }
                (false, None) => Err(self.not_understood(text)),
            };
        }
        if is_number(text) {
            return Err(BadMapError::Bare { line: self.line, text: shown(text) });
        }
        self.known |=
            find(text, "scanning device for bad blocks").or(find(text, "eraseblock map:")).is_some();
        if self.read_map(text)? {
            return Ok(());
        }
        for (at, _) in text.windows(3).enumerate().filter(|(_, word)| word.eq_ignore_ascii_case(b"bad")) {
            match text.split_at_checked(at).map_or(Mention::NoBlock, |(before, rest)| mention(before, rest)) {
                Mention::NoBlock => {}
                Mention::Block(place) => self.add(place)?,
                Mention::Unclear => return Err(self.not_understood(text)),
            }
        }
        Ok(())
    }

    /// Take a line of a list of offsets; whether it is one.
    fn read_list(&mut self, text: &[u8]) -> Result<bool, BadMapError> {
        if !words(text).all(|word| listed_offset(word).is_some()) {
            return Ok(false);
        }
        words(text).filter_map(listed_offset).try_for_each(|offset| self.add(Place::Offset(offset)))?;
        Ok(true)
    }

    /// Take a line of mtdinfo's map, which has several blocks: `12: 00180000    BAD  13: 001a0000 RO`; whether it is one.
    fn read_map(&mut self, text: &[u8]) -> Result<bool, BadMapError> {
        let number = |word: &[u8]| decimal(word.strip_suffix(b":")?);
        let begins_so = words(text).next().is_some_and(|word| number(word).is_some());
        if !begins_so || !words(text).any(|word| word == b"BAD") {
            return Ok(false);
        }
        let mut words = words(text).peekable();
        while let Some(word) = words.next() {
            let (Some(block), Some(offset)) = (number(word), words.next().and_then(listed_offset)) else {
                return Err(self.not_understood(text));
            };
            words.next_if_eq(b"RO");
            if words.next_if_eq(b"BAD").is_some() {
                self.add(Place::Both { block, offset })?;
            }
        }
        Ok(true)
    }

    fn add(&mut self, place: Place) -> Result<(), BadMapError> {
        let (line, block_size, blocks) = (self.line, self.geometry.block_size(), self.geometry.blocks());
        let holder = |offset: u64| offset / u64::from(block_size);
        let block = match place {
            Place::Number(block) => block,
            Place::Offset(offset) if !offset.is_multiple_of(u64::from(block_size)) => {
                return Err(BadMapError::Uneven { line, offset, block_size });
            }
            Place::Offset(offset) => holder(offset),
            // It need not be the start of the block: where marks lie in the last page Linux gives the offset of that.
            Place::Both { block, offset } if holder(offset) != block => {
                return Err(BadMapError::Contradiction { line, block, offset, block_size });
            }
            Place::Both { block, .. } => block,
        };
        match u32::try_from(block) {
            Ok(number) if number < blocks => {
                self.bad.insert(Block(number));
                Ok(())
            }
            _ => Err(BadMapError::OutOfRange { line, block, blocks }),
        }
    }

    fn not_understood(&self, text: &[u8]) -> BadMapError {
        BadMapError::NotUnderstood { line: self.line, text: shown(text) }
    }

    fn finish(self) -> Result<Vec<Block>, BadMapError> {
        let named = self.bad.len();
        match self.counted {
            Some((counted, line)) if counted > named as u64 => {
                Err(BadMapError::Miscounted { line, counted, named })
            }
            _ if named == 0 && !self.known => Err(BadMapError::Foreign),
            _ => Ok(self.bad.into_iter().collect()),
        }
    }
}

/// What a line says of bad blocks behind a colon: their number (nanddump: `Number of bad blocks: 4`, nandtest:
/// `Bad blocks     : 4`), or nothing, as the heading of a list (U-Boot: `Device 0 bad blocks:`, `MTD device nand0 bad
/// blocks list:`).
fn told_of_bad_blocks(text: &[u8]) -> Option<&[u8]> {
    let rest = text.get(find(text, "bad blocks")? + "bad blocks".len()..)?;
    let rest = strip(rest, " list").unwrap_or(rest);
    strip(rest.trim_ascii_start(), ":").map(<[u8]>::trim_ascii)
}

/// What a "bad" at the start of `rest` is about.
fn mention(before: &[u8], rest: &[u8]) -> Mention {
    let before = before.get(before.len().saturating_sub(CONTEXT)..).unwrap_or(before);
    let of = |place: Option<Place>| place.map_or(Mention::Unclear, Mention::Block);
    // Linux: Bad eraseblock 12 at 0x000000180000
    if let Some(rest) = strip_word(rest, "bad eraseblock") {
        return of(numbered(rest));
    }
    if let Some(rest) = strip_word(rest, "bad block") {
        return match strip_word(rest, " table") {
            Some(_) => Mention::NoBlock,
            // U-Boot: Failed to get bad block at 0x00040000
            None if find(before, "failed").is_some() => Mention::Unclear,
            None => of(located(rest)),
        };
    }
    match strip_word(rest, "bad") {
        // nandtest: Mark block bad at 00040000
        Some(rest) if ends(before, "block ") => of(located(rest)),
        Some(_) => judged(before),
        None => Mention::NoBlock,
    }
}

/// The block that was found to be bad: what `text` says before that word.
fn judged(text: &[u8]) -> Mention {
    // nandwrite: Marking block at 00040000 bad; U-Boot: block 0x00040000 successfully marked as bad; block at 40000 marked bad;
    // Linux: block 2 is bad
    let place = || {
        let rest = text.get(rfind(text, "block")? + "block".len()..)?;
        let (number, how) = digits(strip(rest, " at ").unwrap_or(rest), 16)?;
        match how.trim_ascii() {
            b"" | b"marked" | b"successfully marked as" => Some(Place::Offset(number)),
            b"is" => digits(rest, 10).map(|(number, _)| Place::Number(number)),
            _ => None,
        }
    };
    let seems =
        ends(text, "marked ") || ends(text, "marked as ") || words(text).next_back().is_some_and(is_number);
    match place() {
        Some(place) => Mention::Block(place),
        None if seems || (ends(text, " is ") && find(text, "block").is_some()) => Mention::Unclear,
        None => Mention::NoBlock,
    }
}

/// ` 12 at 0x000000180000`
fn numbered(text: &[u8]) -> Option<Place> {
    let (block, rest) = digits(text, 10)?;
    let (offset, _) = digits(strip(rest, " at ")?, 16)?;
    Some(Place::Both { block, offset })
}

/// ` at 40000` (nanddump, nandtest, nandwrite, flash_erase, U-Boot), or ` 0x00040000` (U-Boot: `Skip bad block 0x00040000`)
fn located(text: &[u8]) -> Option<Place> {
    let has_prefix = |rest: &&[u8]| strip(rest, "0x").is_some();
    let rest = strip(text, " at ").or_else(|| strip(text, " ").filter(has_prefix))?;
    digits(rest, 16).map(|(offset, _)| Place::Offset(offset))
}

/// Where `what` first stands in `text`, upper or lower case.
fn find(text: &[u8], what: &str) -> Option<usize> {
    text.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what.as_bytes()))
}

/// Where it stands last.
fn rfind(text: &[u8], what: &str) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window.eq_ignore_ascii_case(what.as_bytes()))
}

fn ends(text: &[u8], what: &str) -> bool {
    text.len().checked_sub(what.len()).and_then(|at| strip(text.get(at..)?, what)).is_some()
}

/// What follows `what` at the start of `text`, upper or lower case.
fn strip<'a>(text: &'a [u8], what: &str) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(what.len())?;
    start.eq_ignore_ascii_case(what.as_bytes()).then_some(rest)
}

/// The same where no word goes on behind it.
fn strip_word<'a>(text: &'a [u8], what: &str) -> Option<&'a [u8]> {
    strip(text, what).filter(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
}

fn words(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn decimal(text: &[u8]) -> Option<u64> {
    digits(text, 10).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// The number that begins `text`, spaces aside, and what follows it. A hexadecimal one may have its prefix.
fn digits(text: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let text = strip(text, "0x").filter(|_| radix == 16).unwrap_or(text);
    let len = text.iter().take_while(|&&byte| char::from(byte).is_digit(radix)).count();
    let (number, rest) = text.split_at_checked(len)?;
    let number = u64::from_str_radix(str::from_utf8(number).ok()?, radix).ok()?;
    (!rest.first().is_some_and(u8::is_ascii_alphanumeric)).then_some((number, rest))
}

/// An offset in a list: with its prefix, or of eight digits or more.
fn listed_offset(word: &[u8]) -> Option<u64> {
    let long = word.len() >= 8 || strip(word, "0x").is_some();
    digits(word, 16).filter(|(_, rest)| long && rest.is_empty()).map(|(offset, _)| offset)
}

/// Whether the text is a number and no more.
fn is_number(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit) && digits(text, 16).is_some_and(|(_, rest)| rest.is_empty())
}

fn shown(text: &[u8]) -> String {
    match text.split_at_checked(SHOWN) {
        Some((start, rest)) if !rest.is_empty() => format!("{}...", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}
