//! One broker more closely than everybody looks at it all the time.

use super::made::ms;
use serde::{Deserialize, Serialize};
use tidegate_gateway::{Connection, LinkSnapshot};
use utoipa::ToSchema;

/// More of one broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkDetails {
    /// The last connections to it, the newest last.
    pub connections: Vec<ConnectionDetails>,
    /// What it was asked to send, in order.
    pub subscriptions: Vec<SubscriptionDetails>,
}

/// One connection to a broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionDetails {
    /// Since when it stood.
    pub since_ms: u64,
    /// When it ended; not there while it stands.
    pub ended_ms: Option<u64>,
    /// Why it ended.
    pub why: Option<String>,
    /// What was spoken.
    pub version: String,
    /// The broker still had our session.
    pub session_present: bool,
}

/// One subscription at a broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionDetails {
    /// The topic filter.
    pub filter: String,
    /// With this QoS.
    pub qos: u8,
    /// Why it is not there, or not yet; not there if it is granted.
    pub problem: Option<String>,
}

impl LinkDetails {
    pub(crate) fn of(snapshot: LinkSnapshot) -> Self {
        let connection = |one: Connection| {
            let (ended_ms, why) = one.ended.map(|(at, why)| (ms(at), why)).unzip();
            let Connection { since, version, session_present, .. } = one;
            ConnectionDetails { since_ms: ms(since), ended_ms, why, version, session_present }
        };
        let subscription = |one: tidegate_gateway::SubscriptionSnapshot| SubscriptionDetails {
            filter: one.filter,
            qos: one.qos,
            problem: one.problem,
        };
        Self {
            connections: snapshot.connections.into_iter().map(connection).collect(),
            subscriptions: snapshot.subscriptions.into_iter().map(subscription).collect(),
        }
    }
}
