//! Which blocks are bad on the chip that the new image is for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use nandimg::flash::bad_map::{MAX_LEN, parse_bad_map};
use nandimg::flash::file_io::Access;
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{BadBlockMarker, Block, Geometry, marked_blocks};
use nandimg::layout::Layout;
use nandimg::probe;

use super::super::exit::{Failure, Kind};
use super::super::layout::plain;
use super::super::open::{lock_file, seen_through};
use super::super::output::{Ui, count};
use super::Args;

/// The chip, as far as it matters here.
pub(super) struct Chip<'a> {
    /// Where nobody says how many blocks it has, with as many as can be.
    pub(super) geometry: Geometry,
    pub(super) size_known: bool,
    pub(super) layout: &'a Layout,
    pub(super) marker: Option<BadBlockMarker>,
}

/// The bad blocks that `args` name, on this chip.
pub(super) fn named_blocks(args: &Args, chip: &Chip<'_>, ui: &Ui) -> Result<BTreeSet<Block>, Failure> {
    let mut named: BTreeSet<Block> =
        args.bad_blocks.iter().flat_map(|list| list.0.iter().copied().map(Block)).collect();
    if let Some(&block) = named.last().filter(|block| block.0 >= chip.geometry.blocks()) {
        let message = format!("--bad-blocks names {block}, and there are {} blocks", chip.geometry.blocks());
        return Err(Failure::new(Kind::OutOfRange, message));
    }
    if let Some(path) = &args.bad_map {
        let of_file = of_file(path, chip, ui);
        named.extend(
            of_file.map_err(|f| f.context(format!("cannot use the bad-block map {}", path.display())))?,
        );
    }
    Ok(named)
}

/// The bad blocks that a file tells of. An image of the chip is known by its size, with spare bytes or without.
fn of_file(path: &Path, chip: &Chip<'_>, ui: &Ui) -> Result<Vec<Block>, Failure> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(Failure::new(Kind::Unsupported, "it is not a regular file"));
    }
    let geometry = &chip.geometry;
    if !chip.size_known {
        let failed = |failure: Failure| failure.and("give --blocks or --chip with an image of the chip");
        return of_list(path, geometry).map_err(failed);
    }
    let data_len = u64::from(geometry.block_size()) * u64::from(geometry.blocks());
    if found.len() == geometry.raw_size() {
        return of_image(path, chip, ui);
    }
    if found.len() == data_len {
        let without = Geometry::new(geometry.page_size(), 0, geometry.block_size(), geometry.blocks());
        let geometry = without.map_err(nandimg::Error::from)?;
        let layout = plain(geometry.page_size(), 0)?;
        let chip = Chip { geometry, size_known: true, layout: &layout, marker: None };
        return of_image(path, &chip, ui);
    }
    let what = format!(
        "it is no image of the chip either, which has {} bytes, or {data_len} without spare bytes",
        geometry.raw_size()
    );
    of_list(path, geometry).map_err(|failure| failure.and(what))
}

/// The bad blocks that a list names.
fn of_list(path: &Path, geometry: &Geometry) -> Result<Vec<Block>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes)?;
    parse_bad_map(&bytes, geometry).map_err(|error| Failure::new(Kind::Unsupported, error.to_string()))
}

/// The bad blocks of a chip by its image.
fn of_image(path: &Path, chip: &Chip<'_>, ui: &Ui) -> Result<Vec<Block>, Failure> {
    let &Chip { ref geometry, layout, ref marker, .. } = chip;
    let file = lock_file(path, Access::ReadOnly, ui)?;
    let source = seen_through(&file.file, Some(layout));
    let found = probe::find_bbt(&*source, geometry, 0, marker.as_ref())?;
    drop(source);
    if let Some(table) = found {
        let bad: Vec<Block> = table.bad_blocks().map(|(block, _)| block).collect();
        let at = table.current.offset;
        ui.status(&format!(
            "{}: a Linux bad-block table at offset {at:#x} with {}",
            path.display(),
            count(bad.len() as u64, "bad block")
        ));
        return Ok(bad);
    }
    let mut state = ChipState::default();
    state.content.bad_block_marker.clone_from(marker);
    let flash = ImageFile::with_layout(file, *geometry, Some(layout), 0, state)?;
    if !nandimg::flash::FlashHardware::carries_marks(&flash) {
        let message =
            "it is an image of the chip, without a Linux bad-block table and without room for marks";
        return Err(Failure::new(Kind::Unsupported, message));
    }
    let bad = marked_blocks(&flash)?;
    ui.status(&format!(
        "{}: no Linux bad-block table; {} by mark",
        path.display(),
        count(bad.len() as u64, "bad block")
    ));
    Ok(bad)
}
