//! The scripted broker with our own client and with mosquitto's.

use super::*;
use crate::{Client, ClientOptions, MosquittoSub, Version, eventually, mosquitto_pub};

const SOON: Duration = Duration::from_secs(10);

fn client(broker: &ScriptedBroker, version: Version, name: &str) -> Client {
    Client::connect(broker.port(), &ClientOptions::new(version, name).clean(false)).unwrap()
}

#[test]
fn without_habits_it_is_a_broker() {
    for version in [Version::V311, Version::V5] {
        let broker = ScriptedBroker::start(Script::new());
        let (mut hears, mut says) = (client(&broker, version, "hears"), client(&broker, version, "says"));
        says.publish("a/old", b"old", 1, true).unwrap();
        assert_eq!(hears.subscribe(&[("a/#", 2), ("b", 0)]).unwrap(), [2, 0]);
        let old = hears.receive(SOON).unwrap().unwrap();
        assert!(old.retain && old.payload == b"old" && old.qos == 1);
        for qos in 0..=2 {
            says.publish("a/new", &[qos], qos, false).unwrap();
            let new = hears.receive(SOON).unwrap().unwrap();
            assert_eq!((new.qos, new.payload, new.retain), (qos, vec![qos], false));
        }
        assert_eq!(broker.filters(), ["a/#", "b"]);
        assert_eq!(broker.published().len(), 4);
        eventually("all is acknowledged", SOON, || {
            hears.turn(Duration::from_millis(5)).is_ok() && broker.unacknowledged() == 0
        });
        broker.cut(&End::fin());
        broker.publish(Message::new("a/kept", b"kept").at(2));
        assert!(hears.turn(SOON).is_err());
        hears.reconnect().unwrap();
        assert!(hears.session_present());
        assert_eq!(hears.receive(SOON).unwrap().unwrap().payload, b"kept");
        hears.unsubscribe(&["a/#"]).unwrap();
        assert_eq!(broker.filters(), ["b"]);
    }
}

#[test]
fn mosquitto_s_clients_are_content_with_it() {
    let broker = ScriptedBroker::start(Script::new());
    let v5 = MosquittoSub::start(broker.port(), &["-V", "5", "-t", "a/#", "-q", "2"]);
    let v311 = MosquittoSub::start(broker.port(), &["-V", "mqttv311", "-t", "a/#", "-q", "1"]);
    mosquitto_pub(
        broker.port(),
        &["-V", "5", "-t", "a/b", "-q", "2", "-m", "x", "-D", "publish", "content-type", "text"],
    );
    assert_eq!(v5.expect(1, SOON), ["a/b 2 0 x"]);
    assert_eq!(v311.expect(1, SOON), ["a/b 1 0 x"]);
    assert_eq!(broker.published()[0].message.properties.text(0x03).as_deref(), Some("text"));
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let broker = ScriptedBroker::start(Script::new());
    let options = ClientOptions::new(Version::V311, "hears").clean(false).manual_acks();
    let mut hears = Client::connect(broker.port(), &options).unwrap();
    hears.subscribe(&[("a", 2)]).unwrap();
    for payload in [b"1", b"2"] {
        broker.publish(Message::new("a", payload).at(1));
        assert!(!hears.receive(SOON).unwrap().unwrap().dup);
    }
    broker.cut(&End::reset());
    hears.reconnect().unwrap();
    for payload in [b"1", b"2"] {
        let again = hears.receive(SOON).unwrap().unwrap();
        assert!(again.dup && again.payload == payload);
        hears.ack(&again);
    }
    hears.flush().unwrap();
    eventually("both are done", SOON, || broker.unacknowledged() == 0);
}

#[test]
fn habits_show() {
    let script = Script::new()
        .once(Habit::LoseSubscribe)
        .always(Habit::GrantAtMost(1))
        .always(Habit::RefuseFilter("no", 0x87))
        .always(Habit::HangUpOnPublish(Match::topic("bad"), End::says(0x95)))
        .always(Habit::PubackForQos2);
    let broker = ScriptedBroker::start(script);
    let mut one = client(&broker, Version::V5, "one");
    assert!(one.subscribe(&[("a", 2)]).is_err());
    assert!(broker.filters().is_empty());
    one.reconnect().unwrap();
    assert_eq!(one.subscribe(&[("a", 2), ("no", 0)]).unwrap(), [1, 0x87]);
    one.publish("a", b"x", 2, false).unwrap();
    assert_eq!(one.receive(SOON).unwrap().unwrap().qos, 1);
    assert!(one.publish("bad", b"", 1, false).is_err());
    let log = broker.log();
    assert!(log.iter().any(|logged| logged.packet == Packet::Disconnect(0x95)), "{}", broker.tail());
    assert_eq!(broker.topics(), ["a"]);
}

#[test]
fn levels_are_answered_one_by_one() {
    let script = Script::new()
        .always(Habit::AnswerHello(&[5], Answer::RefuseAs3(1)))
        .always(Habit::AnswerHello(&[0x84], Answer::End(End::fin())));
    let broker = ScriptedBroker::start(script);
    assert!(Client::connect(broker.port(), &ClientOptions::new(Version::V5, "five")).is_err());
    client(&broker, Version::V311, "four");
    assert_eq!((broker.connections(), broker.welcomed()), (2, 1));
    assert_eq!(broker.hellos().iter().map(|hello| hello.level).collect::<Vec<_>>(), [5, 4]);
}
