//! Sets of topics: those that a filter lets in, what a remap makes of them, and which of many meet.

mod pattern;
mod tree;

pub use pattern::Pattern;
pub use tree::FilterTree;
