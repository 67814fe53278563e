//! SUBSCRIBE and UNSUBSCRIBE of clients.

use crate::authorize;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::replays::{REPLAY_STEP, Suback};
use crate::session::SessionKey;
use crate::subscribed::Subscribed;
use crate::subscriptions::Who;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::TopicFilter;
use tidegate_mqtt::{ReasonCode, RetainHandling, SubscribeFilter};

impl BrokerState {
    /// Answers a SUBSCRIBE, then sends the retained messages it asks for.
    pub(crate) fn subscribe(
        &mut self,
        key: SessionKey,
        connection: &Rc<Connection>,
        packet_id: u16,
        filters: &[SubscribeFilter],
        id: u32,
        now: Instant,
    ) {
        self.refresh_sys(filters.iter().filter_map(|asked| asked.filter.as_ref().ok()), now);
        let mut codes = Vec::with_capacity(filters.len());
        let mut begun = Vec::new();
        let mut most = REPLAY_STEP;
        for asked in filters {
            codes.push(match self.subscribe_one(key, asked, id) {
                Ok(is_new) => {
                    if asked.retain_handling == RetainHandling::Send
                        || (asked.retain_handling == RetainHandling::SendIfNew && is_new)
                    {
                        begun.extend(self.begin_replay(key, asked, id, &mut most, now));
                    }
                    ReasonCode(asked.qos as u8)
                }
                Err(reason) => reason,
            });
        }
        self.answer_and_replay(key, connection, Suback { packet_id, codes }, begun, now);
    }

    /// Files one subscription; whether it is new.
    fn subscribe_one(&mut self, key: SessionKey, asked: &SubscribeFilter, id: u32) -> Result<bool, ReasonCode> {
        let filter = asked.filter.as_ref().map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)?;
        authorize::subscribe(filter)?;
        let max = self.settings.limits.subscriptions;
        let session = self.sessions.find_mut(key).ok_or(ReasonCode::UNSPECIFIED_ERROR)?;
        if session.permits.as_ref().is_some_and(|permits| !permits.allow_filter(filter)) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let before = session.subscriptions.get(filter);
        if before.is_none() && session.subscriptions.len() >= max {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        let retain_as_published = asked.retain_as_published || session.bridge;
        let no_local = asked.no_local || session.bridge;
        let how = Subscribed { qos: asked.qos, no_local, retain_as_published, id };
        let kept = session.kept().filter(|_| before != Some(how));
        if let (Some(store), Some(number)) = (&mut self.store, kept) {
            store.subscribed(number, &how.to(filter));
        }
        Ok(self.file_subscription(key, filter, how))
    }

    /// Answers an UNSUBSCRIBE.
    pub(crate) fn unsubscribe(
        &mut self,
        key: SessionKey,
        connection: &Rc<Connection>,
        packet_id: u16,
        filters: &[String],
    ) {
        let codes: Vec<ReasonCode> =
            filters.iter().map(|filter| self.unsubscribe_one(key, connection, filter)).collect();
        connection.session.borrow_mut().unsuback(packet_id, &codes);
    }

    fn unsubscribe_one(&mut self, key: SessionKey, connection: &Connection, filter: &str) -> ReasonCode {
        let Ok(filter) = TopicFilter::new(filter) else { return ReasonCode::TOPIC_FILTER_INVALID };
        let Some(session) = self.sessions.find_mut(key) else { return ReasonCode::UNSPECIFIED_ERROR };
        if session.subscriptions.remove(&filter).is_none() {
            return ReasonCode::NO_SUBSCRIPTION_EXISTED;
        }
        if let Some(suback) = session.replays.stop(&filter) {
            suback.write(connection);
        }
        if let (Some(store), Some(number)) = (&mut self.store, session.kept()) {
            store.unsubscribed(number, &filter);
        }
        self.stats.subscriptions -= 1;
        self.remove_subscription(key.slot, &filter);
        ReasonCode::SUCCESS
    }

    /// Takes a subscription out of the index or its group.
    pub(crate) fn remove_subscription(&mut self, slot: u32, filter: &TopicFilter) {
        if filter.share().is_none() {
            self.subscriptions.remove(filter, Who::Session(slot));
        } else if let Some(change) = self.groups.leave(filter, slot)
            && change.group_changed
        {
            self.subscriptions.remove(filter, Who::Group(change.group));
        }
    }
}
