//! Images of page-mapped volumes: what they say of themselves before anything is mounted, in forged ones, and that commands
//! need no more than what they say.

use nandimg::onflash::paged::anchor::{Anchor, INCOMPATIBLE, VERSION};
use nandimg::onflash::paged::head::{Head, Kind, seal};
use nandimg::onflash::paged::{NextPair, map};

use serde_json::Value;

use crate::support::{Bench, random, sha256, wipe_metadata};

const PAGE: usize = 512;
const PAGES: usize = 16;
const BLOCKS: usize = 40;

/// An image of nothing but the given metadata pages: kind, address, payload.
fn image(pages: &[(Kind, u32, Vec<u8>)]) -> Vec<u8> {
    let mut image = vec![0xFF; PAGE * PAGES * BLOCKS];
    for (kind, address, payload) in pages {
        let (kind, address) = (*kind, *address);
        let head = Head { kind, flags: 0, volume: 7, epoch: 1, number: 1, address, erases: 1 };
        image[address as usize * PAGE..][..PAGE].copy_from_slice(&seal(&head, payload, PAGE));
    }
    image
}

fn anchor() -> Vec<u8> {
    let anchor = Anchor {
        version: VERSION,
        incompatible: INCOMPATIBLE,
        page_size: PAGE as u32,
        spare_size: 0,
        pages_per_block: PAGES as u32,
        blocks: BLOCKS as u32,
        max_erase_cycles: 3000,
        zone_blocks: 4,
        summary_pages: 1,
        classes: 1,
        capacity_pages: 400,
        reserve_blocks: 2,
        wear_interval: 256,
        wear_threshold: 100,
        logical_len: 0,
        clock: 0,
        body: (4, 5, 0),
        directory_pages: 1,
        table_pages: 1,
        next_log: 1,
        page_layout: 0,
        page_layout_name: [0; 24],
    };
    anchor.encode()
}

fn with_anchors() -> Vec<u8> {
    image(&[(Kind::Anchor, 0, anchor()), (Kind::Anchor, 16, anchor())])
}

#[test]
fn flags_that_contradict_the_flash_are_refused_with_both_values() {
    let bench = Bench::new();
    bench.put("a.img", &with_anchors());
    for (flags, values) in [
        ("--page-size 1024", ["1024", "512"]),
        ("--spare-size 16", ["16", "0"]),
        ("--block-size 4096", ["4096", "8192"]),
        ("--blocks 39", ["39", "40"]),
        ("--page-size 2048 --block-size 8192 --blocks 40", ["2048", "512"]),
        ("--page-size 2048 --spare-size 64 --block-size 131072", ["2048", "512"]),
        ("--max-erase-cycles 100", ["100", "3000"]),
    ] {
        for command in ["mount-check", "fsck", "wear-report", "read -o out", "write", "inject-bad --list"] {
            bench.fails(&format!("{command} a.img {flags}"), 8, "geometry-mismatch");
        }
        let said = bench.run(&format!("mount-check a.img {flags}")).stderr;
        assert!(values.iter().all(|value| said.contains(value)), "{said}");
    }
}

#[test]
fn a_chip_file_that_contradicts_the_flash_is_refused_with_both_values() {
    let bench = Bench::new();
    bench.put("a.img", &with_anchors());
    for (field, values) in [("\"page_size\":2048", ["2048", "512"]), ("\"blocks\":41", ["41", "40"])] {
        let chip = format!("{{\"schema\":\"nandimg.chip/1\",\"geometry\":{{{field}}}}}");
        bench.put("a.img.chip.json", chip.as_bytes());
        let outcome = bench.fails("fsck a.img", 8, "geometry-mismatch");
        let said = outcome.text();
        assert!(values.iter().all(|value| said.contains(value)) && said.contains("chip file"), "{said}");
    }
}

#[test]
fn an_image_that_was_cut_short_is_said_to_be() {
    let bench = Bench::new();
    bench.put("a.img", &with_anchors()[..30 * PAGE * PAGES]);
    for command in ["mount-check", "fsck --repair", "wear-report", "write", "inject-bad --block 9"] {
        let outcome = bench.fails(&format!("{command} a.img"), 8, "geometry-mismatch");
        assert!(outcome.text().contains("cut short"), "{}", outcome.text());
    }
}

#[test]
fn damaged_anchors_alone_are_ours_and_do_not_mount() {
    let bench = Bench::new();
    let mut damaged = with_anchors();
    for at in [50, 16 * PAGE + 50] {
        damaged[at] ^= 1;
    }
    bench.put("a.img", &damaged);
    for command in ["mount-check", "fsck", "wear-report", "read -o out", "write"] {
        bench.fails(&format!("{command} a.img"), 4, "unmountable");
    }
    let report = bench.run("--json mount-check a.img").exits(4).json();
    assert_eq!((&report["mapping"], &report["mountable"]), (&"page".into(), &false.into()));
}

#[test]
fn a_geometry_that_nothing_tells_is_asked_for() {
    let bench = Bench::new();
    let page = |address| (Kind::Map, address, map::encode(NextPair::NONE, &[]));
    bench.put("a.img", &image(&[page(80), page(81), page(85)]));
    let said = bench.fails("fsck a.img", 8, "geometry-unknown").text();
    assert!(said.contains("page-mapped with page size 512") && said.contains("block size 8192"), "{said}");
}

#[test]
fn what_is_there_is_named_before_it_is_formatted() {
    let bench = Bench::new();
    bench.put("a.img", &with_anchors());
    for flags in ["", "--mapping block", "--mapping page"] {
        bench.fails(&format!("format a.img {flags}"), 8, "exists");
        bench.run(&format!("format a.img {flags}")).exits(8).says("page-mapped volume").says("offset 0x0");
    }
    // Its erase counts would be lost.
    let line = "format a.img --mapping block --force";
    bench.fails(line, 8, "unsupported");
    bench.run(line).exits(8).says("--reset-wear");
    assert!(bench.bytes("a.img") == with_anchors());
    bench.run(&format!("{line} --reset-wear")).exits(0);
    let report = bench.report("mount-check a.img");
    assert_eq!((&report["mapping"], &report["geometry"]["block_size"]), (&"block".into(), &8192.into()));
    assert!(!bench.bytes("a.img").windows(4).any(|w| w == b"NIMG"), "no anchor is left");
}

#[test]
fn after_a_format_no_command_needs_a_geometry() {
    let content = random(5, 40_000);
    for flags in [
        "--page-size 512 --block-size 16KiB --blocks 48",
        "--page-size 2048 --spare-size 64 --block-size 32KiB --blocks 40",
        "--block-size 16KiB --blocks 64 --max-erase-cycles 3000",
        "--page-size 512 --block-size 8KiB --blocks 64 --first-block 3",
    ] {
        let bench = Bench::new();
        bench.run(&format!("format a.img {flags}")).exits(0).says("page-mapped");
        let _ = std::fs::remove_file(bench.path("a.img.chip.json"));
        let wrote = bench.feed("--json write a.img --offset 700", &content).exits(0).json();
        assert_eq!((&wrote["sha256"], &wrote["batches"]), (&sha256(&content).into(), &1.into()));
        let read = bench.run("read a.img --offset 700").exits(0).stdout;
        assert!(read == content, "{flags}");
        let report = bench.report("mount-check a.img");
        let said = (&report["mapping"], &report["writable"], &report["degraded"], &report["logical_len"]);
        assert_eq!(said, (&"page".into(), &true.into(), &false.into(), &40_700.into()), "{flags}");
        assert!(report["geometry"]["page_size"].is_u64(), "{report}");
        assert_eq!(bench.names(), ["a.img"], "nothing had to be kept beside it");
        let wear = bench.report("wear-report a.img");
        let fixed: Vec<u64> =
            wear["fixed_blocks"].as_array().unwrap().iter().map(|b| b["block"].as_u64().unwrap()).collect();
        assert_eq!(fixed, [0, 1, 2, 3], "{wear}");
    }
}

#[test]
fn a_page_mapped_volume_gives_its_wear_to_a_block_mapped_one() {
    for flags in [
        "--page-size 512 --block-size 8KiB --blocks 40",
        "--page-size 2048 --spare-size 64 --block-size 32KiB --blocks 40 --layout linux-bch4",
    ] {
        let bench = Bench::new();
        bench.run(&format!("format a.img {flags} --bad-blocks 17")).exits(0);
        for seed in 0..12 {
            bench.feed("write a.img", &random(seed, 30_000)).exits(0);
        }
        let before = bench.report("wear-report a.img");
        let report = bench.report("format a.img --mapping block --force --dry-run");
        assert_eq!((&report["mapping"], &report["wear_carried_over"]), (&"block".into(), &true.into()));
        assert_eq!(bench.report("mount-check a.img")["mapping"], "page");
        bench.run("format a.img --mapping block --force").exits(0);
        let after = bench.report("wear-report a.img");
        assert!(after["total"].as_u64().unwrap() > before["total"].as_u64().unwrap(), "{after}");
        let per_block = |report: &Value| report["per_block"].as_array().unwrap().clone();
        for (block, (before, after)) in per_block(&before).iter().zip(&per_block(&after)).enumerate() {
            let erases = |report: &Value| report["erases"].as_u64().unwrap();
            assert!(erases(after) >= erases(before), "block {block}: {before}, then {after}");
        }
        let report = bench.report("mount-check a.img");
        let said = (&report["mapping"], &report["writable"], &report["logical_len"], &report["bad_blocks"]);
        assert_eq!(said, (&"block".into(), &true.into(), &0.into(), &serde_json::json!([17])), "{report}");
        bench.run("fsck a.img").exits(0);
        bench.feed("write a.img", &random(1, 30_000)).exits(0);
        assert!(bench.content("a.img") == random(1, 30_000));
        bench.run("format a.img --force").exits(0);
        assert_eq!(bench.report("mount-check a.img")["mapping"], "page");
    }
}

#[test]
fn a_block_mapped_volume_gives_its_wear_to_a_page_mapped_one() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --page-size 512 --block-size 8KiB --blocks 40").exits(0);
    for _ in 0..3 {
        bench.feed("write a.img", &random(1, 30_000)).exits(0);
    }
    let before = bench.report("wear-report a.img")["total"].as_u64().unwrap();
    let report = bench.report("format a.img --force");
    assert_eq!((&report["mapping"], &report["wear_carried_over"]), (&"page".into(), &true.into()));
    let after = bench.report("wear-report a.img");
    assert!(after["total"].as_u64().unwrap() >= before, "{after}");
    assert_eq!(after["mapping"], "page");
}

#[test]
fn a_data_block_lost_with_all_metadata_is_damage_and_a_hole_in_what_is_read() {
    for lost in [0x00, 0x5A, 0xFF] {
        let bench = Bench::new();
        let content = random(5, 60_000);
        bench.run("format a.img --page-size 512 --block-size 4KiB --blocks 64").exits(0);
        bench.feed("write a.img", &content).exits(0);
        let mut image = bench.bytes("a.img");
        // Logical page 28 is the first of a block.
        let at = image.chunks(512).position(|page| page == &content[28 * 512..29 * 512]).unwrap() * 512;
        assert_eq!(at % 4096, 0);
        image[at..at + 4096].fill(lost);
        wipe_metadata(&mut image, 512, |kind| kind != Kind::Summary);
        bench.put("a.img", &image);
        let repaired = bench.run("--json fsck a.img --repair").exits(4).json();
        let again = bench.run("--json fsck a.img").exits(4).json();
        for report in [&repaired, &again] {
            let findings = report["findings"].as_array().unwrap().iter();
            let pages: Vec<u64> = findings
                .filter(|finding| finding["code"] == "lost-page")
                .map(|finding| finding["logical_page"].as_u64().unwrap())
                .collect();
            assert_eq!(pages, (28..35).collect::<Vec<u64>>());
        }
        let in_doubt = |finding: &&Value| finding["code"] == "rebuilt-in-doubt" && finding["offset"] == at;
        let in_doubt = repaired["findings"].as_array().unwrap().iter().filter(in_doubt).count();
        assert_eq!(in_doubt, usize::from(lost != 0xFF));
        bench.fails("read a.img -o all", 4, "unreadable");
        let read = bench.run("--json read a.img -o all --skip-unreadable").exits(4).json();
        let holes: u64 =
            read["holes"].as_array().unwrap().iter().map(|hole| hole["length"].as_u64().unwrap()).sum();
        assert_eq!(holes, 7 * 512);
        let mut expected = content;
        expected[28 * 512..35 * 512].fill(0);
        assert!(bench.bytes("all") == expected);
    }
}
