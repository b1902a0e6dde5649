//! What a signature's check is given, and what it answers.

/// The longest stretch of bytes a check may look at: room for a UBIFS node, the longest that is checked whole.
pub(super) const HEAD_LEN: usize = 8 << 10;

/// The bytes from a possible beginning on: up to [`HEAD_LEN`] of them, fewer at the end of the file.
///
/// They run straight on in the file: spare bytes lie between them wherever the image has any.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) bytes: &'a [u8],
    /// Where in the file they lie.
    pub(super) offset: u64,
    /// Bytes of the whole file.
    pub(super) file_len: u64,
}

impl<'a> Head<'a> {
    /// The `len` bytes at `at`.
    pub(super) fn range(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.range(at, N)?.try_into().ok()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn le16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn le32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn le64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn be16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn be64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// More pages than the file can have, whatever their size: a bound for page numbers read from it.
    pub(super) fn pages(&self) -> u64 {
        self.file_len / 256
    }
}

/// How much a find proves; the strongest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// A checksum over the structure holds.
    Checked,
    /// Every field makes sense.
    Structural,
    /// Little more than the magic number is there.
    Magic,
}

/// What part a kind of content plays in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It fills the image or a partition of it.
    Content,
    /// It lies inside other content, which is named first.
    Inner,
    /// A boot loader starts from it.
    Boot,
}

/// A find's strength and the clause that says why.
pub(super) type Proof = (Strength, &'static str);

/// A check's answer where it recognises something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) role: Role,
    /// What the hit alone proves; nothing, if one alone may be chance.
    pub(super) alone: Option<Proof>,
    /// What a second one proves.
    pub(super) again: Option<Proof>,
}

impl Hit {
    /// A hit that stands alone.
    pub(super) fn new(
        name: &'static str,
        title: &'static str,
        role: Role,
        strength: Strength,
        evidence: &'static str,
    ) -> Self {
        Self { name, title, role, alone: Some((strength, evidence)), again: None }
    }
}

/// CRC-32 (IEEE, reflected, begun with all ones) without the final complement, as UBI, UBIFS and littlefs store it.
pub(super) fn crc_unfinished(bytes: &[u8]) -> u32 {
    !crc32fast::hash(bytes)
}
