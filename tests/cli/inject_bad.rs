//! `inject-bad`: choices by seed, faults that wait, flipped bits; and writes that survive what was injected.

use std::fs::File;

use serde_json::{Value, json};

use crate::support::{BLOCK, Bench, SMALL, numbers, random};

#[test]
fn a_seed_chooses_the_same_for_ever() {
    // Computed apart, from the published SplitMix64 and the first steps of a Fisher-Yates shuffle.
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    let report = bench.report("inject-bad a.img --count 5 --when program");
    let chosen: Vec<u64> =
        report["faults"].as_array().unwrap().iter().map(|f| f["block"].as_u64().unwrap()).collect();
    assert_eq!(chosen, [2, 6, 14, 28, 31]);
    bench.run("inject-bad a.img --block 9,20").exits(0);
    let report = bench.report("inject-bad a.img --count 5 --seed 42");
    assert_eq!(numbers(&report["marked"]), [4, 5, 10, 13, 24], "among the good blocks only");
    let report = bench.report("inject-bad a.img --flip-bits 4 --seed 7");
    let place = |f: &Value| [&f["block"], &f["page"], &f["bit"]].map(|n| n.as_u64().unwrap());
    let flipped: Vec<_> = report["flipped"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(flipped, [[0, 4, 1219], [12, 3, 3260], [18, 5, 942], [28, 6, 2435]]);
    let report = bench.report("inject-bad a.img --flip-bits 4 --block 9");
    let flipped: Vec<_> = report["flipped"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(flipped, [[9, 0, 866], [9, 3, 1851], [9, 7, 269], [9, 7, 3141]]);
}

#[test]
fn the_same_command_does_the_same() {
    for line in
        ["--count 7 --seed 3", "--count 3 --when erase --after 2 --seed 9", "--flip-bits 100 --seed 5"]
    {
        let benches = [Bench::with_volume(b"some content"), Bench::with_volume(b"some content")];
        let reports = benches.each_ref().map(|bench| bench.report(&format!("inject-bad a.img {line}")));
        assert_eq!(reports[0], reports[1], "{line}");
        assert!(benches[0].bytes("a.img") == benches[1].bytes("a.img"));
        assert_eq!(benches[0].chip_file("a.img"), benches[1].chip_file("a.img"));
    }
}

#[test]
fn all_blocks_may_be_chosen_and_none_twice() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    let report = bench.report("inject-bad a.img --count 32 --seed 7");
    assert!(numbers(&report["marked"]).into_iter().eq(0..32));
    bench.fails("inject-bad a.img --count 1", 8, "out-of-range");
}

#[test]
fn marks_lie_in_the_spare_area_where_there_is_one_and_else_in_the_chip_file() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    let before = bench.bytes("a.img");
    bench.run("inject-bad a.img --block 9").exits(0);
    assert!(bench.bytes("a.img") == before);
    assert_eq!(bench.chip_file("a.img")["bad_blocks"], json!([9]));
    bench
        .run("format b.img --mapping block --page-size 2048 --spare-size 64 --block-size 16k --blocks 16")
        .exits(0);
    let before = bench.bytes("b.img");
    bench.run("inject-bad b.img --block 9").exits(0);
    assert_eq!(bench.chip_file("b.img")["bad_blocks"], json!([]));
    let changed: Vec<_> = bench
        .bytes("b.img")
        .iter()
        .zip(&before)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(i, _)| i)
        .collect();
    assert_eq!(changed, [(9 * 8) * 2112 + 2048, (9 * 8 + 1) * 2112 + 2048]);
    assert_eq!(bench.report("mount-check b.img")["bad_blocks"], json!([9]));
}

#[test]
fn an_image_without_chip_file_gets_one_that_holds_its_geometry() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4096 --blocks 32").exits(0);
    bench.run("inject-bad a.img --block 9 --when read").exits(0);
    let chip = bench.chip_file("a.img");
    assert_eq!(
        (&chip["schema"], &chip["geometry"]["block_size"], &chip["geometry"]["blocks"]),
        (&json!("nandimg.chip/1"), &json!(4096), &json!(32))
    );
    assert_eq!(chip["faults"], json!([{ "block": 9, "on": "read", "after": 0 }]));
}

#[test]
fn bits_are_counted_from_the_least_significant_and_spare_bytes_follow_the_data() {
    let bench = Bench::new();
    bench
        .run("format a.img --mapping block --page-size 512 --spare-size 16 --block-size 4096 --blocks 32")
        .exits(0);
    let before = bench.bytes("a.img");
    let page = |block: usize, page: usize| (block * 8 + page) * 528;
    for (place, at, mask) in [
        ("0@5:0", page(5, 0), 1u8),
        ("7@5:1", page(5, 1), 128),
        ("4095@6:7", page(6, 7) + 511, 128),
        ("4096@6:7", page(6, 7) + 512, 1),
    ] {
        let report = bench.report(&format!("inject-bad a.img --flip {place}"));
        assert_eq!(report["flipped"][0]["offset"], at, "{place}");
        let mut expected = before.clone();
        expected[at] ^= mask;
        assert!(bench.bytes("a.img") == expected, "{place}");
        bench.run(&format!("inject-bad a.img --flip {place}")).exits(0);
        assert!(bench.bytes("a.img") == before, "{place}, back");
    }
    bench.run("inject-bad a.img --flip 0@5:0 --flip 1@5:0").exits(0);
    assert_eq!(bench.bytes("a.img")[page(5, 0)], before[page(5, 0)] ^ 3);
}

#[test]
fn a_bit_that_is_named_twice_flips_once() {
    let bench = Bench::with_volume(b"some content");
    let before = bench.bytes("a.img");
    let report = bench.report("inject-bad a.img --flip 3@5:0 --flip 3@5:0");
    assert_eq!(report["flipped"].as_array().unwrap().len(), 1);
    assert_eq!(bench.bytes("a.img")[5 * BLOCK], before[5 * BLOCK] ^ 8);
    // The seed chooses one that is named.
    bench.put("a.img", &before);
    let chosen = bench.report("inject-bad a.img --flip-bits 4 --seed 7");
    let flipped = bench.bytes("a.img");
    bench.put("a.img", &before);
    let report = bench.report("inject-bad a.img --flip 1219@0:4 --flip-bits 4 --seed 7");
    assert_eq!(report["flipped"], chosen["flipped"]);
    assert!(bench.bytes("a.img") == flipped);
}

/// A page of 2048 steps: how many places there are is to be known before they are listed.
#[test]
fn flips_are_few_and_take_little_memory() {
    let bench = Bench::new();
    let layout = json!({
        "schema": "nandimg.layout/1",
        "name": "steps",
        "page_size": 4096,
        "spare_size": 2064,
        "data": [{ "byte": 0, "bytes": 4096 }],
        "code": { "kind": "bch", "m": 5, "t": 1 },
        "steps": [{
            "times": 2048,
            "protects": [{ "byte": 0, "bytes": 2, "advance": 2 }],
            "ecc": [{ "byte": 4096, "bytes": 1, "advance": 1 }]
        }],
        "marker": { "byte": 6144, "bytes": 2 }
    });
    bench.put("steps.json", layout.to_string().as_bytes());
    let steps = (1600 * (4096 + 2064), "--block-size 256k --layout steps.json");
    let small = (32 * 4096, "--block-size 4096");
    let inject = |(len, geometry): (u64, &str), flags: &str| {
        File::create(bench.path("b.img")).unwrap().set_len(len).unwrap();
        // Beyond the image 64 MiB, and 8 MiB for the program itself.
        let limit = (len >> 10) + (72 << 10);
        bench.shell(&format!("ulimit -v {limit}; exec $NANDIMG --json inject-bad b.img {geometry} {flags}"))
    };
    let flipped =
        |image, flags: &str| inject(image, flags).exits(0).json()["flipped"].as_array().unwrap().len();
    let refused = |image, flags: &str| inject(image, flags).exits(8).json()["error"]["kind"].clone();
    assert_eq!(refused(steps, "--flip-bits 1 --each step"), "out-of-range");
    assert_eq!(flipped(steps, "--flip-bits 40 --each page"), 64_000);
    assert_eq!(flipped(small, "--flip-bits 65536"), 65_536);
    assert_eq!(refused(small, "--flip-bits 65537"), "out-of-range");
}

#[test]
fn it_does_not_tell_the_volume() {
    let bench = Bench::with_volume(&random(1, 5 * BLOCK));
    let before = bench.bytes("a.img");
    bench.run("inject-bad a.img --block 5 --when erase").exits(0);
    bench.run("inject-bad a.img --block 6").exits(0);
    assert!(bench.bytes("a.img") == before);
    bench.run("fsck a.img").exits(4).says("mapped-bad-block");
}

#[test]
fn a_fault_counts_down_across_processes() {
    for (on, each) in [("erase", 1), ("program", 8)] {
        let bench = Bench::new();
        bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
        // Blocks 5 to 31 are bad for all but six: every block is written in its turn.
        bench.run("inject-bad a.img --block 10-31").exits(0);
        bench.run(&format!("inject-bad a.img --block 4 --when {on} --after {}", 2 * each)).exits(0);
        let left = |bench: &Bench| bench.chip_file("a.img")["faults"][0]["after"].as_u64();
        let mut seen = vec![left(&bench).unwrap()];
        for round in 0..24 {
            let content = random(round, 100);
            bench.feed("write a.img", &content).exits(0);
            assert!(bench.content("a.img") == content);
            let now = left(&bench).unwrap();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        assert_eq!(seen, [2 * each, each, 0], "{on}");
        let report = bench.report("mount-check a.img");
        assert!(numbers(&report["bad_blocks"]).contains(&4), "{on}: {report}");
        assert!(numbers(&bench.chip_file("a.img")["bad_blocks"]).contains(&4));
    }
}

#[test]
fn writes_survive_blocks_that_fail() {
    for (geometry, raw) in
        [(SMALL, false), ("--page-size 512 --spare-size 16 --block-size 4096 --blocks 32", true)]
    {
        for on in ["erase", "program"] {
            let bench = Bench::with_volume(b"old");
            bench.run(&format!("format b.img --mapping block {geometry}")).exits(0);
            bench.run(&format!("inject-bad b.img --block 4-8,12 --when {on}")).exits(0);
            let content = random(1, 10 * BLOCK);
            bench.feed("write b.img", &content).exits(0);
            assert!(bench.content("b.img") == content, "{on}");
            let report = bench.report("mount-check b.img");
            assert_eq!(numbers(&report["bad_blocks"]), [4, 5, 6, 7, 8, 12], "{on}");
            assert_eq!(report["capacity"], (28 - 6 - 2) * BLOCK);
            let in_chip_file = if raw { json!([]) } else { json!([4, 5, 6, 7, 8, 12]) };
            assert_eq!(bench.chip_file("b.img")["bad_blocks"], in_chip_file);
            let fsck = bench.report("fsck b.img");
            assert_eq!(fsck["findings"], json!([]), "{on}");
            let without = bench.report(&format!("mount-check b.img --chip-file none {geometry}"));
            assert_eq!(without["bad_blocks"], report["bad_blocks"], "they are in the volume's own table");
        }
    }
}

#[test]
fn a_slot_that_fails_makes_the_volume_read_only_and_keeps_its_content() {
    let bench = Bench::with_volume(b"some content");
    bench.run("inject-bad a.img --block 0-1 --when erase").exits(0);
    let write = bench.feed("--json write a.img", b"SOME").exits(8);
    assert_eq!(write.json()["error"]["kind"], "read-only");
    assert_eq!(bench.content("a.img"), b"some content");
    bench.run("mount-check a.img").exits(1).says("read-only");
    bench.feed("write a.img", b"SOME").exits(8);
    assert_eq!(bench.content("a.img"), b"some content");
}

#[test]
fn a_write_whose_metadata_cannot_be_read_back_is_not_said_to_be_done() {
    let bench = Bench::with_volume(b"some content");
    bench.run("inject-bad a.img --block 1 --when read").exits(0);
    let write = bench.feed("--json write a.img", b"SOME").exits(8);
    assert_eq!(write.json()["error"]["kind"], "read-only");
    assert_eq!(bench.content("a.img"), b"some content");
    // The block is known for bad from now on.
    let check = bench.run("--json mount-check a.img").exits(1).json();
    assert_eq!((&check["writable"], &check["bad_blocks"]), (&json!(false), &json!([1])));
}

#[test]
fn when_every_free_block_fails_the_volume_is_full_and_unharmed() {
    let bench = Bench::with_volume(b"some content");
    bench.run("inject-bad a.img --block 5-31 --when program").exits(0);
    let write = bench.feed("--json write a.img", b"SOME").exits(8);
    assert_eq!(write.json()["error"]["kind"], "full");
    assert_eq!(bench.content("a.img"), b"some content");
}

#[test]
fn clearing_faults_leaves_marks() {
    let bench = Bench::with_volume(b"some content");
    bench.run("inject-bad a.img --block 9").exits(0);
    bench.run("inject-bad a.img --block 10 --when erase").exits(0);
    bench.run("inject-bad a.img --clear-faults").exits(0);
    let chip = bench.chip_file("a.img");
    assert_eq!((&chip["bad_blocks"], &chip["faults"]), (&json!([9]), &json!([])));
    assert_eq!(bench.report("inject-bad a.img --list")["faults"], json!([]));
}

#[test]
fn a_chip_may_be_broken_that_holds_no_volume() {
    let bench = Bench::new();
    bench.put("a.img", &random(1, 32 * BLOCK));
    let report = bench.report("inject-bad a.img --block-size 4096 --count 2 --seed 1");
    assert_eq!(report["marked"].as_array().unwrap().len(), 2);
    assert_eq!(bench.report("inject-bad a.img --list")["schema"], "nandimg.inject-bad/1");
}
