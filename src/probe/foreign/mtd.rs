//! What Linux puts on raw flash: UBI, UBIFS, YAFFS2 and the bad-block table. JFFS2 has a file of its own.

use super::super::layouts::PageLayout;
use super::head::{Head, Hit, Role, Strength, crc_unfinished};
use super::signature::{Place, Signature};
use crate::onflash::linux_bbt::{Header, Placement, SEARCHED_BLOCKS};

pub(super) const SIGNATURES: &[Signature] = &[
    Signature { name: "ubi", magic: b"UBI#", at: 0, place: Place::Page, check: ubi },
    Signature {
        name: "ubifs",
        magic: &[0x31, 0x18, 0x10, 0x06],
        at: 0,
        place: Place::Multiple(8),
        check: ubifs,
    },
];

/// A UBI erase counter header, which begins every block: 64 bytes, big-endian, the CRC of the first 60 in the last 4,
/// the erase count within 31 bits, unused bytes zero (Linux drivers/mtd/ubi/ubi-media.h).
///
/// A dump that was not corrected by its ECC may have flipped bits in every header: one whose fields make sense still
/// counts for something.
fn ubi(head: &Head<'_>) -> Option<Hit> {
    const TITLE: &str = "a UBI volume";
    let fields = head.range(0, 60)?;
    let crc = head.be32(60)?;
    let (vid, data) = (head.be32(16)?, head.be32(20)?);
    let sane =
        head.byte(4)? == 1 && head.be64(8)? <= 0x7FFF_FFFF && 64 <= vid && vid < data && data <= 1 << 17;
    if crc_unfinished(fields) == crc && head.byte(4)? == 1 {
        let evidence = "an erase counter header with a valid CRC";
        Some(Hit::new("ubi", TITLE, Role::Content, Strength::Checked, evidence))
    } else if sane && head.range(5, 3)? == [0; 3] && head.range(28, 32)? == [0; 32] {
        let evidence = "an erase counter header whose fields make sense but whose CRC does not hold";
        Some(Hit::new("ubi", TITLE, Role::Content, Strength::Structural, evidence))
    } else {
        None
    }
}

/// A UBIFS node: a 24-byte common header, little-endian, with the length of the whole node, its type (up to 12), its
/// group type (up to 2) and two zero bytes; the CRC covers everything after itself (Linux fs/ubifs/ubifs-media.h).
///
/// The CRC cannot be checked where spare bytes lie within the node. Then the superblock, type 6 and always 4096 bytes,
/// stands for itself, and other nodes count from the second on.
fn ubifs(head: &Head<'_>) -> Option<Hit> {
    const SUPERBLOCK: (u8, usize) = (6, 4096);
    let len = usize::try_from(head.le32(16)?).ok()?;
    let (kind, group) = (head.byte(20)?, head.byte(21)?);
    if kind > 12 || group > 2 || head.range(22, 2)? != [0; 2] || !(24..=1 << 20).contains(&len) {
        return None;
    }
    let hit = |strength, evidence| Hit::new("ubifs", "a UBIFS file system", Role::Inner, strength, evidence);
    if head.range(8, len - 8).map(crc_unfinished) == head.le32(4) {
        return Some(hit(Strength::Checked, "a node with a valid CRC"));
    }
    if (kind, len) == SUPERBLOCK && Place::Page.fits(head.offset) {
        return Some(hit(Strength::Structural, "the header of a superblock node"));
    }
    let several = hit(Strength::Structural, "the headers of several nodes");
    Some(Hit { alone: None, again: several.alone, ..several })
}

/// A YAFFS object header, which has no magic number: type 1 to 5, the parent's object number (up to 0x3FFFF), two bytes
/// that YAFFS2 leaves at FF, a name in 256 bytes, and the mode at 268, whose file type must agree with the type
/// (`yaffs_obj_hdr` in core/yaffs_guts.h, Aleph-One-Ltd/yaffs2). The bytes are in the order of the machine.
pub(super) fn yaffs2(head: &Head<'_>) -> Option<Hit> {
    if head.range(8, 2)? != [0xFF; 2] {
        return None;
    }
    let words = |at| Some([head.le32(at)?, head.be32(at)?]);
    let [kinds, parents, modes, links] = [words(0)?, words(4)?, words(268)?, words(296)?];
    let fields = kinds.into_iter().zip(parents).zip(modes).zip(links);
    let sane = |(((kind, parent), mode), link): (((u32, u32), u32), u32)| {
        let object = 1..=0x3_FFFF;
        let of_type = |allowed: &[u32]| mode >> 16 == 0 && allowed.contains(&(mode >> 12));
        let agrees = match kind {
            1 => of_type(&[0o10]),
            2 => of_type(&[0o12]),
            3 => of_type(&[0o04]),
            4 => object.contains(&link),
            5 => of_type(&[0o01, 0o02, 0o06, 0o14]),
            _ => false,
        };
        // Only the root, which is its own parent, has no name.
        agrees && object.contains(&parent) && yaffs2_name(head, (kind, parent) == (3, 1))
    };
    let evidence = "an object header whose fields make sense";
    let hit = Hit::new("yaffs2", "a YAFFS2 file system", Role::Content, Strength::Structural, evidence);
    fields.into_iter().any(sane).then_some(hit)
}

fn yaffs2_name(head: &Head<'_>, may_be_empty: bool) -> bool {
    let Some(field) = head.range(10, 256) else { return false };
    let mut parts = field.splitn(2, |&byte| byte == 0);
    let (name, ended) = (parts.next().unwrap_or_default(), parts.next().is_some());
    let printable = name.iter().all(|&byte| byte >= b' ' && byte != 0x7F && byte != b'/');
    ended && printable && (may_be_empty || !name.is_empty())
}

/// The bad-block table lies in the last blocks; those of the largest blocks in use take this many bytes.
pub(super) const BBT_WITHIN: u64 = SEARCHED_BLOCKS as u64 * (4 << 20) * 9 / 8;

/// The bad-block table of Linux in the first page of a block ([`linux_bbt`](crate::onflash::linux_bbt)).
///
/// Most blocks are good, so most bits are set. The table says nothing of what else the image holds.
pub(super) fn bad_block_table(head: &Head<'_>, layout: PageLayout) -> Option<Hit> {
    let page = usize::try_from(layout.page).ok()?;
    let is_table = |placement: Placement, area: usize| {
        let header = || Header::decode(placement, head.range(area, placement.header().end)?);
        let ones = || {
            let bytes = head.range(placement.table_at(), 64)?;
            Some(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>())
        };
        header().is_some_and(|header| !matches!(header.version, 0 | 0xFF))
            && ones().is_some_and(|ones| ones >= 64 * 6)
    };
    let evidence = if is_table(Placement::InBand, 0) {
        "its signature at the start of a page, before a table of mostly good blocks"
    } else if layout.spare >= 16 && is_table(Placement::Spare, page) {
        "its signature in the spare bytes of a page with a table of mostly good blocks"
    } else {
        return None;
    };
    let title = "a Linux bad-block table";
    Some(Hit::new("linux-bbt", title, Role::Content, Strength::Magic, evidence))
}
