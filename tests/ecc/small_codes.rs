//! Small codes, where every difference between parities is tried: what is corrected is what lies within t flips, and no more.

use std::collections::HashMap;

use nandimg::ecc::{Align, BchParams, Code, Uncorrectable, default_polynomial};
use nandimg::prng::SplitMix64;

use crate::{Step, bch, reference};

/// The difference of the parities that each set of up to t flips makes.
fn table(code: &Code, step: &Step, places: &[usize], t: u32) -> HashMap<Vec<u8>, Vec<usize>> {
    let difference = |step: &Step| -> Vec<u8> {
        Step::encode(code, &step.data).ecc.iter().zip(&step.ecc).map(|(a, b)| a ^ b).collect()
    };
    let mut table = HashMap::from([(difference(step), Vec::new())]);
    let mut last = vec![(Vec::<usize>::new(), 0)];
    for _ in 0..t {
        let more = last.iter().flat_map(|(flips, next)| {
            (*next..places.len()).map(|i| ([&flips[..], &[places[i]]].concat(), i + 1))
        });
        last = more.collect();
        for (flips, _) in &last {
            let mut read = step.clone();
            flips.iter().for_each(|bit| read.flip(*bit));
            assert!(table.insert(difference(&read), flips.clone()).is_none(), "t flips are told apart");
        }
    }
    table
}

fn every_difference(m: u32, t: u32, data_len: usize, every: usize) {
    let params = BchParams {
        m,
        t,
        data_len,
        polynomial: default_polynomial(m).expect("a field"),
        erased_mask: false,
        reverse_bits: false,
        align: Align::Right,
    };
    let code = bch(params);
    let step = Step::random(&code, &mut SplitMix64::new(7));
    let table = table(&code, &step, &reference::places(&params, data_len), t);
    let mut corrected = 0;
    for difference in (0..1usize << code.ecc_bits()).step_by(every) {
        let difference = &difference.to_be_bytes()[size_of::<usize>() - code.ecc_len()..];
        let mut read = step.clone();
        read.ecc.iter_mut().zip(difference).for_each(|(byte, flips)| *byte ^= flips);
        let mut expected = read.clone();
        let flips = table.get(difference);
        flips.into_iter().flatten().for_each(|bit| expected.flip(*bit));
        let outcome = flips.map(|flips| flips.len() as u32).ok_or(Uncorrectable);
        assert_eq!(read.correct(&code), outcome, "m = {m}, t = {t}: {difference:02x?}");
        assert_eq!(read, expected, "m = {m}, t = {t}: {difference:02x?}");
        corrected += u32::from(flips.is_some());
    }
    if every == 1 {
        assert_eq!(corrected as usize, table.len());
    }
}

#[test]
fn strength_one() {
    // A Hamming code without a bit to spare, and shortened ones.
    every_difference(5, 1, 3, 1);
    for m in 5..=14 {
        every_difference(m, 1, (1 << (m - 4)) - 1, 1);
    }
}

#[test]
fn strength_two_by_quadratic_equations() {
    for (m, len) in [(5, 2), (6, 6), (6, 3), (7, 14), (7, 9), (8, 29), (8, 5)] {
        every_difference(m, 2, len, 1);
    }
}

#[test]
fn strength_three_and_more_by_traces() {
    // 15 parity bits and 16 of data are all that GF(32) has.
    every_difference(5, 3, 2, 1);
    every_difference(6, 3, 5, 1);
    every_difference(6, 3, 2, 1);
    every_difference(5, 5, 1, 9);
    every_difference(6, 4, 2, 101);
}
