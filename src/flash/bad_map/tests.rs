use super::*;
use crate::prng::SplitMix64;

/// 1024 blocks of 128 KiB.
fn geometry() -> Geometry {
    Geometry::new(2048, 64, 128 << 10, 1024).unwrap()
}

fn parse(text: &str) -> Result<Vec<u32>, BadMapError> {
    let blocks = parse_bad_map(text.as_bytes(), &geometry())?;
    Ok(blocks.into_iter().map(|block| block.0).collect())
}

#[track_caller]
fn names(text: &str, blocks: &[u32]) {
    assert_eq!(parse(text).as_deref(), Ok(blocks), "{text}");
}

#[test]
fn json_lists_are_taken_alone_and_in_reports() {
    for (text, blocks) in [
        ("[]", vec![]),
        (" [ 77, 3,\n 1023 ,3]\n", vec![3, 77, 1023]),
        ("\u{FEFF}[5]", vec![5]),
        (
            r#"{"schema": "nandimg.mount-check/1", "bad_blocks": [9, 4], "free": {"bad_blocks": [1]}}"#,
            vec![4, 9],
        ),
        (r#"{"bad_blocks": []}"#, vec![]),
    ] {
        assert_eq!(parse(text), Ok(blocks), "{text}");
    }
}

#[test]
fn json_of_another_kind_is_an_error_that_says_where() {
    for (text, said) in [
        ("[1, -2]", "line 1 column 6"),
        ("[1,\n \"2\"]", "line 2 column 4"),
        ("[1.5]", "no line tells"),
        ("[4294967296]", "4294967296"),
        ("[1, 2", "line 1 column 5"),
        ("[1] [2]", "line 1 column 5"),
        ("{}", "missing field `bad_blocks`"),
        (r#"{"bad_blocks": null}"#, "null"),
        (r#"{"bad_blocks": [1], "bad_blocks": [2]}"#, "duplicate field"),
        ("[3, 1024]", "block 1024, and there are 1024 blocks"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    assert_eq!(parse(" \n"), Err(BadMapError::Empty));
}

#[test]
fn a_kernel_log_begins_with_a_bracket_and_is_no_json() {
    assert_eq!(parse("[    2.570000] Bad eraseblock 56 at 0x000000700000"), Ok(vec![56]));
    assert_eq!(parse("[Thu Aug  1 02:00:15 2024] Bad eraseblock 763 at 0x000005f60000"), Ok(vec![763]));
}

#[test]
fn the_largest_file_is_taken_and_no_larger_one() {
    let mut bytes = vec![b' '; MAX_LEN];
    bytes.splice(..3, *b"[7]");
    assert_eq!(parse_bad_map(&bytes, &geometry()), Ok(vec![Block(7)]));
    bytes.push(b' ');
    assert_eq!(parse_bad_map(&bytes, &geometry()), Err(BadMapError::TooLarge(MAX_LEN + 1)));
}

#[test]
fn the_linux_kernel() {
    names(
        "[    2.550000] Scanning device for bad blocks\n[    2.570000] Bad eraseblock 56 at 0x000000700000\n",
        &[56],
    );
    names("Jul 31 20:00:18 kernel: Bad eraseblock 220 at 0x000001b80000", &[220]);
    names(
        "Scanning device for bad blocks\nBad eraseblock 0 at 0x00000000\nBad eraseblock 2 at 0x00040000\n",
        &[0, 2],
    );
    // The mark lies in the last page of 2048 bytes.
    names("Bad eraseblock 3 at 0x00000007f800", &[3]);
    names("Bad eraseblock 9 at 0x000000120000    first page oob: 0x00", &[9]);
    let table = "[    0.535905] Bad block table found at page 65472, version 0x01\n\
                 [    0.541911] Bad block table found at page 65408, version 0x01\n\
                 [    0.547955] nand_read_bbt: bad block at 0x000005c60000\n\
                 [    0.552927] nand_read_bbt: Bad block at 0x000006860000\n\
                 ubi0: good PEBs: 1007, bad PEBs: 1, corrupted PEBs: 0\n\
                 ubi0: available PEBs: 0, total reserved PEBs: 1007, PEBs reserved for bad PEB handling: 19\n";
    names(table, &[739, 835]);
    names("mtd_stresstest: block 12 is bad\nmtd_stresstest: scanned 1024 eraseblocks, 1 are bad\n", &[12]);
    names("Scanning device for bad blocks\n", &[]);
}

#[test]
fn mtd_utils() {
    let nanddump = "ECC failed: 0\nECC corrected: 5\nNumber of bad blocks: 2\nNumber of bbt blocks: 0\n\
                    Bad block at 40000\nBad block at c0000\nBlock size 131072, page size 2048, OOB size 64\n\
                    Dumping data starting at 0x00000000 and ending at 0x08000000...\n\
                    ECC: 1 corrected bitflip(s) at offset 0x003da000\n";
    names(nanddump, &[2, 6]);
    names(
        "Bad block at 40000, 1 block(s) from 40000 will be skipped\nMarking block at 00060000 bad\n",
        &[2, 3],
    );
    let nandtest = "ECC corrections: 0\nECC failures   : 0\nBad blocks     : 1\nBBT blocks     : 0\n\
                    \r00000000: erasing... \r00000000: writing...\r00000000: reading (1 of 4)...\rBad block at 0x00020000\n\
                    \r00040000: erasing... MEMERASE: Input/output error\nMark block bad at 00040000\n\
                    \nFinished pass 1 successfully\n";
    names(nandtest, &[1, 2]);
    let flash_erase = "Erasing 128 Kibyte @ 2c0000 --  6 % complete \rflash_erase: Skipping bad block at 002e0000\n\
                       \rErasing 128 Kibyte @ 27e0000 -- 99 % complete\n";
    names(flash_erase, &[23]);
    names("Erasing 128 Kibyte @ 2c0000 -- 6 % complete.\nSkipping bad block at 0x002e0000\n", &[23]);
    let mtdinfo = "mtd0\nBad blocks are allowed:         true\nEraseblock map:\n    \
                   0: 00000000           1: 00020000    BAD    2: 00040000 RO        3: 00060000 RO BAD \n    \
                   4: 00080000           5: 000a0000    BAD \n";
    names(mtdinfo, &[1, 3, 5]);
    names("Eraseblock map:\n 0: 00000000           1: 00020000        \n", &[]);
}

#[test]
fn u_boot() {
    names("=> nand bad\n\nDevice 0 bad blocks:\n  00720000\n  00fe0000\n=> nand info\n", &[57, 127]);
    names("Device 0 bad blocks: 00540000\n", &[42]);
    names("Device 0 bad blocks:\r\n=>\r\n", &[]);
    names("MTD device spi-nand0 bad blocks list:\r\n\t0x00020000\r\n\t0x07fe0000\r\n", &[1, 1023]);
    let erase = "NAND erase.chip: device 0 whole chip\n\rSkipping bad block at  0x00c80000                    \n\
                 \rErasing at 0x7fe0000 -- 100% complete.\nOK\n";
    names(erase, &[100]);
    names(
        "NAND write: device 0 offset 0x5e0000, size 0x16c0000\nSkip bad block 0x00720000\n23855104 bytes written: OK",
        &[57],
    );
    names("block 0x00720000 successfully marked as bad\n", &[57]);
    names("\r  block at 20000 marked bad, skipping\n", &[1]);
}

#[test]
fn blocks_are_sorted_and_each_named_once() {
    names(
        "Bad block at 60000 Bad block at 0x40000\nBad eraseblock 3 at 0x60000\nBad block at 20000",
        &[1, 2, 3],
    );
}

#[test]
fn what_seems_to_tell_of_a_bad_block_and_is_unclear_is_an_error() {
    for text in [
        "Bad block at",
        "Bad block at page 3",
        "Bad block at 0x123456789abcdef01",
        "Bad block at 20000h",
        "this is a bad block.",
        "Bad eraseblock 3",
        "Bad eraseblock at 0x60000",
        "MTD get bad block failed",
        "Failed to get bad block at 0x00040000",
        "Skipping bad block at-   7% complete.",
        "block 0x00040000 NOT marked as bad! ERROR -5",
        "Block at offset 0x20000 is bad",
        "00020000 BAD",
        "1: 00020000 BAD 2: 40000",
        "1: 00020000 BAD x",
        "Bad blocks: 3, 77",
    ] {
        let text = format!("Bad block at 0x20000\n\n{text}\n");
        let line = text.lines().nth(2).unwrap().to_string();
        assert_eq!(parse(&text), Err(BadMapError::NotUnderstood { line: 3, text: line }));
    }
}

#[test]
fn other_words_of_badness_are_passed_over() {
    for text in [
        "Only NAND-based devices can have bad blocks",
        "size adjusted to 0x2e0000 (1 bad blocks)",
        "Warning: scrub option will erase all factory set bad blocks!",
        "UBI error: bad image sequence number 1748114077 in PEB 175",
        "Bad block table not found for chip 0",
        "badblock is 0xbad, and badly so",
        "Writing data to block 12 at offset 0x180000",
    ] {
        names(&format!("Bad block at 0x20000\n{text}"), &[1]);
    }
}

#[test]
fn places_that_do_not_fit_the_chip_are_errors_that_name_the_line() {
    let said = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        said("\nBad block at 0x20800"),
        "line 2 names offset 0x20800, and blocks begin at multiples of 0x20000"
    );
    assert_eq!(said("Bad block at 0x8000000"), "line 1 names block 1024, and there are 1024 blocks");
    assert_eq!(
        said("mtd_test: block 4294967296 is bad"),
        "line 1 names block 4294967296, and there are 1024 blocks"
    );
    // As on a chip of larger blocks.
    let larger = "line 1 names block 5 at offset 0x140000, which is in block 10: blocks have 0x20000 bytes";
    assert_eq!(said("Bad eraseblock 5 at 0x000000140000"), larger);
    assert_eq!(said("4: 00100000 5: 00140000 BAD"), larger);
}

#[test]
fn numbers_alone_are_not_guessed_at() {
    for text in ["77", "00020000", "0x20000"] {
        let text = format!("Scanning device for bad blocks\n  {text} \n");
        assert!(matches!(parse(&text), Err(BadMapError::Bare { line: 2, .. })), "{text}");
    }
    // Nor are they part of a list that has ended.
    let ended = "Device 0 bad blocks:\n  00720000\nOK\n  00740000\n";
    assert!(matches!(parse(ended), Err(BadMapError::Bare { line: 4, .. })));
}

#[test]
fn a_count_without_the_blocks_is_an_error() {
    let counted = |text| parse(text);
    assert_eq!(
        counted("Number of bad blocks: 4\nNumber of bad blocks: 1\nBad block at 0\n"),
        Err(BadMapError::Miscounted { line: 1, counted: 4, named: 1 })
    );
    assert_eq!(counted("Number of bad blocks: 1\nBad block at 0\n"), Ok(vec![0]));
    assert_eq!(counted("Number of bad blocks: 0\n"), Ok(vec![]));
}

#[test]
fn text_of_another_kind_is_an_error() {
    for text in ["hello\n", "3, 77", "\u{0}\u{1}\u{2}", "UBI#\u{1}"] {
        assert_eq!(parse(text), Err(BadMapError::Foreign), "{text}");
    }
    let long = format!("bad block {}", "ü".repeat(1000));
    let Err(BadMapError::NotUnderstood { text, .. }) = parse(&long) else { panic!("not understood") };
    assert!(text.len() < 200, "{text}");
}

#[test]
fn long_lines_take_no_long_time() {
    let start = std::time::Instant::now();
    for (part, taken) in [
        ("bad block at 0 ", true),
        ("block at 0 marked bad ", true),
        ("bad ", false),
        ("bad blocks ", false),
        ("1: 00020000 BAD ", true),
    ] {
        assert_eq!(parse(&part.repeat((4 << 20) / part.len())).is_ok(), taken, "{part}");
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn whatever_it_says_no_block_is_named_that_the_chip_does_not_have() {
    const WORDS: [&str; 25] = [
        "bad",
        "Bad",
        "BAD",
        "block",
        "blocks",
        "eraseblock",
        "table",
        "at",
        "is",
        "marked",
        "as",
        ":",
        "list",
        "failed",
        "0x20000",
        "0x8000000",
        "00020000",
        "7",
        "5:",
        "0x99999999999999999",
        "\n",
        "\r",
        "\u{0}",
        "ü",
        ",",
    ];
    let mut rng = SplitMix64::new(7);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut pick = || WORDS[rng.below(WORDS.len() as u64) as usize];
        let text: String = (0..12).flat_map(|_| [pick(), " "]).collect();
        match parse(&text) {
            Ok(blocks) => {
                taken += 1;
                assert!(blocks.is_sorted_by(|a, b| a < b) && blocks.iter().all(|&b| b < 1024), "{text}");
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}
