//! Programs that are given only so much memory and time.

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::Duration;

/// What a program may take beyond what it takes by itself and the size of the image.
pub(crate) const ALLOWANCE: u64 = 64 << 20;
/// No single image takes nearly as long.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A command line that runs `program` with no more than `bytes` of address space.
pub(crate) fn limited(bytes: u64, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v $1 && shift && exec \"$@\"", "bash"]);
    command.arg((bytes / 1024).to_string()).arg(program);
    // One arena: what a thread reserves and does not use is not memory.
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

/// The largest address space a process had so far, in bytes.
pub(crate) fn peak_of(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("VmPeak");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}

/// Both streams of a program that ended, for a message.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}
