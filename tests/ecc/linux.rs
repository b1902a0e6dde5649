//! What Linux 6.1 wrote on a chip with software ECC, and other published values.

use std::path::Path;

use nandimg::ecc::{BchParams, Code, Hamming, HammingOrder, HammingStep, Uncorrectable};
use nandimg::prng::SplitMix64;

use crate::{Step, bch, choose, hex};

const PAGE: usize = 2048;
const SPARE: usize = 64;

fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/linux-mtd").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn hamming(step: HammingStep) -> Code {
    Code::Hamming(Hamming::new(step, HammingOrder::Linux))
}

/// The steps of all pages of a dump of which the last spare bytes are ECC.
fn steps(dump: &[u8], code: &Code) -> Vec<Step> {
    let (len, ecc_len) = (code.max_data_len(), code.ecc_len());
    let pages = dump.chunks_exact(PAGE + SPARE).map(|page| page.split_at(PAGE));
    let steps = pages.flat_map(|(data, spare)| {
        let eccs = &spare[SPARE - PAGE / len * ecc_len..];
        data.chunks(len).zip(eccs.chunks(ecc_len))
    });
    steps.map(|(data, ecc)| Step { data: data.to_vec(), ecc: ecc.to_vec() }).collect()
}

#[test]
fn pages_that_linux_wrote_are_codewords_and_are_corrected() {
    let payload = sample("payload.bin");
    for (name, code) in [
        ("linux61_bch4_2048+64_16pages.raw", bch(BchParams::linux(512, 4))),
        ("linux61_hamming256_2048+64_16pages.raw", hamming(HammingStep::Bytes256)),
    ] {
        let dump = sample(name);
        let steps = steps(&dump, &code);
        assert_eq!(steps.len(), 16 * PAGE / code.max_data_len());
        // The last four pages are erased.
        let written = payload.chunks(code.max_data_len()).chain(std::iter::repeat(&[0xFF; 512][..]));
        let mut rng = SplitMix64::new(61);
        for (i, (step, written)) in steps.into_iter().zip(written).enumerate() {
            assert_eq!(step.data, written[..step.data.len()], "{name}: step {i}");
            assert_eq!(Step::encode(&code, &step.data), step, "{name}: step {i}");
            let mut bits: Vec<usize> = (0..8 * step.data.len()).collect();
            for flips in 0..=code.strength() {
                let mut read = step.clone();
                choose(&mut bits, flips as usize, &mut rng).iter().for_each(|bit| read.flip(*bit));
                assert_eq!(read.correct(&code), Ok(flips), "{name}: step {i}");
                assert_eq!(read, step, "{name}: step {i}");
            }
        }
    }
}

/// As on a real chip: four flips of an erased step go, five stay.
#[test]
fn an_erased_step_is_a_codeword() {
    for (len, t) in [(512, 1), (512, 4), (512, 8), (1024, 8), (1024, 24), (1024, 40), (256, 3), (200, 5)] {
        let code = bch(BchParams::linux(len, t));
        let erased = Step { data: vec![0xFF; len], ecc: vec![0xFF; code.ecc_len()] };
        assert_eq!(Step::encode(&code, &erased.data), erased, "{len} bytes, t = {t}");
        let (mut rng, mut bits) = (SplitMix64::new(5), (0..8 * len).collect::<Vec<_>>());
        for flips in 0..=t {
            let mut read = erased.clone();
            choose(&mut bits, flips as usize, &mut rng).iter().for_each(|bit| read.flip(*bit));
            assert_eq!(read.correct(&code), Ok(flips), "{len} bytes, t = {t}");
            assert_eq!(read, erased, "{len} bytes, t = {t}");
        }
        // One flip more is beyond any doubt only where few words lie near a codeword.
        if t >= 4 {
            let mut read = erased.clone();
            choose(&mut bits, t as usize + 1, &mut rng).iter().for_each(|bit| read.flip(*bit));
            let before = read.clone();
            assert_eq!((read.correct(&code), &read), (Err(Uncorrectable), &before), "{len} bytes, t = {t}");
        }
    }
}

#[test]
fn published_parities_of_bch() {
    let payload = sample("payload.bin");
    let zeros = [0; 1024];
    let count: Vec<u8> = (0..512).map(|i| i as u8).collect();
    for (data, t, ecc) in [
        (&payload[..512], 1, "edcf"),
        (&payload[..512], 2, "4a4abb7f"),
        (&payload[..512], 4, "3872ecde009dcf"),
        (&payload[..512], 8, "765f2287d98f9a67bae8a8c587"),
        (&payload[..512], 12, "f7f9b6b60aa08ec0b58d279bb3ead36b0a7bef7f"),
        (&payload[..512], 16, "eecbfac60388fb456cd2d05868bfd32c8d3309acae7c6efc4c6c"),
        // Of zeros it is the mask.
        (&zeros[..512], 1, "0b8f"),
        (&zeros[..512], 2, "f2053dff"),
        (&zeros[..512], 4, "2813cc3996ac7f"),
        (&zeros[..512], 8, "ef512e09ed939ac29779e524b5"),
        (&zeros[..1024], 8, "f65a41f418504b7e2fd6c0ff8a71"),
        (&count[..], 4, "c4c32c9ec768ef"),
        (&count[..], 8, "46edc5b80cdebee92938a39761"),
    ] {
        let code = bch(BchParams::linux(data.len(), t));
        assert_eq!(Step::encode(&code, data).ecc, hex(ecc), "t = {t}");
    }
}

/// The parity of the last bit alone is the generator without its highest term.
#[test]
fn published_generators() {
    let last_bit = [vec![0; 511], vec![1]].concat();
    for (t, generator) in [(4, "4523043ab86ab0"), (8, "15f914e07b0c138741c5c4fb23")] {
        let code = bch(BchParams { erased_mask: false, ..BchParams::linux(512, t) });
        assert_eq!(Step::encode(&code, &last_bit).ecc, hex(generator), "t = {t}");
    }
}

#[test]
fn published_parities_of_hamming() {
    let payload = sample("payload.bin");
    let one_bit = |len: usize, at: usize, byte: u8| {
        let mut data = vec![0; len];
        data[at] = byte;
        data
    };
    for (data, ecc) in [
        (one_bit(256, 0, 0x01), "aaaaab"),
        (one_bit(256, 255, 0x80), "555557"),
        (one_bit(512, 0, 0x01), "aaaaaa"),
        (one_bit(512, 511, 0x80), "555555"),
        (payload[..256].to_vec(), "3c3333"),
        (payload[..512].to_vec(), "5959a5"),
        (vec![0xFF; 256], "ffffff"),
        (vec![0; 512], "ffffff"),
    ] {
        let step = if data.len() == 256 { HammingStep::Bytes256 } else { HammingStep::Bytes512 };
        assert_eq!(Step::encode(&hamming(step), &data).ecc, hex(ecc), "{} bytes", data.len());
    }
}
