//! The specification's worked pages are what the code reads and writes.
#![forbid(unsafe_code)]

use nandimg::flash::{Geometry, PageLayoutTag};
use nandimg::ftl::page::Layout;
use nandimg::layout;
use nandimg::onflash::ftlj::{self, Metadata, UNMAPPED};
use nandimg::onflash::paged::anchor::{Anchor, VERSION};
use nandimg::onflash::paged::head::{Head, Kind, open, seal};
use nandimg::onflash::paged::log::{FIXED_LEN, LogPage, OpenBlock, Record, Written, encode_page, flags};
use nandimg::onflash::paged::map::{self, MapEntry};
use nandimg::onflash::paged::summary::Summary;
use nandimg::onflash::paged::tables::{
    BlockRow, BlockState, BlockTable, Directory, PageList, chunk_len, decode_chunk, encode_chunk,
};
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
fn the_worked_directory_page_is_what_the_text_says() {
    let mut map_pages: Vec<u32> = (0..8).map(|page| address(14, page)).collect();
    map_pages.push(address(18, 0));
    let directory = Directory { pairs: [(14, 15), (18, 19)].to_vec(), map_pages };
    let at = |head| Head { address: address(18, 1), erases: 2, ..head };
    let payload = encode_chunk(NextPair(23, 24), &directory.encode());
    let payload = assert_page("A worked directory page", Kind::Directory, at, &payload);
    assert_eq!(Directory::decode(decode_chunk(&payload).unwrap()), Ok(directory));
}

#[test]
fn the_worked_page_of_the_block_table_is_what_the_text_says() {
    let free = BlockRow { state: BlockState::Free, class: 0, live: 0, erases: 0, written: 0, closed: 0 };
    let mut rows = [free; 64];
    rows[57] = BlockRow { state: BlockState::Closed, live: 5, erases: 3, written: 2, closed: 4, ..free };
    rows[58] = BlockRow { state: BlockState::Listed, live: 2, erases: 1, ..free };
    rows[59] = BlockRow { state: BlockState::Announced, erases: 7, ..free };
    rows[60] = BlockRow { state: BlockState::Chain, erases: 2, ..free };
    rows[63] = BlockRow { state: BlockState::Bad, ..free };
    let stored = |logical, byte, stamp| Some(StoredPage { logical, crc: crc_of(byte), stamp });
    let pages = [stored(30, 0x33, 36), None, stored(31, 0x44, 40)].to_vec();
    let table = BlockTable { rows: rows.to_vec(), lists: [PageList { block: 58, pages }].to_vec() };
    let stream = table.encode();
    assert_eq!(BlockTable::decode(&stream), Ok(table));
    let chunks: Vec<&[u8]> = stream.chunks(chunk_len(256)).collect();
    let at = |head| Head { number: 4, address: address(18, 6), erases: 2, ..head };
    let payload = encode_chunk(NextPair(23, 24), chunks[4]);
    let payload = assert_page("A worked page of the block table", Kind::Table, at, &payload);
    assert_eq!((decode_chunk(&payload), chunks.len()), (Some(chunks[4]), 5));
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records.iter().cloned() {
        assert_eq!(record.put(&mut bytes, PAGE_SIZE), None);
    }
    bytes
}

/// The same of a log page with these records, behind those of the page before.
fn assert_log_page(
    heading: &str,
    describe: impl FnOnce(Head) -> Head,
    clocks: (u64, u64),
    next: NextPair,
    [repeated, own]: [&[Record]; 2],
) {
    let [before, records] = [repeated, own].map(bytes_of);
    let payload = encode_page(next, clocks, &before, &records);
    let payload = assert_page(heading, Kind::Log, describe, &payload);
    assert_eq!(payload.len(), FIXED_LEN + before.len() + records.len());
    let page = LogPage::decode(&payload).unwrap();
    assert_eq!((page.next, (page.before, page.clock)), (next, clocks));
    assert_eq!((page.repeated.is_empty(), page.repeated.decode()), (repeated.is_empty(), repeated.to_vec()));
    assert_eq!(page.records.decode(), own);
}

#[test]
fn the_worked_end_of_a_session_is_what_the_text_says() {
    let moved = Written { logical: 20, crc: crc_of(0x22), old: address(30, 0) };
    let next = Written { logical: 21, ..moved };
    let pages = [moved, Written { old: address(30, 1), ..next }].to_vec();
    let before = [
        Record::Extent { address: address(33, 0), moved: true, pages },
        Record::Discard { first: 50, count: 4 },
    ];
    let clean = Record::Clean {
        prints: [crc_of(0xFF), crc_of(0)],
        open: [OpenBlock { block: 33, class: 0, next: 2 }].to_vec(),
        announced: [12, 35, 36].to_vec(),
    };
    let at = |head| Head { flags: flags::COMMIT, number: 11, address: address(23, 1), erases: 4, ..head };
    assert_log_page("A worked end of a session", at, (43, 43), NextPair(31, 32), [&before, &[clean]]);
}

#[test]
fn the_worked_start_of_a_session_is_what_the_text_says() {
    let records = [Record::Session, Record::Bad(40), Record::Lost([(60, address(27, 3))].to_vec())];
    let flags = flags::COMMIT | flags::MIRRORED;
    let at = |head| Head { flags, number: 12, address: address(31, 0), erases: 1, ..head };
    assert_log_page("A worked start of a session", at, (43, 43), NextPair(35, 36), [&[], &records]);
}

#[test]
fn the_worked_witness_page_is_what_the_text_says() {
    let at = |head| Head { address: address(12, 0), erases: 5, ..head };
    assert_page("A worked witness page", Kind::Witness, at, &[]);
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
    let at = |head| Head { flags: flags::COMMIT, number: 9, address: address(18, 7), erases: 2, ..head };
    assert_log_page("A worked log page", at, (41, 43), NextPair(23, 24), [&[], &records]);
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
