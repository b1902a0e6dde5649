//! What each command reports, in JSON and in text, and that the two say the same.

use serde_json::{Value, json};

use crate::support::{BLOCK, BLOCKS, Bench, CAPACITY, SMALL, line_of, numbers, random, sha256};

/// A volume of 10 000 bytes in three blocks with two bad ones, written twice; and its content.
fn worn_volume() -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    bench
        .run(&format!("format a.img --mapping block {SMALL} --max-erase-cycles 1000 --bad-blocks 9,20-21"))
        .exits(0);
    let content = random(1, 10_000);
    bench.feed("write a.img", &content).exits(0);
    bench.feed("write a.img", &content).exits(0);
    (bench, content)
}

#[test]
fn format_reports_what_it_made() {
    let bench = Bench::new();
    let line = format!("format a.img --mapping block {SMALL} --bad-blocks 9,20-21");
    let text = bench.run(&format!("{line} --dry-run")).exits(0).text();
    let report = bench.report(&line);
    let capacity = 4096 * (28 - 3 - 2);
    let expected = json!({
        "schema": "nandimg.format/1", "mapping": "block",
        "geometry": { "page_size": 512, "spare_size": 0, "block_size": 4096, "blocks": 32, "first_block": 0,
                      "max_erase_cycles": null },
        "layout": null, "capacity": capacity,
        "reserved": { "metadata": 2, "untouched": 2, "copy_on_write": 2, "bad": 3 },
        "bad_blocks": [9, 20, 21], "wear_carried_over": false, "dry_run": false
    });
    assert_eq!(report, expected);
    assert_eq!(line_of(&text, "capacity"), format!("capacity: {capacity} bytes (92 KiB)"));
    assert_eq!(line_of(&text, "bad blocks"), "bad blocks: 9, 20-21");
    for (row, blocks) in
        [("metadata", "2"), ("left untouched", "2"), ("copy-on-write", "2"), ("bad data", "3")]
    {
        assert!(line_of(&text, row).split_whitespace().any(|word| word == blocks), "{text}");
    }
    let reserved: u64 = report["reserved"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(reserved * BLOCK as u64 + capacity, u64::from(BLOCKS) * BLOCK as u64);
}

#[test]
fn mount_check_reports_the_volume_as_it_is() {
    let (bench, content) = worn_volume();
    let report = bench.report("mount-check a.img --hash");
    for (key, expected) in [
        ("schema", json!("nandimg.mount-check/1")),
        ("mapping", json!("block")),
        ("mountable", json!(true)),
        ("writable", json!(true)),
        ("degraded", json!(false)),
        ("reason", Value::Null),
        ("chip_file", json!("a.img.chip.json")),
        ("sequence", json!(3)),
        ("logical_len", json!(10_000)),
        ("capacity", json!(4096 * 23)),
        ("mapped_units", json!(3)),
        ("free_blocks", json!(28 - 3 - 3)),
        ("bad_blocks", json!([9, 20, 21])),
        ("warnings", json!([])),
        ("sha256", json!(sha256(&content))),
    ] {
        assert_eq!(report[key], expected, "{key}");
    }
    let states: Vec<_> = report["metadata"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| {
            assert!(copy["location"].is_string(), "{copy}");
            (copy["block"].clone(), copy["state"].clone(), copy["sequence"].clone())
        })
        .collect();
    assert_eq!(states, [(json!(0), json!("stale"), json!(2)), (json!(1), json!("current"), json!(3))]);
    assert_eq!(bench.report("mount-check a.img")["sha256"], Value::Null);
    let text = bench.run("mount-check a.img --hash").exits(0).text();
    assert_eq!(text.lines().next(), Some("mounts"));
    for (name, value) in [
        ("length", "10000 bytes"),
        ("sequence", "3"),
        ("mapped blocks", "3"),
        ("free blocks", "22"),
        ("bad blocks", "9, 20-21"),
        ("capacity", "94208 bytes"),
        ("chip file", "a.img.chip.json"),
        ("SHA-256", &sha256(&content)),
        ("slot A", "stale"),
        ("slot B", "current"),
    ] {
        assert!(line_of(&text, name).contains(value), "{name} {value}\n{text}");
    }
}

#[test]
fn geometry_is_null_where_nothing_tells_it() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4KiB --blocks 0x20").exits(0);
    assert_eq!(bench.names(), ["a.img"]);
    let report = bench.report("mount-check a.img");
    let geometry = json!({ "page_size": null, "spare_size": 0, "block_size": 4096, "blocks": 32, "first_block": 0,
                           "max_erase_cycles": null });
    assert_eq!((&report["geometry"], &report["chip_file"]), (&geometry, &Value::Null));
    assert_eq!(report["capacity"], CAPACITY);
    assert_eq!(report["metadata"][0]["state"], "empty");
}

#[test]
fn read_and_write_report_what_they_moved() {
    let (bench, mut content) = worn_volume();
    bench.put("new", &[7; 5000]);
    let written = bench.report("write a.img -i new --offset 9000");
    content.truncate(9000);
    content.extend([7; 5000]);
    let expected = json!({ "schema": "nandimg.write/1", "offset": 9000, "bytes": 5000, "sha256": sha256(&[7; 5000]),
                           "logical_len": 14_000, "batches": 1 });
    assert_eq!(written, expected);
    let read = bench.report("read a.img -o out --offset 100 --length 0x100");
    let part = &content[100..356];
    let expected = json!({ "schema": "nandimg.read/1", "offset": 100, "bytes": 256, "sha256": sha256(part), "holes": [],
                           "sequence": 4, "writable": true, "degraded": false, "reason": null, "warnings": [],
                           "ecc": null });
    assert_eq!((read, bench.bytes("out")), (expected, part.to_vec()));
    let text = bench.run("write a.img -i new --offset 9000").exits(0).text();
    assert!(
        text.contains("wrote 5000 bytes") && text.contains("offset 9000") && text.contains("14000 bytes"),
        "{text}"
    );
    let status = bench.run("read a.img -o out --offset 100 --length 256").exits(0);
    assert!(status.stdout.is_empty() && status.stderr.contains("256 bytes"), "{status:?}");
}

#[test]
fn writing_nothing_changes_nothing() {
    let (bench, _) = worn_volume();
    let before = bench.bytes("a.img");
    let report = bench.report("write a.img");
    assert_eq!(
        (&report["bytes"], &report["batches"], &report["logical_len"]),
        (&json!(0), &json!(0), &json!(10_000))
    );
    assert!(bench.bytes("a.img") == before);
}

#[test]
fn fsck_reports_how_much_it_looked_at() {
    let (bench, _) = worn_volume();
    let report = bench.report("fsck a.img");
    let expected = json!({ "schema": "nandimg.fsck/1", "clean": true, "findings": [],
                           "checked": { "blocks": 32, "pages": 24, "bytes": 3 * BLOCK }, "ecc": null, "linux_bbt": null });
    assert_eq!(report, expected);
    let text = bench.run("fsck a.img").exits(0).text();
    assert_eq!(text, "clean: 0 errors, 0 warnings; 32 blocks checked, 24 pages (12 KiB) read\n");
}

#[test]
fn wear_report_counts_every_block() {
    let (bench, _) = worn_volume();
    let report = bench.report("wear-report a.img");
    let per_block = report["per_block"].as_array().unwrap();
    assert_eq!(per_block.len(), BLOCKS as usize);
    let erases = |block: &Value| block["erases"].as_u64().unwrap();
    let of_state = |state: &str| per_block.iter().filter(|b| b["state"] == state).collect::<Vec<_>>();
    assert_eq!([of_state("bad").len(), of_state("metadata").len(), of_state("data").len()], [3, 2, 3]);
    assert_eq!([of_state("reserved").len(), of_state("free").len()], [2, 22]);
    assert_eq!(report["total"], per_block.iter().map(erases).sum::<u64>());
    let mut levelled: Vec<u64> =
        [of_state("data"), of_state("free")].concat().into_iter().map(erases).collect();
    levelled.sort_unstable();
    let mean = levelled.iter().sum::<u64>() as f64 / levelled.len() as f64;
    let counts = &report["erase_counts"];
    assert_eq!((&counts["min"], &counts["max"]), (&json!(levelled[0]), &json!(levelled[24])));
    assert!((counts["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    let variance = levelled.iter().map(|&n| (n as f64 - mean).powi(2)).sum::<f64>() / levelled.len() as f64;
    assert!((counts["stddev"].as_f64().unwrap() - variance.sqrt()).abs() < 1e-9);
    assert_eq!((&counts["p50"], &counts["p99"]), (&json!(levelled[12]), &json!(levelled[24])));
    assert_eq!(report["spread"], levelled[24] - levelled[0]);
    // Format wrote B; the two writes erased A, then B.
    let fixed: Vec<_> = report["fixed_blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| (b["block"].as_u64().unwrap(), erases(b)))
        .collect();
    assert_eq!(fixed, [(0, 2), (1, 2)]);
    assert_eq!(numbers(&report["bad_blocks"]), [9, 20, 21]);
    assert_eq!((&report["max_erase_cycles"], &report["life_used_percent"]), (&json!(1000), &json!(0.2)));
    let text = bench.run("wear-report a.img").exits(0).text();
    assert!(line_of(&text, "total erases").ends_with(&report["total"].to_string()), "{text}");
    assert!(
        line_of(&text, "erases")
            .contains(&format!("{} to {}, spread {}", counts["min"], counts["max"], report["spread"]))
    );
    assert!(line_of(&text, "life used").contains("0.20 % of 1000"), "{text}");
    assert!(line_of(&text, "bad blocks").ends_with("9, 20-21"), "{text}");
}

#[test]
fn wear_report_takes_several_images_and_goes_on_past_one_that_fails() {
    let (bench, _) = worn_volume();
    bench.run(&format!("format b.img --mapping block {SMALL}")).exits(0);
    let lines = bench.run("--json wear-report a.img missing.img b.img").exits(8).text();
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        objects.iter().map(|o| o["image"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a.img", "missing.img", "b.img"]
    );
    assert!(objects.iter().all(|o| o["schema"] == "nandimg.wear-report/1"), "{lines}");
    assert_eq!(
        (&objects[0]["total"], &objects[1]["error"]["kind"]),
        (&bench.report("wear-report a.img")["total"], &json!("not-found"))
    );
    assert_eq!(objects[2]["bad_blocks"], json!([]));
    assert_eq!(bench.run("--json wear-report a.img b.img").exits(0).text().lines().count(), 2);
    let text = bench.run("wear-report a.img missing.img b.img").exits(8);
    assert!(text.text().contains("b.img") && text.stderr.contains("missing.img"), "{text:?}");
}

#[test]
fn inject_bad_reports_what_it_did() {
    let (bench, _) = worn_volume();
    let report = bench.report("inject-bad a.img --block 12,13");
    let expected =
        json!({ "schema": "nandimg.inject-bad/1", "marked": [12, 13], "faults": [], "flipped": [] });
    assert_eq!(report, expected);
    let report = bench.report("inject-bad a.img --block 14 --when erase --after 3");
    assert_eq!(
        (&report["marked"], &report["faults"]),
        (&json!([]), &json!([{ "block": 14, "on": "erase", "after": 3 }]))
    );
    let report = bench.report("inject-bad a.img --flip 10@15:2");
    let offset = 15 * BLOCK + 2 * 512 + 1;
    assert_eq!(report["flipped"], json!([{ "block": 15, "page": 2, "bit": 10, "offset": offset }]));
    bench.run("inject-bad a.img --block 16-17").exits(0).says("marked bad: 16-17");
    bench.run("inject-bad a.img --flip 10@15:2").exits(0).says(&format!("{offset:#x}"));
    let list = bench.run("inject-bad a.img --list").exits(0).text();
    assert!(line_of(&list, "14").split_whitespace().eq(["14", "erase", "3"]), "{list}");
    bench.run("inject-bad a.img --clear-faults").exits(0).says("removed");
    assert_eq!(bench.report("inject-bad a.img --list")["faults"], json!([]));
}

#[test]
fn a_failure_is_an_object_for_every_command() {
    let bench = Bench::new();
    for line in ["mount-check", "read", "write", "fsck", "wear-report"] {
        let extra = if line == "read" { "-o out" } else { "" };
        bench.fails(&format!("{line} missing.img {extra}"), 8, "not-found");
    }
    bench.fails("inject-bad missing.img --list", 8, "not-found");
    let format = bench
        .run("--json format missing/a.img --mapping block --block-size 4096 --blocks 32")
        .exits(8)
        .json();
    assert_eq!(
        (&format["schema"], &format["error"]["kind"]),
        (&json!("nandimg.format/1"), &json!("not-found"))
    );
    bench.fails("fsck missing.img --repair", 8, "not-found");
    bench.fails("fsck missing.img --undo-from u", 8, "not-found");
    assert!(bench.names().is_empty());
}

/// Erase counts, the highest less the lowest, where a small part of a volume is written again and again, with these flags.
fn spread_after_hot_writes(mapping: &str, flags: &str) -> u64 {
    let bench = Bench::new();
    bench
        .run(&format!("format a.img --mapping {mapping} --page-size 512 --block-size 4096 --blocks 64"))
        .exits(0);
    bench.feed("write a.img", &random(1, 100_000)).exits(0);
    for seed in 0..40 {
        bench.feed(&format!("write a.img {flags}"), &random(seed, 12_000)).exits(0);
    }
    let counts = &bench.report("wear-report a.img")["erase_counts"];
    counts["max"].as_u64().unwrap() - counts["min"].as_u64().unwrap()
}

#[test]
fn one_number_of_wear_levelling_leaves_the_other_as_the_volume_has_it() {
    let usual = spread_after_hot_writes("page", "");
    let seldom = spread_after_hot_writes("page", "--wear-threshold 100");
    assert!(seldom > usual + 4, "the threshold makes a difference: {seldom} and {usual}");
    assert_eq!(spread_after_hot_writes("page", "--wear-interval 4"), usual, "4 is what the volume has");
    assert!(spread_after_hot_writes("page", "--wear-interval 1") <= usual);
}
