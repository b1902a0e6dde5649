//! Faults around a chip that no other test plans: everything failing from some operation on, and bits that flip.
#![forbid(unsafe_code)]

use nandimg::Error;
use nandimg::check::block;
use nandimg::flash::faults::Faulty;
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashError, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};

const CONTENT: [u8; 700] = [7; 700];

fn volume() -> Faulty<SimFlash> {
    let mut chip = Faulty::new(SimFlash::new(Geometry::new(64, 0, 256, 16).unwrap()));
    FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
    let mut volume = BlockVolume::mount(chip, &Mount::default()).unwrap();
    volume.write(0, &CONTENT).unwrap();
    volume.close().unwrap()
}

fn content(chip: &mut Faulty<SimFlash>) -> Vec<u8> {
    let volume = BlockVolume::mount(chip, &Mount { read_only: true, ..Mount::default() }).unwrap();
    let mut bytes = vec![0; volume.len() as usize];
    volume.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_chip_that_fails_from_some_operation_on_keeps_what_was_committed() {
    let (mut full, mut dead_slots, mut done) = (0, 0, 0);
    for n in 0..30 {
        let mut chip = volume();
        chip.fail_from(n);
        let mut volume = BlockVolume::mount(&mut chip, &Mount::default()).unwrap();
        match volume.write(0, &[8; 300]).and_then(|()| volume.sync()) {
            Err(Error::NoFreeBlock { .. }) => full += 1,
            Err(Error::ReadOnly(_)) => dead_slots += 1,
            other => {
                other.unwrap();
                done += 1;
            }
        }
        let mut expected = CONTENT.to_vec();
        if full + dead_slots < n + 1 {
            expected[..300].fill(8);
        }
        assert_eq!(content(&mut chip), expected, "failing from operation {n} on");
    }
    assert!(full > 0 && dead_slots > 0 && done > 0, "{full} full, {dead_slots} dead slots, {done} done");
}

#[test]
fn a_flipped_bit_is_where_it_was_asked_for() {
    let mut chip = volume();
    let (current, mapped) = {
        let volume = BlockVolume::mount(&mut chip, &Mount::default()).unwrap();
        (volume.current().0.first_block(volume.layout()), volume.map()[1].block().unwrap())
    };
    chip.flip(PageAddr { block: mapped, page: 2 }, 8 * 5 + 3).unwrap();
    let mut expected = CONTENT.to_vec();
    expected[256 + 2 * 64 + 5] ^= 1 << 3;
    assert_eq!(content(&mut chip), expected);
    chip.flip(PageAddr { block: current, page: 1 }, 0).unwrap();
    let found = block::check(&chip, &mut |_, _| {}).unwrap();
    assert_eq!(found.findings.iter().map(|f| f.code).collect::<Vec<_>>(), ["slot-corrupt"]);
}

#[test]
fn a_page_that_cannot_be_read_is_readable_once_it_was_erased() {
    let mut chip = volume();
    let mapped = {
        let volume = BlockVolume::mount(&mut chip, &Mount::default()).unwrap();
        volume.map()[1].block().unwrap()
    };
    let page = PageAddr { block: mapped, page: 3 };
    chip.set_unreadable(page);
    let mut bytes = [0; 256];
    let failed = chip.read(mapped, 0, &mut bytes);
    assert_eq!(failed, Err(FlashError::Unreadable { at: page, offset: chip.raw_offset(page) }));
    assert_eq!(chip.read(mapped, 0, &mut bytes[..192]), Ok(()));
    chip.erase(mapped).unwrap();
    assert_eq!(chip.read(mapped, 0, &mut bytes), Ok(()));
}
