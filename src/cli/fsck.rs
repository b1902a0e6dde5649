//! `nandimg fsck`: check everything; with `--repair`, mend; with `--undo-from`, take a repair back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nandimg::check::undo::{After, UndoHeader, UndoWriter, hash};
use nandimg::check::{Checked, Finding, Remedy, Severity, any};
use nandimg::flash::file_io::Access;
use nandimg::flash::image::{ChangeLog, ImageFile};
use nandimg::flash::{Block, FlashHardware};
use serde_json::{Value, json};

use super::args::ImageArgs;
use super::ecc;
use super::exit::{Exit, Failure, Kind};
use super::linux_bbt;
use super::open::{Need, Opened, chip_file_path, open, seen_through};
use super::output::{Ui, count, size};
use super::progress::Progress;
use super::same_file::{Inputs, refuse_layout_file, refuse_stdout};
use super::undo::{hashes, read_if_there, take_back};

/// Check everything; with --repair, mend what can be mended without guessing
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Mend what can be mended without guessing about user data
    #[arg(long)]
    repair: bool,
    /// Save in FILE, which must not exist, what is needed to take the repair back
    #[arg(long, value_name = "FILE", requires = "repair")]
    undo: Option<PathBuf>,
    /// Take back the repair whose undo file this is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repair", "undo"])]
    undo_from: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    refuse_stdout(&args.image)?;
    if let Some(path) = &args.undo_from {
        return take_back(&args.image, path, ui);
    }
    let image = &args.image.image;
    let chip_file = chip_file_path(image, &args.image.geometry);
    if let Some(path) = &args.undo {
        Inputs { image, chip_file: chip_file.as_deref() }.refuse_as_output(Some(path))?;
        refuse_layout_file(args.image.geometry.layout.as_deref(), Some(path))?;
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(Kind::Exists, format!("the undo file {} exists", path.display())));
        }
    }
    let access = if args.repair { Access::ReadWrite } else { Access::ReadOnly };
    let opened = open(&args.image, access, Need::Volume, ui)?;
    let mut progress = Progress::new(ui, "checking");
    let mut report_progress = |done, total| progress.at(done, total);
    let in_image = |e: nandimg::Error| Failure::from(e).context(format!("{}", image.display()));
    let found = any::check(&opened.flash, opened.mapping, &mut report_progress).map_err(in_image)?;
    ecc::read_all(&opened.flash, &mut report_progress)?;
    let bbt = {
        let source = seen_through(opened.flash.file(), opened.flash.layout());
        linux_bbt::report(&*source, opened.flash.geometry(), opened.flash.marker())?
    };
    let about = Surroundings { ecc: ecc::to_json(&opened.flash), bbt };
    let mendable = found.findings.iter().any(|f| f.repair.is_some());
    if args.repair {
        warn_of_doubt(&found, ui);
    }
    let checked = match args.repair && mendable {
        true => repair(opened, &found, args.undo.as_deref(), &mut report_progress)
            .map_err(|f| f.context(format!("{}", image.display())))?,
        false => {
            if args.undo.is_some() {
                ui.status("there is nothing to mend, so no undo file was made");
            }
            found
        }
    };
    drop(progress);
    ui.report(to_json(&checked, &about), |_| show(&checked, &about, args.repair))?;
    Ok(exit_for(&checked))
}

/// What a rebuild cannot tell is known before it only: should it be cut short, nobody would hear of it.
fn warn_of_doubt(found: &Checked, ui: &Ui) {
    let is_rebuild = found.findings.iter().any(|finding| finding.repair == Some(Remedy::Rebuild));
    let stay = found.findings.iter().filter(|f| f.severity == Severity::Error && f.repair.is_none());
    let codes: BTreeSet<&str> = stay.clone().map(|finding| finding.code).collect();
    if is_rebuild && !codes.is_empty() {
        let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
        ui.warn(&format!(
            "{} will stay once the map is rebuilt: {codes}",
            count(stay.count() as u64, "error")
        ));
    }
}

fn exit_for(checked: &Checked) -> Exit {
    if !checked.is_clean() {
        Exit::Damage
    } else if checked.findings.iter().any(|f| f.repaired) {
        Exit::Degraded
    } else {
        Exit::Done
    }
}

fn repair(
    opened: Opened,
    found: &Checked,
    undo: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, Failure> {
    let Opened { mut flash, mapping, .. } = opened;
    let Some(path) = undo else {
        return keep_what_failed(any::repair(&mut flash, mapping, found, progress), &mut flash);
    };
    let context = |e: std::io::Error| {
        Failure::from(e).context(format!("cannot write the undo file {}", path.display()))
    };
    let header = undo_header(&flash)?;
    let writer = UndoWriter::create(path, &header).map_err(context)?;
    let log: Box<dyn ChangeLog> = Box::new(writer.try_clone().map_err(context)?);
    flash.set_change_log(log);
    let result = keep_what_failed(any::repair(&mut flash, mapping, found, progress), &mut flash);
    // Also a repair that failed half-way can be taken back.
    writer.finish(&after(&flash, &header)?).map_err(context)?;
    result
}

/// A repair that failed may have learnt of blocks that fail, which is worth keeping in the chip file.
fn keep_what_failed(result: nandimg::Result<Checked>, flash: &mut ImageFile) -> Result<Checked, Failure> {
    if result.is_err() {
        let _ = flash.sync();
    }
    Ok(result?)
}

/// What the undo file says of the image before the repair.
fn undo_header(flash: &ImageFile) -> Result<UndoHeader, Failure> {
    let geometry = *flash.geometry();
    let start = flash.raw_offset(nandimg::flash::PageAddr { block: Block(0), page: 0 });
    let chip_file = match &flash.chip().path {
        Some(path) => read_if_there(path)?,
        None => None,
    };
    Ok(UndoHeader { raw_block_size: geometry.raw_block_size(), start, chip_file, hashes: hashes(flash)? })
}

/// What the repair left, against what was before it.
fn after(flash: &ImageFile, before: &UndoHeader) -> Result<After, Failure> {
    let mut changed = BTreeMap::new();
    for (block, before_it) in flash.geometry().iter_blocks().zip(&before.hashes) {
        let raw = flash.raw_block(block)?;
        if hash(&raw) != *before_it {
            changed.insert(block, before.by_sector(block, &raw).map(hash).collect());
        }
    }
    let chip_file = match &flash.chip().path {
        Some(path) => read_if_there(path)?,
        None => None,
    };
    Ok(After { hashes: changed, chip_file: hash(&chip_file.unwrap_or_default()) })
}

/// What the chip itself has to say.
struct Surroundings {
    ecc: Value,
    /// The bad-block table of Linux.
    bbt: Value,
}

fn to_json(checked: &Checked, about: &Surroundings) -> Value {
    json!({
        "clean": checked.is_clean(),
        "findings": checked.findings,
        "checked": { "blocks": checked.blocks, "pages": checked.pages, "bytes": checked.bytes },
        "ecc": about.ecc,
        "linux_bbt": about.bbt,
    })
}

fn show(checked: &Checked, about: &Surroundings, repairing: bool) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        text.push_str(&show_finding(finding, repairing));
    }
    if let Some(flips) = ecc::describe(&about.ecc) {
        text.push_str(&format!("ECC: {flips}\n"));
    }
    if let Some(bbt) = linux_bbt::describe(&about.bbt) {
        text.push_str(&format!("{bbt}\n"));
    }
    let errors = checked.findings.iter().filter(|f| f.severity == Severity::Error && !f.repaired).count();
    let warnings = checked.findings.iter().filter(|f| f.severity == Severity::Warning && !f.repaired).count();
    let mended = checked.findings.iter().filter(|f| f.repaired).count();
    let verdict = if checked.is_clean() { "clean" } else { "damaged" };
    let mended = if mended > 0 { format!(", {mended} mended") } else { String::new() };
    text.push_str(&format!(
        "{verdict}: {}, {}{mended}; {} checked, {} ({}) read\n",
        count(errors as u64, "error"),
        count(warnings as u64, "warning"),
        count(checked.blocks, "block"),
        count(checked.pages, "page"),
        size(checked.bytes)
    ));
    text
}

fn show_finding(finding: &Finding, repairing: bool) -> String {
    let place = match (finding.block, finding.page, finding.offset) {
        (Some(block), Some(page), Some(offset)) => {
            format!(" [block {block}, page {page}, offset {offset:#x}]")
        }
        (Some(block), None, Some(offset)) => format!(" [block {block}, offset {offset:#x}]"),
        _ => String::new(),
    };
    let remedy = match (finding.repair, finding.repaired, repairing) {
        (Some(repair), true, _) => format!("\n    mended: {repair}"),
        (Some(repair), false, false) => format!("\n    --repair: {repair}"),
        (Some(_), false, true) => "\n    could not be mended".to_string(),
        (None, ..) if finding.severity == Severity::Error => {
            "\n    cannot be mended without guessing".to_string()
        }
        (None, ..) => String::new(),
    };
    format!("{}: {}: {}{place}{remedy}\n", finding.severity.name(), finding.code, finding.message)
}
