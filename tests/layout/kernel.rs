//! Pages that Linux 6.1 wrote on nandsim: see testdata/README.md.

use nandimg::layout::{Layout, PageCodec};
use nandimg::prng::SplitMix64;

use super::{encoded, flip, flip_step};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/linux-mtd/");
const WRITTEN: usize = 12;

struct Sample {
    codec: PageCodec,
    pages: Vec<Vec<u8>>,
}

fn samples() -> [Sample; 2] {
    [
        ("linux-bch4", "linux61_bch4_2048+64_16pages.raw"),
        ("linux-hamming", "linux61_hamming256_2048+64_16pages.raw"),
    ]
    .map(|(name, file)| {
        let codec = PageCodec::new(&Layout::preset(name, 2048, 64).unwrap());
        let dump = std::fs::read(format!("{DIR}{file}")).unwrap();
        let pages: Vec<Vec<u8>> = dump.chunks_exact(2112).map(<[u8]>::to_vec).collect();
        assert_eq!(pages.len(), 16);
        Sample { codec, pages }
    })
}

#[test]
fn every_page_is_clean_and_encodes_to_the_same_bytes() {
    let payload = std::fs::read(format!("{DIR}payload.bin")).unwrap();
    for Sample { codec, pages } in samples() {
        for (i, page) in pages.iter().enumerate() {
            let mut raw = page.clone();
            let verdict = codec.decode(&mut raw);
            assert!(verdict.is_clean(), "page {i}: {verdict:?}");
            assert_eq!(verdict.blank, page.iter().all(|byte| *byte == 0xFF), "page {i}");
            assert_eq!(&raw, page, "page {i}");

            let mut data = vec![0; 2048];
            codec.data(page, &mut data);
            match payload.chunks_exact(2048).nth(i) {
                Some(written) => assert_eq!(data, written, "page {i}"),
                None => assert!(i >= WRITTEN && verdict.blank, "page {i} was never written"),
            }
            assert_eq!(&encoded(&codec, &data), page, "page {i}");
        }
    }
}

#[test]
fn flips_up_to_the_strength_are_corrected_and_more_are_told() {
    let mut rng = SplitMix64::new(1);
    for Sample { codec, pages } in samples() {
        let (steps, strength) = (codec.steps().len(), codec.strength());
        for (i, page) in pages.iter().enumerate() {
            let mut raw = page.clone();
            for step in 0..steps {
                flip_step(&mut rng, &codec, step, step as u32 % (strength + 1), &mut raw);
            }
            let verdict = codec.decode(&mut raw);
            let expected: u32 = (0..steps as u32).map(|step| step % (strength + 1)).sum();
            assert_eq!((verdict.corrected_bits, verdict.uncorrectable.len()), (expected, 0), "page {i}");
            assert_eq!(verdict.max_corrected, strength.min(steps as u32 - 1));
            assert_eq!(verdict.blank, page.iter().all(|byte| *byte == 0xFF), "page {i}");
            assert_eq!(&raw, page, "page {i}");
        }
    }
}

/// What the kernel did: 4 flips in a step of an erased page under BCH came back as FF, 5 did not; under Hamming 1 and 2.
#[test]
fn an_erased_page_with_flips_reads_as_erased_as_far_as_the_code_goes() {
    for Sample { codec, pages } in samples() {
        let mut raw = pages[15].clone();
        for n in 0..codec.strength() {
            flip(&mut raw, u64::from(n) * 67);
        }
        let few = raw.clone();
        let verdict = codec.decode(&mut raw);
        assert!(verdict.blank && verdict.corrected_bits == codec.strength(), "{verdict:?}");
        assert_eq!(raw, pages[15]);

        raw = few;
        flip(&mut raw, 8 * 200);
        let flipped = raw.clone();
        let verdict = codec.decode(&mut raw);
        assert!(!verdict.blank, "{verdict:?}");
        assert_eq!(verdict.uncorrectable, [0]);
        assert_eq!(raw, flipped);
    }
}
