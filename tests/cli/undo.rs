//! `fsck --undo` and `--undo-from`: a repair is taken back byte for byte, or not at all.

use nandimg::onflash::paged::head::Kind;
use serde_json::json;

use crate::support::{
    BLOCK, Bench, SMALL, Snapshot, newer_and_older, numbers, random, set_slot, slot, wipe_metadata,
};

/// Image and chip file by content.
fn state(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let kept = bench.names().into_iter().filter(|name| name.starts_with("a.img"));
    kept.map(|name| (name.clone(), bench.bytes(&name))).collect()
}

/// How a volume comes to be damaged.
type Damaged = fn() -> Bench;

/// Each is repaired in another way.
const DAMAGED: [(&str, Damaged); 3] =
    [("block-mapped", damaged), ("page-mapped", damaged_pages), ("without metadata", wiped)];

/// A volume with data on bad blocks, whose repair writes to blocks of which one fails and another counts down.
fn damaged() -> Bench {
    let bench = Bench::with_volume(&random(1, 5 * BLOCK));
    bench.run("inject-bad a.img --block 5,7").exits(0);
    bench.run("inject-bad a.img --block 9 --when erase").exits(0);
    bench.run("inject-bad a.img --block 10 --when program --after 100").exits(0);
    bench
}

/// The same, page-mapped, and repaired in place.
fn damaged_pages() -> Bench {
    page_mapped(|_| {})
}

/// The same with nothing but data and block summaries left.
fn wiped() -> Bench {
    page_mapped(|image| wipe_metadata(image, 512, |kind| kind != Kind::Summary))
}

fn page_mapped(damage: impl Fn(&mut [u8])) -> Bench {
    let bench = Bench::new();
    bench.run("format a.img --mapping page --page-size 512 --block-size 4096 --blocks 64").exits(0);
    bench.feed("write a.img", &random(1, 10 * BLOCK)).exits(0);
    bench.feed("write a.img", &random(2, 5 * BLOCK)).exits(0);
    let blocks = |state: &str| -> Vec<String> {
        let report = bench.report("wear-report a.img");
        let blocks = report["per_block"].as_array().unwrap().iter().filter(|block| block["state"] == state);
        blocks.map(|block| block["block"].to_string()).collect()
    };
    let (data, free) = (blocks("data"), blocks("free"));
    bench.run(&format!("inject-bad a.img --block {}", data[3..5].join(","))).exits(0);
    bench.run(&format!("inject-bad a.img --block {} --when program --after 100", free.join(","))).exits(0);
    let mut image = bench.bytes("a.img");
    damage(&mut image);
    bench.put("a.img", &image);
    // A repair shows which blocks it writes to.
    bench.run("fsck a.img --repair --undo scout").exits(1);
    let undo = bench.bytes("scout");
    let records = records(&undo);
    let saved = records[..records.len() - 1].iter().map(|record| undo[record + 1]);
    let saved: Vec<String> = saved.filter(|&block| block >= 4).map(|block| block.to_string()).collect();
    // Where no metadata is left, the blocks that held it are free, too.
    let free_now = saved.iter().find(|block| free.contains(block));
    let written = free_now.or_else(|| saved.iter().find(|block| !data.contains(block)));
    let written = written.expect("it writes to a free block");
    bench.run("fsck a.img --undo-from scout").exits(0);
    std::fs::remove_file(bench.path("scout")).unwrap();
    bench.run(&format!("inject-bad a.img --block {written} --when erase")).exits(0);
    bench
}

#[test]
fn undo_brings_image_and_chip_file_back() {
    for (name, damaged) in DAMAGED {
        let bench = damaged();
        let before = state(&bench);
        let marked = bench.chip_file("a.img")["bad_blocks"].as_array().unwrap().len();
        bench.run("fsck a.img --repair --undo u").exits(1);
        let repaired = state(&bench);
        assert!(before[0] != repaired[0] && before[1] != repaired[1], "{name}: the repair changes both");
        let bad = bench.chip_file("a.img")["bad_blocks"].as_array().unwrap().len();
        assert_eq!(bad, marked + 1, "{name}: a block fails under the repair");
        let undo = bench.snapshot().remove(&bench.path("u"));
        let report = bench.report("fsck a.img --undo-from u");
        assert_eq!(report["schema"], "nandimg.fsck/1");
        assert!(!numbers(&report["restored"]).is_empty() && report["chip_file_restored"] == true, "{report}");
        assert!(state(&bench) == before, "{name}");
        let taken_back = bench.snapshot();
        assert!(taken_back.get(&bench.path("u")) == undo.as_ref(), "{name}: the undo file is only read");
        let report = bench.report("fsck a.img --undo-from u");
        assert!(numbers(&report["restored"]).is_empty() && report["chip_file_restored"] == false, "{report}");
        bench.run("fsck a.img --undo-from u").exits(0).says("nothing to put back");
        assert!(bench.snapshot() == taken_back, "{name}: it is as it was already");
        bench.run("fsck a.img --repair").exits(1);
        assert!(state(&bench) == repaired, "{name}: the repair does the same again");
    }
}

#[test]
fn what_was_put_back_by_hand_needs_no_undo() {
    for (name, damaged) in DAMAGED {
        let bench = damaged();
        let before = state(&bench);
        bench.run("fsck a.img --repair --undo u").exits(1);
        let repaired = state(&bench);
        // The image alone, then the chip file as well.
        bench.put("a.img", &before[0].1);
        bench.run("fsck a.img --undo-from u").exits(0).says("0 blocks restored");
        assert!(state(&bench) == before, "{name}");
        bench.put("a.img", &repaired[0].1);
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(state(&bench) == before, "{name}");
    }
}

#[test]
fn undo_brings_back_spare_bytes_dumps_and_chips_without_chip_file() {
    for mapping in ["block", "page"] {
        let bench = Bench::new();
        let geometry = "--page-size 512 --spare-size 16 --block-size 4096 --blocks 64";
        bench.run(&format!("format a.img --mapping {mapping} {geometry} --bad-blocks 55")).exits(0);
        bench.feed("write a.img", &random(1, 9000)).exits(0);
        let data = bench.report("wear-report a.img");
        let data = data["per_block"].as_array().unwrap().iter().find(|block| block["state"] == "data");
        bench.run(&format!("inject-bad a.img --block {}", data.unwrap()["block"])).exits(0);
        for page in 0..2 {
            bench.patch("a.img", (55 * 8 + page) * 528 + 512 + 5, |bytes| bytes[0] = 0xFF);
        }
        let before = state(&bench);
        bench.run("fsck a.img --repair --undo u").exits(1);
        assert!(state(&bench) != before, "{mapping}");
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(state(&bench) == before, "{mapping}");
    }
    // Byte 20 of the volume's first block or, where that is no metadata in use, of its second.
    for (mapping, damaged) in [("block", 6), ("page", 5)] {
        let bench = Bench::new();
        let place = "--page-size 512 --block-size 4096 --first-block 5 --blocks 64";
        bench.put("a.img", &random(2, 72 * BLOCK));
        bench.run(&format!("format a.img --mapping {mapping} {place} --force --chip-file none")).exits(0);
        bench.feed(&format!("write a.img {place}"), &random(1, 9000)).exits(0);
        bench.patch("a.img", damaged * BLOCK + 20, |bytes| bytes[0] ^= 1);
        let before = state(&bench);
        bench.run(&format!("fsck a.img --repair --undo u {place}")).exits(1);
        assert!(state(&bench) != before, "{mapping}");
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(state(&bench) == before, "{mapping}");
        assert_eq!(bench.names(), ["a.img", "u"]);
    }
}

#[test]
fn undo_takes_back_a_new_count_of_sequences() {
    let bench = Bench::with_volume(&random(1, 9000));
    let mut image = bench.bytes("a.img");
    let (newer, _) = newer_and_older(&image);
    let (_, metadata) = slot(&image, newer);
    set_slot(&mut image, newer, u64::MAX, &metadata);
    bench.put("a.img", &image);
    let before = state(&bench);
    bench.run("fsck a.img --repair --undo u").exits(1);
    bench.run("fsck a.img --undo-from u").exits(0);
    assert!(state(&bench) == before);
}

#[test]
fn an_undo_file_is_never_written_over() {
    let bench = damaged();
    for name in ["u", "a.img.chip.json"] {
        if name == "u" {
            bench.put(name, b"precious");
        }
        let before = bench.snapshot();
        let exit = if name == "u" { 8 } else { 16 };
        bench.run(&format!("fsck a.img --repair --undo {name}")).exits(exit);
        assert!(bench.snapshot() == before, "{name}");
    }
    bench.fails("fsck a.img --repair --undo u", 8, "exists");
    bench.fails("fsck a.img --repair --undo nowhere/u", 8, "not-found");
    std::os::unix::fs::symlink("nowhere", bench.path("dangling")).unwrap();
    bench.fails("fsck a.img --repair --undo dangling", 8, "exists");
}

/// Taking back fails and touches nothing.
#[track_caller]
fn refused(bench: &Bench, reason: &str) {
    let before: Snapshot = bench.snapshot();
    let json = bench.run("--json fsck a.img --undo-from u").exits(8).json();
    let kind = if reason == "another size" { "geometry-mismatch" } else { "unsupported" };
    assert_eq!(json["error"]["kind"], kind, "{json}");
    assert!(json["error"]["message"].as_str().unwrap().contains(reason), "{json}");
    bench.run("fsck a.img --undo-from u").exits(8).says(reason);
    assert!(bench.snapshot() == before);
}

#[test]
fn undo_refuses_what_has_changed_since() {
    for (name, damaged) in DAMAGED {
        println!("{name}");
        refuses_what_has_changed(&damaged());
    }
}

fn refuses_what_has_changed(bench: &Bench) {
    bench.run("fsck a.img --repair --undo u").exits(1);
    let (image, chip) = (bench.bytes("a.img"), bench.bytes("a.img.chip.json"));
    for block in [0, 5, 11, 31] {
        bench.patch("a.img", block * BLOCK + 77, |bytes| bytes[0] ^= 1);
        refused(bench, &format!("block {block} has changed"));
        bench.put("a.img", &image);
    }
    bench.run("inject-bad a.img --clear-faults").exits(0);
    refused(bench, "a.img.chip.json has changed");
    std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
    refused(bench, "has changed");
    bench.put("a.img.chip.json", &chip);
    bench.put("a.img", &image[BLOCK..]);
    refused(bench, "another size");
    bench.put("a.img", &image);
    bench.feed("write a.img", b"news").exits(0);
    refused(bench, "has changed");
}

#[test]
fn what_is_no_undo_file_is_refused() {
    let bench = damaged();
    bench.fails("fsck a.img --undo-from u", 8, "not-found");
    for bytes in [b"".as_slice(), b"NANDUNDO", &random(1, 5000)] {
        bench.put("u", bytes);
        refused(&bench, "undo file");
    }
    std::fs::remove_file(bench.path("u")).unwrap();
    bench.run("fsck a.img --repair --undo u").exits(1);
    let undo = bench.bytes("u");
    // Of a damaged record nothing is put back, and the block it was about is seen to have changed.
    for at in [9, 30, 60, 400, undo.len() / 2] {
        bench.patch("u", at, |bytes| bytes[0] ^= 1);
        bench.run("fsck a.img --undo-from u").exits(8);
        bench.put("u", &undo);
    }
    // Without its end it is that of a repair which was cut short; a crash leaves zeros there.
    let end = *records(&undo).last().unwrap();
    bench.put("u", &[&undo[..end], &[0; 100]].concat());
    let repaired = bench.bytes("a.img");
    bench.run("fsck a.img --undo-from u").exits(0);
    assert!(bench.bytes("a.img") != repaired);
}

/// Where the records of an undo file of the small volume start: blocks as they were, then the end.
fn records(undo: &[u8]) -> Vec<usize> {
    let number =
        |at: usize, len: usize| undo[at..at + len].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
    let mut at = 40 + number(32, 8) + 8 * number(28, 4) + 4;
    let mut starts = Vec::new();
    while undo[at] == b'B' {
        starts.push(at);
        at += 1 + 4 + BLOCK + 4;
    }
    starts.push(at);
    starts
}

#[test]
fn a_repair_that_was_cut_short_is_taken_back() {
    for (name, damaged) in DAMAGED {
        println!("{name}");
        is_taken_back_from_anywhere(&damaged());
    }
}

fn is_taken_back_from_anywhere(whole: &Bench) {
    let before = state(whole);
    whole.run("fsck a.img --repair --undo u").exits(1);
    let (repaired, undo) = (state(whole), whole.bytes("u"));
    let records = records(&undo);
    assert!(records.len() > 3, "{records:?}");
    for saved in 0..records.len() {
        // The next record is cut short too, as its block is saved before it changes.
        for torn in [0, 3, 100] {
            let bench = Bench::new();
            let mut image = before[0].1.clone();
            for &record in &records[..saved] {
                let block = usize::from(undo[record + 1]);
                let range = block * BLOCK..(block + 1) * BLOCK;
                image[range.clone()].copy_from_slice(&repaired[0].1[range]);
            }
            bench.put("a.img", &image);
            let chip = if saved == records.len() - 1 { &repaired[1].1 } else { &before[1].1 };
            bench.put("a.img.chip.json", chip);
            bench.put("u", &undo[..(records[saved] + torn).min(undo.len() - 1)]);
            bench.run("fsck a.img --undo-from u").exits(0);
            assert!(state(&bench) == before, "{saved} blocks saved, {torn} bytes more");
        }
    }
}

#[test]
fn a_repair_that_was_cut_short_does_not_hide_other_changes() {
    for (name, damaged) in DAMAGED {
        println!("{name}");
        let bench = damaged();
        bench.run("fsck a.img --repair --undo u").exits(1);
        let undo = bench.bytes("u");
        let records = records(&undo);
        let (last, saved) = records.split_last().unwrap();
        bench.put("u", &undo[..*last]);
        let is_saved = |block: usize| saved.iter().any(|record| usize::from(undo[record + 1]) == block);
        let other = (4..32).rev().find(|&block| !is_saved(block)).unwrap();
        bench.patch("a.img", other * BLOCK, |bytes| bytes[0] ^= 1);
        refused(&bench, &format!("block {other} has changed"));
    }
}

#[test]
fn an_undo_that_was_cut_short_can_be_done_again() {
    for (name, damaged) in DAMAGED {
        println!("{name}");
        let bench = damaged();
        let before = state(&bench);
        bench.run("fsck a.img --repair --undo u").exits(1);
        let undo = bench.bytes("u");
        let first = records(&undo)[0];
        let block = usize::from(undo[first + 1]);
        bench.patch("a.img", block * BLOCK, |bytes| {
            bytes[..BLOCK].copy_from_slice(&undo[first + 5..][..BLOCK]);
        });
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(state(&bench) == before);
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(state(&bench) == before);
    }
}

#[test]
fn an_undo_that_was_cut_within_a_block_can_be_done_again() {
    for (name, damaged) in DAMAGED {
        println!("{name}");
        let bench = damaged();
        let before = state(&bench);
        bench.run("fsck a.img --repair --undo u").exits(1);
        let (repaired, undo) = (bench.bytes("a.img"), bench.bytes("u"));
        // A write that is cut short leaves each sector of the file as it was, or as it was to be.
        for parts in [0..BLOCK / 2, 512..1024, 1024..BLOCK] {
            bench.put("a.img", &repaired);
            for record in records(&undo).split_last().unwrap().1 {
                let (block, saved) = (usize::from(undo[record + 1]), &undo[record + 5..][..BLOCK]);
                bench.patch("a.img", block * BLOCK, |bytes| {
                    bytes[parts.clone()].copy_from_slice(&saved[parts.clone()]);
                });
            }
            bench.run("fsck a.img --undo-from u").exits(0);
            assert!(state(&bench) == before, "{parts:?}");
        }
    }
}

#[test]
fn what_changed_after_an_undo_that_was_cut_short_is_seen() {
    let bench = damaged();
    bench.run("fsck a.img --repair --undo u").exits(1);
    let (repaired, undo) = (bench.bytes("a.img"), bench.bytes("u"));
    let block = usize::from(undo[records(&undo)[0] + 1]);
    for byte in [0, 511, 512, BLOCK - 1] {
        bench.put("a.img", &repaired);
        bench.patch("a.img", block * BLOCK, |bytes| {
            bytes[512..1024].copy_from_slice(&undo[records(&undo)[0] + 5..][512..1024]);
            bytes[byte] ^= 1;
        });
        refused(&bench, &format!("block {block} has changed"));
    }
}

#[test]
fn a_full_disk_leaves_no_undo_file_behind() {
    let bench = damaged();
    let before = bench.snapshot();
    // The system refuses what goes past the limit, as it does on a full disk.
    bench
        .shell("trap '' XFSZ; ulimit -f 0; $NANDIMG fsck a.img --repair --undo u")
        .exits(8)
        .says("undo file");
    assert_eq!(bench.names(), ["a.img", "a.img.chip.json"]);
    let content = |snapshot: Snapshot| {
        snapshot.into_iter().map(|(path, (content, _))| (path, content)).collect::<Vec<_>>()
    };
    assert!(content(bench.snapshot()) == content(before));
    bench.run("fsck a.img --repair --undo u").exits(1);
}

#[test]
fn a_repair_with_nothing_to_mend_changes_nothing() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    let before = state(&bench);
    bench.run("fsck a.img --repair --undo u").exits(0);
    assert!(state(&bench) == before);
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]));
}
