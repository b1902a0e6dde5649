//! Images that another program made, and dumps of whole chips.

use serde_json::json;

use crate::support::{Bench, random, sample, sha256};

#[test]
fn samples_are_read_without_any_flag() {
    for name in ["fresh", "writes", "database-0.6.0"] {
        let (image, facts) = sample(name);
        assert_eq!(sha256(&image), facts["image_sha256"].as_str().unwrap(), "{name}");
        let bench = Bench::new();
        bench.put("a.img", &image);
        let content = bench.content("a.img");
        assert_eq!(sha256(&content), facts["logical_sha256"].as_str().unwrap(), "{name}");
        let report = bench.report("mount-check a.img --hash");
        assert_eq!(
            (&report["sha256"], &report["logical_len"]),
            (&facts["logical_sha256"], &facts["logical_len"])
        );
        assert_eq!(
            (&report["sequence"], &report["bad_blocks"]),
            (&facts["sequence"], &facts["bad_blocks_in_journal"])
        );
        let current =
            report["metadata"].as_array().unwrap().iter().find(|copy| copy["state"] == "current").unwrap();
        assert_eq!(current["location"], format!("slot {}", facts["current_slot"].as_str().unwrap()));
        let geometry = &report["geometry"];
        assert_eq!(
            (&geometry["block_size"], &geometry["blocks"]),
            (&facts["block"], &facts["blocks"]),
            "{name}"
        );
        assert_eq!((&geometry["page_size"], &geometry["first_block"]), (&json!(null), &json!(0)));
        let wear = bench.report("wear-report a.img");
        let erases: Vec<_> =
            wear["per_block"].as_array().unwrap().iter().map(|b| b["erases"].clone()).collect();
        assert_eq!(json!(erases), facts["erase_counts"], "{name}");
        bench.run("fsck a.img").exits(0);
        assert_eq!(bench.names(), ["a.img"]);
    }
}

#[test]
fn samples_take_our_writes() {
    let (image, facts) = sample("database-0.6.0");
    let bench = Bench::new();
    bench.put("a.img", &image);
    let mut content = bench.content("a.img");
    let new = random(5, 40_000);
    content[20_000..60_000].copy_from_slice(&new);
    bench.feed("write a.img --offset 20000", &new).exits(0);
    assert!(bench.content("a.img") == content);
    bench.run("fsck a.img").exits(0);
    let older = facts["sequence"].to_string();
    let old = bench.run(&format!("read a.img --sequence {older}")).exits(0).stdout;
    assert_eq!(sha256(&old), facts["logical_sha256"].as_str().unwrap());
}

#[test]
fn a_volume_further_in_a_dump_is_found_and_places_count_from_the_start_of_the_file() {
    let (image, facts) = sample("writes");
    let block = facts["block"].as_u64().unwrap() as usize;
    let mut dump = random(9, 3 * block);
    dump.extend_from_slice(&image);
    dump.extend(vec![0xFF; 2 * block]);
    let bench = Bench::new();
    bench.put("a.img", &dump);
    let blocks = &facts["blocks"];
    for flags in ["", "--first-block 3", &format!("--first-block 3 --block-size {block} --blocks {blocks}")] {
        let content = bench.run(&format!("read a.img {flags}")).exits(0).stdout;
        assert_eq!(sha256(&content), facts["logical_sha256"].as_str().unwrap(), "{flags}");
        let report = bench.report(&format!("mount-check a.img {flags}"));
        assert_eq!((&report["geometry"]["first_block"], &report["geometry"]["blocks"]), (&json!(3), blocks));
        let places: Vec<_> =
            report["metadata"].as_array().unwrap().iter().map(|c| c["offset"].clone()).collect();
        let apart = facts["blocks_per_slot"].as_u64().unwrap() as usize;
        assert_eq!(places, [json!(3 * block), json!((3 + apart) * block)], "{flags}");
    }
    bench.fails("mount-check a.img --first-block 2", 8, "geometry-mismatch");
    let new = random(4, 1000);
    bench.feed("write a.img", &new).exits(0);
    let after = bench.bytes("a.img");
    let past = dump.len() - 2 * block;
    assert!(
        after[..3 * block] == dump[..3 * block] && after[past..] == dump[past..],
        "bytes outside the volume changed"
    );
    assert!(bench.content("a.img")[..1000] == new);
}

#[test]
fn a_chip_file_places_a_volume_in_a_dump() {
    let bench = Bench::new();
    bench.put("a.img", &random(9, 40 * 4096));
    let line =
        "format a.img --mapping block --page-size 512 --block-size 4096 --first-block 6 --blocks 32 --force";
    bench.run(line).exits(0);
    assert_eq!(bench.chip_file("a.img")["geometry"]["first_block"], 6);
    bench.feed("write a.img", b"some content").exits(0);
    assert_eq!(bench.content("a.img"), b"some content");
    let report = bench.report("inject-bad a.img --flip 0@0:1");
    assert_eq!(report["flipped"][0]["offset"], 6 * 4096 + 512);
}

/// A new image of `chip` with `content`; bytes of a raw page.
fn chip_with(bench: &Bench, chip: &str, content: &[u8]) {
    let shape = bench.report(&format!("format a.img --mapping block --chip {chip} --bad-blocks 40"));
    assert_eq!(shape["bad_blocks"], json!([40]), "{chip}");
    bench.feed("write a.img --offset 100000", content).exits(0);
    let read = bench.run("read a.img --offset 100000").exits(0).stdout;
    assert!(read == content, "{chip}");
    bench.run("fsck a.img").exits(0);
}

#[test]
fn a_chip_without_spare_area_by_its_name() {
    let bench = Bench::new();
    let content = random(2, 50_000);
    chip_with(&bench, "W25Q128JV", &content);
    assert_eq!(bench.bytes("a.img").len(), 16 << 20);
    let chip = bench.chip_file("a.img");
    assert_eq!(chip["bad_blocks"], json!([40]));
    assert_eq!(chip["geometry"]["page_size"], 256);
    for flags in ["--chip-file none", "--chip-file none --chip w25q128jv", "--chip W25Q128JV"] {
        let read = bench.run(&format!("read a.img --offset 100000 {flags}")).exits(0).stdout;
        assert!(read == content, "{flags}");
    }
    bench.fails("mount-check a.img --chip MX30LF1G08AA", 8, "geometry-mismatch");
}

#[test]
fn a_chip_with_spare_area_by_its_name_and_without_its_spare_bytes() {
    for (chip, spare, marked_bytes) in
        [("MX30LF1G08AA", 64, [(0, 1), (1, 1)]), ("MT29F1G01ABAFD", 128, [(0, 2), (1, 0)])]
    {
        let bench = Bench::new();
        let content = random(2, 200_000);
        chip_with(&bench, chip, &content);
        let image = bench.bytes("a.img");
        assert_eq!(image.len(), 65536 * (2048 + spare));
        let chip_file = bench.chip_file("a.img");
        assert_eq!(chip_file["bad_blocks"], json!([]));
        assert_eq!(chip_file["geometry"]["max_erase_cycles"], 100_000);
        for (page, bytes) in marked_bytes {
            let at = (40 * 64 + page) * (2048 + spare) + 2048;
            assert!(image[at..at + bytes].iter().all(|&b| b == 0), "{chip}: page {page}");
            assert!(image[at + bytes..at + spare].iter().all(|&b| b == 0xFF), "{chip}: page {page}");
        }
        for flags in ["--chip-file none", &format!("--chip-file none --chip {chip}")] {
            let read = bench.run(&format!("read a.img --offset 100000 {flags}")).exits(0).stdout;
            assert!(read == content, "{chip} {flags}");
        }
        let data: Vec<u8> =
            image.chunks(2048 + spare).flat_map(|page| page[..2048].iter().copied()).collect();
        bench.put("b.img", &data);
        for flags in ["", &format!("--chip {chip}")] {
            let report = bench.report(&format!("mount-check b.img {flags}"));
            assert_eq!(
                (&report["geometry"]["spare_size"], &report["bad_blocks"]),
                (&json!(0), &json!([40])),
                "{flags}"
            );
            let read = bench.run(&format!("read b.img --offset 100000 {flags}")).exits(0).stdout;
            assert!(read == content, "{chip} {flags}");
        }
    }
}

#[test]
fn a_dump_that_was_cut_short_is_not_taken_for_a_smaller_chip() {
    for name in ["database-0.6.0", "writes"] {
        let (image, _) = sample(name);
        for keep in [image.len() / 2, image.len() / 4, image.len() - 100_000] {
            let bench = Bench::new();
            bench.put("a.img", &image[..keep]);
            for command in ["mount-check", "read -o out", "fsck", "wear-report", "write"] {
                let line = format!("{command} a.img");
                bench.fails(&line, 8, "geometry-mismatch").says("cut short");
            }
            assert!(bench.bytes("a.img") == image[..keep]);
        }
    }
}

#[test]
fn a_volume_within_the_data_of_a_damaged_one_is_not_taken_for_it() {
    let (inner, _) = sample("writes");
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 64KiB --blocks 64").exits(0);
    bench.feed("write a.img", &inner).exits(0);
    let outer = bench.content("a.img");
    assert!(outer == inner);
    // Both copies of the outer metadata lose a byte behind their magic.
    for slot in [0, 64 << 10] {
        bench.patch("a.img", slot + 20, |bytes| bytes[0] ^= 1);
    }
    let before = bench.bytes("a.img");
    for command in ["mount-check a.img", "read a.img -o out", "fsck a.img --repair", "write a.img"] {
        bench.fails(command, 4, "unmountable");
    }
    assert!(bench.bytes("a.img") == before);
}

#[test]
fn what_stands_unevenly_before_a_volume_is_said() {
    let (image, _) = sample("database-0.6.0");
    let bench = Bench::new();
    bench.put("a.img", &[&random(3, 5000)[..], &image].concat());
    bench.fails("mount-check a.img", 8, "geometry-unknown").says("offset 0x1388");
}

#[test]
fn flags_tell_the_probe_what_it_cannot_see() {
    let (image, facts) = sample("database-0.6.0");
    // Pages of 2048 bytes with 64 spare bytes, 20 blocks into a dump: an entry takes less than a page.
    let with_spare: Vec<u8> = image.chunks(2048).flat_map(|page| [page, &[0xFF; 64]].concat()).collect();
    let bench = Bench::new();
    let block = 8 * 2112;
    bench.put("a.img", &[vec![0xA5; 20 * block], with_spare, vec![0xFF; 3 * block]].concat());
    let flags = "--page-size 2048 --spare-size 64";
    let report = bench.report(&format!("mount-check a.img {flags} --hash"));
    assert_eq!(report["sha256"], facts["logical_sha256"]);
    assert_eq!(report["geometry"]["first_block"], 20);
    bench.run(&format!("read a.img {flags}")).exits(0).says("50688 bytes of the file follow it");
}
