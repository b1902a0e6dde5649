//! `nandimg completions`: scripts and the manual page, generated from the command line's own description.

use std::io;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use super::exit::{Exit, Failure};
use super::output::Ui;

/// Print a completion script, or the manual page.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell; "man" for the manual page
    #[arg(value_enum)]
    shell: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
    /// The manual page
    Man,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    let mut text = Vec::new();
    let shell = match args.shell {
        Target::Bash => Some(Shell::Bash),
        Target::Elvish => Some(Shell::Elvish),
        Target::Fish => Some(Shell::Fish),
        Target::Powershell => Some(Shell::PowerShell),
        Target::Zsh => Some(Shell::Zsh),
        Target::Man => None,
    };
    match shell {
        Some(shell) => clap_complete::generate(shell, &mut command, "nandimg", &mut text),
        None => manual(command, &mut text)?,
    }
    let name = args.shell.to_possible_value().map(|value| value.get_name().to_string());
    let script = String::from_utf8_lossy(&text);
    ui.report(json!({ "shell": name, "script": script }), |_| script.to_string())?;
    Ok(Exit::Done)
}

/// One page for the whole program: the main page's sections, then each subcommand's options.
fn manual(command: clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    page.render_subcommands_section(out)?;
    for subcommand in command.get_subcommands() {
        let page = clap_mangen::Man::new(subcommand.clone());
        io::Write::write_fmt(
            out,
            format_args!(".SH \"NANDIMG {}\"\n", subcommand.get_name().to_uppercase()),
        )?;
        page.render_synopsis_section(out)?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
    }
    page.render_extra_section(out)?;
    page.render_version_section(out)
}
