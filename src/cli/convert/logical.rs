//! Volume by volume: the content of one, in a fresh one of another geometry, mapping or set of bad blocks.

use nandimg::Error;
use nandimg::flash::blank::BlankChip;
use nandimg::flash::chip_file::{ChipFile, StoredLayout};
use nandimg::flash::file_io::Access;
use nandimg::flash::image::ImageFile;
use nandimg::flash::{BadBlockMarker, Block, FlashHardware};
use nandimg::ftl::{self, AnyFormatPlan, AnyVolume, MountOptions, Volume};
use nandimg::layout::{Layout, PageCodec};
use nandimg::probe::EccCount;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::args::{GeometryArgs, ImageArgs};
use super::super::ecc::count_to_json;
use super::super::exit::{Exit, Failure, Kind};
use super::super::format::fill_blank;
use super::super::geometry::{Claims, Resolved, Source, describe, preset_marker, usual_page_size};
use super::super::health::Health;
use super::super::layout::plain;
use super::super::open::{Need, Opened, open};
use super::super::output::{Ui, block_list, hex, size};
use super::super::progress::Progress;
use super::super::read::{Hole, describe_holes};
use super::bad_map::{Chip, named_blocks};
use super::fit::{Fit, Recipe};
use super::target::{Target, open_new};
use super::{Args, describe_ecc, layout_of_target};

pub(super) fn run(args: &Args, target: &Target, ui: &Ui) -> Result<Exit, Failure> {
    let opened = open(&source_args(args), Access::ReadOnly, Need::Volume, ui)?;
    let from = Origin::of(&opened)?;
    let ecc = count_pages(&opened.flash, ui)?;
    let mounted = opened.mount(&MountOptions::read_only(), &args.src, ui)?;
    let volume = &mounted.volume;

    let plan = Plan::new(args, &from, volume, ui)?;
    plan.refuse_unfit()?;
    let temporary = target.temporary()?;
    fill_blank(temporary.as_file(), plan.resolved.end(), ui)?;
    let mut copy = Copy::default();
    let chip = plan.execute(temporary.reopen()?, volume, &mut copy, args.skip_unreadable, ui)?;
    target.publish(temporary, &chip)?;

    let mut report = plan.report(&from, &copy, volume);
    Health::of(volume).add_to(&mut report["source"]);
    report["ecc"] = if from.layout.ecc_less() { Value::Null } else { count_to_json(&ecc) };
    describe_holes(&copy.holes).iter().for_each(|line| ui.warn(line));
    ui.report(report, show)?;
    Ok(if copy.holes.is_empty() { Exit::Done } else { Exit::Damage })
}

/// SRC, of which the geometry flags say nothing.
fn source_args(args: &Args) -> ImageArgs {
    let GeometryArgs { layout, chip_file, .. } = args.geometry.clone();
    ImageArgs {
        image: args.src.clone(),
        geometry: GeometryArgs { layout, chip_file, ..GeometryArgs::default() },
    }
}

/// What SRC is like.
struct Origin {
    resolved: Resolved,
    layout: Layout,
    marker: Option<BadBlockMarker>,
}

impl Origin {
    fn of(opened: &Opened) -> Result<Self, Failure> {
        let geometry = opened.flash.geometry();
        let (page, spare) = (geometry.page_size(), geometry.spare_size());
        let layout = match opened.flash.layout() {
            Some(layout) => layout.clone(),
            None => plain(page, spare)?,
        };
        let marker = opened.flash.chip().content.bad_block_marker.clone();
        Ok(Self { resolved: opened.resolved, layout, marker })
    }
}

/// What the ECC finds in all pages of SRC.
fn count_pages(flash: &ImageFile, ui: &Ui) -> Result<EccCount, Failure> {
    let mut found = EccCount::default();
    let Some(layout) = flash.layout().filter(|layout| !layout.ecc_less()) else { return Ok(found) };
    let codec = PageCodec::new(layout);
    let mut progress = Progress::new(ui, "checking");
    let geometry = flash.geometry();
    for block in geometry.iter_blocks() {
        let mut raw = flash.raw_block(block)?;
        raw.chunks_exact_mut(layout.raw_page_size()).for_each(|page| found.note(&codec.decode(page)));
        progress.at((u64::from(block.0) + 1) * geometry.raw_block_size(), geometry.raw_size());
    }
    Ok(found)
}

/// What is to be built.
struct Plan {
    recipe: Recipe,
    resolved: Resolved,
    layout: Layout,
    marker: Option<BadBlockMarker>,
    bad: Vec<Block>,
    format: AnyFormatPlan,
    fit: Fit,
}

impl Plan {
    fn new(args: &Args, from: &Origin, volume: &AnyVolume<ImageFile>, ui: &Ui) -> Result<Self, Failure> {
        let mapping = args.mapping.map_or(volume.mapping(), ftl::Mapping::from);
        if mapping == ftl::Mapping::Block && args.spare_percent.is_some() {
            return Err(Failure::new(Kind::Usage, "--spare-percent goes with page-mapped volumes"));
        }
        let (claims, layout) = shape(args, &from.resolved, &from.layout, mapping)?;
        claims.describe().iter().for_each(|line| ui.detail(line));
        let resolved = claims.resolve(None)?.ok_or_else(|| {
            Failure::new(Kind::GeometryUnknown, "its geometry is not known: give --block-size and --blocks")
        })?;
        let geometry = resolved.geometry;
        let marker = marker(args, from, &resolved);
        let chip = Chip { geometry, size_known: true, layout: &layout, marker: marker.clone() };
        let bad: Vec<Block> = named_blocks(args, &chip, ui)?.into_iter().collect();
        let recipe = Recipe { geometry, mapping, spare_percent: args.spare_percent };
        let planned = |bad| AnyFormatPlan::new(&BlankChip(geometry), mapping, &recipe.options(bad));
        let at_start = planned(Vec::new())?.reserved().first().map_or(0, |reserved| reserved.blocks);
        let fit = Fit::of(&recipe, volume.len(), args.geometry.chip, at_start);
        match fit.on_every_chip() {
            true => ui.status(&fit.describe()),
            false => ui.warn(&fit.describe()),
        }
        let format = planned(bad.clone())?;
        Ok(Self { recipe, resolved, layout, marker, bad, format, fit })
    }

    fn refuse_unfit(&self) -> Result<(), Failure> {
        let (content, capacity) = (self.fit.content(), self.format.capacity());
        if content <= capacity {
            return Ok(());
        }
        let message = format!(
            "the volume has {content} bytes, and with {} bad blocks there is room for {capacity}: {}",
            self.bad.len(),
            self.fit.describe()
        );
        Err(Failure::new(Kind::Full, message))
    }

    /// Build the volume in `file`, which is blank; what its chip file is to be.
    fn execute(
        &self,
        file: std::fs::File,
        from: &AnyVolume<ImageFile>,
        copy: &mut Copy,
        skip: bool,
        ui: &Ui,
    ) -> Result<ChipFile, Failure> {
        let Resolved { geometry, first_block, .. } = self.resolved;
        let mut content = ChipFile::default();
        content.geometry = Some(self.resolved.to_chip_file());
        content.bad_block_marker.clone_from(&self.marker);
        content.layout = (!self.layout.is_plain()).then(|| StoredLayout::of(&self.layout));
        let mut flash = open_new(file, geometry, &self.layout, first_block, content)?;
        self.bad.iter().try_for_each(|&block| flash.mark_bad(block))?;
        self.format.clone().execute(&mut flash)?;
        let mut volume = AnyVolume::mount(flash, self.recipe.mapping, &MountOptions::default())?;
        copy.run(from, &mut volume, skip, ui)?;
        volume.end()?;
        let mut flash = volume.into_flash();
        flash.sync()?;
        Ok(flash.chip().content.clone())
    }

    fn report(&self, from: &Origin, copy: &Copy, source: &AnyVolume<ImageFile>) -> Value {
        let geometry = &self.resolved.geometry;
        json!({
            "logical": true,
            "mapping": self.recipe.mapping.name(),
            "geometry": self.resolved.to_json(),
            "layout": { "from": from.layout.name(), "to": self.layout.name() },
            "pages": u64::from(geometry.blocks()) * u64::from(geometry.pages_per_block()),
            "ecc": Value::Null,
            "bad_blocks": self.format.bad_blocks().iter().map(|block| block.0).collect::<Vec<_>>(),
            "capacity": self.format.capacity(),
            "fit": self.fit.to_json(),
            "bytes": copy.bytes,
            "sha256": hex(&copy.hasher.clone().finalize()),
            "holes": copy.holes.iter().map(|hole| hole.to_json(source.flash())).collect::<Vec<_>>(),
        })
    }
}

/// The geometry and layout of DST: as the flags say, and what they leave open as in SRC.
fn shape(
    args: &Args,
    from: &Resolved,
    of_source: &Layout,
    mapping: ftl::Mapping,
) -> Result<(Claims, Layout), Failure> {
    let asked = Claims::of_flags(&args.geometry);
    let source = |value: u32| Some((value, Source::Image));
    let geometry = from.geometry;
    let known_page = from.page_size_known.then(|| geometry.page_size());
    let block_size = asked.block_size.map_or(geometry.block_size(), |(size, _)| size);
    let page_size = asked.page_size.or(known_page.and_then(source)).or_else(|| {
        // A page-mapped volume has pages.
        (mapping == ftl::Mapping::Page).then(|| (usual_page_size(block_size), Source::Usual))
    });
    let choice = args.to_layout()?;
    let pages = page_size.map_or(geometry.page_size(), |(size, _)| size);
    let mut spare_asked = asked.spare_size.map(|(size, _)| size);
    if choice.as_ref().is_some_and(|choice| choice.name() == "none") && args.geometry.spare_size.is_none() {
        spare_asked = Some(0);
    }
    let layout = layout_of_target(choice, of_source, pages, spare_asked)?;
    let rated = match args.geometry.chip {
        // What SRC's chip is rated for does not count for another.
        Some(_) => asked.max_erase_cycles,
        None => asked.max_erase_cycles.or(geometry.max_erase_cycles().and_then(source)),
    };
    let claims = Claims {
        page_size,
        spare_size: Some((layout.spare_size(), asked.spare_size.map_or(Source::Image, |(_, from)| from))),
        block_size: asked.block_size.or(source(geometry.block_size())),
        blocks: asked.blocks.or(source(geometry.blocks())),
        first_block: asked.first_block,
        max_erase_cycles: rated,
        page_layout: None,
    };
    Ok((claims, layout))
}

/// Where DST has its marks: as its part has them, else as SRC.
fn marker(args: &Args, from: &Origin, resolved: &Resolved) -> Option<BadBlockMarker> {
    let geometry = &resolved.geometry;
    let (spare, pages) = (geometry.spare_size(), geometry.pages_per_block());
    let fits = |marker: &BadBlockMarker| marker.fits(spare, pages);
    let same_pages = geometry.page_size() == from.resolved.geometry.page_size();
    let of_source = from.marker.clone().filter(|_| same_pages);
    preset_marker(&args.geometry, spare)
        .or(of_source)
        .filter(fits)
        .or_else(|| Some(BadBlockMarker::usual(geometry.page_size(), pages)).filter(fits))
}

/// What has been copied.
#[derive(Default)]
struct Copy {
    bytes: u64,
    hasher: Sha256,
    holes: Vec<Hole>,
}

impl Copy {
    /// All of `from` into `to`, which is empty. What holds zeros only is not written: it reads so anyway.
    fn run<A: Volume, B: Volume>(
        &mut self,
        from: &A,
        to: &mut B,
        skip: bool,
        ui: &Ui,
    ) -> Result<(), Failure> {
        let mut progress = Progress::new(ui, "copying");
        let mut buf = vec![0; to.write_unit().max(1).min(from.len()) as usize];
        let stored = from.len().min(from.mapped_end());
        while self.bytes < stored {
            let take = (stored - self.bytes).min(buf.len() as u64) as usize;
            let chunk = &mut buf[..take];
            self.read(from, self.bytes, chunk, skip)?;
            self.hasher.update(&*chunk);
            if chunk.iter().any(|&byte| byte != 0) {
                to.write(self.bytes, chunk)?;
            }
            self.bytes += take as u64;
            progress.at(self.bytes, stored);
        }
        if from.len() > stored {
            let (offset, length) = (stored, from.len() - stored);
            self.hole(
                Hole { offset, length, at: None, reason: "it is past the end of the map".into() },
                skip,
            )?;
            self.zeros(length);
        }
        Ok(to.set_len(from.len())?)
    }

    fn read<A: Volume>(&mut self, from: &A, at: u64, chunk: &mut [u8], skip: bool) -> Result<(), Failure> {
        let mut done = 0;
        while done < chunk.len() {
            match from.read(at + done as u64, &mut chunk[done..]) {
                Ok(()) => return Ok(()),
                Err(Error::Unreadable { offset, length, at: place, reason }) => {
                    let first = (offset - at) as usize;
                    let end = (first as u64 + length).min(chunk.len() as u64) as usize;
                    from.read(at + done as u64, &mut chunk[done..first])?;
                    chunk[first..end].fill(0);
                    self.hole(Hole { offset, length: (end - first) as u64, at: place, reason }, skip)?;
                    done = end;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hole(&mut self, hole: Hole, skip: bool) -> Result<(), Failure> {
        if skip {
            self.holes.push(hole);
            return Ok(());
        }
        let Hole { offset, length, at, reason } = hole;
        let failure = Failure::from(Error::Unreadable { offset, length, at, reason });
        Err(failure.and("--skip-unreadable goes on with zeros"))
    }

    fn zeros(&mut self, length: u64) {
        let zeros = [0; 4096];
        let mut left = length;
        while left > 0 {
            let take = left.min(zeros.len() as u64);
            self.hasher.update(&zeros[..take as usize]);
            left -= take;
        }
        self.bytes += length;
    }
}

fn show(report: &Value) -> String {
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    let name = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let bad: Vec<u32> = serde_json::from_value(report["bad_blocks"].clone()).unwrap_or_default();
    format!(
        "built a {}-mapped volume: {}, layout {}\ncontent: {} bytes ({}), SHA-256 {}\ncapacity: {} bytes ({})\n{}bad blocks: {}\n",
        name(&report["mapping"]),
        describe(&report["geometry"]),
        name(&report["layout"]["to"]),
        number("bytes"),
        size(number("bytes")),
        name(&report["sha256"]),
        number("capacity"),
        size(number("capacity")),
        describe_ecc(&report["ecc"]),
        block_list(&bad)
    )
}
