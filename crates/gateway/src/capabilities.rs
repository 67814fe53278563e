//! What a broker cannot do, said once at connecting if a route is affected; rings of routes that close by it are stopped.

use crate::core::{Core, Kind, Target};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{Connected, Version};

/// Fewer unacknowledged messages than this at a time are worth a line: it is mosquitto's window, unless set.
const SMALL_WINDOW: u16 = 20;

/// How many of the last messages to a broker in a ring are known again when they come back, and for how long.
const KNOWN_AGAIN: usize = 64;
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// So many messages of ours in a row must come back before a broker is taken to echo: a device may well say what we said.
const ECHOES: u32 = 8;

/// Routes that feed themselves if all of their brokers send us back what we publish there.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) routes: Vec<u16>,
    pub(crate) brokers: Vec<u16>,
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

impl Core {
    /// A broker accepted us: says what it does not do, unless that was said before.
    pub(crate) fn note_capabilities(
        &mut self,
        broker: u16,
        connected: &Connected,
        version: Version,
        bridge: bool,
        expiry_asked_s: u32,
    ) {
        let target = self.is_target(broker);
        let source = self.routes.iter().any(|route| !route.removed && route.source == broker);
        let plain = version != Version::V5 && !bridge;
        let mut notes = Vec::new();
        if plain && source {
            let echo = if target { "what we publish to it comes back to us, and " } else { "" };
            notes.push(format!(
                "it takes neither MQTT 5 nor the bridge bit: {echo}live messages from it have lost their retain flag"
            ));
        }
        if let Some(kept) = connected.session_expiry_s.filter(|kept| *kept < expiry_asked_s) {
            let shown = |seconds: u32| humantime::format_duration(Duration::from_secs(seconds.into()));
            notes.push(format!(
                "it keeps our session for {}, not {}: what is sent to us while we are away for longer is lost",
                shown(kept),
                shown(expiry_asked_s)
            ));
        }
        if target {
            if connected.max_qos < QoS::ExactlyOnce {
                notes.push(format!("it takes QoS {} at most: what is above is lowered", connected.max_qos as u8));
            }
            if !connected.retain_available {
                notes.push("it keeps no retained messages: the flag is taken off what goes to it".to_owned());
            }
            if let Some(bytes) = connected.max_packet_size {
                notes.push(format!("it takes packets of {bytes} bytes at most: larger ones are dropped and counted"));
            }
            if version == Version::V5 && connected.receive_maximum < SMALL_WINDOW {
                let count = connected.receive_maximum;
                notes.push(format!("it takes {count} unacknowledged messages at a time: that bounds the rate"));
            }
        }
        let slot = &mut self.brokers[usize::from(broker)];
        for note in notes.iter().filter(|note| !slot.troubles.notes.contains(note)) {
            tracing::warn!(broker = &*slot.name, "{note}");
        }
        slot.troubles.notes = notes;
        // What was seen before may be another broker's.
        (slot.echo.echoes, slot.echo.came_back) = (plain, 0);
        self.look_at_rings();
    }

    fn is_target(&self, broker: u16) -> bool {
        let routes = self.routes.iter().filter(|route| !route.removed);
        let mut targets = routes.flat_map(|route| route.targets.iter().map(|target| target.to));
        targets.any(|target| match target {
            Target::Broker(at) => at == broker,
            Target::Set(set) => self.sets[usize::from(set)].members.contains(&broker),
        })
    }

    /// Takes the rings of a new configuration.
    pub(crate) fn set_rings(&mut self, rings: Vec<Ring>) {
        for (at, slot) in self.brokers.iter_mut().enumerate() {
            slot.echo.in_ring = rings.iter().any(|ring| ring.brokers.contains(&(at as u16)));
        }
        self.rings = rings;
        self.look_at_rings();
    }

    /// Pauses one route of each ring that is closed, and lets those go on that are not.
    fn look_at_rings(&mut self) {
        let echoes = |broker: &u16| {
            let slot = &self.brokers[usize::from(*broker)];
            matches!(slot.kind, Kind::Link(_)) && slot.echo.echoes
        };
        let closed: Vec<Ring> = self.rings.iter().filter(|ring| ring.brokers.iter().all(echoes)).cloned().collect();
        let mut paused: Vec<u16> = Vec::new();
        for ring in &closed {
            if ring.routes.iter().any(|route| paused.contains(route)) {
                continue; // broken already
            }
            let Some(route) = ring.routes.iter().max().copied() else { continue };
            paused.push(route);
            if self.routes[usize::from(route)].paused {
                continue;
            }
            let names: Vec<&str> = ring.routes.iter().map(|at| &*self.routes[usize::from(*at)].name).collect();
            let brokers: Vec<&str> = ring.brokers.iter().map(|at| &*self.brokers[usize::from(*at)].name).collect();
            tracing::error!(
                route = &*self.routes[usize::from(route)].name,
                routes = names.join(", "),
                brokers = brokers.join(", "),
                "paused: these routes feed themselves, for these brokers send back what we publish there; \
                 what comes for it is dropped as `ring`; give them prefixes, or other filters"
            );
        }
        for (at, slot) in self.routes.iter_mut().enumerate() {
            slot.paused = paused.contains(&(at as u16));
        }
    }

    /// A message goes to a broker that is in a ring.
    pub(crate) fn note_sent(&mut self, broker: u16, message: &Message, now: Instant) {
        let hash = self.fingerprint(message);
        let echo = &mut self.brokers[usize::from(broker)].echo;
        echo.sent.push_back((now, hash));
        if echo.sent.len() > KNOWN_AGAIN {
            echo.sent.pop_front();
        }
    }

    /// A message has come from a broker that is in a ring: is it one of ours?
    pub(crate) fn note_received(&mut self, broker: u16, message: &Message, now: Instant) {
        let hash = self.fingerprint(message);
        let slot = &mut self.brokers[usize::from(broker)];
        let echo = &mut slot.echo;
        while echo.sent.front().is_some_and(|(at, _)| now > *at + KNOWN_FOR) {
            echo.sent.pop_front();
        }
        let Some(at) = echo.sent.iter().position(|(_, sent)| *sent == hash) else { return };
        echo.sent.remove(at);
        echo.came_back += 1;
        if echo.came_back >= ECHOES && !echo.echoes {
            echo.echoes = true;
            tracing::warn!(
                broker = &*slot.name,
                "it sends back what we publish there, though it was asked not to (no-local, or the bridge bit)"
            );
            self.look_at_rings();
        }
    }

    fn fingerprint(&self, message: &Message) -> u64 {
        self.hasher.hash_one((message.topic.as_str(), &message.payload[..]))
    }
}
