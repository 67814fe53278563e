//! A broker that is paused by an operator, and what is told of one.

use super::{CONTROL, House};
use crate::fixture::PATIENCE;
use serde_json::Value;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually};

fn client(port: u16, id: &str) -> Client {
    Client::connect(port, &ClientOptions::new(Version::V5, id).clean(true)).unwrap()
}

#[test]
fn nothing_is_sent_to_one_that_is_paused_and_all_of_it_when_it_goes_on() {
    let mut house = House::start("");
    house.cloud.restart();
    let mut cloud = client(house.cloud.port(), "cloud");
    cloud.subscribe(&[("#", 1)]).unwrap();
    let mut device = house.device();
    let cloud1 = |house: &House| -> Value {
        let status = house.get("status");
        status["brokers"].as_array().unwrap().iter().find(|one| one["name"] == "cloud1").unwrap().clone()
    };
    eventually("the cloud is there", PATIENCE, || cloud1(&house)["up"] == true);
    let said = house.says(&["pause", "cloud1"]);
    assert_eq!(said, "nothing more is sent to `cloud1`, until it goes on or the gateway starts anew\n");
    let known = cloud1(&house);
    assert!(known["paused"] == true && known["ready"] == false && known["up"] == true, "{known}");
    assert_eq!(known["problems"][0], "it is paused: `tidegate resume cloud1` lets it go on");
    for at in 0..5 {
        device.publish(&format!("dev/{at}/x"), b"1", 1, false).unwrap();
    }
    eventually("they wait", PATIENCE, || house.get("status")["waiting"] == 5);
    assert!(cloud.receive(std::time::Duration::from_millis(300)).unwrap().is_none(), "nothing came");
    assert_eq!(house.says(&["resume", "cloud1"]), "`cloud1` goes on\n");
    for at in 0..5 {
        let came = cloud.receive(PATIENCE).unwrap().expect("all of it comes");
        assert_eq!(came.topic, format!("dev/{at}/x"), "in order");
        cloud.ack(&came);
    }
    assert_eq!(cloud1(&house)["ready"], true);
    let log = house.tidegate.log();
    assert!(log.contains("paused by an operator") && log.contains("goes on"), "{log}");
}

#[test]
fn a_member_of_a_set_that_is_paused_hands_its_messages_to_the_others() {
    let (one, two, home) = (Mosquitto::start(), Mosquitto::start(), tidegate_testkit::free_port());
    let tidegate = Tidegate::start(&format!(
        "[brokers.one]\nurl = \"{}\"\n[brokers.two]\nurl = \"{}\"\n[brokers.home]\nembedded = true\n\
         listen = [\"mqtt://127.0.0.1:{home}\"]\n[targets.both]\npolicy = \"failover\"\nmembers = [\"one\", \"two\"]\n\
         failback = \"1s\"\n[[routes]]\nname = \"up\"\nfrom = {{ broker = \"home\", topics = [\"#\"] }}\nto = [\"both\"]\n",
        one.url(),
        two.url()
    ));
    let (mut first, mut second, mut device) = (client(one.port(), "w"), client(two.port(), "w"), client(home, "d"));
    first.subscribe(&[("#", 1)]).unwrap();
    second.subscribe(&[("#", 1)]).unwrap();
    let came = |client: &mut Client| {
        let came = client.receive(PATIENCE).unwrap().expect("it comes");
        client.ack(&came);
        came.topic
    };
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let says =
        |words: &[&str]| assert!(crate::fixture::run(&[words, &["--config", &config]].concat()).status.success());
    device.publish("a", b"", 1, false).unwrap();
    assert_eq!(came(&mut first), "a");
    says(&["pause", "one"]);
    device.publish("b", b"", 1, false).unwrap();
    assert_eq!(came(&mut second), "b");
    // It stays out for as long as it is paused, however well it is.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    device.publish("c", b"", 1, false).unwrap();
    assert_eq!(came(&mut second), "c");
    says(&["resume", "one"]);
    let share = || tidegate.metrics().get("tidegate_set_share", &[("target", "both"), ("broker", "one")]);
    eventually("it has all again", PATIENCE, || share() == Some(1.0));
    device.publish("d", b"", 1, false).unwrap();
    assert_eq!(came(&mut first), "d");
}

#[test]
fn the_last_connections_and_what_is_subscribed_to_are_told() {
    let (mut broker, home) = (Mosquitto::start(), tidegate_testkit::free_port());
    let admin = tidegate_testkit::free_port();
    let tidegate = Tidegate::builder(&format!(
        "[admin]\nlisten = \"127.0.0.1:{admin}\"\n{CONTROL}[brokers.far]\nurl = \"{}\"\nreconnect = {{ min = \"100ms\", max = \"200ms\" }}\n\
         [brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{home}\"]\n\
         [[routes]]\nname = \"down\"\nfrom = {{ broker = \"far\", topics = [\"x/+\", \"y\"], qos = 2 }}\nto = [\"home\"]\n",
        broker.url()
    ))
    .env("CONTROL", "sesame")
    .spawn();
    let ask = |method: &str, path: &str, token: &[(&str, &str)]| {
        super::ask(&format!("127.0.0.1:{admin}"), method, path, token, "")
    };
    eventually("it serves", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok());
    let link = || serde_json::from_str::<Value>(&ask("GET", "/api/v1/brokers/far", &[]).1).unwrap();
    eventually("both are granted", PATIENCE, || {
        let found = link();
        let all = found["subscriptions"].as_array().cloned().unwrap_or_default();
        all.len() == 2 && all.iter().all(|one| one["problem"].is_null() && one["qos"] == 2)
    });
    let found = link();
    assert_eq!(found["subscriptions"][0]["filter"], "x/+");
    assert!(
        found["connections"].as_array().unwrap().len() == 1 && found["connections"][0]["ended_ms"].is_null(),
        "{found}"
    );
    broker.kill();
    eventually("it ended", PATIENCE, || link()["connections"][0]["why"].is_string());
    broker.restart();
    eventually("there is another", PATIENCE, || link()["connections"].as_array().unwrap().len() == 2);
    assert_eq!(ask("GET", "/api/v1/brokers/none", &[]).0, 404);
    // Reading the files once more is for those who may.
    assert_eq!(ask("POST", "/api/v1/reload", &[]).0, 401);
    assert_eq!(ask("POST", "/api/v1/reload", &[("Authorization", "Bearer sesame")]).0, 202);
    eventually("it was read", PATIENCE, || tidegate.log().contains("nothing has changed"));
}
