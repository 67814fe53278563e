//! What well-known brokers need and refuse: the files in `config/presets`, which are a part of the program.
//!
//! A preset has keys that a broker's section may leave out ([`fill`]), and limits that `rules` hold the configuration
//! against. What it says is a vendor's, and may be out of date: its keys can be overridden, and its limits only warn.

mod fill;

pub(crate) use fill::{Filled, fill};

use std::sync::OnceLock;
use tidegate_message::TopicFilter;
use toml::de::{DeTable, DeValue};

/// The files, by the name that a configuration calls them by.
const FILES: [(&str, &str); 8] = [
    ("aws-iot-core", include_str!("../../../../config/presets/aws-iot-core.toml")),
    ("azure-event-grid", include_str!("../../../../config/presets/azure-event-grid.toml")),
    ("azure-iot-hub", include_str!("../../../../config/presets/azure-iot-hub.toml")),
    ("emqx-cloud", include_str!("../../../../config/presets/emqx-cloud.toml")),
    ("hivemq-cloud", include_str!("../../../../config/presets/hivemq-cloud.toml")),
    ("home-assistant", include_str!("../../../../config/presets/home-assistant.toml")),
    ("nats", include_str!("../../../../config/presets/nats.toml")),
    ("rabbitmq", include_str!("../../../../config/presets/rabbitmq.toml")),
];

/// What a kind of broker needs and refuses.
#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    /// What people call it.
    pub(crate) title: String,
    /// Keys of a broker's section.
    broker: DeTable<'static>,
    /// More of them, for urls with a port.
    at_port: Vec<(u16, DeTable<'static>)>,
    pub(crate) needs: Needs,
    pub(crate) limits: Limits,
}

/// Something about a broker, and where its vendor says so.
#[derive(Debug)]
pub(crate) struct Sourced<T> {
    pub(crate) is: T,
    pub(crate) source: String,
}

/// What there has to be.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) tls: Option<Sourced<()>>,
    pub(crate) username: Option<Sourced<()>>,
    /// One of its own, not ours.
    pub(crate) client_id: Option<Sourced<()>>,
}

/// The most that it takes, and what it does not take; what is `None` nobody has said anything of.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) max_qos: Option<Sourced<u64>>,
    /// Of what is published.
    pub(crate) topic_levels: Option<Sourced<u64>>,
    pub(crate) topic_bytes: Option<Sourced<u64>>,
    /// Characters that no topic may have.
    pub(crate) topics_without: Option<Sourced<String>>,
    /// The only ones that may be published to.
    pub(crate) publish_topics: Option<Sourced<Vec<TopicFilter>>>,
    /// Of what is subscribed to.
    pub(crate) filter_levels: Option<Sourced<u64>>,
    /// The only ones that may be subscribed to.
    pub(crate) subscribe_topics: Option<Sourced<Vec<TopicFilter>>>,
    /// Filters of one session.
    pub(crate) subscriptions: Option<Sourced<u64>>,
    /// Whether `$share` works.
    pub(crate) shared: Option<Sourced<bool>>,
    /// Whether messages are retained.
    pub(crate) retained: Option<Sourced<bool>>,
    pub(crate) payload_bytes: Option<Sourced<u64>>,
    pub(crate) client_id_bytes: Option<Sourced<u64>>,
    pub(crate) keep_alive_s: Option<Sourced<u64>>,
    pub(crate) session_expiry_s: Option<Sourced<u64>>,
    pub(crate) will_delay_s: Option<Sourced<u64>>,
    /// User names that are taken.
    pub(crate) usernames_but: Option<Sourced<Vec<String>>>,
}

/// All of them, in the order of their names.
pub(crate) fn all() -> &'static [Preset] {
    static ALL: OnceLock<Vec<Preset>> = OnceLock::new();
    // A test sees to it that none is left out.
    ALL.get_or_init(|| FILES.iter().filter_map(|(name, text)| read(name, text).ok()).collect())
}

/// The one of this name.
pub(crate) fn named(name: &str) -> Option<&'static Preset> {
    all().iter().find(|preset| preset.name == name)
}

/// What one file says, or what in it cannot be.
fn read(name: &'static str, text: &'static str) -> Result<Preset, String> {
    let root = DeTable::parse(text).map_err(|error| error.to_string())?.into_inner();
    let table = |key: &str| match root.get(key).map(|value| value.get_ref()) {
        None => Ok(DeTable::new()),
        Some(DeValue::Table(table)) => Ok(table.clone()),
        Some(_) => Err(format!("`{key}` is no table")),
    };
    if let Some((key, _)) = root.iter().find(|(key, _)| !KEYS.contains(&&**key.get_ref())) {
        return Err(format!("unknown key `{}`", key.get_ref()));
    }
    let title = root.get("title").and_then(|title| title.get_ref().as_str()).ok_or("there is no title")?.to_owned();
    let port = |(port, keys): (&toml::Spanned<_>, &toml::Spanned<DeValue<'static>>)| {
        let number: &toml::de::DeString<'static> = port.get_ref();
        let keys = keys.get_ref().as_table().ok_or("a port is no table")?;
        Ok((number.parse().map_err(|_| format!("`{number}` is no port"))?, keys.clone()))
    };
    let at_port = table("at_port")?.iter().map(port).collect::<Result<_, String>>()?;
    let mut needs = Section { table: table("needs")?, asked: Vec::new() };
    let mut limits = Section { table: table("limits")?, asked: Vec::new() };
    let preset = Preset {
        name,
        title,
        broker: table("broker")?,
        at_port,
        needs: Needs {
            tls: needs.take("tls", |_| Some(()))?,
            username: needs.take("username", |_| Some(()))?,
            client_id: needs.take("client_id", |_| Some(()))?,
        },
        limits: Limits {
            max_qos: limits.take("max_qos", number)?,
            topic_levels: limits.take("topic_levels", number)?,
            topic_bytes: limits.take("topic_bytes", number)?,
            topics_without: limits.take("topics_without", |is| is?.as_str().map(str::to_owned))?,
            publish_topics: limits.take("publish_topics", filters)?,
            filter_levels: limits.take("filter_levels", number)?,
            subscribe_topics: limits.take("subscribe_topics", filters)?,
            subscriptions: limits.take("subscriptions", number)?,
            shared: limits.take("shared", |is| is?.as_bool())?,
            retained: limits.take("retained", |is| is?.as_bool())?,
            payload_bytes: limits.take("payload_bytes", number)?,
            client_id_bytes: limits.take("client_id_bytes", number)?,
            keep_alive_s: limits.take("keep_alive_s", number)?,
            session_expiry_s: limits.take("session_expiry_s", number)?,
            will_delay_s: limits.take("will_delay_s", number)?,
            usernames_but: limits.take("usernames_but", texts)?,
        },
    };
    needs.finish()?;
    limits.finish()?;
    Ok(preset)
}

/// The sections of a file.
const KEYS: [&str; 5] = ["title", "broker", "at_port", "needs", "limits"];

/// `[needs]` or `[limits]`, while its keys are taken.
struct Section {
    table: DeTable<'static>,
    asked: Vec<&'static str>,
}

impl Section {
    fn take<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Option<&DeValue<'static>>) -> Option<T>,
    ) -> Result<Option<Sourced<T>>, String> {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let value = value.get_ref();
        let is = read(value.get("is").map(|is| is.get_ref())).ok_or_else(|| format!("what is `{key}`?"))?;
        let source = value.get("source").and_then(|source| source.get_ref().as_str());
        let source = source.filter(|source| !source.is_empty()).ok_or_else(|| format!("who says `{key}`?"))?;
        Ok(Some(Sourced { is, source: source.to_owned() }))
    }

    fn finish(self) -> Result<(), String> {
        let unknown = self.table.keys().find(|key| !self.asked.contains(&&**key.get_ref()));
        unknown.map_or(Ok(()), |key| Err(format!("unknown key `{}`", key.get_ref())))
    }
}

fn number(is: Option<&DeValue<'_>>) -> Option<u64> {
    is?.as_integer()?.as_str().parse().ok()
}

fn texts(is: Option<&DeValue<'_>>) -> Option<Vec<String>> {
    is?.as_array()?.iter().map(|text| text.get_ref().as_str().map(str::to_owned)).collect()
}

fn filters(is: Option<&DeValue<'_>>) -> Option<Vec<TopicFilter>> {
    texts(is)?.into_iter().map(|text| TopicFilter::new(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_is_whole_and_named_and_none_is_left_out() {
        for (name, text) in FILES {
            let preset = read(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(named(name).is_some_and(|found| found.title == preset.title), "{name}");
            assert!(text.lines().next().is_some_and(|line| line.contains("Looked up 20")), "{name} says when");
            // A figure without a word on where it is from is a guess.
            for line in text.lines().skip_while(|line| *line != "[broker]").take_while(|line| !line.is_empty()) {
                let is_key = line.contains(" = ");
                assert!(!is_key || line.contains('#') || line.starts_with("bridge"), "{name}: {line}");
            }
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/presets");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
        assert!(FILES.is_sorted());
    }

    #[test]
    fn a_file_with_a_slip_is_not_taken() {
        for (text, words) in [
            ("title = 'x'\n[limits.max_qs]\nis = 1\nsource = 's'", "unknown key `max_qs`"),
            ("title = 'x'\n[limits.max_qos]\nis = true\nsource = 's'", "what is `max_qos`?"),
            ("title = 'x'\n[limits.max_qos]\nis = 1", "who says `max_qos`?"),
            ("title = 'x'\n[needs.tls]\n", "who says `tls`?"),
            ("title = 'x'\n[at_port.many]\n", "`many` is no port"),
            ("title = 'x'\nbrocker = 1", "unknown key `brocker`"),
            ("[broker]\n", "there is no title"),
        ] {
            assert_eq!(read("x", text).unwrap_err(), words);
        }
    }
}
