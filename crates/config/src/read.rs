//! Makes the sections of a file into checked types, each by itself.

use crate::bounds;
use crate::broker::Broker;
use crate::checked::{Admin, AdminAddr, Config, Gateway, Grants, Limits, Plugin, Policy, TargetSet};
use crate::problem::Span;
use crate::read_broker::read_broker;
use crate::read_route::{RouteMarks, read_route};
use crate::read_spool::read_spool;
use crate::reader::{At, FileKind, Reader, Section};
use crate::spool::SpoolSettings;
use crate::values::{self, why_and_hint};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidegate_message::TopicFilter;
use toml::de::DeTable;

/// A configuration that has been read but not looked at as a whole. Where something could not be used it holds a
/// placeholder, and the reader an error.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) config: Config,
    pub(crate) marks: Marks,
}

/// Where in the text the names are. Lists run beside the lists of names in the checked types.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) brokers: BTreeMap<String, Span>,
    pub(crate) targets: BTreeMap<String, TargetMarks>,
    pub(crate) plugins: BTreeMap<String, PluginMarks>,
    pub(crate) routes: Vec<RouteMarks>,
}

#[derive(Debug)]
pub(crate) struct TargetMarks {
    pub(crate) name: Span,
    pub(crate) members: Vec<Span>,
}

#[derive(Debug)]
pub(crate) struct PluginMarks {
    pub(crate) name: Span,
    pub(crate) targets: Vec<Span>,
}

/// Splits what was read from where it was.
pub(crate) fn split<T>(list: Vec<At<T>>) -> (Vec<T>, Vec<Span>) {
    list.into_iter().map(|element| (element.value, element.at)).unzip()
}

/// Names, each once.
pub(crate) fn names(reader: &Reader<'_>, key: &str, list: Vec<At<&str>>) -> Vec<At<String>> {
    let mut names: Vec<At<String>> = Vec::with_capacity(list.len());
    for name in list {
        if names.iter().any(|before| before.value == name.value) {
            let what = format!("`{key}` names {} twice", values::shown(name.value));
            reader.error(&name.at, what, "leave out one of them");
        } else {
            names.push(At { value: name.value.to_owned(), at: name.at });
        }
    }
    names
}

/// Filters that can be. The others are reported and left out.
pub(crate) fn filters(reader: &Reader<'_>, list: Vec<At<&str>>) -> Vec<At<TopicFilter>> {
    let mut filters = Vec::with_capacity(list.len());
    for text in list {
        match TopicFilter::new(text.value.to_owned()) {
            Ok(value) => filters.push(At { value, at: text.at }),
            Err(error) => {
                let (why, hint) = why_and_hint(&error, "write levels separated by `/`, such as \"dev/+/temp\"");
                reader.error(&text.at, format!("{} is not a topic filter: {why}", values::shown(text.value)), hint);
            }
        }
    }
    filters
}

/// Reads the whole file.
pub(crate) fn read(reader: &Reader<'_>, root: &DeTable<'_>) -> Draft {
    let mut root = Section::new(reader, "the file", "the file", 0..0, root);
    let gateway = read_gateway(&mut root);
    let mut marks = Marks::default();
    let mut brokers = BTreeMap::new();
    for (name, section) in root.named("brokers", "[brokers.<name>]") {
        reader.check_name("broker", name.value, &name.at);
        marks.brokers.insert(name.value.to_owned(), name.at);
        brokers.insert(name.value.to_owned(), read_broker(section, name.value, &gateway));
    }
    check_client_ids(reader, &brokers, &marks);
    let mut targets = BTreeMap::new();
    for (name, section) in root.named("targets", "[targets.<name>]") {
        reader.check_name("target set", name.value, &name.at);
        let (set, members) = read_target_set(section);
        marks.targets.insert(name.value.to_owned(), TargetMarks { name: name.at, members });
        targets.insert(name.value.to_owned(), set);
    }
    let mut plugins = BTreeMap::new();
    for (name, section) in root.named("plugins", "[plugins.<name>]") {
        reader.check_name("plugin", name.value, &name.at);
        let (plugin, targets) = read_plugin(section);
        marks.plugins.insert(name.value.to_owned(), PluginMarks { name: name.at, targets });
        plugins.insert(name.value.to_owned(), plugin);
    }
    let mut routes = Vec::new();
    for section in root.take("routes").map(|value| value.sections("[[routes]]")).unwrap_or_default() {
        let (route, at) = read_route(section, gateway.allow_control_characters);
        routes.push(route);
        marks.routes.push(at);
    }
    let admin = root.section("admin", "[admin]").and_then(read_admin);
    root.finish();
    Draft { config: Config { gateway, brokers, targets, plugins, routes, admin }, marks }
}

fn read_gateway(root: &mut Section<'_, '_, '_, '_>) -> Gateway {
    let mut gateway = Gateway {
        name: String::new(),
        data_dir: PathBuf::new(),
        commit_delay: bounds::COMMIT_DELAY.default,
        segment_size: bounds::SEGMENT_SIZE.default,
        allow_control_characters: false,
    };
    let reader = root.reader;
    let value = root.take("gateway");
    if value.is_none() {
        let hint = "add it, with `name = \"cottage\"` and `data_dir = \"/var/lib/tidegate\"`";
        reader.error(&root.at, "there is no section `[gateway]`", hint);
    }
    if let Some(mut section) = value.and_then(|value| value.section("[gateway]")) {
        if let Some(name) = section.require("name", "\"cottage\"").and_then(|value| value.text()) {
            reader.check_name("gateway", name.value, &name.at);
            gateway.name = name.value.to_owned();
        }
        if let Some(dir) = section.require("data_dir", "\"/var/lib/tidegate\"").and_then(|value| value.path()) {
            gateway.data_dir = dir.value;
        }
        gateway.commit_delay = section.duration("commit_delay", bounds::COMMIT_DELAY);
        gateway.segment_size = section.size("segment_size", bounds::SEGMENT_SIZE);
        gateway.allow_control_characters = section.choice("control_characters", &[("refuse", false), ("allow", true)]);
        section.finish();
    }
    gateway
}

/// Two links with one client id to one broker throw each other out for ever (MQTT 5.0 section 3.1.4).
fn check_client_ids(reader: &Reader<'_>, brokers: &BTreeMap<String, Broker>, marks: &Marks) {
    let mut seen = BTreeMap::new();
    for (name, link) in brokers.iter().filter_map(|(name, broker)| Some((name, broker.link()?))) {
        if link.url.host.is_empty() && link.url.path.is_empty() {
            continue; // a placeholder
        }
        if let Some(first) = seen.insert((&link.client_id, link.url.to_string()), name) {
            reader.error(
                &marks.brokers[name],
                format!("brokers `{first}` and `{name}` are the same broker, with the same client id"),
                "give one of them another `client_id`, or use one of them for both",
            );
        }
    }
}

fn read_target_set(mut section: Section<'_, '_, '_, '_>) -> (TargetSet, Vec<Span>) {
    let words = [("failover", Policy::Failover), ("balance", Policy::Balance), ("all", Policy::All)];
    let policy = section.choice("policy", &words);
    let members = section.require("members", "[\"office\", \"backup\"]").and_then(|value| value.texts());
    if let Some(list) = &members
        && list.is_empty()
    {
        section.reader.error(&section.at, "a target set without members goes nowhere", "name brokers in `members`");
    }
    let (members, at) = split(names(section.reader, "members", members.unwrap_or_default()));
    let failback = section.duration("failback", bounds::FAILBACK);
    let spool_at = section.take("spool");
    let mut spool = read_spool(spool_at.as_ref());
    if policy == Policy::All
        && let Some(value) = spool_at
    {
        let what = "nothing waits for a set of policy \"all\": each of its members has its own spool";
        let example = members.first().map_or("office", String::as_str);
        value.error(what, format!("write `spool` at the members, as in `[brokers.{example}.spool]`"));
        spool = SpoolSettings::default();
    }
    section.finish();
    (TargetSet { policy, members, failback, spool }, at)
}

fn read_plugin(mut section: Section<'_, '_, '_, '_>) -> (Plugin, Vec<Span>) {
    let reader = section.reader;
    let path = section.require("path", "\"plugins/name.wasm\"").and_then(|value| value.path());
    let config = section.take("config").and_then(|value| value.json());
    let digest = section.text("digest").and_then(|text| {
        let digest = text.value.strip_prefix("sha256:").unwrap_or(text.value);
        if digest.len() == bounds::DIGEST_DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(digest.to_ascii_lowercase());
        }
        let hint = "write the 64 hexadecimal digits that `sha256sum` prints";
        reader.error(&text.at, "`digest` is not a SHA-256 digest", hint);
        None
    });
    let (grants, targets) =
        section.section("grants", "grants = { targets = [\"upstream\"] }").map(read_grants).unwrap_or_default();
    let limits = section.section("limits", "limits = { deadline = \"50ms\" }").map(read_limits).unwrap_or_default();
    section.finish();
    if let Some(path) = &path {
        reader.uses_file(FileKind::Plugin { path: path.value.clone(), digest: digest.clone() }, &path.at);
    }
    let path = path.map(|path| path.value).unwrap_or_default();
    let config = config.unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
    (Plugin { path, config, grants, limits, digest }, targets)
}

fn read_grants(mut section: Section<'_, '_, '_, '_>) -> (Grants, Vec<Span>) {
    let reader = section.reader;
    let (targets, at) = split(names(reader, "targets", section.texts("targets").unwrap_or_default()));
    let topics = filters(reader, section.texts("topics").unwrap_or_default());
    for filter in topics.iter().filter(|filter| filter.value.share().is_some()) {
        let what = format!("a grant cannot be a shared subscription, as {} is", values::shown(filter.value.as_str()));
        reader.error(&filter.at, what, format!("write \"{}\"", filter.value.pattern()));
    }
    let state = section.flag("state", false);
    section.finish();
    (Grants { targets, topics: split(topics).0, state }, at)
}

fn read_limits(mut section: Section<'_, '_, '_, '_>) -> Limits {
    // The bounds keep each number within its type.
    let limits = Limits {
        memory_bytes: section.size("memory", bounds::MEMORY) as usize,
        table_elements: section.number("table_elements", bounds::TABLE_ELEMENTS) as usize,
        deadline: section.duration("deadline", bounds::DEADLINE),
        configure_deadline: section.duration("configure_deadline", bounds::CONFIGURE_DEADLINE),
        outputs: section.number("outputs", bounds::OUTPUTS) as u32,
        output_bytes: section.size("output_size", bounds::OUTPUT_SIZE) as usize,
        log_lines_per_second: section.number("log_lines_per_second", bounds::LOG_LINES) as u32,
        state_bytes: section.size("state_size", bounds::STATE_SIZE) as usize,
    };
    section.finish();
    limits
}

fn read_admin(mut section: Section<'_, '_, '_, '_>) -> Option<Admin> {
    let reader = section.reader;
    let listen = section.require("listen", "\"127.0.0.1:9180\"").and_then(|value| value.text());
    let allow_remote = section.flag("allow_remote", false);
    section.finish();
    let listen = listen?;
    let addr = values::admin_addr(listen.value).map_err(|(what, hint)| reader.error(&listen.at, what, hint)).ok()?;
    if let AdminAddr::Tcp(tcp) = &addr
        && !tcp.ip().is_loopback()
        && !allow_remote
    {
        reader.error(
            &listen.at,
            format!("the admin server asks for no password, and {tcp} can be reached from other machines"),
            "listen on 127.0.0.1 or a unix socket, or add `allow_remote = true` if the network is yours alone",
        );
    }
    Some(Admin { listen: addr })
}
