//! What targets do in a story: their links come and go, their sessions take messages, and answer.

use crate::ledger::{Arrival, Stamp, Via};
use crate::play::Play;
use crate::target::{InFlight, Session, Stage};
use tidegate_message::{Message, QoS};
use tidegate_router::{BrokerId, Health, Refused, Ticket};

impl Play {
    pub(crate) fn via(&self, ticket: Ticket) -> Via {
        match ticket {
            Ticket::Spooled { queue, .. } => Via::Queue(self.router.spool().key(queue.at() as u16).target),
            Ticket::Held { set, .. } | Ticket::Loose { set, .. } => Via::Past { set: set.is_some() },
        }
    }

    /// What the router has written into sessions by itself is in them; from here on it writes into those that are up and have
    /// no less than this many messages in flight: a story says how many.
    pub(crate) fn look_at_buffers(&mut self) {
        let buffers = self.buffers.clone();
        let written = std::mem::take(&mut buffers.0.borrow_mut().written);
        for (id, ticket, message, serial) in written {
            let name = self.router.broker(id).name.to_string();
            self.in_flight(&name, id, ticket, message, serial, true);
        }
        self.look_at_sessions();
        let mut buffers = buffers.0.borrow_mut();
        buffers.room.clear();
        if self.goes_at_once {
            let up = self.sessions.iter().filter(|(_, session)| session.up);
            let room = up.filter_map(|(name, session)| Some((*self.ids.get(name)?, session.room())));
            buffers.room.extend(room);
        }
    }

    /// The router knows what sessions have, with what it has written into them itself.
    pub(crate) fn look_at_sessions(&self) {
        let mut buffers = self.buffers.0.borrow_mut();
        let buffers = &mut *buffers;
        buffers.unfinished.clear();
        for (name, id) in &self.ids {
            let in_flight = self.sessions.get(name).into_iter().flat_map(|session| &session.in_flight);
            let waits = |one: &&InFlight| one.message.as_ref().is_none_or(|message| message.qos > QoS::AtMostOnce);
            buffers.unfinished.insert(*id, in_flight.filter(waits).map(|one| one.ticket.key()).collect());
        }
        for (id, ticket, message, _) in &buffers.written {
            if message.qos > QoS::AtMostOnce {
                buffers.unfinished.entry(*id).or_default().push(ticket.key());
            }
        }
    }

    fn in_flight(
        &mut self,
        name: &str,
        id: BrokerId,
        ticket: Ticket,
        message: Message,
        serial: Option<u64>,
        at_once: bool,
    ) {
        let (via, gate) = (self.via(ticket), self.router.gate(id));
        let is_done = at_once && message.qos == QoS::AtMostOnce;
        let stage = Stage::Buffered;
        let one = InFlight { ticket, message: Some(message), via, serial, gate, stage, is_done, arrival: None };
        self.sessions.entry(name.to_owned()).or_default().in_flight.push_back(one);
    }

    /// A link takes messages. Returns how many.
    pub(crate) fn pull(&mut self, name: &str, most: usize) -> usize {
        self.look_at_buffers();
        let Some(id) = self.ids.get(name).copied() else { return 0 };
        let now = self.now();
        let mut count = 0;
        while count < most {
            let session = self.sessions.entry(name.to_owned()).or_default();
            if !session.up {
                break;
            }
            let Some((ticket, message)) = self.router.pull(id, session.room() > 0, now) else { break };
            count += 1;
            let serial = (message.qos == QoS::ExactlyOnce).then(|| self.buffers.0.borrow_mut().serial());
            if let Some(serial) = serial {
                self.router.sent(id, ticket, serial);
            }
            self.in_flight(name, id, ticket, message, serial, false);
        }
        count
    }

    /// What may leave the buffers of links leaves, in order.
    pub(crate) fn settle_sessions(&mut self) {
        self.look_at_buffers();
        let durable = self.router.spool().durable();
        let now = self.now();
        let embedded = self.setup.brokers().filter(|(_, is_link)| !is_link).map(|(name, _)| name);
        let embedded: Vec<String> = embedded.collect();
        for (name, session) in &mut self.sessions {
            if !session.up {
                continue;
            }
            let (mut written, mut held) = (Vec::new(), session.slow);
            for one in &mut session.in_flight {
                if one.stage != Stage::Buffered {
                    continue;
                }
                // What is left to chance anyhow is not held up by the log here.
                let is_qos0 = one.message.as_ref().is_some_and(|found| found.qos == QoS::AtMostOnce);
                held |= one.gate > durable && !is_qos0;
                if held && !is_qos0 {
                    continue;
                }
                one.stage = Stage::Arrived;
                let Some(message) = &one.message else { continue };
                let memory = self.memories.entry(name.clone()).or_default();
                if one.serial.is_some_and(|serial| !memory.seen.insert(serial)) {
                    continue;
                }
                let arrival = Arrival {
                    stamp: Stamp::of(message),
                    via: one.via.clone(),
                    broker: name.clone(),
                    loose: one.ticket.is_loose(),
                    exactly_once: one.serial.is_some() && !embedded.contains(name),
                    settled: message.qos == QoS::AtMostOnce,
                    undone: false,
                    refused: false,
                };
                one.arrival = Some({
                    let route = self.ledger.route_of(message);
                    self.ledger.arrive(&route, message, arrival)
                });
                if message.qos == QoS::AtMostOnce && !one.is_done {
                    written.push((one.ticket, true));
                }
            }
            let is_written = |one: &InFlight| {
                one.stage == Stage::Arrived && one.message.as_ref().is_some_and(|found| found.qos == QoS::AtMostOnce)
            };
            session.in_flight.retain(|one| !is_written(one));
            if !written.is_empty() {
                self.router.completed(self.ids[name], written.into_iter(), now);
            }
        }
        self.look_at_buffers();
    }

    /// The place of one that a broker has and may say something bad about: not one that it knows from an earlier process,
    /// and has taken.
    fn arrived(&mut self, name: &str, pick: usize) -> Option<(usize, &mut Session)> {
        let session = self.sessions.get_mut(name).filter(|session| session.up)?;
        let is_new = |one: &InFlight| one.stage == Stage::Arrived && one.arrival.is_some();
        let arrived = |(at, one): (usize, &InFlight)| is_new(one).then_some(at);
        let places: Vec<usize> = session.in_flight.iter().enumerate().filter_map(arrived).collect();
        let at = *places.get(pick % places.len().max(1))?;
        Some((at, session))
    }

    /// A broker goes on with one of its messages: PUBACK, PUBREC or PUBCOMP. Returns whether there was one.
    pub(crate) fn answer(&mut self, name: &str, pick: usize) -> bool {
        let Some(id) = self.ids.get(name).copied() else { return false };
        let durable = self.router.spool().durable();
        let Some(session) = self.sessions.get_mut(name).filter(|session| session.up) else { return false };
        let ready: Vec<usize> = (0..session.in_flight.len())
            .filter(|at| {
                let one = &session.in_flight[*at];
                one.stage == Stage::Arrived || (one.stage == Stage::TakenOver && one.gate <= durable)
            })
            .collect();
        let Some(at) = ready.get(pick % ready.len().max(1)).copied() else { return false };
        let one = &mut session.in_flight[at];
        if let Some((attempt, route, place)) = &one.arrival {
            let arrivals = self.ledger.arrivals.get_mut(&(*attempt, route.clone())).expect("it arrived");
            arrivals[*place].settled = true;
        }
        if one.stage == Stage::Arrived && one.serial.is_some() {
            (one.stage, one.message) = (Stage::TakenOver, None);
            self.router.taken_over(id, [one.ticket].into_iter());
            one.gate = self.router.gate(id);
            return true;
        }
        let ticket = one.ticket;
        session.in_flight.remove(at);
        let now = self.now();
        self.look_at_sessions();
        self.router.completed(id, [(ticket, true)].into_iter(), now);
        true
    }

    /// It is as if the message had not come.
    fn undo(&mut self, one: &InFlight) {
        if let Some((attempt, route, place)) = &one.arrival {
            let arrivals = self.ledger.arrivals.get_mut(&(*attempt, route.clone())).expect("it arrived");
            let arrival = &mut arrivals[*place];
            arrival.undone = true;
            // Its packet identifier means nothing to the broker any more.
            if let (Some(serial), Some(memory)) = (one.serial, self.memories.get_mut(&arrival.broker)) {
                memory.seen.remove(&serial);
            }
        }
    }

    pub(crate) fn refuse_for_now(&mut self, name: &str, count: usize) {
        let (Some(id), now) = (self.ids.get(name).copied(), self.now()) else { return };
        let mut refused = Vec::new();
        for _ in 0..count {
            let Some((at, session)) = self.arrived(name, 0) else { break };
            let Some(one) = session.in_flight.remove(at) else { break };
            self.undo(&one);
            let Some(message) = one.message else { break };
            refused.push(Refused { ticket: one.ticket, message, for_now: true });
        }
        if !refused.is_empty() {
            self.look_at_sessions();
            self.router.refused(id, refused.into_iter(), now);
        }
    }

    pub(crate) fn refuse_for_good(&mut self, name: &str, pick: usize) {
        let (Some(id), now) = (self.ids.get(name).copied(), self.now()) else { return };
        let Some((at, session)) = self.arrived(name, pick) else { return };
        let Some(one) = session.in_flight.remove(at) else { return };
        if let Some((attempt, route, place)) = &one.arrival {
            let arrivals = self.ledger.arrivals.get_mut(&(*attempt, route.clone())).expect("it arrived");
            (arrivals[*place].settled, arrivals[*place].refused) = (true, true);
        }
        self.look_at_sessions();
        match one.message {
            Some(message) if pick.is_multiple_of(2) => {
                let refused = Refused { ticket: one.ticket, message, for_now: false };
                _ = self.router.refused(id, [refused].into_iter(), now);
            }
            _ => self.router.completed(id, [(one.ticket, false)].into_iter(), now),
        }
    }

    /// What was not sent yet goes back where it waited.
    pub(crate) fn give_back(&mut self, name: &str, refuses: bool) {
        let (Some(id), now) = (self.ids.get(name).copied(), self.now()) else { return };
        let Some(session) = self.sessions.get_mut(name) else { return };
        let mut back = Vec::new();
        for mut one in std::mem::take(&mut session.in_flight) {
            let is_unsent = one.stage == Stage::Buffered && !one.is_done;
            match one.message.take_if(|_| is_unsent) {
                Some(message) => back.push((one.ticket, message)),
                None => session.in_flight.push_back(one),
            }
        }
        self.note_handed_back(&back);
        self.look_at_sessions();
        self.router.returned(id, back.into_iter(), refuses, now);
    }

    /// A broker hangs up on a message, which is put aside.
    pub(crate) fn hang_up_on(&mut self, name: &str, pick: usize) {
        let Some((at, session)) = self.arrived(name, pick) else { return };
        let Some(one) = session.in_flight.remove(at) else { return };
        self.undo(&one);
        let now = self.now();
        if let Some(message) = one.message {
            self.router.park_ticket(name, one.ticket, message, "it hangs up".to_owned(), now);
        }
    }

    /// What is written to a broker arrives from here on, or waits on its way.
    pub(crate) fn slow(&mut self, name: &str, is_slow: bool) {
        if let Some(session) = self.sessions.get_mut(name) {
            session.slow = is_slow;
        }
    }

    pub(crate) fn down(&mut self, name: &str) {
        let Some(id) = self.ids.get(name).copied() else { return };
        self.sessions.entry(name.to_owned()).or_default().up = false;
        let now = self.now();
        let broker = self.router.broker_mut(id);
        broker.health.up_since = None;
        broker.down_since.get_or_insert(now.at);
    }

    pub(crate) fn up(&mut self, name: &str) {
        let Some(id) = self.ids.get(name).copied() else { return };
        let session = self.sessions.entry(name.to_owned()).or_default();
        if std::mem::replace(&mut session.up, true) {
            return;
        }
        let now = self.now();
        let broker = self.router.broker_mut(id);
        (broker.health, broker.down_since) = (Health { up_since: Some(now.at), given_up: false }, None);
        self.router.look_at_sets(now);
    }

    /// A broker has been away for too long, or is there and answers nothing.
    pub(crate) fn give_up(&mut self, name: &str) {
        let Some(id) = self.ids.get(name).copied() else { return };
        let is_up = self.sessions.get(name).is_some_and(|session| session.up);
        if !is_up && self.router.broker(id).health.given_up {
            return;
        }
        let now = self.now();
        let movable = |ticket| self.router.is_movable(id, ticket);
        let unfinished = self.sessions.entry(name.to_owned()).or_default().take_back(movable);
        self.note_handed_back(&unfinished);
        self.look_at_sessions();
        self.router.give_up(id, unfinished, now);
    }

    pub(crate) fn note_handed_back(&mut self, unfinished: &[(Ticket, Message)]) {
        self.ledger.handed_back.extend(unfinished.iter().map(|(_, message)| Stamp::of(message)));
    }
}
