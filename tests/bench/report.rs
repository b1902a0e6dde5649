//! The figures as tables, in Markdown.

use comfy_table::{CellAlignment, Table, presets};

use crate::ecc::Speed;
use crate::large::LargeMount;
use crate::run::{MountCost, Outcome};
use crate::store::Engine;

/// The most write amplification that the page-mapped engine may show: logical pages, workload, bound.
const AT_MOST: [(u32, &str, f64); 6] = [
    (47_824, "W1", 1.03),
    (47_824, "W2", 3.7),
    (38_259, "W3", 1.6),
    (47_824, "W3", 2.4),
    (47_824, "W4", 1.9),
    (47_824, "W5", 1.75),
];

pub(crate) fn print(outcomes: &[Outcome], large: &[LargeMount], codes: &[Speed]) {
    show("Operations in the measured part", &operations(outcomes));
    show("Erases of each block since the chip was new, blocks of a fixed place apart", &wear(outcomes));
    show("Mount after a clean end, and memory", &mounts(outcomes));
    show("Mount of large chips after a clean end", &large_mounts(large));
    show("Speed on a chip in RAM, and its ratio to shodh-redb in this run", &speed(outcomes));
    show("Page-mapped engine against what is asked of it", &against_bounds(outcomes));
    show(
        "Error-correcting codes, MiB of data a second and the ratio to a CRC-32 of the same steps",
        &ecc(codes),
    );
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

fn amplification(outcome: &Outcome) -> f64 {
    outcome.writes.per_host_page(outcome.writes.ops.programs)
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
            format!("{:.3}", amplification(outcome)),
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

/// Whether the page-mapped engine keeps to what is asked of it.
pub(crate) fn keeps_to_bounds(outcomes: &[Outcome]) -> bool {
    AT_MOST.into_iter().all(|(pages, workload, at_most)| {
        of_page_engine(outcomes, pages, workload).is_none_or(|ours| amplification(ours) <= at_most)
    })
}

fn of_page_engine<'a>(outcomes: &'a [Outcome], pages: u32, workload: &str) -> Option<&'a Outcome> {
    outcomes.iter().find(|outcome| {
        let job = outcome.job;
        (job.engine, job.pages, job.workload.name) == (Engine::Page, pages, workload)
    })
}

fn against_bounds(outcomes: &[Outcome]) -> Table {
    let mut table = table(0, &["logical pages", "workload", "WA ours", "at most", "", "wear max-min"]);
    for (pages, workload, at_most) in AT_MOST {
        let Some(ours) = of_page_engine(outcomes, pages, workload) else { continue };
        let spread = ours.wear.last().map_or(0, |wear| wear.levelled.spread());
        table.add_row([
            pages.to_string(),
            workload.to_owned(),
            format!("{:.3}", amplification(ours)),
            at_most.to_string(),
            if amplification(ours) <= at_most { "kept" } else { "MISSED" }.to_owned(),
            spread.to_string(),
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
