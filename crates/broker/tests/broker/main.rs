//! The broker from outside, through sockets, and from inside, as the gateway. Each file is one promise or a few.

#![allow(clippy::unwrap_used)] // a test may fail so

mod access; // who may publish and hear what, with mosquitto as the judge
mod basics; // versions, QoS, who gets what
mod clients; // who is there, and sending one away
mod device; // not a test: a client on the session of `tidegate-mqtt`, and one that writes raw bytes
#[path = "../../../spool/tests/disk.rs"]
#[allow(dead_code)] // some of it opens spools
mod disk; // not a test: a simulated disk behind the door of the store
mod doors; // Unix sockets, proxies, a server to go to instead, keep-alives
mod hostile; // bytes that are no MQTT, floods, silence
mod kept; // what outlives the process: sessions, what waits, retained messages, wills
mod kept_by_chance; // stories of clients, kills and power losses: nothing lost, nothing twice
mod kept_wills; // wills of clients that were connected when the process ended
mod limits; // queues, sizes, counts
mod local; // the in-process client and its acknowledgements
mod mosquitto; // mosquitto's own clients
mod rates; // how fast clients publish, connect and guess passwords
mod refused; // what another broker would hang up on
mod replays; // many retained messages for a new subscription
mod retained; // retained messages
mod scram; // who one is, without saying the password
mod sessions; // resumption, expiry, takeover
mod shared; // shared subscriptions
mod statements; // what MQTT 5.0 asks for by number, byte for byte
mod statements_v3; // the same of 3.1.1
mod subscriptions; // options, identifiers, overlaps
mod sys; // what the broker says of itself
mod users; // passwords, anonymous clients
mod websocket; // MQTT in WebSocket frames
mod wills; // wills
