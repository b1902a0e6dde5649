//! A block-mapped volume made where a page-mapped one is: wherever the power goes, and once more, one of the two is there, with
//! every erase counted.

#![forbid(unsafe_code)]

#[path = "support/paged.rs"]
mod paged;

use nandimg::Result;
use nandimg::flash::faults::{Cut, LatentFault};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, Geometry, Operation};
use nandimg::ftl::any::{AnyFormatPlan, AnyVolume, FormatOptions, MountOptions};
use nandimg::ftl::page::{Mount, holds_an_anchor};
use nandimg::ftl::{Mapping, Volume};

use paged::{Chip, Replay, Used, content, deep_or, geometry, used};

/// Slots of one block and of two, anchor zones of four blocks and of eight.
fn geometries() -> [Geometry; 3] {
    [geometry(256, 8, 64), geometry(256, 16, 260), geometry(256, 8, 300)]
}

const CUTS: [Cut; 6] = [Cut::NotDone, Cut::Done, Cut::Prefix, Cut::Garbage, Cut::Unreadable, Cut::Reordered];

fn format(chip: &mut Chip) -> Result<()> {
    let plan = AnyFormatPlan::new(chip, Mapping::Block, &FormatOptions::default())?;
    assert!(plan.carries_wear_over());
    plan.execute(chip).map(drop)
}

fn mount(chip: &mut Chip) -> AnyVolume<&mut Chip> {
    let mapping = Mapping::detect(chip).expect("a chip in RAM reads");
    AnyVolume::mount(chip, mapping, &MountOptions::default()).expect("one of the two mounts")
}

/// That one of the two volumes is there, whole, and that it counts every erase; which one.
fn check(chip: &mut Chip, old: &[u8]) -> Mapping {
    let blocks = chip.geometry().blocks();
    let done: Vec<u32> = chip.inner().erases().to_vec();
    let done = (0..blocks).map(|block| done[block as usize] - chip.undone_erases(Block(block)));
    let done: Vec<u32> = done.collect();
    let mut volume = mount(chip);
    match &volume {
        AnyVolume::Page(volume) => assert!(content(volume) == old, "the old volume is whole"),
        AnyVolume::Block(volume) => assert_eq!(volume.len(), 0),
    }
    if volume.mapping() == Mapping::Page {
        // What it does first is to count.
        volume.write(0, &old[..1]).and_then(|()| volume.sync()).expect("the old volume is written");
    }
    let counted = volume.erase_counts();
    let behind = counted.iter().zip(&done).position(|(counted, done)| counted < done);
    assert_eq!(behind, None, "{counted:?} are counted, and {done:?} were done");
    volume.mapping()
}

/// Cut a format of `chip` at operation `n`, if it has as many.
fn cut_format(chip: &mut Chip, n: u64, cut: Cut) -> bool {
    chip.cut_power_after(n, cut);
    let done = format(chip);
    let was_cut = chip.is_off();
    assert!(was_cut || done.is_ok(), "{done:?}");
    chip.restore_power();
    was_cut
}

#[test]
fn the_power_may_go_and_go_again() {
    let mut seen = [0u32; 2];
    let mut second = 0;
    for geometry in geometries() {
        for ended in [true, false] {
            let Used { chip: prepared, content: old, .. } = used(geometry, 3, 20, ended, &Mount::default());
            for (kind, cut) in CUTS.into_iter().enumerate() {
                for n in 0.. {
                    let _replay = Replay(format!("{geometry:?}, ended {ended}, {cut:?} at {n}"));
                    let mut chip = prepared.clone();
                    if !cut_format(&mut chip, n, cut) {
                        break;
                    }
                    let step = deep_or(1, 31) as usize;
                    for (again, cut) in
                        (0..).zip(CUTS.into_iter().cycle().skip(kind)).skip(n as usize % step).step_by(step)
                    {
                        let mut chip = chip.clone();
                        if Mapping::detect(&chip).unwrap() == Mapping::Block
                            || !cut_format(&mut chip, again, cut)
                        {
                            break;
                        }
                        second += 1;
                        check(&mut chip, &old);
                    }
                    let mut whole = chip.clone();
                    seen[usize::from(check(&mut whole, &old) == Mapping::Block)] += 1;
                    format(&mut chip).expect("it is formatted after the cut");
                    assert_eq!(check(&mut chip, &old), Mapping::Block);
                }
            }
        }
    }
    println!("{seen:?} first cuts left the old volume and the new one; {second} second ones");
    assert!(seen.iter().all(|&n| n > 20) && second > 5000, "{seen:?}, {second}");
}

/// Bad blocks go along, and anchors make way wherever they are.
#[test]
fn what_is_known_of_the_blocks_goes_along() {
    for geometry in geometries() {
        for sessions in 0..40 {
            let Used { mut chip, content: old, .. } =
                used(geometry, sessions, sessions as u32 % 7, true, &Mount::default());
            chip.mark_bad(Block(20)).unwrap();
            let mut volume = mount(&mut chip);
            volume.write(0, &old).and_then(|()| volume.end()).unwrap();
            let before = volume.erase_counts().to_vec();
            drop(volume);
            format(&mut chip).unwrap();
            let volume = mount(&mut chip);
            assert_eq!((volume.mapping(), volume.bad_blocks()), (Mapping::Block, vec![Block(20)]));
            assert!(volume.erase_counts().iter().zip(&before).all(|(after, before)| after >= before));
            assert!(volume.erase_counts().iter().zip(&before).all(|(after, before)| after - before < 8));
            drop(volume);
            assert_eq!(check(&mut chip, &old), Mapping::Block);
        }
    }
}

/// A block of the zone that fails under the anchor that makes way takes nothing along.
#[test]
fn a_block_of_the_zone_may_fail() {
    for geometry in geometries() {
        for block in 2..4 {
            for (on, after) in [(Operation::Erase, 0), (Operation::Program, 0)] {
                let Used { mut chip, content: old, .. } = used(geometry, 1, 5, true, &Mount::default());
                chip.latent_mut().add(LatentFault { block, on, after });
                let done = format(&mut chip);
                let mapping = check(&mut chip, &old);
                assert_eq!(done.is_ok(), mapping == Mapping::Block, "{done:?}");
            }
        }
    }
}

/// An anchor in a bad block stays, and would be found before the new volume.
#[test]
fn a_bad_block_with_an_anchor_is_in_the_way() {
    // A recovery puts its anchor into other blocks.
    let Used { mut chip, content: old, .. } = used(geometry(256, 8, 64), 1, 20, false, &Mount::default());
    let mut volume = mount(&mut chip);
    volume.write(0, &old).and_then(|()| volume.end()).unwrap();
    drop(volume);
    let block = (2..4).map(Block).find(|&block| holds_an_anchor(&chip, block).unwrap()).unwrap();
    for also_bad in [vec![block], Vec::new()] {
        if also_bad.is_empty() {
            chip.mark_bad(block).unwrap();
        }
        for reset_wear in [false, true] {
            let options = FormatOptions { also_bad: also_bad.clone(), reset_wear, ..Default::default() };
            let error = AnyFormatPlan::new(&chip, Mapping::Block, &options).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("holds an anchor"), "{error}");
        }
    }
    assert_eq!(check(&mut chip, &old), Mapping::Page);
}

/// Bad blocks are known by the volume's table alone where they took no mark, and go along with the erase counts or without.
#[test]
fn bad_blocks_go_along_without_the_erase_counts() {
    for reset_wear in [false, true] {
        let Used { mut chip, content: old, .. } = used(geometry(256, 8, 64), 1, 20, true, &Mount::default());
        // No more than were reserved for that: the volume stays writable.
        chip.latent_mut().add(LatentFault { block: 30, on: Operation::Erase, after: 0 });
        let mut volume = mount(&mut chip);
        for _ in 0..12 {
            volume.write(0, &old).and_then(|()| volume.sync()).unwrap();
        }
        let bad = volume.bad_blocks();
        assert!(!bad.is_empty());
        volume.end().unwrap();
        drop(volume);
        // Its marks are lost.
        let chip = SimFlash::from_data(*chip.geometry(), chip.inner().data());
        let plan =
            AnyFormatPlan::new(&chip, Mapping::Block, &FormatOptions { reset_wear, ..Default::default() });
        assert_eq!(plan.unwrap().bad_blocks(), bad);
    }
}

/// Pages of a volume that another was put over are never those of a later one: its id is its own.
#[test]
fn a_volume_made_after_a_block_mapped_one_has_an_id_of_its_own() {
    let Used { mut chip, .. } = used(geometry(256, 8, 64), 3, 60, true, &Mount::default());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let AnyVolume::Page(volume) = mount(&mut chip) else { panic!("it is page-mapped") };
        ids.push(volume.id());
        format(&mut chip).expect("the chip works");
        let plan = AnyFormatPlan::new(&chip, Mapping::Page, &FormatOptions::default()).expect("a plan");
        plan.execute(&mut chip).expect("the chip works");
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:x?}");
}
