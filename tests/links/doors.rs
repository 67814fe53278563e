//! What the next broker would hang up on is refused at the own broker, without a hang-up that is repeated for ever.

use super::*;
use crate::fixture::run;
use std::io::{Read, Write};
use std::net::TcpStream;
use tidegate_testkit::{End, Habit, Match, Mosquitto, MosquittoSub, Property, Script, free_port};

/// What mosquitto 2.0.11 hangs up on in a topic.
const CONTROLS: [&str; 7] = ["\u{1}", "\t", "\r", "\u{7f}", "\u{85}", "\u{fffe}", "\u{1fffe}"];

/// What it takes, however odd.
const ODD: [&str; 4] = ["\u{feff}", " ", "é>*.", "\u{a0}"];

/// From the box's own broker to a target.
fn upwards(own: u16, target: &str, keys: &str) -> String {
    format!("[gateway]\nname = \"g\"\ndata_dir = \"{{dir}}/data\"\n{keys}\n")
        + &format!("[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{own}\"]\n")
        + &link("t", target, "5", "")
        + &named_route("up", "own", &["up/#"], 2, &["t"], "")
}

/// A client made of bytes, as some devices are.
struct Device {
    stream: TcpStream,
    level: u8,
}

impl Device {
    #[track_caller]
    fn connect(port: u16, level: u8) -> Self {
        let mut connect = vec![0x10, if level == 5 { 14 } else { 13 }, 0, 4];
        connect.extend(b"MQTT");
        connect.extend([level, 2, 0, 60]);
        if level == 5 {
            connect.push(0);
        }
        connect.extend([0, 1, b'd']);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the own broker is up");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&connect).expect("CONNECT is sent");
        let mut device = Self { stream, level };
        assert_eq!(device.packet()[0], 0x20, "CONNACK");
        device
    }

    /// The next packet, without its length; panics where the broker hangs up.
    #[track_caller]
    fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("the broker keeps the connection");
        let mut length = usize::from(head[1] & 0x7f);
        if head[1] > 0x7f {
            let mut more = [0];
            self.stream.read_exact(&mut more).expect("the broker keeps the connection");
            length |= usize::from(more[0]) << 7;
        }
        let mut packet = vec![0; length + 1];
        packet[0] = head[0];
        self.stream.read_exact(&mut packet[1..]).expect("the broker keeps the connection");
        packet
    }

    /// Publishes at QoS 1 or 2; the kind and the code of the first answer.
    #[track_caller]
    fn publish(&mut self, message: &Message) -> (u8, u8) {
        self.stream.write_all(&message.packet(self.level, 7)).expect("PUBLISH is sent");
        let answer = self.packet();
        let (kind, code) = (answer[0] >> 4, answer.get(3).copied().unwrap_or(0));
        if kind == 5 && code < 0x80 {
            self.stream.write_all(&[0x62, 2, 0, 7]).expect("PUBREL is sent");
            assert_eq!(self.packet()[0] >> 4, 7, "PUBCOMP");
        }
        (kind, code)
    }
}

/// The two codes that say it: topic name invalid, payload format invalid.
fn is_refused(code: u8) -> bool {
    [0x90, 0x99].contains(&code)
}

fn hangs_up() -> ScriptedBroker {
    ScriptedBroker::start(Script::new().always(Habit::HangUpOnPublish(Match::controls(), End::says(0x81))))
}

#[test]
fn control_characters_in_a_topic_are_refused_with_a_code_to_an_mqtt_5_client() {
    let (own, t) = (free_port(), hangs_up());
    let tidegate = Tidegate::start(&upwards(own, &t.url(), ""));
    let mut device = Device::connect(own, 5);
    for (n, control) in CONTROLS.into_iter().enumerate() {
        for qos in 1..=2 {
            let (kind, code) = device.publish(&Message::new(format!("up/temp{control}"), b"bad").at(qos));
            assert!(kind == 3 + qos && is_refused(code), "{control:?} at QoS {qos}: {kind} {code:#04x}");
        }
        let later = format!("later{n}");
        assert_eq!(device.publish(&Message::new("up/ok", &later).at(1)).0, 4);
        arrives(&t, &later);
    }
    assert!(t.payloads().iter().all(|payload| payload.starts_with("later")), "{}", t.tail());
    assert_eq!(t.welcomed(), 1, "{}", t.tail());
    says(&tidegate, &["up/temp", "control"]);
}

#[test]
fn control_characters_in_a_topic_are_acknowledged_and_dropped_from_a_3_x_client() {
    let (own, t) = (free_port(), hangs_up());
    let tidegate = Tidegate::start(&upwards(own, &t.url(), ""));
    let mut device = Device::connect(own, 4);
    for (n, control) in CONTROLS.into_iter().enumerate() {
        for qos in 1..=2 {
            let (kind, _) = device.publish(&Message::new(format!("up/temp{control}"), b"bad").at(qos));
            assert_eq!(kind, 3 + qos);
        }
        let later = format!("later{n}");
        assert_eq!(device.publish(&Message::new("up/ok", &later).at(1)).0, 4);
        arrives(&t, &later);
    }
    assert_eq!(t.published().len(), CONTROLS.len(), "{}", t.tail());
    assert_eq!(t.welcomed(), 1, "{}", t.tail());
    drained(&tidegate);
    let counted = count(&tidegate, "tidegate_skipped_total", &[("broker", "own")])
        + count(&tidegate, "tidegate_route_dropped_total", &[]);
    assert_eq!(counted, 2 * CONTROLS.len() as u64, "each is counted\n{}", tidegate.log());
    says(&tidegate, &["up/temp", "control"]);
}

#[test]
fn control_characters_in_the_texts_of_mqtt_5_are_refused_too() {
    let (own, t) = (free_port(), hangs_up());
    let _tidegate = Tidegate::start(&upwards(own, &t.url(), ""));
    let mut device = Device::connect(own, 5);
    for property in [Property::content_type("text\u{1}"), Property::response_topic("up/answers\r")] {
        let (kind, code) = device.publish(&Message::new("up/temp", b"bad").at(1).with(property));
        assert!(kind == 4 && is_refused(code), "{kind} {code:#04x}");
    }
    device.publish(&Message::new("up/ok", b"later").at(1));
    arrives(&t, "later");
    assert_eq!(t.payloads(), ["later"]);
}

#[test]
fn what_is_odd_but_allowed_passes() {
    let (own, t) = (free_port(), Mosquitto::start());
    let _tidegate = Tidegate::start(&upwards(own, &t.url(), ""));
    let sub = MosquittoSub::start(t.port(), &["-t", "#", "-q", "1"]);
    let mut device = Device::connect(own, 5);
    for odd in ODD {
        assert_eq!(device.publish(&Message::new(format!("up/x{odd}y"), b"odd").at(1)), (4, 0), "{odd:?}");
    }
    sub.expect(ODD.len(), PATIENCE);
}

#[test]
fn control_characters_pass_where_that_is_allowed() {
    let (own, t) = (free_port(), ScriptedBroker::start(Script::new()));
    let _tidegate = Tidegate::start(&upwards(own, &t.url(), "control_characters = \"allow\""));
    for level in [4, 5] {
        let mut device = Device::connect(own, level);
        for control in CONTROLS {
            assert_eq!(device.publish(&Message::new(format!("up/temp{control}"), b"x").at(1)), (4, 0));
        }
    }
    eventually("they all arrive", PATIENCE, || t.published().len() == 2 * CONTROLS.len());
    assert_eq!(t.topics()[..7], CONTROLS.map(|control| format!("up/temp{control}")));
}

/// Allowed, but the next broker does not take it: found like any other.
#[test]
fn what_is_allowed_and_not_taken_by_the_target_is_put_aside() {
    let (own, t) = (free_port(), Mosquitto::start());
    let tidegate = Tidegate::start(&upwards(own, &t.url(), "control_characters = \"allow\""));
    let sub = MosquittoSub::start(t.port(), &["-t", "#", "-q", "1"]);
    let mut device = Device::connect(own, 4);
    device.publish(&Message::new("up/temp\r", b"bad").at(1));
    device.publish(&Message::new("up/ok", b"later").at(1));
    assert_eq!(sub.expect(1, PATIENCE), ["up/ok 1 0 later"]);
    assert_eq!(are_parked(&tidegate, 1)[0]["kind"], "refused_by_target");
}

/// Nothing but Tidegate and mosquitto, with default settings.
#[test]
fn one_device_cannot_stop_the_link_to_mosquitto() {
    for level in [4, 5] {
        let (own, t) = (free_port(), Mosquitto::start());
        let tidegate = Tidegate::start(&upwards(own, &t.url(), ""));
        let sub = MosquittoSub::start(t.port(), &["-t", "#", "-q", "1"]);
        let mut device = Device::connect(own, level);
        for control in CONTROLS {
            device.publish(&Message::new(format!("up/temp{control}"), b"bad").at(1));
        }
        device.publish(&Message::new("up/ok", b"later").at(1));
        assert_eq!(sub.expect(1, PATIENCE), ["up/ok 1 0 later"]);
        drained(&tidegate);
    }
}

/// A source that is bridged may send them: the same as of a client of our own that cannot be told.
#[test]
fn control_characters_from_a_source_do_not_stop_the_link_to_mosquitto() {
    for version in ["3.1.1", "5"] {
        let (s, t) = (ScriptedBroker::start(Script::new()), Mosquitto::start());
        let config = link("s", &s.url(), version, "")
            + &link("t", &t.url(), version, "")
            + &named_route("r", "s", &["a/#"], 1, &["t"], "");
        let tidegate = Tidegate::start(&config);
        let sub = MosquittoSub::start(t.port(), &["-t", "#", "-q", "1"]);
        for control in CONTROLS {
            s.publish(Message::new(format!("a/x{control}"), b"bad").at(1));
        }
        if version == "5" {
            s.publish(Message::new("a/x", b"bad").at(1).with(Property::content_type("text\u{1}")));
            s.publish(Message::new("a/x", b"bad").at(1).with(Property::response_topic("a/\r")));
        }
        send(&s, "a/ok", 1, ["later".to_owned()]);
        assert_eq!(sub.expect(1, PATIENCE), ["a/ok 1 0 later"]);
        acknowledged(&s);
        drained(&tidegate);
    }
}

#[test]
fn check_refuses_control_characters_that_the_configuration_would_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gw.toml");
    let config = upwards(1, "mqtt://127.0.0.1:2", "").replace("{dir}", "data");
    let check = |config: &str| {
        std::fs::write(&path, config).expect("the configuration written");
        let output = run(&["check", "--config", &path.display().to_string()]);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert!(check(&config).0, "{}", check(&config).1);
    let (good, said) = check(&format!("{config}remap = {{ prefix = \"site\\u0001/\" }}\n"));
    assert!(!good && said.contains("prefix") && said.contains("control"), "{said}");
    let allowed = config.replace("data_dir", "control_characters = \"allow\"\ndata_dir");
    let (good, said) = check(&format!("{allowed}remap = {{ prefix = \"site\\u0001/\" }}\n"));
    assert!(good, "{said}");
}
