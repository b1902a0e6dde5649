//! From the block table and the log to what may be done with each block.

use alloc::collections::BTreeSet;

use super::blocks::Blocks;
use super::chain::Pair;
use super::layout::Layout;
use super::place::Announced;
use super::replay::CleanEnd;
use crate::flash::Block;
use crate::ftl::gc::Heat;
use crate::onflash::paged::tables::BlockState;

/// What the blocks are now that the log has been replayed: only those that a clean end names are filled on.
pub(super) fn settle_states(
    blocks: &mut Blocks,
    layout: &Layout,
    pairs: &[Pair],
    next: &[Block],
    clean: Option<&CleanEnd>,
    open: &mut [Option<Block>],
    announced: &mut Announced,
) {
    let in_chain: BTreeSet<Block> = pairs.iter().flatten().chain(next).copied().collect();
    for &block in &in_chain {
        if blocks.state(block) != BlockState::Bad {
            blocks.set_state(block, BlockState::Chain);
        }
    }
    let mut may_be_used: BTreeSet<Block> = BTreeSet::new();
    if let Some(end) = clean {
        for filled in &end.open {
            let block = Block(filled.block);
            let known = filled.block < layout.blocks
                && filled.next < layout.data_pages()
                && matches!(blocks.state(block), BlockState::Listed | BlockState::Announced);
            let Some(slot) = open.get_mut(usize::from(filled.class)).filter(|_| known) else { continue };
            blocks.set_state(block, BlockState::Listed);
            blocks.lists.entry(block).or_default().resize(filled.next as usize, None);
            blocks.info_mut(block).class = filled.class;
            *slot = Some(block);
        }
        let inside = end.announced.iter().filter(|&&b| b < layout.blocks);
        may_be_used.extend(inside.map(|&b| Block(b)));
    }
    let class = layout.classes / 2;
    // Its summary proves what is committed, whatever else it holds.
    let last = blocks.closed_last();
    for block in blocks.iter() {
        let is_open = open.contains(&Some(block));
        match blocks.state(block) {
            BlockState::Chain if !in_chain.contains(&block) => {
                let is_known = clean.is_some() && !may_be_used.contains(&block);
                let state = if is_known { BlockState::Free } else { BlockState::Announced };
                blocks.set_state(block, state);
            }
            BlockState::Announced if clean.is_some() && !may_be_used.contains(&block) => {
                blocks.set_state(block, BlockState::Free);
            }
            BlockState::Listed if clean.is_some() && !is_open => {
                let full = blocks.lists.get(&block).is_some_and(|l| l.len() as u32 == layout.data_pages());
                // What was filled up has its summary; what was abandoned has none.
                if full {
                    let closed = blocks.info(block).written;
                    blocks.set_state(block, BlockState::Closed);
                    let info = blocks.info_mut(block);
                    (info.class, info.closed) = (class, closed);
                }
            }
            _ => {}
        }
        let info = blocks.info(block);
        let empty = info.live == 0 && !is_open && Some(block) != last;
        if empty && matches!(info.state, BlockState::Closed | BlockState::Listed) && clean.is_some() {
            blocks.set_state(block, BlockState::Free);
        }
        if blocks.state(block) == BlockState::Announced {
            announced.pool(Heat::Hot).push_back(block);
        }
    }
}
