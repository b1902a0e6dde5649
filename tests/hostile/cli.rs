//! The command line on hostile files, with little memory and little time: every command gives an answer of the contract.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nandimg::flash::{Block, FlashHardware};
use nandimg::prng::SplitMix64;
use serde_json::Value;
use tempfile::TempDir;

use super::image::{Entry, Found, Image, bases, parse, seal};
use super::limits::{ALLOWANCE, TIME_LIMIT, limited, said};
use super::mutate;
use super::{page_image, page_mutate};

const KINDS: [&str; 15] = [
    "io",
    "not-found",
    "permission",
    "locked",
    "exists",
    "not-an-image",
    "foreign-format",
    "geometry-unknown",
    "geometry-mismatch",
    "unmountable",
    "read-only",
    "out-of-range",
    "full",
    "unreadable",
    "unsupported",
];

/// How a command ended.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) said: String,
}

/// Run a command line, `--json` or not; what any command must keep to is checked here.
pub(crate) fn nandimg(memory: u64, arguments: &[OsString], json: bool) -> Outcome {
    let mut command = limited(memory, env!("CARGO_BIN_EXE_nandimg"));
    command.args(arguments).env("RUST_BACKTRACE", "0");
    if json {
        command.arg("--json");
    }
    let output = assert_cmd::Command::from_std(command).timeout(TIME_LIMIT).output().expect("bash runs");
    let said = format!("{arguments:?} within {} MiB: {}", memory >> 20, said(&output));
    let said: String = said.chars().take(4000).collect();
    let code = output.status.code().unwrap_or_else(|| panic!("killed: {said}"));
    assert!([0, 1, 4, 8, 16].contains(&code), "exit status: {said}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{said}");
    if json {
        assert!(output.stdout.ends_with(b"\n"), "no end of line: {said}");
        let report = serde_json::from_slice(&output.stdout);
        let report: Value = report.unwrap_or_else(|e| panic!("not one JSON object ({e}): {said}"));
        check_report(&report, code, &arguments[0].to_string_lossy(), &said);
    }
    Outcome { code, said }
}

fn check_report(report: &Value, code: i32, command: &str, said: &str) {
    assert_eq!(report["schema"], format!("nandimg.{command}/1"), "{said}");
    let error = &report["error"];
    assert!(code != 8 || !error.is_null(), "no error for its status: {said}");
    if !error.is_null() {
        assert!(code >= 4, "an error for its status: {said}");
        let kind = error["kind"].as_str().expect("a kind");
        assert!(KINDS.contains(&kind), "{said}");
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{said}");
        assert_eq!(code == 4, matches!(kind, "unmountable" | "unreadable"), "{said}");
    }
}

/// The least memory in which a command manages an image of a few KiB.
fn baseline() -> u64 {
    static BASELINE: OnceLock<u64> = OnceLock::new();
    *BASELINE.get_or_init(|| {
        let case = Case::new("small", bases()[3].bytes.clone());
        let dir = tempfile::tempdir().unwrap();
        let image = case.place(dir.path());
        let manages = |mib: u64| {
            let mut command = limited(mib << 20, env!("CARGO_BIN_EXE_nandimg"));
            command.arg("mount-check").arg(&image);
            command.output().unwrap().status.code() == Some(0)
        };
        let (mut fails, mut works) = (0, 1024);
        assert!(manages(works));
        while works - fails > 1 {
            let middle = (fails + works) / 2;
            if manages(middle) { works = middle } else { fails = middle }
        }
        println!("a command by itself takes {works} MiB");
        works << 20
    })
}

/// A hostile image: its bytes, its chip file, and the flags to look at it with.
pub(crate) struct Case {
    name: String,
    pub(crate) image: Vec<u8>,
    chip: Option<Vec<u8>>,
    flags: Vec<String>,
}

impl Case {
    pub(crate) fn new(name: &str, image: Vec<u8>) -> Self {
        Self { name: name.to_string(), image, chip: None, flags: Vec::new() }
    }

    fn with_flags(mut self, flags: &str) -> Self {
        self.flags = flags.split_whitespace().map(str::to_string).collect();
        self
    }

    pub(crate) fn with_chip(mut self, chip: impl Into<Vec<u8>>) -> Self {
        self.chip = Some(chip.into());
        self
    }

    /// Put it into `dir`.
    pub(crate) fn place(&self, dir: &Path) -> PathBuf {
        let image = dir.join("image");
        std::fs::write(&image, &self.image).unwrap();
        let chip = dir.join("image.chip.json");
        match &self.chip {
            Some(bytes) => std::fs::write(chip, bytes).unwrap(),
            None => drop(std::fs::remove_file(chip)),
        }
        image
    }

    pub(crate) fn memory(&self) -> u64 {
        baseline() + self.image.len() as u64 + ALLOWANCE
    }

    pub(crate) fn run(&self, image: &Path, command: &str, more: &[&str], json: bool) -> Outcome {
        let mut arguments = vec![OsString::from(command), image.into()];
        arguments.extend(self.flags.iter().map(OsString::from));
        arguments.extend(more.iter().map(OsString::from));
        nandimg(self.memory(), &arguments, json)
    }

    /// The commands that look, and a write.
    pub(crate) fn look_and_write(&self) {
        println!("{}", self.name);
        let dir = tempfile::tempdir().unwrap();
        self.look(&dir);
        self.write(&dir);
    }

    /// Every command, in a directory of its own.
    fn put_through(&self) {
        println!("{}", self.name);
        let dir = tempfile::tempdir().unwrap();
        self.look(&dir);
        self.convert(&dir);
        self.repair(&dir);
        self.write(&dir);
    }

    fn look(&self, dir: &TempDir) {
        let image = self.place(dir.path());
        let looks: [(&str, &[&str]); 7] = [
            ("mount-check", &["--hash"]),
            ("read", &["-o", "/dev/null"]),
            ("read", &["-o", "/dev/null", "--skip-unreadable"]),
            ("fsck", &[]),
            ("wear-report", &[]),
            ("inject-bad", &["--list"]),
            ("format", &["--mapping", "block", "--dry-run", "--force"]),
        ];
        for (index, (command, more)) in looks.into_iter().enumerate() {
            let outcome = self.run(&image, command, more, true);
            // Now and then as text too, which ends the same way.
            if (index + self.image.len() + self.name.len()).is_multiple_of(5) {
                assert_eq!(self.run(&image, command, more, false).code, outcome.code, "{}", outcome.said);
            }
        }
        self.assert_untouched(dir.path());
    }

    /// To other images, of which nothing is left where it failed.
    fn convert(&self, dir: &TempDir) {
        let image = self.place(dir.path());
        let made = dir.path().join("made");
        let name = made.to_str().unwrap();
        let conversions: [&[&str]; 4] = [
            &[name],
            &[name, "--to-layout", "linux-bch4", "--to-spare-size", "64", "--skip-unreadable"],
            &[name, "--bb", "skipbad", "--bad-blocks", "0,2"],
            &[name, "--logical", "--bad-blocks", "9"],
        ];
        for more in conversions {
            let outcome = self.run(&image, "convert", more, true);
            let is_there = made.exists();
            assert!(is_there == (outcome.code == 0) || outcome.code == 4, "{}", outcome.said);
            if is_there {
                std::fs::remove_file(&made).unwrap();
                std::fs::remove_file(made.with_extension("chip.json")).unwrap();
            }
        }
        self.assert_untouched(dir.path());
    }

    fn assert_untouched(&self, dir: &Path) {
        assert!(
            std::fs::read(dir.join("image")).unwrap() == self.image,
            "{}: the image has changed",
            self.name
        );
        let chip = std::fs::read(dir.join("image.chip.json")).ok();
        assert!(chip == self.chip, "{}: the chip file has changed", self.name);
        let files = std::fs::read_dir(dir).unwrap().count();
        assert_eq!(files, 1 + usize::from(self.chip.is_some()), "{}: files beside the image", self.name);
    }

    /// Mend; look again, and judge both; take it back.
    fn mend_and_undo(&self, dir: &TempDir, judge: impl Fn(&Outcome, &Outcome)) {
        let image = self.place(dir.path());
        let undo = dir.path().join("undo");
        let undo_name = undo.to_str().unwrap();
        let repaired = self.run(&image, "fsck", &["--repair", "--undo", undo_name], true);
        let again = self.run(&image, "fsck", &[], true);
        judge(&repaired, &again);
        if undo.exists() {
            let undone = self.run(&image, "fsck", &["--undo-from", undo_name], true);
            assert_eq!(undone.code, 0, "{}", undone.said);
            std::fs::remove_file(&undo).unwrap();
        } else {
            assert_ne!(repaired.code, 1, "mended without an undo file: {}", repaired.said);
        }
        self.assert_untouched(dir.path());
    }

    /// What is mended is clean, or says the same remaining damage.
    fn repair(&self, dir: &TempDir) {
        self.mend_and_undo(dir, |repaired, again| match repaired.code {
            0 | 1 => assert_eq!(again.code, 0, "{}\nthen {}", repaired.said, again.said),
            code => assert_eq!(again.code, code, "{}\nthen {}", repaired.said, again.said),
        });
    }

    /// Mend what lies; what is left to find depends on the lie.
    fn mend_what_lies(&self, dir: &TempDir) {
        self.mend_and_undo(dir, |repaired, again| {
            for outcome in [repaired, again] {
                assert!([0, 1, 4, 8].contains(&outcome.code), "{}", outcome.said);
            }
        });
    }

    /// All that can be read, and how the reading ended.
    fn content(&self, image: &Path, range: &[&str]) -> (i32, Vec<u8>) {
        let out = image.with_file_name("out");
        std::fs::write(&out, []).unwrap();
        let read = self.run(image, "read", &[range, &["-o", out.to_str().unwrap()]].concat(), true);
        (read.code, std::fs::read(&out).unwrap())
    }

    fn write(&self, dir: &TempDir) {
        let image = self.place(dir.path());
        let input = dir.path().join("input");
        std::fs::write(&input, b"a few bytes").unwrap();
        let before = self.content(&image, &[]);
        let written = self.run(&image, "write", &["-i", input.to_str().unwrap(), "--offset", "3"], true);
        let mounts = self.run(&image, "mount-check", &[], true);
        if written.code == 0 {
            assert!(mounts.code <= 1, "{}\nthen {}", written.said, mounts.said);
            let after = self.content(&image, &["--offset", "3", "--length", "11"]);
            assert_eq!(after, (0, b"a few bytes".to_vec()), "{}\nthen {}", written.said, mounts.said);
        } else {
            assert!(self.content(&image, &[]) == before, "a write that failed: {}", written.said);
        }
    }
}

/// An image of the library's tests as a file; its chip's marks go where a file has them.
fn as_file(image: &Image, seed: u64) -> Case {
    let shape = &image.shape;
    let marked: Vec<usize> = (0..shape.blocks).filter(|&b| image.is_marked(b)).collect();
    let mut case = Case::new(&format!("seed {seed}"), image.bytes.clone());
    let mut flags =
        format!("--page-size {} --block-size {} --blocks {}", shape.page, shape.block, shape.blocks);
    if seed.is_multiple_of(4) {
        case.image.clear();
        for (index, page) in image.bytes.chunks(shape.page).enumerate() {
            case.image.extend(page);
            let mut spare = [0xFF; 16];
            if marked.contains(&(index * shape.page / shape.block)) {
                spare[5] = 0;
            }
            case.image.extend(spare);
        }
        flags.push_str(" --spare-size 16");
    } else if !marked.is_empty() {
        case = case.with_chip(format!(r#"{{"schema":"nandimg.chip/1","bad_blocks":{marked:?}}}"#));
    }
    if seed % 8 == 7 { case } else { case.with_flags(&flags) }
}

fn put_mutated_through(seeds: impl Iterator<Item = u64>) {
    let bases = bases();
    for seed in seeds {
        as_file(&mutate::damaged(&bases, seed), seed).put_through();
    }
}

#[test]
fn mutated_metadata_in_files() {
    put_mutated_through((0..240).step_by(2));
}

#[test]
fn more_mutated_metadata_in_files() {
    put_mutated_through((1..240).step_by(2));
}

/// A mutated page-mapped volume as a file; every other one has spare areas.
fn page_mapped_file(bases: &[page_image::Base], seed: u64) -> Case {
    let mutant = page_mutate::damaged(bases, seed);
    let blocks = mutant.chip.geometry().blocks();
    let marked: Vec<u32> =
        (0..blocks).filter(|&block| mutant.chip.is_bad(Block(block)).unwrap_or(false)).collect();
    let mut case = Case::new(&format!("page-mapped, seed {seed}"), mutant.chip.data().to_vec());
    let block_size = page_image::PAGE as u32 * page_image::PAGES;
    let mut flags = format!("--page-size {} --block-size {block_size} --blocks {blocks}", page_image::PAGE);
    if seed.is_multiple_of(2) {
        case.image.clear();
        for (index, page) in (0..).zip(mutant.chip.data().chunks(page_image::PAGE)) {
            case.image.extend(page);
            let mut spare = [0xFF; 16];
            if marked.contains(&(index / page_image::PAGES)) {
                spare[5] = 0;
            }
            case.image.extend(spare);
        }
        flags.push_str(" --spare-size 16");
    } else if !marked.is_empty() {
        case = case.with_chip(format!(r#"{{"schema":"nandimg.chip/1","bad_blocks":{marked:?}}}"#));
    }
    case.with_flags(&flags)
}

#[test]
fn mutated_page_mapped_files() {
    let bases = page_image::bases();
    for seed in 0..110 {
        let case = page_mapped_file(&bases, seed);
        println!("{}", case.name);
        let dir = tempfile::tempdir().unwrap();
        case.look(&dir);
        case.mend_what_lies(&dir);
    }
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SplitMix64::new(len as u64).fill(&mut bytes);
    bytes
}

const FLAGS: &str = "--page-size 512 --block-size 4096";

#[test]
fn files_that_are_no_images() {
    let sizes = [0, 1, 3, 4, 5, 15, 16, 17, 33, 511, 4097, 65_537, (1 << 20) + 7];
    for len in sizes {
        Case::new(&format!("{len} random bytes"), random(len)).put_through();
    }
    for len in [3 * 4096, 1 << 20] {
        Case::new("random blocks", random(len)).with_flags(FLAGS).put_through();
        for byte in [0, 0xFF] {
            Case::new("all the same", vec![byte; len]).put_through();
            Case::new("all the same, with flags", vec![byte; len]).with_flags(FLAGS).put_through();
        }
    }
    let small = Case::new("small", bases()[3].bytes.clone());
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("image");
    std::fs::create_dir(&directory).unwrap();
    for command in ["mount-check", "fsck", "wear-report", "format"] {
        let outcome = small.run(&directory, command, &[], true);
        assert_eq!(outcome.code, 8, "{}", outcome.said);
    }
}

/// Bytes of the header of an entry that claims `payload_len`.
fn forged_header(sequence: u64, payload_len: usize) -> Vec<u8> {
    let mut header = b"FTLJ".to_vec();
    header.extend(sequence.to_le_bytes());
    header.extend((payload_len as u32).to_le_bytes());
    header
}

/// What payload an entry at this offset of a file of this length claims.
type Claim = fn(usize, usize) -> usize;

#[test]
fn large_files_that_claim_much() {
    let magics = b"FTLJ".repeat(16 << 20);
    Case::new("nothing but magics", magics.clone()).put_through();
    Case::new("nothing but magics, with flags", magics).with_flags(FLAGS).put_through();
    let len = 16 << 20;
    let claims: [(&str, Claim); 3] = [
        ("headers that claim the rest of the file", |at, len| len - at - 32),
        ("headers that claim what a slot B there could hold", |at, len| at.min(len - at).saturating_sub(32)),
        ("headers that claim 64 KiB", |_, _| 1 << 16),
    ];
    for (name, claim) in claims {
        let mut image = vec![0; len];
        for at in (0..len).step_by(512) {
            image[at..at + 16].copy_from_slice(&forged_header(at as u64, claim(at, len)));
        }
        Case::new(name, image.clone()).put_through();
        Case::new(name, image).with_flags(FLAGS).put_through();
    }
}

#[test]
fn large_files_of_entries_that_are_whole() {
    let image = &bases()[3];
    let Found::Entry(entry) = parse(image.slot(0), image.shape.page) else { panic!("slot A is in use") };
    for step in [256, 512, 4096] {
        let mut bytes = vec![0xFF; 16 << 20];
        for (at, chunk) in (0..).zip(bytes.chunks_mut(step)) {
            let sealed = seal(at, &entry.payload().0);
            chunk[..sealed.len()].copy_from_slice(&sealed);
        }
        Case::new("entries", bytes.clone()).put_through();
        Case::new("entries, with flags", bytes).with_flags("--page-size 256 --block-size 256").put_through();
    }
}

/// An image with `entry` in slot A and nothing else.
fn alone(entry: &Entry, block: usize) -> Vec<u8> {
    let mut bytes = seal(entry.sequence, &entry.payload().0);
    bytes.resize(entry.counts.len() * block, 0xFF);
    bytes
}

#[test]
fn lengths_without_measure() {
    let image = &bases()[3];
    let Found::Entry(entry) = parse(image.slot(0), image.shape.page) else { panic!("slot A is in use") };
    for logical_len in [1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let entry = Entry { logical_len, ..entry.clone() };
        let case = Case::new("a length", alone(&entry, image.shape.block)).with_flags("--page-size 64");
        case.put_through();
    }
}

/// As many blocks as a file can have, each of which has something wrong.
#[test]
fn many_blocks_that_are_all_wrong() {
    let (block, blocks) = (1024, 16 << 10);
    let per_slot = (8 * blocks + blocks / 8 + 64usize).div_ceil(block);
    let logical = blocks - 2 * per_slot - 4;
    let fine = Entry {
        sequence: 7,
        logical_len: (logical * block) as u64,
        map: (0..logical as u32).collect(),
        counts: vec![3; blocks],
        bad: vec![0; blocks / 8],
        trailing: Vec::new(),
    };
    let flags = "--page-size 512 --block-size 1024 --max-erase-cycles 10";
    let wrong = [
        ("all bad", Entry { bad: vec![0xFF; blocks / 8], ..fine.clone() }),
        ("all the same block", Entry { map: vec![0; logical], ..fine.clone() }),
        ("all out of range", Entry { map: vec![u32::MAX - 1; logical], ..fine.clone() }),
        ("all worn", Entry { counts: vec![u32::MAX; blocks], ..fine.clone() }),
        ("all past the end", Entry { logical_len: 0, ..fine }),
    ];
    for (name, entry) in wrong {
        Case::new(name, alone(&entry, block)).with_flags(flags).put_through();
    }
}
