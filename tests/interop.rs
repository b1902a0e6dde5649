//! This library and shodh-redb 0.6 on the same bytes: images of one mount in the other, in both directions and in turn,
//! and the crate's database keeps its promises on a volume of ours when the power goes.

#[path = "support/shodh.rs"]
mod shodh;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use nandimg::Error;
use nandimg::flash::faults::Cut;
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation};
use nandimg::ftl::block::map::Mapping;
use nandimg::ftl::block::slots::SlotId;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};
use nandimg::ftl::wear::WearPolicy;
use nandimg::ftl::{BlockUse, Volume};
use nandimg::onflash::ftlj::{Layout, Metadata, UNMAPPED};
use nandimg::prng::SplitMix64;
use sha2::{Digest, Sha256};
use shodh::{BadBlocks, Chip, Engine, content_of_theirs, format_theirs, mount_theirs};
use shodh_redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

const ROWS: TableDefinition<u64, &str> = TableDefinition::new("rows");
const BLOBS: TableDefinition<u64, &[u8]> = TableDefinition::new("blobs");

/// Page size, block size, blocks and blocks per slot.
type Shape = (u32, u32, u32, u32);
const SHAPES: [Shape; 5] =
    [(512, 4096, 64, 1), (2048, 16384, 64, 1), (256, 1024, 120, 2), (256, 1024, 300, 3), (4096, 4096, 40, 1)];

fn mount(chip: &Chip) -> BlockVolume<Chip> {
    BlockVolume::mount(chip.clone(), &Mount::default()).unwrap()
}

fn format_ours(chip: &Chip) {
    let mut hw = chip.clone();
    FormatPlan::new(&hw, true).unwrap().execute(&mut hw).unwrap();
}

fn content(volume: &impl Volume) -> Vec<u8> {
    let mut content = vec![0xA5; usize::try_from(volume.len()).unwrap()];
    volume.read(0, &mut content).unwrap();
    content
}

fn random_bytes(rng: &mut SplitMix64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    rng.fill(&mut bytes);
    bytes
}

/// Where the content differs, if it does: a whole content is no help in a message.
fn assert_same(found: &[u8], expected: &[u8], who: &str) {
    assert_eq!(found.len(), expected.len(), "{who}: logical length");
    let differs = found.iter().zip(expected).position(|(f, e)| f != e);
    assert_eq!(differs, None, "{who}: first byte that differs");
}

/// What slot `id` says.
fn entry(chip: &Chip, layout: &Layout, id: SlotId) -> (u64, Metadata) {
    let data = chip.data();
    let start = u64::from(id.first_block(layout).0) * u64::from(layout.block_size);
    let slot = &data[start as usize..][..layout.slot_len() as usize];
    Metadata::decode(slot).unwrap()
}

/// Put `metadata` into slot `id`.
fn put_entry(chip: &mut Chip, id: SlotId, sequence: u64, metadata: &Metadata) {
    let geometry = *chip.geometry();
    let layout = Layout::new(geometry.block_size(), geometry.blocks()).unwrap();
    id.blocks(&layout).for_each(|block| chip.erase(block).unwrap());
    let size = geometry.page_size() as usize;
    let mut bytes = metadata.encode(sequence);
    bytes.resize(bytes.len().next_multiple_of(size), 0xFF);
    let pages = id.blocks(&layout).flat_map(|block| geometry.iter_pages(block));
    pages.zip(bytes.chunks(size)).for_each(|(page, data)| chip.program(page, data).unwrap());
}

// --- samples -----------------------------------------------------------------------------------------------------------

struct Sample {
    json: serde_json::Value,
    image: Vec<u8>,
}

impl Sample {
    fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/shodh-redb");
        let json = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let packed = std::fs::File::open(folder.join(format!("{name}.img.gz"))).unwrap();
        let mut image = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut image).unwrap();
        Self { json: serde_json::from_slice(&json).unwrap(), image }
    }

    fn number(&self, key: &str) -> u64 {
        self.json[key].as_u64().unwrap_or_else(|| panic!("{key} is a number"))
    }

    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_else(|| panic!("{key} is a string"))
    }

    /// A list of numbers; `null` is an unmapped block.
    fn list(&self, key: &str) -> Vec<Option<u32>> {
        let list = self.json[key].as_array().unwrap_or_else(|| panic!("{key} is a list"));
        list.iter().map(|n| n.as_u64().map(|n| u32::try_from(n).unwrap())).collect()
    }

    fn numbers(&self, key: &str) -> Vec<u32> {
        self.list(key).into_iter().map(Option::unwrap).collect()
    }

    fn sim(&self) -> SimFlash {
        let [page, block, blocks] = ["page", "block", "blocks"].map(|k| self.number(k) as u32);
        SimFlash::from_data(Geometry::new(page, 0, block, blocks).unwrap(), &self.image)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_sample(name: &str) -> Vec<u8> {
    let sample = Sample::load(name);
    assert_eq!(sha256(&sample.image), sample.text("image_sha256"), "{name}: the sample itself");
    let options = Mount { read_only: true, ..Mount::default() };
    let mut volume = BlockVolume::mount(sample.sim(), &options).unwrap();

    let layout = *volume.layout();
    assert_eq!(u64::from(layout.blocks_per_slot), sample.number("blocks_per_slot"), "{name}");
    assert_eq!(u64::from(layout.reserved), sample.number("reserved_blocks"), "{name}");
    assert_eq!(u64::from(layout.logical_blocks), sample.number("logical_blocks"), "{name}");
    let (slot, sequence) = volume.current();
    assert_eq!(slot.name(), format!("slot {}", sample.text("current_slot")), "{name}");
    assert_eq!(sequence, sample.number("sequence"), "{name}");
    assert_eq!(volume.erase_counts(), sample.numbers("erase_counts"), "{name}");
    let bad: Vec<u32> = volume.bad_blocks().iter().map(|b| b.0).collect();
    assert_eq!(bad, sample.numbers("bad_blocks_in_journal"), "{name}");
    let map: Vec<Option<u32>> =
        volume.map().iter().map(|m| m.block().map(|b| b.0 - layout.reserved)).collect();
    assert_eq!(map, sample.list("map"), "{name}");

    assert_eq!(volume.len(), sample.number("logical_len"), "{name}");
    let content = content(&volume);
    assert_eq!(sha256(&content), sample.text("logical_sha256"), "{name}");
    assert!(matches!(volume.set_len(0), Err(Error::ReadOnly(_))), "{name}");
    assert_eq!(volume.flash().data(), sample.image, "{name}: a mount changes nothing");
    assert!(volume.warnings().is_empty(), "{name}: {:?}", volume.warnings());
    content
}

fn check_500_rows(database: &Database) {
    let rows = database.begin_read().unwrap().open_table(ROWS).unwrap();
    let found: Vec<(u64, String)> = rows
        .iter()
        .unwrap()
        .map(|row| row.unwrap())
        .map(|(k, v)| (k.value(), v.value().to_string()))
        .collect();
    let expected: Vec<(u64, String)> = (0..500).map(|k| (k, format!("row {k}: square {}", k * k))).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_fresh_image_of_the_crate_mounts() {
    assert!(check_sample("fresh").is_empty());
}

#[test]
fn a_written_image_of_the_crate_mounts() {
    check_sample("writes");
}

#[test]
fn a_database_image_of_the_crate_mounts_and_the_crate_reads_the_content() {
    let content = check_sample("database-0.6.0");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    check_500_rows(&Database::open(file.path()).unwrap());
}

#[test]
fn a_database_goes_on_under_either_engine_in_turn() {
    let sample = Sample::load("database-0.6.0");
    let chip = Chip::new(sample.sim());
    sample.numbers("bad_blocks").into_iter().for_each(|b| chip.set_factory_bad(Block(b)));
    let open = |turn: u64| match turn % 2 {
        0 => Builder::new().create_with_backend(Engine::new(mount(&chip))).unwrap(),
        _ => Builder::new().create_with_backend(mount_theirs(&chip, BadBlocks::Work)).unwrap(),
    };
    for turn in 0..8 {
        let database = open(turn);
        check_500_rows(&database);
        let write = database.begin_write().unwrap();
        {
            let mut blobs = write.open_table(BLOBS).unwrap();
            for earlier in 0..turn {
                let blob = blobs.get(earlier).unwrap().unwrap();
                assert_eq!(blob.value(), vec![earlier as u8; 3000], "turn {turn}");
            }
            blobs.insert(turn, vec![turn as u8; 3000].as_slice()).unwrap();
        }
        write.commit().unwrap();
    }
}

// --- format ------------------------------------------------------------------------------------------------------------

#[test]
fn a_fresh_volume_is_the_one_the_crate_makes() {
    for (page, block, blocks, blocks_per_slot) in SHAPES {
        for factory_bad in [vec![], vec![blocks - 1, blocks / 2, blocks / 2 + 1]] {
            let [ours, theirs] = [(); 2].map(|()| Chip::blank(page, block, blocks));
            for &bad in &factory_bad {
                ours.set_factory_bad(Block(bad));
                theirs.set_factory_bad(Block(bad));
            }
            format_ours(&ours);
            drop(format_theirs(&theirs, BadBlocks::Fail));

            let layout = Layout::new(block, blocks).unwrap();
            assert_eq!(layout.blocks_per_slot, blocks_per_slot);
            let (sequence, our_entry) = entry(&ours, &layout, SlotId::B);
            let (their_sequence, their_entry) = entry(&theirs, &layout, SlotId::B);
            assert_eq!((sequence, their_sequence), (1, 1));
            assert_eq!(their_entry.erase_counts, vec![0; blocks as usize]);
            assert_eq!(our_entry.erase_counts.len(), blocks as usize);
            let same_but_for_counts =
                Metadata { erase_counts: their_entry.erase_counts.clone(), ..our_entry };
            assert_eq!(same_but_for_counts, their_entry);
            assert_eq!(their_entry.map, vec![UNMAPPED; layout.logical_blocks as usize]);

            let mut expected = vec![0xFF; (block * blocks) as usize];
            let slot = (layout.blocks_per_slot * block) as usize;
            let encoded = same_but_for_counts.encode(sequence);
            expected[slot..slot + encoded.len()].copy_from_slice(&encoded);
            assert!(theirs.data() == expected, "{page}/{block}/{blocks}: every byte of the crate's chip");
            assert_eq!(ours.data()[..slot], expected[..slot], "slot A is erased");
            assert_eq!(ours.data()[2 * slot..], expected[2 * slot..], "nothing else is touched");
        }
    }
}

#[test]
fn a_format_keeps_what_the_crate_knew_of_the_chip() {
    let chip = Chip::new(SimFlash::new(Geometry::new(512, 0, 4096, 64).unwrap()).without_marks());
    chip.fail_later(Block(20), Operation::Erase, 0);
    let theirs = format_theirs(&chip, BadBlocks::Fail);
    theirs.set_len(50 * 4096).unwrap();
    theirs.write(0, &vec![1; 50 * 4096]).unwrap();
    drop(theirs);
    let before = mount(&chip);
    assert_eq!(before.bad_blocks(), [Block(20)]);
    format_ours(&chip);
    let after = mount(&chip);
    assert_eq!((after.len(), after.mapped_units()), (0, 0));
    assert_eq!(after.bad_blocks(), [Block(20)]);
    let reserved = after.layout().reserved as usize;
    assert_eq!(after.erase_counts()[reserved..], before.erase_counts()[reserved..]);
    assert!(after.erase_counts()[reserved..].iter().any(|&count| count > 0));
    assert_eq!(mount_theirs(&chip, BadBlocks::Fail).len().unwrap(), 0);
}

#[test]
fn both_sides_choose_the_same_slot() {
    for (page, block, blocks, _) in SHAPES {
        let mut chip = Chip::blank(page, block, blocks);
        format_ours(&chip);
        let layout = Layout::new(block, blocks).unwrap();
        let (_, fresh) = entry(&chip, &layout, SlotId::B);
        for (a, b, chosen) in
            [(4, 4, 100), (4, 5, 200), (5, 4, 100), (u64::MAX - 1, 1, 100), (1 << 40, 1 << 41, 200)]
        {
            put_entry(&mut chip, SlotId::A, a, &Metadata { logical_len: 100, ..fresh.clone() });
            put_entry(&mut chip, SlotId::B, b, &Metadata { logical_len: 200, ..fresh.clone() });
            assert_eq!(mount(&chip).len(), chosen, "A has {a}, B has {b}");
            assert_eq!(mount_theirs(&chip, BadBlocks::Fail).len().unwrap(), chosen, "A has {a}, B has {b}");
        }
    }
}

// --- in turn -----------------------------------------------------------------------------------------------------------

/// What is bad about the chip both sides write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Badness {
    None,
    /// Blocks marked by the factory, which still work when the crate, having forgotten, uses them.
    Factory,
    /// One block whose erase fails from some time on.
    OneFails,
}

/// What happened in the turns, so that a test can tell that it tested something.
#[derive(Debug, Default)]
struct Seen {
    writes: u32,
    rollbacks: u32,
    /// Commits of ours that only moved cold data.
    levelled: u64,
    on_bad_blocks: u32,
    bad_at_end: usize,
}

struct Exchange {
    chip: Chip,
    bad_blocks: BadBlocks,
    rng: SplitMix64,
    model: Vec<u8>,
    layout: Layout,
    /// Data blocks that are, or will be, bad.
    dead: u64,
    seen: Seen,
}

impl Exchange {
    fn new((page, block, blocks, _): Shape, badness: Badness, seed: u64) -> Self {
        let chip = Chip::blank(page, block, blocks);
        let layout = Layout::new(block, blocks).unwrap();
        let mut rng = SplitMix64::new(seed);
        let mut dead = 0;
        if badness == Badness::Factory {
            for b in (layout.reserved..blocks).filter(|_| rng.below(10) == 0) {
                chip.set_factory_bad(Block(b));
                dead += 1;
            }
        }
        if badness == Badness::OneFails {
            let block = layout.reserved + rng.below(u64::from(layout.data_blocks())) as u32;
            chip.fail_later(Block(block), Operation::Erase, rng.below(4));
            dead += 1;
        }
        let bad_blocks = if badness == Badness::Factory { BadBlocks::Work } else { BadBlocks::Fail };
        match seed % 2 {
            0 => format_ours(&chip),
            _ => drop(format_theirs(&chip, bad_blocks)),
        }
        Self { chip, bad_blocks, rng, model: Vec::new(), layout, dead, seen: Seen::default() }
    }

    fn block_size(&self) -> u64 {
        u64::from(self.layout.block_size)
    }

    /// What either side can hold, whichever blocks have died by then.
    fn capacity(&self) -> u64 {
        let good = u64::from(self.layout.data_blocks()) - self.dead;
        (good - 2).min(u64::from(self.layout.logical_blocks)) * self.block_size()
    }

    fn len(&self) -> u64 {
        self.model.len() as u64
    }

    fn overwrite(&mut self, offset: u64, data: &[u8]) {
        let end = offset as usize + data.len();
        self.model.resize(self.model.len().max(end), 0);
        self.model[offset as usize..end].copy_from_slice(data);
        self.seen.writes += 1;
    }

    /// A length to write: small, or some blocks.
    fn some_length(&mut self, blocks: u64) -> u64 {
        match self.rng.below(3) {
            0 => 1 + self.rng.below(100),
            1 => 1 + self.rng.below(self.block_size()),
            _ => 1 + self.rng.below(blocks * self.block_size()),
        }
    }

    fn our_turn(&mut self) {
        let wear = WearPolicy { interval: 8, threshold: 1 };
        let mut volume = BlockVolume::mount(self.chip.clone(), &Mount { wear, ..Mount::default() }).unwrap();
        assert_same(&content(&volume), &self.model, "ours, mounting");
        self.check_bad_blocks(&volume);
        let mut committed = self.model.clone();
        let mut commits = volume.commits();
        let (_, mounted_at) = volume.current();
        for _ in 0..1 + self.rng.below(8) {
            match self.rng.below(8) {
                0..=3 => {
                    let reach = (self.len() + 3 * self.block_size()).min(self.capacity());
                    let offset = self.rng.below(reach);
                    let length = self.some_length(4).min(self.capacity() - offset);
                    let data = random_bytes(&mut self.rng, length);
                    volume.write(offset, &data).unwrap();
                    self.overwrite(offset, &data);
                }
                4 | 5 => {
                    let len = self.new_length(self.capacity());
                    volume.set_len(len).unwrap();
                    self.model.resize(len as usize, 0);
                }
                6 => {
                    volume.sync().unwrap();
                    committed.clone_from(&self.model);
                    commits = volume.commits();
                }
                // More than the free blocks take is committed in parts.
                _ if volume.commits() != commits => {}
                _ => {
                    volume.rollback();
                    self.model.clone_from(&committed);
                    self.seen.rollbacks += 1;
                }
            }
        }
        assert_same(&content(&volume), &self.model, "ours");
        if volume.commits() == commits && self.rng.below(4) == 0 {
            self.model = committed;
            self.seen.rollbacks += 1;
            return;
        }
        volume.sync().unwrap();
        self.seen.levelled += volume.current().1 - mounted_at - volume.commits();
    }

    fn check_bad_blocks(&mut self, volume: &BlockVolume<Chip>) {
        let marked: Vec<Block> = self.chip.board().marked.iter().copied().collect();
        assert_eq!(volume.bad_blocks(), marked);
        assert_eq!(volume.read_only(), None);
        let on_bad = volume.map().iter().filter_map(|m| m.block()).filter(|b| marked.contains(b)).count();
        let warning = format!("{on_bad} blocks that hold data are marked bad");
        assert_eq!(volume.warnings().contains(&warning), on_bad > 0, "{:?}", volume.warnings());
        assert!(marked.iter().all(|&b| volume.block_use(b) == BlockUse::Bad));
        self.seen.on_bad_blocks += on_bad as u32;
        self.seen.bad_at_end = marked.len();
    }

    fn new_length(&mut self, capacity: u64) -> u64 {
        match self.rng.below(3) {
            0 => self.rng.below(self.len() + 1),
            1 => (self.len() + self.rng.below(2 * self.block_size())).min(capacity),
            _ => self.rng.below(capacity + 1),
        }
    }

    fn their_turn(&mut self) {
        let theirs = mount_theirs(&self.chip, self.bad_blocks);
        theirs.set_wear_leveling_interval(16);
        theirs.set_wear_leveling_threshold(2);
        assert_same(&content_of_theirs(&theirs), &self.model, "the crate, mounting");
        for _ in 0..1 + self.rng.below(5) {
            if self.model.is_empty() || self.rng.below(4) == 0 {
                let (old, len) = (self.len(), self.new_length(self.capacity()));
                theirs.set_len(len).unwrap();
                self.model.resize(len as usize, 0);
                // It shows what a shorter length once hid.
                let boundary = old.next_multiple_of(self.block_size()).min(len);
                if boundary > old {
                    theirs.write(old, &vec![0; (boundary - old) as usize]).unwrap();
                }
            } else {
                let offset = self.rng.below(self.len());
                let in_use = self.len().div_ceil(self.block_size());
                // It needs a free block for each block it rewrites at once.
                let free = u64::from(self.layout.data_blocks()) - self.dead - in_use;
                let room =
                    (self.block_size() - offset % self.block_size()) + (free.min(4) - 1) * self.block_size();
                let length = self.some_length(4).min(room).min(self.len() - offset);
                let data = random_bytes(&mut self.rng, length);
                theirs.write(offset, &data).unwrap();
                self.overwrite(offset, &data);
            }
        }
        if self.rng.below(2) == 0 {
            theirs.sync_data().unwrap();
        }
        assert_same(&content_of_theirs(&theirs), &self.model, "the crate");
    }

    fn run(mut self, turns: u32) -> Seen {
        for _ in 0..turns {
            if self.rng.below(2) == 0 { self.our_turn() } else { self.their_turn() }
        }
        self.our_turn();
        self.their_turn();
        self.seen
    }
}

fn exchange(badness: Badness) -> Seen {
    let mut total = Seen::default();
    for shape in SHAPES {
        for seed in 1..=10 {
            println!("{shape:?}, {badness:?}, seed {seed}");
            let seen = Exchange::new(shape, badness, seed).run(80);
            total.writes += seen.writes;
            total.rollbacks += seen.rollbacks;
            total.levelled += seen.levelled;
            total.on_bad_blocks += seen.on_bad_blocks;
            total.bad_at_end += seen.bad_at_end;
        }
    }
    println!("{badness:?}: {total:?}");
    assert!(total.writes > 2000 && total.rollbacks > 50 && total.levelled > 100, "{total:?}");
    total
}

#[test]
fn both_sides_write_one_chip_in_turn() {
    let seen = exchange(Badness::None);
    assert_eq!((seen.on_bad_blocks, seen.bad_at_end), (0, 0));
}

#[test]
fn both_sides_write_in_turn_a_chip_whose_bad_blocks_the_crate_forgets() {
    let seen = exchange(Badness::Factory);
    assert!(seen.on_bad_blocks > 100, "{seen:?}");
}

#[test]
fn both_sides_write_in_turn_a_chip_with_a_block_that_fails() {
    let seen = exchange(Badness::OneFails);
    assert!(seen.bad_at_end > 10, "{seen:?}");
}

#[test]
fn the_crate_mounts_what_we_levelled_and_replaced() {
    for (page, block, blocks, _) in SHAPES {
        let chip = Chip::blank(page, block, blocks);
        format_ours(&chip);
        let wear = WearPolicy { interval: 8, threshold: 4 };
        let mut volume = BlockVolume::mount(chip.clone(), &Mount { wear, ..Mount::default() }).unwrap();
        let size = u64::from(block);
        let mut model = random_bytes(&mut SplitMix64::new(7), 12 * size);
        volume.write(0, &model).unwrap();
        volume.sync().unwrap();
        let cold: Vec<Mapping> = volume.map()[..10].to_vec();
        let next = volume.layout().reserved + 20;
        chip.fail_later(Block(next), Operation::Erase, 1);
        chip.fail_later(Block(next + 1), Operation::Program, 2);
        chip.fail_later(Block(next + 2), Operation::Erase, 1);
        for round in 0..40 * u64::from(blocks) / 10 {
            let hot = vec![round as u8; 2 * block as usize];
            volume.write(10 * size, &hot).unwrap();
            volume.sync().unwrap();
            model[10 * block as usize..].copy_from_slice(&hot);
        }
        let failed = [next, next + 1, next + 2];
        assert_eq!(volume.bad_blocks(), failed.map(Block));
        let moved = cold.iter().zip(volume.map()).filter(|(before, after)| before != after).count();
        assert!(moved >= 5, "{page}/{block}/{blocks}: levelling moved {moved} blocks of cold data");
        let sound = |counts: &[u32]| -> Vec<u32> {
            counts.iter().zip(0..).filter(|(_, b)| !failed.contains(b)).map(|(&count, _)| count).collect()
        };
        let counts = sound(volume.erase_counts());
        assert_eq!(counts, sound(chip.board().flash.inner().erases()), "{page}/{block}/{blocks}");
        let data = counts.iter().skip(volume.layout().reserved as usize);
        let (least, most) = (data.clone().min().unwrap(), data.max().unwrap());
        assert!(most - least <= 16, "{page}/{block}/{blocks}: erase counts from {least} to {most}");
        drop(volume);
        assert_same(&content_of_theirs(&mount_theirs(&chip, BadBlocks::Fail)), &model, "the crate");
    }
}

/// A write that the free blocks do not take takes effect block by block from the front, wherever the power goes.
#[test]
fn the_crate_and_ours_read_the_same_part_of_a_write_that_was_cut() {
    const BLOCK: usize = 4096;
    let chip = Chip::blank(512, BLOCK as u32, 24);
    format_ours(&chip);
    let mut volume = mount(&chip);
    let mut rng = SplitMix64::new(1);
    let old = random_bytes(&mut rng, 12 * BLOCK as u64 - 30);
    volume.write(0, &old).unwrap();
    volume.sync().unwrap();
    let data = random_bytes(&mut rng, 18 * BLOCK as u64 - 200);
    let after = |done: usize| {
        let mut after = old.clone();
        after.resize(old.len().max(done), 0);
        after[100.min(done)..done].copy_from_slice(&data[..done - 100.min(done)]);
        after
    };
    let write = |chip: &Chip| {
        let mut volume = mount(chip);
        volume.write(100, &data).and_then(|()| volume.sync()).map(|()| volume.commits())
    };
    let complete = chip.fork();
    assert!(write(&complete).unwrap() >= 2, "it takes effect in parts");
    let length = operations(&complete) - operations(&chip);
    let mut parts = 0;
    for at in 0..length {
        for kind in Cut::ALL {
            let chip = chip.fork();
            chip.board().flash.cut_power_after(at, kind);
            write(&chip).unwrap_err();
            chip.board().flash.restore_power();
            let found = content(&mount(&chip));
            let ends = (0..18).map(|n| n * BLOCK).chain([100 + data.len()]);
            let done = ends.rev().find(|&done| found == after(done));
            let done =
                done.unwrap_or_else(|| panic!("operation {at} of {length}, {kind:?}: neither old nor new"));
            parts += u32::from(done > 0 && done < 100 + data.len());
            if kind != Cut::Unreadable {
                let theirs = mount_theirs(&chip, BadBlocks::Fail);
                assert_same(&content_of_theirs(&theirs), &found, "the crate");
            }
        }
    }
    assert!(parts > 100, "{parts}");
}

// --- a database on our engine ------------------------------------------------------------------------------------------

const SESSIONS: u64 = 5;
const TRANSACTIONS_A_SESSION: u64 = 5;

type Rows = BTreeMap<u64, Vec<u8>>;

/// The rows after `transactions` of them.
fn rows_after(transactions: u64) -> Rows {
    let mut rows = Rows::new();
    for transaction in 0..transactions {
        for (key, value) in changes(transaction) {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
    }
    rows
}

/// What a transaction does: new rows, the last one's first row deleted, an old row and the common row 0 rewritten.
fn changes(transaction: u64) -> Vec<(u64, Option<Vec<u8>>)> {
    let mut rng = SplitMix64::new(transaction);
    let mut changes: Vec<_> = (1..=12)
        .map(|i| {
            let length = 1 + rng.below(900);
            (100 * transaction + i, Some(random_bytes(&mut rng, length)))
        })
        .collect();
    if let Some(last) = transaction.checked_sub(1) {
        changes.push((100 * last + 1, None));
        changes.push((100 * rng.below(transaction) + 2, Some(random_bytes(&mut rng, 300))));
    }
    changes.push((0, Some(transaction.to_le_bytes().to_vec())));
    changes
}

fn open_database(chip: &Chip) -> Result<Database, shodh_redb::DatabaseError> {
    Builder::new().create_with_backend(Engine::new(mount(chip)))
}

fn commit(database: &Database, transaction: u64) -> Result<(), Box<dyn std::error::Error>> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(BLOBS)?;
        for (key, value) in changes(transaction) {
            match value {
                Some(value) => drop(table.insert(key, value.as_slice())?),
                None => drop(table.remove(key)?),
            }
        }
    }
    Ok(write.commit()?)
}

fn rows_of(database: &Database) -> Rows {
    let read = database.begin_read().unwrap();
    match read.open_table(BLOBS) {
        Ok(table) => {
            let rows = table.iter().unwrap().map(|row| row.unwrap());
            rows.map(|(key, value)| (key.value(), value.value().to_vec())).collect()
        }
        Err(shodh_redb::TableError::TableDoesNotExist(_)) => Rows::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Open the database, do a session's transactions from `first` on, close it. The number of transactions that were
/// acknowledged, and whether another was begun.
fn session(chip: &Chip, first: u64) -> (u64, bool) {
    let Ok(database) = open_database(chip) else { return (first, false) };
    for transaction in first..first + TRANSACTIONS_A_SESSION {
        if commit(&database, transaction).is_err() {
            return (transaction, true);
        }
    }
    (first + TRANSACTIONS_A_SESSION, false)
}

fn operations(chip: &Chip) -> u64 {
    chip.board().flash.operations()
}

/// Begin again where the crate's database was cut off before it was made: it makes a header durable, then the magic
/// number in front, and refuses what lies between.
fn recreate(chip: &Chip) -> Database {
    let mut volume = mount(chip);
    let mut magic = [0xA5; 9];
    volume.read(0, &mut magic).unwrap();
    assert_eq!(magic, [0; 9], "a database that was made does not open");
    volume.set_len(0).unwrap();
    volume.sync().unwrap();
    drop(volume);
    open_database(chip).unwrap()
}

fn check_after_cut(chip: &Chip, acknowledged: u64, begun: bool) {
    let database = open_database(chip).unwrap_or_else(|error| {
        assert!(acknowledged == 0 && !begun, "{error}");
        recreate(chip)
    });
    let rows = rows_of(&database);
    let done = match rows == rows_after(acknowledged) {
        true => acknowledged,
        false => {
            assert!(begun && rows == rows_after(acknowledged + 1), "not all or nothing of {acknowledged}");
            acknowledged + 1
        }
    };
    commit(&database, done).unwrap();
    assert_eq!(rows_of(&database), rows_after(done + 1));
    drop(database);
    assert_eq!(rows_of(&open_database(chip).unwrap()), rows_after(done + 1), "after a remount");
}

#[test]
fn a_database_on_our_engine_survives_power_cuts() {
    let chip = Chip::blank(512, 4096, 280);
    format_ours(&chip);
    let mut kinds = Cut::ALL.into_iter().cycle();
    let (mut cuts, mut cuts_of_a_repair, mut points) = (0, 0, 0);
    for index in 0..SESSIONS {
        let before = chip.fork();
        let first = index * TRANSACTIONS_A_SESSION;
        let start = operations(&chip);
        assert_eq!(session(&chip, first), (first + TRANSACTIONS_A_SESSION, false));
        let length = operations(&chip) - start;
        points += length;
        assert_eq!(
            rows_of(&open_database(&chip.fork()).unwrap()),
            rows_after(first + TRANSACTIONS_A_SESSION)
        );
        for at in (0..length).step_by(3) {
            let kind = kinds.next().unwrap();
            let chip = before.fork();
            chip.board().flash.cut_power_after(at, kind);
            let (acknowledged, begun) = session(&chip, first);
            // The order of a commit's writes, and so the length of a session, is not always the same.
            cuts += u32::from(chip.board().flash.is_off());
            chip.board().flash.restore_power();
            // The crate does not mount over a page of a slot that cannot be read.
            if at % 5 == 0 && first > 0 && kind != Cut::Unreadable {
                let theirs = mount_theirs(&chip.fork(), BadBlocks::Fail);
                let rows = rows_of(&Builder::new().create_with_backend(theirs).unwrap());
                assert!(
                    (acknowledged..=acknowledged + 1).any(|done| rows == rows_after(done)),
                    "the crate, {kind:?}"
                );
            }
            if at % 2 == 0 {
                chip.board().flash.cut_power_after(at % 41, kinds.next().unwrap());
                drop(open_database(&chip));
                cuts_of_a_repair += u32::from(chip.board().flash.is_off());
                chip.board().flash.restore_power();
            }
            let context = std::panic::AssertUnwindSafe(|| check_after_cut(&chip, acknowledged, begun));
            if let Err(panic) = std::panic::catch_unwind(context) {
                println!("session {index}, operation {at} of {length}, {kind:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!(
        "{cuts} power cuts in {points} operations, {cuts_of_a_repair} more while a cut database was repaired"
    );
    assert!(cuts > 800 && cuts_of_a_repair > 200, "{cuts} and {cuts_of_a_repair} cuts");
}

// --- what the crate gets wrong -----------------------------------------------------------------------------------------

#[test]
fn an_image_that_the_crate_made_too_long_is_read_and_not_written_past_its_capacity() {
    let chip = Chip::blank(512, 4096, 64);
    let layout = Layout::new(4096, 64).unwrap();
    let capacity = u64::from(layout.logical_blocks) * 4096;
    let theirs = format_theirs(&chip, BadBlocks::Fail);
    let len = capacity + 9 * 4096 + 5;
    let mut model = vec![0; len as usize];
    theirs.set_len(len).unwrap();
    for offset in [3 * 4096 + 100, capacity - 10, len - 20] {
        let data = random_bytes(&mut SplitMix64::new(offset), 20);
        theirs.write(offset, &data).unwrap();
        model[offset as usize..][..20].copy_from_slice(&data);
    }
    drop(theirs);

    let mut volume = mount(&chip);
    assert_eq!((volume.len(), volume.capacity(), volume.map().len()), (len, capacity, 68));
    assert!(volume.warnings().iter().any(|w| w.contains("past the capacity")), "{:?}", volume.warnings());
    assert_same(&content(&volume), &model, "ours");
    let too_large = |needed| Err(Error::TooLarge { needed, capacity });
    assert_eq!(volume.set_len(len + 1), too_large(len + 1));
    assert_eq!(volume.write(capacity - 1, &[1, 2]), too_large(capacity + 1));
    let past = Error::OutOfRange { offset: len - 1, length: 1, end: capacity };
    assert_eq!(volume.write(len - 1, &[1]), Err(past));

    volume.write(capacity - 4, &[1, 2, 3, 4]).unwrap();
    model[capacity as usize - 4..][..4].copy_from_slice(&[1, 2, 3, 4]);
    volume.sync().unwrap();
    drop(volume);
    assert_same(&content_of_theirs(&mount_theirs(&chip, BadBlocks::Fail)), &model, "the crate");

    let mut volume = mount(&chip);
    volume.set_len(capacity + 4096).unwrap();
    volume.set_len(capacity - 5).unwrap();
    volume.set_len(capacity).unwrap();
    volume.sync().unwrap();
    model.truncate(capacity as usize);
    model[capacity as usize - 5..].fill(0);
    assert_same(&content(&mount(&chip)), &model, "ours, cut to size");
    assert_same(&content_of_theirs(&mount_theirs(&chip, BadBlocks::Fail)), &model, "the crate, cut to size");
}

#[test]
fn a_length_past_the_map_is_reported_and_what_is_mapped_is_read() {
    let mut chip = Chip::blank(512, 4096, 64);
    let theirs = format_theirs(&chip, BadBlocks::Fail);
    theirs.set_len(4096).unwrap();
    theirs.write(0, &[7; 4096]).unwrap();
    drop(theirs);
    let volume = mount(&chip);
    let (layout, (slot, sequence)) = (*volume.layout(), volume.current());
    let (_, mut metadata) = entry(&chip, &layout, slot);
    metadata.logical_len = 1 << 40;
    put_entry(&mut chip, slot.other(), sequence + 1, &metadata);

    let mut volume = mount(&chip);
    assert_eq!(volume.len(), 1 << 40);
    assert!(
        volume.warnings().iter().any(|w| w.contains("past the end of the map")),
        "{:?}",
        volume.warnings()
    );
    let mut start = [0; 4096];
    volume.read(0, &mut start).unwrap();
    assert_eq!(start, [7; 4096]);
    let end = u64::from(layout.logical_blocks) * 4096;
    assert!(
        matches!(volume.read(end - 1, &mut [0; 2]), Err(Error::Unreadable { offset, .. }) if offset == end)
    );
    volume.set_len(8192).unwrap();
    volume.sync().unwrap();
    let volume = mount(&chip);
    assert_eq!(volume.len(), 8192);
    assert_eq!(content(&volume), [[7; 4096], [0; 4096]].concat());
}

#[test]
fn what_the_crate_cut_off_is_zeros_when_we_grow() {
    for (page, block, blocks, _) in SHAPES {
        let chip = Chip::blank(page, block, blocks);
        let size = block as usize;
        let theirs = format_theirs(&chip, BadBlocks::Fail);
        theirs.set_len(4 * u64::from(block)).unwrap();
        theirs.write(0, &vec![0xEE; 4 * size]).unwrap();
        theirs.set_len(u64::from(block) + 100).unwrap();
        // A write of the crate's does not lengthen: these blocks are mapped, and past the end.
        theirs.write(2 * u64::from(block) + 7, &vec![0xDD; size]).unwrap();
        drop(theirs);
        for grow_by_write in [false, true] {
            let chip = chip.fork();
            let mut volume = mount(&chip);
            let mut model = vec![0xEE; size + 100];
            if grow_by_write {
                volume.write(4 * u64::from(block) - 1, &[1]).unwrap();
                model.resize(4 * size - 1, 0);
                model.push(1);
            } else {
                volume.set_len(4 * u64::from(block)).unwrap();
                model.resize(4 * size, 0);
            }
            assert_same(&content(&volume), &model, "ours");
            volume.sync().unwrap();
            assert_same(&content(&mount(&chip)), &model, "ours, mounted again");
            assert_same(&content_of_theirs(&mount_theirs(&chip, BadBlocks::Fail)), &model, "the crate");
        }
    }
}
