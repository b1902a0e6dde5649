//! `nandimg mount-check`: whether and how an image would mount, and from which metadata.

use nandimg::flash::file_io::Access;
use nandimg::flash::{FlashHardware, Inspected};
use nandimg::ftl::{AnyVolume, Mapping, MetadataCopy, MountOptions, Volume, any};
use nandimg::layout::Layout;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::args::ImageArgs;
use super::ecc;
use super::exit::{Exit, Failure, Kind};
use super::geometry;
use super::health::Health;
use super::open::{Need, Opened, open};
use super::output::{Ui, block_list, error_object, hex, size, table};
use super::progress::Progress;
use super::same_file::refuse_stdout;

/// Say whether and how an image would mount
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// As it would mount from the metadata copy with this sequence number
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Also print the SHA-256 of the logical content
    #[arg(long)]
    hash: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    refuse_stdout(&args.image)?;
    let opened = match open(&args.image, Access::ReadOnly, Need::Volume, ui) {
        Ok(opened) => opened,
        Err(failure) if failure.kind == Kind::Unmountable => return report_unopened(&failure, ui),
        Err(failure) => return Err(failure),
    };
    let marked = opened.marked_blocks()?;
    let Opened { flash, mapping, resolved, chip_file } = opened;
    let mut report = unmounted(Some(mapping));
    let chip_file = chip_file.map(|path| path.display().to_string());
    let mut add = |key: &str, value: Value| report[key] = value;
    add("geometry", resolved.to_json());
    add("chip_file", json!(chip_file));
    // A mount to write may have to mend first; one to look tells as much.
    let options = MountOptions { sequence: args.sequence, ..MountOptions::read_only() };
    let volume = match AnyVolume::mount(Inspected(&flash), mapping, &options) {
        Ok(volume) => volume,
        Err(error) => {
            let failure = Failure::from(error).context(format!("{}", args.image.image.display()));
            add_unmounted(&mut add, &failure);
            add("bad_blocks", json!(marked));
            add("metadata", show_copies(&any::metadata(&flash, mapping)?, &flash));
            ui.report(report, show)?;
            return Ok(failure.kind.exit());
        }
    };
    let hash = if args.hash { hash_content(&volume, ui) } else { Ok(None) };
    let health = Health::of(&volume);
    add("mountable", json!(true));
    health.to_json().into_iter().for_each(|(key, value)| add(key, value));
    add("sequence", json!(volume.sequence()));
    add("logical_len", json!(volume.len()));
    add("capacity", json!(volume.capacity()));
    add("mapped_units", json!(volume.mapped_units()));
    add("free_blocks", json!(volume.free_blocks()));
    add("bad_blocks", json!(volume.bad_blocks().iter().map(|b| b.0).collect::<Vec<_>>()));
    add("metadata", show_copies(&volume.all_metadata()?, &flash));
    add("layout", json!(flash.layout().map(Layout::name)));
    add("ecc", ecc::to_json(&flash));
    add("sha256", json!(hash.as_ref().ok().and_then(Option::as_ref)));
    let mut exit = if health.is_degraded() || !health.is_writable() { Exit::Degraded } else { Exit::Done };
    if let Err(failure) = &hash {
        add("error", error_object(failure));
        exit = exit.max(failure.kind.exit());
    }
    ui.report(report, show)?;
    Ok(exit)
}

/// The report on a volume whose geometry is not known, since no copy of its metadata is whole.
fn report_unopened(failure: &Failure, ui: &Ui) -> Result<Exit, Failure> {
    let mut report = unmounted(failure.mapping);
    let mut add = |key: &str, value: Value| report[key] = value;
    for key in ["geometry", "chip_file"] {
        add(key, Value::Null);
    }
    add_unmounted(&mut add, failure);
    add("bad_blocks", json!([]));
    add("metadata", json!([]));
    ui.report(report, show)?;
    Ok(failure.kind.exit())
}

/// The beginning of the report on a volume that does not mount, as far as is known.
fn unmounted(mapping: Option<Mapping>) -> Value {
    json!({
        "mapping": mapping.map(Mapping::name),
        "mountable": false,
        "writable": false,
        "degraded": true,
    })
}

fn add_unmounted(add: &mut impl FnMut(&str, Value), failure: &Failure) {
    for key in ["sequence", "logical_len", "capacity", "mapped_units", "free_blocks", "sha256"] {
        add(key, Value::Null);
    }
    add("reason", json!(failure.message()));
    add("warnings", json!([]));
    add("error", error_object(failure));
}

fn show_copies<H: FlashHardware>(copies: &[MetadataCopy], flash: &H) -> Value {
    let show = |copy: &MetadataCopy| {
        json!({
            "location": copy.location,
            "block": copy.at.block.0,
            "page": copy.at.page,
            "offset": flash.raw_offset(copy.at),
            "state": copy.state.name(),
            "sequence": copy.sequence,
        })
    };
    copies.iter().map(show).collect()
}

/// The SHA-256 of the whole volume.
fn hash_content<V: Volume>(volume: &V, ui: &Ui) -> Result<Option<String>, Failure> {
    let mut hasher = Sha256::new();
    let mut progress = Progress::new(ui, "hashing");
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < volume.len() {
        let take = (volume.len() - at).min(buf.len() as u64) as usize;
        volume.read(at, &mut buf[..take])?;
        hasher.update(&buf[..take]);
        at += take as u64;
        progress.at(at, volume.len());
    }
    Ok(Some(hex(&hasher.finalize())))
}

fn show(report: &Value) -> String {
    let verdict = match (&report["mountable"], &report["writable"], &report["degraded"]) {
        (Value::Bool(false), ..) => "does not mount",
        (_, Value::Bool(false), _) => "mounts read-only",
        (_, _, Value::Bool(true)) => "mounts, by falling back",
        _ => "mounts",
    };
    let mut text = format!("{verdict}\n");
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<14} {value}\n"));
    if let Some(reason) = report["reason"].as_str() {
        line("reason", reason.to_string());
    }
    for warning in report["warnings"].as_array().into_iter().flatten().filter(|w| **w != report["reason"]) {
        line("warning", warning.as_str().unwrap_or_default().to_string());
    }
    line("mapping", report["mapping"].as_str().unwrap_or_default().to_string());
    if report["geometry"].is_object() {
        line("geometry", geometry::describe(&report["geometry"]));
    }
    if let Some(path) = report["chip_file"].as_str() {
        line("chip file", path.to_string());
    }
    if let Some(layout) = report["layout"].as_str() {
        line("layout", layout.to_string());
    }
    if let Some(flips) = ecc::describe(&report["ecc"]) {
        line("ECC", flips);
    }
    if report["mountable"] == true {
        for (name, key) in [("length", "logical_len"), ("capacity", "capacity")] {
            let bytes = report[key].as_u64().unwrap_or(0);
            line(name, format!("{bytes} bytes ({})", size(bytes)));
        }
        line("sequence", report["sequence"].to_string());
        let mapped = if report["mapping"] == "page" { "mapped pages" } else { "mapped blocks" };
        line(mapped, report["mapped_units"].to_string());
        line("free blocks", report["free_blocks"].to_string());
        let bad: Vec<u32> = serde_json::from_value(report["bad_blocks"].clone()).unwrap_or_default();
        line("bad blocks", block_list(&bad));
    }
    if let Some(hash) = report["sha256"].as_str() {
        line("SHA-256", hash.to_string());
    }
    let mut copies = table(&["metadata", "block", "offset", "state", "sequence"]);
    for copy in report["metadata"].as_array().into_iter().flatten() {
        let offset = copy["offset"].as_u64().unwrap_or(0);
        copies.add_row([
            copy["location"].as_str().unwrap_or_default().to_string(),
            copy["block"].to_string(),
            format!("{offset:#x}"),
            copy["state"].as_str().unwrap_or_default().to_string(),
            copy["sequence"].as_u64().map_or("-".to_string(), |n| n.to_string()),
        ]);
    }
    if let Some(message) = report["error"]["message"].as_str().filter(|message| report["reason"] != *message)
    {
        text.push_str(&format!("  error          {message}\n"));
    }
    format!("{text}{}\n", copies.trim_fmt())
}
