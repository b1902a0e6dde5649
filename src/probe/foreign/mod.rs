//! Naming what is in an image that is not ours: file systems, other FTLs, boot images, files of another kind.
//!
//! A raw dump may hold page data only or spare bytes between its pages, and may begin with a boot loader or with erased
//! blocks, so content is looked for at every place where a page can begin and not only at the start. What is
//! recognised is ordered by how much it proves and not by where it lies:
//!
//! 1. content at offset 0 that is checked or of sound structure: it says what the whole file is;
//! 2. deeper content whose checksum holds;
//! 3. deeper content whose fields all make sense;
//! 4. a boot image, at whatever offset: most dumps begin with one, and what follows it says more;
//! 5. a bare magic number, and the bad-block table that any file system on Linux may leave.
//!
//! Among equals the lowest offset comes first. The whole file is read once, in windows; nothing here knows the geometry.

mod boot;
mod files;
mod ftl;
mod head;
mod jffs2;
mod mtd;
mod rom;
mod scan;
mod signature;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod specimens;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::io;

use super::source::ReadAt;
use scan::{Find, Finds};

/// Something recognised that is not an FTL of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// A short name that never changes, such as `ubi`.
    pub name: &'static str,
    /// What it is, to be put in a sentence, such as `a UBI volume`.
    pub title: &'static str,
    /// Where it begins: a byte offset in the file.
    pub offset: u64,
    /// One clause of evidence, such as `an erase counter header with a valid CRC`.
    pub evidence: String,
}

/// What was recognised that says most about the image, if anything was.
///
/// # Errors
/// Those of reading `source`.
pub fn recognise(source: &dyn ReadAt) -> io::Result<Option<Foreign>> {
    Ok(ordered(scan::scan(source, Finds::decided)?).into_iter().next())
}

/// The finds that prove something, what says most first; each name occurs once at most.
fn ordered(mut finds: Vec<Find>) -> Vec<Foreign> {
    finds.sort_by_key(Find::rank);
    finds
        .into_iter()
        .filter_map(|find| {
            let (_, evidence) = find.best?;
            Some(Foreign {
                name: find.name,
                title: find.title,
                offset: find.offset,
                evidence: evidence.into(),
            })
        })
        .collect()
}
