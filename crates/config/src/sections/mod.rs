//! Makes the sections of a file into checked types, each by itself.

mod access;
mod admin;
mod announcement;
mod broker;
mod broker_keys;
mod candidate;
mod direction;
mod embedded;
mod gateway;
mod headers;
mod listen_tls;
mod lists;
mod nats;
mod plugin;
mod probation;
mod probe;
mod remap;
mod route;
mod scalars;
mod secret;
mod share;
mod shared_sessions;
mod source_set;
mod spool;
mod status;
mod target_set;
mod text;
mod tls;
mod traces;
mod ways_back;

pub(crate) use route::WrittenRoute;

use crate::model::{Broker, Config, Route};
use crate::presets::Filled;
use crate::problem::Span;
use crate::tree::{At, Context, Section};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;

/// A configuration that has been read but not looked at as a whole. Where something could not be used it holds a
/// placeholder, and the context an error.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) config: Config,
    pub(crate) written: Written,
}

impl Draft {
    /// Each route with what is written of it.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&Route, &WrittenRoute)> {
        self.config.routes.iter().zip(&self.written.routes)
    }
}

/// The names of a configuration as they are written, each with its place: what problems that several sections make
/// together point at.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) brokers: BTreeMap<String, Span>,
    /// Brokers that say how long a session is kept.
    pub(crate) session_expiries: BTreeSet<String>,
    pub(crate) sources: BTreeMap<String, WrittenSet>,
    pub(crate) targets: BTreeMap<String, WrittenSet>,
    pub(crate) plugins: BTreeMap<String, WrittenPlugin>,
    /// In the order of the configuration's routes.
    pub(crate) routes: Vec<WrittenRoute>,
    /// Of brokers that have one, by name.
    pub(crate) presets: BTreeMap<String, Filled>,
}

/// A source's or a target set's.
#[derive(Debug)]
pub(crate) struct WrittenSet {
    pub(crate) at: Span,
    pub(crate) members: Vec<At<String>>,
}

/// A plugin's.
#[derive(Debug)]
pub(crate) struct WrittenPlugin {
    pub(crate) at: Span,
    /// Of its grants.
    pub(crate) targets: Vec<At<String>>,
}

/// Reads the whole file, of which the brokers with presets are filled.
pub(crate) fn read(context: &Context<'_>, root: &DeTable<'_>, presets: BTreeMap<String, Filled>) -> Draft {
    let mut root = Section::new(context, "the file", "the file", 0..0, root);
    // Done already; read here for what is wrong with the key.
    let _ = root.texts("include");
    let gateway = gateway::read_gateway(&mut root);
    let mut written = Written { presets, ..Written::default() };
    let mut brokers = BTreeMap::new();
    for (name, section) in root.named("brokers", "[brokers.<name>]") {
        context.check_name("broker", name.value, &name.at);
        written.brokers.insert(name.value.to_owned(), name.at);
        if section.has("session_expiry") {
            written.session_expiries.insert(name.value.to_owned());
        }
        brokers.insert(name.value.to_owned(), broker::read_broker(section, name.value, &gateway));
    }
    check_client_ids(context, &brokers, &written);
    let mut sources = BTreeMap::new();
    for (name, section) in root.named("sources", "[sources.<name>]") {
        context.check_name("source", name.value, &name.at);
        let (set, members) = source_set::read_source_set(section);
        written.sources.insert(name.value.to_owned(), WrittenSet { at: name.at, members });
        sources.insert(name.value.to_owned(), set);
    }
    let mut targets = BTreeMap::new();
    for (name, section) in root.named("targets", "[targets.<name>]") {
        context.check_name("target set", name.value, &name.at);
        let (set, members) = target_set::read_target_set(section);
        written.targets.insert(name.value.to_owned(), WrittenSet { at: name.at, members });
        targets.insert(name.value.to_owned(), set);
    }
    let mut plugins = BTreeMap::new();
    let mut gateway = gateway;
    gateway.interpreter = root.word_in("plugins", "engine", &[("compiler", false), ("interpreter", true)]);
    for (name, section) in root.named("plugins", "[plugins.<name>]") {
        context.check_name("plugin", name.value, &name.at);
        let (plugin, targets) = plugin::read_plugin(section, name.value);
        written.plugins.insert(name.value.to_owned(), WrittenPlugin { at: name.at, targets });
        plugins.insert(name.value.to_owned(), plugin);
    }
    let mut routes = Vec::new();
    for section in root.take("routes").map(|value| value.sections("[[routes]]")).unwrap_or_default() {
        let (route, as_written) = route::read_route(section, &sources, gateway.allow_control_characters);
        let back = direction::back(context, &route, &as_written, &brokers);
        routes.push(route);
        written.routes.push(as_written);
        if let Some((route, as_written)) = back {
            routes.push(route);
            written.routes.push(as_written);
        }
    }
    let admin = root.section("admin", "[admin]").and_then(admin::read_admin);
    let traces = root.section("traces", "[traces]").and_then(traces::read_traces);
    root.finish();
    let mut config = Config { gateway, brokers, sources, targets, plugins, routes, admin, traces };
    ways_back::fill(&mut config);
    shared_sessions::end(&mut config, &written);
    Draft { config, written }
}

/// Two links with one client id to one broker throw each other out for ever (MQTT 5.0 section 3.1.4).
fn check_client_ids(context: &Context<'_>, brokers: &BTreeMap<String, Broker>, written: &Written) {
    let mut seen = BTreeMap::new();
    for (name, link) in brokers.iter().filter_map(|(name, broker)| Some((name, broker.link()?))) {
        if link.url.host.is_empty() && link.url.path.is_empty() {
            continue; // a placeholder
        }
        if let Some(first) = seen.insert((&link.client_id, link.url.to_string()), name) {
            context.error(
                &written.brokers[name],
                format!("brokers `{first}` and `{name}` are the same broker, with the same client id"),
                "give one of them another `client_id`, or use one of them for both",
            );
        }
    }
}
