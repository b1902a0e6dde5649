//! The single pass over the file: windows, magic numbers, and what was found so far.
//!
//! Every structure begins at a byte of exactly one window, and a window carries [`HEAD_LEN`] bytes beyond those it is
//! responsible for, so a check never reads the file again. The work is bounded by the file's length times the number of
//! signatures, and by [`ATTEMPTS`] checks each.

use std::io;

use memchr::memmem::Finder;

use super::super::layouts::{self, PageLayout};
use super::super::source::ReadAt;
use super::head::{HEAD_LEN, Head, Hit, Proof, Role, Strength};
use super::signature::Signature;
use super::{boot, files, ftl, jffs2, mtd, rom};

/// Bytes a window is responsible for: small enough that searching it for every signature stays in the cache.
const STEP: usize = 256 << 10;

/// Checks a signature may cost: no image that is not made to waste time comes near.
const ATTEMPTS: u32 = 1 << 18;

const FAMILIES: [&[Signature]; 5] =
    [mtd::SIGNATURES, jffs2::SIGNATURES, ftl::SIGNATURES, rom::SIGNATURES, boot::SIGNATURES];

/// One kind of content, with the best evidence so far.
#[derive(Debug)]
pub(super) struct Find {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) offset: u64,
    pub(super) best: Option<Proof>,
    role: Role,
}

impl Find {
    /// The order that [`super`] describes: the lowest comes first.
    pub(super) fn rank(&self) -> (u8, Option<Strength>, bool, u64) {
        let strength = self.best.map(|(strength, _)| strength);
        let tier = match (self.role, strength) {
            (_, None | Some(Strength::Magic)) => 3,
            (Role::Boot, _) => 2,
            (Role::Content | Role::Inner, _) => u8::from(self.offset > 0),
        };
        (tier, strength, self.role == Role::Inner, self.offset)
    }
}

/// What was found so far, one entry a name.
#[derive(Default)]
pub(super) struct Finds(Vec<Find>);

impl Finds {
    fn add(&mut self, hit: Hit, offset: u64) {
        let Hit { name, title, role, alone, again } = hit;
        let Some(find) = self.0.iter_mut().find(|find| find.name == name) else {
            self.0.push(Find { name, title, offset, best: alone, role });
            return;
        };
        find.offset = find.offset.min(offset);
        let proof = again.or(alone);
        if let (Some((new, _)), old) = (proof, find.best)
            && old.is_none_or(|(old, _)| new < old)
        {
            find.best = proof;
        }
    }

    fn strength(&self, name: &str) -> Option<Strength> {
        self.0.iter().find(|find| find.name == name)?.best.map(|(strength, _)| strength)
    }

    /// Whether nothing further can come before what there is.
    pub(super) fn decided(&self) -> bool {
        self.0.iter().any(|find| find.rank().0 == 0)
    }
}

/// A signature being looked for.
struct Search {
    signature: &'static Signature,
    finder: Finder<'static>,
    attempts: u32,
}

impl Search {
    fn run(&mut self, window: &Head<'_>, finds: &mut Finds) {
        let Signature { name, magic, at, place, check } = *self.signature;
        if finds.strength(name) == Some(Strength::Checked) {
            return;
        }
        let end = window.bytes.len().min(at + STEP + magic.len() - 1);
        for start in self.finder.find_iter(window.bytes.get(at..end).unwrap_or_default()) {
            let head = part(window, start);
            if !place.fits(head.offset) {
                continue;
            }
            let Some(left) = self.attempts.checked_sub(1) else { return };
            self.attempts = left;
            if let Some(hit) = check(&head) {
                finds.add(hit, head.offset);
                if finds.strength(name) == Some(Strength::Checked) {
                    return;
                }
            }
        }
    }
}

/// The head that begins `start` bytes into the window.
fn part<'a>(window: &Head<'a>, start: usize) -> Head<'a> {
    let bytes = window.bytes.get(start..).unwrap_or_default();
    let bytes = bytes.get(..HEAD_LEN).unwrap_or(bytes);
    Head { bytes, offset: window.offset + start as u64, file_len: window.file_len }
}

/// What has no magic number to search for is looked for wherever a page begins.
fn pages(window: &Head<'_>, layout: PageLayout, finds: &mut Finds) {
    let first = window.offset.next_multiple_of(layout.stride()) - window.offset;
    let stride = usize::try_from(layout.stride()).unwrap_or(usize::MAX);
    let starts = usize::try_from(first).unwrap_or(usize::MAX)..window.bytes.len().min(STEP);
    for start in starts.step_by(stride) {
        let head = part(window, start);
        if let Some(hit) = mtd::yaffs2(&head) {
            finds.add(hit, head.offset);
        }
        if head.file_len - head.offset <= mtd::BBT_WITHIN
            && let Some(hit) = mtd::bad_block_table(&head, layout)
        {
            finds.add(hit, head.offset);
        }
    }
}

/// Read the file from its start to its end, or until there is `enough`, and say what was found in it, in no order.
pub(super) fn scan(source: &dyn ReadAt, enough: fn(&Finds) -> bool) -> io::Result<Vec<Find>> {
    let file_len = source.len();
    let room = usize::try_from(file_len).unwrap_or(usize::MAX).min(STEP + HEAD_LEN);
    let mut buffer = vec![0; room];
    let mut searches: Vec<Search> = FAMILIES
        .into_iter()
        .flatten()
        .map(|signature| Search { signature, finder: Finder::new(signature.magic), attempts: ATTEMPTS })
        .collect();
    let mut finds = Finds::default();
    for offset in (0..file_len).step_by(STEP) {
        buffer.truncate(usize::try_from(file_len - offset).unwrap_or(usize::MAX));
        source.read_at(offset, &mut buffer)?;
        let window = Head { bytes: &buffer, offset, file_len };
        if offset == 0
            && let Some(hit) = files::at_start(&part(&window, 0))
        {
            finds.add(hit, 0);
        }
        for search in &mut searches {
            search.run(&window, &mut finds);
        }
        for layout in layouts::all() {
            pages(&window, layout, &mut finds);
        }
        if enough(&finds) {
            break;
        }
    }
    Ok(finds.0)
}
