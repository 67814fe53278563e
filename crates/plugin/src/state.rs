//! The key-value state of a plugin: shared by its instances and by the versions that follow one another.
//!
//! What a call writes is held back in an [`Overlay`] and applied when the call has returned, or forgotten when it
//! traps. The state itself lives in memory; what was written is handed to the owner with the decisions of the call, who
//! makes both durable together ([`Instance::take_written`](crate::Instance::take_written)), and comes back at the start
//! ([`StateStore::restored`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of one plugin. Clones share it.
///
/// Several instances of one plugin see each other's writes as calls return; of two calls that write one key at the
/// same time, the one that returns later stands.
#[derive(Debug, Clone, Default)]
pub struct StateStore {
    inner: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    map: BTreeMap<String, Vec<u8>>,
    /// Keys and values together.
    bytes: usize,
}

impl Entries {
    /// Sets a key, or deletes it; what stood there.
    fn put(&mut self, key: &str, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let before = match value {
            Some(value) => {
                self.bytes += key.len() + value.len();
                self.map.insert(key.to_owned(), value)
            }
            None => self.map.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, |old| key.len() + old.len());
        before
    }
}

impl StateStore {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// A state as it was written down.
    pub fn restored(map: BTreeMap<String, Vec<u8>>) -> Self {
        let bytes = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        Self { inner: Arc::new(Mutex::new(Entries { map, bytes })) }
    }

    /// All of it, as of the last call that returned.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().map.clone()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.lock().map.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys and values together, in bytes.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The value of a key as of the last call that returned.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.lock().map.get(key).cloned()
    }

    /// Makes what a call wrote visible, all at once, and files it in `written`, each with what stood there before.
    fn apply(&self, overlay: &mut Overlay, written: &mut Vec<(Write, Option<Vec<u8>>)>) {
        let mut entries = self.lock();
        while let Some((key, value)) = overlay.writes.pop_first() {
            let before = entries.put(&key, value.clone());
            written.push(((key, value), before));
        }
    }

    /// Takes back what [`Self::apply`] has made visible. What somebody else has written over meanwhile stays.
    pub(crate) fn take_back(&self, written: impl DoubleEndedIterator<Item = (Write, Option<Vec<u8>>)>) {
        let mut entries = self.lock();
        for ((key, value), before) in written.rev() {
            if entries.map.get(&key) == value.as_ref() {
                entries.put(&key, before);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics while holding it; were it so, the map is whole between two statements.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key, and its new value or `None` if it is deleted.
pub type Write = (String, Option<Vec<u8>>);

/// What the call in progress has written, `None` for a key it deleted.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    writes: BTreeMap<String, Option<Vec<u8>>>,
    /// By how much the state grows when this is applied, in bytes.
    grows: isize,
}

impl Overlay {
    pub(crate) fn get(&self, store: &StateStore, key: &str) -> Option<Vec<u8>> {
        match self.writes.get(key) {
            Some(written) => written.clone(),
            None => store.get(key),
        }
    }

    /// False when that would be more than `limit` bytes in all.
    pub(crate) fn set(&mut self, store: &StateStore, limit: usize, key: String, value: Option<Vec<u8>>) -> bool {
        let size = |value: Option<&Vec<u8>>| value.map_or(0, |v| key.len() + v.len());
        let before = match self.writes.get(&key) {
            Some(written) => size(written.as_ref()),
            None => size(store.lock().map.get(&key)),
        };
        let grows = self.grows + size(value.as_ref()) as isize - before as isize;
        if grows > self.grows && store.bytes().saturating_add_signed(grows) > limit {
            return false;
        }
        self.grows = grows;
        self.writes.insert(key, value);
        true
    }

    pub(crate) fn keys(&self, store: &StateStore, prefix: &str) -> Vec<String> {
        let mut keys: Vec<String> = {
            let entries = store.lock();
            let from = entries.map.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
            from.map(|(key, _)| key)
                .take_while(|key| key.starts_with(prefix))
                .filter(|key| !self.writes.contains_key(*key))
                .cloned()
                .collect()
        };
        let written = self.writes.iter().filter(|(key, value)| value.is_some() && key.starts_with(prefix));
        keys.extend(written.map(|(key, _)| key.clone()));
        keys.sort_unstable();
        keys
    }

    pub(crate) fn commit(&mut self, store: &StateStore, written: &mut Vec<(Write, Option<Vec<u8>>)>) {
        if !self.writes.is_empty() {
            store.apply(self, written);
        }
        self.grows = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_never_was_but_for_what_others_wrote_over_it() {
        let store = StateStore::restored([("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])].into());
        let (mut call, mut written) = (Overlay::default(), Vec::new());
        for (key, value) in [("a", Some(vec![9; 9])), ("b", None), ("c", Some(vec![3])), ("d", Some(vec![4]))] {
            assert!(call.set(&store, 100, key.into(), value));
        }
        call.commit(&store, &mut written);
        assert!(call.set(&store, 100, "a".into(), Some(vec![8])));
        call.commit(&store, &mut written);
        let mut other = Overlay::default();
        assert!(other.set(&store, 100, "d".into(), Some(vec![7, 7])));
        other.commit(&store, &mut Vec::new());
        store.take_back(written.into_iter());
        let left = [("a", vec![1]), ("b", vec![2]), ("d", vec![7, 7])].map(|(key, value)| (key.to_owned(), value));
        assert_eq!(store.snapshot(), left.into());
        assert_eq!(store.bytes(), 7);
    }

    #[test]
    fn writes_are_seen_by_their_own_call_at_once_and_by_others_after_it() {
        let (store, mut call) = (StateStore::new(), Overlay::default());
        assert!(call.set(&store, 100, "a/1".into(), Some(vec![1])));
        assert!(call.set(&store, 100, "a/2".into(), Some(vec![2])));
        assert!(call.set(&store, 100, "b".into(), Some(vec![3])));
        assert_eq!(call.get(&store, "a/1"), Some(vec![1]));
        assert!(store.is_empty());
        let mut written = Vec::new();
        call.commit(&store, &mut written);
        assert_eq!((store.len(), store.bytes()), (3, 10));
        let map = written.into_iter().filter_map(|((key, value), _)| Some((key, value?))).collect();
        let again = StateStore::restored(map);
        assert_eq!((again.get("a/2"), again.bytes()), (Some(vec![2]), 10), "what was written makes the same state");

        let mut call = Overlay::default();
        assert!(call.set(&store, 100, "a/1".into(), None));
        assert!(call.set(&store, 100, "a/3".into(), Some(vec![])));
        assert_eq!(call.keys(&store, "a/"), ["a/2", "a/3"]);
        assert_eq!(store.get("a/1"), Some(vec![1]));
        call.commit(&store, &mut Vec::new());
        assert_eq!((store.get("a/1"), store.len(), store.bytes()), (None, 3, 9));
    }

    #[test]
    fn a_call_that_traps_leaves_nothing_behind() {
        let store = StateStore::new();
        let mut call = Overlay::default();
        assert!(call.set(&store, 100, "k".into(), Some(vec![0; 50])));
        drop(call);
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }

    #[test]
    fn the_state_is_bounded_and_can_shrink_when_full() {
        let (store, mut call) = (StateStore::new(), Overlay::default());
        assert!(call.set(&store, 10, "k".into(), Some(vec![0; 9])));
        assert!(!call.set(&store, 10, "l".into(), Some(vec![])));
        call.commit(&store, &mut Vec::new());
        assert!(!call.set(&store, 10, "k".into(), Some(vec![0; 10])));
        assert!(call.set(&store, 10, "k".into(), Some(vec![0; 3])));
        assert!(call.set(&store, 10, "l".into(), Some(vec![0; 5])));
        call.commit(&store, &mut Vec::new());
        assert_eq!(store.bytes(), 10);
    }
}
