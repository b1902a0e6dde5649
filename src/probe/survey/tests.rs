use super::arithmetic::{nearest, shapes};
use super::clues::Beginnings;
use super::*;
use crate::prng::SplitMix64;

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SplitMix64::new(seed).fill(&mut bytes);
    bytes
}

#[test]
fn sizes_fit_the_shapes_of_chips() {
    let hints = Hints::default();
    let all = shapes(&hints);
    let fitting = |len: u64| all.iter().filter(|shape| shape.blocks_in(len).is_some()).collect::<Vec<_>>();
    let large_page = Shape { page_size: Some(2048), spare_size: 64, block_size: 128 << 10 };
    assert_eq!((large_page.raw_block_size(), large_page.blocks_in(1024 * 135_168)), (135_168, Some(1024)));
    assert!(fitting(1024 * 135_168).contains(&&large_page));
    assert_eq!(fitting(1024 * 135_168 + 1), Vec::<&Shape>::new());
    assert_eq!(fitting(0), Vec::<&Shape>::new());

    let only = Hints { page_size: Some(1536), spare_size: Some(70), block_size: Some(12_288) };
    let said = Shape { page_size: Some(1536), spare_size: 70, block_size: 12_288 };
    assert_eq!(shapes(&only).into_iter().collect::<Vec<_>>(), [said]);
    let without = Hints { spare_size: Some(0), ..hints };
    assert!(shapes(&without).iter().all(|shape| shape.spare_size == 0));
    let page = Hints { page_size: Some(4096), ..hints };
    assert!(shapes(&page).iter().all(|shape| shape.page_size == Some(4096)));
}

#[test]
fn the_nearest_size_is_that_of_a_chip_that_is_known() {
    let all = shapes(&Hints::default());
    for (len, blocks, raw_block, excess) in [
        (1024 * 135_168 + 1, 1024, 135_168, 1),
        (1024 * 135_168 - 512, 1024, 135_168, -512),
        (8192 * 16_896 + 16, 1024, 135_168, 16),
        (2048 * 139_264 - 2176, 2048, 139_264, -2176),
        (301 * 4096 + 3, 301, 4096, 3),
    ] {
        let found = nearest(len, &all);
        assert_eq!(
            (found[0].blocks, found[0].shape.raw_block_size(), found[0].excess),
            (blocks, raw_block, excess)
        );
        assert_eq!(found[0].size() as i64 + excess, len as i64);
        assert!(found.len() <= 3);
    }
    assert_eq!(nearest(1, &all)[0].blocks, 1);
    assert!(nearest(u64::MAX, &all).is_empty());
}

#[test]
fn writing_begins_at_the_first_page_of_blocks() {
    let image = |pages_per_block: usize, first: usize| {
        let mut image = vec![0xFF; 64 * pages_per_block * 528];
        for (number, block) in image.chunks_mut(pages_per_block * 528).enumerate() {
            let written = number * 7 % (pages_per_block - first);
            block[first * 528..][..written * 528].copy_from_slice(&random(number as u64, written * 528));
        }
        image
    };
    for pages in [16, 32, 64, 128] {
        let found = Beginnings::find(&image(pages, 0), 528).unwrap();
        assert_eq!(found.pages_per_block(), Some(pages as u64));
        assert!(found.total() > 40);
    }
    // From their second page on: that is no beginning.
    assert_eq!(Beginnings::find(&image(32, 1), 528).unwrap().pages_per_block(), None);
    let few = &image(32, 0)[..6 * 32 * 528];
    assert_eq!(Beginnings::find(few, 528).unwrap().pages_per_block(), None);
    assert_eq!(Beginnings::find(&vec![0xFF; 5280], 528).unwrap().total(), 0);
}

#[test]
fn headers_at_equal_distances_tell_the_block() {
    let mut image = vec![0; 40 * 4096];
    for block in [0, 1, 2, 4, 5, 6, 7, 20, 21] {
        image[block * 4096..][..4].copy_from_slice(b"UBI#");
    }
    assert_eq!(clues::ubi_spacing(&image).unwrap(), Some((4096, 7)));
    assert_eq!(clues::ubi_spacing(&image[..3 * 4096]).unwrap(), None);
}

#[test]
fn evidence_adds_up_and_never_to_more_than_all() {
    let mut candidate = Candidate::new(Some(2048), 64);
    assert_eq!(candidate.score(), 0.0);
    candidate.add(0.5, "one");
    candidate.add(0.5, "other");
    assert_eq!(candidate.score(), 0.75);
    candidate.add(-0.5, "against");
    assert_eq!(candidate.score(), 0.375);
    candidate.add(1.0, "proof");
    assert_eq!(candidate.score(), 0.5);
}

#[test]
fn spare_bytes_without_ecc_tell_pages_by_the_mark() {
    let mut image = random(1, 64 * 32 * 2112);
    for (number, page) in image.chunks_mut(2112).enumerate() {
        page[2048..].fill(0xFF);
        if number % (32 * 8) == 0 {
            page[2048] = 0;
        }
    }
    let best = |image: &Vec<u8>| {
        let survey = survey(image, &Known::default()).unwrap();
        let best = &survey.candidates[0];
        (best.page_size, best.spare_size, best.layout.as_ref().map(|layout| layout.name().to_string()))
    };
    assert_eq!(best(&image), (Some(2048), 64, Some("raw".to_string())));
    // With something behind the mark it is not known what.
    image.chunks_mut(2112).for_each(|page| page[2050..2058].copy_from_slice(&[0x12; 8]));
    assert_eq!(best(&image), (Some(2048), 64, None));
    let survey = survey(&image, &Known::default()).unwrap();
    assert!(
        survey.candidates[0].evidence.iter().any(|evidence| evidence.text.contains("spare bytes 2-9 hold"))
    );
    assert!(!survey.recognised());
}
