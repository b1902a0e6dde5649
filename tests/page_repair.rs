//! What a repair brings back of a page-mapped volume whose metadata is gone.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use nandimg::check::{Checked, Finding, Severity, page};
use nandimg::flash::faults::{Cut, Faulty};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Lpn, Mount, PageVolume};
use nandimg::onflash::paged::head::{Kind, open};
use nandimg::onflash::paged::map::MapEntry;
use nandimg::prng::SplitMix64;

const PAGE: u64 = 256;

/// A volume, and the newest committed version of each logical page.
struct Filled {
    volume: PageVolume<SimFlash>,
    model: Vec<Option<u64>>,
    rng: SplitMix64,
    version: u64,
}

fn content(logical: u64, version: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE as usize];
    SplitMix64::new(logical << 32 | version).fill(&mut bytes);
    bytes
}

impl Filled {
    fn new(blocks: u32, seed: u64) -> Self {
        let mut chip = SimFlash::new(Geometry::new(256, 0, 2048, blocks).unwrap());
        FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
        let volume = PageVolume::mount(chip, &Mount::default()).unwrap();
        let model = vec![None; (volume.capacity() / PAGE) as usize];
        Self { volume, model, rng: SplitMix64::new(seed), version: 0 }
    }

    fn write(&mut self, logical: u64) {
        self.version += 1;
        self.volume.write(logical * PAGE, &content(logical, self.version)).unwrap();
        self.model[logical as usize] = Some(self.version);
    }

    fn fill(&mut self) {
        (0..self.model.len() as u64).for_each(|logical| self.write(logical));
        self.volume.sync().unwrap();
    }

    fn overwrite(&mut self, writes: u64) {
        for i in 0..writes {
            let logical = self.rng.below(self.model.len() as u64);
            self.write(logical);
            if i % 5 == 4 {
                self.volume.sync().unwrap();
            }
        }
        self.volume.sync().unwrap();
    }

    /// Whether the newest version of each logical page lies in a closed block.
    fn in_closed_block(&self) -> Vec<bool> {
        let in_closed = |logical: usize| match self.volume.entry(Lpn(logical as u32)).unwrap() {
            MapEntry::At { address, .. } => {
                self.volume.is_closed(Block(address / self.volume.layout().pages_per_block))
            }
            _ => false,
        };
        (0..self.model.len()).map(in_closed).collect()
    }

    /// What each logical page holds: its version, 0 for zeros; `None` where it cannot be read.
    fn read(volume: &PageVolume<SimFlash>, logical: u64, newest: u64) -> Option<u64> {
        let mut page = vec![0; PAGE as usize];
        if (logical + 1) * PAGE > volume.len() {
            return Some(0);
        }
        volume.read(logical * PAGE, &mut page).ok()?;
        if page.iter().all(|&byte| byte == 0) {
            return Some(0);
        }
        let version = (1..=newest).rev().find(|&version| page == content(logical, version));
        Some(version.expect("a page holds what was written to it once"))
    }
}

/// Erase every page of the chip that is metadata of one of these kinds; how many there were.
fn wipe(chip: &mut SimFlash, kinds: &[Kind]) -> usize {
    let pages = chip.data_mut().chunks_mut(PAGE as usize);
    let wiped = pages.filter(|page| open(page).is_ok_and(|(head, _)| kinds.contains(&head.kind)));
    wiped.map(|page| page.fill(0xFF)).count()
}

/// Block and page that holds such content, where a summary closes the block.
fn in_closed_block(chip: &SimFlash, content: &[u8]) -> Option<(u32, u32)> {
    let pages: Vec<&[u8]> = chip.data().chunks(PAGE as usize).collect();
    let at = pages.iter().position(|&page| page == content)?;
    let is_closed = open(pages[at / 8 * 8 + 7]).is_ok_and(|(head, _)| head.kind == Kind::Summary);
    is_closed.then_some((at as u32 / 8, at as u32 % 8))
}

fn codes(checked: &Checked) -> Vec<&'static str> {
    checked.findings.iter().map(|finding| finding.code).collect()
}

/// Repair, see that a second check is clean, and mount.
fn repair(mut chip: SimFlash) -> (PageVolume<SimFlash>, Checked) {
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    assert!(!found.is_clean(), "{:?}", codes(&found));
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    let again = page::check(&chip, &mut |_, _| {}).unwrap();
    assert!(again.findings.is_empty(), "{:?}", again.findings);
    assert!(mended.is_clean(), "{:?}", codes(&mended));
    (PageVolume::mount(chip, &Mount::default()).unwrap(), mended)
}

/// The same where not even the log is left: what is gone with it is said, and nothing else is found again but what is lost.
fn repair_without_log(mut chip: SimFlash) -> (PageVolume<SimFlash>, Checked) {
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    let again = page::check(&chip, &mut |_, _| {}).unwrap();
    let stays = |finding: &Finding| ["lost-page", "data-damaged"].contains(&finding.code);
    assert!(again.findings.iter().all(stays), "{:?}", again.findings);
    let is_left = |finding: &&Finding| finding.severity == Severity::Error && !finding.repaired;
    for left in mended.findings.iter().filter(is_left) {
        let codes = ["rebuilt-in-doubt", "rebuilt-without-log", "rebuilt-unconfirmed", "rebuilt-older"];
        assert!(codes.contains(&left.code) || stays(left), "{left:?}");
    }
    (PageVolume::mount(chip, &Mount::default()).unwrap(), mended)
}

const ALL_METADATA: [Kind; 5] = [Kind::Anchor, Kind::Log, Kind::Map, Kind::Directory, Kind::Table];

#[test]
fn without_any_metadata_every_page_of_a_closed_block_comes_back() {
    let mut older = 0;
    for seed in 0..40 {
        let mut filled = Filled::new(if seed % 2 == 0 { 64 } else { 300 }, seed);
        if seed % 4 < 2 {
            filled.fill();
        }
        filled.overwrite(seed * 23);
        filled.volume.end().unwrap();
        let closed = filled.in_closed_block();
        let Filled { volume, model, version, .. } = filled;
        let mut chip = volume.into_flash();
        assert!(wipe(&mut chip, &ALL_METADATA) > 10);
        if !closed.iter().any(|&closed| closed) {
            continue;
        }
        let (mut volume, _) = repair_without_log(chip);
        for (logical, newest) in model.iter().enumerate() {
            let newest = newest.unwrap_or(0);
            let found = Filled::read(&volume, logical as u64, version);
            if closed[logical] {
                assert_eq!(found, Some(newest), "seed {seed}, logical page {logical}");
            }
            let zeros = found == Some(0) && newest > 0;
            assert!(!zeros || logical as u64 * PAGE >= volume.len(), "seed {seed}, logical page {logical}");
            older += u32::from(found.is_some_and(|found| found != newest));
        }
        for (block, &erases) in volume.flash().erases().iter().enumerate() {
            let known = volume.is_closed(Block(block as u32));
            assert!(!known || volume.erase_counts()[block] >= erases, "block {block}");
        }
        // And it goes on.
        volume.write(3 * PAGE, &content(3, version + 1)).unwrap();
        volume.end().unwrap();
        let volume = PageVolume::mount(volume.into_flash(), &Mount::default()).unwrap();
        assert_eq!(Filled::read(&volume, 3, version + 1), Some(version + 1));
        assert_eq!(volume.warnings(), &[] as &[String]);
    }
    assert!(older > 0, "pages of blocks that were being filled are older, and the test knows");
}

#[test]
fn a_transaction_larger_than_any_block_is_confirmed_as_soon_as_it_is_synced() {
    let mut filled = Filled::new(300, 1);
    filled.fill();
    let closed = filled.in_closed_block();
    let Filled { volume, version, model, .. } = filled;
    let mut chip = volume.into_flash();
    wipe(&mut chip, &ALL_METADATA);
    let (volume, _) = repair_without_log(chip);
    for (logical, newest) in model.iter().enumerate().filter(|(logical, _)| closed[*logical]) {
        assert_eq!(Filled::read(&volume, logical as u64, version), *newest, "logical page {logical}");
    }
    assert!(closed.iter().filter(|&&closed| closed).count() > 1000);
}

#[test]
fn nothing_that_was_not_committed_comes_back_as_committed() {
    for seed in 0..30 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.overwrite(100 + seed);
        let committed = filled.model.clone();
        let acknowledged = filled.version;
        // Several blocks' worth, which is not synced.
        (0..40).for_each(|logical| filled.write(logical));
        let Filled { volume, version, .. } = filled;
        let mut chip = volume.into_flash();
        let unsynced: BTreeSet<(u32, u32)> = (acknowledged + 1..=version)
            .zip(0..)
            .filter_map(|(version, logical)| in_closed_block(&chip, &content(logical, version)))
            .collect();
        wipe(&mut chip, &ALL_METADATA);
        let (volume, mended) = repair_without_log(chip);
        for (logical, newest) in committed.iter().enumerate() {
            // What nothing is left of does not read as zeros.
            let Some(found) = Filled::read(&volume, logical as u64, version) else { continue };
            assert!(found <= acknowledged, "seed {seed}: logical page {logical} was never committed");
            assert!(found <= newest.unwrap_or(0), "seed {seed}: logical page {logical}");
        }
        // Every one of them that a summary names is told by its place.
        let told = mended.findings.iter().filter(|finding| finding.code == "rebuilt-unconfirmed");
        let told: BTreeSet<_> = told.filter_map(|told| Some((told.block?, told.page?))).collect();
        assert_eq!(told, unsynced, "seed {seed}");
        assert!(!told.is_empty());
    }
}

#[test]
fn nothing_that_was_rolled_back_comes_back() {
    let mut rolled_back = 0;
    for seed in 0..30 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.overwrite(100 + seed);
        let (committed, commits) = (filled.model.clone(), filled.volume.commits());
        // Blocks are closed that the rollback leaves without a page that counts.
        (0..40 + seed).for_each(|logical| filled.write(logical));
        filled.volume.rollback();
        if filled.volume.commits() == commits {
            assert!((0..40).all(|l| Filled::read(&filled.volume, l, filled.version)
                == Some(committed[l as usize].unwrap_or(0))));
            rolled_back += 1;
        }
        // What is too large for the free blocks is committed in parts.
        for (logical, held) in filled.model.iter_mut().enumerate() {
            *held = Filled::read(&filled.volume, logical as u64, filled.version);
        }
        filled.write(90);
        filled.volume.sync().unwrap();
        filled.volume.end().unwrap();
        assert_not_newer(filled, &format!("seed {seed}"));
    }
    assert!(rolled_back > 10, "{rolled_back}");
}

/// Without its metadata, a rebuilt volume holds nothing newer than what was committed.
fn assert_not_newer(filled: Filled, what: &str) {
    let Filled { volume, version, model, .. } = filled;
    let mut chip = volume.into_flash();
    wipe(&mut chip, &ALL_METADATA);
    let (volume, _) = repair_without_log(chip);
    for (logical, newest) in model.iter().enumerate() {
        let Some(found) = Filled::read(&volume, logical as u64, version) else { continue };
        assert!(found <= newest.unwrap_or(0), "{what}: logical page {logical} was not committed");
    }
}

/// The number that a page of 2 KiB is filled with; `None` where it cannot be read.
fn number(volume: &PageVolume<SimFlash>, logical: u64) -> Option<u64> {
    let mut page = [0; 2048];
    volume.read(logical * 2048, &mut page).ok()?;
    let (words, _) = page.as_chunks::<8>();
    assert!(words.iter().all(|word| *word == words[0]));
    Some(u64::from_le_bytes(words[0]))
}

/// Write so often, then cut a transaction short that a checkpoint commits; cuts, and how many undid it.
fn cut_before_the_anchor(writes: u64) -> (u32, u32) {
    let mut chip = SimFlash::new(Geometry::new(2048, 0, 16384, 200).unwrap());
    FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
    let mut volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    let changes = volume.layout().most_changes() + 10;
    let filled = |number: u64| number.to_le_bytes().repeat(256);
    // Few pages are stored, so that the transaction fits; they are written often.
    volume.set_len((changes + 20) * 2048).unwrap();
    for n in 0..writes {
        volume.write(n * 7 % 60 * 2048, &filled(1)).unwrap();
        if n % 3 == 0 {
            volume.sync().unwrap();
        }
    }
    let prepared = volume.close().unwrap();
    let transaction = |chip: &mut Faulty<SimFlash>| {
        let mut volume = PageVolume::mount(chip, &Mount::default())?;
        (0..changes).try_for_each(|logical| volume.write(logical * 2048, &filled(2)))?;
        volume.sync()
    };
    let mut uncut = Faulty::new(prepared.clone());
    transaction(&mut uncut).unwrap();
    let (mut cuts, mut undone) = (0, 0);
    for n in uncut.operations() - 100..uncut.operations() {
        let mut chip = Faulty::new(prepared.clone());
        chip.cut_power_after(n, Cut::NotDone);
        let _ = transaction(&mut chip);
        assert!(chip.is_off());
        cuts += 1;
        let mut volume = PageVolume::mount(chip.inner().clone(), &Mount::default()).unwrap();
        if number(&volume, 0) == Some(2) {
            continue;
        }
        undone += 1;
        volume.write((changes + 1) * 2048, &filled(3)).unwrap();
        let mut chip = volume.close().unwrap();
        for page in chip.data_mut().chunks_mut(2048) {
            if open(page).is_ok_and(|(head, _)| ALL_METADATA.contains(&head.kind)) {
                page.fill(0xFF);
            }
        }
        let (volume, _) = repair_without_log(chip);
        let newer = (0..changes).find(|&logical| number(&volume, logical) == Some(2));
        assert_eq!(newer, None, "cut at {n}: this page was not committed");
    }
    (cuts, undone)
}

#[test]
fn a_transaction_cut_short_before_its_anchor_does_not_come_back() {
    for writes in (700..1500).step_by(61) {
        let (cuts, undone) = cut_before_the_anchor(writes);
        assert!(undone > 10 && undone < cuts, "{undone} of {cuts}");
    }
}

/// Without the log nothing knows of a discard.
#[test]
fn a_discard_that_may_be_undone_is_said() {
    for (kinds, said) in [(&ALL_METADATA[..], true), (&[Kind::Anchor][..], false)] {
        let mut filled = Filled::new(64, 2);
        filled.fill();
        filled.volume.discard(10 * PAGE, 3 * PAGE).unwrap();
        filled.volume.end().unwrap();
        let Filled { volume, version, .. } = filled;
        let mut chip = volume.into_flash();
        wipe(&mut chip, kinds);
        let (volume, mended) = repair_without_log(chip);
        assert_eq!(codes(&mended).contains(&"rebuilt-discards"), said, "{:?}", codes(&mended));
        assert_eq!(Filled::read(&volume, 10, version) == Some(0), !said);
    }
}

/// A block without a summary is taken into the new map as it is; a second repair would have nothing left to do.
#[test]
fn one_repair_mends_all_where_a_summary_is_gone_with_the_anchors() {
    let mut filled = Filled::new(64, 1);
    filled.fill();
    filled.overwrite(100);
    filled.volume.end().unwrap();
    let Filled { volume, model, version, .. } = filled;
    let mut chip = volume.into_flash();
    wipe(&mut chip, &[Kind::Anchor]);
    let is_summary = |page: &[u8]| open(page).is_ok_and(|(head, _)| head.kind == Kind::Summary);
    let pages = chip.data().chunks(PAGE as usize).zip(0..);
    let summaries: Vec<usize> = pages.filter(|(page, _)| is_summary(page)).map(|(_, at)| at).collect();
    assert!(summaries.len() > 30);
    for at in summaries {
        let mut chip = chip.clone();
        chip.data_mut()[at * PAGE as usize..][..PAGE as usize].fill(0);
        let (volume, _) = repair(chip);
        for (logical, newest) in model.iter().enumerate() {
            let found = Filled::read(&volume, logical as u64, version);
            assert_eq!(found, Some(newest.unwrap_or(0)), "without page {at}: logical page {logical}");
        }
    }
}

#[test]
fn without_the_newest_anchors_the_log_gives_back_all() {
    for seed in 0..30 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.overwrite(50 + 37 * seed);
        if seed % 2 == 0 {
            filled.volume.end().unwrap();
        }
        let newest = filled.volume.sequence();
        let Filled { volume, model, version, .. } = filled;
        let mut chip = volume.into_flash();
        let blocks: Vec<PageAddr> =
            (0..4).flat_map(|block| chip.geometry().iter_pages(Block(block))).collect();
        for at in blocks {
            let from = ((at.block.0 * 8 + at.page) as u64 * PAGE) as usize;
            let page = &mut chip.data_mut()[from..from + PAGE as usize];
            if open(page).is_ok_and(|(head, _)| head.number == newest) {
                page.fill(0xFF);
            }
        }
        let before = PageVolume::mount(chip.clone(), &Mount::default());
        let writable = before.as_ref().is_ok_and(|volume| volume.read_only().is_none());
        if !writable {
            let (volume, _) = repair(chip);
            for (logical, newest) in model.iter().enumerate() {
                let found = Filled::read(&volume, logical as u64, version);
                assert_eq!(found, Some(newest.unwrap_or(0)), "seed {seed}: logical page {logical}");
            }
            continue;
        }
        // The older anchor leads to the same state: nothing was committed since but by its own log.
        let volume = before.unwrap();
        for (logical, newest) in model.iter().enumerate() {
            assert_eq!(
                Filled::read(&volume, logical as u64, version),
                Some(newest.unwrap_or(0)),
                "seed {seed}"
            );
        }
    }
}

/// Erase the metadata, rebuild the volume, and see that what lay in closed blocks is there.
fn rebuilt_from(mut filled: Filled, kinds: &[Kind], what: &str) -> Filled {
    let closed = filled.in_closed_block();
    let mut chip = filled.volume.into_flash();
    wipe(&mut chip, kinds);
    let by_log = !kinds.contains(&Kind::Log);
    (filled.volume, _) = if by_log { repair(chip) } else { repair_without_log(chip) };
    for (logical, version) in filled.model.iter_mut().enumerate() {
        let found = Filled::read(&filled.volume, logical as u64, filled.version);
        assert!(!closed[logical] || found == Some(version.unwrap_or(0)), "{what}: logical page {logical}");
        assert!(!by_log || found.is_some(), "{what}: logical page {logical}");
        *version = found.filter(|&found| found > 0);
    }
    filled
}

#[test]
fn what_was_rebuilt_can_be_rebuilt_again() {
    for seed in 0..40 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.volume.end().unwrap();
        filled.overwrite(30 + 5 * seed);
        // A commit that closes blocks, of which only the log tells.
        (0..23).for_each(|logical| filled.write(logical));
        filled.volume.sync().unwrap();
        let filled = rebuilt_from(filled, &[Kind::Anchor], &format!("seed {seed}, without anchors"));
        rebuilt_from(filled, &ALL_METADATA, &format!("seed {seed}, without metadata"));
    }
}

#[test]
fn a_log_goes_on_counting_after_a_rebuild() {
    for seed in 0..20 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.overwrite(400);
        for round in 0..6 {
            let what = format!("seed {seed}, round {round}");
            let expected = filled.model.clone();
            filled = rebuilt_from(filled, &[Kind::Anchor], &what);
            assert!(filled.model == expected, "{what}: the log gives back all");
            filled.overwrite(100 + 20 * seed);
        }
    }
}

#[test]
fn what_is_left_in_the_anchor_zone_is_gone_after_one_repair() {
    let mut filled = Filled::new(64, 1);
    filled.fill();
    filled.volume.end().unwrap();
    let chip = filled.volume.into_flash();
    for stray in [PAGE, 4 * PAGE + 7, 8 * PAGE, 12 * PAGE, 31 * PAGE] {
        let mut chip = chip.clone();
        chip.data_mut()[..4 * 2048].fill(0xFF);
        chip.data_mut()[stray as usize] = b'X';
        repair(chip);
    }
}

#[test]
fn damage_in_a_row_in_the_anchor_zone_is_one_finding() {
    let mut filled = Filled::new(64, 1);
    filled.fill();
    filled.volume.end().unwrap();
    let mut chip = filled.volume.into_flash();
    let block = (8 * PAGE) as usize;
    // An erased page between, and one that is damaged otherwise.
    chip.data_mut()[..block].fill(b'X');
    chip.data_mut()[3 * PAGE as usize..4 * PAGE as usize].fill(0xFF);
    chip.data_mut()[5 * PAGE as usize..][..4].copy_from_slice(b"NIMG");
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    let anchors = found.findings.iter().filter(|finding| finding.code == "anchor-damaged");
    let messages: Vec<&str> =
        anchors.map(|finding| finding.message.split(" damaged").next().unwrap()).collect();
    assert_eq!(
        messages,
        [
            "the anchors at block 0, pages 0 to 2 are",
            "the anchor at block 0, page 4 is",
            "the anchor at block 0, page 5 is",
            "the anchors at block 0, pages 6 to 7 are",
        ]
    );
    page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(page::check(&chip, &mut |_, _| {}).unwrap().findings.is_empty());
}

#[test]
fn a_page_that_stays_damaged_is_counted_once_wherever_it_is_moved() {
    let mut filled = Filled::new(64, 1);
    filled.fill();
    filled.volume.end().unwrap();
    let block = (4..64).find(|&block| filled.volume.live_pages(Block(block)) == Some(7)).unwrap() as usize;
    let mut chip = filled.volume.into_flash();
    for page in [1, 3, 4, 7] {
        // The last one is the summary: the data is moved.
        chip.data_mut()[block * 2048 + page * 256 + 20] ^= 1;
    }
    let damaged = |checked: &Checked| -> Vec<(Option<u64>, Option<u64>)> {
        let damaged = checked.findings.iter().filter(|finding| finding.code == "data-damaged");
        damaged.map(|finding| (finding.logical_offset, finding.offset)).collect()
    };
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    let again = page::check(&chip, &mut |_, _| {}).unwrap();
    assert_eq!(damaged(&found).len(), 3);
    assert_ne!(damaged(&mended), damaged(&found), "the pages have been moved");
    assert_eq!(damaged(&mended), damaged(&again));
    assert!(!mended.is_clean() && codes(&mended).contains(&"summary-damaged"));
}

/// How a block is lost.
fn lose(chip: &mut SimFlash, block: usize, how: usize) {
    let bytes = &mut chip.data_mut()[block * 2048..][..2048];
    match how {
        0 => bytes.fill(0),
        1 => SplitMix64::new(7).fill(bytes),
        _ => bytes.fill(0xFF),
    }
}

/// What of a volume is there after it lost all metadata of these kinds and a data block: nothing that was written reads as
/// zeros, all that is older is told, and what is lost stays known, also when the anchors are lost once more.
fn assert_no_page_is_made_up(filled: &Filled, chip: &SimFlash, kinds: &[Kind], block: usize, how: usize) {
    let what = format!("block {block}, {how}");
    let mut chip = chip.clone();
    lose(&mut chip, block, how);
    wipe(&mut chip, kinds);
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    if found.findings[0].code == "no-usable-metadata" && found.findings[0].repair.is_none() {
        // Its summary alone said that anything was committed: a repair would give back nothing.
        assert!(kinds.contains(&Kind::Log), "{what}");
        let unconfirmed = found.findings.iter().filter(|finding| finding.code == "rebuilt-unconfirmed");
        let of_block = filled.model.len() - unconfirmed.count();
        assert!(of_block <= 7, "{what}: {of_block}");
        return;
    }
    let (mut volume, mended) = repair_without_log(chip);
    assert!(!mended.is_clean(), "{what}");
    let in_doubt =
        mended.findings.iter().any(|f| f.code == "rebuilt-in-doubt" && f.block == Some(block as u32));
    // With the log there is the map, which tells what the block held.
    assert_eq!(in_doubt, how < 2 && kinds.contains(&Kind::Log), "{what}: {:?}", codes(&mended));
    let told: Vec<Option<u64>> = mended.findings.iter().map(|finding| finding.logical_offset).collect();
    let mut lost = Vec::new();
    for (logical, newest) in filled.model.iter().enumerate() {
        match Filled::read(&volume, logical as u64, filled.version) {
            None => lost.push(logical),
            Some(found) if found == newest.unwrap_or(0) => continue,
            Some(0) => panic!("{what}: logical page {logical} reads as zeros"),
            Some(_) if in_doubt || codes(&mended).contains(&"rebuilt-without-log") => continue,
            Some(_) => {}
        }
        assert!(told.contains(&Some(logical as u64 * 256)), "{what}: logical page {logical}");
    }
    volume.end().unwrap();
    let mut chip = volume.into_flash();
    wipe(&mut chip, &[Kind::Anchor]);
    let (volume, mended) = repair_without_log(chip);
    assert_eq!(mended.is_clean(), lost.is_empty());
    assert!(lost.iter().all(|&l| Filled::read(&volume, l as u64, filled.version).is_none()), "{what}");
}

#[test]
fn a_data_block_that_is_lost_with_the_metadata_is_not_zeros() {
    for seed in 0..4 {
        let mut filled = Filled::new(64, seed);
        filled.fill();
        filled.overwrite(60 * seed);
        filled.volume.end().unwrap();
        let holds = |&block: &usize| filled.volume.live_pages(Block(block as u32)) > Some(0);
        let closed = |&block: &usize| filled.volume.is_closed(Block(block as u32));
        let blocks: Vec<usize> = (4..64).filter(holds).filter(closed).collect();
        let chip = filled.volume.flash().clone();
        for (how, block) in blocks.iter().step_by(3).enumerate() {
            assert_no_page_is_made_up(&filled, &chip, &ALL_METADATA, *block, how % 3);
            assert_no_page_is_made_up(&filled, &chip, &[Kind::Anchor], *block, how % 3);
        }
    }
}

/// Both copies of one map page are gone, and, of a page that another one describes, the newest version with the summary beside it.
#[test]
fn what_the_map_knows_to_be_damaged_does_not_become_what_was_there_before() {
    let mut filled = Filled::new(64, 3);
    filled.fill();
    filled.volume.end().unwrap();
    let (logical, before) = (52, filled.model[52].unwrap());
    (0..20).for_each(|n| filled.write(logical + n % 7));
    filled.volume.end().unwrap();
    let version = filled.version;
    let newest = content(logical, filled.model[52].unwrap());
    let mut chip = filled.volume.into_flash();
    let (block, page) = in_closed_block(&chip, &newest).unwrap();
    assert!(in_closed_block(&chip, &content(logical, before)).is_some());
    let mut spoiled = 0;
    for page in chip.data_mut().chunks_mut(PAGE as usize) {
        if open(page).is_ok_and(|(head, _)| head.kind == Kind::Map && head.number == 0) {
            page[40] ^= 1;
            spoiled += 1;
        }
    }
    assert!(spoiled >= 2);
    for page in [page, 7] {
        chip.data_mut()[(block * 8 + page) as usize * PAGE as usize] ^= 1;
    }
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    assert!(codes(&found).contains(&"map-page-damaged"));
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(codes(&mended).contains(&"rebuilt-pages") && !mended.is_clean());
    let again = page::check(&chip, &mut |_, _| {}).unwrap();
    assert_eq!(codes(&again), ["data-damaged"]);
    assert_eq!(again.findings[0].logical_offset, Some(logical * PAGE));
    let volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    assert_eq!(Filled::read(&volume, logical, version), None);
}

/// The last page of the log is gone, on both sides, and a summary of a block that holds nothing any more.
#[test]
fn one_repair_mends_what_shows_only_once_a_session_has_ended() {
    let mut filled = Filled::new(64, 3);
    for pages in [12, 8] {
        (0..pages).for_each(|logical| filled.write(logical));
        filled.volume.end().unwrap();
    }
    let closed: Vec<usize> = (4..64).filter(|&block| filled.volume.is_closed(Block(block as u32))).collect();
    let mut shown = 0;
    for block in closed {
        let mut chip = filled.volume.flash().clone();
        let log = |page: &[u8]| {
            open(page).ok().filter(|(head, _)| head.kind == Kind::Log).map(|(head, _)| head.number)
        };
        let last = chip.data().chunks(PAGE as usize).filter_map(log).max();
        chip.data_mut()
            .chunks_mut(PAGE as usize)
            .filter(|page| log(page) == last)
            .for_each(|page| page[40] ^= 1);
        chip.data_mut()[block * 2048 + 7 * 256 + 50] ^= 1;
        let found = page::check(&chip, &mut |_, _| {}).unwrap();
        shown += u32::from(codes(&found).contains(&"summary-damaged"));
        page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
        assert!(page::check(&chip, &mut |_, _| {}).unwrap().findings.is_empty(), "block {block}");
    }
    assert_eq!(shown, 1, "blocks that hold nothing are not looked at where the session was cut short");
}

/// Both copies of a map page are gone, and the log tells of all that it describes.
#[test]
fn a_map_page_that_nothing_is_missed_of_is_written_anew() {
    let mut filled = Filled::new(64, 3);
    for _ in 0..2 {
        (0..32).for_each(|logical| filled.write(logical));
        filled.volume.end().unwrap();
    }
    let mut chip = filled.volume.into_flash();
    let is_first = |page: &[u8]| open(page).is_ok_and(|(head, _)| head.kind == Kind::Map && head.number == 0);
    let spoiled =
        chip.data_mut().chunks_mut(PAGE as usize).filter(|page| is_first(page)).map(|page| page[40] ^= 1);
    assert!(spoiled.count() >= 2);
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    assert!(codes(&found).iter().all(|&code| code == "metadata-copy-damaged"), "{:?}", codes(&found));
    page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(page::check(&chip, &mut |_, _| {}).unwrap().findings.is_empty());
    let volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    for (logical, &newest) in filled.model.iter().enumerate() {
        assert_eq!(Filled::read(&volume, logical as u64, filled.version), Some(newest.unwrap_or(0)));
    }
}

/// The whole log is gone, and of some pages it alone told: what the map knew before is given back, and said to be no more than that.
#[test]
fn where_the_log_is_gone_an_older_map_still_tells() {
    let mut filled = Filled::new(64, 3);
    filled.fill();
    filled.overwrite(60);
    filled.volume.end().unwrap();
    let holds_all = |&block: &u32| {
        filled.volume.is_closed(Block(block)) && filled.volume.live_pages(Block(block)) == Some(7)
    };
    let block = (4..64).find(holds_all).unwrap() as usize;
    let mut chip = filled.volume.into_flash();
    chip.data_mut()[block * 2048 + 7 * 256..][..256].fill(0);
    wipe(&mut chip, &[Kind::Log]);
    let (volume, mended) = repair_without_log(chip);
    let older = mended.findings.iter().filter(|finding| finding.code == "rebuilt-older");
    assert_eq!(older.filter_map(|finding| finding.logical_offset).count(), 7, "{:?}", codes(&mended));
    for (logical, &newest) in filled.model.iter().enumerate() {
        assert_eq!(Filled::read(&volume, logical as u64, filled.version), newest);
    }
}

/// The summary that proves what was committed is one of them: its block holds the last pages, and stays for it.
#[test]
fn a_damaged_summary_is_mended_once_and_for_all() {
    let mut filled = Filled::new(64, 3);
    (0..40).for_each(|logical| filled.write(logical));
    filled.volume.end().unwrap();
    let closed: Vec<usize> = (4..64).filter(|&block| filled.volume.is_closed(Block(block as u32))).collect();
    assert_eq!(closed.len(), 6);
    for block in closed {
        let mut chip = filled.volume.flash().clone();
        chip.data_mut()[block * 2048 + 7 * 256 + 50] ^= 1;
        let found = page::check(&chip, &mut |_, _| {}).unwrap();
        assert_eq!(codes(&found), ["summary-damaged"]);
        page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
        assert!(page::check(&chip, &mut |_, _| {}).unwrap().findings.is_empty(), "block {block}");
        let volume = PageVolume::mount(chip, &Mount::default()).unwrap();
        (0..40).for_each(|logical| {
            assert_eq!(Filled::read(&volume, logical, filled.version), filled.model[logical as usize]);
        });
    }
}

#[test]
fn what_was_never_written_is_no_loss_where_the_log_says_so() {
    let mut filled = Filled::new(64, 3);
    (0..20).chain(60..70).for_each(|logical| filled.write(logical));
    filled.volume.sync().unwrap();
    filled.volume.set_len(100 * PAGE).unwrap();
    filled.volume.end().unwrap();
    let block = (4..64).find(|&block| filled.volume.is_closed(Block(block))).unwrap();
    let mut chip = filled.volume.into_flash();
    wipe(&mut chip, &[Kind::Anchor]);
    lose(&mut chip, block as usize, 0);
    let (volume, mended) = repair_without_log(chip);
    let damaged = mended.findings.iter().filter(|finding| finding.code == "data-damaged");
    assert_eq!(damaged.count(), 7);
    assert_eq!(Filled::read(&volume, 30, filled.version), Some(0));
}

#[test]
fn a_block_that_a_power_cut_left_without_a_summary_is_no_loss() {
    let mut filled = Filled::new(64, 3);
    filled.fill();
    filled.overwrite(100);
    let committed = filled.model.clone();
    // Not synced: the block that this goes into is not closed.
    (0..3).for_each(|logical| filled.write(logical));
    let mut chip = filled.volume.into_flash();
    wipe(&mut chip, &[Kind::Anchor]);
    let (volume, _) = repair(chip);
    for (logical, newest) in committed.iter().enumerate() {
        assert_eq!(Filled::read(&volume, logical as u64, filled.version), Some(newest.unwrap_or(0)));
    }
}

/// A repair that cannot do anything says so, beside what it found.
#[test]
fn what_nothing_can_be_rebuilt_from_is_reported() {
    let mut filled = Filled::new(64, 1);
    filled.volume.end().unwrap();
    let mut chip = filled.volume.into_flash();
    wipe(&mut chip, &[Kind::Directory, Kind::Table, Kind::Log, Kind::Map]);
    chip.data_mut()[20] ^= 1;
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    assert!(found.findings.iter().any(|finding| finding.repair.is_some()), "{:?}", found.findings);
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(!mended.is_clean() && codes(&mended).contains(&"repair-given-up"), "{:?}", mended.findings);
}

/// Where no anchor can be written there is nothing to rebuild into: no repair is offered, and none changes anything.
#[test]
fn a_rebuild_that_the_chip_has_no_room_for_is_not_offered() {
    for left in 0..3 {
        let mut filled = Filled::new(64, 5);
        filled.fill();
        let zone_blocks = filled.volume.layout().zone_blocks;
        let mut chip = filled.volume.into_flash();
        wipe(&mut chip, &[Kind::Anchor]);
        (left..zone_blocks).for_each(|block| chip.mark_bad(Block(block)).unwrap());
        let found = page::check(&chip, &mut |_, _| {}).unwrap();
        let offered = found.findings.iter().any(|finding| finding.repair.is_some());
        assert_eq!(offered, left == 2, "{left} left: {:?}", found.findings);
        let refused = found.findings.iter().find(|finding| finding.code == "rebuild-refused");
        assert_eq!(refused.is_none(), left == 2, "{left} left: {:?}", found.findings);
        if left == 2 {
            continue;
        }
        let said = format!("{left} of {zone_blocks}");
        assert!(refused.unwrap().message.contains(&said), "{refused:?}");
        let before = chip.data().to_vec();
        let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
        assert!(!mended.is_clean() && chip.data() == before, "{left} left: {:?}", mended.findings);
    }
}

/// The end of a volume that was formatted with less spare than usual may be lost, but not without a word.
#[test]
fn a_rebuild_does_not_shorten_the_volume() {
    let mut chip = SimFlash::new(Geometry::new(2048, 0, 8 * 2048, 1024).unwrap());
    let usual = FormatPlan::new(&chip, &FormatOptions::default()).unwrap().capacity();
    let options = FormatOptions { spare_percent: Some(1), ..FormatOptions::default() };
    FormatPlan::new(&chip, &options).unwrap().execute(&mut chip).unwrap();
    let mut volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    let length = volume.capacity();
    assert!(length > usual, "{length}, and {usual} as usual");
    volume.set_len(length).unwrap();
    for offset in (0..length).step_by(64 * 2048) {
        volume.write(offset, &vec![0x5A; (length - offset).min(64 * 2048) as usize]).unwrap();
        volume.sync().unwrap();
    }
    volume.end().unwrap();
    let pages = (length / 2048) as u32;
    let layout = *volume.layout();
    let at = |logical: u32| match volume.entry(Lpn(logical)).unwrap() {
        MapEntry::At { address, .. } => Some(address / layout.pages_per_block),
        _ => None,
    };
    let blocks: BTreeSet<u32> = (pages - 200..pages).filter_map(at).collect();
    let mut chip = volume.into_flash();
    blocks.into_iter().for_each(|block| chip.data_mut()[block as usize * 8 * 2048..][..8 * 2048].fill(0xFF));
    for page in chip.data_mut().chunks_mut(2048) {
        if open(page).is_ok_and(|(head, _)| head.kind != Kind::Summary) {
            page.fill(0xFF);
        }
    }
    let found = page::check(&chip, &mut |_, _| {}).unwrap();
    let mended = page::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(!mended.is_clean());
    assert_eq!(PageVolume::mount(chip, &Mount::default()).unwrap().len(), length);
}
