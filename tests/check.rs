//! The check itself: that it cannot be fooled by a host that fails, nor drowned in findings.
#![forbid(unsafe_code)]

use nandimg::check::{Severity, block};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::block::{BlockVolume, FormatPlan, Mount};
use nandimg::onflash::ftlj::{Metadata, UNMAPPED};

fn volume(block_size: u32, blocks: u32, content: &[u8]) -> SimFlash {
    let mut chip = SimFlash::new(Geometry::new(64, 0, block_size, blocks).unwrap());
    FormatPlan::new(&chip, true).unwrap().execute(&mut chip).unwrap();
    let mut volume = BlockVolume::mount(chip, &Mount::default()).unwrap();
    volume.write(0, content).unwrap();
    volume.close().unwrap()
}

/// A chip in a file on a disk that fails under one block.
struct FailingDisk {
    chip: SimFlash,
    block: Block,
}

impl FlashHardware for FailingDisk {
    fn geometry(&self) -> &Geometry {
        self.chip.geometry()
    }
    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        match block == self.block {
            true => Err(FlashError::Io("the disk fails".into())),
            false => self.chip.read(block, offset, buf),
        }
    }
    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        self.chip.program(page, data)
    }
    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        self.chip.erase(block)
    }
    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        self.chip.is_bad(block)
    }
    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        self.chip.mark_bad(block)
    }
    fn carries_marks(&self) -> bool {
        self.chip.carries_marks()
    }
    fn sync(&mut self) -> Result<(), FlashError> {
        self.chip.sync()
    }
}

#[test]
fn a_disk_that_fails_is_an_error_and_no_clean_bill() {
    let chip = volume(256, 16, &[7; 600]);
    let mapped = BlockVolume::mount(chip.clone(), &Mount::default()).unwrap().map()[1].block().unwrap();
    let disk = FailingDisk { chip, block: mapped };
    let failed = block::check(&disk, &mut |_, _| {});
    assert_eq!(failed.map(drop), Err(FlashError::Io("the disk fails".into()).into()));
}

#[test]
fn findings_without_number_are_counted_and_not_listed() {
    let mut chip = volume(1 << 20, 8, &[7; 600]);
    let (slot, _, sequence) = {
        let volume = BlockVolume::mount(chip.clone(), &Mount::default()).unwrap();
        (volume.current().0.first_block(volume.layout()), (), volume.current().1)
    };
    let mut map = vec![77; 200_000];
    map[5] = UNMAPPED;
    let forged = Metadata { logical_len: 10, map, erase_counts: vec![0; 8], bad_table: vec![0] };
    let entry = forged.encode(sequence);
    chip.data_mut()[slot.index() << 20..][..entry.len()].copy_from_slice(&entry);
    let checked = block::check(&chip, &mut |_, _| {}).unwrap();
    assert!(checked.findings.len() < 1100, "{} findings", checked.findings.len());
    let more = checked.findings.iter().find(|f| f.message.contains("more of the same")).unwrap();
    assert_eq!((more.code, more.severity), ("map-out-of-range", Severity::Error));
    assert!(more.message.contains("198999"), "{}", more.message);
}

#[test]
fn a_repair_of_more_blocks_than_are_listed_mends_them_all() {
    let mut chip = volume(64, 6000, &[7; 600]);
    for block in (2000..5000).map(Block) {
        chip.set_factory_bad(block);
    }
    let found = block::check(&chip, &mut |_, _| {}).unwrap();
    assert!(found.findings.len() < 1100 && found.is_clean());
    let mended = block::repair(&mut chip, &found, &mut |_, _| {}).unwrap();
    assert!(mended.findings.iter().all(|f| f.repaired), "{:?}", mended.findings.last());
    assert_eq!(block::check(&chip, &mut |_, _| {}).unwrap().findings, []);
}
