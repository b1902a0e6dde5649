//! A command that only looks changes nothing, whatever the image is like, and needs no permission to write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nandimg::flash::Geometry;
use nandimg::flash::sim::SimFlash;
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
use nandimg::onflash::paged::head::{Kind, open};

use crate::support::{
    BLOCK, BLOCKS, Bench, NANDIMG, SMALL, has_program, random, sample, slot_offset, wipe_metadata,
};

/// The commands that only look.
const LOOKING: [&str; 16] = [
    "mount-check a.img",
    "mount-check a.img --hash --verbose",
    "mount-check a.img --sequence 2",
    "read a.img",
    "read a.img --sequence 2",
    "read a.img --skip-unreadable",
    "fsck a.img",
    "fsck a.img --json",
    "wear-report a.img",
    "wear-report a.img --json",
    "inject-bad a.img --list",
    "format a.img --mapping block --dry-run",
    "format a.img --mapping block --dry-run --force",
    "info a.img",
    "info a.img --json",
    "completions bash",
];

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Run as a user who may write nothing here.
fn run_unprivileged(bench: &Bench, program: &Path, line: &str) -> Output {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(line.split_whitespace()).current_dir(bench.dir()).output().unwrap()
}

fn is_root() -> bool {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o555);
    fs::write(dir.path().join("probe"), b"").is_ok()
}

/// Every looking command does the same on `bench` as it does once nothing there can be written, and changes nothing.
fn looks_only(bench: &Bench, what: &str) {
    let before = bench.snapshot();
    let seen = LOOKING.map(|line| bench.run(line));
    assert!(bench.snapshot() == before, "{what}: something has changed");
    if is_root() && !has_program("setpriv") {
        return;
    }
    let reachable = tempfile::tempdir().unwrap();
    chmod(reachable.path(), 0o755);
    let program = reachable.path().join("nandimg");
    // Not by this process: a child of another test could hold it open for writing, and then it does not run.
    assert!(Command::new("cp").arg(NANDIMG).arg(&program).status().unwrap().success());
    chmod(&program, 0o755);
    for name in bench.names() {
        chmod(&bench.path(&name), 0o444);
    }
    chmod(bench.dir(), 0o555);
    let before = bench.snapshot();
    let denied = run_unprivileged(bench, &program, "inject-bad a.img --block 9 --json --block-size 4096");
    assert_eq!(denied.status.code(), Some(8), "{what}: the permissions bind: {denied:?}");
    assert!(String::from_utf8_lossy(&denied.stdout).contains("\"permission\""), "{what}: {denied:?}");
    for (line, seen) in LOOKING.into_iter().zip(seen) {
        let output = run_unprivileged(bench, &program, line);
        assert_eq!(
            output.status.code(),
            seen.code,
            "{what}: {line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout == seen.stdout, "{what}: {line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), seen.stderr, "{what}: {line}");
    }
    assert!(bench.snapshot() == before, "{what}: something has changed");
    chmod(bench.dir(), 0o755);
    for name in bench.names() {
        chmod(&bench.path(&name), 0o644);
    }
}

/// A volume that has been written twice.
fn volume() -> Bench {
    let bench = Bench::with_volume(&random(1, 5 * BLOCK));
    bench.feed("write a.img", &random(2, 5 * BLOCK)).exits(0);
    bench
}

#[test]
fn a_healthy_image_with_and_without_chip_file() {
    let bench = volume();
    bench.run("fsck a.img").exits(0);
    looks_only(&bench, "with a chip file");
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4096 --blocks 32").exits(0);
    assert_eq!(bench.names(), ["a.img"]);
    looks_only(&bench, "fresh");
    bench.feed("write a.img", b"some content").exits(0);
    looks_only(&bench, "without a chip file");
    let bench = Bench::new();
    bench.put("a.img", &sample("writes").0);
    looks_only(&bench, "made by another program");
}

#[test]
fn a_page_mapped_image() {
    let bench = Bench::new();
    bench.run("format a.img --page-size 512 --block-size 4096 --blocks 64").exits(0);
    looks_only(&bench, "fresh");
    bench.feed("write a.img", &random(1, 30_000)).exits(0);
    bench.feed("write a.img", &random(2, 3_000)).exits(0);
    bench.run("fsck a.img").exits(0);
    looks_only(&bench, "written");
    bench.run("inject-bad a.img --block 9").exits(0);
    bench.run("inject-bad a.img --block 10 --when read").exits(0);
    looks_only(&bench, "faulty");
    bench.patch("a.img", 0, |image| wipe_metadata(image, 512, |kind| kind != Kind::Summary));
    bench.run("fsck a.img").exits(4);
    looks_only(&bench, "without metadata");
}

#[test]
fn a_page_mapped_image_with_spare_area() {
    let bench = Bench::new();
    bench.run("format a.img --page-size 2048 --spare-size 64 --block-size 32KiB --blocks 40 --layout linux-bch4 --bad-blocks 9").exits(0);
    bench.feed("write a.img", &random(1, 90_000)).exits(0);
    bench.run("fsck a.img").exits(0);
    looks_only(&bench, "spare area");
    bench.patch("a.img", 5 * 2112, |page| page[..16].fill(0));
    looks_only(&bench, "spare area, damaged");
}

/// A page-mapped volume of 64 blocks of 8 pages of 512 bytes that was never ended, after so many commits.
fn killed(commits: u64) -> Bench {
    let mut chip = SimFlash::new(Geometry::new(512, 0, 4096, 64).unwrap());
    FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
    let mut volume = PageVolume::mount(chip, &Mount::default()).unwrap();
    volume.write(0, &random(1, 30_000)).unwrap();
    for n in 0..commits {
        volume.write(700 * n, &random(n, 500)).unwrap();
        volume.sync().unwrap();
    }
    let bench = Bench::new();
    bench.put("a.img", volume.into_flash().data());
    bench
}

/// Where the log pages of the newest checkpoint are, in order.
fn log_pages(image: &[u8]) -> Vec<usize> {
    let pages = image.chunks(512).enumerate().filter_map(|(n, page)| Some((n * 512, open(page).ok()?.0)));
    let mut pages: Vec<_> = pages.filter(|(_, head)| head.kind == Kind::Log).collect();
    let newest = pages.iter().map(|(_, head)| head.epoch).max();
    pages.retain(|(_, head)| Some(head.epoch) == newest);
    pages.sort_by_key(|(_, head)| head.number);
    pages.into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn a_page_mapped_image_that_was_not_ended() {
    let bench = killed(12);
    bench.run("mount-check a.img").exits(0).says("it was not ended well");
    looks_only(&bench, "killed");
    let last = *log_pages(&bench.bytes("a.img")).last().unwrap();
    bench.patch("a.img", last, |page| page[100..512].fill(0xFF));
    bench.run("mount-check a.img").exits(1).says("torn");
    looks_only(&bench, "torn");
    // What is missing in the middle makes it an older state.
    let bench = killed(12);
    let log = log_pages(&bench.bytes("a.img"));
    for &offset in &log[log.len() / 2 - 2..log.len() / 2 + 2] {
        bench.patch("a.img", offset, |page| page[..512].fill(0x5A));
    }
    let report = bench.run("--json mount-check a.img").exits(1).json();
    assert_eq!((&report["writable"], &report["degraded"]), (&false.into(), &true.into()), "{report}");
    bench.run("fsck a.img").exits(4).says("older-state");
    looks_only(&bench, "an older state");
}

/// What is made of the image goes elsewhere.
#[test]
fn a_source_of_a_conversion() {
    let spoilt = killed(12);
    let last = *log_pages(&spoilt.bytes("a.img")).last().unwrap();
    spoilt.patch("a.img", last, |page| page[100..512].fill(0xFF));
    for (bench, what) in [(volume(), "block-mapped"), (killed(12), "killed"), (spoilt, "torn")] {
        let before = bench.snapshot();
        for flags in ["--logical", "--logical --mapping block", "--to-spare-size 16"] {
            let elsewhere = Bench::new();
            let to = elsewhere.path("b.img").display().to_string();
            bench.run(&format!("convert a.img {to} {flags}")).exits(0);
            assert!(elsewhere.names().contains(&"b.img".to_string()), "{what} {flags}");
            assert!(bench.snapshot() == before, "{what}, {flags}: something has changed");
        }
    }
}

#[test]
fn a_torn_image() {
    let bench = volume();
    bench.patch("a.img", slot_offset('B'), |bytes| bytes[..16].fill(0));
    bench.run("mount-check a.img").exits(1);
    looks_only(&bench, "torn");
}

#[test]
fn a_damaged_image() {
    let bench = volume();
    bench.patch("a.img", slot_offset('A') + 30, |bytes| bytes[0] ^= 1);
    bench.patch("a.img", slot_offset('B') + 30, |bytes| bytes[0] ^= 1);
    bench.run("mount-check a.img").exits(4);
    looks_only(&bench, "damaged");
}

#[test]
fn an_image_whose_blocks_fail() {
    let bench = volume();
    bench.run("inject-bad a.img --block 10 --when read").exits(0);
    bench.run("inject-bad a.img --block 0 --when read").exits(0);
    bench.run("inject-bad a.img --block 11 --when erase --after 3").exits(0);
    bench.run("inject-bad a.img --block 12").exits(0);
    bench.run("fsck a.img").exits(4);
    looks_only(&bench, "faulty");
}

#[test]
fn an_image_with_spare_area() {
    let bench = Bench::new();
    bench
        .run("format a.img --mapping block --page-size 512 --spare-size 16 --block-size 4096 --blocks 32 --bad-blocks 20")
        .exits(0);
    bench.feed("write a.img", &random(1, 9000)).exits(0);
    bench.run("inject-bad a.img --block 5").exits(0);
    bench.run("fsck a.img").exits(4);
    looks_only(&bench, "spare area");
}

#[test]
fn what_is_no_volume() {
    let bench = Bench::new();
    bench.put("a.img", &random(1, BLOCK * BLOCKS as usize));
    looks_only(&bench, "random");
    bench.put("a.img", &vec![0xFF; BLOCK * BLOCKS as usize]);
    looks_only(&bench, "blank");
}

#[test]
fn a_file_beside_that_is_no_chip_file() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    bench.put("a.img.chip.json", b"{");
    let before = bench.snapshot();
    for line in LOOKING {
        bench.run(line);
    }
    assert!(bench.snapshot() == before);
}
