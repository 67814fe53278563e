//! Routes out of `topic` lines.

use super::Draft;
use super::flows::{Flow, Flows, Group, skipped_by_newer};
use crate::document::Toml;
use crate::settings::{Bridge, Find, Side};

/// Where the routes of a bridge begin and end.
pub(super) struct Ends<'n> {
    /// What routes are named after.
    pub(super) bridge: &'n str,
    /// The local broker.
    pub(super) local: &'n str,
    /// What goes out goes here: a broker, or a set of them.
    pub(super) target: &'n str,
    /// What comes in comes from here.
    pub(super) source: &'n str,
}

impl Draft<'_> {
    pub(super) fn routes(&mut self, bridge: &Bridge, ends: &Ends<'_>) {
        for (at, line) in bridge.topics.iter().enumerate() {
            if let Some(other) = skipped_by_newer(&bridge.topics[..at], line) {
                let words = format!(
                    "mosquitto 2.0 takes this line, 2.1 passes over it in silence as a repetition of {}",
                    other.place
                );
                self.document.blank();
                self.remark(&line.place, words);
            }
        }
        for side in [Side::Local, Side::Remote] {
            let flows = Flows::from(&bridge.topics, side);
            if !(flows.refused.is_empty() && flows.dead.is_empty() && flows.differs.is_empty()) {
                self.document.blank();
            }
            for (line, why) in &flows.refused {
                let quotes = line.pattern.as_deref().is_some_and(|pattern| pattern.starts_with('"'));
                let instead = match quotes {
                    true => "write the topic without quotes, which mosquitto takes for a part of it",
                    false => "mosquitto takes the line, and no message ever matches it: take it out, or correct it",
                };
                self.lose(&line.place, format!("`{}`: {why}", line.written), instead);
            }
            for (place, words) in flows.dead.into_iter().chain(flows.differs) {
                self.remark(&place, words);
            }
            for group in flows.groups {
                self.route(bridge, ends, side, &group);
            }
        }
    }

    fn route(&mut self, bridge: &Bridge, ends: &Ends<'_>, from: Side, group: &Group<'_>) {
        let Some(first) = group.flows.first() else { return };
        self.document.blank();
        if group.mixed
            && let Some(last) = group.flows.last()
        {
            let words = format!(
                "it shares topics with other lines, so one route carries all of them, with the highest of their QoS, {}",
                group.qos
            );
            self.remark(&last.line.place, words);
        }
        for (place, words) in &group.covered {
            self.document.comment(format!("{place}: {words}"));
        }
        let (source, target, way) = match from {
            Side::Local => (ends.local, ends.target, "out"),
            Side::Remote => (ends.source, ends.local, "in"),
        };
        let name = self.names.give(&format!("{}-{way}", ends.bridge));
        self.document.array("routes");
        self.document.key("name", Toml::text(name), "");
        self.document.key("to", Toml::Texts(vec![target.to_owned()]), "");
        let mut remap = Vec::new();
        if !first.strip.is_empty() {
            remap.push(("strip", Toml::text(&first.strip)));
        }
        if !first.prefix.is_empty() {
            remap.push(("prefix", Toml::text(&first.prefix)));
        }
        if !remap.is_empty() {
            self.document.key("remap", Toml::Table(remap), "");
        }
        if from == Side::Local {
            self.of_what_goes_out(bridge);
        }
        self.document.blank();
        self.document.table(&["routes", "from"]);
        self.document.key("broker", Toml::text(source), "");
        let behind = |flow: &Flow<'_>| format!("{}: {}", flow.line.place, flow.line.written);
        match &group.flows[..] {
            [flow] => {
                let topics = Toml::Texts(vec![flow.filter.to_string()]);
                self.document.key("topics", topics, behind(flow));
            }
            flows => {
                let topics = flows.iter().map(|flow| (flow.filter.to_string(), behind(flow))).collect();
                self.document.key("topics", Toml::Lines(topics), "");
            }
        }
        self.document.key("qos", Toml::Number(i64::from(group.qos)), "");
    }

    fn of_what_goes_out(&mut self, bridge: &Bridge) {
        if let Some(setting) = bridge.settings.setting("bridge_outgoing_retain")
            && bridge.settings.flag("bridge_outgoing_retain") == Some(false)
        {
            self.document.key("retain", Toml::text("clear"), setting.place.to_string());
        }
        let general = &self.mosquitto.general;
        if let Some(setting) = general.setting("queue_qos0_messages")
            && general.flag("queue_qos0_messages") == Some(true)
        {
            self.document.key("persist_qos0", Toml::Flag(true), setting.place.to_string());
        }
    }
}
