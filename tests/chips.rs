//! The catalogue of chips as its documentation shows it.
//!
//! `UPDATE_CHIPS=1 cargo test --test chips` writes the tables of the day into `src/flash/CHIPS.md`.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use nandimg::flash::chips::{CHIPS, Chip, Kind};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/flash/CHIPS.md");

const SECTIONS: [(Kind, &str); 3] =
    [(Kind::ParallelNand, "# Parallel NAND"), (Kind::SpiNand, "# SPI NAND"), (Kind::SpiNor, "# SPI NOR")];

fn known<T: ToString>(fact: Option<T>) -> String {
    fact.map_or("?".to_string(), |fact| fact.to_string())
}

fn marks(chip: &Chip) -> String {
    let Some(marker) = chip.marker() else { return "-".to_string() };
    let name = |&page: &u32| match page + 1 == chip.pages_per_block {
        true => "last".to_string(),
        false => page.to_string(),
    };
    let pages: Vec<String> = marker.pages.iter().map(name).collect();
    let bytes = match marker.len {
        1 => format!("byte {}", marker.byte),
        len => format!("bytes {}-{}", marker.byte, marker.byte + len - 1),
    };
    format!("{}; {bytes}", pages.join(", "))
}

fn row(chip: &Chip) -> String {
    let size = match chip.size() {
        bytes if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    };
    let of_nand = |fact: String| if chip.kind == Kind::SpiNor { "-".to_string() } else { fact };
    let cells = [
        format!("`{}`", chip.name),
        chip.maker.to_string(),
        format!("{}+{}", chip.page_size, chip.spare_size),
        chip.pages_per_block.to_string(),
        match chip.dies {
            1 => chip.blocks.to_string(),
            dies => format!("{dies} x {}", chip.blocks / dies),
        },
        size,
        of_nand(known(chip.ecc)),
        known(chip.max_erase_cycles),
        of_nand(known(chip.max_bad_blocks())),
        marks(chip),
        of_nand(known(chip.programs.map(|programs| format!("{} + {}", programs.data, programs.spare)))),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn section(kind: Kind, heading: &str) -> String {
    let chips = || CHIPS.iter().filter(|chip| chip.kind == kind);
    let mut text = format!("\n{heading}\n");
    text += "| part | maker | page+spare | pages/block | blocks | size | ECC | cycles | bad | marks | programs |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|---|\n";
    text.extend(chips().map(row));
    text += "\nNotes and sources:\n";
    for chip in chips() {
        let note = if chip.note.is_empty() { String::new() } else { format!("{}. ", chip.note) };
        writeln!(text, "* `{}`: {note}Source: {}.", chip.name, chip.source).expect("a string");
    }
    text
}

#[test]
fn the_document_shows_the_catalogue() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let preface = document.split("\n# ").next().expect("a preface");
    let tables: String = SECTIONS.iter().map(|&(kind, heading)| section(kind, heading)).collect();
    let today = format!("{}\n{tables}", preface.trim_end());
    if std::env::var_os("UPDATE_CHIPS").is_some() {
        std::fs::write(DOCUMENT, &today).expect("the document");
        return;
    }
    for (said, is) in document.lines().zip(today.lines()) {
        assert_eq!(said, is, "CHIPS.md is not true any more: UPDATE_CHIPS=1 cargo test --test chips");
    }
    assert_eq!(document, today);
}

#[test]
fn every_part_is_in_one_section() {
    for chip in CHIPS {
        let sections = SECTIONS.iter().filter(|(kind, _)| *kind == chip.kind);
        assert_eq!(sections.count(), 1, "{}", chip.name);
    }
    assert!(CHIPS.len() > 40);
}
