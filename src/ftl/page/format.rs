//! Making a fresh volume: a plan that only looks, and its execution.
//!
//! Where a volume was, its erase counts and bad blocks are carried over. A page-mapped one that mounts stays as it is until
//! the new anchor is durable: a cut at any moment leaves the old volume or the new one.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::blocks::Blocks;
use super::chain::{Chain, ChainError, Pair};
use super::evidence::LAST_SEQUENCE;
use super::io::{Reading, read_metadata};
use super::layout::{Layout, MAX_PAGE_SIZE, MIN_LOG_PAIRS, MIN_PAGE_SIZE};
use super::log::{Group, Log, Pending};
use super::map::Map;
use super::mount::all_anchors;
use super::place::{Announced, Proof};
use super::stage::Staged;
use super::zone::Zone;
use super::{Mount, PageVolume, Session};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, Inspected, PageAddr, marked_blocks};
use crate::ftl::Volume;
use crate::ftl::any::{FormatOptions, ReservedBlocks};
use crate::ftl::block::Survey;
use crate::ftl::block::slots::SlotId;
use crate::ftl::erase::erase;
use crate::ftl::gc::Heat;
use crate::ftl::wear::WearPolicy;
use crate::onflash::paged::NO_PAGE;
use crate::onflash::paged::anchor::{Anchor, VERSION};
use crate::onflash::paged::tables::{BlockState, Directory};

/// Percent of the good blocks that are kept as spare, if not asked for otherwise.
pub(super) const DEFAULT_SPARE_PERCENT: u32 = 7;

/// What a format would do: a plan that only looked, and can be carried out.
#[derive(Clone, Debug)]
pub struct FormatPlan {
    layout: Layout,
    bad: BTreeSet<Block>,
    previous: Previous,
    /// Erase everything first: what is there was made for another geometry.
    afresh: bool,
}

/// What is known of a volume that was there.
#[derive(Clone, Debug, Default)]
pub(super) struct Previous {
    /// It is page-mapped and mounts.
    pub(super) mounts: bool,
    /// Its erase counts, to be carried over.
    pub(super) erases: Option<Vec<u32>>,
    pub(super) bad: Vec<Block>,
    /// The highest volume id and anchor sequence that were found.
    pub(super) volume: Option<u32>,
    pub(super) sequence: u64,
    /// Blocks of the slots of a block-mapped volume: what is in them must not outlive it.
    pub(super) slots: Vec<Block>,
}

impl FormatPlan {
    /// Look at the chip and plan a fresh volume on it.
    ///
    /// # Errors
    /// When the geometry does not suit the format, or too many blocks are bad.
    pub fn new<H: FlashHardware>(hw: &H, options: &FormatOptions) -> Result<Self> {
        let geometry = hw.geometry();
        let chip = Layout::of_chip(geometry).ok_or_else(|| unsuitable(geometry))?;
        let previous =
            if options.afresh { Previous::default() } else { Previous::find(hw, !options.reset_wear)? };
        let mut bad: BTreeSet<Block> = marked_blocks(hw)?.into_iter().collect();
        bad.extend(&previous.bad);
        bad.extend(&options.also_bad);
        let good_zone = (0..chip.zone_blocks).filter(|&b| !bad.contains(&Block(b))).count();
        if good_zone < 2 {
            return Err(Error::UnsuitableGeometry(format!(
                "{} of the first {} blocks are bad, and an anchor takes two good ones there: choose a first block that leaves bad ones out",
                chip.zone_blocks as usize - good_zone,
                chip.zone_blocks
            )));
        }
        let percent = options.spare_percent.unwrap_or(DEFAULT_SPARE_PERCENT);
        let layout = chip.with_capacity(bad.len() as u32, percent).ok_or_else(|| {
            Error::UnsuitableGeometry(format!(
                "{} blocks of {} bytes, {} of them bad, are too few for the page-mapped format: metadata, spare and bad blocks leave nothing for data",
                geometry.blocks(),
                geometry.block_size(),
                bad.len()
            ))
        })?;
        Ok(Self { layout, bad, previous, afresh: options.afresh })
    }

    /// To put a volume back together.
    pub(super) fn for_rebuild(layout: Layout, bad: BTreeSet<Block>, previous: Previous) -> Self {
        Self { layout, bad, previous, afresh: false }
    }

    /// The largest logical length the fresh volume can take, in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::from(self.capacity_pages()) * u64::from(self.layout.page_size)
    }

    fn capacity_pages(&self) -> u32 {
        self.layout.capacity_with(self.bad.len() as u32)
    }

    /// What the other blocks are for.
    #[must_use]
    pub fn reserved(&self) -> Vec<ReservedBlocks> {
        let layout = &self.layout;
        let bad = self.bad.len() as u32;
        let bad_in_zone = self.bad.iter().filter(|b| b.0 < layout.zone_blocks).count() as u32;
        let mut rows = vec![
            ("anchors", "anchors, at the start of the chip", layout.zone_blocks - bad_in_zone),
            ("checkpoints", "two checkpoints: map and block table", 4 * layout.checkpoint_pairs()),
            ("log", "log, at the least", 2 * (MIN_LOG_PAIRS + 2)),
            ("open", "blocks that are being filled or collected", u32::from(layout.classes) + 6),
            (
                "bad_reserve",
                "blocks that may yet fail",
                layout.reserve_blocks - bad.min(layout.reserve_blocks),
            ),
            ("bad", "bad blocks", bad),
        ];
        let data = self.capacity_pages().div_ceil(layout.data_pages());
        let taken: u32 = rows.iter().map(|(.., blocks)| blocks).sum();
        let spare = layout.blocks.saturating_sub(data + taken);
        rows.push(("spare", "spare, which keeps garbage collection cheap", spare));
        rows.into_iter().map(|(key, title, blocks)| ReservedBlocks { key, title, blocks }).collect()
    }

    /// Bad blocks, by the old volume's table and the chip's marks.
    #[must_use]
    pub fn bad_blocks(&self) -> Vec<Block> {
        self.bad.iter().copied().collect()
    }

    /// Whether erase counts of a volume that is there are carried over.
    #[must_use]
    pub fn carries_wear_over(&self) -> bool {
        self.previous.erases.is_some()
    }

    /// Make the fresh volume. The plan comes back as it was carried out: blocks that failed are bad in it.
    ///
    /// # Errors
    /// When the chip fails.
    pub fn execute<H: FlashHardware>(mut self, hw: &mut H) -> Result<Self> {
        let body = self.pairs_of_first_checkpoint() as usize;
        let mut erases = self.previous.erases.clone().unwrap_or_default();
        erases.resize(self.layout.blocks as usize, 0);
        let mut blocks: Vec<Block> = Vec::new();
        let mut zone: Vec<Block> = Vec::new();
        if self.previous.mounts
            && let Some(room) = make_room(hw, body)?
        {
            (blocks, zone) = (room.chain, room.zone);
            self.previous.sequence = room.sequence;
            if self.previous.erases.is_some() {
                erases = room.erases;
            }
        }
        if self.afresh {
            for block in hw.geometry().iter_blocks() {
                if self.bad.contains(&block) {
                    continue;
                }
                match erase(hw, block) {
                    Ok(()) => {}
                    Err(error) if error.is_block_failure() => {
                        hw.mark_bad(block)?;
                        self.bad.insert(block);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let id = self.previous.volume.map_or_else(|| volume_id(&self.layout), |id| id.wrapping_add(1));
        let mut volume = self.blank(hw, id, &erases);
        let claimed = |block: &Block| !self.bad.contains(block) && block.0 >= self.layout.zone_blocks;
        blocks.retain(claimed);
        volume.zone.planned = zone.into_iter().filter(|block| !self.bad.contains(block)).collect();
        if volume.zone.planned.len() < 2 {
            volume.zone.planned.clear();
        }
        for pair in blocks.as_chunks::<2>().0 {
            pair.iter().for_each(|&block| volume.blocks.set_state(block, BlockState::Chain));
            volume.chain.upcoming.push_back(*pair);
        }
        volume.first_checkpoint(&self.previous.slots)?;
        self.bad.extend(volume.bad_blocks());
        Ok(self)
    }

    fn pairs_of_first_checkpoint(&self) -> u32 {
        let table = self.layout.blocks as usize * crate::onflash::paged::tables::BlockRow::LEN + 4;
        let chunk = crate::onflash::paged::tables::chunk_len(self.layout.page_size);
        let pages = self.layout.directory_pages(1) + table.div_ceil(chunk) as u32 + 4;
        pages.div_ceil(self.layout.pages_per_block) + 1
    }

    /// The fresh volume, of which nothing is on flash yet.
    pub(super) fn blank<'a, H: FlashHardware>(
        &self,
        hw: &'a mut H,
        volume: u32,
        erases: &[u32],
    ) -> PageVolume<&'a mut H> {
        let layout = self.layout;
        let geometry = *hw.geometry();
        let mut blocks = Blocks::new(&layout);
        for (block, &count) in (0..).map(Block).zip(erases) {
            blocks.at_least(block, count);
        }
        self.bad.iter().for_each(|&block| blocks.set_state(block, BlockState::Bad));
        let wear = super::DEFAULT_WEAR;
        let sequence = if self.previous.sequence < LAST_SEQUENCE { self.previous.sequence } else { 0 };
        let directory =
            Directory { pairs: Vec::new(), map_pages: vec![NO_PAGE; layout.map_pages() as usize] };
        let map = Map::new(&layout, volume, directory, usize::MAX);
        let map = map.unwrap_or_else(|| unreachable!("an empty directory fits"));
        let page_layout = hw.page_layout().unwrap_or_default();
        let anchor = Anchor {
            version: VERSION,
            incompatible: 0,
            page_size: layout.page_size,
            spare_size: geometry.spare_size(),
            pages_per_block: layout.pages_per_block,
            blocks: layout.blocks,
            max_erase_cycles: geometry.max_erase_cycles().unwrap_or(0),
            zone_blocks: layout.zone_blocks as u16,
            summary_pages: layout.summary_pages as u8,
            classes: layout.classes,
            capacity_pages: layout.capacity_pages,
            reserve_blocks: layout.reserve_blocks,
            wear_interval: wear.interval as u32,
            wear_threshold: wear.threshold,
            logical_len: 0,
            clock: 0,
            body: (0, 0, 0),
            directory_pages: 0,
            table_pages: 0,
            snapshot_pages: 0,
            next_log: 1,
            page_layout: page_layout.fingerprint,
            page_layout_name: page_layout.name,
        };
        PageVolume {
            hw,
            layout,
            volume,
            anchor,
            sequence,
            map,
            blocks,
            open: vec![None; usize::from(layout.classes)],
            announced: Announced::none(),
            chain: Chain::at_end_of_pair(&layout, Vec::new(), None),
            zone: Zone { in_doubt: true, ..Zone::default() },
            log: Log::begin(1),
            pending: Pending::default(),
            staged: Staged::clean(0),
            coming: 0,
            tainted: BTreeSet::new(),
            to_confirm: BTreeSet::new(),
            proof: Proof::default(),
            marked: BTreeSet::new(),
            failing: false,
            len: 0,
            clock: 0,
            committed_clock: 0,
            committing: None,
            wear: WearPolicy { interval: u64::MAX, ..wear },
            host_pages_since_map: 0,
            levelled_at: 0,
            session: Session::Active,
            recovering: None,
            doubtful: Vec::new(),
            always_mirror: false,
            has_table: true,
            read_only: None,
            lost_track: false,
            fallback: None,
            older: false,
            warnings: Vec::new(),
            copies: Vec::new(),
            commits: 0,
        }
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// The first checkpoint of a volume, and the end of the session that made it. What is left of another one in the anchor zone,
    /// and in `remains`, is erased.
    pub(super) fn first_checkpoint(&mut self, remains: &[Block]) -> Result<()> {
        match self.try_checkpoint(true, true) {
            Ok(()) => {}
            Err(ChainError::BlockFailed) => self.begin_chain_anew()?,
            Err(ChainError::Other(error)) => return Err(error),
        }
        self.recovering = None;
        let stale = self.zone_blocks_but(&self.zone.blocks);
        self.erase_and_show_counts(&stale)?;
        let free = |block: &&Block| self.blocks.state(**block) == BlockState::Free;
        let remains: Vec<Block> = remains.iter().filter(free).copied().collect();
        self.announce_and_erase(&remains)?;
        self.end()
    }
}

/// The id of the first volume on a chip.
fn volume_id(layout: &Layout) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for n in [layout.page_size, layout.pages_per_block, layout.blocks] {
        hasher.update(&n.to_le_bytes());
    }
    hasher.finalize()
}

fn unsuitable(geometry: &crate::flash::Geometry) -> Error {
    Error::UnsuitableGeometry(format!(
        "the page-mapped format wants pages of {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE} bytes, 4 pages a block or more and 16 blocks or more, and there are {} blocks of {} pages of {} bytes",
        geometry.blocks(),
        geometry.pages_per_block(),
        geometry.page_size()
    ))
}

/// Blocks that a fresh volume may take without harm to the one that is there.
struct Room {
    chain: Vec<Block>,
    zone: Vec<Block>,
    /// The number of the anchor in force, which making room may have raised.
    sequence: u64,
    /// The erase counts, with those of these blocks included.
    erases: Vec<u32>,
}

/// Let the volume that is there set blocks aside, and say so in its log: so their erases are counted, whenever the power goes.
fn make_room<H: FlashHardware>(hw: &mut H, pairs: usize) -> Result<Option<Room>> {
    let mut old = PageVolume::mount(&mut *hw, &Mount::default())?;
    if old.read_only().is_some() || old.begin_session().is_err() {
        return Ok(None);
    }
    let mut chain: Vec<Pair> = Vec::new();
    for _ in 0..pairs {
        if old.reserve_pair(Heat::Hot).is_err() {
            break;
        }
        chain.extend(old.chain.upcoming.pop_back());
    }
    let zone: Vec<Block> =
        if old.good_zone_blocks().count() < 4 { Vec::new() } else { old.next_zone_blocks() };
    zone.iter().for_each(|&block| old.announce_erase(block));
    old.write_group(Group::Pending)?;
    Ok(Some(Room {
        chain: chain.into_iter().flatten().collect(),
        zone,
        sequence: old.sequence,
        erases: old.erase_counts().to_vec(),
    }))
}

impl Previous {
    fn find<H: FlashHardware>(hw: &H, carry_wear: bool) -> Result<Self> {
        let mut previous = Self::default();
        for found in all_anchors(hw)? {
            previous.volume = previous.volume.max(Some(found.head.volume));
            // What no chip lives to see is damage, and hides none of the others.
            if found.head.number < LAST_SEQUENCE {
                previous.sequence = previous.sequence.max(found.head.number);
            }
        }
        match PageVolume::mount(Inspected(hw), &Mount { read_only: true, ..Mount::default() }) {
            Ok(volume) if volume.has_table => {
                previous.mounts = true;
                previous.bad = volume.bad_blocks();
                previous.erases = carry_wear.then(|| volume.erase_counts().to_vec());
                return Ok(previous);
            }
            Ok(_) => {}
            Err(error @ Error::Flash(crate::flash::FlashError::Io(_))) => return Err(error),
            Err(_) => {}
        }
        if let Ok(survey) = Survey::read(hw)
            && let Ok(choice) = survey.choose(None)
        {
            let table = crate::ftl::bad_blocks::BadBlockTable::from_bitmap(
                &choice.metadata.bad_table,
                hw.geometry().blocks(),
            );
            previous.bad = table.iter().collect();
            let slots = SlotId::BOTH.iter().flat_map(|slot| slot.blocks(&survey.layout));
            previous.slots = slots.collect();
            previous.look_at_blocks(hw)?;
            previous.erases = carry_wear.then(|| choice.metadata.erase_counts.clone());
            return Ok(previous);
        }
        let counts = previous.look_at_blocks(hw)?;
        previous.erases = counts.filter(|_| carry_wear);
        Ok(previous)
    }

    /// What single pages tell of volumes that do not mount: their ids, and the erase counts if there are any.
    fn look_at_blocks<H: FlashHardware>(&mut self, hw: &H) -> Result<Option<Vec<u32>>> {
        let Some(layout) = Layout::of_chip(hw.geometry()) else { return Ok(None) };
        let mut counts = vec![0; layout.blocks as usize];
        let mut any = false;
        for block in hw.geometry().iter_blocks() {
            for page in [0, layout.data_pages()] {
                let at = PageAddr { block, page };
                if let Reading::Whole(head, _) = read_metadata(hw, at)?
                    && head.address == layout.address(at).0
                {
                    any = true;
                    self.volume = self.volume.max(Some(head.volume));
                    let count: &mut u32 = &mut counts[block.index()];
                    *count = head.erases.max(*count);
                }
            }
        }
        Ok(any.then_some(counts))
    }
}
