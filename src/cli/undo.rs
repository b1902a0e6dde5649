//! `nandimg fsck --undo-from`: take a repair back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use nandimg::check::undo::{Step, Undo, UndoError, hash};
use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::file_io::{Access, replace_file};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{Block, FlashHardware, Geometry};
use serde_json::{Value, json};

use super::args::ImageArgs;
use super::exit::{Exit, Failure, Kind};
use super::open::{chip_file_path, lock_file};
use super::output::{Ui, count};

/// Put image and chip file back as they were before the repair that made the undo file at `path`.
pub(crate) fn take_back(args: &ImageArgs, path: &Path, ui: &Ui) -> Result<Exit, Failure> {
    let undo = Undo::load(path).map_err(|error| {
        let failure = match error {
            UndoError::Io(error) => Failure::from(error),
            other => Failure::new(Kind::Unsupported, other),
        };
        failure.context(format!("cannot use the undo file {}", path.display()))
    })?;
    let mut flash = open_for_undo(args, &undo, ui)?;
    let chip_path = flash.chip().path.clone();
    refuse_if_changed(&flash, &undo, chip_path.as_deref())?;
    let context =
        |e: io::Error| Failure::from(e).context(format!("cannot write the undo file {}", path.display()));
    undo.note(path, Step::Begun).map_err(context)?;
    for (block, raw) in &undo.blocks {
        flash.restore_raw_block(*block, raw)?;
    }
    flash.sync()?;
    if let Some(path) = &chip_path {
        restore_chip_file(path, undo.header.chip_file.as_deref())?;
    }
    undo.note(path, Step::Done).map_err(context)?;
    let blocks: Vec<u32> = undo.blocks.iter().map(|(block, _)| block.0).collect();
    let report = json!({ "clean": Value::Null, "findings": [], "restored": blocks });
    ui.report(report, |_| {
        format!("took the repair back: {} restored\n", count(blocks.len() as u64, "block"))
    })?;
    Ok(Exit::Done)
}

/// The image, seen by the shape that the undo file states: the repair may have been cut short anywhere.
fn open_for_undo(args: &ImageArgs, undo: &Undo, ui: &Ui) -> Result<ImageFile, Failure> {
    let image = &args.image;
    let file = lock_file(image, Access::ReadWrite, ui)?;
    let header = &undo.header;
    let unfit = || {
        let message = format!("{}: the undo file belongs to an image of another size", image.display());
        Failure::new(Kind::GeometryMismatch, message)
    };
    let raw_block = u32::try_from(header.raw_block_size).map_err(|_| unfit())?;
    let blocks = u32::try_from(header.hashes.len()).map_err(|_| unfit())?;
    let geometry = Geometry::new(raw_block, 0, raw_block, blocks).map_err(|_| unfit())?;
    if !header.start.is_multiple_of(header.raw_block_size) {
        return Err(unfit());
    }
    let first_block = u32::try_from(header.start / header.raw_block_size).map_err(|_| unfit())?;
    let path = chip_file_path(image, &args.geometry);
    let state = ChipState { content: ChipFile::default(), path, changed: false };
    ImageFile::new(file, geometry, first_block, state).map_err(|_| unfit())
}

fn refuse_if_changed(flash: &ImageFile, undo: &Undo, chip_path: Option<&Path>) -> Result<(), Failure> {
    let changed = |what: String| {
        let message = format!("{what} has changed since the repair: nothing was put back");
        Err(Failure::new(Kind::GeometryMismatch, message))
    };
    let saved: BTreeSet<Block> = undo.blocks.iter().map(|(block, _)| *block).collect();
    let left: BTreeMap<Block, u64> =
        undo.after.iter().flat_map(|after| after.hashes.iter().copied()).collect();
    // A repair, or an undo, that was cut short may have left what is saved in any state.
    let any_state = undo.used == Some(Step::Begun) || (undo.used.is_none() && undo.after.is_none());
    for ((block, now), before) in flash.geometry().iter_blocks().zip(hashes(flash)?).zip(&undo.header.hashes)
    {
        let expected = match undo.used {
            None => left.get(&block).unwrap_or(before),
            Some(_) => before,
        };
        // A block that is back already does no harm.
        if now != *expected && now != *before && !(any_state && saved.contains(&block)) {
            return changed(format!("{block}"));
        }
    }
    let Some(path) = chip_path else { return Ok(()) };
    let chip = read_if_there(path)?;
    match &undo.after {
        _ if chip == undo.header.chip_file => Ok(()),
        Some(after) if after.chip_file != hash(&chip.unwrap_or_default()) => {
            changed(format!("the chip file {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn restore_chip_file(path: &Path, content: Option<&[u8]>) -> Result<(), Failure> {
    let context =
        |e: io::Error| Failure::from(e).context(format!("cannot restore the chip file {}", path.display()));
    let now = read_if_there(path)?;
    match content {
        _ if now.as_deref() == content => Ok(()),
        Some(content) => replace_file(path, content).map_err(context),
        None => std::fs::remove_file(path).map_err(context),
    }
}

/// The content of a chip file, where there is one.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::from(error).context(format!("cannot read the chip file {}", path.display())))
        }
    }
}

/// The hash of each block of the volume.
pub(crate) fn hashes(flash: &ImageFile) -> Result<Vec<u64>, Failure> {
    flash.geometry().iter_blocks().map(|block| Ok(hash(&flash.raw_block(block)?))).collect()
}
