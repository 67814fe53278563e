//! Publishes what the broker says of itself under `$SYS`: see `sys.rs`.

use crate::broker_state::BrokerState;
use crate::publisher::Publisher;
use crate::sys;
use std::time::Instant;
use tidegate_message::TopicFilter;

impl BrokerState {
    /// Publishes what has changed, when it is time; returns when to be called next.
    pub(crate) fn say_sys(&mut self, now: Instant) -> Instant {
        if self.sys.next_at(self.settings.sys_interval, now) <= now {
            self.say_sys_now(now);
        }
        self.sys.next_at(self.settings.sys_interval, now)
    }

    /// Before somebody subscribes to these: what it will find is fresh.
    pub(crate) fn refresh_sys<'a>(&mut self, filters: impl IntoIterator<Item = &'a TopicFilter>, now: Instant) {
        if filters.into_iter().any(sys::is_about_sys) {
            self.say_sys_now(now);
        }
    }

    fn say_sys_now(&mut self, now: Instant) {
        for message in self.sys.renew(&self.stats(), now) {
            self.distribute(message, Publisher::Broker, None, now);
        }
    }
}
