//! Makes the model of the gateway's snapshot.

use super::{
    About, Account, BrokerStatus, Checked, Disk, Dropped, Drops, MemberStatus, Parked, PluginStatus, Problem, Problems,
    Process, QueueStatus, Reload, RouteStatus, SetStatus, SourceStatus, Status, Touched, beginning,
};
use crate::rates::Rates;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_config::Fate;
use tidegate_gateway::{BrokerSnapshot, PARKED_FOR_TARGET, PluginSnapshot, RouteSnapshot, Snapshot};

/// In milliseconds since the epoch.
pub(crate) fn ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Status {
    /// How everything does, with the rates since an earlier look.
    pub(crate) fn of(snapshot: &Snapshot, rates: Option<&Rates>) -> Self {
        let Problems { ready, problems } = Problems::of(snapshot);
        let accounts = snapshot.routes.iter().map(|route| Account::of(&route.account));
        let last = &snapshot.last_reloads;
        let down = |name: &String, all: &[String]| all.contains(name);
        Self {
            gateway: About {
                name: snapshot.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at_ms: snapshot.started_at.map_or(0, ms),
                now_ms: ms(SystemTime::now()),
                generation: snapshot.reloads,
            },
            ready,
            problems,
            reload: Reload {
                applied: snapshot.reloads,
                refused: snapshot.reloads_refused,
                applied_at_ms: last.applied_at.map(ms),
                refused_at_ms: last.refused_at.map(ms),
                is_refused: last.is_refused,
                reasons: last.reasons.clone(),
                changes: last.changes.now.clone(),
                next_start: last.changes.next_start.clone(),
            },
            totals: accounts.fold(Account::default(), Account::plus),
            waiting: snapshot.queues.iter().map(|queue| queue.messages).sum(),
            parked: snapshot.parked_now as u64,
            brokers: snapshot.brokers.iter().map(|broker| BrokerStatus::of(broker, rates)).collect(),
            sets: snapshot
                .sets
                .iter()
                .map(|set| SetStatus {
                    name: set.name.clone(),
                    down: down(&set.name, &snapshot.sets_down),
                    members: set
                        .members
                        .iter()
                        .map(|member| MemberStatus {
                            broker: member.broker.clone(),
                            share: member.share,
                            is_out: member.is_out,
                            relieved_to: member.relieved_to,
                        })
                        .collect(),
                    changes: set.changes,
                })
                .collect(),
            sources: snapshot
                .sources
                .iter()
                .map(|source| SourceStatus {
                    name: source.name.clone(),
                    down: down(&source.name, &snapshot.sources_down),
                    subscribed: source
                        .brokers
                        .iter()
                        .filter(|broker| broker.is_subscribed)
                        .map(|broker| broker.broker.clone())
                        .collect(),
                    changes: source.changes,
                })
                .collect(),
            routes: snapshot
                .routes
                .iter()
                .map(|route| RouteStatus {
                    looping: down(&route.name, &snapshot.looping_routes),
                    waiting: down(&route.name, &snapshot.waiting_routes),
                    ..RouteStatus::of(route, rates)
                })
                .collect(),
            queues: snapshot
                .queues
                .iter()
                .map(|queue| QueueStatus {
                    target: queue.target.clone(),
                    priority: queue.priority.to_owned(),
                    messages: queue.messages,
                    bytes: queue.bytes,
                    oldest_s: queue.oldest_s,
                    used: queue.used,
                })
                .collect(),
            disk: Disk {
                state: ["good", "full", "failed"][usize::from(snapshot.disk_status.min(2))].to_owned(),
                written_bytes: snapshot.disk.written_bytes,
                syncs: snapshot.disk.syncs,
                segments: snapshot.segments as u64,
                damaged: snapshot.damaged,
            },
            process: Process::now(),
        }
    }
}

impl Account {
    fn of(account: &tidegate_gateway::Account) -> Self {
        Self {
            received: account.received,
            replayed: account.replayed,
            ticked: account.ticked,
            recovered: account.recovered,
            copies: account.copies,
            delivered: account.out,
            dropped: account.dropped_total(),
            parked: account.parked,
            in_flight: account.in_flight,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            replayed: self.replayed + other.replayed,
            ticked: self.ticked + other.ticked,
            recovered: self.recovered + other.recovered,
            copies: self.copies + other.copies,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            parked: self.parked + other.parked,
            in_flight: self.in_flight + other.in_flight,
        }
    }
}

impl BrokerStatus {
    fn of(broker: &BrokerSnapshot, rates: Option<&Rates>) -> Self {
        Self {
            name: broker.name.clone(),
            up: broker.up,
            ready: broker.ready,
            paused: broker.paused,
            needed: broker.needed,
            version: broker.version.clone(),
            error: broker.error.clone(),
            problems: broker.problems.clone(),
            notes: broker.notes.clone(),
            received: broker.received,
            sent: broker.sent,
            unrouted: broker.unrouted,
            rates: rates.and_then(|rates| rates.of_broker(broker)),
            queued: broker.queued as u64,
            slowest_s: broker.slowest_s,
            connects: broker.connects,
            sessions_lost: broker.sessions_lost,
            bytes_in: broker.bytes_in,
            bytes_out: broker.bytes_out,
            clients: broker.own.as_ref().map(|own| own.connections as u64),
        }
    }
}

impl RouteStatus {
    fn of(route: &RouteSnapshot, rates: Option<&Rates>) -> Self {
        let quantile = |share| route.account.latency.quantile_us(share).map(|us| us as f64 / 1000.0);
        Self {
            name: route.name.clone(),
            account: Account::of(&route.account),
            rates: rates.and_then(|rates| rates.of_route(route)),
            drops: route.account.dropped.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            looping: false,
            waiting: false,
            plugins: route.plugins.iter().map(PluginStatus::of).collect(),
        }
    }
}

impl PluginStatus {
    fn of(plugin: &PluginSnapshot) -> Self {
        let asked = plugin.outcomes.iter().map(|(_, count)| count).sum::<u64>() + plugin.failures;
        let faults = plugin.faults.iter().filter(|(_, count)| *count > 0);
        Self {
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            failures: plugin.failures,
            faults: faults.map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            circuit_open: plugin.circuit_open,
            is_open: plugin.is_open,
            mean_us: (asked > 0).then(|| plugin.asked_s * 1e6 / asked as f64),
            outcomes: plugin.outcomes.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect(),
            memory_bytes: plugin.memory_bytes,
        }
    }
}

impl Process {
    /// Of this process, as Linux tells it.
    pub(crate) fn now() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, at: usize| text.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok());
        // proc(5): the second of `statm` are the pages in use; behind the name in parentheses, the 12th and 13th of `stat` are
        // the ticks of the processor.
        let pages = field(&read("/proc/self/statm"), 1).unwrap_or(0);
        let stat = read("/proc/self/stat");
        let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = field(behind, 11).unwrap_or(0) + field(behind, 12).unwrap_or(0);
        let (page, second) = (rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second());
        let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64);
        let limits = read("/proc/self/limits");
        let files = limits.lines().find(|line| line.starts_with("Max open files"));
        let open_files_max = files.and_then(|line| field(line, 3)).unwrap_or(0);
        Self { memory_bytes: pages * page, cpu_s: ticks as f64 / second as f64, open_files, open_files_max }
    }
}

impl Drops {
    /// As the gateway has kept them.
    pub(crate) fn of((kept, total): (Vec<tidegate_gateway::Dropped>, u64)) -> Self {
        let kept = kept.into_iter().map(|dropped| Dropped {
            number: dropped.number,
            at_ms: ms(dropped.at),
            route: dropped.route.to_string(),
            topic: dropped.topic.map(String::from),
            reason: dropped.reason.to_string(),
        });
        Self { total, kept: kept.collect() }
    }
}

impl Checked {
    pub(crate) fn of(foretold: &tidegate_gateway::Foretold) -> Self {
        let problem = |problem: &tidegate_config::Problem| Problem {
            is_error: problem.is_error(),
            line: problem.line as u64,
            column: problem.column as u64,
            what: problem.what.clone(),
            hint: problem.hint.clone(),
        };
        let touched = |touched: &tidegate_config::Touched| Touched {
            target: touched.target.clone(),
            messages: touched.messages,
            fate: touched.fate.to_string(),
            is_bad: matches!(touched.fate, Fate::Nobody),
        };
        Self {
            is_refused: foretold.is_refused(),
            problems: foretold.problems.0.iter().map(problem).collect(),
            changes: foretold.changes.now.clone(),
            next_start: foretold.changes.next_start.clone(),
            waiting: foretold.changes.touched.iter().map(touched).collect(),
        }
    }
}

impl Parked {
    /// With so many bytes of its payload.
    pub(crate) fn of(number: u64, parked: &tidegate_gateway::Parked, shown_bytes: usize) -> Self {
        let for_target = parked.kind == PARKED_FOR_TARGET;
        let by = |is: bool| if is { parked.plugin.clone() } else { String::new() };
        Self {
            number,
            route: parked.route.clone(),
            plugin: by(!for_target),
            target: by(for_target),
            kind: parked.kind.clone(),
            reason: parked.reason.clone(),
            topic: parked.message.topic.as_str().to_owned(),
            qos: parked.message.qos as u8,
            retain: parked.message.retain,
            received_ms: parked.received_ms,
            payload_bytes: parked.message.payload.len() as u64,
            payload: beginning(&parked.message.payload, shown_bytes),
            payload_base64: None,
        }
    }
}
