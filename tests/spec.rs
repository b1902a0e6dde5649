//! The specification's worked entry is what the code reads and writes.
#![forbid(unsafe_code)]

use nandimg::onflash::ftlj::{Layout, Metadata, UNMAPPED};

const SPEC: &str = include_str!("../src/onflash/SPEC.md");

/// The bytes of the hex dump in the specification: an offset, a colon, and bytes on each line.
fn worked_entry() -> Vec<u8> {
    let dump = SPEC.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a hex dump");
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, rest) = line.split_once(':').expect("an offset");
        assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()), "the offsets count on");
        let hex = rest.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
        bytes.extend(hex);
    }
    bytes
}

/// What the text around the dump says of it.
fn described() -> Metadata {
    let mut map = vec![UNMAPPED; 10];
    map[..2].copy_from_slice(&[3, 0]);
    let mut erase_counts = vec![0; 16];
    (erase_counts[0], erase_counts[1], erase_counts[4], erase_counts[7]) = (2, 1, 1, 1);
    Metadata { logical_len: 5000, map, erase_counts, bad_table: vec![0, 0b10] }
}

#[test]
fn the_worked_entry_is_what_the_text_says() {
    let bytes = worked_entry();
    assert_eq!(Metadata::decode(&bytes), Ok((2, described())));
    assert_eq!(described().encode(2), bytes);
}

#[test]
fn the_worked_layout_is_what_the_text_says() {
    let layout = Layout::new(4096, 16).unwrap();
    assert_eq!((layout.blocks_per_slot, layout.reserved, layout.logical_blocks), (1, 4, 10));
}
