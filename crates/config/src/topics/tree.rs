//! Many filters by their levels, so that those which meet or cover another one are found without looking at all of them.
//!
//! With 10,000 routes, comparing each filter with each other one is 100 million comparisons. Here a question walks down
//! the levels, and only where both sides can go.

use super::pattern::{Level, Pattern};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Filters, each with a value.
///
/// The nodes stand in one list and are walked with a list of what is still to do: a filter may have 65,535 levels, which
/// calls within calls would not survive.
#[derive(Debug)]
pub struct FilterTree<T> {
    /// The first is the root.
    nodes: Vec<Node<T>>,
}

/// What begins with the same levels.
#[derive(Debug)]
struct Node<T> {
    /// Filters that end here.
    ends: Vec<T>,
    /// Filters that go on with `#`, which lets in this level's topic too.
    rest: Vec<T>,
    /// Where the next level is, by its name.
    names: BTreeMap<String, usize>,
    /// Where the next level is that is `+`.
    any: Option<usize>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { ends: Vec::new(), rest: Vec::new(), names: BTreeMap::new(), any: None }
    }
}

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T: Copy> FilterTree<T> {
    /// Puts in the pattern of a filter.
    pub fn insert(&mut self, filter: &Pattern, value: T) {
        let mut at = 0;
        for level in filter.levels() {
            let end = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match level {
                Level::Rest => return node.rest.push(value),
                Level::Any => *node.any.get_or_insert(end),
                // Of a filter every level is known to its end.
                Level::Name(name) | Level::Begins(name) => match node.names.get(name) {
                    Some(next) => *next,
                    None => *node.names.entry(name.clone()).or_insert(end),
                },
            };
            if at == end {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].ends.push(value);
    }

    /// Visits all filters that may have a topic in common with `topics`: a few too many, because the rule for topics that
    /// begin with `$` is left to the caller. Ends early when the visitor breaks.
    pub fn meeting(&self, topics: &Pattern, mut visit: impl FnMut(T) -> ControlFlow<()>) -> ControlFlow<()> {
        let levels = topics.levels();
        let mut to_do = vec![(0, 0)];
        while let Some((at, depth)) = to_do.pop() {
            let node = &self.nodes[at];
            node.rest.iter().try_for_each(|value| visit(*value))?;
            match levels.get(depth) {
                None => node.ends.iter().try_for_each(|value| visit(*value))?,
                // It stays at `#`: everything below meets it.
                Some(Level::Rest) => {
                    node.ends.iter().try_for_each(|value| visit(*value))?;
                    to_do.extend(node.names.values().chain(&node.any).map(|next| (*next, depth)));
                }
                Some(Level::Any) => to_do.extend(node.names.values().chain(&node.any).map(|next| (*next, depth + 1))),
                Some(Level::Name(name)) => {
                    to_do.extend(node.names.get(name).into_iter().chain(&node.any).map(|next| (*next, depth + 1)));
                }
                Some(Level::Begins(start)) => {
                    let these = node.names.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
                    let these = these.take_while(|(name, _)| name.starts_with(start.as_str())).map(|(_, next)| next);
                    to_do.extend(these.chain(&node.any).map(|next| (*next, depth + 1)));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits all filters that may let in everything that `filter` does, with the same exception.
    pub fn covering(&self, filter: &Pattern, mut visit: impl FnMut(T) -> ControlFlow<()>) -> ControlFlow<()> {
        let levels = filter.levels();
        let mut to_do = vec![(0, 0)];
        while let Some((at, depth)) = to_do.pop() {
            let node = &self.nodes[at];
            node.rest.iter().try_for_each(|value| visit(*value))?;
            match levels.get(depth) {
                None => node.ends.iter().try_for_each(|value| visit(*value))?,
                Some(Level::Rest) => {}
                Some(Level::Any | Level::Begins(_)) => to_do.extend(node.any.map(|next| (next, depth + 1))),
                Some(Level::Name(name)) => {
                    to_do.extend(node.names.get(name).into_iter().chain(&node.any).map(|next| (*next, depth + 1)));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_message::TopicFilter;

    const FILTER: &str = "(\\$?[ab]|\\+|aa)(/([ab]|\\+|ab)){0,2}(/#)?|#";

    proptest! {
        /// What the tree leaves out does not meet and does not cover.
        #[test]
        fn the_tree_finds_what_comparing_all_finds(
            filters in prop::collection::vec(FILTER, 0..12),
            asked in FILTER,
            prefix in "[ab]{0,2}/?",
        ) {
            let new = |text: String| TopicFilter::new(text).unwrap();
            let (filters, asked): (Vec<_>, _) = (filters.into_iter().map(new).collect(), new(asked));
            let patterns: Vec<_> = filters.iter().map(Pattern::of).collect();
            let mut tree = FilterTree::default();
            patterns.iter().enumerate().for_each(|(at, pattern)| tree.insert(pattern, at));
            let renaming = crate::model::Renaming::Front { strip: String::new(), prefix };
            let moved = Pattern::of(&asked).renamed(&renaming).unwrap();
            for topics in [&Pattern::of(&asked), &moved] {
                let mut met = Vec::new();
                let _ = tree.meeting(topics, |at| { met.push(at); ControlFlow::Continue(()) });
                met.retain(|at| topics.meet(&patterns[*at]).is_some());
                met.sort_unstable();
                let all = (0..patterns.len()).filter(|at| topics.meet(&patterns[*at]).is_some());
                prop_assert_eq!(met, all.collect::<Vec<_>>());
            }
            let mut covers = Vec::new();
            let _ = tree.covering(&Pattern::of(&asked), |at| { covers.push(at); ControlFlow::Continue(()) });
            covers.retain(|at| filters[*at].covers(&asked));
            covers.sort_unstable();
            let all = (0..filters.len()).filter(|at| filters[*at].covers(&asked));
            prop_assert_eq!(covers, all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_question_looks_only_where_both_sides_can_go() {
        let mut tree = FilterTree::default();
        for site in 0..10_000 {
            tree.insert(&Pattern::of(&TopicFilter::new(format!("site/{site}/#")).unwrap()), site);
        }
        let mut seen = Vec::new();
        let asked = Pattern::of(&TopicFilter::new("site/77/+/temp").unwrap());
        let _ = tree.meeting(&asked, |site| {
            seen.push(site);
            ControlFlow::Continue(())
        });
        assert_eq!(seen, [77]);
    }
}
