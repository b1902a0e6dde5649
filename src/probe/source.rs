//! Where a probe reads from: a length, and bytes at offsets.
//!
//! A probe looks at whatever it is given and knows nothing of geometry, so it reads through this and not through the
//! flash. It only reads.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use crate::flash::file_io::read_exact_at;

/// A source of bytes: how many there are, and those at an offset.
pub trait ReadAt {
    /// Bytes there are.
    fn len(&self) -> u64;

    /// Fill `buf` with the bytes at `offset`.
    ///
    /// # Errors
    /// Whatever reading fails with; [`io::ErrorKind::UnexpectedEof`] where `buf` would reach past the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for File {
    /// The end of the file as a seek finds it, which a block device has too; nothing where it cannot be found.
    fn len(&self) -> u64 {
        (&mut &*self).seek(SeekFrom::End(0)).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read_exact_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let range = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(buf.len())?));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

/// For where a `&dyn ReadAt` is wanted: what has no fixed size cannot become one itself.
impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(self.as_slice(), offset, buf)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(source: &dyn ReadAt) {
        assert_eq!(source.len(), 5);
        assert!(!source.is_empty());
        let mut buf = [0; 2];
        source.read_at(3, &mut buf).unwrap();
        assert_eq!(buf, [3, 4]);
        for past in [4, 5, u64::MAX] {
            assert!(source.read_at(past, &mut buf).is_err(), "{past}");
        }
        source.read_at(5, &mut []).unwrap();
    }

    #[test]
    fn every_source_reads_within_its_end_only() {
        let bytes = [0u8, 1, 2, 3, 4];
        check(&bytes.as_slice());
        check(&bytes.to_vec());
        let path = std::env::temp_dir().join(format!("nandimg-read-at-{}", std::process::id()));
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        check(&file);
    }
}
