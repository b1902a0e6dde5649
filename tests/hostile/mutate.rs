//! Damage: to the fields of an entry that is sealed again, to its bytes, to the slots as wholes, and to the chip's marks.

use nandimg::prng::SplitMix64;

use super::image::{Entry, FRAME, Found, Image, UNMAPPED, checksum, parse, seal};

/// An image made from one of `bases`, damaged as `seed` says.
pub(crate) fn damaged(bases: &[Image], seed: u64) -> Image {
    let mut rng = SplitMix64::new(seed);
    let mut image = bases[rng.below(bases.len() as u64) as usize].clone();
    for _ in 0..=rng.below(2) {
        match rng.below(20) {
            0..=13 => rewrite(&mut image, &mut rng),
            14..=16 => damage_bytes(&mut image, &mut rng),
            17 => damage_slots(&mut image, &mut rng),
            18 => damage_pages(&mut image, &mut rng),
            _ => mark(&mut image, &mut rng),
        }
    }
    image
}

/// One of `values`.
fn pick<T: Copy>(rng: &mut SplitMix64, values: &[T]) -> T {
    values[rng.below(values.len() as u64) as usize]
}

/// A 64-bit number at one of the edges.
fn extreme(rng: &mut SplitMix64) -> u64 {
    let edges = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 63];
    match rng.below(4) {
        0 => pick(rng, &edges),
        1 => u64::MAX - rng.below(3),
        2 => (1 << 63) - 1 - rng.below(2),
        _ => rng.next_u64() >> rng.below(64),
    }
}

/// Change what the entry of a slot says, and seal it.
fn rewrite(image: &mut Image, rng: &mut SplitMix64) {
    let first = rng.below(2) as usize;
    let entries = [first, 1 - first].map(|slot| match parse(image.slot(slot), image.shape.page) {
        Found::Entry(entry) => Some((slot, entry)),
        _ => None,
    });
    let ([Some((slot, mut entry)), _] | [None, Some((slot, mut entry))]) = entries.clone() else { return };
    // An entry that nobody uses hides its damage.
    let other = entries.iter().flatten().find(|(other, _)| *other != slot).map(|(_, e)| e.sequence);
    if let Some(other) = other
        && entry.sequence < other
        && rng.below(2) == 0
    {
        entry.sequence = other.wrapping_add(1);
    }
    for _ in 0..=rng.below(3) {
        match rng.below(12) {
            0 | 1 => damage_header(&mut entry, other, image, rng),
            2..=5 => damage_map(&mut entry, image, rng),
            6 | 7 => damage_counts(&mut entry, image, rng),
            8..=10 => damage_bad_table(&mut entry, image, rng),
            _ => damage_sizes(&mut entry, image, rng),
        }
    }
    put(image, slot, &entry, rng);
}

/// Write `entry` into `slot`, sealed; now and then with a length that lies.
fn put(image: &mut Image, slot: usize, entry: &Entry, rng: &mut SplitMix64) {
    let (mut payload, lengths) = entry.payload();
    if rng.below(16) == 0 {
        let at = pick(rng, &lengths);
        let true_len = u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
        let left = (payload.len() - at - 4) as u32;
        let edges = [
            0,
            1,
            3,
            true_len ^ 1,
            true_len + 4,
            true_len.wrapping_sub(4),
            left,
            left + 1,
            1 << 31,
            u32::MAX,
        ];
        let lie = pick(rng, &edges);
        payload[at..at + 4].copy_from_slice(&lie.to_le_bytes());
    }
    let mut bytes = seal(entry.sequence, &payload);
    let slot = image.slot_mut(slot);
    bytes.resize(slot.len(), 0xFF);
    slot.copy_from_slice(&bytes);
}

fn damage_header(entry: &mut Entry, other: Option<u64>, image: &Image, rng: &mut SplitMix64) {
    if rng.below(2) == 0 {
        entry.sequence = match other {
            Some(other) if rng.below(2) == 0 => {
                pick(rng, &[other, other.wrapping_add(1), other.wrapping_sub(1)])
            }
            _ => extreme(rng),
        };
        return;
    }
    let shape = &image.shape;
    let ends = [entry.map.len() * shape.block, shape.logical * shape.block, shape.blocks * shape.block];
    let near = (pick(rng, &ends) as u64 + rng.below(3)).saturating_sub(1);
    entry.logical_len = if rng.below(2) == 0 { near } else { extreme(rng) };
}

fn damage_map(entry: &mut Entry, image: &Image, rng: &mut SplitMix64) {
    if entry.map.is_empty() {
        return;
    }
    let data_blocks = image.shape.data_blocks() as u32;
    let at = rng.below(entry.map.len() as u64) as usize;
    let from = rng.below(entry.map.len() as u64) as usize;
    match rng.below(8) {
        0 | 1 => entry.map[at] = entry.map[from],
        2 => {
            let edges = [data_blocks, data_blocks + 1, image.shape.blocks as u32, 0x7FFF_FFFF, 0x8000_0000];
            entry.map[at] = pick(rng, &edges);
        }
        3 => entry.map[at] = UNMAPPED - rng.below(2) as u32,
        4 => entry.map[at] = rng.below(u64::from(data_blocks)) as u32,
        5 => entry.map.swap(at, from),
        // As on a volume that is full.
        6 => {
            for (map, block) in entry.map.iter_mut().zip(0..data_blocks) {
                *map = block;
            }
        }
        // Onto a block that is bad.
        _ => {
            let block = rng.below(u64::from(data_blocks)) as u32;
            entry.map[at] = block;
            entry.set_bad(image.shape.reserved + block as usize);
        }
    }
}

fn damage_counts(entry: &mut Entry, image: &Image, rng: &mut SplitMix64) {
    let rated = image.geometry.max_erase_cycles().unwrap_or(1000);
    let at = rng.below(entry.counts.len() as u64) as usize;
    let edges = [0, 1, rated, rated + 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 1, u32::MAX];
    let count = pick(rng, &edges);
    match rng.below(4) {
        0 => entry.counts.fill(count),
        1 => entry.counts.iter_mut().for_each(|n| *n = rng.next_u64() as u32),
        _ if entry.counts.is_empty() => {}
        _ => entry.counts[at] = count,
    }
}

fn damage_bad_table(entry: &mut Entry, image: &Image, rng: &mut SplitMix64) {
    let shape = &image.shape;
    let len = shape.bad_table_len();
    match rng.below(12) {
        0 => entry.bad.fill(pick(rng, &[0, 0xFF, 0x80, 1])),
        // Bits past the last block.
        1 => {
            for block in shape.blocks..entry.bad.len() * 8 {
                entry.set_bad(block);
            }
        }
        2 => entry.set_bad(rng.below(2 * shape.blocks_per_slot as u64) as usize),
        3 => entry.bad.resize(rng.below(len as u64) as usize, 0),
        4 => entry.bad.resize(len + 1 + rng.below(20) as usize, pick(rng, &[0, 0xFF])),
        5 => entry.set_bad(2 * shape.blocks_per_slot + rng.below(2) as usize),
        6 => entry.bad.fill(0),
        _ => {
            // As if data had been written to blocks that were bad, or had gone bad since.
            let mapped = entry.map.iter().filter(|&&n| n < shape.data_blocks() as u32).count() as u64;
            let nth = rng.below(mapped.max(1)) as usize;
            let block = entry.map.iter().copied().filter(|&n| n < shape.data_blocks() as u32).nth(nth);
            let any = rng.below(shape.data_blocks() as u64) as u32;
            let relative = if rng.below(2) == 0 { block.unwrap_or(any) } else { any };
            entry.set_bad(shape.reserved + relative as usize);
        }
    }
}

fn damage_sizes(entry: &mut Entry, image: &Image, rng: &mut SplitMix64) {
    let shape = &image.shape;
    match rng.below(9) {
        0 => entry.map.truncate(rng.below(shape.logical as u64) as usize),
        1 | 2 => {
            let fill = pick(rng, &[UNMAPPED, 0, shape.data_blocks() as u32 - 1]);
            entry.map.resize(shape.logical + 1 + rng.below(8) as usize, fill);
        }
        3 => {
            let len = (entry.counts.len() + 1).saturating_sub(2 * rng.below(2) as usize);
            entry.counts.resize(len, 7);
        }
        4 => entry.counts.resize(rng.below(2 * shape.blocks as u64) as usize, 0),
        5 => core::mem::swap(&mut entry.map, &mut entry.counts),
        6 => entry.map.clear(),
        _ => {
            entry.trailing.resize(rng.below(40) as usize, 0);
            rng.fill(&mut entry.trailing);
        }
    }
    let len = entry.payload().0.len() + FRAME;
    let too_long = len.saturating_sub(shape.slot_len()).div_ceil(4);
    if too_long > 0 && rng.below(4) > 0 {
        entry.trailing.clear();
        entry.map.truncate(entry.map.len().saturating_sub(too_long));
    }
}

/// Overwrite bytes of an entry; for the most part it is sealed again over the damage.
fn damage_bytes(image: &mut Image, rng: &mut SplitMix64) {
    let slot = image.slot_mut(rng.below(2) as usize);
    let claimed = u32::from_le_bytes(slot[12..16].try_into().unwrap()) as usize;
    let entry_len = claimed.saturating_add(FRAME).min(slot.len());
    for _ in 0..=rng.below(3) {
        // The first fields are few, and worth more than their share.
        let reach = if rng.below(2) == 0 { entry_len.min(28) } else { entry_len };
        let at = rng.below(reach as u64) as usize;
        let end = slot.len();
        match rng.below(5) {
            0 => slot[at] ^= 1 << rng.below(8),
            1 => slot[at] = pick(rng, &[0, 1, 0x7F, 0x80, 0xFF]),
            2 if at + 4 <= end => slot[at..at + 4].copy_from_slice(&(extreme(rng) as u32).to_le_bytes()),
            3 if at + 8 <= end => slot[at..at + 8].copy_from_slice(&extreme(rng).to_le_bytes()),
            // A length about as large as the slot.
            _ if rng.below(2) == 0 => {
                let near = (end - FRAME + 2).saturating_sub(rng.below(5) as usize) as u32;
                slot[12..16].copy_from_slice(&near.to_le_bytes());
            }
            _ => {
                let to = at + rng.below((end - at) as u64 + 1) as usize;
                rng.fill(&mut slot[at..to]);
            }
        }
    }
    if rng.below(4) > 0 {
        reseal(slot);
    }
}

/// Make the checksum right, if the header says where it lies.
fn reseal(slot: &mut [u8]) {
    let end = 16 + u32::from_le_bytes(slot[12..16].try_into().unwrap()) as usize;
    if slot.starts_with(b"FTLJ") && end + 16 <= slot.len() {
        let sum = checksum(&slot[..end]);
        slot[end..end + 16].copy_from_slice(&sum);
    }
}

/// Swap, copy and erase whole slots.
fn damage_slots(image: &mut Image, rng: &mut SplitMix64) {
    let len = image.shape.slot_len();
    let (a, b) = image.bytes[..2 * len].split_at_mut(len);
    match rng.below(4) {
        0 => a.swap_with_slice(b),
        1 => a.copy_from_slice(b),
        2 => b.copy_from_slice(a),
        _ => image.slot_mut(rng.below(2) as usize).fill(0xFF),
    }
}

/// Lose pages of a slot, as a torn commit does, or fill them with garbage.
fn damage_pages(image: &mut Image, rng: &mut SplitMix64) {
    let (page, slot_len) = (image.shape.page, image.shape.slot_len());
    let pages = (slot_len / page) as u64;
    let slot = rng.below(2) as usize;
    let from = rng.below(pages) as usize * page;
    let to = from + page * (1 + rng.below(pages - (from / page) as u64) as usize);
    match rng.below(4) {
        0 => image.slot_mut(slot)[from..].fill(0xFF),
        1 => image.slot_mut(slot)[from..to].fill(pick(rng, &[0, 0xFF])),
        2 => rng.fill(&mut image.slot_mut(slot)[from..to]),
        // The remains of an older, longer commit.
        _ => {
            let other = image.slot(1 - slot)[from..to].to_vec();
            image.slot_mut(slot)[from..to].copy_from_slice(&other);
        }
    }
}

/// Mark blocks as bad on the chip, behind the volume's back.
fn mark(image: &mut Image, rng: &mut SplitMix64) {
    let (reserved, blocks) = (image.shape.reserved as u64, image.shape.blocks as u64);
    let Some(marks) = &mut image.marks else { return };
    for _ in 0..=rng.below(3) {
        let first = if rng.below(4) == 0 { 0 } else { reserved };
        marks[(first + rng.below(blocks - first)) as usize] = true;
    }
}
