//! File systems and databases that are put into a partition whole.

use xxhash_rust::xxh3::xxh3_128;

use super::head::{Head, Hit, Role, Strength, crc_unfinished};
use super::signature::{Place, Signature};

pub(super) const SIGNATURES: &[Signature] = &[
    page("squashfs", b"hsqs", 0, squashfs),
    page("cramfs", b"Compressed ROMFS", 16, cramfs),
    page("romfs", b"-rom1fs-", 0, romfs),
    page("erofs", &[0xE2, 0xE1, 0xF5, 0xE0], 1024, erofs),
    page("littlefs", b"littlefs", 8, littlefs),
    page("redb", b"redb\x1A\x0A\xA9\x0D\x0A", 0, redb),
];

const fn page(
    name: &'static str,
    magic: &'static [u8],
    at: usize,
    check: fn(&Head<'_>) -> Option<Hit>,
) -> Signature {
    Signature { name, magic, at, place: Place::Page, check }
}

fn content(name: &'static str, title: &'static str, strength: Strength, evidence: &'static str) -> Hit {
    Hit::new(name, title, Role::Content, strength, evidence)
}

/// SquashFS 4.0, little-endian: block size 4 KiB to 1 MiB and its logarithm, compression 1 to 6, the root inode's
/// place in an 8 KiB metadata block, and the tables in their order within `bytes_used`
/// (Linux fs/squashfs/squashfs_fs.h, super.c).
fn squashfs(head: &Head<'_>) -> Option<Hit> {
    let (block_size, block_log) = (head.le32(12)?, head.le16(22)?);
    let blocks = (12..=20).contains(&block_log) && block_size == 1 << block_log;
    let version = (head.le16(28)?, head.le16(30)?) == (4, 0) && (1..=6).contains(&head.le16(20)?);
    let (root, used, ids) = (head.le64(32)?, head.le64(40)?, head.le64(48)?);
    let (inodes, directories) = (head.le64(64)?, head.le64(72)?);
    let tables = 96 <= inodes && inodes < directories && directories <= ids && ids < used && used < 1 << 48;
    let sane = blocks && version && tables && root & 0xFFFF < 8192;
    let title = "a SquashFS file system";
    sane.then(|| content("squashfs", title, Strength::Structural, "a superblock whose fields make sense"))
}

/// cramfs, in either byte order: its magic number, the size, only known flags, and the text that was searched for
/// (Linux include/uapi/linux/cramfs_fs.h). Its CRC covers the whole file system, which may be long.
fn cramfs(head: &Head<'_>) -> Option<Hit> {
    const MAGIC: u32 = 0x28CD_3D45;
    let sane = |magic: u32, size: u32, flags: u32| magic == MAGIC && size >= 76 && flags & !0xFFF == 0;
    let little = sane(head.le32(0)?, head.le32(4)?, head.le32(8)?);
    let big = sane(head.be32(0)?, head.be32(4)?, head.be32(8)?);
    let evidence = "a superblock with both its signatures";
    (little || big).then(|| content("cramfs", "a cramfs file system", Strength::Structural, evidence))
}

/// romfs: the size, then a word that makes the big-endian words of the first 512 bytes, or of all if there are fewer,
/// add up to zero (Linux fs/romfs/super.c, Documentation/filesystems/romfs.rst).
fn romfs(head: &Head<'_>) -> Option<Hit> {
    let size = usize::try_from(head.be32(8)?).ok()?;
    let summed = head.range(0, size.min(512))?;
    let sum = summed
        .chunks_exact(4)
        .fold(0u32, |sum, word| sum.wrapping_add(word.try_into().map_or(0, u32::from_be_bytes)));
    let valid = size >= 32 && sum == 0;
    let evidence = "a superblock with a valid checksum";
    valid.then(|| content("romfs", "a romfs file system", Strength::Checked, evidence))
}

/// EROFS: its superblock lies 1024 bytes in; blocks of 512 bytes to 64 KiB, at least one inode and one block, and a
/// time whose nanoseconds are fewer than a second (Linux fs/erofs/erofs_fs.h).
fn erofs(head: &Head<'_>) -> Option<Hit> {
    let at = |field: usize| 1024 + field;
    let block = (9..=16).contains(&head.byte(at(12))?);
    let inodes = (1..1 << 48).contains(&head.le64(at(16))?) && head.le16(at(14))? > 0;
    let sane = block && inodes && head.le32(at(32))? < 1_000_000_000 && head.le32(at(36))? > 0;
    let evidence = "a superblock whose fields make sense";
    sane.then(|| content("erofs", "an EROFS file system", Strength::Structural, evidence))
}

/// littlefs 2: the first tag of block 0 or 1 names the superblock, the second holds version 2.x, a block size of at
/// least 104 and the block count (SPEC.md of littlefs-project/littlefs, whose tags are big-endian and each stored XORed
/// with the one before).
fn littlefs(head: &Head<'_>) -> Option<Hit> {
    const SUPERBLOCK: u32 = 0x0FF0_0008;
    const INLINE: u32 = 0x2010_0018;
    let tags = head.be32(4)? == !SUPERBLOCK && head.be32(16)? == SUPERBLOCK ^ INLINE;
    let (version, block_size, blocks) = (head.le32(20)?, head.le32(24)?, head.le32(28)?);
    if !tags || version >> 16 != 2 || !(104..=1 << 30).contains(&block_size) || blocks < 2 {
        return None;
    }
    let title = "a littlefs file system";
    Some(if littlefs_commit(head).is_some() {
        content("littlefs", title, Strength::Checked, "a superblock in a commit with a valid CRC")
    } else {
        content("littlefs", title, Strength::Structural, "a superblock whose fields make sense")
    })
}

/// The end of the first commit, if its CRC holds. Each tag takes 4 bytes at least, so the walk ends with the head.
fn littlefs_commit(head: &Head<'_>) -> Option<usize> {
    let (mut at, mut tag) = (4, u32::MAX);
    loop {
        tag ^= head.be32(at)?;
        // The top bit is clear in a tag that was written.
        if tag >> 31 != 0 {
            return None;
        }
        at += 4;
        // Type 0x500, with the bit below that tells of the next commit; 0x5FF is a checksum of what follows.
        if tag >> 21 == 0x500 >> 1 {
            return (crc_unfinished(head.range(0, at)?) == head.le32(at)?).then_some(at);
        }
        let len = usize::try_from(tag & 0x3FF).ok()?;
        // All ones say that the entry was deleted: it has no data.
        at += if len == 0x3FF { 0 } else { len };
    }
}

/// redb: three flags, two zero bytes and the page size; then two commit slots of 128 bytes, each ended by the XXH3-128
/// of what it holds (cberner/redb src/tree_store/page_store/header.rs).
fn redb(head: &Head<'_>) -> Option<Hit> {
    let page_size = head.le32(12)?;
    if head.byte(9)? > 7 || head.range(10, 2)? != [0; 2] || !page_size.is_power_of_two() || page_size < 512 {
        return None;
    }
    let valid = |slot: usize| {
        let fields = head.range(slot, 112)?;
        Some(head.range(slot + 112, 16)? == xxh3_128(fields).to_le_bytes())
    };
    Some(if [64, 192].into_iter().any(|slot| valid(slot) == Some(true)) {
        content(
            "redb",
            "a redb database",
            Strength::Checked,
            "a header with a commit slot whose checksum holds",
        )
    } else {
        content("redb", "a redb database", Strength::Structural, "a header whose fields make sense")
    })
}
