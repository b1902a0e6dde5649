//! The README is true: every command in it is run, and prints what the README says.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the output of the day into it.
#![cfg(unix)]
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// Run `command` in `dir` as a reader would, with `nandimg` on the path; what it prints, and its exit status if that is not 0.
fn run(command: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_nandimg")).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let merged = format!("exec 2>&1; {command}");
    let output =
        Command::new("bash").args(["-c", &merged]).current_dir(dir).env("PATH", path).output().expect("bash");
    let mut text = String::from_utf8(output.stdout).expect("text");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        code => writeln!(text, "[exit status {}]", code.expect("no signal")).expect("a string"),
    }
    text.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// The README with the output of each `console` block as it is today.
fn rerun(readme: &str, dir: &Path) -> (String, usize) {
    let (mut text, mut commands, mut in_console) = (String::new(), 0, false);
    for line in readme.lines() {
        match line {
            "```console" => in_console = true,
            "```" => in_console = false,
            _ => {}
        }
        let command = line.strip_prefix("$ ").filter(|_| in_console);
        if command.is_some() || !in_console || line == "```console" {
            text += line;
            text.push('\n');
        }
        if let Some(command) = command {
            text += &run(command, dir);
            commands += 1;
        }
    }
    (text, commands)
}

/// A directory with what the README's examples start from.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    std::os::unix::fs::symlink(testdata, dir.path().join("testdata")).expect("a link");
    dir
}

#[test]
fn the_examples_print_what_the_readme_says() {
    let readme = std::fs::read_to_string(README).expect("the README");
    let (today, commands) = rerun(&readme, workplace().path());
    assert!(commands > 15, "the README has examples: {commands}");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, &today).expect("the README");
        return;
    }
    for (said, is) in readme.lines().zip(today.lines()) {
        assert_eq!(said, is, "the README is not true any more");
    }
    assert_eq!(readme.lines().count(), today.lines().count());
}

#[test]
fn the_first_command_does_the_main_job() {
    let readme = std::fs::read_to_string(README).expect("the README");
    let setup =
        readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a set-up block");
    let commands: Vec<&str> = setup.lines().filter(|line| !line.starts_with('#')).collect();
    let [main_job, tests] = commands[..] else { panic!("two commands do all the set-up: {commands:?}") };
    assert_eq!(tests, "cargo test");
    // The build is this test's own.
    let dir = workplace();
    let output = run(&main_job.replace("cargo run --release -q --", "nandimg"), dir.path());
    assert!(!output.contains("error") && !output.contains("exit status"), "{output}");
    let database = std::fs::read(dir.path().join("database.redb")).expect("the database");
    assert!(database.starts_with(b"redb\x1A\x0A\xA9\x0D\x0A"), "a database came out");
}
