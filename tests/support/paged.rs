//! What the tests of the page-mapped engine share: chips, mounts, and a model that knows what a commit in the middle of a
//! long transaction may leave.

#![allow(dead_code)]

use nandimg::Result;
use nandimg::check::{Checked, page as fsck};
use nandimg::flash::faults::Faulty;
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
use nandimg::ftl::{BlockUse, Volume};
use nandimg::onflash::paged::head::{self, Head};
use nandimg::onflash::paged::map::MapEntry;
use nandimg::prng::SplitMix64;

pub(crate) type Chip = Faulty<SimFlash>;
pub(crate) type Paged = PageVolume<Chip>;

/// A chip of `blocks` blocks of `pages` pages of `page` bytes.
pub(crate) fn geometry(page: u32, pages: u32, blocks: u32) -> Geometry {
    Geometry::new(page, 0, page * pages, blocks).unwrap()
}

/// A freshly formatted chip, with these blocks bad from the factory.
pub(crate) fn formatted(geometry: Geometry, bad: &[u32]) -> Chip {
    let mut chip = Faulty::new(SimFlash::new(geometry));
    bad.iter().for_each(|&block| chip.inner_mut().set_factory_bad(Block(block)));
    let plan = FormatPlan::new(&chip, &FormatOptions::default()).unwrap();
    plan.execute(&mut chip).unwrap();
    chip
}

pub(crate) fn mount(chip: Chip) -> Paged {
    PageVolume::mount(chip, &Mount::default()).expect("the volume mounts")
}

pub(crate) fn read_only() -> Mount {
    Mount { read_only: true, ..Mount::default() }
}

/// `deep` where `NANDIMG_DEEP` is 1, else `usual`.
pub(crate) fn deep_or(deep: u64, usual: u64) -> u64 {
    if std::env::var_os("NANDIMG_DEEP").is_some_and(|value| value == "1") { deep } else { usual }
}

pub(crate) fn bytes(rng: &mut SplitMix64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    rng.fill(&mut bytes);
    bytes
}

pub(crate) fn content<H: FlashHardware>(volume: &PageVolume<H>) -> Vec<u8> {
    let mut content = vec![0; volume.len() as usize];
    volume.read(0, &mut content).expect("the volume reads");
    content
}

/// The content of each logical page; `None` where it is lost.
pub(crate) fn what_is_left<H: FlashHardware>(volume: &PageVolume<H>) -> Vec<Option<Vec<u8>>> {
    let page_size = volume.flash().geometry().page_size() as usize;
    let mut left = Vec::new();
    for at in (0..volume.len()).step_by(page_size) {
        let mut page = vec![0; page_size.min((volume.len() - at) as usize)];
        left.push(volume.read(at, &mut page).ok().map(|()| page));
    }
    left
}

/// That two contents are the same; where they begin to differ, if not.
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let at = found.iter().zip(expected).position(|(a, b)| a != b);
        panic!("{what}: {} bytes, not {}, and the first to differ is {at:?}", found.len(), expected.len());
    }
}

/// Names what is being run, if it fails.
pub(crate) struct Replay(pub(crate) String);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: {}", self.0);
        }
    }
}

/// A change that takes effect at a sync.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Discard { offset: u64, length: u64 },
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        self.apply_up_to(content, u64::MAX);
    }

    /// Apply what lies before `end`.
    fn apply_up_to(&self, content: &mut Vec<u8>, end: u64) {
        match self {
            Self::Write { data, .. } if data.is_empty() => {}
            Self::Write { offset, data } => {
                let take = end.saturating_sub(*offset).min(data.len() as u64) as usize;
                let to = (*offset + data.len() as u64).min(end) as usize;
                content.resize(content.len().max(to), 0);
                content[*offset as usize..][..take].copy_from_slice(&data[..take]);
            }
            Self::SetLen(len) => content.resize(*len as usize, 0),
            Self::Discard { offset, length } => {
                let to = (offset + length).min(end).min(content.len() as u64);
                if *offset < to {
                    content[*offset as usize..to as usize].fill(0);
                }
            }
        }
    }

    /// Where a commit in the middle of this may cut it.
    fn cuts(&self, page: u64) -> Vec<u64> {
        let (from, to) = match self {
            Self::Write { offset, data } => (*offset, offset + data.len() as u64),
            Self::Discard { offset, length } => (*offset, offset + length),
            Self::SetLen(_) => return Vec::new(),
        };
        (from / page + 1..to.div_ceil(page)).map(|n| n * page).collect()
    }
}

/// What a volume holds: what is acknowledged, and what has been asked for since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) committed: Vec<u8>,
    pub(crate) staged: Vec<u8>,
    pub(crate) pending: Vec<Change>,
}

impl Model {
    pub(crate) fn stage(&mut self, change: Change) {
        change.apply(&mut self.staged);
        self.pending.push(change);
    }

    pub(crate) fn acknowledge(&mut self) {
        self.committed.clone_from(&self.staged);
        self.pending.clear();
    }

    /// What was staged is gone; `found` is there.
    pub(crate) fn settle(&mut self, found: Vec<u8>) {
        self.staged.clone_from(&found);
        self.committed = found;
        self.pending.clear();
    }

    /// Whether `found` is what has been acknowledged and, in order, a part of what has been asked for since that ends with a
    /// page or with a change.
    pub(crate) fn is_prefix(&self, found: &[u8], page: u64) -> bool {
        let mut content = self.committed.clone();
        for change in &self.pending {
            let mut part = content.clone();
            let is_part = |&end: &u64| {
                change.apply_up_to(&mut part, end);
                part == found
            };
            if content == found || change.cuts(page).iter().any(is_part) {
                return true;
            }
            change.apply(&mut content);
        }
        content == found
    }
}

/// What holds for every volume with nothing staged: each page is stored in one place, in a block that holds data, and
/// counted; no erase is forgotten.
pub(crate) fn check_books(volume: &Paged) {
    let layout = *volume.layout();
    let mut stored = 0;
    let mut places = std::collections::BTreeSet::new();
    for logical in layout.iter_logical() {
        match volume.entry(logical).expect("the map reads") {
            MapEntry::At { address, .. } => {
                stored += 1;
                let at = layout.page_addr(layout.physical(address).expect("an address outside the zone"));
                let usage = volume.block_use(at.block);
                assert!(matches!(usage, BlockUse::Data | BlockUse::Bad), "{logical} lies in {at}: {usage:?}");
                assert!(places.insert(address), "{at} holds two logical pages");
            }
            MapEntry::Unmapped | MapEntry::Lost => {}
        }
    }
    assert_eq!(volume.mapped_units(), stored, "pages that are stored, as counted");
    check_counts(volume);
}

pub(crate) fn check_counts(volume: &Paged) {
    let real = volume.flash().inner().erases();
    for (block, (counted, done)) in volume.erase_counts().iter().zip(real).enumerate() {
        assert!(counted >= done, "block {block} was erased {done} times, and {counted} are counted");
    }
}

/// An operation, as the volume's user sees it.
pub(crate) fn apply(volume: &mut Paged, change: &Change) -> Result<()> {
    match change {
        Change::Write { offset, data } => volume.write(*offset, data),
        Change::SetLen(len) => volume.set_len(*len),
        Change::Discard { offset, length } => volume.discard(*offset, *length),
    }
}

/// A volume that has been written for a while.
#[derive(Clone)]
pub(crate) struct Used {
    pub(crate) chip: Chip,
    /// What was acknowledged, and what was before the last sync.
    pub(crate) content: Vec<u8>,
    pub(crate) before: Vec<u8>,
}

/// Fill nine tenths of a fresh volume, overwrite pages of it with a sync each few, and end, or not.
pub(crate) fn used(geometry: Geometry, seed: u64, rounds: u32, end: bool, options: &Mount) -> Used {
    used_to(9, geometry, seed, rounds, end, options)
}

/// The same of so many tenths.
pub(crate) fn used_to(
    tenths: u64,
    geometry: Geometry,
    seed: u64,
    rounds: u32,
    end: bool,
    options: &Mount,
) -> Used {
    let mut rng = SplitMix64::new(seed);
    let mut volume = PageVolume::mount(formatted(geometry, &[]), options).unwrap();
    let page = u64::from(volume.layout().page_size);
    let mut content = bytes(&mut rng, volume.capacity() * tenths / 10);
    for (i, part) in content.chunks(20 * page as usize).enumerate() {
        volume.write(i as u64 * 20 * page, part).unwrap();
        volume.sync().unwrap();
    }
    volume.end().unwrap();
    let mut before = content.clone();
    for round in 0..rounds {
        for _ in 0..=rng.below(3) {
            let length = 1 + rng.below(2 * page);
            let data = bytes(&mut rng, length);
            let offset = rng.below(content.len() as u64 - data.len() as u64);
            volume.write(offset, &data).unwrap();
            content[offset as usize..][..data.len()].copy_from_slice(&data);
        }
        volume.sync().unwrap();
        if round + 1 < rounds {
            before.clone_from(&content);
        }
    }
    if end {
        volume.end().unwrap();
    }
    Used { chip: volume.into_flash(), content, before }
}

/// The pages of metadata on a chip, with their heads.
pub(crate) fn metadata_pages(chip: &Chip) -> Vec<(PageAddr, Head)> {
    let geometry = *chip.geometry();
    let pages = geometry.iter_blocks().flat_map(|block| geometry.iter_pages(block));
    let head = |at: PageAddr| {
        let mut page = vec![0; geometry.page_size() as usize];
        chip.inner().read(at.block, at.page * geometry.page_size(), &mut page).unwrap();
        head::open(&page).ok().map(|(head, _)| (at, head))
    };
    pages.filter_map(head).collect()
}

/// Those pages cannot be read.
pub(crate) fn spoil(chip: &mut Chip, pages: &[PageAddr]) {
    pages.iter().for_each(|&page| chip.set_unreadable(page));
}

/// Repair what there is to be repaired.
pub(crate) fn repair(mut hw: &mut dyn FlashHardware) -> Result<Checked> {
    let found = fsck::check(&hw, &mut |_, _| {})?;
    fsck::repair(&mut hw, &found, &mut |_, _| {})
}

/// Overwrite random pages beside a model, with a sync each few.
pub(crate) fn overwrite(
    volume: &mut Paged,
    content: &mut [u8],
    rng: &mut SplitMix64,
    writes: u32,
) -> Result<()> {
    let page = u64::from(volume.layout().page_size);
    let mut staged = content.to_vec();
    for n in 0..writes {
        // Whole pages only: they are placed at once, so a batch that is committed early is all that was written before.
        let logical = rng.below(content.len() as u64 / page);
        let data = bytes(rng, page);
        let commits = volume.commits();
        let written = volume.write(logical * page, &data);
        if volume.commits() > commits {
            content.copy_from_slice(&staged);
        }
        written?;
        staged[(logical * page) as usize..][..data.len()].copy_from_slice(&data);
        if rng.below(4) == 0 || n + 1 == writes {
            volume.sync()?;
            content.copy_from_slice(&staged);
        }
    }
    Ok(())
}
