//! Every kind, in every form a dump may give it, and what must not be mistaken for one.

use std::cell::{Cell, RefCell};
use std::io;

use super::super::source::ReadAt;
use super::specimens::{JFFS2_BE, JFFS2_LE, LITTLEFS, REDB, UBI, UIMAGE};
use super::specimens::{Specimen, all, bad_block_table, hex, ubifs_superblock, yaffs2};
use super::{Foreign, ordered, recognise, scan};

const MIB: usize = 1 << 20;

/// The windows of the scan, as a layout with spare bytes and one without meet them.
const WINDOW: usize = 256 << 10;

fn first(bytes: &[u8]) -> Option<Foreign> {
    recognise(&bytes).unwrap()
}

/// All that is recognised, in order.
fn survey(bytes: &[u8]) -> Vec<Foreign> {
    ordered(scan::scan(&bytes, |_| false).unwrap())
}

/// Name and offset of what comes first.
fn named(bytes: &[u8]) -> Option<(&'static str, u64)> {
    first(bytes).map(|found| (found.name, found.offset))
}

/// Bytes of a xorshift generator.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `pieces` one after the other.
fn joined(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

/// The dump of a chip whose pages hold `data`, the rest erased, with `spare` bytes after each page.
fn interleaved(data: &[u8], page: usize, spare: usize, fill: u8) -> Vec<u8> {
    let mut dump = Vec::new();
    for chunk in data.chunks(page) {
        dump.extend(chunk);
        dump.resize(dump.len() + page - chunk.len(), 0xFF);
        dump.resize(dump.len() + spare, fill);
    }
    dump
}

/// Whether `bytes` are at most the header that fits a page of 512 bytes: longer ones are cut by the spare bytes.
fn fits_small_page(specimen: &Specimen) -> bool {
    specimen.bytes.len() <= 512
}

#[test]
fn every_kind_is_named_at_the_start() {
    for specimen in all() {
        for fill in [0xFF, 0x00] {
            let mut image = specimen.bytes.clone();
            image.resize(64 << 10, fill);
            assert_eq!(named(&image), Some((specimen.name, 0)), "{} then {fill:#x}", specimen.name);
        }
    }
}

#[test]
fn a_valid_checksum_is_told() {
    for specimen in all().into_iter().filter(|specimen| !specimen.checked.is_empty()) {
        let evidence = first(&joined(&[&specimen.bytes, &[0xFF; 4096]])).unwrap().evidence;
        let told =
            ["a valid CRC", "checksum holds", "a valid checksum"].iter().any(|told| evidence.contains(told));
        assert!(told, "{}: {evidence}", specimen.name);
    }
}

#[test]
fn every_byte_under_a_checksum_counts() {
    for specimen in all() {
        let intact = first(&specimen.bytes);
        for at in specimen.checked.clone().step_by(if specimen.checked.len() > 1000 { 61 } else { 1 }) {
            let mut image = specimen.bytes.clone();
            image[at] ^= 1 << (at % 8);
            assert_ne!(first(&image), intact, "{} with byte {at} changed", specimen.name);
        }
    }
}

#[test]
fn no_kind_survives_the_loss_of_its_magic_number() {
    // Where the magic number lies, for the kinds whose structure does not begin with it.
    let at = |name| match name {
        "cramfs" => 16,
        "littlefs" => 8,
        "erofs" => 1024,
        "gpt" => 512,
        "ext2" | "ext3" | "ext4" => 1024 + 0x38,
        "yaffs2" => 8,
        _ => 0,
    };
    for specimen in all() {
        let mut image = specimen.bytes.clone();
        image[at(specimen.name)] ^= 0x20;
        // Not even the second of the two JFFS2 nodes.
        image.truncate(if specimen.name == "jffs2" { 44 } else { usize::MAX });
        assert_eq!(first(&image), None, "{}", specimen.name);
    }
}

#[test]
fn content_is_found_behind_erased_and_unknown_blocks() {
    for specimen in all() {
        let noisy = [noise(1, 2 * MIB), vec![0; 512]].concat();
        for lead in [vec![0xFF; MIB + 4096], vec![0; 512], noisy] {
            let image = joined(&[&lead, &specimen.bytes, &[0xFF; 4096]]);
            let expected = specimen.anywhere.then_some((specimen.name, lead.len() as u64));
            assert_eq!(named(&image), expected, "{} behind {}", specimen.name, lead.len());
        }
    }
}

#[test]
fn spare_bytes_between_pages_hide_nothing() {
    for specimen in all() {
        for (page, spare) in [(2048, 64), (512, 16), (4096, 224), (2048, 128)] {
            if page == 512 && !fits_small_page(&specimen) {
                continue;
            }
            for lead in [0, 1, 64, 2 * MIB / page] {
                let data = joined(&[&vec![0xFF; lead * page], &specimen.bytes, &vec![0xFF; 64 * page]]);
                for fill in [0xFF, 0x5A] {
                    let image = interleaved(&data, page, spare, fill);
                    let expected = specimen.anywhere || lead == 0;
                    let expected = expected.then_some((specimen.name, (lead * (page + spare)) as u64));
                    assert_eq!(named(&image), expected, "{} at page {lead} of {page}+{spare}", specimen.name);
                }
            }
        }
    }
}

#[test]
fn content_that_begins_where_no_page_can_is_left_alone() {
    for specimen in all().into_iter().filter(|specimen| !["jffs2", "ubifs"].contains(&specimen.name)) {
        for lead in [1, 100, 1000, 4096 + 8] {
            let image = joined(&[&vec![0xA5; lead], &specimen.bytes, &[0xFF; 512]]);
            assert_eq!(first(&image), None, "{} at {lead}", specimen.name);
        }
    }
}

#[test]
fn windows_lose_nothing_at_their_edges() {
    for specimen in all().into_iter().filter(|specimen| specimen.anywhere) {
        for at in (WINDOW - 8192..=WINDOW + 512).step_by(512) {
            let image = joined(&[&vec![0; at], &specimen.bytes, &[0; 100]]);
            assert_eq!(named(&image), Some((specimen.name, at as u64)));
        }
    }
    for specimen in all().into_iter().filter(|specimen| !specimen.anywhere) {
        let image = joined(&[&vec![0; WINDOW], &specimen.bytes, &[0; 100]]);
        assert_eq!(first(&image), None, "{} is not at the start of the file", specimen.name);
    }
    // Nodes lie closer together than pages.
    for back in (0..64).step_by(8) {
        let image = joined(&[&vec![0; WINDOW - back], &hex(JFFS2_LE)]);
        assert_eq!(named(&image), Some(("jffs2", (WINDOW - back) as u64)));
    }
}

#[test]
fn noise_and_blank_flash_are_nothing() {
    for seed in 0..100 {
        assert_eq!(survey(&noise(seed, MIB)), [], "seed {seed}");
    }
    for fill in [0xFF, 0x00, 0x55, 0xE0] {
        for len in [0, 1, 511, 512, MIB + 1] {
            assert_eq!(survey(&vec![fill; len]), [], "{len} times {fill:#x}");
        }
    }
}

#[test]
fn a_file_cut_short_is_the_same_or_nothing() {
    for specimen in all() {
        for len in 0..specimen.bytes.len() {
            if let Some((name, offset)) = named(&specimen.bytes[..len]) {
                // A FIT image is a device tree until its node `images` comes; the marks of ext3 and ext4 come late.
                let same = name == specimen.name || (specimen.name, name) == ("fit", "dtb");
                assert!(same && offset == 0, "{} cut to {len} is {name} at {offset}", specimen.name);
            }
        }
    }
}

#[test]
fn nothing_read_from_the_file_is_trusted() {
    // Each kind with each of its words turned into extremes, alone and at every page of an image.
    for specimen in all() {
        for at in (0..specimen.bytes.len().min(256)).step_by(2) {
            for value in [[0xFF; 4], [0; 4], [0x80, 0, 0, 0], [0, 0, 0, 0x80], [1, 0, 0, 0]] {
                let mut bytes = specimen.bytes.clone();
                bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
                let _ = survey(&bytes);
            }
        }
    }
    for seed in 0..20 {
        let mut image = noise(seed, MIB);
        for (page, specimen) in all().iter().cycle().take(MIB / 8192).enumerate() {
            let header = specimen.bytes.len().min(12 + 4 * seed as usize);
            image[page * 8192..][..header].copy_from_slice(&specimen.bytes[..header]);
        }
        let _ = survey(&image);
    }
}

#[test]
fn what_proves_more_comes_first() {
    let (ubi, uimage, littlefs) = (hex(UBI), hex(UIMAGE), hex(LITTLEFS));
    let gap = |piece: &[u8], len: usize| joined(&[piece, &vec![0xFF; len - piece.len()]]);
    let names = |image: &[u8]| survey(image).into_iter().map(|found| found.name).collect::<Vec<_>>();
    let mut flipped = ubi.clone();
    flipped[63] ^= 1;

    let boot_then_ubi = joined(&[&gap(&uimage, MIB), &gap(&ubi, MIB)]);
    assert_eq!(names(&boot_then_ubi), ["ubi", "uimage"]);
    let structural_then_checked = joined(&[&vec![0xFF; 4096], &gap(&flipped, MIB), &littlefs]);
    assert_eq!(names(&structural_then_checked), ["littlefs", "ubi"]);
    let structural_at_the_start = joined(&[&gap(&flipped, MIB), &littlefs]);
    assert_eq!(names(&structural_at_the_start), ["ubi", "littlefs"]);
    let equals = joined(&[&vec![0xFF; 4096], &gap(&ubi, MIB), &littlefs]);
    assert_eq!(names(&equals), ["ubi", "littlefs"]);
    let table_then_boot = joined(&[&bad_block_table(2048, 0), &gap(&uimage, MIB)]);
    assert_eq!(names(&table_then_boot), ["uimage", "linux-bbt"]);
    // The first block's header is lost, and so the file system in it comes before the second's.
    let inner = joined(&[&vec![0xFF; 4096], &gap(&ubifs_superblock(), 128 << 10), &ubi, &[0xFF; 4096]]);
    assert_eq!(names(&inner), ["ubi", "ubifs"]);
}

#[test]
fn one_jffs2_node_says_less_than_two() {
    for text in [JFFS2_LE, JFFS2_BE] {
        let nodes = hex(text);
        let evidence = |bytes: &[u8]| first(bytes).unwrap().evidence;
        assert_eq!(evidence(&nodes[..44]), "a node header with a valid CRC");
        assert_eq!(evidence(&nodes), "several node headers with valid CRCs");
        for byte in 0..12 {
            let mut broken = nodes[..44].to_vec();
            broken[byte] ^= 1;
            assert_eq!(first(&broken), None, "byte {byte}");
        }
        assert_eq!(first(&joined(&[&[0; 2], &nodes])), None, "not at a multiple of 4");
    }
}

#[test]
fn an_erased_jffs2_chip_is_known_by_its_clean_markers() {
    for marker in [[0x85, 0x19, 0x03, 0x20, 8, 0, 0, 0], [0x19, 0x85, 0x20, 0x03, 0, 0, 0, 8]] {
        let blank = interleaved(&vec![0xFF; 4 * 64 * 2048], 2048, 64, 0xFF);
        let with = |blocks: &[usize], at: usize| {
            let mut image = blank.clone();
            for block in blocks {
                image[block * 64 * 2112 + at..][..8].copy_from_slice(&marker);
            }
            image
        };
        let found = first(&with(&[0, 1, 3], 2050)).unwrap();
        assert_eq!((found.name, found.offset), ("jffs2", 2050));
        assert_eq!(first(&with(&[2], 2050)), None, "one may be chance");
    }
}

#[test]
fn a_ubifs_whose_nodes_are_cut_by_spare_bytes_is_known_by_its_headers() {
    let mut node = hex("31181006 00000000 0100000000000000 00100000 01 00 0000");
    node.resize(4096, 0x11);
    let evidence = |data: &[u8]| first(&interleaved(data, 2048, 64, 0xFF)).map(|found| found.evidence);
    assert_eq!(evidence(&ubifs_superblock()).unwrap(), "the header of a superblock node");
    assert_eq!(evidence(&node), None, "one may be chance");
    assert_eq!(evidence(&node.repeat(2)).unwrap(), "the headers of several nodes");
}

#[test]
fn a_ubi_header_with_a_flipped_bit_still_counts() {
    for at in (8 + 5..24).chain(60..64) {
        let mut header = hex(UBI);
        header[at] ^= if (16..24).contains(&at) { 0 } else { 1 };
        let evidence = first(&header).unwrap().evidence;
        let intact = (16..24).contains(&at);
        assert_eq!(evidence.contains("does not hold"), !intact, "byte {at}: {evidence}");
    }
}

#[test]
fn a_littlefs_or_redb_that_lost_its_checksum_still_counts() {
    for (text, bytes) in [(LITTLEFS, &[48][..]), (REDB, &[64, 192])] {
        let mut header = hex(text);
        let name = first(&header).unwrap().name;
        for &at in bytes {
            assert!(
                !first(&header).unwrap().evidence.contains("make sense"),
                "{name} before byte {at} changed"
            );
            header[at] ^= 1;
        }
        let found = first(&header).unwrap();
        assert_eq!(found.name, name);
        assert!(found.evidence.contains("whose fields make sense"), "{}", found.evidence);
    }
}

#[test]
fn yaffs2_headers_must_agree_with_themselves() {
    let le = u32::to_le_bytes;
    let good = |kind, parent, name, mode| named(&yaffs2(kind, parent, name, mode, le)) == Some(("yaffs2", 0));
    assert!(good(1, 1, "a", 0o100_644) && good(2, 1, "a", 0o120_777) && good(3, 1, "a", 0o40_755));
    assert!(good(5, 1, "a", 0o60_600) && good(1, 0x3_FFFF, "name with spaces", 0o100_000));
    assert!(!good(1, 1, "a", 0o40_755) && !good(3, 1, "a", 0o100_644) && !good(1, 1, "", 0o100_644));
    assert!(!good(0, 1, "a", 0o100_644) && !good(6, 1, "a", 0o100_644) && !good(1, 0, "a", 0o100_644));
    assert!(
        !good(1, 0x4_0000, "a", 0o100_644) && !good(1, 1, "a/b", 0o100_644) && !good(1, 1, "a\n", 0o100_644)
    );
    assert!(!good(1, 1, "a", 0x1_0000 | 0o100_644) && !good(4, 1, "a", 0));
}

#[test]
fn every_page_number_of_a_dhara_checkpoint_counts() {
    let specimen = all().into_iter().find(|specimen| specimen.name == "dhara").unwrap();
    let image = joined(&[&specimen.bytes, &[0xFF; 16 << 10]]);
    // The word after the header is the journal user's own.
    for word in [1, 2, 3].into_iter().chain(5..38) {
        let with = |page: u32| {
            let mut image = image.clone();
            image[4 * word..][..4].copy_from_slice(&page.to_le_bytes());
            named(&image)
        };
        assert_eq!(with(9), Some(("dhara", 0)), "word {word}");
        assert_eq!(with(66), None, "word {word} is beyond the last page");
        assert_eq!(with(u32::MAX).is_some(), word > 4, "word {word}");
    }
}

#[test]
fn a_bad_block_table_is_the_least_and_lies_at_the_end() {
    let (page, spare) = (2048, 64);
    let table = bad_block_table(page, spare);
    let blank = interleaved(&vec![0xFF; 15 * 64 * page], page, spare, 0xFF);
    let image = joined(&[&blank, &table, &[0xFF; 4096]]);
    assert_eq!(named(&image), Some(("linux-bbt", blank.len() as u64)));
    assert_eq!(named(&joined(&[&hex(UIMAGE), &image[64..]])), Some(("uimage", 0)));
    let far = joined(&[&table, &vec![0xFF; 20 * MIB]]);
    assert_eq!(first(&far), None);
    let mostly_bad = joined(&[&blank, b"Bbt0\x01", &[0x55; 2043]]);
    assert_eq!(first(&mostly_bad), None);
}

/// Counts what is read of it, and how much at once; it fails where it is told to.
struct Watched {
    bytes: Vec<u8>,
    fails_at: u64,
    total: Cell<u64>,
    reads: RefCell<Vec<usize>>,
}

impl ReadAt for Watched {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.total.set(self.total.get() + buf.len() as u64);
        self.reads.borrow_mut().push(buf.len());
        let end = offset + buf.len() as u64;
        assert!(end <= self.len(), "asked for bytes {offset}..{end} of {}", self.len());
        if (offset..end).contains(&self.fails_at) {
            return Err(io::Error::other("bad sector"));
        }
        self.bytes.read_at(offset, buf)
    }
}

fn watched(bytes: Vec<u8>, fails_at: u64) -> Watched {
    Watched { bytes, fails_at, total: Cell::new(0), reads: RefCell::default() }
}

#[test]
fn the_file_is_read_once_in_small_pieces() {
    for len in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 8192, WINDOW + 8193, 5 * MIB + 3] {
        let source = watched(noise(3, len), u64::MAX);
        assert_eq!(recognise(&source).unwrap(), None);
        assert!(source.total.get() >= len as u64 && source.total.get() <= len as u64 + len as u64 / 16);
        assert!(source.reads.borrow().iter().all(|&read| read <= 2 * MIB));
    }
    let decided = watched(joined(&[&hex(UBI), &vec![0xFF; 8 * MIB]]), u64::MAX);
    assert_eq!(recognise(&decided).unwrap().unwrap().name, "ubi");
    assert_eq!(decided.reads.borrow().len(), 1, "nothing can come before what lies at the start");
}

#[test]
fn a_place_that_cannot_be_read_is_an_error() {
    let source = watched(vec![0xFF; 2 * MIB], MIB as u64);
    assert_eq!(recognise(&source).unwrap_err().to_string(), "bad sector");
}

#[test]
fn every_layout_keeps_nodes_aligned() {
    // `Place::Multiple` does not ask where in a page an offset lies, because no layout can shift a multiple of 8.
    for layout in super::super::layouts::all() {
        assert!(
            layout.page.is_multiple_of(8) && layout.spare.is_multiple_of(8),
            "{}+{}",
            layout.page,
            layout.spare
        );
    }
}
