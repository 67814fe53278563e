//! A configuration as a list of keys and values.
//!
//! Every struct is taken apart whole, so that a field that is added to one does not compile until it stands here.

use super::keys::{Keys, Value, quoted};
use crate::model::{
    Admin, AdminTls, Announcement, Broker, Candidate, Config, Gateway, Grants, Header, HeaderValue, Limits, LinkBroker,
    NatsBroker, Plugin, Probation, Probe, Promote, Reconnect, Relief, Remap, Renaming, Retry, Route, Source,
    SourcePolicy, SourceSet, SpoolSettings, StateGrant, Status, TargetSet, Traces, Trial, TwinKey, Version, Will,
    Workers,
};
use std::collections::{BTreeMap, HashSet};

/// All keys with their values, but of routes that are left out by name. What is not set is not there.
pub(super) fn lay_out(config: &Config, left_out: &HashSet<&str>) -> BTreeMap<String, Value> {
    let Config { gateway, brokers, sources, targets, plugins, routes, admin, traces } = config;
    let mut all = Keys::default();
    all.section("gateway", |keys| keys.gateway(gateway));
    all.told("plugins.engine", if gateway.interpreter { "interpreter" } else { "compiler" });
    if let Some(admin) = admin {
        all.section("admin", |keys| keys.admin(admin));
    }
    if let Some(traces) = traces {
        all.section("traces", |keys| keys.traces(traces));
    }
    for (name, broker) in brokers {
        all.section(&format!("brokers.{name}"), |keys| match broker {
            Broker::Link(link) => keys.link(link),
            Broker::Nats(nats) => keys.nats(nats),
            Broker::Embedded(embedded) => keys.embedded(embedded),
        });
    }
    for (name, set) in sources {
        all.section(&format!("sources.{name}"), |keys| keys.source_set(set));
    }
    for (name, set) in targets {
        all.section(&format!("targets.{name}"), |keys| keys.target_set(set));
    }
    for (name, plugin) in plugins {
        all.section(&format!("plugins.{name}"), |keys| keys.plugin(plugin));
    }
    for route in routes.iter().filter(|route| !left_out.contains(route.name.as_str())) {
        all.section(&format!("routes.{}", route.name), |keys| keys.route(route));
    }
    all.all
}

impl Keys {
    fn gateway(&mut self, gateway: &Gateway) {
        let Gateway {
            name,
            data_dir,
            commit_delay,
            segment_size,
            allow_control_characters,
            hop_limit,
            keep_versions,
            recent_messages,
            interpreter: _,
        } = gateway;
        self.told("name", name);
        self.told("data_dir", data_dir.display());
        self.time("commit_delay", *commit_delay);
        self.size("segment_size", *segment_size);
        self.told("control_characters", if *allow_control_characters { "allow" } else { "refuse" });
        self.told("hop_limit", hop_limit);
        self.told("keep_versions", keep_versions);
        self.told("recent_messages", recent_messages);
    }

    fn admin(&mut self, admin: &Admin) {
        let Admin { listen, control, token, read_token, tls, hosts } = admin;
        self.told("listen", listen);
        self.told("control", control);
        token.iter().for_each(|secret| self.kept("token", format!("{secret:?}")));
        read_token.iter().for_each(|secret| self.kept("read_token", format!("{secret:?}")));
        if let Some(AdminTls { cert, key, key_password }) = tls {
            self.told("tls.cert", cert.display());
            self.told("tls.key", key.display());
            key_password.iter().for_each(|secret| self.kept("tls.key_password", format!("{secret:?}")));
        }
        self.list("hosts", hosts);
    }

    fn link(&mut self, link: &LinkBroker) {
        let LinkBroker {
            url,
            version,
            client_id,
            username,
            password,
            max_qos,
            headers,
            keep_alive,
            receive_maximum,
            max_packet_size,
            session_expiry,
            clean_start: _, // follows from `session_expiry`
            reconnect: Reconnect { min, max },
            connect_timeout,
            tls,
            bridge,
            topic_alias_max,
            will,
            birth,
            farewell,
            status,
            probe,
            spool,
        } = link;
        self.told("url", url);
        let version = match version {
            Version::Auto => "auto",
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        };
        self.told("version", version);
        self.told("client_id", client_id);
        username.iter().for_each(|name| self.told("username", name));
        password.iter().for_each(|secret| self.kept("password", format!("{secret:?}")));
        self.told("max_qos", *max_qos as u8);
        self.headers(headers);
        self.time("keep_alive", *keep_alive);
        self.told("receive_maximum", receive_maximum);
        self.size("max_packet_size", u64::from(*max_packet_size));
        self.time("session_expiry", *session_expiry);
        self.time("reconnect.min", *min);
        self.time("reconnect.max", *max);
        self.time("connect_timeout", *connect_timeout);
        tls.iter().for_each(|tls| self.section("tls", |keys| keys.tls(tls)));
        self.word("bridge", bridge);
        self.told("topic_alias_max", topic_alias_max);
        if let Some(Will { message, delay }) = will {
            self.section("will", |keys| {
                keys.announcement(message);
                keys.time("delay", *delay);
            });
        }
        birth.iter().for_each(|said| self.section("birth", |keys| keys.announcement(said)));
        farewell.iter().for_each(|said| self.section("farewell", |keys| keys.announcement(said)));
        status.iter().for_each(|status| self.section("status", |keys| keys.status(status)));
        if let Some(Probe { topic, every }) = probe {
            self.told("probe.topic", topic);
            self.time("probe.every", *every);
        }
        self.section("spool", |keys| keys.spool(spool));
    }

    fn nats(&mut self, nats: &NatsBroker) {
        let NatsBroker {
            servers,
            tls,
            stream,
            subjects,
            replicas,
            client_id,
            username,
            password,
            receive_maximum,
            reconnect: Reconnect { min, max },
            connect_timeout,
            spool,
        } = nats;
        if let Some((first, others)) = servers.split_first() {
            self.told("url", format!("{}://{first}", nats.scheme()));
            self.list("servers", others.iter().map(|other| format!("{}://{other}", nats.scheme())));
        }
        self.told("stream", stream);
        self.list("subjects", subjects);
        self.told("replicas", replicas);
        self.told("client_id", client_id);
        username.iter().for_each(|name| self.told("username", name));
        password.iter().for_each(|secret| self.kept("password", format!("{secret:?}")));
        self.told("receive_maximum", receive_maximum);
        self.time("reconnect.min", *min);
        self.time("reconnect.max", *max);
        self.time("connect_timeout", *connect_timeout);
        tls.iter().for_each(|tls| self.section("tls", |keys| keys.tls(tls)));
        self.section("spool", |keys| keys.spool(spool));
    }

    fn headers(&mut self, headers: &[Header]) {
        for header in headers {
            let value = match &header.value {
                HeaderValue::Text(text) => format!("text {text}"),
                HeaderValue::Secret(secret) => format!("{secret:?}"),
            };
            self.kept(&format!("headers.{}", quoted(&header.name)), value);
        }
    }

    fn traces(&mut self, traces: &Traces) {
        let Traces { endpoint, headers, tls, one_in, rate } = traces;
        self.told("endpoint", endpoint);
        self.headers(headers);
        if let Some(tls) = tls {
            self.section("tls", |keys| keys.tls(tls));
        }
        self.told("one_in", one_in);
        self.told("rate", rate);
    }

    fn announcement(&mut self, said: &Announcement) {
        let Announcement { topic, payload, qos, retain } = said;
        self.told("topic", topic);
        self.kept("payload", String::from_utf8_lossy(payload));
        self.told("qos", *qos as u8);
        self.told("retain", retain);
    }

    pub(super) fn status(&mut self, status: &Status) {
        let Status { topic, counters, home_assistant } = status;
        self.told("topic", topic);
        counters.iter().for_each(|every| self.time("counters", *every));
        home_assistant.iter().for_each(|prefix| self.told("home_assistant", prefix));
    }

    pub(super) fn spool(&mut self, spool: &SpoolSettings) {
        let SpoolSettings { max_bytes, max_messages, max_age, when_full, drain_rate, mark_late } = spool;
        self.size("max_bytes", *max_bytes);
        max_messages.iter().for_each(|most| self.told("max_messages", most));
        max_age.iter().for_each(|age| self.time("max_age", *age));
        self.word("when_full", when_full);
        drain_rate.iter().for_each(|rate| self.told("drain_rate", rate));
        mark_late.iter().for_each(|late| self.time("mark_late", *late));
    }

    fn source_set(&mut self, source: &SourceSet) {
        let SourceSet { brokers, policy } = source;
        self.list("brokers", brokers);
        match policy {
            SourcePolicy::Failover { takeover_after, failback } => {
                self.told("policy", "failover");
                self.time("takeover_after", *takeover_after);
                self.time("failback", *failback);
            }
            SourcePolicy::Merge { window, key } => {
                self.told("policy", "merge");
                self.time("window", *window);
                match key {
                    TwinKey::Payload => {}
                    TwinKey::UserProperty(name) => self.told("key.user_property", name),
                    TwinKey::Json(pointer) => self.told("key.json", pointer),
                }
            }
        }
    }

    fn target_set(&mut self, set: &TargetSet) {
        let TargetSet { policy, members, failback, takeover_after, weights, level, relief, require, spool } = set;
        self.word("policy", policy);
        self.list("members", members);
        self.time("failback", *failback);
        self.time("takeover_after", *takeover_after);
        self.section("weights", |keys| weights.iter().for_each(|(name, weight)| keys.told(name, weight)));
        level.iter().for_each(|level| self.told("level", level));
        if let Some(Relief { queue, latency }) = relief {
            self.section("relief", |keys| {
                queue.iter().for_each(|queue| keys.told("queue", queue));
                latency.iter().for_each(|latency| keys.time("latency", *latency));
            });
        }
        require.iter().for_each(|require| self.told("require", require));
        self.section("spool", |keys| keys.spool(spool));
    }

    fn probation(&mut self, probation: Probation) {
        let Probation { lasts, messages, failures_per_million, slower, rejects, replay_parked } = probation;
        self.time("for", lasts);
        self.told("messages", messages);
        self.told("failures", format!("{}%", f64::from(failures_per_million) / 10_000.0));
        self.told("slower", slower);
        self.told("rejects", rejects);
        self.told("replay_parked", replay_parked);
    }

    fn candidate(&mut self, candidate: &Candidate) {
        let Candidate { path, config, digest, trial, ignore, promote } = candidate;
        self.told("path", path.display());
        config.iter().for_each(|config| self.json("config", config));
        digest.iter().for_each(|digest| self.told("digest", digest));
        self.told("mode", trial.word());
        if let Trial::Canary { topics, share_per_million } = trial {
            self.list("topics", topics);
            self.told("share", format!("{}%", f64::from(*share_per_million) / 10_000.0));
        }
        self.list("ignore", ignore);
        if let Some(Promote { after, messages, differences, failures_per_million }) = promote {
            self.section("promote", |keys| {
                keys.time("after", *after);
                keys.told("messages", messages);
                keys.told("differences", differences);
                keys.told("failures", format!("{}%", f64::from(*failures_per_million) / 10_000.0));
            });
        }
    }

    fn plugin(&mut self, plugin: &Plugin) {
        let Plugin { path, config, grants, limits, digest, probation, candidate } = plugin;
        let Grants { targets, topics, state } = grants;
        let Limits {
            memory_bytes,
            table_elements,
            deadline,
            configure_deadline,
            outputs,
            output_bytes,
            log_lines_per_second,
            state_bytes,
        } = limits;
        self.told("path", path.display());
        self.json("config", config);
        self.list("grants.targets", targets);
        self.list("grants.topics", topics);
        self.told(
            "grants.state",
            match state {
                StateGrant::Refused => "false",
                StateGrant::Granted => "true",
                StateGrant::Shared => "shared",
            },
        );
        match probation {
            None => self.told("probation", false),
            Some(probation) => self.section("probation", |keys| keys.probation(*probation)),
        }
        if let Some(candidate) = candidate {
            self.section("candidate", |keys| keys.candidate(candidate));
        }
        self.section("limits", |keys| {
            keys.size("memory", *memory_bytes as u64);
            keys.told("table_elements", table_elements);
            keys.time("deadline", *deadline);
            keys.time("configure_deadline", *configure_deadline);
            keys.told("outputs", outputs);
            keys.size("output_size", *output_bytes as u64);
            keys.told("log_lines_per_second", log_lines_per_second);
            keys.size("state_size", *state_bytes as u64);
        });
        digest.iter().for_each(|digest| self.told("digest", digest));
    }

    /// Values in a plugin's table are its own business, and may be its secrets.
    fn json(&mut self, key: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(table) if !table.is_empty() => {
                self.section(key, |keys| table.iter().for_each(|(key, value)| keys.json(&quoted(key), value)));
            }
            serde_json::Value::Object(_) if key == "config" => {} // as if it were not written
            value => self.kept(key, value.to_string()),
        }
    }

    fn route(&mut self, route: &Route) {
        let Route {
            name: _, // it is in the key
            from: Source { brokers, set, topics, qos: subscribed, retained },
            plugins,
            to,
            required,
            remap,
            ack,
            on_failure,
            retry: Retry { attempts, min, max },
            tick,
            workers: Workers { count, level },
            qos,
            retain,
            persist_qos0,
            priority,
        } = route;
        match set {
            Some(name) => self.told("from.source", name),
            // Those of a set are told of where it stands.
            None => brokers.iter().for_each(|broker| self.told("from.broker", broker)),
        }
        self.list("from.topics", topics);
        self.told("from.qos", *subscribed as u8);
        self.word("from.retained", retained);
        self.list("plugins", plugins);
        self.list("to", to);
        required.iter().for_each(|names| self.list("required", names));
        // The ways back follow from other routes.
        if let Some(Remap { renaming, response_topic, ways_back: _ }) = remap {
            let keys = match renaming {
                Renaming::Front { strip, prefix } => [("strip", strip.as_str()), ("prefix", prefix)],
                Renaming::Levels(rewrite) => [("from", rewrite.from().as_str()), ("to", rewrite.to().as_str())],
            };
            keys.iter().for_each(|(key, text)| self.told(&format!("remap.{key}"), format!("\"{text}\"")));
            self.told("remap.response_topic", response_topic);
        }
        self.word("ack", ack);
        self.word("on_failure", on_failure);
        self.told("retry.attempts", attempts);
        self.time("retry.min", *min);
        self.time("retry.max", *max);
        tick.iter().for_each(|tick| self.time("tick", *tick));
        self.told("workers.count", count);
        level.iter().for_each(|level| self.told("workers.level", level));
        qos.iter().for_each(|qos| self.told("qos", *qos as u8));
        self.word("retain", retain);
        self.told("persist_qos0", persist_qos0);
        self.word("priority", priority);
    }
}
