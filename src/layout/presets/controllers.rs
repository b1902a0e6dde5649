//! Pages of ECC engines in controllers, and what was seen in dumps.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::super::spec::{CodeKind, CodeSpec, Interval, LayoutSpec, StepSpec};
use super::linux::{bch_at_the_end, data_first, spare};
use super::{Page, Preset};
use crate::ecc::{Align, default_polynomial};

pub(super) const ATMEL_BCH: Preset = Preset {
    name: "atmel-bch<t>",
    description: "Atmel PMECC: as linux-bch<t>, the bits of each byte in reverse",
    source: "SySS nand-dump-tools, SAMA5D4 with 4096+224 and t = 8: the key it finds is Linux's mask in reverse",
    examples: &[(4096, 224), (2048, 64)],
    spec: |page| bch_at_the_end(page, true),
};

pub(super) const AM335X_BCH8: Preset = Preset {
    name: "am335x-bch8",
    description: "TI AM335x boot ROM and Linux omap2 with BCH8_CODE_HW: 13 bytes of ECC and one of 00 from spare byte 2 on",
    source: "NFI nandtool TI_AM335x, Jaguar and Toyota boot blocks; the byte of 00: Linux raw/omap2.c",
    examples: &[(2048, 64), (4096, 128), (4096, 224)],
    spec: am335x_bch8,
};

pub(super) const GPMI_BCH: Preset = Preset {
    name: "gpmi-bch<t>",
    description: "i.MX28 and i.MX6 GPMI: 10 bytes of metadata, 512-byte steps each with its ECC behind it; the mark swapped",
    source: "Linux raw/gpmi-nand; \"Decoding raw i.MX6 NAND flash images\" (2025, t = 8); SySS nand-dump-tools (i.MX28)",
    examples: &[(2048, 64), (4096, 128), (4096, 224)],
    spec: gpmi_bch,
};

pub(super) const QCOM_BCH4: Preset = Preset {
    name: "qcom-bch4",
    description: "Qualcomm NANDc: codewords of 528 bytes, each with the mark's column left out",
    source: "Linux raw/qcom_nandc.c; NFI nandtool Toyota_telematics, Volvo_TCAM; ecsv/qcom-nandc-pagify",
    examples: &[(2048, 64), (2048, 128), (4096, 128), (4096, 256)],
    spec: |page| qcom(page, 4, 528),
};

pub(super) const QCOM_BCH8: Preset = Preset {
    name: "qcom-bch8",
    description: "Qualcomm NANDc: codewords of 532 bytes, each with the mark's column left out",
    source: "Linux raw/qcom_nandc.c; NFI nandtool Volkswagen_OCU3; ecsv/qcom-nandc-pagify",
    examples: &[(2048, 128), (4096, 224), (4096, 256)],
    spec: |page| qcom(page, 8, 532),
};

pub(super) const HARMAN_BCH4: Preset = Preset {
    name: "harman-bch4",
    description: "QNX IFS and ETFS on Harman units: BCH4 over 512 + 4 spare bytes, ECC from spare byte 16 on, pad bits first",
    source: "NFI nandtool Jaguar_InControl_Touch, Scania_AUS4, Toyota_Touch_2_Go",
    examples: &[(2048, 64)],
    spec: harman_bch4,
};

pub(super) const HERMES2_BCH8: Preset = Preset {
    name: "hermes2-bch8",
    description: "Mercedes Hermes 2: two steps of 1040 bytes, everything inverted and in reverse",
    source: "NFI nandtool Mercedes_Hermes_2",
    examples: &[(2048, 64)],
    spec: hermes2_bch8,
};

pub(super) const MARVELL_BCH8: Preset = Preset {
    name: "marvell-bch8",
    description: "Marvell NFC, 8 bits in 512: chunks of 1024 bytes with 30 bytes of ECC, whose code is not known",
    source: "Linux raw/marvell_nand.c",
    examples: &[(2048, 96), (4096, 224), (4096, 256)],
    spec: marvell_bch8,
};

pub(super) const ADJACENT: Preset = Preset {
    name: "adjacent",
    description: "512 data and 16 spare bytes by turns, spare bytes kept as they are; no ECC",
    source: "Cypress KBA219029; reverseengineering.stackexchange.com/questions/15459",
    examples: &[(2048, 64), (4096, 128)],
    spec: adjacent,
};

fn bch(m: u32, t: u32, align: Align, reverse_bits: bool) -> CodeKind {
    let polynomial = default_polynomial(m).unwrap_or_default();
    CodeKind::Bch { m, t, polynomial, erased_mask: false, reverse_bits, align }
}

fn am335x_bch8(page: &Page) -> Result<LayoutSpec, String> {
    let times = page.steps_of(512)?;
    let end = 2 + 14 * times;
    page.expect_spare(end)?;
    let free = u64::from(page.spare_size) - end;
    Ok(LayoutSpec {
        data: data_first(page),
        code: Some(bch(13, 8, Align::Left, false).into()),
        steps: vec![StepSpec {
            times,
            protects: vec![Interval::bytes(0, 512).advancing(8 * 512)],
            ecc: vec![spare(page, 2, 13).advancing(8 * 14)],
        }],
        zeros: vec![spare(page, 15, 1).repeated(times, 8 * 14)],
        free: if free > 0 { vec![spare(page, end, free)] } else { vec![] },
        marker: Some(spare(page, 0, 2)),
        ..LayoutSpec::default()
    })
}

/// The page is one row of bits: metadata, then steps of data and ECC. The mark's place would hold data of the last step; the
/// controller puts that into the first byte of the metadata instead.
fn gpmi_bch(page: &Page) -> Result<LayoutSpec, String> {
    const METADATA: u64 = 8 * 10;
    const STEP: u64 = 8 * 512;
    let (times, t) = (page.steps_of(512)?, page.t);
    if !(2..=40).contains(&t) || !t.is_multiple_of(2) {
        return Err("it corrects an even number of bits, 2 to 40".into());
    }
    let ecc = 13 * u64::from(t);
    let end = METADATA + times * (STEP + ecc);
    page.expect_spare(end.div_ceil(8).saturating_sub(page.spare()))?;
    let last = end - STEP - ecc;
    let mark = 8 * page.spare();
    if page.spare_size == 0 || mark < last || mark + 8 > last + STEP {
        return Err("the mark is not within the data of the last step".into());
    }
    let steps_from = |first: u64, len: u64, times: u64| StepSpec {
        times,
        protects: vec![Interval::bits(first, len).advancing(STEP + ecc)],
        ecc: vec![Interval::bits(first + len, ecc).advancing(STEP + ecc)],
    };
    let (first, rest) =
        (steps_from(0, METADATA + STEP, 1), steps_from(METADATA + STEP + ecc, STEP, times - 1));
    let data = [
        (METADATA, STEP, times - 1),
        (last, mark - last, 1),
        (0, 8, 1),
        (mark + 8, last + STEP - mark - 8, 1),
    ];
    let data = data.into_iter().filter(|(_, len, times)| len * times > 0);
    Ok(LayoutSpec {
        data: data.map(|(at, len, times)| Interval::bits(at, len).repeated(times, STEP + ecc)).collect(),
        code: Some(bch(13, t, Align::Left, true).into()),
        steps: if times > 1 { vec![first, rest] } else { vec![first] },
        marker: Some(spare(page, 0, 1)),
        ..LayoutSpec::default()
    })
}

/// Codewords of `codeword` bytes: 516 bytes around one at the mark's column, ECC, bytes that are not used. The last has four
/// bytes of spare for each codeword behind its data.
fn qcom(page: &Page, t: u32, codeword: u64) -> Result<LayoutSpec, String> {
    if ![2048, 4096].contains(&page.page_size) {
        return Err("it is known for pages of 2048 and 4096 bytes".into());
    }
    let times = page.steps_of(512)?;
    page.expect_spare((times * codeword).saturating_sub(page.spare()))?;
    let last = (times - 1) * codeword;
    let column = page.spare() - last;
    let spare_len = 4 * times;
    let ecc = u64::from(13 * t).div_ceil(8);
    let advance = 8 * codeword;
    let around = [(0, column), (column + 1, 516 - column)];
    let mut data = Vec::new();
    for word in 0..times {
        let end = if word + 1 == times { 517 - spare_len } else { 517 };
        data.extend(
            around
                .map(|(at, _)| at)
                .into_iter()
                .zip([column, end])
                .map(|(from, to)| Interval::bytes(word * codeword + from, to - from)),
        );
    }
    Ok(LayoutSpec {
        data,
        code: Some(bch(13, t, Align::Left, false).into()),
        steps: vec![StepSpec {
            times,
            protects: around.map(|(at, len)| Interval::bytes(at, len).advancing(advance)).to_vec(),
            ecc: vec![Interval::bytes(517, ecc).advancing(advance)],
        }],
        free: vec![Interval::bytes(last + 517 - spare_len, spare_len)],
        marker: Some(spare(page, 0, 1)),
        ..LayoutSpec::default()
    })
}

fn harman_bch4(page: &Page) -> Result<LayoutSpec, String> {
    page.expect_one_of(HARMAN_BCH4.examples)?;
    Ok(LayoutSpec {
        data: data_first(page),
        code: Some(bch(13, 4, Align::Right, false).into()),
        steps: vec![StepSpec {
            times: 4,
            protects: vec![Interval::bytes(0, 512).advancing(8 * 512), spare(page, 0, 4).advancing(8 * 4)],
            ecc: vec![spare(page, 16, 7).advancing(8 * 7)],
        }],
        free: vec![spare(page, 2, 14)],
        marker: Some(spare(page, 0, 2)),
        ..LayoutSpec::default()
    })
}

/// What each step protects has its own order in the second: data, the mark, spare.
fn hermes2_bch8(page: &Page) -> Result<LayoutSpec, String> {
    page.expect_one_of(HERMES2_BCH8.examples)?;
    let code = CodeKind::Bch {
        m: 14,
        t: 8,
        polynomial: 0x4443,
        erased_mask: false,
        reverse_bits: true,
        align: Align::Left,
    };
    let [first, second, third] =
        [Interval::bytes(0, 1040), Interval::bytes(1054, 994), Interval::bytes(2050, 14)];
    let (mark, free) = (spare(page, 0, 2), Interval::bytes(2078, 30));
    let step = |protects, ecc| StepSpec { times: 1, protects, ecc: vec![Interval::bytes(ecc, 14)] };
    Ok(LayoutSpec {
        data: vec![first, second, third],
        code: Some(CodeSpec { kind: code, invert_data: true, invert_ecc: true }),
        steps: vec![step(vec![first], 1040), step(vec![second, third, mark, free], 2064)],
        free: vec![free],
        marker: Some(mark),
        ..LayoutSpec::default()
    })
}

/// Pages of 2048 bytes with 124 spare bytes or more are also laid out with 64 spare bytes in the last chunk, and what tells the
/// two apart is not known.
fn marvell_bch8(page: &Page) -> Result<LayoutSpec, String> {
    const CHUNK: u64 = 1024 + 30;
    let (chunks, spare_at, spare_len) = match page.page_size {
        2048 if page.spare_size < 124 => (2, 2078, 32),
        4096 => (4, 4 * CHUNK, 64),
        2048 => return Err("with 124 spare bytes or more there are two such layouts".into()),
        _ => return Err("it is known for pages of 2048 and 4096 bytes".into()),
    };
    let end = spare_at + spare_len + 30;
    page.expect_spare(end - page.spare())?;
    let data = Interval::bytes(0, 1024).repeated(chunks, 8 * CHUNK);
    let step = |times, protects, ecc| StepSpec { times, protects: vec![protects], ecc: vec![ecc] };
    let whole = |times| {
        let (data, ecc) = (Interval::bytes(0, 1024), Interval::bytes(1024, 30));
        step(times, data.advancing(8 * CHUNK), ecc.advancing(8 * CHUNK))
    };
    let last_ecc = Interval::bytes(end - 30, 30);
    let steps = match page.page_size {
        2048 => vec![whole(1), step(1, Interval::bytes(CHUNK, 1024 + spare_len), last_ecc)],
        _ => vec![whole(4), step(1, Interval::bytes(spare_at, spare_len), last_ecc)],
    };
    Ok(LayoutSpec {
        data: vec![data],
        steps,
        free: vec![Interval::bytes(spare_at, spare_len)],
        ..LayoutSpec::default()
    })
}

/// The mark's place holds data, so there is none.
fn adjacent(page: &Page) -> Result<LayoutSpec, String> {
    let times = page.steps_of(512)?;
    if u64::from(page.spare_size) != 16 * times {
        return Err(format!("it has 16 spare bytes for 512 bytes: {}", 16 * times));
    }
    Ok(LayoutSpec {
        data: vec![Interval::bytes(0, 512).repeated(times, 8 * 528)],
        free: vec![Interval::bytes(512, 16).repeated(times, 8 * 528)],
        ..LayoutSpec::default()
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use core::ops::Range;

    use super::*;
    use crate::layout::{Layout, PageCodec, Span};

    fn bytes(spans: &[Span]) -> Vec<Range<usize>> {
        spans.iter().map(|span| span.bytes().unwrap()).collect()
    }

    fn mark(layout: &Layout) -> Option<usize> {
        layout.marker().and_then(|span| span.bytes()).map(|bytes| bytes.start)
    }

    /// The key that SySS nand-dump-tools found in the ECC of zeros on a SAMA5D4: Linux's mask, each byte in reverse.
    #[test]
    fn atmel_as_on_a_sama5d4() {
        let codec = PageCodec::new(&Layout::preset("atmel-bch8", 4096, 224).unwrap());
        let mut raw = vec![0xFF; 4320];
        codec.encode(&[0; 4096], &mut raw);
        let key = [0xF7, 0x8A, 0x74, 0x90, 0xB7, 0xC9, 0x59, 0x43, 0xE9, 0x9E, 0xA7, 0x24, 0xAD];
        assert!(raw[4096 + 120..].chunks(13).all(|ecc| ecc == key));
    }

    /// Places of NFI nandtool, TI_AM335x.
    #[test]
    fn am335x_as_in_nandtool() {
        let layout = Layout::preset("am335x-bch8", 2048, 64).unwrap();
        let ecc: Vec<_> = layout.steps().iter().flat_map(|step| bytes(step.ecc())).collect();
        assert_eq!(ecc, [2050..2063, 2064..2077, 2078..2091, 2092..2105]);
        assert_eq!(bytes(layout.zeros()), [2063..2064, 2077..2078, 2091..2092, 2105..2106]);
        assert_eq!((bytes(layout.free()), mark(&layout)), (vec![2106..2112], Some(2048)));
    }

    /// 8 * page - (t * m * (chunks - 1) + 8 * metadata) bits into the data comes the byte that stands in the mark's stead.
    #[test]
    fn the_mark_of_gpmi_is_swapped_where_linux_says() {
        for (t, page, spare) in
            [(8, 2048, 64), (4, 2048, 64), (2, 2048, 64), (12, 4096, 224), (16, 4096, 224)]
        {
            let layout = Layout::preset(&format!("gpmi-bch{t}"), page, spare).unwrap();
            let before = 8 * u64::from(page) - (t * 13 * u64::from(page / 512 - 1) + 80);
            let mut data = 0;
            let swapped = layout.data().iter().find(|span| {
                data += span.len;
                span.start == 0
            });
            assert_eq!(swapped, Some(&Span { start: 0, len: 8 }), "t = {t}");
            assert_eq!(data - 8, before, "t = {t}");
            assert_eq!(mark(&layout), Some(page as usize));
        }
    }

    /// The places that the i.MX6 article and SySS nand-dump-tools give for t = 8 on 2048 + 64.
    #[test]
    fn gpmi_by_whole_bytes() {
        let layout = Layout::preset("gpmi-bch8", 2048, 64).unwrap();
        let steps: Vec<_> =
            layout.steps().iter().flat_map(|step| bytes(&[step.protects(), step.ecc()].concat())).collect();
        assert_eq!(
            steps,
            [0..522, 522..535, 535..1047, 1047..1060, 1060..1572, 1572..1585, 1585..2097, 2097..2110]
        );
        let data = [10..522, 535..1047, 1060..1572, 1585..2048, 0..1, 2049..2097];
        assert_eq!(bytes(layout.data()), data);
    }

    /// Places of NFI nandtool: Toyota_telematics and Volkswagen_OCU3.
    #[test]
    fn qualcomm_as_in_nandtool() {
        let layout = Layout::preset("qcom-bch4", 2048, 64).unwrap();
        let data = [0..464, 465..517, 528..992, 993..1045, 1056..1520, 1521..1573, 1584..2048, 2049..2085];
        assert_eq!(bytes(layout.data()), data);
        let protects: Vec<_> = layout.steps().iter().flat_map(|step| bytes(step.protects())).collect();
        assert_eq!(protects[..7], data[..7]);
        assert_eq!(protects[7], 2049..2101);
        let ecc: Vec<_> = layout.steps().iter().flat_map(|step| bytes(step.ecc())).collect();
        assert_eq!(ecc, [517..524, 1045..1052, 1573..1580, 2101..2108]);
        assert_eq!((bytes(layout.free()), mark(&layout)), (vec![2085..2101], Some(2048)));

        let layout = Layout::preset("qcom-bch8", 4096, 224).unwrap();
        assert_eq!(bytes(layout.data())[14..], [3724..4096, 4097..4209]);
        let last = &layout.steps()[7];
        assert_eq!(
            (bytes(last.protects()), bytes(last.ecc())),
            (vec![3724..4096, 4097..4241], vec![4241..4254])
        );
        assert_eq!(mark(&layout), Some(4096));
    }

    /// Places of NFI nandtool: Jaguar_InControl_Touch (IFS), Mercedes_Hermes_2.
    #[test]
    fn cars_as_in_nandtool() {
        let layout = Layout::preset("harman-bch4", 2048, 64).unwrap();
        let step = &layout.steps()[3];
        assert_eq!(
            (bytes(step.protects()), bytes(step.ecc())),
            (vec![1536..2048, 2060..2064], vec![2085..2092])
        );

        let layout = Layout::preset("hermes2-bch8", 2048, 64).unwrap();
        assert_eq!(bytes(layout.data()), [0..0x410, 0x41E..0x800, 0x802..0x810]);
        let step = &layout.steps()[1];
        assert_eq!(bytes(step.protects()), [0x41E..0x800, 0x802..0x810, 0x800..0x802, 0x81E..0x83C]);
        assert_eq!(bytes(step.ecc()), [0x810..0x81E]);
    }

    #[test]
    fn what_is_known_of_marvell() {
        let layout = Layout::preset("marvell-bch8", 2048, 96).unwrap();
        assert_eq!(bytes(layout.data()), [0..1024, 1054..2078]);
        assert_eq!(bytes(layout.steps()[1].ecc()), [2110..2140]);
        let layout = Layout::preset("marvell-bch8", 4096, 224).unwrap();
        assert_eq!(bytes(layout.data())[3], 3162..4186);
        assert_eq!(bytes(layout.steps()[4].ecc()), [4280..4310]);
        assert!(layout.has_unknown_ecc());
    }

    #[test]
    fn adjacent_takes_turns() {
        let layout = Layout::preset("adjacent", 2048, 64).unwrap();
        assert_eq!(bytes(layout.data()), [0..512, 528..1040, 1056..1568, 1584..2096]);
        assert_eq!((layout.free_bytes(), layout.marker()), (64, None));
    }
}
