//! BCH codes against their definition, and against flips up to t and beyond.

use nandimg::ecc::{Align, Bch, BchParams, Code, CodeError, MAX_STRENGTH, Uncorrectable, default_polynomial};
use nandimg::prng::SplitMix64;

use crate::{Step, bch, choose, reference};

fn plain(m: u32, t: u32, data_len: usize) -> BchParams {
    BchParams {
        m,
        t,
        data_len,
        polynomial: default_polynomial(m).expect("a field"),
        erased_mask: false,
        reverse_bits: false,
        align: Align::Left,
    }
}

/// The same polynomial read from the other end, which is primitive, too.
fn reciprocal(m: u32, polynomial: u32) -> u32 {
    polynomial.reverse_bits() >> (31 - m)
}

/// The longest step that leaves room for the parity, in bytes.
fn longest(m: u32, t: u32) -> usize {
    ((1 << m) - 1usize).saturating_sub(reference::ecc_bits(&plain(m, t, 0))) / 8
}

/// Every way to store a code.
fn forms(params: BchParams) -> impl Iterator<Item = BchParams> {
    [Align::Left, Align::Right].into_iter().flat_map(move |align| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(erased_mask, reverse_bits)| BchParams { erased_mask, reverse_bits, align, ..params })
    })
}

#[test]
fn codewords_are_those_of_the_definition() {
    let mut rng = SplitMix64::new(15);
    let mut codes = 0;
    for m in 5..=15 {
        for t in [1, 2, 3, 4, 7, 12, 20, 33, 40, 64] {
            let len = longest(m, t).min(40);
            if len == 0 {
                continue;
            }
            let default = default_polynomial(m).expect("a field");
            let others: &[u32] = match m {
                13 => &[0x25AF],
                14 => &[0x4443],
                _ => &[],
            };
            for polynomial in [default, reciprocal(m, default)].iter().chain(others) {
                let data_len = len - rng.below(len.min(8) as u64) as usize;
                let params = BchParams { polynomial: *polynomial, ..plain(m, t, data_len) };
                let params = BchParams { reverse_bits: rng.below(2) == 1, ..params };
                let align = if rng.below(2) == 1 { Align::Right } else { Align::Left };
                let params = BchParams { align, ..params };
                let code = bch(params);
                assert_eq!(code.ecc_bits(), reference::ecc_bits(&params), "{params:?}");
                assert_eq!(code.ecc_len(), code.ecc_bits().div_ceil(8), "{params:?}");
                let step = Step::random(&code, &mut rng);
                assert!(reference::is_codeword(&params, &step), "{params:?}");
                let mut other = step;
                other.flip(reference::places(&params, data_len)[3]);
                assert!(!reference::is_codeword(&params, &other), "{params:?}");
                codes += 1;
            }
        }
    }
    assert!(codes > 150, "{codes} codes");
}

#[test]
fn a_step_of_full_length_and_shorter_ones_are_codewords() {
    for (m, t) in [(9, 5), (13, 4), (15, 3)] {
        let params = plain(m, t, longest(m, t));
        let code = bch(params);
        let mut rng = SplitMix64::new(9);
        let full = Step::random(&code, &mut rng);
        assert!(reference::is_codeword(&params, &full), "m = {m}");
        for len in [0, 1, 7, 8, 9, 31] {
            let step = Step::encode(&code, &full.data[..len]);
            assert!(reference::is_codeword(&params, &step), "m = {m}, {len} bytes");
            // Bytes 00 before it make no difference.
            let longer = [&[0; 16][..], &full.data[..len]].concat();
            assert_eq!(Step::encode(&code, &longer).ecc, step.ecc, "m = {m}, {len} bytes");
        }
    }
}

#[test]
fn forms_of_a_code_differ_in_how_they_are_stored() {
    let mut rng = SplitMix64::new(4);
    // 52, 8 * 13, 14 * 3 and 21 bits.
    for params in [plain(13, 4, 512), plain(13, 8, 512), plain(14, 3, 1024), plain(7, 3, 13)] {
        let bits = reference::ecc_bits(&params);
        let pad = 8 * bits.div_ceil(8) - bits;
        let mut data = vec![0; params.data_len];
        rng.fill(&mut data);
        let parity_of = |data: &[u8]| {
            let ecc = Step::encode(&bch(params), data).ecc;
            ecc.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte)) >> pad
        };
        for form in forms(params) {
            let reversed = |bytes: &[u8]| -> Vec<u8> {
                bytes.iter().map(|b| if form.reverse_bits { b.reverse_bits() } else { *b }).collect()
            };
            let mask =
                if form.erased_mask { parity_of(&vec![0xFF; data.len()]) ^ ((1 << bits) - 1) } else { 0 };
            let pads = if form.erased_mask { (1 << pad) - 1 } else { 0 };
            let parity = parity_of(&reversed(&data)) ^ mask;
            let stored = match form.align {
                Align::Left => parity << pad | pads,
                Align::Right => pads << bits | parity,
            };
            let expected = reversed(&stored.to_be_bytes()[16 - bits.div_ceil(8)..]);
            assert_eq!(Step::encode(&bch(form), &data).ecc, expected, "{form:?}");
        }
    }
}

/// All flips of one bit, pad bits among them.
fn every_flip_of_one_bit(params: BchParams, rng: &mut SplitMix64) {
    let code = bch(params);
    let step = Step::random(&code, rng);
    let places = reference::places(&params, params.data_len);
    let mut read = step.clone();
    assert_eq!((read.correct(&code), &read), (Ok(0), &step), "{params:?}");
    for bit in places {
        read.flip(bit);
        assert_eq!(read.correct(&code), Ok(1), "{params:?}, bit {bit}");
        assert!(read == step, "{params:?}, bit {bit}");
    }
}

#[test]
fn one_flip_anywhere_is_corrected_whatever_the_strength() {
    let mut rng = SplitMix64::new(1);
    for t in 1..=40 {
        every_flip_of_one_bit(BchParams::linux(512, t), &mut rng);
        every_flip_of_one_bit(BchParams::linux(1024, t), &mut rng);
    }
    every_flip_of_one_bit(BchParams::linux(1024, MAX_STRENGTH), &mut rng);
    every_flip_of_one_bit(plain(15, MAX_STRENGTH, longest(15, MAX_STRENGTH)), &mut rng);
}

#[test]
fn one_flip_anywhere_is_corrected_in_every_form_and_field() {
    let mut rng = SplitMix64::new(2);
    for m in 5..=15 {
        for t in [1, 2, 3, 5, 9].into_iter().filter(|t| longest(m, *t) > 0) {
            for form in forms(plain(m, t, longest(m, t).min(50))) {
                every_flip_of_one_bit(form, &mut rng);
            }
        }
    }
}

#[test]
fn pad_bits_are_neither_counted_nor_kept() {
    let mut rng = SplitMix64::new(3);
    for params in forms(plain(13, 4, 512)).chain(forms(plain(13, 5, 300))) {
        let code = bch(params);
        let step = Step::random(&code, &mut rng);
        let places = reference::places(&params, params.data_len);
        let pads: Vec<usize> = (0..step.bits()).filter(|bit| !places.contains(bit)).collect();
        assert_eq!(pads.len(), 8 * code.ecc_len() - code.ecc_bits());
        for flips in [0, 1, 3] {
            let mut read = step.clone();
            pads.iter().chain(&places[..flips]).for_each(|bit| read.flip(*bit));
            assert_eq!((read.correct(&code), &read), (Ok(flips as u32), &step), "{params:?}, {flips} flips");
        }
    }
}

/// Patterns of 2 to t flips, and of more: what comes of those is an error that changes nothing, or another codeword.
fn flips_up_to_the_strength_and_beyond(params: BchParams, each: usize, rng: &mut SplitMix64) {
    let code = bch(params);
    let mut places = reference::places(&params, params.data_len);
    let t = params.t as usize;
    let beyond = [t + 1, t + 2, 2 * t, 2 * t + 1, 3 * t + 5].into_iter().filter(|flips| *flips > t);
    for flips in (2..=t).chain(beyond) {
        for _ in 0..each {
            let step = Step::random(&code, rng);
            let mut read = step.clone();
            choose(&mut places, flips, rng).iter().for_each(|bit| read.flip(*bit));
            let before = read.clone();
            let corrected = read.correct(&code);
            if flips <= t {
                assert_eq!(corrected, Ok(flips as u32), "{params:?}");
                assert!(read == step, "{params:?}, {flips} flips");
            } else if let Ok(corrected) = corrected {
                assert!(corrected <= params.t && read.distance(&before) == corrected, "{params:?}");
                assert!(read == Step::encode(&code, &read.data), "{params:?}: no codeword");
            } else {
                assert!(read == before, "{params:?}, {flips} flips: changed and given up");
            }
        }
    }
}

#[test]
fn flips_up_to_t_are_corrected() {
    let mut rng = SplitMix64::new(40);
    for t in 1..=40 {
        flips_up_to_the_strength_and_beyond(BchParams::linux(512, t), 25, &mut rng);
        flips_up_to_the_strength_and_beyond(BchParams::linux(1024, t), 25, &mut rng);
    }
    for t in 41..=MAX_STRENGTH {
        flips_up_to_the_strength_and_beyond(BchParams::linux(1024, t), 2, &mut rng);
    }
}

#[test]
fn flips_up_to_t_are_corrected_in_every_form_and_field() {
    let mut rng = SplitMix64::new(41);
    for m in 5..=15 {
        for t in [1, 2, 3, 4, 6, 10, 17, 40].into_iter().filter(|t| longest(m, *t) > 0) {
            // In the smallest fields, t of the highest codes is more than half of all bits.
            let params = plain(m, t, longest(m, t).min(64));
            if reference::places(&params, params.data_len).len() < 3 * t as usize + 5 {
                continue;
            }
            for form in forms(params) {
                flips_up_to_the_strength_and_beyond(form, 10, &mut rng);
            }
        }
    }
}

/// How often t + 1 flips look like t or fewer. A syndrome of mt bits stands for t flips among n places in about n^t / t! of
/// 2^mt cases, and no code can know.
#[test]
fn miscorrections_are_as_rare_as_they_must_be() {
    const PATTERNS: u32 = 20_000;
    let mut rng = SplitMix64::new(6);
    for (len, t) in [(512, 1), (512, 2), (512, 3), (512, 4), (512, 8), (1024, 2), (1024, 8), (1024, 16)] {
        let params = BchParams::linux(len, t);
        let code = bch(params);
        let mut places = reference::places(&params, len);
        let step = Step::encode(&code, &vec![0xA5; len]);
        let mut wrong = 0;
        for _ in 0..PATTERNS {
            let flips = choose(&mut places, t as usize + 1, &mut rng);
            let mut read = step.clone();
            flips.iter().for_each(|bit| read.flip(*bit));
            wrong += u32::from(read.correct(&code).is_ok());
        }
        let share = places.len() as f64 / f64::from(1 << params.m);
        let expected = (1..=t).fold(f64::from(PATTERNS), |rate, i| rate * share / f64::from(i));
        println!("{len} bytes, t = {t}: {wrong} of {PATTERNS} miscorrected, {expected:.3} expected");
        assert!((f64::from(wrong) - expected).abs() <= 0.05 * expected + 4.0 * expected.sqrt(), "t = {t}");
    }
}

#[test]
fn whatever_the_bytes_are_there_is_an_answer() {
    let mut rng = SplitMix64::new(8);
    for (m, t) in [(5, 3), (8, 9), (10, 20), (13, 1), (13, 4), (13, 40), (14, 64), (15, 64)] {
        for form in forms(plain(m, t, longest(m, t).min(600))) {
            let code = bch(form);
            for _ in 0..40 {
                let mut read = Step { data: vec![0; form.data_len], ecc: vec![0; code.ecc_len()] };
                rng.fill(&mut read.data);
                rng.fill(&mut read.ecc);
                let before = read.clone();
                match read.correct(&code) {
                    Ok(flips) => assert!(flips <= t && read == Step::encode(&code, &read.data), "{form:?}"),
                    Err(Uncorrectable) => assert!(read == before, "{form:?}: changed and given up"),
                }
            }
        }
    }
}

#[test]
fn parameters_that_make_no_code_are_refused() {
    let refused = |params| Bch::new(params).expect_err("no code");
    for m in [0, 1, 4, 16, 32, u32::MAX] {
        assert_eq!(refused(BchParams { m, ..plain(13, 4, 512) }), CodeError::Field(m));
        assert_eq!(default_polynomial(m), None);
    }
    for t in [0, MAX_STRENGTH + 1, u32::MAX] {
        assert_eq!(refused(plain(13, t, 512)), CodeError::Strength(t));
    }
    // Not of the degree, without a constant term, a product, and irreducible without being primitive (AES).
    for (m, polynomial) in
        [(13, 0x402B), (13, 0x1B), (13, 0), (8, 0x11C), (5, 0x21), (8, 0x11B), (13, u32::MAX)]
    {
        let params = BchParams { polynomial, ..plain(m, 1, 8) };
        assert_eq!(refused(params), CodeError::Polynomial { polynomial, m });
    }
    for (m, t) in [(5, 1), (5, 3), (9, 20), (13, 4), (13, 40), (15, 64)] {
        let longest = longest(m, t);
        assert!(Bch::new(plain(m, t, longest)).is_ok(), "m = {m}, t = {t}");
        for data_len in [0, longest + 1, usize::MAX] {
            let error = refused(plain(m, t, data_len));
            assert!(matches!(error, CodeError::Length { data_len: len, .. } if len == data_len), "{error}");
        }
    }
    // The field has not even so many powers.
    assert!(matches!(refused(plain(5, 40, 1)), CodeError::Length { .. }));
    assert!(Bch::new(BchParams::linux(usize::MAX, 4)).is_err());
    assert!(Bch::new(BchParams::linux(0, 4)).is_err());
    assert_eq!(
        refused(plain(13, 4, 1024)).to_string(),
        "steps of 1024 bytes with 52 bits of parity: a codeword over GF(2^13) must have a byte of data at least and 8191 bits in all at most"
    );
}

#[test]
fn the_parameters_of_linux_follow_from_the_step() {
    for (len, m) in [(4, 6), (31, 8), (32, 9), (512, 13), (1023, 13), (1024, 14), (2048, 15)] {
        let params = BchParams::linux(len, 1);
        assert_eq!((params.m, Some(params.polynomial)), (m, default_polynomial(m)), "{len} bytes");
    }
    let code = Code::Bch(Bch::new(BchParams::linux(512, 4)).expect("a code"));
    assert_eq!((code.strength(), code.ecc_bits(), code.ecc_len(), code.max_data_len()), (4, 52, 7, 512));
}
