//! The command line, as a script sees it: exit statuses, reports, and what is left on disk.
#![cfg(unix)]

mod convert;
mod ecc;
mod errors;
mod format;
mod fsck;
mod info;
mod inject_bad;
mod kill;
mod page_fsck;
mod paged;
mod read_only;
mod reports;
mod round_trips;
mod samples;
mod streams;
mod support;
mod undo;
mod usage;
