//! What the gateway has done so far, for people and for monitoring, with every metric's name and help in one place.

use crate::core::{BrokerSlot, Core, Kind, Target};
use crate::prepare::short;
use std::fmt::Write;
use tidegate_spool::DiskStatus;

/// The state of everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Per route, in the order of the configuration.
    pub routes: Vec<RouteSnapshot>,
    /// Per broker.
    pub brokers: Vec<BrokerSnapshot>,
    /// Routes that would feed themselves, and are paused.
    pub paused_routes: Vec<String>,
    /// Target sets of which no member takes messages.
    pub sets_down: Vec<String>,
    /// Messages kept aside now.
    pub parked_now: usize,
    /// What waits on disk, by target and class of priority.
    pub queues: Vec<QueueSnapshot>,
    /// How the disk is doing: 0 good, 1 full, 2 failed.
    pub disk_status: u8,
    /// What was done to it.
    pub disk: tidegate_spool::DiskStats,
    /// Files of the log.
    pub segments: usize,
    /// Pieces of the log that did not match their checksum.
    pub damaged: u64,
    /// Received messages that wait for room in a full queue.
    pub blocked: usize,
    /// Received messages whose source waits for its acknowledgement.
    pub unacknowledged: usize,
    /// Reloads that were applied.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
}

/// The accounts of a route: `received + replayed + ticked + recovered + copies = out + dropped + parked + in_flight`.
#[derive(Debug, Clone, Default)]
pub struct RouteSnapshot {
    /// Its name.
    pub name: String,
    /// Messages that entered.
    pub received: u64,
    /// Parked messages that entered again.
    pub replayed: u64,
    /// Messages that plugins made on a tick.
    pub ticked: u64,
    /// Found in the spool at the start, from an earlier run.
    pub recovered: u64,
    /// What fan-out and plugins made of a message beyond the first.
    pub copies: u64,
    /// Delivered.
    pub out: u64,
    /// Kept aside, ever.
    pub parked: u64,
    /// Under way now.
    pub in_flight: u64,
    /// By reason.
    pub dropped: Vec<(String, u64)>,
    /// How far the accounts are off; 0 unless there is a bug.
    pub imbalance: i64,
    /// Half of the messages took less, in microseconds.
    pub p50_us: Option<u64>,
    /// 99 of 100 took less, in microseconds.
    pub p99_us: Option<u64>,
    /// Cumulative latency buckets: upper bound in microseconds, count.
    pub latency: Vec<(u64, u64)>,
    /// Sum of all latencies in microseconds, and their number.
    pub latency_sum: (u64, u64),
    /// Its plugins, in order.
    pub plugins: Vec<PluginSnapshot>,
}

/// One plugin in one route.
#[derive(Debug, Clone, Default)]
pub struct PluginSnapshot {
    /// Its name.
    pub name: String,
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// Faults by kind.
    pub faults: Vec<(&'static str, u64)>,
    /// Messages it rejected.
    pub rejects: u64,
    /// Times it was asked again.
    pub retries: u64,
    /// Messages it was not asked about because its circuit was open.
    pub circuit_open: u64,
    /// Times its circuit opened.
    pub circuit_opened: u64,
    /// Faults and rejects together.
    pub failures: u64,
}

/// One queue of the spool.
#[derive(Debug, Clone, Default)]
pub struct QueueSnapshot {
    /// A broker or a target set.
    pub target: String,
    /// `high`, `normal` or `low`.
    pub priority: &'static str,
    /// Messages in it, those being sent included.
    pub messages: u64,
    /// What they weigh in memory, in bytes.
    pub bytes: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_s: f64,
}

/// One broker.
#[derive(Debug, Clone, Default)]
pub struct BrokerSnapshot {
    /// Its name.
    pub name: String,
    /// Connected, or the box's own.
    pub up: bool,
    /// Up, and subscribed to everything that its routes want.
    pub ready: bool,
    /// What is spoken: `5`, `3.1.1 bridge`, `embedded`.
    pub version: String,
    /// The gateway is not ready without it: it is a source, a target by itself, or the box's own. Of a set, one member is
    /// enough.
    pub needed: bool,
    /// Why it is down.
    pub error: Option<String>,
    /// Wanted subscriptions that it has refused, or hangs up on.
    pub subscriptions_refused: u64,
    /// Messages that it has left unanswered for a minute or longer.
    pub unanswered: u64,
    /// What keeps it from being ready while it is up, a line each.
    pub problems: Vec<String>,
    /// Messages from it that cannot be taken, by reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// Of the box's own broker.
    pub own: Option<tidegate_broker::Stats>,
    /// Exchanges of QoS 2 that were taken as done without its answer.
    pub taken_as_done: u64,
    /// What is known of what it does not do.
    pub notes: Vec<String>,
    /// Messages received from it.
    pub received: u64,
    /// Messages it has been sent.
    pub sent: u64,
    /// Messages from it that no route wanted.
    pub unrouted: u64,
    /// Copies it sent because our subscriptions overlap.
    pub copies: u64,
    /// Messages that wait for it.
    pub queued: usize,
    /// The same in bytes.
    pub queued_bytes: usize,
    /// Connections that reached CONNACK.
    pub connects: u64,
    /// Times it had forgotten our session.
    pub sessions_lost: u64,
    /// Bytes read and written.
    pub bytes: (u64, u64),
}

impl RouteSnapshot {
    /// All drops.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }
}

impl Core {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let routes = self.routes.iter().filter(|route| !route.removed).map(|route| {
            let c = &route.counters;
            RouteSnapshot {
                name: route.name.to_string(),
                received: c.received,
                replayed: c.replayed,
                ticked: c.ticked,
                recovered: c.recovered,
                copies: c.copies,
                out: c.out,
                parked: c.parked,
                in_flight: c.in_flight,
                dropped: c.dropped.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
                imbalance: c.imbalance(),
                p50_us: c.latency.quantile_us(0.5),
                p99_us: c.latency.quantile_us(0.99),
                latency: c.latency.cumulative().collect(),
                latency_sum: (c.latency.sum_us, c.latency.count),
                plugins: route.plugins.iter().map(plugin_snapshot).collect(),
            }
        });
        let live = self.brokers.iter().enumerate().filter(|(_, broker)| !broker.is_gone());
        let brokers = live.map(|(at, broker)| self.broker_snapshot(at as u16, broker));
        let now_ms = self.now_us(std::time::Instant::now()) / 1000;
        let queues = self.spool.waiting().into_iter().map(|queue| QueueSnapshot {
            target: queue.key.target,
            priority: ["high", "normal", "low"].get(usize::from(queue.key.class)).copied().unwrap_or("low"),
            messages: queue.items,
            bytes: queue.bytes,
            oldest_s: queue.oldest_ms.map_or(0.0, |since| now_ms.saturating_sub(since) as f64 / 1000.0),
        });
        Snapshot {
            queues: queues.collect(),
            disk_status: match self.disk {
                DiskStatus::Good => 0,
                DiskStatus::Full => 1,
                DiskStatus::Failed(_) => 2,
            },
            disk: self.spool.stats(),
            segments: self.spool.segments(),
            damaged: self.spool.damaged(),
            blocked: self.blocked.len(),
            routes: routes.collect(),
            brokers: brokers.collect(),
            parked_now: self.spool.parked().len(),
            paused_routes: self.routes.iter().filter(|r| r.paused && !r.removed).map(|r| r.name.to_string()).collect(),
            sets_down: self.sets_down(),
            unacknowledged: self.origins.len(),
            ..Snapshot::default()
        }
    }
}

impl Core {
    fn broker_snapshot(&self, at: u16, broker: &BrokerSlot) -> BrokerSnapshot {
        let (mut problems, mut subscriptions_refused, mut unanswered, mut taken_as_done) = (Vec::new(), 0, 0, 0);
        let (mut ready, mut bytes) = (broker.health.up_since.is_some() && broker.last_error.is_none(), (0, 0));
        if let Kind::Link(handle) = &broker.kind {
            let subscriptions = handle.subscription_problems();
            let overdue = handle.overdue();
            subscriptions_refused = subscriptions.iter().filter(|problem| problem.refused).count() as u64;
            unanswered = overdue.as_ref().map_or(0, |overdue| overdue.count as u64);
            taken_as_done = handle.taken_as_done();
            problems =
                crate::links::problems(&subscriptions, overdue.as_ref(), &broker.troubles, std::time::Instant::now());
            ready = handle.is_settled() && problems.is_empty();
            bytes = (handle.stats().bytes_in, handle.stats().bytes_out);
        }
        let mut skipped: Vec<_> = broker.troubles.skipped.iter().map(|(reason, count)| (*reason, *count)).collect();
        let mut own = None;
        if let Kind::Embedded { local, .. } = &broker.kind {
            let stats = local.stats();
            skipped.extend(stats.dropped.refused());
            own = Some(stats);
        }
        BrokerSnapshot {
            name: broker.name.to_string(),
            up: broker.health.up_since.is_some(),
            ready,
            needed: self.is_needed(at),
            version: broker.version.clone().unwrap_or_default(),
            error: broker.last_error.clone(),
            subscriptions_refused,
            unanswered,
            problems,
            skipped,
            own,
            taken_as_done,
            notes: broker.troubles.notes.clone(),
            received: broker.received,
            sent: broker.sent,
            unrouted: broker.unrouted,
            copies: broker.copies,
            queued: broker.lane.len(),
            queued_bytes: broker.lane.bytes(),
            connects: broker.connects,
            sessions_lost: broker.sessions_lost,
            bytes,
        }
    }

    /// Whether the gateway is not ready without a broker. One that only sets name is needed when it is the last of one.
    fn is_needed(&self, broker: u16) -> bool {
        let routes = || self.routes.iter().filter(|route| !route.removed);
        let alone = Target::Broker(broker);
        let in_set = self.sets.iter().any(|set| set.members.contains(&broker));
        !in_set
            || !matches!(self.brokers[usize::from(broker)].kind, Kind::Link(_))
            || routes().any(|route| route.source == broker)
            || routes().flat_map(|route| route.targets.iter()).any(|target| target.to == alone)
    }

    /// Target sets of which no member takes messages.
    fn sets_down(&self) -> Vec<String> {
        let takes = |member: &u16| self.brokers[usize::from(*member)].health.up_since.is_some();
        let down = |set: u16| {
            let members = &self.sets[usize::from(set)].members;
            !members.is_empty() && !members.iter().any(takes)
        };
        let sets = self.targets.iter().filter_map(|(name, target)| match target {
            Target::Set(set) if down(*set) => Some(name.to_string()),
            _ => None,
        });
        let mut sets: Vec<String> = sets.collect();
        sets.sort_unstable();
        sets
    }
}

fn plugin_snapshot(plugin: &crate::core::PluginInfo) -> PluginSnapshot {
    let counters = &plugin.counters;
    PluginSnapshot {
        name: plugin.name.to_string(),
        version: short(&plugin.digest).to_owned(),
        faults: counters.faults().collect(),
        rejects: counters.rejects.get(),
        retries: counters.retries.get(),
        circuit_open: counters.circuit_open.get(),
        circuit_opened: counters.circuit_opened.get(),
        failures: counters.failures(),
    }
}

/// A family of metrics: its name, kind and help, and the samples of a snapshot as label pairs and value.
type Family = (&'static str, &'static str, &'static str, fn(&Snapshot, &mut Samples));

/// Collects the samples of one family.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Samples {
    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        for (n, (name, value)) in labels.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{comma}{name}=\"{escaped}\"");
        }
        self.0.push((text, value));
    }
}

macro_rules! per_route {
    ($field:ident) => {
        |s, out| s.routes.iter().for_each(|r| out.add(&[("route", &r.name)], r.$field as f64))
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

/// Every metric there is.
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
    ("tidegate_route_parked_total", "counter", "Messages kept aside because a plugin failed.", per_route!(parked)),
    ("tidegate_route_in_flight", "gauge", "Messages in plugins, lanes and sessions.", per_route!(in_flight)),
    (
        "tidegate_route_imbalance",
        "gauge",
        "received + replayed + ticked + recovered + copies - out - dropped - parked - in_flight: 0 unless there is a bug.",
        per_route!(imbalance),
    ),
    ("tidegate_route_dropped_total", "counter", "Messages that ended in the route, by reason.", |s, out| {
        for route in &s.routes {
            for (reason, count) in &route.dropped {
                out.add(&[("route", &route.name), ("reason", reason)], *count as f64);
            }
        }
    }),
    ("tidegate_plugin_faults_total", "counter", "Messages a plugin failed on, by kind.", |s, out| {
        for (route, plugin) in s.routes.iter().flat_map(|r| r.plugins.iter().map(move |p| (r, p))) {
            for (kind, count) in &plugin.faults {
                let labels = [("route", route.name.as_str()), ("plugin", &plugin.name), ("kind", kind)];
                out.add(&labels, *count as f64);
            }
        }
    }),
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
    ("tidegate_own_clients", "gauge", "Clients connected to the box's own broker.", |s, out| {
        s.own().for_each(|(name, stats)| out.add(&[("broker", name)], stats.connections as f64));
    }),
    ("tidegate_own_retained", "gauge", "Retained messages at the box's own broker.", |s, out| {
        s.own().for_each(|(name, stats)| out.add(&[("broker", name)], stats.retained as f64));
    }),
    (
        "tidegate_own_dropped_total",
        "counter",
        "Messages that the box's own broker did not deliver to a client, by reason.",
        |s, out| {
            for (name, stats) in s.own() {
                for (reason, count) in stats.dropped.reasons() {
                    out.add(&[("broker", name), ("reason", reason)], count as f64);
                }
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
    ("tidegate_routes_paused", "gauge", "Routes that are paused because they feed themselves.", |s, out| {
        out.add(&[], s.paused_routes.len() as f64);
    }),
    (
        "tidegate_broker_sessions_lost_total",
        "counter",
        "Times the broker had forgotten the gateway's session.",
        per_broker!(sessions_lost),
    ),
    ("tidegate_broker_bytes_in_total", "counter", "Bytes read from the broker.", |s, out| {
        s.brokers.iter().for_each(|b| out.add(&[("broker", &b.name)], b.bytes.0 as f64));
    }),
    ("tidegate_broker_bytes_out_total", "counter", "Bytes written to the broker.", |s, out| {
        s.brokers.iter().for_each(|b| out.add(&[("broker", &b.name)], b.bytes.1 as f64));
    }),
    ("tidegate_parked", "gauge", "Messages kept aside now.", |s, out| out.add(&[], s.parked_now as f64)),
    ("tidegate_spool_queued", "gauge", "Messages in the spool for a target, by priority.", per_queue!(messages)),
    ("tidegate_spool_queued_bytes", "gauge", "What they weigh in memory.", per_queue!(bytes)),
    ("tidegate_spool_oldest_seconds", "gauge", "How long the oldest has waited.", per_queue!(oldest_s)),
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
    ("tidegate_reloads_total", "counter", "Reloads of the configuration or a plugin that were applied.", |s, out| {
        out.add(&[], s.reloads as f64);
    }),
    ("tidegate_reloads_refused_total", "counter", "Reloads that were refused.", |s, out| {
        out.add(&[], s.reloads_refused as f64);
    }),
];

const LATENCY: &str = "tidegate_route_latency_seconds";

impl Snapshot {
    fn own(&self) -> impl Iterator<Item = (&str, &tidegate_broker::Stats)> {
        self.brokers.iter().filter_map(|broker| Some((broker.name.as_str(), broker.own.as_ref()?)))
    }

    /// In Prometheus' text format, version 0.0.4.
    pub fn prometheus(&self) -> String {
        let mut out = String::with_capacity(8 * 1024);
        for (name, kind, help, collect) in FAMILIES {
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
        let _ = writeln!(out, "# HELP {LATENCY} From receipt to delivery.\n# TYPE {LATENCY} histogram");
        for route in &self.routes {
            let name = &route.name;
            for (bound_us, count) in &route.latency {
                let bound = *bound_us as f64 / 1e6;
                let _ = writeln!(out, "{LATENCY}_bucket{{route=\"{name}\",le=\"{bound}\"}} {count}");
            }
            let (sum_us, count) = route.latency_sum;
            let _ = writeln!(out, "{LATENCY}_bucket{{route=\"{name}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{LATENCY}_sum{{route=\"{name}\"}} {}", sum_us as f64 / 1e6);
            let _ = writeln!(out, "{LATENCY}_count{{route=\"{name}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_help_and_a_unique_name_and_labels_are_escaped() {
        let mut names: Vec<_> = FAMILIES.iter().map(|family| family.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
        assert!(FAMILIES.iter().all(|(name, kind, help, _)| {
            name.starts_with("tidegate_") && help.ends_with('.') && (*kind == "counter") == name.ends_with("_total")
        }));
        let dropped = vec![("say \"no\"\n".to_owned(), 3)];
        let route = RouteSnapshot { name: "r".into(), received: 3, dropped, ..Default::default() };
        let text = Snapshot { routes: vec![route], ..Default::default() }.prometheus();
        assert!(text.contains("tidegate_route_received_total{route=\"r\"} 3\n"), "{text}");
        assert!(text.contains("reason=\"say \\\"no\\\"\\n\"} 3\n"), "{text}");
    }
}
