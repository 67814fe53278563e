//! `plugin dev`: each save is built and tried, and live messages are decided by the newest build; a gateway takes it too.

use super::*;
use crate::fixture::PATIENCE;
use crate::tutorial::Terminal;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Version, eventually, free_port};

#[test]
fn a_save_is_built_tried_and_decides_what_comes() {
    let dir = TempDir::new().expect("a folder");
    let broker = Mosquitto::start();
    good(dir.path(), &["plugin", "new", "celsius", "--lang", "c"]);
    let line = format!("exec tidegate plugin dev celsius --topic 'dev/#' --url {}", broker.url());
    let developing = Terminal::run(dir.path(), &line);
    let text = || developing.text();
    let builds = || text().matches("this build decides from here on").count();
    eventually("it is built and listens", PATIENCE, || builds() == 1 && text().contains("is decided here, too"));
    assert!(text().contains("5 good, 0 not"), "{}", text());
    let mut client = Client::connect(broker.port(), &ClientOptions::new(Version::V5, "device")).expect("it connects");
    let mut publish = |payload: &str| client.publish("dev/1", payload.as_bytes(), 1, false).expect("published");
    publish(r#"{"temp": 70}"#);
    eventually("its decision is shown", PATIENCE, || text().contains(r#"payload   {"temp": 21.1}"#));

    // A rule that its samples do not like decides all the same; what is no C leaves the one before.
    let rule = dir.path().join("celsius/rule.c");
    let good_rule = std::fs::read_to_string(&rule).expect("the rule");
    std::fs::write(&rule, good_rule.replace("no such field", "no number there")).expect("written");
    eventually("what differs is shown", PATIENCE, || builds() == 2 && text().contains("3 good, 2 not"));
    publish("{}");
    eventually("the new one decides", PATIENCE, || text().matches("drop, \"no number there\"").count() >= 3);
    std::fs::write(&rule, "this is no C").expect("written");
    eventually("the compiler's words", PATIENCE, || text().contains("clang failed"));
    publish(r#"{"temp": 212}"#);
    eventually("the one before decides", PATIENCE, || text().contains("alarm/dev/1"));
}

#[test]
fn what_a_gateway_says_and_does_with_it_is_shown_beside() {
    let dir = TempDir::new().expect("a folder");
    good(dir.path(), &["plugin", "new", "celsius", "--lang", "c"]);
    let [admin, home] = [(); 2].map(|()| free_port());
    let config = |path: &str| {
        format!(
            "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{home}\"]\n\
             [brokers.office]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
             [plugins.rule]\npath = \"{path}\"\n[[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"dev/#\"] }}\n\
             plugins = [\"rule\"]\nto = [\"office\"]\n"
        )
    };
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, config("other.wasm")).expect("written");
    std::fs::write(dir.path().join("other.wasm"), crate::fixture::plugin("throttle")).expect("written");
    let refused = with_compilers(dir.path(), &["plugin", "dev", "celsius", "--config", "gateway.toml"]);
    assert!(text(&refused).contains("no plugin of the configuration has `path = "), "{}", text(&refused));

    // The gateway may come later than this.
    good(dir.path(), &["plugin", "build", "celsius"]);
    std::fs::write(&file, config("celsius/celsius.wasm")).expect("written");
    let developing = Terminal::run(dir.path(), "exec tidegate plugin dev celsius --config gateway.toml");
    let shows = |words: &str| eventually(words, PATIENCE, || developing.text().contains(words));
    shows("gateway: the gateway does not answer");
    let _gateway = Terminal::run(dir.path(), "exec tidegate run --config gateway.toml");
    let device = || Client::connect(home, &ClientOptions::new(Version::V5, "device"));
    eventually("the gateway is there", PATIENCE, || device().is_ok());
    let mut client = device().expect("it connects");
    eventually("its decision is shown", PATIENCE, || {
        client.publish("dev/1", br#"{"temp": 70}"#, 1, false).expect("published");
        developing.text().contains("gateway:   rule: ")
    });
    assert!(developing.text().contains("home > r: dev/1 QoS 1 {\"temp\": 70}"), "{}", developing.text());
    let rule = dir.path().join("celsius/rule.c");
    let changed = std::fs::read_to_string(&rule).expect("the rule").replace("no such field", "no number there");
    std::fs::write(&rule, changed).expect("written");
    shows("gateway: INFO reloaded change=route `r` runs rule@");
}

#[test]
fn a_cache_is_filled_beforehand() {
    let dir = TempDir::new().expect("a folder");
    std::fs::write(dir.path().join("throttle.wasm"), crate::fixture::plugin("throttle")).expect("written");
    let config = "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n[brokers.home]\nurl = \"mqtt://127.0.0.1:1\"\n\
                  [brokers.office]\nurl = \"mqtt://127.0.0.1:2\"\n[plugins.calm]\npath = \"throttle.wasm\"\nconfig = { every = \"5s\" }\n\
                  grants = { topics = [\"#\"] }\n[[routes]]\nname = \"r\"\nfrom = { broker = \"home\", topics = [\"#\"] }\n\
                  plugins = [\"calm\"]\nto = [\"office\"]\ntick = \"1s\"\n";
    std::fs::write(dir.path().join("gateway.toml"), config).expect("written");
    let told = good(dir.path(), &["plugin", "--config", "gateway.toml", "compile"]);
    assert!(told.contains("1 compiled, 0 not"), "{told}");
    assert!(dir.path().join("data/cache").exists());
    std::fs::write(dir.path().join("throttle.wasm"), "(module)").expect("written");
    let wrong = with_compilers(dir.path(), &["plugin", "--config", "gateway.toml", "compile"]);
    assert_eq!(wrong.status.code(), Some(78));
    assert!(text(&wrong).contains("throttle.wasm: not a component"), "{}", text(&wrong));
}
