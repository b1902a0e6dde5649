//! What must come of an image, by the rules of the format alone.

use std::collections::BTreeMap;

use nandimg::check::Severity;

use super::image::{Entry, Found, Image, UNMAPPED, parse};

/// Why an image does not mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFormatted,
    Unmountable,
    OtherGeometry,
}

/// Where the bytes of a logical block come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Zeros,
    Block(usize),
    /// The map contradicts itself: no bytes are to be believed.
    Nowhere,
}

/// A volume, as the metadata in one of the slots describes it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) slot: usize,
    pub(crate) sequence: u64,
    pub(crate) len: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) counts: Vec<u32>,
    /// By the table and the chip's marks.
    pub(crate) bad: Vec<bool>,
    pub(crate) capacity: u64,
}

impl Described {
    fn new(image: &Image, slot: usize, entry: &Entry) -> Self {
        let shape = &image.shape;
        let source = |&entry_of_map: &u32| match entry_of_map {
            UNMAPPED => Source::Zeros,
            n if n as usize >= shape.data_blocks() => Source::Nowhere,
            n if entry.map.iter().filter(|&&other| other == n).count() > 1 => Source::Nowhere,
            n => Source::Block(shape.reserved + n as usize),
        };
        let mut sources: Vec<Source> = entry.map.iter().map(source).collect();
        sources.resize(sources.len().max(shape.logical), Source::Zeros);
        let bad: Vec<bool> =
            (0..shape.blocks).map(|b| entry.is_in_bad_table(b) || image.is_marked(b)).collect();
        let good = bad[shape.reserved..].iter().filter(|&&bad| !bad).count();
        let capacity = (good.saturating_sub(2).min(shape.logical) * shape.block) as u64;
        let (sequence, len, counts) = (entry.sequence, entry.logical_len, entry.counts.clone());
        Self { slot, sequence, len, sources, counts, bad, capacity }
    }

    pub(crate) fn mapped_end(&self, image: &Image) -> u64 {
        (self.sources.len() * image.shape.block) as u64
    }

    pub(crate) fn has_bad_slot(&self, image: &Image) -> bool {
        self.bad[..2 * image.shape.blocks_per_slot].contains(&true)
    }

    pub(crate) fn has_damaged_map(&self) -> bool {
        self.sources.contains(&Source::Nowhere)
    }

    /// The bytes of logical block `index`, up to the end of the volume; `None` where there must be an error.
    pub(crate) fn content(&self, image: &Image, index: usize) -> Option<Vec<u8>> {
        let block = image.shape.block;
        let here = self.len.saturating_sub((index * block) as u64).min(block as u64) as usize;
        match self.sources[index] {
            Source::Zeros => Some(vec![0; here]),
            Source::Block(physical) => Some(image.block(physical)[..here].to_vec()),
            Source::Nowhere => None,
        }
    }
}

/// What must come of an image.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) found: [Found; 2],
    pub(crate) mounts: Result<Described, Refusal>,
    /// The other slot's volume, where it could be mounted too.
    pub(crate) older: Option<Described>,
    /// The other slot holds metadata that is sealed, at least as new, and unusable.
    pub(crate) newer_is_unusable: bool,
    /// What a check must find, and how often; `None` where it cannot run.
    pub(crate) findings: Option<BTreeMap<(&'static str, Severity), usize>>,
}

impl Verdict {
    pub(crate) fn of(image: &Image) -> Self {
        let found = [0, 1].map(|slot| parse(image.slot(slot), image.shape.page));
        let fits = |slot: usize| found[slot].entry().filter(|entry| fits(image, entry));
        let chosen = match (fits(0), fits(1)) {
            (None, None) => None,
            (Some(a), Some(b)) => Some(usize::from(b.sequence > a.sequence)),
            (a, _) => Some(usize::from(a.is_none())),
        };
        let described = |slot: usize| fits(slot).map(|entry| Described::new(image, slot, entry));
        let mounts = chosen.and_then(described).ok_or_else(|| refusal(image, &found));
        let other = chosen.map(|slot| 1 - slot);
        let older = other.and_then(described);
        let newer_is_unusable = match (&mounts, other) {
            (Ok(volume), Some(other)) => {
                fits(other).is_none() && found[other].entry().is_some_and(|e| e.sequence >= volume.sequence)
            }
            _ => false,
        };
        let mut verdict = Self { found, mounts, older, newer_is_unusable, findings: None };
        verdict.findings = verdict.expect_findings(image);
        verdict
    }

    pub(crate) fn is_writable(&self, image: &Image) -> bool {
        let writable = |volume: &Described| {
            !self.newer_is_unusable
                && !volume.has_bad_slot(image)
                && volume.sequence != u64::MAX
                && !volume.has_damaged_map()
        };
        self.mounts.as_ref().is_ok_and(writable)
    }

    fn expect_findings(&self, image: &Image) -> Option<BTreeMap<(&'static str, Severity), usize>> {
        let mut expected = Findings::default();
        match &self.mounts {
            Err(Refusal::Unmountable) => expected.add("no-valid-slot", Severity::Error),
            Err(_) => return None,
            Ok(volume) => {
                let entry = self.found[volume.slot].entry()?;
                expect_of_tables(image, volume, entry, &mut expected);
                expect_of_map(image, volume, &mut expected);
            }
        }
        for found in &self.found {
            let code = match found {
                Found::Erased => continue,
                Found::Entry(entry) if fits(image, entry) => continue,
                Found::Entry(_) => "slot-wrong-tables",
                Found::NoMagic
                | Found::BadSum { unfinished: true }
                | Found::BadTables { unfinished: true } => "slot-torn",
                _ => "slot-corrupt",
            };
            let beside_good = self.mounts.is_ok() && !(self.newer_is_unusable && found.entry().is_some());
            expected.add(code, if beside_good { Severity::Warning } else { Severity::Error });
        }
        if let (Ok(volume), Some(older)) = (&self.mounts, &self.older)
            && volume.sequence == older.sequence
        {
            let facts = |found: &Found| {
                found.entry().map(|e| (e.logical_len, e.map.clone(), e.counts.clone(), e.bad.clone()))
            };
            if facts(&self.found[0]) != facts(&self.found[1]) {
                expected.add("sequence-tie", Severity::Warning);
            }
        }
        Some(expected.0)
    }
}

#[derive(Default)]
struct Findings(BTreeMap<(&'static str, Severity), usize>);

impl Findings {
    fn add(&mut self, code: &'static str, severity: Severity) {
        *self.0.entry((code, severity)).or_default() += 1;
    }
}

/// Whether an entry can be that of this chip.
fn fits(image: &Image, entry: &Entry) -> bool {
    entry.counts.len() == image.shape.blocks && entry.bad.len() >= image.shape.bad_table_len()
}

fn refusal(image: &Image, found: &[Found; 2]) -> Refusal {
    let other_geometry = |f: &Found| f.entry().is_some_and(|e| e.counts.len() != image.shape.blocks);
    if found.iter().any(other_geometry) {
        Refusal::OtherGeometry
    } else if found.iter().all(|f| matches!(f, Found::Erased | Found::NoMagic)) {
        Refusal::NotFormatted
    } else {
        Refusal::Unmountable
    }
}

fn expect_of_tables(image: &Image, volume: &Described, entry: &Entry, expected: &mut Findings) {
    let shape = &image.shape;
    if entry.map.len() < shape.logical {
        expected.add("map-short", Severity::Warning);
    }
    if entry.map.len() > shape.logical {
        expected.add("map-long", Severity::Warning);
    }
    if entry.bad.len() > shape.bad_table_len() {
        expected.add("bad-table-long", Severity::Warning);
    }
    if volume.len > volume.mapped_end(image) {
        expected.add("length-past-map", Severity::Error);
    } else if volume.len > volume.capacity {
        expected.add("length-past-capacity", Severity::Warning);
    }
    if volume.sequence == u64::MAX {
        expected.add("sequence-exhausted", Severity::Error);
    }
    for block in 0..shape.blocks {
        let (listed, marked) = (entry.is_in_bad_table(block), image.is_marked(block));
        if (listed || marked) && block < 2 * shape.blocks_per_slot {
            expected.add("bad-slot-block", Severity::Error);
        }
        if marked && !listed {
            expected.add("bad-table-incomplete", Severity::Warning);
        }
        if listed && !marked && image.marks.is_some() {
            expected.add("bad-mark-missing", Severity::Warning);
        }
        if image.geometry.max_erase_cycles().is_some_and(|rated| entry.counts[block] > rated) {
            expected.add("worn-past-rating", Severity::Warning);
        }
    }
}

fn expect_of_map(image: &Image, volume: &Described, expected: &mut Findings) {
    let map = volume.slot;
    let entries = match parse(image.slot(map), image.shape.page) {
        Found::Entry(entry) => entry.map,
        _ => Vec::new(),
    };
    for (index, (&entry, source)) in entries.iter().zip(&volume.sources).enumerate() {
        match *source {
            Source::Zeros => {}
            Source::Nowhere if entry as usize >= image.shape.data_blocks() => {
                expected.add("map-out-of-range", Severity::Error);
            }
            Source::Nowhere => expected.add("map-duplicate", Severity::Error),
            Source::Block(physical) if volume.bad[physical] => {
                expected.add("mapped-bad-block", Severity::Error);
            }
            Source::Block(_) if (index * image.shape.block) as u64 >= volume.len => {
                expected.add("mapped-past-length", Severity::Info);
            }
            Source::Block(_) => {}
        }
    }
}
