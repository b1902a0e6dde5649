//! An image in a file to cut the power of: the process is killed at the cut, and another one opens the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::faults::Faulty;
use nandimg::flash::file_io::{Access, LockedFile};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashHardware, Geometry};

use super::sweep::Medium;

/// A directory of image files, in memory where the system has such a place.
pub(crate) struct Files {
    dir: tempfile::TempDir,
    /// Copies of the last fresh chip. A sweep has the chip, its first copy and one further copy in hand at a time.
    copies: AtomicUsize,
}

impl Files {
    pub(crate) fn new() -> Self {
        let shared_memory = Path::new("/dev/shm");
        let dir = match tempfile::tempdir_in(shared_memory) {
            Ok(dir) => dir,
            Err(_) => tempfile::tempdir().expect("a directory"),
        };
        Self { dir, copies: AtomicUsize::new(0) }
    }

    fn path(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("{n}.img"))
    }
}

fn open(image: &Path, geometry: Geometry) -> ImageFile {
    let file = LockedFile::open(image, Access::ReadWrite).expect("the image opens");
    let path = ChipFile::path_beside(image);
    let content = ChipFile::load(&path).expect("the chip file is whole").unwrap_or_default();
    ImageFile::new(file, geometry, 0, ChipState { content, path: Some(path), changed: false })
        .expect("an image")
}

/// Where the image of a chip lies: beside its chip file.
fn path_of(chip: &ImageFile) -> PathBuf {
    let chip_file = chip.chip().path.as_ref().expect("a chip file");
    let name = chip_file.to_str().and_then(|name| name.strip_suffix(".chip.json"));
    name.expect("the name of a chip file").into()
}

impl Medium for Files {
    type Chip = ImageFile;

    fn fresh(&self, prepared: &Faulty<SimFlash>) -> Faulty<ImageFile> {
        self.copies.store(0, Ordering::Relaxed);
        let path = self.path(0);
        let sim = prepared.inner();
        fs::write(&path, sim.data()).expect("an image");
        let bad = sim.geometry().iter_blocks().filter(|&b| sim.is_bad(b) == Ok(true)).map(|b| b.0).collect();
        let mut chip = ChipFile::default();
        chip.bad_blocks = bad;
        chip.save(&ChipFile::path_beside(&path)).expect("a chip file");
        prepared.around(open(&path, *sim.geometry()))
    }

    fn copy(&self, chip: &Faulty<ImageFile>) -> Faulty<ImageFile> {
        let n = self.copies.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (path_of(chip.inner()), self.path(1 + n.min(1)));
        fs::copy(&from, &to).expect("a copy");
        fs::copy(ChipFile::path_beside(&from), ChipFile::path_beside(&to)).expect("a copy");
        chip.around(open(&to, *chip.geometry()))
    }

    fn reopen(&self, chip: Faulty<ImageFile>) -> Faulty<ImageFile> {
        let (path, geometry) = (path_of(chip.inner()), *chip.geometry());
        let copied = chip.around(());
        // The lock goes with the process.
        drop(chip);
        copied.around(open(&path, geometry))
    }

    fn second_cut_step(&self) -> usize {
        7
    }

    fn erases<'a>(&self, _: &'a Faulty<ImageFile>) -> Option<&'a [u32]> {
        None
    }

    fn state(&self, _: &Faulty<ImageFile>) -> Option<u64> {
        None
    }
}
