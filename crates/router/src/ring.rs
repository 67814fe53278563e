//! Rings: routes that feed themselves through brokers that send back what we publish there are paused.

use crate::Router;
use crate::debt::Ack;
use crate::ids::{BrokerId, RouteId};
use crate::route::Target;
use crate::sessions::Sessions;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_message::Message;

/// How many of the last messages to a broker in a ring are known again when they come back, and for how long.
const KNOWN_AGAIN: usize = 64;
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// How many messages of ours must come back, none missing between them, before a broker is taken to echo: a device may well
/// say what we said.
const ECHOES: u32 = 8;

/// Routes that feed themselves if all of their brokers send us back what we publish there.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) routes: Vec<RouteId>,
    pub(crate) brokers: Vec<BrokerId>,
}

/// What is known of whether a broker sends back what we publish there.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// It does: it speaks neither MQTT 5 nor the bridge bit, or has been seen to.
    pub(crate) echoes: bool,
    /// Only what goes to brokers that are in a ring is known again.
    pub(crate) in_ring: bool,
    sent: VecDeque<(Instant, u64)>,
    came_back: u32,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Whether a route names the broker as a target, alone or in a set.
    pub fn is_target(&self, broker: BrokerId) -> bool {
        let routes = self.routes.iter().filter(|route| !route.removed);
        let mut targets = routes.flat_map(|route| route.targets.iter().map(|target| target.to));
        targets.any(|target| match target {
            Target::Broker(at) => at == broker,
            Target::Set(set) => self.sets[set.at()].has(broker),
        })
    }

    /// Whether a route takes messages from the broker.
    pub fn is_source(&self, broker: BrokerId) -> bool {
        self.routes.iter().any(|route| !route.removed && route.source == broker)
    }

    /// A broker has accepted us: `echoes` if the session has neither no-local nor the bridge bit to keep what we publish
    /// from coming back.
    pub fn connected(&mut self, broker: BrokerId, echoes: bool) {
        // What was seen before may be another broker's.
        let echo = &mut self.brokers[broker.at()].echo;
        (echo.echoes, echo.came_back) = (echoes, 0);
        self.look_at_rings();
    }

    /// Takes the rings of a new configuration.
    pub(crate) fn set_rings(&mut self, rings: Vec<Ring>) {
        for (at, broker) in self.brokers.iter_mut().enumerate() {
            broker.echo.in_ring = rings.iter().any(|ring| ring.brokers.contains(&BrokerId::new(at)));
        }
        self.rings = rings;
        self.look_at_rings();
    }

    /// Pauses one route of each ring that is closed, and lets those go on that are not.
    fn look_at_rings(&mut self) {
        let echoes = |broker: &BrokerId| {
            let broker = &self.brokers[broker.at()];
            broker.is_link && !broker.is_gone && broker.echo.echoes
        };
        let closed: Vec<Ring> = self.rings.iter().filter(|ring| ring.brokers.iter().all(echoes)).cloned().collect();
        let mut paused: Vec<RouteId> = Vec::new();
        for ring in &closed {
            if ring.routes.iter().any(|route| paused.contains(route)) {
                continue; // broken already
            }
            let Some(route) = ring.routes.iter().max().copied() else { continue };
            paused.push(route);
            if self.routes[route.at()].paused {
                continue;
            }
            let names: Vec<&str> = ring.routes.iter().map(|route| &*self.routes[route.at()].name).collect();
            let brokers: Vec<&str> = ring.brokers.iter().map(|broker| &*self.brokers[broker.at()].name).collect();
            tracing::error!(
                route = &*self.routes[route.at()].name,
                routes = names.join(", "),
                brokers = brokers.join(", "),
                "paused: these routes feed themselves, for these brokers send back what we publish there; \
                 what comes for it is dropped as `ring`; give them prefixes, or other filters"
            );
        }
        for (at, route) in self.routes.iter_mut().enumerate() {
            route.paused = paused.contains(&RouteId::new(at));
        }
    }

    /// A message goes to a broker that is in a ring.
    pub(crate) fn note_sent(&mut self, broker: BrokerId, message: &Message, now: Instant) {
        let hash = self.fingerprint(message);
        let echo = &mut self.brokers[broker.at()].echo;
        echo.sent.push_back((now, hash));
        if echo.sent.len() > KNOWN_AGAIN {
            echo.sent.pop_front();
        }
    }

    /// A message has come from a broker that is in a ring: is it one of ours?
    pub(crate) fn note_received(&mut self, broker: BrokerId, message: &Message, now: Instant) {
        let hash = self.fingerprint(message);
        let broker = &mut self.brokers[broker.at()];
        let echo = &mut broker.echo;
        while echo.sent.front().is_some_and(|(at, _)| now > *at + KNOWN_FOR) {
            echo.sent.pop_front();
            // A broker that echoes sends back everything.
            echo.came_back = 0;
        }
        let Some(at) = echo.sent.iter().position(|(_, sent)| *sent == hash) else { return };
        echo.sent.remove(at);
        echo.came_back += 1;
        if echo.came_back >= ECHOES && !echo.echoes {
            echo.echoes = true;
            tracing::warn!(
                broker = &*broker.name,
                "it sends back what we publish there, though it was asked not to (no-local, or the bridge bit)"
            );
            self.look_at_rings();
        }
    }

    fn fingerprint(&self, message: &Message) -> u64 {
        self.hasher.hash_one((message.topic.as_str(), &message.payload[..]))
    }
}
