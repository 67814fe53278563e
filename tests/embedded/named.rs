//! What the log says of clients of the box's own broker: who was refused, who throws whom out, who speaks something else.

use super::Embedded;
use crate::fixture::PATIENCE;
use std::io::{Read, Write};
use std::net::TcpStream;
use tidegate_testkit::{Client, ClientOptions, Tidegate, Version};

#[test]
fn the_log_names_clients_and_what_they_did_wrong() {
    let device = Embedded::new("device");
    let hash = "ann:$7$1$c2FsdHNhbHRzYWw=$";
    let users = format!("{hash}{}==\n", "A".repeat(86));
    let config = device.config() + "users = \"users.txt\"\n";
    let tidegate = Tidegate::builder(&config).file("users.txt", users).start();
    let options = ClientOptions::new(Version::V5, "meter-7").login("ann", "wrong");
    assert!(Client::connect(device.port, &options).is_err());
    tidegate.wait_for_log("client=meter-7 user=ann", PATIENCE);
    tidegate.wait_for_log("bad user name or password", PATIENCE);
    let mut socket = TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
    socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").expect("sent");
    let _ = socket.read(&mut [0; 16]);
    tidegate.wait_for_log("a TLS handshake, and this listener has no TLS", PATIENCE);
    let mut socket = TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
    socket.write_all(b"GET /mqtt HTTP/1.1\r\nHost: box\r\n\r\n").expect("sent");
    let _ = socket.read(&mut [0; 16]);
    tidegate.wait_for_log("HTTP, and this listener is for MQTT over TCP", PATIENCE);
}

#[test]
fn two_devices_with_one_id_are_named() {
    let device = Embedded::new("device");
    let tidegate = Tidegate::builder(&device.config()).start();
    let options = ClientOptions::new(Version::V311, "cloned");
    let mut there = Client::connect(device.port, &options).expect("it is let in");
    for _ in 0..4 {
        let next = Client::connect(device.port, &options).expect("it is let in");
        std::mem::replace(&mut there, next).abort();
    }
    tidegate.wait_for_log("takes a client's session over", PATIENCE);
    tidegate.wait_for_log("throw each other out", PATIENCE);
    tidegate.wait_for_log("client=cloned", PATIENCE);
}
