//! Speed of the error-correcting codes: all steps of a buffer encoded, found clean, and corrected.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use nandimg::ecc::{Bch, BchParams, Code, Hamming, HammingOrder, HammingStep};
use nandimg::prng::SplitMix64;

/// Small, for many short passes: the best of them was not interrupted.
const BUFFER: usize = 64 << 10;

/// A code that is measured, on steps of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    Hamming256,
    Bch { t: u32, step: usize },
}

impl Measured {
    pub(crate) const ALL: [Self; 5] = [
        Self::Hamming256,
        Self::Bch { t: 4, step: 512 },
        Self::Bch { t: 8, step: 512 },
        Self::Bch { t: 16, step: 512 },
        Self::Bch { t: 40, step: 1024 },
    ];

    fn code(self) -> Code {
        match self {
            Self::Hamming256 => Code::Hamming(Hamming::new(HammingStep::Bytes256, HammingOrder::Linux)),
            Self::Bch { t, step } => Code::Bch(Bch::new(BchParams::linux(step, t)).expect("a code")),
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hamming256 => write!(f, "Hamming, 256 bytes"),
            Self::Bch { t, step } => write!(f, "BCH t = {t}, {step} bytes"),
        }
    }
}

/// MiB of data a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    pub(crate) code: Measured,
    /// Of the CRC-32 of the same steps, at the same time.
    pub(crate) crc: f64,
    pub(crate) encode: f64,
    pub(crate) clean: f64,
    pub(crate) one_flip: f64,
    /// With as many flips in every step as the code corrects.
    pub(crate) all_flips: f64,
}

/// The best of some passes.
fn best(passes: u32, mut pass: impl FnMut()) -> f64 {
    let mut seconds = || {
        let start = Instant::now();
        pass();
        start.elapsed().as_secs_f64()
    };
    let least = (0..passes).map(|_| seconds()).fold(f64::INFINITY, f64::min);
    BUFFER as f64 / (1 << 20) as f64 / least
}

/// Flips `flips` bits of the data of every step, and has them corrected.
fn correct(code: &Code, data: &mut [u8], eccs: &mut [u8], flips: u32, rng: &mut SplitMix64) {
    let len = code.max_data_len();
    // One in each stretch of the data: no bit twice.
    let stretch = (8 * len / code.strength() as usize) as u64;
    for (step, ecc) in data.chunks_mut(len).zip(eccs.chunks_mut(code.ecc_len())) {
        for i in 0..u64::from(flips) {
            let bit = (i * stretch + rng.below(stretch)) as usize;
            step[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(code.correct(step, ecc), Ok(flips));
    }
}

pub(crate) fn measure(measured: Measured, quick: bool) -> Speed {
    let code = measured.code();
    let (mut rng, passes) = (SplitMix64::new(1), if quick { 50 } else { 1000 });
    let mut data = vec![0; BUFFER];
    rng.fill(&mut data);
    let mut eccs = vec![0; BUFFER / code.max_data_len() * code.ecc_len()];
    let crc = best(passes, || {
        for step in data.chunks(code.max_data_len()) {
            black_box(crc32fast::hash(step));
        }
    });
    let encode = best(passes, || {
        for (step, ecc) in data.chunks(code.max_data_len()).zip(eccs.chunks_mut(code.ecc_len())) {
            code.encode(step, ecc);
        }
    });
    let mut corrected = |flips| best(passes, || correct(&code, &mut data, &mut eccs, flips, &mut rng));
    let (clean, one_flip, all_flips) = (corrected(0), corrected(1), corrected(code.strength()));
    Speed { code: measured, crc, encode, clean, one_flip, all_flips }
}
