//! Images of page-mapped volumes: what they say of themselves before anything is mounted, in forged ones, and that commands
//! need no more than what they say.

use nandimg::onflash::paged::anchor::{Anchor, INCOMPATIBLE, VERSION};
use nandimg::onflash::paged::head::{Head, Kind, open, seal};
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
        snapshot_pages: 0,
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
    for (flags, names) in [
        ("--page-size 1024", ["page size", "1024", "512"]),
        ("--spare-size 16", ["spare size", "16", "0"]),
        ("--block-size 4096", ["block size", "4096", "8192"]),
        ("--blocks 39", ["number of blocks", "39", "40"]),
        ("--page-size 2048 --block-size 8192 --blocks 40", ["page size", "2048", "512"]),
        ("--page-size 2048 --spare-size 64 --block-size 131072", ["page size", "2048", "512"]),
        ("--max-erase-cycles 100", ["rated erase cycles", "100", "3000"]),
        ("--chip K9F1G08U0A", ["K9F1G08U0A", "2048", "512"]),
    ] {
        for command in ["mount-check", "fsck", "wear-report", "read -o out", "write", "inject-bad --list"] {
            let said = bench.fails(&format!("{command} a.img {flags}"), 8, "geometry-mismatch").text();
            assert!(names.iter().all(|name| said.contains(name)), "{command} {flags}: {said}");
        }
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
    // The end of the dump got lost by a byte: what is missing, and what to do about it.
    bench.put("a.img", &with_anchors()[..BLOCKS * PAGE * PAGES - 1]);
    let line = "mount-check a.img";
    bench
        .run(line)
        .exits(8)
        .says("327680")
        .says("327679")
        .says("1 byte is missing")
        .says("pad it with bytes of FF");
    bench.put("a.img", &with_anchors());
    bench.run(line).exits(4).says("no copy of directory page 0 is whole");
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

/// Seven commits of a small volume, each with an anchor of its own: the checkpoints of the first are gone.
fn with_history() -> Bench {
    let bench = Bench::new();
    bench.run("format a.img --page-size 512 --block-size 4096 --blocks 64").exits(0);
    bench.feed("write a.img", &random(1, 30_000)).exits(0);
    for seed in 2..8 {
        bench.feed("write a.img", &random(seed, 3000)).exits(0);
    }
    bench
}

fn metadata(report: &Value) -> &Vec<Value> {
    report["metadata"].as_array().unwrap()
}

/// One of the two copies of the newest.
fn damage_an_anchor(bench: &Bench, image: &str) {
    let report = bench.run(&format!("--json mount-check {image}")).json();
    let anchor = metadata(&report).iter().find(|copy| copy["state"] == "current").unwrap();
    bench.patch(image, anchor["offset"].as_u64().unwrap() as usize, |bytes| bytes[40] ^= 1);
}

#[test]
fn every_sequence_that_mounts_is_listed_and_the_one_in_use_marked() {
    let bench = with_history();
    let listed = bench.report("mount-check a.img");
    let newest = listed["sequence"].as_u64().unwrap();
    let mut older = 0;
    for wanted in 0..newest + 2 {
        let report = bench.run(&format!("--json mount-check a.img --sequence {wanted}")).json();
        let is_listed = metadata(&listed).iter().any(|copy| copy["sequence"] == wanted);
        assert_eq!(report["mountable"], is_listed, "{wanted}: {listed}");
        if !is_listed {
            continue;
        }
        older += u64::from(wanted < newest);
        let in_use = |copy: &&Value| copy["state"] == "current";
        assert!(metadata(&report).iter().filter(in_use).all(|copy| copy["sequence"] == wanted), "{report}");
        let anchors: Vec<&Value> =
            metadata(&report).iter().filter(|copy| copy["location"] == "anchor").collect();
        assert_eq!(anchors.iter().filter(|copy| in_use(copy)).count(), 2, "{report}");
        let listed = metadata(&listed).iter().filter(|copy| copy["location"] == "anchor");
        assert_eq!(anchors.len(), listed.count(), "the same are there");
    }
    assert!(older > 1, "{listed}");
    // Where none of the newest mounts, an older one may.
    let newest_checkpoint: Vec<u64> = metadata(&listed)
        .iter()
        .filter(|copy| copy["location"] == "checkpoint")
        .map(|copy| copy["offset"].as_u64().unwrap())
        .collect();
    for offset in newest_checkpoint {
        bench.patch("a.img", offset as usize, |bytes| bytes[..8].fill(0));
    }
    let report = bench.run("--json mount-check a.img").exits(4).json();
    let older = metadata(&report).iter().filter_map(|copy| copy["sequence"].as_u64()).min().unwrap();
    assert!(older < newest, "{report}");
    bench.run(&format!("mount-check a.img --sequence {older}")).exits(1);
}

/// The newest anchors are those of another volume as far as this program can tell; the older ones are no way around that.
#[test]
fn a_volume_of_a_later_version_or_with_unknown_features_is_refused_by_name() {
    type Change = fn(&mut Anchor);
    let changes: [(Change, &str); 2] = [
        (|anchor| anchor.incompatible |= 1 << 9, "incompatible bit 9"),
        (|anchor| anchor.version = VERSION + 1, "version 2 of the page-mapped format"),
    ];
    for (change, said) in changes {
        let bench = with_history();
        let report = bench.report("mount-check a.img");
        for copy in metadata(&report).iter().filter(|copy| copy["location"] == "anchor") {
            if copy["state"] != "current" {
                continue;
            }
            bench.patch("a.img", copy["offset"].as_u64().unwrap() as usize, |bytes| {
                let (head, payload) = open(&bytes[..512]).unwrap();
                let mut anchor = Anchor::decode(payload).unwrap();
                change(&mut anchor);
                let page = seal(&head, &anchor.encode(), 512);
                bytes[..512].copy_from_slice(&page);
            });
        }
        let before = bench.bytes("a.img");
        for command in ["mount-check", "read -o out", "write", "fsck", "fsck --repair", "wear-report"] {
            let outcome = bench.fails(&format!("{command} a.img"), 8, "unsupported");
            assert!(outcome.text().contains(said), "{command}: {}", outcome.text());
        }
        assert!(bench.bytes("a.img") == before);
    }
}

#[test]
fn any_block_may_be_made_bad_and_nothing_is_lost() {
    let bench = Bench::new();
    bench.run("format a.img --page-size 512 --block-size 4096 --blocks 48").exits(0);
    let (content, added) = (random(1, 60_000), random(2, 700));
    bench.feed("write a.img", &content).exits(0);
    let image = bench.bytes("a.img");
    for block in 0..48 {
        for how in ["", " --when program", " --when erase"] {
            bench.put("b.img", &image);
            bench.run(&format!("inject-bad b.img --block {block}{how}")).exits(0);
            assert!(bench.content("b.img") == content, "block {block}{how}");
            bench.feed("write b.img --offset 100", &added).exits(0);
            let mut expected = content.clone();
            expected[100..][..700].copy_from_slice(&added);
            assert!(bench.content("b.img") == expected, "block {block}{how}");
            std::fs::remove_file(bench.path("b.img.chip.json")).ok();
        }
    }
}

#[test]
fn other_commands_tell_how_the_volume_mounts() {
    let bench = with_history();
    let keys = ["sequence", "degraded", "writable", "reason", "warnings"];
    let agree = |flags: &str, mount_flags: &str, degraded: bool| {
        let checked = bench.run(&format!("--json mount-check a.img {mount_flags}")).json();
        let read = bench.run(&format!("--json -q read a.img -o out {mount_flags} {flags}")).exits(0);
        assert_eq!(read.stderr, "");
        let read = read.json();
        assert_eq!(read["degraded"], degraded, "{read}");
        keys.iter().for_each(|key| assert_eq!(read[key], checked[key], "{key}"));
        if mount_flags.is_empty() {
            let worn = bench.report("wear-report a.img");
            let converted = bench.run("--json -q convert a.img b.img --logical --force").exits(0).json();
            for report in [&worn, &converted["source"]] {
                keys[1..].iter().for_each(|key| assert_eq!(report[key], checked[key], "{key}"));
            }
        }
    };
    agree("", "", false);
    agree("", "--sequence 5", true);
    bench.run("inject-bad a.img --block 1,2,3").exits(0);
    agree("--length 100", "", false);
    damage_an_anchor(&bench, "a.img");
    agree("", "", true);
}

#[test]
fn a_place_in_a_message_has_its_byte_offset() {
    let whole = with_history();
    let report = whole.report("mount-check a.img");
    let offsets = |location: &str| -> Vec<usize> {
        let copies = metadata(&report).iter().filter(|copy| copy["location"] == location);
        let current = copies.filter(|copy| copy["state"] == "current");
        current.map(|copy| copy["offset"].as_u64().unwrap() as usize).collect()
    };
    let (anchors, checkpoints, log) = (offsets("anchor"), offsets("checkpoint"), offsets("log"));
    let zone: Vec<usize> = (0..4 * 8).map(|page| page * 512).collect();
    for (name, damaged, says) in [
        ("one anchor", &anchors[..1], "the anchor (sequence"),
        ("the start of the anchors", &[0, 8 * 512][..], "the anchor in block 0"),
        (
            "all anchors",
            &zone[..],
            "blocks 0 to 3 (offset 0x0 up to 0x4000) hold no anchor; block 0 (offset 0x0): it",
        ),
        ("one copy of the checkpoint", &checkpoints[..1], "one copy of the metadata is damaged: block"),
        ("both copies of the checkpoint", &checkpoints[..], "no copy of directory page 0 is whole: block"),
        ("one copy of the log", &log[..1], "is not the log page that its twin is"),
    ] {
        let bench = Bench::new();
        bench.put("a.img", &whole.bytes("a.img"));
        for &offset in damaged {
            bench.patch("a.img", offset, |bytes| bytes[9..20].fill(0));
        }
        let outcome = bench.run("--json mount-check a.img");
        let report = outcome.json();
        let reason = report["reason"].as_str().unwrap_or_else(|| panic!("{name}: {report}"));
        assert!(reason.contains(says), "{name}: {reason}");
        let number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let places = reason.split("block ").skip(1).filter(|after| number(after)).count();
        let ranges = reason.matches(" up to ").count();
        assert!(places > 0 && places + ranges == reason.matches("(offset 0x").count(), "{name}: {reason}");
    }
}

#[test]
fn a_warning_names_the_image_that_it_is_of() {
    let bench = with_history();
    bench.put("b.img", &bench.bytes("a.img"));
    damage_an_anchor(&bench, "b.img");
    let outcome = bench.run("wear-report a.img b.img").exits(0);
    assert!(outcome.stderr.contains("warning: b.img: "), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("warning: a.img"), "{}", outcome.stderr);
}

#[test]
fn damaged_data_is_named_by_its_logical_bytes() {
    let bench = with_history();
    let data = bench.content("a.img");
    let page = 7 * 512..8 * 512;
    let at = bench.bytes("a.img").chunks(512).position(|bytes| bytes == &data[page.clone()]).unwrap();
    bench.patch("a.img", at * 512, |bytes| bytes[3] ^= 1);
    let report = bench.run("--json fsck a.img").exits(4).json();
    let finding =
        report["findings"].as_array().unwrap().iter().find(|f| f["code"] == "data-damaged").unwrap();
    assert_eq!((&finding["logical_offset"], &finding["offset"]), (&page.start.into(), &(at * 512).into()));
    bench.run("fsck a.img").exits(4).says("(logical byte 3584) is damaged");
}

#[test]
fn a_repair_says_why_it_was_given_up() {
    let bench = with_history();
    let report = bench.report("mount-check a.img");
    let checkpoint = metadata(&report).iter().find(|copy| copy["location"] == "checkpoint").unwrap();
    bench.patch("a.img", checkpoint["offset"].as_u64().unwrap() as usize, |bytes| bytes[9] ^= 1);
    bench.run("inject-bad a.img --block 1,2,3").exits(0);
    let before = bench.bytes("a.img");
    let outcome = bench.run("fsck a.img --repair").exits(4).says("could not be mended");
    outcome
        .says("the repair was given up: the volume is read-only: too few blocks of the anchor zone are left");
    assert!(bench.bytes("a.img") == before);
    assert!(!bench.run("fsck a.img").exits(4).text().contains("given up"));
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
        let repaired =
            bench.run("--json fsck a.img --repair").exits(4).says("will stay once the map is rebuilt").json();
        let again = bench.run("--json fsck a.img").exits(4).json();
        for report in [&repaired, &again] {
            let findings = report["findings"].as_array().unwrap().iter();
            let pages: Vec<u64> = findings
                .filter(|finding| finding["code"] == "lost-page")
                .map(|finding| finding["logical_offset"].as_u64().unwrap())
                .collect();
            assert_eq!(pages, (28..35).map(|page| page * 512).collect::<Vec<u64>>());
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
