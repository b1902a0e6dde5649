//! The specification's worked pages are what the code reads and writes.
#![forbid(unsafe_code)]

use nandimg::flash::{Geometry, PageLayoutTag};
use nandimg::ftl::page::Layout;
use nandimg::layout;
use nandimg::onflash::ftlj::{self, Metadata, UNMAPPED};
use nandimg::onflash::paged::anchor::{Anchor, VERSION};
use nandimg::onflash::paged::head::{Head, Kind, open, seal};
use nandimg::onflash::paged::log::{FIXED_LEN, LogPage, Record, Written, encode_page, flags};
use nandimg::onflash::paged::map::{self, MapEntry};
use nandimg::onflash::paged::summary::Summary;
use nandimg::onflash::paged::{NO_PAGE, NextPair, StoredPage};

const SPEC: &str = include_str!("../src/onflash/SPEC.md");

/// The bytes of the hex dump under a heading of the specification: an offset, a colon, and bytes on each line.
fn dump(heading: &str) -> Vec<u8> {
    let part = SPEC.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let dump = part.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a hex dump");
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, rest) = line.split_once(':').expect("an offset");
        assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()), "the offsets count on");
        let hex = rest.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
        bytes.extend(hex);
    }
    bytes
}

/// What the text around the dump of the block-mapped format says of it.
fn described() -> Metadata {
    let mut map = vec![UNMAPPED; 10];
    map[..2].copy_from_slice(&[3, 0]);
    let mut erase_counts = vec![0; 16];
    (erase_counts[0], erase_counts[1], erase_counts[4], erase_counts[7]) = (2, 1, 1, 1);
    Metadata { logical_len: 5000, map, erase_counts, bad_table: vec![0, 0b10] }
}

#[test]
fn the_worked_entry_is_what_the_text_says() {
    let bytes = dump("A worked entry");
    assert_eq!(Metadata::decode(&bytes), Ok((2, described())));
    assert_eq!(described().encode(2), bytes);
}

#[test]
fn the_worked_layout_is_what_the_text_says() {
    let layout = ftlj::Layout::new(4096, 16).unwrap();
    assert_eq!((layout.blocks_per_slot, layout.reserved, layout.logical_blocks), (1, 4, 10));
}

/// Data bytes a page, and pages a block, of the page-mapped volume that the worked pages are taken from.
const PAGE_SIZE: usize = 256;
const PAGES: u32 = 8;
const VOLUME: u32 = 0xF2AA_5A27;

/// The dump under a heading is a page with this head, whose payload is this; what it leaves out is 0xFF.
fn assert_page(heading: &str, kind: Kind, describe: impl FnOnce(Head) -> Head, payload: &[u8]) -> Vec<u8> {
    let mut page = dump(heading);
    page.resize(PAGE_SIZE, 0xFF);
    let head = describe(Head { kind, flags: 0, volume: VOLUME, epoch: 3, number: 0, address: 0, erases: 0 });
    let (found, content) = open(&page).expect("a whole page");
    assert_eq!(found, head, "{heading}");
    assert!(content == payload, "{heading}: another payload");
    assert!(seal(&head, payload, PAGE_SIZE) == page, "{heading}: another page");
    content.to_vec()
}

fn address(block: u32, page: u32) -> u32 {
    block * PAGES + page
}

/// CRC-32 of a page that is full of one byte.
fn crc_of(byte: u8) -> u32 {
    crc32fast::hash(&[byte; PAGE_SIZE])
}

#[test]
fn the_worked_anchor_is_what_the_text_says() {
    let raw_pages = PageLayoutTag::of(&layout::Layout::preset("linux-hamming", 256, 8).unwrap());
    let anchor = Anchor {
        version: VERSION,
        incompatible: 0,
        page_size: 256,
        spare_size: 8,
        pages_per_block: PAGES,
        blocks: 64,
        max_erase_cycles: 100_000,
        zone_blocks: 4,
        summary_pages: 1,
        classes: 1,
        capacity_pages: 211,
        reserve_blocks: 1,
        wear_interval: 4,
        wear_threshold: 7,
        logical_len: 5000,
        clock: 40,
        body: (18, 19, 1),
        directory_pages: 1,
        table_pages: 5,
        snapshot_pages: 0,
        next_log: 9,
        page_layout: raw_pages.fingerprint,
        page_layout_name: raw_pages.name,
    };
    let at = |head| Head { number: 3, address: address(0, 2), erases: 1, ..head };
    let payload = assert_page("A worked anchor", Kind::Anchor, at, &anchor.encode());
    assert_eq!(Anchor::decode(&payload), Ok(anchor));
    let layout = Layout::of_chip(&Geometry::new(256, 0, 2048, 64).unwrap()).unwrap();
    assert_eq!((layout.zone_blocks, layout.summary_pages, layout.classes), (4, 1, 1));
}

#[test]
fn the_worked_log_page_is_what_the_text_says() {
    let written = |logical, byte, old| Written { logical, crc: crc_of(byte), old };
    let pages = [written(7, 0x77, address(26, 2)), written(8, 0x88, NO_PAGE)].to_vec();
    let records = [
        Record::Erase([12].to_vec()),
        Record::Extent { address: address(30, 4), moved: false, pages },
        Record::Length(5200),
    ];
    let mut bytes = Vec::new();
    for record in records.iter().cloned() {
        assert_eq!(record.put(&mut bytes, PAGE_SIZE), None);
    }
    let next = NextPair(23, 24);
    let at = |head| Head { flags: flags::COMMIT, number: 9, address: address(18, 7), erases: 2, ..head };
    let payload = assert_page("A worked log page", Kind::Log, at, &encode_page(next, (41, 43), &[], &bytes));
    assert_eq!(payload.len(), FIXED_LEN + bytes.len());
    let page = LogPage::decode(&payload).unwrap();
    assert_eq!((page.next, page.before, page.clock), (next, 41, 43));
    assert!(page.repeated.is_empty());
    assert_eq!(page.records.decode(), records);
}

#[test]
fn the_worked_map_page_is_what_the_text_says() {
    let at = MapEntry::At { address: address(26, 6), crc: crc_of(0x11) };
    let entries = [at, MapEntry::Unmapped, MapEntry::Lost];
    let place = |head| Head { number: 8, address: address(18, 0), erases: 2, ..head };
    let next = NextPair(23, 24);
    let entries = entries.map(map::PackedEntry::from);
    let payload = assert_page("A worked map page", Kind::Map, place, &map::encode(next, &entries));
    assert_eq!(map::decode(&payload), Ok(entries.to_vec()));
    let (per_page, capacity) = (map::entries_per_page(256), 211u32);
    assert_eq!((per_page, capacity.div_ceil(per_page), capacity % per_page), (26, 9, 3));
}

#[test]
fn the_worked_summary_is_what_the_text_says() {
    let stored = |logical, byte, stamp| Some(StoredPage { logical, crc: crc_of(byte), stamp });
    let moved = [(20, 11), (21, 12), (22, 13), (23, 30)].map(|(logical, stamp)| stored(logical, 0x22, stamp));
    let mut pages = moved.to_vec();
    pages.extend([stored(7, 0x77, 41), stored(8, 0x88, 42), None]);
    let summary = Summary { logical_len: 5000, class: 0, pages };
    let at = |head| Head { number: 40, address: address(30, 7), erases: 2, ..head };
    let payload = assert_page("A worked summary", Kind::Summary, at, &summary.encode());
    assert_eq!(Summary::decode(&payload), Ok(summary));
}
