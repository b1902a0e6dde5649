//! Each kind of failure: its exit status, its object, and that nothing was touched.

use std::fs::{File, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::{
    BLOCK, BLOCKS, Bench, OfFormat, SMALL, newer_and_older, random, set_slot, slot, slot_offset,
};

/// The commands that need a volume, on `a.img`.
const NEEDS_VOLUME: [&str; 5] =
    ["mount-check a.img", "read a.img -o out", "write a.img", "fsck a.img", "wear-report a.img"];

/// All of `commands` fail so, with and without JSON, and nothing is touched.
#[track_caller]
fn all_fail(bench: &Bench, commands: &[&str], flags: &str, code: i32, kind: &str) {
    let before = bench.snapshot();
    for command in commands {
        bench.fails(&format!("{command} {flags}"), code, kind);
    }
    assert!(bench.snapshot() == before, "something was touched");
}

#[test]
fn random_bytes_are_not_an_image() {
    let bench = Bench::new();
    bench.put("a.img", &random(3, BLOCK * BLOCKS as usize));
    all_fail(&bench, &NEEDS_VOLUME, "", 8, "not-an-image");
    all_fail(&bench, &NEEDS_VOLUME, SMALL, 8, "not-an-image");
    bench.put("a.img", b"");
    all_fail(&bench, &NEEDS_VOLUME, "", 8, "not-an-image");
    all_fail(
        &bench,
        &["read . -o out", "fsck .", "format . --mapping block --block-size 4096"],
        "",
        8,
        "not-an-image",
    );
}

#[test]
fn an_erased_chip_is_not_an_image_and_says_so() {
    let bench = Bench::new();
    bench.put("a.img", &vec![0xFF; BLOCK * BLOCKS as usize]);
    all_fail(&bench, &NEEDS_VOLUME, "", 8, "not-an-image");
    all_fail(&bench, &NEEDS_VOLUME, SMALL, 8, "not-an-image");
    bench.run("mount-check a.img").exits(8).says("0xFF");
}

/// A UBI erase counter header, as `ubiformat` writes it at the start of a block.
fn ubi_header() -> [u8; 64] {
    let mut header = [0; 64];
    header[..4].copy_from_slice(b"UBI#");
    header[4] = 1;
    header[16..20].copy_from_slice(&64u32.to_be_bytes());
    header[20..24].copy_from_slice(&2048u32.to_be_bytes());
    header[24..28].copy_from_slice(&0x1234_5678u32.to_be_bytes());
    let mut crc = u32::MAX;
    for &byte in &header[..60] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    header[60..].copy_from_slice(&crc.to_be_bytes());
    header
}

#[test]
fn a_foreign_format_is_named() {
    let bench = Bench::new();
    let mut image = vec![0xFF; 16 * 0x20000];
    for block in image.chunks_mut(0x20000) {
        block[..64].copy_from_slice(&ubi_header());
    }
    bench.put("a.img", &image);
    all_fail(&bench, &NEEDS_VOLUME, "", 8, "foreign-format");
    all_fail(&bench, &NEEDS_VOLUME, "--block-size 128KiB --page-size 2048", 8, "foreign-format");
    bench.run("mount-check a.img").exits(8).says("UBI");
    all_fail(&bench, &["format a.img --mapping block --block-size 128KiB"], "", 8, "exists");
    bench.run("format a.img --mapping block --block-size 128KiB").exits(8).says("UBI");
    bench.run("format a.img --mapping block --block-size 128KiB --force").exits(0);
    bench.run("mount-check a.img").exits(0);
}

#[test]
fn the_geometry_of_a_new_image_must_be_given() {
    let bench = Bench::new();
    all_fail(
        &bench,
        &[
            "format a.img --mapping block",
            "format a.img --mapping block --block-size 4096",
            "format a.img --mapping block --blocks 9",
        ],
        "",
        8,
        "geometry-unknown",
    );
    bench.put("a.img", &vec![0xFF; BLOCK * BLOCKS as usize]);
    all_fail(&bench, &["format a.img --mapping block"], "", 8, "geometry-unknown");
    all_fail(&bench, &["inject-bad a.img --list"], "", 8, "not-an-image");
    assert_eq!(bench.names(), ["a.img"]);
}

#[test]
fn a_volume_that_fits_two_geometries_asks_which() {
    // One whole entry in the middle of a dump: slot A of one volume, or slot B of another that starts a block before.
    let bench = Bench::with_volume(b"some content");
    let volume = bench.bytes("a.img");
    let (newer, _) = newer_and_older(&volume);
    let mut dump = vec![0xFF; 3 * volume.len()];
    dump[volume.len()..][..BLOCK].copy_from_slice(&volume[slot_offset(newer)..][..BLOCK]);
    bench.put("b.img", &dump);
    bench.fails("mount-check b.img", 8, "geometry-unknown");
    bench.run("mount-check b.img").exits(8).says("block size 4096");
    bench.run("mount-check b.img --block-size 4096 --first-block 32 --blocks 32").exits(0);
}

#[test]
fn flags_that_contradict_the_chip_file_are_refused_with_both_values() {
    let bench = Bench::with_volume(b"some content");
    for (flags, values) in [
        ("--page-size 1024", ["1024", "512"]),
        ("--spare-size 16", ["16", "0"]),
        ("--block-size 8192", ["8192", "4096"]),
        ("--blocks 31", ["31", "32"]),
        ("--first-block 1", ["1", "0"]),
    ] {
        all_fail(&bench, &NEEDS_VOLUME, flags, 8, "geometry-mismatch");
        all_fail(
            &bench,
            &["inject-bad a.img --list", "inject-bad a.img --block 9"],
            flags,
            8,
            "geometry-mismatch",
        );
        all_fail(&bench, &["format a.img --mapping block --force"], flags, 8, "geometry-mismatch");
        let said = bench.run(&format!("mount-check a.img {flags}")).stderr;
        assert!(values.iter().all(|value| said.contains(value)), "{said}");
    }
    bench.run(&format!("mount-check a.img {SMALL} --first-block 0")).exits(0);
}

#[test]
fn flags_that_contradict_the_flash_are_refused_with_both_values() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4096 --blocks 32").exits(0);
    bench.feed("write a.img", b"some content").exits(0);
    for (flags, values) in [
        ("--block-size 8192", ["8192", "4096"]),
        ("--blocks 31 --first-block 0", ["31", "32"]),
        ("--block-size 2048", ["2048", "4096"]),
    ] {
        all_fail(&bench, &NEEDS_VOLUME, flags, 8, "geometry-mismatch");
        let said = bench.run(&format!("mount-check a.img {flags}")).stderr;
        assert!(values.iter().all(|value| said.contains(value)), "{said}");
    }
    bench.run("mount-check a.img --block-size 4096 --blocks 32").exits(0);
}

#[test]
fn a_size_that_does_not_fit_is_refused() {
    let bench = Bench::new();
    bench.put("a.img", &vec![0xFF; BLOCK * BLOCKS as usize]);
    for flags in [
        "--block-size 4096 --blocks 31",
        "--block-size 4096 --blocks 33",
        "--block-size 4096 --spare-size 8 --page-size 512",
        "--block-size 4096 --first-block 32",
        "--block-size 4096 --page-size 1000",
    ] {
        all_fail(
            &bench,
            &["format a.img --mapping block", "inject-bad a.img --list", "mount-check a.img"],
            flags,
            8,
            "geometry-mismatch",
        );
    }
    bench.run("format a.img --mapping block --block-size 4096 --blocks 31 --first-block 1").exits(0);
}

#[test]
fn a_chip_file_that_does_not_fit_the_file_is_refused() {
    let bench = Bench::with_volume(b"some content");
    let whole = bench.bytes("a.img");
    for len in [whole.len() - BLOCK, whole.len() + BLOCK, whole.len() - 1] {
        let mut image = whole.clone();
        image.resize(len, 0xFF);
        bench.put("a.img", &image);
        all_fail(&bench, &NEEDS_VOLUME, "", 8, "geometry-mismatch");
        all_fail(
            &bench,
            &["inject-bad a.img --block 9", "format a.img --mapping block --force"],
            "",
            8,
            "geometry-mismatch",
        );
    }
    bench.put("a.img", &whole);
    bench.run("mount-check a.img").exits(0);
    bench.put("a.img.chip.json", br#"{"schema":"nandimg.chip/1","bad_blocks":[32]}"#);
    all_fail(&bench, &NEEDS_VOLUME, "", 8, "geometry-mismatch");
}

#[test]
fn a_chip_file_that_is_none_is_unsupported() {
    let bench = Bench::with_volume(b"some content");
    for content in
        ["", "{", "[]", r#"{"schema":"nandimg.chip/2"}"#, r#"{"schema":"nandimg.chip/1","bad_blocks":[-1]}"#]
    {
        bench.put("a.img.chip.json", content.as_bytes());
        all_fail(&bench, &NEEDS_VOLUME, "", 8, "unsupported");
    }
    bench.run("mount-check a.img --chip-file none").exits(0);
    all_fail(&bench, &NEEDS_VOLUME, "--chip-file nowhere.json", 8, "not-found");
}

#[test]
fn unsuited_geometries_are_unsupported() {
    let bench = Bench::new();
    for flags in ["--block-size 4096 --blocks 6", "--block-size 3072 --blocks 64"] {
        all_fail(&bench, &["format a.img --mapping block"], flags, 8, "unsupported");
    }
    for bad in ["0", "1"] {
        let line = format!("format a.img --mapping block {SMALL} --bad-blocks {bad}");
        all_fail(&bench, &[&line], "", 8, "unsupported");
        bench.run(&line).exits(8).says(&format!("block {bad} ")).says("geometry");
    }
    all_fail(&bench, &["format a.img --mapping block --bad-blocks 4-31"], SMALL, 8, "unsupported");
    all_fail(&bench, &["format a.img --mapping block --bad-blocks 32"], SMALL, 8, "out-of-range");
    assert!(bench.names().is_empty());
    bench.run("format b.img --mapping block --block-size 4096 --blocks 32").exits(0);
    for flags in ["--block 9", "--block 9 --when erase"] {
        all_fail(&bench, &["inject-bad b.img --chip-file none"], flags, 8, "unsupported");
    }
}

#[test]
fn both_slots_damaged_is_ours_and_does_not_mount() {
    let bench = Bench::with_volume(b"some content");
    for slot in ['A', 'B'] {
        bench.patch("a.img", slot_offset(slot) + 40, |bytes| bytes[0] ^= 1);
    }
    let commands = ["mount-check a.img", "read a.img -o out", "write a.img", "wear-report a.img"];
    all_fail(&bench, &commands, "", 4, "unmountable");
    all_fail(&bench, &commands, "--chip-file none", 4, "unmountable");
    let report = bench.run("--json mount-check a.img").exits(4).json();
    assert_eq!((&report["mountable"], &report["writable"]), (&false.into(), &false.into()));
    assert_eq!(
        (&report["metadata"][0]["state"], &report["metadata"][1]["state"]),
        (&"torn".into(), &"torn".into())
    );
    assert_eq!(bench.names(), ["a.img", "a.img.chip.json"]);
}

#[test]
fn a_volume_that_does_not_mount_still_tells_the_marks_of_its_chip() {
    let bench = Bench::with_volume(b"some content");
    bench.run("inject-bad a.img --block 9,30").exits(0);
    for slot in ['A', 'B'] {
        bench.patch("a.img", slot_offset(slot) + 40, |bytes| bytes[0] ^= 1);
    }
    let report = bench.run("--json mount-check a.img").exits(4).json();
    assert_eq!(report["bad_blocks"], serde_json::json!([9, 30]));
}

#[test]
fn a_sequence_that_is_not_there_does_not_mount() {
    let bench = Bench::with_volume(b"some content");
    all_fail(&bench, &["mount-check a.img", "read a.img -o out"], "--sequence 77", 4, "unmountable");
    bench.run("mount-check a.img --sequence 77").exits(4).says("2 and 1");
}

#[test]
fn a_bad_slot_block_makes_the_volume_read_only() {
    for block in [0, 1] {
        let bench = Bench::with_volume(b"some content");
        bench.run(&format!("inject-bad a.img --block {block}")).exits(0);
        bench.put("new", b"other");
        all_fail(&bench, &["write a.img -i new"], "", 8, "read-only");
        assert_eq!(bench.content("a.img"), b"some content");
        let report = bench.run("--json mount-check a.img").exits(1).json();
        assert_eq!((&report["mountable"], &report["writable"]), (&true.into(), &false.into()));
        assert!(report["reason"].as_str().unwrap().contains(&format!("block {block} ")), "{report}");
        bench.run("mount-check a.img").exits(1).says("read-only");
        all_fail(&bench, &["format a.img --mapping block --force"], "", 8, "unsupported");
    }
}

#[test]
fn an_older_copy_is_read_only() {
    let bench = Bench::with_volume(b"some content");
    let report = bench.run("--json mount-check a.img --sequence 1").exits(1).json();
    assert_eq!(
        (&report["sequence"], &report["logical_len"], &report["writable"]),
        (&1.into(), &0.into(), &false.into())
    );
    bench.run("mount-check a.img --sequence 2").exits(0);
}

#[test]
fn ranges_past_the_end_are_refused() {
    let bench = Bench::with_volume(&random(1, 5000));
    for range in [
        "--offset 5001 --length 0",
        "--offset 4000 --length 1001",
        "--length 5001",
        "--offset 1 --length 0xFFFFFFFFFFFFFFFF",
    ] {
        all_fail(&bench, &["read a.img -o out"], range, 8, "out-of-range");
    }
    for offset in ["5000", "5001", "0xFFFFFFFFFFFFFFFF"] {
        assert_eq!(bench.run(&format!("read a.img --offset {offset}")).exits(0).stdout, b"");
    }
    bench.run("read a.img --offset 5000 --length 0").exits(0);
    bench.put("new", b"x");
    all_fail(&bench, &["write a.img -i new --offset 200k"], "", 8, "out-of-range");
    for flags in [
        "--block 32",
        "--flip 0@32:0",
        "--flip 0@4:8",
        "--flip 4096@4:0",
        "--count 33",
        "--flip-bits 9 --block 40",
    ] {
        all_fail(&bench, &["inject-bad a.img"], flags, 8, "out-of-range");
    }
}

#[test]
fn what_cannot_be_opened_says_permission() {
    let bench = Bench::with_volume(b"some content");
    if is_root() {
        return;
    }
    set_permissions(bench.path("a.img"), Permissions::from_mode(0o000)).unwrap();
    bench.fails("mount-check a.img", 8, "permission");
    set_permissions(bench.path("a.img"), Permissions::from_mode(0o444)).unwrap();
    bench.fails("write a.img", 8, "permission");
    bench.run("mount-check a.img").exits(0);
}

/// Whether permissions do not bind us: then `read_only` tests them as another user.
fn is_root() -> bool {
    File::options().write(true).open("/proc/self/oom_adj").is_ok() && std::fs::read_dir("/root").is_ok()
}

#[test]
fn a_held_lock_is_an_error_that_says_so() {
    for OfFormat { bench, mapping, .. } in Bench::of_each_format() {
        a_lock_is_heeded(&bench, mapping);
    }
}

fn a_lock_is_heeded(bench: &Bench, mapping: &str) {
    let format = format!("format a.img --mapping {mapping} --force");
    let dry_run = format!("{format} --dry-run");
    let lookers = [
        "mount-check a.img",
        "read a.img -o out",
        "fsck a.img",
        "wear-report a.img",
        "inject-bad a.img --list",
        &dry_run,
    ];
    let changers = ["write a.img", "fsck a.img --repair", "inject-bad a.img --block 9", &format];
    let holder = File::options().read(true).write(true).open(bench.path("a.img")).unwrap();
    holder.lock().unwrap();
    all_fail(bench, &lookers, "", 8, "locked");
    all_fail(bench, &changers, "", 8, "locked");
    holder.unlock().unwrap();
    holder.lock_shared().unwrap();
    all_fail(bench, &changers, "", 8, "locked");
    for line in lookers {
        bench.run(line).exits(0);
    }
    // A child of another test may hold a copy of the file for a moment, so that to close it would not do.
    holder.unlock().unwrap();
    for line in changers {
        bench.run(line).exits(0);
    }
}

#[test]
fn a_stale_slot_for_another_chip_is_a_mismatch() {
    let bench = Bench::with_volume(b"some content");
    let mut image = bench.bytes("a.img");
    for name in ['A', 'B'] {
        let (sequence, mut metadata) = slot(&image, name);
        metadata.erase_counts.push(0);
        set_slot(&mut image, name, sequence, &metadata);
    }
    bench.put("a.img", &image);
    all_fail(&bench, &["mount-check a.img", "read a.img -o out"], "", 8, "geometry-mismatch");
    bench.run("mount-check a.img").exits(8).says("33").says("32");
}
