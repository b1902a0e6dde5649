//! Raw NAND flash images and the flash translation layers (FTLs) inside them.
#![doc = ""]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod error;
pub mod flash;
pub mod ftl;
pub mod onflash;
pub mod prng;

pub use error::{Error, Result};
#[cfg(feature = "std")]
pub mod probe;
