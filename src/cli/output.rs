//! What a person or a script gets to see: reports on standard output, all else on standard error.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use super::exit::{Exit, Failure, Kind};
use super::{Cli, Color};

/// How to talk, for one run of one command.
pub(crate) struct Ui {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) progress: bool,
    color: bool,
    command: &'static str,
    /// A JSON object has been printed.
    answered: Cell<bool>,
}

impl Ui {
    pub(crate) fn new(cli: &Cli, command: &'static str) -> Self {
        let color = match cli.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            json: cli.json,
            quiet: cli.quiet,
            verbose: cli.verbose,
            progress: !cli.json && !cli.quiet && !cli.no_progress && io::stderr().is_terminal(),
            color,
            command,
            answered: Cell::new(false),
        }
    }

    fn say(&self, label: &str, ansi: &str, message: &str) {
        let mut err = io::stderr().lock();
        // Where standard error is closed there is nobody left to tell.
        let _ = match self.color {
            true => writeln!(err, "{ansi}{label}\x1b[0m {message}"),
            false => writeln!(err, "{label} {message}"),
        };
    }

    /// Something the user should know and need not act on.
    pub(crate) fn status(&self, message: &str) {
        if !self.quiet && !self.json {
            self.say("nandimg:", "", message);
        }
    }

    pub(crate) fn detail(&self, message: &str) {
        if self.verbose {
            self.say("nandimg:", "", message);
        }
    }

    pub(crate) fn warn(&self, message: &str) {
        // The one object says it, too.
        if !(self.quiet && self.json) {
            self.say("warning:", "\x1b[1;33m", message);
        }
    }

    /// Print the one JSON object of this command.
    pub(crate) fn print_json(&self, report: Value) -> Result<(), Failure> {
        self.answered.set(true);
        let mut object = Map::new();
        object.insert("schema".into(), json!(format!("nandimg.{}/1", self.command)));
        if let Value::Object(report) = report {
            object.extend(report);
        }
        print(&format!("{}\n", Value::Object(object)))
    }

    /// Print a report, as JSON or as text.
    pub(crate) fn report(&self, report: Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        if self.json {
            return self.print_json(report);
        }
        print(&text(&report))
    }

    /// Say why the command failed for one of several images.
    pub(crate) fn fail_one(&self, failure: &Failure, image: &std::path::Path) -> Exit {
        if self.json {
            let object = json!({ "image": image.display().to_string(), "error": error_object(failure) });
            let _ = self.print_json(object);
        } else {
            self.say("error:", "\x1b[1;31m", &failure.message());
        }
        failure.kind.exit()
    }

    /// Say why the command failed.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        if failure.kind == Kind::ReaderGone {
            return Exit::Done;
        }
        let in_json = self.json && failure.kind != Kind::Usage;
        let told = match self.answered.get() {
            false => in_json && self.print_json(json!({ "error": error_object(failure) })).is_ok(),
            // The object holds what went wrong, unless it is the object that could not be printed.
            true => in_json && failure.kind != Kind::Io,
        };
        if !told {
            self.say("error:", "\x1b[1;31m", &failure.message());
        }
        failure.kind.exit()
    }
}

/// What a report says of a failure.
pub(crate) fn error_object(failure: &Failure) -> Value {
    json!({ "kind": failure.kind.name(), "message": failure.message() })
}

/// Write `text` to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(stdout_failure)
}

/// What it means that standard output takes no more.
pub(crate) fn stdout_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::new(Kind::ReaderGone, "the reader of standard output went away");
    }
    Failure::from(error).context("cannot write to standard output")
}

/// A table without lines, in the house's style.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().copied());
    table
}

/// A size for a person: exact bytes, and binary units where they are rounder.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = bytes as f64;
    let mut unit = None;
    for name in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = Some(name);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(name) if scaled.fract() == 0.0 => format!("{scaled:.0} {name}"),
        Some(name) => format!("{scaled:.2} {name}"),
    }
}

/// A number of things for a person: `1 block`, `2 blocks`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("{n} {thing}") } else { format!("{n} {thing}s") }
}

/// Block numbers for a person: ranges where they run on, `none` where there is none.
pub(crate) fn block_list(blocks: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &block in blocks {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == block => *last = block,
            _ => ranges.push((block, block)),
        }
    }
    let show = |&(a, b): &(u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    match ranges.is_empty() {
        true => "none".to_string(),
        false => ranges.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(2048), "2 KiB");
        assert_eq!(size(1_057_088), "1.01 MiB");
        assert_eq!((count(0, "block"), count(1, "block")), ("0 blocks".to_string(), "1 block".to_string()));
        assert_eq!(block_list(&[]), "none");
        assert_eq!(block_list(&[3, 7, 8, 9, 12]), "3, 7-9, 12");
    }
}
