//! What is published arrives, whoever's broker it is.

use super::{Sub, publish, run_with};
use crate::fixture::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Command;
use tidegate_testkit::{Certs, Client, ClientOptions, Mosquitto, Tidegate, Version, free_port, mosquitto_pub};

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

/// A gateway that is nothing but a broker.
fn own_broker() -> (Tidegate, [String; 2]) {
    let urls = [format!("mqtt://127.0.0.1:{}", free_port()), format!("ws://127.0.0.1:{}", free_port())];
    let config = format!(
        "[brokers.home]\nembedded = true\nlisten = {urls:?}\n[[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = \
         [\"from/#\"] }}\nto = [\"home\"]\nremap = {{ strip = \"from/\", prefix = \"to/\" }}\n"
    );
    (Tidegate::builder(&config).start(), urls)
}

/// Lines of every QoS with every version arrive once, in order, with the QoS they were sent with.
#[track_caller]
fn carries(connection: &[&str]) {
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = format!("lines/{version}/{qos}");
            let with = [connection, &["--mqtt-version", version, "-t", &topic, "-q"]].concat();
            let sub = [&with[..], &["2", "--format", "json", "--count", "200"]].concat();
            let sub = Sub::start(&sub, 1);
            let lines: Vec<String> = (0..200).map(|number| format!("line {number}")).collect();
            publish(&[&with[..], &[qos, "--lines"]].concat(), lines.join("\n").as_bytes());
            let (code, printed) = sub.end();
            assert_eq!(code, Some(0), "{with:?}");
            let printed: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let came: Vec<_> = printed.iter().map(|line| line["payload"].as_str().expect("text")).collect();
            assert_eq!(came, lines, "{with:?}");
            let fine = |line: &Value| {
                line["qos"].as_u64() == qos.parse().ok() && line["topic"] == topic && line["retain"] == false
            };
            assert!(printed.iter().all(fine), "{with:?}: {printed:?}");
        }
    }
}

#[test]
fn over_tcp_and_websockets_of_mosquitto() {
    let broker = Mosquitto::builder().websockets().start();
    carries(&["--url", &broker.url()]);
    carries(&["--url", &broker.ws_url()]);
}

#[test]
fn over_tcp_and_websockets_of_the_own_broker() {
    let (_tidegate, urls) = own_broker();
    urls.iter().for_each(|url| carries(&["--url", url]));
}

#[test]
fn over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.sock").display().to_string();
    let _broker = Mosquitto::builder().line(&format!("listener 0 {path}")).start();
    carries(&["--url", &format!("unix://{path}")]);
}

#[test]
fn over_mutual_tls_and_websockets_over_tls() {
    let certs = Certs::new();
    let (wss, server, client) = (free_port(), certs.server(), certs.client());
    let [ca, cert, key] = [certs.ca(), &client.cert, &client.key].map(|path| path.display().to_string());
    let lines = format!(
        "listener {wss} 127.0.0.1\nprotocol websockets\ncafile {ca}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        server.cert.display(),
        server.key.display()
    );
    let broker = Mosquitto::builder().tls(&certs).require_client_cert().line(&lines).start();
    let files = ["--ca", &ca, "--cert", &cert, "--key", &key];
    carries(&[&["--url", &broker.tls_url()], &files[..]].concat());
    carries(&[&["--url", &format!("wss://localhost:{wss}")], &files[..]].concat());
}

#[test]
fn the_gateway_carries_what_pub_says_to_sub() {
    let (_tidegate, [url, _]) = own_broker();
    let sub = Sub::start(&["-u", &url, "-t", "to/#", "-t", "other", "--count", "2"], 2);
    publish(&["-u", &url, "-t", "from/a", "-m", "through"], b"");
    publish(&["-u", &url, "-t", "other", "-m", "past"], b"");
    let (code, mut printed) = sub.end();
    printed.sort();
    assert_eq!((code, printed), (Some(0), vec!["other past".to_owned(), "to/a through".to_owned()]));
}

#[test]
fn a_file_is_one_message_and_an_empty_one_deletes_what_is_retained() {
    let broker = Mosquitto::start();
    let url = broker.url();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &bytes).expect("a payload written");
    for version in VERSIONS {
        let with = ["-u", &url, "--mqtt-version", version, "-t", "kept"];
        publish(&[&with[..], &["--retain", "-q", "2", "-f", &file.path().display().to_string()]].concat(), b"");
        let one = [&["sub"], &with[..], &["--count", "1", "--format", "json"]].concat();
        let output = run_with(&one, b"");
        let message: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (&message["retain"], message["payload_base64"].as_str().map(str::len)),
            (&json!(true), Some(400_000))
        );
        publish(&[&with[..], &["--retain", "-m", ""]].concat(), b"");
        let none = run_with(&[&["sub"], &with[..], &["--count", "1", "--for", "500ms"]].concat(), b"");
        assert_eq!((none.status.code(), none.stdout.as_slice()), (Some(super::UNAVAILABLE), &b""[..]));
        assert!(String::from_utf8_lossy(&none.stderr).contains("0 of 1 messages came in 500ms"), "{none:?}");
    }
    // From standard input, at the other end a client that is nobody's.
    let mut client =
        Client::connect(broker.port(), &ClientOptions::new(Version::V311, "witness")).expect("it connects");
    client.subscribe(&[("whole", 1)]).expect("subscribed");
    publish(&["-u", &url, "-t", "whole", "-f", "-"], &bytes);
    let came = client.receive(PATIENCE).expect("it stays connected").expect("a message");
    assert!(came.payload == bytes, "{} bytes of {} came", came.payload.len(), bytes.len());
}

#[test]
fn json_has_what_mqtt_5_says_beside_the_payload() {
    let broker = Mosquitto::start();
    let sub = Sub::start(&["-u", &broker.url(), "-t", "a", "--format", "json", "--count", "1"], 1);
    let properties = ["content-type text/plain", "correlation-data 7", "response-topic back", "user-property k v"];
    let mut args = vec!["-V", "5", "-t", "a", "-m", "x", "-q", "1"];
    for property in properties {
        args.extend(["-D", "publish"]);
        args.extend(property.split(' '));
    }
    mosquitto_pub(broker.port(), &args);
    let (code, printed) = sub.end();
    let message: Value = serde_json::from_str(&printed[0]).expect("JSON");
    let wanted = json!({"content_type": "text/plain", "correlation_data_base64": "Nw==", "response_topic": "back",
        "user_properties": [["k", "v"]]});
    assert_eq!((code, &message["properties"]), (Some(0), &wanted));
    assert!(message["time"].as_str().expect("a time").ends_with('Z'), "{message}");
}

/// Every line at once: who reads a pipe waits for nothing.
#[test]
fn sub_prints_at_once_and_ends_well_when_it_is_interrupted_or_nobody_reads() {
    let broker = Mosquitto::start();
    let url = broker.url();
    let mut sub = Sub::start(&["-u", &url, "-t", "a"], 1);
    let stdout = sub.child.as_mut().expect("it runs").stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    publish(&["-u", &url, "-t", "a", "-m", "1"], b"");
    assert_eq!(lines.next().expect("a line").expect("text"), "a 1");
    let killed = Command::new("kill").args(["-INT", &sub.pid().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(sub.end().0, Some(0), "after SIGINT");

    let mut sub = Sub::start(&["-u", &url, "-t", "a"], 1);
    drop(sub.child.as_mut().expect("it runs").stdout.take());
    publish(&["-u", &url, "-t", "a", "-m", "2"], b"");
    let errors = sub.errors.path().to_owned();
    let ended = sub.child.as_mut().expect("it runs").wait().expect("it ends");
    let said = std::fs::read_to_string(errors).expect("its words");
    assert_eq!((ended.code(), said.lines().count()), (Some(0), 1), "nobody reads: {said}");
}
