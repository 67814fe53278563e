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
    /// How often it was brought to another version. What began with an earlier one writes nothing any more.
    epoch: u64,
}

/// Where the version of a state stands.
pub const STATE_VERSION_KEY: &str = "\0version";

/// Whether a key of a state is the gateway's own, such as [`STATE_VERSION_KEY`]: a plugin neither sees nor writes it.
pub fn is_own_key(key: &str) -> bool {
    key.starts_with('\0')
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
        Self { inner: Arc::new(Mutex::new(Entries { map, bytes, epoch: 0 })) }
    }

    /// All of it, as of the last call that returned.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().map.clone()
    }

    /// How many keys there are of the plugin's.
    pub fn len(&self) -> usize {
        let entries = self.lock();
        entries.map.len() - usize::from(entries.map.contains_key(STATE_VERSION_KEY))
    }

    /// Which version of its plugin's state this is, if the plugin has said one.
    pub fn version(&self) -> Option<String> {
        self.get(STATE_VERSION_KEY).and_then(|version| String::from_utf8(version).ok())
    }

    /// Makes it what it was at another time, version included; what is to be written for that. Guests that began before write
    /// nothing into it any more.
    pub fn replace(&self, map: BTreeMap<String, Vec<u8>>) -> Vec<Write> {
        let mut entries = self.lock();
        let gone: Vec<String> = entries.map.keys().filter(|key| !map.contains_key(*key)).cloned().collect();
        let deleted = gone.into_iter().map(|key| (key, None));
        let writes: Vec<Write> = deleted.chain(map.into_iter().map(|(key, value)| (key, Some(value)))).collect();
        for (key, value) in &writes {
            entries.put(key, value.clone());
        }
        entries.epoch += 1;
        writes
    }

    /// Guests that began with it so far write nothing into it any more.
    pub(crate) fn supersede(&self) {
        self.lock().epoch += 1;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
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

    /// Makes what a call wrote visible, all at once, and files it in `written`, each with what stood there before. False, and
    /// nothing is written, if the state was brought to another version since `epoch`.
    fn apply(&self, overlay: &mut Overlay, epoch: u64, written: &mut Vec<(Write, Option<Vec<u8>>)>) -> bool {
        let mut entries = self.lock();
        if entries.epoch != epoch {
            overlay.writes.clear();
            return false;
        }
        while let Some((key, value)) = overlay.writes.pop_first() {
            let before = entries.put(&key, value.clone());
            written.push(((key, value), before));
        }
        true
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
    /// What is written is of this version, and the first of it.
    pub(crate) fn say_version(&mut self, version: &str) {
        self.writes.insert(STATE_VERSION_KEY.to_owned(), Some(version.as_bytes().to_vec()));
    }

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
        keys.retain(|key| !is_own_key(key));
        keys.sort_unstable();
        keys
    }

    /// False, and nothing is written, if the state was brought to another version since `epoch`.
    pub(crate) fn commit(
        &mut self,
        store: &StateStore,
        epoch: u64,
        written: &mut Vec<(Write, Option<Vec<u8>>)>,
    ) -> bool {
        self.grows = 0;
        self.writes.is_empty() || store.apply(self, epoch, written)
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
        assert!(call.commit(&store, 0, &mut written));
        assert!(call.set(&store, 100, "a".into(), Some(vec![8])));
        assert!(call.commit(&store, 0, &mut written));
        let mut other = Overlay::default();
        assert!(other.set(&store, 100, "d".into(), Some(vec![7, 7])));
        assert!(other.commit(&store, 0, &mut Vec::new()));
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
        assert!(call.commit(&store, 0, &mut written));
        assert_eq!((store.len(), store.bytes()), (3, 10));
        let map = written.into_iter().filter_map(|((key, value), _)| Some((key, value?))).collect();
        let again = StateStore::restored(map);
        assert_eq!((again.get("a/2"), again.bytes()), (Some(vec![2]), 10), "what was written makes the same state");

        let mut call = Overlay::default();
        assert!(call.set(&store, 100, "a/1".into(), None));
        assert!(call.set(&store, 100, "a/3".into(), Some(vec![])));
        assert_eq!(call.keys(&store, "a/"), ["a/2", "a/3"]);
        assert_eq!(store.get("a/1"), Some(vec![1]));
        assert!(call.commit(&store, 0, &mut Vec::new()));
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
        assert!(call.commit(&store, 0, &mut Vec::new()));
        assert!(!call.set(&store, 10, "k".into(), Some(vec![0; 10])));
        assert!(call.set(&store, 10, "k".into(), Some(vec![0; 3])));
        assert!(call.set(&store, 10, "l".into(), Some(vec![0; 5])));
        assert!(call.commit(&store, 0, &mut Vec::new()));
        assert_eq!(store.bytes(), 10);
    }

    #[test]
    fn what_began_before_another_version_writes_nothing_into_it() {
        let entry = |key: &str, value: u8| (key.to_owned(), vec![value]);
        let store = StateStore::restored([entry("a", 1), entry("b", 2)].into());
        let (mut old, mut written) = (Overlay::default(), Vec::new());
        assert!(old.set(&store, 100, "a".into(), Some(vec![9])));
        let epoch = store.epoch();
        let mut call = Overlay::default();
        call.say_version("2");
        assert!(call.commit(&store, epoch, &mut written));
        assert_eq!((store.version().as_deref(), store.len()), (Some("2"), 2), "it is no key of the plugin's");
        assert_eq!(Overlay::default().keys(&store, ""), ["a", "b"]);
        assert_eq!(Overlay::default().keys(&store, "\0"), [""; 0]);
        let writes = store.replace([entry("b", 3), entry("c", 4)].into());
        let deleted = |key: &str| (key.to_owned(), None);
        let set = |key: &str, value: u8| (key.to_owned(), Some(vec![value]));
        assert_eq!(writes, [deleted(STATE_VERSION_KEY), deleted("a"), set("b", 3), set("c", 4)]);
        assert!(!old.commit(&store, epoch, &mut written));
        assert_eq!((store.snapshot(), store.version()), ([entry("b", 3), entry("c", 4)].into(), None));
        assert!(old.commit(&store, epoch, &mut written), "there is nothing left to write");
    }
}
