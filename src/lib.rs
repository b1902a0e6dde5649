//! Raw NAND flash images and the flash translation layers (FTLs) inside them.
//!
//! # A tour
//! * [`ecc`]: the codes by which bits that flipped on a chip are found: Hamming and BCH.
//! * [`layout`]: where in a raw page the data lies, and the ECC over it; a page to its raw page and back.
//! * [`flash`]: the chip. [`FlashHardware`](flash::FlashHardware) is what an FTL may ask of it and may find after a power cut;
//!   [`flash::sim`] is a chip in RAM that enforces NAND's rules, [`flash::image`] one in a file, [`flash::faults`] breaks
//!   either on purpose.
//! * [`onflash`]: bytes to records and back; its front page is the specification of the formats.
//! * [`ftl`]: the engines, behind one [`Volume`](ftl::Volume). [`ftl::page`] is the page-mapped one, [`ftl::block`] the
//!   block-mapped one of shodh-redb, [`ftl::any`] whichever a chip holds. What is decided apart from any format stands beside
//!   them: [`ftl::gc`], [`ftl::wear`], [`ftl::bad_blocks`].
//! * [`check`]: what is wrong with a volume, and mending it.
//! * `probe`: what an unknown image is, from its bytes alone (feature `std`).
//!
//! # Glossary
//! * *Page*: the unit of programming. *Erase block*, or block: the unit of erasing, many pages. *Spare area* (OOB): bytes
//!   behind each page's data, for bad-block marks and ECC.
//! * *Logical*: as the user of a volume counts. *Physical*: as the chip counts.
//! * *Erase count*: how often a block was erased. *Wear levelling* keeps the counts together: *dynamic* by taking little worn
//!   free blocks, *static* by moving data that never changes off blocks that are hardly worn.
//! * *Bad-block table*: the blocks not to be used, from the factory or since.
//! * *Staged*: written, seen by reads, and not yet durable. *Commit*: the moment when all that is staged takes effect.
//! * *Garbage collection*: moving the pages of a block that still count, so that it can be erased.
//!
//! Of the page-mapped format:
//! * *Checkpoint*: the map of logical pages and the table of blocks, as they were at one moment. *Anchor*: the superblock that
//!   points to it, in a zone of its own at the start of the chip. *Log*: what has changed since.
//! * *Chain*: the blocks that checkpoints and log go through, two by two, each pair with the same pages in both.
//! * *Summary*: the last pages of a data block, which tell what the others hold.
//! * *Host clock*: pages that were written from outside, counted; the time by which versions of a page are told apart.
//!
//! # Features
//! `cli` (default) adds the binary and its crates, `std` the image file, the chip file and the probe. Without both the crate
//! is `no_std` and needs `alloc`.
//!
//! # Example
//! ```
//! use nandimg::flash::{Geometry, sim::SimFlash};
//! use nandimg::ftl::Volume;
//! use nandimg::ftl::any::FormatOptions;
//! use nandimg::ftl::page::{FormatPlan, Mount, PageVolume};
//!
//! // 64 blocks of 16 KiB, in pages of 2048 bytes without spare.
//! let mut chip = SimFlash::new(Geometry::new(2048, 0, 16 << 10, 64)?);
//! FormatPlan::new(&chip, &FormatOptions::default())?.execute(&mut chip)?;
//!
//! let mut volume = PageVolume::mount(chip, &Mount::default())?;
//! volume.write(5000, b"hello")?;
//! volume.sync()?;
//!
//! // What was synced is there after a power cut, whenever it comes.
//! let chip = volume.into_flash();
//! let volume = PageVolume::mount(chip, &Mount::default())?;
//! let mut bytes = [0; 7];
//! volume.read(4998, &mut bytes)?;
//! assert_eq!(&bytes, b"\0\0hello");
//! # Ok::<(), nandimg::Error>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod ecc;
pub mod error;
pub mod flash;
pub mod ftl;
pub mod layout;
pub mod onflash;
pub mod prng;
#[cfg(feature = "std")]
pub mod probe;

pub use error::{Error, Result};
