//! Brokers as sources: what they have sent and keep until it is taken care of.

use std::collections::VecDeque;
use tidegate_message::QoS;
use tidegate_router::Ack;

/// How a source knows its message again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) attempt: u64,
    /// At QoS 2.
    pub(crate) packet_id: Option<u16>,
}

impl Ack for Token {
    fn exactly_once(self) -> Option<u16> {
        self.packet_id
    }

    fn packet_id(self) -> Option<u16> {
        self.packet_id
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    /// For PUBACK or PUBREC.
    Waits,
    /// PUBREC came: PUBREL is due.
    Received,
    /// PUBCOMP leaves once this is durable.
    Releasing(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) attempt: u64,
    pub(crate) topic: &'static str,
    pub(crate) qos: QoS,
    pub(crate) packet_id: u16,
    pub(crate) expires: bool,
    pub(crate) stage: Stage,
}

/// What a broker keeps of our session.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) sent: VecDeque<Sent>,
}

/// So few that they are soon used again.
const PACKET_IDS: u16 = 12;

impl Source {
    /// A packet identifier that is not in use; `None` if all are.
    pub(crate) fn packet_id(&self) -> Option<u16> {
        (1..=PACKET_IDS).find(|id| self.sent.iter().all(|sent| sent.packet_id != *id))
    }

    /// It has seen its message acknowledged.
    pub(crate) fn acknowledged(&mut self, attempt: u64) {
        let Some(at) = self.sent.iter().position(|sent| sent.attempt == attempt) else { return };
        if self.sent[at].qos == QoS::ExactlyOnce {
            self.sent[at].stage = Stage::Received;
        } else {
            self.sent.remove(at);
        }
    }

    /// The log is durable up to here: it sees PUBCOMP.
    pub(crate) fn durable(&mut self, upto: u64) {
        self.sent.retain(|sent| !matches!(sent.stage, Stage::Releasing(gate) if gate <= upto));
    }
}
