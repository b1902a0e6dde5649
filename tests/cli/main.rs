//! The command line, as a script sees it: exit statuses, reports, and what is left on disk.
#![cfg(unix)]

mod support;
