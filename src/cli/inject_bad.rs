//! `nandimg inject-bad`: make blocks bad, now or later; flip bits.

use std::collections::BTreeSet;

use nandimg::flash::Inspected;
use nandimg::flash::faults::{LatentFault, LatentFaults};
use nandimg::flash::file_io::Access;
use nandimg::flash::{Block, FlashHardware, Operation, PageAddr};
use nandimg::ftl::{AnyVolume, MountOptions, Volume};
use nandimg::prng::SplitMix64;
use serde_json::{Map, Value, json};

use super::args::{BitPlace, BlockList, ImageArgs, parse_bit_place, parse_blocks};
use super::exit::{Exit, Failure, Kind};
use super::flips::{self, Each, FlipCount};
use super::open::{Need, Opened, open};
use super::output::{Ui, block_list, table};
use super::same_file::refuse_stdout;

/// Make blocks bad, now or later, or flip stored bits
///
/// Does not tell the volume: to find out is its work, and fsck's. A seeded choice draws from SplitMix64 started with the
/// seed; that never changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// These blocks (3,77,100-103)
    #[arg(long, value_name = "LIST", value_parser = parse_blocks, conflicts_with = "count")]
    block: Option<BlockList>,
    /// This many of the good blocks, chosen by the seed
    #[arg(long, value_name = "K")]
    count: Option<u32>,
    /// The seed of a choice
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// When they become bad: at once, or when they are next erased, programmed or read
    #[arg(long, value_enum, default_value = "now")]
    when: When,
    /// How many erases or programs still succeed
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Flip this stored bit of a page (bit = byte x 8 + bit, least significant first, spare bytes after the data); one that is
    /// named twice, or also chosen by --flip-bits, flips once
    #[arg(long, value_name = "BIT@BLOCK:PAGE", value_parser = parse_bit_place, conflicts_with_all = ["count", "when"])]
    flip: Vec<BitPlace>,
    /// Flip this many stored bits, of the blocks given or of the whole volume; t, t-1, t+1 count beside what the ECC corrects
    #[arg(long, value_name = "N|t±K", value_parser = flips::parse_count, conflicts_with_all = ["count", "when"])]
    flip_bits: Option<FlipCount>,
    /// Flip so many bits in each of these
    #[arg(long, value_enum, value_name = "WHAT", default_value = "all", requires = "flip_bits")]
    each: Each,
    /// Show the latent faults
    #[arg(long)]
    list: bool,
    /// Remove all latent faults
    #[arg(long)]
    clear_faults: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    Now,
    Erase,
    Program,
    Read,
}

impl When {
    fn operation(self) -> Option<Operation> {
        match self {
            Self::Now => None,
            Self::Erase => Some(Operation::Erase),
            Self::Program => Some(Operation::Program),
            Self::Read => Some(Operation::Read),
        }
    }
}

impl Args {
    fn flips(&self) -> bool {
        !self.flip.is_empty() || self.flip_bits.is_some()
    }

    fn check(&self) -> Result<(), Failure> {
        let wrong = |message: &'static str| Err(Failure::new(Kind::Usage, message));
        let names_blocks = self.block.is_some() || self.count.is_some();
        if !names_blocks && !self.flips() && !self.list && !self.clear_faults {
            return wrong(
                "nothing to do: give --block, --count, --flip, --flip-bits, --list or --clear-faults",
            );
        }
        if self.after > 0 && !matches!(self.when, When::Erase | When::Program) {
            return wrong("--after counts erases or programs: it goes with --when erase or program");
        }
        if self.block.is_some() && !self.flip.is_empty() {
            return wrong("--flip names its own place: it does not go with --block");
        }
        Ok(())
    }

    fn changes_anything(&self) -> bool {
        self.block.is_some() || self.count.is_some() || self.flips() || self.clear_faults
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    args.check()?;
    refuse_stdout(&args.image)?;
    let access = if args.changes_anything() { Access::ReadWrite } else { Access::ReadOnly };
    let mut opened = open(&args.image, access, Need::Geometry, ui)?;
    let good = good_blocks(&opened)?;
    let bits = choose_bits(args, &opened)?;
    let blocks = if args.flips() { Vec::new() } else { choose_blocks(args, &opened, &good)? };
    if args.clear_faults {
        opened.flash.set_latent_faults(LatentFaults::default());
    }
    let marked = match args.when.operation() {
        None => mark_now(&mut opened, &blocks)?,
        Some(on) => {
            add_faults(&mut opened, &blocks, on, args.after)?;
            Vec::new()
        }
    };
    let mut flipped = Vec::with_capacity(bits.len());
    for (page, bit) in bits {
        let offset = opened.flash.flip_bit(page, bit)?;
        flipped.push(flip_to_json(page, bit, offset));
    }
    if opened.flash.chip().changed && opened.flash.chip().content.geometry.is_none() {
        let geometry = opened.resolved.to_chip_file();
        opened.flash.chip_mut().geometry = Some(geometry);
    }
    if access == Access::ReadWrite {
        opened.flash.sync()?;
    }
    let faults = opened.flash.latent_faults().to_vec();
    let mut report = json!({ "marked": marked, "faults": faults });
    // A list that may be long: not copied, as json! would.
    report["flipped"] = Value::Array(flipped);
    ui.report(report, |report| show(report, args))?;
    Ok(Exit::Done)
}

/// There may be many of these: they take no more room than they need.
fn flip_to_json(page: PageAddr, bit: u64, offset: u64) -> Value {
    let mut flip = Map::with_capacity(4);
    flip.insert("block".into(), page.block.0.into());
    flip.insert("page".into(), page.page.into());
    flip.insert("bit".into(), bit.into());
    flip.insert("offset".into(), offset.into());
    Value::Object(flip)
}

/// The blocks that are bad neither by the chip's marks nor by the volume's table.
fn good_blocks(opened: &Opened) -> Result<Vec<u32>, Failure> {
    // An image without a volume that mounts still has a chip.
    let listed: BTreeSet<u32> =
        match AnyVolume::mount(Inspected(&opened.flash), opened.mapping, &MountOptions::read_only()) {
            Ok(volume) => volume.bad_blocks().iter().map(|b| b.0).collect(),
            Err(_) => BTreeSet::new(),
        };
    let mut good = Vec::new();
    for block in opened.flash.geometry().iter_blocks() {
        if !listed.contains(&block.0) && !opened.flash.is_bad(block)? {
            good.push(block.0);
        }
    }
    Ok(good)
}

fn choose_blocks(args: &Args, opened: &Opened, good: &[u32]) -> Result<Vec<u32>, Failure> {
    if let Some(blocks) = &args.block {
        check_blocks(&blocks.0, opened)?;
        return Ok(blocks.0.clone());
    }
    let count = args.count.unwrap_or(0) as usize;
    if count > good.len() {
        let message = format!("{count} blocks are to be chosen, and {} are good", good.len());
        return Err(Failure::new(Kind::OutOfRange, message));
    }
    // The first steps of a Fisher-Yates shuffle.
    let (mut pool, mut rng) = (good.to_vec(), SplitMix64::new(args.seed));
    for i in 0..count {
        let j = i + rng.below((pool.len() - i) as u64) as usize;
        pool.swap(i, j);
    }
    pool.truncate(count);
    pool.sort_unstable();
    Ok(pool)
}

fn check_blocks(blocks: &[u32], opened: &Opened) -> Result<(), Failure> {
    let there_are = opened.flash.geometry().blocks();
    match blocks.iter().find(|&&block| block >= there_are) {
        Some(block) => Err(Failure::new(
            Kind::OutOfRange,
            format!("there is no block {block}: the volume has {there_are}"),
        )),
        None => Ok(()),
    }
}

/// The bits to flip: each once, even where it is both named and chosen.
fn choose_bits(args: &Args, opened: &Opened) -> Result<BTreeSet<(PageAddr, u64)>, Failure> {
    let geometry = *opened.flash.geometry();
    let bits_a_page = geometry.raw_page_size() * 8;
    let mut bits = BTreeSet::new();
    for place in &args.flip {
        check_blocks(&[place.block], opened)?;
        if place.page >= geometry.pages_per_block() || place.bit >= bits_a_page {
            let message = format!(
                "there is no bit {} of page {}: a block has {} pages of {bits_a_page} bits",
                place.bit,
                place.page,
                geometry.pages_per_block()
            );
            return Err(Failure::new(Kind::OutOfRange, message));
        }
        bits.insert((PageAddr { block: Block(place.block), page: place.page }, place.bit));
    }
    let Some(count) = args.flip_bits else { return Ok(bits) };
    let blocks = match &args.block {
        Some(blocks) => blocks.0.clone(),
        None => (0..geometry.blocks()).collect(),
    };
    check_blocks(&blocks, opened)?;
    bits.extend(flips::choose(opened, &blocks, count, args.each, args.seed)?);
    Ok(bits)
}

/// Chips without a spare area have their marks and faults in the chip file only.
fn need_chip_file(opened: &Opened) -> Result<(), Failure> {
    match opened.flash.chip().path {
        Some(_) => Ok(()),
        None => Err(Failure::new(Kind::Unsupported, "there is no place to keep this: --chip-file is none")),
    }
}

fn mark_now(opened: &mut Opened, blocks: &[u32]) -> Result<Vec<u32>, Failure> {
    if !blocks.is_empty() && !opened.flash.carries_marks() {
        need_chip_file(opened)?;
    }
    for &block in blocks {
        opened.flash.mark_bad(Block(block))?;
    }
    Ok(blocks.to_vec())
}

fn add_faults(opened: &mut Opened, blocks: &[u32], on: Operation, after: u64) -> Result<(), Failure> {
    need_chip_file(opened)?;
    let mut faults = opened.flash.latent_faults().clone();
    blocks.iter().for_each(|&block| faults.add(LatentFault { block, on, after }));
    opened.flash.set_latent_faults(faults);
    Ok(())
}

fn show(report: &Value, args: &Args) -> String {
    let mut text = String::new();
    let marked: Vec<u32> = serde_json::from_value(report["marked"].clone()).unwrap_or_default();
    if !marked.is_empty() {
        text.push_str(&format!("marked bad: {}\n", block_list(&marked)));
    }
    for flip in report["flipped"].as_array().into_iter().flatten() {
        let offset = flip["offset"].as_u64().unwrap_or(0);
        text.push_str(&format!(
            "flipped bit {} of block {}, page {} (offset {offset:#x})\n",
            flip["bit"], flip["block"], flip["page"]
        ));
    }
    if args.clear_faults {
        text.push_str("latent faults removed\n");
    }
    let faults = report["faults"].as_array().cloned().unwrap_or_default();
    if args.list && faults.is_empty() {
        text.push_str("no latent faults\n");
    }
    if !faults.is_empty() && (args.list || args.when != When::Now) {
        let mut rows = table(&["block", "fails on", "after"]);
        for fault in &faults {
            rows.add_row([
                fault["block"].to_string(),
                fault["on"].as_str().unwrap_or_default().to_string(),
                fault["after"].to_string(),
            ]);
        }
        text.push_str(&format!("latent faults\n{}\n", rows.trim_fmt()));
    }
    text
}
