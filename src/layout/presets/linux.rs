//! Pages without ECC, and those of Linux's software ECC.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::super::spec::{CodeKind, Interval, LayoutSpec, StepSpec};
use super::{Page, Preset};
use crate::ecc::{Align, BchParams, HammingOrder, MAX_STRENGTH};

pub(super) const NONE: Preset = Preset {
    name: "none",
    description: "page data only: the file holds no spare bytes",
    source: "nanddump and nandwrite without --oob (mtd-utils)",
    examples: &[(512, 0), (2048, 0), (4096, 0)],
    spec: none,
};

pub(super) const RAW: Preset = Preset {
    name: "raw",
    description: "page data, spare bytes behind it kept as they are; no ECC",
    source: "nanddump --oob (mtd-utils); the bad-block mark: Linux raw/nand_base.c",
    examples: &[(256, 8), (512, 16), (2048, 64), (4096, 224), (2048, 0)],
    spec: raw,
};

pub(super) const HAMMING: Preset = Preset {
    name: "linux-hamming",
    description: "Linux software Hamming ECC: 1 bit in 256 bytes, on pages of 256+8, 512+16, 2048+64, 4096+128",
    source: "Linux 6.1 with nandsim, byte for byte; raw/nand_base.c, ecc-sw-hamming.c",
    examples: HAMMING_PAGES,
    spec: |page| hamming(page, HammingOrder::Linux),
};

pub(super) const HAMMING_SMC: Preset = Preset {
    name: "linux-hamming-smc",
    description: "as linux-hamming, in SmartMedia's byte order",
    source: "Linux with CONFIG_MTD_NAND_ECC_SW_HAMMING_SMC; ecc-sw-hamming.c",
    examples: HAMMING_PAGES,
    spec: |page| hamming(page, HammingOrder::SmartMedia),
};

pub(super) const BCH: Preset = Preset {
    name: "linux-bch<t>",
    description: "Linux software BCH ECC: t bits in 512 bytes, at the end of the spare area (64 bytes or more)",
    source: "Linux 6.1 with nandsim, byte for byte; ecc-sw-bch.c, lib/bch.c",
    examples: &[(2048, 64), (4096, 128), (2048, 128), (4096, 224)],
    spec: |page| bch_at_the_end(page, false),
};

const HAMMING_PAGES: &[(u32, u32)] = &[(256, 8), (512, 16), (2048, 64), (4096, 128)];

/// The page's data in front.
pub(super) fn data_first(page: &Page) -> Vec<Interval> {
    vec![Interval::bytes(0, page.spare())]
}

/// `len` spare bytes from spare byte `from` on.
pub(super) fn spare(page: &Page, from: u64, len: u64) -> Interval {
    Interval::bytes(page.spare() + from, len)
}

fn none(page: &Page) -> Result<LayoutSpec, String> {
    match page.spare_size {
        0 => Ok(LayoutSpec { data: data_first(page), ..LayoutSpec::default() }),
        _ => Err("it is for files without spare bytes".into()),
    }
}

/// The mark is where Linux looks for it by default: byte 5 of the spare area on pages of 512 bytes and less, else byte 0.
fn raw(page: &Page) -> Result<LayoutSpec, String> {
    let (spare_size, mark) = (u64::from(page.spare_size), if page.page_size <= 512 { 5 } else { 0 });
    let has_mark = mark < spare_size;
    let free = match has_mark {
        true => vec![(0, mark), (mark + 1, spare_size - mark - 1)],
        false => vec![(0, spare_size)],
    };
    Ok(LayoutSpec {
        data: data_first(page),
        free: free.into_iter().filter(|f| f.1 > 0).map(|(from, len)| spare(page, from, len)).collect(),
        marker: has_mark.then(|| spare(page, mark, 1)),
        ..LayoutSpec::default()
    })
}

fn hamming(page: &Page, order: HammingOrder) -> Result<LayoutSpec, String> {
    page.expect_one_of(HAMMING_PAGES)?;
    // Of each step the spare bytes of its ECC, then the mark and the free bytes.
    type Spare = (Vec<StepSpec>, Interval, Vec<Interval>);
    let protects = |first: u64| vec![Interval::bytes(first, 256).advancing(8 * 256)];
    let step = |first, ecc| StepSpec { times: 1, protects: protects(first), ecc };
    let at = |from, len| spare(page, from, len);
    let (steps, marker, free): Spare = match page.page_size {
        256 => (vec![step(0, vec![at(0, 3)])], at(5, 1), vec![at(3, 2), at(6, 2)]),
        // Byte 4 is reserved.
        512 => {
            let steps = vec![step(0, vec![at(0, 3)]), step(256, vec![at(3, 1), at(6, 2)])];
            (steps, at(5, 1), vec![at(8, 8)])
        }
        _ => {
            let times = page.steps_of(256)?;
            let first = u64::from(page.spare_size) - 3 * times;
            let ecc = vec![at(first, 3).advancing(8 * 3)];
            (vec![StepSpec { times, protects: protects(0), ecc }], at(0, 2), vec![at(2, first - 2)])
        }
    };
    Ok(LayoutSpec {
        data: data_first(page),
        code: Some(CodeKind::Hamming { order }.into()),
        steps,
        free,
        marker: Some(marker),
        ..LayoutSpec::default()
    })
}

/// The ECC of 512-byte steps at the end of the spare area, behind the mark and free bytes.
pub(super) fn bch_at_the_end(page: &Page, reverse_bits: bool) -> Result<LayoutSpec, String> {
    let times = page.steps_of(512)?;
    page.expect_spare(64)?;
    if !(1..=MAX_STRENGTH).contains(&page.t) {
        return Err(format!("it corrects 1 to {MAX_STRENGTH} bits a step"));
    }
    let BchParams { m, t, polynomial, erased_mask, .. } = BchParams::linux(512, page.t);
    let len = u64::from(m * t).div_ceil(8);
    let first = u64::from(page.spare_size).checked_sub(times * len).filter(|first| *first >= 2);
    let Some(first) = first else {
        return Err(format!("{times} steps of {len} bytes of ECC and 2 bytes of mark take more"));
    };
    let code = CodeKind::Bch { m, t, polynomial, erased_mask, reverse_bits, align: Align::Left };
    Ok(LayoutSpec {
        data: data_first(page),
        code: Some(code.into()),
        steps: vec![StepSpec {
            times,
            protects: vec![Interval::bytes(0, 512).advancing(8 * 512)],
            ecc: vec![spare(page, first, len).advancing(8 * len)],
        }],
        free: if first > 2 { vec![spare(page, 2, first - 2)] } else { vec![] },
        marker: Some(spare(page, 0, 2)),
        ..LayoutSpec::default()
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use core::ops::Range;

    use super::*;
    use crate::layout::{Layout, Span};

    fn spare_bytes(layout: &Layout, spans: &[Span]) -> Vec<usize> {
        let page = layout.page_size() as usize;
        spans.iter().flat_map(|span| span.bytes().unwrap()).map(|byte| byte - page).collect()
    }

    /// One row of the table of default spare layouts, as bytes of the spare area.
    fn check(name: &str, page: (u32, u32), ecc: &[usize], marker: Range<usize>, free: Vec<Range<usize>>) {
        let layout = Layout::preset(name, page.0, page.1).unwrap();
        let of_steps: Vec<usize> =
            layout.steps().iter().flat_map(|step| spare_bytes(&layout, step.ecc())).collect();
        assert_eq!(of_steps, ecc, "{name} {page:?}: ECC");
        assert_eq!(spare_bytes(&layout, layout.marker().as_slice()), marker.collect::<Vec<_>>());
        let free: Vec<usize> = free.into_iter().flatten().collect();
        assert_eq!(spare_bytes(&layout, layout.free()), free, "{name} {page:?}: free");
        assert_eq!(layout.free_bytes(), free.len() as u64);
        assert!(layout.is_contiguous_data() && !layout.ecc_less() && !layout.has_unknown_ecc());
        // Steps are the page in order.
        let len = page.0 as usize / layout.steps().len();
        for (i, step) in layout.steps().iter().enumerate() {
            assert_eq!(step.protects()[0].bytes(), Some(i * len..(i + 1) * len));
        }
    }

    #[test]
    fn default_spare_layouts_of_linux() {
        let range = |range: Range<usize>| range.collect::<Vec<_>>();
        for name in ["linux-hamming", "linux-hamming-smc"] {
            check(name, (256, 8), &[0, 1, 2], 5..6, vec![3..5, 6..8]);
            check(name, (512, 16), &[0, 1, 2, 3, 6, 7], 5..6, vec![8..16]);
            check(name, (2048, 64), &range(40..64), 0..2, vec![2..40]);
            check(name, (4096, 128), &range(80..128), 0..2, vec![2..80]);
        }
        check("linux-bch4", (2048, 64), &range(36..64), 0..2, vec![2..36]);
        check("linux-bch8", (2048, 64), &range(12..64), 0..2, vec![2..12]);
        check("linux-bch4", (4096, 128), &range(72..128), 0..2, vec![2..72]);
        check("linux-bch8", (4096, 128), &range(24..128), 0..2, vec![2..24]);
        check("linux-bch8", (2048, 128), &range(76..128), 0..2, vec![2..76]);
        // Nothing is free when ECC and mark fill the spare area.
        check("linux-bch19", (2048, 126), &range(2..126), 0..2, vec![]);
    }

    #[test]
    fn pages_without_ecc() {
        let none = Layout::preset("none", 2048, 0).unwrap();
        assert!(none.is_contiguous_data() && none.ecc_less() && none.marker().is_none());
        assert_eq!((none.raw_page_size(), none.free_bytes(), none.strength()), (2048, 0, 0));
        for (page, spare, mark, free) in [
            (2048, 64, Some(2048..2049), 63),
            (512, 16, Some(517..518), 15),
            (512, 4, None, 4),
            (512, 6, Some(517..518), 5),
        ] {
            let raw = Layout::preset("raw", page, spare).unwrap();
            assert!(raw.is_contiguous_data() && raw.ecc_less() && raw.steps().is_empty());
            assert_eq!(raw.marker().and_then(|m| m.bytes()), mark);
            assert_eq!(raw.free_bytes(), free);
        }
    }
}
