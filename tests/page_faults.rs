//! What becomes of a page-mapped volume when a block is lost, a bit flips, or anchors vanish.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use std::collections::{BTreeMap, BTreeSet};

use nandimg::Error;
use nandimg::check::Finding;
use nandimg::check::page::check;
use nandimg::flash::faults::{Faulty, LatentFault, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Lpn, Mount, PageVolume};
use nandimg::ftl::{BlockUse, Volume};
use nandimg::onflash::paged::head::{Head, Kind, open, seal};
use nandimg::onflash::paged::log::flags;
use nandimg::onflash::paged::map::MapEntry;
use nandimg::prng::SplitMix64;

use paged::{
    Chip, Paged, Replay, Used, assert_same, bytes, check_books, content, formatted, geometry, metadata_pages,
    mount, overwrite, read_only, repair, used, used_to, what_is_left,
};

const MIRROR: Mount = Mount {
    read_only: false,
    sequence: None,
    wear: None,
    cached_map_pages: usize::MAX,
    block_table: true,
    mirror_every_commit: true,
};

fn small() -> Geometry {
    geometry(256, 8, 64)
}

/// A chip with blocks enough for eight anchor blocks and several streams.
fn larger() -> Geometry {
    geometry(256, 16, 260)
}

fn blocks(geometry: Geometry) -> impl Iterator<Item = Block> {
    geometry.iter_blocks()
}

/// Logical pages that lie in `block`.
fn pages_in<H: FlashHardware>(volume: &PageVolume<H>, block: Block) -> BTreeSet<u32> {
    let layout = *volume.layout();
    let lies_there = |logical: &Lpn| match volume.entry(*logical).expect("the map reads") {
        MapEntry::At { address, .. } => address / layout.pages_per_block == block.0,
        _ => false,
    };
    layout.iter_logical().filter(lies_there).map(|logical| logical.0).collect()
}

/// The pages that cannot be read, and why; all others are as expected. Each is read by itself, and all in one go.
fn unreadable_pages<H: FlashHardware>(volume: &PageVolume<H>, expected: &[u8]) -> BTreeMap<u64, Error> {
    assert_eq!(volume.len(), expected.len() as u64);
    let size = volume.layout().page_size as usize;
    let mut unreadable = BTreeMap::new();
    for (offset, page) in (0..).step_by(size).zip(expected.chunks(size)) {
        let mut found = vec![0; page.len()];
        match volume.read(offset, &mut found) {
            Ok(()) => assert!(found == page, "the page at {offset}"),
            Err(error) => drop(unreadable.insert(offset, error)),
        }
    }
    let mut found = vec![0; expected.len()];
    let all = volume.read(0, &mut found);
    assert_eq!(all.err().as_ref(), unreadable.values().next(), "read in one go");
    assert!(!unreadable.is_empty() || found == expected, "read in one go");
    unreadable
}

/// Those of `lost` are named as unreadable, the others are as expected.
fn check_pages<H: FlashHardware>(
    volume: &PageVolume<H>,
    expected: &[u8],
    lost: &BTreeSet<u32>,
    block: Block,
) {
    let size = u64::from(volume.layout().page_size);
    let unreadable = unreadable_pages(volume, expected);
    assert!(unreadable.keys().copied().eq(lost.iter().map(|&page| u64::from(page) * size)), "{unreadable:?}");
    for (&place, error) in &unreadable {
        let Error::Unreadable { offset, at, reason, .. } = error else { panic!("{error}") };
        assert_eq!(*offset, place, "{reason}");
        assert!(at.is_none_or(|at| at.block == block), "{at:?}: {reason}");
    }
}

/// Write on, also in further sessions; nothing that was acknowledged is lost.
fn write_on(mut volume: Paged, expected: &mut [u8], rng: &mut SplitMix64) -> Paged {
    for writes in [3, 60, 200] {
        overwrite(&mut volume, expected, rng, writes).unwrap();
        volume.end().unwrap();
        volume = mount(volume.into_flash());
        assert_same(&content(&volume), expected, "after another mount");
        check_books(&volume);
    }
    volume
}

#[test]
fn any_block_may_be_marked_bad() {
    for (geometry, tenths, end) in [
        (small(), 9, true),
        (small(), 9, false),
        (larger(), 9, true),
        (small(), 10, true),
        (small(), 10, false),
    ] {
        let used = used_to(tenths, geometry, 1, 60, end, &Mount::default());
        for block in blocks(geometry) {
            let _replay = Replay(format!("{block} of {geometry:?}, {tenths} tenths full, ended {end}"));
            let Used { mut chip, content: mut expected, .. } = used.clone();
            chip.inner_mut().set_factory_bad(block);
            let before = chip.inner().data().to_vec();
            let volume = PageVolume::mount(chip, &read_only()).expect("the volume mounts");
            assert_same(&content(&volume), &expected, "read-only");
            let chip = volume.into_flash();
            assert!(chip.inner().data() == before, "a read-only mount changes nothing");
            let volume = mount(chip);
            assert_same(&content(&volume), &expected, "before anything is written");
            let volume = write_on(volume, &mut expected, &mut SplitMix64::new(u64::from(block.0)));
            assert_eq!(volume.block_use(block), BlockUse::Bad);
            assert!(pages_in(&volume, block).is_empty(), "what lay in {block} has moved");
        }
    }
}

#[test]
fn any_block_may_become_unreadable() {
    for (geometry, tenths, end, for_ever) in [
        (small(), 9, true, false),
        (small(), 9, true, true),
        (small(), 9, false, false),
        (larger(), 9, true, false),
        (small(), 10, true, false),
        (small(), 10, true, true),
        (small(), 10, false, false),
    ] {
        let used = used_to(tenths, geometry, 2, 60, end, &MIRROR);
        let healthy = mount(used.chip.clone());
        for block in blocks(geometry) {
            let how = format!("{tenths} tenths full, ended {end}, for ever {for_ever}");
            let _replay = Replay(format!("{block} of {geometry:?}, {how}"));
            let Used { mut chip, content: mut expected, .. } = used.clone();
            let lost = pages_in(&healthy, block);
            if for_ever {
                chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Read, after: 0 });
            } else {
                // What is programmed later is another matter.
                programmed(&chip, block).into_iter().for_each(|page| chip.set_unreadable(page));
            }
            let volume = PageVolume::mount(chip, &read_only()).expect("the volume mounts");
            check_pages(&volume, &expected, &lost, block);
            let mut volume = mount(volume.into_flash());
            check_pages(&volume, &expected, &lost, block);
            if for_ever {
                continue;
            }
            let mut rng = SplitMix64::new(u64::from(block.0));
            let writes = blind_writes(&mut volume, &mut expected, &mut rng, 30);
            let lost: BTreeSet<u32> = lost.difference(&writes).copied().collect();
            check_pages(&volume, &expected, &lost, block);
            volume.end().unwrap();
            let mut volume = mount(volume.into_flash());
            check_pages(&volume, &expected, &lost, block);
            let writes = blind_writes(&mut volume, &mut expected, &mut rng, 400);
            let lost: BTreeSet<u32> = lost.difference(&writes).copied().collect();
            volume.end().unwrap();
            let volume = mount(volume.into_flash());
            check_pages(&volume, &expected, &lost, block);
            check_books(&volume);
        }
    }
}

/// A short commit stands in one block alone until the next page of the log: what is lost with that block after a kill is that commit
/// and no other, and it is said. Nothing is written then, but where it looks like a page that a cut has torn, or an erase.
#[test]
fn any_block_may_become_unreadable_after_a_kill() {
    let (mut older, mut read_only_for_doubt) = (0, 0);
    for commits in 0..40 {
        let Used { chip, content: expected, before } = killed_after(commits);
        let healthy = mount(chip.clone());
        let mut in_doubt = BTreeSet::new();
        for block in blocks(small()) {
            for for_ever in [false, true] {
                let _replay = Replay(format!("{block} after {commits} commits, for ever {for_ever}"));
                let mut chip = chip.clone();
                if for_ever {
                    chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Read, after: 0 });
                } else {
                    programmed(&chip, block).into_iter().for_each(|page| chip.set_unreadable(page));
                }
                let lost = pages_in(&healthy, block);
                let volume = mount(chip);
                let found = what_is_left(&volume);
                let is = |content: &[u8]| {
                    let pages = content.chunks(256).zip(0..).zip(&found);
                    let mut pages = pages.map(|((page, n), found)| (page, lost.contains(&n), found));
                    pages.all(|(page, lost, found)| found.as_deref().map_or(lost, |found| found == page))
                };
                if volume.is_older_state() {
                    in_doubt.insert(block);
                }
                if is(&expected) {
                    assert_eq!(volume.read_only().is_some(), volume.is_older_state());
                    read_only_for_doubt += u32::from(volume.read_only().is_some());
                    continue;
                }
                older += 1;
                assert!(is(&before), "it is as before the last commit");
                let may_be_a_cut = match programmed(volume.flash(), block)[..] {
                    [only] => !for_ever || only.page == 0,
                    _ => false,
                };
                let is_certain = volume.is_older_state();
                assert!(is_certain || may_be_a_cut, "{:?}", volume.fallback());
                assert_eq!(volume.read_only().is_some(), is_certain, "{:?}", volume.fallback());
                let code = if is_certain { "older-state" } else { "fallback" };
                let checked = check(volume.flash(), &mut |_, _| {}).unwrap();
                let said = |f: &Finding| f.code == code && f.message.contains(&block.to_string());
                assert!(checked.findings.iter().any(said), "{:?}", checked.findings);
                if is_certain && !for_ever {
                    let mut chip = volume.into_flash();
                    let repaired = repair(&mut chip).unwrap();
                    assert!(
                        !repaired.is_clean(),
                        "that a commit is lost is not mended: {:?}",
                        repaired.findings
                    );
                    assert_eq!(mount(chip).read_only(), None);
                }
            }
        }
        // Of the block with the last commit, and of the one that another may have stood in.
        assert!(in_doubt.len() <= 2, "{in_doubt:?}");
    }
    println!("{older} times the last commit was lost, and {read_only_for_doubt} times it may have been");
    assert!((1..=2 * 40).contains(&older), "one block a volume: {older}");
}

/// A volume that was killed after so many short commits.
fn killed_after(commits: u8) -> Used {
    let Used { chip, content: mut expected, .. } = used(small(), 6, 10, true, &Mount::default());
    let mut volume = mount(chip);
    let mut before = expected.clone();
    for n in 0..commits {
        before.clone_from(&expected);
        let offset = usize::from(n) * 256;
        volume.write(offset as u64, &[n; 200]).unwrap();
        volume.sync().unwrap();
        expected[offset..][..200].fill(n);
    }
    Used { chip: volume.into_flash(), content: expected, before }
}

/// The pages of the newest log, in order.
fn newest_log(chip: &Chip) -> Vec<(PageAddr, Head)> {
    let mut pages = metadata_pages(chip);
    let newest = pages.iter().map(|(_, head)| head.epoch).max();
    pages.retain(|(_, head)| head.kind == Kind::Log && Some(head.epoch) == newest);
    pages.sort_by_key(|(_, head)| head.number);
    pages
}

/// After a commit that stands in both blocks, the first of them alone may have held one more.
#[test]
fn a_lost_block_that_cannot_have_held_more_is_no_reason_for_doubt() {
    let (mut in_doubt, mut seen) = (0, 0);
    for commits in 1..40 {
        let Used { chip, content: mut expected, .. } = killed_after(commits);
        let mut volume = mount(chip);
        // A recovery, then a commit of more pages than stand in one block alone.
        for n in 1..=commits {
            let len = if n == commits { 6 * 256 } else { 200 };
            volume.write(u64::from(n) * 256, &vec![n; len]).unwrap();
            volume.sync().unwrap();
            expected[usize::from(n) * 256..][..len].fill(n);
        }
        let chip = volume.into_flash();
        let log = newest_log(&chip);
        // A checkpoint may have come after it.
        let Some(last) = log.last().map(|(_, head)| head.number) else { continue };
        let places: Vec<PageAddr> =
            log.iter().filter(|(_, head)| head.number == last).map(|(at, _)| *at).collect();
        assert_eq!(places.len(), 2);
        let doubts = places.iter().filter(|at| {
            let mut chip = chip.clone();
            chip.latent_mut().add(LatentFault { block: at.block.0, on: Operation::Read, after: 0 });
            let volume = mount(chip);
            assert_same(&content(&volume), &expected, "nothing is lost");
            volume.is_older_state()
        });
        let doubts = doubts.count();
        assert!(doubts <= 1, "{commits} commits");
        (in_doubt, seen) = (in_doubt + doubts, seen + 1);
    }
    println!("{in_doubt} of {seen}");
    assert!(in_doubt > 0);
}

/// A page of a dead block that reads, and wrongly, is no torn page.
#[test]
fn a_page_of_a_lost_block_that_reads_wrong_is_lost() {
    let mut seen = 0;
    for commits in 1..40 {
        let Used { chip, .. } = killed_after(commits);
        let (last, head) = *newest_log(&chip).last().unwrap();
        let alone = head.flags & flags::SINGLE != 0;
        if !alone || programmed(&chip, last.block).len() < 2 {
            continue;
        }
        let mut chip = chip.clone();
        for at in programmed(&chip, last.block).into_iter().filter(|&at| at != last) {
            chip.set_unreadable(at);
        }
        flip(&mut chip, last, 400);
        assert!(mount(chip).is_older_state(), "{commits} commits");
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

/// Where no page names the pair after the last one, and that one is full, the log ends.
#[test]
fn a_log_that_ends_with_its_pair_and_names_no_other_mounts() {
    let mut seen = 0;
    for commits in 1..40 {
        let Used { mut chip, content: expected, .. } = killed_after(commits);
        let last = newest_log(&chip).last().unwrap().0;
        if last.page != 7 {
            continue;
        }
        let blocks: BTreeSet<Block> =
            newest_log(&chip).iter().rev().take(3).map(|(at, _)| at.block).collect();
        for (at, head) in metadata_pages(&chip).into_iter().filter(|(at, _)| blocks.contains(&at.block)) {
            let mut page = vec![0; 256];
            chip.read_pages(at, &mut page).unwrap();
            let mut payload = open(&page).unwrap().1.to_vec();
            payload[..8].fill(0xFF);
            chip.inner_mut().overwrite(at, &seal(&head, &payload, 256)).unwrap();
        }
        let volume = mount(chip);
        let found = content(&volume);
        assert!(found == expected, "{commits} commits: {:?}", volume.fallback());
        seen += 1;
    }
    assert!(seen > 1, "{seen}");
}

/// A session begins in the pair of blocks after the one that the last ended in: the log leads over the damaged one.
#[test]
fn any_block_may_become_unreadable_after_any_session() {
    for geometry in [small(), larger()] {
        let mut rng = SplitMix64::new(3);
        let mut expected = bytes(&mut rng, 3000);
        let mut volume = mount(formatted(geometry, &[]));
        volume.write(0, &expected).unwrap();
        volume.end().unwrap();
        for session in 1..=12 {
            let chip = volume.into_flash();
            let healthy = mount(chip.clone());
            for block in blocks(geometry) {
                let _replay = Replay(format!("{block} of {geometry:?} after session {session}"));
                let mut chip = chip.clone();
                // Its pages that were never programmed, too.
                chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Read, after: 0 });
                let lost = pages_in(&healthy, block);
                check_pages(&mount(chip), &expected, &lost, block);
            }
            volume = mount(chip);
            overwrite(&mut volume, &mut expected, &mut rng, 1 + session % 4).unwrap();
            volume.end().unwrap();
        }
    }
}

/// Pages of a block that hold something.
fn programmed(chip: &Chip, block: Block) -> Vec<PageAddr> {
    let geometry = *chip.geometry();
    let size = geometry.page_size() as usize;
    let data = chip.inner().data()[block.index() * geometry.block_size() as usize..].chunks(size);
    let pages = geometry.iter_pages(block).zip(data);
    pages.filter(|(_, data)| data.iter().any(|&byte| byte != 0xFF)).map(|(at, _)| at).collect()
}

/// Write whole pages; which.
fn blind_writes(volume: &mut Paged, expected: &mut [u8], rng: &mut SplitMix64, writes: u32) -> BTreeSet<u32> {
    let size = volume.layout().page_size as usize;
    let whole = expected.len() / size;
    let mut written = BTreeSet::new();
    for _ in 0..writes {
        let logical = rng.below(whole as u64);
        let data = bytes(rng, size as u64);
        volume.write(logical * size as u64, &data).unwrap();
        expected[logical as usize * size..][..size].copy_from_slice(&data);
        written.insert(logical as u32);
        if rng.below(3) == 0 {
            volume.sync().unwrap();
        }
    }
    volume.sync().unwrap();
    written
}

#[test]
fn any_block_may_fail_when_it_is_next_used() {
    // Not every block is used again so soon.
    for (geometry, end, most) in [(small(), true, 183), (small(), false, 183), (larger(), true, 160)] {
        let used = used(geometry, 3, 60, end, &Mount::default());
        let mut retired = 0;
        for block in blocks(geometry) {
            for (on, after) in [(Operation::Erase, 0), (Operation::Program, 0), (Operation::Program, 5)] {
                let _replay = Replay(format!("{block} of {geometry:?}, {on:?} after {after}, ended {end}"));
                let Used { mut chip, content: mut expected, .. } = used.clone();
                chip.latent_mut().add(LatentFault { block: block.0, on, after });
                let volume = mount(chip);
                let volume = write_on(volume, &mut expected, &mut SplitMix64::new(u64::from(block.0)));
                let is_bad = volume.block_use(block) == BlockUse::Bad;
                assert!(!is_bad || pages_in(&volume, block).is_empty(), "what lay in {block} has moved");
                retired += u32::from(is_bad);
            }
        }
        assert!(retired >= most, "{retired} of {} blocks failed, and are bad", 3 * geometry.blocks());
    }
}

/// What comes of a long run of writes on a chip one of whose blocks cannot be read any more, whatever is done to it.
#[derive(Debug, Default)]
struct DeadBlocks {
    blocks: u32,
    /// How often dead blocks were erased, and those that were found to be bad in the end.
    erases: u32,
    noticed: u32,
    /// Blocks with which acknowledged pages were lost that were written after they had died; how many pages.
    deadly: u32,
    lost: u32,
    /// Mounts of an older state, of none, and what else failed.
    older: u32,
    other: u32,
}

/// Write pages of a volume that is killed and ended in turns, and see after each which can be read.
fn write_beside_a_dead_block(chip: Chip, block: Block, expected: &[u8], seen: &mut DeadBlocks) {
    let mut rng = SplitMix64::new(u64::from(block.0));
    let mut chip = chip;
    let erases = chip.inner().erases()[block.index()];
    let mut expected = expected.to_vec();
    // Pages that were written since.
    let mut written = BTreeSet::new();
    let mut lost = BTreeSet::new();
    chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Read, after: 0 });
    for round in 0..12 {
        let mut volume = match PageVolume::mount(chip.clone(), &MIRROR) {
            Ok(volume) if volume.is_older_state() => return seen.older += 1,
            Ok(volume) => volume,
            Err(_) => return seen.other += 1,
        };
        let size = volume.layout().page_size as usize;
        for &logical in &written {
            let offset = logical as usize * size;
            let mut page = vec![0; size];
            let right = volume.read(offset as u64, &mut page).is_ok() && page == expected[offset..][..size];
            if !right {
                lost.insert(logical);
            }
        }
        written.extend(blind_writes(&mut volume, &mut expected, &mut rng, 100));
        if round % 3 == 0 {
            volume.end().unwrap();
        }
        if round == 11 {
            seen.noticed += u32::from(volume.block_use(block) == BlockUse::Bad);
        }
        chip = volume.into_flash();
    }
    seen.erases += chip.inner().erases()[block.index()] - erases;
    seen.deadly += u32::from(!lost.is_empty());
    seen.lost += lost.len() as u32;
}

#[test]
fn nothing_is_lost_to_a_block_that_stays_unreadable() {
    for geometry in [small(), larger()] {
        let used = used(geometry, 3, 60, true, &MIRROR);
        let mut seen = DeadBlocks::default();
        for block in blocks(geometry) {
            seen.blocks += 1;
            write_beside_a_dead_block(used.chip.clone(), block, &used.content, &mut seen);
        }
        assert_eq!((seen.deadly, seen.older, seen.other), (0, 0, 0), "{seen:?}");
        assert!(
            seen.noticed > 0 && seen.erases <= seen.noticed,
            "each is erased once, and bad then: {seen:?}"
        );
    }
}

/// An erase that was cut short may leave older anchors behind the first page, which was programmed since.
#[test]
fn older_anchors_behind_a_newer_one_are_not_the_newest() {
    let Used { mut chip, content: expected, .. } = used(small(), 3, 60, true, &Mount::default());
    let size = small().page_size() as usize;
    let (sequence, volume) = {
        let volume = PageVolume::mount(chip.clone(), &read_only()).unwrap();
        (volume.sequence(), volume.id())
    };
    let newest = metadata_pages(&chip).into_iter().filter(|(_, head)| head.number == sequence);
    let newest: Vec<_> = newest.filter(|(_, head)| head.kind == Kind::Anchor).collect();
    assert_eq!(newest.len(), 2);
    for (at, head) in newest {
        let first = (at.block.0 * small().block_size()) as usize;
        let page = chip.inner().data()[first + at.page as usize * size..][..size].to_vec();
        let payload = open(&page).unwrap().1;
        for (page, behind) in [0, 4, 3, 2, 1].into_iter().enumerate() {
            let number = sequence - behind;
            let address = at.block.0 * small().pages_per_block() + page as u32;
            let head = Head { volume, number, epoch: number as u32, address, ..head };
            chip.inner_mut().data_mut()[first + page * size..][..size]
                .copy_from_slice(&seal(&head, payload, size));
        }
        chip.inner_mut().data_mut()[first + 5 * size..][..3 * size].fill(0xFF);
    }
    let volume = mount(chip);
    assert_eq!((volume.sequence(), volume.is_older_state()), (sequence, false));
    assert_same(&content(&volume), &expected, "the newest state");
}

/// Blocks fail, one after the other, until no more are in reserve; then all can still be read.
#[test]
fn blocks_fail_until_the_reserve_is_used_up() {
    for seed in 0..30 {
        let geometry = if seed % 3 == 0 { larger() } else { small() };
        let _replay = Replay(format!("seed {seed} of {geometry:?}"));
        let mut rng = SplitMix64::new(seed);
        let Used { chip, content: mut expected, .. } = used(geometry, seed, 20, true, &Mount::default());
        let mut volume = mount(chip);
        let mut bad = 0;
        while volume.read_only().is_none() {
            assert!(bad < geometry.blocks() / 2, "so many blocks fail, and all goes on");
            let mut chip = volume.into_flash();
            let good: Vec<Block> =
                blocks(geometry).filter(|&b| b.0 >= 8 && !chip.is_bad(b).unwrap()).collect();
            let block = good[rng.below(good.len() as u64) as usize];
            match rng.below(3) {
                0 => chip.inner_mut().set_factory_bad(block),
                1 => chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Erase, after: 0 }),
                _ => chip.latent_mut().add(LatentFault {
                    block: block.0,
                    on: Operation::Program,
                    after: rng.below(7),
                }),
            }
            volume = mount(chip);
            assert_same(&content(&volume), &expected, "before anything is written");
            match overwrite(&mut volume, &mut expected, &mut rng, 200) {
                Ok(()) => {
                    if rng.below(2) == 0 {
                        match volume.end() {
                            Ok(()) => {}
                            Err(error) => assert!(matches!(error, Error::ReadOnly(_)), "{error}"),
                        }
                    }
                }
                Err(error) => {
                    assert!(matches!(error, Error::ReadOnly(_)), "{error}");
                    assert!(volume.read_only().is_some(), "{error}");
                }
            }
            volume.rollback();
            assert_same(&content(&volume), &expected, "after writing");
            bad = volume.bad_blocks().len() as u32;
            volume = mount(volume.into_flash());
        }
        assert!(bad > volume.layout().reserve_blocks, "{bad}: {:?}", volume.read_only());
        assert_same(&content(&volume), &expected, "when the reserve is used up");
        let error = volume.write(0, &[1]).unwrap_err();
        assert!(error.to_string().contains("reserved"), "{error}");
    }
}

/// Flip a bit. The chip does not notice: it takes the block for one that can be programmed on.
fn flip(chip: &mut Chip, at: PageAddr, bit: u32) {
    let geometry = *chip.geometry();
    let start = (at.block.0 * geometry.block_size() + at.page * geometry.page_size()) as usize;
    chip.inner_mut().data_mut()[start + bit as usize / 8] ^= 1 << (bit % 8);
}

/// Flip bits of `used`; `strict` where nothing may be lost.
fn flip_bits(used: &Used, pages: impl IntoIterator<Item = PageAddr>, step: u32, strict: bool) {
    let size = used.chip.geometry().page_size();
    let mut chip = used.chip.clone();
    let mut count = 0;
    for at in pages {
        // Other bytes in each block: every field of every kind of page is met somewhere.
        for byte in ((at.page + 5 * at.block.0) % step..size).step_by(step as usize) {
            let bit = byte * 8 + (byte / step + at.page + at.block.0) % 8;
            let _replay = Replay(format!("bit {bit} of {at}"));
            flip(&mut chip, at, bit);
            count += 1;
            let go_on = count % 97 == 0;
            if go_on {
                let mut volume = mount(chip.clone());
                let mut expected = used.content.clone();
                if look(&volume, used, strict) {
                    blind_writes(&mut volume, &mut expected, &mut SplitMix64::new(count), 20);
                    look(&volume, &Used { content: expected.clone(), ..used.clone() }, strict);
                    volume.end().unwrap();
                    let volume = mount(volume.into_flash());
                    look(&volume, &Used { content: expected, ..used.clone() }, strict);
                }
            } else {
                let volume = PageVolume::mount(&mut chip, &Mount::default()).expect("the volume mounts");
                look(&volume, used, strict);
            }
            flip(&mut chip, at, bit);
        }
    }
    println!("{count} bits");
    assert!(chip.inner().data() == used.chip.inner().data());
}

/// That every page is right, or says that it cannot be read; whether nothing is older than it was.
fn look<H: FlashHardware>(volume: &PageVolume<H>, used: &Used, strict: bool) -> bool {
    let mut found = vec![0; volume.len() as usize];
    if !strict && volume.fallback().is_some() && volume.read(0, &mut found).is_ok() && found == used.before {
        return false;
    }
    assert_eq!(volume.read_only(), None);
    let unreadable = unreadable_pages(volume, &used.content);
    for (&place, error) in &unreadable {
        assert!(matches!(error, Error::Unreadable { offset, .. } if *offset == place), "{error}");
    }
    assert!(unreadable.len() <= 1, "{unreadable:?}");
    true
}

fn metadata(chip: &Chip) -> Vec<PageAddr> {
    let pages = metadata_pages(chip);
    pages.into_iter().filter(|(_, head)| head.kind != Kind::Summary).map(|(at, _)| at).collect()
}

fn other_pages(chip: &Chip) -> Vec<PageAddr> {
    let metadata: BTreeSet<PageAddr> = metadata(chip).into_iter().collect();
    let geometry = *chip.geometry();
    let pages = geometry.iter_blocks().flat_map(|block| geometry.iter_pages(block));
    pages.filter(|at| !metadata.contains(at)).collect()
}

#[test]
fn any_bit_may_flip_after_a_clean_end() {
    let used = used(small(), 4, 64, true, &Mount::default());
    flip_bits(&used, metadata(&used.chip), 1, true);
    flip_bits(&used, other_pages(&used.chip), 37, true);
    let full = used_to(10, small(), 7, 64, true, &Mount::default());
    flip_bits(&full, metadata(&full.chip), 5, true);
    flip_bits(&full, other_pages(&full.chip), 61, true);
}

#[test]
fn any_bit_may_flip_after_a_kill() {
    for (options, strict) in [(MIRROR, true), (Mount::default(), false)] {
        let used = used(small(), 5, 64, false, &options);
        flip_bits(&used, metadata(&used.chip), 2, strict);
        flip_bits(&used, other_pages(&used.chip), 61, strict);
    }
}

/// Short commits stand in one block alone until the next one repeats them: of all but the last, any page may go.
#[test]
fn any_page_of_short_commits_may_go_but_the_last() {
    // The last commit stands in each place of a pair in turn, the first one among them.
    for commits in 32..=48 {
        let used = killed_after(commits);
        let mut older = 0;
        let pages = metadata_pages(&used.chip);
        let newest = pages.iter().map(|(_, head)| head.epoch).max();
        for (at, head) in pages {
            let _replay = Replay(format!("{commits} commits, {at}"));
            for how in [Gone::Unreadable, Gone::Garbage] {
                let mut chip = used.chip.clone();
                how.apply(&mut chip, at);
                if head.kind == Kind::Log && Some(head.epoch) == newest {
                    let checked = check(&chip, &mut |_, _| {}).unwrap();
                    let names_it = |f: &Finding| (f.block, f.page) == (Some(at.block.0), Some(at.page));
                    let told = |f: &Finding| names_it(f) || ["older-state", "fallback"].contains(&f.code);
                    assert!(checked.findings.iter().any(told), "{how:?}: {:?}", checked.findings);
                }
                let volume = mount(chip);
                older += u32::from(!look(&volume, &used, false));
            }
        }
        assert!(older <= 2, "only the last commit has one page alone: {older}");
    }
}

/// How an anchor goes.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Unreadable,
    Erased,
    Garbage,
}

impl Gone {
    const ALL: [Self; 3] = [Self::Unreadable, Self::Erased, Self::Garbage];

    fn apply(self, chip: &mut Chip, at: PageAddr) {
        let size = chip.geometry().page_size();
        match self {
            Self::Unreadable => chip.set_unreadable(at),
            Self::Erased => chip.inner_mut().overwrite(at, &vec![0xFF; size as usize]).unwrap(),
            Self::Garbage => {
                let garbage = bytes(&mut SplitMix64::new(7), size.into());
                chip.inner_mut().overwrite(at, &garbage).unwrap();
            }
        }
    }
}

/// That what mounts is the newest state, or says that it is not.
fn never_silently_old(chip: Chip, expected: &[u8]) -> &'static str {
    let volume = match PageVolume::mount(chip, &Mount::default()) {
        Ok(volume) => volume,
        Err(Error::Unmountable(reason)) => {
            assert!(!reason.is_empty());
            return "unmountable";
        }
        Err(error) => panic!("{error}"),
    };
    let mut found = vec![0; volume.len() as usize];
    let is_newest = volume.read(0, &mut found).is_ok() && found == expected;
    if is_newest && volume.read_only().is_none() {
        write_on(volume, &mut found, &mut SplitMix64::new(1));
        return "newest, written on";
    }
    if is_newest {
        return "newest";
    }
    assert!(
        volume.read_only().is_some() && volume.fallback().is_some(),
        "an older state, and nothing says so"
    );
    "older"
}

/// The pages of the newest `n` anchors; both blocks of the newest pair where `n` is none.
fn newest_anchors(chip: &Chip, n: Option<usize>) -> Vec<PageAddr> {
    let pages = metadata_pages(chip);
    let anchors: Vec<(PageAddr, u64)> =
        pages.iter().filter(|(_, h)| h.kind == Kind::Anchor).map(|(at, h)| (*at, h.number)).collect();
    let mut numbers: Vec<u64> = anchors.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable_by_key(|&number| std::cmp::Reverse(number));
    numbers.dedup();
    let newest: BTreeSet<Block> =
        anchors.iter().filter(|(_, n)| *n == numbers[0]).map(|(at, _)| at.block).collect();
    let goes = |(at, number): &(PageAddr, u64)| match n {
        Some(n) => numbers.iter().take(n).any(|other| other == number),
        None => newest.contains(&at.block),
    };
    anchors.into_iter().filter(goes).map(|(at, _)| at).collect()
}

#[test]
fn no_older_state_is_taken_for_the_newest_when_anchors_are_gone() {
    let mut outcomes = BTreeMap::new();
    for seed in 0..60 {
        let end = seed % 2 == 0;
        let options = if seed % 3 == 0 { MIRROR } else { Mount::default() };
        let used = used(small(), 100 + seed, 5 + seed as u32 * 4, end, &options);
        for n in [Some(1), Some(2), Some(3), None, Some(usize::MAX)] {
            for gone in Gone::ALL {
                let _replay = Replay(format!("seed {seed}, {n:?} anchors {gone:?}"));
                let mut chip = used.chip.clone();
                for at in newest_anchors(&chip, n) {
                    gone.apply(&mut chip, at);
                }
                let outcome = never_silently_old(chip, &used.content);
                *outcomes.entry((n.is_none(), outcome)).or_insert(0) += 1;
            }
        }
        // One copy of the newest is as good as both.
        for at in newest_anchors(&used.chip, Some(1)) {
            for gone in Gone::ALL {
                let _replay = Replay(format!("seed {seed}, anchor at {at} {gone:?}"));
                let mut chip = used.chip.clone();
                gone.apply(&mut chip, at);
                let mut volume = mount(chip);
                let mut expected = used.content.clone();
                assert_same(&content(&volume), &expected, "by the other copy");
                overwrite(&mut volume, &mut expected, &mut SplitMix64::new(seed), 20).unwrap();
                volume.end().unwrap();
                assert_same(&content(&mount(volume.into_flash())), &expected, "written by the other copy");
            }
        }
    }
    println!("{outcomes:?}");
}

#[test]
fn the_same_operations_give_the_same_bytes() {
    for geometry in [small(), larger()] {
        let options = Mount { cached_map_pages: 2, ..Mount::default() };
        let [a, b] = [&Mount::default(), &options].map(|options| used(geometry, 9, 200, true, options).chip);
        assert!(a.inner().data() == b.inner().data(), "the cache makes no difference");
        let again = used(geometry, 9, 200, true, &options).chip;
        assert!(again.inner().data() == b.inner().data());
        let plain = formatted(geometry, &[]);
        assert!(plain.inner().data() == formatted(geometry, &[]).inner().data());
    }
}

/// A chip that held blocks of another size is erased whole; a block that fails at that is bad from then on.
#[test]
fn a_fresh_volume_is_laid_around_blocks_that_cannot_be_erased() {
    for block in [0, 1, 5, 20, 47] {
        let mut chip = Faulty::new(SimFlash::new(geometry(256, 8, 48)));
        chip.latent_mut().add(LatentFault { block, on: Operation::Erase, after: 0 });
        let options = FormatOptions { afresh: true, ..FormatOptions::default() };
        FormatPlan::new(&chip, &options).unwrap().execute(&mut chip).unwrap();
        let mut volume = mount(chip);
        assert_eq!(volume.bad_blocks(), [Block(block)]);
        let mut expected = vec![0; 3000];
        volume.write(0, &expected).unwrap();
        overwrite(&mut volume, &mut expected, &mut SplitMix64::new(1), 50).unwrap();
        assert_same(&content(&volume), &expected, "it can be written");
    }
}

/// What is left in a block of the anchor zone that has failed is not taken for an anchor that was cut short: anchors go on where
/// they are, and nothing is said of it.
#[test]
fn a_bad_block_of_the_anchor_zone_is_no_reason_for_doubt() {
    let mut chip = formatted(geometry(512, 16, 64), &[]);
    for block in [2, 3].map(Block) {
        chip.inner_mut().overwrite(PageAddr { block, page: 0 }, &[0; 512]).unwrap();
        chip.inner_mut().set_factory_bad(block);
    }
    let mut volume = mount(chip);
    let before = volume.erase_counts().to_vec();
    for session in 0..10 {
        assert_eq!(volume.fallback(), None);
        for n in 0..20 {
            volume.write(n * 512, &[session; 512]).unwrap();
            volume.sync().unwrap();
        }
        volume.end().unwrap();
        volume = mount(volume.into_flash());
    }
    let after = volume.erase_counts();
    assert!((0..2).all(|block| after[block] <= before[block] + 1), "{before:?}, {after:?}");
}
