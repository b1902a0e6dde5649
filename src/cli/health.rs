//! How well a volume is mounted that is only looked at: what a script is told of it, by whichever command.

use nandimg::ftl::{MOUNTED_READ_ONLY, Volume};
use serde_json::{Value, json};

/// What is not as it should be.
pub(crate) struct Health<'a> {
    /// Why nothing could be written.
    read_only: Option<&'a str>,
    /// Why not all is well.
    fallback: Option<&'a str>,
    warnings: &'a [String],
}

impl<'a> Health<'a> {
    pub(crate) fn of<V: Volume>(volume: &'a V) -> Self {
        let read_only = volume.read_only().filter(|&reason| reason != MOUNTED_READ_ONLY);
        Self { read_only, fallback: volume.fallback(), warnings: volume.warnings() }
    }

    /// It mounts only by falling back.
    pub(crate) fn is_degraded(&self) -> bool {
        self.fallback.is_some()
    }

    /// It could be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.read_only.is_none()
    }

    /// Put it into a report.
    pub(crate) fn add_to(&self, report: &mut Value) {
        self.to_json().into_iter().for_each(|(key, value)| report[key] = value);
    }

    /// The same as keys of a report.
    pub(crate) fn to_json(&self) -> [(&'static str, Value); 4] {
        [
            ("writable", json!(self.is_writable())),
            ("degraded", json!(self.is_degraded())),
            ("reason", json!(self.read_only.or(self.fallback))),
            ("warnings", json!(self.warnings)),
        ]
    }
}
