//! `auto` always finds a way in, and remembers it; all addresses of a name are tried.

use super::*;
use crate::fixture::{run, wrapped};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use tidegate_testkit::{Answer, End, Habit, Script, free_port};

/// One link in `auto`, with the default time for connecting.
fn auto(x: &ScriptedBroker, keys: &str) -> String {
    let t = "[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{own}\"]\n"
        .replace("{own}", &free_port().to_string());
    link("x", &x.url(), "auto", keys) + &t + &named_route("r", "x", &["a/#"], 1, &["own"], "")
}

fn levels(x: &ScriptedBroker) -> Vec<u8> {
    x.hellos().into_iter().map(|hello| hello.level).collect()
}

#[test]
fn a_broker_that_does_not_answer_mqtt_5_is_spoken_to_in_3_1_1() {
    for script in [Script::amqtt(), Script::mosca()] {
        let x = ScriptedBroker::start(script);
        let tidegate = Tidegate::builder(&auto(&x, "")).spawn();
        ready(&tidegate);
        assert_eq!(levels(&x).last(), Some(&4), "{}", x.tail());
        says(&tidegate, &["broker=\"x\"", "no answer", "3.1.1"]);
        assert_eq!(lines_with(&tidegate, &["retry_in=0"]), 0, "{}", tidegate.log());
    }
}

#[test]
fn a_short_time_for_connecting_finds_the_way_too() {
    let x = ScriptedBroker::start(Script::mosca());
    let tidegate = Tidegate::builder(&auto(&x, "connect_timeout = \"2s\"")).spawn();
    ready(&tidegate);
}

#[test]
fn a_broker_that_refuses_or_closes_is_spoken_to_in_what_it_knows() {
    let personas = [Script::rabbitmq(), Script::nats(), Script::aedes(), Script::rumqttd_v4(), Script::rumqttd_v5()];
    for script in personas.into_iter().chain([Script::ejabberd()]) {
        let x = ScriptedBroker::start(script);
        let tidegate = Tidegate::builder(&auto(&x, "")).spawn();
        ready(&tidegate);
        assert_eq!(lines_with(&tidegate, &["retry_in=0"]), 0, "{}", tidegate.log());
        if levels(&x).len() > 1 {
            says(&tidegate, &["broker=\"x\"", "trying", "3.1.1"]);
        }
    }
}

#[test]
fn what_has_worked_is_remembered_and_tried_first() {
    for script in [Script::amqtt(), Script::rabbitmq(), Script::aedes()] {
        let x = ScriptedBroker::start(script);
        let mut tidegate = Tidegate::builder(&auto(&x, "")).spawn();
        ready(&tidegate);
        let (before, found) = (levels(&x).len(), levels(&x).last().copied());
        tidegate.terminate(PATIENCE);
        tidegate.relaunch();
        ready(&tidegate);
        assert_eq!(levels(&x).get(before).copied(), found, "the first hello of the second run{}", x.tail());
        assert_eq!(levels(&x).len(), before + 1, "one hello is enough{}", x.tail());
    }
}

#[test]
fn what_has_worked_is_left_when_it_works_no_more() {
    for answer in [Answer::Silence, Answer::End(End::fin()), Answer::Refuse(1)] {
        let x = ScriptedBroker::start(Script::rabbitmq());
        let mut tidegate = Tidegate::builder(&auto(&x, "")).spawn();
        ready(&tidegate);
        tidegate.terminate(PATIENCE);
        // Another broker has taken its place.
        x.learn(Script::new().always(Habit::AnswerHello(&[3, 4, 0x83, 0x84], answer)));
        tidegate.relaunch();
        ready(&tidegate);
        assert_eq!(levels(&x).last(), Some(&5), "{}", x.tail());
    }
}

#[test]
fn a_version_that_is_set_and_refused_is_a_hint() {
    let x = ScriptedBroker::start(Script::rabbitmq());
    let tidegate = Tidegate::builder(&link("x", &x.url(), "5", "")).spawn();
    says(&tidegate, &["broker=\"x\"", "version", "auto"]);
}

/// An address that takes no connections and does not say so: its backlog is full.
struct Swallows {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Swallows {
    /// More than any backlog.
    const CONNECTIONS: usize = 5_000;

    #[track_caller]
    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("an address of this machine");
        let mut waiting = Vec::new();
        for _ in 0..Self::CONNECTIONS {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => waiting.push(stream),
                Err(_) => return Self { _listener: listener, _waiting: waiting },
            }
        }
        panic!("{address} takes everything");
    }
}

/// A program that sees a file as `/etc/hosts`, and then becomes the gateway.
fn with_hosts(dir: &Path, hosts: &str) -> std::path::PathBuf {
    let file = dir.join("hosts");
    std::fs::write(&file, hosts).expect("hosts written");
    let inner = format!("mount --bind {} /etc/hosts && exec \"$@\"", file.display());
    let flags = if rootless() { "-rm" } else { "-m" };
    wrapped(dir, &format!("exec unshare {flags} sh -c '{inner}' sh"))
}

fn rootless() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().expect("id runs");
    id.stdout != b"0\n"
}

#[test]
fn the_second_address_of_a_name_is_tried_while_the_first_swallows() {
    let port = free_port();
    let (one, two) = ("127.0.0.11", "127.0.0.12");
    let at = |address: &str| format!("{address}:{port}").parse().expect("an address");
    let x = ScriptedBroker::start_at(at(two), Script::new());
    let _swallows = Swallows::at(at(one));
    for hosts in [format!("{one} two.example\n{two} two.example\n"), format!("{two} two.example\n{one} two.example\n")]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let before = x.welcomed();
        let config = link("x", &format!("mqtt://two.example:{port}"), "5", "connect_timeout = \"4s\"");
        let tidegate = Tidegate::builder(&config).binary(with_hosts(dir.path(), &hosts)).spawn();
        let welcomed = within(PATIENCE, || x.welcomed() > before);
        assert!(welcomed, "{hosts}{}", tidegate.log());
    }
}

#[test]
fn an_ipv6_address_may_have_a_zone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gw.toml");
    for url in ["mqtt://[fe80::1%lo]:1883", "mqtt://[fe80::1%25lo]:1883", "mqtts://[fe80::1%25eth0]"] {
        std::fs::write(&path, format!("[gateway]\nname = \"g\"\ndata_dir = \"d\"\n{}", link("x", url, "5", "")))
            .expect("the configuration written");
        let output = run(&["check", "--config", &path.display().to_string()]);
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, free_port()));
    let x = ScriptedBroker::start_at(address, Script::new());
    for zone in ["lo", "25lo"] {
        let before = x.welcomed();
        let url = format!("mqtt://[::1%{zone}]:{}", address.port());
        let _tidegate = Tidegate::builder(&link("x", &url, "5", "")).spawn();
        eventually("it connects", PATIENCE, || x.welcomed() > before);
    }
}
