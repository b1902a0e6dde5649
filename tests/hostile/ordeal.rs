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
use nandimg::probe::{self, Hints};

use super::image::{Found, Image};
use super::oracle::{Described, Refusal, Verdict};
use super::worker::Seen;

const LOOK: Mount = Mount {
    read_only: true,
    sequence: None,
    wear: nandimg::ftl::wear::WearPolicy { interval: 256, threshold: 100 },
};

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
        repair(image, &chip, &verdict, &checked, seen);
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
                    assert_eq!(
                        bytes[..encoded.len()],
                        encoded,
                        "an entry is not what it was when encoded again"
                    );
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
            Found::TooLong | Found::BadSum { .. } | Found::BadTables { .. } => {
                matches!(slot, Slot::Corrupt(_))
            }
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
fn compare<H: FlashHardware>(
    image: &Image,
    expected: &Described,
    volume: &BlockVolume<H>,
    rng: &mut SplitMix64,
) {
    assert_eq!(volume.len(), expected.len, "length");
    assert_eq!(volume.mapped_end(), expected.mapped_end(image), "end of the map");
    assert_eq!(volume.capacity(), expected.capacity, "capacity");
    let bad: Vec<usize> = volume.bad_blocks().iter().map(|b| b.index()).collect();
    assert_eq!(bad, (0..image.shape.blocks).filter(|&b| expected.bad[b]).collect::<Vec<_>>(), "bad blocks");
    assert_eq!(volume.erase_counts(), expected.counts, "erase counts");
    let free = volume.free_blocks() as usize;
    assert!(free <= image.shape.data_blocks(), "{free} free blocks");
    let content = contents(volume, image.shape.block);
    for (index, found) in content.iter().enumerate() {
        assert_eq!(
            found,
            &expected.content(image, index),
            "logical block {index}, {:?}",
            expected.sources[index]
        );
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
fn contents<V: Volume>(volume: &V, block: usize) -> Vec<Option<Vec<u8>>> {
    let reach = volume.len().min(volume.mapped_end());
    let content = |start: u64| {
        let mut bytes = vec![0xA5; (reach - start).min(block as u64) as usize];
        match volume.read(start, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(Error::Unreadable { offset, length, .. }) => {
                assert!(offset >= start && length > 0 && offset + length <= start + block as u64);
                None
            }
            Err(error) => panic!("logical bytes from {start} on: {error}"),
        }
    };
    (0..reach).step_by(block).map(content).collect()
}

/// A read that crosses blocks says the same, or names the first byte that cannot be read.
fn read_across<V: Volume>(volume: &V, content: &[Option<Vec<u8>>], block: usize, rng: &mut SplitMix64) {
    let reach = volume.len().min(volume.mapped_end());
    for _ in 0..3 {
        let from = rng.below(reach);
        let to = (from + rng.below(3 * block as u64)).min(reach);
        let mut bytes = vec![0xA5; (to - from) as usize];
        let read = volume.read(from, &mut bytes);
        let hole = (from..to).find(|&at| content[at as usize / block].is_none());
        match (hole, read) {
            (None, Ok(())) => {
                let whole = (from..to).zip(&bytes);
                let same = |(at, byte): (u64, &u8)| {
                    content[at as usize / block].as_ref().is_some_and(|c| c[at as usize % block] == *byte)
                };
                assert!(whole.into_iter().all(same), "{from}..{to} read in one go differs");
            }
            (Some(hole), Err(Error::Unreadable { offset, .. })) => assert_eq!(offset, hole),
            (hole, read) => panic!("{from}..{to} with a hole at {hole:?}: {read:?}"),
        }
    }
}

fn check(chip: &SimFlash, verdict: &Verdict, seen: &mut Seen) -> Option<Checked> {
    let mut furthest = 0;
    let mut progress = |done, total| {
        assert!(furthest < done && done <= total, "progress from {furthest} to {done} of {total}");
        furthest = done;
    };
    match (fsck::check(chip, &mut progress), &verdict.findings) {
        (Ok(checked), Some(expected)) => {
            let mut found = BTreeMap::new();
            for finding in &checked.findings {
                seen.note(finding.code);
                assert_place(chip, finding);
                *found.entry((finding.code, finding.severity)).or_default() += 1;
            }
            assert_eq!(&found, expected, "findings: {:#?}", checked.findings);
            let errors = expected.keys().any(|(_, severity)| *severity == Severity::Error);
            assert_eq!(checked.is_clean(), !errors);
            if checked.findings.is_empty() {
                seen.note("nothing found");
            }
            Some(checked)
        }
        (Err(Error::NotFormatted(_)), None)
            if verdict.mounts.as_ref().err() == Some(&Refusal::NotFormatted) =>
        {
            None
        }
        (Err(Error::GeometryMismatch(_)), None) => None,
        (checked, expected) => panic!("expected {expected:?}, checked: {checked:?}"),
    }
}

fn assert_place(chip: &SimFlash, finding: &Finding) {
    let geometry = chip.geometry();
    assert!(finding.block.is_none_or(|b| b < geometry.blocks()), "{finding:?}");
    assert!(finding.page.is_none_or(|p| p < geometry.pages_per_block()), "{finding:?}");
    assert_eq!(finding.block.is_some(), finding.offset.is_some(), "{finding:?}");
    assert!(finding.offset.is_none_or(|o| o < geometry.raw_size()), "{finding:?}");
    assert!(!finding.message.is_empty() && !finding.repaired);
}

fn write(
    image: &Image,
    chip: &SimFlash,
    verdict: &Verdict,
    described: &Described,
    rng: &mut SplitMix64,
    seen: &mut Seen,
) {
    let mut volume =
        BlockVolume::mount(chip.clone(), &Mount::default()).expect("what mounts read-only mounts");
    let writable = verdict.is_writable(image);
    assert_eq!(volume.read_only().is_none(), writable, "read-only: {:?}", volume.read_only());
    if !writable {
        seen.note("read-only");
        assert!(matches!(volume.write(0, &[1]), Err(Error::ReadOnly(_))));
        assert!(matches!(volume.set_len(0), Err(Error::ReadOnly(_))));
        assert_eq!(volume.into_flash().data(), image.bytes, "a read-only volume has changed its chip");
        return;
    }
    let block = image.shape.block;
    let mut model: Vec<u8> = contents(&volume, block).into_iter().flatten().flatten().collect();
    for _ in 0..=rng.below(3) {
        let len = volume.len();
        let commits = volume.commits();
        let wanted = change(&mut volume, &mut model, block, rng);
        match wanted {
            Ok(()) => seen.note("wrote"),
            Err(Error::TooLarge { .. } | Error::OutOfRange { .. }) => seen.note("write refused"),
            Err(Error::NoFreeBlock { .. }) if volume.commits() == commits => seen.note("no free block"),
            // What had to be committed early stays.
            Err(Error::NoFreeBlock { .. }) => return,
            Err(Error::ReadOnly(_)) if described.sequence > u64::MAX - 100 => return,
            Err(error) => panic!("{error}"),
        }
        if wanted.is_err() {
            assert_eq!(volume.len(), len, "a write that failed has changed the length");
        }
        assert_eq!(flat(&volume, block), model, "after a write");
    }
    let len = volume.len();
    let again = BlockVolume::mount(volume.into_flash(), &LOOK).expect("a volume that was written mounts");
    assert_eq!(again.len(), len);
    assert_eq!(flat(&again, block), model, "after a remount");
}

fn flat<V: Volume>(volume: &V, block: usize) -> Vec<u8> {
    contents(volume, block).into_iter().flat_map(|c| c.expect("a writable volume reads")).collect()
}

/// Write somewhere, give up what is somewhere or change the length, and sync; `model` follows what takes effect.
fn change(
    volume: &mut BlockVolume<SimFlash>,
    model: &mut Vec<u8>,
    block: usize,
    rng: &mut SplitMix64,
) -> Result<(), Error> {
    let (capacity, len) = (volume.capacity(), volume.len());
    let reach = |len: u64, volume: &BlockVolume<SimFlash>| len.min(volume.mapped_end()) as usize;
    if rng.below(4) == 0 {
        let offset = rng.below(reach(len, volume) as u64 + 1);
        let length = if rng.below(2) == 0 { u64::MAX } else { rng.below(3 * block as u64) };
        volume.discard(offset, length).and_then(|()| volume.sync())?;
        let end = offset.saturating_add(length).min(model.len() as u64);
        model[offset as usize..end as usize].fill(0);
        return Ok(());
    }
    if rng.below(3) == 0 {
        let to = if rng.below(2) == 0 { rng.below(capacity + 2) } else { rng.below(len) };
        let fits = to <= capacity || to <= len;
        let result = volume.set_len(to).and_then(|()| volume.sync());
        assert_eq!(fits, !matches!(result, Err(Error::TooLarge { .. })), "a length of {to}: {result:?}");
        result?;
        model.resize(reach(to, volume), 0);
        return Ok(());
    }
    let offset = rng.below(capacity + 2);
    let mut data = vec![0; rng.below(3 * block as u64) as usize];
    rng.fill(&mut data);
    let end = offset + data.len() as u64;
    let result = volume.write(offset, &data).and_then(|()| volume.sync());
    let refused = matches!(result, Err(Error::TooLarge { .. } | Error::OutOfRange { .. }));
    assert_eq!(end > capacity, refused, "{offset}..{end} of {capacity}: {result:?}");
    result?;
    if data.is_empty() {
        return Ok(());
    }
    model.resize(reach(len.max(end), volume), 0);
    model[offset as usize..end as usize].copy_from_slice(&data);
    Ok(())
}

/// What two findings have in common that are the same one.
fn key(finding: &Finding) -> (&'static str, Option<u32>, Option<u32>) {
    (finding.code, finding.block, finding.page)
}

fn repair(image: &Image, chip: &SimFlash, verdict: &Verdict, before: &Checked, seen: &mut Seen) {
    let mut mended = chip.clone();
    let wanted = before.findings.iter().any(|f| f.repair.is_some());
    let repaired = fsck::repair(&mut mended, before, &mut |_, _| {}).expect("a repair of a chip that works");
    if !wanted {
        assert_eq!(mended.data(), chip.data(), "a repair that has nothing to mend has changed the chip");
    }
    let mut after = fsck::check(&mended, &mut |_, _| {}).expect("a check after a repair");
    let remaining: BTreeSet<_> = repaired.findings.iter().filter(|f| !f.repaired).map(key).collect();
    let found: BTreeSet<_> = after.findings.iter().map(key).collect();
    assert_eq!(remaining, found, "what a repair leaves is not what the next check finds");
    seen.note(if repaired.findings.iter().any(|f| f.repaired) { "mended" } else { "not mended" });
    for finding in &repaired.findings {
        assert!(finding.repair.is_some() || !finding.repaired, "mended without a way to: {finding:?}");
        let known =
            verdict.findings.as_ref().is_some_and(|all| all.keys().any(|(code, _)| *code == finding.code));
        assert!(known || finding.severity < Severity::Error, "a repair brought a new error: {finding:?}");
    }
    let Ok(described) = &verdict.mounts else { return };
    assert_mended(image, verdict, described, &repaired, &mended);
    let volume = BlockVolume::mount(Inspected(&mended), &LOOK).expect("a volume that was mended mounts");
    let old = BlockVolume::mount(Inspected(chip), &LOOK).expect("it did before");
    assert_eq!((volume.len(), volume.mapped_end()), (old.len(), old.mapped_end()));
    let block = image.shape.block;
    assert!(contents(&volume, block) == contents(&old, block), "a repair has changed the content");
    for finding in &mut after.findings {
        finding.repaired = false;
    }
    let again = fsck::repair(&mut mended, &after, &mut |_, _| {}).expect("a second repair");
    assert!(again.findings.iter().all(|f| !f.repaired), "a second repair mends more: {:#?}", again.findings);
}

/// On a volume that can be written, all is mended that says so, as long as there is room.
fn assert_mended(
    image: &Image,
    verdict: &Verdict,
    described: &Described,
    repaired: &Checked,
    mended: &SimFlash,
) {
    let can_write =
        !verdict.newer_is_unusable && !described.has_bad_slot(image) && !described.has_damaged_map();
    for finding in repaired.findings.iter().filter(|f| f.repair.is_some() && !f.repaired) {
        let no_room = finding.code == "mapped-bad-block"
            && BlockVolume::mount(Inspected(mended), &LOOK).is_ok_and(|volume| volume.free_blocks() == 0);
        assert!(!can_write || no_room, "not mended: {finding:?}");
    }
}

fn format(image: &Image, chip: &SimFlash, verdict: &Verdict, rng: &mut SplitMix64, seen: &mut Seen) {
    let carry_wear = rng.below(4) > 0;
    let plan = FormatPlan::new(chip, carry_wear);
    if let Ok(volume) = &verdict.mounts {
        let possible = !volume.has_bad_slot(image) && volume.capacity > 0;
        assert_eq!(possible, plan.is_ok(), "a plan to format: {plan:?}");
    }
    let Ok(plan) = plan else { return seen.note("not to be formatted") };
    if rng.below(4) > 0 {
        return;
    }
    let (capacity, bad) = (plan.capacity(), plan.bad_blocks());
    if let Ok(volume) = &verdict.mounts {
        assert!(bad.iter().map(|b| b.index()).eq((0..image.shape.blocks).filter(|&b| volume.bad[b])));
    }
    let mut fresh = chip.clone();
    plan.execute(&mut fresh).expect("a format of a chip that works");
    let volume = BlockVolume::mount(Inspected(&fresh), &LOOK).expect("a fresh volume mounts");
    assert_eq!((volume.len(), volume.capacity(), volume.bad_blocks()), (0, capacity, bad));
    if let (Ok(old), true) = (&verdict.mounts, carry_wear) {
        let kept = volume.erase_counts().iter().zip(&old.counts).all(|(new, old)| new >= old);
        assert!(kept, "a format has forgotten erase counts");
    }
    let checked = fsck::check(&fresh, &mut |_, _| {}).expect("a check of a fresh volume");
    let known = ["worn-past-rating", "bad-mark-missing"];
    assert!(checked.findings.iter().all(|f| known.contains(&f.code)), "{:#?}", checked.findings);
    seen.note("formatted");
}

fn search(image: &Image, verdict: &Verdict) {
    let page_size = Some(image.geometry.page_size());
    let hints = [Hints::default(), Hints { page_size, spare_size: Some(16), block_size: None }];
    let entries = verdict.found.iter().filter(|f| f.entry().is_some()).count();
    for hints in &hints {
        let search = probe::find_volumes(&image.bytes[..], hints).expect("a search in RAM");
        assert!(search.block.valid >= entries, "{entries} entries, {search:?}");
        for volume in &search.volumes {
            // The end may be missing; the slots are not.
            let start = u64::from(volume.first_block) * u64::from(volume.block_size);
            assert!(start < image.bytes.len() as u64 && volume.blocks != Some(0), "{volume:?}, by {hints:?}");
        }
    }
    let _ = probe::look_at(&image.bytes[..], &image.geometry, 0).expect("a look in RAM");
    let _ = probe::recognise(&&image.bytes[..]).expect("a look in RAM");
}
