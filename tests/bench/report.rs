//! The figures as tables, in Markdown.

use comfy_table::{CellAlignment, Table, presets};

use crate::bounds::{Bound, Limit};
use crate::ecc::Speed;
use crate::fsck::Scan;
use crate::large::LargeMount;
use crate::run::{MountCost, Outcome};
use crate::store::Engine;

pub(crate) fn print(outcomes: &[Outcome], large: &[LargeMount], scan: Option<&Scan>, codes: &[Speed]) {
    show("Operations in the measured part", &operations(outcomes));
    show("Erases of each block since the chip was new, blocks of a fixed place apart", &wear(outcomes));
    show("Mount after a clean end, and memory", &mounts(outcomes));
    show("Mount of large chips after a clean end", &large_mounts(large));
    show("Speed on a chip in RAM, and its ratio to shodh-redb in this run", &speed(outcomes));
    show("fsck of a filled image of 1 GiB, and cat of the file", &scans(scan));
    show(
        "Error-correcting codes, MiB of data a second and the ratio to a CRC-32 of the same steps",
        &ecc(codes),
    );
}

pub(crate) fn print_bounds(bounds: &[Bound]) {
    let mut table = table(1, &["", "ours", "asked", ""]);
    for bound in bounds {
        let asked = match bound.limit {
            Limit::AtLeast(limit) => format!("at least {limit}"),
            Limit::AtMost(limit) => format!("at most {limit}"),
        };
        let found = format!("{:.3}", bound.found);
        let found = found.trim_end_matches('0').trim_end_matches('.');
        let kept = if bound.is_kept() { "kept" } else { "MISSED" };
        table.add_row([bound.what.as_str(), found, &asked, kept]);
    }
    show("Page-mapped engine against what is asked of it", &table);
}

fn show(title: &str, table: &Table) {
    if table.row_count() > 0 {
        println!("\n## {title}\n{table}");
    }
}

/// Text to the left, numbers to the right.
fn table(texts: usize, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The cells that say which run it was.
fn whose(outcome: &Outcome) -> [String; 3] {
    let job = outcome.job;
    [job.engine.name().to_owned(), job.workload.name.to_owned(), job.pages.to_string()]
}

fn add(table: &mut Table, first: impl IntoIterator<Item = String>, rest: impl IntoIterator<Item = String>) {
    table.add_row(first.into_iter().chain(rest));
}

fn operations(outcomes: &[Outcome]) -> Table {
    let mut table = table(
        2,
        &[
            "engine",
            "workload",
            "logical pages",
            "host pages",
            "write amplification",
            "pages read per host page",
            "erases per host MiB",
            "chip syncs",
        ],
    );
    for outcome in outcomes {
        let writes = outcome.writes;
        let row = [
            writes.host_pages.to_string(),
            format!("{:.3}", outcome.amplification()),
            format!("{:.3}", writes.per_host_page(writes.ops.page_reads as u64)),
            format!("{:.2}", writes.ops.erases as f64 / writes.host_mib()),
            writes.ops.syncs.to_string(),
        ];
        add(&mut table, whose(outcome), row);
    }
    table
}

fn wear(outcomes: &[Outcome]) -> Table {
    let mut table = table(
        2,
        &[
            "engine",
            "workload",
            "logical pages",
            "after",
            "min",
            "max",
            "max-min",
            "mean",
            "sd",
            "fixed: min",
            "fixed: max",
        ],
    );
    for outcome in outcomes {
        for wear in &outcome.wear {
            let w = wear.levelled;
            let fixed = wear
                .fixed
                .map_or(["-".to_owned(), "-".to_owned()], |f| [f.min.to_string(), f.max.to_string()]);
            let row = [
                wear.after.clone(),
                w.min.to_string(),
                w.max.to_string(),
                w.spread().to_string(),
                format!("{:.2}", w.mean),
                format!("{:.2}", w.stddev),
            ];
            add(&mut table, whose(outcome), row.into_iter().chain(fixed));
        }
    }
    table
}

const MOUNT: [&str; 6] = ["mount", "pages read", "programmed", "erased", "KiB held", "KiB after reading all"];

fn mount_cells(cost: &MountCost) -> [String; 6] {
    [
        cost.access.name(),
        cost.ops.page_reads.to_string(),
        cost.ops.programs.to_string(),
        cost.ops.erases.to_string(),
        kib(cost.held),
        kib(cost.held_after_reads),
    ]
}

fn kib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

fn mounts(outcomes: &[Outcome]) -> Table {
    let header =
        [&["engine", "workload", "logical pages"][..], &MOUNT, &["KiB at most, measured part"]].concat();
    let mut table = table(2, &header);
    for outcome in outcomes {
        for cost in &outcome.mounts {
            add(&mut table, whose(outcome), mount_cells(cost).into_iter().chain([kib(outcome.peak)]));
        }
    }
    table
}

fn large_mounts(large: &[LargeMount]) -> Table {
    let header = [&["engine", "blocks", "pages written"][..], &MOUNT].concat();
    let mut table = table(1, &header);
    for LargeMount { chip, written, cost } in large {
        let whose = [chip.engine.name().to_owned(), chip.blocks.to_string(), written.to_string()];
        add(&mut table, whose, mount_cells(cost));
    }
    table
}

fn speed(outcomes: &[Outcome]) -> Table {
    let mut table = table(
        2,
        &[
            "engine",
            "workload",
            "logical pages",
            "writes/s",
            "ratio",
            "reads/s",
            "ratio",
            "pages read per host read",
        ],
    );
    for outcome in outcomes {
        let job = outcome.job;
        let theirs =
            outcomes.iter().find(|o| o.job.engine == Engine::Shodh && o.job.workload == job.workload);
        let ratio = |of: fn(&Outcome) -> f64| {
            theirs.map_or("-".to_owned(), |theirs| format!("{:.2}", of(outcome) / of(theirs)))
        };
        let row = [
            format!("{:.0}", outcome.writes.per_second()),
            ratio(|o| o.writes.per_second()),
            format!("{:.0}", outcome.reads.per_second()),
            ratio(|o| o.reads.per_second()),
            format!("{:.2}", outcome.reads.per_host_page(outcome.reads.ops.page_reads as u64)),
        ];
        add(&mut table, whose(outcome), row);
    }
    table
}

fn scans(scan: Option<&Scan>) -> Table {
    let mut table = table(0, &["MiB of data", "fsck, s", "cat, s", "ratio"]);
    if let Some(scan) = scan {
        table.add_row([
            (scan.data >> 20).to_string(),
            format!("{:.3}", scan.fsck),
            format!("{:.3}", scan.cat),
            format!("{:.2}", scan.ratio()),
        ]);
    }
    table
}

fn ecc(codes: &[Speed]) -> Table {
    let mut table = table(
        1,
        &[
            "code",
            "CRC-32",
            "encode",
            "ratio",
            "clean check",
            "ratio",
            "1 flip a step",
            "ratio",
            "t flips a step",
            "ratio",
        ],
    );
    for speed in codes {
        let mut row = vec![speed.code.to_string(), format!("{:.0}", speed.crc)];
        for of in [speed.encode, speed.clean, speed.one_flip, speed.all_flips] {
            row.extend([format!("{of:.1}"), format!("{:.3}", of / speed.crc)]);
        }
        table.add_row(row);
    }
    table
}
