use super::*;
use crate::layout::{CodeKind, Interval};
use crate::prng::SplitMix64;

fn preset(name: &str, page_size: u32, spare_size: u32) -> Layout {
    Layout::preset(name, page_size, spare_size).unwrap()
}

/// An image of `pages` pages, of which `content` fills the data.
fn image(layout: &Layout, pages: u64, mut content: impl FnMut(u64, &mut [u8])) -> Vec<u8> {
    let codec = PageCodec::new(layout);
    let mut data = vec![0; layout.page_size() as usize];
    let mut image = Vec::new();
    for page in 0..pages {
        let mut raw = vec![0xFF; layout.raw_page_size()];
        content(page, &mut data);
        codec.encode(&data, &mut raw);
        image.extend(raw);
    }
    image
}

fn random_image(layout: &Layout, pages: u64, seed: u64) -> Vec<u8> {
    let mut rng = SplitMix64::new(seed);
    image(layout, pages, |_, data| rng.fill(data))
}

fn scores(image: &[u8]) -> Vec<ScoredLayout> {
    score_layouts(image, &Hints::default(), None).unwrap()
}

fn detect(image: &[u8]) -> Option<ScoredLayout> {
    detect_layout(image, &Hints::default(), None).unwrap()
}

#[track_caller]
fn assert_detected(image: &[u8], layout: &Layout) -> ScoredLayout {
    let (page, spare) = (layout.page_size(), layout.spare_size());
    let found =
        detect(image).unwrap_or_else(|| panic!("{} {page}+{spare}: {:?}", layout.name(), scores(image)));
    assert_eq!((&found.layout, found.layout.name()), (layout, layout.name()));
    found
}

/// Every layout with a code that there is for the shapes that are tried.
fn all_layouts() -> Vec<Layout> {
    Hints::default().with_spare().into_iter().flat_map(|shape| candidates(shape, None)).collect()
}

#[test]
fn every_layout_is_told_from_all_others() {
    let layouts = all_layouts();
    for (seed, layout) in (0..).zip(&layouts) {
        let pages = u64::from(16384 / layout.page_size()).min(16);
        let found = assert_detected(&random_image(layout, pages, seed), layout);
        assert_eq!((found.count.clean, found.score()), (pages, 1.0), "{found:?}");
    }
    assert!(layouts.len() > 200, "{}", layouts.len());
}

/// Flip `flips` bits in each step of each page.
fn flip_in_each_step(image: &mut [u8], layout: &Layout, flips: u64, rng: &mut SplitMix64) {
    for raw in image.chunks_mut(layout.raw_page_size()) {
        for step in layout.steps() {
            let bits = step.bits();
            let first = rng.below(bits);
            for i in 0..flips {
                let bit = step.code_bit((first + i * (bits / flips)) % bits).unwrap();
                raw[bit as usize / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

#[test]
fn as_many_flips_as_the_code_corrects_hide_nothing() {
    let mut rng = SplitMix64::new(1);
    for name in
        ["linux-hamming", "linux-bch2", "linux-bch4", "linux-bch8", "am335x-bch8", "gpmi-bch8", "harman-bch4"]
    {
        let layout = preset(name, 2048, 64);
        let mut image = random_image(&layout, 24, 2);
        flip_in_each_step(&mut image, &layout, layout.strength().into(), &mut rng);
        let found = assert_detected(&image, &layout);
        let bits = 24 * u64::from(layout.strength()) * layout.steps().len() as u64;
        assert_eq!((found.count.corrected, found.count.corrected_bits), (24, bits), "{name}");
        assert_eq!(found.count.right(), 1.0);
    }
}

#[test]
fn torn_pages_do_not_speak_against_a_layout() {
    let mut rng = SplitMix64::new(3);
    for name in ["linux-hamming", "linux-bch4", "linux-bch8", "qcom-bch4", "gpmi-bch4"] {
        let layout = preset(name, 2048, 64);
        let mut image = random_image(&layout, 60, 4);
        for torn in image.chunks_mut(2112).step_by(3) {
            let from = 100 + rng.below(1500) as usize;
            torn[from..].fill(0xFF);
        }
        let found = assert_detected(&image, &layout);
        // Some seem to have one flip, under Hamming.
        assert_eq!((found.count.pages, found.count.clean), (60, 40), "{name}");
        assert!(found.count.uncorrectable >= 15, "{name}: {:?}", found.count);
    }
}

#[test]
fn a_boot_loader_in_another_layout_does_not_speak_against_the_rest() {
    let (boot, rest) = (preset("am335x-bch8", 2048, 64), preset("linux-bch4", 2048, 64));
    for boot_pages in [8, 64, 100] {
        let image = [random_image(&boot, boot_pages, 1), random_image(&rest, 256 - boot_pages, 2)].concat();
        assert_detected(&image, &rest);
    }
    let half_and_half = [random_image(&boot, 128, 1), random_image(&rest, 128, 2)].concat();
    assert_eq!(scores(&half_and_half).len(), 2);
}

#[test]
fn pages_that_linux_wrote_are_recognised() {
    let hamming: &[u8] = include_bytes!("../../../testdata/linux-mtd/linux61_hamming256_2048+64_16pages.raw");
    let bch: &[u8] = include_bytes!("../../../testdata/linux-mtd/linux61_bch4_2048+64_16pages.raw");
    assert_detected(hamming, &preset("linux-hamming", 2048, 64));
    assert_detected(bch, &preset("linux-bch4", 2048, 64));
    // One step alone that is not trivial: possible, not certain.
    let table: &[u8] =
        include_bytes!("../../../testdata/linux-mtd/linux61_bbt_oob_2048+64_block14+15_page0.raw");
    let [scored] = &scores(table)[..] else { panic!("{:?}", scores(table)) };
    assert_eq!((&scored.layout, scored.is_certain()), (&preset("linux-hamming", 2048, 64), false));
    assert!((0.4..0.6).contains(&scored.score()), "{scored:?}");
}

/// A large image that is erased but for some content.
struct Sparse {
    len: u64,
    at: u64,
    content: Vec<u8>,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        assert!(offset + buf.len() as u64 <= self.len);
        for (at, byte) in (offset..).zip(buf) {
            let within = at.checked_sub(self.at).and_then(|at| self.content.get(at as usize));
            *byte = within.copied().unwrap_or(0xFF);
        }
        Ok(())
    }
}

#[test]
fn one_written_block_among_many_is_found() {
    for (name, page, spare) in
        [("linux-hamming", 2048, 64), ("linux-bch4", 2048, 128), ("linux-bch8", 4096, 224)]
    {
        let layout = preset(name, page, spare);
        let block = 64 * layout.raw_page_size() as u64;
        for written in [0, 777, 1023] {
            let source =
                Sparse { len: 1024 * block, at: written * block, content: random_image(&layout, 5, written) };
            let found = detect_layout(&source, &Hints::default(), None).unwrap().expect(name);
            assert_eq!((&found.layout, found.count.clean), (&layout, 5));
        }
    }
}

/// The first steps of these pages lie as those of smaller and larger ones do, and most samples start where both start.
#[test]
fn pages_are_not_taken_for_the_first_part_of_others() {
    for name in ["gpmi-bch2", "gpmi-bch4"] {
        let layout = preset(name, 2048, 64);
        for pages in [60, 256, 1024] {
            assert_detected(&random_image(&layout, pages, pages), &layout);
        }
    }
}

/// Nearly all of it is erased, pages begin alike under layouts of other sizes, and ECC lies between data.
#[test]
fn pages_with_little_in_them_are_recognised() {
    for (name, page, spare) in [
        ("hermes2-bch8", 2048, 64),
        ("qcom-bch8", 4096, 224),
        ("gpmi-bch2", 2048, 64),
        ("gpmi-bch8", 4096, 128),
    ] {
        let layout = preset(name, page, spare);
        let mut rng = SplitMix64::new(1);
        let image = image(&layout, 24, |number, data| {
            data.fill(0xFF);
            rng.fill(&mut data[..40 + 7 * number as usize]);
        });
        assert_detected(&image, &layout);
    }
}

#[test]
fn flips_in_erased_pages_do_not_take_the_place_of_content() {
    let layout = preset("linux-bch4", 2048, 64);
    let mut image = vec![0xFF; 4096 * 2112];
    image[100 * 2112..][..30 * 2112].copy_from_slice(&random_image(&layout, 30, 1));
    image.chunks_mut(2112).zip(0..).for_each(|(page, number)| page[number * 7 % 2112] ^= 4);
    assert_eq!(assert_detected(&image, &layout).count.corrected, 30);
}

#[test]
fn what_is_known_beforehand_narrows_the_search() {
    let layout = preset("linux-bch4", 2048, 64);
    let image = random_image(&layout, 4, 5);
    let with = |hints: Hints, name: Option<&str>| score_layouts(&image[..], &hints, name).unwrap();
    let page_size = |size| Hints { page_size: Some(size), ..Hints::default() };
    assert_eq!(with(page_size(2048), None).len(), 1);
    assert_eq!(with(page_size(4096), None), []);
    assert_eq!(with(Hints { spare_size: Some(0), ..Hints::default() }, None), []);
    assert_eq!(with(Hints::default(), Some("linux-bch4")).len(), 1);
    for name in ["linux-bch8", "raw", "unheard-of"] {
        assert_eq!(with(Hints::default(), Some(name)), [], "{name}");
    }
    // A shape that no chip has is tried where it is said.
    let odd = preset("linux-bch4", 1536, 70);
    let image = random_image(&odd, 4, 6);
    assert_eq!(detect(&image), None);
    let hints = Hints { page_size: Some(1536), spare_size: Some(70), block_size: None };
    assert_eq!(detect_layout(&image[..], &hints, None).unwrap().unwrap().layout, odd);
    let nonsense = Hints { page_size: Some(0), spare_size: Some(32), block_size: None };
    assert_eq!(score_layouts(&image[..], &nonsense, None).unwrap(), []);
}

/// What an image without a layout of ours may hold: page data and spare bytes by kind.
const DATA: &[fn(&mut SplitMix64, u64, &mut [u8])] = &[
    |rng, _, data| rng.fill(data),
    |_, page, data| data.fill(page as u8),
    |rng, _, data| data.fill(*[0x55, 0xAA, 0x00, 0xFF, 0x5A].get(rng.below(5) as usize).unwrap()),
    |_, page, data| count_up(page, data, 1),
    |_, page, data| count_up(page, data, 2),
    |_, page, data| count_up(page, data, 4),
    |_, page, data| count_up(page, data, 8),
    |rng, _, data| few_bits(rng, data, 0x00),
    |rng, _, data| few_bits(rng, data, 0xFF),
    |rng, _, data| data.iter_mut().for_each(|byte| *byte = b"etaoin shrdlu\n"[rng.below(14) as usize]),
    |rng, _, data| data.iter_mut().for_each(|byte| *byte = if rng.below(2) == 0 { 0xFF } else { 0x00 }),
    |rng, _, data| {
        let written = rng.below(data.len() as u64 + 1) as usize;
        data.fill(0xFF);
        rng.fill(&mut data[..written]);
    },
    |_, _, data| SplitMix64::new(7).fill(data),
    |rng, page, data| {
        SplitMix64::new(8).fill(data);
        data[..8].copy_from_slice(&page.to_le_bytes());
        data[rng.below(16) as usize] ^= 1;
    },
];

fn count_up(page: u64, data: &mut [u8], width: usize) {
    let first = page * (data.len() / width) as u64;
    for (number, chunk) in (first..).zip(data.chunks_mut(width)) {
        chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
    }
}

fn few_bits(rng: &mut SplitMix64, data: &mut [u8], ground: u8) {
    data.fill(ground);
    for _ in 0..rng.below(20) {
        let bit = rng.below(8 * data.len() as u64) as usize;
        data[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn chance_and_structure_make_no_layout() {
    let mut tried = 0;
    for seed in 0..12 {
        let mut rng = SplitMix64::new(seed);
        for (data, spare) in DATA.iter().flat_map(|data| DATA.iter().map(move |spare| (data, spare))) {
            let (page_size, spare_size) = if rng.below(16) == 0 { (2048, 64) } else { (512, 16) };
            let mut image = Vec::new();
            for page in 0..3 + 2 * rng.below(8) {
                let mut raw = vec![0; page_size + spare_size];
                let (front, back) = raw.split_at_mut(page_size);
                data(&mut rng, page, front);
                spare(&mut rng, page, back);
                image.extend(raw);
            }
            assert_eq!(scores(&image), [], "seed {seed}");
            tried += 1;
        }
    }
    assert!(tried > 2000, "{tried}");
}

#[test]
fn pages_without_spare_bytes_make_no_layout() {
    for seed in 0..20 {
        let mut rng = SplitMix64::new(seed);
        for data in DATA {
            // Long enough to be taken for pages with spare bytes of several shapes.
            let mut image = vec![0; 33 * 2048];
            image.chunks_mut(2048).zip(0..).for_each(|(chunk, page)| data(&mut rng, page, chunk));
            assert_eq!(scores(&image), [], "seed {seed}");
        }
    }
}

/// A code that no preset has: steps of 1024 bytes.
#[test]
fn a_code_that_is_not_known_is_taken_for_no_other() {
    let mut spec = preset("linux-bch8", 2048, 64).spec().clone();
    spec.code = Some(
        CodeKind::Bch {
            m: 14,
            t: 8,
            polynomial: 0x402B,
            erased_mask: true,
            reverse_bits: false,
            align: crate::ecc::Align::Left,
        }
        .into(),
    );
    spec.steps[0].times = 2;
    spec.steps[0].protects = vec![Interval::bytes(0, 1024).advancing(8 * 1024)];
    spec.steps[0].ecc = vec![Interval::bytes(2048 + 36, 14).advancing(8 * 14)];
    spec.free.clear();
    let unknown = Layout::new(spec).unwrap();
    for seed in 0..50 {
        assert_eq!(scores(&random_image(&unknown, 32, seed)), []);
    }
}

#[test]
fn pages_are_counted_by_kind() {
    let layout = preset("linux-bch4", 2048, 64);
    let mut image = random_image(&layout, 6, 9);
    image.extend(vec![0xFF; 2 * 2112]);
    // Flips in a page with content, in a blank one, and too many in one step.
    for bit in [0, 5000, 9000] {
        image[bit / 8] ^= 1 << (bit % 8);
    }
    image[7 * 2112] = 0xFE;
    image[2112..][..5].iter_mut().for_each(|byte| *byte ^= 1);
    let expected =
        EccCount { pages: 8, clean: 4, corrected: 1, corrected_bits: 4, uncorrectable: 1, blank: 2 };
    let mut told = Vec::new();
    let count = count_pages(&image[..], &layout, 100, |done, of| told.push((done, of))).unwrap();
    assert_eq!((count, told.len(), told[7]), (expected, 8, (8, 8)));
    assert_eq!(count.right(), 5.0 / 6.0);
    assert_eq!(count_pages(&image[..], &layout, 4, |_, _| ()).unwrap().pages, 4);
    assert_eq!(count_pages(&image[..100], &layout, 4, |_, _| ()).unwrap(), EccCount::default());
    assert_eq!(EccCount::default().right(), 0.0);
}
