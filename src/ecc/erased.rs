//! Erased steps with flips, under codes of which an erased step is not a codeword.

/// Zero bits in `bytes`: the flips of what was erased.
#[must_use]
pub fn count_zero_bits(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let of_words: usize = words.iter().map(|word| u64::from_ne_bytes(*word).count_zeros() as usize).sum();
    of_words + rest.iter().map(|byte| byte.count_zeros() as usize).sum::<usize>()
}

/// Whether a step looks erased: the flips of data and ECC together, if they are not more than `threshold`, which is the
/// strength of its code as a rule.
///
/// The ECC counts, too, for else data of almost nothing but ones would look erased (`nand_check_erased_ecc_chunk` in Linux).
/// Whoever takes the step for erased fills both with FF.
#[must_use]
pub fn is_erased(data: &[u8], ecc: &[u8], threshold: u32) -> Option<u32> {
    let mut zeros = 0;
    // Data that is not erased shows in its first bytes.
    for chunk in data.chunks(64).chain(ecc.chunks(64)) {
        zeros += count_zero_bits(chunk) as u32;
        if zeros > threshold {
            return None;
        }
    }
    Some(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_over_words_and_the_rest() {
        assert_eq!(count_zero_bits(&[]), 0);
        assert_eq!(count_zero_bits(&[0xFF; 23]), 0);
        assert_eq!(count_zero_bits(&[0; 23]), 184);
        let mut bytes = [0xFF; 23];
        (bytes[0], bytes[9], bytes[22]) = (0xFE, 0x7F, 0xEE);
        assert_eq!(count_zero_bits(&bytes), 4);
    }

    #[test]
    fn flips_of_data_and_ecc_count_together_up_to_the_threshold() {
        let (mut data, mut ecc) = ([0xFF; 200], [0xFF; 7]);
        assert_eq!(is_erased(&data, &ecc, 0), Some(0));
        (data[0], data[199], ecc[6]) = (0xFE, 0x3F, 0xFB);
        assert_eq!(is_erased(&data, &ecc, 4), Some(4));
        assert_eq!(is_erased(&data, &ecc, 3), None);
        // All-ones data that was written has an ECC of its own.
        assert_eq!(is_erased(&[0xFF; 200], &[0; 7], 4), None);
    }
}
