//! Damage to page-mapped volumes: mostly fields that lie, under a right CRC.

use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashHardware, PageAddr};
use nandimg::onflash::paged::anchor::Anchor;
use nandimg::onflash::paged::head::{HEAD_LEN, Head, Kind, MAGIC, open, seal};
use nandimg::onflash::paged::log::{LogPage, OpenBlock, Record, Written, encode_page, room};
use nandimg::onflash::paged::map::{self, MapEntry};
use nandimg::onflash::paged::summary::Summary;
use nandimg::onflash::paged::{NextPair, StoredPage};
use nandimg::prng::SplitMix64;

use super::page_image::{Base, PAGE, PAGES, offset, page_at};

/// A damaged volume.
pub(crate) struct Mutant {
    pub(crate) base: usize,
    pub(crate) chip: SimFlash,
    /// There is a page with a right CRC that the engine has not written.
    pub(crate) sealed: bool,
    /// What was done.
    pub(crate) said: Vec<String>,
}

pub(crate) fn damaged(bases: &[Base], seed: u64) -> Mutant {
    let mut rng = SplitMix64::new(seed);
    let base = rng.below(bases.len() as u64) as usize;
    let chip = bases[base].chip.clone();
    let mut mutant = Mutant { base, chip, sealed: false, said: vec![bases[base].name.to_string()] };
    let times = 1 + rng.below(2) * rng.below(3);
    let lying = rng.below(4) > 0;
    for _ in 0..times {
        if lying { mutant.lie(&bases[base], &mut rng) } else { mutant.break_bytes(&bases[base], &mut rng) }
    }
    mutant
}

const KINDS: [Kind; 6] = [Kind::Anchor, Kind::Log, Kind::Map, Kind::Directory, Kind::Table, Kind::Summary];

fn pick<T: Clone>(rng: &mut SplitMix64, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize].clone()
}

/// A number that somebody may not have thought of; sometimes one near `now`.
fn extreme(rng: &mut SplitMix64, now: u64) -> u64 {
    match rng.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 1,
        4 => now.wrapping_add(1),
        5 => now.wrapping_sub(1),
        6 => now ^ 1 << rng.below(40),
        7 => 1 << rng.below(64),
        8 => (1 << rng.below(64)) - 1,
        9 => rng.below(1024),
        10 => rng.below(64),
        _ => rng.next_u64(),
    }
}

fn small(rng: &mut SplitMix64, now: u32) -> u32 {
    extreme(rng, u64::from(now)) as u32
}

/// A block or, with `PAGES`, an address: mostly one that there is.
fn place(rng: &mut SplitMix64, blocks: u32, now: u32, pages: u32) -> u32 {
    if rng.below(3) == 0 { small(rng, now) } else { rng.below(u64::from(blocks * pages)) as u32 }
}

/// A metadata page: all kinds are as likely, and those that count likelier.
fn choose<'a>(base: &'a Base, rng: &mut SplitMix64) -> &'a (PageAddr, Head, Vec<u8>) {
    let kind = pick(rng, &KINDS);
    let mut of_kind: Vec<_> = base.metadata.iter().filter(|(_, head, _)| head.kind == kind).collect();
    if of_kind.is_empty() {
        of_kind = base.metadata.iter().collect();
    }
    if kind != Kind::Map && kind != Kind::Summary && rng.below(8) > 0 {
        let newest = of_kind.iter().map(|(_, head, _)| head.epoch).max();
        of_kind.retain(|(_, head, _)| Some(head.epoch) == newest);
        if kind == Kind::Log && rng.below(3) == 0 {
            let last = of_kind.iter().map(|(_, head, _)| head.number).max();
            of_kind.retain(|(_, head, _)| Some(head.number) == last);
        }
    }
    of_kind[rng.below(of_kind.len() as u64) as usize]
}

impl Mutant {
    fn put(&mut self, at: PageAddr, bytes: &[u8]) {
        self.chip.data_mut()[offset(at)..][..PAGE].copy_from_slice(bytes);
    }

    /// Any page of the chip.
    fn any_page(&self, rng: &mut SplitMix64) -> PageAddr {
        let blocks = u64::from(self.chip.geometry().blocks());
        let reach = if rng.below(4) == 0 { 4 } else { blocks };
        PageAddr { block: Block(rng.below(reach) as u32), page: rng.below(u64::from(PAGES)) as u32 }
    }

    /// Put something into a page whose CRC does not fit, or that is no page of the format's.
    fn break_bytes(&mut self, base: &Base, rng: &mut SplitMix64) {
        let at = if rng.below(6) == 0 { self.any_page(rng) } else { choose(base, rng).0 };
        let mut page = page_at(self.chip.data(), at).to_vec();
        let how = rng.below(8);
        match how {
            0 => rng.fill(&mut page),
            1 => page.fill(pick(rng, &[0, 0xFF])),
            2 => {
                rng.fill(&mut page);
                page[..4].copy_from_slice(&MAGIC);
                page[4] = 1 + rng.below(7) as u8;
            }
            3 => {
                let from = rng.below(PAGE as u64) as usize;
                page[from..].fill(0xFF);
            }
            _ => {
                for _ in 0..=rng.below(3) {
                    let reach = if rng.below(2) == 0 { HEAD_LEN } else { PAGE };
                    let at = rng.below(reach as u64) as usize;
                    page[at] ^= 1 << rng.below(8);
                }
            }
        }
        self.said.push(format!("broken {how} at {at}"));
        self.put(at, &page);
    }

    /// Change what a page says, and see that its CRC is right.
    fn lie(&mut self, base: &Base, rng: &mut SplitMix64) {
        match rng.below(12) {
            0 => return self.move_page(base, rng),
            1 => return self.forge_page(base, rng),
            _ => {}
        }
        let blocks = base.chip.geometry().blocks();
        let (at, head, _) = choose(base, rng).clone();
        let Ok((now, payload)) = open(page_at(self.chip.data(), at)) else { return };
        let (mut new, mut payload) = (now, payload.to_vec());
        match rng.below(8) {
            0 => change_head(&mut new, rng),
            1 => change_bytes(&mut payload, rng),
            2 => change_length(&mut payload, rng),
            _ => payload = change_payload(now.kind, payload, blocks, rng),
        }
        payload.truncate(PAGE - HEAD_LEN);
        self.said.push(format!("a lie at {at}: {now:?} -> {new:?}\n{payload:02x?}"));
        self.sealed = true;
        let alone = rng.below(4) == 0;
        for (twin, other, _) in &base.metadata {
            let is_it = *twin == at;
            let is_twin = other.kind == head.kind
                && other.number == head.number
                && other.epoch == head.epoch
                && head.kind != Kind::Summary;
            if is_it || is_twin && !alone {
                let mut mine = new;
                if new.address == now.address {
                    mine.address = other.address;
                }
                self.put(*twin, &seal(&mine, &payload, PAGE));
            }
        }
    }

    /// A whole page, at another place, with the right address or not.
    fn move_page(&mut self, base: &Base, rng: &mut SplitMix64) {
        let (from, mut head, payload) = choose(base, rng).clone();
        let to = if rng.below(2) == 0 { self.any_page(rng) } else { choose(base, rng).0 };
        let at_to = page_at(self.chip.data(), to).to_vec();
        if rng.below(4) > 0 {
            head.address = to.block.0 * PAGES + to.page;
        }
        if let Ok((other, _)) = open(&at_to) {
            match rng.below(4) {
                0 => (head.number, head.epoch) = (other.number, other.epoch),
                1 => head.epoch = other.epoch,
                2 => {
                    // They change places.
                    let address = from.block.0 * PAGES + from.page;
                    let swapped =
                        open(&at_to).map(|(_, payload)| seal(&Head { address, ..other }, payload, PAGE));
                    self.put(from, &swapped.unwrap());
                }
                _ => {}
            }
        }
        self.said.push(format!("moved from {from} to {to} as {head:?}"));
        self.put(to, &seal(&head, &payload, PAGE));
        self.sealed = true;
    }

    /// A page out of nothing.
    fn forge_page(&mut self, base: &Base, rng: &mut SplitMix64) {
        let (at, mut head, payload) = choose(base, rng).clone();
        let at = if rng.below(2) == 0 { self.any_page(rng) } else { at };
        head.kind = pick(rng, &KINDS);
        head.address = at.block.0 * PAGES + at.page;
        let mut forged = vec![0; rng.below((PAGE - HEAD_LEN) as u64 + 1) as usize];
        match rng.below(3) {
            0 => rng.fill(&mut forged),
            1 => forged.fill(0xFF),
            _ => forged = change_payload(head.kind, payload, base.chip.geometry().blocks(), rng),
        }
        forged.truncate(PAGE - HEAD_LEN);
        self.said.push(format!("forged at {at}: {head:?}"));
        self.put(at, &seal(&head, &forged, PAGE));
        self.sealed = true;
    }
}

fn change_head(head: &mut Head, rng: &mut SplitMix64) {
    match rng.below(7) {
        0 => head.kind = pick(rng, &KINDS),
        1 => head.flags = rng.next_u64() as u8 & pick(rng, &[7, 0xFF]),
        2 => head.volume = small(rng, head.volume),
        3 => head.epoch = small(rng, head.epoch),
        4 => head.number = extreme(rng, head.number),
        5 => head.address = small(rng, head.address),
        _ => head.erases = small(rng, head.erases),
    }
}

fn change_bytes(payload: &mut [u8], rng: &mut SplitMix64) {
    for _ in 0..=rng.below(3) {
        if payload.is_empty() {
            return;
        }
        let at = rng.below(payload.len() as u64) as usize;
        let width = pick(rng, &[1, 2, 4, 5, 8]).min(payload.len() - at);
        let mut now = [0; 8];
        now[..width].copy_from_slice(&payload[at..at + width]);
        let new = extreme(rng, u64::from_le_bytes(now)).to_le_bytes();
        payload[at..at + width].copy_from_slice(&new[..width]);
    }
}

fn change_length(payload: &mut Vec<u8>, rng: &mut SplitMix64) {
    let len = if rng.below(2) == 0 {
        rng.below(payload.len() as u64 + 1)
    } else {
        rng.below((PAGE - HEAD_LEN) as u64 + 1)
    };
    payload.resize(len as usize, pick(rng, &[0, 0xFF, 1]));
}

fn change_payload(kind: Kind, mut payload: Vec<u8>, blocks: u32, rng: &mut SplitMix64) -> Vec<u8> {
    // The pair that the chain goes on in: to a loop, the zone, nowhere.
    if !matches!(kind, Kind::Anchor | Kind::Summary) && payload.len() >= 8 && rng.below(6) == 0 {
        let (a, b) = (place(rng, blocks, 4, 1), place(rng, blocks, 5, 1));
        payload[..4].copy_from_slice(&a.to_le_bytes());
        if rng.below(2) == 0 {
            payload[4..8].copy_from_slice(&b.to_le_bytes());
        }
        return payload;
    }
    match kind {
        Kind::Anchor => change_anchor(payload, blocks, rng),
        Kind::Log => change_log(payload, blocks, rng),
        Kind::Map => change_map(payload, blocks, rng),
        Kind::Summary => change_summary(payload, rng),
        Kind::Witness => payload,
        Kind::Directory | Kind::Table => change_stream(kind, payload, blocks, rng),
    }
}

fn change_anchor(payload: Vec<u8>, blocks: u32, rng: &mut SplitMix64) -> Vec<u8> {
    let Ok(mut anchor) = Anchor::decode(&payload) else { return payload };
    match rng.below(24) {
        0 => anchor.version = small(rng, 1) as u16,
        1 => anchor.incompatible = small(rng, 0),
        2 => anchor.page_size = small(rng, anchor.page_size),
        3 => anchor.spare_size = small(rng, anchor.spare_size),
        4 => anchor.pages_per_block = small(rng, anchor.pages_per_block),
        5 => anchor.blocks = small(rng, anchor.blocks),
        6 => anchor.max_erase_cycles = small(rng, 0),
        7 => anchor.zone_blocks = if rng.below(2) == 0 { rng.below(20) as u16 } else { small(rng, 4) as u16 },
        8 => anchor.summary_pages = rng.below(10) as u8,
        9 => anchor.classes = if rng.below(2) == 0 { rng.below(10) as u8 } else { small(rng, 1) as u8 },
        10 => anchor.capacity_pages = small(rng, anchor.capacity_pages),
        11 => anchor.capacity_pages = rng.below(u64::from(blocks * PAGES)) as u32,
        12 => anchor.reserve_blocks = small(rng, anchor.reserve_blocks),
        13 => anchor.wear_interval = small(rng, anchor.wear_interval),
        14 => anchor.wear_threshold = small(rng, anchor.wear_threshold),
        15 => anchor.logical_len = extreme(rng, anchor.logical_len),
        16 => {
            anchor.logical_len = rng.below(u64::from(anchor.capacity_pages).saturating_mul(PAGE as u64) + 2);
        }
        17 => anchor.clock = extreme(rng, anchor.clock),
        18 => anchor.body.0 = place(rng, blocks, anchor.body.0, 1),
        19 => anchor.body.1 = place(rng, blocks, anchor.body.1, 1),
        20 => anchor.body.2 = if rng.below(2) == 0 { rng.below(9) as u32 } else { small(rng, 0) },
        21 => anchor.directory_pages = small(rng, anchor.directory_pages),
        22 => anchor.table_pages = small(rng, anchor.table_pages),
        _ => anchor.next_log = extreme(rng, anchor.next_log),
    }
    anchor.encode()
}

fn change_log(payload: Vec<u8>, blocks: u32, rng: &mut SplitMix64) -> Vec<u8> {
    let Ok(mut page) = LogPage::decode(&payload) else { return payload };
    let (mut repeated, mut records) = (page.repeated.decode(), page.records.decode());
    match rng.below(10) {
        0 => page.clock = extreme(rng, page.clock),
        1 => page.before = extreme(rng, page.before),
        2 => std::mem::swap(&mut records, &mut repeated),
        3 => records.clear(),
        4 => repeated = records.clone(),
        5..8 if !records.is_empty() => {
            let index = rng.below(records.len() as u64) as usize;
            change_record(&mut records[index], blocks, rng);
        }
        _ => {
            let record = any_record(blocks, rng);
            if rng.below(2) == 0 { records.insert(0, record) } else { records.push(record) }
        }
    }
    let encode = |records: Vec<Record>| {
        let mut out = Vec::new();
        for record in records {
            if record.put(&mut out, room(PAGE as u32)).is_some() {
                break;
            }
        }
        out
    };
    encode_page(page.next, (page.before, page.clock), &encode(repeated), &encode(records))
}

fn change_record(record: &mut Record, blocks: u32, rng: &mut SplitMix64) {
    match record {
        Record::Extent { address, moved, pages } => {
            let index = rng.below(pages.len().max(1) as u64) as usize;
            match (rng.below(6), pages.get_mut(index)) {
                (0, _) => *address = place(rng, blocks, *address, PAGES),
                (1, _) => *moved = !*moved,
                (2, Some(page)) => page.logical = small(rng, page.logical),
                (3, Some(page)) => page.crc = small(rng, page.crc),
                (4, Some(page)) => page.old = place(rng, blocks, page.old, PAGES),
                _ => {
                    let page =
                        Written { logical: rng.below(200) as u32, crc: 1, old: place(rng, blocks, 0, PAGES) };
                    pages.insert(0, page);
                }
            }
        }
        Record::Clean { prints, open, announced } => match rng.below(6) {
            0 => prints[rng.below(2) as usize] = small(rng, 0),
            1 => announced.push(place(rng, blocks, 0, 1)),
            2 => announced.clear(),
            3 => open.push(OpenBlock {
                block: place(rng, blocks, 0, 1),
                class: rng.below(9) as u8,
                next: rng.below(9) as u32,
            }),
            _ => {
                let index = rng.below(open.len().max(1) as u64) as usize;
                let Some(open) = open.get_mut(index) else { return };
                match rng.below(3) {
                    0 => open.block = place(rng, blocks, open.block, 1),
                    1 => open.class = small(rng, 0) as u8,
                    _ => {
                        open.next =
                            if rng.below(2) == 0 { rng.below(9) as u32 } else { small(rng, open.next) }
                    }
                }
            }
        },
        other => *other = any_record(blocks, rng),
    }
}

fn any_record(blocks: u32, rng: &mut SplitMix64) -> Record {
    let blocks_of =
        |rng: &mut SplitMix64| (0..=rng.below(6)).map(|_| place(rng, blocks, 0, 1)).collect::<Vec<u32>>();
    match rng.below(8) {
        0 => Record::Erase(blocks_of(rng)),
        1 => Record::Bad(place(rng, blocks, 0, 1)),
        2 => Record::Discard { first: pick(rng, &[0, 0, 1, 50, u32::MAX]), count: small(rng, 200) },
        3 => Record::Length(if rng.below(2) == 0 { extreme(rng, 0) } else { rng.below(80_000) }),
        4 => Record::Session,
        5 => {
            Record::Lost((0..=rng.below(3)).map(|_| (small(rng, 20), place(rng, blocks, 0, PAGES))).collect())
        }
        6 => Record::Clean {
            prints: [small(rng, 0), 0],
            open: vec![OpenBlock {
                block: place(rng, blocks, 0, 1),
                class: rng.below(3) as u8,
                next: rng.below(9) as u32,
            }],
            announced: blocks_of(rng),
        },
        _ => {
            let page = |rng: &mut SplitMix64| Written {
                logical: if rng.below(4) == 0 { small(rng, 0) } else { rng.below(200) as u32 },
                crc: small(rng, 0),
                old: place(rng, blocks, 0, PAGES),
            };
            let pages = (0..1 + rng.below(4)).map(|_| page(rng)).collect();
            Record::Extent { address: place(rng, blocks, 0, PAGES), moved: rng.below(2) == 0, pages }
        }
    }
}

fn change_map(payload: Vec<u8>, blocks: u32, rng: &mut SplitMix64) -> Vec<u8> {
    let (Ok(mut entries), Some(next)) = (map::decode(&payload), NextPair::of_payload(&payload)) else {
        return payload;
    };
    if entries.is_empty() {
        return payload;
    }
    let (a, b) = (rng.below(entries.len() as u64) as usize, rng.below(entries.len() as u64) as usize);
    match rng.below(8) {
        0 => entries[a] = MapEntry::Unmapped.into(),
        1 => entries[a] = MapEntry::Lost.into(),
        2 => entries[a] = entries[b],
        3 => entries.swap(a, b),
        4 => entries.fill(MapEntry::At { address: place(rng, blocks, 0, PAGES), crc: 0 }.into()),
        5 => drop(entries.pop()),
        _ => {
            let crc = match entries[a].unpack() {
                MapEntry::At { crc, .. } => crc,
                _ => 7,
            };
            entries[a] = MapEntry::At { address: place(rng, blocks, 0, PAGES), crc }.into();
        }
    }
    map::encode(next, &entries)
}

fn change_summary(payload: Vec<u8>, rng: &mut SplitMix64) -> Vec<u8> {
    let Ok(mut summary) = Summary::decode(&payload) else { return payload };
    let index = rng.below(summary.pages.len().max(1) as u64) as usize;
    match (rng.below(7), summary.pages.get_mut(index)) {
        (0, _) => summary.logical_len = extreme(rng, summary.logical_len),
        (1, _) => summary.class = small(rng, 0) as u8,
        (2, Some(page)) => *page = None,
        (3, Some(Some(page))) => page.logical = small(rng, page.logical),
        (4, Some(Some(page))) => page.crc = small(rng, page.crc),
        (5, Some(Some(page))) => page.stamp = extreme(rng, page.stamp),
        _ => summary
            .pages
            .insert(0, Some(StoredPage { logical: rng.below(300) as u32, crc: 0, stamp: extreme(rng, 9) })),
    }
    summary.encode()
}

/// A part of a directory or of a block table: numbers where they should be.
fn change_stream(kind: Kind, mut payload: Vec<u8>, blocks: u32, rng: &mut SplitMix64) -> Vec<u8> {
    if payload.len() < 24 {
        return payload;
    }
    let chunk = &mut payload[8..];
    if kind == Kind::Directory {
        let words = chunk.len() / 4;
        let at = 4 * rng.below(words as u64) as usize;
        let now = u32::from_le_bytes(chunk[at..at + 4].try_into().unwrap());
        let new = match rng.below(3) {
            0 => place(rng, blocks, now, 1),
            1 => place(rng, blocks, now, PAGES),
            _ => small(rng, now),
        };
        chunk[at..at + 4].copy_from_slice(&new.to_le_bytes());
        return payload;
    }
    // Rows of 15 bytes; 212 bytes a page, so that they begin somewhere else in each. A field of the same row of all pages, then.
    let at = if rng.below(2) == 0 {
        4 + 15 * rng.below(13) as usize
    } else {
        rng.below(chunk.len() as u64) as usize
    };
    let mut put = |field: usize, bytes: &[u8]| {
        if let Some(to) = chunk.get_mut(at + field..at + field + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    match rng.below(6) {
        0 | 1 => put(0, &[rng.below(16) as u8 | (rng.below(3) as u8) << 4]),
        2 => put(
            1,
            &(if rng.below(2) == 0 { rng.below(9) as u16 } else { small(rng, 0) as u16 }).to_le_bytes(),
        ),
        3 => put(3, &small(rng, 0).to_le_bytes()),
        4 => put(7, &small(rng, 0).to_le_bytes()),
        _ => put(11, &small(rng, 0).to_le_bytes()),
    }
    payload
}
