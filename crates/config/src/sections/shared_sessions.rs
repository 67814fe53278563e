//! A link on which a route is shared with other gateways has a session that ends with the connection.
//!
//! Brokers keep for a member that is away what its turn brings it, while others are there that could take it: with its session
//! its turn ends, and what it had not acknowledged is anybody's.

use super::Written;
use crate::model::{Broker, Config};
use std::time::Duration;

/// Ends the sessions of such links, unless something is written of them, or came with a preset.
pub(super) fn end(config: &mut Config, written: &Written) {
    let shared = config.routes.iter().zip(&written.routes).filter(|(_, written)| written.share.is_some());
    for broker in shared.flat_map(|(route, _)| &route.from.brokers) {
        let Some(Broker::Link(link)) = config.brokers.get_mut(broker) else { continue };
        let preset = written.presets.get(broker);
        let from_preset = preset.is_some_and(|filled| filled.keys.iter().any(|key| key.starts_with("session_expiry ")));
        if from_preset || !written.session_expiries.contains(broker) {
            (link.session_expiry, link.clean_start) = (Duration::ZERO, true);
        }
    }
}
