//! Sets of topics: those that a filter lets in, what a remap makes of them, and which of many meet.

mod pattern;
mod tree;

pub(crate) use pattern::Pattern;
pub(crate) use tree::FilterTree;
