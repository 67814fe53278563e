//! What births have said: the name, the alias and the datatype of each metric, kept in the gateway's durable state.
//!
//! Data messages name their metrics by alias and leave the datatype out, so without its birth they cannot be read. A birth
//! comes once in a session that may last for months; therefore it outlives the plugin and the gateway.
//!
//! A birth is kept under `SOURCE/GROUP/EDGE` or `SOURCE/GROUP/EDGE/DEVICE`, as a payload of Sparkplug without values, its `seq`
//! being the birth's `bdSeq`.
//!
//! Invariants: the births kept never take more than was allowed; where another does not fit, those of the edge node that
//! was not heard for the longest time are forgotten, and the log says so. A birth of an edge node makes those of its devices
//! invalid, as the specification has it, unless it is the same birth delivered again.

use crate::payload::{Metric, Payload};
use crate::wire::Message;
use std::{collections::HashMap, rc::Rc};
use tidegate_sdk::{log, state};

/// So many edge nodes are followed at a time: the number that comes next, and when a rebirth was asked for.
const MAX_FOLLOWED: usize = 10_000;

/// A birth has no more metrics.
pub(crate) const MAX_METRICS: usize = 10_000;

/// What a metric is, by its birth.
#[derive(Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: Box<str>,
    pub(crate) alias: Option<u64>,
    pub(crate) datatype: Option<u32>,
}

/// What one birth has said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Birth {
    timestamp: Option<u64>,
    pub(crate) bd_seq: Option<u64>,
    /// By name.
    metrics: Vec<Definition>,
    /// Each alias with the place of its metric, by alias.
    aliases: Vec<(u64, u32)>,
}

impl Birth {
    fn new(timestamp: Option<u64>, bd_seq: Option<u64>, metrics: &[Metric]) -> Self {
        let of = |metric: &Metric| {
            let Metric { name, alias, datatype, .. } = *metric;
            name.map(|name| Definition { name: name.into(), alias, datatype })
        };
        let mut metrics: Vec<Definition> = metrics.iter().filter_map(of).collect();
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        metrics.dedup_by(|later, first| later.name == first.name);
        let alias = |(at, metric): (usize, &Definition)| metric.alias.map(|alias| (alias, at as u32));
        let mut aliases: Vec<(u64, u32)> = metrics.iter().enumerate().filter_map(alias).collect();
        aliases.sort_unstable();
        Self { timestamp, bd_seq, metrics, aliases }
    }

    pub(crate) fn by_alias(&self, alias: u64) -> Option<&Definition> {
        let at = self.aliases.binary_search_by_key(&alias, |(alias, _)| *alias).ok()?;
        self.metrics.get(self.aliases[at].1 as usize)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Definition> {
        let at = self.metrics.binary_search_by(|metric| (*metric.name).cmp(name)).ok()?;
        self.metrics.get(at)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut payload = Message::new();
        if let Some(timestamp) = self.timestamp {
            payload.u64(1, timestamp);
        }
        for Definition { name, alias, datatype } in &self.metrics {
            let mut metric = Message::new();
            metric.text(1, name);
            if let Some(alias) = *alias {
                metric.u64(2, alias);
            }
            if let Some(datatype) = *datatype {
                metric.u64(4, u64::from(datatype));
            }
            payload.message(2, metric);
        }
        if let Some(bd_seq) = self.bd_seq {
            payload.u64(3, bd_seq);
        }
        payload.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Payload { timestamp, seq, metrics, .. } = Payload::parse(bytes, MAX_METRICS).ok()?;
        Some(Self::new(timestamp, seq, &metrics))
    }
}

/// The key of an edge node, or of a device.
pub(crate) fn key(source: &str, group: &str, edge: &str, device: Option<&str>) -> String {
    let mut key = [source, "/", group, "/", edge].concat();
    if let Some(device) = device {
        key.push('/');
        key.push_str(device);
    }
    key
}

/// The birth kept under this key, as the state has it now.
pub(crate) fn stored(key: &str) -> Option<Birth> {
    state::get(key).and_then(|bytes| Birth::from_bytes(&bytes))
}

/// What is remembered of an edge node in memory alone.
#[derive(Default)]
pub(crate) struct Followed {
    /// Of the message that came last.
    pub(crate) seq: Option<u8>,
    /// When a rebirth was last asked for.
    pub(crate) asked_ms: Option<u64>,
    /// Counts up: the larger, the later heard.
    heard: u64,
}

/// All births.
pub(crate) struct Births {
    max_bytes: usize,
    read: HashMap<String, Rc<Birth>>,
    followed: HashMap<String, Followed>,
    heard: u64,
    /// How many bytes each key takes in the state; none until it matters.
    sizes: Option<HashMap<String, usize>>,
}

impl Births {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, read: HashMap::new(), followed: HashMap::new(), heard: 0, sizes: None }
    }

    /// What is remembered of this edge node.
    pub(crate) fn follow(&mut self, edge: &str) -> &mut Followed {
        self.heard += 1;
        if !self.followed.contains_key(edge) {
            if self.followed.len() >= MAX_FOLLOWED {
                log::warn!("{MAX_FOLLOWED} edge nodes are followed, no more fit: beginning anew");
                self.followed.clear();
            }
            self.followed.insert(edge.to_owned(), Followed::default());
        }
        let followed = self.followed.get_mut(edge).expect("it was put there");
        followed.heard = self.heard;
        followed
    }

    /// The birth of this edge node or device.
    pub(crate) fn get(&mut self, key: &str) -> Option<Rc<Birth>> {
        if let Some(birth) = self.read.get(key) {
            return Some(Rc::clone(birth));
        }
        let birth = Rc::new(stored(key)?);
        self.read.insert(key.to_owned(), Rc::clone(&birth));
        Some(birth)
    }

    /// Keeps a birth in place of the one before. `edge` is the key of the edge node.
    pub(crate) fn keep(&mut self, edge: &str, key: &str, payload: &Payload, bd_seq: Option<u64>) -> Rc<Birth> {
        let birth = Rc::new(Birth::new(payload.timestamp, bd_seq, &payload.metrics));
        let before = self.get(key);
        let same = before.as_ref().is_some_and(|before| {
            before.timestamp.is_some() && (before.timestamp, before.bd_seq) == (birth.timestamp, birth.bd_seq)
        });
        if edge == key && !same {
            self.forget_devices(edge);
        }
        if before.as_ref() == Some(&birth) {
            return birth;
        }
        let bytes = birth.to_bytes();
        self.forget(key);
        if self.make_room(edge, key.len() + bytes.len()) {
            state::set(key, &bytes);
            self.sizes().insert(key.to_owned(), key.len() + bytes.len());
            self.read.insert(key.to_owned(), Rc::clone(&birth));
        } else {
            log::warn!("the birth of {key} takes {} bytes, more than `max_births_bytes`: not kept", bytes.len());
        }
        birth
    }

    fn forget_devices(&mut self, edge: &str) {
        let devices = format!("{edge}/");
        let keys: Vec<String> = self.sizes().keys().filter(|key| key.starts_with(&devices)).cloned().collect();
        keys.iter().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: &str) {
        if self.sizes().remove(key).is_some() {
            state::delete(key);
        }
        self.read.remove(key);
    }

    /// Whether so many bytes of this edge node fit, after others were forgotten if need be.
    fn make_room(&mut self, edge: &str, bytes: usize) -> bool {
        let own: usize = self.sizes().iter().filter(|(key, _)| edge_of(key) == edge).map(|(_, size)| size).sum();
        if own + bytes > self.max_bytes {
            return false;
        }
        while self.sizes().values().sum::<usize>() + bytes > self.max_bytes {
            let heard = |edge: &str| self.followed.get(edge).map_or(0, |followed| followed.heard);
            let edges = self.sizes.iter().flatten().map(|(key, _)| edge_of(key)).filter(|other| *other != edge);
            let Some(longest) = edges.min_by_key(|edge| heard(edge)).map(str::to_owned) else {
                return false;
            };
            log::warn!(
                "no room for the births of all edge nodes: forgetting those of {longest}, see `max_births_bytes`"
            );
            self.forget_devices(&longest);
            self.forget(&longest);
        }
        true
    }

    fn sizes(&mut self) -> &mut HashMap<String, usize> {
        self.sizes.get_or_insert_with(|| {
            let size = |key: String| {
                let bytes = key.len() + state::get(&key).map_or(0, |value| value.len());
                (key, bytes)
            };
            state::keys("").into_iter().map(size).collect()
        })
    }
}

/// The edge node's part of a key.
fn edge_of(key: &str) -> &str {
    let end = key.match_indices('/').nth(2).map_or(key.len(), |(at, _)| at);
    &key[..end]
}
