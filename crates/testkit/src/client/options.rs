//! How a client connects: its version, session, window and will.

/// mosquitto 2.0.11 cuts a client of any version that has more QoS 2 publishes unfinished than its
/// `max_inflight_messages`, which is 20 by default and told to MQTT 5 clients only.
pub(super) const WINDOW: usize = 20;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// What the broker publishes when the connection is lost.
#[derive(Debug, Clone)]
pub struct Will {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Kept by the broker.
    pub retain: bool,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) login: Option<(String, String)>,
    pub(crate) will: Option<Will>,
    pub(super) window: usize,
    pub(super) manual_acks: bool,
}

impl ClientOptions {
    /// A clean session, a keep-alive of 30 s, a window of 20 publishes, acknowledging what it receives.
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive_s: 30,
            session_expiry_s: 0,
            receive_maximum: None,
            login: None,
            will: None,
            window: WINDOW,
            manual_acks: false,
        }
    }

    /// Whether the broker forgets the old session; if not, it keeps this one for ever.
    pub fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self.session_expiry_s = if clean { 0 } else { u32::MAX };
        self
    }

    /// 0: none.
    pub fn keep_alive_s(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// User name and password.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Published by the broker when the connection is lost.
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// How many of the broker's publishes may be unacknowledged, in MQTT 5.
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        self.receive_maximum = Some(messages);
        self
    }

    /// How many of our own publishes may be; never more than the broker's receive maximum.
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages;
        self
    }

    /// Received messages wait for [`Client::ack`](crate::Client::ack).
    pub fn manual_acks(mut self) -> Self {
        self.manual_acks = true;
        self
    }
}
