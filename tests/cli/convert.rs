//! `convert`: layouts there and back, bad blocks as nanddump has them, and one content on many chips.

use nandimg::layout::{Layout, PRESETS, PageCodec};
use nandimg::prng::SplitMix64;
use serde_json::{Value, json};

use crate::support::{Bench, random, sha256};

const PAGES: usize = 8;
const BLOCKS: usize = 10;

/// The names of all layouts for such pages.
fn layouts(page: u32, spare: u32) -> Vec<String> {
    let names = PRESETS.iter().flat_map(|preset| match preset.name.strip_suffix("<t>") {
        Some(stem) => [1, 4, 8].map(|t| format!("{stem}{t}")).to_vec(),
        None => vec![preset.name.to_string()],
    });
    names.filter(|name| Layout::preset(name, page, spare).is_ok()).collect()
}

/// An image of raw pages in `layout`: some blank, the others with random data, and the free bytes of all set by `free`.
fn image(layout: &Layout, seed: u64, mut free: impl FnMut(&mut SplitMix64) -> u8) -> Vec<u8> {
    let codec = PageCodec::new(layout);
    let mut rng = SplitMix64::new(seed);
    let mut image = Vec::new();
    for page in 0..PAGES * BLOCKS {
        let mut raw = vec![0xFF; layout.raw_page_size()];
        for span in layout.free() {
            raw[span.bytes().unwrap()].iter_mut().for_each(|byte| *byte = free(&mut rng));
        }
        let mut data = vec![0xFF; layout.page_size() as usize];
        if page % 5 != 0 {
            rng.fill(&mut data);
        }
        // Where the mark of a bad block would be.
        raw[layout.page_size() as usize + if layout.page_size() <= 512 { 5 } else { 0 }] = 0xFF;
        codec.encode(&data, &mut raw);
        image.extend(raw);
    }
    image
}

/// The data of all pages of an image.
fn data(layout: &Layout, image: &[u8]) -> Vec<u8> {
    let codec = PageCodec::new(layout);
    let mut page = vec![0; layout.page_size() as usize];
    let pages = image.chunks_exact(layout.raw_page_size());
    pages
        .flat_map(|raw| {
            codec.data(raw, &mut page);
            page.clone()
        })
        .collect()
}

fn flags(layout: &Layout) -> String {
    let (page, spare) = (layout.page_size(), layout.spare_size());
    let block = page as usize * PAGES;
    format!("--page-size {page} --spare-size {spare} --block-size {block} --layout {}", layout.name())
}

const SHAPES: [(u32, u32); 5] = [(512, 16), (2048, 64), (2048, 128), (4096, 128), (4096, 256)];

#[test]
fn every_layout_goes_to_data_alone_and_back() {
    for (page, spare) in SHAPES {
        for name in layouts(page, spare) {
            let layout = Layout::preset(&name, page, spare).unwrap();
            let bench = Bench::new();
            let before = image(&layout, 1, |_| 0xFF);
            bench.put("a.img", &before);
            let report = bench.report(&format!("convert a.img data {} --to-layout none", flags(&layout)));
            assert_eq!(report["layout"], json!({ "from": name, "to": "none" }));
            assert!(bench.bytes("data") == data(&layout, &before), "{name} {page}+{spare}");
            // The chip file says all but the layout to be.
            bench.run(&format!("convert data b.img --to-layout {name} --to-spare-size {spare}")).exits(0);
            if layout.has_unknown_ecc() {
                continue;
            }
            assert!(bench.bytes("b.img") == before, "{name} {page}+{spare}");
        }
    }
}

#[test]
fn a_layout_to_itself_changes_no_byte() {
    for (page, spare) in SHAPES {
        for name in layouts(page, spare) {
            let layout = Layout::preset(&name, page, spare).unwrap();
            let bench = Bench::new();
            bench.put("a.img", &image(&layout, 2, |rng| rng.next_u64() as u8));
            let report = bench.report(&format!("convert a.img b.img {}", flags(&layout)));
            assert_eq!(report["spare_dropped_pages"], json!(0), "{name}");
            assert!(bench.bytes("b.img") == bench.bytes("a.img"), "{name} {page}+{spare}");
            bench.run("convert b.img c.img").exits(0);
            assert!(bench.bytes("c.img") == bench.bytes("a.img"), "{name} {page}+{spare}");
            assert_eq!(bench.chip_file("c.img"), bench.chip_file("b.img"));
        }
    }
}

/// Between every two layouts with spare bytes: the data is the same, and so is the image on the way back where nothing was
/// dropped.
#[test]
fn every_layout_goes_to_every_other_and_back() {
    for (page, spare) in [(512, 16), (2048, 64)] {
        let names = layouts(page, spare);
        for from in &names {
            let of = Layout::preset(from, page, spare).unwrap();
            let bench = Bench::new();
            let before = image(&of, 3, |rng| rng.next_u64() as u8);
            bench.put("a.img", &before);
            for to in &names {
                let layout = Layout::preset(to, page, spare).unwrap();
                let there =
                    bench.report(&format!("convert a.img b.img --force {} --to-layout {to}", flags(&of)));
                let between = bench.bytes("b.img");
                assert!(data(&layout, &between) == data(&of, &before), "{from} to {to}");
                let codec = PageCodec::new(&layout);
                let is_clean = |raw: &[u8]| codec.decode(&mut raw.to_vec()).is_clean();
                assert!(between.chunks_exact(layout.raw_page_size()).all(is_clean), "{from} to {to}");
                bench.run(&format!("convert b.img c.img --force --to-layout {from}")).exits(0);
                let nothing_dropped = there["spare_dropped_pages"] == json!(0);
                if nothing_dropped && (!of.has_unknown_ecc() || from == to) {
                    let differ = bench.bytes("c.img").iter().zip(&before).position(|(a, b)| a != b);
                    assert_eq!(differ, None, "{from} to {to} and back");
                }
                if from == "linux-bch4" && to == "raw" {
                    assert!(nothing_dropped && between == before, "raw keeps the spare bytes as they are");
                }
            }
        }
    }
}

fn places(value: &Value) -> Vec<[u64; 2]> {
    let place = |v: &Value| [v["block"].as_u64().unwrap(), v["page"].as_u64().unwrap()];
    value.as_array().unwrap().iter().map(place).collect()
}

/// 16 blocks of raw pages, of which 3 and 9 are marked bad and hold remains.
fn chip_with_bad_blocks(bench: &Bench) -> (Vec<u8>, usize) {
    let raw_block = PAGES * 2112;
    let mut image = random(5, 16 * raw_block);
    for (block, raw) in image.chunks_mut(raw_block).enumerate() {
        raw.chunks_mut(2112).for_each(|page| page[2048] = 0xFF);
        if [3, 9].contains(&block) {
            raw[2048] = 0;
        }
    }
    bench.put("a.img", &image);
    (image, raw_block)
}

const RAW_CHIP: &str = "--page-size 2048 --spare-size 64 --block-size 16k";

/// As nanddump: skipbad leaves bad blocks out, padbad has FF for data and spare, dumpbad what they hold.
#[test]
fn bad_blocks_are_dumped_padded_or_left_out() {
    let bench = Bench::new();
    let (image, raw_block) = chip_with_bad_blocks(&bench);
    let report = bench.report(&format!("convert a.img dump {RAW_CHIP} --layout raw"));
    assert_eq!((&report["bad_blocks"], &report["bb"]), (&json!([3, 9]), &json!("dumpbad")));
    assert!(bench.bytes("dump") == image);

    let report = bench.report(&format!("convert a.img pad {RAW_CHIP} --layout raw --bb padbad"));
    assert_eq!(report["bad_blocks"], json!([3, 9]));
    let mut padded = image.clone();
    [3, 9].iter().for_each(|block| padded[block * raw_block..][..raw_block].fill(0xFF));
    assert!(bench.bytes("pad") == padded);

    bench.run(&format!("convert a.img skip {RAW_CHIP} --layout raw --bb skipbad")).exits(0);
    let good: Vec<u8> = (0..16)
        .filter(|b| ![3, 9].contains(b))
        .flat_map(|b| &image[b * raw_block..][..raw_block])
        .copied()
        .collect();
    assert!(bench.bytes("skip") == good);
    assert_eq!(bench.chip_file("skip")["geometry"]["blocks"], Value::Null);

    // Block numbers by hand where there are no marks.
    bench.run(&format!("convert a.img data {RAW_CHIP} --layout raw --to-layout none")).exits(0);
    assert_eq!(
        bench.chip_file("data")["bad_blocks"],
        json!([3, 9]),
        "there are no spare bytes to mark them in"
    );
    bench.run("convert data data2 --bb padbad --bad-blocks 5").exits(0);
    let padded = bench.bytes("data2");
    let data_block = PAGES * 2048;
    let blank = |block: &usize| padded[block * data_block..][..data_block].iter().all(|&byte| byte == 0xFF);
    assert_eq!((0..16).filter(blank).collect::<Vec<_>>(), [3, 5, 9]);
    // Marks come back with the spare bytes.
    bench.run("convert data marked --to-layout raw").exits(0);
    let marked = bench.bytes("marked");
    let marks = |block: usize| [0, 1].map(|page| marked[block * raw_block + page * 2112 + 2048]);
    for block in 0..16 {
        assert_eq!(marks(block), if [3, 9].contains(&block) { [0, 0] } else { [0xFF; 2] }, "{block}");
    }
    assert_eq!(bench.chip_file("marked")["bad_blocks"], json!([]));
}

/// As nandwrite: a dump without bad blocks goes around those of the chip that it is for.
#[test]
fn a_dump_without_bad_blocks_is_laid_around_those_of_another_chip() {
    let bench = Bench::new();
    let (image, raw_block) = chip_with_bad_blocks(&bench);
    bench.run(&format!("convert a.img skip {RAW_CHIP} --layout raw --bb skipbad")).exits(0);
    let skipped = bench.bytes("skip");
    let report = bench.report("convert skip b.img --bb skipbad --bad-blocks 0,7,14");
    assert_eq!(report["laid_around"], json!([0, 7, 14]));
    let laid = bench.bytes("b.img");
    assert_eq!(laid.len(), 17 * raw_block);
    for block in [0, 7, 14] {
        let mut unusable = vec![0xFF; raw_block];
        unusable[2048] = 0;
        unusable[2112 + 2048] = 0;
        assert!(laid[block * raw_block..][..raw_block] == unusable, "{block}");
    }
    bench.run("convert b.img again --bb skipbad").exits(0);
    assert!(bench.bytes("again") == skipped);

    // The chip that it came from, and a larger one.
    bench.run("convert skip same --bb skipbad --bad-blocks 3,9 --blocks 16").exits(0);
    let same = bench.bytes("same");
    let differ: Vec<usize> = (0..16)
        .filter(|b| same[b * raw_block..][..raw_block] != image[b * raw_block..][..raw_block])
        .collect();
    assert_eq!(differ, [3, 9], "all but what the bad blocks held");
    let report = bench.report("convert skip large --bb skipbad --bad-blocks 3 --blocks 20");
    assert_eq!(report["geometry"]["blocks"], json!(20));
    assert_eq!(bench.chip_file("large")["geometry"]["blocks"], json!(20));
    bench.fails("convert skip small --bb skipbad --bad-blocks 3,4,5 --blocks 16", 8, "full");
    bench.fails("convert skip small --bb skipbad --bad-blocks 3,16 --blocks 16", 8, "out-of-range");
    bench.fails("convert skip small --bb skipbad --bad-blocks 3,99", 8, "out-of-range");

    // An image of the chip is known by its size, which is to be said.
    let report = bench.report("convert skip mapped --bb skipbad --bad-map a.img --blocks 16");
    assert_eq!(report["laid_around"], json!([3, 9]));
    assert!(bench.bytes("mapped") == same);
    bench
        .fails("convert skip small --bb skipbad --bad-map a.img", 8, "unsupported")
        .says("give --blocks or --chip with an image of the chip");
    bench.put("map.json", b"[3, 9]");
    let report = bench.report("convert skip listed --bb skipbad --bad-map map.json");
    assert_eq!(report["laid_around"], json!([3, 9]));
    assert!(!bench.names().iter().any(|name| name.contains("small")));
}

const ECC_SHAPE: &str = "--page-size 2048 --spare-size 64 --block-size 32k --blocks 48";

/// A volume on pages with ECC, of either format.
fn volume(mapping: &str, content: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping {mapping} {ECC_SHAPE} --layout linux-bch4")).exits(0);
    bench.feed("write a.img", content).exits(0);
    bench
}

#[test]
fn a_volume_opens_without_flags_whatever_its_pages_become() {
    let content = random(8, 300_000);
    for mapping in ["page", "block"] {
        let bench = volume(mapping, &content);
        for to in ["none", "raw", "linux-hamming", "linux-bch8", "gpmi-bch2", "am335x-bch8", "adjacent"] {
            if Layout::preset(to, 2048, 64).is_err() && to != "none" {
                continue;
            }
            bench.run(&format!("convert a.img b.img --force --to-layout {to}")).exits(0);
            assert!(bench.content("b.img") == content, "{mapping} {to}");
            bench.run("fsck b.img").exits(0);
            if to != "raw" && to != "none" {
                let report = bench.report("mount-check b.img");
                assert_eq!(report["layout"], json!(to), "{mapping}");
            }
            // It is written on, and found by the ECC of its pages alone.
            bench.feed("write b.img --offset 5000", &content[..5000]).exits(0);
            if to.starts_with("linux") {
                let line = "read b.img --chip-file none";
                assert!(bench.run(line).exits(0).stdout[5000..10_000] == content[..5000], "{mapping} {to}");
            }
            bench.run("convert b.img c.img --force --to-layout linux-bch4").exits(0);
            assert!(bench.content("c.img")[10_000..] == content[10_000..], "{mapping} {to}");
        }
        // A flag that the pages contradict, and the record of the volume with them.
        let line =
            "mount-check a.img --chip-file none --page-size 2048 --spare-size 64 --layout linux-hamming";
        if mapping == "page" {
            bench.fails(line, 8, "geometry-mismatch").says("according to the ECC of its pages");
        }
    }
}

#[test]
fn flips_are_corrected_and_counted_on_the_way() {
    let content = random(9, 300_000);
    let bench = volume("page", &content);
    let before = bench.bytes("a.img");
    let flipped = bench.report("inject-bad a.img --flip-bits t --each step --block 0-20 --seed 3");
    let flipped = flipped["flipped"].as_array().unwrap().len();
    let report = bench.report("convert a.img b.img");
    assert!(bench.bytes("b.img") == before);
    let ecc = &report["ecc"];
    assert_eq!((&ecc["corrected_bits"], &ecc["uncorrectable"]), (&json!(flipped), &json!(0)));
    let sum: u64 = ["clean", "corrected", "blank"].iter().map(|key| ecc[key].as_u64().unwrap()).sum();
    assert_eq!((&ecc["pages"], sum, &report["pages"]), (&json!(48 * 16), 48 * 16, &json!(48 * 16)));
}

#[test]
fn what_cannot_be_corrected_is_named_and_stays_so() {
    let bench = volume("page", &random(10, 300_000));
    bench.run("inject-bad a.img --flip-bits t+8 --each step --block 20 --seed 3").exits(0);
    let lost: Vec<[u64; 2]> = (0..16).map(|page| [20, page]).collect();
    let names = bench.names();
    for to in ["none", "linux-hamming", "linux-bch8", "linux-bch4"] {
        let line = format!("convert a.img b.img --to-layout {to}");
        let report = bench.fails(&line, 4, "unreadable").json();
        assert_eq!(places(&report["unreadable"]), lost);
        assert_eq!(bench.names(), names, "a failed conversion leaves nothing behind");

        let report = bench.run(&format!("--json {line} --skip-unreadable")).exits(4).json();
        assert_eq!(
            (places(&report["unreadable"]), &report["ecc"]["uncorrectable"]),
            (lost.clone(), &json!(16))
        );
        // Their data is as it was stored, and nobody takes it for good.
        let raw = if to == "none" { 2048 } else { 2112 };
        let (from, made) = (bench.bytes("a.img"), bench.bytes("b.img"));
        for page in 20 * 16..21 * 16 {
            assert!(made[page * raw..][..2048] == from[page * 2112..][..2048], "{to} {page}");
        }
        if to != "none" {
            let report = bench.fails("convert b.img c.img", 4, "unreadable").json();
            assert_eq!(places(&report["unreadable"]), lost, "{to}");
        }
        ["b.img", "b.img.chip.json"].iter().for_each(|name| std::fs::remove_file(bench.path(name)).unwrap());
    }
}

/// Bad blocks of a chip with 512 blocks: as many as such a chip may have, at most.
fn bad_map(seed: u64, mapping: &str) -> Vec<u32> {
    let mut rng = SplitMix64::new(seed);
    let count = rng.next_u64() % 11;
    // Metadata at fixed places wants good blocks: both slots, or two of the four for anchors.
    let first = if mapping == "block" { 4 } else { 0 };
    let mut bad: Vec<u32> =
        (0..count).map(|_| first + (rng.next_u64() % u64::from(512 - first)) as u32).collect();
    bad.sort_unstable();
    bad.dedup();
    bad.retain(|&block| !(mapping == "page" && block < 2));
    bad
}

#[test]
fn one_content_goes_on_every_chip_within_the_limit() {
    let content = random(11, 700_000);
    let bench = volume("page", &content);
    for mapping in ["page", "block"] {
        let shape =
            format!("--mapping {mapping} --page-size 512 --spare-size 16 --block-size 4k --blocks 512");
        let line = format!("--logical {shape} --to-layout linux-hamming");
        for seed in 0..16 {
            let bad = bad_map(seed, mapping);
            bench.put("map.json", json!(bad).to_string().as_bytes());
            let report = bench.report(&format!("convert a.img chip.img --force {line} --bad-map map.json"));
            assert_eq!(report["bad_blocks"], json!(bad), "{mapping} {seed}");
            assert_eq!(report["sha256"], json!(sha256(&content)), "{mapping} {seed}");
            assert_eq!((&report["fit"]["limit"], &report["fit"]["every_chip"]), (&json!(10), &json!(true)));
            let made = bench.report("mount-check chip.img --hash");
            assert_eq!(made["sha256"], json!(sha256(&content)), "{mapping} {seed}");
            assert_eq!((&made["mapping"], &made["bad_blocks"]), (&json!(mapping), &json!(bad)));
            assert_eq!((&made["degraded"], &made["layout"]), (&json!(false), &json!("linux-hamming")));
            if seed % 8 == 0 {
                bench.run("fsck chip.img").exits(0).says("0 errors, 0 warnings");
                bench.run(&format!("convert a.img again.img --force {line} --bad-map map.json")).exits(0);
                assert!(bench.bytes("again.img") == bench.bytes("chip.img"), "the same makes the same");
                assert_eq!(bench.chip_file("again.img"), bench.chip_file("chip.img"));
            }
        }
    }
}

/// What is said of the room is true: so many bad blocks are taken, and one more is not.
#[test]
fn the_number_of_bad_blocks_that_fit_is_exact() {
    let bench = volume("page", &random(12, 200_000));
    for mapping in ["page", "block"] {
        let line = format!(
            "--logical --mapping {mapping} --page-size 512 --spare-size 0 --block-size 4k --blocks 96"
        );
        let report = bench.report(&format!("convert a.img b.img --force {line}"));
        let most = report["fit"]["max_bad_blocks"].as_u64().unwrap();
        assert!((1..96).contains(&most), "{report}");
        let bad = |count: u64| format!("--bad-blocks {}-{}", 90 - count, 89);
        let report = bench.report(&format!("convert a.img b.img --force {line} {}", bad(most)));
        assert_eq!(report["fit"]["max_bad_blocks"], json!(most));
        let names = bench.names();
        let line = format!("convert a.img c.img {line} {}", bad(most + 1));
        bench.fails(&line, 8, "full").says(&format!("up to {most} bad blocks"));
        assert_eq!(bench.names(), names);
    }
    // A part's own limit counts where it is known.
    let report = bench.report("convert a.img b.img --force --logical --chip W25Q128JV");
    assert_eq!((&report["fit"]["limit"], &report["fit"]["every_chip"]), (&json!(0), &json!(true)));
    let report = bench.report("convert a.img b.img --force --logical --chip W25N512GW --bad-blocks 3");
    assert_eq!(
        (&report["fit"]["limit"], &report["fit"]["limit_from"]),
        (&json!(10), &json!("the limit of W25N512GW"))
    );
}

#[test]
fn bad_blocks_come_from_lists_tools_and_images_of_the_chip() {
    let content = random(13, 100_000);
    let bench = volume("page", &content);
    bench.put("nanddump.txt", b"ECC failed: 0\nBad block at 0x00028000\nbad block at 0x000a0000\n");
    let line = "convert a.img b.img --force --logical --bad-map";
    assert_eq!(bench.report(&format!("{line} nanddump.txt"))["bad_blocks"], json!([5, 20]));
    assert_eq!(bench.report(&format!("{line} nanddump.txt --bad-blocks 7"))["bad_blocks"], json!([5, 7, 20]));
    assert!(bench.content("b.img") == content);
    // That image has marks now, and is one of the chip.
    std::fs::copy(bench.path("b.img"), bench.path("chip.img")).unwrap();
    assert_eq!(bench.report(&format!("{line} chip.img"))["bad_blocks"], json!([5, 7, 20]));
    // The same with Linux's table, which counts more.
    let mut table = vec![0xFF; 2112];
    table[2048 + 8..2048 + 13].copy_from_slice(b"Bbt0\x01");
    let mut of_blocks = vec![0xFF; 2048];
    of_blocks[4] = 0b1111_1100;
    PageCodec::new(&Layout::preset("linux-bch4", 2048, 64).unwrap()).encode(&of_blocks, &mut table);
    bench.patch("chip.img", 47 * 16 * 2112, |block| block[..2112].copy_from_slice(&table));
    assert_eq!(bench.report(&format!("{line} chip.img"))["bad_blocks"], json!([16]));

    bench.put("empty", b"");
    bench.put("strange", &random(1, 5000));
    bench.put("far.json", b"[48]");
    for map in ["empty", "strange", "far.json"] {
        bench.fails(&format!("convert a.img c.img --logical --bad-map {map}"), 8, "unsupported");
    }
    bench.fails("convert a.img c.img --logical --bad-map none", 8, "not-found");
    bench.fails("convert a.img c.img --logical --bad-map .", 8, "unsupported");
    bench.fails("convert a.img c.img --logical --bad-blocks 48", 8, "out-of-range");
    assert!(!bench.names().iter().any(|name| name.starts_with('c') && name != "chip.img"));
}

#[test]
fn what_the_volume_cannot_give_is_named_and_leaves_no_image() {
    let content = random(14, 300_000);
    let bench = volume("page", &content);
    let report = bench.report("wear-report a.img");
    let data = report["per_block"].as_array().unwrap().iter().rfind(|b| b["state"] == json!("data")).unwrap()
        ["block"]
        .clone();
    bench.report(&format!("inject-bad a.img --flip-bits t+8 --each step --block {data}"));
    let names = bench.names();
    bench.fails("convert a.img b.img --logical", 4, "unreadable");
    assert_eq!(bench.names(), names);
    let report = bench.run("--json convert a.img b.img --logical --skip-unreadable").exits(4).json();
    let holes = report["holes"].as_array().unwrap();
    assert!(!holes.is_empty() && holes.iter().all(|hole| hole["block"] == data), "{report}");
    assert!(report["ecc"]["uncorrectable"].as_u64().unwrap() > 0);
    let mut expected = content;
    for hole in holes {
        let [offset, length] = ["offset", "length"].map(|key| hole[key].as_u64().unwrap() as usize);
        expected[offset..offset + length].fill(0);
    }
    assert_eq!(report["sha256"], json!(sha256(&expected)));
    assert!(bench.content("b.img") == expected);
}

#[test]
fn nothing_is_overwritten_unless_it_is_said() {
    let bench = volume("page", b"some content");
    bench.put("there", b"precious");
    // An image whose name is that of another's chip file.
    bench.put("d.chip.json", &bench.bytes("a.img"));
    bench.put("b.img.chip.json", b"precious");
    let layout = Layout::preset("linux-bch4", 2048, 64).unwrap().to_json();
    ["layout.json", "e.chip.json"].iter().for_each(|name| bench.put(name, layout.as_bytes()));
    let before = bench.snapshot();
    for extra in ["", "--logical"] {
        bench.fails(&format!("convert a.img there {extra}"), 8, "exists");
        bench.fails(&format!("convert a.img b.img {extra}"), 8, "exists");
        bench.fails(&format!("convert none b {extra}"), 8, "not-found");
        bench.fails(&format!("convert a.img none/b {extra}"), 8, "not-found");
        bench.fails(&format!("convert a.img . --force {extra}"), 8, "exists");
        for same in ["a.img", "./a.img", "a.img.chip.json"] {
            bench.run(&format!("convert a.img {same} --force {extra}")).exits(16);
        }
        bench.run(&format!("convert a.img there --force --bad-map there {extra}")).exits(16);
        bench.run(&format!("convert d.chip.json d --force {extra}")).exits(16);
        for flag in ["--layout", "--to-layout"] {
            for (target, file) in [("layout.json", "./layout.json"), ("e", "e.chip.json")] {
                let line = format!("convert a.img {target} --force {flag} {file} {extra}");
                bench.run(&line).exits(16).says("itself");
            }
            bench
                .shell(&format!("$NANDIMG convert a.img c {flag} layout.json {extra} >> layout.json"))
                .exits(16)
                .says("itself");
        }
    }
    bench.run("convert a.img c --mapping page").exits(16);
    bench.run("convert a.img c --logical --bb padbad").exits(16);
    bench.run("convert a.img c --logical --mapping block --spare-percent 5").exits(16);
    bench.fails("convert a.img c --to-layout linux-bch39", 8, "geometry-mismatch");
    bench.fails("convert a.img c --to-layout nonsense", 8, "not-found");
    bench.fails("convert there c", 8, "geometry-unknown");
    bench.fails("convert there c --logical", 8, "not-an-image");
    assert_eq!(bench.snapshot(), before);
    bench.run("convert a.img there --force").exits(0);
    assert!(bench.content("there") == b"some content");
    // A layout by name is no file, whatever files there are.
    bench.run("convert a.img raw --to-layout raw").exits(0);
    bench.run("convert a.img raw --to-layout raw --force").exits(0);
}
