//! Strings of bits in words, as long as the longest parity: the first bit highest in the first word, 0 after the end.

/// Words that hold the longest parity, m = 15 and t = 64.
pub(super) const MAX_WORDS: usize = 15;

pub(super) type Words = [u64; MAX_WORDS];

/// `bits` ones.
pub(super) fn ones(bits: usize) -> Words {
    core::array::from_fn(|i| match bits.saturating_sub(64 * i) {
        0 => 0,
        rest @ 1..64 => !(u64::MAX >> rest),
        _ => u64::MAX,
    })
}

pub(super) fn xor(a: &Words, b: &Words) -> Words {
    core::array::from_fn(|i| a[i] ^ b[i])
}

pub(super) fn and(a: &Words, b: &Words) -> Words {
    core::array::from_fn(|i| a[i] & b[i])
}

/// All bits later by `by`, below 8; what leaves the last word is lost.
pub(super) fn later(words: &Words, by: u32) -> Words {
    let before = |i: usize| if i == 0 { 0 } else { words[i - 1] };
    core::array::from_fn(|i| words[i] >> by | (before(i) << 1) << (63 - by))
}

/// All bits earlier by `by`, below 8; what leaves the first word is lost.
pub(super) fn earlier(words: &Words, by: u32) -> Words {
    let after = |i: usize| words.get(i + 1).copied().unwrap_or(0);
    core::array::from_fn(|i| words[i] << by | (after(i) >> 1) >> (63 - by))
}

/// Each byte with its bits in the other order.
pub(super) fn reverse_bytes(word: u64) -> u64 {
    word.reverse_bits().swap_bytes()
}

/// The bits of `bytes`, no more than there is room for.
pub(super) fn load(bytes: &[u8]) -> Words {
    let mut words = [0; MAX_WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_be_bytes(eight);
    }
    words
}

/// As many bits as `bytes` takes.
pub(super) fn store(words: &Words, bytes: &mut [u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn bits_move_between_words() {
        let bytes: Vec<u8> = (1..=120).collect();
        let words = load(&bytes);
        for by in 0..8 {
            // Of three bytes in a row, each makes its share.
            let moved = |shift: fn(u32, u32) -> u32| -> Vec<u8> {
                let byte = |i: usize| u32::from(*bytes.get(i.wrapping_sub(1)).unwrap_or(&0));
                (0..120)
                    .map(|i| (shift(byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2), by) >> 8) as u8)
                    .collect()
            };
            assert_eq!(later(&words, by), load(&moved(|three, by| three >> by)));
            assert_eq!(earlier(&words, by), load(&moved(|three, by| three << by)));
        }
    }

    #[test]
    fn bytes_are_loaded_and_stored_from_the_left() {
        for len in [0, 1, 7, 8, 9, 26, 120] {
            let bytes: Vec<u8> = (0..len).map(|i| 0xC0 ^ i as u8).collect();
            let words = load(&bytes);
            assert_eq!(words[0] >> 56, bytes.first().map_or(0, |byte| u64::from(*byte)));
            let mut stored = vec![0; len];
            store(&words, &mut stored);
            assert_eq!(stored, bytes);
            assert_eq!(ones(8 * len), load(&vec![0xFF; len]));
        }
        assert_eq!(ones(68)[..3], [u64::MAX, 0xF << 60, 0]);
        assert_eq!(reverse_bytes(0x0180_0000_0000_00C4), 0x8001_0000_0000_0023);
    }
}
