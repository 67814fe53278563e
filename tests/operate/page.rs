//! The page in Chromium, against a running gateway: every view, what goes wrong, and what is put right.

use super::{CONTROL, House};
use crate::fixture::PATIENCE;
use std::path::Path;
use std::process::{Command, Stdio};
use tidegate_testkit::{Client, ClientOptions, Version, eventually};

/// A page that is looked at.
struct Shown<'a> {
    admin: &'a str,
}

impl Shown<'_> {
    /// Runs a scene of `page.mjs`; what it prints is asked of `each`, line by line, and what that does is done before it goes on.
    fn play(&self, scene: &str, mut each: impl FnMut(&str)) {
        let modules = std::env::var("TIDEGATE_TEST_NODE_MODULES").expect("scripts/test sets it");
        // Where it can be looked at afterwards.
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
        std::fs::create_dir_all(&pictures).expect("a folder for pictures");
        let mut browser = Command::new("timeout");
        browser.args(["-k", "1", "150", "node"]);
        browser.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("operate/page.mjs"));
        browser.args([&modules, &format!("http://{}/", self.admin), scene]).arg(pictures);
        let mut browser = browser.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("timeout runs");
        let (mut to, from) = (browser.stdin.take().expect("a pipe"), browser.stdout.take().expect("a pipe"));
        for line in std::io::BufRead::lines(std::io::BufReader::new(from)).map_while(Result::ok) {
            match line.strip_prefix("do: ") {
                Some(what) => {
                    each(what);
                    std::io::Write::write_all(&mut to, b"done\n").expect("a browser that listens");
                }
                None => eprintln!("page: {line}"),
            }
        }
        let status = browser.wait().expect("it ends");
        assert!(status.success(), "{scene}: {status}");
    }
}

fn play(house: &House, scene: &str, each: impl FnMut(&str)) {
    Shown { admin: &house.admin }.play(scene, each);
}

#[test]
fn every_view_shows_what_there_is() {
    let house = House::start(CONTROL);
    let mut device = house.device();
    for n in 0..20 {
        device
            .publish(&format!("dev/{}/temp", n % 4), format!("{{\"temp\":{}}}", 70 + n / 10).as_bytes(), 1, false)
            .unwrap();
    }
    for _ in 0..2 {
        device.publish("dev/9/temp", b"no json", 1, false).unwrap();
    }
    eventually("two are parked", PATIENCE, || house.get("status")["parked"] == 2);
    play(&house, "views", |what| match what {
        "publish" => {
            for payload in [&b"{\"temp\":70}"[..], b"{\"temp\":70}", b"no json"] {
                device.publish("dev/5/temp", payload, 1, false).unwrap();
            }
        }
        other => panic!("{other}"),
    });
    assert_eq!(house.get("status")["totals"]["replayed"], 1, "the page has replayed one");
}

#[test]
fn what_is_tried_beside_a_plugin_is_shown_and_promoted() {
    let candidate = "[plugins.celsius.candidate]\npath = \"convert.wasm\"\n\
                     config = { field = \"temp\", from = \"fahrenheit\", to = \"kelvin\", round = 1 }\n";
    let house = House::start(&format!("{CONTROL}{candidate}"));
    let mut device = house.device();
    for n in 0..20 {
        device.publish("dev/1/temp", format!("{{\"temp\":{}}}", 161 + n).as_bytes(), 1, false).unwrap();
    }
    eventually("it has decided them", PATIENCE, || house.get("plugins/celsius")["candidate"]["differ"] == 20);
    play(&house, "trial", |what| panic!("{what}"));
    assert_eq!(house.get("plugins/celsius")["rolled_back"], true);
}

#[test]
fn clients_of_the_own_broker_are_shown_and_sent_away() {
    let house = House::start(CONTROL);
    let mut device = house.device();
    device.subscribe(&[("cmd/device", 1)]).unwrap();
    let lasting = ClientOptions::new(Version::V311, "away-7").clean(false);
    let mut away = Client::connect(house.home, &lasting).unwrap();
    away.subscribe(&[("cmd/#", 1)]).unwrap();
    away.disconnect().unwrap();
    play(&house, "clients", |what| panic!("{what}"));
    house.tidegate.wait_for_log("disconnected by an operator", PATIENCE);
}

#[test]
fn the_configuration_is_checked_as_one_types_applied_and_undone() {
    let house = House::start(CONTROL);
    let file = house.tidegate.dir().join("tidegate.toml");
    let said = || std::fs::read_to_string(&file).unwrap();
    let good = format!("# A comment that stays.\n{}", said());
    house.tidegate.edit_config(&good);
    house.device().publish("dev/1/hum", b"1", 1, false).unwrap();
    eventually("one waits, and the file is followed", PATIENCE, || {
        let status = house.get("status");
        status["waiting"] == 1 && status["reload"]["applied"] == 1
    });
    play(&house, "edits", |what| match what {
        "is applied" => {
            assert_eq!(said(), good.replace("round = 1", "round = 2"));
            assert_eq!(house.get("layout")["plugins"][0]["config"]["round"], 2);
        }
        "is undone" => assert_eq!(said(), good),
        "save it elsewhere" => house.tidegate.edit_config(&good.replace("round = 1", "round = 0")),
        other => panic!("{other}"),
    });
    assert!(said().contains("round = 0"), "what somebody else has saved stays");
}

#[test]
fn what_goes_wrong_is_red_and_what_is_put_right_is_not() {
    let House { tidegate, admin, mut cloud, .. } = House::start(CONTROL);
    let good = std::fs::read_to_string(tidegate.dir().join("tidegate.toml")).unwrap();
    Shown { admin: &admin }.play("troubles", |what| match what {
        "break the file" => tidegate.edit_config(&good.replace("round = 1", "rond = 1")),
        "mend the file" => tidegate.edit_config(&good),
        "add a route" => {
            let more =
                "[[routes]]\nname = \"extra\"\nfrom = { broker = \"office\", topics = [\"x\"] }\nto = [\"home\"]\n";
            tidegate.edit_config(&(good.clone() + more));
        }
        "start the cloud" => cloud.restart(),
        "stop the cloud" => cloud.stop(),
        other => panic!("{other}"),
    });
}

#[test]
fn a_gateway_that_is_not_heard_is_said_to_be_and_heard_again() {
    let House { mut tidegate, admin, .. } = House::start(CONTROL);
    Shown { admin: &admin }.play("lost", |what| match what {
        "kill" => tidegate.kill(),
        "start" => tidegate.relaunch(),
        other => panic!("{other}"),
    });
}

#[test]
fn five_hundred_routes_are_shown_those_that_carry_the_most_first() {
    let [admin, home, office] = [(); 3].map(|()| tidegate_testkit::free_port());
    let mut config = format!(
        "[admin]\nlisten = \"127.0.0.1:{admin}\"\n[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{home}\"]\n\
         [brokers.office]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{office}\"]\n"
    );
    for n in 0..500 {
        let name = format!("route-{n}");
        config += &crate::fixture::named_route(&name, "home", &[&format!("dev/{n}/#")], 1, &["office"], "");
    }
    let _tidegate = tidegate_testkit::Tidegate::builder(&config).spawn();
    eventually("the broker is there", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", home)).is_ok());
    let options = tidegate_testkit::ClientOptions::new(tidegate_testkit::Version::V5, "device").clean(true);
    let mut device = tidegate_testkit::Client::connect(home, &options).unwrap();
    Shown { admin: &format!("127.0.0.1:{admin}") }.play("many", |what| match what {
        "publish" => (0..20).for_each(|_| device.publish("dev/444/temp", b"1", 1, false).unwrap()),
        other => panic!("{other}"),
    });
}
