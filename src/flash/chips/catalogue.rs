//! The rows of the catalogue: what each part is, and where that was read.

use super::MarkedPages::{First, FirstTwo, FirstTwoAndLast, Last};
use super::{Chip, Ecc, Kind, MarkedPages, PagePrograms};

const SAMSUNG_LARGE: &str = "K9F2G08Q0M, K9F1G08R0A and K9F4G08U0M data sheets (beike2008.cn)";
const SPANSION_G1: &str = "S34ML01G1 data sheet (pdf.datasheet.wiki); marks: Linux raw/nand_amd.c";
const TOSHIBA_MARKS: &str = "Linux raw/nand_ids.c; marks: Linux raw/nand_toshiba.c";
const SPI_WINBOND: &str = "Linux spi/winbond.c; marks: spi/core.c";
const SPI_GIGADEVICE: &str = "Linux spi/gigadevice.c; marks: spi/core.c";
const SPI_MACRONIX: &str = "Linux spi/macronix.c; marks: spi/core.c";
const SPI_MICRON: &str = "Linux spi/micron.c; marks: spi/core.c";
const SPI_TOSHIBA: &str = "Linux spi/toshiba.c; marks: spi/core.c";

/// Every part known by name.
// A row gives: name, maker, data and spare bytes a page, pages a block, blocks; then what else is known.
#[rustfmt::skip]
pub const CHIPS: &[Chip] = &[
    // Parallel NAND with pages of 512 bytes.
    parallel("K9F1208U0x", "Samsung", 512, 16, 32, 4096).marks(FirstTwo).ecc(1, 512).programs(1, 2)
        .note("Its pages may be programmed in any order; block 0 needs no ECC for its first 1,000 cycles")
        .source("K9F1208U0M data sheet p. 31 (hkdtupc.cn), K9F1208B0C p. 14 (cn.elcodis.com/parts/6430455)"),
    parallel("HY27US081G1M", "Hynix", 512, 16, 32, 8192).marks(FirstTwo).ecc(1, 512)
        .source("data sheet (pdf.datasheet.live/b5ca10e1), H27UF081G1M p. 34 (cn.elcodis.com/parts/2216780)"),
    parallel("NAND01GW3A2B", "Numonyx", 512, 16, 32, 8192).marks(First).cycles(100_000)
        .note("Rated with ECC; keeps data for 10 years; the number of blocks follows from its capacity")
        .source("data sheet (icpdf.com, NAND01GW3A2B-KGD); marks: the default of Linux raw/nand_base.c"),

    // Parallel NAND with larger pages.
    parallel("NAND04GW3B2B", "Numonyx", 2048, 64, 64, 4096).marks(First).max_bad(80)
        .source("data sheet p. 11 (elcodis.com/parts/6244354); marks: the default of Linux raw/nand_base.c"),
    parallel("K9F1G08U0A", "Samsung", 2048, 64, 64, 1024).marks(FirstTwo).programs(4, 4)
        .note("Block 0 is good without ECC for its first 1,000 cycles").source(SAMSUNG_LARGE),
    parallel("K9F2G08U0M", "Samsung", 2048, 64, 64, 2048).marks(FirstTwo).programs(4, 4)
        .note("Block 0 is good without ECC for its first 1,000 cycles").source(SAMSUNG_LARGE),
    parallel("K9F4G08U0M", "Samsung", 2048, 64, 64, 4096).marks(FirstTwo).programs(4, 4)
        .note("Block 0 is good without ECC for its first 1,000 cycles; the K9F4G08U0A is rated for 100,000 cycles")
        .source(SAMSUNG_LARGE),
    parallel("MT29F2G08AAC", "Micron", 2048, 64, 64, 2048).marks(FirstTwo).max_bad(40)
        .source("M49A data sheet p. 38 (elcodis.com/parts/672279)"),
    parallel("MT29F4G08AAA", "Micron", 2048, 64, 64, 4096).marks(FirstTwo).max_bad(80)
        .source("M40A data sheet p. 58 (elcodis.com/parts/672280)"),
    parallel("MT29F1G08ABADA", "Micron", 2048, 64, 64, 1024).marks(FirstTwo)
        .note("Block 0 needs ECC of 1 bit for its first 1,000 cycles; keeps data for 10 years")
        .source("data sheet (vdocument.in); marks: Linux raw/nand_micron.c"),
    parallel("MT29F4G08ABADA", "Micron", 2048, 64, 64, 4096).marks(FirstTwo)
        .note("The factory tries to write the mark into every byte of page 0, and may not succeed everywhere; \
               it can correct 4 bits itself, if it is told to")
        .source("M60A data sheet p. 106 (elcodis.com/parts/5222786); marks: Linux raw/nand_micron.c"),
    parallel("MT29F1G08ABAFA", "Micron", 2048, 128, 64, 1024).marks(FirstTwo).on_die_ecc(8, 512).cycles(100_000)
        .note("Its ECC cannot be turned off; blocks 0 to 7 are shipped good")
        .source("M78A data sheet (ziliaoku.com); bytes of an ECC step and marks: Linux raw/nand_micron.c"),
    parallel("S34ML01G1", "Spansion", 2048, 64, 64, 1024).marks(FirstTwoAndLast).ecc(1, 528).cycles(100_000)
        .note("Cycles are typical; keeps data for 10 years; block 0 is good for 1,000 cycles at least").source(SPANSION_G1),
    parallel("S34ML02G1", "Spansion", 2048, 64, 64, 2048).marks(FirstTwoAndLast).ecc(1, 528).cycles(100_000)
        .note("Cycles are typical; keeps data for 10 years; block 0, of two planes blocks 0 and 1, is good for 1,000 cycles at least")
        .source(SPANSION_G1),
    parallel("S34ML04G1", "Spansion", 2048, 64, 64, 4096).marks(FirstTwoAndLast).ecc(1, 528).cycles(100_000)
        .note("Cycles are typical; keeps data for 10 years; block 0, of two planes blocks 0 and 1, is good for 1,000 cycles at least")
        .source(SPANSION_G1),
    parallel("MX30LF1G08AA", "Macronix", 2048, 64, 64, 1024).marks(FirstTwo).ecc(1, 528).cycles(100_000)
        .note("Keeps data for 10 years; block 0 is shipped good")
        .source("Macronix AN0366 (dtsheet.com/doc/1273115); marks: Linux raw/nand_macronix.c"),
    parallel("MX30LF1GE8AB", "Macronix", 2048, 64, 64, 1024).marks(FirstTwo).on_die_ecc(4, 528).cycles(100_000)
        .note("Keeps data for 10 years; block 0 is shipped good")
        .source("Macronix AN0366 (dtsheet.com/doc/1273115), AN0369 (1807555); marks: Linux raw/nand_macronix.c"),
    parallel("MX30LF4G28AB", "Macronix", 2048, 112, 64, 4096).marks(FirstTwo).ecc(8, 540).cycles(100_000).max_bad(80)
        .note("Keeps data for 10 years; block 0 is shipped good")
        .source("Macronix AN0273 (dtsheet.com/doc/1807561); marks: Linux raw/nand_macronix.c"),
    parallel("TC58NVG0S3E", "Toshiba", 2048, 64, 64, 1024).marks(FirstTwo).ecc(1, 512).source(TOSHIBA_MARKS),
    parallel("TC58NVG0S3HTA00", "Toshiba", 2048, 128, 64, 1024).marks(FirstTwo).max_bad(20)
        .note("A part of the same generation, TC58NVG2S0H, needs ECC of 8 bits in 512 bytes")
        .source("data sheet (pdf.elecfans.com/p/5609647); marks: Linux raw/nand_toshiba.c"),
    parallel("TC58NVG2S0F", "Toshiba", 4096, 224, 64, 2048).marks(FirstTwo).ecc(4, 512).max_bad(40)
        .note("Block 0 is shipped good; Toshiba does not specify its cycles")
        .source("Macronix AN0273 (dtsheet.com/doc/1807561), Linux raw/nand_ids.c; marks: Linux raw/nand_toshiba.c"),
    parallel("TC58NVG3S0F", "Toshiba", 4096, 232, 64, 4096).marks(FirstTwo).ecc(4, 512).max_bad(80)
        .source("data sheet (datasheet.hk), Linux raw/nand_ids.c; marks: Linux raw/nand_toshiba.c"),
    parallel("TH58NVG3S0H", "Kioxia", 4096, 256, 64, 4096).marks(FirstTwo).ecc(8, 512).max_bad(80)
        .source("data sheet (pdf.elecfans.com/p/9590085), Linux raw/nand_ids.c; marks: Linux raw/nand_toshiba.c"),
    parallel("TC58BVG1S3H", "Kioxia", 2048, 64, 64, 2048).marks(FirstTwo).on_die_ecc(8, 528).max_bad(40)
        .note("BENAND; block 0 is shipped good")
        .source("data sheet (pdf.elecfans.com/p/5612800); marks: Linux raw/nand_toshiba.c"),

    // Parallel NAND for large capacities.
    parallel("TC58NVG5D2", "Toshiba", 8192, 640, 128, 4096).marks(First).ecc(40, 1024).note("MLC").source(TOSHIBA_MARKS),
    parallel("H27UCG8T2A", "Hynix", 8192, 640, 256, 4096).marks(Last).ecc(40, 1024)
        .note("MLC; data has to be scrambled").source("Linux raw/nand_ids.c; marks: Linux raw/nand_hynix.c"),
    parallel("H27UCG8T2E", "Hynix", 16384, 1664, 256, 2048).marks(Last).ecc(40, 1024)
        .note("MLC; data has to be scrambled").source("Linux raw/nand_ids.c; marks: Linux raw/nand_hynix.c"),
    parallel("SDTNRGAMA", "SanDisk", 16384, 1280, 256, 2048).marks(First).ecc(40, 1024)
        .source("Linux raw/nand_ids.c; marks: the default of Linux raw/nand_base.c"),

    // SPI NAND.
    spi_nand("W25N512GW", "Winbond", 2048, 64, 64, 512).on_die_ecc(1, 512).max_bad(10).source(SPI_WINBOND),
    spi_nand("W25N01GV", "Winbond", 2048, 64, 64, 1024).on_die_ecc(1, 512).max_bad(20)
        .note("The factory marks byte 0 of the data of page 0, too; a table of 20 entries on the chip replaces blocks, so \
               that a dump may not be in physical order")
        .source("Linux spi/winbond.c, W25N01GV data sheet (datasheetandpdf.com); marks: spi/core.c"),
    spi_nand("W25N01KV", "Winbond", 2048, 96, 64, 1024).on_die_ecc(4, 512).max_bad(20).source(SPI_WINBOND),
    spi_nand("W25N02KV", "Winbond", 2048, 128, 64, 2048).on_die_ecc(8, 512).max_bad(40).source(SPI_WINBOND),
    spi_nand("W25N04KV", "Winbond", 2048, 128, 64, 4096).on_die_ecc(8, 512).max_bad(40).source(SPI_WINBOND),
    spi_nand("W25M02GV", "Winbond", 2048, 64, 64, 2048).on_die_ecc(1, 512).max_bad(40).dies(2)
        .note("Two dies of 1024 blocks, of each of which 20 may be bad").source(SPI_WINBOND),
    spi_nand("GD5F1GQ4xA", "GigaDevice", 2048, 64, 64, 1024).on_die_ecc(8, 512).max_bad(20)
        .note("Parts with the same ID and 128 spare bytes are sold, too")
        .source("Linux spi/gigadevice.c, linux-mtd 2019-June/089940; marks: spi/core.c"),
    spi_nand("GD5F1GQ4UExxG", "GigaDevice", 2048, 128, 64, 1024).max_bad(20)
        .note("ECC on the die: Linux says 8 bits in 512 bytes, a data sheet of GD5F1GQ4xExxG 4").source(SPI_GIGADEVICE),
    spi_nand("GD5F1GQ5UExxG", "GigaDevice", 2048, 128, 64, 1024).on_die_ecc(4, 512).max_bad(20).source(SPI_GIGADEVICE),
    spi_nand("GD5F4GQ4UC", "GigaDevice", 4096, 256, 64, 2048).on_die_ecc(8, 512).max_bad(40).source(SPI_GIGADEVICE),
    spi_nand("MX35LF1GE4AB", "Macronix", 2048, 64, 64, 1024).marks(FirstTwo).on_die_ecc(4, 512).max_bad(20)
        .note("Linux looks for marks in page 0 only; its data sheet asks for pages 0 and 1")
        .source("Linux spi/macronix.c, data sheet p. 37 (yumpu.com 67501604)"),
    spi_nand("MX35LF4GE4AD", "Macronix", 4096, 128, 64, 2048).on_die_ecc(8, 512).max_bad(40).source(SPI_MACRONIX),
    spi_nand("MT29F1G01ABAFD", "Micron", 2048, 128, 64, 1024).on_die_ecc(8, 512).cycles(100_000).max_bad(20)
        .note("Blocks 0 to 7 are shipped good; keeps data for 10 years at 85 °C, as long as it was not cycled")
        .source("Linux spi/micron.c, data sheet (pdf.elecfans.com, MT29F1G01ABAFDWB-IT:F); marks: spi/core.c"),
    spi_nand("MT29F2G01AAAED", "Micron", 2048, 64, 64, 2048).on_die_ecc(4, 512).max_bad(80).source(SPI_MICRON),
    spi_nand("MT29F4G01ABAFD", "Micron", 4096, 256, 64, 2048).on_die_ecc(8, 512).cycles(100_000).max_bad(40)
        .note("Blocks 0 to 7 are shipped good; keeps data for 10 years at 85 °C, as long as it was not cycled")
        .source("Linux spi/micron.c, data sheet (scribd.com 817778354); marks: spi/core.c"),
    spi_nand("TC58CVG0S3HRAIG", "Toshiba", 2048, 128, 64, 1024).on_die_ecc(8, 512).max_bad(20).source(SPI_TOSHIBA),
    spi_nand("TC58CVG2S0HRAIG", "Toshiba", 4096, 256, 64, 2048).on_die_ecc(8, 512).max_bad(40).source(SPI_TOSHIBA),

    // SPI NOR, in sectors of 4 KiB.
    spi_nor("W25Q128JV", "Winbond", 256, 16, 4096).note("32 KiB and 64 KiB may be erased at once, too")
        .source("Linux spi-nor/winbond.c; W25Q128JV data sheet (scribd.com 522715587)"),
    spi_nor("W25Q256", "Winbond", 256, 16, 8192).source("Linux spi-nor/winbond.c; W25Q256JW (szyhwkj.com)"),
    spi_nor("MX25L12805D", "Macronix", 256, 16, 4096).source("Linux spi-nor/macronix.c"),
    spi_nor("MX25L6405D", "Macronix", 256, 16, 2048).source("Linux spi-nor/macronix.c"),
];

const fn part(
    kind: Kind,
    (name, maker): (&'static str, &'static str),
    page: [u32; 2],
    blocks: [u32; 2],
) -> Chip {
    Chip {
        name,
        maker,
        kind,
        page_size: page[0],
        spare_size: page[1],
        pages_per_block: blocks[0],
        blocks: blocks[1],
        dies: 1,
        ecc: None,
        max_erase_cycles: None,
        programs: None,
        note: "",
        source: "",
        max_bad_blocks: None,
        marked: None,
    }
}

const fn parallel(
    name: &'static str,
    maker: &'static str,
    page: u32,
    spare: u32,
    pages: u32,
    blocks: u32,
) -> Chip {
    part(Kind::ParallelNand, (name, maker), [page, spare], [pages, blocks])
}

/// Linux looks for the mark of every SPI NAND in page 0.
const fn spi_nand(
    name: &'static str,
    maker: &'static str,
    page: u32,
    spare: u32,
    pages: u32,
    blocks: u32,
) -> Chip {
    part(Kind::SpiNand, (name, maker), [page, spare], [pages, blocks]).marks(First)
}

const fn spi_nor(name: &'static str, maker: &'static str, page: u32, pages: u32, blocks: u32) -> Chip {
    part(Kind::SpiNor, (name, maker), [page, 0], [pages, blocks])
}

impl Chip {
    const fn marks(self, marked: MarkedPages) -> Self {
        Self { marked: Some(marked), ..self }
    }

    const fn ecc(self, bits: u32, bytes: u32) -> Self {
        Self { ecc: Some(Ecc { bits, bytes, on_die: false }), ..self }
    }

    const fn on_die_ecc(self, bits: u32, bytes: u32) -> Self {
        Self { ecc: Some(Ecc { bits, bytes, on_die: true }), ..self }
    }

    const fn cycles(self, cycles: u32) -> Self {
        Self { max_erase_cycles: Some(cycles), ..self }
    }

    const fn max_bad(self, blocks: u32) -> Self {
        Self { max_bad_blocks: Some(blocks), ..self }
    }

    const fn dies(self, dies: u32) -> Self {
        Self { dies, ..self }
    }

    const fn programs(self, data: u32, spare: u32) -> Self {
        Self { programs: Some(PagePrograms { data, spare }), ..self }
    }

    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn source(self, source: &'static str) -> Self {
        Self { source, ..self }
    }
}
