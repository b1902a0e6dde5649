//! Reading and writing a file at an offset, opening it, and locking it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;
use thiserror::Error;

/// Read exactly `buf.len()` bytes at `offset`.
///
/// # Errors
/// When the file ends before, or cannot be read.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

/// Write all of `buf` at `offset`.
///
/// # Errors
/// When it cannot be written.
#[cfg(unix)]
pub fn write_all_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buf, offset)
}

/// Read exactly `buf.len()` bytes at `offset`.
///
/// # Errors
/// When the file ends before, or cannot be read.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, buf, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = &mut buf[n..];
        offset += n as u64;
    }
    Ok(())
}

/// Write all of `buf` at `offset`.
///
/// # Errors
/// When it cannot be written.
#[cfg(windows)]
pub fn write_all_at(file: &File, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, buf, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        buf = &buf[n..];
        offset += n as u64;
    }
    Ok(())
}

/// What an image file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only to look, along with others who do.
    ReadOnly,
    /// To change it, alone.
    ReadWrite,
}

/// Why an image file could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    #[error("it is locked by another process")]
    Locked,
    /// It is a directory, a pipe or the like.
    #[error("it is not a regular file")]
    NotAFile,
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An image file that is open and locked.
#[derive(Debug)]
pub struct LockedFile {
    /// The file.
    pub file: File,
    /// Bytes in it.
    pub len: u64,
    /// Its file system has no locks, so none is held.
    pub unlocked: bool,
}

impl LockedFile {
    /// Open `path` and lock it, shared or alone; the lock is tried once. Where there are no locks, only reading goes on
    /// without.
    ///
    /// # Errors
    /// When it is held, no regular file or block device, or cannot be opened.
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        // Opening a pipe would wait for its other end.
        if !is_storage(&std::fs::metadata(path)?.file_type()) {
            return Err(OpenError::NotAFile);
        }
        let writable = access == Access::ReadWrite;
        let file = OpenOptions::new().read(true).write(writable).open(path)?;
        let unlocked = lock(&file, access)?;
        let len = io::Seek::seek(&mut &file, io::SeekFrom::End(0))?;
        Ok(Self { file, len, unlocked })
    }
}

/// Lock `file`; `true` where there are no locks and that does not matter.
fn lock(file: &File, access: Access) -> Result<bool, OpenError> {
    let locked = match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(error)) if access == Access::ReadOnly && has_no_locks(&error) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == io::ErrorKind::Unsupported
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(ENOLCK))
}

#[cfg(unix)]
fn is_storage(kind: &std::fs::FileType) -> bool {
    kind.is_file() || std::os::unix::fs::FileTypeExt::is_block_device(kind)
}

#[cfg(not(unix))]
fn is_storage(kind: &std::fs::FileType) -> bool {
    kind.is_file()
}

/// Replace, or make, the file at `path` with `content`, so that a crash leaves the old or the new one; durably.
///
/// # Errors
/// When the directory or the file cannot be written.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link stays one.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = directory_of(path);
    let mut temporary = temporary_in(dir)?;
    if let Ok(old) = std::fs::metadata(path) {
        temporary.as_file().set_permissions(old.permissions())?;
    }
    io::Write::write_all(&mut temporary, content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_directory(dir)
}

/// A temporary file that is to be renamed, with the permissions a new file gets.
///
/// # Errors
/// When none can be made there.
pub fn temporary_in(dir: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir).map_err(|error| {
        // The name that was tried tells nobody anything.
        let why = io::Error::from(error.kind());
        io::Error::new(error.kind(), format!("no file can be made in {}: {why}", dir.display()))
    })
}

/// The directory that holds `path`.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Make a new name in `dir` durable.
///
/// # Errors
/// When the system cannot.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
