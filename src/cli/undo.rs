//! `nandimg fsck --undo-from`: take a repair back.

use std::io;
use std::path::Path;

use nandimg::check::undo::{Standing, Undo, UndoError, hash};
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
    let blocks = blocks_to_restore(&flash, &undo)?;
    let chip_file = match &chip_path {
        Some(path) => is_chip_file_to_restore(path, &undo)?,
        None => false,
    };
    for block in &blocks {
        flash.restore_raw_block(*block, &undo.blocks[block])?;
    }
    flash.sync()?;
    if let Some(path) = chip_path.filter(|_| chip_file) {
        restore_chip_file(&path, undo.header.chip_file.as_deref())?;
    }
    let restored: Vec<u32> = blocks.iter().map(|block| block.0).collect();
    let report = json!({
        "clean": Value::Null,
        "findings": [],
        "restored": restored,
        "chip_file_restored": chip_file,
    });
    ui.report(report, |_| match (blocks.len(), chip_file) {
        (0, false) => "there is nothing to put back: it is as it was before the repair\n".to_string(),
        (n, _) => format!("took the repair back: {} restored\n", count(n as u64, "block")),
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

/// The blocks that are not as they were before the repair. What was put back already, by an undo that was cut short or by hand,
/// does no harm; what else has changed would be lost.
fn blocks_to_restore(flash: &ImageFile, undo: &Undo) -> Result<Vec<Block>, Failure> {
    let mut blocks = Vec::new();
    for block in flash.geometry().iter_blocks() {
        match undo.standing(block, &flash.raw_block(block)?) {
            Standing::Before => {}
            Standing::Repaired => blocks.push(block),
            Standing::Changed => return Err(changed(&block.to_string())),
        }
    }
    Ok(blocks)
}

fn is_chip_file_to_restore(path: &Path, undo: &Undo) -> Result<bool, Failure> {
    let chip = read_if_there(path)?;
    if chip == undo.header.chip_file {
        return Ok(false);
    }
    match &undo.after {
        Some(after) if after.chip_file != hash(&chip.unwrap_or_default()) => {
            Err(changed(&format!("the chip file {}", path.display())))
        }
        _ => Ok(true),
    }
}

fn changed(what: &str) -> Failure {
    let message = format!("{what} has changed since the repair: nothing was put back");
    Failure::new(Kind::Unsupported, message)
}

fn restore_chip_file(path: &Path, content: Option<&[u8]>) -> Result<(), Failure> {
    let context =
        |e: io::Error| Failure::from(e).context(format!("cannot restore the chip file {}", path.display()));
    match content {
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
