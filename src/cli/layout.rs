//! How raw pages are laid out: as a flag, the chip file, the pages themselves or the volume says.

use std::path::Path;

use nandimg::flash::PageLayoutTag;
use nandimg::flash::chip_file::{ChipFile, StoredLayout};
use nandimg::flash::file_io::LockedFile;
use nandimg::layout::{Layout, LayoutError, PRESETS};
use nandimg::probe;
use serde_json::Value;

use super::exit::{Failure, Kind};
use super::geometry::{Claims, Source};
use super::output;

/// The largest layout file that is read.
const MAX_LEN: u64 = 1 << 20;

/// The layouts known by name, with the pages that show them.
pub(crate) fn list() -> String {
    let mut table = output::table(&["layout", "what it is", "pages (more may fit)"]);
    for preset in PRESETS {
        let pages = preset.examples.iter().map(|(page, spare)| format!("{page}+{spare}"));
        table.add_row([
            preset.name.to_string(),
            preset.description.to_string(),
            pages.collect::<Vec<_>>().join(", "),
        ]);
    }
    format!(
        "{table}\n<t> is a number of bits; any other layout can be said in a file: see the documentation of nandimg::layout"
    )
}

/// The file that `--layout NAME|FILE` means, unless it is a name.
pub(crate) fn file_of_flag(text: &str) -> Option<&Path> {
    let is_name = PRESETS.iter().any(|preset| preset.is_called(text));
    (!is_name).then(|| Path::new(text))
}

/// A layout that was asked for, or recorded: pages of which sizes have it may not be known yet.
#[derive(Clone, Debug)]
pub(crate) enum LayoutChoice {
    Named(String),
    Whole(Box<Layout>),
}

impl LayoutChoice {
    /// What `--layout NAME|FILE` means.
    pub(crate) fn of_flag(text: &str) -> Result<Self, Failure> {
        let Some(path) = file_of_flag(text) else { return Ok(Self::Named(text.to_string())) };
        let found = std::fs::metadata(path).map_err(|error| {
            let names = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
            Failure::from(error)
                .context(format!("{text} is no layout by name ({names}), and no file to be read"))
        })?;
        let in_file = |failure: Failure| failure.context(format!("cannot use the layout file {text}"));
        if !found.is_file() || found.len() > MAX_LEN {
            return Err(in_file(Failure::new(
                Kind::Unsupported,
                format!("{} bytes are no layout", found.len()),
            )));
        }
        let bytes = std::fs::read(path).map_err(|e| in_file(e.into()))?;
        let layout = Layout::from_json(&bytes).map_err(|e| in_file(unfit(&e)))?;
        Ok(Self::Whole(Box::new(layout)))
    }

    /// The layout that a chip file records.
    pub(crate) fn of_chip_file(chip: &ChipFile) -> Result<Option<Self>, Failure> {
        Ok(match &chip.layout {
            None => None,
            Some(StoredLayout::Named(name)) => Some(Self::Named(name.clone())),
            Some(StoredLayout::Whole(whole)) => {
                let text = Value::Object(whole.clone()).to_string();
                let layout = Layout::from_json(text.as_bytes());
                let layout = layout.map_err(|e| unfit(&e).context("the layout in the chip file"))?;
                Some(Self::Whole(Box::new(layout)))
            }
        })
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Whole(layout) => layout.name(),
        }
    }

    /// The layout, for pages of these sizes.
    pub(crate) fn for_pages(&self, page_size: u32, spare_size: u32) -> Result<Layout, Failure> {
        match self {
            Self::Named(name) => Layout::preset(name, page_size, spare_size).map_err(|e| unfit(&e)),
            Self::Whole(layout) if (layout.page_size(), layout.spare_size()) == (page_size, spare_size) => {
                Ok(Layout::clone(layout))
            }
            Self::Whole(layout) => {
                let message = format!(
                    "the layout {} is for pages of {}+{} bytes, and these have {page_size}+{spare_size}",
                    layout.name(),
                    layout.page_size(),
                    layout.spare_size()
                );
                Err(Failure::new(Kind::GeometryMismatch, message))
            }
        }
    }

    /// Whether both may be the same layout.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (Self::Named(a), Self::Named(b)) => a == b,
            (Self::Named(name), Self::Whole(layout)) | (Self::Whole(layout), Self::Named(name)) => {
                Layout::preset(name, layout.page_size(), layout.spare_size()).is_ok_and(|it| it == **layout)
            }
        }
    }
}

/// The layout of such pages where nothing is said of them: data alone, or in front of spare bytes that are left alone.
pub(crate) fn plain(page_size: u32, spare_size: u32) -> Result<Layout, Failure> {
    let name = if spare_size == 0 { "none" } else { "raw" };
    Layout::preset(name, page_size, spare_size).map_err(|e| unfit(&e))
}

fn unfit(error: &LayoutError) -> Failure {
    let kind = match error {
        LayoutError::Unfit { .. } => Kind::GeometryMismatch,
        _ => Kind::Unsupported,
    };
    Failure::new(kind, error.to_string())
}

/// How the pages of an image are laid out.
#[derive(Clone, Debug)]
pub(crate) struct FoundLayout {
    /// The layout as it was said or found; none where pages are data in front of spare bytes, if any, and nobody has a name for it.
    pub(crate) said: Option<Layout>,
    /// Who says so.
    pub(crate) from: Source,
    /// What was claimed of the geometry, and what the layout adds to it.
    pub(crate) claims: Claims,
}

impl FoundLayout {
    fn plain(from: Source, claims: Claims) -> Self {
        Self { said: None, from, claims }
    }

    fn of(layout: Layout, from: Source, claims: Claims) -> Result<Self, Failure> {
        let sizes = Claims {
            page_size: Some((layout.page_size(), from)),
            spare_size: Some((layout.spare_size(), from)),
            ..Claims::default()
        };
        let claims = claims.and(sizes)?;
        Ok(Self { said: Some(layout), from, claims })
    }

    /// The layout, where it is more than plain.
    pub(crate) fn layout(&self) -> Option<&Layout> {
        self.said.as_ref().filter(|layout| !layout.is_plain())
    }

    /// Hold the layout against what a volume records of it; where nobody else said one, that is it.
    ///
    /// A volume records what its pages were laid out like when it was made. Its image may have been converted since: a chip file
    /// that says otherwise is believed, unless the pages in `file` speak for the record, and a flag if the pages speak for it.
    pub(crate) fn and_recorded(
        self,
        tag: Option<PageLayoutTag>,
        page: (u32, u32),
        file: &LockedFile,
    ) -> Result<Self, Failure> {
        let Some(tag) = tag else { return Ok(self) };
        let is_recorded = |layout: &Layout| layout.fingerprint() == tag.fingerprint;
        // Without spare bytes there is no ECC, whatever the chip had.
        if self.layout().map_or(page.1 == 0, is_recorded) {
            return Ok(self);
        }
        let name = tag.name();
        let is_raw = self.layout().is_none();
        match self.from {
            Source::Usual => {
                let recorded = Layout::preset(&name, page.0, page.1).ok().filter(is_recorded);
                let layout = recorded.ok_or_else(|| unknown_record(&name, tag))?;
                Self::of(layout, Source::Flash, self.claims)
            }
            // The bytes of ECC that a conversion to raw pages has kept are still right.
            Source::ChipFile if is_raw => Ok(self),
            Source::Pages => Ok(self),
            from => {
                let claims = Claims {
                    page_size: Some((page.0, from)),
                    spare_size: Some((page.1, from)),
                    ..Claims::default()
                };
                let shown =
                    probe::detect_layout(&file.file, &claims.hints(), None)?.map(|found| found.layout);
                let is_believed = match from {
                    Source::ChipFile => !shown.as_ref().is_some_and(is_recorded),
                    _ => shown.is_some() && shown.as_ref() == self.layout(),
                };
                if is_believed {
                    return Ok(self);
                }
                let witness =
                    if shown.as_ref().is_some_and(is_recorded) { Source::Pages } else { Source::Flash };
                let ours = self.layout().map_or("raw", Layout::name);
                Err(contradiction(ours, from, &name, witness))
            }
        }
    }

    /// What is to be known of a layout that is not the one that `tag` records.
    pub(crate) fn note(&self, tag: Option<PageLayoutTag>, spare_size: u32) -> Option<String> {
        let tag = tag.filter(|_| spare_size > 0)?;
        let differs = self.layout().is_none_or(|layout| layout.fingerprint() != tag.fingerprint);
        differs.then(|| {
            format!(
                "the volume was made on pages laid out as {} says; now they are as {} says, according to {}",
                tag.name(),
                self.layout().map_or("raw", Layout::name),
                self.from
            )
        })
    }
}

fn unknown_record(name: &str, tag: PageLayoutTag) -> Failure {
    let message = format!(
        "its pages are laid out as {name:?} says (fingerprint {:08x}), which is no layout known by that name: give --layout FILE",
        tag.fingerprint
    );
    Failure::new(Kind::GeometryUnknown, message)
}

/// The layout that is said by a flag and the chip file, which must not contradict each other; and by whom.
pub(crate) fn said_layout(
    flag: Option<&str>,
    chip: Option<&ChipFile>,
) -> Result<Option<(LayoutChoice, Source)>, Failure> {
    let flag = flag.map(LayoutChoice::of_flag).transpose()?;
    let recorded = chip.map(LayoutChoice::of_chip_file).transpose()?.flatten();
    match (flag, recorded) {
        (Some(asked), Some(recorded)) if !asked.agrees_with(&recorded) => {
            Err(contradiction(asked.name(), Source::Flag, recorded.name(), Source::ChipFile))
        }
        (_, Some(recorded)) => Ok(Some((recorded, Source::ChipFile))),
        (Some(asked), None) => Ok(Some((asked, Source::Flag))),
        (None, None) => Ok(None),
    }
}

/// How the pages of the image in `file` are laid out, by flag, chip file, or what the pages themselves show.
pub(crate) fn find_layout(
    file: &LockedFile,
    flag: Option<&str>,
    chip: Option<&ChipFile>,
    claims: Claims,
) -> Result<FoundLayout, Failure> {
    let Some((choice, from)) = said_layout(flag, chip)? else { return detect(file, None, claims) };
    match (&choice, claims.page_size, claims.spare_size) {
        (LayoutChoice::Whole(layout), ..) => FoundLayout::of(Layout::clone(layout), from, claims),
        (LayoutChoice::Named(name), ..) if name == "none" => {
            let without = Claims { spare_size: Some((0, from)), ..Claims::default() };
            Ok(FoundLayout::plain(from, claims.and(without)?))
        }
        (LayoutChoice::Named(name), ..) if name == "raw" => Ok(FoundLayout::plain(from, claims)),
        (LayoutChoice::Named(_), Some((page_size, _)), Some((spare_size, _))) => {
            FoundLayout::of(choice.for_pages(page_size, spare_size)?, from, claims)
        }
        (LayoutChoice::Named(name), ..) => {
            if let found @ FoundLayout { said: Some(_), .. } = detect(file, Some(name), claims)? {
                return Ok(FoundLayout { from, ..found });
            }
            Err(match detect(file, None, claims)?.said {
                Some(layout) => contradiction(name, from, layout.name(), Source::Pages),
                None => {
                    let message = format!(
                        "no pages that are laid out as {name} says were recognised: give --page-size and --spare-size"
                    );
                    Failure::new(Kind::GeometryUnknown, message)
                }
            })
        }
    }
}

fn contradiction(one: &str, from: Source, other: &str, other_from: Source) -> Failure {
    let message = format!("the layout is {one} according to {from}, and {other} according to {other_from}");
    Failure::new(Kind::GeometryMismatch, message)
}

/// Every layout that the pages speak for and the claims allow, the best first.
pub(crate) fn layouts_shown(file: &LockedFile, claims: Claims) -> Result<Vec<FoundLayout>, Failure> {
    let scored = probe::score_layouts(&file.file, &claims.hints(), None)?;
    let certain = scored.into_iter().filter(|scored| scored.is_certain());
    Ok(certain.filter_map(|scored| FoundLayout::of(scored.layout, Source::Pages, claims).ok()).collect())
}

/// What the ECC of the pages shows by itself.
fn detect(file: &LockedFile, name: Option<&str>, claims: Claims) -> Result<FoundLayout, Failure> {
    let plain = FoundLayout::plain(Source::Usual, claims);
    if claims.spare_size.is_some_and(|(spare, _)| spare == 0) {
        return Ok(plain);
    }
    match probe::detect_layout(&file.file, &claims.hints(), name)? {
        Some(found) => FoundLayout::of(found.layout, Source::Pages, claims),
        None => Ok(plain),
    }
}
