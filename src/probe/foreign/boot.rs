//! What boot loaders start from. A dump often begins with one, so they rank below the file systems that follow.

use super::head::{Head, Hit, Role, Strength};
use super::signature::{Place, Signature};

pub(super) const SIGNATURES: &[Signature] = &[
    Signature { name: "uimage", magic: &[0x27, 0x05, 0x19, 0x56], at: 0, place: Place::Page, check: uimage },
    Signature {
        name: "fit",
        magic: &[0xD0, 0x0D, 0xFE, 0xED],
        at: 0,
        place: Place::Page,
        check: device_tree,
    },
];

/// A U-Boot image: 64 bytes, big-endian, with the CRC-32 of the header, taken with that field zero, at 4
/// (`legacy_img_hdr` in include/image.h of u-boot/u-boot).
fn uimage(head: &Head<'_>) -> Option<Hit> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head.range(0, 4)?);
    crc.update(&[0; 4]);
    crc.update(head.range(8, 56)?);
    let valid = crc.finalize() == head.be32(4)?;
    let evidence = "a header with a valid CRC";
    valid.then(|| Hit::new("uimage", "a U-Boot image", Role::Boot, Strength::Checked, evidence))
}

/// A flattened device tree, version 17: structure and strings lie within the total size, and the structure begins with
/// a node (Devicetree Specification, chapter 5). A FIT image is one whose root has a node `images`
/// (doc/usage/fit/source_file_format.rst of u-boot/u-boot).
fn device_tree(head: &Head<'_>) -> Option<Hit> {
    const BEGIN_NODE: u32 = 1;
    let [total, structure, strings, reserved] =
        [head.be32(4)?, head.be32(8)?, head.be32(12)?, head.be32(16)?];
    let within = |from: u32, len: u32| from >= 40 && from.checked_add(len).is_some_and(|end| end <= total);
    let version = (16..=17).contains(&head.be32(24)?) && (17..64).contains(&head.be32(20)?);
    let (strings_len, structure_len) = (head.be32(32)?, head.be32(36)?);
    if !version || reserved < 40 || !within(structure, structure_len) || !within(strings, strings_len) {
        return None;
    }
    let nodes = head.bytes.get(usize::try_from(structure).ok()?..);
    // Beyond the head, or with spare bytes before it, the structure is taken on trust.
    let evidence = match head.be32(usize::try_from(structure).ok()?) {
        Some(BEGIN_NODE) => "a device tree header whose fields make sense, and the root node",
        _ => "a device tree header whose fields make sense",
    };
    let images = memchr::memmem::find(nodes.unwrap_or_default(), b"\0\0\0\x01images\0").is_some();
    let (name, title) =
        if images { ("fit", "a U-Boot FIT image") } else { ("dtb", "a flattened device tree") };
    Some(Hit::new(name, title, Role::Boot, Strength::Structural, evidence))
}
