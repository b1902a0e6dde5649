//! All that can be asked of an image, and what must be answered.

use std::collections::{BTreeMap, BTreeSet};

use nandimg::Error;
use nandimg::check::{Checked, Finding, Severity, block as fsck};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashHardware, Inspected};
use nandimg::ftl::Volume;
use nandimg::ftl::block::slots::{Slot, SlotId};
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount, Survey};
use nandimg::onflash::ftlj::{EntryError, Metadata};
use nandimg::prng::SplitMix64;
use nandimg::probe;

use super::image::{Found, Image};
use super::oracle::{Described, Refusal, Verdict};

/// What has been seen, so that a run can tell that it did test something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Seen {
    pub(crate) fn note(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_string(), 1);
            }
        }
    }
}

const LOOK: Mount =
    Mount { read_only: true, sequence: None, wear: nandimg::ftl::wear::WearPolicy { interval: 256, threshold: 100 } };

/// Put `image` through everything.
pub(crate) fn run(image: &Image, rng: &mut SplitMix64, seen: &mut Seen) {
    let verdict = Verdict::of(image);
    let chip = image.chip();
    decode(image, &verdict, rng);
    survey(&chip, &verdict);
    mount(image, &chip, &verdict, rng, seen);
    let checked = check(&chip, &verdict, seen);
    if let Ok(volume) = &verdict.mounts {
        write(image, &chip, &verdict, volume, rng, seen);
    }
    if let Some(checked) = checked {
        repair(image, &chip, &verdict, checked, seen);
    }
    format(image, &chip, &verdict, rng, seen);
    search(image, &verdict);
    assert_eq!(chip.data(), image.bytes, "looking at a chip has changed it");
}

fn decode(image: &Image, verdict: &Verdict, rng: &mut SplitMix64) {
    for (slot, found) in verdict.found.iter().enumerate() {
        let bytes = image.slot(slot);
        match (found, Metadata::decode(bytes)) {
            (Found::Entry(entry), Ok((sequence, metadata))) => {
                assert_eq!((sequence, metadata.logical_len), (entry.sequence, entry.logical_len));
                assert_eq!((&metadata.map, &metadata.erase_counts), (&entry.map, &entry.counts));
                assert_eq!(metadata.bad_table, entry.bad);
                if entry.trailing.is_empty() {
                    let encoded = metadata.encode(sequence);
                    assert_eq!(bytes[..encoded.len()], encoded, "an entry is not what it was when encoded again");
                }
            }
            (Found::Erased | Found::NoMagic, Err(EntryError::NoMagic))
            | (Found::TooLong, Err(EntryError::TooLong { .. }))
            | (Found::BadSum { .. }, Err(EntryError::Checksum { .. }))
            | (Found::BadTables { .. }, Err(EntryError::Short { .. } | EntryError::Uneven { .. })) => {}
            (found, decoded) => panic!("slot {slot} holds {found:?}, decoded as {decoded:?}"),
        }
        let cut = rng.below(bytes.len() as u64) as usize;
        let _ = Metadata::decode(&bytes[..cut]);
        let _ = Metadata::decode(&image.bytes[cut..]);
    }
}

fn survey(chip: &SimFlash, verdict: &Verdict) {
    let survey = Survey::read(chip).expect("a survey of a chip that reads");
    for (id, found) in SlotId::BOTH.into_iter().zip(&verdict.found) {
        let slot = survey.slot(id);
        let is_right = match found {
            Found::Erased => matches!(slot, Slot::Empty),
            Found::NoMagic | Found::BadSum { unfinished: true } | Found::BadTables { unfinished: true } => {
                matches!(slot, Slot::Torn(_))
            }
            Found::TooLong | Found::BadSum { .. } | Found::BadTables { .. } => matches!(slot, Slot::Corrupt(_)),
            Found::Entry(entry) => slot.sequence() == Some(entry.sequence),
        };
        assert!(is_right, "{id} holds {found:?}, surveyed as {slot:?}");
    }
    let _ = survey.copies();
}

fn mount(image: &Image, chip: &SimFlash, verdict: &Verdict, rng: &mut SplitMix64, seen: &mut Seen) {
    match (&verdict.mounts, BlockVolume::mount(Inspected(chip), &LOOK)) {
        (Ok(expected), Ok(volume)) => {
            seen.note("mounted");
            compare(image, expected, &volume, rng);
        }
        (Err(Refusal::NotFormatted), Err(Error::NotFormatted(_)))
        | (Err(Refusal::Unmountable), Err(Error::Unmountable(_)))
        | (Err(Refusal::OtherGeometry), Err(Error::GeometryMismatch(_))) => seen.note("refused"),
        (expected, mounted) => {
            panic!("expected {expected:?}, mounted as {:?}", mounted.map(|volume| volume.current()))
        }
    }
    if let (Ok(newest), Some(older)) = (&verdict.mounts, &verdict.older)
        && newest.sequence != older.sequence
    {
        let options = Mount { sequence: Some(older.sequence), ..Mount::default() };
        let volume = BlockVolume::mount(Inspected(chip), &options).expect("an older copy that fits mounts");
        assert!(volume.read_only().is_some(), "an older copy may be written on");
        compare(image, older, &volume, rng);
        seen.note("mounted older");
    }
    let nothing_has = Mount { sequence: Some(0xDEAD_BEEF_DEAD_BEEF), ..Mount::default() };
    assert!(BlockVolume::mount(Inspected(chip), &nothing_has).is_err());
}

/// `volume` must be what `expected` says, byte for byte.
fn compare<H: FlashHardware>(image: &Image, expected: &Described, volume: &BlockVolume<H>, rng: &mut SplitMix64) {
    assert_eq!(volume.len(), expected.len, "length");
    assert_eq!(volume.mapped_end(), expected.mapped_end(image), "end of the map");
    assert_eq!(volume.capacity(), expected.capacity, "capacity");
    let bad: Vec<usize> = volume.bad_blocks().iter().map(|b| b.index()).collect();
    assert_eq!(bad, (0..image.shape.blocks).filter(|&b| expected.bad[b]).collect::<Vec<_>>(), "bad blocks");
    assert_eq!(volume.erase_counts(), expected.counts, "erase counts");
    let free = volume.free_blocks() as usize;
    assert!(free <= image.shape.data_blocks(), "{free} free blocks");
    let content = contents(volume);
    for (index, found) in content.iter().enumerate() {
        assert_eq!(found, &expected.content(image, index), "logical block {index}, {:?}", expected.sources[index]);
    }
    read_across(volume, &content, image.shape.block, rng);
    let past = |offset, len| matches!(volume.read(offset, &mut vec![0; len]), Err(Error::OutOfRange { .. }));
    if expected.len < u64::MAX {
        assert!(past(expected.len, 1) && past(u64::MAX, 1) && past(expected.len - expected.len.min(1), 2));
    }
    if expected.len > volume.mapped_end() {
        for offset in [volume.mapped_end(), expected.len - 1] {
            let read = volume.read(offset, &mut [0]);
            assert!(matches!(read, Err(Error::Unreadable { .. })), "past the map at {offset}: {read:?}");
        }
    }
}

/// What a volume holds, by logical block; `None` where it cannot be read.
fn contents<V: Volume>(volume: &V) -> Vec<Option<Vec<u8>>> {
    let block = volume.mapped_end() as usize / volume_blocks(volume);
    let content = |index: usize| {
        let start = (index * block) as u64;
        let here = volume.len().saturating_sub(start).min(block as u64) as usize;
        let mut bytes = vec![0xA5; here];
        match volume.read(start.min(volume.len()), &mut bytes) {
            Ok(()) => Some(bytes),
            Err(Error::Unreadable { offset, length, .. }) => {
                assert!(offset >= start && length > 0 && offset + length <= start + block as u64);
                None
            }
            Err(error) => panic!("logical block {index}: {error}"),
        }
    };
    // A block that ends before it begins holds nothing, whatever the map says.
    let reach = volume.len().min(volume.mapped_end());
    let mut all: Vec<_> = (0..reach.div_ceil(block as u64) as usize).map(content).collect();
    all.truncate(volume_blocks(volume));
    all
}

fn volume_blocks<V: Volume>(volume: &V) -> usize {
    // Every block of these chips has a size that divides the end of the map.
    let sizes = volume.erase_counts().len();
    assert!(sizes > 0);
    volume.mapped_end() as usize / BLOCK_SIZE.get()
}

thread_local!(static BLOCK_SIZE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
