//! The image to be made, and its chip file: there when they are whole, and not before.

use std::fs::File;
use std::path::{Path, PathBuf};

use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::file_io::{LockedFile, directory_of, sync_directory, temporary_in};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::{FlashError, Geometry};
use nandimg::layout::Layout;
use tempfile::NamedTempFile;

use super::super::exit::{Failure, Kind};

/// Where the new image goes.
pub(super) struct Target {
    pub(super) image: PathBuf,
    pub(super) chip_file: PathBuf,
    force: bool,
}

impl Target {
    pub(super) fn new(image: &Path, force: bool) -> Self {
        Self { image: image.to_path_buf(), chip_file: ChipFile::path_beside(image), force }
    }

    /// Whether `path` is one of the files to be made.
    pub(super) fn is(&self, path: &Path) -> bool {
        [&self.image, &self.chip_file]
            .into_iter()
            .any(|own| same_file::is_same_file(own, path).unwrap_or(own == path))
    }

    /// What is there is not touched, unless it may be replaced. A chip file that was left alone would be taken for the new
    /// image's.
    pub(super) fn refuse_existing(&self) -> Result<(), Failure> {
        for (path, what) in [(&self.image, "it"), (&self.chip_file, "its chip file")] {
            match std::fs::symlink_metadata(path) {
                Ok(_) if !self.force => {
                    let message = format!("{what} exists ({}): give --force to replace it", path.display());
                    return Err(Failure::new(Kind::Exists, message));
                }
                Ok(found) if !(found.is_file() || found.is_symlink()) => {
                    let message = format!("{} is no regular file, and is not replaced", path.display());
                    return Err(Failure::new(Kind::Exists, message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A file that may become the new image.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, Failure> {
        Ok(temporary_in(directory_of(&self.image))?)
    }

    /// Let `whole` be the image and `chip` its chip file, durably.
    pub(super) fn publish(&self, whole: NamedTempFile, chip: &ChipFile) -> Result<(), Failure> {
        whole.as_file().sync_all()?;
        let published = match self.force {
            true => whole.persist(&self.image),
            false => whole.persist_noclobber(&self.image),
        };
        published.map_err(|error| error.error)?;
        if let Err(error) = chip.save(&self.chip_file) {
            // Without its chip file the image is not what was asked for.
            let _ = std::fs::remove_file(&self.image);
            let context = format!("cannot write the chip file {}", self.chip_file.display());
            return Err(Failure::from(error).context(context));
        }
        Ok(sync_directory(directory_of(&self.image))?)
    }
}

/// The chip in a file that is being made; its chip file is not kept anywhere yet.
pub(super) fn open_new(
    file: File,
    geometry: Geometry,
    layout: &Layout,
    first_block: u32,
    content: ChipFile,
) -> Result<ImageFile, FlashError> {
    let len = u64::from(first_block) * geometry.raw_block_size() + geometry.raw_size();
    let file = LockedFile { file, len, unlocked: false };
    let chip = ChipState { content, path: None, changed: false };
    ImageFile::with_layout(file, geometry, Some(layout), first_block, chip)
}
