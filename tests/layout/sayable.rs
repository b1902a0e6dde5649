//! Layouts seen in dumps that no preset has, said in files.

use nandimg::layout::{Layout, PageCodec};
use nandimg::prng::SplitMix64;

use super::{encoded, flip, flip_step, random_page};

/// The layout that `rest` says, once it has passed there and back through flips.
fn held(page_size: u32, spare_size: u32, rest: &str) -> Layout {
    let text = format!(
        r#"{{"schema": "nandimg.layout/1", "name": "seen", "page_size": {page_size}, "spare_size": {spare_size}, {rest}}}"#
    );
    let layout = Layout::from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(Layout::from_json(layout.to_json().as_bytes()).unwrap(), layout);
    let (codec, mut rng) = (PageCodec::new(&layout), SplitMix64::new(9));
    let page = random_page(&mut rng, &layout);
    let raw = encoded(&codec, &page);
    let mut flipped = raw.clone();
    for step in 0..layout.steps().len() {
        flip_step(&mut rng, &codec, step, layout.strength(), &mut flipped);
    }
    let verdict = codec.decode(&mut flipped);
    assert_eq!(verdict.corrected_bits, layout.strength() * layout.steps().len() as u32);
    assert!(flipped == raw);
    let mut data = vec![0; page.len()];
    codec.data(&raw, &mut data);
    assert!(data == page);
    layout
}

/// Marvell NFC with 64 spare bytes in the last of two chunks; the code is not known.
#[test]
fn marvell_with_128_spare_bytes() {
    let layout = held(
        2048,
        128,
        r#""data": [{"byte": 0, "bytes": 1024, "times": 2, "stride": 1054}],
        "steps": [
            {"protects": [{"byte": 0, "bytes": 1024}], "ecc": [{"byte": 1024, "bytes": 30}]},
            {"protects": [{"byte": 1054, "bytes": 1088}], "ecc": [{"byte": 2142, "bytes": 30}]}
        ],
        "free": [{"byte": 2078, "bytes": 64}]"#,
    );
    assert!(layout.ecc_less() && layout.has_unknown_ecc() && !layout.is_contiguous_data());
}

/// Micron's on-die 4-bit ECC: 512 bytes and 4 of spare are protected, in a code that is not known.
#[test]
fn micron_parallel_on_die() {
    let layout = held(
        2048,
        64,
        r#""data": [{"byte": 0, "bytes": 2048}],
        "steps": [{
            "times": 4,
            "protects": [{"byte": 0, "bytes": 512, "advance": 512}, {"byte": 2048, "bytes": 4, "advance": 16}],
            "ecc": [{"byte": 2056, "bytes": 8, "advance": 16}]
        }],
        "free": [{"byte": 2050, "bytes": 6}, {"byte": 2064, "bytes": 8, "times": 3, "stride": 16}],
        "marker": {"byte": 2048, "bytes": 2}"#,
    );
    assert_eq!(layout.steps()[3].ecc()[0].bytes(), Some(2104..2112));
    assert_eq!(layout.free_bytes(), 30);
}

/// ECC interleaved with the data ("syndrome" placement).
#[test]
fn ecc_between_the_data() {
    let layout = held(
        2048,
        64,
        r#""data": [{"byte": 0, "bytes": 512, "times": 4, "stride": 528}],
        "code": {"kind": "bch", "m": 13, "t": 8},
        "steps": [{
            "times": 4,
            "protects": [{"byte": 0, "bytes": 515, "advance": 528}],
            "ecc": [{"byte": 515, "bytes": 13, "advance": 528}]
        }],
        "free": [{"byte": 512, "bytes": 3, "times": 4, "stride": 528}],
        "marker": {"byte": 2048, "bytes": 1}"#,
    );
    // The factory's mark lies where data of the last step is.
    assert!(layout.data()[3].bytes().unwrap().contains(&layout.marker().unwrap().bytes().unwrap().start));
}

/// Data I/O's "Skip BCH4": as linux-bch4, its pad bits first.
#[test]
fn bch4_shifted_by_four_bits() {
    let rest = |align: &str| {
        format!(
            r#""data": [{{"byte": 0, "bytes": 2048}}],
            "code": {{"kind": "bch", "m": 13, "t": 4, "align": "{align}"}},
            "steps": [{{
                "times": 4,
                "protects": [{{"byte": 0, "bytes": 512, "advance": 512}}],
                "ecc": [{{"byte": 2084, "bytes": 7, "advance": 7}}]
            }}]"#
        )
    };
    let [left, right] = ["left", "right"].map(|align| held(2048, 64, &rest(align)));
    assert_ne!(left, right);
    let page: Vec<u8> = (0..2048).map(|i| (i * 7) as u8).collect();
    let [left, right] = [left, right].map(|layout| encoded(&PageCodec::new(&layout), &page));
    for step in (2084..2112).step_by(7) {
        let number =
            |raw: &[u8]| raw[step..step + 7].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        assert_eq!(number(&left), number(&right) << 4);
    }
}

/// Two small chips of which one has the even and one the odd bytes.
#[test]
fn two_chips_byte_by_byte() {
    let layout = held(
        1024,
        32,
        r#""data": [{"byte": 0, "bytes": 1, "times": 512, "stride": 2}, {"byte": 1, "bytes": 1, "times": 512, "stride": 2}],
        "code": {"kind": "hamming"},
        "steps": [
            {
                "times": 2,
                "protects": [{"byte": 0, "bytes": 1, "times": 256, "stride": 2, "advance": 512}],
                "ecc": [{"byte": 1040, "bytes": 1, "times": 3, "stride": 2, "advance": 6}]
            },
            {
                "times": 2,
                "protects": [{"byte": 1, "bytes": 1, "times": 256, "stride": 2, "advance": 512}],
                "ecc": [{"byte": 1041, "bytes": 1, "times": 3, "stride": 2, "advance": 6}]
            }
        ],
        "marker": {"byte": 1034, "bytes": 2}"#,
    );
    assert_eq!(layout.data().len(), 1024);
    assert_eq!(layout.steps()[3].code_bit(8), Some(8 * 515));
}

/// The ECC inverted, the data not.
#[test]
fn inverted_ecc() {
    let rest = |invert: bool| {
        format!(
            r#""data": [{{"byte": 0, "bytes": 512}}],
            "code": {{"kind": "bch", "m": 13, "t": 2, "invert_ecc": {invert}}},
            "steps": [{{"protects": [{{"byte": 0, "bytes": 512}}], "ecc": [{{"byte": 520, "bytes": 4}}]}}]"#
        )
    };
    let page = [0x5A; 512];
    let [plain, inverted] =
        [false, true].map(|invert| encoded(&PageCodec::new(&held(512, 16, &rest(invert))), &page));
    assert!((520..524).all(|at| plain[at] == !inverted[at]));
}

/// Under a code without Linux's mask a codeword may be all ones but for as many bits as the code corrects. It is a codeword.
#[test]
fn a_codeword_is_not_taken_for_an_erased_step() {
    let layout = held(
        3,
        1,
        r#""data": [{"byte": 0, "bytes": 3}],
        "code": {"kind": "bch", "m": 5, "t": 1, "reverse_bits": true},
        "steps": [{"protects": [{"byte": 0, "bytes": 3}], "ecc": [{"bit": 24, "bits": 5}]}]"#,
    );
    let codec = PageCodec::new(&layout);
    let nearly_erased = (0..29).map(|bit| {
        let mut raw = vec![0xFF; 4];
        flip(&mut raw, bit);
        raw
    });
    let codewords: Vec<_> = nearly_erased.filter(|raw| encoded(&codec, &raw[..3]) == *raw).collect();
    assert_eq!(codewords.len(), 1, "the code has one so near");
    let mut raw = codewords[0].clone();
    let verdict = codec.decode(&mut raw);
    assert!(verdict.is_clean() && !verdict.blank, "{verdict:?}");
    assert_eq!(raw, codewords[0]);
}
