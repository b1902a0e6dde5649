//! Raw pages from one layout to another.
//!
//! Data is corrected on the way and gets the ECC of the layout it goes to. What else a page holds stays where it is, as far as
//! it has a place there: free bytes, the bad-block mark, bytes that a layout says nothing of. In a layout without ECC all spare
//! bytes are kept as they are.

use alloc::vec;
use alloc::vec::Vec;

use super::span::{Span, gather, scatter, total};
use super::{Layout, PageCodec, Step, Verdict};

/// Tried one after the other on the ECC of a page that must not be readable: one will do.
const SPOILERS: [u8; 6] = [0xFF, 0x55, 0x33, 0x0F, 0x71, 0xA6];

/// What became of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcoded {
    /// What was found in it.
    pub verdict: Verdict,
    /// It held bits, neither data nor ECC, that have no place in the other layout.
    pub dropped: bool,
}

/// From one layout to another, for pages with as much data.
#[derive(Clone, Debug)]
pub struct Transcoder {
    from: PageCodec,
    to: PageCodec,
    same: bool,
    /// The bits that stay where they are, by byte of the raw page.
    carried: Vec<u8>,
    /// The bits that have no place in the other layout, by byte of the raw page.
    homeless: Vec<u8>,
    data: Vec<u8>,
}

impl Transcoder {
    /// From `from` to `to`.
    ///
    /// # Panics
    /// When their pages have not as much data.
    #[must_use]
    pub fn new(from: &Layout, to: &Layout) -> Self {
        assert_eq!(from.page_size(), to.page_size(), "pages have as much data in both layouts");
        // ECC goes along where the other layout knows of none, and is taken from there.
        let room = neither_data_nor(to, !(to.ecc_less() && from.steps().is_empty()));
        let content = neither_data_nor(from, true);
        let kept = neither_data_nor(from, !to.steps().is_empty());
        let in_room = |bits: &[u8], there: fn(u8) -> u8| {
            let room = room.iter().copied().chain(core::iter::repeat(0));
            bits.iter().zip(room).map(|(bits, room)| bits & there(room)).collect::<Vec<_>>()
        };
        Self {
            same: from == to,
            carried: in_room(&kept, |room| room),
            homeless: in_room(&content, |room| !room),
            data: vec![0; from.page_size() as usize],
            from: PageCodec::new(from),
            to: PageCodec::new(to),
        }
    }

    /// Whether both layouts are the same: pages are then only corrected.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.same
    }

    /// Room for a raw page of either layout: the one it comes from, and the other.
    #[must_use]
    pub fn pages(&self) -> (Vec<u8>, Vec<u8>) {
        let room = |codec: &PageCodec| vec![0xFF; codec.layout().raw_page_size()];
        (room(&self.from), room(&self.to))
    }

    /// Whether pages are to have ECC that cannot be computed, and it is not there to be kept: they are left without.
    #[must_use]
    pub fn leaves_ecc_out(&self) -> bool {
        let carried = |span: &Span| {
            let mut bits = vec![0; self.to.layout().raw_page_size()];
            span.fill(&mut bits, true);
            let there = self.carried.iter().copied().chain(core::iter::repeat(0));
            bits.iter().zip(there).all(|(bits, there)| bits & !there == 0)
        };
        !self.same
            && self.to.layout().has_unknown_ecc()
            && !self.to.steps().iter().flat_map(Step::ecc).all(carried)
    }

    /// Correct `raw` in place, and put what it holds into `out`, as the other layout has it.
    ///
    /// A page that cannot be corrected goes over as it is. Where it would get ECC, it gets some that does not match, so that
    /// nobody takes it for good.
    ///
    /// # Panics
    /// When `raw` or `out` is not a raw page of its layout.
    pub fn page(&mut self, raw: &mut [u8], out: &mut [u8]) -> Transcoded {
        let verdict = self.from.decode(raw);
        if self.same {
            out.copy_from_slice(raw);
            return Transcoded { verdict, dropped: false };
        }
        assert_eq!(out.len(), self.to.layout().raw_page_size(), "out is one raw page");
        out.fill(0xFF);
        for ((to, from), bits) in out.iter_mut().zip(&*raw).zip(&self.carried) {
            *to = from & bits | !bits;
        }
        self.from.data(raw, &mut self.data);
        self.to.encode(&self.data, out);
        let there = out.iter().copied().chain(core::iter::repeat(0xFF));
        let lost = |byte: u8, bits: u8, there: u8| byte & bits != bits && (byte ^ there) & bits != 0;
        let mut held = raw.iter().zip(&self.homeless).zip(there);
        let dropped = held.any(|((&byte, &bits), there)| lost(byte, bits, there));
        if !verdict.is_readable() {
            self.spoil(out);
        }
        Transcoded { verdict, dropped }
    }

    /// See that a page with ECC cannot be corrected.
    fn spoil(&self, out: &mut [u8]) {
        if self.to.layout().ecc_less() {
            return;
        }
        for spoiler in SPOILERS {
            let mut spoilt = out.to_vec();
            for step in self.to.steps() {
                let mut ecc = vec![0; total(step.ecc()).div_ceil(8) as usize];
                gather(out, step.ecc(), &mut ecc);
                ecc.iter_mut().for_each(|byte| *byte ^= spoiler);
                scatter(&ecc, step.ecc(), &mut spoilt);
            }
            let readable = self.to.decode(&mut spoilt.clone()).is_readable();
            if !readable || spoiler == SPOILERS[SPOILERS.len() - 1] {
                out.copy_from_slice(&spoilt);
                return;
            }
        }
    }
}

/// The bits that are neither data, nor zeros by rule, nor ECC if `or_ecc`, by byte of the raw page.
fn neither_data_nor(layout: &Layout, or_ecc: bool) -> Vec<u8> {
    let mut bits = vec![0xFF; layout.raw_page_size()];
    let ecc = layout.steps().iter().flat_map(Step::ecc).filter(|_| or_ecc);
    layout.data().iter().chain(layout.zeros()).chain(ecc).for_each(|span| span.fill(&mut bits, false));
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::SplitMix64;

    fn transcoder(from: &str, to: &str, spare: (u32, u32)) -> Transcoder {
        let layout = |name, spare| Layout::preset(name, 2048, spare).unwrap();
        Transcoder::new(&layout(from, spare.0), &layout(to, spare.1))
    }

    /// A raw page with random data, and spare bytes 2 and 3 set.
    fn page(from: &Transcoder) -> Vec<u8> {
        let mut raw = from.pages().0;
        let mut data = vec![0; 2048];
        SplitMix64::new(7).fill(&mut data);
        if raw.len() > 2051 {
            raw[2050..2052].copy_from_slice(&[0x19, 0x85]);
        }
        from.from.encode(&data, &mut raw);
        raw
    }

    #[test]
    fn spare_bytes_stay_where_both_have_room() {
        for (from, to, spare, kept, dropped) in [
            ("linux-bch4", "linux-bch8", (64, 64), true, false),
            ("linux-bch4", "linux-hamming", (64, 64), true, false),
            ("linux-bch4", "linux-bch4", (64, 128), true, false),
            ("linux-bch4", "raw", (64, 64), true, false),
            ("raw", "linux-bch4", (64, 64), true, false),
            ("linux-bch4", "none", (64, 0), false, true),
            // There is ECC.
            ("linux-bch4", "am335x-bch8", (64, 64), false, true),
        ] {
            let mut it = transcoder(from, to, spare);
            let (mut raw, mut out) = (page(&it), it.pages().1);
            let done = it.page(&mut raw, &mut out);
            assert!(out[..2048] == raw[..2048] && it.to.decode(&mut out.clone()).is_clean(), "{from} {to}");
            assert_eq!(out.get(2050..2052) == Some(&[0x19, 0x85]), kept, "{from} {to}");
            assert_eq!(done, Transcoded { verdict: Verdict::default(), dropped }, "{from} {to}");
        }
    }

    #[test]
    fn all_spare_bytes_are_kept_where_there_is_no_ecc() {
        let mut it = transcoder("linux-bch8", "raw", (64, 64));
        let (before, mut out) = (page(&it), it.pages().1);
        let mut raw = before.clone();
        raw[5] ^= 1;
        assert_eq!(it.page(&mut raw, &mut out).verdict.corrected_bits, 1);
        assert_eq!(out, before);
        // What is in the place of ECC that is made anew is lost, unless it is that.
        let mut back = transcoder("raw", "linux-bch8", (64, 64));
        let (mut again, mut other) = (back.pages().1, before.clone());
        assert!(!back.page(&mut out, &mut again).dropped && again == before);
        other[2110] ^= 1;
        assert!(back.page(&mut other, &mut again).dropped && again == before);
    }

    #[test]
    fn a_page_that_cannot_be_corrected_stays_so() {
        for (from, to) in [
            ("linux-bch4", "linux-bch4"),
            // Half of all words are next to one of its codewords.
            ("linux-bch4", "linux-bch1"),
            ("linux-bch4", "linux-hamming"),
            ("linux-hamming", "linux-bch8"),
        ] {
            let mut it = transcoder(from, to, (64, 64));
            let (mut raw, mut out) = (page(&it), it.pages().1);
            (0..9).for_each(|byte| raw[40 * byte] ^= 0x81);
            let stored = raw.clone();
            assert!(!it.page(&mut raw, &mut out).verdict.is_readable(), "{from}");
            assert!(out[512..2048] == stored[512..2048]);
            assert!(!it.to.decode(&mut out.clone()).is_readable(), "{from} {to}");
        }
    }

    #[test]
    fn erased_pages_stay_erased() {
        for (from, to) in [("raw", "linux-bch8"), ("linux-bch8", "raw"), ("linux-bch4", "am335x-bch8")] {
            let mut it = transcoder(from, to, (64, 64));
            let (mut raw, mut out) = it.pages();
            out.fill(0);
            assert!(it.page(&mut raw, &mut out).verdict.blank && out.iter().all(|&byte| byte == 0xFF));
        }
    }

    #[test]
    fn ecc_that_is_not_known_is_kept_from_raw_pages_alone() {
        let unknown = "winbond-on-die";
        assert!(transcoder("linux-bch4", unknown, (64, 64)).leaves_ecc_out());
        assert!(transcoder("none", unknown, (0, 64)).leaves_ecc_out());
        assert!(!transcoder("raw", unknown, (64, 64)).leaves_ecc_out());
        assert!(!transcoder(unknown, unknown, (64, 64)).leaves_ecc_out());
        assert!(!transcoder("raw", "linux-bch4", (64, 64)).leaves_ecc_out());
    }
}
