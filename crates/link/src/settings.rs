//! What a link needs to know.

use bytes::Bytes;
use std::time::Duration;
use tidegate_message::{ByteString, Message, QoS};
use tidegate_mqtt::{Version, Will};
use tidegate_transport::{Address, Endpoint, TlsSettings};

/// Which protocol version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionChoice {
    /// 5, and 3.1.1 if the broker does not know it.
    Auto,
    /// This one.
    Only(Version),
}

/// Whether to say in 3.x that we are a bridge (protocol level with bit 7 set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bridge {
    /// Yes, and without it if the broker does not take it.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// How long to wait between attempts to connect. The bound of the wait begins at `min` and doubles with each failure up
/// to `max`; the wait itself is between half of the bound and all of it, by chance, so that the clients of a broker do
/// not all come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// The longest wait after the first failure.
    pub min: Duration,
    /// The longest wait after any number of failures.
    pub max: Duration,
}

/// Everything about one link.
#[derive(Clone)]
pub struct Settings {
    /// The broker's name, for logs.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// With TLS.
    pub tls: Option<TlsSettings>,
    /// MQTT over WebSocket, at this path.
    pub websocket: Option<String>,
    /// What the request for the WebSocket says beside the usual: names and values of headers. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// Which version.
    pub version: VersionChoice,
    /// Whether to be a bridge.
    pub bridge: Bridge,
    /// Client id.
    pub client_id: ByteString,
    /// User name.
    pub username: Option<ByteString>,
    /// Password.
    pub password: Option<Bytes>,
    /// Will.
    pub will: Option<Will>,
    /// What is published at each connecting.
    pub birth: Option<Message>,
    /// What is published before a goodbye that was planned.
    pub farewell: Option<Message>,
    /// The most that messages are sent with: what is above is lowered to it.
    pub max_qos: QoS,
    /// A user property of every message that goes there and has none of its name (MQTT 5).
    pub mark: Option<(ByteString, ByteString)>,
    /// What is stored, and asked for with [`RetainHandling::Send`](tidegate_mqtt::RetainHandling), comes once in each process also
    /// where the session has the subscription already.
    pub fetch_stored: bool,
    /// In seconds; 0 is off.
    pub keep_alive_s: u16,
    /// How long the broker keeps our session, in seconds; 0: every connection starts clean.
    pub session_expiry_s: u32,
    /// How many unacknowledged messages we take.
    pub receive_maximum: u16,
    /// The largest packet we take, in bytes.
    pub max_packet_size: u32,
    /// How many topic aliases we take.
    pub topic_alias_max: u16,
    /// Waits between attempts.
    pub reconnect: Reconnect,
    /// For connect and all handshakes together.
    pub connect_timeout: Duration,
    /// For a write to make progress.
    pub write_timeout: Duration,
}

impl Settings {
    /// Whom to connect to, and what to speak below MQTT.
    pub(crate) fn endpoint(&self) -> Endpoint<'_> {
        let (tls, websocket) = (self.tls.as_ref(), self.websocket.as_deref());
        Endpoint { address: &self.address, tls, websocket, headers: &self.headers }
    }

    /// A link with the defaults of the configuration: no TLS, nobody's name, a session of no time.
    pub fn new(name: &str, address: Address) -> Self {
        Self {
            name: name.to_owned(),
            address,
            tls: None,
            websocket: None,
            headers: Vec::new(),
            version: VersionChoice::Auto,
            bridge: Bridge::Auto,
            client_id: name.into(),
            username: None,
            password: None,
            will: None,
            birth: None,
            farewell: None,
            max_qos: QoS::ExactlyOnce,
            mark: None,
            fetch_stored: true,
            keep_alive_s: 30,
            session_expiry_s: 0,
            receive_maximum: 1000,
            max_packet_size: 1024 * 1024,
            topic_alias_max: 0,
            reconnect: Reconnect { min: Duration::from_millis(500), max: Duration::from_secs(60) },
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(45),
        }
    }
}
