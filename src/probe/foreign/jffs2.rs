//! JFFS2: nodes with a CRC over their header, in either byte order, and the clean markers that NAND keeps in the spare.

use super::head::{Head, Hit, Role, Strength};
use super::signature::{Place, Signature};

/// 0x1985 in either byte order, at multiples of 4; and a whole clean marker of 8 bytes, as it lies in the spare bytes.
pub(super) const SIGNATURES: &[Signature] = &[
    node(&[0x85, 0x19], Place::Multiple(4), |head| any_node(head, Head::le16, Head::le32)),
    node(&[0x19, 0x85], Place::Multiple(4), |head| any_node(head, Head::be16, Head::be32)),
    node(&[0x85, 0x19, 0x03, 0x20, 8, 0, 0, 0], Place::Spare, |_| Some(clean_marker())),
    node(&[0x19, 0x85, 0x20, 0x03, 0, 0, 0, 8], Place::Spare, |_| Some(clean_marker())),
];

const fn node(magic: &'static [u8], place: Place, check: fn(&Head<'_>) -> Option<Hit>) -> Signature {
    Signature { name: "jffs2", magic, at: 0, place, check }
}

/// Directory entry, inode, clean marker, padding, summary, extended attribute and its reference
/// (Linux include/uapi/linux/jffs2.h).
const NODE_TYPES: [u16; 7] = [0xE001, 0xE002, 0x2003, 0x2004, 0x2006, 0xE008, 0xE009];

fn hit(
    alone: Option<Strength>,
    evidence: &'static str,
    again: Strength,
    evidence_again: &'static str,
) -> Hit {
    Hit {
        name: "jffs2",
        title: "a JFFS2 file system",
        role: Role::Content,
        alone: alone.map(|strength| (strength, evidence)),
        again: Some((again, evidence_again)),
    }
}

/// A node header: magic, type, length of the whole node, and the CRC of those 8 bytes, in the byte order given.
fn any_node<'a>(
    head: &Head<'a>,
    half: fn(&Head<'a>, usize) -> Option<u16>,
    word: fn(&Head<'a>, usize) -> Option<u32>,
) -> Option<Hit> {
    let sane = NODE_TYPES.contains(&half(head, 2)?) && (12..=16 << 20).contains(&word(head, 4)?);
    // The magic is only two bytes: a CRC over eight more is not much for a whole image to hang on.
    let (one, several) = ("a node header with a valid CRC", "several node headers with valid CRCs");
    let valid = sane && header_crc(head.range(0, 8)?) == word(head, 8)?;
    valid.then(|| hit(Some(Strength::Structural), one, Strength::Checked, several))
}

/// CRC-32 begun with zero and not complemented (Linux fs/jffs2, which calls `crc32(0, ..)`).
pub(super) fn header_crc(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(u32::MAX);
    crc.update(bytes);
    !crc.finalize()
}

/// On NAND an erased block's clean marker lies in the free spare bytes and has no CRC (`flash_erase -j` of mtd-utils):
/// one may be chance.
fn clean_marker() -> Hit {
    hit(None, "", Strength::Structural, "clean markers in the spare bytes of several pages")
}
