//! The command line: what is global, and the way to a subcommand and out again.

mod args;
mod completions;
mod convert;
mod ecc;
mod exit;
mod flips;
mod format;
mod fsck;
mod geometry;
mod health;
mod info;
mod inject_bad;
mod layout;
mod linux_bbt;
mod mount_check;
mod open;
mod output;
mod progress;
mod read;
mod same_file;
mod undo;
mod wear_report;
mod write;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::exit::{Exit, Failure, Kind};
use self::output::Ui;

/// Format, mount, read, write, check, repair, wear and break raw NAND flash images.
#[derive(Debug, Parser)]
#[command(name = "nandimg", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Print no status and no progress, only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Say more: where each part of the geometry comes from
    #[arg(long, short, global = true)]
    verbose: bool,
    /// Show no progress bar
    #[arg(long, global = true)]
    no_progress: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, healthy; 1 mended, or mounts only by falling back or read-only; 4 damage remains; 8 could not be \
done; 16 wrong usage.

Sizes take suffixes and hex: 2048, 0x800, 2KiB, 128k, 1MiB. Every command learns the geometry from its flags, the chip \
file beside the image (IMAGE.chip.json), or the flash itself, in this order.";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Format(format::Args),
    MountCheck(mount_check::Args),
    Read(read::Args),
    Write(write::Args),
    Fsck(fsck::Args),
    WearReport(wear_report::Args),
    InjectBad(inject_bad::Args),
    Info(info::Args),
    Convert(convert::Args),
    Completions(completions::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::MountCheck(_) => "mount-check",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Fsck(_) => "fsck",
            Self::WearReport(_) => "wear-report",
            Self::InjectBad(_) => "inject-bad",
            Self::Info(_) => "info",
            Self::Convert(_) => "convert",
            Self::Completions(_) => "completions",
        }
    }

    fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        match self {
            Self::Format(args) => format::run(args, ui),
            Self::MountCheck(args) => mount_check::run(args, ui),
            Self::Read(args) => read::run(args, ui),
            Self::Write(args) => write::run(args, ui),
            Self::Fsck(args) => fsck::run(args, ui),
            Self::WearReport(args) => wear_report::run(args, ui),
            Self::InjectBad(args) => inject_bad::run(args, ui),
            Self::Info(args) => info::run(args, ui),
            Self::Convert(args) => convert::run(args, ui),
            Self::Completions(args) => completions::run(args, ui),
        }
    }
}

/// Parse the command line, run the command, and say how it went.
pub(crate) fn main() -> ExitCode {
    let asked = |flags: &[&str]| asks_for_help_with(flags, std::env::args_os());
    if asked(&["--chip"]) {
        return print_list(&args::list_chips()).into();
    }
    if asked(&["--layout", "--to-layout"]) {
        return print_list(&layout::list()).into();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done where even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let ui = Ui::new(&cli, cli.command.name());
    match cli.command.run(&ui) {
        Ok(exit) => exit.into(),
        Err(failure) => ui.fail(&failure).into(),
    }
}

fn print_list(list: &str) -> Exit {
    match output::print(&format!("{list}\n")) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if failure.kind != Kind::ReaderGone {
                // Where standard error is closed too, the exit status is left to speak.
                let _ = writeln!(io::stderr(), "error: {}", failure.message());
            }
            failure.kind.exit()
        }
    }
}

/// Whether `help` is asked for as the value of one of these flags; it answers by itself, whatever else is there or missing.
fn asks_for_help_with(flags: &[&str], arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let arguments: Vec<_> = arguments.collect();
    let asks = |flag: &&str| {
        arguments.iter().any(|a| *a == *format!("{flag}=help"))
            || arguments.windows(2).any(|w| w[0] == **flag && w[1] == "help")
    };
    flags.iter().any(asks)
}
