//! The Hamming code against its definition and against flips of one bit and two.

use nandimg::ecc::{Code, Hamming, HammingOrder, HammingStep, Uncorrectable};
use nandimg::prng::SplitMix64;

use crate::Step;

const STEPS: [HammingStep; 2] = [HammingStep::Bytes256, HammingStep::Bytes512];
const ORDERS: [HammingOrder; 2] = [HammingOrder::Linux, HammingOrder::SmartMedia];

fn codes() -> impl Iterator<Item = Code> {
    STEPS.into_iter().flat_map(|step| ORDERS.map(|order| Code::Hamming(Hamming::new(step, order))))
}

/// Pad bits of the ECC as [`Step`] counts them: the two lowest of the last byte with steps of 256 bytes.
fn pad_bits(step: &Step) -> Vec<usize> {
    let last = 8 * (step.data.len() + 2);
    if step.data.len() == 256 { vec![last, last + 1] } else { Vec::new() }
}

/// The ECC by its definition: bytes of the parities by byte-address bits 0 to 3, 4 to 7, and by bit-address bits.
fn parities(data: &[u8]) -> [u8; 3] {
    let inverted_parity = |of: &dyn Fn(usize, usize) -> bool| {
        let ones = (0..8 * data.len()).filter(|i| data[i / 8] >> (i % 8) & 1 == 1 && of(i / 8, i % 8));
        (ones.count() + 1) as u8 & 1
    };
    let by_byte = |bit: usize, is: usize| inverted_parity(&|byte, _| byte >> bit & 1 == is);
    let by_bit = |bit: usize, is: usize| inverted_parity(&|_, at| at >> bit & 1 == is);
    let four = |first: usize| (0..8).map(|i| by_byte(first + i / 2, i % 2) << i).sum::<u8>();
    let ninth = if data.len() == 512 { by_byte(8, 1) << 1 | by_byte(8, 0) } else { 0b11 };
    [four(0), four(4), (0..6).map(|i| by_bit(i / 2, i % 2) << (i + 2)).sum::<u8>() | ninth]
}

#[test]
fn the_ecc_is_the_parities_in_either_order() {
    let mut rng = SplitMix64::new(256);
    for step in STEPS {
        let [linux, smart_media] = ORDERS.map(|order| Code::Hamming(Hamming::new(step, order)));
        for _ in 0..20 {
            let Step { data, ecc } = Step::random(&linux, &mut rng);
            let [low, high, bits] = parities(&data);
            assert_eq!(ecc, [high, low, bits]);
            assert_eq!(Step::encode(&smart_media, &data).ecc, [low, high, bits]);
        }
    }
}

#[test]
fn one_flip_anywhere_is_corrected() {
    for (seed, code) in codes().enumerate() {
        let step = Step::random(&code, &mut SplitMix64::new(seed as u64));
        assert_eq!(code.ecc_bits(), 24 - pad_bits(&step).len());
        assert_eq!(step.clone().correct(&code), Ok(0));
        for bit in 0..step.bits() {
            let mut read = step.clone();
            read.flip(bit);
            let flips = u32::from(!pad_bits(&step).contains(&bit));
            assert_eq!((read.correct(&code), &read), (Ok(flips), &step), "{code:?}, bit {bit}");
        }
    }
}

#[test]
fn two_flips_anywhere_are_detected() {
    for (seed, code) in codes().enumerate() {
        let step = Step::random(&code, &mut SplitMix64::new(seed as u64));
        let bits: Vec<usize> = (0..step.bits()).filter(|bit| !pad_bits(&step).contains(bit)).collect();
        let mut read = step.clone();
        for (i, first) in bits.iter().enumerate() {
            read.flip(*first);
            for second in &bits[..i] {
                read.flip(*second);
                assert_eq!(read.correct(&code), Err(Uncorrectable), "{code:?}, bits {first} and {second}");
                read.flip(*second);
            }
            read.flip(*first);
        }
        assert_eq!(read, step, "{code:?}: nothing is changed");
    }
}

#[test]
fn flips_of_pad_bits_do_not_stand_in_the_way() {
    for code in codes() {
        let step = Step::random(&code, &mut SplitMix64::new(22));
        for bit in (0..step.bits()).filter(|bit| !pad_bits(&step).contains(bit)) {
            let mut read = step.clone();
            read.flip(bit);
            pad_bits(&step).iter().for_each(|pad| read.flip(*pad));
            assert_eq!((read.correct(&code), &read), (Ok(1), &step), "{code:?}, bit {bit}");
        }
    }
}
