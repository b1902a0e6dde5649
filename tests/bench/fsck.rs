//! `nandimg fsck` of a filled image of 1 GiB beside `cat` of the same file, as a user runs them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nandimg::prng::SplitMix64;

/// 2048-byte pages, 64 of them a block.
const GEOMETRY: [&str; 6] = ["--page-size", "2048", "--block-size", "131072", "--blocks", "8192"];

/// Seconds, each the best of some runs in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    /// Bytes of data in the image.
    pub(crate) data: u64,
    pub(crate) fsck: f64,
    pub(crate) cat: f64,
}

impl Scan {
    pub(crate) fn ratio(&self) -> f64 {
        self.fsck / self.cat
    }
}

/// # Panics
/// When a command fails.
pub(crate) fn measure(runs: u32) -> Scan {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("a.img");
    run(nandimg("format", &image).args(GEOMETRY));
    let data = fill(&image);
    let mut scan = Scan { data, fsck: f64::INFINITY, cat: f64::INFINITY };
    for _ in 0..runs {
        scan.cat = scan.cat.min(seconds(Command::new("cat").arg(&image)));
        scan.fsck = scan.fsck.min(seconds(&mut nandimg("fsck", &image)));
    }
    scan
}

fn nandimg(command: &str, image: &Path) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_nandimg"));
    process.arg(command).arg(image).stdin(Stdio::null()).stdout(Stdio::null());
    process
}

/// Write to the end of the volume; how many bytes that is.
fn fill(image: &Path) -> u64 {
    let report = nandimg("mount-check", image).arg("--json").stdout(Stdio::piped()).output();
    let report = serde_json::from_slice::<serde_json::Value>(&report.expect("it runs").stdout);
    let capacity = report.expect("a report")["capacity"].as_u64().expect("a capacity");
    let mut writing = nandimg("write", image).stdin(Stdio::piped()).spawn().expect("it runs");
    let mut input = writing.stdin.take().expect("a pipe");
    let (mut rng, mut part, mut left) = (SplitMix64::new(1), vec![0; 1 << 20], capacity);
    while left > 0 {
        rng.fill(&mut part);
        let now = left.min(part.len() as u64);
        input.write_all(&part[..now as usize]).expect("it reads");
        left -= now;
    }
    drop(input);
    assert!(writing.wait().expect("it ends").success(), "write {image:?}");
    capacity
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().expect("it runs");
    assert!(status.success(), "{command:?}");
}

fn seconds(command: &mut Command) -> f64 {
    let start = Instant::now();
    run(command);
    start.elapsed().as_secs_f64()
}
