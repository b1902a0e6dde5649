//! Images whose pages have ECC: recognised without a flag, corrected, and counted where they are looked at.

use serde_json::json;

use crate::support::{Bench, random};

const SHAPE: &str = "--page-size 2048 --spare-size 64 --block-size 32k --blocks 48";

/// A volume on pages with an ECC of 4 bits in 512 bytes.
fn with_ecc(mapping: &str, content: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping {mapping} {SHAPE} --layout linux-bch4")).exits(0);
    bench.feed("write a.img", content).exits(0);
    bench
}

#[test]
fn the_layout_is_found_by_chip_file_pages_and_volume() {
    let content = random(1, 40_000);
    for mapping in ["page", "block"] {
        let bench = with_ecc(mapping, &content);
        assert_eq!(bench.chip_file("a.img")["layout"], json!("linux-bch4"));
        let by = |line: &str| {
            let outcome = bench.run(&format!("mount-check -v a.img {line}")).exits(0);
            outcome.stderr
        };
        assert!(by("").contains("layout linux-bch4: from the chip file"));
        assert!(by("--chip-file none --layout linux-bch4").contains("from the command line"));
        assert!(by("--chip-file none").contains("layout linux-bch4: from the ECC of its pages"));
        std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
        let report = bench.report("mount-check a.img");
        assert_eq!(report["layout"], json!("linux-bch4"));
        assert!(bench.content("a.img") == content);
        // So little of it is programmed that nothing but the volume itself tells.
        bench.run(&format!("format b.img --mapping {mapping} {SHAPE} --layout linux-bch4")).exits(0);
        std::fs::remove_file(bench.path("b.img.chip.json")).unwrap();
        assert_eq!(bench.report("mount-check b.img")["layout"], json!("linux-bch4"));
    }
}

#[test]
fn a_layout_that_contradicts_is_refused_by_name() {
    let bench = with_ecc("page", &random(1, 40_000));
    let said = bench.fails("mount-check a.img --layout linux-bch8", 8, "geometry-mismatch").text();
    assert!(said.contains("linux-bch8") && said.contains("linux-bch4"), "{said}");
    let line = "mount-check a.img --chip-file none --layout linux-bch8";
    let said = bench.fails(line, 8, "geometry-mismatch").text();
    assert!(said.contains("linux-bch8") && said.contains("linux-bch4"), "{said}");
    bench.fails("mount-check a.img --layout nonsense", 8, "not-found");
    bench.fails(&format!("format b.img {SHAPE} --layout linux-bch39"), 8, "geometry-mismatch");
    assert_eq!(bench.names(), ["a.img", "a.img.chip.json"]);
}

#[test]
fn flips_are_corrected_and_counted_where_an_image_is_looked_at() {
    let content = random(2, 300_000);
    for mapping in ["page", "block"] {
        let bench = with_ecc(mapping, &content);
        let report = bench.report("inject-bad a.img --flip-bits t --each step --block 0-20 --seed 3");
        let flipped = report["flipped"].as_array().unwrap().len() as u64;
        assert_eq!(flipped, 4 * 4 * 16 * 21);
        let before = bench.bytes("a.img");
        for chip_file in ["", "--chip-file none"] {
            let report = bench.report(&format!("fsck a.img {chip_file}"));
            assert_eq!(report["findings"], json!([]), "{mapping}");
            assert_eq!(report["ecc"]["corrected_bits"], json!(flipped));
            assert_eq!(report["ecc"]["corrected_pages"], json!(16 * 21));
            assert_eq!(report["ecc"]["uncorrectable_pages"], json!(0));
            let first = &report["ecc"]["places"][0];
            assert_eq!(
                [&first["block"], &first["page"], &first["offset"], &first["corrected_bits"]],
                [&json!(0), &json!(0), &json!(0), &json!(16)]
            );
            let report = bench.report(&format!("mount-check a.img {chip_file}"));
            assert!(report["ecc"]["corrected_bits"].as_u64().unwrap() > 0);
        }
        bench.run("fsck a.img").exits(0).says("5376 bits corrected in 336 pages, at most 4 of 4 in a step");
        let report = bench.report("read a.img -o out");
        assert!(report["ecc"]["corrected_pages"].as_u64().unwrap() > 0);
        assert!(bench.bytes("out") == content);
        assert!(bench.bytes("a.img") == before, "looking changed the image");
    }
}

#[test]
fn more_flips_than_the_ecc_corrects_are_named() {
    let content = random(2, 300_000);
    for mapping in ["page", "block"] {
        let bench = with_ecc(mapping, &content);
        // Blocks with data; all their pages.
        let report = bench.report("wear-report a.img");
        let blocks = report["per_block"].as_array().unwrap();
        let data = blocks.iter().find(|b| b["state"] == json!("data")).unwrap()["block"].clone();
        bench.report(&format!("inject-bad a.img --flip-bits t+8 --each step --block {data}"));
        let report = bench.run("--json read a.img -o out").exits(4).json();
        assert_eq!(report["error"]["kind"], json!("unreadable"));
        let report = bench.run("--json read a.img -o out --skip-unreadable").exits(4).json();
        assert!(report["holes"].as_array().unwrap().iter().all(|hole| hole["block"] == data), "{report}");
        assert!(report["ecc"]["uncorrectable_pages"].as_u64().unwrap() > 0);
        let report = bench.run("--json fsck a.img").exits(4).json();
        assert!(report["ecc"]["places"][0]["block"] == data && report["clean"] == json!(false));
    }
}

#[test]
fn what_has_no_ecc_has_no_steps() {
    let bench = Bench::with_volume(b"some content");
    bench.fails("inject-bad a.img --flip-bits 1 --each step", 8, "unsupported");
    bench.fails("inject-bad a.img --flip-bits t", 8, "unsupported");
    bench.run("inject-bad a.img --flip-bits t*2").exits(16);
    let report = bench.report("inject-bad a.img --flip-bits 2 --each page --block 3,5");
    let flipped = report["flipped"].as_array().unwrap();
    assert!(flipped.iter().all(|f| [json!(3), json!(5)].contains(&f["block"])));
    assert!(flipped.chunks(2).all(|pair| pair[0]["page"] == pair[1]["page"] && pair[0] != pair[1]));
}

/// The table that a real Linux wrote to the last two blocks of a chip, behind a volume of ours.
#[test]
fn fsck_reports_the_bad_block_table_of_linux() {
    let bench = with_ecc("page", &random(1, 40_000));
    assert_eq!(bench.report("fsck a.img")["linux_bbt"], json!(null));
    let sample = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/linux-mtd/linux61_bbt_oob_2048+64_block14+15_page0.raw"
    ));
    let pages = sample.unwrap();
    let mut image = bench.bytes("a.img");
    let block = 16 * 2112;
    for page in pages.chunks(2112) {
        let mut tail = vec![0xFF; block];
        tail[..2112].copy_from_slice(page);
        image.extend(tail);
    }
    bench.put("a.img", &image);
    std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
    let bbt = bench.report("fsck a.img")["linux_bbt"].clone();
    assert_eq!((&bbt["version"], &bbt["copies_agree"]), (&json!(3), &json!(true)));
    assert_eq!(bbt["bad_blocks"], json!([{ "block": 2, "state": "worn" }, { "block": 5, "state": "worn" }]));
    bench.run("fsck a.img").exits(0).says("bad-block table of Linux in block 49").says("bad blocks 2, 5");
}

/// What a format is told of the layout holds for whoever opens the image, whatever stale pages say.
#[test]
fn a_format_records_the_layout_that_it_is_told() {
    let bench = with_ecc("page", &random(3, 300_000));
    std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
    bench.run(&format!("format a.img --force {SHAPE} --layout raw")).exits(0);
    assert_eq!(bench.chip_file("a.img")["layout"], json!("raw"));
    let report = bench.report("mount-check a.img");
    assert_eq!((&report["layout"], &report["mountable"]), (&json!(null), &json!(true)));

    bench.put("b.img.chip.json", &bench.bytes("a.img.chip.json"));
    let said =
        bench.fails(&format!("format b.img {SHAPE} --layout linux-bch8"), 8, "geometry-mismatch").text();
    assert!(said.contains("raw") && said.contains("linux-bch8"), "{said}");
}

/// BCH4 at places of its own.
const OWN: &str = r#"{ "schema": "nandimg.layout/1", "name": "mine", "page_size": 2048, "spare_size": 64,
    "data": [{ "byte": 0, "bytes": 2048 }], "code": { "kind": "bch", "m": 13, "t": 4, "erased_mask": true },
    "steps": [{ "times": 4, "protects": [{ "byte": 0, "bytes": 512, "advance": 512 }],
                "ecc": [{ "byte": 2052, "bytes": 7, "advance": 8 }] }] }"#;

#[test]
fn a_layout_of_ones_own_is_asked_for_where_only_the_volume_records_it() {
    let bench = Bench::new();
    bench.put("own.json", OWN.as_bytes());
    let content = random(4, 100_000);
    let line = format!("format a.img {SHAPE} --layout own.json --chip-file own.json");
    bench.run(&line).exits(16).says("is the layout file itself");
    bench.run(&format!("format a.img {SHAPE} --layout own.json")).exits(0);
    bench.feed("write a.img", &content).exits(0);
    assert!(bench.content("a.img") == content, "the chip file keeps it");
    std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
    let before = bench.bytes("a.img");
    let said = bench.fails("mount-check a.img", 8, "geometry-unknown").text();
    assert!(said.contains("mine") && said.contains("--layout"), "{said}");
    for line in ["write a.img --layout raw -i own.json", "write a.img --layout linux-bch4 -i own.json"] {
        let said = bench.fails(&format!("{line} {SHAPE}"), 8, "geometry-mismatch").text();
        assert!(said.contains("mine"), "{said}");
    }
    bench.fails(&format!("format a.img --force {SHAPE}"), 8, "geometry-unknown");
    assert!(bench.bytes("a.img") == before);
    assert!(bench.run("read a.img --layout own.json").exits(0).stdout == content);
}

#[test]
fn a_mark_leaves_what_a_page_holds() {
    for layout in ["linux-bch4", "harman-bch4", "gpmi-bch8", "hermes2-bch8"] {
        let bench = Bench::new();
        let content = random(5, 300_000);
        bench.run(&format!("format a.img {SHAPE} --layout {layout}")).exits(0);
        bench.feed("write a.img", &content).exits(0);
        let report = bench.report("wear-report a.img");
        let blocks = report["per_block"].as_array().unwrap();
        let data = blocks.iter().find(|b| b["state"] == json!("data")).unwrap()["block"].clone();
        bench.run(&format!("inject-bad a.img --block {data}")).exits(0);
        assert!(bench.content("a.img") == content, "{layout}");
        let report = bench.run("--json fsck a.img").exits(4).json();
        let codes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
        assert_eq!(codes, [&json!("mapped-bad-block")], "{layout}");
    }
}

#[test]
fn bad_blocks_need_a_place_for_their_marks() {
    let bench = Bench::new();
    let line = format!("format a.img {SHAPE} --layout adjacent --bad-blocks 9");
    bench.fails(&format!("{line} --chip-file none"), 8, "unsupported");
    bench.run(&line).exits(0);
    assert_eq!(bench.chip_file("a.img")["bad_blocks"], json!([9]));
}

#[test]
fn pages_that_are_lost_are_named_however_many_were_corrected() {
    let bench = with_ecc("page", &random(6, 40_000));
    bench.run("inject-bad a.img --flip-bits 1 --each step --block 0-47").exits(0);
    bench.run("inject-bad a.img --flip-bits t+3 --each step --block 47").exits(0);
    let report = bench.run("--json fsck a.img").exits(0).json();
    let places = report["ecc"]["places"].as_array().unwrap();
    let lost = places.iter().filter(|place| place["uncorrectable_steps"] != json!(0)).count() as u64;
    assert!(lost > 8 && report["ecc"]["uncorrectable_pages"] == json!(lost), "{lost}");
    assert_eq!(report["ecc"]["places_omitted"], json!(0));
}

/// Half a page may look right under another layout; the volume tells.
#[test]
fn a_fresh_volume_opens_under_any_layout() {
    let larger = "--page-size 4096 --spare-size 128 --block-size 64k --blocks 48";
    for (shape, layouts) in [
        (SHAPE, &["gpmi-bch4", "gpmi-bch8", "qcom-bch4", "am335x-bch8", "linux-bch8", "linux-hamming"][..]),
        (larger, &["gpmi-bch4", "qcom-bch4", "linux-bch8"]),
    ] {
        for layout in layouts {
            let bench = Bench::new();
            bench.run(&format!("format a.img {shape} --layout {layout}")).exits(0);
            let report = bench.report("mount-check a.img --chip-file none");
            assert_eq!(report["layout"], json!(layout));
        }
    }
}
