//! Sources of several brokers, one of which is subscribed to: who takes over, and who comes back.

use super::Gateway;
use crate::data_path::{End, Kind};
use crate::snapshot::{Snapshot, SourceBrokerSnapshot, SourceSnapshot};
use crate::standby::{Seen, Standby, Switch};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_config::Config;

/// How often it is looked whether a broker has answered what it was asked.
const ANSWER_LOOK: Duration = Duration::from_millis(20);

/// Of all sources with policy `failover`, by name.
pub(super) type Standbys = BTreeMap<String, Standby>;

impl Gateway {
    /// Takes over the sources of a configuration, `before` being what was in force. Those with the same brokers stay as they
    /// are.
    pub(super) fn set_sources(&self, config: &Config, before: &Config) {
        let mut standbys = self.inner.standbys.borrow_mut();
        let brokers = |config: &Config, name: &str| config.sources.get(name).map(|set| set.brokers.clone());
        standbys.retain(|name, _| brokers(config, name) == brokers(before, name));
        let all = config.sources.iter().filter_map(|(name, set)| Some((name, set, set.failover()?)));
        standbys.retain(|name, _| config.sources.get(name).is_some_and(|set| set.failover().is_some()));
        for (name, set, (takeover_after, failback)) in all {
            let routes = || config.routes.iter().filter(|route| route.from.set.as_ref() == Some(name));
            let was = |broker: &String| {
                let link = self.broker_index(broker).and_then(|at| self.link_of(at));
                let had = link.map(|link| link.remembered_filters()).unwrap_or_default();
                routes().flat_map(|route| &route.from.topics).any(|filter| had.iter().any(|had| had.covers(filter)))
            };
            let was_subscribed = || set.brokers.iter().map(was).collect::<Vec<_>>();
            let known = standbys.entry(name.clone());
            let standby = known.or_insert_with(|| Standby::new(takeover_after, failback, &was_subscribed()));
            standby.set_times(takeover_after, failback);
        }
        self.inner.path.borrow().broker_changed.notify_one();
    }

    /// Whether a source is to be subscribed to at one of its brokers.
    pub(super) fn is_subscribed(&self, from: &tidegate_config::Source, broker: &str) -> bool {
        let standbys = self.inner.standbys.borrow();
        let Some(standby) = from.set.as_ref().and_then(|set| standbys.get(set)) else { return true };
        let at = from.brokers.iter().position(|known| known == broker);
        at.is_some_and(|at| standby.is_subscribed(at))
    }

    /// Looks at the brokers of sources whenever one of them has come or gone, or time has passed.
    pub(super) async fn follow_sources(self) {
        let (stop, changed) = (self.inner.stop.clone(), self.inner.path.borrow().broker_changed.clone());
        loop {
            let next = self.look_at_sources(Instant::now());
            let wait = async {
                match next {
                    Some(at) => {
                        let _ = tokio::time::timeout_at(at.into(), changed.notified()).await;
                    }
                    None => changed.notified().await,
                }
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// Returns when to look again.
    fn look_at_sources(&self, now: Instant) -> Option<Instant> {
        let config = self.config();
        let (mut next, mut changed) = (None::<Instant>, Vec::new());
        for (name, standby) in self.inner.standbys.borrow_mut().iter_mut() {
            let Some(set) = config.sources.get(name) else { continue };
            let seen: Vec<Seen> = set.brokers.iter().map(|broker| self.seen(broker)).collect();
            let subscribed =
                |standby: &Standby| (0..seen.len()).map(|at| standby.is_subscribed(at)).collect::<Vec<_>>();
            let before = subscribed(standby);
            let look = standby.look(&seen, now);
            let after = subscribed(standby);
            if let Some(switch) = look.switch {
                self.tell_switch(name, &set.brokers, switch);
            }
            let others = set.brokers.iter().enumerate().filter(|(at, _)| before[*at] != after[*at]);
            changed.extend(others.map(|(_, broker)| broker.clone()));
            let asked = |(at, seen): (usize, &Seen)| standby.is_subscribed(at) && seen.is_up && !seen.is_settled;
            let answers = look.is_new || seen.iter().enumerate().any(asked);
            let at = [look.next, answers.then(|| now + ANSWER_LOOK)].into_iter().flatten().min();
            next = [next, at].into_iter().flatten().min();
        }
        for broker in changed {
            self.subscribe_at(&config, &broker, false);
        }
        next
    }

    fn seen(&self, broker: &str) -> Seen {
        let path = self.inner.path.borrow();
        let at = path.router.broker_named(broker);
        let is_new = |end: &End| end.connects == 0 && end.last_error.is_none();
        let is_unknown = at.is_some_and(|at| is_new(path.end(at)));
        let nothing = Seen { is_up: false, is_unknown, refuses: false, is_settled: false };
        match at.map(|at| &path.end(at).kind) {
            Some(Kind::Link(link)) => Seen {
                is_up: link.is_up(),
                is_unknown: is_unknown && !link.is_up(),
                refuses: link.subscription_problems().iter().any(|problem| problem.refused),
                is_settled: link.is_settled(),
            },
            // A stream is in no source of which one broker is subscribed to at a time.
            #[cfg(feature = "nats")]
            Some(Kind::Nats(nats)) => Seen { is_up: nats.is_up(), is_settled: nats.is_up(), ..nothing },
            Some(Kind::Embedded { .. }) => Seen { is_up: true, is_unknown: false, is_settled: true, ..nothing },
            Some(Kind::Gone) | None => nothing,
        }
    }

    fn tell_switch(&self, source: &str, brokers: &[String], Switch { from, to }: Switch) {
        let (from_name, to_name) = (brokers[from].as_str(), brokers[to].as_str());
        if to < from && self.seen(from_name).is_up {
            tracing::info!(
                name: "failback",
                source,
                to = to_name,
                from = from_name,
                "failback: the source is subscribed to at a preferred broker again"
            );
            return;
        }
        let path = self.inner.path.borrow();
        let error = path.router.broker_named(from_name).and_then(|at| path.end(at).last_error.clone());
        let why = error.as_deref().unwrap_or(if self.seen(from_name).refuses { "it refuses us" } else { "it is away" });
        tracing::warn!(
            name: "failover",
            source,
            to = to_name,
            from = from_name,
            why,
            "failover: the source is subscribed to at another broker now"
        );
    }

    /// Adds what there is to say of sources.
    pub(super) fn add_sources(&self, snapshot: &mut Snapshot) {
        let config = self.config();
        let standbys = self.inner.standbys.borrow();
        for (name, set) in &config.sources {
            let standby = standbys.get(name);
            let broker = |(at, broker): (usize, &String)| SourceBrokerSnapshot {
                broker: broker.clone(),
                is_subscribed: standby.is_none_or(|standby| standby.is_subscribed(at)),
            };
            let brokers: Vec<_> = set.brokers.iter().enumerate().map(broker).collect();
            let is_ready = |name: &str| snapshot.brokers.iter().any(|broker| broker.name == name && broker.ready);
            if !brokers.iter().any(|broker| broker.is_subscribed && is_ready(&broker.broker)) {
                snapshot.sources_down.push(name.clone());
            }
            let changes = standby.map_or(0, Standby::changes);
            snapshot.sources.push(SourceSnapshot { name: name.clone(), brokers, changes });
        }
    }
}
