//! Every place where a magic number stands.

use std::io;
use std::ops::Range;

use memchr::memmem;

use super::source::ReadAt;

/// Call `found` with the offset of each `magic` in `range`, while it says to go on.
pub(super) fn for_each<S: ReadAt + ?Sized>(
    source: &S,
    range: Range<u64>,
    magic: [u8; 4],
    found: &mut dyn FnMut(u64) -> io::Result<bool>,
) -> io::Result<()> {
    const WINDOW: usize = 1 << 20;
    let overlap = magic.len() - 1;
    let finder = memmem::Finder::new(&magic);
    let mut window = vec![0; WINDOW];
    let mut at = range.start;
    while at < range.end {
        let take = (range.end - at).min(WINDOW as u64) as usize;
        let Some(chunk) = window.get_mut(..take) else { break };
        source.read_at(at, chunk)?;
        for hit in finder.find_iter(chunk) {
            if !found(at + hit as u64)? {
                return Ok(());
            }
        }
        if take <= overlap {
            break;
        }
        at += (take - overlap) as u64;
    }
    Ok(())
}
