//! What is written is read back: over geometries, offsets, lengths and older copies, and around blocks that fail.

use serde_json::json;

use crate::support::{BLOCK, Bench, CAPACITY, SMALL, random, sha256};

const GEOMETRIES: [&str; 7] = [
    "--block-size 4096 --blocks 32",
    "--page-size 512 --block-size 4096 --blocks 32",
    "--page-size 512 --spare-size 16 --block-size 4096 --blocks 48",
    "--page-size 2048 --spare-size 64 --block-size 16KiB --blocks 24",
    "--page-size 256 --block-size 1024 --blocks 120",
    "--page-size 256 --spare-size 8 --block-size 1024 --blocks 300",
    "--page-size 4096 --spare-size 224 --block-size 4096 --blocks 40",
];

/// What a write at `offset` makes of `content`.
fn written(content: &[u8], offset: usize, data: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().max(offset + data.len()), 0);
    content[offset..offset + data.len()].copy_from_slice(data);
    content
}

#[test]
fn what_is_written_is_read_over_every_geometry() {
    for geometry in GEOMETRIES {
        let bench = Bench::new();
        bench.run(&format!("format a.img --mapping block {geometry}")).exits(0);
        let mut content = Vec::new();
        for (seed, offset, len) in
            [(1, 0, 1), (2, 700, 9000), (3, 4096, 4096), (4, 20_001, 3), (5, 8191, 2), (6, 1, 15_000)]
        {
            let data = random(seed, len);
            content = written(&content, offset, &data);
            bench.feed(&format!("write a.img --offset {offset}"), &data).exits(0);
            assert!(bench.content("a.img") == content, "{geometry}: {len} bytes at {offset}");
        }
        for (offset, len) in [(0, 1), (511, 2), (4095, 4098), (20_003, 1), (12_000, 0)] {
            let read = bench.run(&format!("read a.img --offset {offset} --length {len}")).exits(0).stdout;
            assert!(read == content[offset..offset + len], "{geometry}: {len} bytes at {offset}");
        }
        let report = bench.report("read a.img -o out");
        assert_eq!((&report["sha256"], bench.bytes("out") == content), (&json!(sha256(&content)), true));
        bench.run("fsck a.img").exits(0);
    }
}

#[test]
fn offsets_take_suffixes_and_hex() {
    let bench = Bench::with_volume(&random(1, 20_000));
    let content = bench.content("a.img");
    for (offset, at) in [("0x1000", 4096), ("4KiB", 4096), ("4k", 4096), ("12289", 12_289)] {
        let read = bench.run(&format!("read a.img --offset {offset} --length 0x10")).exits(0).stdout;
        assert!(read == content[at..at + 16], "{offset}");
    }
}

#[test]
fn unwritten_bytes_read_as_zero() {
    let bench = Bench::with_volume(b"head");
    bench.feed("write a.img --offset 50000", b"tail").exits(0);
    let content = bench.content("a.img");
    assert_eq!(
        (content.len(), &content[..4], &content[50_000..]),
        (50_004, b"head".as_slice(), b"tail".as_slice())
    );
    assert!(content[4..50_000].iter().all(|&b| b == 0));
    assert_eq!(bench.report("mount-check a.img")["mapped_units"], 2);
}

#[test]
fn truncate_ends_the_volume_where_the_write_ends() {
    let bench = Bench::with_volume(&random(1, 20_000));
    let report = bench.feed("--json write a.img --truncate --offset 5000", b"the end").exits(0).json();
    assert_eq!((&report["logical_len"], &report["bytes"]), (&json!(5007), &json!(7)));
    assert_eq!(report["batches"], 1, "a write and its truncation are one commit");
    let content = bench.content("a.img");
    assert!(content[..5000] == random(1, 20_000)[..5000] && content[5000..] == *b"the end");
    bench.feed("write a.img --offset 9000", b"x").exits(0);
    let content = bench.content("a.img");
    assert!(content[5007..9000].iter().all(|&b| b == 0), "what was cut off came back");
    bench.run("write a.img --truncate").exits(0);
    assert!(bench.content("a.img").is_empty());
    assert_eq!(bench.report("mount-check a.img")["mapped_units"], 0);
}

#[test]
fn a_volume_is_filled_to_its_capacity() {
    let content = random(1, CAPACITY as usize);
    let bench = Bench::with_volume(&content);
    let report = bench.report("mount-check a.img --hash");
    assert_eq!((&report["logical_len"], &report["capacity"]), (&json!(CAPACITY), &json!(CAPACITY)));
    assert_eq!(report["sha256"], sha256(&content));
    assert!(bench.content("a.img") == content);
}

#[test]
fn an_older_copy_is_read_by_its_sequence() {
    let bench = Bench::with_volume(b"first");
    bench.feed("write a.img", b"SECOND").exits(0);
    assert_eq!(bench.content("a.img"), b"SECOND");
    assert_eq!(bench.run("read a.img --sequence 2").exits(0).stdout, b"first");
    assert_eq!(bench.run("read a.img --sequence 3").exits(0).stdout, b"SECOND");
    let report = bench.run("--json mount-check a.img --sequence 2 --hash").exits(1).json();
    assert_eq!(report["sha256"], sha256(b"first"));
    bench.run("mount-check a.img").exits(0);
}

/// A volume of five blocks; the third, which a latent fault makes unreadable; and the content.
fn with_unreadable_block(geometry: &str) -> (Bench, u64, Vec<u8>) {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {geometry}")).exits(0);
    let content = random(1, 5 * BLOCK - 100);
    bench.feed("write a.img", &content).exits(0);
    // A fresh volume is filled from its first data block on.
    bench.run("inject-bad a.img --block 6 --when read").exits(0);
    (bench, 2 * BLOCK as u64, content)
}

#[test]
fn a_place_that_cannot_be_read_stops_the_read_and_is_named() {
    for (geometry, raw_block) in
        [(SMALL, 4096), ("--page-size 512 --spare-size 16 --block-size 4096 --blocks 32", 8 * 528)]
    {
        let (bench, hole, content) = with_unreadable_block(geometry);
        let read = bench.run("read a.img").exits(4);
        assert!(read.stdout == content[..hole as usize], "what comes before it is given");
        for part in ["block 6", "page 0", &format!("{:#x}", 6 * raw_block)] {
            assert!(read.stderr.contains(part), "{part}: {}", read.stderr);
        }
        bench.fails("read a.img -o out", 4, "unreadable");
        let report = bench.run("--json read a.img -o out --offset 8292 --length 5000").exits(4).json();
        assert_eq!((&report["bytes"], &report["holes"][0]["offset"]), (&json!(0), &json!(8292)));
        let report = bench.run("--json mount-check a.img --hash").exits(4).json();
        assert_eq!((&report["sha256"], &report["error"]["kind"]), (&json!(null), &json!("unreadable")));
        bench.run("read a.img --length 8k").exits(0);
        bench.run("read a.img --offset 12k").exits(0);
        bench.run("mount-check a.img").exits(0);
    }
}

#[test]
fn unreadable_places_are_skipped_with_zeros_and_listed() {
    let (bench, hole, mut content) = with_unreadable_block(SMALL);
    content[hole as usize..][..BLOCK].fill(0);
    let report = bench.run("--json read a.img -o out --skip-unreadable").exits(4).json();
    assert!(bench.bytes("out") == content);
    assert_eq!((&report["bytes"], &report["sha256"]), (&json!(content.len()), &json!(sha256(&content))));
    let holes = report["holes"].as_array().unwrap();
    let mut next = hole;
    for (page, found) in holes.iter().enumerate() {
        assert_eq!(
            (&found["offset"], &found["block"], &found["page"]),
            (&json!(next), &json!(6), &json!(page))
        );
        assert!(found["reason"].as_str().unwrap().contains("cannot be read"), "{found}");
        next += found["length"].as_u64().unwrap();
    }
    assert_eq!(next, hole + BLOCK as u64, "{report}");
    let text = bench.run("read a.img --skip-unreadable").exits(4);
    assert!(text.stdout == content && text.stderr.contains("block 6"), "{}", text.stderr);
    bench.run("inject-bad a.img --clear-faults").exits(0);
    assert!(bench.content("a.img") == random(1, content.len()));
}

#[test]
fn writing_over_an_unreadable_block_whole_mends_it_and_in_part_is_refused() {
    let (bench, hole, _) = with_unreadable_block(SMALL);
    let before = bench.bytes("a.img");
    let write = bench.feed(&format!("--json write a.img --offset {}", hole + 1), b"part").exits(4);
    assert_eq!(write.json()["error"]["kind"], "unreadable");
    assert!(bench.bytes("a.img") == before);
    let whole = random(9, BLOCK);
    bench.feed(&format!("write a.img --offset {hole}"), &whole).exits(0);
    assert!(bench.content("a.img")[hole as usize..][..BLOCK] == whole);
}
