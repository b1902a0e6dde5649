//! `fsck`: an image forged for each finding, what it says of it, what a repair does, and that a second check agrees.

use nandimg::onflash::ftlj::{Metadata, UNMAPPED};
use serde_json::{Value, json};

use crate::support::{BLOCK, Bench, CAPACITY, SMALL, newer_and_older, random, set_slot, slot, slot_offset};

const LEN: usize = 5 * BLOCK - 100;

/// A volume of five blocks, in blocks 9 to 13 of the chip, which has been written twice: both slots are in use.
fn volume() -> Bench {
    let bench = Bench::with_volume(&random(1, LEN));
    bench.feed("write a.img", &content()).exits(0);
    bench
}

fn content() -> Vec<u8> {
    random(2, LEN)
}

/// The same volume with its current metadata changed.
fn forged(change: impl FnOnce(&mut Metadata)) -> Bench {
    let bench = volume();
    let mut image = bench.bytes("a.img");
    let (newer, _) = newer_and_older(&image);
    let (sequence, mut metadata) = slot(&image, newer);
    change(&mut metadata);
    set_slot(&mut image, newer, sequence, &metadata);
    bench.put("a.img", &image);
    bench
}

pub(crate) fn findings<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    report["findings"].as_array().unwrap().iter().filter(|f| f["code"] == code).collect()
}

/// Looking finds `code`, so severe, in text and JSON, and touches nothing. The first such finding.
#[track_caller]
pub(crate) fn finds(bench: &Bench, flags: &str, code: &str, severity: &str, exit: i32) -> Value {
    let before = bench.snapshot();
    let text = bench.run(&format!("fsck a.img {flags}")).exits(exit).text();
    assert!(text.contains(&format!("{severity}: {code}: ")), "{text}");
    let report = bench.run(&format!("--json fsck a.img {flags}")).exits(exit).json();
    assert!(bench.snapshot() == before, "{code}: looking has changed something");
    assert_eq!(
        (report["clean"] == true, report["schema"] == "nandimg.fsck/1"),
        (exit == 0, true),
        "{report}"
    );
    let found = findings(&report, code).first().map(|&f| f.clone());
    let found = found.unwrap_or_else(|| panic!("no {code} in {report}"));
    assert_eq!((&found["severity"], &found["repaired"]), (&json!(severity), &json!(false)), "{found}");
    assert!(text.contains(found["message"].as_str().unwrap()), "{text}");
    found
}

/// A repair mends all there is: it says so, and a second check is clean.
#[track_caller]
pub(crate) fn is_mended(bench: &Bench, flags: &str, code: &str) {
    let report = bench.run(&format!("--json fsck a.img --repair {flags}")).exits(1).json();
    let found = findings(&report, code);
    assert!(
        !found.is_empty() && found.iter().all(|f| f["repaired"] == true && f["repair"].is_string()),
        "{report}"
    );
    assert_eq!(report["clean"], true);
    let second = bench.report(&format!("fsck a.img {flags}"));
    assert_eq!((&second["clean"], &second["findings"]), (&json!(true), &json!([])), "{code}");
    bench.run(&format!("fsck a.img --repair {flags}")).exits(0);
}

/// A repair leaves it: the exit status says whether it is damage, and a second check says the same.
#[track_caller]
pub(crate) fn remains(bench: &Bench, flags: &str, code: &str, exit: i32) {
    let report = bench.run(&format!("--json fsck a.img --repair {flags}")).exits(exit).json();
    let found = findings(&report, code);
    assert!(!found.is_empty() && found.iter().all(|f| f["repaired"] == false), "{report}");
    let second = bench.run(&format!("--json fsck a.img {flags}")).exits(exit).json();
    let left = report["findings"].as_array().unwrap().iter().filter(|f| f["repaired"] == false);
    assert!(left.eq(second["findings"].as_array().unwrap()), "{code}: {report}\n{second}");
}

/// Each finding that no repair touches leaves every byte as it was, also where a repair is asked for.
#[track_caller]
pub(crate) fn is_left_alone(bench: &Bench, flags: &str, code: &str, exit: i32) {
    let before = bench.snapshot();
    remains(bench, flags, code, exit);
    assert!(bench.snapshot() == before, "{code}: a repair has changed something");
}

#[test]
fn a_torn_slot_is_a_warning_that_a_repair_mends() {
    for (which, at) in [("older", 0), ("newer", 0)] {
        let bench = volume();
        let (newer, older) = newer_and_older(&bench.bytes("a.img"));
        let torn = if which == "older" { older } else { newer };
        bench.patch("a.img", slot_offset(torn) + at, |bytes| bytes[..3].fill(0));
        let found = finds(&bench, "", "slot-torn", "warning", 0);
        let block = slot_offset(torn) / BLOCK;
        assert_eq!((&found["block"], &found["offset"]), (&json!(block), &json!(slot_offset(torn))));
        let report = bench.run("--json mount-check a.img").exits(1).json();
        assert_eq!(
            (&report["degraded"], &report["metadata"][block]["state"]),
            (&json!(true), &json!("torn"))
        );
        is_mended(&bench, "", "slot-torn");
        bench.run("mount-check a.img").exits(0);
        let expected = if which == "older" { content() } else { random(1, LEN) };
        assert!(bench.content("a.img") == expected, "{which}");
    }
}

#[test]
fn a_commit_that_never_reached_its_last_page_is_torn() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --page-size 128 --block-size 4096 --blocks 32").exits(0);
    bench.feed("write a.img", &content()).exits(0);
    let (newer, _) = newer_and_older(&bench.bytes("a.img"));
    bench.patch("a.img", slot_offset(newer) + 256, |bytes| bytes[..128].fill(0xFF));
    let found = finds(&bench, "", "slot-torn", "warning", 0);
    assert!(found["message"].as_str().unwrap().contains("sequence 2"), "{found}");
    is_mended(&bench, "", "slot-torn");
}

#[test]
fn a_damaged_slot_is_a_warning_that_a_repair_mends() {
    let bench = volume();
    let (newer, _) = newer_and_older(&bench.bytes("a.img"));
    bench.patch("a.img", slot_offset(newer) + 30, |bytes| bytes[0] ^= 0x10);
    finds(&bench, "", "slot-corrupt", "warning", 0);
    bench.run("mount-check a.img").exits(1).says("falling back");
    is_mended(&bench, "", "slot-corrupt");
    assert!(bench.content("a.img") == random(1, LEN));
}

#[test]
fn an_unreadable_slot_is_a_warning_and_a_bad_block_once_it_was_tried() {
    let bench = volume();
    let (_, older) = newer_and_older(&bench.bytes("a.img"));
    bench.run(&format!("inject-bad a.img --block {} --when read", slot_offset(older) / BLOCK)).exits(0);
    finds(&bench, "", "slot-unreadable", "warning", 0);
    bench.run("mount-check a.img").exits(1);
    // Writing it anew does not help: its block is bad, and the format has no other place for it.
    bench.run("fsck a.img --repair").exits(4).says("bad-slot-block").says("slot-unreadable");
    bench.run("fsck a.img").exits(4).says("bad-slot-block").says("slot-unreadable");
    assert!(bench.content("a.img") == content());
}

#[test]
fn tables_for_another_chip_in_the_older_slot_are_mended_and_in_the_newer_left() {
    let bench = volume();
    let mut image = bench.bytes("a.img");
    let (_, older) = newer_and_older(&image);
    let (sequence, mut metadata) = slot(&image, older);
    metadata.erase_counts.pop();
    set_slot(&mut image, older, sequence, &metadata);
    bench.put("a.img", &image);
    finds(&bench, "", "slot-wrong-tables", "warning", 0);
    is_mended(&bench, "", "slot-wrong-tables");
    let bench = forged(|metadata| {
        metadata.erase_counts.pop();
    });
    let found = finds(&bench, "", "slot-wrong-tables", "error", 4);
    assert_eq!(found["repair"], json!(null));
    is_left_alone(&bench, "", "slot-wrong-tables", 4);
    bench.run("mount-check a.img").exits(1).says("read-only");
    assert!(bench.content("a.img") == random(1, LEN), "the older copy still reads");
}

#[test]
fn no_valid_slot_is_damage_that_nothing_mends() {
    let bench = volume();
    for slot in ['A', 'B'] {
        bench.patch("a.img", slot_offset(slot) + 30, |bytes| bytes[0] ^= 0x10);
    }
    finds(&bench, "", "no-valid-slot", "error", 4);
    finds(&bench, "", "slot-corrupt", "error", 4);
    is_left_alone(&bench, "", "no-valid-slot", 4);
    finds(&bench, "--chip-file none --block-size 4096", "no-valid-slot", "error", 4);
    bench.fails("fsck a.img --chip-file none", 4, "unmountable");
}

#[test]
fn two_newest_copies_are_a_warning_that_a_repair_mends() {
    let bench = volume();
    let mut image = bench.bytes("a.img");
    let (newer, older) = newer_and_older(&image);
    let (sequence, mut metadata) = slot(&image, newer);
    metadata.logical_len -= 1;
    set_slot(&mut image, older, sequence, &metadata);
    bench.put("a.img", &image);
    let found = finds(&bench, "", "sequence-tie", "warning", 0);
    assert!(found["message"].as_str().unwrap().contains("slot A is used"), "{found}");
    let before = bench.content("a.img");
    is_mended(&bench, "", "sequence-tie");
    assert!(bench.content("a.img") == before);
}

#[test]
fn the_last_sequence_number_is_damage_that_a_repair_mends() {
    let bench = volume();
    let mut image = bench.bytes("a.img");
    let (newer, _) = newer_and_older(&image);
    let (_, metadata) = slot(&image, newer);
    set_slot(&mut image, newer, u64::MAX, &metadata);
    bench.put("a.img", &image);
    finds(&bench, "", "sequence-exhausted", "error", 4);
    bench.put("new", b"x");
    bench.fails("write a.img -i new", 8, "read-only");
    is_mended(&bench, "", "sequence-exhausted");
    assert!(bench.content("a.img") == content());
    bench.feed("write a.img", b"x").exits(0);
}

#[test]
fn a_bad_slot_block_is_damage_that_nothing_mends() {
    for block in [0, 1] {
        let bench = volume();
        bench.run(&format!("inject-bad a.img --block {block}")).exits(0);
        let found = finds(&bench, "", "bad-slot-block", "error", 4);
        assert_eq!((&found["block"], &found["repair"]), (&json!(block), &json!(null)));
        is_left_alone(&bench, "", "bad-slot-block", 4);
        assert!(bench.content("a.img") == content());
    }
}

#[test]
fn a_mark_that_the_table_lacks_is_a_warning_that_a_repair_mends() {
    let bench = volume();
    bench.run("inject-bad a.img --block 25").exits(0);
    let found = finds(&bench, "", "bad-table-incomplete", "warning", 0);
    assert_eq!((&found["block"], &found["offset"]), (&json!(25), &json!(25 * BLOCK)));
    is_mended(&bench, "", "bad-table-incomplete");
    assert_eq!(bench.report("mount-check a.img --chip-file none")["bad_blocks"], json!([25]));
}

#[test]
fn a_mark_that_the_chip_lacks_is_set_by_a_repair_where_the_chip_carries_marks() {
    let bench = Bench::new();
    bench
        .run("format a.img --mapping block --page-size 512 --spare-size 16 --block-size 4096 --blocks 32 --bad-blocks 25")
        .exits(0);
    bench.feed("write a.img", &content()).exits(0);
    let mark = 25 * 8 * 528 + 512 + 5;
    for page in [0, 1] {
        bench.patch("a.img", mark + page * 528, |bytes| bytes[0] = 0xFF);
    }
    let found = finds(&bench, "", "bad-mark-missing", "warning", 0);
    assert_eq!((&found["block"], &found["offset"]), (&json!(25), &json!(25 * 8 * 528)));
    is_mended(&bench, "", "bad-mark-missing");
    assert_eq!(bench.bytes("a.img")[mark], 0);
    assert!(bench.content("a.img") == content());
    // Without a spare area there is no mark to be missed.
    let bench = forged(|metadata| metadata.bad_table[25 / 8] |= 1 << (25 % 8));
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]));
}

#[test]
fn a_worn_block_is_a_warning() {
    let bench = forged(|metadata| metadata.erase_counts[10] = 1001);
    assert_eq!(bench.report("fsck a.img --max-erase-cycles 1001")["findings"], json!([]));
    let found = finds(&bench, "--max-erase-cycles 1000", "worn-past-rating", "warning", 0);
    assert_eq!((&found["block"], &found["repair"]), (&json!(10), &json!(null)));
    is_left_alone(&bench, "--max-erase-cycles 1000", "worn-past-rating", 0);
    let report = bench.report("wear-report a.img --max-erase-cycles 1000");
    assert_eq!(report["life_used_percent"], 100.1);
}

#[test]
fn tables_of_the_wrong_length_are_warnings_mended_where_nothing_is_lost() {
    let bench = forged(|metadata| metadata.map.truncate(20));
    finds(&bench, "", "map-short", "warning", 0);
    is_mended(&bench, "", "map-short");
    assert!(bench.content("a.img") == content());
    let bench = forged(|metadata| metadata.bad_table.push(0));
    finds(&bench, "", "bad-table-long", "warning", 0);
    is_mended(&bench, "", "bad-table-long");
    let bench = forged(|metadata| metadata.map.extend([UNMAPPED; 3]));
    finds(&bench, "", "map-long", "warning", 0);
    is_left_alone(&bench, "", "map-long", 0);
    assert!(bench.content("a.img") == content());
}

#[test]
fn a_length_past_the_map_is_damage_and_what_is_mapped_still_reads() {
    let bench = forged(|metadata| metadata.logical_len = CAPACITY + 7);
    let found = finds(&bench, "", "length-past-map", "error", 4);
    assert_eq!(found["repair"], json!(null));
    is_left_alone(&bench, "", "length-past-map", 4);
    assert!(bench.run(&format!("read a.img --length {LEN}")).exits(0).stdout == content());
    let report = bench.run("--json read a.img -o out --skip-unreadable").exits(4).json();
    // However far the length claims to go, no zeros stand for what the map cannot hold.
    assert_eq!(report["bytes"], CAPACITY);
    assert_eq!((&report["holes"][0]["offset"], &report["holes"][0]["length"]), (&json!(CAPACITY), &json!(7)));
}

#[test]
fn a_length_past_the_capacity_is_a_warning() {
    let bench = forged(|metadata| {
        metadata.bad_table[3] = 0xFF;
        metadata.logical_len = CAPACITY;
    });
    finds(&bench, "", "length-past-capacity", "warning", 0);
    is_left_alone(&bench, "", "length-past-capacity", 0);
    assert_eq!(bench.content("a.img").len() as u64, CAPACITY);
    bench.run("mount-check a.img").exits(0).says("past the capacity");
}

#[test]
fn map_entries_that_make_no_sense_are_damage_and_never_zeros() {
    let bench = forged(|metadata| metadata.map[1] = 28);
    finds(&bench, "", "map-out-of-range", "error", 4);
    is_left_alone(&bench, "", "map-out-of-range", 4);
    let read = bench.run("read a.img").exits(4);
    assert!(read.stdout == content()[..BLOCK]);
    let bench = forged(|metadata| metadata.map[1] = metadata.map[0]);
    let found = finds(&bench, "", "map-duplicate", "error", 4);
    let shared =
        u64::from(slot(&bench.bytes("a.img"), newer_and_older(&bench.bytes("a.img")).0).1.map[0]) + 4;
    assert_eq!((&found["block"], &found["offset"]), (&json!(shared), &json!(shared * BLOCK as u64)));
    assert_eq!(findings(&bench.run("--json fsck a.img").exits(4).json(), "map-duplicate").len(), 2);
    is_left_alone(&bench, "", "map-duplicate", 4);
    let report = bench.run("--json mount-check a.img").exits(1).json();
    assert_eq!((&report["mountable"], &report["writable"]), (&json!(true), &json!(false)));
    bench.put("new", b"x");
    bench.fails("write a.img -i new", 8, "read-only");
}

#[test]
fn data_on_a_bad_block_is_read_and_moved_by_a_repair() {
    for geometry in [SMALL, "--page-size 512 --spare-size 16 --block-size 4096 --blocks 32"] {
        let bench = Bench::new();
        bench.run(&format!("format a.img --mapping block {geometry}")).exits(0);
        bench.feed("write a.img", &content()).exits(0);
        bench.run("inject-bad a.img --block 5,7").exits(0);
        let found = finds(&bench, "", "mapped-bad-block", "error", 4);
        assert_eq!(found["block"], 5);
        assert!(bench.content("a.img") == content());
        bench.run("mount-check a.img").exits(0).says("marked bad");
        is_mended(&bench, "", "mapped-bad-block");
        assert!(bench.content("a.img") == content());
        assert_eq!(bench.report("mount-check a.img")["bad_blocks"], json!([5, 7]));
    }
}

#[test]
fn data_on_a_bad_block_stays_where_there_is_no_room_or_it_cannot_be_read() {
    let full = random(3, CAPACITY as usize);
    let bench = Bench::with_volume(&full);
    // The two that copy-on-write keeps free, and one that holds data.
    bench.run("inject-bad a.img --block 4,30-31").exits(0);
    finds(&bench, "", "mapped-bad-block", "error", 4);
    remains(&bench, "", "mapped-bad-block", 4);
    assert!(bench.content("a.img") == full);
    let bench = volume();
    bench.run("inject-bad a.img --block 10").exits(0);
    bench.run("inject-bad a.img --block 10 --when read").exits(0);
    finds(&bench, "", "mapped-bad-block", "error", 4);
    remains(&bench, "", "mapped-bad-block", 4);
    bench.run("inject-bad a.img --clear-faults").exits(0);
    assert!(bench.content("a.img") == content(), "nothing was turned into zeros");
}

#[test]
fn blocks_past_the_length_are_worth_knowing() {
    let bench = forged(|metadata| metadata.logical_len = BLOCK as u64);
    let found = finds(&bench, "", "mapped-past-length", "info", 0);
    assert!(found["block"].is_u64(), "{found}");
    is_left_alone(&bench, "", "mapped-past-length", 0);
}

#[test]
fn unreadable_data_is_named_page_by_page_and_left() {
    let bench = volume();
    bench.run("inject-bad a.img --block 11 --when read").exits(0);
    let found = finds(&bench, "", "data-unreadable", "error", 4);
    assert_eq!(
        (&found["block"], &found["page"], &found["offset"]),
        (&json!(11), &json!(0), &json!(11 * BLOCK))
    );
    let report = bench.run("--json fsck a.img").exits(4).json();
    let pages: Vec<_> = findings(&report, "data-unreadable").iter().map(|f| f["page"].clone()).collect();
    assert_eq!(json!(pages), json!([0, 1, 2, 3, 4, 5, 6, 7]));
    is_left_alone(&bench, "", "data-unreadable", 4);
    // A fault on a block that holds nothing is nothing.
    bench.run("inject-bad a.img --clear-faults").exits(0);
    bench.run("inject-bad a.img --block 25 --when read").exits(0);
    bench.run("fsck a.img").exits(0);
}

#[test]
fn what_is_normal_is_not_found() {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping block {SMALL} --bad-blocks 20")).exits(0);
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]), "an erased copy");
    bench.feed("write a.img", &content()).exits(0);
    bench.patch("a.img", 28 * BLOCK, |bytes| bytes[..BLOCK].fill(0x5A));
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]), "stale bytes in a free block");
    assert_eq!(bench.report("fsck a.img --chip-file none")["findings"], json!([]), "no marks to agree with");
    let mut image = bench.bytes("a.img");
    let (newer, _) = newer_and_older(&image);
    let (_, metadata) = slot(&image, newer);
    set_slot(&mut image, newer, 1000, &metadata);
    bench.put("a.img", &image);
    assert_eq!(bench.report("fsck a.img")["findings"], json!([]), "a gap in the sequence numbers");
}

#[test]
fn damage_that_remains_outweighs_what_was_mended() {
    let bench = volume();
    bench.run("inject-bad a.img --block 10").exits(0);
    bench.run("inject-bad a.img --block 11 --when read").exits(0);
    let report = bench.run("--json fsck a.img --repair").exits(4).json();
    assert!(findings(&report, "mapped-bad-block").iter().all(|f| f["repaired"] == true), "{report}");
    assert_eq!(report["clean"], false);
    let second = bench.run("--json fsck a.img").exits(4).json();
    assert!(
        second["findings"].as_array().unwrap().iter().all(|f| f["code"] == "data-unreadable"),
        "{second}"
    );
}
