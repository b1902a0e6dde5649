//! A directory to run `nandimg` in, and images forged for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nandimg::onflash::ftlj::Metadata;
use nandimg::onflash::paged::head::{Kind, open};
use nandimg::prng::SplitMix64;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The program under test.
pub(crate) const NANDIMG: &str = env!("CARGO_BIN_EXE_nandimg");

/// Pages, blocks and number of blocks of most images here.
pub(crate) const BLOCK: usize = 4096;
pub(crate) const BLOCKS: u32 = 32;
/// As it is given to `format`.
pub(crate) const SMALL: &str = "--page-size 512 --block-size 4096 --blocks 32";
/// Blocks 0 and 1 of it are the slots, 2 and 3 are left alone, and data needs two spare ones.
pub(crate) const CAPACITY: u64 = 26 * 4096;

/// Of a page-mapped volume on 64 blocks of 16 pages of 512 bytes.
pub(crate) const PAGED_CAPACITY: u64 = 529 * 512;

/// Nothing here takes as long: a command that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.what, self.text(), self.stderr);
        self
    }

    /// Standard output as text, however it is spelt.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The one JSON object on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        assert!(
            text.ends_with('\n') && text.matches('\n').count() == 1,
            "{}: {text:?}\n{}",
            self.what,
            self.stderr
        );
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", self.what));
        assert!(value.is_object(), "{text}");
        value
    }

    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        let said = self.text() + &self.stderr;
        assert!(said.contains(part), "{}: no {part:?} in\n{said}", self.what);
        self
    }
}

/// A directory of its own in which commands run; image names are relative to it.
pub(crate) struct Bench {
    dir: TempDir,
}

/// A directory with a volume of one of the formats.
pub(crate) struct OfFormat {
    pub(crate) bench: Bench,
    pub(crate) mapping: &'static str,
    pub(crate) capacity: usize,
    /// Bytes that are mapped together.
    pub(crate) unit: usize,
}

/// Every file below a directory: content and time of the last change; directories by their time alone.
pub(crate) type Snapshot = BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>;

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::with_prefix("nandimg-cli-").unwrap() }
    }

    /// A directory with `a.img`: a small volume that holds `content` and has metadata in both slots.
    pub(crate) fn with_volume(content: &[u8]) -> Self {
        let bench = Self::new();
        bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
        bench.feed("write a.img", content).exits(0);
        bench
    }

    /// A directory with `a.img` for each format: a small volume that holds `some content`.
    pub(crate) fn of_each_format() -> [OfFormat; 2] {
        let paged = "--page-size 512 --block-size 8192 --blocks 64";
        [("block", SMALL, CAPACITY, BLOCK), ("page", paged, PAGED_CAPACITY, 512)].map(
            |(mapping, geometry, capacity, unit)| {
                let bench = Self::new();
                bench.run(&format!("format a.img --mapping {mapping} {geometry}")).exits(0);
                bench.feed("write a.img", b"some content").exits(0);
                OfFormat { bench, mapping, capacity: capacity as usize, unit }
            },
        )
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(NANDIMG);
        command.args(line.split_whitespace()).current_dir(self.dir()).env_remove("NO_COLOR");
        command
    }

    /// Run `nandimg` with the arguments in `line`.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.feed(line, &[])
    }

    /// The same with `input` on a pipe.
    pub(crate) fn feed(&self, line: &str, input: &[u8]) -> Outcome {
        let mut command = assert_cmd::Command::from_std(self.command(line));
        let output = command.write_stdin(input).timeout(PATIENCE).output().unwrap();
        Outcome {
            what: format!("nandimg {line}"),
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Run `script` by bash, with the program as `$NANDIMG`.
    pub(crate) fn shell(&self, script: &str) -> Outcome {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.dir()).env("NANDIMG", NANDIMG).stdin(Stdio::null());
        let output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap();
        Outcome {
            what: script.to_string(),
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Run with `--json` and without: the same exit status, and the object of the failure.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, code: i32, kind: &str) -> Outcome {
        let text = self.run(line).exits(code);
        let said = text.text() + &text.stderr;
        let outcome = self.run(&format!("--json {line}")).exits(code);
        let report = outcome.json();
        let command = line.split_whitespace().find(|word| !word.starts_with('-')).unwrap();
        assert_eq!(report["schema"], format!("nandimg.{command}/1"), "{line}");
        assert_eq!(report["error"]["kind"], kind, "{line}: {report}");
        let message = report["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && said.contains(message), "{line}: {message:?} and {said:?}");
        outcome
    }

    /// The report of a command that succeeds.
    #[track_caller]
    pub(crate) fn report(&self, line: &str) -> Value {
        self.run(&format!("--json {line}")).exits(0).json()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Change some bytes of a file.
    pub(crate) fn patch(&self, name: &str, offset: usize, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.bytes(name);
        change(&mut bytes[offset..]);
        self.put(name, &bytes);
    }

    pub(crate) fn chip_file(&self, image: &str) -> Value {
        serde_json::from_slice(&self.bytes(&format!("{image}.chip.json"))).unwrap()
    }

    /// What `read` gives.
    #[track_caller]
    pub(crate) fn content(&self, image: &str) -> Vec<u8> {
        self.run(&format!("read {image}")).exits(0).stdout
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut seen = Snapshot::new();
        let mut look = vec![self.dir().to_path_buf()];
        while let Some(path) = look.pop() {
            let found = fs::metadata(&path).unwrap();
            if found.is_dir() {
                look.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let content = found.is_file().then(|| fs::read(&path).unwrap());
            seen.insert(path, (content, found.modified().unwrap()));
        }
        seen
    }
}

/// Where a slot of the small volume starts.
pub(crate) fn slot_offset(slot: char) -> usize {
    if slot == 'A' { 0 } else { BLOCK }
}

/// The metadata in a slot of the small volume in `image`.
#[track_caller]
pub(crate) fn slot(image: &[u8], slot: char) -> (u64, Metadata) {
    Metadata::decode(&image[slot_offset(slot)..][..BLOCK]).unwrap()
}

/// Put `metadata` into a slot of the small volume in `image`, as a commit leaves it.
pub(crate) fn set_slot(image: &mut [u8], slot: char, sequence: u64, metadata: &Metadata) {
    let entry = metadata.encode(sequence);
    let place = &mut image[slot_offset(slot)..][..BLOCK];
    place.fill(0xFF);
    place[..entry.len()].copy_from_slice(&entry);
}

/// The slot with the newer metadata, and the other.
pub(crate) fn newer_and_older(image: &[u8]) -> (char, char) {
    if slot(image, 'A').0 > slot(image, 'B').0 { ('A', 'B') } else { ('B', 'A') }
}

/// Erase the metadata pages of these kinds in an image of a page-mapped volume without spare bytes.
#[track_caller]
pub(crate) fn wipe_metadata(image: &mut [u8], page_size: usize, is_wiped: impl Fn(Kind) -> bool) {
    let pages = image.chunks_mut(page_size);
    let wiped = pages.filter(|page| open(page).is_ok_and(|(head, _)| is_wiped(head.kind)));
    assert!(wiped.map(|page| page.fill(0xFF)).count() > 10, "there is hardly any metadata");
}

pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SplitMix64::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sample image, unpacked, and what is known of it.
pub(crate) fn sample(name: &str) -> (Vec<u8>, Value) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/shodh-redb");
    let packed = fs::File::open(dir.join(format!("{name}.img.gz"))).unwrap();
    let mut image = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut image).unwrap();
    let facts = serde_json::from_slice(&fs::read(dir.join(format!("{name}.json"))).unwrap()).unwrap();
    (image, facts)
}

/// The numbers in a JSON array.
pub(crate) fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
}

/// The line of a text report that begins with `name`.
#[track_caller]
pub(crate) fn line_of(text: &str, name: &str) -> String {
    let found = text.lines().find(|line| line.trim_start().starts_with(name));
    found.unwrap_or_else(|| panic!("no line {name:?} in\n{text}")).to_string()
}

/// Whether a program is there to be used.
pub(crate) fn has_program(name: &str) -> bool {
    let looked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    looked.is_ok_and(|status| status.success())
}
