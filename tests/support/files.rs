//! An image in a file to cut the power of: the process is killed at the cut, and another one opens the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nandimg::flash::chip_file::ChipFile;
use nandimg::flash::faults::Faulty;
use nandimg::flash::file_io::{Access, LockedFile};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{FlashHardware, Geometry};
use nandimg::layout::{Layout, PageCodec};

use super::sweep::Medium;

/// A directory of image files, in memory where the system has such a place.
pub(crate) struct Files {
    dir: tempfile::TempDir,
    /// How pages are stored, where they have ECC.
    layout: Option<Layout>,
    /// Pages that the ECC could not correct.
    uncorrectable: AtomicU64,
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
        Self { dir, layout: None, uncorrectable: AtomicU64::new(0), copies: AtomicUsize::new(0) }
    }

    /// With an ECC of 4 bits a step behind each page of `page_size` bytes.
    pub(crate) fn with_ecc(page_size: u32) -> Self {
        let layout = Layout::preset("linux-bch4", page_size, 64).expect("a layout for such pages");
        Self { layout: Some(layout), ..Self::new() }
    }

    /// Pages that the ECC could not correct, in all chips until now.
    pub(crate) fn uncorrectable(&self) -> u64 {
        self.uncorrectable.load(Ordering::Relaxed)
    }

    fn open(&self, image: &Path, geometry: Geometry) -> ImageFile {
        let file = LockedFile::open(image, Access::ReadWrite).expect("the image opens");
        let path = ChipFile::path_beside(image);
        let content = ChipFile::load(&path).expect("the chip file is whole").unwrap_or_default();
        let state = ChipState { content, path: Some(path), changed: false };
        let spare = self.layout.as_ref().map_or(0, Layout::spare_size);
        let geometry = Geometry::new(geometry.page_size(), spare, geometry.block_size(), geometry.blocks());
        let geometry = geometry.expect("a geometry");
        ImageFile::with_layout(file, geometry, self.layout.as_ref(), 0, state).expect("an image")
    }

    /// The bytes of a file with this content.
    fn stored(&self, sim: &SimFlash) -> Vec<u8> {
        let Some(layout) = &self.layout else { return sim.data().to_vec() };
        let codec = PageCodec::new(layout);
        let store = |page: &[u8]| {
            let mut raw = vec![0xFF; layout.raw_page_size()];
            codec.encode(page, &mut raw);
            raw
        };
        sim.data().chunks_exact(layout.page_size() as usize).flat_map(store).collect()
    }

    fn path(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("{n}.img"))
    }
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
        fs::write(&path, self.stored(sim)).expect("an image");
        let bad = sim.geometry().iter_blocks().filter(|&b| sim.is_bad(b) == Ok(true)).map(|b| b.0).collect();
        let mut chip = ChipFile::default();
        chip.bad_blocks = bad;
        chip.save(&ChipFile::path_beside(&path)).expect("a chip file");
        prepared.around(self.open(&path, *sim.geometry()))
    }

    fn copy(&self, chip: &Faulty<ImageFile>) -> Faulty<ImageFile> {
        let n = self.copies.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (path_of(chip.inner()), self.path(1 + n.min(1)));
        fs::copy(&from, &to).expect("a copy");
        fs::copy(ChipFile::path_beside(&from), ChipFile::path_beside(&to)).expect("a copy");
        chip.around(self.open(&to, *chip.geometry()))
    }

    fn reopen(&self, chip: Faulty<ImageFile>) -> Faulty<ImageFile> {
        self.uncorrectable.fetch_add(chip.inner().corrections().uncorrectable_pages, Ordering::Relaxed);
        let (path, geometry) = (path_of(chip.inner()), *chip.geometry());
        let copied = chip.around(());
        // The lock goes with the process.
        drop(chip);
        copied.around(self.open(&path, geometry))
    }

    fn second_cut_step(&self, step: usize, deep: bool) -> usize {
        if deep { step } else { 7 * step }
    }

    fn erases<'a>(&self, _: &'a Faulty<ImageFile>) -> Option<&'a [u32]> {
        None
    }

    fn state(&self, _: &Faulty<ImageFile>) -> Option<u64> {
        None
    }
}
