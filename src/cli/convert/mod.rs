//! `nandimg convert`: an image as another one. [`physical`] goes page by page and knows of no volume, [`logical`] reads the
//! volume and builds another with the same content.

mod bad_map;
mod fit;
mod logical;
mod physical;
mod target;

use std::path::PathBuf;

use nandimg::flash::PageAddr;
use nandimg::flash::dump::BadBlocks;
use nandimg::layout::Layout;
use serde_json::{Value, json};

use super::args::{BlockList, GeometryArgs, ImageArgs, parse_blocks, parse_size_u32};
use super::exit::{Exit, Failure, Kind};
use super::format::Mapping;
use super::layout::LayoutChoice;
use super::open::chip_file_path;
use super::output::{Ui, count};
use super::same_file::{Inputs, refuse_layout_file, refuse_stdout};
use target::Target;

/// Make an image of another layout, or for another chip
///
/// Page by page, whatever the image holds: spare bytes and ECC are stripped, added or exchanged. Spare bytes that both layouts
/// leave free stay. The geometry flags are about SRC.
///
/// With --logical the content of the volume in SRC goes into a fresh one in DST. The geometry flags, but for --layout and
/// --chip-file, are about DST; what they leave open is as in SRC.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image to read
    #[arg(value_name = "SRC")]
    src: PathBuf,
    /// The image to make
    #[arg(value_name = "DST")]
    dst: PathBuf,
    #[command(flatten)]
    geometry: GeometryArgs,
    /// How the pages of DST are to be laid out; as those of SRC if left out
    #[arg(long, value_name = "NAME|FILE")]
    to_layout: Option<String>,
    /// Spare bytes a page of DST; if left out, as in SRC, or as the chip has it
    #[arg(long, value_name = "N", value_parser = parse_size_u32, conflicts_with = "logical")]
    to_spare_size: Option<u32>,
    /// What to make of blocks that are marked bad [default: dumpbad]
    #[arg(long, value_enum, conflicts_with = "logical")]
    bb: Option<Bb>,
    /// Build a fresh volume with the same content
    #[arg(long)]
    logical: bool,
    /// Which flash translation layer; with --logical [default: that of SRC]
    #[arg(long, value_enum, requires = "logical")]
    mapping: Option<Mapping>,
    /// Room for what the volume itself needs, in percent of the good blocks; with --logical and page mapping [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90), requires = "logical")]
    spare_percent: Option<u32>,
    /// Blocks that are bad on the chip that DST is for (3,77,100-103). Without --logical: with skipbad SRC is laid around them,
    /// else they are bad in SRC, too
    #[arg(long, value_name = "LIST", value_parser = parse_blocks)]
    bad_blocks: Option<BlockList>,
    /// The same, from a file: JSON, what nanddump or mtdinfo printed, or an image of the chip, whose Linux bad-block table
    /// counts, or its marks. With skipbad an image needs --blocks or --chip, by which its size is known
    #[arg(long, value_name = "FILE")]
    bad_map: Option<PathBuf>,
    /// Go on where a page cannot be read: it keeps what is stored, with --logical it is zeros
    #[arg(long)]
    skip_unreadable: bool,
    /// Replace DST if it exists
    #[arg(long)]
    force: bool,
}

/// What to make of bad blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Bb {
    /// FF instead of what they hold; their marks are lost
    Padbad,
    /// What they hold, marks included
    Dumpbad,
    /// Leave them out; what follows moves up. What would come to lie on a block of --bad-blocks goes to the next good one, as
    /// with nandwrite; --blocks or --chip say how many blocks DST then has
    Skipbad,
}

impl Args {
    fn bad_block_handling(&self) -> BadBlocks {
        match self.bb {
            Some(Bb::Padbad) => BadBlocks::Pad,
            None | Some(Bb::Dumpbad) => BadBlocks::Dump,
            Some(Bb::Skipbad) => BadBlocks::Skip,
        }
    }

    fn to_layout(&self) -> Result<Option<LayoutChoice>, Failure> {
        self.to_layout.as_deref().map(LayoutChoice::of_flag).transpose()
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let source = ImageArgs { image: args.src.clone(), geometry: args.geometry.clone() };
    refuse_stdout(&source)?;
    refuse_layout_file(args.to_layout.as_deref(), None)?;
    let chip_file = chip_file_path(&args.src, &args.geometry);
    let target = Target::new(&args.dst, args.force);
    let inputs = Inputs { image: &args.src, chip_file: chip_file.as_deref() };
    for made in [&target.image, &target.chip_file] {
        inputs.refuse_as_output(Some(made))?;
        refuse_layout_file(args.geometry.layout.as_deref(), Some(made))?;
        refuse_layout_file(args.to_layout.as_deref(), Some(made))?;
    }
    if args.bad_map.as_deref().is_some_and(|map| target.is(map)) {
        return Err(Failure::new(Kind::Usage, "the output is the file of --bad-map itself"));
    }
    let in_target = |failure: Failure| failure.context(format!("cannot make {}", args.dst.display()));
    target.refuse_existing().map_err(in_target)?;
    let run = if args.logical { logical::run } else { physical::run };
    run(args, &target, ui).map_err(in_target)
}

/// The layout of DST, for pages of `page_size` bytes: the one that is asked for, or that of SRC.
///
/// `asked` is the number of spare bytes, where it is said.
fn layout_of_target(
    choice: Option<LayoutChoice>,
    from: &Layout,
    page_size: u32,
    asked: Option<u32>,
) -> Result<Layout, Failure> {
    let same = (page_size, asked.unwrap_or(from.spare_size())) == (from.page_size(), from.spare_size());
    let choice = match choice {
        None if same => return Ok(from.clone()),
        None if asked == Some(0) => LayoutChoice::Named("none".to_string()),
        None if from.name() == "none" => LayoutChoice::Named("raw".to_string()),
        None => LayoutChoice::Named(from.name().to_string()),
        Some(choice) => choice,
    };
    let usual = if from.spare_size() > 0 { from.spare_size() } else { page_size / SPARE_SHARE };
    let spare_size = match &choice {
        LayoutChoice::Whole(layout) => asked.unwrap_or(layout.spare_size()),
        LayoutChoice::Named(name) if name == "none" => asked.unwrap_or(0),
        LayoutChoice::Named(_) => asked.unwrap_or(usual),
    };
    choice.for_pages(page_size, spare_size).map_err(|failure| {
        if asked.is_some() {
            failure
        } else {
            failure.and("give --to-layout, or another number of spare bytes")
        }
    })
}

/// What the ECC of SRC has found, on a line; nothing where it has none.
fn describe_ecc(ecc: &Value) -> String {
    let number = |key: &str| ecc[key].as_u64().unwrap_or(0);
    match ecc {
        Value::Null => String::new(),
        _ => format!(
            "ECC: {} clean, {} blank, {} corrected ({}), {} uncorrectable\n",
            number("clean"),
            number("blank"),
            number("corrected"),
            count(number("corrected_bits"), "bit"),
            number("uncorrectable")
        ),
    }
}

/// Most chips have one spare byte for so many data bytes: 16 for 512, 64 for 2048.
const SPARE_SHARE: u32 = 32;

/// Pages that could not be read.
#[derive(Debug, Default)]
struct Lost {
    count: u64,
    /// The first of them.
    places: Vec<(PageAddr, u64)>,
}

impl Lost {
    const MAX_PLACES: usize = 1000;

    fn note(&mut self, at: PageAddr, offset: u64) {
        self.count += 1;
        if self.places.len() < Self::MAX_PLACES {
            self.places.push((at, offset));
        }
    }

    fn to_json(&self) -> Value {
        let place = |(at, offset): &(PageAddr, u64)| json!({ "block": at.block.0, "page": at.page, "offset": offset });
        self.places.iter().map(place).collect()
    }

    /// The failure that they are.
    fn failure(&self) -> Option<Failure> {
        let (at, offset) = self.places.first()?;
        let message = format!(
            "{} cannot be read, the first is {at} (offset {offset:#x}); --skip-unreadable goes on without",
            count(self.count, "page")
        );
        Some(Failure::new(Kind::Unreadable, message))
    }
}
