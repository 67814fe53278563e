//! What a story's gateway is told: a pool of names of which some are configured, as text and as the model knows it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use tidegate_config::Config;
use tidegate_message::{QoS, Topic, TopicFilter};

/// What a route may take. No topic at a target matches any of these, so that no route feeds itself.
pub(crate) const FILTERS: [&str; 4] = ["t/+", "t/#", "t/0", "t/1"];
/// What sources send; nothing takes the last one.
pub(crate) const TOPICS: [&str; 4] = ["t/0", "t/1", "t/2", "u"];

pub(crate) const BROKERS: usize = 4;
pub(crate) const SETS: usize = 2;
pub(crate) const ROUTES: usize = 4;
/// Brokers that are there only as members of a large set.
pub(crate) const MANY: usize = 16;

pub(crate) fn broker_name(at: usize) -> String {
    format!("b{at}")
}

pub(crate) fn set_name(at: usize) -> String {
    format!("s{at}")
}

pub(crate) fn route_name(at: usize) -> String {
    format!("r{at}")
}

/// A broker or a set: one of the brokers of a story, then one of its sets.
pub(crate) fn target_name(at: usize) -> String {
    match at % (BROKERS + SETS) {
        at if at < BROKERS => broker_name(at),
        at => set_name(at - BROKERS),
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SpoolSetup {
    pub(crate) max_messages: Option<u8>,
    /// Block, drop the oldest, drop the newest.
    pub(crate) when_full: u8,
    pub(crate) max_age_s: Option<u8>,
    pub(crate) drain_rate: Option<u8>,
}

impl SpoolSetup {
    /// A source waits for room.
    pub(crate) fn blocks(self) -> bool {
        self.when_full.is_multiple_of(3)
    }

    fn text(self) -> String {
        let when_full = ["block", "drop-oldest", "drop-newest"][usize::from(self.when_full % 3)];
        let mut text = format!("{{ when_full = \"{when_full}\"");
        if let Some(max) = self.max_messages {
            let _ = write!(text, ", max_messages = {}", max.max(1));
        }
        if let Some(age) = self.max_age_s {
            let _ = write!(text, ", max_age = \"{}s\"", age.max(1));
        }
        if let Some(rate) = self.drain_rate {
            let _ = write!(text, ", drain_rate = {}", rate.max(1));
        }
        text + " }"
    }
}

#[derive(Debug, Clone)]
pub(crate) struct BrokerSetup {
    pub(crate) there: bool,
    pub(crate) embedded: bool,
    pub(crate) spool: SpoolSetup,
}

#[derive(Debug, Clone)]
pub(crate) struct SetSetup {
    pub(crate) there: bool,
    /// Failover, balance, all.
    pub(crate) policy: u8,
    pub(crate) members: Vec<u8>,
    /// With policy balance: the first member has this weight, and more than one message that waits strains a member.
    pub(crate) weight: u8,
    pub(crate) relieves: bool,
    /// The many are members, too.
    pub(crate) many: bool,
    pub(crate) spool: SpoolSetup,
}

impl SetSetup {
    pub(crate) fn gives_to_all(&self) -> bool {
        self.policy % 3 == 2
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RouteSetup {
    pub(crate) there: bool,
    pub(crate) source: u8,
    /// A bit each of [`FILTERS`].
    pub(crate) filters: u8,
    /// As in [`target_name`].
    pub(crate) targets: Vec<u8>,
    /// A bit each of `targets`: the source waits for it.
    pub(crate) required: u8,
    pub(crate) plugins: u8,
    pub(crate) spooled: bool,
    pub(crate) persist_qos0: bool,
    pub(crate) qos: Option<u8>,
    pub(crate) priority: u8,
}

/// Everything that may be configured, and whether it is.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) brokers: Vec<BrokerSetup>,
    pub(crate) sets: Vec<SetSetup>,
    pub(crate) routes: Vec<RouteSetup>,
    pub(crate) is_reversed: bool,
}

/// A route as it is configured, by the names that are.
#[derive(Debug, Clone)]
pub(crate) struct RouteView {
    pub(crate) source: String,
    pub(crate) filters: Vec<TopicFilter>,
    /// With whether the source waits for it.
    pub(crate) targets: Vec<(String, bool)>,
    pub(crate) has_plugins: bool,
    pub(crate) spooled: bool,
    pub(crate) persist_qos0: bool,
    pub(crate) qos: Option<QoS>,
    pub(crate) priority: u8,
}

impl RouteView {
    pub(crate) fn takes(&self, topic: &Topic) -> bool {
        self.filters.iter().any(|filter| filter.matches(topic))
    }

    /// What decides which way its messages go: when it changes, those before and those after may overtake each other.
    pub(crate) fn way(&self) -> impl PartialEq + use<> {
        let required: Vec<String> = self.targets.iter().filter(|(_, is)| *is).map(|(name, _)| name.clone()).collect();
        (self.source.clone(), self.spooled, self.persist_qos0, self.qos, self.priority, required)
    }
}

impl Setup {
    /// Everything is there.
    pub(crate) fn all(&self) -> Self {
        let mut all = self.clone();
        all.brokers.iter_mut().for_each(|broker| broker.there = true);
        all.sets.iter_mut().for_each(|set| set.there = true);
        all.routes.iter_mut().for_each(|route| route.there = true);
        all
    }

    /// Brokers that are configured, each with whether it is at the end of a link.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = (String, bool)> + '_ {
        let many = self.sets.iter().any(|set| set.there && set.many);
        let many = (0..if many { MANY } else { 0 }).map(|at| (format!("m{at}"), true));
        let brokers = self.brokers.iter().enumerate().filter(|(_, broker)| broker.there);
        brokers.map(|(at, broker)| (broker_name(at), !broker.embedded)).chain(many)
    }

    fn has_broker(&self, at: usize) -> bool {
        self.brokers.get(at).is_some_and(|broker| broker.there)
    }

    /// The members of a set that are configured; `None` if it is not, or has none.
    pub(crate) fn members(&self, set: usize) -> Option<Vec<String>> {
        let set = self.sets.get(set).filter(|set| set.there)?;
        let mut seen = BTreeSet::new();
        let members = set.members.iter().map(|at| usize::from(*at) % BROKERS);
        let members = members.filter(|at| self.has_broker(*at) && seen.insert(*at)).map(broker_name);
        let many = (0..if set.many { MANY } else { 0 }).map(|at| format!("m{at}"));
        Some(members.chain(many).collect()).filter(|members: &Vec<String>| !members.is_empty())
    }

    /// Whether a broker or a set of this name is configured.
    pub(crate) fn has_target(&self, name: &str) -> bool {
        match (name.as_bytes()[0], name[1..].parse::<usize>()) {
            (b's', Ok(at)) => self.members(at).is_some(),
            (b'm', Ok(_)) => self.sets.iter().any(|set| set.there && set.many),
            (_, Ok(at)) => self.has_broker(at),
            (_, Err(_)) => false,
        }
    }

    /// The queues in the log of a target: its own, or those of all members of a set that gives to all.
    pub(crate) fn queues(&self, name: &str) -> Vec<String> {
        if let Some(at) = name.strip_prefix('s').and_then(|at| at.parse::<usize>().ok())
            && self.sets[at].gives_to_all()
        {
            return self.members(at).unwrap_or_default();
        }
        vec![name.to_owned()]
    }

    pub(crate) fn spool_of(&self, name: &str) -> SpoolSetup {
        match (name.as_bytes()[0], name[1..].parse::<usize>()) {
            (b's', Ok(at)) => self.sets[at].spool,
            (b'b', Ok(at)) => self.brokers[at].spool,
            _ => SpoolSetup::default(),
        }
    }

    /// A route, if it and its source and at least one of its targets are configured.
    pub(crate) fn route(&self, at: usize) -> Option<RouteView> {
        let route = self.routes.get(at).filter(|route| route.there)?;
        let source = usize::from(route.source) % BROKERS;
        let mut seen = BTreeSet::new();
        let targets = route
            .targets
            .iter()
            .enumerate()
            .map(|(nth, at)| (target_name(usize::from(*at)), route.required >> (nth % 8) & 1 != 0));
        let mut targets: Vec<_> =
            targets.filter(|(name, _)| self.has_target(name) && seen.insert(name.clone())).collect();
        if route.spooled || targets.iter().all(|(_, required)| !required) {
            targets.iter_mut().for_each(|(_, required)| *required = true);
        }
        if !self.has_broker(source) || targets.is_empty() {
            return None;
        }
        let filters = (0..FILTERS.len()).filter(|at| route.filters >> at & 1 != 0).map(|at| FILTERS[at]);
        let mut filters: Vec<_> = filters.collect();
        if filters.is_empty() {
            filters.push(FILTERS[0]);
        }
        Some(RouteView {
            source: broker_name(source),
            filters: filters.into_iter().map(|filter| TopicFilter::new(filter).expect("a filter")).collect(),
            targets,
            has_plugins: !route.plugins.is_multiple_of(4),
            spooled: route.spooled,
            persist_qos0: route.spooled && route.persist_qos0,
            qos: route.qos.and_then(|qos| QoS::from_u8(qos % 3)),
            priority: route.priority % 3,
        })
    }

    pub(crate) fn config(&self) -> Config {
        let text = self.text();
        match tidegate_config::parse(&text, Path::new("/g/tidegate.toml")) {
            Ok((config, _)) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }

    fn text(&self) -> String {
        let mut text = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n".to_owned();
        for (name, is_link) in self.brokers() {
            let spool = self.spool_of(&name).text();
            let kind = match is_link {
                true => format!("url = \"mqtt://{name}\"\nversion = \"5\""),
                false => "embedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]".to_owned(),
            };
            let _ = writeln!(text, "[brokers.{name}]\n{kind}\nspool = {spool}");
        }
        for (at, set) in self.sets.iter().enumerate() {
            let Some(members) = self.members(at) else { continue };
            let policy = ["failover", "balance", "all"][usize::from(set.policy % 3)];
            let name = set_name(at);
            let _ = writeln!(text, "[targets.{name}]\npolicy = \"{policy}\"\nmembers = {members:?}\nfailback = \"3s\"");
            if set.policy % 3 == 1 {
                let _ = writeln!(text, "weights = {{ {} = {} }}", members[0], 1 + set.weight % 4);
                text += if set.relieves { "relief = { queue = 1 }\n" } else { "" };
            }
            if !set.gives_to_all() {
                let _ = writeln!(text, "spool = {}", set.spool.text());
            }
        }
        for at in 0..3 {
            let _ = writeln!(text, "[plugins.p{at}]\npath = \"/p{at}.wasm\"\ngrants = {{ state = true }}");
        }
        let mut routes: Vec<_> = (0..self.routes.len()).collect();
        if self.is_reversed {
            routes.reverse();
        }
        for at in routes {
            let Some(view) = self.route(at) else { continue };
            let filters: Vec<&str> = view.filters.iter().map(TopicFilter::as_str).collect();
            let (name, source) = (route_name(at), &view.source);
            let targets: Vec<&String> = view.targets.iter().map(|(name, _)| name).collect();
            let required: Vec<&String> =
                view.targets.iter().filter(|(_, required)| *required).map(|(name, _)| name).collect();
            let plugins: Vec<String> = (0..self.routes[at].plugins % 4).map(|at| format!("p{at}")).collect();
            let ack = if view.spooled { "spooled" } else { "delivered" };
            let priority = ["high", "normal", "low"][usize::from(view.priority)];
            let _ = writeln!(
                text,
                "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"{source}\", topics = {filters:?}, qos = 2 }}\n\
                 to = {targets:?}\nrequired = {required:?}\nplugins = {plugins:?}\nack = \"{ack}\"\n\
                 priority = \"{priority}\"\nremap = {{ prefix = \"{name}/\" }}"
            );
            if view.persist_qos0 {
                text += "persist_qos0 = true\n";
            }
            if let Some(qos) = view.qos {
                let _ = writeln!(text, "qos = {}", qos as u8);
            }
        }
        text
    }
}
