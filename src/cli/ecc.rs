//! What the ECC of an image's pages has found, for reports.

use nandimg::flash::corrections::{Corrections, PageCorrection};
use nandimg::flash::image::ImageFile;
use nandimg::flash::{Block, FlashError, FlashHardware, PageAddr};
use nandimg::layout::Layout;
use nandimg::probe::EccCount;
use serde_json::{Value, json};

use super::exit::Failure;
use super::output::count;

/// Read every page there is, so that all flips are known: also those in pages that hold nothing that counts.
pub(crate) fn read_all(flash: &ImageFile, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Failure> {
    if flash.layout().is_none_or(Layout::ecc_less) {
        return Ok(());
    }
    let geometry = *flash.geometry();
    let mut data = vec![0; geometry.block_size() as usize];
    for block in geometry.iter_blocks() {
        read_block(flash, block, &mut data)?;
        progress(u64::from(block.0) + 1, u64::from(geometry.blocks()));
    }
    Ok(())
}

/// Read a block; from a page that cannot be corrected it goes on behind it.
fn read_block(flash: &ImageFile, block: Block, data: &mut [u8]) -> Result<(), Failure> {
    let geometry = flash.geometry();
    let mut page = 0;
    while page < geometry.pages_per_block() {
        let start = page * geometry.page_size();
        match flash.read(block, start, &mut data[start as usize..]) {
            Ok(()) => return Ok(()),
            Err(FlashError::Unreadable { at, .. }) => page = at.page + 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A count of pages, for a report.
pub(crate) fn count_to_json(count: &EccCount) -> Value {
    json!({
        "pages": count.pages,
        "clean": count.clean,
        "corrected": count.corrected,
        "corrected_bits": count.corrected_bits,
        "uncorrectable": count.uncorrectable,
        "blank": count.blank,
    })
}

/// What was found as yet; null where the pages have no ECC.
pub(crate) fn to_json(flash: &ImageFile) -> Value {
    let Some(layout) = flash.layout().filter(|layout| !layout.ecc_less()) else { return Value::Null };
    let Corrections {
        corrected_pages,
        corrected_bits,
        uncorrectable_pages,
        strength,
        most_in_a_step,
        places,
        ..
    } = flash.corrections();
    let place = |(at, found): (&PageAddr, &PageCorrection)| {
        json!({
            "block": at.block.0,
            "page": at.page,
            "offset": flash.raw_offset(*at),
            "corrected_bits": found.bits,
            "most_in_a_step": found.most_in_a_step,
            "uncorrectable_steps": found.uncorrectable_steps,
        })
    };
    json!({
        "layout": layout.name(),
        "strength": strength,
        "corrected_pages": corrected_pages,
        "corrected_bits": corrected_bits,
        "uncorrectable_pages": uncorrectable_pages,
        "most_in_a_step": most_in_a_step,
        "places_omitted": corrected_pages + uncorrectable_pages - places.len() as u64,
        "places": places.iter().map(place).collect::<Vec<_>>(),
    })
}

/// The same, in a sentence; nothing where there was no flip.
pub(crate) fn describe(ecc: &Value) -> Option<String> {
    let number = |key: &str| ecc[key].as_u64().unwrap_or(0);
    let (corrected, uncorrectable) = (number("corrected_pages"), number("uncorrectable_pages"));
    if corrected + uncorrectable == 0 {
        return None;
    }
    let places = ecc["places"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lost = places.iter().find(|place| place["uncorrectable_steps"] != 0);
    let first = lost.map_or(String::new(), |place| {
        let offset = place["offset"].as_u64().unwrap_or(0);
        format!(", the first in block {}, page {} (offset {offset:#x})", place["block"], place["page"])
    });
    Some(format!(
        "{} corrected in {}, at most {} of {} in a step; {} uncorrectable{first}",
        count(number("corrected_bits"), "bit"),
        count(corrected, "page"),
        number("most_in_a_step"),
        number("strength"),
        count(uncorrectable, "page"),
    ))
}
