//! Members of sets that do not do what they are there for: when they are given up, and why.
//!
//! A broker is away when its connection is lost, or silent when it is connected and acknowledges nothing of what it has, or
//! refuses all that it is sent. A connection that ends while a message is unanswered may have ended for that message: then
//! nobody is given up before the next attempt to connect has failed, for a broker that is there again has it tried alone
//! (`link::suspect`), and a message that breaks one member must not be taken along to the others.

use crate::data_path::{DataPath, Kind};
use crate::probe::Probing;
use std::time::{Duration, Instant};
use tidegate_router::{BrokerId, Ticket};

/// How long a broker must have been away before it is given up. A shorter absence moves nothing.
const AWAY: Duration = Duration::from_millis(500);
/// The same while a message may be to blame and no attempt to connect has ended yet.
const AWAY_OR_BROKEN: Duration = Duration::from_secs(3);

/// How often members are looked at that have something to acknowledge.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

impl DataPath {
    /// Gives up members that are away, silent or refuse, lets others in, and gives each its share. Returns whether to look
    /// again soon.
    pub(crate) fn look_at_members(&mut self, now: Instant) -> bool {
        let all: Vec<BrokerId> = self.router.brokers().filter(|(_, it)| !it.is_gone()).map(|(at, _)| at).collect();
        let mut looks_on = false;
        for broker in all {
            looks_on |= self.may_be_given_up(broker, now);
            self.has_to_prove_itself(broker, now);
            if let Some(why) = self.is_lost(broker, now) {
                let name = self.router.broker(broker).name.clone();
                self.end_mut(broker).given_up_for = Some(why.clone());
                let moved = self.give_up(broker, now);
                if moved > 0 && self.router.has_stand_in(broker) {
                    tracing::warn!(
                        name: "given_up",
                        broker = &*name,
                        why,
                        messages = moved,
                        "given up: its messages go to the other members"
                    );
                }
            }
        }
        let moment = self.moment(now);
        self.router.look_at_sets(moment);
        looks_on | self.router.is_settling()
    }

    /// Whether time alone may make it lost.
    fn may_be_given_up(&mut self, broker: BrokerId, now: Instant) -> bool {
        let known = self.router.broker(broker);
        let waits = match &self.end(broker).kind {
            // While it is read no further, or a message is tried alone, it has no chance to acknowledge.
            Kind::Link(link) => {
                let has_a_chance = !link.suspects_a_message() && !known.is_held_back();
                link.in_flight() > 0 && has_a_chance && known.health.up_since.is_some()
            }
            // A stream that answers nothing is connected to anew, which is no answer.
            #[cfg(feature = "nats")]
            Kind::Nats(nats) => nats.in_flight() > 0,
            Kind::Embedded { .. } | Kind::Gone => false,
        };
        let looks_on = known.down_since.is_some() && !known.health.given_up;
        let end = self.end_mut(broker);
        if waits {
            end.waits_since.get_or_insert(now);
        } else {
            end.waits_since = None;
        }
        let has_probes = end.probing.is_some();
        looks_on || (waits || has_probes) && self.router.takeover_after(broker).is_some()
    }

    /// One that was given up is well only from when its probes come back, and one that is paused when it goes on.
    fn has_to_prove_itself(&mut self, broker: BrokerId, now: Instant) {
        let Some(patience) = self.router.takeover_after(broker) else { return };
        // One that is on its way says nothing.
        let is_silent = |probing: &Probing| probing.is_silent(patience.min(probing.probe().every), now);
        let is_silent = self.end(broker).probing.as_ref().is_some_and(is_silent) || self.router.broker(broker).paused;
        let health = &mut self.router.broker_mut(broker).health;
        if is_silent && health.given_up && health.up_since.is_some() {
            health.up_since = Some(now);
        }
    }

    /// Why a broker is to be given up, if it is.
    fn is_lost(&self, at: BrokerId, now: Instant) -> Option<String> {
        let (broker, end) = (self.router.broker(at), self.end(at));
        if broker.health.given_up {
            return None;
        }
        if broker.paused && self.router.has_stand_in(at) {
            return Some("an operator has paused it".to_owned());
        }
        if let Some(since) = broker.down_since {
            let suspects = matches!(&end.kind, Kind::Link(link) if link.suspects_a_message());
            let patience = match (suspects && !end.attempt_failed, end.was_silent) {
                (true, _) => AWAY_OR_BROKEN,
                // It was waited for already, for one and a half keep-alives.
                (false, true) => Duration::ZERO,
                (false, false) => AWAY,
            };
            let why = || end.last_error.clone().unwrap_or_else(|| "it is away".to_owned());
            return (now >= since + patience).then(why);
        }
        let patience = self.router.takeover_after(at)?;
        if broker.refuses_all() || broker.refuses_since().is_some_and(|since| now >= since + patience) {
            return Some(end.troubles.refusal.clone().unwrap_or_else(|| "it refuses what it is sent".to_owned()));
        }
        if end.probing.as_ref().is_some_and(|probing| probing.is_silent(patience, now)) {
            return Some(format!("no probe has come back for {}", humantime::format_duration(patience)));
        }
        let silent_since = end.waits_since?.max(broker.answered_at().unwrap_or(end.waits_since?));
        let words = || format!("it has acknowledged nothing for {}", humantime::format_duration(patience));
        (now >= silent_since + patience).then(words)
    }

    /// What waits for a broker goes to other members of its sets. Returns how many messages.
    fn give_up(&mut self, broker: BrokerId, now: Instant) -> usize {
        let is_movable = |key| self.router.is_movable(broker, Ticket::from_key(key));
        let unfinished = match &self.end(broker).kind {
            // What was sent and not acknowledged may have arrived: at least once is what is left of QoS 2 here.
            Kind::Link(link) => {
                let messages = link.take_back(is_movable).into_iter();
                messages.map(|(key, message)| (Ticket::from_key(key), message)).collect()
            }
            #[cfg(feature = "nats")]
            Kind::Nats(nats) => crate::nats_port::tickets(nats.take_back(is_movable)).collect(),
            Kind::Embedded { .. } | Kind::Gone => Vec::new(),
        };
        let moment = self.moment(now);
        let moved = self.router.give_up(broker, unfinished, moment);
        self.end_mut(broker).waits_since = None;
        self.flush(now);
        moved
    }
}
