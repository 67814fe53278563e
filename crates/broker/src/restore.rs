//! What the process before has left: sessions, what waits for them, retained messages.

use crate::broker_state::BrokerState;
use crate::groups::Member;
use crate::in_flight::OnItsWay;
use crate::queue::Queued;
use crate::recording::retained_by;
use crate::retained::Retained;
use crate::session::{Session, SessionKey};
use crate::subscribed::Subscribed;
use crate::subscriptions::{Subscription, Who};
use std::time::{Duration, Instant};
use tidegate_message::TopicFilter;
use tidegate_mqtt::{Flow, Unfinished, Will};
use tidegate_persistence::{Saved, SavedMessage, SavedRetained, SavedSession, Taken};

/// How long the clients that were connected have to come back before their wills are published, if they asked for no
/// keep-alive: others have as long as a broker waits for a silent client.
const TIME_TO_COME_BACK: Duration = Duration::from_secs(30);

/// Between the clock of the process and that on the wall.
#[derive(Clone, Copy)]
struct Clocks {
    now: Instant,
    now_ms: u64,
}

impl Clocks {
    /// When that is; what has passed is now.
    fn at(self, ms: u64) -> Option<Instant> {
        self.now.checked_add(Duration::from_millis(ms.saturating_sub(self.now_ms)))
    }
}

impl BrokerState {
    /// Takes up what a store had. To be called once, before anybody connects.
    pub(crate) fn restore(&mut self, saved: Saved, now: Instant, now_ms: u64) {
        let clocks = Clocks { now, now_ms };
        for one in saved.retained {
            self.restore_retained(one, clocks);
        }
        self.origins = saved.origins;
        let mut ended = Vec::new();
        for one in saved.sessions {
            if self.gateway.restore(one.number, &one.snapshot) {
                continue;
            }
            let (key, is_over) = self.restore_session(one, clocks);
            if is_over {
                ended.push(key.slot);
            }
        }
        // What they had for groups goes to others, who are all there now.
        for slot in ended {
            self.end_session(slot, now);
        }
    }

    fn restore_retained(&mut self, saved: SavedRetained, clocks: Clocks) {
        let SavedRetained { item, message, publisher, expires_ms } = saved;
        if expires_ms.is_some_and(|ms| ms <= clocks.now_ms) {
            self.unretain(Some(item), true);
            return;
        }
        let expires = expires_ms.and_then(|ms| clocks.at(ms));
        let retained = Retained { message, publisher: retained_by(&publisher), expires, item: Some(item), serial: 0 };
        if !self.retained.set(retained, usize::MAX, usize::MAX, clocks.now) {
            self.unretain(Some(item), true);
        }
    }

    /// A session, and whether its time is over.
    fn restore_session(&mut self, saved: SavedSession, clocks: Clocks) -> (SessionKey, bool) {
        let Clocks { now, now_ms } = clocks;
        let SavedSession { number, snapshot, messages } = saved;
        let head = snapshot.head;
        let was_connected = snapshot.away_since_ms.is_none();
        let since_ms = snapshot.away_since_ms.unwrap_or(now_ms);
        let mut session = Session::new(head.client_id);
        session.username = head.username;
        session.ask(self.settings.access.as_ref());
        session.number = Some(number);
        session.expiry_s = head.expiry_s;
        session.keep_alive_s = head.keep_alive_s;
        session.bridge = head.bridge;
        session.will = head.will.map(|will| Box::new(Will { message: will.message, delay_s: will.delay_s }));
        session.away_since_ms = Some(since_ms);
        session.taken = snapshot.taken;
        // The gateway may have any of them.
        session.routed = session.taken.iter().map(|(id, _)| *id).collect();
        let back_by = now + time_to_come_back(head.keep_alive_s);
        session.ends_at = match head.expiry_s {
            u32::MAX => None,
            0 if session.will.is_some() => Some(back_by),
            seconds => clocks.at(since_ms.saturating_add(u64::from(seconds) * 1000)),
        };
        let will_at = |will: &Will| clocks.at(since_ms + u64::from(will.delay_s) * 1000).map(|at| at.max(back_by));
        session.will_at = session.will.as_deref().and_then(will_at);
        let is_over = session.ends_at.is_some_and(|at| at <= now);
        let key = self.sessions.insert(session);
        for one in snapshot.subscriptions {
            let how = Subscribed {
                qos: one.qos,
                no_local: one.no_local,
                retain_as_published: one.retain_as_published,
                id: one.id,
            };
            self.file_subscription(key, &one.filter, how);
        }
        self.restore_messages(key, messages, clocks);
        if was_connected && let (Some(store), Some(session)) = (&mut self.store, self.sessions.find(key)) {
            // Its time counts from here, also if the process ends again.
            store.away(number, since_ms, session.expiry_s, session.will.is_some());
        }
        if !is_over {
            self.await_return(key);
        }
        (key, is_over)
    }

    fn restore_messages(&mut self, key: SessionKey, messages: Vec<SavedMessage>, clocks: Clocks) {
        let mut unfinished = Vec::new();
        for one in messages {
            let SavedMessage { id, message, expires_ms, copy } = one;
            let group = copy.group.as_ref().map_or(0, |filter| self.groups.serial_of(filter));
            let weight = message.weight_bytes();
            let Some(session) = self.sessions.find_mut(key) else { return };
            if let Some(sent) = copy.sent {
                let on_its_way = OnItsWay { weight, group, copy: Some(id) };
                let (serial, key) = (sent.serial, session.in_flight.add(on_its_way));
                let message = (!sent.taken_over).then_some(message);
                unfinished.push(Unfinished { serial, key, message, subscription_ids: copy.subscription_ids });
                continue;
            }
            let queued = Queued {
                message,
                subscription_ids: copy.subscription_ids,
                expires: expires_ms.and_then(|ms| clocks.at(ms)),
                weight,
                from_retained: copy.from_retained,
                copy: Some(id),
                group,
            };
            session.queue.push_anyway(queued, &mut self.queued);
        }
        let Some(session) = self.sessions.find_mut(key) else { return };
        let wholly = session.taken.iter().filter(|(_, taken)| *taken == Taken::Wholly);
        let received = wholly.map(|(id, _)| *id).collect();
        let (flow, finished) = Flow::restored(unfinished, received);
        session.flow = Some(Box::new(flow));
        for key in finished {
            let copy = session.in_flight.remove(key).and_then(|message| message.copy);
            if let (Some(store), Some(copy)) = (&mut self.store, copy) {
                store.done(copy);
            }
        }
    }

    /// Files a subscription; whether it is new.
    pub(crate) fn file_subscription(&mut self, key: SessionKey, filter: &TopicFilter, how: Subscribed) -> bool {
        let Some(session) = self.sessions.find_mut(key) else { return false };
        let is_new = session.subscriptions.insert(filter.clone(), how).is_none();
        self.stats.subscriptions += usize::from(is_new);
        let Subscribed { qos, no_local, retain_as_published, id } = how;
        if filter.share().is_some() {
            let change = self.groups.join(filter, Member { slot: key.slot, qos, retain_as_published, id });
            if change.group_changed {
                self.subscriptions.insert(filter, Subscription::of(Who::Group(change.group)));
            }
        } else {
            let who = Who::Session(key.slot);
            self.subscriptions.insert(filter, Subscription { who, qos, no_local, retain_as_published, id });
        }
        is_new
    }
}

/// As long as a broker waits for a silent client (MQTT 5.0 section 3.1.2.10).
fn time_to_come_back(keep_alive_s: u16) -> Duration {
    match keep_alive_s {
        0 => TIME_TO_COME_BACK,
        seconds => Duration::from_millis(u64::from(seconds) * 1500),
    }
}
