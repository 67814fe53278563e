//! Every metric there is, with its name and help in one place, in Prometheus' text format.

mod candidates;
mod own;
mod samples;

use crate::snapshot::Snapshot;
use samples::Samples;
use std::fmt::Write;
use tidegate_router::Histogram;

/// A family of metrics: its name, kind and help, and the samples of a snapshot as label pairs and value.
type Family = (&'static str, &'static str, &'static str, fn(&Snapshot, &mut Samples));

macro_rules! per_route {
    ($field:ident) => {
        |s, out| s.routes.iter().for_each(|r| out.add(&[("route", &r.name)], r.account.$field as f64))
    };
}

macro_rules! per_broker {
    ($field:ident) => {
        |s, out| s.brokers.iter().for_each(|b| out.add(&[("broker", &b.name)], b.$field as f64))
    };
}

macro_rules! per_queue {
    ($field:ident) => {
        |s, out| {
            for queue in &s.queues {
                out.add(&[("target", &queue.target), ("priority", queue.priority)], queue.$field as f64);
            }
        }
    };
}

macro_rules! per_plugin {
    ($field:ident) => {
        |s, out| {
            for (route, plugin) in s.routes.iter().flat_map(|r| r.plugins.iter().map(move |p| (r, p))) {
                out.add(&[("route", &route.name), ("plugin", &plugin.name)], plugin.$field as f64);
            }
        }
    };
}

macro_rules! per_kind {
    ($field:ident) => {
        per_kind!($field as "kind")
    };
    ($field:ident as $label:literal) => {
        |s, out| {
            for (route, plugin) in s.routes.iter().flat_map(|r| r.plugins.iter().map(move |p| (r, p))) {
                for (kind, count) in &plugin.$field {
                    let labels = [("route", route.name.as_str()), ("plugin", &plugin.name), ($label, kind)];
                    out.add(&labels, *count as f64);
                }
            }
        }
    };
}

fn all() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(own::FAMILIES).chain(candidates::FAMILIES)
}

/// Every one, but for those of the own broker and of candidates.
const FAMILIES: &[Family] = &[
    ("tidegate_route_received_total", "counter", "Messages that entered the route.", per_route!(received)),
    ("tidegate_route_replayed_total", "counter", "Parked messages that entered the route again.", per_route!(replayed)),
    ("tidegate_route_ticked_total", "counter", "Messages that plugins made on a tick.", per_route!(ticked)),
    (
        "tidegate_route_copies_total",
        "counter",
        "What fan-out and plugins made of a message beyond the first.",
        per_route!(copies),
    ),
    (
        "tidegate_route_out_total",
        "counter",
        "Messages delivered: QoS 0 written, QoS 1 and 2 acknowledged by the target.",
        per_route!(out),
    ),
    (
        "tidegate_route_parked_total",
        "counter",
        "Messages kept aside: a plugin failed on them, or a target hung up.",
        per_route!(parked),
    ),
    (
        "tidegate_route_in_flight",
        "gauge",
        "Messages with plugins, in the spool, in lanes and in sessions.",
        per_route!(in_flight),
    ),
    (
        "tidegate_route_imbalance",
        "gauge",
        "received + replayed + ticked + recovered + copies - out - dropped - parked - in_flight: 0 unless there is a bug.",
        |s, out| s.routes.iter().for_each(|r| out.add(&[("route", &r.name)], r.account.imbalance() as f64)),
    ),
    ("tidegate_route_dropped_total", "counter", "Messages that ended in the route, by reason.", |s, out| {
        for route in &s.routes {
            for (reason, count) in &route.account.dropped {
                out.add(&[("route", &route.name), ("reason", reason)], *count as f64);
            }
        }
    }),
    ("tidegate_plugin_faults_total", "counter", "Messages a plugin failed on, by kind.", per_kind!(faults)),
    (
        "tidegate_plugin_restarts_total",
        "counter",
        "Times a plugin failed and started anew, with an empty memory, by kind; a second chance may have healed it.",
        per_kind!(restarts),
    ),
    (
        "tidegate_plugin_memory_bytes",
        "gauge",
        "Linear memory of the plugin's instances; each may have `limits.memory`.",
        per_plugin!(memory_bytes),
    ),
    ("tidegate_plugin_rejects_total", "counter", "Messages a plugin rejected.", per_plugin!(rejects)),
    ("tidegate_plugin_retries_total", "counter", "Times a plugin was asked again.", per_plugin!(retries)),
    (
        "tidegate_plugin_circuit_open_total",
        "counter",
        "Messages a plugin was not asked about because its circuit was open.",
        per_plugin!(circuit_open),
    ),
    (
        "tidegate_plugin_circuit_opened_total",
        "counter",
        "Times the circuit of a plugin opened.",
        per_plugin!(circuit_opened),
    ),
    ("tidegate_plugin_info", "gauge", "1 for the version of a plugin that runs.", |s, out| {
        for (route, plugin) in s.routes.iter().flat_map(|r| r.plugins.iter().map(move |p| (r, p))) {
            let labels = [("route", route.name.as_str()), ("plugin", &plugin.name), ("version", &plugin.version)];
            out.add(&labels, 1.0);
        }
    }),
    (
        "tidegate_plugin_messages_total",
        "counter",
        "Messages by what the plugin said of them: passed, changed or dropped.",
        per_kind!(outcomes as "outcome"),
    ),
    (
        "tidegate_plugin_seconds_total",
        "counter",
        "How long the plugin was asked for, in seconds.",
        per_plugin!(asked_s),
    ),
    ("tidegate_plugin_circuit", "gauge", "1 while the plugin is not asked, for it keeps failing.", |s, out| {
        for (route, plugin) in s.routes.iter().flat_map(|r| r.plugins.iter().map(move |p| (r, p))) {
            out.add(&[("route", &route.name), ("plugin", &plugin.name)], f64::from(u8::from(plugin.is_open)));
        }
    }),
    ("tidegate_broker_up", "gauge", "1 while the broker is connected.", |s, out| {
        s.brokers.iter().for_each(|b| out.add(&[("broker", &b.name)], f64::from(u8::from(b.up))));
    }),
    ("tidegate_broker_ready", "gauge", "1 while the broker is up and lacks nothing: see /ready.", |s, out| {
        s.brokers.iter().for_each(|b| out.add(&[("broker", &b.name)], f64::from(u8::from(b.ready))));
    }),
    ("tidegate_broker_received_total", "counter", "Messages received from the broker.", per_broker!(received)),
    ("tidegate_broker_sent_total", "counter", "Messages the broker was sent.", per_broker!(sent)),
    (
        "tidegate_broker_unrouted_total",
        "counter",
        "Messages from the broker that no route wanted.",
        per_broker!(unrouted),
    ),
    (
        "tidegate_broker_copies_total",
        "counter",
        "Copies of a message that the broker sent because several subscriptions match.",
        per_broker!(copies),
    ),
    (
        "tidegate_broker_echoes_total",
        "counter",
        "Messages that this gateway had published there and the broker sent back: they go no further.",
        per_broker!(echoed),
    ),
    (
        "tidegate_broker_loops_total",
        "counter",
        "Messages from the broker that had passed this gateway before, or as many as hop_limit allows: they go no further.",
        per_broker!(looped),
    ),
    ("tidegate_broker_queued", "gauge", "Messages that wait for the broker.", per_broker!(queued)),
    ("tidegate_broker_queued_bytes", "gauge", "The same in bytes.", per_broker!(queued_bytes)),
    ("tidegate_broker_connects_total", "counter", "Connections the broker accepted.", per_broker!(connects)),
    (
        "tidegate_subscriptions_refused",
        "gauge",
        "Wanted subscriptions that the broker has refused, or hangs up on; /ready names them.",
        per_broker!(subscriptions_refused),
    ),
    (
        "tidegate_skipped_total",
        "counter",
        "Messages from the broker that cannot be taken, by reason; they are acknowledged.",
        |s, out| {
            for broker in &s.brokers {
                for (reason, count) in &broker.skipped {
                    out.add(&[("broker", &broker.name), ("reason", reason)], *count as f64);
                }
            }
        },
    ),
    ("tidegate_broker_probe_seconds", "gauge", "How long the last probe that came back was away.", |s, out| {
        for broker in &s.brokers {
            let took = broker.probe.and_then(|(took, _)| took);
            took.iter().for_each(|took| out.add(&[("broker", &broker.name)], took.as_secs_f64()));
        }
    }),
    (
        "tidegate_broker_probes_lost_total",
        "counter",
        "Probes that had not come back when the next was due.",
        |s, out| {
            for broker in &s.brokers {
                broker.probe.iter().for_each(|(_, lost)| out.add(&[("broker", &broker.name)], *lost as f64));
            }
        },
    ),
    (
        "tidegate_broker_unanswered",
        "gauge",
        "Messages that the broker has left unanswered for a minute or longer.",
        per_broker!(unanswered),
    ),
    (
        "tidegate_broker_given_up_total",
        "counter",
        "Exchanges that were ended without the broker's answer.",
        |s, out| {
            for broker in &s.brokers {
                out.add(&[("broker", &broker.name), ("what", "pubrel")], broker.taken_as_done as f64);
            }
        },
    ),
    (
        "tidegate_broker_acknowledge_seconds",
        "gauge",
        "How long the slowest message in a hundred took of late to be acknowledged by the broker.",
        |s, out| {
            for (broker, slowest) in s.brokers.iter().filter_map(|b| Some((b, b.slowest_s?))) {
                out.add(&[("broker", &broker.name)], slowest);
            }
        },
    ),
    (
        "tidegate_source_subscribed",
        "gauge",
        "1 while a source of several brokers is to be subscribed to at this one.",
        |s, out| {
            for (source, one) in s.sources.iter().flat_map(|it| it.brokers.iter().map(move |one| (it, one))) {
                out.add(&[("source", &source.name), ("broker", &one.broker)], f64::from(u8::from(one.is_subscribed)));
            }
        },
    ),
    (
        "tidegate_source_changes_total",
        "counter",
        "How often a source of several brokers was subscribed to at another one in place of the one before.",
        |s, out| s.sources.iter().for_each(|it| out.add(&[("source", &it.name)], it.changes as f64)),
    ),
    (
        "tidegate_route_twins_total",
        "counter",
        "Messages that another broker of the route's source had brought already: they go no further.",
        |s, out| s.routes.iter().for_each(|r| out.add(&[("route", &r.name)], r.twins as f64)),
    ),
    ("tidegate_set_share", "gauge", "How much of all topics of a set each member gets, from 0 to 1.", |s, out| {
        for (set, member) in s.sets.iter().flat_map(|set| set.members.iter().map(move |member| (set, member))) {
            out.add(&[("target", &set.name), ("broker", &member.broker)], member.share);
        }
    }),
    ("tidegate_set_changes_total", "counter", "How often members of a set have got another share.", |s, out| {
        s.sets.iter().for_each(|set| out.add(&[("target", &set.name)], set.changes as f64));
    }),
    ("tidegate_routes_waiting", "gauge", "Routes that wait for their plugins to be compiled.", |s, out| {
        out.add(&[], s.waiting_routes.len() as f64);
    }),
    ("tidegate_routes_looping", "gauge", "Routes found to be in a loop, which carry nothing twice.", |s, out| {
        out.add(&[], s.looping_routes.len() as f64);
    }),
    (
        "tidegate_broker_sessions_lost_total",
        "counter",
        "Times the broker had forgotten the gateway's session.",
        per_broker!(sessions_lost),
    ),
    ("tidegate_broker_bytes_in_total", "counter", "Bytes read from the broker.", per_broker!(bytes_in)),
    ("tidegate_broker_bytes_out_total", "counter", "Bytes written to the broker.", per_broker!(bytes_out)),
    ("tidegate_parked", "gauge", "Messages kept aside now.", |s, out| out.add(&[], s.parked_now as f64)),
    ("tidegate_spool_queued", "gauge", "Messages in the spool for a target, by priority.", per_queue!(messages)),
    ("tidegate_spool_queued_bytes", "gauge", "What they weigh in memory.", per_queue!(bytes)),
    ("tidegate_spool_oldest_seconds", "gauge", "How long the oldest has waited.", per_queue!(oldest_s)),
    ("tidegate_spool_used_ratio", "gauge", "How much of the target's quota is used, from 0 to 1.", |s, out| {
        for (queue, used) in s.queues.iter().filter_map(|queue| Some((queue, queue.used?))) {
            out.add(&[("target", &queue.target), ("priority", queue.priority)], used);
        }
    }),
    ("tidegate_spool_segments", "gauge", "Files of the log.", |s, out| out.add(&[], s.segments as f64)),
    ("tidegate_spool_written_bytes_total", "counter", "Bytes written to the spool.", |s, out| {
        out.add(&[], s.disk.written_bytes as f64);
    }),
    ("tidegate_spool_syncs_total", "counter", "Times the log was made durable.", |s, out| {
        out.add(&[], s.disk.syncs as f64);
    }),
    ("tidegate_spool_sync_seconds_total", "counter", "How long that took together.", |s, out| {
        out.add(&[], s.disk.sync_us as f64 / 1e6);
    }),
    ("tidegate_spool_damaged_total", "counter", "Pieces of the log that did not match their checksum.", |s, out| {
        out.add(&[], s.damaged as f64);
    }),
    (
        "tidegate_spool_disk_status",
        "gauge",
        "0: the disk takes what it is given, 1: it is full, 2: it failed.",
        |s, out| {
            out.add(&[], f64::from(s.disk_status));
        },
    ),
    ("tidegate_spool_blocked", "gauge", "Received messages that wait for room in a full queue.", |s, out| {
        out.add(&[], s.blocked as f64);
    }),
    ("tidegate_route_recovered_total", "counter", "Messages found in the spool at the start.", per_route!(recovered)),
    ("tidegate_unacknowledged", "gauge", "Received messages whose source waits for its acknowledgement.", |s, out| {
        out.add(&[], s.unacknowledged as f64)
    }),
    (
        "tidegate_traces_total",
        "counter",
        "Messages that were sampled for a collector of traces: taken by it, or lost.",
        |s, out| {
            if let Some((taken, lost)) = s.traces {
                out.add(&[("outcome", "taken")], taken as f64);
                out.add(&[("outcome", "lost")], lost as f64);
            }
        },
    ),
    ("tidegate_reloads_total", "counter", "Reloads of the configuration or a plugin that were applied.", |s, out| {
        out.add(&[], s.reloads as f64);
    }),
    (
        "tidegate_plugin_rollbacks_total",
        "counter",
        "Versions of the plugin that failed on probation: the one before runs again.",
        |s, out| s.rollbacks.iter().for_each(|(plugin, count)| out.add(&[("plugin", plugin)], *count as f64)),
    ),
    ("tidegate_reloads_refused_total", "counter", "Reloads that were refused.", |s, out| {
        out.add(&[], s.reloads_refused as f64);
    }),
    (
        "tidegate_reload_last_success_timestamp_seconds",
        "gauge",
        "When a reload was last applied, or the gateway started, in Unix time.",
        |s, out| out.add_time(s.last_reloads.applied_at),
    ),
    (
        "tidegate_reload_last_refused_timestamp_seconds",
        "gauge",
        "When a reload was last refused, in Unix time; missing before the first.",
        |s, out| out.add_time(s.last_reloads.refused_at),
    ),
];

const LATENCY: &str = "tidegate_route_latency_seconds";
const LATENCY_HELP: &str = "From receipt to delivery, in seconds.";

/// The name, kind and help of every metric of a gateway.
pub fn metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let families = all().map(|(name, kind, help, _)| (*name, *kind, *help));
    families.chain([(LATENCY, "histogram", LATENCY_HELP)])
}

impl Snapshot {
    fn own(&self) -> impl Iterator<Item = (&str, &tidegate_broker::Stats)> {
        self.brokers.iter().filter_map(|broker| Some((broker.name.as_str(), broker.own.as_ref()?)))
    }

    /// In Prometheus' text format, version 0.0.4.
    pub fn prometheus(&self) -> String {
        let mut out = String::with_capacity(8 * 1024);
        for (name, kind, help, collect) in all() {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            let mut samples = Samples::default();
            collect(self, &mut samples);
            for (labels, value) in samples.0 {
                let _ = match labels.as_str() {
                    "" => writeln!(out, "{name} {value}"),
                    labels => writeln!(out, "{name}{{{labels}}} {value}"),
                };
            }
        }
        let _ = writeln!(out, "# HELP {LATENCY} {LATENCY_HELP}\n# TYPE {LATENCY} histogram");
        for route in &self.routes {
            let (name, latency) = (&route.name, &route.account.latency);
            for (bound_us, count) in latency.cumulative() {
                let bound = bound_us as f64 / 1e6;
                let _ = writeln!(out, "{LATENCY}_bucket{{route=\"{name}\",le=\"{bound}\"}} {count}");
            }
            let Histogram { sum_us, count, .. } = latency;
            let _ = writeln!(out, "{LATENCY}_bucket{{route=\"{name}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{LATENCY}_sum{{route=\"{name}\"}} {}", *sum_us as f64 / 1e6);
            let _ = writeln!(out, "{LATENCY}_count{{route=\"{name}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests;
