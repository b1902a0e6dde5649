//! Every preset on every page it is known for.

use std::collections::HashMap;

use nandimg::layout::{Layout, PRESETS, PageCodec, Span};
use nandimg::prng::SplitMix64;

use super::{called, encoded, examples, flip_step, random_page};

#[test]
fn pages_come_back_through_as_many_flips_as_the_code_corrects() {
    let mut rng = SplitMix64::new(2);
    for layout in examples() {
        let codec = PageCodec::new(&layout);
        let (steps, strength) = (layout.steps().len(), layout.strength());
        let page = random_page(&mut rng, &layout);
        let raw = encoded(&codec, &page);

        let mut data = vec![0; page.len()];
        codec.data(&raw, &mut data);
        assert_eq!(data, page, "{}", called(&layout));

        let mut clean = raw.clone();
        let verdict = codec.decode(&mut clean);
        assert!(verdict.is_clean() && !verdict.blank && clean == raw, "{}: {verdict:?}", called(&layout));

        let flips: Vec<u32> = (0..steps).map(|_| rng.below(u64::from(strength) + 1) as u32).collect();
        for flips in [flips, vec![strength; steps]] {
            let mut flipped = raw.clone();
            for (step, flips) in flips.iter().enumerate() {
                flip_step(&mut rng, &codec, step, *flips, &mut flipped);
            }
            let verdict = codec.decode(&mut flipped);
            assert!(verdict.is_readable(), "{}: {verdict:?}", called(&layout));
            assert_eq!(verdict.corrected_bits, flips.iter().sum::<u32>(), "{}", called(&layout));
            assert_eq!(verdict.max_corrected, flips.into_iter().max().unwrap_or(0), "{}", called(&layout));
            assert!(flipped == raw, "{}: corrected to what was there", called(&layout));
        }
    }
}

#[test]
fn one_flip_too_many_names_its_step_or_looks_like_another_page() {
    let mut rng = SplitMix64::new(3);
    let (mut told, mut fooled) = (0, 0);
    let layouts = examples();
    for layout in layouts.iter().filter(|layout| !layout.ecc_less()).flat_map(|layout| [layout; 4]) {
        let codec = PageCodec::new(layout);
        let raw = encoded(&codec, &random_page(&mut rng, layout));
        let bad = rng.below(layout.steps().len() as u64) as usize;
        let good = (bad + 1) % layout.steps().len();
        let mut flipped = raw.clone();
        flip_step(&mut rng, &codec, bad, layout.strength() + 1, &mut flipped);
        let of_bad = flipped.clone();
        if good != bad {
            flip_step(&mut rng, &codec, good, 1, &mut flipped);
        }
        let verdict = codec.decode(&mut flipped);
        if verdict.is_readable() {
            // The nearest codeword is another.
            fooled += 1;
            assert!(flipped != raw && codec.decode(&mut flipped).is_clean(), "{}", called(layout));
            continue;
        }
        told += 1;
        assert_eq!(verdict.uncorrectable, [bad], "{}", called(layout));
        assert_eq!(verdict.corrected_bits, u32::from(good != bad), "{}", called(layout));
        assert!(flipped == of_bad, "{}: the bad step is left as it was", called(layout));
    }
    assert!(told > 400 && fooled * 20 < told, "told {told}, fooled {fooled}");
}

#[test]
fn an_erased_page_stays_all_ones_and_reads_as_erased_through_flips() {
    let mut rng = SplitMix64::new(4);
    for layout in examples() {
        let codec = PageCodec::new(&layout);
        let erased = vec![0xFF; layout.raw_page_size()];
        let page = vec![0xFF; layout.page_size() as usize];
        // What was there of ECC and zeros goes; the rest stays.
        let mut raw = vec![0; layout.raw_page_size()];
        for spans in [layout.free(), layout.marker().as_slice()]
            .into_iter()
            .chain(layout.steps().iter().map(|s| s.protects()))
        {
            spans.iter().filter_map(Span::bytes).for_each(|bytes| raw[bytes].fill(0xFF));
            for span in spans.iter().filter(|span| span.bytes().is_none()) {
                (span.start..span.end()).for_each(|bit| raw[(bit / 8) as usize] |= 1 << (bit % 8));
            }
        }
        assert!(encoded(&codec, &page) == erased, "{}", called(&layout));
        codec.encode(&page, &mut raw);
        assert_eq!(codec.decode(&mut raw).blank, !layout.has_unknown_ecc(), "{}", called(&layout));
        if layout.ecc_less() {
            continue;
        }
        for _ in 0..3 {
            let mut flipped = erased.clone();
            for step in 0..layout.steps().len() {
                flip_step(&mut rng, &codec, step, layout.strength(), &mut flipped);
            }
            let verdict = codec.decode(&mut flipped);
            assert!(verdict.blank, "{}: {verdict:?}", called(&layout));
            assert_eq!(verdict.corrected_bits, layout.strength() * layout.steps().len() as u32);
            assert!(flipped == erased, "{}", called(&layout));
        }
        let mut flipped = erased.clone();
        flip_step(&mut rng, &codec, 0, layout.strength() + 1, &mut flipped);
        assert!(!codec.decode(&mut flipped).blank, "{}", called(&layout));
    }
}

/// A page of almost nothing but ones is told from an erased page by its ECC.
#[test]
fn data_that_is_nearly_all_ones_is_not_taken_for_erased() {
    let mut rng = SplitMix64::new(5);
    for layout in examples().iter().filter(|layout| !layout.ecc_less()) {
        let codec = PageCodec::new(layout);
        let mut page = vec![0xFF; layout.page_size() as usize];
        let place = rng.below(page.len() as u64) as usize;
        page[place] = 0xFE;
        let raw = encoded(&codec, &page);
        for flips in 0..=layout.strength().min(2) {
            let mut flipped = raw.clone();
            (0..layout.steps().len()).for_each(|step| flip_step(&mut rng, &codec, step, flips, &mut flipped));
            let verdict = codec.decode(&mut flipped);
            assert!(!verdict.blank && flipped == raw, "{}: {verdict:?}", called(layout));
        }
    }
}

#[test]
fn spare_bytes_that_are_not_the_layouts_are_kept() {
    let mut rng = SplitMix64::new(6);
    for layout in examples() {
        let codec = PageCodec::new(&layout);
        let page = random_page(&mut rng, &layout);
        let mut raw = vec![0; layout.raw_page_size()];
        rng.fill(&mut raw);
        let before = raw.clone();
        codec.encode(&page, &mut raw);
        let marker = layout.marker();
        for bytes in layout.free().iter().chain(&marker).filter_map(Span::bytes) {
            assert_eq!(raw[bytes.clone()], before[bytes], "{}", called(&layout));
        }
        for bytes in layout.zeros().iter().filter_map(Span::bytes) {
            assert!(raw[bytes].iter().all(|byte| *byte == 0), "{}", called(&layout));
        }
        assert!(codec.decode(&mut raw).is_clean(), "{}: the ECC is over what was kept", called(&layout));
    }
}

/// Whoever finds the bits one by one finds each at one place only, and all of the data.
#[test]
fn no_bit_has_two_uses() {
    for layout in examples() {
        let bits = |spans: &[Span]| -> Vec<u64> { spans.iter().flat_map(|s| s.start..s.end()).collect() };
        let steps = layout.steps();
        let protected: Vec<u64> = steps.iter().flat_map(|step| bits(step.protects())).collect();
        let mut own: Vec<u64> = steps.iter().flat_map(|step| bits(step.ecc())).collect();
        own.extend(bits(layout.zeros()));
        let (data, free, marker) =
            (bits(layout.data()), bits(layout.free()), bits(layout.marker().as_slice()));
        assert_eq!(data.len(), 8 * layout.page_size() as usize, "{}", called(&layout));
        for uses in [[&data, &free, &own], [&marker, &free, &own], [&protected, &own, &vec![]]] {
            let mut seen = HashMap::new();
            for bit in uses.into_iter().flatten() {
                *seen.entry(*bit).or_insert(0) += 1;
                assert!(*bit < 8 * layout.raw_page_size() as u64, "{}", called(&layout));
            }
            assert!(seen.values().all(|times| *times == 1), "{}", called(&layout));
        }
        // No preset has the mark in its data: the controllers that would put data there step aside.
        assert!(marker.iter().all(|bit| !data.contains(bit)), "{}", called(&layout));
    }
}

#[test]
fn each_layout_is_read_back_from_its_own_json() {
    for layout in examples() {
        let text = layout.to_json();
        let read = Layout::from_json(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", called(&layout)));
        assert_eq!(read.spec(), layout.spec(), "{}", called(&layout));
        assert_eq!(read, layout, "{}", called(&layout));
        assert_eq!(read.fingerprint(), layout.fingerprint());
        assert!(text.lines().count() <= 16, "{text}");
    }
}

#[test]
fn layouts_are_equal_and_have_the_same_fingerprint_if_they_mean_the_same() {
    let layouts = examples();
    let (mut by_fingerprint, mut same) = (HashMap::new(), Vec::new());
    for layout in &layouts {
        if let Some(other) = by_fingerprint.insert(layout.fingerprint(), layout) {
            assert_eq!(other, layout);
            same.push((called(other), layout.name()));
        }
    }
    // Chips of two makers with the same spare area, and no spare area.
    let expected = [
        ("none on 2048+0".to_string(), "raw"),
        ("micron-on-die on 2048+128".to_string(), "toshiba-on-die"),
        ("micron-on-die on 4096+256".to_string(), "toshiba-on-die"),
    ];
    assert_eq!(same, expected);
    let layout = &layouts[0];
    assert!(layouts.iter().filter(|other| *other == layout).count() == 1);
}

/// What PyPI's bchlib 2.1.3 makes of the second step of a page, its bits reversed, inverted or moved as the sources say.
#[test]
fn ecc_is_what_another_implementation_makes() {
    let payload =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/linux-mtd/payload.bin")).unwrap();
    for (name, page, spare, expected) in [
        ("gpmi-bch8", 2048, 64, "5931f9684a779ae41f18fd3413"),
        ("gpmi-bch4", 2048, 64, "1e7322cde63009"),
        ("atmel-bch4", 2048, 64, "0abb11518f05f7"),
        ("am335x-bch8", 2048, 64, "84ad2e42150b3a4d428bde572c"),
        ("qcom-bch4", 2048, 64, "752c9b86de3f40"),
        ("qcom-bch8", 4096, 224, "a44547e657302e64f24b356d53"),
        ("harman-bch4", 2048, 64, "0d5fc1f0214f1d"),
        ("hermes2-bch8", 2048, 64, "d381fa49420d3f3169ce58fa11a2"),
    ] {
        let codec = PageCodec::new(&Layout::preset(name, page, spare).unwrap());
        let raw = encoded(&codec, &payload[..page as usize]);
        let bits = codec.steps()[1].ecc().iter().flat_map(|span| span.start..span.end());
        let mut ecc = vec![0; expected.len() / 2];
        for (i, bit) in bits.enumerate() {
            ecc[i / 8] |= (raw[(bit / 8) as usize] >> (bit % 8) & 1) << (i % 8);
        }
        let hex: String = ecc.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{name}");
    }
}

/// Images record them: they never change.
#[test]
fn fingerprints_stay() {
    let known = [
        ("none", 2048, 0, 0x17526492),
        ("raw", 2048, 64, 0x952E33E0),
        ("linux-hamming", 2048, 64, 0xF6EA599E),
        ("linux-bch4", 2048, 64, 0xEEF001AF),
        ("linux-bch8", 4096, 224, 0xB18E6853),
        ("am335x-bch8", 2048, 64, 0x6720B4A0),
        ("gpmi-bch8", 2048, 64, 0x2086A7CF),
        ("qcom-bch4", 2048, 64, 0xDF4966BE),
        ("hermes2-bch8", 2048, 64, 0x474829AC),
    ];
    let found = known.map(|(name, page, spare, _)| {
        (name, page, spare, Layout::preset(name, page, spare).unwrap().fingerprint())
    });
    assert_eq!(found, known);
}

#[test]
fn presets_say_what_they_are_for() {
    let error = |name, page, spare| Layout::preset(name, page, spare).unwrap_err().to_string();
    assert!(
        error("linux-bch", 2048, 64)
            .starts_with("there is no layout \"linux-bch\": expected one of none, raw, ")
    );
    for (name, page, spare, expected) in [
        ("linux-bch04", 2048, 64, "there is no layout"),
        ("linux-bch99999999999", 2048, 64, "there is no layout"),
        ("LINUX-BCH4", 2048, 64, "there is no layout"),
        ("linux-bch0", 2048, 64, "there is no layout"),
        ("linux-bch4000000000", 2048, 64, "it corrects 1 to 64 bits a step"),
        ("linux-bch4", 2048, 32, "it takes 64 spare bytes"),
        ("linux-bch9", 2048, 60, "it takes 64 spare bytes"),
        ("linux-bch10", 2048, 64, "4 steps of 17 bytes of ECC and 2 bytes of mark take more"),
        ("linux-bch4", 2000, 64, "the page is no multiple of 512 bytes"),
        ("linux-bch4", 0, 64, "at least one byte of data"),
        ("linux-bch4", 1 << 30, u32::MAX, "at most 1073741824 bytes in all"),
        ("linux-bch1", 1 << 29, 1 << 24, "intervals: expected at most 65536"),
        ("linux-hamming", 2048, 128, "it is known for pages of 256 + 8, 512 + 16, 2048 + 64, 4096 + 128"),
        ("none", 2048, 64, "it is for files without spare bytes"),
        ("none", 0, 0, "at least one byte of data"),
        ("gpmi-bch3", 2048, 64, "an even number of bits"),
        ("gpmi-bch10", 2048, 64, "it takes 75 spare bytes"),
        ("gpmi-bch4000000000", 2048, 64, "an even number of bits"),
        ("qcom-bch8", 2048, 64, "it takes 80 spare bytes"),
        ("adjacent", 2048, 128, "it has 16 spare bytes for 512 bytes: 64"),
        ("winbond-on-die", 4096, 128, "it is known for pages of 2048 + 64, 2048 + 96, 2048 + 128"),
    ] {
        let said = error(name, page, spare);
        assert!(said.contains(expected), "{name} on {page}+{spare}: {said}");
    }
}

/// Whatever sizes are asked for, there is an answer, and a layout that is given holds.
#[test]
fn no_size_is_too_odd_to_ask_for() {
    let mut rng = SplitMix64::new(7);
    let sizes = [0, 1, 5, 6, 63, 64, 128, 256, 511, 512, 1024, 2048, 4096, 4097, 8192, 1 << 16, u32::MAX];
    let mut given = 0;
    for preset in PRESETS {
        for page_size in sizes {
            for spare_size in sizes {
                let name = preset.name.replace("<t>", &rng.below(70).to_string());
                if let Ok(layout) = Layout::preset(&name, page_size, spare_size) {
                    given += 1;
                    let codec = PageCodec::new(&layout);
                    let page = random_page(&mut rng, &layout);
                    let mut raw = encoded(&codec, &page);
                    assert!(codec.decode(&mut raw).is_clean(), "{}", called(&layout));
                    let mut data = vec![0; page.len()];
                    codec.data(&raw, &mut data);
                    assert!(data == page, "{}", called(&layout));
                }
            }
        }
    }
    assert!(given > 200, "{given}");
}
