//! `fsck` of page-mapped volumes: an image forged for each finding about the checkpoint, the map and the blocks, what it says
//! of it, what a repair does, and that nothing is lost by it.

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Lpn, Mount, PageVolume};
use nandimg::onflash::paged::NextPair;
use nandimg::onflash::paged::head::{Head, Kind, open, seal};
use nandimg::onflash::paged::map::{self, MapEntry};
use nandimg::onflash::paged::summary::Summary;
use nandimg::onflash::paged::tables::{self, BlockRow, BlockState, BlockTable, Directory};
use nandimg::prng::SplitMix64;
use serde_json::{Value, json};

use crate::fsck::{findings, finds, is_left_alone, is_mended};
use crate::support::{Bench, random};

const PAGE: usize = 512;
const PAGES: u32 = 16;
const BLOCKS: u32 = 64;

fn geometry() -> Geometry {
    Geometry::new(PAGE as u32, 0, PAGE as u32 * PAGES, BLOCKS).unwrap()
}

/// A volume that ends with a checkpoint, and what it holds.
struct Forge {
    image: Vec<u8>,
    content: Vec<u8>,
}

impl Forge {
    fn new() -> Self {
        let mut chip = SimFlash::new(geometry());
        FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
        let mut volume = PageVolume::mount(chip, &Mount::default()).unwrap();
        let mut content = random(1, volume.capacity() as usize * 8 / 10 / PAGE * PAGE);
        volume.write(0, &content).unwrap();
        volume.sync().unwrap();
        let pages = (content.len() / PAGE) as u64;
        let mut rng = SplitMix64::new(2);
        for n in 0..400 {
            let (logical, data) = (rng.below(pages) as usize, random(n + 3, PAGE));
            volume.write((logical * PAGE) as u64, &data).unwrap();
            content[logical * PAGE..][..PAGE].copy_from_slice(&data);
            if n % 4 == 3 {
                volume.sync().unwrap();
            }
        }
        volume.end().unwrap();
        let image = volume.into_flash().data().to_vec();
        Self { image, content }
    }

    fn mounted(&self) -> PageVolume<SimFlash> {
        let chip = SimFlash::from_data(geometry(), &self.image);
        PageVolume::mount(chip, &Mount { read_only: true, ..Mount::default() }).unwrap()
    }

    fn place(&self, logical: u32) -> (u32, u32) {
        match self.mounted().entry(Lpn(logical)).unwrap() {
            MapEntry::At { address, crc } => (address, crc),
            other => panic!("{logical} is {other:?}"),
        }
    }

    fn page(&self, address: u32) -> &[u8] {
        &self.image[address as usize * PAGE..][..PAGE]
    }

    /// Every page of metadata of a kind: the address, the head, the payload.
    fn metadata(&self, kind: Kind) -> Vec<(u32, Head, Vec<u8>)> {
        let pages = (0..BLOCKS * PAGES).filter_map(|address| {
            let (head, payload) = open(self.page(address)).ok()?;
            (head.kind == kind).then(|| (address, head, payload.to_vec()))
        });
        pages.collect()
    }

    /// The same of the newest checkpoint, in the order of the stream, both copies of each.
    fn newest(&self, kind: Kind) -> Vec<(u32, Head, Vec<u8>)> {
        let mut pages = self.metadata(kind);
        let epoch = pages.iter().map(|(_, head, _)| head.epoch).max();
        pages.retain(|(_, head, _)| Some(head.epoch) == epoch);
        pages.sort_by_key(|(address, head, _)| (head.number, *address));
        pages
    }

    /// The stream of the newest checkpoint in pages of this kind.
    fn stream(&self, kind: Kind) -> Vec<u8> {
        let mut pages = self.newest(kind);
        pages.dedup_by_key(|(_, head, _)| head.number);
        pages.iter().flat_map(|(_, _, payload)| tables::decode_chunk(payload).unwrap().to_vec()).collect()
    }

    /// Put a page in place of one, under a right CRC.
    fn reseal(&mut self, address: u32, payload: &[u8]) {
        let (head, _) = open(self.page(address)).unwrap();
        let page = seal(&head, payload, PAGE);
        self.image[address as usize * PAGE..][..PAGE].copy_from_slice(&page);
    }

    /// Put another stream in place of the newest checkpoint's, of the same length.
    fn set_stream(&mut self, kind: Kind, stream: &[u8]) {
        assert_eq!(stream.len(), self.stream(kind).len());
        for (address, head, payload) in self.newest(kind) {
            let chunk = tables::chunk_len(PAGE as u32);
            let first = self.newest(kind)[0].1.number;
            let chunk = stream.chunks(chunk).nth((head.number - first) as usize).unwrap();
            self.reseal(address, &tables::encode_chunk(NextPair::of_payload(&payload).unwrap(), chunk));
        }
    }

    fn change_table(&mut self, change: impl FnOnce(&mut BlockTable)) {
        let mut table = BlockTable::decode(&self.stream(Kind::Table)).unwrap();
        change(&mut table);
        self.set_stream(Kind::Table, &table.encode());
    }

    fn row(&self, block: u32) -> BlockRow {
        BlockTable::decode(&self.stream(Kind::Table)).unwrap().rows[block as usize]
    }

    /// Both copies of the map page that describes a logical page.
    fn map_pages(&self, logical: u32) -> [u32; 2] {
        let directory = Directory::decode(&self.stream(Kind::Directory)).unwrap();
        let index = logical / map::entries_per_page(PAGE as u32);
        let first = directory.map_pages[index as usize];
        let pair = directory.pairs.iter().find(|pair| pair.0 == first / PAGES).unwrap();
        [first, pair.1 * PAGES + first % PAGES]
    }

    fn change_map(&mut self, logical: u32, entry: MapEntry) {
        for address in self.map_pages(logical) {
            let (_, payload) = open(self.page(address)).unwrap();
            let next = NextPair::of_payload(payload).unwrap();
            let mut entries = map::decode(payload).unwrap();
            entries[(logical % map::entries_per_page(PAGE as u32)) as usize] = entry.into();
            self.reseal(address, &map::encode(next, &entries));
        }
    }

    /// A logical page of which the map page tells, and nothing newer, in a block that a summary closes.
    fn told_by_the_map(&self) -> u32 {
        let pages = (self.content.len() / PAGE) as u32;
        let is_told = |&logical: &u32| {
            let mut forged = Self { image: self.image.clone(), content: Vec::new() };
            forged.change_map(logical, MapEntry::Lost);
            let told = forged.mounted().entry(Lpn(logical)).unwrap() == MapEntry::Lost;
            told && self.mounted().is_closed(Block(self.place(logical).0 / PAGES))
        };
        (0..pages).find(is_told).expect("a page of the map is used")
    }

    fn flip(&mut self, address: u32) {
        self.image[address as usize * PAGE + 60] ^= 4;
    }

    fn bench(&self) -> Bench {
        let bench = Bench::new();
        bench.put("a.img", &self.image);
        bench
    }

    /// After the repair, nothing is missing.
    #[track_caller]
    fn is_mended(&self, bench: &Bench, code: &str) {
        is_mended(bench, "", code);
        assert!(bench.content("a.img") == self.content, "{code}: something was lost");
    }
}

/// That a check finds `code` alone.
#[track_caller]
fn finds_only(bench: &Bench, code: &str, severity: &str, exit: i32) -> Value {
    let found = finds(bench, "", code, severity, exit);
    let report = bench.run("--json fsck a.img").exits(exit).json();
    assert_eq!(findings(&report, code).len(), report["findings"].as_array().unwrap().len(), "{report}");
    found
}

/// That a finding points at a page of the chip.
#[track_caller]
fn points_at(found: &Value, address: u32) {
    let at = PageAddr { block: Block(address / PAGES), page: address % PAGES };
    assert_eq!((&found["block"], &found["page"]), (&json!(at.block.0), &json!(at.page)), "{found}");
    assert_eq!(found["offset"], json!(address as usize * PAGE), "{found}");
}

#[test]
fn what_is_whole_has_no_finding() {
    let forge = Forge::new();
    let bench = forge.bench();
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]));
    assert!(bench.content("a.img") == forge.content);
}

#[test]
fn one_copy_of_each_kind_of_metadata_may_be_damaged() {
    for kind in [Kind::Map, Kind::Directory, Kind::Table] {
        for copy in 0..2 {
            let mut forge = Forge::new();
            let address = match kind {
                Kind::Map => forge.map_pages(forge.told_by_the_map())[copy],
                _ => forge.newest(kind)[copy].0,
            };
            forge.flip(address);
            let bench = forge.bench();
            points_at(&finds(&bench, "", "metadata-copy-damaged", "warning", 0), address);
            // A mount says so, too, where it comes by.
            let report = bench.report("fsck a.img");
            let others = report["findings"].as_array().unwrap().len() - 1;
            assert!(others == findings(&report, "fallback").len() && others <= 1, "{report}");
            forge.is_mended(&bench, "metadata-copy-damaged");
        }
    }
}

#[test]
fn a_map_page_of_which_no_copy_is_whole_is_built_anew() {
    let mut forge = Forge::new();
    let logical = forge.told_by_the_map();
    for address in forge.map_pages(logical) {
        forge.flip(address);
    }
    let bench = forge.bench();
    let found = finds(&bench, "", "map-page-damaged", "error", 4);
    assert_eq!(found["page"], json!(logical / map::entries_per_page(PAGE as u32)), "{found}");
    forge.is_mended(&bench, "map-page-damaged");
}

#[test]
fn a_map_that_points_outside_the_data_is_built_anew() {
    for address in [3, BLOCKS * PAGES, u32::MAX - 2] {
        let mut forge = Forge::new();
        let logical = forge.told_by_the_map();
        let (_, crc) = forge.place(logical);
        forge.change_map(logical, MapEntry::At { address, crc });
        let bench = forge.bench();
        let found = finds(&bench, "", "map-misplaced", "error", 4);
        let message = found["message"].as_str().unwrap();
        assert!(message.contains(&format!("{} at page address {address}", Lpn(logical))), "{message}");
        forge.is_mended(&bench, "map-misplaced");
    }
}

#[test]
fn a_map_that_points_into_a_block_without_data_is_built_anew() {
    let mut forge = Forge::new();
    let logical = forge.told_by_the_map();
    let (_, crc) = forge.place(logical);
    let is_free = |&block: &u32| forge.row(block).state == BlockState::Free;
    let free = (0..BLOCKS).find(is_free).expect("a block is free");
    forge.change_map(logical, MapEntry::At { address: free * PAGES + 2, crc });
    let bench = forge.bench();
    points_at(&finds(&bench, "", "map-wrong-block", "error", 4), free * PAGES + 2);
    forge.is_mended(&bench, "map-wrong-block");
}

#[test]
fn a_map_that_puts_two_pages_into_one_is_built_anew() {
    // With the CRC of the content there, and with that of its own.
    for whose in 0..2 {
        let mut forge = Forge::new();
        let logical = forge.told_by_the_map();
        let other = if logical == 0 { 1 } else { 0 };
        let crcs = [forge.place(other).1, forge.place(logical).1];
        let (address, _) = forge.place(other);
        forge.change_map(logical, MapEntry::At { address, crc: crcs[whose] });
        let bench = forge.bench();
        points_at(&finds(&bench, "", "map-duplicate", "error", 4), address);
        forge.is_mended(&bench, "map-duplicate");
    }
}

/// Without the summary, the content itself says whose it is.
#[test]
fn a_map_that_puts_two_pages_into_one_without_a_summary_is_built_anew() {
    let whole = Forge::new();
    let logical = whole.told_by_the_map();
    let (own, crc) = whole.place(logical);
    let mounted = whole.mounted();
    let pages = (whole.content.len() / PAGE) as u32;
    let elsewhere = |&other: &u32| {
        let block = whole.place(other).0 / PAGES;
        mounted.is_closed(Block(block)) && block != own / PAGES
    };
    for other in (0..pages).filter(elsewhere).step_by(3) {
        let mut forge = Forge { image: whole.image.clone(), content: whole.content.clone() };
        let (address, _) = forge.place(other);
        forge.change_map(logical, MapEntry::At { address, crc });
        let summaries = forge.metadata(Kind::Summary);
        forge.flip(summaries.iter().map(|page| page.0).find(|at| at / PAGES == address / PAGES).unwrap());
        let bench = forge.bench();
        points_at(&finds(&bench, "", "map-duplicate", "error", 4), address);
        // That there may have been more in the block is said.
        bench.run("fsck a.img --repair").exits(4).says("rebuilt-in-doubt");
        assert!(bench.content("a.img") == forge.content, "{other} and {logical}");
    }
}

#[test]
fn a_summary_that_contradicts_the_map_is_written_anew() {
    let mut forge = Forge::new();
    let (address, _) = forge.place(forge.told_by_the_map());
    let block = address / PAGES;
    let (at, _, payload) =
        forge.metadata(Kind::Summary).into_iter().find(|(at, ..)| at / PAGES == block).unwrap();
    let mut summary = Summary::decode(&payload).unwrap();
    let entry = summary.pages[(address % PAGES) as usize].as_mut().unwrap();
    entry.logical = (entry.logical + 1) % 300;
    let holds = Lpn(entry.logical);
    forge.reseal(at, &summary.encode());
    let bench = forge.bench();
    let found = finds_only(&bench, "summary-disagrees", "warning", 0);
    points_at(&found, address);
    assert!(found["message"].as_str().unwrap().ends_with(&format!("says {holds}")), "{found}");
    forge.is_mended(&bench, "summary-disagrees");
}

#[test]
fn a_summary_that_is_damaged_is_written_anew() {
    let mut forge = Forge::new();
    let (address, _) = forge.place(forge.told_by_the_map());
    let at = forge.metadata(Kind::Summary).iter().map(|page| page.0).find(|at| at / PAGES == address / PAGES);
    forge.flip(at.unwrap());
    let bench = forge.bench();
    points_at(&finds_only(&bench, "summary-damaged", "warning", 0), at.unwrap());
    forge.is_mended(&bench, "summary-damaged");
}

#[test]
fn a_wrong_count_of_live_pages_is_counted_anew() {
    let mut forge = Forge::new();
    let block = forge.place(forge.told_by_the_map()).0 / PAGES;
    let live = forge.mounted().live_pages(Block(block)).unwrap();
    forge.change_table(|table| table.rows[block as usize].live += 1);
    assert_eq!(forge.mounted().live_pages(Block(block)), Some(live + 1), "{block}");
    let bench = forge.bench();
    let found = finds_only(&bench, "live-count-wrong", "warning", 0);
    assert_eq!(found["block"], json!(block));
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("{live} pages")) && message.ends_with(&(live + 1).to_string()),
        "{message}"
    );
    forge.is_mended(&bench, "live-count-wrong");
}

#[test]
fn an_erase_count_below_the_one_in_the_summary_is_raised() {
    let mut forge = Forge::new();
    let block = forge.place(forge.told_by_the_map()).0 / PAGES;
    let erases = forge.row(block).erases;
    forge.change_table(|table| table.rows[block as usize].erases -= 1);
    let bench = forge.bench();
    let found = finds_only(&bench, "erase-count-wrong", "warning", 0);
    assert_eq!(found["block"], json!(block));
    let message = found["message"].as_str().unwrap();
    assert!(message.contains(&format!("{erases} erases, and the block table {}", erases - 1)), "{message}");
    forge.is_mended(&bench, "erase-count-wrong");
    let counts = bench.report("wear-report a.img");
    let counted = counts["per_block"].as_array().unwrap().iter().find(|row| row["block"] == block).unwrap();
    assert_eq!(counted["erases"], json!(erases), "{counted}");
}

#[test]
fn an_erase_count_above_the_one_in_the_summary_is_left_alone() {
    let mut forge = Forge::new();
    let block = forge.place(forge.told_by_the_map()).0 / PAGES;
    forge.change_table(|table| table.rows[block as usize].erases += 1);
    let bench = forge.bench();
    assert_eq!(finds_only(&bench, "erase-count-wrong", "warning", 0)["block"], json!(block));
    is_left_alone(&bench, "", "erase-count-wrong", 0);
}
