//! The engine for the page-mapped format.
//!
//! A logical page lies in any physical page. What the host writes goes to fresh pages of *data blocks* ([`place`](self), one
//! block for each stream); a *commit* adds what changed to the *log*, which is a part of the *chain* of metadata pages, each in
//! two blocks; now and then a *checkpoint* writes the *map* and the *block table* into the chain, and an *anchor* into the zone
//! at the chip's start that points to them. A mount finds the newest anchor, reads the directory of the map, and replays
//! the log in RAM. Garbage collection moves what still counts together and so makes room.
//!
//! # Invariants
//! * A page counts if the committed map or a staged change points to it. A block is erased only when no page of it counts, and
//!   the log that says so is durable; the log says before that it may be erased.
//! * Data is durable before the log page that points to it, and that before anything it replaces is erased.
//! * Nothing is programmed into a block that was being programmed or erased when the power went, until it is erased again.
//! * Moves by garbage collection, erase counts and bad blocks are facts: a rollback does not take them back.

mod blocks;
mod chain;
mod checkpoint;
mod collect;
mod copies;
mod evidence;
mod format;
mod io;
mod last_state;
mod layout;
mod leave;
mod load;
mod log;
mod map;
mod mend;
mod mount;
mod mount_findings;
mod newer;
mod of_anchor;
mod place;
mod read;
mod rebuild;
mod replay;
mod session;
mod settle;
mod stage;
mod unanchored;
mod verify;
mod walk;
mod witness;
mod zone;
mod zone_damage;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use self::blocks::Blocks;
use self::chain::Chain;
use self::log::{Group, Log, Pending};
use self::map::Map;
use self::place::{Announced, Proof};
use self::session::Recovery;
use self::stage::Staged;
use self::zone::Zone;
use super::staging::Staging;
use super::wear::WearPolicy;
use super::{BlockUse, MetadataCopy, Volume};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware};
use crate::onflash::paged::anchor::Anchor;
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::tables::BlockState;

pub use self::copies::metadata;
pub use self::format::FormatPlan;
pub use self::layout::{Layout, Lpn, Ppn};
pub use self::leave::{Leaving, Left};
pub use self::mount::shows_a_volume;
pub use self::rebuild::{Rebuilt, plan_rebuild, rebuild};
pub use self::verify::{BlockContent, MapContent, StoredAt, SummaryEntry};
pub use self::zone::{holds_an_anchor, shows_an_anchor};
pub use self::zone_damage::{DamagedAnchor, damaged_anchors};

/// When wear is levelled, unless a volume says otherwise.
pub const DEFAULT_WEAR: WearPolicy = WearPolicy { interval: 4, threshold: 7 };

/// How to mount.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Refuse to write.
    pub read_only: bool,
    /// Mount from the anchor with this sequence number; read-only unless it is the newest.
    pub sequence: Option<u64>,
    /// When to level wear, if not as the volume says.
    pub wear: Option<WearPolicy>,
    /// The most map pages that are kept in RAM. What is held besides is bounded by the volume
    /// ([`Layout::most_changes`]), but for a transaction: up to its commit about 140 bytes for each page.
    pub cached_map_pages: usize,
    /// Read the block table, too: needed for writing, for erase counts and for what each block is used for.
    pub block_table: bool,
    /// Write every commit to two blocks at once. Without it a commit of a few pages goes to one block alone, and into the other
    /// with the next commit or at the end: until then a power cut *and* the loss of that very block together undo it, and
    /// the mount says so.
    pub mirror_every_commit: bool,
}

impl Default for Mount {
    fn default() -> Self {
        Self {
            read_only: false,
            sequence: None,
            wear: None,
            cached_map_pages: usize::MAX,
            block_table: true,
            mirror_every_commit: false,
        }
    }
}

impl Mount {
    /// To read logical bytes only: with the least to read from flash beforehand.
    #[must_use]
    pub fn for_reading() -> Self {
        Self { read_only: true, block_table: false, ..Self::default() }
    }
}

/// How the last session of writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Well: the next one goes on where it ended.
    Clean,
    /// It was cut short: the next one recovers first.
    Unclean,
    /// It is going on.
    Active,
}

/// A mounted volume of the page-mapped format. See the [module](self).
#[derive(Debug)]
pub struct PageVolume<H> {
    hw: H,
    layout: Layout,
    volume: u32,
    /// The anchor in force and its sequence number.
    anchor: Anchor,
    sequence: u64,
    map: Map,
    blocks: Blocks,
    /// The block that each stream is written to.
    open: Vec<Option<Block>>,
    announced: Announced,
    chain: Chain,
    zone: Zone,
    log: Log,
    pending: Pending,
    staged: Staged,
    /// Blocks emptied that are free as soon as the log says so.
    coming: u32,
    /// Blocks whose summaries may name pages that were never committed.
    tainted: BTreeSet<Block>,
    /// Those whose summaries name pages that are staged, or were until something took their place.
    to_confirm: BTreeSet<Block>,
    proof: Proof,
    /// Blocks that the chip marks as bad.
    marked: BTreeSet<Block>,
    /// There are blocks to be emptied because they failed.
    failing: bool,
    /// Logical length and host clock as committed, and the host clock with what is staged.
    len: u64,
    committed_clock: u64,
    clock: u64,
    /// The host clock that the next anchor commits, where that is what a transaction takes effect by.
    committing: Option<u64>,
    /// Pages the host has written since all that changed was written into the map.
    host_pages_since_map: u64,
    wear: WearPolicy,
    /// The sum of all erase counts when static levelling was last considered.
    levelled_at: u64,
    session: Session,
    /// A session that was cut short is being recovered from.
    recovering: Option<Recovery>,
    /// Blocks that hold what counts as long as the checkpoint of a recovery is not in force, those that are missed least first.
    doubtful: Vec<Block>,
    always_mirror: bool,
    /// The block table is known.
    has_table: bool,
    read_only: Option<String>,
    /// Whether something took effect is not known, so what is on flash is not: nothing is written any more.
    lost_track: bool,
    fallback: Option<String>,
    /// What mounts is not the newest state.
    older: bool,
    warnings: Vec<String>,
    copies: Vec<MetadataCopy>,
    commits: u64,
}

impl<H: FlashHardware> PageVolume<H> {
    /// The chip the volume lies on.
    pub fn flash(&self) -> &H {
        &self.hw
    }

    /// Give up what is staged, and the volume, as a process does that is killed; the chip is left.
    pub fn into_flash(self) -> H {
        self.hw
    }

    /// Sync, end the session well, and give the chip back.
    ///
    /// # Errors
    /// As for [`end`](Volume::end).
    pub fn close(mut self) -> Result<H> {
        self.end()?;
        Ok(self.hw)
    }

    /// Sizes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The anchor in force.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// When wear is levelled.
    pub fn wear_policy(&self) -> WearPolicy {
        self.wear
    }

    /// Level wear by another policy from now on.
    pub fn set_wear_policy(&mut self, wear: WearPolicy) {
        self.wear = wear;
    }

    /// Where a logical page lies, as committed.
    ///
    /// # Errors
    /// When the part of the map that tells cannot be read.
    pub fn entry(&self, logical: Lpn) -> Result<MapEntry> {
        Ok(self.map.get(&self.hw, logical)?)
    }

    fn capacity_bytes(&self) -> u64 {
        let bad = if self.has_table { self.blocks.bad_count() } else { 0 };
        u64::from(self.layout.capacity_with(bad)) * self.page_size()
    }

    /// Logical pages that are stored.
    fn mapped_pages(&self) -> u64 {
        self.blocks.mapped()
    }

    /// Why nothing can be written any more, where so many blocks are `bad` that what is stored fills the others.
    fn over_reserve(&self, bad: u32) -> Option<String> {
        let room = u64::from(self.layout.capacity_with(bad));
        (bad > self.layout.reserve_blocks && self.mapped_pages() > room).then(|| {
            format!(
                "{bad} blocks are bad, {} were reserved for that, and what is stored fills the others",
                self.layout.reserve_blocks
            )
        })
    }

    fn check_reserve(&mut self) -> Result<()> {
        self.check_reserve_for(self.blocks.bad_count())
    }

    fn check_reserve_for(&mut self, bad: u32) -> Result<()> {
        if let Some(reason) = self.over_reserve(bad) {
            self.read_only.get_or_insert(reason);
        }
        self.check_writable()
    }
}

impl<H: FlashHardware> Volume for PageVolume<H> {
    fn len(&self) -> u64 {
        self.staged.len
    }

    fn mapped_end(&self) -> u64 {
        self.layout.capacity()
    }

    fn capacity(&self) -> u64 {
        self.capacity_bytes()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.check_read(offset, buf.len() as u64)?;
        self.read_logical(offset, buf)
    }

    fn check_write(&self, offset: u64, length: u64) -> Result<()> {
        self.check_writable()?;
        let capacity = self.capacity_bytes().max(self.staged.len);
        let past = Error::OutOfRange { offset, length, end: capacity };
        let end = offset.checked_add(length).ok_or_else(|| past.clone())?;
        if end <= capacity {
            Ok(())
        } else if offset > capacity {
            Err(past)
        } else {
            Err(Error::TooLarge { needed: end, capacity })
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_write(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        self.or_rollback(|volume| volume.stage_write(offset, data))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.check_len(len)?;
        if len == self.staged.len {
            return Ok(());
        }
        self.or_rollback(|volume| volume.stage_len(len))
    }

    fn discard(&mut self, offset: u64, length: u64) -> Result<()> {
        self.check_writable()?;
        self.or_rollback(|volume| volume.stage_discard(offset, length))
    }

    fn sync(&mut self) -> Result<()> {
        if self.staged.is_clean(self.len) {
            // The length may have been another one in between.
            self.staged = Staged::clean(self.len);
            if self.pending.is_empty() {
                return Ok(());
            }
        }
        self.check_writable()?;
        self.or_rollback(|volume| {
            volume.place_all()?;
            if volume.staged.is_clean(volume.len) {
                return volume.write_group(Group::Pending);
            }
            volume.commit()
        })
    }

    fn rollback(&mut self) {
        self.give_up_staged();
    }

    fn end(&mut self) -> Result<()> {
        self.sync()?;
        self.end_session()
    }

    fn write_unit(&self) -> u64 {
        u64::from(self.layout.data_pages()) * self.page_size()
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn metadata(&self) -> Vec<MetadataCopy> {
        self.copies.clone()
    }

    fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    fn commits(&self) -> u64 {
        self.commits
    }

    fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn bad_blocks(&self) -> Vec<Block> {
        let mut bad: BTreeSet<Block> = self.blocks.bad().collect();
        bad.extend(&self.marked);
        bad.into_iter().collect()
    }

    fn erase_counts(&self) -> &[u32] {
        self.blocks.erases()
    }

    fn block_use(&self, block: Block) -> BlockUse {
        if self.marked.contains(&block) {
            return BlockUse::Bad;
        }
        match self.blocks.state(block) {
            BlockState::Bad => BlockUse::Bad,
            BlockState::Zone => BlockUse::Metadata { role: "anchors", fixed: true },
            BlockState::Chain => BlockUse::Metadata { role: "checkpoint and log", fixed: false },
            BlockState::Closed | BlockState::Listed => BlockUse::Data,
            BlockState::Free | BlockState::Announced => BlockUse::Free,
        }
    }

    fn mapped_units(&self) -> u64 {
        self.mapped_pages()
    }

    fn free_blocks(&self) -> u64 {
        u64::from(self.free_count())
    }
}
