//! Other people's clients: mosquitto_pub, mosquitto_sub, and Python for paho.

use crate::process::{Process, command};
use crate::{eventually, within};
use std::time::Duration;

/// Debian's, which sees Debian's python3-paho-mqtt.
const PYTHON: &str = "/usr/bin/python3";

/// From the start of mosquitto_sub to its SUBACK.
const SUBSCRIBED: Duration = Duration::from_secs(10);

/// Marks a line of mosquitto_sub that is a message: topic, QoS, retain flag, payload.
const FORMAT: &str = "MESSAGE %t %q %r %p";

/// Runs mosquitto_pub with these arguments to its end; panics if it fails.
#[track_caller]
pub fn mosquitto_pub(port: u16, args: &[&str]) {
    let port = port.to_string();
    let all = ["-h", "127.0.0.1", "-p", &port];
    let output = command("mosquitto_pub", all.iter().chain(args)).output().expect("mosquitto_pub runs");
    assert!(output.status.success(), "mosquitto_pub {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A running mosquitto_sub. Killed when dropped.
#[derive(Debug)]
pub struct MosquittoSub(Process);

impl MosquittoSub {
    /// Starts it with these arguments, and waits until it is subscribed.
    #[track_caller]
    pub fn start(port: u16, args: &[&str]) -> Self {
        let port = port.to_string();
        // Into a pipe it would write only when it has a page full, or a message.
        let all = ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port, "-d", "-F", FORMAT];
        let mut process = Process::spawn("mosquitto_sub", &mut command("stdbuf", all.iter().chain(args)));
        within(SUBSCRIBED, || process.log().contains("Subscribed (mid") || !process.is_running());
        assert!(process.is_running(), "mosquitto_sub {args:?} is not subscribed{}", process.tail());
        Self(process)
    }

    /// What has come so far, one line each: topic, QoS, retain flag (0 or 1), payload.
    pub fn lines(&self) -> Vec<String> {
        let log = self.0.log();
        log.lines().filter_map(|line| line.strip_prefix("MESSAGE ")).map(str::to_owned).collect()
    }

    /// Waits until so many have come; panics if they do not.
    #[track_caller]
    pub fn expect(&self, count: usize, deadline: Duration) -> Vec<String> {
        eventually(&format!("{count} messages at mosquitto_sub"), deadline, || self.lines().len() >= count);
        self.lines()
    }
}

/// Runs a Python script to its end and gives back what it printed; panics with its standard error if it fails or takes
/// longer than `deadline`.
#[track_caller]
pub fn python(script: &str, args: &[&str], deadline: Duration) -> String {
    let limit = deadline.as_secs_f64().to_string();
    let all = ["-k", "1", &limit, PYTHON, "-c", script];
    let output = command("timeout", all.iter().chain(args)).output().expect("python3 runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the script ends with {} after at most {deadline:?}:\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mosquitto;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn what_pub_sends_sub_shows() {
        let broker = Mosquitto::start();
        let sub = MosquittoSub::start(broker.port(), &["-t", "a/#", "-q", "2"]);
        mosquitto_pub(broker.port(), &["-t", "a/b", "-q", "2", "-m", "two words"]);
        // A message of QoS 2 is shown only when it is released: one of QoS 0 would overtake it.
        sub.expect(1, SOON);
        mosquitto_pub(broker.port(), &["-V", "5", "-t", "a/c", "-m", "x", "-r"]);
        assert_eq!(sub.expect(2, SOON), ["a/b 2 0 two words", "a/c 0 0 x"]);
        let late = MosquittoSub::start(broker.port(), &["-V", "5", "-t", "a/c"]);
        assert_eq!(late.expect(1, SOON), ["a/c 0 1 x"]);
    }

    #[test]
    #[should_panic(expected = "mosquitto_pub")]
    fn a_failed_publish_is_a_panic() {
        mosquitto_pub(crate::free_port(), &["-t", "a", "-m", "1"]);
    }

    #[test]
    fn python_prints_and_fails_in_words() {
        assert_eq!(python("import sys; print(sys.argv[1])", &["tide"], SOON), "tide\n");
        let failure = std::panic::catch_unwind(|| python("raise SystemExit('aground')", &[], SOON));
        assert!(failure.unwrap_err().downcast::<String>().unwrap().contains("aground"));
        let hangs = std::panic::catch_unwind(|| python("while True: pass", &[], Duration::from_millis(300)));
        assert!(hangs.is_err());
    }
}
