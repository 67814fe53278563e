//! The box's own broker.

use super::keys::Keys;
use crate::model::{EmbeddedBroker, EmbeddedLimits};

impl Keys {
    pub(super) fn embedded(&mut self, broker: &EmbeddedBroker) {
        let EmbeddedBroker {
            listen,
            tls,
            users,
            lists,
            limits,
            persistence,
            proxies,
            server_reference,
            response_information,
            spool,
            status,
        } = broker;
        let EmbeddedLimits {
            max_packet_size,
            max_connections,
            session_expiry_max,
            keep_alive_max,
            session_subscriptions_max,
            session_queue_max,
            session_queue_size,
            queues_size,
            retained_max,
            retained_size,
            message_rate,
            byte_rate,
            connections_per_address,
            connect_rate,
            receive_maximum,
        } = limits;
        self.told("embedded", true);
        self.list("listen", listen);
        users.iter().for_each(|path| self.told("users", path.display()));
        self.told("persistence", persistence);
        if !proxies.is_empty() {
            self.list("proxies", proxies);
        }
        server_reference.iter().for_each(|server| self.told("server_reference", server));
        response_information.iter().for_each(|topic| self.told("response_information", topic));
        tls.iter().for_each(|tls| self.section("tls", |keys| keys.listen_tls(tls)));
        self.access(lists);
        self.section("limits", |keys| {
            keys.size("max_packet_size", u64::from(*max_packet_size));
            keys.told("max_connections", max_connections);
            keys.time("session_expiry_max", *session_expiry_max);
            keep_alive_max.iter().for_each(|time| keys.time("keep_alive_max", *time));
            keys.told("session_subscriptions_max", session_subscriptions_max);
            keys.told("session_queue_max", session_queue_max);
            keys.size("session_queue_size", *session_queue_size);
            keys.size("queues_size", *queues_size);
            keys.told("retained_max", retained_max);
            keys.size("retained_size", *retained_size);
            message_rate.iter().for_each(|rate| keys.told("message_rate", rate));
            byte_rate.iter().for_each(|rate| keys.size("byte_rate", rate.get()));
            connections_per_address.iter().for_each(|most| keys.told("connections_per_address", most));
            connect_rate.iter().for_each(|rate| keys.told("connect_rate", rate));
            keys.told("receive_maximum", receive_maximum);
        });
        self.section("spool", |keys| keys.spool(spool));
        status.iter().for_each(|status| self.section("status", |keys| keys.status(status)));
    }
}
