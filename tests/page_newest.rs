//! A volume of which nothing is lost is not taken for an older state, whatever cut after cut has left in its free blocks.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use std::cell::Cell;

use nandimg::flash::faults::{Cut, Faulty, LatentFault, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{Mount, PageVolume};
use nandimg::onflash::paged::head::{Head, Kind};
use nandimg::prng::SplitMix64;
use nandimg::{Error, Result};

use paged::{Chip, Replay, bytes, check_counts, deep_or, formatted, geometry, metadata_pages, mount};

/// Writes of up to five pages, each acknowledged.
fn write_some(volume: &mut PageVolume<&mut Chip>, rng: &mut SplitMix64, end: bool) -> Result<()> {
    for _ in 0..40 {
        let at = rng.below(volume.capacity() / 2 - 4096);
        let len = 1 + rng.below(2500);
        volume.write(at, &bytes(rng, len))?;
        volume.sync()?;
    }
    if end { volume.end() } else { Ok(()) }
}

/// That the next session to write knows of every erase.
fn assert_counted(chip: &Chip) {
    let mut volume = mount(chip.clone());
    volume.write(0, &[1]).unwrap();
    volume.sync().unwrap();
    check_counts(&volume);
}

#[test]
fn cut_upon_cut_leaves_the_newest_state() {
    let mut cuts = 0;
    for seed in 0..deep_or(400, 100) {
        let mut rng = SplitMix64::new(seed);
        let mut chip = formatted(geometry(512, 4 + 4 * (seed as u32 % 2), 64), &[]);
        for round in 0..60 {
            let _replay = Replay(format!("seed {seed}, round {round}"));
            let n = 1 + rng.below(60);
            let cut = [Cut::Unreadable, Cut::Unreadable, Cut::Garbage][rng.below(3) as usize];
            chip.cut_power_after(n, cut);
            let end = rng.below(8) == 0;
            let mut volume = PageVolume::mount(&mut chip, &Mount::default()).expect("it mounts");
            assert!(!volume.is_older_state(), "{:?}", volume.fallback());
            assert_eq!(volume.read_only(), None);
            let _ = write_some(&mut volume, &mut rng, end);
            cuts += u32::from(chip.is_off());
            chip.restore_power();
        }
    }
    assert!(cuts > 1000, "{cuts}");
}

/// A chip that counts the erases that no sync has followed yet, and on which not every sync is done.
struct Unsynced {
    chip: Faulty<SimFlash>,
    erased: u32,
    most: Cell<u32>,
    /// Syncs that are done before one fails.
    syncs: u32,
}

impl Unsynced {
    fn new(chip: Faulty<SimFlash>, syncs: u32) -> Self {
        Self { chip, erased: 0, most: Cell::new(0), syncs }
    }
}

impl FlashHardware for Unsynced {
    fn geometry(&self) -> &Geometry {
        self.chip.geometry()
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> std::result::Result<(), FlashError> {
        self.chip.read(block, offset, buf)
    }
    fn program(&mut self, page: PageAddr, data: &[u8]) -> std::result::Result<(), FlashError> {
        self.chip.program(page, data)
    }
    fn erase(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        self.erased += 1;
        self.most.set(self.most.get().max(self.erased));
        self.chip.erase(block)
    }
    fn is_bad(&self, block: Block) -> std::result::Result<bool, FlashError> {
        self.chip.is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        self.chip.mark_bad(block)
    }
    fn carries_marks(&self) -> bool {
        self.chip.carries_marks()
    }
    fn sync(&mut self) -> std::result::Result<(), FlashError> {
        let left = self.syncs.checked_sub(1);
        self.syncs = left.unwrap_or(u32::MAX);
        left.ok_or_else(|| FlashError::Io("it is not synced".to_string()))?;
        self.erased = 0;
        self.chip.sync()
    }
    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.chip.raw_offset(page)
    }
}

/// A session of which the first pages are gone, on both sides, is not unseen where the clean end before it is not whole either.
#[test]
fn a_session_shows_by_any_page_of_its_log() {
    let mut volume = mount(formatted(geometry(256, 8, 64), &[]));
    volume.write(0, &[1; 5000]).unwrap();
    volume.end().unwrap();
    let before = metadata_pages(volume.flash());
    let mut volume = mount(volume.into_flash());
    volume.write(4000, &[2; 300]).unwrap();
    volume.end().unwrap();
    let chip = volume.into_flash();
    let log = |pages: &[(PageAddr, Head)]| -> Vec<(u64, PageAddr)> {
        let log = pages.iter().filter(|(_, head)| head.kind == Kind::Log);
        log.map(|&(at, head)| (head.number, at)).collect()
    };
    let last = log(&before).into_iter().map(|(number, _)| number).max().unwrap();
    let of = |number: u64| {
        log(&metadata_pages(&chip)).into_iter().filter(move |&(n, _)| n == number).map(|(_, at)| at)
    };
    let (end, first): (Vec<_>, Vec<_>) = (of(last).collect(), of(last + 1).collect());
    assert_eq!((end.len(), first.len(), first[0].page), (2, 2, 0));
    for copies in [&end[..0], &end[..1], &end[1..], &end[..]] {
        let mut chip = chip.clone();
        for &at in first.iter().chain(copies) {
            chip.inner_mut().overwrite(at, &[0xA5; 256]).unwrap();
        }
        let volume = PageVolume::mount(&mut chip, &Mount::default()).unwrap();
        assert!(volume.is_older_state() && volume.read_only().is_some(), "{copies:?}");
    }
}

/// All but the first page of a session is gone, on both sides: a cut tears one page, and leaves what is behind it erased.
#[test]
fn a_session_of_which_only_the_first_page_is_left_shows() {
    let mut volume = mount(formatted(geometry(256, 8, 64), &[]));
    volume.write(0, &[1; 5000]).unwrap();
    volume.end().unwrap();
    let mut volume = mount(volume.into_flash());
    let before = volume.flash().clone();
    volume.write(0, &[2; 300]).unwrap();
    volume.end().unwrap();
    let chip = volume.into_flash();
    let is_new = |&&(at, head): &&(PageAddr, Head)| {
        head.kind == Kind::Log
            && metadata_pages(&before).iter().all(|&(other, h)| (other, h.number) != (at, head.number))
    };
    let pages = metadata_pages(&chip);
    let session: Vec<PageAddr> = pages.iter().filter(is_new).map(|&(at, _)| at).collect();
    let last = session.iter().map(|at| at.page).max().unwrap();
    assert!(last >= 2 && session.iter().filter(|at| at.page == 0).count() == 2);
    for (from, to, is_older) in [(1, last, true), (1, 7, true), (last, last, false)] {
        let mut chip = chip.clone();
        for at in session.iter().filter(|at| at.page == 0) {
            for page in from..=to {
                chip.inner_mut().overwrite(PageAddr { page, ..*at }, &[0xA5; 256]).unwrap();
            }
        }
        let volume = PageVolume::mount(&mut chip, &Mount::default()).unwrap();
        assert_eq!(volume.is_older_state(), is_older, "pages {from} to {to}");
    }
}

/// A host that crashes may leave every erase half done that was not synced: of the two blocks that say whether a session has
/// begun, one at most.
#[test]
fn a_session_begins_with_one_erase_at_a_time() {
    let mut volume = mount(formatted(geometry(512, 16, 64), &[]));
    for session in 0..10 {
        volume.write(0, &[session; 20 * 512]).unwrap();
        volume.end().unwrap();
        volume = mount(volume.into_flash());
    }
    let chip = Unsynced::new(volume.into_flash(), u32::MAX);
    let mut volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    assert!(volume.ended_well());
    volume.write(0, &[1]).unwrap();
    volume.sync().unwrap();
    assert_eq!(volume.flash().most.get(), 1);
}

/// Whether what was written last took effect is not known then: what is written after it may go to the same pages.
#[test]
fn where_it_is_not_known_what_is_on_flash_nothing_more_is_written() {
    let mut volume = mount(formatted(geometry(512, 16, 64), &[]));
    volume.write(0, &[1; 512]).unwrap();
    let chip = volume.close().unwrap();
    let mut lost_track = 0;
    for syncs in 0..8 {
        let mut volume = PageVolume::mount(Unsynced::new(chip.clone(), syncs), &Mount::default()).unwrap();
        if volume.write(0, &[2; 512]).and_then(|()| volume.sync()).is_ok() || volume.read_only().is_none() {
            continue;
        }
        let before = volume.flash().chip.operations();
        // A session that has not begun has nothing to end.
        lost_track += u32::from(matches!(volume.end(), Err(Error::ReadOnly(_))));
        assert_eq!(volume.flash().chip.operations(), before, "after {syncs} syncs");
    }
    assert!(lost_track > 0, "{lost_track}");
}

/// Cut after cut right after an erase of a block of the anchor zone, which nothing but the checkpoint that it was meant for tells of.
#[test]
fn recoveries_that_are_cut_in_the_anchor_zone_are_counted() {
    for blocks in [40, 64] {
        let mut chip = formatted(geometry(512, 16, blocks), &[]);
        for round in 0..40 {
            let cut = after_each_erase(&chip, 4).into_iter().next();
            // At first there is a clean end, and the anchor is not moved.
            chip = cut.unwrap_or_else(|| {
                assert_eq!(round, 0);
                chip.cut_power_after(12, Cut::Garbage);
                short_session(&mut chip).expect_err("the power goes");
                chip.restore_power();
                chip.clone()
            });
            assert_counted(&chip);
        }
    }
}

/// Every two recoveries in a row that are cut short right after an erase, where a checkpoint takes several pairs.
#[test]
fn two_recoveries_are_counted_however_many_blocks_they_take() {
    for (geometry, sessions) in [
        (geometry(256, 8, 512), 0),
        (geometry(512, 8, 256), 0),
        (geometry(256, 8, 512), 2),
        (geometry(512, 16, 64), 1),
    ] {
        let mut chip = filled(geometry, sessions);
        chip.cut_power_after(12, Cut::NotDone);
        short_session(&mut chip).expect_err("the power goes");
        chip.restore_power();
        for chip in after_each_erase(&chip, usize::MAX) {
            let seconds = after_each_erase(&chip, usize::MAX);
            assert!(!seconds.is_empty());
            seconds.iter().for_each(assert_counted);
        }
    }
}

/// What a session that is cut short leaves, right after each of its erases of one of the first `blocks`.
fn after_each_erase(chip: &Chip, blocks: usize) -> Vec<Chip> {
    let mut found = Vec::new();
    let count = |chip: &Chip| chip.inner().erases().iter().take(blocks).sum::<u32>();
    let mut erases = count(chip);
    for n in 1.. {
        let mut chip = chip.clone();
        chip.cut_power_after(n, Cut::NotDone);
        let _ = short_session(&mut chip);
        let is_over = !chip.is_off();
        chip.restore_power();
        let now = count(&chip);
        if is_over {
            break;
        }
        if now > erases {
            erases = now;
            found.push(chip);
        }
    }
    found
}

/// Blocks of the anchor zone fail, and the power goes again and again.
#[test]
fn an_anchor_is_left_whatever_fails_in_its_zone() {
    let (mut cuts, mut read_only) = (0, 0);
    // This one has made a difference.
    for seed in (0..deep_or(8000, 200)).chain([151]) {
        let mut rng = SplitMix64::new(seed);
        let (page, pages, blocks) = [(512, 16, 64), (256, 8, 64), (512, 16, 40)][rng.below(3) as usize];
        let mut chip = filled(geometry(page, pages, blocks), rng.below(4));
        for round in 0..12 {
            let _replay = Replay(format!("seed {seed}, round {round}"));
            let whole = {
                let mut chip = chip.clone();
                let before = chip.operations();
                let _ = short_session(&mut chip);
                chip.operations() - before
            };
            let cut = match rng.below(6) {
                0 => Cut::Garbage,
                1 => Cut::Unreadable,
                2 => Cut::Done,
                _ => Cut::NotDone,
            };
            // Mostly where the zone is written.
            let late = whole * 3 / 4 - rng.below(whole / 2 + 1) / 2;
            let n = if rng.below(4) > 0 { late } else { rng.below(whole + 1) };
            if seed % 4 == 3 && rng.below(8) == 0 {
                let block = rng.below(4) as u32;
                let on = if rng.below(2) == 0 { Operation::Erase } else { Operation::Program };
                chip.latent_mut().add(LatentFault { block, on, after: 0 });
            }
            chip.cut_power_after(n, cut);
            let _ = short_session(&mut chip);
            cuts += u32::from(chip.is_off());
            chip.restore_power();
            let volume = mount(chip.clone());
            read_only += u32::from(volume.read_only().is_some());
            assert!(!volume.is_older_state(), "{:?}", volume.fallback());
        }
    }
    assert!(cuts > 1000, "{cuts}");
    println!("{cuts} cuts, {read_only} volumes that became read-only");
}

/// A volume after so many sessions that ended well.
fn filled(geometry: Geometry, sessions: u64) -> Chip {
    let mut chip = formatted(geometry, &[]);
    for session in 0..sessions {
        let mut volume = mount(chip);
        let len = (volume.capacity() / 3).min(60_000);
        volume.write(session * 512, &vec![session as u8; len as usize]).unwrap();
        volume.end().unwrap();
        chip = volume.into_flash();
    }
    chip
}

fn short_session(chip: &mut Chip) -> Result<()> {
    let mut volume = PageVolume::mount(chip, &Mount::default())?;
    volume.write(0, &[7; 700])?;
    volume.sync()
}
