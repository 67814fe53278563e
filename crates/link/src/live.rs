//! One connection: how it begins, what is true of it alone, and how it ended.

use crate::LinkError;
use crate::gate::Gate;
use crate::hello::Hello;
use bytes::BytesMut;
use std::time::{Duration, Instant};
use tidegate_transport::{Lost, READ_BYTES, TransportError, WriteSide};

/// What is true for one connection only.
pub(crate) struct Live {
    pub(crate) rx: BytesMut,
    pub(crate) opening: Opening,
    pub(crate) up_since: Option<Instant>,
    /// In a trial: when messages may be sent again.
    pub(crate) hold_until: Option<Instant>,
    /// Since when messages may leave.
    pub(crate) sends_since: Option<Instant>,
    pub(crate) birth_due: bool,
    /// Until when messages wait for the answers to our subscriptions; `None` once they need not.
    pub(crate) subscribe_until: Option<Instant>,
    /// The broker closed the connection, or it broke.
    pub(crate) reset_by_peer: bool,
    pub(crate) write_side: WriteSide,
    pub(crate) gate: Gate,
}

impl Live {
    pub(crate) fn new(opening: Opening) -> Self {
        Self {
            rx: BytesMut::with_capacity(READ_BYTES),
            opening,
            up_since: None,
            hold_until: None,
            sends_since: None,
            birth_due: false,
            subscribe_until: None,
            reset_by_peer: false,
            write_side: WriteSide::default(),
            gate: Gate::default(),
        }
    }

    /// What the end of its stream says of the connection.
    pub(crate) fn lost(&mut self, lost: Lost) -> LinkError {
        self.reset_by_peer = lost.is_by_peer();
        let during_handshake = self.up_since.is_none();
        match lost {
            // Before CONNACK it is all the same how the broker hangs up.
            Lost::Broken(error) if !(self.reset_by_peer && during_handshake) => TransportError::from(error).into(),
            Lost::Broken(_) | Lost::Closed => LinkError::closed(during_handshake),
        }
    }
}

/// How a connection or an attempt ended; without error: because it was told to.
pub(crate) struct Ended {
    pub(crate) error: Option<LinkError>,
    pub(crate) up_for: Option<Duration>,
}

/// How a connection begins.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) hello: Hello,
    pub(crate) since: Instant,
    /// CONNACK must be there.
    pub(crate) deadline: Instant,
}
