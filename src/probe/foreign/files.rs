//! Files of another kind, given by mistake: they mean something at the very start only.

use super::head::{Head, Hit, Role, Strength};

type Check = fn(&Head<'_>) -> Option<Hit>;

const CHECKS: [Check; 9] = [gzip, xz, zstd, zip, android_sparse, qcow2, gpt, ext, elf];

/// What the file itself is.
pub(super) fn at_start(head: &Head<'_>) -> Option<Hit> {
    CHECKS.iter().find_map(|check| check(head))
}

fn file(name: &'static str, title: &'static str, strength: Strength, evidence: &'static str) -> Hit {
    Hit::new(name, title, Role::Content, strength, evidence)
}

/// gzip: method 8, no reserved flag, extra flags as deflate sets them, and a known system (RFC 1952, section 2.3).
fn gzip(head: &Head<'_>) -> Option<Hit> {
    let known = head.range(0, 3)? == [0x1F, 0x8B, 8] && head.byte(3)? & 0xE0 == 0;
    let sane = known && matches!(head.byte(8)?, 0 | 2 | 4) && matches!(head.byte(9)?, 0..=13 | 255);
    sane.then(|| file("gzip", "a gzip file", Strength::Structural, "a header whose fields make sense"))
}

/// xz: two bytes of flags, of which four bits are in use, and their CRC-32 (The .xz File Format, section 2.1.1).
fn xz(head: &Head<'_>) -> Option<Hit> {
    let known = head.range(0, 7)? == b"\xFD7zXZ\0\0" && head.byte(7)? <= 0x0F;
    let valid = known && crc32fast::hash(head.range(6, 2)?) == head.le32(8)?;
    valid.then(|| file("xz", "an xz file", Strength::Checked, "a stream header with a valid CRC"))
}

/// Zstandard: a magic number and a descriptor with one reserved bit (RFC 8878, section 3.1.1).
fn zstd(head: &Head<'_>) -> Option<Hit> {
    let known = head.range(0, 4)? == [0x28, 0xB5, 0x2F, 0xFD] && head.byte(4)? & 8 == 0;
    known.then(|| file("zstd", "a Zstandard file", Strength::Magic, "the magic number of a frame"))
}

/// zip: the header of a first file with the version, a known method and a name (PKWARE APPNOTE.TXT, section 4.3.7).
fn zip(head: &Head<'_>) -> Option<Hit> {
    let known = head.range(0, 4)? == b"PK\x03\x04" && head.le16(4)? <= 63;
    let sane = known && matches!(head.le16(8)?, 0..=20 | 93..=99) && (1..4096).contains(&head.le16(26)?);
    sane.then(|| {
        file("zip", "a zip file", Strength::Structural, "a local file header whose fields make sense")
    })
}

/// An Android sparse image: version 1, the sizes of its headers, and blocks of a multiple of 4 bytes
/// (libsparse/sparse_format.h of the Android platform's system/core).
fn android_sparse(head: &Head<'_>) -> Option<Hit> {
    let known = head.le32(0)? == 0xED26_FF3A && head.le16(4)? == 1;
    let (header, chunk, block) = (head.le16(8)?, head.le16(10)?, head.le32(12)?);
    let sane = known && header >= 28 && chunk >= 12 && block > 0 && block % 4 == 0;
    let (title, evidence) = ("an Android sparse image", "a header whose fields make sense");
    sane.then(|| file("android-sparse", title, Strength::Structural, evidence))
}

/// qcow2: version 2 or 3, big-endian, and clusters of 512 bytes to 2 MiB (docs/interop/qcow2.rst of qemu).
fn qcow2(head: &Head<'_>) -> Option<Hit> {
    let known = head.range(0, 4)? == b"QFI\xFB" && (2..=3).contains(&head.be32(4)?);
    let sane = known && (9..=21).contains(&head.be32(20)?);
    sane.then(|| file("qcow2", "a qcow2 image", Strength::Structural, "a header whose fields make sense"))
}

/// A GUID partition table in the second sector: its header's size, and the CRC-32 of that much with the field itself
/// zero (UEFI Specification, section 5.3.2).
fn gpt(head: &Head<'_>) -> Option<Hit> {
    let sector = Head { bytes: head.range(512, 512)?, ..*head };
    let len = usize::try_from(sector.le32(12)?).ok()?;
    if sector.range(0, 8)? != b"EFI PART" || len < 92 {
        return None;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(sector.range(0, 16)?);
    crc.update(&[0; 4]);
    crc.update(sector.range(20, len - 20)?);
    let valid = crc.finalize() == sector.le32(16)?;
    let title = "a disk with a GUID partition table";
    valid.then(|| file("gpt", title, Strength::Checked, "a partition table header with a valid CRC"))
}

/// ext2, ext3 or ext4: the superblock 1024 bytes in, and the features that came with each
/// (Linux Documentation/filesystems/ext4/super.rst).
fn ext(head: &Head<'_>) -> Option<Hit> {
    const HAS_JOURNAL: u32 = 0x4;
    // Extents, 64 bits, flexible groups.
    const SINCE_EXT4: u32 = 0x40 | 0x80 | 0x200;
    let block = Head { bytes: head.range(1024, 1024)?, ..*head };
    let counts = [0, 4, 0x20, 0x28].into_iter().all(|at| block.le32(at).is_some_and(|count| count > 0));
    let small =
        block.le32(0x14)? <= 1 && block.le32(0x18)? <= 6 && block.le32(0x48)? <= 4 && block.le32(0x4C)? <= 1;
    if block.le16(0x38)? != 0xEF53 || !counts || !small {
        return None;
    }
    let (name, title) = if block.le32(0x60)? & SINCE_EXT4 != 0 {
        ("ext4", "an ext4 file system")
    } else if block.le32(0x5C)? & HAS_JOURNAL != 0 {
        ("ext3", "an ext3 file system")
    } else {
        ("ext2", "an ext2 file system")
    };
    Some(file(name, title, Strength::Structural, "a superblock whose fields make sense"))
}

/// An ELF file: class, byte order and version in its first bytes; version and the header's own size further on, which
/// depends on the class (System V ABI, chapter 4). A dump may begin with a boot loader in that form.
fn elf(head: &Head<'_>) -> Option<Hit> {
    let (class, order) = (head.byte(4)?, head.byte(5)?);
    let own_size = match class {
        1 => 40,
        2 => 52,
        _ => return None,
    };
    let (version, size) = match order {
        1 => (head.le32(20)?, head.le16(own_size)?),
        2 => (head.be32(20)?, head.be16(own_size)?),
        _ => return None,
    };
    let known = head.range(0, 4)? == b"\x7FELF" && head.byte(6)? == 1;
    let sane = known && version == 1 && usize::from(size) == own_size + 12;
    let evidence = "a header whose fields make sense";
    sane.then(|| Hit::new("elf", "an ELF file", Role::Boot, Strength::Structural, evidence))
}
