//! Small page-mapped volumes as they come to be, and what was ever written to them.

use std::collections::BTreeSet;

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
use nandimg::onflash::paged::head::{Head, open};
use nandimg::prng::SplitMix64;

pub(crate) const PAGE: usize = 256;
pub(crate) const PAGES: u32 = 8;

/// A volume to be damaged.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) name: &'static str,
    pub(crate) chip: SimFlash,
    /// The content, as committed.
    pub(crate) content: Vec<u8>,
    /// Every logical page with every content it ever had.
    pub(crate) versions: BTreeSet<(u64, Vec<u8>)>,
    /// Its metadata pages that are whole.
    pub(crate) metadata: Vec<(PageAddr, Head, Vec<u8>)>,
    /// Its log may end in a torn page: what is broken there cannot be told from a cut, and is reported as one.
    pub(crate) unclean: bool,
}

/// How a volume comes to be.
struct Recipe {
    name: &'static str,
    blocks: u32,
    bad: &'static [u32],
    /// Tenths of the capacity that are filled.
    filled: u64,
    /// Single pages that are overwritten then, and discards.
    overwritten: u64,
    discards: u64,
    ends: bool,
    mirror: bool,
}

const RECIPES: [Recipe; 8] = [
    Recipe {
        name: "fresh",
        blocks: 48,
        bad: &[],
        filled: 0,
        overwritten: 0,
        discards: 0,
        ends: true,
        mirror: false,
    },
    Recipe {
        name: "filled",
        blocks: 48,
        bad: &[],
        filled: 10,
        overwritten: 60,
        discards: 0,
        ends: true,
        mirror: false,
    },
    Recipe {
        name: "unclean",
        blocks: 56,
        bad: &[],
        filled: 8,
        overwritten: 151,
        discards: 0,
        ends: false,
        mirror: false,
    },
    Recipe {
        name: "discards",
        blocks: 64,
        bad: &[],
        filled: 7,
        overwritten: 90,
        discards: 12,
        ends: true,
        mirror: false,
    },
    Recipe {
        name: "unclean discards",
        blocks: 64,
        bad: &[],
        filled: 9,
        overwritten: 33,
        discards: 9,
        ends: false,
        mirror: true,
    },
    Recipe {
        name: "bad blocks",
        blocks: 64,
        bad: &[1, 9, 33],
        filled: 9,
        overwritten: 40,
        discards: 2,
        ends: true,
        mirror: false,
    },
    Recipe {
        name: "begun",
        blocks: 48,
        bad: &[20],
        filled: 2,
        overwritten: 7,
        discards: 1,
        ends: false,
        mirror: false,
    },
    Recipe {
        name: "streams",
        blocks: 96,
        bad: &[],
        filled: 8,
        overwritten: 300,
        discards: 3,
        ends: true,
        mirror: false,
    },
];

pub(crate) fn bases() -> Vec<Base> {
    RECIPES.iter().zip(1..).map(|(recipe, seed)| recipe.make(seed)).collect()
}

impl Recipe {
    fn make(&self, seed: u64) -> Base {
        let mut rng = SplitMix64::new(seed);
        let geometry = Geometry::new(PAGE as u32, 0, PAGE as u32 * PAGES, self.blocks).unwrap();
        let mut chip = SimFlash::new(geometry);
        self.bad.iter().for_each(|&block| chip.set_factory_bad(Block(block)));
        FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
        let options = Mount { mirror_every_commit: self.mirror, ..Mount::default() };
        let mut volume = PageVolume::mount(chip, &options).unwrap();
        let mut content: Vec<u8> = Vec::new();
        let mut versions = BTreeSet::new();
        let pages = volume.capacity() / PAGE as u64 * self.filled / 10;
        let mut write = |volume: &mut PageVolume<SimFlash>, content: &mut Vec<u8>, page: u64| {
            let mut data = vec![0; PAGE];
            rng.fill(&mut data);
            volume.write(page * PAGE as u64, &data).unwrap();
            let end = (page as usize + 1) * PAGE;
            content.resize(content.len().max(end), 0);
            content[end - PAGE..end].copy_from_slice(&data);
            versions.insert((page, data));
            rng.next_u64()
        };
        for page in 0..pages {
            if write(&mut volume, &mut content, page) % 8 == 0 {
                volume.sync().unwrap();
            }
        }
        volume.sync().unwrap();
        if self.filled > 2 {
            volume.end().unwrap();
        }
        let every = self.overwritten / (self.discards + 1);
        let mut dice = SplitMix64::new(!seed);
        for n in 0..self.overwritten {
            let page = dice.below(pages);
            let rolled = write(&mut volume, &mut content, page);
            if every > 0 && n % every == every - 1 && n / every < self.discards {
                let (from, count) = (dice.below(pages), 1 + dice.below(5));
                let to = (from + count).min(pages);
                volume.discard(from * PAGE as u64, (to - from) * PAGE as u64).unwrap();
                content[from as usize * PAGE..to as usize * PAGE].fill(0);
            }
            if rolled % 3 == 0 {
                volume.sync().unwrap();
            }
        }
        volume.sync().unwrap();
        if self.ends {
            volume.end().unwrap();
        }
        let chip = volume.into_flash();
        let metadata = metadata_of(&chip);
        let unclean = !self.ends;
        Base { name: self.name, chip, content, versions, metadata, unclean }
    }
}

fn metadata_of(chip: &SimFlash) -> Vec<(PageAddr, Head, Vec<u8>)> {
    let geometry = *chip.geometry();
    let mut all = Vec::new();
    for block in geometry.iter_blocks() {
        for at in geometry.iter_pages(block) {
            if let Ok((head, payload)) = open(page_at(chip.data(), at)) {
                all.push((at, head, payload.to_vec()));
            }
        }
    }
    all
}

pub(crate) fn offset(at: PageAddr) -> usize {
    (at.block.0 * PAGES + at.page) as usize * PAGE
}

pub(crate) fn page_at(data: &[u8], at: PageAddr) -> &[u8] {
    &data[offset(at)..][..PAGE]
}
