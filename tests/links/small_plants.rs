//! Certificates, tokens, headers, births and farewells, requests over a bridge, `$SYS`: what small set-ups need.

use super::files::openssl;
use super::*;
use crate::fixture::run;
use std::path::Path;
use std::process::Command;
use tidegate_testkit::{
    Client, ClientOptions, Habit, Match, Mosquitto, MosquittoSub, OneAnswer, Process, Property, Received, Script,
    Version, free_port, mosquitto_pub,
};

/// One certificate that openssl makes with its defaults, for a mosquitto, which listens at this port.
fn self_signed(dir: &Path) -> (Mosquitto, u16) {
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    );
    let port = free_port();
    let at = |name: &str| dir.join(name).display().to_string();
    let lines = format!("listener {port} 127.0.0.1\ncertfile {}\nkeyfile {}", at("c"), at("k"));
    (Mosquitto::builder().line(&lines).start(), port)
}

fn connects(port: u16, tls: &str) -> bool {
    let tidegate =
        Tidegate::builder(&link("t", &format!("mqtts://localhost:{port}"), "5", &format!("tls = {{ {tls} }}"))).spawn();
    let up = || tidegate.metrics().get("tidegate_broker_up", &[("broker", "t")]) == Some(1.0);
    eventually("the admin listener is there", PATIENCE, || tidegate.get("/health").is_ok());
    within(PATIENCE, || up() || lines_with(&tidegate, &["not connected"]) > 0) && up()
}

#[test]
fn a_certificate_that_is_its_own_issuer_is_trusted_when_it_is_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_t, port) = self_signed(dir.path());
    assert!(connects(port, &format!("ca = {:?}", dir.path().join("c"))));
    // Another one for the same name is not.
    let other = tempfile::tempdir().expect("a directory");
    let (_other, _) = self_signed(other.path());
    assert!(!connects(port, &format!("ca = {:?}", other.path().join("c"))));
}

#[test]
fn a_certificate_is_trusted_by_its_fingerprint() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_t, port) = self_signed(dir.path());
    let said = openssl(dir.path(), "x509 -in c -noout -fingerprint -sha256");
    let fingerprint = said.trim().split_once('=').expect("a fingerprint").1;
    assert!(connects(port, &format!("fingerprint = \"{fingerprint}\"")));
    assert!(connects(port, &format!("fingerprint = \"{}\"", fingerprint.replace(':', "").to_lowercase())));
    let wrong = fingerprint.replace(&fingerprint[..2], if fingerprint.starts_with("00") { "01" } else { "00" });
    assert!(!connects(port, &format!("fingerprint = \"{wrong}\"")));
}

/// A server of openssl's, which shows any certificate; and what the log says of it.
#[track_caller]
fn the_hint_for(make: &[&str], host: &str, words: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    openssl(dir.path(), "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca");
    for words in make {
        openssl(dir.path(), words);
    }
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-cert", "c", "-key", "k", "-cipher", "DEFAULT:@SECLEVEL=0", "-accept"]);
    command.arg(port.to_string()).current_dir(dir.path());
    let server = Process::spawn("openssl", &mut command);
    eventually("openssl listens", PATIENCE, || server.log().contains("ACCEPT"));
    let tls = format!("tls = {{ ca = {:?} }}", dir.path().join("ca.pem"));
    let tidegate = Tidegate::builder(&link("t", &format!("mqtts://{host}:{port}"), "5", &tls)).spawn();
    let all: Vec<&str> = ["not connected"].iter().chain(words).copied().collect();
    says(&tidegate, &all);
    assert_eq!(lines_with(&tidegate, &["ca must be the issuer"]), 0, "a wrong hint\n{}", tidegate.log());
}

const SIGN: &str = "x509 -req -in r -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out c";

#[test]
fn hints_name_what_is_wrong_with_a_certificate() {
    let request = |key: &str| {
        format!(
            "req -new -newkey {key} -nodes -keyout k -out r -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        )
    };
    let rsa = request("rsa:2048");
    the_hint_for(&[&rsa, SIGN], "localhost", &["version 1"]);
    let extended = format!("{SIGN} -copy_extensions copy");
    the_hint_for(&[&request("rsa:1024"), &extended], "localhost", &["1024"]);
    the_hint_for(&[&rsa, &format!("{extended} -sha1")], "localhost", &["sha-1"]);
    let p521 = request("ec").replace("-newkey ec", "-newkey ec -pkeyopt ec_paramgen_curve:secp521r1");
    the_hint_for(&[&p521, &extended], "localhost", &["p-521"]);
}

#[test]
fn a_hint_says_that_an_address_is_written_as_a_name() {
    let request = "req -new -newkey rsa:2048 -nodes -keyout k -out r -subj /CN=x -addext subjectAltName=DNS:127.0.0.1";
    the_hint_for(
        &[request, &format!("{SIGN} -copy_extensions copy")],
        "127.0.0.1",
        &["127.0.0.1", "dns", "server_name"],
    );
}

#[test]
fn a_password_without_a_user_name_is_a_token_of_mqtt_5() {
    let x = ScriptedBroker::start(Script::new());
    for version in ["5", "auto"] {
        let before = x.hellos().len();
        let config = link("x", &x.url(), version, "password = { env = \"TOKEN\" }");
        let tidegate = Tidegate::builder(&config).env("TOKEN", "hush").spawn();
        eventually("it connects", PATIENCE, || x.hellos().len() > before);
        let hello = &x.hellos()[before];
        assert_eq!((hello.level, hello.username.clone(), hello.password.clone()), (5, None, Some(b"hush".to_vec())));
        assert!(!tidegate.log().contains("hush"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gw.toml");
    let head = "[gateway]\nname = \"g\"\ndata_dir = \"d\"\n";
    let config = link("x", "mqtt://x.example", "3.1.1", "password = { env = \"TOKEN\" }");
    std::fs::write(&path, format!("{head}{config}")).expect("written");
    let output = run(&["check", "--config", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "there is none in 3.1.1: {output:?}");
}

/// Where 3.x is not to be tried, since it has no token without a user name.
#[test]
fn a_token_is_never_taken_to_an_older_version() {
    let x = ScriptedBroker::start(Script::rabbitmq());
    let config = link("x", &x.url(), "auto", "password = { env = \"TOKEN\" }");
    let tidegate = Tidegate::builder(&config).env("TOKEN", "hush").spawn();
    eventually("it is tried again", PATIENCE, || x.hellos().len() > 3);
    assert!(x.hellos().iter().all(|hello| hello.level == 5), "{}", x.tail());
    drop(tidegate);
}

#[test]
fn a_websocket_asks_with_headers_of_its_own() {
    let server = OneAnswer::start(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let keys = "headers = { x-api-key = { env = \"API_KEY\" }, x-site = \"cottage\" }";
    let config = link("x", &format!("ws://127.0.0.1:{}/mqtt", server.port()), "5", keys);
    let tidegate = Tidegate::builder(&config).env("API_KEY", "hush-1").env("RUST_LOG", "trace").spawn();
    eventually("it asks", PATIENCE, || !server.requests().is_empty());
    let request = server.requests()[0].to_lowercase();
    assert!(request.contains("x-api-key: hush-1\r\n") && request.contains("x-site: cottage\r\n"), "{request}");
    says(&tidegate, &["not connected", "403"]);
    assert!(!tidegate.log().contains("hush-1"), "{}", tidegate.log());
}

#[test]
fn a_birth_that_ends_the_connection_holds_up_nothing() {
    let bad = Habit::HangUpOnPublish(Match::topic("gw/state"), tidegate_testkit::End::fin());
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new().always(bad)));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "birth = { topic = \"gw/state\", payload = \"online\", qos = 1 }")
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let tidegate = Tidegate::builder(&config).spawn();
    says(&tidegate, &["warn", "birth"]);
    send(&s, "a/b", 1, ["m".to_owned()]);
    arrives(&t, "m");
}

/// What is retained on one topic, as somebody sees it who comes now.
#[track_caller]
fn retained(port: u16, topic: &str) -> Option<String> {
    let mut client = Client::connect(port, &ClientOptions::new(Version::V5, "late")).expect("the broker is up");
    client.subscribe(&[(topic, 1), ("end/of/it", 0)]).expect("subscribed");
    client.publish("end/of/it", b"", 0, false).expect("published");
    let first: Option<Received> = client.receive(PATIENCE).expect("it stays connected");
    first.filter(|first| first.retain).map(|first| String::from_utf8_lossy(&first.payload).into_owned())
}

const STATE: &str = r#"
[brokers.t.will]
topic = "gw/state"
payload = "lost"
retain = true
[brokers.t.birth]
topic = "gw/state"
payload = "online"
retain = true
[brokers.t.farewell]
topic = "gw/state"
payload = "stopped"
retain = true
"#;

#[test]
fn the_state_that_is_retained_is_right_after_a_start_a_kill_and_a_stop() {
    for version in ["3.1.1", "5"] {
        let t = Mosquitto::start();
        let mut tidegate = Tidegate::start(&(link("t", &t.url(), version, "") + STATE));
        let is = |state: &str| eventually(state, PATIENCE, || retained(t.port(), "gw/state").as_deref() == Some(state));
        is("online");
        tidegate.kill();
        is("lost");
        tidegate.relaunch();
        is("online");
        tidegate.terminate(PATIENCE);
        is("stopped");
        tidegate.relaunch();
        is("online");
    }
}

#[test]
fn the_birth_comes_at_every_connection_before_anything_else() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "")
        + STATE
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let mut tidegate = Tidegate::start(&config);
    arrives(&t, "online");
    t.cut(&tidegate_testkit::End::reset());
    send(&s, "a/b", 1, ["m".to_owned()]);
    arrives(&t, "m");
    assert_eq!(t.payloads()[..3], ["online", "online", "m"], "{}", t.tail());
    assert!(t.published()[0].message.retain);
    assert!(tidegate.terminate(PATIENCE).success());
    assert_eq!(t.payloads().last().map(String::as_str), Some("stopped"), "{}", t.tail());
}

#[test]
fn a_will_may_wait() {
    let t = ScriptedBroker::start(Script::new());
    let will = "[brokers.t.will]\ntopic = \"gw/state\"\npayload = \"lost\"\ndelay = \"90s\"\n";
    let _tidegate = Tidegate::builder(&(link("t", &t.url(), "5", "") + will)).spawn();
    eventually("it connects", PATIENCE, || t.welcomed() == 1);
    let will = t.hellos()[0].will.clone().expect("a will");
    assert_eq!(will.properties.will_delay_s(), Some(90));
}

#[test]
fn a_response_topic_is_remapped_the_other_way() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "")
        + &named_route(
            "ask",
            "t",
            &["site1/req/#"],
            1,
            &["s"],
            "remap = { strip = \"site1/\", response_topic = true }",
        )
        + &named_route("answer", "s", &["resp/#"], 1, &["t"], "remap = { prefix = \"site1/\" }");
    let _tidegate = Tidegate::start(&config);
    t.publish(Message::new("site1/req/x", b"ask").at(1).with(Property::response_topic("site1/resp/42")));
    arrives(&s, "ask");
    let asked = s.published()[0].message.clone();
    assert_eq!((asked.topic_text().as_str(), asked.properties.response_topic().as_deref()), ("req/x", Some("resp/42")));
    s.publish(Message::new("resp/42", b"answer").at(1));
    arrives(&t, "answer");
    assert_eq!(t.topics(), ["site1/resp/42"]);
    // Upwards, where the route has a prefix, it gets the prefix.
    let up = config.replace("prefix = \"site1/\" }", "prefix = \"site1/\", response_topic = true }");
    drop(_tidegate);
    let _tidegate = Tidegate::start(&up);
    s.publish(Message::new("resp/43", b"more?").at(1).with(Property::response_topic("req/y")));
    arrives(&t, "more?");
    let more = t.published().pop().expect("it has come").message;
    assert_eq!(more.properties.response_topic().as_deref(), Some("site1/req/y"));
}

#[test]
fn a_response_topic_goes_through_unchanged_unless_it_is_said() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "")
        + &named_route("ask", "t", &["site1/req/#"], 1, &["s"], "remap = { strip = \"site1/\" }");
    let _tidegate = Tidegate::start(&config);
    t.publish(Message::new("site1/req/x", b"ask").at(1).with(Property::response_topic("site1/resp/42")));
    arrives(&s, "ask");
    assert_eq!(s.published()[0].message.properties.response_topic().as_deref(), Some("site1/resp/42"));
}

fn own(port: u16) -> String {
    format!("[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n")
}

#[test]
fn the_own_broker_tells_of_itself_below_sys() {
    let port = free_port();
    let _tidegate = Tidegate::start(&own(port));
    for args in [&["-t", "$SYS/#"][..], &["-V", "5", "-t", "$SYS/broker/+", "-t", "$SYS/broker/+/#"]] {
        let sub = MosquittoSub::start(port, args);
        let has = |topic: &str| {
            sub.lines().iter().any(|line| line.split(' ').next().is_some_and(|name| name.contains(topic)))
        };
        for topic in
            ["$SYS/broker/version", "$SYS/broker/uptime", "$SYS/broker/clients/connected", "messages", "dropped"]
        {
            eventually(topic, PATIENCE, || has(topic));
        }
        let clients = sub
            .lines()
            .into_iter()
            .find(|line| line.starts_with("$SYS/broker/clients/connected"))
            .expect("it is there");
        assert!(clients.ends_with(" 1"), "one is connected: {clients}");
    }
    // It is nobody else's business.
    let all = MosquittoSub::start(port, &["-t", "#"]);
    mosquitto_pub(port, &["-t", "a", "-m", "x"]);
    assert_eq!(all.expect(1, PATIENCE), ["a 0 0 x"]);
}

#[test]
fn what_a_bridged_broker_retains_is_at_the_own_broker_after_our_restart() {
    for version in ["3.1.1", "5"] {
        let (s, port) = (Mosquitto::start(), free_port());
        for topic in ["a/1", "a/2/x"] {
            mosquitto_pub(s.port(), &["-t", topic, "-m", topic, "-q", "1", "-r"]);
        }
        let config = link("s", &s.url(), version, "") + &own(port) + &named_route("r", "s", &["a/#"], 1, &["own"], "");
        let mut tidegate = Tidegate::start(&config);
        let there = || ["a/1", "a/2/x"].iter().all(|topic| retained(port, topic).as_deref() == Some(*topic));
        eventually("what is retained is there", PATIENCE, there);
        tidegate.terminate(PATIENCE);
        tidegate.restart();
        eventually("and again after a stop", PATIENCE, there);
        tidegate.kill();
        tidegate.restart();
        eventually("and again after a kill", PATIENCE, there);
    }
}

#[test]
fn check_tells_that_qos_0_is_not_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gw.toml");
    let head = "[gateway]\nname = \"g\"\ndata_dir = \"d\"\n".to_owned();
    let config = head + &link("s", "mqtt://s.example", "5", "") + &link("t", "mqtt://t.example", "5", "");
    let said = |keys: &str| {
        std::fs::write(&path, config.clone() + &named_route("r", "s", &["a/#"], 0, &["t"], keys)).expect("written");
        let output = run(&["check", "--config", &path.display().to_string()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said("").contains("persist_qos0"), "{}", said(""));
    assert!(!said("persist_qos0 = true").contains("persist_qos0"), "{}", said("persist_qos0 = true"));
}
