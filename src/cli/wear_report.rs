//! `nandimg wear-report`: erase counts, bad blocks, remaining life.

use std::path::PathBuf;

use nandimg::check::wear::WearStatistics;
use nandimg::flash::file_io::Access;
use nandimg::flash::{Block, FlashHardware};
use nandimg::ftl::{BlockUse, MountOptions, Volume};
use serde_json::{Value, json};

use super::args::{GeometryArgs, ImageArgs};
use super::exit::{Exit, Failure};
use super::health::Health;
use super::open::mount;
use super::output::{Ui, block_list, table};
use super::same_file::refuse_stdout;

/// Show erase counts, bad blocks and remaining life
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Raw flash images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    geometry: GeometryArgs,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let name = |image: &PathBuf| ImageArgs { image: image.clone(), geometry: args.geometry.clone() };
    args.images.iter().try_for_each(|image| refuse_stdout(&name(image)))?;
    for image in &args.images {
        let named = name(image);
        match report_on(&named, ui) {
            Ok(mut report) => {
                if args.images.len() > 1 {
                    report["image"] = json!(image.display().to_string());
                }
                ui.report(report, show)?;
            }
            Err(failure) if args.images.len() == 1 => return Err(failure),
            Err(failure) => exit = exit.max(ui.fail_one(&failure, image)),
        }
    }
    Ok(exit)
}

fn report_on(args: &ImageArgs, ui: &Ui) -> Result<Value, Failure> {
    let mounted = mount(args, Access::ReadOnly, &MountOptions::read_only(), ui)?;
    let volume = &mounted.volume;
    let counts: Vec<(Block, u32)> =
        volume.flash().geometry().iter_blocks().zip(volume.erase_counts().iter().copied()).collect();
    let uses: Vec<BlockUse> = counts.iter().map(|&(block, _)| volume.block_use(block)).collect();
    let levelled = uses.iter().zip(&counts).filter(|(u, _)| {
        matches!(u, BlockUse::Data | BlockUse::Free | BlockUse::Metadata { fixed: false, .. })
    });
    let statistics = WearStatistics::of(levelled.map(|(_, &(_, erases))| erases));
    let good = uses.iter().zip(&counts).filter(|(u, _)| **u != BlockUse::Bad);
    let most_worn = good.map(|(_, &(_, erases))| erases).max();
    let rated = volume.flash().geometry().max_erase_cycles();
    let life = most_worn.zip(rated).map(|(worn, rated)| 100.0 * f64::from(worn) / f64::from(rated.max(1)));
    let fixed = uses.iter().zip(&counts).filter_map(|(u, &(block, erases))| match u {
        BlockUse::Metadata { role, fixed: true } => {
            Some(json!({ "block": block.0, "erases": erases, "role": role }))
        }
        _ => None,
    });
    let mut report = json!({
        "mapping": volume.mapping().name(),
        "geometry": mounted.resolved.to_json(),
        "erase_counts": statistics,
        "total": counts.iter().map(|&(_, erases)| u64::from(erases)).sum::<u64>(),
        "spread": statistics.map(|s| s.spread()),
        "fixed_blocks": fixed.collect::<Vec<_>>(),
        "per_block": uses.iter().zip(&counts).map(|(u, &(block, erases))| {
            json!({ "block": block.0, "erases": erases, "state": state_name(*u) })
        }).collect::<Vec<_>>(),
        "bad_blocks": volume.bad_blocks().iter().map(|b| b.0).collect::<Vec<_>>(),
        "max_erase_cycles": rated,
        "life_used_percent": life,
    });
    Health::of(volume).add_to(&mut report);
    Ok(report)
}

fn state_name(block_use: BlockUse) -> &'static str {
    match block_use {
        BlockUse::Bad => "bad",
        BlockUse::Metadata { .. } => "metadata",
        BlockUse::Data => "data",
        BlockUse::Reserved => "reserved",
        BlockUse::Free => "free",
    }
}

fn show(report: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<18} {value}\n"));
    if let Some(image) = report["image"].as_str() {
        line("image", image.to_string());
    }
    let counts = &report["erase_counts"];
    let two = |key: &str| format!("{:.2}", counts[key].as_f64().unwrap_or(0.0));
    if counts.is_object() {
        line("erases", format!("{} to {}, spread {}", counts["min"], counts["max"], report["spread"]));
        line("mean", format!("{}, standard deviation {}", two("mean"), two("stddev")));
        line("percentiles", format!("50 %: {}, 99 %: {}", counts["p50"], counts["p99"]));
    }
    line("total erases", report["total"].to_string());
    match (report["life_used_percent"].as_f64(), report["max_erase_cycles"].as_u64()) {
        (Some(life), Some(rated)) => line("life used", format!("{life:.2} % of {rated} rated cycles")),
        _ => line("life used", "unknown: the rated cycles are not known (--max-erase-cycles)".to_string()),
    }
    let bad: Vec<u32> = serde_json::from_value(report["bad_blocks"].clone()).unwrap_or_default();
    line("bad blocks", block_list(&bad));
    let per_block = report["per_block"].as_array().cloned().unwrap_or_default();
    for state in ["metadata", "data", "reserved", "free"] {
        let n = per_block.iter().filter(|b| b["state"] == state).count();
        line(&format!("{state} blocks"), n.to_string());
    }
    format!("{text}\nfixed blocks and the most worn others\n{}\n", most_worn(report, &per_block))
}

/// The fixed blocks and the ten most worn of the others.
fn most_worn(report: &Value, per_block: &[Value]) -> String {
    let mut rows = table(&["block", "erases", "role"]);
    for block in report["fixed_blocks"].as_array().into_iter().flatten() {
        rows.add_row([block["block"].to_string(), block["erases"].to_string(), text_of(&block["role"])]);
    }
    let fixed: Vec<&Value> =
        report["fixed_blocks"].as_array().into_iter().flatten().map(|b| &b["block"]).collect();
    let mut others: Vec<&Value> =
        per_block.iter().filter(|b| b["state"] != "reserved" && !fixed.contains(&&b["block"])).collect();
    others.sort_by_key(|b| (std::cmp::Reverse(b["erases"].as_u64()), b["block"].as_u64()));
    for block in others.into_iter().take(10) {
        rows.add_row([block["block"].to_string(), block["erases"].to_string(), text_of(&block["state"])]);
    }
    rows.trim_fmt()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}
