//! Writes down what the gateway has subscribed to: see `gateway_kept.rs`.

use crate::broker_state::BrokerState;
use crate::gateway_kept::subscription;
use std::time::Instant;

impl BrokerState {
    /// Writes down what the gateway has subscribed to, when it is time; returns when to be called next.
    pub(crate) fn keep_gateway(&mut self, now: Instant) -> Option<Instant> {
        let Self { store: Some(store), gateway, locals, .. } = self else { return None };
        if gateway.due.is_none_or(|due| due > now) {
            return gateway.due;
        }
        gateway.due = None;
        // The first in-process client is the gateway.
        let Some(Some(inbox)) = locals.first() else { return None };
        if !inbox.replays.is_empty() {
            // It is sent all of it again, if it has not got that far.
            gateway.changed(now);
            return gateway.due;
        }
        let number = match gateway.number {
            Some(number) => number,
            None if inbox.subscriptions.is_empty() => return None,
            None => {
                let number = store.session(&gateway.as_session());
                gateway.number = Some(number);
                number
            }
        };
        for (filter, qos) in &inbox.subscriptions {
            if gateway.filters.get(filter) != Some(qos) {
                store.subscribed(number, &subscription(filter, *qos));
            }
        }
        for filter in gateway.filters.keys() {
            if !inbox.subscriptions.contains_key(filter) {
                store.unsubscribed(number, filter);
            }
        }
        gateway.filters = inbox.subscriptions.clone();
        None
    }
}
