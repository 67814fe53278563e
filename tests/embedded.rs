//! The box's own broker: other people's clients are at home on it, and routes carry what they say.
//!
//! | Module | What it shows |
//! |---|---|
//! | `clients` | paho, mqtt.js and mosquitto's clients, with 3.1.1 and 5, over tcp and ws; mqtt.js by SCRAM |
//! | `asyncio` | aiomqtt and gmqtt, with 3.1.1 and 5; `at_home` is what their scripts are run by |
//! | `requests` | mosquitto_rr, which asks and is answered, at mosquitto too |
//! | `doors` | Unix sockets, proxies, limits and another server, by a saved file |
//! | `lists` | who may publish and hear what |
//! | `named` | what the log says of clients |
//! | `tls` | TLS, certificates of clients, and certificates that are replaced |
//! | `carried` | from it, to it and between two of them; no acknowledgement before the target's |

mod asyncio;
mod at_home;
mod carried;
mod clients;
mod doors;
mod lists;
mod named;
mod requests;
mod tls;

use tidegate_testkit::free_port;

/// `[brokers.NAME]` of the box itself.
struct Embedded {
    name: &'static str,
    port: u16,
    ws_port: u16,
}

impl Embedded {
    fn new(name: &'static str) -> Self {
        Self { name, port: free_port(), ws_port: free_port() }
    }

    fn config(&self) -> String {
        let Self { name, port, ws_port } = self;
        let listen = format!("\"mqtt://127.0.0.1:{port}\", \"ws://127.0.0.1:{ws_port}\"");
        format!("[brokers.{name}]\nembedded = true\nlisten = [{listen}]\n")
    }
}
