//! Where clients of the box's own broker come in, how fast, and where they are sent instead.

use super::Embedded;
use crate::fixture::{PATIENCE, run, wrapped};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use tidegate_testkit::{Client, ClientOptions, Tidegate, Version, eventually};

const RELOADED: &str = "brokers.device has other users, access lists, certificates or limits";

/// What clients publish to `in/#` they are told on `out/#`.
fn carrying(device: &Embedded, keys: &str) -> String {
    device.config()
        + keys
        + "[[routes]]\nname = \"r\"\nfrom = { broker = \"device\", topics = [\"in/#\"] }\nto = [\"device\"]\n\
           remap = { strip = \"in/\", prefix = \"out/\" }\n"
}

fn hears(port: u16, filter: &str) -> Client {
    let mut client = Client::connect(port, &ClientOptions::new(Version::V5, "hears")).expect("it is let in");
    client.subscribe(&[(filter, 1)]).expect("granted");
    client
}

#[test]
fn mosquittos_clients_come_in_at_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mqtt.sock");
    let device = Embedded::new("device");
    let listen = format!("listen = [\"mqtt://127.0.0.1:{}\", \"unix://{}\"]\n", device.port, path.display());
    let config = carrying(&device, "");
    let config: String = config
        .lines()
        .map(|line| if line.starts_with("listen = [\"mqtt") { listen.clone() } else { format!("{line}\n") })
        .collect();
    let tidegate = Tidegate::start(&config);
    let mut hears = hears(device.port, "out/t");
    let sent = Command::new("mosquitto_pub")
        .args(["--unix", path.to_str().expect("a text"), "-q", "1", "-t", "in/t", "-m", "by the socket"])
        .output()
        .expect("mosquitto_pub runs");
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(hears.receive(PATIENCE).expect("it stands").expect("a message").payload, b"by the socket");
    let file = tidegate.dir().join("tidegate.toml").display().to_string();
    let shown = run(&["clients", "list", "--json", "--config", &file]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"hears\""), "{shown:?}");
}

#[test]
fn limits_hold_at_once_for_who_is_connected_and_lose_nothing() {
    let device = Embedded::new("device");
    let config = carrying(&device, "[brokers.device.limits]\nmessage_rate = 20\n");
    let free = config.replace("message_rate = 20", "message_rate = 1000000");
    let tidegate = Tidegate::start(&free);
    let mut hears = hears(device.port, "out/#");
    let mut says = Client::connect(device.port, &ClientOptions::new(Version::V311, "says")).expect("it is let in");
    says.publish("in/0", b"0", 1, false).expect("it stands");
    hears.receive(PATIENCE).expect("it stands").expect("a message");
    tidegate.edit_config(&config);
    tidegate.wait_for_log(RELOADED, PATIENCE);
    let began = Instant::now();
    for n in 1..=50 {
        says.send("in/n", n.to_string().as_bytes(), 1, false).expect("it stands");
    }
    says.flush().expect("it stands");
    for n in 1..=50 {
        let message = loop {
            says.turn(Duration::from_millis(1)).expect("it stands");
            if let Some(message) = hears.receive(Duration::from_millis(50)).expect("it stands") {
                break message;
            }
            assert!(began.elapsed() < PATIENCE, "{n}");
        };
        assert_eq!(message.payload, n.to_string().as_bytes());
    }
    // A second's worth at once, thirty at twenty a second.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    tidegate.wait_for_log("publishes faster than it may", PATIENCE);
}

#[test]
fn a_box_is_drained_by_a_saved_file_and_filled_again() {
    let device = Embedded::new("device");
    let config = carrying(&device, "");
    let tidegate = Tidegate::start(&config);
    let mut old = Client::connect(device.port, &ClientOptions::new(Version::V311, "old")).expect("it is let in");
    old.publish("in/t", b"x", 1, false).expect("it stands");
    let drained = config.replacen("embedded = true\n", "embedded = true\nserver_reference = \"other.example\"\n", 1);
    tidegate.edit_config(&drained);
    tidegate.wait_for_log(RELOADED, PATIENCE);
    eventually("it is sent away", PATIENCE, || old.turn(Duration::from_millis(10)).is_err());
    let mut socket = TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
    socket.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03new").expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("it is closed");
    assert!(answer[3] == 0x9C && answer.ends_with(b"other.example"), "{}", answer.escape_ascii());
    tidegate.edit_config(&config);
    eventually("it is let in", PATIENCE, || {
        Client::connect(device.port, &ClientOptions::new(Version::V311, "old")).is_ok()
    });
}

#[test]
fn behind_a_proxy_the_log_and_the_list_have_the_clients_address() {
    let device = Embedded::new("device");
    let hash = format!("ann:$7$1$c2FsdHNhbHRzYWw=${}==\n", "A".repeat(86));
    let keys = "users = \"users.txt\"\nproxies = [\"127.0.0.1\"]\n";
    let tidegate = Tidegate::builder(&carrying(&device, keys)).file("users.txt", hash).start();
    let mut socket = TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
    socket.write_all(b"PROXY TCP4 192.0.2.77 192.0.2.1 4000 1883\r\n").expect("sent");
    socket.write_all(b"\x10\x1a\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x03ann\x00\x06wrong!").expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("it is closed");
    assert_eq!(answer, [0x20, 2, 0, 4]);
    tidegate.wait_for_log("peer=192.0.2.77:4000", PATIENCE);
    tidegate.wait_for_log("failed_logins=1", PATIENCE);
    let file = tidegate.dir().join("tidegate.toml").display().to_string();
    let shown = run(&["clients", "list", "--json", "--config", &file]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"192.0.2.77\""), "{shown:?}");
    let failed = tidegate.metrics().get("tidegate_own_failed_logins_total", &[("broker", "device")]);
    assert_eq!(failed, Some(1.0));
}

/// What a shell lets a program have at first is less than our clients may need, and may be raised.
#[test]
fn it_takes_the_descriptors_that_it_may_have() {
    let (device, folder) = (Embedded::new("device"), tempfile::tempdir().expect("a folder"));
    let limited_to = |limits: &str, keys: &str| {
        let binary = wrapped(folder.path(), &format!("{limits}\nexec"));
        Tidegate::builder(&(device.config() + keys)).binary(binary).start()
    };
    let tidegate = limited_to("ulimit -S -n 40", "limits = { max_connections = 200 }\n");
    let crowd: Vec<Client> = (0..100)
        .map(|number| Client::connect(device.port, &ClientOptions::new(Version::V5, &format!("c{number}"))))
        .collect::<Result<_, _>>()
        .expect("they are let in");
    let status = std::fs::read_to_string(format!("/proc/{}/status", tidegate.pid())).expect("it runs");
    let room = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a table");
    assert!(room.trim().parse::<u64>().expect("a number") >= 1024, "it grows before there are clients: {room}");
    assert!(!tidegate.log().contains("files and sockets"), "{}", tidegate.log());
    drop((crowd, tidegate));

    let tidegate = limited_to("ulimit -n 300", "limits = { max_connections = 400 }\n");
    tidegate.wait_for_log(
        "this process may have 300 files and sockets, and `limits.max_connections` let 400 clients in",
        PATIENCE,
    );
    let mut crowd: Vec<TcpStream> = Vec::new();
    eventually("there are too many", PATIENCE, || {
        crowd.extend(TcpStream::connect(("127.0.0.1", device.port)).ok());
        tidegate.log().contains("cannot accept a connection")
    });
    drop(crowd);
    eventually("it lets in again", PATIENCE, || {
        Client::connect(device.port, &ClientOptions::new(Version::V5, "again")).is_ok()
    });
}
