//! The least of each kind of content that must be recognised: mostly the first bytes of what the real tools wrote
//! (mtd-utils 2.1.5, squashfs-tools 4.5.1, util-linux 2.38.1, genromfs 0.5.2, erofs-utils 1.5, e2fsprogs 1.47.0,
//! littlefs-python 0.19.0, shodh-redb 0.6.0, dtc 1.6.1, u-boot-tools 2023.01, android-libsparse 29.0.6, qemu-utils 10.0,
//! gzip, xz, zstd, zip, and /usr/bin/bash of Debian 12), else built by hand.

/// A kind of content, as few bytes of it as are recognised.
#[derive(Clone)]
pub(super) struct Specimen {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Whether it counts at any page, or at the start of the file only.
    pub(super) anywhere: bool,
    /// The bytes that its checksum covers, the checksum included; empty where none is checked.
    pub(super) checked: std::ops::Range<usize>,
}

fn specimen(name: &'static str, bytes: Vec<u8>) -> Specimen {
    Specimen { name, bytes, anywhere: true, checked: 0..0 }
}

fn checked(name: &'static str, bytes: Vec<u8>, checked: std::ops::Range<usize>) -> Specimen {
    Specimen { checked, ..specimen(name, bytes) }
}

fn at_start(specimen: Specimen) -> Specimen {
    Specimen { anywhere: false, ..specimen }
}

/// Bytes from hex digits; `_` followed by a number stands for so many zeros.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some(zeros) = word.strip_prefix('_') {
            bytes.resize(bytes.len() + zeros.parse::<usize>().unwrap(), 0);
        } else {
            assert!(word.len() % 2 == 0, "{word}");
            bytes.extend(
                (0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap()),
            );
        }
    }
    bytes
}

/// CRC-32 bit by bit, so that no test leans on the crate that the code under test uses.
pub(super) fn crc32(bytes: &[u8], initial: u32) -> u32 {
    bytes.iter().fold(initial, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn padded(mut bytes: Vec<u8>, len: usize, fill: u8) -> Vec<u8> {
    assert!(bytes.len() <= len);
    bytes.resize(len, fill);
    bytes
}

/// An object header as YAFFS2 writes it; `unyaffs` 0.9.7 extracts an image made of such.
pub(super) fn yaffs2(kind: u32, parent: u32, name: &str, mode: u32, word: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut bytes = [word(kind), word(parent)].concat();
    bytes.extend([0xFF; 2]);
    bytes.extend(name.bytes());
    let mut bytes = padded(padded(bytes, 266, 0), 268, 0xFF);
    bytes.extend(word(mode));
    padded(bytes, 512, 0xFF)
}

fn dhara() -> Vec<u8> {
    let mut bytes = b"Dha\x01".to_vec();
    for word in [3u32, 0, 1, 7, 5] {
        bytes.extend(word.to_le_bytes());
    }
    // The root's 32 alternatives, of which the last two lead to older pages.
    bytes.extend([0xFF; 4 * 30]);
    bytes.extend([2, 0, 0, 0, 1, 0, 0, 0]);
    padded(bytes, 512, 0xFF)
}

/// A UBIFS superblock node: too long to lie within a page where there are spare bytes.
pub(super) fn ubifs_superblock() -> Vec<u8> {
    let mut node = hex("31181006 00000000 0100000000000000 00100000 06 00 0000 00000000");
    node.resize(4096, 0x5A);
    let crc = crc32(&node[8..], !0);
    node[4..8].copy_from_slice(&crc.to_le_bytes());
    node
}

/// The bad-block table of a chip of 16 blocks, of which 2 and 5 are bad.
pub(super) fn bad_block_table(page: usize, spare: usize) -> Vec<u8> {
    if spare == 0 {
        return padded(b"Bbt0\x03\xEF\xFB".to_vec(), page, 0xFF);
    }
    let mut bytes = padded(vec![0xEF, 0xFB], page + 8, 0xFF);
    bytes.extend(b"1tbB\x03");
    padded(bytes, page + spare, 0xFF)
}

pub(super) const UBI: &str = "5542492301 _13 0800000010006d38d84f _32 b62b2667";
pub(super) const UIMAGE: &str = "2705195608ff6b846b02ca84000004c5 00008000000080008daa93bc05020200 \
     74657374 _28";
pub(super) const JFFS2_LE: &str = "851901e02b000000e66e267d01000000 000000000200000082ca026b03080000 \
     bafea34fff83665562696eff851902e0 8a0a0000fee7f203";
pub(super) const JFFS2_BE: &str = "1985e0010000002b3e42242700000001 00000000000000026b02ca8203080000 \
     d3f75c81556683ff62696eff1985e002 00000a8a22dc2503";
const SQUASHFS: &str = "687371730600000083ca026b00000200 0100000001001100c000010004000000 \
     a5000000000000004704020000000000 3f04020000000000ffffffffffffffff 5c03020000000000c003020000000000 \
     0f040200000000003104020000000000";
const CRAMFS_LE: &str = "453dcd28003002000300000000000000 436f6d7072657373656420524f4d4653 \
     428b96c5000000005000000006000000 436f6d70726573736564000000000000 ed41000058000000c0040000";
const CRAMFS_BE: &str = "28cd3d45000230000000000300000000 436f6d7072657373656420524f4d4653 \
     95189f24000000000000005000000006 436f6d70726573736564000000000000 41ed00000000580000000013";
const ROMFS: &str = "2d726f6d3166732d0000006029271d06 78 _18 490000002000000000d1ffff972e _22 \
     2000000000d1d1ffe02e2e _14";
const EROFS: &str = "_1024 e2e1f5e05ec87e26030000000c002400 060000000000000084ca026b00000000 2f8d02004e \
     _11 313cc5aa39684fe899f5c79e8e5e281f _64";
pub(super) const LITTLEFS: &str = "00000000f00ffff76c6974746c656673 2fe00010010002000000020020000000 \
     ff000000ffffff7ffe030000701fffe6 6584c0ed";
/// With both commit slots, of which either is enough.
pub(super) const REDB: &str = "726564621a0aa90d0a0400000010 _8 1000000000000101 _34 03 _111 \
     1a6ab5ef61d1808d072c039386fbbc3f 03 _103 0100000000000000df1543f4d8ab0df7 47fd5796f08decbf";
const FIT: &str = "d00dfeed000000580000003800000058 000000280000001100000010 _11 20 _19 \
     010000000000000001696d6167657300 00000000020000000200000009";
const DTB: &str = "d00dfeed000000730000003800000068 00000028000000110000001000000000 0000000b00000030 _19 \
     01000000000000000300000002000000 00610000000000000163686f73656e00 00000000020000000200000009636f6d \
     70617469626c6500";
const GPT: &str = "_512 4546492050415254000001005c000000 d699826c000000000100000000000000 \
     ff1f0000000000002200000000000000 de1f000000000000a224f56ab3214cac 9f843c433d3505370200000000000000 \
     800000008000000052506417 _420";
const EXT2: &str = "_1025 0800000020000099010000ce1d0000f5 07000001 _12 20000000200000000800000000000084 \
     ca026b0000ffff53ef01000100000084 ca026b _8 01000000000000000b00000000010000 380000000200000003 _923";
const ELF: &str = "7f454c46020101 _9 03003e00010000005017030000000000 4000000000000000b04813 _9 \
     400038000d0040001d001c00";

/// One of each, and of each form that takes another path.
pub(super) fn all() -> Vec<Specimen> {
    let littlefs = hex(LITTLEFS);
    let ext = |compatible: u8, incompatible: u8| {
        let mut bytes = hex(EXT2);
        (bytes[1024 + 0x5C], bytes[1024 + 0x60]) = (compatible, incompatible);
        bytes
    };
    vec![
        checked("ubi", hex(UBI), 0..64),
        checked("ubifs", hex("311810066e43516f7400000000000000 200000000a _11"), 4..32),
        checked("ubifs", ubifs_superblock(), 4..4096),
        specimen("jffs2", hex(JFFS2_LE)),
        specimen("jffs2", hex(JFFS2_BE)),
        specimen("yaffs2", yaffs2(1, 257, "file.txt", 0o100_644, u32::to_le_bytes)),
        specimen("yaffs2", yaffs2(3, 1, "", 0o040_755, u32::to_be_bytes)),
        specimen("linux-bbt", bad_block_table(2048, 0)),
        specimen("dhara", dhara()),
        specimen("nftl", hex("414e414e4400 0004 0100 0000ff00 ff")),
        specimen(
            "inftl",
            hex("424e414e440000ff 00000000 00000000 01000000 00000000 00000000 20510000 62000000"),
        ),
        specimen("smartmedia", hex("0103d901ff1802df0120")),
        specimen("squashfs", hex(SQUASHFS)),
        specimen("cramfs", hex(CRAMFS_LE)),
        specimen("cramfs", hex(CRAMFS_BE)),
        checked("romfs", hex(ROMFS), 0..96),
        specimen("erofs", hex(EROFS)),
        checked("littlefs", littlefs.clone(), 0..littlefs.len()),
        checked("redb", hex(REDB)[..192].to_vec(), 64..192),
        checked("uimage", hex(UIMAGE), 0..64),
        specimen("fit", hex(FIT)),
        specimen("dtb", hex(DTB)),
        at_start(specimen("elf", hex(ELF))),
        at_start(specimen("gzip", hex("1f8b080083ca026b0003ecdc"))),
        at_start(checked("xz", hex("fd377a585a00 0004 e6d6b446"), 0..12)),
        at_start(specimen("zstd", hex("28b52ffda4000020"))),
        at_start(specimen(
            "zip",
            hex("504b0304 0a00 0000 0000 2457765d 4904fba4 00002000 00002000 0700 1c00"),
        )),
        at_start(specimen(
            "android-sparse",
            hex("3aff26ed 0100 0000 1c00 0c00 00100000 00080000 08000000 _4"),
        )),
        at_start(specimen("qcow2", hex("514649fb 00000003 _12 00000010 0000000001000000"))),
        at_start(checked("gpt", hex(GPT), 512..604)),
        at_start(specimen("ext2", ext(0x38, 0x02))),
        at_start(specimen("ext3", ext(0x3C, 0x02))),
        at_start(specimen("ext4", ext(0x3C, 0xC2))),
    ]
}
