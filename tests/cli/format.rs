//! `format`: what it refuses, what it keeps, and what it leaves behind.

use serde_json::json;

use crate::support::{BLOCK, BLOCKS, Bench, SMALL, numbers, random, sample, slot};

#[test]
fn the_same_command_makes_the_same_bytes() {
    for flags in [SMALL, "--page-size 512 --spare-size 16 --block-size 4096 --blocks 32", "--chip w25q128jv"]
    {
        let bench = Bench::new();
        for name in ["a.img", "b.img"] {
            bench.run(&format!("format {name} --mapping block {flags} --bad-blocks 30")).exits(0);
        }
        assert!(bench.bytes("a.img") == bench.bytes("b.img"), "{flags}");
        assert_eq!(bench.chip_file("a.img"), bench.chip_file("b.img"));
        bench.feed("write a.img", &random(1, 9000)).exits(0);
        bench.feed("write b.img", &random(1, 9000)).exits(0);
        for name in ["a.img", "b.img"] {
            bench.run(&format!("format {name} --mapping block {flags} --force")).exits(0);
        }
        assert!(bench.bytes("a.img") == bench.bytes("b.img"), "{flags}, again");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    let bench = Bench::new();
    let line = format!("format a.img --mapping block {SMALL} --bad-blocks 9");
    let mut planned = bench.report(&format!("{line} --dry-run"));
    assert!(bench.names().is_empty());
    assert_eq!(planned["dry_run"], true);
    planned["dry_run"] = json!(false);
    assert_eq!(bench.report(&line), planned);
    bench.feed("write a.img", b"some content").exits(0);
    let before = bench.snapshot();
    bench.fails("format a.img --mapping block --dry-run", 8, "exists");
    let planned = bench.report("format a.img --mapping block --dry-run --force --bad-blocks 12");
    assert_eq!((&planned["wear_carried_over"], &planned["bad_blocks"]), (&json!(true), &json!([9, 12])));
    bench.run("format a.img --mapping block --dry-run --force").exits(0).says("would format");
    assert!(bench.snapshot() == before);
}

#[test]
fn what_is_there_is_named_and_kept_without_force() {
    let bench = Bench::with_volume(b"some content");
    let before = bench.snapshot();
    bench.fails("format a.img --mapping block", 8, "exists");
    bench
        .run(&format!("format a.img --mapping block {SMALL}"))
        .exits(8)
        .says("block-mapped volume")
        .says("--force");
    assert!(bench.snapshot() == before);
    bench.put("b.img", &random(3, BLOCK * BLOCKS as usize));
    bench.fails(&format!("format b.img --mapping block {SMALL}"), 8, "exists");
    bench.put("c.img", &sample("writes").0);
    bench.run("format c.img --mapping block").exits(8).says("block-mapped volume");
    assert!(bench.bytes("c.img") == sample("writes").0);
    let mut one_bit = vec![0xFF; BLOCK * BLOCKS as usize];
    one_bit[77_777] = 0xFE;
    bench.put("d.img", &one_bit);
    bench.fails(&format!("format d.img --mapping block {SMALL}"), 8, "exists");
    bench.put("d.img", &vec![0xFF; BLOCK * BLOCKS as usize]);
    bench.run(&format!("format d.img --mapping block {SMALL}")).exits(0);
}

#[test]
fn a_fresh_volume_is_empty_and_its_first_copy_is_in_slot_b() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL}")).exits(0);
    let image = bench.bytes("a.img");
    assert_eq!(image.len(), BLOCK * BLOCKS as usize);
    let (sequence, metadata) = slot(&image, 'B');
    assert_eq!((sequence, metadata.logical_len, metadata.map.len()), (1, 0, 26));
    assert!(image[..BLOCK].iter().all(|&b| b == 0xFF) && image[2 * BLOCK..].iter().all(|&b| b == 0xFF));
    assert!(bench.content("a.img").is_empty());
    bench.run("mount-check a.img").exits(0);
    bench.run("fsck a.img").exits(0);
}

#[test]
fn wear_is_carried_over_unless_it_is_to_be_reset() {
    let bench = Bench::with_volume(&random(1, 9000));
    for _ in 0..4 {
        bench.feed("write a.img", &random(2, 9000)).exits(0);
    }
    let erases = |bench: &Bench| -> Vec<u64> {
        let report = bench.report("wear-report a.img");
        report["per_block"].as_array().unwrap().iter().map(|b| b["erases"].as_u64().unwrap()).collect()
    };
    let before = erases(&bench);
    let text = bench.run("format a.img --mapping block --force").exits(0).text();
    assert!(text.contains("erase counts were carried over"), "{text}");
    let after = erases(&bench);
    assert!(before.iter().zip(&after).all(|(b, a)| a >= b), "{before:?}\n{after:?}");
    assert_eq!(after[4..], before[4..]);
    assert!(bench.content("a.img").is_empty());
    let report = bench.report("format a.img --mapping block --force --reset-wear");
    assert_eq!(report["wear_carried_over"], false);
    assert!(erases(&bench)[2..].iter().all(|&n| n == 0));
}

#[test]
fn bad_blocks_are_respected_and_their_marks_never_erased() {
    let spare = "--page-size 512 --spare-size 16 --block-size 4096 --blocks 32";
    let bench = Bench::new();
    let raw_block = 8 * 528;
    let mut image = vec![0xFF; 32 * raw_block];
    // Marked by the factory: byte 5 of the spare area on small pages.
    image[17 * raw_block + 512 + 5] = 0;
    image[18 * raw_block + 528 + 512 + 5] = 0xFE;
    bench.put("a.img", &image);
    bench.fails(&format!("format a.img --mapping block {spare}"), 8, "exists");
    let report = bench.report(&format!("format a.img --mapping block {spare} --force --bad-blocks 25"));
    assert_eq!(numbers(&report["bad_blocks"]), [17, 18, 25]);
    bench.feed("write a.img", &random(1, 22 * 4096)).exits(0);
    bench.feed("write a.img", &random(2, 22 * 4096)).exits(0);
    bench.run("format a.img --mapping block --force --reset-wear").exits(0);
    let after = bench.bytes("a.img");
    for block in [17, 18] {
        let range = block * raw_block..(block + 1) * raw_block;
        assert!(after[range.clone()] == image[range], "block {block} was touched");
    }
    assert_eq!(after[25 * raw_block + 512 + 5], 0);
    assert_eq!(numbers(&bench.report("mount-check a.img")["bad_blocks"]), [17, 18, 25]);
}

#[test]
fn bad_blocks_of_the_table_survive_a_new_format_without_chip_file() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL} --bad-blocks 17")).exits(0);
    std::fs::remove_file(bench.path("a.img.chip.json")).unwrap();
    let report = bench.report("format a.img --mapping block --force --reset-wear --chip-file none");
    assert_eq!(numbers(&report["bad_blocks"]), [17]);
    assert_eq!(bench.names(), ["a.img"]);
}

#[test]
fn the_chip_file_holds_what_the_cells_cannot() {
    let bench = Bench::new();
    bench
        .run(&format!("format a.img --mapping block {SMALL} --bad-blocks 9,20-21 --max-erase-cycles 5000"))
        .exits(0);
    let expected = json!({
        "schema": "nandimg.chip/1",
        "geometry": { "page_size": 512, "spare_size": 0, "pages_per_block": 8, "blocks": 32, "first_block": 0,
                      "max_erase_cycles": 5000 },
        "bad_blocks": [9, 20, 21], "faults": []
    });
    assert_eq!(bench.chip_file("a.img"), expected);
    bench.run("format b.img --mapping block --chip MX30LF1G08AA --blocks 64 --bad-blocks 9").exits(0);
    let expected = json!({
        "schema": "nandimg.chip/1",
        "geometry": { "page_size": 2048, "spare_size": 64, "pages_per_block": 64, "blocks": 64, "first_block": 0,
                      "max_erase_cycles": 100_000 },
        "bad_block_marker": { "pages": [0, 1], "byte": 0 },
        "bad_blocks": [], "faults": []
    });
    assert_eq!(bench.chip_file("b.img"), expected);
    assert_eq!(bench.bytes("b.img").len(), 64 * 64 * 2112);
}

#[test]
fn the_chip_file_may_lie_elsewhere_or_be_none() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL} --chip-file none")).exits(0);
    assert_eq!(bench.names(), ["a.img"]);
    std::fs::create_dir(bench.path("chips")).unwrap();
    bench
        .run(&format!("format b.img --mapping block {SMALL} --chip-file chips/b.json --bad-blocks 9"))
        .exits(0);
    assert_eq!(bench.names(), ["a.img", "b.img", "chips"]);
    let report = bench.report("mount-check b.img --chip-file chips/b.json");
    assert_eq!((&report["chip_file"], &report["bad_blocks"]), (&json!("chips/b.json"), &json!([9])));
    bench.run("inject-bad b.img --chip-file chips/b.json --block 11 --when erase").exits(0);
    assert_eq!(
        bench.report("inject-bad b.img --chip-file chips/b.json --list")["faults"].as_array().unwrap().len(),
        1
    );
    assert_eq!(bench.names(), ["a.img", "b.img", "chips"]);
}

#[test]
fn what_others_keep_in_the_chip_file_is_kept() {
    let bench = Bench::with_volume(b"some content");
    let mut chip = bench.chip_file("a.img");
    chip["board"] = json!({ "serial": 7 });
    bench.put("a.img.chip.json", chip.to_string().as_bytes());
    bench.run("inject-bad a.img --block 9").exits(0);
    bench.run("format a.img --mapping block --force").exits(0);
    let after = bench.chip_file("a.img");
    assert_eq!((&after["board"]["serial"], &after["bad_blocks"]), (&json!(7), &json!([9])));
}

#[test]
fn a_format_that_fails_leaves_no_file_behind() {
    let bench = Bench::new();
    for flags in ["--bad-blocks 1", "--chip-file nowhere/chip.json", "--bad-blocks 4-31"] {
        bench.run(&format!("format a.img --mapping block {SMALL} {flags}")).exits(8);
        assert!(bench.names().is_empty(), "{flags}: {:?}", bench.names());
    }
}

#[test]
fn another_block_size_may_be_formatted_over_once_wear_is_given_up() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4096 --blocks 32").exits(0);
    bench.feed("write a.img", &random(1, 9000)).exits(0);
    // Its erase counts and bad blocks are those of other blocks.
    bench.fails("format a.img --mapping block --force --block-size 8192", 8, "geometry-mismatch");
    let report = bench.report("format a.img --mapping block --force --block-size 8192 --reset-wear");
    assert_eq!(
        (&report["geometry"]["blocks"], &report["geometry"]["block_size"]),
        (&json!(16), &json!(8192))
    );
    assert_eq!(bench.report("mount-check a.img")["geometry"]["block_size"], 8192);
    assert!(bench.content("a.img").is_empty());
}

#[test]
fn blocks_that_fail_during_a_format_are_in_its_report() {
    for (place, failing) in [("", "0,1,6"), ("--spare-size 16", "2,3,9")] {
        let bench = Bench::new();
        let geometry = format!("--page-size 512 {place} --block-size 4096 --blocks 64");
        bench.run(&format!("format a.img {geometry}")).exits(0);
        bench.feed("write a.img", &random(1, 9 * BLOCK)).exits(0);
        bench.run(&format!("inject-bad a.img --block {failing} --when erase")).exits(0);
        let made = bench.report("format a.img --force");
        let found = bench.report("mount-check a.img");
        assert!(!numbers(&made["bad_blocks"]).is_empty(), "{made}");
        for key in ["bad_blocks", "capacity"] {
            assert_eq!(made[key], found[key], "{key}");
        }
        assert_eq!(made["reserved"]["bad"], numbers(&made["bad_blocks"]).len());
    }
}
