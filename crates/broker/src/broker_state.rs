//! Everything the broker knows, as plain data.
//!
//! What happens to it is told by the packet: `connect.rs`, `subscribe.rs`, `publish.rs`, `refuse.rs`, `disconnect.rs`, and
//! `publish_sys.rs` for what the broker says of itself.

use crate::addresses::Addresses;
use crate::connection::Connection;
use crate::gateway_kept::GatewayKept;
use crate::groups::Groups;
use crate::inbox::{Inbox, LocalRelease};
use crate::queue::QueueTotal;
use crate::retained::RetainedMessages;
use crate::session::{SessionKey, Sessions};
use crate::settings::Settings;
use crate::stats::{KeptStats, Stats};
use crate::subscriptions::Subscriptions;
use crate::sys::Sys;
use ahash::{AHashMap, AHashSet};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::ByteString;
use tidegate_mqtt::{AckToken, ServerLimits};
use tidegate_pacing::LogLimit;
use tidegate_persistence::{DiskStatus, NewCopy, Origin, Store};

/// Everything the broker knows. Sessions, subscriptions, messages: nothing here waits or does I/O.
pub(crate) struct BrokerState {
    pub(crate) settings: Rc<Settings>,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) groups: Groups,
    pub(crate) retained: RetainedMessages,
    /// In-process clients, by their number; `None` once one is closed.
    pub(crate) locals: Vec<Option<Inbox>>,
    /// Messages that several in-process clients have to acknowledge: how many of them still.
    pub(crate) joint_acks: AHashMap<(SessionKey, AckToken), usize>,
    /// When to look after the sessions of absent clients.
    pub(crate) due: BTreeSet<(Instant, SessionKey)>,
    pub(crate) queued: QueueTotal,
    /// How many sessions have one.
    pub(crate) connections: usize,
    pub(crate) stats: Stats,
    /// Where clients come from.
    pub(crate) addresses: Addresses,
    /// Shared with the tasks of clients.
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) sys: Sys,
    /// It lets nobody in any more: another one goes on with what it keeps.
    pub(crate) is_closed: bool,
    /// What outlives the process, if anything does.
    pub(crate) store: Option<Box<Store>>,
    /// What the gateway had subscribed to.
    pub(crate) gateway: GatewayKept,
    /// Clients without a session of whose packet ids the gateway has recorded some.
    pub(crate) remembered: AHashSet<ByteString>,
    /// Packet ids that are free again, and the gateway is to hear of.
    pub(crate) releases: Vec<LocalRelease>,
    /// How many of them there were.
    pub(crate) promised: u64,
    /// By what the message is known that the gateway publishes now.
    pub(crate) origin: Option<Origin>,
    /// What the gateway had published at QoS 2 when another process ended.
    pub(crate) origins: AHashSet<Origin>,
    /// Connections that wait for the disk, some of them more than once.
    pub(crate) held: Vec<Rc<Connection>>,
    /// Kept for its allocation; always empty.
    pub(crate) copies: Vec<NewCopy>,
    /// Apart from that of connections: a flood of the one does not hide the other.
    pub(crate) refusals_log: LogLimit,
}

/// Bytes from and to clients.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
}

impl BrokerState {
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings: Rc::new(settings),
            sessions: Sessions::default(),
            subscriptions: Subscriptions::default(),
            groups: Groups::default(),
            retained: RetainedMessages::default(),
            locals: Vec::new(),
            joint_acks: AHashMap::new(),
            due: BTreeSet::new(),
            queued: QueueTotal::default(),
            connections: 0,
            stats: Stats::default(),
            addresses: Addresses::default(),
            traffic: Rc::default(),
            sys: Sys::new(now),
            is_closed: false,
            store: None,
            gateway: GatewayKept::default(),
            remembered: AHashSet::new(),
            releases: Vec::new(),
            promised: 0,
            origin: None,
            origins: AHashSet::new(),
            held: Vec::new(),
            copies: Vec::new(),
            refusals_log: LogLimit::default(),
        }
    }

    /// Every client that is connected has a turn.
    pub(crate) fn wake_all(&self) {
        for connection in self.sessions.iter().filter_map(|(_, session)| session.connection.as_ref()) {
            connection.wake.wake();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let kept = self.store.as_ref().map(|store| {
            let ((log_bytes, live_bytes), disk) = (store.bytes(), store.stats());
            let status = match store.status() {
                DiskStatus::Good => 0,
                DiskStatus::Full => 1,
                DiskStatus::Failed(_) => 2,
            };
            let (messages, written_bytes, syncs) = (store.messages() as u64, disk.written_bytes, disk.syncs);
            KeptStats { log_bytes, live_bytes, messages, written_bytes, syncs, status }
        });
        Stats {
            kept,
            connections: self.connections,
            sessions: self.sessions.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            queued: self.queued.messages,
            queued_bytes: self.queued.bytes,
            shared_subscriptions: self.groups.members(),
            bytes_received: self.traffic.received.get(),
            bytes_sent: self.traffic.sent.get(),
            ..self.stats
        }
    }

    pub(crate) fn server_limits(&self) -> ServerLimits {
        ServerLimits {
            receive_maximum: self.settings.receive_maximum.max(1),
            max_packet_size: self.settings.max_packet_size,
            topic_alias_max: self.settings.topic_alias_max,
        }
    }
}
