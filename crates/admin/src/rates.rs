//! Messages a second, from one look at the gateway to another.

use crate::model;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_gateway::{BrokerSnapshot, RouteSnapshot, Snapshot};

/// Looks are kept this far apart; rates are over at least this time, so that they do not jump about.
const APART: Duration = Duration::from_secs(1);

/// And over at most this.
const FOR: Duration = Duration::from_secs(10);

/// What was counted at one look: received, delivered and dropped.
#[derive(Debug)]
struct Look {
    at: Instant,
    routes: HashMap<String, [u64; 3]>,
    brokers: HashMap<String, [u64; 3]>,
}

/// The last looks.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<VecDeque<Arc<Look>>>);

impl Looks {
    /// Takes a look, and returns the rates since an earlier one, if there was one of late.
    pub(crate) fn look(&self, snapshot: &Snapshot, now: Instant) -> Option<Rates> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while looks.front().is_some_and(|look| now > look.at + FOR) {
            looks.pop_front();
        }
        let since = looks.iter().rev().find(|look| now >= look.at + APART).cloned();
        if looks.back().is_none_or(|look| now >= look.at + APART) {
            let routes = snapshot.routes.iter().map(|route| (route.name.clone(), of_route(route))).collect();
            let brokers = snapshot.brokers.iter().map(|broker| (broker.name.clone(), of_broker(broker))).collect();
            looks.push_back(Arc::new(Look { at: now, routes, brokers }));
        }
        since.map(|since| Rates { seconds: (now - since.at).as_secs_f64(), since })
    }
}

fn of_route(route: &RouteSnapshot) -> [u64; 3] {
    [route.account.received, route.account.out, route.account.dropped_total()]
}

fn of_broker(broker: &BrokerSnapshot) -> [u64; 3] {
    [broker.received, broker.sent, 0]
}

/// What is counted now, compared with an earlier look.
#[derive(Debug)]
pub(crate) struct Rates {
    since: Arc<Look>,
    seconds: f64,
}

impl Rates {
    fn between(&self, before: Option<&[u64; 3]>, now: [u64; 3]) -> Option<model::Rates> {
        let before = before?;
        let rate = |at: usize| now[at].saturating_sub(before[at]) as f64 / self.seconds;
        Some(model::Rates { received: rate(0), delivered: rate(1), dropped: rate(2) })
    }

    pub(crate) fn of_route(&self, route: &RouteSnapshot) -> Option<model::Rates> {
        self.between(self.since.routes.get(&route.name), of_route(route))
    }

    pub(crate) fn of_broker(&self, broker: &BrokerSnapshot) -> Option<model::Rates> {
        self.between(self.since.brokers.get(&broker.name), of_broker(broker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(received: u64) -> Snapshot {
        let mut route = RouteSnapshot { name: "r".to_owned(), ..RouteSnapshot::default() };
        route.account.received = received;
        Snapshot { routes: vec![route], ..Snapshot::default() }
    }

    #[test]
    fn rates_are_over_the_last_second_or_more_whoever_looks_how_often() {
        let (looks, start) = (Looks::default(), Instant::now());
        let rate = |ms: u64, received: u64| {
            let now = snapshot(received);
            let rates = looks.look(&now, start + Duration::from_millis(ms))?;
            Some(rates.of_route(&now.routes[0])?.received)
        };
        assert_eq!(rate(0, 100), None, "the first look");
        assert_eq!(rate(500, 200), None, "too close");
        assert_eq!(rate(1_000, 300), Some(200.0));
        assert_eq!(rate(1_200, 300), Some(200.0 / 1.2), "still since the first");
        assert_eq!(rate(2_000, 300), Some(0.0));
        assert_eq!(rate(60_000, 400), None, "the last look was too long ago");
    }
}
