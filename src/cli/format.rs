//! `nandimg format`: make a new image, or put a fresh volume on an existing one.

use std::fs::File;
use std::io::{self, Write};

use nandimg::flash::blank::BlankChip;
use nandimg::flash::chip_file::{ChipFile, StoredLayout};
use nandimg::flash::file_io::{Access, LockedFile, directory_of, sync_directory, temporary_in};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{BadBlockMarker, Block, FlashHardware};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::{self, AnyFormatPlan};
use nandimg::layout::Layout;
use nandimg::probe::{self, Format, FoundVolume, Hints, ReadAt, Search};
use serde_json::{Value, json};

use super::args::{BlockList, ImageArgs, parse_blocks};
use super::exit::{Exit, Failure, Kind};
use super::geometry::{Claims, Resolved, Source, describe, preset_marker, usual_page_size};
use super::layout::{FoundLayout, find_layout, said_layout};
use super::open::{chip_file_path, find_chip_file, lock_file, mapping_of, seen_through};
use super::output::{Ui, block_list, size, table};
use super::progress::Progress;
use super::same_file::{Inputs, refuse_layout_file, refuse_stdout};

/// Make a new image, or put a fresh volume on an existing one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Which flash translation layer
    #[arg(long, value_enum, default_value = "page")]
    mapping: Mapping,
    /// Room for what the volume itself needs, in percent of the good blocks; with --mapping page [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
    spare_percent: Option<u32>,
    /// Blocks to mark as bad, as a factory does (3,77,100-103)
    #[arg(long, value_name = "LIST", value_parser = parse_blocks)]
    bad_blocks: Option<BlockList>,
    /// Format a file that holds something else than 0xFF
    #[arg(long)]
    force: bool,
    /// Begin all erase counts at 0 instead of carrying over those that can be read
    #[arg(long)]
    reset_wear: bool,
    /// Say everything and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mapping {
    /// The page-mapped format
    Page,
    /// The block-mapped format of shodh-redb
    Block,
}

impl From<Mapping> for ftl::Mapping {
    fn from(mapping: Mapping) -> Self {
        match mapping {
            Mapping::Block => Self::Block,
            Mapping::Page => Self::Page,
        }
    }
}

impl Args {
    fn mapping(&self) -> ftl::Mapping {
        self.mapping.into()
    }
}

/// What a format is about to do.
struct Job<'a> {
    args: &'a Args,
    ui: &'a Ui,
    resolved: Resolved,
    /// How pages are to be laid out, where that is said or found.
    layout: Option<Layout>,
    chip: ChipState,
    bad: Vec<Block>,
    /// The block numbers of a volume that is there mean nothing in this geometry.
    afresh: bool,
    /// Blocks with metadata of a volume of the other format, by which the new one would be taken for that.
    remains: Vec<Block>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    if args.mapping == Mapping::Block && args.spare_percent.is_some() {
        return Err(Failure::new(Kind::Usage, "--spare-percent goes with --mapping page"));
    }
    refuse_stdout(&args.image)?;
    let chip_file = chip_file_path(&args.image.image, &args.image.geometry);
    if let Some(chip_file) = chip_file.as_deref() {
        Inputs { image: &args.image.image, chip_file: None }.refuse_as_output(Some(chip_file))?;
        refuse_layout_file(args.image.geometry.layout.as_deref(), Some(chip_file))?;
    }
    let image = &args.image.image;
    let context = |failure: Failure| failure.context(format!("cannot format {}", image.display()));
    match std::fs::metadata(image) {
        Ok(_) => format_existing(args, ui).map_err(context),
        Err(error) if error.kind() == io::ErrorKind::NotFound => format_new(args, ui).map_err(context),
        Err(error) => Err(context(error.into())),
    }
}

impl<'a> Job<'a> {
    fn new(
        args: &'a Args,
        ui: &'a Ui,
        claims: Claims,
        found: Option<Layout>,
        chip: Option<ChipFile>,
        file_len: Option<u64>,
    ) -> Result<Self, Failure> {
        let chip_claims = chip.as_ref().map_or_else(Claims::default, Claims::of_chip_file);
        let claims = claims.and(chip_claims)?;
        let claims = with_page_size(claims, args.mapping);
        let resolved = claims.resolve(file_len)?.ok_or_else(|| {
            let missing = "the geometry is not known: give --chip, or --block-size and --blocks";
            Failure::new(Kind::GeometryUnknown, missing)
        })?;
        claims.describe().iter().for_each(|line| ui.detail(line));
        let bad: Vec<Block> =
            args.bad_blocks.iter().flat_map(|list| list.0.iter().map(|&b| Block(b))).collect();
        if let Some(block) = bad.iter().find(|b| b.0 >= resolved.geometry.blocks()) {
            let message = format!(
                "--bad-blocks names {block}, and the volume has {} blocks",
                resolved.geometry.blocks()
            );
            return Err(Failure::new(Kind::OutOfRange, message));
        }
        let layout = match found {
            Some(layout) => Some(layout),
            None => layout_for(args, chip.as_ref(), &resolved)?,
        };
        let chip = Self::chip_state(args, &resolved, layout.as_ref(), chip);
        Ok(Self { args, ui, resolved, layout, chip, bad, afresh: false, remains: Vec::new() })
    }

    /// The chip file as it is to be: with all that the image itself cannot say.
    fn chip_state(
        args: &Args,
        resolved: &Resolved,
        layout: Option<&Layout>,
        chip: Option<ChipFile>,
    ) -> ChipState {
        let path = chip_file_path(&args.image.image, &args.image.geometry);
        let mut content = chip.clone().unwrap_or_default();
        let geometry = resolved.geometry;
        let without_spare = geometry.spare_size() == 0;
        let worth_it = !without_spare
            // A page-mapped volume tells it itself.
            || (resolved.page_size_known && args.mapping == Mapping::Block)
            || args.image.geometry.chip_file.is_some()
            || geometry.max_erase_cycles().is_some()
            || args.bad_blocks.is_some()
            // A volume that does not fill its file may not be found again without.
            || resolved.first_block > 0;
        if worth_it || chip.is_some() {
            content.geometry = Some(resolved.to_chip_file());
            let layout = layout.filter(|layout| layout.spare_size() > 0);
            content.layout = layout.map(StoredLayout::of).or(content.layout);
            let marker = preset_marker(&args.image.geometry, geometry.spare_size());
            let usual = || BadBlockMarker::usual(geometry.page_size(), geometry.pages_per_block());
            content.bad_block_marker =
                content.bad_block_marker.or(marker).or_else(|| (!without_spare).then(usual));
        }
        let changed = chip.unwrap_or_default() != content;
        ChipState { content, path, changed }
    }

    fn report(&self, plan: &AnyFormatPlan) -> Report {
        let reserved = plan.reserved();
        let blocks = reserved.iter().map(|r| (r.key.to_string(), json!(r.blocks))).collect();
        let json = json!({
            "mapping": plan.mapping().name(),
            "geometry": self.resolved.to_json(),
            "layout": self.layout.as_ref().map(Layout::name),
            "capacity": plan.capacity(),
            "reserved": Value::Object(blocks),
            "bad_blocks": plan.bad_blocks().iter().map(|b| b.0).collect::<Vec<_>>(),
            "wear_carried_over": plan.carries_wear_over(),
            "dry_run": self.args.dry_run,
        });
        Report { json, titles: reserved.iter().map(|r| r.title).collect() }
    }

    fn plan<H: FlashHardware>(&self, chip: &H) -> Result<AnyFormatPlan, Failure> {
        let stated = self.chip.content.bad_block_marker.as_ref();
        let marker = BadBlockMarker::of_chip(&self.resolved.geometry, self.layout.as_ref(), stated);
        if !self.bad.is_empty() && marker.is_none() && self.chip.path.is_none() {
            let message = "there is no place to keep the marks of --bad-blocks: --chip-file is none";
            return Err(Failure::new(Kind::Unsupported, message));
        }
        let options = FormatOptions {
            also_bad: self.bad.clone(),
            reset_wear: self.args.reset_wear,
            afresh: self.afresh,
            spare_percent: self.args.spare_percent,
        };
        Ok(AnyFormatPlan::new(chip, self.args.mapping(), &options)?)
    }

    fn open(&self, file: LockedFile, chip: ChipState) -> Result<ImageFile, Failure> {
        let Resolved { geometry, first_block, .. } = self.resolved;
        Ok(ImageFile::with_layout(file, geometry, self.layout.as_ref(), first_block, chip)?)
    }

    /// Carry out `plan`; the marks come first, so that no cut can lose one. What it came to.
    fn execute(&self, plan: AnyFormatPlan, flash: &mut ImageFile) -> Result<AnyFormatPlan, Failure> {
        for &block in &self.bad {
            flash.mark_bad(block)?;
        }
        for &block in &self.remains {
            flash.erase(block)?;
        }
        flash.sync()?;
        Ok(plan.execute(flash)?)
    }

    fn finish(&self, plan: &AnyFormatPlan) -> Result<Exit, Failure> {
        let Report { json, titles } = self.report(plan);
        self.ui.report(json, |json| show(json, &titles))?;
        Ok(Exit::Done)
    }
}

/// The layout that is asked for or recorded, for the pages that the image will have.
fn layout_for(args: &Args, chip: Option<&ChipFile>, resolved: &Resolved) -> Result<Option<Layout>, Failure> {
    let Some((choice, _)) = said_layout(args.image.geometry.layout.as_deref(), chip)? else {
        return Ok(None);
    };
    let geometry = &resolved.geometry;
    choice.for_pages(geometry.page_size(), geometry.spare_size()).map(Some)
}

/// What is told of a format: the report, and words for what is reserved.
struct Report {
    json: Value,
    titles: Vec<&'static str>,
}

/// A page-mapped volume records its page size, so that there must be one.
fn with_page_size(mut claims: Claims, mapping: Mapping) -> Claims {
    if let (Mapping::Page, None, Some((block_size, _))) = (mapping, claims.page_size, claims.block_size)
        && claims.spare_size.is_none_or(|(spare, _)| spare == 0)
    {
        claims.page_size = Some((usual_page_size(block_size), Source::Usual));
    }
    claims
}

fn format_new(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let image = args.image.image.as_path();
    let chip = find_chip_file(image, &args.image.geometry)?;
    let job = Job::new(args, ui, Claims::of_flags(&args.image.geometry), None, chip, None)?;
    let plan = job.plan(&BlankChip(job.resolved.geometry))?;
    if args.dry_run {
        return job.finish(&plan);
    }
    // The image appears under its name when it is whole, and not before.
    let dir = directory_of(image);
    let temporary = temporary_in(dir)?;
    let len = job.resolved.end();
    fill_blank(temporary.as_file(), len, ui)?;
    let file = LockedFile { file: temporary.reopen()?, len, unlocked: false };
    // The chip file follows the image: that of an image which another process makes meanwhile is not ours.
    let chip = ChipState { path: None, ..job.chip.clone() };
    let mut flash = job.open(file, chip)?;
    let made = job.execute(plan, &mut flash)?;
    temporary.persist_noclobber(image).map_err(|error| error.error)?;
    flash.keep_chip_file_at(job.chip.path.clone());
    if let Err(error) = flash.sync() {
        // Without its chip file the image is not what was asked for.
        let _ = std::fs::remove_file(image);
        return Err(error.into());
    }
    sync_directory(dir)?;
    job.finish(&made)
}

/// Fill a file that is being made with `len` bytes of FF.
pub(super) fn fill_blank(file: &File, len: u64, ui: &Ui) -> Result<(), Failure> {
    let mut file = file;
    let mut progress = Progress::new(ui, "creating");
    let blank = vec![0xFF; 1 << 20];
    let mut done = 0;
    while done < len {
        let take = (len - done).min(blank.len() as u64) as usize;
        file.write_all(&blank[..take])?;
        done += take as u64;
        progress.at(done, len);
    }
    Ok(())
}

fn format_existing(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let image = args.image.image.as_path();
    let access = if args.dry_run { Access::ReadOnly } else { Access::ReadWrite };
    let file = lock_file(image, access, ui)?;
    let chip = find_chip_file(image, &args.image.geometry)?;
    let stated = Claims::stated(&args.image.geometry, chip.as_ref(), file.len)?;
    let found = find_layout(&file, args.image.geometry.layout.as_deref(), chip.as_ref(), stated)?;
    let (mut job, search) = {
        let source = seen_through(&file.file, found.layout());
        let claims = add_what_is_found(found.claims, &*source)?;
        let search = probe::find_volumes(&*source, &Hints::default())?;
        let layout = recorded_layout(&found, &claims, &search, &file)?;
        let job = Job::new(args, ui, claims, layout, chip, Some(file.len))?;
        if !args.force {
            refuse_content(&*source, &search)?;
        }
        (job, search)
    };
    let best = search.best(|_| true);
    let old = match best.as_slice() {
        [old] => Some(*old),
        _ => None,
    };
    job.afresh = has_other_blocks(old, &job.resolved, args.mapping, args.reset_wear)?;
    let mut flash = job.open(file, job.chip.clone())?;
    let plan = job.plan(&flash)?;
    if let Some(old) = old.filter(|old| mapping_of(old.format) != args.mapping()) {
        refuse_to_forget_wear(old, &plan, args.reset_wear)?;
        // A plan that keeps the counts keeps the volume as long, too.
        if !plan.carries_wear_over() {
            job.remains = remains(old, &job, &flash)?;
        }
    }
    if args.dry_run {
        return job.finish(&plan);
    }
    let made = job.execute(plan, &mut flash)?;
    job.finish(&made)
}

/// The layout that was said or found; where nobody says one, what the volume that is there records.
fn recorded_layout(
    found: &FoundLayout,
    claims: &Claims,
    search: &Search,
    file: &LockedFile,
) -> Result<Option<Layout>, Failure> {
    let best = search.best(|_| true);
    let tag = best.first().and_then(|old| old.page_layout);
    match (claims.page_size, claims.spare_size) {
        (Some((page_size, _)), Some((spare_size, _))) if found.from == Source::Usual => {
            Ok(found.clone().and_recorded(tag, (page_size, spare_size), file)?.said)
        }
        _ => Ok(found.said.clone()),
    }
}

/// Where flags and chip file leave the geometry open, the volume that is there may tell it. It does not bind: the image
/// may be formatted to another geometry.
fn add_what_is_found(stated: Claims, source: &dyn ReadAt) -> Result<Claims, Failure> {
    if stated.block_size.is_some() {
        return Ok(stated);
    }
    let search = probe::find_volumes(source, &stated.hints())?;
    // What a chip is rated for may be put right.
    let of_flash = |found: &FoundVolume| Claims { max_erase_cycles: None, ..Claims::of_flash(found) };
    match search.best(|found| stated.agree_with(of_flash(found)))[..] {
        [found] if stated.max_erase_cycles.is_none() => stated.and(Claims::of_flash(found)),
        [found] => stated.and(of_flash(found)),
        _ => Ok(stated),
    }
}

/// What a volume of another format has counted is worth keeping, unless who formats says that it is not.
fn refuse_to_forget_wear(old: &FoundVolume, plan: &AnyFormatPlan, reset_wear: bool) -> Result<(), Failure> {
    if reset_wear || plan.carries_wear_over() {
        return Ok(());
    }
    let message = format!(
        "the volume that is there is {}-mapped, and the new one would be {}-mapped: its erase counts cannot be carried over; --reset-wear gives them up",
        mapping_of(old.format).name(),
        plan.mapping().name()
    );
    Err(Failure::new(Kind::Unsupported, message))
}

/// The good blocks of the new volume that lie where the old one, which is page-mapped, has its anchors: a block-mapped
/// volume leaves some of them alone. A page-mapped one clears the place of its own anchors itself.
fn remains(old: &FoundVolume, job: &Job<'_>, flash: &ImageFile) -> Result<Vec<Block>, Failure> {
    if old.format != Format::Page {
        return Ok(Vec::new());
    }
    let (zone, geometry) = (old.anchor_zone(), &job.resolved.geometry);
    let start = job.resolved.end() - geometry.raw_size();
    let mut remains = Vec::new();
    for block in geometry.iter_blocks() {
        let at = start + u64::from(block.0) * geometry.raw_block_size();
        let reaches_in = at < zone.end && at + geometry.raw_block_size() > zone.start;
        if reaches_in && !job.bad.contains(&block) && !flash.is_bad(block)? {
            remains.push(block);
        }
    }
    Ok(remains)
}

/// Whether a volume is there whose blocks are of another size: its erase counts and bad blocks then mean nothing here, and
/// giving them up must be asked for.
fn has_other_blocks(
    old: Option<&FoundVolume>,
    resolved: &Resolved,
    mapping: Mapping,
    reset_wear: bool,
) -> Result<bool, Failure> {
    let Some(found) = old else { return Ok(false) };
    let new = &resolved.geometry;
    // A page-mapped volume counts in pages: of another size they do not tell where it has its counts.
    let same_pages = mapping == Mapping::Block
        || found.format == Format::Block
        || found.page_size == Some(new.page_size());
    if found.block_size == new.block_size() && found.spare_size == new.spare_size() && same_pages {
        return Ok(false);
    }
    if reset_wear {
        return Ok(true);
    }
    let message = format!(
        "the volume that is there has blocks of {} bytes with {} spare bytes a page, and the new one would have {} with {}{}: its erase counts and bad blocks cannot be carried over; --reset-wear gives them up",
        found.block_size,
        found.spare_size,
        new.block_size(),
        new.spare_size(),
        if same_pages { "" } else { ", and pages of another size" }
    );
    Err(Failure::new(Kind::GeometryMismatch, message))
}

/// Refuse to format what holds anything; say what it is.
fn refuse_content(source: &dyn ReadAt, search: &Search) -> Result<(), Failure> {
    if probe::is_blank(source)? {
        return Ok(());
    }
    let what = match (probe::recognise(source)?, search.first_trace()) {
        (foreign, Some((format, at, whole))) if whole || foreign.is_none() => {
            format!("a {}-mapped volume (metadata at offset {at:#x})", mapping_of(format).name())
        }
        (Some(foreign), _) => {
            format!("{} (offset {:#x}: {})", foreign.title, foreign.offset, foreign.evidence)
        }
        (None, _) => "something that was not recognised".to_string(),
    };
    Err(Failure::new(
        Kind::Exists,
        format!("it exists and holds {what}: give --force to format it all the same"),
    ))
}

fn show(report: &Value, titles: &[&str]) -> String {
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    let verb = if report["dry_run"] == true { "would format" } else { "formatted" };
    let mapping = report["mapping"].as_str().unwrap_or_default();
    let mut text = format!("{verb} as a {mapping}-mapped volume: {}\n", describe(&report["geometry"]));
    text.push_str(&format!("capacity: {} bytes ({})\n", number("capacity"), size(number("capacity"))));
    let block_size = report["geometry"]["block_size"].as_u64().unwrap_or(0);
    let mut rows = table(&["reserved for", "blocks", "bytes"]);
    for (title, (_, blocks)) in titles.iter().zip(report["reserved"].as_object().into_iter().flatten()) {
        let blocks = blocks.as_u64().unwrap_or(0);
        rows.add_row([(*title).to_string(), blocks.to_string(), size(blocks * block_size)]);
    }
    text.push_str(&format!("{}\n", rows.trim_fmt()));
    let bad: Vec<u32> = serde_json::from_value(report["bad_blocks"].clone()).unwrap_or_default();
    text.push_str(&format!("bad blocks: {}\n", block_list(&bad)));
    if report["wear_carried_over"] == true {
        let verb = if report["dry_run"] == true { "would be" } else { "were" };
        text.push_str(&format!("erase counts {verb} carried over\n"));
    }
    text
}
