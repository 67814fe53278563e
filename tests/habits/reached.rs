//! `tidegate check --connect`.

use crate::command::{FOUND_PROBLEMS, assert_contains, stdout, with_config};
use crate::fixture::PATIENCE;
use std::net::TcpListener;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually, free_port};

#[test]
fn every_broker_is_dialled_and_says_what_it_can_do_or_why_not() {
    let (good, refuses) = (Mosquitto::start(), Mosquitto::builder().password("u", "p").start());
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n[brokers.good]\nurl = \"{}\"\n[brokers.locked]\nurl = \"{}\"\n\
         [brokers.away]\nurl = \"mqtt://127.0.0.1:{}\"\n[brokers.silent]\nurl = \"mqtt://{}\"\nconnect_timeout = \"1s\"\n\
         [brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
         [[routes]]\nname = \"r\"\nfrom = {{ broker = \"own\", topics = [\"x\"] }}\nto = [\"good\", \"locked\", \"away\", \"silent\"]\n",
        good.url(),
        refuses.url(),
        free_port(),
        web.local_addr().unwrap(),
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.toml");
    std::fs::write(&path, text).unwrap();
    let output = with_config("check", &path, &["--connect"]);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
    let said = stdout(&output);
    assert_contains(
        &said,
        &[
            "gw.toml:5:7: note: broker `good`: answers in ",
            " ms: MQTT 5, QoS up to 2, keeps retained messages",
            "gw.toml:7:7: broker `locked`: not connected: the broker refused the connection: not authorized (0x87); look at `username` and `password`",
            "gw.toml:9:7: broker `away`: not connected: 127.0.0.1:",
            "Connection refused (os error 111); nobody listens there: is the port right, and does the broker run?",
            "gw.toml:11:7: broker `silent`: not connected: no answer to CONNECT of MQTT ",
        ],
    );
    assert!(!said.contains("`own`"), "{said}");
    let plain = with_config("check", &path, &[]);
    assert_eq!(plain.status.code(), Some(0), "nobody is dialled unasked: {plain:?}");
}

#[test]
fn a_gateway_that_runs_keeps_its_session() {
    let broker = Mosquitto::start();
    let tidegate = Tidegate::start(&format!(
        "[brokers.a]\nurl = \"{}\"\n[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
         [[routes]]\nname = \"r\"\nfrom = {{ broker = \"a\", topics = [\"x/#\"] }}\nto = [\"own\"]\n",
        broker.url()
    ));
    let count = |name: &str| tidegate.metrics().get(name, &[("broker", "a")]).unwrap_or_default();
    eventually("it is subscribed", PATIENCE, || tidegate.is_ready());
    let path = tidegate.dir().join("tidegate.toml");
    for _ in 0..3 {
        let output = with_config("check", &path, &["--connect"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let mut client = Client::connect(broker.port(), &ClientOptions::new(Version::V5, "c").clean(true)).unwrap();
    client.publish("x/1", b"x", 1, false).unwrap();
    eventually("it goes on", PATIENCE, || count("tidegate_broker_received_total") == 1.0);
    assert_eq!(count("tidegate_broker_connects_total"), 1.0);
}
