//! Files that say no layout: each gets a sentence that names the field, and none a panic, a hang or much memory.

use std::time::{Duration, Instant};

use nandimg::layout::{Layout, PageCodec};
use nandimg::prng::SplitMix64;
use serde_json::{Value, json};

use super::{called, encoded, examples, random_page};

/// A layout of which everything may be wrong.
fn good() -> Value {
    json!({
        "schema": "nandimg.layout/1",
        "name": "good",
        "page_size": 1024,
        "spare_size": 64,
        "data": [{"byte": 0, "bytes": 512, "times": 2, "stride": 512}],
        "code": {"kind": "bch", "m": 13, "t": 4, "erased_mask": true},
        "steps": [{
            "times": 2,
            "protects": [{"byte": 0, "bytes": 512, "advance": 512}],
            "ecc": [{"byte": 1040, "bytes": 7, "advance": 7}]
        }],
        "free": [{"byte": 1026, "bytes": 14}],
        "zeros": [{"byte": 1087, "bytes": 1}],
        "marker": {"byte": 1024, "bytes": 2}
    })
}

fn said(layout: &Value) -> Result<Layout, String> {
    Layout::from_json(layout.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn every_mistake_is_named() {
    said(&good()).expect("the good one");
    // Where, the value that is put there (null takes the key away), and what is then said.
    let mistakes = [
        (
            "/schema",
            json!("nandimg.layout/2"),
            r#"schema: expected "nandimg.layout/1", found "nandimg.layout/2""#,
        ),
        ("/schema", Value::Null, r#"schema: expected "nandimg.layout/1", found null"#),
        ("/name", Value::Null, r#"the layout: expected "name", and there is none"#),
        ("/name", json!(7), "name: expected a string, found 7"),
        (
            "/name",
            json!(""),
            "name: expected 1 to 64 bytes of text without control characters, found 0 bytes",
        ),
        ("/name", json!("a\u{1b}[2J"), "name: expected 1 to 64 bytes of text without control characters"),
        ("/name", json!("x".repeat(65)), "found 65 bytes"),
        ("/description", json!("\n"), "description: expected 0 to 4096 bytes of text"),
        ("/page_size", json!("x"), r#"page_size: expected a whole number, found "x""#),
        ("/page_size", json!(-1), "page_size: expected a whole number, found -1"),
        ("/page_size", json!(1024.5), "page_size: expected a whole number, found 1024.5"),
        ("/page_size", json!(1u64 << 32), "page_size: expected a number below 2^32, found 4294967296"),
        ("/page_size", json!(0), "the page is 0 + 64 bytes: expected at least one byte of data"),
        ("/page_size", json!(u32::MAX), "at most 1073741824 bytes in all"),
        ("/page_size", json!(1000), "the data intervals hold 8192 bits: expected the 1000 bytes of a page"),
        ("/spare_size", Value::Null, r#"the layout: expected "spare_size""#),
        ("/spare_size", json!(16), "zeros: an interval ends at bit 8704, past the raw page of 1040 bytes"),
        (
            "/pages",
            json!(64),
            r#"expected only schema, name, description, page_size, spare_size, data, code, steps, free, zeros, marker, found "pages""#,
        ),
        ("/data", json!({}), "data: expected a list, found an object"),
        ("/data", json!([]), "the data intervals hold 0 bits"),
        ("/data/0", json!([0, 512]), "data[0]: expected an object, found a list of 2"),
        ("/data/0", json!({"bytes": 3}), "data[0]: expected only bit, bits, times, stride, found \"bytes\""),
        ("/data/0", json!({"bits": 3}), r#"data[0]: expected "byte" or "bit", and there is none"#),
        ("/data/0/bytes", Value::Null, r#"data[0]: expected "bytes", and there is none"#),
        ("/data/0/bytes", json!(0), "data: an interval of 0 bits, 2 times: expected at least one of each"),
        ("/data/0/bytes", json!(513), "the data intervals hold 8208 bits: expected the 1024 bytes of a page"),
        (
            "/data/0/byte",
            json!(u64::MAX),
            "data[0].byte: expected a number below 2^61, found 18446744073709551615",
        ),
        (
            "/data/0/byte",
            json!(u64::MAX / 8),
            "data: an interval ends at bit 18446744073709559800, past the raw page",
        ),
        ("/data/0/times", json!(0), "data: an interval of 4096 bits, 0 times"),
        ("/data/0/times", json!(u64::MAX), "intervals: expected at most 65536"),
        (
            "/data/0/times",
            json!(65000),
            "data: an interval ends at bit 266240000, past the raw page of 1088 bytes",
        ),
        ("/data/0/stride", Value::Null, r#"data[0]: expected "stride""#),
        ("/data/0/stride", json!(u64::MAX / 8), "data: an interval ends at bit"),
        ("/data/0/stride", json!(511), "data (bytes 0..512) and data (bytes 511..1023) overlap"),
        (
            "/data/0/advance",
            json!(1),
            r#"data[0]: expected only byte, bytes, times, stride, found "advance""#,
        ),
        ("/code", json!("bch"), r#"code: expected an object, found "bch""#),
        ("/code/kind", Value::Null, r#"code: expected "kind""#),
        (
            "/code/kind",
            json!("reed-solomon"),
            r#"code.kind: expected "hamming" or "bch", found "reed-solomon""#,
        ),
        ("/code/kind", json!("hamming"), "code: expected only kind, order, invert_data, invert_ecc, found"),
        ("/code/m", json!(4), "step 0 protects 512 bytes: there is no BCH code over GF(2^4)"),
        ("/code/m", json!(u32::MAX), "over GF(2^4294967295)"),
        ("/code/m", json!(12), "step 0 protects 512 bytes: "),
        ("/code/t", json!(0), "for 0 flips a step"),
        ("/code/t", json!(u32::MAX), "for 4294967295 flips a step"),
        ("/code/t", json!(8), "the ECC of step 0 has 56 bits: expected 104, as its code has"),
        ("/code/polynomial", json!("0x201c"), "0x201c"),
        (
            "/code/polynomial",
            json!("201b"),
            r#"code.polynomial: expected a number, or one in hex such as "0x201b", found "201b""#,
        ),
        ("/code/polynomial", json!("0x1000000000"), "code.polynomial: expected a number, or one in hex"),
        ("/code/align", json!("middle"), r#"code.align: expected "left" or "right", found "middle""#),
        ("/code/erased_mask", json!(1), "code.erased_mask: expected true or false, found 1"),
        ("/code/invert_ecc", json!([]), "code.invert_ecc: expected true or false, found a list of 0"),
        ("/code", json!({"kind": "hamming"}), "the ECC of step 0 has 56 bits: expected 24, as its code has"),
        (
            "/code",
            json!({"kind": "hamming", "order": "big"}),
            r#"code.order: expected "linux" or "smartmedia", found "big""#,
        ),
        ("/steps", json!(3), "steps: expected a list, found 3"),
        ("/steps", Value::Null, "there is a code, and no step of ECC"),
        ("/steps/0/times", json!(0), "steps that come 0 times"),
        ("/steps/0/times", json!(1), "data (bytes 0..1024) is not all protected"),
        ("/steps/0/times", json!(3), "the protected bits of step 2: an interval ends at bit 12288"),
        ("/steps/0/times", json!(u64::MAX), "intervals: expected at most 65536"),
        ("/steps/0/ecc", Value::Null, r#"steps[0]: expected "ecc""#),
        ("/steps/0/ecc", json!([]), "step 0 has no ECC"),
        ("/steps/0/protects", json!([]), "step 0 protects 0 bits: expected whole bytes"),
        ("/steps/0/protects", json!([{"bit": 0, "bits": 4095}]), "step 0 protects 4095 bits"),
        (
            "/steps/0/protects/0/advance",
            json!(0),
            "protected bits of step 0 (bytes 0..512) and protected bits of step 1 (bytes 0..512) overlap",
        ),
        ("/steps/0/protects/0/bytes", json!(1), "is not all protected"),
        (
            "/steps/0/protects/0/bytes",
            json!(600),
            "the protected bits of step 1: an interval ends at bit 8896",
        ),
        (
            "/steps/0/ecc/0/bytes",
            json!("seven"),
            r#"steps[0].ecc[0].bytes: expected a whole number, found "seven""#,
        ),
        ("/steps/0/ecc/0/bytes", json!(8), "the ECC of step 0 has 64 bits: expected 56, as its code has"),
        (
            "/steps/0/ecc/0/advance",
            json!(6),
            "ECC of step 0 (bytes 1040..1047) and ECC of step 1 (bytes 1046..1053) overlap",
        ),
        ("/steps/0/ecc/0/advance", json!(u64::MAX / 8), "the ECC of step 1: an interval ends at bit"),
        (
            "/steps/0/ecc/0/byte",
            json!(1020),
            "data (bytes 0..1024) and ECC of step 0 (bytes 1020..1027) overlap",
        ),
        (
            "/steps/0/ecc/0/byte",
            json!(1025),
            "ECC of step 0 (bytes 1025..1032) and free bytes (bytes 1026..1040) overlap",
        ),
        (
            "/free/0/bytes",
            json!(15),
            "free bytes (bytes 1026..1041) and ECC of step 0 (bytes 1040..1047) overlap",
        ),
        ("/free/0/byte", json!(1000), "free bytes (bytes 1000..1014) overlap"),
        ("/free/0", json!({"bit": 8208, "bits": 3}), "free: bits 8208..8211: expected whole bytes"),
        (
            "/zeros/0/byte",
            json!(1041),
            "ECC of step 0 (bytes 1040..1047) and zeros (bytes 1041..1042) overlap",
        ),
        ("/zeros/0/byte", json!(0), "zeros (bytes 0..1) and data (bytes 0..1024) overlap"),
        ("/marker", json!([]), "marker: expected an object, found a list of 0"),
        (
            "/marker/byte",
            json!(1040),
            "the bad-block mark (bytes 1040..1042) and ECC of step 0 (bytes 1040..1047) overlap",
        ),
        (
            "/marker/byte",
            json!(1025),
            "the bad-block mark (bytes 1025..1027) and free bytes (bytes 1026..1040) overlap",
        ),
        ("/marker/byte", json!(1087), "marker: an interval ends at bit 8712"),
        (
            "/marker",
            json!({"byte": 1024, "bytes": 1, "times": u64::MAX, "stride": 0}),
            "intervals: expected at most 65536",
        ),
        (
            "/marker",
            json!({"byte": 1024, "bytes": 1, "times": 2, "stride": 4}),
            "marker: expected bytes that follow each other",
        ),
    ];
    let mut missed = Vec::new();
    for (place, value, expected) in mistakes {
        let mut layout = good();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match layout.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(map) if value.is_null() => drop(map.shift_remove(key)),
            Value::Object(map) => drop(map.insert(key.into(), value.clone())),
            other => panic!("{place}: {other}"),
        }
        let said = said(&layout).map_or_else(|error| error, |_| "a layout".to_string());
        if !said.contains(expected) || said.len() > 300 {
            missed.push(format!("{place} = {value}: {said}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The mark may lie in the data, and it and free bytes may be protected.
#[test]
fn what_controllers_do_is_allowed() {
    let mut layout = good();
    layout["marker"]["byte"] = json!(1000);
    assert_eq!(said(&layout).unwrap().marker().unwrap().bytes(), Some(1000..1002));
    let mut layout = good();
    layout["steps"] = json!([
        {"protects": [{"byte": 0, "bytes": 512}], "ecc": [{"byte": 1040, "bytes": 7}]},
        {"protects": [{"byte": 512, "bytes": 528}], "ecc": [{"byte": 1047, "bytes": 7}]}
    ]);
    assert_eq!(said(&layout).unwrap().free_bytes(), 14);
}

#[test]
fn what_is_no_json_or_too_much_is_refused() {
    let error = |bytes: &[u8]| Layout::from_json(bytes).unwrap_err().to_string();
    assert!(error(b"").starts_with("it is not JSON: EOF"));
    assert!(error(b"\xFF\xFE").starts_with("it is not JSON: "));
    assert!(error(b"[]").starts_with("schema: expected"));
    assert!(error("[".repeat(200_000).as_bytes()).starts_with("it is not JSON: recursion limit exceeded"));
    assert!(error(&[b' '; (256 << 10) + 1]).starts_with("it is no layout: expected at most 262144 bytes"));

    let mut layout = good();
    layout["code"] = json!({"kind": "hamming"});
    layout["steps"][0]["protects"][0]["bytes"] = json!(300);
    assert_eq!(
        said(&layout).unwrap_err(),
        "step 0 protects 300 bytes: expected 256 or 512 with a Hamming code"
    );

    // Of five lengths, each would have tables of its own.
    let mut layout = good();
    for key in ["free", "zeros", "marker"] {
        layout.as_object_mut().unwrap().shift_remove(key);
    }
    layout["page_size"] = json!(5 * 100 + 10);
    layout["data"] = json!([{"byte": 0, "bytes": 510}]);
    let step = |i: u64| json!({"protects": [{"byte": 100 * i, "bytes": 100 + i}], "ecc": [{"byte": 512 + 7 * i, "bytes": 7}]});
    layout["steps"] = (0..5).map(step).collect();
    assert_eq!(
        said(&layout).unwrap_err(),
        "step 4 protects 104 bytes: expected steps of at most 4 different lengths"
    );
}

/// Numbers of which sums and products go wrong, in the place of others.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "7",
    "8",
    "13",
    "511",
    "513",
    "4096",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "2305843009213693951",
    "2305843009213693952",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "1e300",
];

/// `text` with one of its numbers replaced, or a byte changed, or a part left out or doubled.
fn mutated(rng: &mut SplitMix64, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(10) {
        0 => bytes[at] = rng.next_u64() as u8,
        1 => drop(bytes.drain(at..(at + rng.below(40) as usize).min(text.len()))),
        2 => {
            let part = bytes[at..(at + rng.below(80) as usize).min(text.len())].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let digit = |i: usize| bytes[i].is_ascii_digit();
            let Some(start) = (at..bytes.len()).find(|&i| digit(i)) else { return bytes };
            let end = (start..bytes.len()).find(|&i| !digit(i)).unwrap_or(bytes.len());
            let number = match rng.below(3) {
                0 => rng.below(2200).to_string(),
                _ => NUMBERS[rng.below(NUMBERS.len() as u64) as usize].to_string(),
            };
            bytes.splice(start..end, number.bytes());
        }
    }
    bytes
}

#[test]
fn mutated_files_are_refused_or_hold() {
    let mut rng = SplitMix64::new(8);
    let texts: Vec<String> = examples().iter().filter(|l| l.strength() <= 8).map(Layout::to_json).collect();
    let (mut held, mut slowest) = (0, Duration::ZERO);
    for i in 0..20_000 {
        let mut text = texts[i % texts.len()].clone().into_bytes();
        for _ in 0..=rng.below(3) {
            if let Ok(valid) = std::str::from_utf8(&text) {
                text = mutated(&mut rng, valid);
            }
        }
        let started = Instant::now();
        if let Ok(layout) = Layout::from_json(&text)
            && layout.raw_page_size() < 1 << 16
        {
            held += 1;
            let codec = PageCodec::new(&layout);
            let page = random_page(&mut rng, &layout);
            let mut raw = encoded(&codec, &page);
            assert!(codec.decode(&mut raw).is_clean(), "{}: {}", called(&layout), layout.to_json());
            let mut data = vec![0; page.len()];
            codec.data(&raw, &mut data);
            assert!(data == page, "{}: {}", called(&layout), layout.to_json());
            assert_eq!(Layout::from_json(layout.to_json().as_bytes()).unwrap(), layout);
        }
        slowest = slowest.max(started.elapsed());
    }
    assert!((500..15_000).contains(&held), "{held} of 20000 hold");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
