//! Hostile files beside an image: chip files and undo files.

use std::ffi::OsString;
use std::path::Path;

use nandimg::prng::SplitMix64;

use super::cli::{Case, Outcome};
use super::image::bases;

/// A chip file with one thing in it.
fn chip(content: &str) -> String {
    format!(r#"{{"schema":"nandimg.chip/1",{content}}}"#)
}

fn geometry(content: &str) -> String {
    chip(&format!(r#""geometry":{{{content}}}"#))
}

fn faults(count: usize) -> String {
    let operations = ["erase", "program", "read"];
    let fault = |i: usize| {
        format!(
            r#"{{"block":{},"on":"{}","after":{}}}"#,
            i % 16,
            operations[i % 3],
            (i % 7) * usize::from(i % 3 < 2)
        )
    };
    let all: Vec<String> = (0..count).map(fault).collect();
    chip(&format!(r#""faults":[{}]"#, all.join(",")))
}

/// What is no chip file, or says what cannot be.
fn hostile_chips() -> Vec<Vec<u8>> {
    let mut chips: Vec<Vec<u8>> = Vec::new();
    let texts = ["", "{", "null", "[]", "0", "\"\"", "{}", "not JSON", "\u{feff}{}", "{\"schema\":1}"];
    chips.extend(texts.map(|text| text.as_bytes().to_vec()));
    chips.push(vec![0xFF; 100]);
    chips.push(br#"{"schema":"nandimg.chip/2"}"#.to_vec());
    chips.push(br#"{"schema":"nandimg.chip/1","schema":"nandimg.chip/1"}"#.to_vec());
    for depth in [100, 10_000, 1_000_000] {
        chips.push("[".repeat(depth).into_bytes());
        chips.push(chip(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth))).into_bytes());
        chips.push(chip(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth))).into_bytes());
    }
    chips.extend(hostile_geometries());
    let contents = [
        r#""geometry":[]"#,
        r#""geometry":7"#,
        r#""geometry":{"page_size":4294967295,"pages_per_block":4294967295}"#,
        r#""geometry":{"page_size":65536,"pages_per_block":65536,"blocks":1}"#,
        r#""geometry":{"page_size":64,"spare_size":4294967295,"pages_per_block":4,"blocks":4294967295}"#,
        r#""geometry":{"page_size":64,"pages_per_block":4,"blocks":16,"first_block":4294967295}"#,
        r#""geometry":{"page_size":64,"pages_per_block":4,"block_size":512}"#,
        r#""bad_block_marker":{"pages":[4294967295],"byte":0}"#,
        r#""bad_block_marker":{"pages":[0],"byte":4294967295,"len":4294967295}"#,
        r#""bad_block_marker":{"pages":[],"byte":0}"#,
        r#""bad_block_marker":{"pages":[0,0,0,0],"byte":0,"len":0}"#,
        r#""bad_block_marker":{"pages":"0","byte":-1}"#,
        r#""bad_blocks":[16]"#,
        r#""bad_blocks":[4294967295]"#,
        r#""bad_blocks":[-1]"#,
        r#""bad_blocks":{"0":1}"#,
        r#""bad_blocks":[0,0,0,1,5,5,15]"#,
        r#""bad_blocks":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]"#,
        r#""faults":[{"block":16,"on":"erase","after":0}]"#,
        r#""faults":[{"block":4294967295,"on":"erase","after":0}]"#,
        r#""faults":[{"block":0,"on":"melt","after":0}]"#,
        r#""faults":[{"block":0,"on":"erase","after":-1}]"#,
        r#""faults":[{"block":0,"on":"erase","after":18446744073709551615},{"block":0,"on":"read","after":0}]"#,
        r#""faults":[{"block":1,"on":"read","after":0},{"block":0,"on":"program","after":1}]"#,
    ];
    chips.extend(contents.map(|content| chip(content).into_bytes()));
    let spare = r#""geometry":{"page_size":64,"spare_size":16,"pages_per_block":4,"blocks":16}"#;
    for marker in
        ["\"pages\":[4],\"byte\":0", "\"pages\":[0],\"byte\":16", "\"pages\":[3],\"byte\":15,\"len\":2"]
    {
        chips.push(chip(&format!("{spare},\"bad_block_marker\":{{{marker}}}")).into_bytes());
    }
    chips
}

/// Each number of a geometry at the edges of what it can be.
fn hostile_geometries() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for field in [
        "page_size",
        "spare_size",
        "pages_per_block",
        "block_size",
        "blocks",
        "first_block",
        "max_erase_cycles",
    ] {
        for value in [
            "0",
            "1",
            "-1",
            "1.5",
            "1e400",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "\"2048\"",
            "[]",
            "null",
        ] {
            all.push(geometry(&format!(r#""{field}":{value}"#)).into_bytes());
        }
    }
    all
}

#[test]
fn chip_files() {
    let image = &bases()[3].bytes;
    for content in hostile_chips() {
        let name: String = String::from_utf8_lossy(&content).chars().take(120).collect();
        Case::new(&name, image.clone()).with_chip(content).look_and_write();
    }
}

#[test]
fn chip_files_that_are_large() {
    let image = &bases()[3].bytes;
    let numbers = |count: usize| (0..count).map(|i| (i % 16).to_string()).collect::<Vec<_>>().join(",");
    let large = [
        ("100 000 faults", faults(100_000)),
        ("a million bad blocks", chip(&format!(r#""bad_blocks":[{}]"#, numbers(1_000_000)))),
        (
            "a million marker pages",
            chip(&format!(r#""bad_block_marker":{{"pages":[{}],"byte":0}}"#, numbers(1_000_000))),
        ),
        ("1 MB of a string", chip(&format!(r#""x":"{}""#, "x".repeat(1_000_000)))),
        ("20 MB of a string", chip(&format!(r#""x":"{}""#, "x".repeat(20_000_000)))),
        ("20 MB of lists", chip(&format!(r#""x":[{}[]]"#, "[],".repeat(6_600_000)))),
        ("20 MB of spaces", format!("{}{}", " ".repeat(20_000_000), chip(r#""bad_blocks":[]"#))),
        ("a MB of lists", chip(&format!(r#""x":[{}[]]"#, "[],".repeat(333_000)))),
        ("15 MB of lists", chip(&format!(r#""x":[{}[]]"#, "[],".repeat(5_000_000)))),
        (
            "a MB of names",
            chip(&(0..80_000).map(|i| format!(r#""k{i:06}":0"#)).collect::<Vec<_>>().join(",")),
        ),
    ];
    for (name, content) in large {
        Case::new(name, image.clone()).with_chip(content).look_and_write();
    }
}

#[test]
fn a_chip_file_that_is_a_directory() {
    let case = Case::new("small", bases()[3].bytes.clone());
    let dir = tempfile::tempdir().unwrap();
    let image = case.place(dir.path());
    std::fs::create_dir(dir.path().join("image.chip.json")).unwrap();
    for command in ["mount-check", "fsck", "wear-report"] {
        assert_eq!(case.run(&image, command, &[], true).code, 8, "{command}");
    }
}

/// An image that was mended, as it was before and as it is, and the undo file.
struct Mended {
    before: Vec<u8>,
    after: Vec<u8>,
    undo: Vec<u8>,
}

impl Mended {
    fn new() -> Self {
        let mut image = bases()[3].clone();
        // The older copy is torn.
        let older = if bases()[3].slot(0)[4] < bases()[3].slot(1)[4] { 0 } else { 1 };
        image.slot_mut(older)[64..].fill(0xFF);
        let case = Case::new("torn", image.bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = case.place(dir.path());
        let undo = dir.path().join("undo");
        let mended = case.run(&path, "fsck", &["--repair", "--undo", undo.to_str().unwrap()], true);
        assert_eq!(mended.code, 1, "{}", mended.said);
        Self { before: case.image, after: std::fs::read(path).unwrap(), undo: std::fs::read(undo).unwrap() }
    }

    /// Take the repair back by `undo`: all of it, or nothing.
    fn take_back(&self, dir: &Path, image: &[u8], undo: &[u8], name: &str) -> Outcome {
        let case = Case::new(name, image.to_vec());
        let path = case.place(dir);
        let undo_path = dir.join("undo");
        std::fs::write(&undo_path, undo).unwrap();
        let arguments: Vec<OsString> =
            ["fsck".into(), path.clone().into(), "--undo-from".into(), undo_path.into()].to_vec();
        let outcome = super::cli::nandimg(case.memory(), &arguments, true);
        let now = std::fs::read(path).unwrap();
        match outcome.code {
            0 => assert!(now == self.before, "{name}: taken back to something else: {}", outcome.said),
            8 => assert!(now == image, "{name}: refused, and changed: {}", outcome.said),
            _ => panic!("{name}: {}", outcome.said),
        }
        outcome
    }
}

#[test]
fn undo_files() {
    let mended = Mended::new();
    let dir = tempfile::tempdir().unwrap();
    let (after, undo) = (&mended.after, &mended.undo);
    assert_eq!(mended.take_back(dir.path(), after, undo, "whole").code, 0);
    for len in (0..undo.len()).step_by(97) {
        mended.take_back(dir.path(), after, &undo[..len], &format!("cut short at {len}"));
    }
    let mut rng = SplitMix64::new(0x00D0);
    // The last record: its kind, a count, one block and its hash, the chip file's hash, a checksum.
    let end = undo.len() - (1 + 4 + 12 + 8 + 4);
    for _ in 0..150 {
        let mut bytes = undo.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << rng.below(8);
        let outcome = mended.take_back(dir.path(), after, &bytes, &format!("a bit flipped at {at}"));
        // Without its end, which a crash may tear, an undo file is that of a repair that was cut short.
        assert!(outcome.code == 8 || at >= end, "a bit flipped at {at}: {}", outcome.said);
    }
    for len in [0, 1, 8, 100, 5000, 1 << 20] {
        let mut garbage = vec![0; len];
        rng.fill(&mut garbage);
        assert_eq!(mended.take_back(dir.path(), after, &garbage, "garbage").code, 8);
        let tail = [&undo[..], &garbage].concat();
        mended.take_back(dir.path(), after, &tail, &format!("{len} bytes more"));
    }
    // Other images, and this one when it has been written to since.
    for image in [&bases()[4].bytes, &bases()[20].bytes, &vec![0xFF; after.len()], &Vec::new()] {
        assert_eq!(mended.take_back(dir.path(), image, undo, "another image").code, 8);
    }
    for _ in 0..50 {
        let mut changed = after.clone();
        changed[rng.below(after.len() as u64) as usize] ^= 1;
        assert_eq!(mended.take_back(dir.path(), &changed, undo, "changed since").code, 8);
    }
    hostile_headers(&mended, dir.path());
}

/// Headers whose checksum is right and whose sizes are not.
fn hostile_headers(mended: &Mended, dir: &Path) {
    let edges = [0, 1, 255, 1 << 16, 1 << 30, (1 << 30) + 1, 1 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX];
    for raw_block in edges {
        for start in [0, 1, 1 << 63, u64::MAX] {
            for blocks in [0, 1, 16, u32::MAX] {
                for chip_len in [0, 1 << 30, u64::MAX - 1, u64::MAX] {
                    let mut header = b"NANDUNDO\x02\0\0\0".to_vec();
                    header.extend(raw_block.to_le_bytes());
                    header.extend(u64::to_le_bytes(start));
                    header.extend(u32::to_le_bytes(blocks));
                    header.extend(u64::to_le_bytes(chip_len));
                    header.extend(vec![0; 8 * blocks.min(100) as usize]);
                    header.extend(crc32fast::hash(&header).to_le_bytes());
                    if (raw_block ^ start ^ u64::from(blocks) ^ chip_len) % 7 == 0 {
                        assert_eq!(mended.take_back(dir, &mended.after, &header, "a header").code, 8);
                    }
                }
            }
        }
    }
}
