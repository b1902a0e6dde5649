//! BCH codes by their definition: bit by bit, without tables, and slow.

use std::collections::HashSet;

use nandimg::ecc::{Align, BchParams};

use crate::Step;

/// The product of two elements of the field of `polynomial`, by shifts.
fn multiply(params: &BchParams, a: u32, b: u32) -> u32 {
    let (mut product, mut shifted) = (0, a);
    for bit in 0..params.m {
        if b >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted <<= 1;
        if shifted >> params.m & 1 == 1 {
            shifted ^= params.polynomial;
        }
    }
    product
}

/// α to `exponent`.
fn power(params: &BchParams, exponent: u32) -> u32 {
    (0..exponent).fold(1, |element, _| multiply(params, element, 2))
}

/// Bits of parity: how many powers of α are conjugates of α, α², ... α^2t.
pub(crate) fn ecc_bits(params: &BchParams) -> usize {
    let order = (1 << params.m) - 1;
    let all = (1..=2 * params.t).flat_map(|i| (0..params.m).map(move |square| (i << square) % order));
    all.collect::<HashSet<_>>().len()
}

/// The bits of a codeword from the highest degree down, as [`Step`] counts them.
pub(crate) fn places(params: &BchParams, data_len: usize) -> Vec<usize> {
    let bits = ecc_bits(params);
    let pad = bits.next_multiple_of(8) - bits;
    let before = if params.align == Align::Right { pad } else { 0 };
    let of_ecc = 8 * data_len + before..8 * data_len + before + bits;
    let in_order = (0..8 * data_len).chain(of_ecc);
    in_order.map(|bit| if params.reverse_bits { bit } else { bit ^ 7 }).collect()
}

/// Whether the step, stored without a mask, is a codeword: its polynomial is 0 at α, α², ... α^2t.
pub(crate) fn is_codeword(params: &BchParams, step: &Step) -> bool {
    let bytes: Vec<u8> = step.data.iter().chain(&step.ecc).copied().collect();
    let bits = places(params, step.data.len()).into_iter().map(|bit| bytes[bit / 8] >> (bit % 8) & 1);
    let bits: Vec<u32> = bits.map(u32::from).collect();
    (1..=2 * params.t).all(|i| {
        let point = power(params, i);
        bits.iter().fold(0, |value, bit| multiply(params, value, point) ^ bit) == 0
    })
}
