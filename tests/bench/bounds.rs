//! What is asked of the page-mapped engine, and whether it keeps to it.

use crate::fsck::Scan;
use crate::large::LargeMount;
use crate::run::Outcome;
use crate::store::{Access, Engine};

/// The most write amplification: logical pages, workload, bound.
const AMPLIFICATION: [(u32, &str, f64); 6] = [
    (47_824, "W1", 1.03),
    (47_824, "W2", 3.7),
    (38_259, "W3", 1.6),
    (47_824, "W3", 2.4),
    (47_824, "W4", 1.9),
    (47_824, "W5", 1.75),
];

/// The least writes a second, as a multiple of shodh-redb's.
const WRITES: [(&str, f64); 2] = [("W1", 5.0), ("W3", 3.0)];

/// The most that erase counts may differ where all data changes.
const SPREAD: u32 = 10;

/// Pages that a mount may read after a clean end: on 1024 blocks, and read-only on any chip.
const MOUNT: usize = 40;
const LARGE_MOUNT: usize = 80;

/// How long `fsck` may take, in times of `cat`.
const SCAN: f64 = 2.0;

/// A figure, and the least or the most it may be.
pub(crate) struct Bound {
    pub(crate) what: String,
    pub(crate) found: f64,
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn at_most(what: String, found: f64, limit: f64) -> Self {
        Self { what, found, limit: Limit::AtMost(limit) }
    }

    pub(crate) fn is_kept(&self) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => self.found >= limit,
            Limit::AtMost(limit) => self.found <= limit,
        }
    }
}

/// The bounds of all that was measured.
pub(crate) fn of(outcomes: &[Outcome], large: &[LargeMount], scan: Option<&Scan>) -> Vec<Bound> {
    let mut bounds = Vec::new();
    for ours in outcomes.iter().filter(|outcome| outcome.job.engine == Engine::Page) {
        of_outcome(ours, outcomes, &mut bounds);
    }
    for mount in large.iter().filter(|mount| mount.chip.engine == Engine::Page) {
        if mount.cost.access == Access::ReadOnly {
            let what = format!("pages read by a read-only mount of {} blocks", mount.chip.blocks);
            let found = mount.cost.ops.page_reads as f64;
            bounds.push(Bound::at_most(what, found, LARGE_MOUNT as f64));
        }
    }
    bounds.extend(scan.map(|scan| Bound::at_most("fsck, in times of cat".into(), scan.ratio(), SCAN)));
    bounds
}

fn of_outcome(ours: &Outcome, outcomes: &[Outcome], bounds: &mut Vec<Bound>) {
    let (workload, pages) = (ours.job.workload.name, ours.job.pages);
    let whose = format!("{workload}, {pages} pages");
    let asked = AMPLIFICATION.iter().find(|asked| (asked.0, asked.1) == (pages, workload));
    if let Some(&(.., limit)) = asked {
        bounds.push(Bound::at_most(format!("write amplification, {whose}"), ours.amplification(), limit));
    }
    for wear in &ours.wear {
        let (levelled, after) = (&wear.levelled, &wear.after);
        if ["W3", "W4", "W5"].contains(&workload) {
            let what = format!("erases, most - least, {whose}, after {after}");
            bounds.push(Bound::at_most(what, levelled.spread().into(), SPREAD.into()));
        }
        if let Some(fixed) = &wear.fixed {
            let what = format!("erases in the anchor zone, {whose}, after {after}");
            bounds.push(Bound::at_most(what, fixed.max.into(), levelled.max.into()));
        }
    }
    for mount in &ours.mounts {
        let what = format!("pages read by a mount, {}, {whose}", mount.access.name());
        bounds.push(Bound::at_most(what, mount.ops.page_reads as f64, MOUNT as f64));
    }
    let theirs =
        outcomes.iter().find(|o| o.job.engine == Engine::Shodh && o.job.workload == ours.job.workload);
    let asked = WRITES.iter().find(|asked| asked.0 == workload);
    if let (Some(theirs), Some(&(_, limit))) = (theirs, asked) {
        let found = ours.writes.per_second() / theirs.writes.per_second();
        let what = format!("writes/s, in times of shodh-redb's, {whose}");
        bounds.push(Bound { what, found, limit: Limit::AtLeast(limit) });
    }
}
