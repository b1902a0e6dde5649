//! The shape of the command line: global flags, help, wrong usage, completions.

use std::fs::File;
use std::process::Stdio;

use nandimg::flash::chips::CHIPS;

use crate::support::{Bench, NANDIMG, slot_offset};

#[test]
fn global_flags_are_taken_before_and_after_the_command() {
    let bench = Bench::with_volume(b"some content");
    for command in ["mount-check a.img", "fsck a.img", "wear-report a.img", "inject-bad a.img --list"] {
        let before = bench.run(&format!("--json {command}")).exits(0);
        let after = bench.run(&format!("{command} --json")).exits(0);
        assert_eq!(before.json(), after.json(), "{command}");
        let name = command.split(' ').next().unwrap();
        assert_eq!(before.json()["schema"], format!("nandimg.{name}/1"));
    }
    for flags in ["--quiet", "--verbose", "--no-progress", "--color always", "--color never", "--color auto"]
    {
        bench.run(&format!("{flags} mount-check a.img")).exits(0).says("mounts");
        bench.run(&format!("mount-check a.img {flags}")).exits(0).says("mounts");
    }
}

#[test]
fn verbose_says_where_each_value_comes_from() {
    let bench = Bench::with_volume(b"some content");
    let said = bench.run("--verbose mount-check a.img --blocks 32").exits(0);
    assert!(said.stderr.contains("number of blocks 32: from the command line"), "{}", said.stderr);
    assert!(said.stderr.contains("page size 512: from the chip file"), "{}", said.stderr);
    let said = bench.run("mount-check a.img --chip-file none -v").exits(0);
    assert!(said.stderr.contains("block size 4096: from the flash itself"), "{}", said.stderr);
    assert!(said.stderr.contains("assumed"), "{}", said.stderr);
    let quiet = bench.run("mount-check a.img").exits(0);
    assert!(!quiet.stderr.contains("from the"), "{}", quiet.stderr);
}

#[test]
fn quiet_leaves_only_results_warnings_and_errors() {
    let bench = Bench::with_volume(b"some content");
    assert!(!bench.run("read a.img").exits(0).stderr.is_empty());
    let read = bench.run("--quiet read a.img").exits(0);
    assert_eq!((read.stdout.as_slice(), read.stderr.as_str()), (b"some content".as_slice(), ""));
    bench.run("--quiet read missing.img").exits(8).says("missing.img");
    // One copy of the metadata is whole: what was read may be older than what was written.
    bench.patch("a.img", slot_offset('A'), |page| page[0] ^= 1);
    bench.run("--quiet read a.img").exits(0).says("warning: ");
}

#[test]
fn colour_is_used_when_asked_for_and_no_color_is_honoured() {
    let bench = Bench::new();
    assert!(bench.run("--color always fsck missing.img").exits(8).stderr.contains('\x1b'));
    assert!(!bench.run("--color never fsck missing.img").exits(8).stderr.contains('\x1b'));
    assert!(!bench.run("fsck missing.img").exits(8).stderr.contains('\x1b'));
}

#[test]
fn no_color_is_honoured_on_a_terminal() {
    let bench = Bench::new();
    if !crate::support::has_program("script") {
        return;
    }
    let on_a_terminal =
        |env: &str| bench.shell(&format!("{env} script -qec \"$NANDIMG fsck missing.img\" /dev/null"));
    assert!(on_a_terminal("").exits(8).text().contains("\x1b["));
    assert!(!on_a_terminal("NO_COLOR=1").exits(8).text().contains("\x1b["));
}

#[test]
fn wrong_usage_is_16_and_text_only() {
    let bench = Bench::with_volume(b"some content");
    let wrong = [
        "",
        "frobnicate a.img",
        "mount-check",
        "mount-check a.img --nonsense",
        "mount-check a.img --page-size twelve",
        "mount-check a.img --chip NOSUCHCHIP",
        "read a.img --length -1",
        "fsck a.img --undo u",
        "fsck a.img --repair --undo-from u",
        "inject-bad a.img",
        "inject-bad a.img --block 5 --count 1",
        "inject-bad a.img --block 5 --after 2",
        "inject-bad a.img --block 5 --when read --after 2",
        "inject-bad a.img --flip 3",
        "format a.img --mapping block --bad-blocks 9-3",
        "format a.img --mapping nonsense",
        "format a.img --mapping block --spare-percent 5",
        "format a.img --spare-percent 0",
        "format a.img --spare-percent 100",
        "completions nosuchshell",
        "--color sometimes mount-check a.img",
    ];
    let before = bench.snapshot();
    for line in wrong {
        let text = bench.run(line).exits(16);
        assert!(text.stdout.is_empty() && !text.stderr.is_empty(), "{line}: {text:?}");
        let json = bench.run(&format!("{line} --json")).exits(16);
        assert!(json.stdout.is_empty() && !json.stderr.is_empty(), "{line}: {json:?}");
    }
    // The data and the report cannot both have standard output.
    let both = bench.run("read a.img --json").exits(16);
    assert!(both.stdout.is_empty() && both.stderr.contains("-o"), "{both:?}");
    assert!(bench.snapshot() == before);
}

#[test]
fn help_and_version_are_printed_on_standard_output() {
    let bench = Bench::new();
    let help = bench.run("--help").exits(0).text();
    let commands =
        ["format", "mount-check", "read", "write", "fsck", "wear-report", "inject-bad", "completions"];
    for command in commands {
        assert!(help.contains(command), "{command}");
        bench.run(&format!("{command} --help")).exits(0).says("Usage");
    }
    bench.run("--version").exits(0).says(env!("CARGO_PKG_VERSION"));
    bench.run("inject-bad --help").exits(0).says("SplitMix64");
}

#[test]
fn layout_help_lists_the_layouts_whatever_else_is_missing() {
    let bench = Bench::new();
    for line in ["--layout help", "mount-check missing.img --layout=help", "convert --to-layout help"] {
        let text = bench.run(line).exits(0).text();
        assert!(text.contains("linux-bch<t>") && text.contains("raw"), "{line}: {text}");
    }
}

#[test]
fn chip_help_lists_the_chips_whatever_else_is_given() {
    let bench = Bench::new();
    for line in ["format --chip help", "mount-check missing.img --chip help", "read x --chip=help"] {
        let list = bench.run(line).exits(0).text();
        let row = |name: &str| list.lines().find(|row| row.split_whitespace().next() == Some(name));
        assert!(CHIPS.iter().all(|chip| row(chip.name).is_some()), "{line}: {list}");
        let cells = |name| row(name).unwrap().split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        assert_eq!(
            cells("MT29F1G01ABAFD"),
            "Micron SPI NAND 2048+128 64 1024 128 MiB 8/512 on-die 100000 20"
        );
        assert_eq!(cells("GD5F1GQ4UExxG"), "GigaDevice SPI NAND 2048+128 64 1024 128 MiB ? ? 20");
        assert_eq!(cells("W25Q128JV"), "Winbond SPI NOR 256+0 16 4096 16 MiB - ? -");
    }
}

#[test]
fn a_chip_that_is_not_known_is_answered_with_those_of_similar_names() {
    let bench = Bench::new();
    for (typed, similar) in [("W25N", "W25N512GW, W25N01GV, "), ("w25n01gvzeig", "similar: W25N01GV")] {
        bench.run(&format!("mount-check a.img --chip {typed}")).exits(16).says(similar);
    }
    for typed in ["X", "W25N01GÜV", "''"] {
        let refused = bench.shell(&format!("$NANDIMG mount-check a.img --chip {typed}")).exits(16);
        assert!(refused.stderr.contains("--chip help") && !refused.stderr.contains("similar"), "{refused:?}");
    }
}

#[test]
fn a_list_of_chips_that_cannot_be_printed_is_no_panic() {
    let bench = Bench::new();
    bench.shell("$NANDIMG --chip help > /dev/full").exits(8).says("standard output");
    let mut child =
        bench.command("--chip help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn completions_are_printed_for_every_shell_and_name_every_command() {
    let bench = Bench::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh", "man"] {
        let script = bench.run(&format!("completions {shell}")).exits(0).text();
        for command in ["mount-check", "wear-report", "inject-bad"] {
            let spelt = script.replace("\\-", "-");
            assert!(spelt.contains(command), "{shell}: {command}");
        }
        let report = bench.report(&format!("completions {shell}"));
        assert_eq!(report["schema"], "nandimg.completions/1");
        assert_eq!((&report["shell"], &report["script"]), (&shell.into(), &script.into()), "{shell}");
    }
    let check = bench.shell("$NANDIMG completions bash | bash -n");
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_closed_standard_error_does_not_matter() {
    let bench = Bench::with_volume(b"some content");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(NANDIMG);
    let output = command.args(["read", "a.img"]).current_dir(bench.dir()).stderr(full).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"some content".as_slice()));
}
