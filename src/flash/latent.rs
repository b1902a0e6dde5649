//! A plan of blocks that will fail later: decisions only, carried out by what stands for a chip.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Block, Operation};

/// A block that will fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct LatentFault {
    /// The block, by its number in the volume.
    pub block: u32,
    /// The operation that will fail.
    pub on: Operation,
    /// How many such operations still succeed. Reads are not counted: a read fault is there at once.
    pub after: u64,
}

/// A plan of blocks that will fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatentFaults {
    /// How many operations still succeed, by block and operation.
    after: BTreeMap<(u32, Operation), u64>,
}

/// What a plan says of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// No fault waits here.
    Passes,
    /// It succeeds, and a fault is one operation nearer.
    Counted,
    /// It fails.
    Fails,
}

impl LatentFaults {
    /// A plan of these faults; of several for the same block and operation, the one that is due first.
    #[must_use]
    pub fn new(faults: impl IntoIterator<Item = LatentFault>) -> Self {
        let mut plan = Self::default();
        for fault in faults {
            let after = plan.after.entry((fault.block, fault.on)).or_insert(fault.after);
            *after = fault.after.min(*after);
        }
        plan
    }

    /// The plan as it stands, by block.
    #[must_use]
    pub fn to_vec(&self) -> Vec<LatentFault> {
        self.after.iter().map(|(&(block, on), &after)| LatentFault { block, on, after }).collect()
    }

    /// Add a fault; one for the same block and operation is replaced.
    pub fn add(&mut self, fault: LatentFault) {
        self.after.insert((fault.block, fault.on), fault.after);
    }

    /// Count one operation on `block`; whether it fails, and whether the plan changed.
    pub fn strike(&mut self, block: Block, on: Operation) -> Strike {
        match self.after.get_mut(&(block.0, on)) {
            None => Strike::Passes,
            Some(0) => Strike::Fails,
            Some(after) => {
                *after -= 1;
                Strike::Counted
            }
        }
    }

    /// Whether reads of `block` fail.
    #[must_use]
    pub fn unreadable(&self, block: Block) -> bool {
        self.after.get(&(block.0, Operation::Read)) == Some(&0)
    }
}
