//! On which chips the content has room: how many blocks may be bad.

use nandimg::flash::blank::BlankChip;
use nandimg::flash::chips::{Chip, Kind, usual_max_bad_blocks};
use nandimg::flash::{Block, Geometry};
use nandimg::ftl::any::FormatOptions;
use nandimg::ftl::{AnyFormatPlan, Mapping};
use serde_json::{Value, json};

use super::super::output::{count, size};

/// What is to be built, but for which blocks are bad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) geometry: Geometry,
    pub(super) mapping: Mapping,
    pub(super) spare_percent: Option<u32>,
}

impl Recipe {
    pub(super) fn options(&self, bad: Vec<Block>) -> FormatOptions {
        FormatOptions { also_bad: bad, spare_percent: self.spare_percent, ..FormatOptions::default() }
    }

    /// How many bad blocks leave room for `content` bytes; `None` if there is none even on a chip without.
    ///
    /// The bad ones are taken from the end of the chip: what metadata at its start needs is told apart.
    fn tolerated(&self, content: u64) -> Option<u32> {
        let blocks = self.geometry.blocks();
        let has_room = |bad: u32| {
            let options =
                FormatOptions { afresh: true, ..self.options((blocks - bad..blocks).map(Block).collect()) };
            let plan = AnyFormatPlan::new(&BlankChip(self.geometry), self.mapping, &options);
            plan.is_ok_and(|plan| plan.capacity() >= content)
        };
        let (mut most, mut too_many) = if has_room(0) { (0, blocks) } else { return None };
        while too_many - most > 1 {
            let middle = most + (too_many - most) / 2;
            *(if has_room(middle) { &mut most } else { &mut too_many }) = middle;
        }
        Some(most)
    }
}

/// How much room the content has.
#[derive(Debug)]
pub(super) struct Fit {
    content: u64,
    /// Bad blocks that leave room for it.
    tolerated: Option<u32>,
    /// Bad blocks that such a chip has at most, and who says so.
    limit: u32,
    limit_from: String,
    /// What must hold of the blocks at the start of the chip.
    metadata: String,
}

impl Fit {
    pub(super) fn of(recipe: &Recipe, content: u64, chip: Option<&Chip>, metadata_blocks: u32) -> Self {
        let blocks = recipe.geometry.blocks();
        // A limit is of the whole chip.
        let stated = chip.filter(|chip| chip.blocks == blocks).and_then(|chip| match chip.kind {
            Kind::SpiNor => Some((0, format!("{} has no bad blocks", chip.name))),
            _ => chip.max_bad_blocks().map(|most| (most, format!("the limit of {}", chip.name))),
        });
        let usual = || (usual_max_bad_blocks(blocks), "the usual limit of 20 in 1024 blocks".to_string());
        let (limit, limit_from) = stated.unwrap_or_else(usual);
        let metadata = match recipe.mapping {
            Mapping::Block => format!("blocks 0-{} must be good", metadata_blocks.saturating_sub(1)),
            Mapping::Page => format!("two of blocks 0-{} must be good", metadata_blocks.saturating_sub(1)),
        };
        Self { content, tolerated: recipe.tolerated(content), limit, limit_from, metadata }
    }

    /// Bytes of content.
    pub(super) fn content(&self) -> u64 {
        self.content
    }

    /// Whether there is room on every chip that keeps to the limit.
    pub(super) fn on_every_chip(&self) -> bool {
        self.tolerated.is_some_and(|tolerated| tolerated >= self.limit)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "content": self.content,
            "max_bad_blocks": self.tolerated,
            "limit": self.limit,
            "limit_from": self.limit_from,
            "every_chip": self.on_every_chip(),
        })
    }

    /// The same, in a sentence.
    pub(super) fn describe(&self) -> String {
        let Self { content, tolerated, limit, limit_from, metadata } = self;
        let content = format!("{content} bytes of content ({})", size(*content));
        match tolerated {
            None => format!("{content} do not fit such a chip, even without bad blocks"),
            Some(most) if most >= limit => format!(
                "{content} fit every such chip: up to {} do, and {limit_from} is {limit}; {metadata}",
                count(u64::from(*most), "bad block")
            ),
            Some(most) => format!(
                "{content} fit only chips with up to {}, and {limit_from} is {limit}; {metadata}",
                count(u64::from(*most), "bad block")
            ),
        }
    }
}
