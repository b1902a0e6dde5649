//! All that can be asked of a page-mapped image, and what any answer must keep to.

use nandimg::Error;
use nandimg::check::{Checked, Finding, page as fsck, wear};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashHardware, Inspected};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume, metadata, plan_rebuild, rebuild, shows_a_volume};
use nandimg::prng::SplitMix64;
use nandimg::probe::{self, Hints};

use super::page_image::{Base, PAGE};
use super::page_mutate::Mutant;
use super::worker::Seen;

/// What a volume holds, by logical page; `None` where it cannot be read.
type Content = Vec<Option<Vec<u8>>>;

/// Put `image` through everything.
pub(crate) fn run(image: &Mutant, bases: &[Base], rng: &mut SplitMix64, seen: &mut Seen) {
    let base = &bases[image.base];
    let chip = &image.chip;
    let before = chip.data().to_vec();
    let look = mount(image, base, rng, seen);
    check(image, base, rng, seen);
    if look {
        write(image, base, rng, seen);
    }
    rebuild_it(image, base, seen);
    format(image, rng, seen);
    if rng.below(8) == 0 {
        search(chip);
    }
    assert!(chip.data() == before, "looking at a chip has changed it");
}

/// That `work` reads no more than some pages for each that there is.
fn bounded<T>(chip: &SimFlash, times: usize, work: impl FnOnce() -> T) -> T {
    let before = chip.counts().page_reads;
    let result = work();
    let read = chip.counts().page_reads - before;
    let pages = chip.geometry().blocks() as usize * chip.geometry().pages_per_block() as usize;
    assert!(read <= times * pages, "{read} pages read, and there are {pages}");
    result
}

fn note_error(error: &Error, seen: &mut Seen) {
    match error {
        Error::Unmountable(_) => seen.note("unmountable"),
        Error::NotFormatted(_) => seen.note("not formatted"),
        Error::GeometryMismatch(_) => seen.note("other geometry"),
        Error::Unsupported(_) => seen.note("unsupported"),
        error => panic!("a mount fails with {error:?}"),
    }
}

/// Mount in every way; whether it does, to look.
fn mount(image: &Mutant, base: &Base, rng: &mut SplitMix64, seen: &mut Seen) -> bool {
    let chip = &image.chip;
    let look = Mount { read_only: true, ..Mount::default() };
    let mounted = bounded(chip, 8, || PageVolume::mount(Inspected(chip), &look));
    let _ = shows_a_volume(chip).expect("a chip in RAM reads");
    let copies = metadata(chip).expect("a chip in RAM reads");
    let all: Option<Content> = match &mounted {
        Ok(volume) => {
            seen.note("mounted");
            assert!(volume.read_only().is_some());
            if volume.is_older_state() {
                seen.note("older state");
            }
            let content = bounded(chip, 8, || contents(volume));
            compare(image, base, volume, &content);
            ask(volume);
            Some(content)
        }
        Err(error) => {
            note_error(error, seen);
            None
        }
    };
    let sequences: Vec<u64> = copies.iter().filter_map(|copy| copy.sequence).collect();
    for way in 0..5 {
        if rng.below(3) > 0 {
            continue;
        }
        let options = match way {
            0 => Mount::for_reading(),
            1 => Mount { cached_map_pages: 0, ..look },
            2 => Mount { cached_map_pages: 1, ..look },
            3 => Mount {
                sequence: sequences.get(rng.below(sequences.len() as u64 + 1) as usize).copied(),
                ..look
            },
            _ => Mount { sequence: Some(rng.next_u64()), ..look },
        };
        match bounded(chip, 40, || PageVolume::mount(Inspected(chip), &options)) {
            Ok(volume) => {
                let content = bounded(chip, 16, || contents(&volume));
                ask(&volume);
                if volume.sequence() < sequences.iter().copied().max().unwrap_or(0) {
                    seen.note("mounted an older checkpoint");
                }
                if let (1 | 2, Some(all)) = (way, &all) {
                    assert!(content == *all, "with {way} the content is another");
                }
                versions_only(image, base, &content);
            }
            Err(error) => note_error(&error, &mut Seen::default()),
        }
    }
    mounted.is_ok()
}

/// Everything there is to ask.
fn ask<H: FlashHardware>(volume: &PageVolume<H>) {
    let _ =
        (volume.capacity(), volume.mapped_end(), volume.write_unit(), volume.commits(), volume.warnings());
    let _ = (
        volume.metadata(),
        volume.bad_blocks(),
        volume.fallback(),
        volume.free_blocks(),
        volume.mapped_units(),
    );
    let wear = wear::WearStatistics::of(volume.erase_counts().iter().copied());
    let _ = wear.map(|wear| wear.spread());
    for block in volume.flash().geometry().iter_blocks() {
        let _ = (volume.block_use(block), volume.live_pages(block), volume.is_closed(block));
    }
    let past = volume.read(volume.len(), &mut [0]);
    assert!(matches!(past, Err(Error::OutOfRange { .. })), "{past:?}");
}

/// What a volume holds, by logical page.
fn contents<H: FlashHardware>(volume: &PageVolume<H>) -> Content {
    let content = |start: u64| {
        let mut bytes = vec![0xA5; (volume.len() - start).min(PAGE as u64) as usize];
        match volume.read(start, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(Error::Unreadable { offset, length, .. }) => {
                assert!(offset >= start && length > 0 && offset + length <= start + PAGE as u64);
                None
            }
            Err(error) => panic!("logical bytes from {start} on: {error}"),
        }
    };
    assert!(volume.len() <= volume.mapped_end());
    (0..volume.len()).step_by(PAGE).map(content).collect()
}

/// What is broken is found out: what reads is what was committed, as long as nothing says otherwise.
fn compare<H: FlashHardware>(image: &Mutant, base: &Base, volume: &PageVolume<H>, content: &Content) {
    versions_only(image, base, content);
    if image.sealed || volume.is_older_state() || base.unclean && volume.fallback().is_some() {
        return;
    }
    assert_eq!(volume.len(), base.content.len() as u64, "length");
    for (page, (found, expected)) in content.iter().zip(base.content.chunks(PAGE)).enumerate() {
        assert!(found.as_ref().is_none_or(|found| found == expected), "page {page} is another");
    }
}

/// With nothing but what the engine wrote, a logical page holds what it held at some time.
fn versions_only(image: &Mutant, base: &Base, content: &Content) {
    if image.sealed {
        return;
    }
    for (page, found) in (0..).zip(content) {
        let Some(found) = found else { continue };
        let known = found.iter().all(|&byte| byte == 0) || base.versions.contains(&(page, found.clone()));
        assert!(known, "page {page} never held that");
    }
}

fn key(finding: &Finding) -> (&'static str, Option<u32>, Option<u32>, &str) {
    (finding.code, finding.block, finding.page, &finding.message)
}

fn check(image: &Mutant, base: &Base, rng: &mut SplitMix64, seen: &mut Seen) {
    let chip = &image.chip;
    let mut furthest = 0;
    let checked = bounded(chip, 60, || {
        fsck::check(chip, &mut |done, total| {
            assert!(furthest < done && done <= total, "progress from {furthest} to {done} of {total}");
            furthest = done;
        })
    });
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => return note_error(&error, &mut Seen::default()),
    };
    for finding in &checked.findings {
        seen.note(finding.code);
        assert!(!finding.message.is_empty() && !finding.repaired);
        assert!(finding.block.is_none_or(|b| b < chip.geometry().blocks()), "{finding:?}");
        assert!(finding.offset.is_none_or(|o| o < chip.geometry().raw_size()), "{finding:?}");
    }
    if checked.findings.is_empty() {
        seen.note("nothing found");
    }
    if rng.below(16) == 0 {
        let parallel = fsck::check_in_parallel(chip, &mut |_, _| {}).expect("it did just now");
        assert!(parallel.findings.iter().map(key).eq(checked.findings.iter().map(key)), "in parallel");
    }
    repair(image, base, &checked, seen);
}

fn repair(image: &Mutant, base: &Base, before: &Checked, seen: &mut Seen) {
    let chip = &image.chip;
    let mut mended = chip.clone();
    let repaired = match fsck::repair(&mut mended, before, &mut |_, _| {}) {
        Ok(repaired) => repaired,
        Err(error) => return assert!(typed(&error), "a repair fails with {error:?}"),
    };
    if before.findings.iter().all(|finding| finding.repair.is_none()) {
        assert!(mended.data() == chip.data(), "a repair that has nothing to mend has changed the chip");
        return;
    }
    seen.note(if repaired.findings.iter().any(|f| f.repaired) { "mended" } else { "not mended" });
    let look = Mount { read_only: true, ..Mount::default() };
    let (old, new) =
        (PageVolume::mount(Inspected(chip), &look), PageVolume::mount(Inspected(&mended), &look));
    let Ok(new) = new else { return };
    let after = contents(&new);
    versions_only(image, base, &after);
    ask(&new);
    // Where the newest state was there, it is there still.
    if let Ok(old) = old
        && !old.is_older_state()
        && !image.sealed
    {
        let before = contents(&old);
        if before.iter().all(Option::is_some) {
            assert!(before == after, "a repair has changed the content");
        }
    }
}

/// What may come of a volume that lies.
fn typed(error: &Error) -> bool {
    matches!(
        error,
        Error::ReadOnly(_)
            | Error::NoFreeBlock { .. }
            | Error::Unreadable { .. }
            | Error::Unmountable(_)
            | Error::TooLarge { .. }
            | Error::OutOfRange { .. }
    )
}

fn write(image: &Mutant, base: &Base, rng: &mut SplitMix64, seen: &mut Seen) {
    let options = Mount {
        mirror_every_commit: rng.below(2) == 0,
        cached_map_pages: pick_cache(rng),
        ..Mount::default()
    };
    let mut volume = PageVolume::mount(image.chip.clone(), &options).expect("what mounts read-only mounts");
    if volume.read_only().is_some() {
        seen.note("read-only");
        assert!(matches!(volume.write(0, &[1]), Err(Error::ReadOnly(_))));
        assert!(matches!(volume.set_len(0), Err(Error::ReadOnly(_))));
        assert!(volume.into_flash().data() == image.chip.data(), "a read-only volume has changed its chip");
        return;
    }
    let mut model = contents(&volume);
    compare(image, base, &volume, &model);
    let writes = pick_rounds(rng);
    let mut failed = false;
    for _ in 0..writes {
        let mut staged = model.clone();
        let done = change(&mut volume, &mut staged, rng).and_then(|()| volume.sync());
        match done {
            Ok(()) => {
                seen.note("wrote");
                model = staged;
            }
            Err(error) => {
                assert!(typed(&error), "a write fails with {error:?}");
                if !image.sealed && !matches!(error, Error::TooLarge { .. } | Error::OutOfRange { .. }) {
                    seen.note("a write failed on a volume that did not lie");
                }
                volume.rollback();
                failed = true;
                break;
            }
        }
    }
    if failed {
        // A part of a long change may have been committed.
        let _ = volume.end();
        let _ = contents_or_errors(&volume);
    } else {
        same(image, &model, &contents(&volume), "after the writes");
        if let Err(error) = volume.end() {
            assert!(typed(&error), "an end fails with {error:?}");
        }
    }
    let look = Mount { read_only: true, ..Mount::default() };
    let chip = volume.into_flash();
    match PageVolume::mount(Inspected(&chip), &look) {
        Ok(again) => {
            let content = contents(&again);
            if !failed {
                same(image, &model, &content, "after a remount");
            }
            seen.note("remounted");
        }
        Err(error) if image.sealed => {
            note_error(&error, &mut Seen::default());
            seen.note("not remounted");
        }
        Err(error) => panic!("a volume that was written does not mount: {error}"),
    }
}

fn contents_or_errors<H: FlashHardware>(volume: &PageVolume<H>) -> usize {
    let mut page = [0; PAGE];
    (0..volume.len() / PAGE as u64).filter(|n| volume.read(n * PAGE as u64, &mut page).is_ok()).count()
}

fn pick_cache(rng: &mut SplitMix64) -> usize {
    [usize::MAX, usize::MAX, 0, 1][rng.below(4) as usize]
}

fn pick_rounds(rng: &mut SplitMix64) -> u64 {
    if rng.below(16) == 0 { 60 } else { 1 + rng.below(6) }
}

/// What was read before or written since is there; where the volume lied, pages may have been lost, and then that is said.
fn same(image: &Mutant, model: &Content, found: &Content, when: &str) {
    if !image.sealed {
        assert_eq!(model.len(), found.len(), "{when}: length");
    }
    for (page, (expected, found)) in model.iter().zip(found).enumerate() {
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                assert!(image.sealed, "{when}: page {page} is another");
            }
            (Some(_), None) => assert!(image.sealed, "{when}: page {page} is gone"),
            _ => {}
        }
    }
}

/// Write somewhere, discard, or change the length; `model` follows.
fn change(volume: &mut PageVolume<SimFlash>, model: &mut Content, rng: &mut SplitMix64) -> Result<(), Error> {
    let page = PAGE as u64;
    let (pages, len) = (volume.capacity() / page, volume.len());
    match rng.below(8) {
        0 if len > 0 => {
            let to = rng.below(len / page + 1) * page;
            volume.set_len(to)?;
            model.truncate((to / page) as usize);
            return Ok(());
        }
        1 if len >= page => {
            let from = rng.below(len / page);
            let count = (1 + rng.below(5)).min(len / page - from);
            volume.discard(from * page, count * page)?;
            model[from as usize..(from + count) as usize].fill(Some(vec![0; PAGE]));
            return Ok(());
        }
        _ => {}
    }
    let from = rng.below(pages.max(1));
    let count = (1 + rng.below(6)).min(pages.saturating_sub(from).max(1));
    let mut data = vec![0; (count * page) as usize];
    rng.fill(&mut data);
    volume.write(from * page, &data)?;
    let end = (from + count) as usize;
    if model.len() < end {
        let last = (len % page) as usize;
        if let (Some(Some(bytes)), true) = (model.last_mut(), last > 0) {
            bytes.resize(PAGE, 0);
        }
        model.resize(end, Some(vec![0; PAGE]));
    }
    for (slot, bytes) in model[from as usize..end].iter_mut().zip(data.chunks(PAGE)) {
        *slot = Some(bytes.to_vec());
    }
    // The last page may be a part.
    if let (Some(Some(last)), true) = (model.last_mut(), !volume.len().is_multiple_of(page)) {
        last.truncate((volume.len() % page) as usize);
    }
    Ok(())
}

fn rebuild_it(image: &Mutant, base: &Base, seen: &mut Seen) {
    let chip = &image.chip;
    let planned = bounded(chip, 16, || plan_rebuild(chip));
    let mut rebuilt = chip.clone();
    match (&planned, rebuild(&mut rebuilt)) {
        (Ok(plan), Ok(done)) => {
            assert_eq!(*plan, done, "a rebuild does what was planned");
            seen.note("rebuilt");
        }
        (Ok(_), Err(error)) => {
            seen.note("rebuild failed");
            return assert!(typed(&error), "a rebuild fails with {error:?}");
        }
        (Err(_), Err(error)) => {
            let known = typed(&error) || matches!(error, Error::Unsupported(_) | Error::GeometryMismatch(_));
            return assert!(known, "a rebuild fails with {error:?}");
        }
        (Err(error), Ok(_)) => panic!("rebuilt in spite of {error}"),
    }
    let look = Mount { read_only: true, ..Mount::default() };
    let volume = PageVolume::mount(Inspected(&rebuilt), &look).expect("what was rebuilt mounts");
    // A log that lies may be newer than everything.
    assert!(image.sealed || !volume.is_older_state(), "{:?}", volume.fallback());
    versions_only(image, base, &contents(&volume));
}

fn format(image: &Mutant, rng: &mut SplitMix64, seen: &mut Seen) {
    let chip = &image.chip;
    let options = FormatOptions { reset_wear: rng.below(4) == 0, ..FormatOptions::default() };
    let plan = match FormatPlan::new(chip, &options) {
        Ok(plan) => plan,
        Err(Error::UnsuitableGeometry(_)) => return seen.note("not to be formatted"),
        Err(error) => panic!("a plan fails with {error:?}"),
    };
    let _ = plan.reserved();
    let (capacity, bad) = (plan.capacity(), plan.bad_blocks());
    let mut fresh = chip.clone();
    plan.execute(&mut fresh).unwrap_or_else(|error| panic!("a format fails with {error:?}"));
    let look = Mount { read_only: true, ..Mount::default() };
    let volume = PageVolume::mount(Inspected(&fresh), &look).expect("a fresh volume mounts");
    assert_eq!((volume.len(), volume.capacity(), volume.bad_blocks()), (0, capacity, bad));
    assert!(image.sealed || !volume.is_older_state(), "{:?}", volume.fallback());
    seen.note("formatted");
}

fn search(chip: &SimFlash) {
    let bytes = chip.data();
    let page_size = Some(chip.geometry().page_size());
    for hints in [Hints::default(), Hints { page_size, spare_size: Some(0), block_size: None }] {
        let _ = probe::find_volumes(bytes, &hints).expect("a search in RAM");
    }
    let _ = probe::look_at(bytes, chip.geometry(), 0).expect("a look in RAM");
    let _ = probe::recognise(&bytes).expect("a look in RAM");
}
