//! Which stored bits `inject-bad` flips.

use std::collections::BTreeSet;
use std::iter;

use nandimg::flash::{Block, FlashHardware, Geometry, PageAddr};
use nandimg::layout::{Layout, Step};
use nandimg::prng::SplitMix64;

use super::exit::{Failure, Kind};
use super::open::Opened;

/// Bits that may be flipped at a time: a report of each is held in RAM.
const MOST: u64 = 1 << 16;

/// How many bits: a number, or one beside the bits that the ECC corrects in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlipCount {
    Bits(u64),
    OfStrength(i64),
}

/// `3`, or `t`, `t-1`, `t+1`.
pub(crate) fn parse_count(text: &str) -> Result<FlipCount, String> {
    let wrong = || format!("{text:?} is no number of bits: write 3, t, t-1 or t+1");
    let Some(rest) = text.strip_prefix('t') else {
        return text.parse().map(FlipCount::Bits).map_err(|_| wrong());
    };
    let signed = rest.is_empty() || rest.starts_with(['+', '-']);
    let beside = if rest.is_empty() { Ok(0) } else { rest.parse() };
    beside.ok().filter(|_| signed).map(FlipCount::OfStrength).ok_or_else(wrong)
}

/// Of what each is to have so many flips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Each {
    /// All blocks together
    All,
    /// Each block
    Block,
    /// Each page
    Page,
    /// Each step of ECC
    Step,
}

/// So many bits, chosen by `seed`, of all or each of these blocks, each once.
pub(crate) fn choose(
    opened: &Opened,
    blocks: &[u32],
    count: FlipCount,
    each: Each,
    seed: u64,
) -> Result<BTreeSet<(PageAddr, u64)>, Failure> {
    let geometry = *opened.flash.geometry();
    let layout = opened.flash.layout().filter(|layout| !layout.ecc_less());
    let count = match (count, layout) {
        (FlipCount::Bits(count), _) => count,
        (FlipCount::OfStrength(beside), Some(layout)) => {
            i64::from(layout.strength()).saturating_add(beside).max(0) as u64
        }
        (FlipCount::OfStrength(_), None) => return Err(without_ecc("t is what its ECC corrects")),
    };
    let units = Units::new(&geometry, blocks, each, layout)?;
    let total = count.checked_mul(units.number).filter(|&total| total <= MOST);
    if total.is_none() || units.smallest < count {
        let message = format!(
            "{count} different bits are to be flipped in each of {} places; each has {} or more, and {MOST} may be flipped at a time",
            units.number, units.smallest
        );
        return Err(Failure::new(Kind::OutOfRange, message));
    }
    let mut chosen = BTreeSet::new();
    if count == 0 {
        return Ok(chosen);
    }
    let mut rng = SplitMix64::new(seed);
    for unit in units.all {
        let bits = sample(unit.bits(&geometry), count, &mut rng);
        chosen.extend(bits.into_iter().filter_map(|n| unit.place(&geometry, n)));
    }
    Ok(chosen)
}

fn without_ecc(why: &str) -> Failure {
    Failure::new(Kind::Unsupported, format!("the image has no ECC that is known, and {why}: give --layout"))
}

/// `count` different numbers below `all`, in order. Floyd's sampling: each draw adds one, however dense the choice.
fn sample(all: u64, count: u64, rng: &mut SplitMix64) -> BTreeSet<u64> {
    let mut chosen = BTreeSet::new();
    for top in all - count..all {
        let draw = rng.below(top + 1);
        if !chosen.insert(draw) {
            chosen.insert(top);
        }
    }
    chosen
}

/// What there is to choose from. There may be too many to hold, and to go through: `number` tells.
struct Units<'a> {
    number: u64,
    /// Bits of the smallest.
    smallest: u64,
    all: Box<dyn Iterator<Item = Unit<'a>> + 'a>,
}

impl<'a> Units<'a> {
    fn new(
        geometry: &'a Geometry,
        blocks: &'a [u32],
        each: Each,
        layout: Option<&'a Layout>,
    ) -> Result<Self, Failure> {
        let number_of_blocks = blocks.len() as u64;
        let number_of_pages = number_of_blocks * u64::from(geometry.pages_per_block());
        Ok(match each {
            Each::All => {
                let all = Unit::Blocks(blocks);
                Self { number: 1, smallest: all.bits(geometry), all: Box::new(iter::once(all)) }
            }
            Each::Block => Self {
                number: number_of_blocks,
                smallest: u64::from(geometry.pages_per_block()) * page_bits(geometry),
                all: Box::new(blocks.chunks(1).map(Unit::Blocks)),
            },
            Each::Page => Self {
                number: number_of_pages,
                smallest: page_bits(geometry),
                all: Box::new(pages(geometry, blocks).map(Unit::Page)),
            },
            Each::Step => {
                let layout = layout.ok_or_else(|| without_ecc("its pages have no steps"))?;
                Self {
                    number: number_of_pages.saturating_mul(layout.steps().len() as u64),
                    smallest: layout.steps().iter().map(Step::bits).min().unwrap_or(0),
                    all: Box::new(pages(geometry, blocks).flat_map(|page| steps(layout, page))),
                }
            }
        })
    }
}

/// Bits that a choice is made from.
enum Unit<'a> {
    Blocks(&'a [u32]),
    Page(PageAddr),
    Step { page: PageAddr, layout: &'a Layout, index: usize },
}

fn page_bits(geometry: &Geometry) -> u64 {
    geometry.raw_page_size() * 8
}

fn pages<'a>(geometry: &'a Geometry, blocks: &'a [u32]) -> impl Iterator<Item = PageAddr> + 'a {
    blocks.iter().flat_map(|&block| geometry.iter_pages(Block(block)))
}

fn steps(layout: &Layout, page: PageAddr) -> impl Iterator<Item = Unit<'_>> {
    (0..layout.steps().len()).map(move |index| Unit::Step { page, layout, index })
}

impl Unit<'_> {
    /// How many there are.
    fn bits(&self, geometry: &Geometry) -> u64 {
        match self {
            Self::Blocks(blocks) => {
                blocks.len() as u64 * u64::from(geometry.pages_per_block()) * page_bits(geometry)
            }
            Self::Page(_) => page_bits(geometry),
            Self::Step { layout, index, .. } => layout.steps().get(*index).map_or(0, Step::bits),
        }
    }

    /// The page and the bit in it of the `n`th.
    fn place(&self, geometry: &Geometry, n: u64) -> Option<(PageAddr, u64)> {
        match self {
            Self::Blocks(blocks) => {
                let bits_a_page = page_bits(geometry);
                let bits_a_block = bits_a_page * u64::from(geometry.pages_per_block());
                let block = Block(*blocks.get((n / bits_a_block) as usize)?);
                let page = (n % bits_a_block / bits_a_page) as u32;
                Some((PageAddr { block, page }, n % bits_a_page))
            }
            Self::Page(page) => Some((*page, n)),
            Self::Step { page, layout, index } => Some((*page, layout.steps().get(*index)?.code_bit(n)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_or_beside_the_strength() {
        for (text, count) in [
            ("3", FlipCount::Bits(3)),
            ("t", FlipCount::OfStrength(0)),
            ("t+1", FlipCount::OfStrength(1)),
            ("t-2", FlipCount::OfStrength(-2)),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "-1", "t1", "t*2", "x"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }
}
