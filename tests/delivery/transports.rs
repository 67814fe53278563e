//! How a broker is reached, and the words when it is not.

use super::{exactly, listener};
use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use tidegate_testkit::{
    Certs, Client, ClientOptions, Mosquitto, Received, Tidegate, TidegateBuilder, Version, eventually, free_port,
};

/// More than any read or write of a transport takes at a time.
const LARGE_BYTES: usize = 700_000;

/// The user and the password of the brokers that want one.
const USER: &str = "gateway";
const PASSWORD: &str = "correct-horse-battery";

/// Messages of every QoS and of very different sizes, as they must arrive.
fn cargo() -> Vec<(String, Vec<u8>, u8)> {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, LARGE_BYTES];
    let cargo = sizes
        .into_iter()
        .enumerate()
        .flat_map(|(n, size)| (0..=2).map(move |qos| (format!("dev/{n}/{qos}"), vec![b'a' + n as u8; size], qos)));
    cargo.collect()
}

/// A gateway with `home` and `office` reached as said carries everything from one to the other.
#[track_caller]
fn carries(tidegate: TidegateBuilder, mut publisher: Client, mut subscriber: Client) {
    let tidegate = tidegate.start();
    let mut sent = cargo();
    for (topic, payload, qos) in &sent {
        publisher.publish(topic, payload, *qos, false).expect("published");
    }
    let mut came: Vec<_> = exactly(&mut subscriber, sent.len())
        .into_iter()
        .map(|Received { topic, payload, qos, .. }| (topic, payload, qos))
        .collect();
    sent.sort();
    came.sort();
    assert!(sent == came, "what arrives is what was sent");
    assert_balanced(&tidegate);
}

#[track_caller]
fn publisher(port: u16) -> Client {
    Client::connect(port, &ClientOptions::new(Version::V311, "publisher")).expect("the publisher connects")
}

/// Both brokers with the same keys.
fn config(home: &str, office: &str, keys: &str) -> String {
    broker("home", home, keys) + &broker("office", office, keys) + &route("home", &["dev/#"], &["office"], "")
}

/// A file that is its owner's alone.
fn private_file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("secret");
    std::fs::write(&path, text).expect("a secret written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode set");
    (dir, path)
}

/// Starts a gateway whose broker `home` cannot be reached, and waits until it says why.
#[track_caller]
fn refused(tidegate: TidegateBuilder, words: &[&str]) -> Tidegate {
    let tidegate = tidegate.spawn();
    let says_why = |line: &str| line.contains("not connected") && line.contains("home");
    eventually("the log says why", PATIENCE, || tidegate.log().lines().any(says_why));
    let log = tidegate.log();
    let line = log.lines().find(|line| says_why(line)).unwrap_or_default().to_lowercase();
    assert!(words.iter().all(|word| line.contains(word)), "{words:?} are not all in: {line}");
    let (status, body) = tidegate.get("/ready").expect("an answer");
    assert_eq!(status, 503);
    assert!(body.contains("broker home: "), "{body}");
    tidegate
}

#[test]
fn tcp_carries_everything() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let tidegate = Tidegate::builder(&config(&home.url(), &office.url(), ""));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn tls_with_an_authority_of_our_own_carries_everything() {
    let certs = Certs::new();
    let (home, office) = (Mosquitto::builder().tls(&certs).start(), Mosquitto::builder().tls(&certs).start());
    let tls = format!("tls = {{ ca = {:?} }}", certs.ca());
    let tidegate = Tidegate::builder(&config(&home.tls_url(), &office.tls_url(), &tls));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn mutual_tls_carries_everything() {
    let certs = Certs::new();
    let start = || Mosquitto::builder().tls(&certs).require_client_cert().start();
    let (home, office) = (start(), start());
    let client = certs.client();
    let tls = format!("tls = {{ ca = {:?}, cert = {:?}, key = {:?} }}", certs.ca(), client.cert, client.key);
    let tidegate = Tidegate::builder(&config(&home.tls_url(), &office.tls_url(), &tls));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn tls_asks_for_the_name_it_is_told() {
    let certs = Certs::new();
    let server = certs.sign_server("elsewhere", &["mqtt.office.example"]);
    let start = || Mosquitto::builder().tls_identity(&certs, &server).start();
    let (home, office) = (start(), start());
    let tls = format!("tls = {{ ca = {:?}, server_name = \"mqtt.office.example\" }}", certs.ca());
    let tidegate = Tidegate::builder(&config(&home.tls_url(), &office.tls_url(), &tls));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn websockets_carry_everything() {
    let start = || Mosquitto::builder().websockets().start();
    let (home, office) = (start(), start());
    let tidegate = Tidegate::builder(&config(&home.ws_url(), &office.ws_url(), ""));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn websockets_over_tls_carry_everything() {
    let certs = Certs::new();
    let start = || {
        let (port, server) = (free_port(), certs.server());
        let lines = format!(
            "listener {port} 127.0.0.1\nprotocol websockets\ncafile {}\ncertfile {}\nkeyfile {}",
            certs.ca().display(),
            server.cert.display(),
            server.key.display()
        );
        (Mosquitto::builder().line(&lines).start(), format!("wss://localhost:{port}/mqtt"))
    };
    let ((home, home_url), (office, office_url)) = (start(), start());
    let tls = format!("tls = {{ ca = {:?} }}", certs.ca());
    let tidegate = Tidegate::builder(&config(&home_url, &office_url, &tls));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn unix_sockets_carry_everything() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = |name: &str| {
        let path = dir.path().join(name);
        let mosquitto = Mosquitto::builder().line(&format!("listener 0 {}", path.display())).start();
        (mosquitto, format!("unix://{}", path.display()))
    };
    let ((home, home_url), (office, office_url)) = (start("home.sock"), start("office.sock"));
    let tidegate = Tidegate::builder(&config(&home_url, &office_url, ""));
    carries(tidegate, publisher(home.port()), listener(office.port(), "subscriber"));
}

#[test]
fn the_password_comes_from_a_file_the_environment_or_systemd() {
    let start = || Mosquitto::builder().password(USER, PASSWORD).start();
    let (home, office, backup) = (start(), start(), start());
    // As an editor leaves it, with the end of the line.
    let (_keep, file) = private_file(&format!("{PASSWORD}\n"));
    let credentials = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(credentials.path().join("backup"), PASSWORD).expect("a credential written");
    let login = |place: &str| format!("username = \"{USER}\"\npassword = {{ {place} }}");
    let mut config = broker("home", &home.url(), &login(&format!("file = {file:?}")));
    config += &broker("office", &office.url(), &login("env = \"OFFICE_PASS\""));
    config += &broker("backup", &backup.url(), &login("credential = \"backup\""));
    config += &route("home", &["dev/#"], &["office", "backup"], "");
    let tidegate = Tidegate::builder(&config)
        .env("OFFICE_PASS", PASSWORD)
        .env("CREDENTIALS_DIRECTORY", &credentials.path().display().to_string())
        .start();
    let connect = |port, name| {
        Client::connect(port, &ClientOptions::new(Version::V5, name).login(USER, PASSWORD)).expect("it connects")
    };
    let mut subscribers = [connect(office.port(), "subscriber"), connect(backup.port(), "subscriber")];
    for subscriber in &mut subscribers {
        subscriber.subscribe(&[("#", 1)]).expect("subscribed");
    }
    connect(home.port(), "publisher").publish("dev/1", b"x", 1, false).expect("published");
    for subscriber in &mut subscribers {
        assert_eq!(exactly(subscriber, 1)[0].topic, "dev/1");
    }
    assert_balanced(&tidegate);
    assert!(!tidegate.log().contains(PASSWORD), "{}", tidegate.log());
}

#[test]
fn a_wrong_password_is_refused_in_words_without_the_password() {
    for version in ["3.1.1", "5"] {
        let (home, office) = (Mosquitto::builder().password(USER, PASSWORD).start(), Mosquitto::start());
        let keys = format!("version = \"{version}\"\nusername = \"{USER}\"\npassword = {{ env = \"HOME_PASS\" }}");
        let mut config = broker("home", &home.url(), &keys) + &broker("office", &office.url(), "");
        config += &route("home", &["dev/#"], &["office"], "");
        let wrong = "incorrect-mule";
        let tidegate = Tidegate::builder(&config).env("HOME_PASS", wrong).env("RUST_LOG", "trace");
        let tidegate = refused(tidegate, &["refused the connection", "not authorized"]);
        let (_, metrics) = tidegate.get("/metrics").expect("metrics");
        let (_, ready) = tidegate.get("/ready").expect("an answer");
        assert!(![tidegate.log(), metrics, ready].iter().any(|text| text.contains(wrong)));
    }
}

#[test]
fn a_password_that_is_replaced_is_used_after_sighup_and_no_other_broker_is_disturbed() {
    let (home, office) = (Mosquitto::builder().password(USER, PASSWORD).start(), Mosquitto::start());
    let (_keep, file) = private_file("outdated-mule");
    let login = format!("username = \"{USER}\"\npassword = {{ file = {file:?} }}");
    let mut config = broker("home", &home.url(), &login) + &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    let mut tidegate = refused(Tidegate::builder(&config), &["refused the connection"]);
    std::fs::write(&file, PASSWORD).expect("the password replaced");
    tidegate.sighup();
    tidegate.wait_ready(PATIENCE);
    tidegate.wait_for_log("brokers.home has another password", PATIENCE);
    let connects = tidegate.metrics().get("tidegate_broker_connects_total", &[("broker", "office")]);
    assert_eq!(connects, Some(1.0));
}

#[test]
fn a_server_of_another_authority_is_refused_in_words() {
    let (certs, strangers) = (Certs::new(), Certs::new());
    let (home, office) = (Mosquitto::builder().tls(&strangers).start(), Mosquitto::start());
    let mut config = broker("home", &home.tls_url(), &format!("tls = {{ ca = {:?} }}", certs.ca()));
    config += &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    refused(Tidegate::builder(&config), &["tls", "certificate"]);
}

#[test]
fn a_server_of_another_name_is_refused_in_words() {
    let certs = Certs::new();
    let server = certs.sign_server("elsewhere", &["elsewhere.example"]);
    let (home, office) = (Mosquitto::builder().tls_identity(&certs, &server).start(), Mosquitto::start());
    let mut config = broker("home", &home.tls_url(), &format!("tls = {{ ca = {:?} }}", certs.ca()));
    config += &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    refused(Tidegate::builder(&config), &["tls", "localhost", "elsewhere.example"]);
}

#[test]
fn a_server_that_wants_a_certificate_refuses_us_in_words() {
    let certs = Certs::new();
    let (home, office) = (Mosquitto::builder().tls(&certs).require_client_cert().start(), Mosquitto::start());
    let mut config = broker("home", &home.tls_url(), &format!("tls = {{ ca = {:?} }}", certs.ca()));
    config += &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    refused(Tidegate::builder(&config), &["tls", "certificate"]);
}
