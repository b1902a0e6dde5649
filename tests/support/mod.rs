//! What the integration tests share: small chips, a model of a volume's content, and a mounted volume that is kept
//! beside its model.

// Each test file is a crate of its own and takes from here what it needs.
#![allow(dead_code)]

pub(crate) mod engine;
#[cfg(feature = "std")]
pub(crate) mod files;
pub(crate) mod sweep;

use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Range;

use nandimg::Result;
use nandimg::flash::faults::Cut;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::wear::WearPolicy;
use nandimg::prng::SplitMix64;

use engine::{BlockMapped, Engine};

/// A policy that never levels.
pub(crate) const NO_LEVELLING: WearPolicy = WearPolicy { interval: u64::MAX, threshold: u32::MAX };

/// A chip without spare bytes.
pub(crate) fn geometry(page_size: u32, block_size: u32, blocks: u32) -> Geometry {
    Geometry::new(page_size, 0, block_size, blocks).unwrap()
}

/// `len` bytes of the stream of `rng`.
pub(crate) fn random_bytes(rng: &mut SplitMix64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    rng.fill(&mut bytes);
    bytes
}

/// All the bytes of a volume.
pub(crate) fn read_all<V: Volume + ?Sized>(volume: &V) -> Vec<u8> {
    let mut content = vec![0; volume.len() as usize];
    volume.read(0, &mut content).expect("the volume reads");
    content
}

/// A change that takes effect at a sync.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Discard { offset: u64, len: u64 },
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { data, .. } if data.is_empty() => {}
            Self::Write { offset, data } => {
                let range = *offset as usize..*offset as usize + data.len();
                content.resize(content.len().max(range.end), 0);
                content[range].copy_from_slice(data);
            }
            Self::SetLen(len) => content.resize(*len as usize, 0),
            Self::Discard { .. } => {
                let range = self.range(content.len() as u64);
                content[range.start as usize..range.end as usize].fill(0);
            }
        }
    }

    /// The bytes that this changes, lengthening included, in a volume of `len` bytes.
    pub(crate) fn range(&self, len: u64) -> Range<u64> {
        match self {
            Self::Write { data, .. } if data.is_empty() => 0..0,
            Self::Write { offset, data } => (*offset).min(len)..offset + data.len() as u64,
            Self::SetLen(to) => (*to).min(len)..(*to).max(len),
            Self::Discard { offset, len: discarded } => (*offset).min(len)..(offset + discarded).min(len),
        }
    }

    /// The length of a volume of `len` bytes after this.
    pub(crate) fn len_after(&self, len: u64) -> u64 {
        match self {
            Self::Write { .. } => len.max(self.range(len).end),
            Self::Discard { .. } => len,
            Self::SetLen(len) => *len,
        }
    }

    /// What a commit in the middle of this may leave of it: all up to the end of some logical block.
    fn parts(&self, content: &[u8], block_size: u64) -> Vec<Vec<u8>> {
        let range = self.range(content.len() as u64);
        // A shorter length takes effect at once, and so does a discard.
        let at_once = match self {
            Self::Write { .. } => false,
            Self::SetLen(_) => range.end < content.len() as u64,
            Self::Discard { .. } => true,
        };
        if at_once {
            return Vec::new();
        }
        let first = range.start / block_size + 1;
        let ends = (first..).map(|block| block * block_size).take_while(|&end| end < range.end);
        ends.map(|end| self.part(content, end)).collect()
    }

    fn part(&self, content: &[u8], end: u64) -> Vec<u8> {
        let mut part = content.to_vec();
        part.resize(part.len().max(end as usize), 0);
        if let Self::Write { offset, data } = self
            && end > *offset
        {
            let taken = &data[..(end - offset) as usize];
            part[*offset as usize..end as usize].copy_from_slice(taken);
        }
        part
    }
}

/// What a volume holds: what is acknowledged, and what has been asked for since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) committed: Vec<u8>,
    pub(crate) pending: Vec<Change>,
}

impl Model {
    /// The content with all that is staged.
    pub(crate) fn staged(&self) -> Vec<u8> {
        let mut content = self.committed.clone();
        self.pending.iter().for_each(|change| change.apply(&mut content));
        content
    }

    pub(crate) fn acknowledge(&mut self) {
        self.committed = self.staged();
        self.pending.clear();
    }

    /// Whether `found` is what has been acknowledged and, in order, a part of what has been asked for since that ends
    /// with a logical block, or with a change.
    pub(crate) fn is_prefix(&self, found: &[u8], block_size: u64) -> bool {
        let mut content = self.committed.clone();
        for change in &self.pending {
            if content == found || change.parts(&content, block_size).iter().any(|part| part == found) {
                return true;
            }
            change.apply(&mut content);
        }
        content == found
    }
}

/// What has been seen to happen, so that a test can tell that it did test something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Acknowledged transactions.
    pub(crate) syncs: u64,
    /// Of these, the ones that gave several logical blocks another place.
    pub(crate) of_several_blocks: u64,
    /// Logical blocks that levelling moved.
    pub(crate) moved: u64,
    /// Blocks that failed and were replaced.
    pub(crate) replaced: u64,
    /// Commits of the host's data beyond one a transaction.
    pub(crate) extra_commits: u64,
    /// Commits of levelling alone.
    pub(crate) level_commits: u64,
    /// By how much the sequence number of the metadata rose.
    pub(crate) sequences: u64,
}

/// The model of a volume under test, and what its chip is allowed to hold when the power goes now.
#[derive(Clone, Debug)]
pub(crate) struct LogOf<E> {
    engine: PhantomData<E>,
    pub(crate) model: Model,
    pub(crate) wear: WearPolicy,
    /// Whether a transaction may be larger than the free blocks, and so take effect in parts.
    pub(crate) batched: bool,
    /// Whether what is pending is taking effect.
    syncing: bool,
    /// Erase counts as acknowledged: later ones are never lower.
    counts: Vec<u32>,
    pub(crate) tally: Tally,
    /// Whether to keep the tally.
    pub(crate) watching: bool,
    /// Whether a transaction that was cut short took effect may turn out differently, until the next one is acknowledged.
    pub(crate) fading: bool,
    /// What there was when it was cut short.
    before: Option<Model>,
    /// An erase that was done may have been taken back by a cut.
    pub(crate) taken_back: bool,
    pub(crate) rng: SplitMix64,
}

/// That of the block-mapped engine.
pub(crate) type Log = LogOf<BlockMapped>;
pub(crate) type Session<'a> = SessionOf<'a, BlockMapped>;

impl<E: Engine> LogOf<E> {
    pub(crate) fn new(wear: WearPolicy, batched: bool) -> Self {
        Self {
            engine: PhantomData,
            model: Model::default(),
            wear,
            batched,
            syncing: false,
            counts: Vec::new(),
            tally: Tally::default(),
            watching: true,
            fading: false,
            taken_back: false,
            before: None,
            rng: SplitMix64::new(0x6E61_6E64),
        }
    }

    /// Mount, to go on from here.
    pub(crate) fn mount<'a>(&'a mut self, hw: &'a mut dyn FlashHardware) -> Result<SessionOf<'a, E>> {
        let volume = E::mount(hw, self.wear)?;
        let places = if self.watching { E::places(&volume) } else { Vec::new() };
        let (bad, sequence) = (volume.bad_blocks().len(), volume.sequence());
        Ok(SessionOf { volume, log: self, places, bad, commits: 0, sequence })
    }

    /// Format, whatever is there.
    pub(crate) fn format(&mut self, hw: &mut dyn FlashHardware) -> Result<()> {
        self.model.pending = vec![Change::SetLen(0)];
        self.syncing = true;
        E::format(hw)?;
        self.acknowledge();
        self.note_counts(hw);
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.model.acknowledge();
        self.syncing = false;
        self.before = None;
        self.tally.syncs += 1;
    }

    /// Remember the erase counts on flash. A chip without power has none to show.
    fn note_counts(&mut self, hw: &dyn FlashHardware) {
        if let Some(counts) = E::acknowledged_counts(hw) {
            self.counts = counts;
        }
    }

    /// The power has gone in this way.
    pub(crate) fn note_cut(&mut self, cut: Cut) {
        self.fading |= Cut::FADING.contains(&cut);
        self.taken_back |= cut == Cut::Reordered;
    }

    /// What decides how a process goes on from here, but for the chip.
    pub(crate) fn state(&self) -> impl Hash {
        let Model { committed, pending } = &self.model;
        let allowed = (self.syncing, self.fading, self.taken_back);
        (committed.clone(), format!("{pending:?}"), allowed, format!("{:?}", self.before))
    }

    /// The erase counts last acknowledged.
    pub(crate) fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Hold a fresh mount against the model, and go on from what it holds. Whether that is just what was acknowledged.
    pub(crate) fn settle(&mut self, volume: &E::Volume<'_>) -> bool {
        let found = read_all(volume);
        let as_acknowledged = found == self.model.committed;
        let allowed = as_acknowledged
            || self.syncing && found == self.model.staged()
            || self.batched && self.model.is_prefix(&found, E::unit(volume))
            || self.before.as_ref().is_some_and(|before| {
                before.committed == found
                    || before.staged() == found
                    || self.batched && before.is_prefix(&found, E::unit(volume))
            });
        assert!(allowed, "{}", self.difference(&found));
        let counts = volume.erase_counts();
        assert!(
            self.counts.iter().zip(counts).all(|(acknowledged, now)| now >= acknowledged),
            "erase counts were lost: {:?} are now {counts:?}",
            self.counts
        );
        let before = std::mem::replace(&mut self.model, Model { committed: found, pending: Vec::new() });
        self.before = (self.fading && (self.syncing || !as_acknowledged)).then_some(before);
        self.syncing = false;
        as_acknowledged
    }

    fn difference(&self, found: &[u8]) -> String {
        let acknowledged = &self.model.committed;
        let at = found.iter().zip(acknowledged).position(|(a, b)| a != b);
        format!(
            "found {} bytes that are neither the {} acknowledged (first difference at {at:?}) nor the {} being {}",
            found.len(),
            acknowledged.len(),
            self.model.staged().len(),
            if self.syncing { "synced" } else { "staged" },
        )
    }
}

/// A mounted volume beside its model.
pub(crate) struct SessionOf<'a, E: Engine> {
    pub(crate) volume: E::Volume<'a>,
    pub(crate) log: &'a mut LogOf<E>,
    /// Where everything lies, and numbers, as last acknowledged.
    places: Vec<Option<u64>>,
    bad: usize,
    commits: u64,
    sequence: u64,
}

impl<E: Engine> SessionOf<'_, E> {
    /// Write random bytes.
    pub(crate) fn write(&mut self, offset: u64, len: u64) -> Result<()> {
        let data = random_bytes(&mut self.log.rng, len);
        self.log.model.pending.push(Change::Write { offset, data: data.clone() });
        self.volume.write(offset, &data)
    }

    pub(crate) fn set_len(&mut self, len: u64) -> Result<()> {
        self.log.model.pending.push(Change::SetLen(len));
        self.volume.set_len(len)
    }

    pub(crate) fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.log.model.pending.push(Change::Discard { offset, len });
        self.volume.discard(offset, len)
    }

    /// Sync; what was staged is acknowledged from then on.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.log.syncing = true;
        self.volume.sync()?;
        self.note_synced();
        Ok(())
    }

    /// Sync, and end the session well.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.log.syncing = true;
        self.volume.end()?;
        self.note_synced();
        Ok(())
    }

    fn note_synced(&mut self) {
        self.note_transaction();
        self.log.acknowledge();
        self.log.note_counts(E::chip(&self.volume));
    }

    /// Give up what is staged.
    pub(crate) fn rollback(&mut self) {
        self.volume.rollback();
        self.note_rollback();
    }

    /// Hold the volume, which has given up what was staged, against the model, and go on from what it holds.
    pub(crate) fn note_rollback(&mut self) {
        let split = self.split();
        let batched = std::mem::replace(&mut self.log.batched, split);
        self.log.syncing = false;
        self.log.settle(&self.volume);
        self.log.batched = batched;
        (self.places, self.commits) = (self.places_now(), self.volume.commits());
        (self.bad, self.sequence) = (self.volume.bad_blocks().len(), self.volume.sequence());
    }

    /// Whether a part of what is pending has taken effect already.
    pub(crate) fn split(&self) -> bool {
        self.volume.commits() > self.commits
    }

    fn places_now(&self) -> Vec<Option<u64>> {
        if self.log.watching { E::places(&self.volume) } else { Vec::new() }
    }

    fn note_transaction(&mut self) {
        if self.log.watching {
            self.note_moves();
        }
        let (commits, sequence) =
            (self.volume.commits() - self.commits, self.volume.sequence() - self.sequence);
        let tally = &mut self.log.tally;
        tally.extra_commits += commits.saturating_sub(1);
        tally.level_commits += sequence.saturating_sub(commits);
        tally.sequences += sequence;
        let bad = self.volume.bad_blocks().len();
        tally.replaced += (bad - self.bad) as u64;
        self.bad = bad;
        (self.commits, self.sequence) = (self.commits + commits, self.sequence + sequence);
    }

    fn note_moves(&mut self) {
        let unit = E::unit(&self.volume);
        let mut len = self.log.model.committed.len() as u64;
        let mut touched = vec![false; self.places.len()];
        for change in &self.log.model.pending {
            let range = change.range(len);
            let units = range.start / unit..range.end.div_ceil(unit);
            touched[units.start as usize..units.end as usize].fill(true);
            len = change.len_after(len);
        }
        let places = E::places(&self.volume);
        let changed = |by_host: bool| {
            let pairs = self.places.iter().zip(&places).zip(&touched);
            pairs.filter(|&((old, new), &touched)| old != new && touched == by_host).count() as u64
        };
        let tally = &mut self.log.tally;
        tally.of_several_blocks += u64::from(changed(true) > 1);
        tally.moved += changed(false);
        self.places = places;
    }
}

/// The first blocks of a chip, as a chip.
pub(crate) struct Part<'a> {
    whole: &'a mut dyn FlashHardware,
    geometry: Geometry,
}

impl<'a> Part<'a> {
    pub(crate) fn new(whole: &'a mut dyn FlashHardware, geometry: Geometry) -> Self {
        assert!(geometry.blocks() <= whole.geometry().blocks());
        Self { whole, geometry }
    }
}

impl FlashHardware for Part<'_> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> std::result::Result<(), FlashError> {
        self.whole.read(block, offset, buf)
    }
    fn program(&mut self, page: PageAddr, data: &[u8]) -> std::result::Result<(), FlashError> {
        self.whole.program(page, data)
    }
    fn erase(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        self.whole.erase(block)
    }
    fn is_bad(&self, block: Block) -> std::result::Result<bool, FlashError> {
        self.whole.is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> std::result::Result<(), FlashError> {
        self.whole.mark_bad(block)
    }
    fn carries_marks(&self) -> bool {
        self.whole.carries_marks()
    }
    fn sync(&mut self) -> std::result::Result<(), FlashError> {
        self.whole.sync()
    }
}
