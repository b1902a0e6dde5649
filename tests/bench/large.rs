//! Mounting chips of 1 GiB and 8 GiB, where a mount that looks at everything shows.

use std::fmt;

use nandimg::flash::Geometry;
use nandimg::ftl::Volume;

use crate::MEMORY;
use crate::run::{MountCost, difference};
use crate::sparse::SparseFlash;
use crate::store::{Access, Engine};
use crate::workload::{PAGE, content};

#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeChip {
    pub(crate) engine: Engine,
    /// Of 64 pages of 2048 bytes.
    pub(crate) blocks: u32,
}

impl fmt::Display for LargeChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mount of {} blocks", self.engine.name(), self.blocks)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LargeMount {
    pub(crate) chip: LargeChip,
    /// Logical pages that were written.
    pub(crate) written: u32,
    pub(crate) cost: MountCost,
}

/// The logical pages to write: of the page-mapped volume one in 128 over all its capacity, so that every page of its map
/// exists as in a full volume; of the block-mapped one, which always stores its whole map, 8 MiB.
fn pages_to_write(engine: Engine, capacity: u64) -> impl Iterator<Item = u32> + Clone {
    let pages = u32::try_from(capacity / PAGE as u64).expect("few enough pages");
    let (end, step) = if engine == Engine::Page { (pages, 128) } else { (4096, 1) };
    (0..end).step_by(step)
}

fn write_some(volume: &mut dyn Volume, pages: impl Iterator<Item = u32>) {
    let mut data = [0; PAGE];
    for page in pages {
        content(page, 1, &mut data);
        volume.write(u64::from(page) * PAGE as u64, &data).expect("the volume writes");
    }
    volume.end().expect("the volume ends well");
}

/// # Panics
/// When a page does not hold what was written.
fn check(volume: &dyn Volume, pages: impl Iterator<Item = u32>) {
    let (mut found, mut expected) = ([0; PAGE], [0; PAGE]);
    for page in pages {
        content(page, 1, &mut expected);
        volume.read(u64::from(page) * PAGE as u64, &mut found).expect("the volume reads");
        assert!(found == expected, "page {page} is not what was written");
    }
}

/// The mount after a clean end, in each way that the engine knows.
pub(crate) fn measure(chip: LargeChip) -> Vec<LargeMount> {
    let LargeChip { engine, blocks } = chip;
    let geometry = Geometry::new(PAGE as u32, 0, 64 * PAGE as u32, blocks).expect("a geometry");
    let mut flash = SparseFlash::new(geometry);
    let counts = flash.counts();
    engine.format_ours(&mut flash);
    let mut volume = engine.mount_ours(&mut flash, Access::ReadWrite);
    let pages = pages_to_write(engine, volume.capacity());
    write_some(volume.as_mut(), pages.clone());
    drop(volume);

    let written = pages.clone().count() as u32;
    let mut mounts = Vec::new();
    for &access in engine.accesses() {
        let (before, memory) = (counts.get(), MEMORY.current_usage());
        let mut volume = engine.mount_ours(&mut flash, access);
        let held = MEMORY.current_usage() - memory;
        let ops = difference(counts.get(), before);
        check(volume.as_ref(), pages.clone());
        let held_after_reads = MEMORY.current_usage() - memory;
        if access != Access::ReadOnly {
            volume.end().expect("the volume ends well");
        }
        mounts.push(LargeMount { chip, written, cost: MountCost { access, ops, held, held_after_reads } });
    }
    mounts
}
