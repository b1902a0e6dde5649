//! An image whose pages have ECC: what flips is corrected, what cannot be is named, and nothing above the chip notices.
#![cfg(feature = "std")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use nandimg::Error;
use nandimg::check::any::check;
use nandimg::flash::corrections::Corrections;
use nandimg::flash::file_io::{Access, LockedFile};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, PageAddr};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::{AnyFormatPlan, AnyVolume, Mapping, MountOptions, Volume};
use nandimg::layout::Layout;
use nandimg::prng::SplitMix64;

const BLOCKS: u32 = 48;

/// Layouts of different kinds, and the pages that have them: whole bytes and bits, with data in front and not.
const CASES: [(&str, u32, u32); 5] = [
    ("linux-bch4", 2048, 64),
    ("linux-hamming", 512, 16),
    ("linux-bch8", 4096, 128),
    ("am335x-bch8", 2048, 64),
    ("gpmi-bch8", 2048, 64),
];

struct Specimen {
    _dir: tempfile::TempDir,
    path: PathBuf,
    geometry: Geometry,
    layout: Layout,
    mapping: Mapping,
    content: Vec<u8>,
}

impl Specimen {
    fn geometry(page: u32, spare: u32) -> Geometry {
        Geometry::new(page, spare, 16 * page, BLOCKS).unwrap()
    }

    /// An image that is filled to the last byte.
    fn filled((name, page, spare): (&str, u32, u32), mapping: Mapping) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chip.img");
        let geometry = Self::geometry(page, spare);
        fs::write(&path, vec![0xFF; geometry.raw_size() as usize]).unwrap();
        let layout = Layout::preset(name, page, spare).unwrap();
        let mut specimen = Self { _dir: dir, path, geometry, layout, mapping, content: Vec::new() };
        let mut flash = specimen.open();
        let plan = AnyFormatPlan::new(&flash, mapping, &FormatOptions::default()).unwrap();
        plan.execute(&mut flash).unwrap();
        let mut volume = AnyVolume::mount(flash, mapping, &MountOptions::default()).unwrap();
        specimen.content = vec![0; volume.capacity() as usize];
        SplitMix64::new(1).fill(&mut specimen.content);
        volume.write(0, &specimen.content).unwrap();
        volume.end().unwrap();
        specimen
    }

    fn open(&self) -> ImageFile {
        let file = LockedFile::open(&self.path, Access::ReadWrite).unwrap();
        ImageFile::with_layout(file, self.geometry, Some(&self.layout), 0, ChipState::default()).unwrap()
    }

    fn mount(&self) -> AnyVolume<ImageFile> {
        AnyVolume::mount(self.open(), self.mapping, &MountOptions::read_only()).unwrap()
    }

    fn pages(&self) -> u64 {
        u64::from(BLOCKS * self.geometry.pages_per_block())
    }

    /// Flip so many bits in every step of every page; how many that were.
    fn flip_everywhere(&self, flips: u32) -> u64 {
        let mut image = fs::read(&self.path).unwrap();
        let mut rng = SplitMix64::new(2);
        let mut flipped = 0;
        for raw in image.chunks_exact_mut(self.layout.raw_page_size()) {
            for step in self.layout.steps() {
                flipped += flip(raw, step, flips, &mut rng);
            }
        }
        fs::write(&self.path, image).unwrap();
        flipped
    }
}

/// Flip so many of the bits of a step.
fn flip(raw: &mut [u8], step: &nandimg::layout::Step, flips: u32, rng: &mut SplitMix64) -> u64 {
    let bits = step.bits();
    let mut chosen: Vec<u64> = Vec::new();
    while chosen.len() < flips as usize {
        let n = rng.below(bits);
        if !chosen.contains(&n) {
            chosen.push(n);
            let bit = step.code_bit(n).unwrap();
            raw[bit as usize / 8] ^= 1 << (bit % 8);
        }
    }
    u64::from(flips)
}

fn read_all<V: Volume>(volume: &V) -> Vec<u8> {
    let mut content = vec![0; volume.len() as usize];
    volume.read(0, &mut content).unwrap();
    content
}

/// Read every page of the chip; those that could not be.
fn scan(flash: &ImageFile) -> Vec<PageAddr> {
    let geometry = *flash.geometry();
    let mut data = vec![0; geometry.page_size() as usize];
    let mut lost = Vec::new();
    for at in geometry.iter_blocks().flat_map(|block| geometry.iter_pages(block).collect::<Vec<_>>()) {
        match flash.read(at.block, at.page * geometry.page_size(), &mut data) {
            Ok(()) => {}
            Err(FlashError::Unreadable { at, .. }) => lost.push(at),
            Err(error) => panic!("{error}"),
        }
    }
    lost
}

#[test]
fn flips_in_every_step_of_every_page_are_corrected() {
    for case in CASES {
        for mapping in [Mapping::Page, Mapping::Block] {
            let specimen = Specimen::filled(case, mapping);
            assert_eq!(specimen.open().corrections().corrected_pages, 0);
            let flipped = specimen.flip_everywhere(specimen.layout.strength());
            let volume = specimen.mount();
            assert_eq!((volume.fallback(), volume.warnings().len()), (None, 0), "{case:?}");
            assert!(read_all(&volume) == specimen.content, "{case:?}, {mapping:?}");
            drop(volume);

            let flash = specimen.open();
            let before = fs::read(&specimen.path).unwrap();
            let checked = check(&flash, mapping, &mut |_, _| {}).unwrap();
            assert_eq!(checked.findings, [], "{case:?}, {mapping:?}");
            assert_eq!(scan(&flash), []);
            let Corrections { corrected_pages, corrected_bits, uncorrectable_pages, places, .. } =
                flash.corrections();
            assert_eq!((corrected_pages, uncorrectable_pages), (specimen.pages(), 0), "{case:?}");
            assert_eq!(corrected_bits, flipped, "{case:?}");
            assert!(places.values().all(|page| page.most_in_a_step == specimen.layout.strength()));
            assert!(fs::read(&specimen.path).unwrap() == before, "looking changed the image");
        }
    }
}

#[test]
fn a_page_with_too_many_flips_is_named() {
    for case in CASES {
        for mapping in [Mapping::Page, Mapping::Block] {
            let specimen = Specimen::filled(case, mapping);
            // The first data page that a read of the volume comes to.
            let mut image = fs::read(&specimen.path).unwrap();
            let raw = specimen.layout.raw_page_size();
            let flash = specimen.open();
            let page_size = specimen.geometry.page_size() as usize;
            let first = &specimen.content[..page_size];
            let mut data = vec![0; page_size];
            let is_first = |at: &PageAddr| {
                flash.read(at.block, at.page * page_size as u32, &mut data).unwrap();
                data == first
            };
            let pages = (0..BLOCKS).map(Block).flat_map(|b| specimen.geometry.iter_pages(b));
            let at = pages.collect::<Vec<_>>().into_iter().find(is_first).unwrap();
            drop(flash);
            let start = specimen.geometry.raw_offset(at) as usize;
            let step = specimen.layout.steps().last().unwrap();
            let mut rng = SplitMix64::new(3);
            flip(&mut image[start..start + raw], step, 2 * specimen.layout.strength(), &mut rng);
            fs::write(&specimen.path, &image).unwrap();

            let volume = specimen.mount();
            let mut byte = [0];
            match volume.read(0, &mut byte).unwrap_err() {
                Error::Unreadable { at: Some(found), .. } => assert_eq!(found, at, "{case:?}"),
                error => panic!("{case:?}: {error}"),
            }
            let mut rest = vec![0; specimen.content.len() - page_size];
            volume.read(page_size as u64, &mut rest).unwrap();
            assert!(rest == specimen.content[page_size..], "{case:?}");
            drop(volume);
            let flash = specimen.open();
            let checked = check(&flash, mapping, &mut |_, _| {}).unwrap();
            let named =
                checked.findings.iter().any(|f| (f.block, f.page) == (Some(at.block.0), Some(at.page)));
            assert!(named && !checked.is_clean(), "{case:?}, {mapping:?}: {:?}", checked.findings);
            assert_eq!(flash.corrections().uncorrectable_pages, 1);
            assert_eq!(flash.corrections().places[&at].uncorrectable_steps, 1);
        }
    }
}

#[test]
fn what_is_programmed_has_its_ecc_and_the_rest_of_the_spare_area_is_left_alone() {
    let specimen = Specimen::filled(CASES[0], Mapping::Page);
    let codec = nandimg::layout::PageCodec::new(&specimen.layout);
    let image = fs::read(&specimen.path).unwrap();
    let mut programmed = 0;
    for raw in image.chunks_exact(specimen.layout.raw_page_size()) {
        let mut again = vec![0xFF; raw.len()];
        codec.encode(&raw[..2048], &mut again);
        assert!(again == raw);
        programmed += u64::from(raw[2048..].iter().any(|&byte| byte != 0xFF));
    }
    assert!(programmed > specimen.pages() / 2);
}

#[test]
fn a_mark_is_set_beside_the_ecc() {
    let specimen = Specimen::filled(CASES[0], Mapping::Page);
    let mut flash = specimen.open();
    assert!(flash.carries_marks());
    flash.mark_bad(Block(20)).unwrap();
    flash.sync().unwrap();
    assert_eq!(scan(&flash), []);
    drop(flash);
    assert!(specimen.open().is_bad(Block(20)).unwrap());
    assert!(read_all(&specimen.mount()) == specimen.content);
}

/// A controller that has data where the mark would be leaves none to be told.
#[test]
fn data_is_not_taken_for_a_mark() {
    let specimen = Specimen::filled(("adjacent", 2048, 64), Mapping::Page);
    let flash = specimen.open();
    assert!(!flash.carries_marks());
    assert!((0..BLOCKS).all(|block| !flash.is_bad(Block(block)).unwrap()));
}

#[test]
fn a_layout_for_other_pages_is_refused() {
    let specimen = Specimen::filled(CASES[0], Mapping::Page);
    let other = Layout::preset("linux-bch4", 2048, 128).unwrap();
    let file = LockedFile::open(Path::new(&specimen.path), Access::ReadOnly).unwrap();
    let refused = ImageFile::with_layout(file, specimen.geometry, Some(&other), 0, ChipState::default());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("2048+128") && error.contains("2048+64"), "{error}");
}
