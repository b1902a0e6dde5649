//! Opening an image: file and lock, chip file, geometry, and the volume in it.

use std::fs::File;
use std::path::{Path, PathBuf};

use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::file_io::{Access, LockedFile};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::marked_blocks;
use nandimg::ftl::{AnyVolume, Mapping, MountOptions, Volume};
use nandimg::layout::Layout;
use nandimg::probe::{self, Corrected, Foreign, Format, FoundVolume, Hints, ReadAt, Search, Seen};

use super::args::{GeometryArgs, ImageArgs};
use super::exit::{Failure, Kind};
use super::geometry::{Claims, Resolved, Source, preset_marker};
use super::layout::{FoundLayout, find_layout, layouts_shown};
use super::output::{Ui, count};

/// An image whose geometry is known.
pub(crate) struct Opened {
    pub(crate) flash: ImageFile,
    /// The format of the volume; the block-mapped one where only the chip's geometry is known.
    pub(crate) mapping: Mapping,
    pub(crate) resolved: Resolved,
    /// The chip file, where there is one.
    pub(crate) chip_file: Option<PathBuf>,
}

/// What a command needs of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A volume of ours, even one that does not mount.
    Volume,
    /// Only the chip's geometry.
    Geometry,
}

/// Where the chip file of an image is kept; `None` where there is to be none.
pub(crate) fn chip_file_path(image: &Path, args: &GeometryArgs) -> Option<PathBuf> {
    match &args.chip_file {
        Some(path) if path.as_os_str() == "none" => None,
        Some(path) => Some(path.clone()),
        None => Some(ChipFile::path_beside(image)),
    }
}

/// The chip file of an image, where there is one.
pub(crate) fn find_chip_file(image: &Path, args: &GeometryArgs) -> Result<Option<ChipFile>, Failure> {
    let Some(path) = chip_file_path(image, args) else { return Ok(None) };
    let in_chip_file = |e| Failure::from(e).context(format!("cannot use the chip file {}", path.display()));
    ChipFile::load(&path).map_err(in_chip_file)
}

/// The same; one that is asked for by name must be there.
pub(crate) fn load_chip_file(image: &Path, args: &GeometryArgs) -> Result<Option<ChipFile>, Failure> {
    let loaded = find_chip_file(image, args)?;
    match (&loaded, chip_file_path(image, args)) {
        (None, Some(path)) if args.chip_file.is_some() => {
            let context = format!("cannot use the chip file {}", path.display());
            Err(Failure::new(Kind::NotFound, "there is no such file").context(context))
        }
        _ => Ok(loaded),
    }
}

/// Open the file at `path` and lock it.
pub(crate) fn lock_file(path: &Path, access: Access, ui: &Ui) -> Result<LockedFile, Failure> {
    let file = LockedFile::open(path, access)
        .map_err(|e| Failure::from(e).context(format!("cannot open the image {}", path.display())))?;
    if file.unlocked {
        ui.warn(&format!(
            "{}: this file system has no locks; another process may be writing",
            path.display()
        ));
    }
    Ok(file)
}

/// Open the image that `args` name.
pub(crate) fn open(args: &ImageArgs, access: Access, need: Need, ui: &Ui) -> Result<Opened, Failure> {
    let file = lock_file(&args.image, access, ui)?;
    let chip = load_chip_file(&args.image, &args.geometry)?;
    let path = chip_file_path(&args.image, &args.geometry);
    let in_image = |failure: Failure| failure.context(format!("{}", args.image.display()));
    let claims = Claims::stated(&args.geometry, chip.as_ref(), file.len).map_err(in_image)?;
    let layout = args.geometry.layout.as_deref();
    let found = find_layout(&file, layout, chip.as_ref(), claims).map_err(in_image)?;
    let (found, (resolved, mapping)) = fit_layout(&file, found, claims, need, ui).map_err(in_image)?;
    let page = (resolved.geometry.page_size(), resolved.geometry.spare_size());
    let recorded = resolved.claims.page_layout;
    let found = found.and_recorded(recorded, page, &file).map_err(in_image)?;
    found.note(recorded, page.1).iter().for_each(|note| ui.detail(note));
    if let Some(layout) = found.layout() {
        ui.detail(&format!("layout {}: from {}", layout.name(), found.from));
    }
    let chip_file = path.clone().filter(|_| chip.is_some());
    let mut content = chip.unwrap_or_default();
    if content.bad_block_marker.is_none() {
        content.bad_block_marker = preset_marker(&args.geometry, resolved.geometry.spare_size());
    }
    let state = ChipState { content, path, changed: false };
    let flash = ImageFile::with_layout(file, resolved.geometry, found.layout(), resolved.first_block, state)
        .map_err(|e| in_image(e.into()))?;
    Ok(Opened { flash, mapping, resolved, chip_file })
}

/// The layout and the geometry that go together. Halves of a page, or two pages, may look right under another layout: what the
/// volume contradicts gives way to another one that the pages speak for.
fn fit_layout(
    file: &LockedFile,
    found: FoundLayout,
    claims: Claims,
    need: Need,
    ui: &Ui,
) -> Result<(FoundLayout, (Resolved, Mapping)), Failure> {
    let fit = |found: &FoundLayout| {
        find_geometry(&*seen_through(&file.file, found.layout()), found.claims, need, ui)
    };
    let refused = match fit(&found) {
        Ok(geometry) => return Ok((found, geometry)),
        Err(refused) => refused,
    };
    let may_be_other = match found.from {
        Source::Pages => refused.kind == Kind::GeometryMismatch,
        // They may speak for several.
        Source::Usual => claims.spare_size.is_none_or(|(spare, _)| spare > 0),
        _ => false,
    };
    if may_be_other {
        for other in layouts_shown(file, claims)? {
            if let Ok(geometry) = fit(&other) {
                return Ok((other, geometry));
            }
        }
    }
    Err(refused)
}

/// `file` as a probe is to see it, with pages that are stored as `layout` says.
pub(crate) fn seen_through<'a>(file: &'a File, layout: Option<&Layout>) -> Box<dyn ReadAt + 'a> {
    match layout.filter(|layout| !layout.is_plain()) {
        Some(layout) => Box::new(Corrected::new(file, layout)),
        None => Box::new(file),
    }
}

/// The geometry of the image, and the format of its volume: what is claimed, held against what the flash itself shows.
fn find_geometry(
    source: &dyn ReadAt,
    claims: Claims,
    need: Need,
    ui: &Ui,
) -> Result<(Resolved, Mapping), Failure> {
    let claimed = claims.resolve(Some(source.len()));
    let seen = match &claimed {
        Ok(Some(resolved)) => {
            let start = resolved.end() - resolved.geometry.raw_size();
            probe::look_at(source, &resolved.geometry, start)?
        }
        _ => Seen::Nothing,
    };
    let as_found = |found: Claims| -> Result<Resolved, Failure> {
        claims.and(found)?.resolve(Some(source.len()))?.ok_or_else(unknown_geometry)
    };
    match (&claimed, seen) {
        (Ok(Some(resolved)), Seen::Block) => return Ok((tell(*resolved, source.len(), ui), Mapping::Block)),
        (_, Seen::Page(found)) => {
            return Ok((tell(as_found(Claims::of_flash(&found))?, source.len(), ui), Mapping::Page));
        }
        _ => {}
    }
    let mut search = probe::find_volumes(source, &claims.hints())?;
    refuse_other_than_found(claims, &search)?;
    let agreeing = search.best(|found| claims.agree_with(Claims::of_flash(found)));
    match agreeing.as_slice() {
        [found] => {
            let resolved = as_found(Claims::of_flash(found))?;
            refuse_what_lies_within(&resolved, claims, &search)?;
            return Ok((tell(resolved, source.len(), ui), mapping_of(found.format)));
        }
        [_, _, ..] => return Err(ambiguous(&agreeing)),
        [] => {}
    }
    if let (Some((claimed, from)), Seen::OtherBlocks(blocks)) = (claims.blocks, seen)
        && blocks != claimed as usize
    {
        let message = format!(
            "the number of blocks is {claimed} according to {from}, and {blocks} according to the flash itself"
        );
        return Err(Failure::new(Kind::GeometryMismatch, message));
    }
    // What the claims exclude may be what is there.
    if !matches!(seen, Seen::Magic(_)) {
        if claims.hints() != Hints::default() {
            search = probe::find_volumes(source, &Hints::default())?;
        }
        if let [found] = search.best(|_| true).as_slice() {
            claims.and(Claims::of_flash(found))?;
        }
    }
    let mapping = match seen {
        Seen::Magic(format) => mapping_of(format),
        _ => Mapping::Block,
    };
    match (claimed?, need) {
        (Some(resolved), Need::Geometry) => Ok((tell(resolved, source.len(), ui), mapping)),
        (Some(resolved), Need::Volume) if seen != Seen::Nothing => {
            Ok((tell(resolved, source.len(), ui), mapping))
        }
        (Some(_), Need::Volume) => Err(describe_content(source, probe::recognise(source)?)?),
        (None, _) => Err(why_unknown(source, &search)?),
    }
}

/// The format that the probe has recognised, as the engines call it.
pub(crate) fn mapping_of(format: Format) -> Mapping {
    match format {
        Format::Block => Mapping::Block,
        Format::Page => Mapping::Page,
    }
}

/// A page-mapped volume says itself that the file is its own: claims that contradict it are wrong, whatever else in the file
/// they would fit. Only who says that the volume starts elsewhere means something else.
fn refuse_other_than_found(claims: Claims, search: &Search) -> Result<(), Failure> {
    let best = search.best(|_| true);
    let [found] = best.as_slice() else { return Ok(()) };
    let elsewhere = claims.first_block.is_some_and(|(first, _)| first != found.first_block);
    if found.format == Format::Page && found.fills_file() && !elsewhere {
        claims.and(Claims::of_flash(found))?;
    }
    Ok(())
}

fn tell(resolved: Resolved, file_len: u64, ui: &Ui) -> Resolved {
    let end = resolved.end();
    if end < file_len {
        ui.status(&format!(
            "the volume ends at offset {end:#x}; {} of the file follow it",
            count(file_len - end, "byte")
        ));
    }
    for line in resolved.claims.describe() {
        ui.detail(&line);
    }
    if !resolved.page_size_known {
        ui.detail(&format!("page size {}: assumed, it changes no byte", resolved.geometry.page_size()));
    }
    resolved
}

/// A volume that was found behind the damaged metadata of another may be part of that one's data: only who says where it
/// starts gets at it.
fn refuse_what_lies_within(found: &Resolved, claims: Claims, search: &Search) -> Result<(), Failure> {
    let start = found.end() - found.geometry.raw_size();
    match search.first_magic() {
        Some(damaged) if damaged < start && claims.first_block.is_none() => Err(Failure::new(
            Kind::Unmountable,
            format!(
                "no copy of the metadata at offset {damaged:#x} is whole; a volume at offset {start:#x} may be part of its data: give --first-block {} if it is what you want",
                found.first_block
            ),
        )),
        _ => Ok(()),
    }
}

pub(crate) fn unknown_geometry() -> Failure {
    Failure::new(
        Kind::GeometryUnknown,
        "its geometry is not known: give --chip, or --block-size and --page-size",
    )
}

fn ambiguous(candidates: &[&FoundVolume]) -> Failure {
    let shape = |found: &&FoundVolume| {
        let shape = Claims::of_flash(found).describe_shape();
        format!("{}-mapped with {shape}", mapping_of(found.format).name())
    };
    let list: Vec<String> = candidates.iter().take(8).map(shape).collect();
    let message = format!("the flash fits several geometries; say which by flags: {}", list.join("; or "));
    Failure::new(Kind::GeometryUnknown, message)
}

/// Why the geometry is not known: no volume of ours to tell it.
fn why_unknown(source: &dyn ReadAt, search: &Search) -> Result<Failure, Failure> {
    if search.exhausted {
        let message = "it claims to hold more metadata than any volume has, and the search was given up: give the geometry";
        return Ok(Failure::new(Kind::GeometryUnknown, message));
    }
    let foreign = probe::recognise(source)?;
    let Some((format, at, whole)) = search.first_trace() else { return describe_content(source, foreign) };
    let mapping = mapping_of(format);
    let name = mapping.name();
    if whole {
        let message = format!(
            "there is whole metadata of a {name}-mapped volume at offset {at:#x}, and no geometry puts it where it belongs: if something stands before the volume, or part of it is missing, cut or pad the file to whole blocks{}",
            match format {
                Format::Page => "; if most of its metadata is lost, give the geometry",
                Format::Block => "",
            }
        );
        return Ok(Failure::new(Kind::GeometryUnknown, message));
    }
    if foreign.as_ref().is_some_and(|foreign| foreign.offset < at) {
        return describe_content(source, foreign);
    }
    let message = format!(
        "there is metadata of a {name}-mapped volume at offset {at:#x}, and no copy of it is whole; give the geometry to learn more"
    );
    Ok(Failure::new(Kind::Unmountable, message).about(mapping))
}

/// What an image without a volume of ours holds instead.
fn describe_content(source: &dyn ReadAt, foreign: Option<Foreign>) -> Result<Failure, Failure> {
    if let Some(foreign) = foreign {
        let message = format!(
            "it is not ours: it holds {} (offset {:#x}: {})",
            foreign.title, foreign.offset, foreign.evidence
        );
        return Ok(Failure::new(Kind::ForeignFormat, message));
    }
    if source.is_empty() {
        return Ok(Failure::new(Kind::NotAnImage, "the file is empty"));
    }
    Ok(match probe::is_blank(source)? {
        true => Failure::new(Kind::NotAnImage, "every byte is 0xFF: it has not been formatted"),
        false => Failure::new(Kind::NotAnImage, "no volume of ours and no other format was recognised in it"),
    })
}

impl Opened {
    /// The blocks that the chip marks as bad.
    pub(crate) fn marked_blocks(&self) -> Result<Vec<u32>, Failure> {
        Ok(marked_blocks(&self.flash)?.iter().map(|block| block.0).collect())
    }

    /// Mount the volume; what the mount has to say is told.
    pub(crate) fn mount(self, options: &MountOptions, image: &Path, ui: &Ui) -> Result<Mounted, Failure> {
        let Self { flash, mapping, resolved, .. } = self;
        let in_image = |error: nandimg::Error| Failure::from(error).context(format!("{}", image.display()));
        let volume = AnyVolume::mount(flash, mapping, options).map_err(in_image)?;
        for warning in volume.warnings() {
            ui.warn(&format!("{}: {warning}", image.display()));
        }
        Ok(Mounted { volume, resolved })
    }
}

/// A mounted volume and what is known of its image.
pub(crate) struct Mounted {
    pub(crate) volume: AnyVolume<ImageFile>,
    pub(crate) resolved: Resolved,
}

/// Open the image that `args` name and mount its volume.
pub(crate) fn mount(
    args: &ImageArgs,
    access: Access,
    options: &MountOptions,
    ui: &Ui,
) -> Result<Mounted, Failure> {
    open(args, access, Need::Volume, ui)?.mount(options, &args.image, ui)
}
