//! How a source is told that a message is taken care of.

use tidegate_broker::LocalAck;
use tidegate_mqtt::AckToken;
use tidegate_router::Ack;
use tidegate_spool::NameId;

/// How a source is told that a message is taken care of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SourceAck {
    Link(AckToken),
    /// Its number in the process.
    #[cfg(feature = "nats")]
    Nats(u64),
    /// With the name of its client in the log, if that sends it again to another process.
    Embedded(LocalAck, Option<NameId>),
}

impl Ack for SourceAck {
    fn exactly_once(self) -> Option<u16> {
        match self {
            Self::Link(token) => token.exactly_once().then(|| token.packet_id()),
            // At least once.
            #[cfg(feature = "nats")]
            Self::Nats(_) => None,
            Self::Embedded(ack, client) => client.map(|_| ack.packet_id()),
        }
    }

    fn source(self) -> Option<NameId> {
        match self {
            Self::Embedded(_, client) => client,
            _ => None,
        }
    }

    fn packet_id(self) -> Option<u16> {
        self.of_link().map(|token| token.packet_id())
    }
}

impl SourceAck {
    /// What the link is given back; a broker at the end of one has no others.
    pub(crate) fn of_link(self) -> Option<AckToken> {
        match self {
            Self::Link(token) => Some(token),
            _ => None,
        }
    }
}
