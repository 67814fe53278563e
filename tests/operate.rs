//! A gateway as its operator sees it: the interface, the page, the terminal; and who may do what.

mod access;
mod any_request;
mod api;
mod clients;
mod collected;
mod events;
mod metrics;
mod page;
mod paused;
mod terminal;
mod top;
mod traced;

use crate::fixture::{PATIENCE, broker, plugin, run};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, TidegateBuilder, Version, eventually, free_port};

/// A house and an office, both own brokers, and a cloud of which nobody answers.
pub(crate) struct House {
    pub(crate) tidegate: Tidegate,
    /// `127.0.0.1:PORT` of the admin listener.
    pub(crate) admin: String,
    pub(crate) home: u16,
    /// Away, until a test has it come back.
    pub(crate) cloud: Mosquitto,
}

/// What `[admin]` says beside the address: the token of the tests is `sesame`.
pub(crate) const CONTROL: &str = "control = true\ntoken = { env = \"CONTROL\" }\n";

/// Telemetry goes through two plugins, one of which rejects what is no JSON; all that devices say is for the cloud too.
pub(crate) fn config(admin: u16, home: u16, office: u16, cloud: u16, keys: &str) -> String {
    let own =
        |name: &str, port: u16| format!("[brokers.{name}]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n");
    format!(
        "[admin]\nlisten = \"127.0.0.1:{admin}\"\n{keys}{}{}{}\
         [targets.cloud]\npolicy = \"failover\"\nmembers = [\"cloud1\"]\n\
         [plugins.celsius]\npath = \"convert.wasm\"\n\
         config = {{ field = \"temp\", from = \"fahrenheit\", to = \"celsius\", round = 1, on_missing = \"reject\" }}\n\
         [plugins.changes]\npath = \"changes.wasm\"\n\
         [[routes]]\nname = \"telemetry\"\nfrom = {{ broker = \"home\", topics = [\"dev/+/temp\"], qos = 1 }}\n\
         plugins = [\"celsius\", \"changes\"]\nto = [\"office\"]\nremap = {{ prefix = \"site/\" }}\n\
         [[routes]]\nname = \"backup\"\nfrom = {{ broker = \"home\", topics = [\"dev/#\"], qos = 1 }}\nto = [\"cloud\"]\n",
        own("home", home),
        own("office", office),
        broker("cloud1", &format!("mqtt://127.0.0.1:{cloud}"), "reconnect = { min = \"100ms\", max = \"200ms\" }"),
    )
}

fn files(builder: TidegateBuilder) -> TidegateBuilder {
    builder
        .file("convert.wasm", plugin("convert"))
        .file("changes.wasm", plugin("drop-unchanged"))
        .env("CONTROL", "sesame")
}

impl House {
    pub(crate) fn start(keys: &str) -> Self {
        let [admin, home, office] = [(); 3].map(|()| free_port());
        let mut cloud = Mosquitto::start();
        cloud.kill();
        let tidegate = files(Tidegate::builder(&config(admin, home, office, cloud.port(), keys))).spawn();
        let house = Self { tidegate, admin: format!("127.0.0.1:{admin}"), home, cloud };
        eventually("the admin listener is there", PATIENCE, || TcpStream::connect(&house.admin).is_ok());
        eventually("routes are there", PATIENCE, || {
            house.get("status")["routes"].as_array().is_some_and(|all| all.len() == 2)
        });
        house
    }

    pub(crate) fn device(&self) -> Client {
        Client::connect(self.home, &ClientOptions::new(Version::V5, "device").clean(true)).expect("a device")
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/api/v1/{path}"), &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// One request: its status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        ask(&self.admin, method, path, headers, body)
    }

    /// What `tidegate WORDS --config FILE` prints.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let config = self.tidegate.dir().join("tidegate.toml").display().to_string();
        let output = run(&[words, &["--config", &config]].concat());
        assert!(output.status.success(), "{words:?}: {output:?}\n{}", self.tidegate.log());
        String::from_utf8(output.stdout).expect("text")
    }
}

pub(crate) fn ask(admin: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).expect("the admin listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("a request that is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {answer}")), body.to_owned())
}
