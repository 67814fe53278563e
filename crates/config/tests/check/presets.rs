//! Presets: each can be used, and a key of one's own is the one that counts.

use std::path::Path;
use std::time::Duration;
use tidegate_config::{BridgeMode, LinkBroker, Loaded, Version, load_from, parse};
use tidegate_message::QoS;

fn loaded(broker: &str) -> Loaded {
    let text = format!(
        "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
         [brokers.x]\n{broker}\n[[routes]]\nname = \"r\"\nfrom = {{ broker = \"own\", topics = [\"a/#\"] }}\nto = [\"x\"]\n"
    );
    load_from(text.as_bytes(), Path::new("gw.toml")).unwrap_or_else(|problems| panic!("{broker}: {problems}"))
}

fn link(broker: &str) -> LinkBroker {
    loaded(broker).config.brokers["x"].link().unwrap().clone()
}

#[test]
fn every_file_can_be_used_as_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/presets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        for url in ["mqtt://x", "mqtts://x", "mqtts://x:443", "wss://x/mqtt"] {
            let loaded = loaded(&format!("preset = \"{name}\"\nurl = \"{url}\""));
            let [note] = &loaded.notes[..] else { panic!("{name}: {:?}", loaded.notes) };
            let said = format!("gw.toml:8:10: note: preset `{name}` of broker `x` sets ");
            assert!(note.to_string().starts_with(&said), "{note}");
        }
        names.push(name);
    }
    assert!(names.len() >= 8, "the files were found");
}

#[test]
fn a_preset_sets_what_is_not_written_and_nothing_else() {
    let aws = "preset = \"aws-iot-core\"\nurl = \"mqtts://x\"\n";
    let link_of = |keys: &str| link(&format!("{aws}{keys}"));
    let plain = link_of("");
    assert_eq!((plain.version, plain.bridge, plain.max_qos), (Version::V5, BridgeMode::Off, QoS::AtLeastOnce));
    assert_eq!((plain.session_expiry, plain.receive_maximum), (Duration::from_secs(3600), 100));
    assert_eq!(plain.client_id, "tidegate-g-x", "what it says nothing of stays the default");
    let own = link_of("version = \"3.1.1\"\nmax_qos = 0\nsession_expiry = \"1m\"");
    assert_eq!(
        (own.version, own.max_qos, own.session_expiry),
        (Version::V311, QoS::AtMostOnce, Duration::from_secs(60))
    );
    assert_eq!(own.bridge, BridgeMode::Off);
}

#[test]
fn keys_of_a_table_are_filled_one_by_one_and_by_port() {
    let alpn = |url: &str, tls: &str| {
        let link = link(&format!("preset = \"aws-iot-core\"\nurl = \"{url}\"\n{tls}"));
        link.tls.map(|tls| (tls.alpn, tls.server_name))
    };
    let amazons = vec!["x-amzn-mqtt-ca".to_owned()];
    assert_eq!(alpn("mqtts://x", ""), Some((vec![], None)), "at 8883 there is none");
    assert_eq!(alpn("mqtts://x:443", ""), Some((amazons.clone(), None)));
    let named = alpn("mqtts://x:443", "tls = { server_name = \"y\" }");
    assert_eq!(named, Some((amazons, Some("y".to_owned()))));
    assert_eq!(alpn("mqtts://x:443", "tls = { alpn = [] }"), Some((vec![], None)));
    assert_eq!(alpn("mqtt://x:443", ""), None, "without TLS there is nothing to fill");
}

#[test]
fn what_a_preset_brings_is_checked_where_it_is_named() {
    // MQTT 3.1.1 comes with the preset, and a password alone does not go with it.
    let text = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.x]\nurl = \"mqtt://x\"\npassword = { env = \"X\" }\n\
                preset = \"nats\"\nspool = { mark_late = \"1m\" }\n";
    let problems = parse(text, Path::new("gw.toml")).unwrap_err().to_string();
    assert!(problems.contains("gw.toml:6:12: there is a `password` without a `username`"), "{problems}");
    assert!(problems.contains("gw.toml:8:9: warning: `mark_late`"), "{problems}");
}
