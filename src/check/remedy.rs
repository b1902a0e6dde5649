//! What a repair does about a finding.

use core::fmt;

/// What a repair does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Rebuild a page-mapped volume from its blocks.
    Rebuild,
    /// Take a checkpoint into other blocks.
    RewriteMetadata,
    /// Put an anchor elsewhere.
    ReplaceAnchor,
    /// Move the data of a block elsewhere.
    MoveData,
    /// Set the chip's own mark of a bad block.
    MarkBad,
    /// Count the pages of a block that are in use.
    CountPages,
    /// Take an erase count from the block itself.
    CountErases,
    /// Write a slot of block-mapped metadata again.
    RewriteSlot,
    /// Commit block-mapped metadata without what is wrong in it.
    Commit,
    /// Begin to count sequences of block-mapped metadata anew.
    RestartSequence,
}

impl Remedy {
    /// The same as the end of a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuilds the map from what the blocks say of themselves",
            Self::RewriteMetadata => "writes all metadata anew into other blocks",
            Self::ReplaceAnchor => "writes an anchor into other blocks and erases this one",
            Self::MoveData => "moves its data to a good block",
            Self::MarkBad => "marks the block on the chip",
            Self::CountPages => "counts again",
            Self::CountErases => "counts from there",
            Self::RewriteSlot => "writes a whole, current copy of the metadata into the slot",
            Self::Commit => "commits corrected metadata",
            Self::RestartSequence => "begins to count at 1 again",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(feature = "std")]
impl serde::Serialize for Remedy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.sentence())
    }
}
