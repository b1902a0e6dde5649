//! What an image is: named with its geometry, layout and ECC where it can be, and said not to be known where not.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use nandimg::layout::{Layout, PageCodec};
use serde_json::{Value, json};

use crate::support::{Bench, random, sample};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");

/// Page, spare and block size, blocks and layout of a candidate.
fn geometry(candidate: &Value) -> [&Value; 5] {
    ["page_size", "spare_size", "block_size", "blocks", "layout"].map(|key| &candidate[key])
}

fn best(report: &Value) -> Value {
    json!(geometry(&report["candidates"][0]))
}

fn evidence(candidate: &Value) -> String {
    candidate["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The images in a folder of testdata, unpacked, with what is known of each.
fn images(folder: &str) -> Vec<(String, Vec<u8>, Value)> {
    let mut images = Vec::new();
    for entry in fs::read_dir(Path::new(TESTDATA).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut image = Vec::new();
            flate2::read::GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut image).unwrap();
            let facts = path.with_extension("").with_extension("json");
            let facts = serde_json::from_slice(&fs::read(facts).unwrap()).unwrap();
            images.push((path.display().to_string(), image, facts));
        }
    }
    images
}

#[test]
fn our_volumes_are_named_with_their_geometry() {
    let (paged, blocks) = (images("page-mapped"), images("shodh-redb"));
    assert!(paged.len() >= 4 && blocks.len() >= 3);
    for (name, image, facts) in paged {
        let bench = Bench::new();
        bench.put("a.img", &image);
        let report = bench.report("info a.img");
        let number = |key: &str| facts[key].as_u64().unwrap();
        let block = number("page_size") * number("pages_per_block");
        let layout = if number("spare_size") > 0 { "raw" } else { "none" };
        let expected = json!([facts["page_size"], facts["spare_size"], block, facts["blocks"], layout]);
        assert_eq!((best(&report), &report["format"]), (expected, &json!("page")), "{name}");
        assert_eq!((&report["bad_blocks"], &report["ecc"]), (&facts["bad_blocks"], &Value::Null), "{name}");
        assert_eq!(report["file_size"], json!(image.len()));
    }
    for (name, image, facts) in blocks {
        let bench = Bench::new();
        bench.put("a.img", &image);
        let report = bench.report("info a.img");
        let expected = json!([null, 0, facts["block"], facts["blocks"], "none"]);
        assert_eq!((best(&report), &report["format"]), (expected, &json!("block")), "{name}");
        assert_eq!(report["bad_blocks"], json!([]), "{name}: without spare bytes there is no mark");
    }
}

#[test]
fn what_linux_wrote_is_named_with_its_ecc() {
    let run = |name: &str| {
        let bench = Bench::new();
        bench.put("a.img", &fs::read(Path::new(TESTDATA).join("linux-mtd").join(name)).unwrap());
        bench.report("info a.img")
    };
    let clean = json!({"pages": 16, "clean": 10, "corrected": 0, "corrected_bits": 0, "uncorrectable": 0, "blank": 6});
    for (name, layout) in [
        ("linux61_bch4_2048+64_16pages.raw", "linux-bch4"),
        ("linux61_hamming256_2048+64_16pages.raw", "linux-hamming"),
    ] {
        let report = run(name);
        assert_eq!(best(&report), json!([2048, 64, null, null, layout]), "{name}");
        assert!(report["candidates"][0]["score"].as_f64().unwrap() > 0.9, "{report}");
        assert_eq!((&report["ecc"], &report["format"]), (&clean, &Value::Null));
    }
    // One step of it tells the code.
    let report = run("linux61_bbt_oob_2048+64_block14+15_page0.raw");
    assert_eq!(best(&report), json!([2048, 64, null, null, "linux-hamming"]));
    assert_eq!(report["format"], json!("linux-bbt"));
    assert_eq!(report["ecc"]["clean"], json!(2));
}

#[test]
fn random_bytes_are_said_to_be_nothing_known() {
    for (seed, len) in
        [1usize << 20, 64 * 135_168, 1_000_000, 528 * 4096, 4320 * 64, 100].into_iter().enumerate()
    {
        let bench = Bench::new();
        bench.put("a.img", &random(seed as u64, len));
        let outcome = bench.fails("info a.img", 8, "not-an-image");
        let report = outcome.json();
        assert_eq!(
            (&report["format"], &report["ecc"], &report["bad_blocks"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(report["file_size"], json!(len));
        let likely =
            report["candidates"].as_array().unwrap().iter().find(|one| one["score"].as_f64() > Some(0.5));
        assert_eq!(likely, None, "{len}");
        if len.is_multiple_of(2112) {
            // That an ECC is said to be there does not make it so.
            bench.fails("info a.img --layout linux-bch4 --page-size 2048 --spare-size 64", 8, "not-an-image");
        }
        if len > 10_000 {
            let said = report["error"]["message"].as_str().unwrap();
            assert!(said.contains("evenly spread as random"), "{said}");
        }
    }
}

#[test]
fn a_size_that_fits_nothing_is_explained() {
    let bench = Bench::new();
    let sizes = [
        (1024 * 135_168 + 1, "138412033 = 1024 x 135168 + 1: blocks of 128 KiB, pages of 2048+64 bytes"),
        (
            2048 * 139_264 - 2176,
            "285210496 = 2048 x 139264 - 2176: blocks of 128 KiB, pages of 2048+128 bytes",
        ),
        (1_000_000, "1000000 = 61 x 16384 + 576: blocks of 16 KiB, no spare bytes"),
    ];
    for (size, arithmetic) in sizes {
        bench.put("a.img", b"");
        File::options().write(true).open(bench.path("a.img")).unwrap().set_len(size).unwrap();
        let report = bench.fails("info a.img", 8, "not-an-image").json();
        assert_eq!(report["candidates"], json!([]));
        bench.run("info a.img").exits(8).says(arithmetic);
        let near = &report["nearest"][0];
        let excess = near["excess"].as_i64().unwrap();
        assert_eq!(near["size"].as_i64().unwrap() + excess, size as i64);
    }
    bench.put("a.img", &random(1, 135_168 * 4));
    let report = bench.run("--json info a.img").exits(8).json();
    assert_eq!(report["nearest"], json!([]), "the size fits");
}

#[test]
fn erased_empty_and_cut_images_are_taken_as_they_are() {
    let bench = Bench::new();
    let (volume, _) = sample("writes");
    bench.put("a.img", &[]);
    bench.fails("info a.img", 8, "not-an-image").says("the file is empty");
    for (fill, says) in [(0xFF, "every byte is 0xFF"), (0x00, "nothing was recognised")] {
        for len in [1, 511, 2112, 64 * 2112, 1 << 20] {
            bench.put("a.img", &vec![fill; len]);
            bench.fails("info a.img", 8, "not-an-image").says(says);
        }
    }
    for len in [100, 4096, 100_000, volume.len() - 1, volume.len() - 512] {
        bench.put("a.img", &volume[..len]);
        let report = bench.report("info a.img");
        assert_eq!(report["format"], json!("block"), "{len}");
    }
    // What is not there takes no time and no memory.
    bench.put("a.img", &volume);
    File::options().write(true).open(bench.path("a.img")).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(bench.report("info a.img")["format"], json!("block"));
    bench.put("a.img", b"\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03 and so on");
    assert_eq!(bench.report("info a.img")["format"], json!("gzip"));
    bench.fails("info nothing.img", 8, "not-found");
    bench.run("info").exits(16);
}

#[test]
fn what_is_said_of_an_image_restricts_the_candidates() {
    let bench = Bench::new();
    bench
        .run("format a.img --page-size 2048 --spare-size 64 --block-size 32k --blocks 48 --layout linux-bch4")
        .exits(0);
    bench.feed("write a.img", &random(1, 100_000)).exits(0);
    for flags in
        ["", "--chip-file none", "--chip-file none --page-size 2048", "--chip-file none --layout linux-bch4"]
    {
        let report = bench.report(&format!("info a.img {flags}"));
        assert_eq!(best(&report), json!([2048, 64, 32_768, 48, "linux-bch4"]), "{flags}");
        assert_eq!((&report["format"], &report["bad_blocks"]), (&json!("page"), &json!([])));
        assert_eq!(report["ecc"]["pages"], json!(48 * 16));
        if flags.contains("--page-size") {
            let candidates = report["candidates"].as_array().unwrap();
            assert!(candidates.iter().all(|candidate| candidate["page_size"] == 2048), "{report}");
        }
    }
    for flags in ["--page-size 4096 --spare-size 128", "--blocks 47 --block-size 32k", "--block-size 64k"] {
        bench.fails(&format!("info a.img {flags}"), 8, "geometry-mismatch");
        bench.fails(&format!("info a.img --chip-file none {flags}"), 8, "geometry-mismatch");
    }
    let said = bench.fails("info a.img --chip-file none --layout raw", 8, "geometry-mismatch").text();
    assert!(said.contains("linux-bch4 according to the ECC of its pages"), "{said}");
    let shape = "--mapping block --page-size 2048 --spare-size 64 --block-size 32k --blocks 48";
    bench.run(&format!("format b.img {shape} --layout linux-bch4")).exits(0);
    bench.feed("write b.img", &random(1, 100_000)).exits(0);
    let ecc = |flags: &str| bench.report(&format!("info b.img --chip-file none {flags}"))["ecc"].clone();
    assert_eq!((ecc("")["pages"].clone(), ecc("--layout raw")), (json!(48 * 16), Value::Null));
    bench.put("a.img.chip.json", b"{}");
    bench.fails("info a.img", 8, "unsupported");
}

#[test]
fn a_volume_further_in_a_dump_is_told_with_its_place() {
    let (image, facts) = sample("writes");
    let block = facts["block"].as_u64().unwrap() as usize;
    let bench = Bench::new();
    bench.put("a.img", &[random(9, 3 * block), image, vec![0xFF; 2 * block]].concat());
    let (block, blocks) = (facts["block"].to_string(), facts["blocks"].to_string());
    for flags in ["", "--first-block 3", &format!("--first-block 3 --block-size {block} --blocks {blocks}")] {
        let report = bench.report(&format!("info a.img {flags}"));
        let found = &report["candidates"][0];
        assert_eq!(
            (&found["first_block"], &found["block_size"], &found["blocks"]),
            (&json!(3), &facts["block"], &facts["blocks"])
        );
        assert_eq!(report["content"]["offset"], json!(3 * facts["block"].as_u64().unwrap()), "{flags}");
    }
    bench.run("info a.img").exits(0).says(&format!("{blocks} from 3"));
}

#[test]
fn the_ecc_is_counted_over_the_pages_of_the_best_candidate() {
    let bench = Bench::new();
    bench
        .run("format a.img --page-size 2048 --spare-size 64 --block-size 32k --blocks 48 --layout linux-bch8")
        .exits(0);
    bench.feed("write a.img", &random(1, 400_000)).exits(0);
    let before = bench.report("info a.img --chip-file none")["ecc"].clone();
    assert_eq!(before["corrected"], json!(0));
    let pages = |ecc: &Value| {
        let count = |key: &str| ecc[key].as_u64().unwrap();
        assert_eq!(
            count("pages"),
            ["clean", "corrected", "uncorrectable", "blank"].map(count).iter().sum::<u64>()
        );
        ["clean", "corrected", "corrected_bits", "uncorrectable"].map(count)
    };
    let [clean, ..] = pages(&before);
    assert!(clean > 200, "{before}");
    // Blocks 8 and 10 hold data: a bit of a page of one, and nine of a step of the other.
    let written =
        |block: usize| bench.bytes("a.img")[block * 16 * 2112..][..2112].iter().any(|byte| *byte != 0xFF);
    let (one, other) =
        ((8..48).find(|block| written(*block)).unwrap(), (8..48).rfind(|block| written(*block)).unwrap());
    bench.patch("a.img", one * 16 * 2112, |raw| raw[7] ^= 1);
    bench.patch("a.img", other * 16 * 2112, |raw| raw[..9].iter_mut().for_each(|byte| *byte ^= 0x10));
    let after = bench.report("info a.img --chip-file none")["ecc"].clone();
    assert_eq!(pages(&after), [clean - 2, 1, 1, 1]);
    bench.run("info a.img --chip-file none").exits(0).says("1 corrected (0.1 %), 1 uncorrectable (0.1 %)");
}

/// A dump of a chip with UBI on it, of 64 blocks of 64 pages: an erase counter header in each block and data behind it, one block
/// marked bad, and the tables of Linux at the end.
fn ubi_dump(layout: &Layout) -> Vec<u8> {
    const BLOCKS: usize = 64;
    let codec = PageCodec::new(layout);
    let raw_page = layout.raw_page_size();
    let mut image = vec![0xFF; BLOCKS * 64 * raw_page];
    let mut put = |block: usize, page: usize, data: &[u8], spare: &[(usize, u8)]| {
        let raw = &mut image[(block * 64 + page) * raw_page..][..raw_page];
        spare.iter().for_each(|(at, byte)| raw[2048 + at] = *byte);
        let mut whole = vec![0xFF; 2048];
        whole[..data.len()].copy_from_slice(data);
        codec.encode(&whole, raw);
    };
    for block in (0..BLOCKS - 4).filter(|block| *block != 5) {
        let mut header = vec![0; 60];
        header[..8].copy_from_slice(b"UBI#\x01\0\0\0");
        header[15] = block as u8;
        header[18] = 0x08;
        header[22] = 0x10;
        header.extend((!crc32fast(&header)).to_be_bytes());
        put(block, 0, &header, &[]);
        for page in 1..1 + block % 30 {
            put(block, page, &random((block * 64 + page) as u64, 2048), &[]);
        }
    }
    put(5, 0, &[0xFF; 4], &[(0, 0)]);
    let table = [&[0xFF, 0xF3][..], &[0xFF; 14]].concat();
    for (block, signature) in [(63, b"Bbt0"), (62, b"1tbB")] {
        let spare: Vec<_> = (8..).zip(signature.iter().copied().chain([7])).collect();
        put(block, 0, &table, &spare);
    }
    image
}

/// CRC-32 (IEEE), as the library's crate computes it, which tests do not see.
fn crc32fast(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn a_dump_of_a_chip_tells_its_blocks_and_its_bad_block_table() {
    let bench = Bench::new();
    let layout = Layout::preset("linux-bch4", 2048, 64).unwrap();
    let mut image = ubi_dump(&layout);
    bench.put("a.img", &image);
    let report = bench.report("info a.img");
    assert_eq!(
        (&report["format"], best(&report)),
        (&json!("ubi"), json!([2048, 64, 131_072, 64, "linux-bch4"]))
    );
    let found = evidence(&report["candidates"][0]);
    for part in [
        "64 x 135168 bytes",
        "UBI headers are 135168 bytes apart",
        "multiple of 64 pages",
        "table in block 63",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert_eq!(report["bad_blocks"], json!([5]));
    let bbt = &report["linux_bbt"];
    assert_eq!((&bbt["version"], &bbt["block"], &bbt["copies_agree"]), (&json!(7), &json!(63), &json!(true)));
    assert_eq!(bbt["bad_blocks"], json!([{"block": 5, "state": "factory-bad"}]));
    bench.run("info a.img").exits(0).says("version 7: bad blocks 5").says("a UBI volume");

    // Without the ECC of a code that is known the rest still tells.
    image
        .chunks_mut(2112)
        .filter(|raw| raw[..2048].iter().any(|byte| *byte != 0xFF))
        .for_each(|raw| raw[2112 - 28..].fill(0x5A));
    bench.put("b.img", &image);
    let report = bench.report("info b.img");
    assert_eq!(best(&report), json!([2048, 64, 131_072, 64, null]));
    let found = evidence(&report["candidates"][0]);
    assert!(found.contains("spare bytes 36-63 hold something"), "{found}");
    assert_eq!((&report["ecc"], &report["bad_blocks"]), (&Value::Null, &json!([5])));

    // The same chip without its spare bytes.
    let data: Vec<u8> = image.chunks(2112).flat_map(|raw| &raw[..2048]).copied().collect();
    bench.put("c.img", &data);
    let report = bench.report("info c.img");
    assert_eq!((&report["format"], best(&report)), (&json!("ubi"), json!([null, 0, 131_072, 64, "none"])));
}
