//! mosquitto_rr asks and is answered over the box's own broker, as it is over mosquitto.

use super::at_home::Box;
use crate::fixture::PATIENCE;
use std::process::{Child, Command, Stdio};
use tidegate_testkit::{MosquittoSub, mosquitto_pub};

/// mosquitto_rr gives up after this long.
const ANSWER_S: &str = "30";

/// Larger than what a read takes at a time.
const ANSWER_BYTES: usize = 100_000;

/// Asks `question` at `lab/questions`, and is answered at `lab/answers`.
#[track_caller]
fn ask(port: u16, args: &[&str]) -> Child {
    let mut command = Command::new("mosquitto_rr");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-W", ANSWER_S]);
    command.args(["-t", "lab/questions", "-e", "lab/answers", "-m", "question"]).args(args);
    command.stdout(Stdio::piped()).spawn().expect("mosquitto_rr runs: install mosquitto-clients, or run scripts/test")
}

/// With 3.1.1 who answers has to know where to; with 5 the question says so.
#[track_caller]
fn is_answered(port: u16, version: &str) {
    let said_with = if version == "mqttv5" { "MESSAGE %t %q %R %D %p" } else { "MESSAGE %t %q - - %p" };
    let questions = MosquittoSub::start(port, &["-V", version, "-q", "2", "-t", "lab/questions", "-F", said_with]);
    for (qos, n) in ["0", "1", "2"].into_iter().zip(1..) {
        let correlation = ["-D", "publish", "correlation-data", "66"];
        let properties = if version == "mqttv5" { &correlation[..] } else { &[] };
        let asking = ask(port, &[&["-V", version, "-q", qos], properties].concat());
        let asked = if version == "mqttv5" { "lab/answers 66" } else { "- -" };
        assert_eq!(questions.expect(n, PATIENCE)[n - 1], format!("lab/questions {qos} {asked} question"));
        let answer = qos.repeat(ANSWER_BYTES);
        mosquitto_pub(port, &[&["-V", version, "-t", "lab/answers", "-q", qos, "-m", &answer], properties].concat());
        let output = asking.wait_with_output().expect("an end of mosquitto_rr");
        assert!(output.status.success(), "{}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), answer);
    }
}

#[track_caller]
fn leaves_a_will(port: u16, version: &str) {
    let wills = MosquittoSub::start(port, &["-V", version, "-q", "2", "-t", "lab/will"]);
    let questions = MosquittoSub::start(port, &["-V", version, "-q", "2", "-t", "lab/questions"]);
    let will = ["--will-topic", "lab/will", "--will-payload", "gone", "--will-qos", "1"];
    let mut asking = ask(port, &[&["-V", version, "-q", "1"], &will[..]].concat());
    questions.expect(1, PATIENCE);
    asking.kill().expect("it runs");
    asking.wait().expect("its end");
    assert_eq!(wills.expect(1, PATIENCE), ["lab/will 1 0 gone"]);
}

#[track_caller]
fn at_both_brokers(version: &str) {
    let Box { device, office, tidegate: _running } = Box::start();
    for port in [device.port, office.port()] {
        is_answered(port, version);
        leaves_a_will(port, version);
    }
}

#[test]
fn mosquitto_rr_is_answered_with_3_1_1() {
    at_both_brokers("mqttv311");
}

#[test]
fn mosquitto_rr_is_answered_with_5() {
    at_both_brokers("mqttv5");
}
