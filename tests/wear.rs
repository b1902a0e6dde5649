//! Data that is never written again takes its share of the wear: measured on the simulator, and beside the crate whose
//! format this is.
//!
//! Run with `--nocapture` to see both.

#![forbid(unsafe_code)]

#[path = "support/shodh.rs"]
#[allow(dead_code, reason = "the interoperability tests take more of it")]
mod shodh;
mod support;

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, Geometry};
use nandimg::ftl::Volume;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};
use nandimg::ftl::wear::WearPolicy;
use nandimg::onflash::ftlj::Layout;
use nandimg::prng::SplitMix64;
use shodh::{BadBlocks, Chip, content_of_theirs, format_theirs};
use shodh_redb::StorageBackend;

use support::{geometry, random_bytes, read_all};

const BLOCK: u64 = 1024;
const BLOCKS: u32 = 64;
/// Logical blocks that are written once, and those that are written all the time, at their start.
const WRITTEN_ONCE: u64 = 50;
const HOT: u64 = 2;
const WRITES: u64 = 30_000;

fn chip() -> Geometry {
    geometry(256, BLOCK as u32, BLOCKS)
}

/// The data region.
fn data_erases(chip: &SimFlash) -> &[u32] {
    let layout = Layout::new(BLOCK as u32, BLOCKS).unwrap();
    &chip.erases()[layout.reserved as usize..]
}

/// The fewest and the most erases of a block.
fn extremes(erases: &[u32]) -> (u32, u32) {
    (*erases.iter().min().unwrap(), *erases.iter().max().unwrap())
}

fn spread(erases: &[u32]) -> u32 {
    let (min, max) = extremes(erases);
    max - min
}

/// The writes of the workload: where, and what.
fn hot_writes() -> impl Iterator<Item = (u64, Vec<u8>)> {
    let mut rng = SplitMix64::new(0x0077_6561_7221);
    (0..WRITES).map(move |_| {
        let offset = rng.below(HOT) * BLOCK + rng.below(BLOCK / 2);
        (offset, random_bytes(&mut rng, 64))
    })
}

/// Run the workload, mounting anew each `mount_each` writes. The chip after it; the spread is checked at every sync.
fn run_ours(policy: WearPolicy, mount_each: u64, bad: &[u32]) -> SimFlash {
    let mut flash = SimFlash::new(chip());
    bad.iter().for_each(|&block| flash.set_factory_bad(Block(block)));
    FormatPlan::new(&flash, true).and_then(|plan| plan.execute(&mut flash)).unwrap();
    let options = Mount { wear: policy, ..Mount::default() };
    let mut model = random_bytes(&mut SplitMix64::new(5), WRITTEN_ONCE * BLOCK);
    let mut volume = BlockVolume::mount(flash, &options).unwrap();
    volume.write(0, &model).unwrap();
    volume.sync().unwrap();
    let allowed = u64::from(policy.threshold) + policy.interval;
    for (n, (offset, data)) in (0..).zip(hot_writes()) {
        volume.write(offset, &data).unwrap();
        volume.sync().unwrap();
        model[offset as usize..][..data.len()].copy_from_slice(&data);
        let good: Vec<u32> = good_erases(volume.flash(), bad);
        assert!(
            u64::from(spread(&good)) <= allowed,
            "after {n} writes, {policy:?}, a mount each {mount_each}: {good:?}"
        );
        if n % mount_each == mount_each - 1 {
            volume = BlockVolume::mount(volume.into_flash(), &options).unwrap();
        }
    }
    assert!(read_all(&volume) == model, "levelling moved the data, and did not change it");
    volume.into_flash()
}

fn good_erases(chip: &SimFlash, bad: &[u32]) -> Vec<u32> {
    let first = BLOCKS - data_erases(chip).len() as u32;
    let good = (first..).zip(data_erases(chip)).filter(|(block, _)| !bad.contains(block));
    good.map(|(_, &erases)| erases).collect()
}

/// That every block took its share, also those that were written once.
fn assert_levelled(chip: &SimFlash, policy: WearPolicy, bad: &[u32]) {
    let good = good_erases(chip, bad);
    let (min, max) = extremes(&good);
    let mean = good.iter().sum::<u32>() / good.len() as u32;
    let slack = policy.threshold + policy.interval as u32;
    assert!(min + slack >= mean && min > mean / 2, "from {min} to {max} erases, {mean} on average: {good:?}");
}

const POLICIES: [WearPolicy; 3] = [
    WearPolicy { interval: 256, threshold: 100 },
    WearPolicy { interval: 64, threshold: 16 },
    WearPolicy { interval: 10, threshold: 1 },
];

#[test]
fn the_spread_is_bounded_at_every_sync() {
    for policy in POLICIES {
        let chip = run_ours(policy, u64::MAX, &[]);
        println!("{policy:?}: {:?} erases a block", extremes(data_erases(&chip)));
        assert_levelled(&chip, policy, &[]);
    }
}

#[test]
fn the_spread_is_bounded_over_processes_of_a_few_erases() {
    for (policy, mount_each) in POLICIES.into_iter().zip([3, 1, 7]) {
        let chip = run_ours(policy, mount_each, &[]);
        println!("{policy:?}, a mount each {mount_each}: {:?} erases a block", extremes(data_erases(&chip)));
        assert_levelled(&chip, policy, &[]);
    }
}

#[test]
fn the_spread_is_bounded_among_the_good_blocks() {
    let bad = [7, 20, 63];
    let chip = run_ours(POLICIES[1], 5, &bad);
    assert_levelled(&chip, POLICIES[1], &bad);
    assert!(bad.iter().all(|&block| chip.erases()[block as usize] == 0));
}

/// The workload on shodh-redb, in one mount and with its own policy, which is also our default.
fn run_theirs() -> SimFlash {
    let chip = Chip::new(SimFlash::new(chip()));
    let backend = format_theirs(&chip, BadBlocks::Fail);
    let mut model = random_bytes(&mut SplitMix64::new(5), WRITTEN_ONCE * BLOCK);
    backend.set_len(WRITTEN_ONCE * BLOCK).unwrap();
    for (offset, block) in (0..).step_by(BLOCK as usize).zip(model.chunks(BLOCK as usize)) {
        backend.write(offset, block).unwrap();
    }
    for (offset, data) in hot_writes() {
        backend.write(offset, &data).unwrap();
        model[offset as usize..][..data.len()].copy_from_slice(&data);
    }
    assert!(content_of_theirs(&backend) == model, "the comparison is of two that work");
    let board = chip.board();
    board.flash.inner().clone()
}

#[test]
fn cold_data_moves_as_it_does_not_in_shodh_redb() {
    let ours = run_ours(WearPolicy::default(), u64::MAX, &[]);
    let theirs = run_theirs();
    for (name, chip) in [("nandimg", &ours), ("shodh-redb", &theirs)] {
        let erases = data_erases(chip);
        let (min, max) = extremes(erases);
        let idle = erases.iter().filter(|&&n| n <= 1).count();
        println!(
            "{name}: {min} to {max} erases a data block, {idle} of {} blocks erased at most once",
            erases.len()
        );
    }
    assert!(extremes(data_erases(&ours)).0 > WRITES as u32 / BLOCKS / 2, "cold blocks take their share");
    assert!(extremes(data_erases(&theirs)).0 <= 1, "a crate that moves cold data is no comparison any more");
    assert!(spread(data_erases(&ours)) * 5 < spread(data_erases(&theirs)));
}
