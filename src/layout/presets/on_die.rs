//! Chips that correct by themselves: which spare bytes their ECC shows in, and which are free. How it is computed is not known.
//!
//! The tables are Linux's (`spi/*.c`, `raw/nand_micron.c`); it tests two bytes for the mark on SPI NAND (`spi/core.c`).

use alloc::string::String;
use alloc::vec;

use super::super::spec::{LayoutSpec, StepSpec};
use super::linux::{data_first, spare};
use super::{Page, Preset, known_for};

/// The spare area of one kind of page. Spare bytes are given as first byte, length, how often, and from one to the next.
struct OnDie {
    page: (u32, u32),
    ecc: Option<[u64; 4]>,
    free: &'static [[u64; 4]],
    /// Bytes of the mark, from spare byte 0 on.
    mark: u64,
}

const SECTORS: u64 = 4;

pub(super) const WINBOND: Preset = Preset {
    name: "winbond-on-die",
    description: "Winbond W25N SPI NAND, ECC on the die and kept as it is",
    source: "Linux spi/winbond.c: W25N512GW, W25N01GV, W25M02GV; W25N01KV (2048+96); W25N02KV, W25N04KV (2048+128)",
    examples: &[(2048, 64), (2048, 96), (2048, 128)],
    spec: |page| on_die(page, WINBOND_PAGES),
};

const WINBOND_PAGES: &[OnDie] = &[
    OnDie { page: (2048, 64), ecc: Some([8, 8, SECTORS, 16]), free: &[[2, 6, SECTORS, 16]], mark: 2 },
    OnDie { page: (2048, 96), ecc: Some([64, 7, SECTORS, 8]), free: &[[2, 14, SECTORS, 16]], mark: 2 },
    OnDie { page: (2048, 128), ecc: Some([64, 13, SECTORS, 16]), free: &[[2, 14, SECTORS, 16]], mark: 2 },
];

pub(super) const GIGADEVICE: Preset = Preset {
    name: "gigadevice-on-die",
    description: "GigaDevice GD5F1G SPI NAND, ECC on the die and kept as it is",
    source: "Linux spi/gigadevice.c: GD5F1GQ4xA (2048+64); GD5F1GQ4UExxG, GD5F1GQ5UExxG (2048+128)",
    examples: &[(2048, 64), (2048, 128)],
    spec: |page| on_die(page, GIGADEVICE_PAGES),
};

const GIGADEVICE_PAGES: &[OnDie] = &[
    OnDie {
        page: (2048, 64),
        ecc: Some([8, 8, SECTORS, 16]),
        free: &[[1, 7, 1, 0], [16, 8, 3, 16]],
        mark: 1,
    },
    OnDie { page: (2048, 128), ecc: Some([64, 64, 1, 0]), free: &[[1, 63, 1, 0]], mark: 1 },
];

pub(super) const MACRONIX: Preset = Preset {
    name: "macronix-on-die",
    description: "Macronix MX35LF SPI NAND, whose ECC on the die does not show",
    source: "Linux spi/macronix.c: MX35LF1GE4AB (2048+64), MX35LF4GE4AD (4096+128)",
    examples: &[(2048, 64), (4096, 128)],
    spec: |page| on_die(page, MACRONIX_PAGES),
};

const MACRONIX_PAGES: &[OnDie] = &[
    OnDie { page: (2048, 64), ecc: None, free: &[[2, 62, 1, 0]], mark: 2 },
    OnDie { page: (4096, 128), ecc: None, free: &[[2, 126, 1, 0]], mark: 2 },
];

pub(super) const MICRON: Preset = Preset {
    name: "micron-on-die",
    description: "Micron SPI NAND, ECC on the die and kept as it is",
    source: "Linux spi/micron.c: MT29F2G01AAAED (2048+64), MT29F1G01ABAFD (2048+128), MT29F4G01ABAFD (4096+256)",
    examples: &[(2048, 64), (2048, 128), (4096, 256)],
    spec: |page| on_die(page, MICRON_PAGES),
};

const MICRON_PAGES: &[OnDie] = &[
    OnDie {
        page: (2048, 64),
        ecc: Some([8, 8, SECTORS, 16]),
        free: &[[2, 6, 1, 0], [16, 8, 3, 16]],
        mark: 2,
    },
    OnDie { page: (2048, 128), ecc: Some([64, 64, 1, 0]), free: &[[2, 62, 1, 0]], mark: 2 },
    OnDie { page: (4096, 256), ecc: Some([128, 128, 1, 0]), free: &[[2, 126, 1, 0]], mark: 2 },
];

pub(super) const TOSHIBA: Preset = Preset {
    name: "toshiba-on-die",
    description: "Toshiba TC58CV SPI NAND, ECC on the die and kept as it is",
    source: "Linux spi/toshiba.c: TC58CVG0S3HRAIG (2048+128), TC58CVG2S0HRAIG (4096+256)",
    examples: &[(2048, 128), (4096, 256)],
    spec: |page| on_die(page, TOSHIBA_PAGES),
};

const TOSHIBA_PAGES: &[OnDie] = &[
    OnDie { page: (2048, 128), ecc: Some([64, 64, 1, 0]), free: &[[2, 62, 1, 0]], mark: 2 },
    OnDie { page: (4096, 256), ecc: Some([128, 128, 1, 0]), free: &[[2, 126, 1, 0]], mark: 2 },
];

fn on_die(page: &Page, pages: &[OnDie]) -> Result<LayoutSpec, String> {
    let sizes = (page.page_size, page.spare_size);
    let Some(kind) = pages.iter().find(|kind| kind.page == sizes) else {
        return Err(known_for(pages.iter().map(|kind| kind.page)));
    };
    let ecc = kind.ecc.iter().map(|&[at, len, times, next]| StepSpec {
        times,
        protects: vec![],
        ecc: vec![spare(page, at, len).advancing(8 * next)],
    });
    let free = kind.free.iter().map(|&[at, len, times, next]| spare(page, at, len).repeated(times, 8 * next));
    Ok(LayoutSpec {
        data: data_first(page),
        steps: ecc.collect(),
        free: free.collect(),
        marker: Some(spare(page, 0, kind.mark)),
        ..LayoutSpec::default()
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::layout::{Layout, Span};

    #[test]
    fn every_example_is_in_its_table() {
        for (preset, pages) in [
            (WINBOND, WINBOND_PAGES),
            (GIGADEVICE, GIGADEVICE_PAGES),
            (MACRONIX, MACRONIX_PAGES),
            (MICRON, MICRON_PAGES),
            (TOSHIBA, TOSHIBA_PAGES),
        ] {
            assert!(preset.examples.iter().eq(pages.iter().map(|kind| &kind.page)), "{}", preset.name);
        }
    }

    #[test]
    fn spare_areas_of_linux() {
        let spare_bytes = |layout: &Layout, spans: &[Span]| -> Vec<_> {
            let page = layout.page_size() as usize;
            spans.iter().map(|span| span.bytes().unwrap()).map(|b| b.start - page..b.end - page).collect()
        };
        let w25n02kv = Layout::preset("winbond-on-die", 2048, 128).unwrap();
        assert_eq!(spare_bytes(&w25n02kv, w25n02kv.free()), [2..16, 18..32, 34..48, 50..64]);
        assert_eq!(spare_bytes(&w25n02kv, w25n02kv.steps()[3].ecc()), [112..125]);
        let w25n01kv = Layout::preset("winbond-on-die", 2048, 96).unwrap();
        assert_eq!(spare_bytes(&w25n01kv, w25n01kv.steps()[3].ecc()), [88..95]);
        let gd5f1gq4xa = Layout::preset("gigadevice-on-die", 2048, 64).unwrap();
        assert_eq!(spare_bytes(&gd5f1gq4xa, gd5f1gq4xa.free()), [1..8, 16..24, 32..40, 48..56]);
        assert_eq!(spare_bytes(&gd5f1gq4xa, gd5f1gq4xa.steps()[1].ecc()), [24..32]);
        let mt29f4g01 = Layout::preset("micron-on-die", 4096, 256).unwrap();
        assert_eq!(spare_bytes(&mt29f4g01, mt29f4g01.free()), [2..128]);
        assert!(mt29f4g01.ecc_less() && mt29f4g01.has_unknown_ecc());
        let mx35lf = Layout::preset("macronix-on-die", 2048, 64).unwrap();
        assert!(mx35lf.ecc_less() && !mx35lf.has_unknown_ecc());
    }
}
