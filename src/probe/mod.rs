//! What is this image? The volume in it and its geometry, or the foreign format, from the bytes alone.
//!
//! Nothing read here is believed before it is checked, and the work is bounded by the size of the image.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod corrected;
mod ecc;
mod foreign;
mod ftlj;
mod layouts;
mod linux_bbt;
mod magic;
mod paged;
mod sample;
mod source;
mod survey;
mod volumes;

pub use corrected::Corrected;
pub use ecc::{EccCount, ScoredLayout, count_pages, detect_layout, score_layouts};
pub use foreign::{Foreign, recognise};
pub use linux_bbt::{BbtCopy, FoundBbt, find_bbt};
pub use source::ReadAt;
pub use survey::{Candidate, Evidence, Known, NearFit, Shape, Survey, survey};
pub use volumes::{Format, FoundVolume, Hints, Search, Seen, Traces, find_volumes, look_at};

use std::io;

/// Whether every byte of `source` is 0xFF, as on a chip that was never programmed.
///
/// # Errors
/// When it cannot be read.
pub fn is_blank<S: ReadAt + ?Sized>(source: &S) -> io::Result<bool> {
    let mut window = vec![0; 1 << 20];
    let len = source.len();
    let mut at = 0;
    while at < len {
        let take = (len - at).min(window.len() as u64) as usize;
        let Some(chunk) = window.get_mut(..take) else { break };
        source.read_at(at, chunk)?;
        if chunk.iter().any(|&byte| byte != 0xFF) {
            return Ok(false);
        }
        at += take as u64;
    }
    Ok(true)
}
