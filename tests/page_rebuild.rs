//! Volumes that were cut short, recovered and written on: for as long as blocks are left they take more, and what a rebuild gives
//! back of them is the newest that was committed, and nothing that never was.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use std::collections::BTreeSet;

use nandimg::check::page::check;
use nandimg::check::{Checked, Severity};
use nandimg::flash::faults::{Cut, LatentFault};
use nandimg::flash::{Block, FlashHardware, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{Lpn, Mount, PageVolume, Ppn};
use nandimg::onflash::paged::head::Kind;
use nandimg::onflash::paged::map::MapEntry;
use nandimg::prng::SplitMix64;
use nandimg::{Error, Result};

use paged::{
    Chip, Replay, bytes, content, deep_or, formatted, geometry, metadata_pages, repair, spoil, what_is_left,
};

const PAGE: usize = 256;

/// What was committed.
struct Known {
    newest: Vec<u8>,
    /// The CRC-32 of each version that each page ever had.
    versions: Vec<BTreeSet<u32>>,
    /// Many pages hold the same.
    repeats: bool,
}

impl Known {
    fn new(content: Vec<u8>) -> Self {
        let versions = vec![BTreeSet::new(); content.len() / PAGE];
        let mut known = Self { versions, newest: Vec::new(), repeats: false };
        known.note(content);
        known
    }

    fn page(&self, rng: &mut SplitMix64) -> Vec<u8> {
        if self.repeats { vec![rng.below(3) as u8; PAGE] } else { bytes(rng, PAGE as u64) }
    }

    fn note(&mut self, content: Vec<u8>) {
        for (versions, page) in self.versions.iter_mut().zip(content.chunks(PAGE)) {
            versions.insert(crc32fast::hash(page));
        }
        self.newest = content;
    }
}

/// Transactions that write each page once at most.
fn write_some(
    volume: &mut PageVolume<&mut Chip>,
    known: &mut Known,
    rng: &mut SplitMix64,
    transactions: u64,
) -> Result<()> {
    let pages = known.versions.len() as u64;
    for _ in 0..transactions {
        let mut content = known.newest.clone();
        let first = rng.below(pages);
        let count = if rng.below(12) == 0 { 1 + rng.below(60) } else { 1 + rng.below(3) };
        for logical in first..(first + count).min(pages) {
            let data = known.page(rng);
            let offset = logical as usize * PAGE;
            volume.write(offset as u64, &data)?;
            content[offset..][..PAGE].copy_from_slice(&data);
        }
        volume.sync()?;
        known.note(content);
    }
    Ok(())
}

/// A volume that was cut short up to four times, and then written to.
fn cut_and_written_on(rng: &mut SplitMix64) -> (Chip, Known) {
    let shape = [(8, 48), (16, 64), (8, 96), (4, 64)][rng.below(4) as usize];
    let percent = [20, 50, 90][rng.below(3) as usize];
    written_after_cuts(rng, shape, percent)
}

/// The same, of so many pages a block and blocks, that holds so much of what it can.
fn written_after_cuts(rng: &mut SplitMix64, shape: (u32, u32), percent: u64) -> (Chip, Known) {
    let (mut chip, mut known) = filled(rng, shape, percent);
    for _ in 0..rng.below(5) {
        cut_short(&mut chip, &mut known, rng);
    }
    let transactions = [3, 10, 40][rng.below(3) as usize];
    session(&mut chip, &mut known, rng, transactions).unwrap();
    // A long transaction may have been committed in parts.
    known.note(content(&paged::mount(chip.clone())));
    (chip, known)
}

/// A session in which the power goes, if it is long enough.
fn cut_short(chip: &mut Chip, known: &mut Known, rng: &mut SplitMix64) {
    let (most, transactions) = [(80, 20), (1500, 200)][rng.below(2) as usize];
    chip.cut_power_after(rng.below(most), Cut::ALL[rng.below(Cut::ALL.len() as u64) as usize]);
    let done = session(chip, known, rng, transactions);
    assert!(done.is_ok() || chip.is_off(), "{done:?}");
    chip.restore_power();
    // What is there now counts.
    known.note(content(&paged::mount(chip.clone())));
}

/// A new volume of so many pages a block and blocks, that holds so much of what it can.
fn filled(rng: &mut SplitMix64, (pages, blocks): (u32, u32), percent: u64) -> (Chip, Known) {
    let mut volume = paged::mount(formatted(geometry(PAGE as u32, pages, blocks), &[]));
    let pages = volume.capacity() / PAGE as u64 * percent / 100;
    let content = bytes(rng, pages * PAGE as u64);
    for (part, n) in content.chunks(20 * PAGE).zip(0..) {
        volume.write(n * 20 * PAGE as u64, part).unwrap();
        volume.sync().unwrap();
    }
    volume.end().unwrap();
    (volume.into_flash(), Known::new(content))
}

fn session(chip: &mut Chip, known: &mut Known, rng: &mut SplitMix64, transactions: u64) -> Result<()> {
    let options = Mount { mirror_every_commit: rng.below(2) == 0, ..Mount::default() };
    let mut volume = PageVolume::mount(chip, &options)?;
    write_some(&mut volume, known, rng, transactions)?;
    match rng.below(3) {
        0 => volume.end(),
        // Not acknowledged.
        1 => volume.write(0, &bytes(rng, 40.min(known.versions.len() as u64) * PAGE as u64)),
        _ => Ok(()),
    }
}

/// Pages of those kinds cannot be read.
fn lose(chip: &mut Chip, is_lost: impl Fn(Kind) -> bool) {
    let pages = metadata_pages(chip).into_iter().filter(|(_, head)| is_lost(head.kind));
    spoil(chip, &pages.map(|(at, _)| at).collect::<Vec<_>>());
}

/// Offsets of what is said to be wrong.
fn told(repaired: &Checked) -> BTreeSet<usize> {
    let errors = repaired.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.filter_map(|finding| finding.logical_offset).map(|offset| offset as usize).collect()
}

#[test]
fn nothing_is_invented_and_nothing_older_is_taken_for_the_newest() {
    let mut whole = 0;
    let volumes = deep_or(10_000, 400);
    for seed in (0..volumes).chain([782, 819, 1122, 1523, 1840]) {
        let _volume = Replay(format!("seed {seed}"));
        let (chip, known) = cut_and_written_on(&mut SplitMix64::new(seed));
        for lost in ["anchors", "tables", "map", "all but the log", "all"] {
            let _replay = Replay(format!("without {lost}"));
            let mut chip = chip.clone();
            lose(&mut chip, |kind| match lost {
                "anchors" => kind == Kind::Anchor,
                "tables" => kind == Kind::Table,
                "map" => kind == Kind::Map,
                "all but the log" => !matches!(kind, Kind::Log | Kind::Summary),
                _ => kind != Kind::Summary,
            });
            let repaired = repair(&mut chip).unwrap();
            let doubt = ["rebuilt-without-log", "rebuilt-in-doubt"];
            let in_doubt = repaired.findings.iter().any(|finding| doubt.contains(&finding.code));
            let told = told(&repaired);
            let Ok(volume) = PageVolume::mount(chip, &Mount::default()) else {
                assert!(!repaired.is_clean());
                continue;
            };
            let left = what_is_left(&volume);
            assert!(left.len() == known.versions.len() || lost == "all", "{} pages are left", left.len());
            for (logical, page) in left.iter().enumerate() {
                let offset = logical * PAGE;
                let Some(page) = page else {
                    assert!(told.contains(&offset), "page {logical} is lost, and nothing says so");
                    continue;
                };
                let is_newest = page == &known.newest[offset..][..PAGE];
                assert!(
                    known.versions[logical].contains(&crc32fast::hash(page)),
                    "page {logical} holds what was never committed"
                );
                assert!(is_newest || in_doubt || told.contains(&offset), "page {logical} is an older one");
                assert!(!is_newest || in_doubt || !told.contains(&offset), "page {logical} is no older one");
            }
            whole += u32::from(repaired.is_clean());
        }
    }
    println!("{whole} repairs without a loss");
    assert!(u64::from(whole) > volumes, "{whole}");
}

/// The blocks of a long transaction that was cut short are erased one by one before the next commit, which takes a page of the log
/// for each, and a block has few.
#[test]
fn a_full_volume_on_small_blocks_is_written_to_whatever_was_cut_short() {
    for seed in (0..deep_or(20_000, 1_000)).chain([3204, 4683, 12_586, 24_094]) {
        let _replay = Replay(format!("seed {seed}"));
        let mut rng = SplitMix64::new(seed);
        let blocks = [48, 64, 96][seed as usize % 3];
        let percent = [90, 100][rng.below(2) as usize];
        written_after_cuts(&mut rng, (4, blocks), percent);
    }
}

/// The next session recovers; until then there is nothing to repair.
#[test]
fn what_a_cut_leaves_is_no_damage() {
    let mut torn = 0;
    for seed in 0..deep_or(4_000, 300) {
        let mut rng = SplitMix64::new(seed);
        let shape = [(8, 48), (16, 64), (8, 96), (4, 64), (64, 48)][rng.below(5) as usize];
        let percent = [20, 50, 90, 100][rng.below(4) as usize];
        let (mut chip, mut known) = filled(&mut rng, shape, percent);
        for round in 0..4 {
            let _replay = Replay(format!("seed {seed}, cut {round}"));
            cut_short(&mut chip, &mut known, &mut rng);
            let checked = check(&chip, &mut |_, _| {}).unwrap();
            for finding in checked.findings {
                let cuts = ["not-ended", "fallback", "anchor-damaged"];
                assert!(finding.severity < Severity::Error && cuts.contains(&finding.code), "{finding:?}");
                torn += u32::from(finding.code != "not-ended");
            }
        }
    }
    assert!(torn > 10, "{torn}");
}

/// Content says nothing of where a page is: the same may be an older version, or another page.
#[test]
fn a_rebuild_takes_each_page_from_where_it_is_whatever_holds_the_same() {
    for seed in 0..deep_or(4_000, 200) {
        let _replay = Replay(format!("seed {seed}"));
        let mut rng = SplitMix64::new(seed);
        let (mut chip, mut known) = filled(&mut rng, [(8, 48), (16, 64), (8, 96)][seed as usize % 3], 50);
        known.repeats = true;
        for _ in 0..4 {
            cut_short(&mut chip, &mut known, &mut rng);
        }
        let expected = content(&paged::mount(chip.clone()));
        lose(&mut chip, |kind| kind == Kind::Anchor);
        let repaired = repair(&mut chip).unwrap();
        assert!(repaired.is_clean(), "{:?}", repaired.findings);
        let left = check(&chip, &mut |_, _| {}).unwrap().findings;
        assert!(left.is_empty(), "{left:?}");
        assert!(content(&paged::mount(chip)) == expected);
    }
}

/// What a block does next that fails.
fn make_one_fail(chip: &mut Chip, rng: &mut SplitMix64) {
    let good: Vec<Block> =
        chip.geometry().iter_blocks().filter(|&block| block.0 >= 8 && !chip.is_bad(block).unwrap()).collect();
    let block = good[rng.below(good.len() as u64) as usize];
    let fault = match rng.below(3) {
        0 => return chip.inner_mut().set_factory_bad(block),
        1 => LatentFault { block: block.0, on: Operation::Erase, after: 0 },
        _ => LatentFault { block: block.0, on: Operation::Program, after: rng.below(7) },
    };
    chip.latent_mut().add(fault);
}

/// Write on while blocks fail and the power goes; until the volume says that more are bad than were reserved for that.
fn written_while_blocks_fail(rng: &mut SplitMix64) {
    let shape = [(4, 64), (8, 64), (16, 64), (8, 260), (5, 96), (64, 64)][rng.below(6) as usize];
    let percent = [90, 100][rng.below(2) as usize];
    let (mut chip, mut known) = filled(rng, shape, percent);
    let reserve_is_gone = |volume: &PageVolume<Chip>, failing: u32, why: &str| {
        let bad = volume.bad_blocks().len() as u32;
        assert!(bad + failing > volume.layout().reserve_blocks, "{bad} are bad, and {why}");
    };
    for _ in 0..40 {
        let volume = paged::mount(chip.clone());
        if let Some(why) = volume.read_only() {
            return reserve_is_gone(&volume, 0, why);
        }
        if rng.below(2) == 0 {
            make_one_fail(&mut chip, rng);
        }
        if rng.below(2) == 0 {
            let most = [80, 1500][rng.below(2) as usize];
            chip.cut_power_after(rng.below(most), Cut::ALL[rng.below(Cut::ALL.len() as u64) as usize]);
        }
        let transactions = [3, 20, 100][rng.below(3) as usize];
        let done = session(&mut chip, &mut known, rng, transactions);
        let was_cut = chip.is_off();
        chip.restore_power();
        let volume = paged::mount(chip.clone());
        match done {
            _ if was_cut => {}
            // One more has failed, with no room left to empty it.
            Err(Error::ReadOnly(why)) => return reserve_is_gone(&volume, 1, &why),
            done => assert!(done.is_ok(), "{shape:?} pages and blocks: {done:?}"),
        }
        known.note(content(&volume));
    }
}

/// A checkpoint takes what was reserved for it, however scattered the changes are, and though reserving it wears blocks.
#[test]
fn a_full_volume_whose_blocks_fail_is_written_to_until_the_reserve_is_gone() {
    for seed in (0..deep_or(6_000, 50)).chain([302, 805, 974, 1620, 2560, 2603, 2613, 2990, 1025, 9140, 9321])
    {
        let _replay = Replay(format!("seed {seed}"));
        written_while_blocks_fail(&mut SplitMix64::new(seed));
    }
}

/// Checkpoints that were cut short lie about beside the one that counts, of the same epoch and of other lengths.
#[test]
fn what_cut_recoveries_leave_is_not_taken_for_the_checkpoint() {
    for seed in 0..deep_or(2_000, 200) {
        let _replay = Replay(format!("seed {seed}"));
        let mut rng = SplitMix64::new(seed);
        let shape = [(8, 64), (16, 64), (64, 48)][seed as usize % 3];
        let (mut chip, mut known) = filled(&mut rng, shape, 40);
        chip.cut_power_after(20 + rng.below(400), Cut::Done);
        let _ = session(&mut chip, &mut known, &mut rng, 200);
        chip.restore_power();
        for _ in 0..rng.below(6) {
            chip.cut_power_after(4 + rng.below(40), Cut::Done);
            let _ = PageVolume::mount(&mut chip, &Mount::default()).unwrap().write(0, &[1]);
            chip.restore_power();
        }
        let mut volume = paged::mount(chip);
        volume.write(0, &bytes(&mut rng, 2 * PAGE as u64)).unwrap();
        volume.end().unwrap();
        let newest = content(&volume);
        let mut chip = volume.into_flash();
        lose(&mut chip, |kind| kind == Kind::Anchor);
        let repaired = repair(&mut chip).unwrap();
        assert!(told(&repaired).is_empty() && repaired.is_clean(), "{:?}", repaired.findings);
        assert!(content(&paged::mount(chip)) == newest);
    }
}

/// What a session that is cut short wrote stands in closed blocks, which the chain may be about to go on in.
#[test]
fn what_was_never_committed_does_not_come_back_after_a_recovery() {
    for seed in 0..300 {
        let mut rng = SplitMix64::new(seed);
        let pages = [4, 8, 16][seed as usize % 3];
        let mut volume = paged::mount(formatted(geometry(PAGE as u32, pages, 96), &[]));
        let mut known = bytes(&mut rng, 80 * PAGE as u64);
        volume.write(0, &known).unwrap();
        volume.sync().unwrap();
        if rng.below(2) == 0 {
            volume.end().unwrap();
        }
        let mut volume = paged::mount(volume.into_flash());
        let never_committed = bytes(&mut rng, (20 + seed % 60) * PAGE as u64);
        volume.write(0, &never_committed).unwrap();
        let mut volume = paged::mount(volume.into_flash());
        if content(&volume) != known {
            // It was committed in parts.
            continue;
        }
        for n in 0..=rng.below(40) {
            let offset = (70 + n % 10) * PAGE as u64;
            let data = bytes(&mut rng, PAGE as u64);
            volume.write(offset, &data).unwrap();
            volume.sync().unwrap();
            known[offset as usize..][..PAGE].copy_from_slice(&data);
        }
        let chip = volume.into_flash();
        for lost in [Kind::Anchor, Kind::Map] {
            let _replay = Replay(format!("seed {seed}, without {lost:?}"));
            let mut chip = chip.clone();
            lose(&mut chip, |kind| kind == lost);
            let repaired = repair(&mut chip).unwrap();
            assert!(content(&paged::mount(chip)) == known);
            assert!(repaired.is_clean(), "{:?}", repaired.findings);
        }
    }
}

/// A volume of 60 pages; then `change` is done, and all is lost but the log and the summaries, and the block that holds page 30.
fn without_page_30(change: impl Fn(&mut paged::Paged)) -> (Vec<u8>, Checked, Vec<Option<Vec<u8>>>) {
    let mut rng = SplitMix64::new(1);
    let mut volume = paged::mount(formatted(geometry(PAGE as u32, 8, 64), &[]));
    let before = bytes(&mut rng, 60 * PAGE as u64);
    volume.write(0, &before).unwrap();
    volume.end().unwrap();
    change(&mut volume);
    let MapEntry::At { address, .. } = volume.entry(Lpn(30)).unwrap() else { panic!("it is mapped") };
    let block = volume.layout().page_addr(Ppn(address)).block;
    assert!(!volume.is_closed(block));
    let mut chip = volume.into_flash();
    let pages: Vec<_> = chip.geometry().iter_pages(block).collect();
    spoil(&mut chip, &pages);
    lose(&mut chip, |kind| !matches!(kind, Kind::Log | Kind::Summary));
    let repaired = repair(&mut chip).unwrap();
    (before, repaired, what_is_left(&paged::mount(chip)))
}

#[test]
fn a_page_that_is_written_again_after_a_discard_is_lost_and_not_zeros() {
    let (_, repaired, left) = without_page_30(|volume| {
        volume.discard(30 * PAGE as u64, PAGE as u64).unwrap();
        volume.sync().unwrap();
        volume.write(30 * PAGE as u64, &[7; PAGE]).unwrap();
        volume.sync().unwrap();
    });
    assert_eq!((left[30].as_ref(), told(&repaired).contains(&(30 * PAGE))), (None, true));
}

#[test]
fn a_page_whose_content_came_back_by_itself_is_not_older() {
    let content = bytes(&mut SplitMix64::new(1), 60 * PAGE as u64);
    let page = &content[30 * PAGE..31 * PAGE];
    let (before, repaired, left) = without_page_30(|volume| {
        for data in [&[7; PAGE][..], page] {
            volume.write(30 * PAGE as u64, data).unwrap();
            volume.sync().unwrap();
        }
    });
    assert_eq!(before, content);
    assert_eq!(left[30].as_deref(), Some(page));
    assert!(!told(&repaired).contains(&(30 * PAGE)), "{:?}", repaired.findings);
}
