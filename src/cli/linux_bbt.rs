//! The bad-block table that Linux left at the end of a chip, for reports.

use nandimg::flash::{BadBlockMarker, Geometry};
use nandimg::onflash::linux_bbt::{BlockMark, Placement, Role};
use nandimg::probe::{FoundBbt, ReadAt, find_bbt};
use serde_json::{Value, json};

use super::exit::Failure;
use super::output::block_list;

/// The table at the end of the chip that `source` is a dump of, whatever lies on it; null where there is none.
pub(crate) fn report(
    source: &dyn ReadAt,
    of_volume: &Geometry,
    marker: Option<&BadBlockMarker>,
) -> Result<Value, Failure> {
    let blocks = u32::try_from(source.len() / of_volume.raw_block_size()).unwrap_or(0);
    let whole = Geometry::new(of_volume.page_size(), of_volume.spare_size(), of_volume.block_size(), blocks);
    let Ok(geometry) = whole else { return Ok(Value::Null) };
    Ok(find_bbt(source, &geometry, 0, marker)?.as_ref().map_or(Value::Null, to_json))
}

/// A table that was found.
pub(crate) fn to_json(found: &FoundBbt) -> Value {
    let state = |mark| if mark == BlockMark::FactoryBad { "factory-bad" } else { "worn" };
    let bad = found.bad_blocks().map(|(block, mark)| json!({ "block": block.0, "state": state(mark) }));
    let current = &found.current;
    json!({
        "block": current.block.0,
        "offset": current.offset,
        "copy": match current.header.role { Role::Main => "main", Role::Mirror => "mirror" },
        "placement": match current.placement { Placement::Spare => "spare", Placement::InBand => "in-band" },
        "version": current.header.version,
        "copies_agree": found.copies_agree(),
        "bad_blocks": bad.collect::<Vec<_>>(),
    })
}

/// The same, in a sentence; nothing where there is none.
pub(crate) fn describe(bbt: &Value) -> Option<String> {
    let offset = bbt["offset"].as_u64()?;
    let bad = bbt["bad_blocks"].as_array().into_iter().flatten();
    let bad: Vec<u32> = bad.filter_map(|entry| u32::try_from(entry["block"].as_u64()?).ok()).collect();
    let agree = if bbt["copies_agree"] == false { "; its copies differ" } else { "" };
    Some(format!(
        "bad-block table of Linux in block {} (offset {offset:#x}), version {}: bad blocks {}{agree}",
        bbt["block"],
        bbt["version"],
        block_list(&bad)
    ))
}
