//! Two blocks of a page-mapped volume are lost at once, or three: more than it is made to bear. It may be gone, or be as it was
//! before, but it says so, and what it gives for current is.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use std::collections::{BTreeMap, BTreeSet};

use nandimg::Error;
use nandimg::flash::faults::{LatentFault, Tearable};
use nandimg::flash::{Block, FlashHardware, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::page::{Mount, PageVolume};
use nandimg::onflash::paged::head::Kind;
use nandimg::prng::SplitMix64;

use paged::{Chip, Replay, bytes, formatted, geometry, metadata_pages, mount, used};

/// What has become of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    Zeroed,
    Garbage,
    Erased,
    Unreadable,
}

impl Lost {
    const ALL: [Self; 4] = [Self::Zeroed, Self::Garbage, Self::Erased, Self::Unreadable];

    fn apply(self, chip: &mut Chip, block: Block) {
        let size = chip.geometry().page_size() as usize;
        let page = match self {
            Self::Zeroed => vec![0; size],
            Self::Garbage => bytes(&mut SplitMix64::new(u64::from(block.0)), size as u64),
            Self::Erased => vec![0xFF; size],
            Self::Unreadable => {
                return chip.latent_mut().add(LatentFault { block: block.0, on: Operation::Read, after: 0 });
            }
        };
        for at in chip.geometry().iter_pages(block) {
            chip.inner_mut().overwrite(at, &page).unwrap();
        }
    }
}

/// What a volume is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Gone,
    Older,
    /// It is the newest state; of some pages it says that they cannot be read.
    Newest,
    /// What it gives is not what was acknowledged: it says that something is amiss, or not even that.
    WrongAndNotEnded,
    WrongWithAWord,
    Wrong,
    /// A repair of what was gone, or older, says that nothing is lost, and something is.
    WronglyMended,
}

/// Whether a repair says of what it makes what that is.
fn is_mended_rightly(mut chip: Chip, expected: &[u8]) -> bool {
    let repaired = paged::repair(&mut chip);
    let said = repaired.is_ok_and(|repaired| !repaired.is_clean());
    said || judge(chip, expected) <= Verdict::Newest
}

fn judge(chip: Chip, expected: &[u8]) -> Verdict {
    let volume = match PageVolume::mount(chip, &Mount::default()) {
        Ok(volume) => volume,
        Err(Error::Unmountable(_) | Error::NotFormatted(_)) => return Verdict::Gone,
        Err(error) => panic!("{error}"),
    };
    if volume.is_older_state() {
        return Verdict::Older;
    }
    let size = volume.layout().page_size as usize;
    let right = |(offset, page): (u64, &[u8])| {
        let mut found = vec![0; page.len()];
        match volume.read(offset, &mut found) {
            Ok(()) => found == page,
            Err(error) => matches!(error, Error::Unreadable { .. }),
        }
    };
    let all_right =
        volume.len() == expected.len() as u64 && (0..).step_by(size).zip(expected.chunks(size)).all(right);
    match (all_right, volume.fallback(), volume.ended_well()) {
        (true, ..) => Verdict::Newest,
        (false, Some(_), _) => Verdict::WrongWithAWord,
        (false, None, false) => Verdict::WrongAndNotEnded,
        (false, None, true) => Verdict::Wrong,
    }
}

type Seen = BTreeMap<(Lost, Verdict), u32>;

fn lose(chip: &Chip, blocks: &[Block], expected: &[u8], name: &str, seen: &mut Seen) {
    for lost in Lost::ALL {
        let _replay = Replay(format!("{name}: {blocks:?} {lost:?}"));
        let mut chip = chip.clone();
        blocks.iter().for_each(|&block| lost.apply(&mut chip, block));
        let mut verdict = judge(chip.clone(), expected);
        if verdict <= Verdict::Older && !is_mended_rightly(chip, expected) {
            verdict = Verdict::WronglyMended;
        }
        if verdict > Verdict::Newest {
            println!("{name}: {blocks:?} {lost:?}: {verdict:?}");
        }
        *seen.entry((lost, verdict)).or_default() += 1;
    }
}

fn lose_every_two(chip: &Chip, expected: &[u8], name: &str, seen: &mut Seen) {
    let blocks: Vec<Block> = chip.geometry().iter_blocks().collect();
    for (i, &a) in blocks.iter().enumerate() {
        blocks[i + 1..].iter().for_each(|&b| lose(chip, &[a, b], expected, name, seen));
    }
}

/// Both blocks that hold some metadata, and any other one.
fn lose_a_pair_and_one(chip: &Chip, expected: &[u8], name: &str, seen: &mut Seen) {
    let mut copies: BTreeMap<(Kind, u32, u64), BTreeSet<Block>> = BTreeMap::new();
    for (at, head) in metadata_pages(chip) {
        copies.entry((head.kind, head.epoch, head.number)).or_default().insert(at.block);
    }
    let pairs: BTreeSet<BTreeSet<Block>> = copies.into_values().filter(|blocks| blocks.len() == 2).collect();
    for pair in pairs {
        for other in chip.geometry().iter_blocks().filter(|block| !pair.contains(block)) {
            let blocks: Vec<Block> = pair.iter().copied().chain([other]).collect();
            lose(chip, &blocks, expected, name, seen);
        }
    }
}

/// Volumes with a few sessions, which end well or not, and used ones: the chip, what was acknowledged, and what it is.
fn each_volume(mut look: impl FnMut(&Chip, &[u8], &str)) {
    for geometry in [geometry(512, 8, 64), geometry(256, 8, 40)] {
        let mut volume = mount(formatted(geometry, &[]));
        let mut rng = SplitMix64::new(5);
        let mut expected = Vec::new();
        for session in 0..14 {
            if session > 0 {
                let length = 1 + rng.below(3000);
                let data = bytes(&mut rng, length);
                volume.write(0, &data).unwrap();
                if data.len() > expected.len() {
                    expected.resize(data.len(), 0);
                }
                expected[..data.len()].copy_from_slice(&data);
                volume.sync().unwrap();
                if session % 4 != 3 {
                    volume.end().unwrap();
                }
            }
            let chip = volume.into_flash();
            if session > 0 {
                look(&chip, &expected, &format!("session {session} of {geometry:?}"));
            }
            volume = mount(chip);
        }
    }
    for end in [true, false] {
        let used = used(geometry(256, 8, 64), 3, 60, end, &Mount::default());
        look(&used.chip, &used.content, &format!("used, {end}"));
    }
}

#[test]
fn what_a_lost_pair_and_one_more_leave_is_right_or_says_that_it_is_not() {
    let mut seen = BTreeMap::new();
    each_volume(|chip, expected, name| lose_a_pair_and_one(chip, expected, name, &mut seen));
    for lost in Lost::ALL {
        let count = |verdict| seen.get(&(lost, verdict)).copied().unwrap_or(0);
        assert!(count(Verdict::Gone) > 1000 && count(Verdict::Older) > 1000, "{seen:?}");
        assert_eq!((count(Verdict::Wrong), count(Verdict::WronglyMended)), (0, 0), "{seen:?}");
        // Two erased blocks look like a session that was cut short as it began.
        let amiss = count(Verdict::WrongAndNotEnded) + count(Verdict::WrongWithAWord);
        assert!(amiss <= 1 || lost == Lost::Erased, "{lost:?}: {seen:?}");
    }
}

#[test]
fn what_two_lost_blocks_leave_is_right_or_says_that_it_is_not() {
    let mut seen = BTreeMap::new();
    each_volume(|chip, expected, name| lose_every_two(chip, expected, name, &mut seen));
    let count = |verdict| Lost::ALL.map(|lost| seen.get(&(lost, verdict)).copied().unwrap_or(0));
    let (older, unsaid) = (count(Verdict::Older), count(Verdict::WrongAndNotEnded));
    assert!(older.iter().all(|&n| n >= 30), "older states, and none that nothing shows: {seen:?}");
    assert!(unsaid.iter().sum::<u32>() <= 11, "{seen:?}");
    for never in [Verdict::Wrong, Verdict::WrongWithAWord, Verdict::WronglyMended] {
        assert_eq!(count(never), [0; 4], "{seen:?}");
    }
}
