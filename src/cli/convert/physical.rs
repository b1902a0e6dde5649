//! Page by page: layouts, ECC and bad blocks. The whole file is converted, whatever lies in it; blocks count from its start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use nandimg::flash::chip_file::{ChipFile, ChipGeometry, StoredLayout};
use nandimg::flash::dump::{Arrangement, BadBlocks, Content};
use nandimg::flash::file_io::{Access, read_exact_at};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{BadBlockMarker, Block, FlashHardware, Geometry, PageAddr, marked_blocks};
use nandimg::layout::{Layout, Transcoder};
use nandimg::probe::{self, EccCount, FoundVolume, ReadAt, Seen};
use serde_json::{Value, json};

use super::super::ecc::count_to_json;
use super::super::exit::{Exit, Failure, Kind};
use super::super::geometry::{Claims, Resolved, Source as Origin, preset_marker};
use super::super::layout::{find_layout, plain};
use super::super::open::{load_chip_file, lock_file, seen_through, unknown_geometry};
use super::super::output::{Ui, block_list, count, error_object, size};
use super::super::progress::Progress;
use super::bad_map::{Chip, named_blocks};
use super::target::{Target, open_new};
use super::{Args, Lost, layout_of_target};

/// No page is nearly as large, in bytes: a few are held at a time.
const MAX_PAGE: u64 = 16 << 20;

/// No chip has as many.
const MOST_BLOCKS: u32 = u32::MAX / 8;

pub(super) fn run(args: &Args, target: &Target, ui: &Ui) -> Result<Exit, Failure> {
    let handling = args.bad_block_handling();
    let source = Source::open(args, ui)?;
    let to = source.layout_of_target(args)?;
    let named = source.named_blocks(args, &to, ui)?;
    let laid_around = if handling == BadBlocks::Skip { named.clone() } else { BTreeSet::new() };
    let bad = source.bad_blocks(&named, handling)?;
    let is_bad = |block: Block| bad.contains(&block);
    let arrangement = Arrangement::new(
        handling,
        source.geometry.blocks(),
        is_bad,
        laid_around.clone(),
        source.target_blocks,
    );
    refuse_unfit(&arrangement, &laid_around)?;

    let mut transcoder = Transcoder::new(&source.layout, &to);
    if transcoder.leaves_ecc_out() {
        ui.warn(&format!("how the ECC of {} is computed is not known: the pages will have none", to.name()));
    }
    let temporary = target.temporary()?;
    let mut conversion = Conversion::default();
    conversion.run(&source, &arrangement, &mut transcoder, temporary.as_file(), ui)?;

    let mut report = conversion.report(&source, &to, &bad, &laid_around, arrangement.blocks());
    report["bb"] = json!(name(handling));
    let failure = conversion.lost.failure().filter(|_| !args.skip_unreadable);
    if let Some(failure) = failure {
        report["error"] = error_object(&failure);
        if ui.json {
            ui.print_json(report)?;
        }
        return Err(failure);
    }
    let marks = match handling {
        BadBlocks::Pad => &BTreeSet::new(),
        BadBlocks::Dump => &bad,
        BadBlocks::Skip => &laid_around,
    };
    let chip = source.mark(temporary.reopen()?, &to, &arrangement, marks, handling)?;
    target.publish(temporary, &chip)?;
    conversion.warn(&to, ui);
    ui.report(report, show)?;
    Ok(if conversion.lost.count == 0 { Exit::Done } else { Exit::Damage })
}

fn name(handling: BadBlocks) -> &'static str {
    match handling {
        BadBlocks::Pad => "padbad",
        BadBlocks::Dump => "dumpbad",
        BadBlocks::Skip => "skipbad",
    }
}

fn refuse_unfit<F: Fn(Block) -> bool>(
    arrangement: &Arrangement<F>,
    around: &BTreeSet<Block>,
) -> Result<(), Failure> {
    let (blocks, needed) = (arrangement.blocks(), arrangement.needed());
    if needed > blocks {
        let message =
            format!("with its bad blocks left out it takes {needed} blocks, and there are {blocks}");
        return Err(Failure::new(Kind::Full, message));
    }
    match around.last() {
        Some(last) if last.0 >= blocks => {
            let message = format!(
                "{last} is said to be bad, and it ends with block {}: give --blocks",
                blocks.saturating_sub(1)
            );
            Err(Failure::new(Kind::OutOfRange, message))
        }
        _ if blocks == 0 => Err(Failure::new(Kind::Unsupported, "every block of it is bad: nothing is left")),
        _ => Ok(()),
    }
}

/// The image to be read, all of the file taken for a chip.
struct Source {
    file: File,
    flash: ImageFile,
    geometry: Geometry,
    layout: Layout,
    resolved: Resolved,
    /// How many blocks the chip of DST has, where that is said apart from what SRC has.
    target_blocks: Option<u32>,
    preset_spare: Option<u32>,
}

impl Source {
    fn open(args: &Args, ui: &Ui) -> Result<Self, Failure> {
        let file = lock_file(&args.src, Access::ReadOnly, ui)?;
        let chip = load_chip_file(&args.src, &args.geometry)?;
        let in_source = |failure: Failure| failure.context(format!("{}", args.src.display()));
        let mut flags = Claims::of_flags(&args.geometry).without_spare_if_so(file.len);
        let of_chip = chip.as_ref().map_or_else(Claims::default, Claims::of_chip_file);
        // A part tells what its image may have, not that a dump has it.
        let without = args.geometry.layout.as_deref() == Some("none")
            || of_chip.spare_size.is_some_and(|(spare, _)| spare == 0);
        if without && matches!(flags.spare_size, Some((_, Origin::Preset(_)))) {
            flags.spare_size = None;
        }
        let names_bad = args.bad_blocks.is_some() || args.bad_map.is_some();
        let is_dump = args.bad_block_handling() == BadBlocks::Skip && names_bad;
        let target_blocks = if is_dump { flags.blocks.take().map(|(blocks, _)| blocks) } else { None };
        let claims = flags.and(of_chip).map_err(in_source)?;
        let found =
            find_layout(&file, args.geometry.layout.as_deref(), chip.as_ref(), claims).map_err(in_source)?;
        let claims = {
            let source = seen_through(&file.file, found.layout());
            with_what_is_found(found.claims, &*source)?
        };
        let resolved = claims.resolve(Some(file.len)).map_err(in_source)?;
        let resolved = resolved.ok_or_else(unknown_geometry).map_err(in_source)?;
        claims.describe().iter().for_each(|line| ui.detail(line));
        let page = (resolved.geometry.page_size(), resolved.geometry.spare_size());
        let found = found.and_recorded(claims.page_layout, page, &file).map_err(in_source)?;
        let layout = match found.said {
            Some(layout) => layout,
            None => plain(page.0, page.1)?,
        };
        ui.detail(&format!("layout {}: from {}", layout.name(), found.from));
        let geometry = whole_file(&resolved, file.len).map_err(in_source)?;
        let mut content = moved(chip.unwrap_or_default(), i64::from(resolved.first_block));
        if content.bad_block_marker.is_none() {
            content.bad_block_marker = preset_marker(&args.geometry, page.1);
        }
        let state = ChipState { content, path: None, changed: false };
        let reader = file.file.try_clone()?;
        let flash = ImageFile::with_layout(file, geometry, Some(&layout), 0, state);
        let flash = flash.map_err(|e| in_source(e.into()))?;
        let preset_spare =
            args.geometry.chip.filter(|chip| chip.page_size == page.0).map(|chip| chip.spare_size);
        Ok(Self { file: reader, flash, geometry, layout, resolved, target_blocks, preset_spare })
    }

    fn layout_of_target(&self, args: &Args) -> Result<Layout, Failure> {
        let choice = args.to_layout()?;
        // A chip that is named tells what its image without spare bytes lacks.
        let of_preset = self.preset_spare.filter(|_| self.layout.spare_size() == 0 && choice.is_some());
        let is_none = choice.as_ref().is_some_and(|choice| choice.name() == "none");
        let asked = args.to_spare_size.or(of_preset.filter(|_| !is_none));
        let to = layout_of_target(choice, &self.layout, self.geometry.page_size(), asked)?;
        if to.spare_size() > 0 && !self.resolved.page_size_known {
            let message =
                "the size of its pages is not known, which are to get spare bytes: give --page-size";
            return Err(Failure::new(Kind::GeometryUnknown, message));
        }
        Ok(to)
    }

    fn named_blocks(&self, args: &Args, to: &Layout, ui: &Ui) -> Result<BTreeSet<Block>, Failure> {
        let is_laid_around = args.bad_block_handling() == BadBlocks::Skip;
        let known = self.target_blocks.or((!is_laid_around).then(|| self.geometry.blocks()));
        let geometry = with_blocks(&self.geometry, to, known.unwrap_or(MOST_BLOCKS))?;
        let chip = Chip { geometry, size_known: known.is_some(), layout: to, marker: self.marker(to) };
        named_blocks(args, &chip, ui)
    }

    /// Where DST has its marks.
    fn marker(&self, to: &Layout) -> Option<BadBlockMarker> {
        let (spare, pages) = (to.spare_size(), self.geometry.pages_per_block());
        let usual =
            || Some(BadBlockMarker::usual(self.geometry.page_size(), pages)).filter(|m| m.fits(spare, pages));
        let own = self.flash.chip().content.bad_block_marker.clone();
        // One that SRC has no room for may be wanted again.
        own.filter(|marker| spare == 0 || marker.fits(spare, pages)).or_else(usual)
    }

    /// The bad blocks of SRC.
    fn bad_blocks(&self, named: &BTreeSet<Block>, handling: BadBlocks) -> Result<BTreeSet<Block>, Failure> {
        let mut bad: BTreeSet<Block> = marked_blocks(&self.flash)?.into_iter().collect();
        if handling != BadBlocks::Skip {
            bad.extend(named);
        }
        Ok(bad)
    }

    /// See that the new image in `file` marks these blocks, and say what its chip file is.
    fn mark<F: Fn(Block) -> bool>(
        &self,
        file: File,
        to: &Layout,
        arrangement: &Arrangement<F>,
        marks: &BTreeSet<Block>,
        handling: BadBlocks,
    ) -> Result<ChipFile, Failure> {
        let geometry = with_blocks(&self.geometry, to, arrangement.blocks())?;
        let mut content = self.flash.chip().content.clone();
        content.bad_block_marker = self.marker(to);
        content.layout = Some(StoredLayout::of(to)).filter(|_| to.spare_size() > 0);
        if handling != BadBlocks::Dump || (self.geometry.spare_size() == 0 && to.spare_size() > 0) {
            content.bad_blocks.clear();
        }
        if handling == BadBlocks::Skip {
            content.faults.clear();
        }
        let mut flash = open_new(file, geometry, to, 0, content)?;
        for &block in marks {
            if !flash.is_bad(block)? {
                flash.mark_bad(block)?;
            }
        }
        flash.sync()?;
        let mut chip = moved(flash.chip().content.clone(), -i64::from(self.resolved.first_block));
        chip.geometry = Some(self.recorded_geometry(&geometry, handling));
        Ok(chip)
    }

    /// What the chip file says of the geometry: as much as is said of SRC.
    fn recorded_geometry(&self, geometry: &Geometry, handling: BadBlocks) -> ChipGeometry {
        let Resolved { claims, page_size_known, .. } = self.resolved;
        let said = claims.blocks.map(|(blocks, _)| blocks);
        let blocks = match handling {
            // How many there are is what such a dump does not tell.
            BadBlocks::Skip => self.target_blocks,
            _ => said,
        };
        ChipGeometry {
            blocks,
            first_block: claims.first_block.map(|(first, _)| first),
            ..ChipGeometry::of(geometry, 0, page_size_known)
        }
    }
}

/// The geometry of a chip that fills the file.
fn whole_file(resolved: &Resolved, len: u64) -> Result<Geometry, Failure> {
    let geometry = resolved.geometry;
    if geometry.raw_page_size() > MAX_PAGE {
        let message = format!("pages of {} bytes are not converted", geometry.raw_page_size());
        return Err(Failure::new(Kind::Unsupported, message));
    }
    let blocks = u32::try_from(len / geometry.raw_block_size()).unwrap_or(u32::MAX);
    if !len.is_multiple_of(geometry.raw_block_size()) {
        let message = format!(
            "a file of {len} bytes does not hold whole blocks of {} raw bytes",
            geometry.raw_block_size()
        );
        return Err(Failure::new(Kind::GeometryMismatch, message));
    }
    let whole = Geometry::new(geometry.page_size(), geometry.spare_size(), geometry.block_size(), blocks);
    Ok(whole.map_err(nandimg::Error::from)?.with_max_erase_cycles(geometry.max_erase_cycles()))
}

/// The same geometry, with so many blocks and the spare bytes of `layout`.
fn with_blocks(geometry: &Geometry, layout: &Layout, blocks: u32) -> Result<Geometry, Failure> {
    let other = Geometry::new(geometry.page_size(), layout.spare_size(), geometry.block_size(), blocks);
    Ok(other.map_err(nandimg::Error::from)?.with_max_erase_cycles(geometry.max_erase_cycles()))
}

/// The chip file, with block numbers moved by `by`; those before the first are left out.
fn moved(mut chip: ChipFile, by: i64) -> ChipFile {
    let place = |block: u32| u32::try_from(i64::from(block) + by).ok();
    chip.bad_blocks = chip.bad_blocks.iter().filter_map(|&block| place(block)).collect();
    chip.faults.retain_mut(|fault| place(fault.block).map(|block| fault.block = block).is_some());
    chip
}

/// The claims, and what a volume tells that they leave open. It may be cut short, or not begin where the file does: neither
/// matters to its pages.
fn with_what_is_found(claims: Claims, source: &dyn ReadAt) -> Result<Claims, Failure> {
    let search;
    let found: Option<FoundVolume> = match claims.resolve(Some(source.len())) {
        Ok(Some(resolved)) => {
            let start = resolved.end() - resolved.geometry.raw_size();
            match probe::look_at(source, &resolved.geometry, start)? {
                Seen::Page(found) => Some(found),
                _ => None,
            }
        }
        _ => {
            search = probe::find_volumes(source, &claims.hints())?;
            let agrees = |found: &FoundVolume| {
                claims.agree_with(Claims { blocks: None, first_block: None, ..Claims::of_flash(found) })
            };
            match search.best(agrees)[..] {
                [found] => Some(*found),
                _ => None,
            }
        }
    };
    let Some(found) = found else { return Ok(claims) };
    let found = Claims { blocks: None, first_block: None, ..Claims::of_flash(&found) };
    // What a chip is rated for may have been put right.
    let found = Claims { max_erase_cycles: claims.max_erase_cycles.or(found.max_erase_cycles), ..found };
    claims.and(found)
}

/// What became of the pages.
#[derive(Default)]
struct Conversion {
    pages: u64,
    ecc: EccCount,
    lost: Lost,
    /// Pages that held spare bytes which have no place in DST, and the first of them.
    dropped: u64,
    first_dropped: Option<PageAddr>,
    bytes: u64,
}

impl Conversion {
    fn run<F: Fn(Block) -> bool>(
        &mut self,
        source: &Source,
        arrangement: &Arrangement<F>,
        transcoder: &mut Transcoder,
        to: &File,
        ui: &Ui,
    ) -> Result<(), Failure> {
        let written = |e: io::Error| Failure::from(e).context("cannot write it");
        let mut to = BufWriter::with_capacity(1 << 20, to);
        let mut progress = Progress::new(ui, "converting");
        let (mut raw, mut out) = transcoder.pages();
        let total = u64::from(arrangement.blocks()) * u64::from(source.geometry.pages_per_block());
        for content in arrangement.contents() {
            for page in 0..source.geometry.pages_per_block() {
                match content {
                    Content::Blank | Content::Unusable => out.fill(0xFF),
                    Content::Good(block) => {
                        self.good_page(source, PageAddr { block, page }, transcoder, &mut raw, &mut out)?;
                    }
                    Content::Bad(block) => {
                        source.read(PageAddr { block, page }, &mut raw)?;
                        self.bad_page(transcoder, &mut raw, &mut out);
                    }
                }
                to.write_all(&out).map_err(written)?;
                self.pages += 1;
                progress.at(self.pages * out.len() as u64, total * out.len() as u64);
            }
        }
        self.bytes = self.pages * out.len() as u64;
        to.flush().map_err(written)
    }

    fn good_page(
        &mut self,
        source: &Source,
        at: PageAddr,
        transcoder: &mut Transcoder,
        raw: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), Failure> {
        if source.flash.latent_faults().unreadable(at.block) {
            out.fill(0xFF);
            self.lost.note(at, source.flash.raw_offset(at));
            return Ok(());
        }
        source.read(at, raw)?;
        let done = transcoder.page(raw, out);
        self.ecc.note(&done.verdict);
        if !done.verdict.is_readable() {
            self.lost.note(at, source.flash.raw_offset(at));
        }
        if done.dropped {
            self.dropped += 1;
            self.first_dropped.get_or_insert(at);
        }
        Ok(())
    }

    /// Whatever a bad block holds is taken as it is, and corrected only where its pages get another layout.
    fn bad_page(&mut self, transcoder: &mut Transcoder, raw: &mut [u8], out: &mut [u8]) {
        if transcoder.is_same() {
            out.copy_from_slice(raw);
        } else {
            transcoder.page(raw, out);
        }
    }

    fn report(
        &self,
        source: &Source,
        to: &Layout,
        bad: &BTreeSet<Block>,
        laid_around: &BTreeSet<Block>,
        blocks: u32,
    ) -> Value {
        let numbers = |blocks: &BTreeSet<Block>| blocks.iter().map(|block| block.0).collect::<Vec<_>>();
        let geometry = &source.geometry;
        json!({
            "logical": false,
            "layout": { "from": source.layout.name(), "to": to.name() },
            "geometry": {
                "page_size": source.resolved.page_size_known.then(|| geometry.page_size()),
                "spare_size": to.spare_size(),
                "block_size": geometry.block_size(),
                "blocks": blocks,
            },
            "spare_size": { "from": geometry.spare_size(), "to": to.spare_size() },
            "pages": self.pages,
            "bytes": self.bytes,
            "ecc": if source.layout.ecc_less() { Value::Null } else { count_to_json(&self.ecc) },
            "unreadable": self.lost.to_json(),
            "unreadable_pages": self.lost.count,
            "spare_dropped_pages": self.dropped,
            "bad_blocks": numbers(bad),
            "laid_around": numbers(laid_around),
        })
    }

    fn warn(&self, to: &Layout, ui: &Ui) {
        const TOLD: usize = 20;
        for (at, offset) in self.lost.places.iter().take(TOLD) {
            ui.warn(&format!("{at} (offset {offset:#x}) cannot be read"));
        }
        let more = self.lost.count.saturating_sub(TOLD as u64);
        if more > 0 {
            ui.warn(&format!("{} more cannot be read", count(more, "page")));
        }
        if let Some(first) = self.first_dropped {
            let pages = count(self.dropped, "page");
            ui.warn(&format!(
                "{pages} had spare bytes that have no place in {}, the first is {first}",
                to.name()
            ));
        }
    }
}

impl Source {
    fn read(&self, at: PageAddr, raw: &mut [u8]) -> Result<(), Failure> {
        let offset = self.flash.raw_offset(at);
        read_exact_at(&self.file, raw, offset)
            .map_err(|e| Failure::from(e).context(format!("cannot read the image at offset {offset:#x}")))
    }
}

fn show(report: &Value) -> String {
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    let part = |end: &str| {
        let layout = report["layout"][end].as_str().unwrap_or_default().to_string();
        format!("{layout} ({} spare bytes)", report["spare_size"][end])
    };
    let mut text = format!(
        "converted {}, from {} to {}: {} bytes ({})\n",
        count(number("pages"), "page"),
        part("from"),
        part("to"),
        number("bytes"),
        size(number("bytes"))
    );
    text.push_str(&super::describe_ecc(&report["ecc"]));
    let list = |key: &str| serde_json::from_value::<Vec<u32>>(report[key].clone()).unwrap_or_default();
    let (bad, around) = (list("bad_blocks"), list("laid_around"));
    let made = match report["bb"].as_str() {
        _ if bad.is_empty() => "",
        Some("padbad") => ", padded with FF",
        Some("skipbad") => ", left out",
        _ => ", kept as they are",
    };
    text.push_str(&format!("bad blocks: {}{made}\n", block_list(&bad)));
    if !around.is_empty() {
        text.push_str(&format!("laid around: {}\n", block_list(&around)));
    }
    text
}
