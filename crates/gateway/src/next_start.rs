//! What a file may say of a running gateway, and only the next start can do: `[gateway]`, `[admin]`, the engine of the plugins,
//! and what follows from the gateway's name.
//!
//! They keep the values that run. A client id made of the name is the name of a session at a broker: changed alone, it would
//! leave that session behind while all else still goes by the old name.

use tidegate_config::{Broker, Config, Gateway, Status};
use tidegate_message::Topic;

/// Whether a key is one of those.
pub(crate) fn waits(key: &str) -> bool {
    key == "plugins.engine" || ["gateway", "admin"].contains(&key.split('.').next().unwrap_or(key))
}

/// What of a configuration can be in force now, `running` being what is.
pub(crate) fn in_force(running: &Config, written: &Config) -> Config {
    let mut config = with_client_ids_of(&running.gateway.name, written);
    (config.gateway, config.admin) = (running.gateway.clone(), running.admin.clone());
    config
}

/// A configuration with the default client ids and topics that it has while the gateway goes by an `old` name.
pub(crate) fn with_client_ids_of(old: &str, written: &Config) -> Config {
    let mut config = written.clone();
    let new = &written.gateway.name;
    for (name, broker) in &mut config.brokers {
        let client_id = match broker {
            Broker::Link(link) => &mut link.client_id,
            Broker::Nats(nats) => &mut nats.client_id,
            Broker::Embedded(_) => continue,
        };
        if *client_id == Gateway::default_client_id(new, name) {
            *client_id = Gateway::default_client_id(old, name);
        }
        let status = match broker {
            Broker::Link(link) => &mut link.status,
            Broker::Embedded(embedded) => &mut embedded.status,
            Broker::Nats(_) => continue,
        };
        if let Some(status) = status
            && status.topic.as_str() == Status::default_topic(new)
            && let Ok(topic) = Topic::new(Status::default_topic(old))
        {
            status.topic = topic;
        }
    }
    config
}

/// What is new in `written` since `before` and has to wait, in words. `in_force` is what of `written` is.
pub(crate) fn told(in_force: &Config, before: &Config, written: &Config) -> Vec<String> {
    let (old, new, runs) = (&before.gateway, &written.gateway, &in_force.gateway);
    let keys = [
        ("gateway.name", old.name != new.name, new.name == runs.name),
        ("gateway.data_dir", old.data_dir != new.data_dir, new.data_dir == runs.data_dir),
        ("gateway.commit_delay", old.commit_delay != new.commit_delay, new.commit_delay == runs.commit_delay),
        ("gateway.segment_size", old.segment_size != new.segment_size, new.segment_size == runs.segment_size),
        (
            "gateway.control_characters",
            old.allow_control_characters != new.allow_control_characters,
            new.allow_control_characters == runs.allow_control_characters,
        ),
        ("gateway.hop_limit", old.hop_limit != new.hop_limit, new.hop_limit == runs.hop_limit),
        ("gateway.keep_versions", old.keep_versions != new.keep_versions, new.keep_versions == runs.keep_versions),
        ("plugins.engine", old.interpreter != new.interpreter, new.interpreter == runs.interpreter),
        ("admin", before.admin != written.admin, written.admin == in_force.admin),
    ];
    let words = |(key, _, as_it_runs): (&str, bool, bool)| match (key, as_it_runs) {
        (key, true) => format!("{key} is again as it runs"),
        ("gateway.name", false) => format!("gateway.name changes at the next start{}", sessions(in_force, written)),
        (key, false) => format!("{key} changes at the next start"),
    };
    keys.into_iter().filter(|(_, differs, _)| *differs).map(words).collect()
}

/// Which brokers will know the gateway under another client id, and what becomes of what they keep.
fn sessions(in_force: &Config, written: &Config) -> String {
    let id = |broker: &Broker| match broker {
        Broker::Link(link) => Some(link.client_id.clone()),
        Broker::Nats(nats) => Some(nats.client_id.clone()),
        Broker::Embedded(_) => None,
    };
    let of = |config: &Config, name: &str| config.brokers.get(name).and_then(id);
    let renamed = written.brokers.keys().filter(|name| of(in_force, name) != of(written, name));
    let names: Vec<String> = renamed.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        ", and with it the client id at {}: the session there under the old one, with its subscriptions and what waits in \
         it, stays behind until its `session_expiry` is over; set `client_id` to keep it",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(name: &str, more: &str) -> Config {
        let text = format!(
            "[gateway]\nname = \"{name}\"\ndata_dir = \"/d\"\n[brokers.home]\nurl = \"mqtt://home\"\n[brokers.office]\n\
             url = \"mqtt://office\"\nclient_id = \"mine\"\n{more}"
        );
        tidegate_config::parse(&text, Path::new("/gw.toml")).unwrap().0
    }

    fn client_id<'a>(config: &'a Config, broker: &str) -> &'a str {
        &config.brokers[broker].link().unwrap().client_id
    }

    #[test]
    fn a_name_and_the_client_ids_made_of_it_wait_together_and_are_told_once() {
        let (running, written) = (config("cottage", ""), config("chalet", "[brokers.new]\nurl = \"mqtt://new\""));
        assert_eq!(
            client_id(&written, "home"),
            Gateway::default_client_id("chalet", "home"),
            "the rule is that of the file"
        );
        let now = in_force(&running, &written);
        assert_eq!(now.gateway, running.gateway);
        assert_eq!(client_id(&now, "home"), "tidegate-cottage-home");
        assert_eq!(client_id(&now, "new"), "tidegate-cottage-new", "all of a gateway has one name");
        assert_eq!(client_id(&now, "office"), "mine");
        let words = told(&now, &running, &written);
        assert_eq!(words.len(), 1);
        let start = "gateway.name changes at the next start, and with it the client id at `home`, `new`: the session";
        assert!(words[0].starts_with(start), "{words:?}");
        assert!(told(&now, &written, &written).is_empty(), "it was told");
        let back = in_force(&now, &running);
        assert_eq!(back, running);
        assert_eq!(told(&back, &written, &running), ["gateway.name is again as it runs"]);
    }

    #[test]
    fn other_keys_of_the_gateway_and_the_admin_server_wait_too() {
        let running = config("g", "");
        let mut written = config("g", "[admin]\nlisten = \"127.0.0.1:0\"");
        written.gateway.allow_control_characters = true;
        let now = in_force(&running, &written);
        assert_eq!(now, running);
        let words = told(&now, &running, &written);
        assert_eq!(words, ["gateway.control_characters changes at the next start", "admin changes at the next start"]);
    }
}
