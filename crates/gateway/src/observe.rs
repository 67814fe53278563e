//! Takes a [`Snapshot`] of the data path.

use crate::counters::StageCounters;
use crate::data_path::{DataPath, Kind};
use crate::plugins::build::{PluginInfo, short};
use crate::probe::Probing;
use crate::snapshot::{
    BrokerSnapshot, LinkSnapshot, MemberSnapshot, PluginSnapshot, QueueSnapshot, RouteSnapshot, SetSnapshot, Snapshot,
    SubscriptionSnapshot,
};
use std::time::Instant;
use tidegate_config::Policy;
use tidegate_router::{Broker, BrokerId, Member, Route, RouteId, Set, Target};
use tidegate_spool::DiskStatus;

impl DataPath {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let router = &self.router;
        let routes = || router.routes().filter(|(_, route)| !route.removed);
        let now_ms = self.moment(Instant::now()).us / 1000;
        let queues = router.waiting().into_iter().map(|(queue, class)| QueueSnapshot {
            target: queue.key.target,
            priority: crate::waiting::word(class),
            messages: queue.items,
            bytes: queue.bytes,
            oldest_s: queue.oldest_ms.map_or(0.0, |since| now_ms.saturating_sub(since) as f64 / 1000.0),
            used: None,
        });
        let (unacknowledged, blocked) = router.owed();
        let live = router.brokers().filter(|(_, broker)| !broker.is_gone());
        Snapshot {
            routes: routes().map(|(at, route)| self.route_snapshot(at, route)).collect(),
            brokers: live.map(|(at, broker)| self.broker_snapshot(at, broker)).collect(),
            looping_routes: routes().filter(|(_, r)| r.sifts).map(|(_, r)| r.name.to_string()).collect(),
            waiting_routes: routes()
                .filter(|(at, _)| self.holds_plugins(*at))
                .map(|(_, r)| r.name.to_string())
                .collect(),
            sets: router.sets().map(|(name, set)| self.set_snapshot(name, set)).collect(),
            sets_down: self.sets_down(),
            parked_now: router.spool().parked().len(),
            queues: queues.collect(),
            disk_status: match router.disk() {
                DiskStatus::Good => 0,
                DiskStatus::Full => 1,
                DiskStatus::Failed(_) => 2,
            },
            disk: router.spool().stats(),
            segments: router.spool().segments(),
            damaged: router.spool().damaged(),
            blocked,
            unacknowledged,
            ..Snapshot::default()
        }
    }

    fn route_snapshot(&self, at: RouteId, route: &Route) -> RouteSnapshot {
        RouteSnapshot {
            name: route.name.to_string(),
            account: route.account.clone(),
            twins: route.twins,
            plugins: self.plugins(at).iter().map(plugin_snapshot).collect(),
        }
    }

    fn set_snapshot(&self, name: &str, set: &Set) -> SetSnapshot {
        let shares: f64 = set.members().iter().map(Member::share).sum();
        let member = |member: &Member| MemberSnapshot {
            broker: self.router.broker(member.broker()).name.to_string(),
            share: if set.policy() == Policy::All { 1.0 } else { member.share() / shares.max(f64::MIN_POSITIVE) },
            is_out: member.is_out(),
            relieved_to: member.relieved_to(),
        };
        SetSnapshot {
            name: name.to_owned(),
            members: set.members().iter().map(member).collect(),
            changes: set.changes(),
        }
    }

    fn broker_snapshot(&self, at: BrokerId, broker: &Broker<crate::source_ack::SourceAck>) -> BrokerSnapshot {
        let end = self.end(at);
        let is_up = broker.health.up_since.is_some();
        let (mut problems, mut subscriptions_refused, mut unanswered, mut taken_as_done) = (Vec::new(), 0, 0, 0);
        let (mut ready, mut bytes_in, mut bytes_out) = (is_up && end.last_error.is_none(), 0, 0);
        let mut skipped: Vec<_> = end.troubles.skipped.iter().map(|(reason, count)| (*reason, *count)).collect();
        let (mut own, mut connects) = (None, end.connects);
        match &end.kind {
            Kind::Link(handle) => {
                let subscriptions = handle.subscription_problems();
                let overdue = handle.overdue();
                subscriptions_refused = subscriptions.iter().filter(|problem| problem.refused).count() as u64;
                unanswered = overdue.as_ref().map_or(0, |overdue| overdue.count as u64);
                taken_as_done = handle.taken_as_done();
                let rests = broker.rests(Instant::now());
                problems = crate::link_reports::problems(&subscriptions, overdue.as_ref(), &end.troubles, rests);
                problems.extend(end.probing.as_ref().and_then(|probing| probing.problem(Instant::now())));
                ready = handle.is_settled() && problems.is_empty();
                (bytes_in, bytes_out) = (handle.stats().bytes_in, handle.stats().bytes_out);
            }
            #[cfg(feature = "nats")]
            Kind::Nats(handle) => {
                problems = crate::link_reports::problems(&[], None, &end.troubles, broker.rests(Instant::now()));
                ready = handle.is_up() && problems.is_empty();
            }
            Kind::Embedded { local, .. } => {
                let stats = local.stats();
                skipped.extend(stats.dropped.refused());
                (bytes_in, bytes_out) = (stats.bytes_received, stats.bytes_sent);
                connects = stats.accepted;
                own = Some(stats);
            }
            Kind::Gone => {}
        }
        if broker.paused {
            ready = false;
            problems.insert(0, format!("it is paused: `tidegate resume {}` lets it go on", broker.name));
        }
        let (queued, queued_bytes) = broker.queued();
        BrokerSnapshot {
            name: broker.name.to_string(),
            up: is_up,
            paused: broker.paused,
            ready,
            needed: self.is_needed(at),
            version: end.version.clone().unwrap_or_default(),
            error: end.last_error.clone(),
            subscriptions_refused,
            unanswered,
            problems,
            skipped,
            own,
            taken_as_done,
            probe: end.probing.as_ref().map(Probing::told),
            notes: end.troubles.notes.clone(),
            received: broker.received,
            sent: broker.sent,
            unrouted: broker.unrouted,
            copies: broker.copies,
            echoed: broker.echoed,
            looped: broker.looped,
            queued,
            queued_bytes,
            slowest_s: broker.slowest(Instant::now()).map(|slowest| slowest.as_secs_f64()),
            connects,
            sessions_lost: end.sessions_lost,
            bytes_in,
            bytes_out,
        }
    }

    /// More of one broker.
    pub(crate) fn link_snapshot(&self, at: BrokerId) -> LinkSnapshot {
        let end = self.end(at);
        let subscriptions = match &end.kind {
            Kind::Link(handle) => handle.subscriptions(),
            _ => Vec::new(),
        };
        let told = |one: tidegate_link::Subscription| SubscriptionSnapshot {
            filter: one.filter.as_str().to_owned(),
            qos: one.asked,
            problem: one.problem,
        };
        let connections = end.connections.iter().cloned().collect();
        LinkSnapshot { connections, subscriptions: subscriptions.into_iter().map(told).collect() }
    }

    /// Whether the gateway is not ready without a broker. One that only sets name is needed when it is the last of one.
    fn is_needed(&self, broker: BrokerId) -> bool {
        let routes = || self.router.routes().filter(|(_, route)| !route.removed);
        let alone = Target::Broker(broker);
        let in_set = self.router.sets().any(|(_, set)| set.members().iter().any(|member| member.broker() == broker));
        let is_one_of = |route: &Route| route.takes_from(broker) && route.has_several_sources();
        !(in_set || routes().any(|(_, route)| is_one_of(route)))
            || matches!(self.end(broker).kind, Kind::Embedded { .. } | Kind::Gone)
            || routes().any(|(_, route)| {
                route.takes_from(broker) && !is_one_of(route) || route.targets().any(|target| target == alone)
            })
    }

    /// Target sets of which no member takes messages.
    fn sets_down(&self) -> Vec<String> {
        let takes = |member: &Member| self.router.broker(member.broker()).health.up_since.is_some();
        let is_down = |set: &Set| !set.members().is_empty() && !set.members().iter().any(takes);
        let sets = self.router.sets().filter(|(_, set)| is_down(set));
        let mut sets: Vec<String> = sets.map(|(name, _)| name.to_owned()).collect();
        sets.sort_unstable();
        sets
    }
}

fn plugin_snapshot(plugin: &PluginInfo) -> PluginSnapshot {
    let counters: &StageCounters = &plugin.counters;
    PluginSnapshot {
        name: plugin.name.to_string(),
        version: short(&plugin.digest).to_owned(),
        faults: counters.faults.get().collect(),
        restarts: counters.restarts.get().collect(),
        memory_bytes: counters.memory.get(),
        rejects: counters.rejects.get(),
        retries: counters.retries.get(),
        circuit_open: counters.circuit_open.get(),
        circuit_opened: counters.circuit_opened.get(),
        failures: counters.failures(),
        is_open: counters.open.get() > 0,
        outcomes: vec![
            ("passed", counters.passed.get()),
            ("changed", counters.changed.get()),
            ("dropped", counters.dropped.get()),
        ],
        asked_s: counters.asked_ns.get() as f64 / 1e9,
    }
}
