//! Other flash translation layers.

use super::head::{Head, Hit, Role, Strength};
use super::signature::{Place, Signature};

pub(super) const SIGNATURES: &[Signature] = &[
    Signature { name: "dhara", magic: b"Dha", at: 0, place: Place::Page, check: dhara },
    Signature { name: "nftl", magic: b"ANAND\0", at: 0, place: Place::Page, check: nftl },
    Signature { name: "inftl", magic: b"BNAND\0", at: 0, place: Place::Page, check: inftl },
    Signature { name: "smartmedia", magic: &SMARTMEDIA, at: 0, place: Place::Page, check: smartmedia },
];

/// A Dhara checkpoint page: `Dha`, the epoch, and in little-endian words the tail's page and two counts of bad blocks;
/// after 4 more bytes an entry of 132 bytes for each page, a sector number and 32 page numbers of a radix tree, all ones
/// where there is none (dlbeer/dhara, dhara/journal.c and dhara/map.c).
fn dhara(head: &Head<'_>) -> Option<Hit> {
    const NONE: u32 = u32::MAX;
    let page = |at| head.le32(at).is_some_and(|page| u64::from(page) < head.pages());
    let page_or_none = |at| page(at) || head.le32(at) == Some(NONE);
    let sane = [4, 8, 12].into_iter().all(page) && (0..33).all(|word| page_or_none(20 + 4 * word));
    let evidence = "a checkpoint page whose page numbers lie in the image";
    let hit = Hit::new("dhara", "a Dhara map", Role::Content, Strength::Structural, evidence);
    sane.then_some(hit)
}

/// The media header of NFTL, the translation layer of the first DiskOnChips: units there are, the first of them, and the
/// formatted size in whole sectors (Linux include/uapi/mtd/nftl-user.h, drivers/mtd/nftlmount.c).
fn nftl(head: &Head<'_>) -> Option<Hit> {
    let (units, first, size) = (head.le16(6)?, head.le16(8)?, head.le32(10)?);
    let sane = units > 0 && first < u16::MAX && size > 0 && size % 512 == 0;
    let evidence = "a media header whose fields make sense";
    sane.then(|| Hit::new("nftl", "an NFTL volume", Role::Content, Strength::Structural, evidence))
}

/// The media header of INFTL, of the later DiskOnChips: up to four partitions in all, and the share of the medium used
/// as a percentage (Linux include/uapi/mtd/inftl-user.h).
fn inftl(head: &Head<'_>) -> Option<Hit> {
    let (binary, translated, multiplier, percent) =
        (head.le32(12)?, head.le32(16)?, head.le32(20)?, head.le32(32)?);
    let partitions = binary.saturating_add(translated);
    let sane = (1..=4).contains(&partitions) && multiplier < 16 && (1..=100).contains(&percent);
    let evidence = "a media header whose fields make sense";
    sane.then(|| Hit::new("inftl", "an INFTL volume", Role::Content, Strength::Structural, evidence))
}

/// The tuples that begin the first good block of a SmartMedia or xD card (`cis_signature` in Linux drivers/mtd/sm_ftl.c).
const SMARTMEDIA: [u8; 10] = [0x01, 0x03, 0xD9, 0x01, 0xFF, 0x18, 0x02, 0xDF, 0x01, 0x20];

/// Those ten bytes are all that a reader looks at.
fn smartmedia(head: &Head<'_>) -> Option<Hit> {
    let evidence = "the card information structure that begins one";
    let hit =
        || Hit::new("smartmedia", "a SmartMedia or xD card", Role::Content, Strength::Structural, evidence);
    head.bytes.starts_with(&SMARTMEDIA).then(hit)
}
