use super::super::volumes::{Search, Seen, find_volumes, look_at};
use super::specimens::{PLAIN, Shape};
use super::*;
use crate::onflash::paged::head::{Head, Kind, seal};

fn search(image: &[u8]) -> Search {
    find_volumes(image, &Hints::default()).unwrap()
}

fn shape_of(v: &FoundVolume) -> (Option<u32>, u32, u32, Option<u32>, u32) {
    assert_eq!(v.format, Format::Page);
    (v.page_size, v.spare_size, v.block_size, v.blocks, v.first_block)
}

/// The one volume that is found.
#[track_caller]
fn found(image: &[u8]) -> (Option<u32>, u32, u32, Option<u32>, u32) {
    let search = search(image);
    let best = search.best(|_| true);
    assert_eq!(best.len(), 1, "{search:?}");
    shape_of(best[0])
}

#[test]
fn an_anchor_tells_the_geometry() {
    for shape in [
        PLAIN,
        Shape { spare: 16, ..PLAIN },
        Shape { page: 2048, spare: 64, pages: 64, blocks: 20, volume: 1 },
        Shape { page: 256, pages: 8, blocks: 300, ..PLAIN },
        Shape { page: 32_768, spare: 2208, pages: 4, blocks: 16, ..PLAIN },
        Shape { page: 1000, spare: 7, pages: 12, ..PLAIN },
    ] {
        let image = shape.volume();
        assert_eq!(found(&image), shape.told(0));
        assert_eq!(search(&image).best(|_| true)[0].max_erase_cycles, Some(3000));
        // One is enough, wherever in the zone it stands.
        for (block, page) in [(0, 0), (2, 3), (3, shape.pages - 1)] {
            let mut image = shape.blank();
            shape.put(&mut image, Kind::Anchor, block, page, &shape.anchor());
            assert_eq!(found(&image), shape.told(0), "block {block}, page {page}");
        }
    }
}

#[test]
fn a_volume_further_in_a_dump_is_found() {
    for spare in [0, 16] {
        let shape = Shape { spare, ..PLAIN };
        let mut image = vec![0xA5; 3 * shape.raw_block()];
        image.extend(shape.volume());
        image.extend(vec![0xFF; 2 * shape.raw_block()]);
        assert_eq!(found(&image), shape.told(3));
        // Not at whole blocks: that is no dump of a chip.
        assert!(search(&image[100..]).best(|_| true).iter().all(|v| v.blocks.is_none()));
    }
}

#[test]
fn a_dump_that_was_cut_short_keeps_its_geometry() {
    let image = PLAIN.volume();
    for keep in [30, 8, 2] {
        assert_eq!(found(&image[..keep * PLAIN.raw_block()]), PLAIN.told(0), "{keep} blocks");
    }
}

#[test]
fn an_anchor_out_of_place_tells_nothing() {
    let mut image = PLAIN.blank();
    // Past the zone, it is data.
    PLAIN.put(&mut image, Kind::Anchor, 9, 0, &PLAIN.anchor());
    let search = search(&image);
    assert!(search.volumes.is_empty(), "{search:?}");
    assert_eq!(search.page.valid, 1);
}

#[test]
fn a_volume_within_a_volume_is_data() {
    let inner = Shape { pages: 8, blocks: 20, volume: 9, ..PLAIN };
    let mut outer = PLAIN.volume();
    outer[8 * PLAIN.raw_block()..][..inner.raw_block() * 20].copy_from_slice(&inner.volume());
    assert_eq!(found(&outer), PLAIN.told(0));
    // It is found by who asks for it.
    let search = search(&[vec![0xA5; PLAIN.raw_block()], outer.clone()].concat());
    let best = search.best(|v| v.first_block == 2 * 9);
    assert_eq!(best.iter().map(|v| shape_of(v)).collect::<Vec<_>>(), [inner.told(18)]);
    assert_eq!(search.best(|_| true).len(), 1);
    assert_eq!(search.best(|_| true)[0].first_block, 1);

    // Without an anchor of its own the outer one is still what lies first.
    outer[..4 * PLAIN.raw_block()].fill(0xFF);
    PLAIN.put_map_pages(&mut outer, 5, 3);
    let (page, spare, block, blocks, first) = found(&outer);
    assert_eq!((page, spare, block, blocks, first), (Some(512), 0, 512 * 16, None, 0));
}

#[test]
fn where_nothing_of_it_lies_before_another_both_are_named() {
    let inner = Shape { pages: 8, blocks: 20, volume: 9, ..PLAIN };
    let mut outer = PLAIN.blank();
    PLAIN.put_summaries(&mut outer, 20..30);
    outer[8 * PLAIN.raw_block()..][..inner.raw_block() * 20].copy_from_slice(&inner.volume());
    let search = search(&outer);
    let firsts: Vec<u32> = search.best(|_| true).iter().map(|v| v.first_block).collect();
    assert_eq!(firsts.len(), 2, "{search:?}");
    assert!(firsts.contains(&0) && firsts.contains(&16), "{search:?}");
}

#[test]
fn a_copy_of_a_volume_in_itself_is_data() {
    let mut image = PLAIN.wiped();
    let head = PLAIN.volume()[..10 * PLAIN.raw_block()].to_vec();
    PLAIN.put_map_pages(&mut image, 4, 4);
    image[24 * PLAIN.raw_block()..][..head.len()].copy_from_slice(&head);
    let (_, _, block, _, first) = found(&image);
    assert_eq!((block, first), (512 * 16, 0));
}

#[test]
fn summaries_tell_what_anchors_would() {
    for shape in [
        PLAIN,
        Shape { spare: 16, ..PLAIN },
        Shape { page: 2048, spare: 64, pages: 64, blocks: 24, volume: 1 },
        // Two pages a summary.
        Shape { pages: 64, blocks: 24, ..PLAIN },
        Shape { page: 4096, spare: 224, pages: 128, blocks: 22, ..PLAIN },
        Shape { pages: 24, blocks: 30, ..PLAIN },
        Shape { page: 16_384, spare: 1664, pages: 8, blocks: 22, ..PLAIN },
    ] {
        let told = shape.told(0);
        assert_eq!(found(&shape.wiped()), (told.0, told.1, told.2, None, 0));
        let mut image = shape.blank();
        shape.put_summaries(&mut image, [7, 9]);
        assert_eq!(found(&image), (told.0, told.1, told.2, None, 0), "two blocks tell");
        let dump = [vec![0xA5; 5 * shape.raw_block()], image].concat();
        assert_eq!(found(&dump), (told.0, told.1, told.2, None, 5));
    }
}

#[test]
fn what_nothing_tells_is_left_open() {
    let mut image = PLAIN.blank();
    PLAIN.put_map_pages(&mut image, 12, 6);
    let found = search(&image);
    let best = found.best(|_| true);
    assert!(best.len() > 1, "{found:?}");
    assert!(best.iter().all(|v| v.page_size == Some(512) && v.spare_size == 0), "{found:?}");
    // Who knows the block size knows all.
    let hints = Hints { block_size: Some(512 * 16), ..Hints::default() };
    let found = find_volumes(&image[..], &hints).unwrap();
    assert_eq!(found.best(|_| true).iter().map(|v| v.block_size).collect::<Vec<_>>(), [512 * 16]);
    // One page alone says nothing, without the distance to the next.
    let mut image = PLAIN.blank();
    PLAIN.put_summaries(&mut image, [7]);
    assert!(search(&image).volumes.is_empty());
    let hints = Hints { page_size: Some(512), spare_size: Some(0), block_size: None };
    let found = find_volumes(&image[..], &hints).unwrap();
    assert_eq!(found.best(|_| true).iter().map(|v| v.block_size).collect::<Vec<_>>(), [512 * 16]);
}

#[test]
fn the_zone_is_looked_at_where_the_geometry_is_known() {
    let geometry = |s: Shape| Geometry::new(s.page, s.spare, s.page * s.pages, s.blocks).unwrap();
    let image = [vec![0xA5; PLAIN.raw_block()], PLAIN.volume()].concat();
    let look = |shape: Shape, start: usize| look_at(&image[..], &geometry(shape), start as u64).unwrap();
    assert!(matches!(look(PLAIN, PLAIN.raw_block()), Seen::Page(v) if shape_of(&v) == PLAIN.told(1)));
    assert!(!matches!(look(PLAIN, 0), Seen::Page(_)));
    let other = Shape { blocks: 39, ..PLAIN };
    assert!(!matches!(look(other, PLAIN.raw_block()), Seen::Page(_)));
    let mut damaged = PLAIN.volume();
    damaged.chunks_mut(512).take(64).for_each(|page| page[40] ^= 1);
    let seen = look_at(&damaged[..], &geometry(PLAIN), 0).unwrap();
    assert_eq!(seen, Seen::Magic(Format::Page));
    let nothing = look_at(&PLAIN.blank()[..], &geometry(PLAIN), 0).unwrap();
    assert_eq!(nothing, Seen::Nothing);
}

#[test]
fn of_two_page_mapped_ones_in_one_place_the_smaller_zone_came_later() {
    let (old, new) = (Shape { pages: 32, blocks: 20, volume: 9, ..PLAIN }, PLAIN);
    let mut image = old.blank();
    old.put(&mut image, Kind::Anchor, 3, 0, &old.anchor());
    new.put(&mut image, Kind::Anchor, 3, 0, &new.anchor());
    assert_eq!(found(&image), new.told(0));
    assert_eq!(found(&[image, vec![0; 512]].concat()), new.told(0));
}

#[test]
fn claims_of_metadata_cost_a_bounded_amount() {
    // A magic in every fourth word, each with the largest payload there may be.
    let mut image = vec![0; 4 << 20];
    for at in image.chunks_exact_mut(16) {
        at[..8].copy_from_slice(&[b'N', b'I', b'M', b'G', 1, 0, 0xDC, 0x7F]);
    }
    let found = search(&image);
    assert!(found.volumes.is_empty() && found.exhausted, "{found:?}");
    assert_eq!(found.page.first_magic, Some(0));
}

#[test]
fn numbers_out_of_all_proportion_do_no_harm() {
    let wild = [0, 1, 255, 256, 32_768, 32_769, u32::MAX / 2, u32::MAX];
    for page in wild {
        for pages in wild {
            for blocks in [0, 40, u32::MAX] {
                let shape = Shape { page, pages, blocks, ..PLAIN };
                let mut image = PLAIN.blank();
                for (block, at) in [(0, 0), (2, 5)] {
                    PLAIN.put(&mut image, Kind::Anchor, block, at, &shape.anchor());
                }
                let _ = search(&image);
            }
        }
    }
    // Pages whose addresses contradict each other.
    let mut image = PLAIN.blank();
    for (i, page) in (0u32..).zip(image.chunks_mut(512)) {
        let address = i.wrapping_mul(2_654_435_761);
        let head = Head { kind: Kind::Summary, flags: 0, volume: 1, epoch: 1, number: 1, address, erases: 1 };
        page.copy_from_slice(&seal(&head, &[0; 60], 512));
    }
    let _ = search(&image);
    let hints = Hints { page_size: Some(512), spare_size: Some(u32::MAX), block_size: Some(1) };
    let _ = find_volumes(&image[..], &hints).unwrap();
}

#[test]
fn nothing_is_found_in_nothing() {
    let found = search(&PLAIN.blank());
    assert!(found.volumes.is_empty() && found.first_magic().is_none());
}
