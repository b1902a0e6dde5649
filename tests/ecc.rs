//! The error-correcting codes: against what the Linux kernel wrote, against their definitions, and against every flip.
#![forbid(unsafe_code)]

#[path = "ecc/bch.rs"]
mod bch;
#[path = "ecc/hamming.rs"]
mod hamming;
#[path = "ecc/linux.rs"]
mod linux;
#[path = "ecc/reference.rs"]
mod reference;
#[path = "ecc/small_codes.rs"]
mod small_codes;

use nandimg::ecc::{Bch, BchParams, Code, Uncorrectable};
use nandimg::prng::SplitMix64;

fn bch(params: BchParams) -> Code {
    Code::Bch(Bch::new(params).unwrap_or_else(|error| panic!("{params:?}: {error}")))
}

/// A step and its ECC.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    data: Vec<u8>,
    ecc: Vec<u8>,
}

impl Step {
    fn encode(code: &Code, data: &[u8]) -> Self {
        let mut ecc = vec![0x5A; code.ecc_len()];
        code.encode(data, &mut ecc);
        Self { data: data.to_vec(), ecc }
    }

    fn random(code: &Code, rng: &mut SplitMix64) -> Self {
        let mut data = vec![0; code.max_data_len()];
        rng.fill(&mut data);
        Self::encode(code, &data)
    }

    fn correct(&mut self, code: &Code) -> Result<u32, Uncorrectable> {
        code.correct(&mut self.data, &mut self.ecc)
    }

    /// All bits of data and then of ECC, pad bits with them.
    fn bits(&self) -> usize {
        8 * (self.data.len() + self.ecc.len())
    }

    /// Flips a bit, counted in the bytes from the lowest up.
    fn flip(&mut self, bit: usize) {
        let of_data = self.data.len();
        let byte = if bit / 8 < of_data { &mut self.data[bit / 8] } else { &mut self.ecc[bit / 8 - of_data] };
        *byte ^= 1 << (bit % 8);
    }

    fn distance(&self, other: &Self) -> u32 {
        let pairs = self.data.iter().chain(&self.ecc).zip(other.data.iter().chain(&other.ecc));
        pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
    }
}

/// `count` different ones of `from`, which is left in another order.
fn choose<'a, T>(from: &'a mut [T], count: usize, rng: &mut SplitMix64) -> &'a [T] {
    for i in 0..count {
        let rest = (from.len() - i) as u64;
        from.swap(i, i + rng.below(rest) as usize);
    }
    &from[..count]
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}
