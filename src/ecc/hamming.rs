//! The Hamming code of Linux's software ECC and of SmartMedia: one flip in 256 or 512 bytes is corrected, two are detected.
//!
//! A data bit's *address* is 8 * byte + bit. For each address bit the ECC holds two parities, inverted: of the data bits whose
//! address has a 1 there, and of those whose address has a 0. A flip toggles one of the two at every address bit, so the
//! toggled parities of ones spell its address; a flip in the ECC toggles only itself.
//!
//! The parities are taken over the XOR of whole words. No more is known here than one step.

use super::Uncorrectable;

/// Bytes of the ECC.
const ECC_LEN: usize = 3;

/// Data bytes that one ECC protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HammingStep {
    /// 256 bytes; two bits of the ECC are pad bits, and 1.
    Bytes256,
    /// 512 bytes.
    Bytes512,
}

impl HammingStep {
    /// Data bytes a step.
    #[allow(clippy::len_without_is_empty, reason = "the length of no collection")]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Bytes256 => 256,
            Self::Bytes512 => 512,
        }
    }
}

/// Which parities come first on flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HammingOrder {
    /// Those of byte-address bits 4 to 7, then 0 to 3: the default of Linux.
    Linux,
    /// Those of byte-address bits 0 to 3, then 4 to 7: SmartMedia, and Linux with `CONFIG_MTD_NAND_ECC_SW_HAMMING_SMC`.
    SmartMedia,
}

/// The Hamming code of steps of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hamming {
    step: HammingStep,
    order: HammingOrder,
}

/// The parities of a step, by address bit: 0 to 7 those of the byte address, 8 its ninth bit (in steps of 512 bytes), 9 to 11
/// those of the bit within the byte. This is the order in the ECC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parities {
    ones: u16,
    zeros: u16,
}

impl Hamming {
    /// The code for `step`, its bytes in `order`.
    #[must_use]
    pub fn new(step: HammingStep, order: HammingOrder) -> Self {
        Self { step, order }
    }

    /// The length of a step.
    #[must_use]
    pub fn step(&self) -> HammingStep {
        self.step
    }

    /// Bits of the ECC that are of the code: 22 or 24.
    #[must_use]
    pub fn ecc_bits(&self) -> usize {
        2 * self.address_bits().count_ones() as usize
    }

    /// Writes the three bytes of ECC of `data`.
    ///
    /// # Panics
    /// Where `data` is not one step, or `ecc` not three bytes.
    pub fn encode(&self, data: &[u8], ecc: &mut [u8]) {
        ecc.copy_from_slice(&self.pack(self.parities(data)));
    }

    /// Corrects one flip in data or ECC, and tells how many there were.
    ///
    /// # Errors
    /// Where there are two flips or more, and nothing is changed; three or more may look like one.
    ///
    /// # Panics
    /// As [`Hamming::encode`].
    pub fn correct(&self, data: &mut [u8], ecc: &mut [u8]) -> Result<u32, Uncorrectable> {
        assert_eq!(ecc.len(), ECC_LEN, "the ECC is {ECC_LEN} bytes");
        let computed = self.parities(data);
        let stored = self.unpack([ecc[0], ecc[1], ecc[2]]);
        let (ones, zeros) = (computed.ones ^ stored.ones, computed.zeros ^ stored.zeros);
        let toggled = ones.count_ones() + zeros.count_ones();
        if toggled > 0 && ones ^ zeros == self.address_bits() {
            data[usize::from(ones & 0x1FF)] ^= 1 << (ones >> 9);
            ecc.copy_from_slice(&self.pack(stored));
        } else if toggled <= 1 {
            ecc.copy_from_slice(&self.pack(computed));
            return Ok(toggled);
        } else {
            return Err(Uncorrectable);
        }
        Ok(1)
    }

    /// The address bits of a step, in the order of [`Parities`].
    fn address_bits(&self) -> u16 {
        match self.step {
            HammingStep::Bytes256 => 0xEFF,
            HammingStep::Bytes512 => 0xFFF,
        }
    }

    fn parities(&self, data: &[u8]) -> Parities {
        assert_eq!(data.len(), self.step.len(), "the data is one step");
        let mut words = [0; 64];
        for (word, bytes) in words.iter_mut().zip(data.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // Half is folded onto half; the upper one is what has a 1 at the highest address bit left.
        let mut ones = 0;
        for (bit, half) in [(8, 32), (7, 16), (6, 8), (5, 4), (4, 2), (3, 1)] {
            let (lower, upper) = words.split_at_mut(half);
            let mut sum = 0;
            for (low, high) in lower.iter_mut().zip(upper) {
                sum ^= *high;
                *low ^= *high;
            }
            ones |= parity(sum) << bit;
        }
        let sum = words[0];
        for (bit, mask) in [
            (0, 0xFF00_FF00_FF00_FF00),
            (1, 0xFFFF_0000_FFFF_0000),
            (2, 0xFFFF_FFFF_0000_0000),
            (9, 0xAAAA_AAAA_AAAA_AAAA),
            (10, 0xCCCC_CCCC_CCCC_CCCC),
            (11, 0xF0F0_F0F0_F0F0_F0F0),
        ] {
            ones |= parity(sum & mask) << bit;
        }
        // Ones and zeros of an address bit together are all the data.
        let all = if parity(sum) == 1 { self.address_bits() } else { 0 };
        Parities { ones, zeros: ones ^ all }
    }

    /// The ECC of `parities`, pad bits 1.
    fn pack(&self, parities: Parities) -> [u8; ECC_LEN] {
        let [low, high, bits, _] = (!(spread(parities.ones) << 1 | spread(parities.zeros))).to_le_bytes();
        match self.order {
            HammingOrder::Linux => [high, low, bits],
            HammingOrder::SmartMedia => [low, high, bits],
        }
    }

    /// The parities in `ecc`, pad bits left out.
    fn unpack(&self, ecc: [u8; ECC_LEN]) -> Parities {
        let [first, second, bits] = ecc;
        let (low, high) = match self.order {
            HammingOrder::Linux => (second, first),
            HammingOrder::SmartMedia => (first, second),
        };
        let stored = !u32::from_le_bytes([low, high, bits, 0]);
        Parities {
            ones: gather(stored >> 1) & self.address_bits(),
            zeros: gather(stored) & self.address_bits(),
        }
    }
}

fn parity(word: u64) -> u16 {
    (word.count_ones() & 1) as u16
}

/// Bit i of `bits` at bit 2i.
fn spread(bits: u16) -> u32 {
    let mut x = u32::from(bits);
    x = (x | x << 8) & 0x00FF_00FF;
    x = (x | x << 4) & 0x0F0F_0F0F;
    x = (x | x << 2) & 0x3333_3333;
    (x | x << 1) & 0x5555_5555
}

/// Bit 2i of `bits` at bit i.
fn gather(bits: u32) -> u16 {
    let mut x = bits & 0x5555_5555;
    x = (x | x >> 1) & 0x3333_3333;
    x = (x | x >> 2) & 0x0F0F_0F0F;
    x = (x | x >> 4) & 0x00FF_00FF;
    (x | x >> 8) as u16
}
