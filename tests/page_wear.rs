//! A page-mapped volume that is full, and stays writable; and how evenly its blocks wear.
//!
//! Run with `--nocapture` to see numbers.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use nandimg::Error;
use nandimg::flash::faults::LatentFault;
use nandimg::flash::{Block, Geometry, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{DEFAULT_WEAR, Mount, PageVolume};
use nandimg::ftl::wear::WearPolicy;
use nandimg::prng::SplitMix64;

use paged::{
    Chip, Paged, Replay, assert_same, bytes, check_books, content, formatted, geometry, mount, overwrite,
};

/// Fill the volume up to its last byte.
fn fill(volume: &mut Paged, rng: &mut SplitMix64) -> Vec<u8> {
    let content = bytes(rng, volume.capacity());
    for (n, part) in content.chunks(5000).enumerate() {
        volume.write(n as u64 * 5000, part).unwrap();
    }
    volume.sync().unwrap();
    assert_eq!(volume.len(), volume.capacity());
    content
}

/// `count` blocks beyond the zone that fail one after the other, the last after `erases` erases.
fn plan_faults(chip: &mut Chip, geometry: Geometry, rng: &mut SplitMix64, count: u32, erases: u64) {
    let pages = u64::from(geometry.pages_per_block());
    for n in 0..u64::from(count) {
        let block = 8 + rng.below(u64::from(geometry.blocks()) - 8) as u32;
        let erases = n * erases / u64::from(count) + rng.below(2);
        let (on, after) = match rng.below(2) {
            0 => (Operation::Erase, erases),
            _ => (Operation::Program, erases * pages + rng.below(pages)),
        };
        chip.latent_mut().add(LatentFault { block, on, after });
    }
}

/// Fill a volume and overwrite pages at random while blocks fail; until it is read-only, if it comes to that.
fn full_volume(geometry: Geometry, seed: u64, factory: &[u32], failing: u32, writes: u32) {
    let _replay = Replay(format!("seed {seed} of {geometry:?}"));
    let mut rng = SplitMix64::new(seed);
    let mut chip = formatted(geometry, factory);
    let erases = if geometry.pages_per_block() < 64 { 14 } else { 3 };
    plan_faults(&mut chip, geometry, &mut rng, failing, erases);
    let mut volume = mount(chip);
    let reserve = volume.layout().reserve_blocks;
    let mut expected = fill(&mut volume, &mut rng);
    let mut done = 0;
    while done < writes {
        match overwrite(&mut volume, &mut expected, &mut rng, 100) {
            Ok(()) => done += 100,
            Err(Error::ReadOnly(reason)) => {
                let bad = volume.bad_blocks().len() as u32;
                assert!(bad > reserve, "{bad} bad blocks of {reserve}: {reason}");
                break;
            }
            Err(error) => panic!("{error}"),
        }
        if rng.below(10) == 0 {
            if rng.below(2) == 0 && volume.end().is_err() {
                break;
            }
            volume = mount(volume.into_flash());
            assert_same(&content(&volume), &expected, "after another mount");
        }
    }
    volume.rollback();
    assert_same(&content(&volume), &expected, "in the end");
    check_books(&volume);
    let bad = volume.bad_blocks().len() as u32;
    println!(
        "seed {seed}, {} blocks: {done} writes, {bad} bad, {reserve} in reserve, {:?}",
        geometry.blocks(),
        volume.read_only()
    );
    if failing > 2 * reserve {
        assert!(volume.read_only().is_some(), "{bad} bad blocks of {reserve}");
    }
    let volume = mount(volume.into_flash());
    assert_same(&content(&volume), &expected, "at the last mount");
}

#[test]
fn a_full_volume_of_small_pages_is_never_stuck() {
    for seed in 0..8 {
        full_volume(geometry(256, 8, 200), seed, &[], 14, 10_000);
    }
}

#[test]
fn a_full_volume_of_few_blocks_is_never_stuck() {
    for seed in 0..20 {
        full_volume(geometry(256, 8, 64), seed, &[], 3, 3_000);
        full_volume(geometry(512, 16, 80), seed, &[], 3, 3_000);
    }
}

#[test]
fn a_full_volume_like_that_of_a_real_chip_is_never_stuck() {
    full_volume(geometry(2048, 64, 256), 1, &[], 12, 10_000);
    full_volume(geometry(2048, 64, 256), 2, &[2, 50, 100, 200, 255], 1, 10_000);
}

#[test]
fn a_full_volume_without_a_fault_stays_writable() {
    full_volume(geometry(256, 8, 200), 3, &[3, 10, 60, 199], 0, 10_000);
    full_volume(geometry(256, 16, 300), 4, &[1, 10, 60, 199, 200, 201], 0, 10_000);
    full_volume(geometry(256, 8, 64), 5, &[9], 0, 10_000);
}

#[test]
fn a_volume_is_filled_again_and_again() {
    for geometry in
        [geometry(256, 8, 200), geometry(512, 16, 80), geometry(256, 8, 64), geometry(256, 16, 300)]
    {
        let mut rng = SplitMix64::new(9);
        let mut volume = mount(formatted(geometry, &[]));
        for round in 0..12 {
            let _replay = Replay(format!("round {round} of {geometry:?}"));
            let expected = fill(&mut volume, &mut rng);
            assert_same(&content(&volume), &expected, "filled");
            match round % 4 {
                0 => volume.set_len(0).unwrap(),
                1 => {
                    volume.set_len(0).unwrap();
                    volume.sync().unwrap();
                }
                2 => {
                    volume.discard(0, volume.len()).unwrap();
                    volume.end().unwrap();
                    volume = mount(volume.into_flash());
                    assert!(content(&volume).iter().all(|&byte| byte == 0));
                }
                _ => {
                    volume.set_len(100).unwrap();
                    volume.rollback();
                    assert_same(&content(&volume), &expected, "rolled back");
                }
            }
        }
        check_books(&volume);
    }
}

/// 88 % of what the chip holds, bad blocks and all.
#[test]
fn most_of_a_chip_is_filled_again_and_again_beside_20_bad_blocks() {
    let chip = geometry(2048, 64, 1024);
    let mut rng = SplitMix64::new(11);
    let bad: Vec<u32> = (0..20).map(|n| 7 + 50 * n).collect();
    let mut volume = mount(formatted(chip, &bad));
    let (capacity, raw) = (volume.capacity(), chip.raw_size());
    assert!(capacity * 100 >= raw * 88, "{capacity} of {raw}");
    for _ in 0..2 {
        let expected = fill(&mut volume, &mut rng);
        assert_same(&content(&volume), &expected, "filled");
        volume.end().unwrap();
        volume = mount(volume.into_flash());
    }
    assert_eq!((volume.read_only(), volume.bad_blocks().len()), (None, 20));
}

/// What is written and given up leaves as much room as there was.
#[test]
fn a_rollback_leaves_room() {
    for geometry in
        [geometry(256, 8, 200), geometry(512, 16, 80), geometry(256, 8, 64), geometry(256, 16, 300)]
    {
        let mut rng = SplitMix64::new(10);
        let mut volume = mount(formatted(geometry, &[]));
        let expected = bytes(&mut rng, volume.capacity() / 2);
        volume.write(0, &expected).unwrap();
        volume.sync().unwrap();
        for round in 0..20 {
            let _replay = Replay(format!("round {round} of {geometry:?}"));
            let rest = volume.capacity() - volume.len();
            let data = bytes(&mut rng, rest);
            volume.write(expected.len() as u64, &data).unwrap();
            volume.rollback();
            assert_eq!(volume.commits(), 1, "it fits");
            assert_same(&content(&volume), &expected, "rolled back");
        }
    }
}

/// Blocks beyond the zone that are good.
fn levelled<'a>(volume: &Paged, counts: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    let (zone, bad) = (volume.layout().zone_blocks, volume.bad_blocks());
    let good =
        counts.iter().zip(0..).filter(move |&(_, block)| block >= zone && !bad.contains(&Block(block)));
    good.map(|(&count, _)| count)
}

fn spread(volume: &Paged) -> u32 {
    let counts = volume.flash().inner().erases().to_vec();
    let most = levelled(volume, &counts).max().unwrap();
    most - levelled(volume, &counts).min().unwrap()
}

/// Write the last fifth of a volume that is full to `percent`, again and again; the largest spread after any sync.
fn wear_out(geometry: Geometry, percent: u64, wear: WearPolicy, writes: u32, hot: u64) -> (u32, Paged) {
    let mut rng = SplitMix64::new(77);
    let options = Mount { wear: Some(wear), ..Mount::default() };
    let mut volume = PageVolume::mount(formatted(geometry, &[]), &options).unwrap();
    let page = u64::from(volume.layout().page_size);
    let mut expected = bytes(&mut rng, volume.capacity() * percent / 100);
    volume.write(0, &expected).unwrap();
    volume.sync().unwrap();
    let pages = expected.len() as u64 / page;
    let first = pages - pages / hot;
    let mut worst = 0;
    for n in 0..writes {
        let offset = (first + rng.below(pages - first)) * page;
        let data = bytes(&mut rng, page);
        volume.write(offset, &data).unwrap();
        expected[offset as usize..][..data.len()].copy_from_slice(&data);
        if n % 3 == 0 {
            volume.sync().unwrap();
            worst = worst.max(spread(&volume));
        }
        if n % 5000 == 4999 {
            volume.end().unwrap();
            volume = PageVolume::mount(volume.into_flash(), &options).unwrap();
        }
    }
    volume.sync().unwrap();
    assert_same(&content(&volume), &expected, "what was moved is the same");
    (worst, volume)
}

#[test]
fn what_is_never_rewritten_takes_its_share_of_the_wear() {
    for geometry in
        [geometry(256, 8, 64), geometry(256, 8, 200), geometry(256, 16, 300), geometry(512, 64, 64)]
    {
        for (percent, hot) in [(80, 5), (100, 5), (80, 50)] {
            for wear in [DEFAULT_WEAR, WearPolicy { interval: 64, threshold: 20 }] {
                let (worst, volume) = wear_out(geometry, percent, wear, 30_000, hot);
                let allowed = u64::from(wear.threshold) + wear.interval;
                let (_replay, in_the_end) = (Replay(format!("{geometry:?}, {wear:?}")), spread(&volume));
                println!(
                    "{} blocks, {percent} % full, 1/{hot} hot, {wear:?}: {worst}, then {in_the_end}",
                    geometry.blocks()
                );
                assert!(u64::from(worst) <= allowed, "a spread of {worst}, and {allowed} is allowed");
            }
        }
    }
}

/// Counts are those of the chip, but for blocks of which the log says already that they will be erased, and for one more each
/// time that a session cannot tell whether the one before it had begun to.
#[test]
fn erases_are_counted() {
    for geometry in [geometry(256, 8, 64), geometry(256, 8, 200), geometry(256, 16, 300)] {
        let mut rng = SplitMix64::new(12);
        let mut volume = mount(formatted(geometry, &[]));
        let mut expected = fill(&mut volume, &mut rng);
        for round in 0..60 {
            let _replay = Replay(format!("round {round} of {geometry:?}"));
            overwrite(&mut volume, &mut expected, &mut rng, 1 + round * 5).unwrap();
            volume.end().unwrap();
            let real = volume.flash().inner().erases().to_vec();
            let pairs = volume.erase_counts().iter().zip(&real);
            let over: Vec<u32> = pairs.map(|(counted, real)| counted.checked_sub(*real).unwrap()).collect();
            let zone = &over[..volume.layout().zone_blocks as usize];
            assert!(zone.iter().all(|&over| over == 0), "those of the zone are exact: {zone:?}");
            assert!(over.iter().all(|&over| over <= 3), "{over:?}");
            assert!(over.iter().sum::<u32>() <= 40, "{over:?}");
            volume = mount(volume.into_flash());
        }
    }
}
