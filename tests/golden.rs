//! Images of the page-mapped format that are read for ever, whatever the engine makes of the same steps today.
//!
//! `cargo test --test golden -- --ignored` makes those of [`CASES`] that are not in `testdata/page-mapped`; it never
//! overwrites one.
#![cfg(feature = "std")]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::faults::{LatentFault, LatentFaults};
use nandimg::flash::file_io::LockedFile;
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{Block, FlashHardware, Geometry, Operation};
use nandimg::ftl::Volume;
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
use nandimg::prng::SplitMix64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image that is kept, and how it was made.
struct Case {
    name: &'static str,
    how: &'static str,
    spare_size: u32,
    page_size: u32,
    steps: fn(ImageFile) -> ImageFile,
}

const CASES: [Case; 6] = [
    Case {
        name: "fresh",
        how: "formatted, nothing written",
        spare_size: 0,
        page_size: 256,
        steps: formatted,
    },
    Case {
        name: "sessions",
        how: "formatted; five sessions of random writes, discards and new lengths, each ended well",
        spare_size: 0,
        page_size: 256,
        steps: |chip| (0..5).fold(formatted(chip), |chip, seed| session(chip, seed).close().unwrap()),
    },
    Case {
        name: "killed",
        how: "formatted; two sessions ended well, and one that was killed after a sync and some writes more",
        spare_size: 0,
        page_size: 256,
        steps: |chip| {
            let chip = (10..12).fold(formatted(chip), |chip, seed| session(chip, seed).close().unwrap());
            let mut volume = session(chip, 12);
            volume.write(100, &[0xAB; 3000]).unwrap();
            volume.into_flash()
        },
    },
    Case {
        name: "bad-blocks",
        how: "block 9 marked bad, formatted; three sessions ended well, in which block 30 failed at its third program",
        spare_size: 16,
        page_size: 512,
        steps: |mut chip| {
            chip.mark_bad(Block(9)).unwrap();
            let mut chip = formatted(chip);
            let fault = LatentFault { block: 30, on: Operation::Program, after: 2 };
            chip.set_latent_faults(LatentFaults::new(vec![fault]));
            (20..23).fold(chip, |chip, seed| session(chip, seed).close().unwrap())
        },
    },
    Case {
        name: "witness",
        how: "formatted; the next session begins in blocks that had never been used",
        spare_size: 0,
        page_size: 512,
        steps: formatted,
    },
    Case {
        name: "recovered",
        how: "formatted; two sessions ended well, one that was killed, one that recovered from that and was killed as well",
        spare_size: 0,
        page_size: 256,
        steps: |chip| {
            let chip = (30..32).fold(formatted(chip), |chip, seed| session(chip, seed).close().unwrap());
            let scattered = |chip| {
                let mut volume = mount(chip);
                for offset in [0, 9_000, 18_000, 27_000] {
                    volume.write(offset, b"killed").unwrap();
                    volume.sync().unwrap();
                }
                volume
            };
            let volume = scattered(scattered(chip).into_flash());
            // Its checkpoint did not write the map again.
            assert!(volume.anchor().snapshot_pages > 0);
            volume.into_flash()
        },
    },
];

fn formatted(mut chip: ImageFile) -> ImageFile {
    FormatPlan::new(&chip, &FormatOptions::default()).unwrap().execute(&mut chip).unwrap();
    chip
}

/// A session that ended with a sync: a hundred steps that a seed chooses.
fn session(chip: ImageFile, seed: u64) -> PageVolume<ImageFile> {
    let mut volume = mount(chip);
    let mut rng = SplitMix64::new(seed);
    // Not of the capacity, which another engine may choose otherwise.
    let most = 32_000;
    for _ in 0..100 {
        let offset = rng.below(most - 2000);
        match rng.below(20) {
            0 => volume.set_len(offset + 2000).unwrap(),
            1 => volume.discard(offset, rng.below(2000)).unwrap(),
            2..12 => volume.sync().unwrap(),
            _ => {
                let mut data = vec![0; rng.below(2000) as usize];
                rng.fill(&mut data);
                volume.write(offset, &data).unwrap();
            }
        }
    }
    volume.sync().unwrap();
    volume
}

fn mount(chip: ImageFile) -> PageVolume<ImageFile> {
    PageVolume::mount(chip, &Mount::default()).unwrap()
}

impl Case {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.page_size, self.spare_size, 8 * self.page_size, 64).unwrap()
    }

    /// The chip after the steps, as today's engine does them, and its image.
    fn make(&self) -> (ImageFile, Vec<u8>) {
        let (chip, mut file) = open(&vec![0xFF; self.geometry().raw_size() as usize], self.geometry());
        let chip = (self.steps)(chip);
        let mut image = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut image).unwrap();
        (chip, image)
    }
}

/// A chip in a file of its own with these bytes, and the file.
fn open(image: &[u8], geometry: Geometry) -> (ImageFile, File) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(image).unwrap();
    let locked = LockedFile { file: file.try_clone().unwrap(), len: image.len() as u64, unlocked: false };
    let state = ChipState { content: ChipFile::default(), path: None, changed: false };
    (ImageFile::new(locked, geometry, 0, state).unwrap(), file)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content(volume: &impl Volume) -> Vec<u8> {
    let mut content = vec![0xA5; volume.len() as usize];
    volume.read(0, &mut content).unwrap();
    content
}

/// What holds whichever engine does the steps: the content.
fn content_facts(volume: &impl Volume) -> Value {
    json!({ "logical_len": volume.len(), "logical_sha256": sha256(&content(volume)) })
}

/// What a mount finds, by name.
fn facts(volume: &PageVolume<ImageFile>) -> Value {
    let mut facts = content_facts(volume);
    let geometry = volume.flash().geometry();
    let more = json!({
        "version": volume.anchor().version,
        "page_size": geometry.page_size(),
        "spare_size": geometry.spare_size(),
        "pages_per_block": geometry.pages_per_block(),
        "blocks": geometry.blocks(),
        "capacity": volume.capacity(),
        "sequence": volume.sequence(),
        "mapped_pages": volume.mapped_units(),
        "bad_blocks": volume.bad_blocks().iter().map(|block| block.0).collect::<Vec<_>>(),
        "total_erases": volume.erase_counts().iter().map(|&count| u64::from(count)).sum::<u64>(),
        "ended_well": volume.warnings().is_empty(),
    });
    facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    facts
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/page-mapped")
}

/// The images that are kept: name, bytes and what is known of them. Not [`CASES`]: steps may go, images stay.
fn kept() -> Vec<(String, Vec<u8>, Value)> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".json").map(Into::into)
        })
        .collect();
    names.sort();
    let read = |name: String| {
        let known = fs::read(folder().join(format!("{name}.json"))).unwrap();
        let mut image = Vec::new();
        let packed = File::open(folder().join(format!("{name}.img.gz"))).unwrap();
        GzDecoder::new(packed).read_to_end(&mut image).unwrap();
        (name, image, serde_json::from_slice(&known).unwrap())
    };
    names.into_iter().map(read).collect()
}

fn geometry_of(known: &Value) -> Geometry {
    let number = |name: &str| known[name].as_u64().unwrap() as u32;
    let block_size = number("page_size") * number("pages_per_block");
    Geometry::new(number("page_size"), number("spare_size"), block_size, number("blocks")).unwrap()
}

#[test]
fn old_images_hold_what_they_held() {
    let kept = kept();
    assert!(kept.len() >= 6, "{}", kept.len());
    for (name, image, known) in kept {
        assert_eq!(known["image_sha256"], sha256(&image), "{name}");
        let (chip, mut file) = open(&image, geometry_of(&known));
        let volume = mount(chip);
        assert_eq!(volume.read_only(), None, "{name}");
        for (key, value) in facts(&volume).as_object().unwrap() {
            assert_eq!(known[key], *value, "{name}: {key}");
        }
        drop(volume);
        let mut now = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut now).unwrap();
        assert!(now == image, "{name}: looking has changed it");
    }
}

#[test]
fn old_images_can_be_written_on() {
    for (name, image, known) in kept() {
        let mut volume = mount(open(&image, geometry_of(&known)).0);
        let mut expected = content(&volume);
        expected.resize(expected.len().max(5000), 0);
        expected[1000..5000].fill(0x5C);
        volume.write(1000, &[0x5C; 4000]).unwrap();
        let volume = mount(volume.close().unwrap());
        assert_eq!(volume.warnings(), &[] as &[String], "{name}");
        assert!(content(&volume) == expected, "{name}");
        let erases = volume.erase_counts().iter().map(|&count| u64::from(count)).sum::<u64>();
        assert!(erases > known["total_erases"].as_u64().unwrap(), "{name}: {erases} erases");
    }
}

#[test]
fn the_same_steps_give_the_same_content_today() {
    for case in CASES {
        let volume = mount(case.make().0);
        let known = fs::read(folder().join(format!("{}.json", case.name))).unwrap();
        let known: Value = serde_json::from_slice(&known).unwrap();
        for (key, value) in content_facts(&volume).as_object().unwrap() {
            assert_eq!(known[key], *value, "{}: {key}", case.name);
        }
    }
}

#[test]
#[ignore = "makes the images that are not there"]
fn make_what_is_missing() {
    for case in CASES {
        let path = folder().join(format!("{}.img.gz", case.name));
        if path.exists() {
            continue;
        }
        let (chip, image) = case.make();
        let volume = mount(chip);
        let mut known = json!({
            "image": format!("{}.img", case.name),
            "image_sha256": sha256(&image),
            "made_by": concat!("nandimg ", env!("CARGO_PKG_VERSION")),
            "how": case.how,
        });
        known.as_object_mut().unwrap().extend(facts(&volume).as_object().unwrap().clone());
        fs::create_dir_all(folder()).unwrap();
        let mut packed = GzEncoder::new(File::create_new(path).unwrap(), Compression::best());
        packed.write_all(&image).unwrap();
        packed.finish().unwrap();
        let text = serde_json::to_string_pretty(&known).unwrap() + "\n";
        fs::write(folder().join(format!("{}.json", case.name)), text).unwrap();
    }
}
