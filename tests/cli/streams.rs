//! Where bytes come from and go to: closed and full outputs, limits, full volumes, and outputs that are inputs.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use nandimg::layout::Layout;
use serde_json::json;

use crate::support::{Bench, OfFormat, SMALL, has_program, random};

#[test]
fn a_reader_that_closes_early_is_success() {
    for volume in ["block --blocks 64", "page --blocks 96"] {
        let bench = Bench::new();
        bench.run(&format!("format a.img --mapping {volume} --block-size 64KiB")).exits(0);
        let content = random(1, 3 << 20);
        bench.feed("write a.img", &content).exits(0);
        // More than a pipe holds, so that the writer is still there when the reader goes.
        let mut child =
            bench.command("read a.img").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut head = [0; 10];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut head).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), head.as_slice()), (Some(0), &content[..10]));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_report_that_nobody_reads_is_success() {
    let bench = Bench::with_volume(b"some content");
    for line in [
        "mount-check a.img",
        "fsck a.img",
        "wear-report a.img",
        "completions bash",
        "--json read a.img -o out",
        "--help",
    ] {
        let mut child = bench.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && !stderr.contains("panicked"), "{line}: {output:?}");
    }
}

#[test]
fn a_full_output_is_an_error() {
    let bench = Bench::with_volume(&random(1, 20_000));
    let on_full =
        |line: &str| bench.shell(&format!("$NANDIMG {line} > /dev/full")).exits(8).says("standard output");
    for line in [
        "read a.img",
        "mount-check a.img",
        "--json mount-check a.img",
        "fsck a.img",
        "wear-report a.img",
        "inject-bad a.img --list",
        "completions zsh",
        "format a.img --mapping block --force --dry-run",
    ] {
        on_full(line);
    }
    bench.fails("read a.img -o /dev/full", 8, "io");
    bench.run("read a.img -o /dev/full").exits(8).says("/dev/full");
    bench.fails("read a.img -o nowhere/out", 8, "not-found");
}

/// `line` where no file may grow past `kib` KiB.
fn limited(kib: usize, line: &str) -> String {
    format!("trap '' XFSZ; ulimit -f {kib}; exec $NANDIMG {line}")
}

#[test]
fn an_output_past_the_limit_of_file_sizes_is_an_error() {
    let bench = Bench::with_volume(&random(1, 20_000));
    let read = bench.shell(&limited(8, "--json read a.img -o out")).exits(8);
    assert_eq!(read.json()["error"]["kind"], "io");
    bench.shell(&limited(8, "read a.img -o out")).exits(8).says("out");
}

#[test]
fn a_new_image_past_the_limit_leaves_nothing_behind() {
    let bench = Bench::new();
    let format = bench.shell(&limited(64, &format!("--json format a.img --mapping block {SMALL}"))).exits(8);
    assert_eq!(format.json()["error"]["kind"], "io");
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_write_that_the_system_refuses_changes_nothing() {
    let bench = Bench::with_volume(b"some content");
    let new = random(2, 30_000);
    bench.put("new", &new);
    // The slots lie below the limit, the blocks that the data goes to above it.
    let write = bench.shell(&limited(8, "--json write a.img -i new")).exits(8);
    let error = write.json()["error"].clone();
    assert_eq!(error["kind"], "io");
    assert!(error["message"].as_str().unwrap().contains("nothing has been changed"), "{error}");
    bench.run("fsck a.img").exits(0);
    assert_eq!(bench.content("a.img"), b"some content");
    bench.run("write a.img -i new").exits(0);
    assert!(bench.content("a.img") == new);
}

#[test]
fn a_chip_file_that_cannot_be_written_stays_as_it_was() {
    let bench = Bench::with_volume(b"some content");
    let before = bench.snapshot();
    let inject = bench.shell(&limited(0, "--json inject-bad a.img --block 9 --when erase")).exits(8);
    let error = inject.json()["error"].clone();
    assert_eq!(error["kind"], "io");
    assert!(error["message"].as_str().unwrap().contains("a.img.chip.json"), "{error}");
    let after = bench.snapshot();
    assert!(after.keys().eq(before.keys()), "{:?}", bench.names());
    assert!(after.values().zip(before.values()).all(|(a, b)| a.0 == b.0));
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_anything_changes() {
    for OfFormat { bench, capacity, .. } in Bench::of_each_format() {
        bench.put("new", &random(2, capacity + 1));
        let before = bench.snapshot();
        bench.fails("write a.img -i new", 8, "full");
        bench.fails("write a.img -i new --truncate", 8, "full");
        bench.shell("$NANDIMG write a.img < new").exits(8).says("capacity");
        bench.put("new", &random(2, capacity));
        bench.fails("write a.img -i new --offset 1", 8, "full");
        let after = bench.snapshot();
        let image = bench.path("a.img");
        assert!(after[&image] == before[&image]);
        bench.run("write a.img -i new").exits(0);
        assert!(bench.content("a.img") == bench.bytes("new"));
    }
}

#[test]
fn a_pipe_that_is_too_long_changes_nothing_while_the_free_blocks_last() {
    for OfFormat { bench, capacity, .. } in Bench::of_each_format() {
        let write = bench.feed("--json write a.img", &random(2, capacity + 1)).exits(8);
        let error = write.json()["error"].clone();
        assert_eq!(error["kind"], "full");
        assert!(error["message"].as_str().unwrap().contains("nothing has been changed"), "{error}");
        assert_eq!(bench.content("a.img"), b"some content");
        bench.run("fsck a.img").exits(0);
    }
}

#[test]
fn a_pipe_that_is_too_long_for_a_full_volume_says_which_part_stays() {
    for OfFormat { bench, capacity, unit, .. } in Bench::of_each_format() {
        let old = random(2, capacity);
        bench.feed("write a.img", &old).exits(0);
        let too_long = random(3, capacity + 1);
        let write = bench.feed("write a.img", &too_long).exits(8);
        assert!(write.stderr.contains("had to be committed"), "{}", write.stderr);
        let content = bench.content("a.img");
        let new = content.iter().zip(&too_long).take_while(|(a, b)| a == b).count();
        assert!(new > 0 && new.is_multiple_of(unit) && content[new..] == old[new..], "{new} bytes are new");
        assert_eq!(bench.run("--json fsck a.img").exits(0).json()["findings"], json!([]), "it ended well");
    }
}

#[test]
fn a_new_file_that_cannot_be_made_is_said_by_its_directory() {
    let bench = Bench::with_volume(b"some content");
    for line in [
        "format none/a.img --page-size 512 --block-size 4KiB --blocks 64",
        "convert a.img none/b.img --logical",
    ] {
        bench.fails(line, 8, "not-found").says("no file can be made in none: ");
    }
}

#[test]
fn a_chip_file_that_is_a_link_stays_one() {
    let bench = Bench::with_volume(b"some content");
    std::fs::rename(bench.path("a.img.chip.json"), bench.path("real.json")).unwrap();
    symlink("real.json", bench.path("a.img.chip.json")).unwrap();
    let before = bench.bytes("real.json");
    bench.run("inject-bad a.img --block 20 --when erase").exits(0);
    assert!(bench.path("a.img.chip.json").is_symlink() && bench.bytes("real.json") != before);
}

#[test]
fn a_full_volume_is_rewritten_in_batches() {
    for OfFormat { bench, capacity, .. } in Bench::of_each_format() {
        bench.feed("write a.img", &random(2, capacity)).exits(0);
        let new = random(3, capacity);
        let report = bench.feed("--json write a.img", &new).exits(0).json();
        assert!(report["batches"].as_u64().unwrap() > 1, "{report}");
        assert!(bench.content("a.img") == new);
    }
}

#[test]
fn an_output_that_is_an_input_is_refused_before_anything_is_opened() {
    let bench = Bench::with_volume(&random(1, 20_000));
    std::fs::hard_link(bench.path("a.img"), bench.path("hard.img")).unwrap();
    symlink("a.img", bench.path("soft.img")).unwrap();
    std::fs::hard_link(bench.path("a.img.chip.json"), bench.path("hard.json")).unwrap();
    let layout = Layout::preset("linux-hamming", 512, 16).unwrap().to_json();
    bench.put("layout.json", layout.as_bytes());
    let before = bench.snapshot();
    for output in ["a.img", "./a.img", "hard.img", "soft.img", "a.img.chip.json", "hard.json"] {
        bench.run(&format!("read a.img -o {output}")).exits(16).says("itself");
        bench.run(&format!("read a.img -o {output} --json")).exits(16).says("itself");
        bench.run(&format!("write a.img -i {output}")).exits(16).says("itself");
        bench.run(&format!("fsck a.img --repair --undo {output}")).exits(16).says("itself");
        bench.shell(&format!("$NANDIMG write a.img < {output}")).exits(16).says("itself");
    }
    bench.run("read hard.img -o a.img --chip-file none").exits(16).says("itself");
    for output in ["layout.json", "./layout.json"] {
        bench.run(&format!("read a.img --layout layout.json -o {output}")).exits(16).says("itself");
        bench
            .run(&format!("fsck a.img --layout layout.json --repair --undo {output}"))
            .exits(16)
            .says("itself");
    }
    for command in ["info", "--json info", "read", "mount-check", "inject-bad --list"] {
        bench
            .shell(&format!("$NANDIMG {command} a.img --layout layout.json >> layout.json"))
            .exits(16)
            .says("itself");
    }
    for line in [
        "read a.img",
        "read a.img -o -",
        "mount-check a.img",
        "fsck a.img",
        "wear-report a.img",
        "--json wear-report a.img",
        "inject-bad a.img --list",
        "format a.img --mapping block --force",
        "write a.img",
        "fsck a.img --undo-from u",
    ] {
        for output in ["a.img", "hard.img", "a.img.chip.json"] {
            bench.shell(&format!("$NANDIMG {line} >> {output}")).exits(16).says("itself");
        }
    }
    assert!(bench.snapshot() == before);
}

#[test]
fn an_output_in_the_place_of_the_chip_file_is_refused() {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --block-size 4096 --blocks 32").exits(0);
    let here = bench.path("a.img.chip.json").display().to_string();
    for output in ["a.img.chip.json", "./a.img.chip.json", &here] {
        bench.run(&format!("read a.img -o {output}")).exits(16).says("itself");
    }
    bench.run("read a.img -o here.json --chip-file here.json").exits(16).says("itself");
    bench
        .run("format b.img --mapping block --block-size 4096 --blocks 32 --page-size 512 --chip-file b.img")
        .exits(16)
        .says("itself");
    assert_eq!(bench.names(), ["a.img"]);
}

#[test]
fn binary_is_not_printed_to_a_terminal_unless_told() {
    let bench = Bench::with_volume(b"some content\x1b[2J");
    if !has_program("script") {
        return;
    }
    let on_a_terminal = |line: &str| bench.shell(&format!("script -qec \"$NANDIMG {line}\" /dev/null"));
    let refused = on_a_terminal("read a.img").exits(16);
    assert!(
        refused.text().contains("terminal") && !refused.text().contains("some content"),
        "{}",
        refused.text()
    );
    assert!(on_a_terminal("read a.img --force").exits(0).text().contains("some content"));
    on_a_terminal("read a.img -o out").exits(0);
    assert_eq!(bench.bytes("out"), b"some content\x1b[2J");
    let text = Bench::with_volume("plain te\u{e4}xt\n".as_bytes());
    let shown = text.shell("script -qec \"$NANDIMG read a.img\" /dev/null").exits(0);
    assert!(shown.text().contains("plain te\u{e4}xt"), "{}", shown.text());
}

#[test]
fn a_dash_is_a_standard_stream() {
    let bench = Bench::with_volume(b"some content");
    assert_eq!(bench.run("read a.img -o -").exits(0).stdout, b"some content");
    bench.feed("write a.img -i -", b"SOME").exits(0);
    assert_eq!(bench.content("a.img"), b"SOME content");
    bench.put("new", b"abcdef");
    // What was read of standard input before is not there to be written.
    bench
        .shell("{ dd bs=1 count=3 status=none of=/dev/null; $NANDIMG write a.img --truncate; } < new")
        .exits(0);
    assert_eq!(bench.content("a.img"), b"def");
}
