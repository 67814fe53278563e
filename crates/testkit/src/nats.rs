//! Real nats-servers with JetStream, alone or as a cluster, on ports of their own.

use crate::nats_client::NatsClient;
use crate::process::{Process, command};
use crate::{free_port, within};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian puts it, which is not in everybody's PATH.
const BINARY: &str = "/usr/sbin/nats-server";

/// From the start to the first answer of JetStream; in a cluster that is after an election.
const DEADLINE: Duration = Duration::from_secs(30);

/// Another process may take a free port before the server does.
const START_ATTEMPTS: u32 = 5;

/// A running nats-server. Killed when dropped.
#[derive(Debug)]
pub struct Nats {
    // Before the directory, so that the process is gone when its files go.
    process: Process,
    dir: TempDir,
    name: String,
    port: u16,
}

impl Nats {
    /// One with JetStream.
    #[track_caller]
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same, with more lines of its configuration.
    #[track_caller]
    pub fn with(lines: &str) -> Self {
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::launch_new("alone", free_port(), lines) {
                Ok(server) => return server,
                Err(tail) => log = tail,
            }
        }
        panic!("nats-server does not start{log}");
    }

    fn launch_new(name: &str, port: u16, lines: &str) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a temporary directory for nats-server");
        let store = dir.path().join("store");
        let config = format!(
            "host: 127.0.0.1\nport: {port}\nserver_name: {name}\njetstream {{ store_dir: {:?} }}\n{lines}\n",
            store.display().to_string()
        );
        std::fs::write(dir.path().join("nats.conf"), config).expect("nats.conf written");
        let process = launch(dir.path())?;
        Ok(Self { process, dir, name: name.to_owned(), port })
    }

    /// Its port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What it has logged since it was (re)started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A client of it.
    #[track_caller]
    pub fn client(&self) -> NatsClient {
        NatsClient::connect(self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port with the same files.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        match launch(self.dir.path()) {
            Ok(process) => self.process = process,
            Err(tail) => panic!("nats-server does not start again{tail}"),
        }
    }
}

/// The end of the log, if it does not come up.
fn launch(dir: &Path) -> Result<Process, String> {
    let config = dir.join("nats.conf");
    let mut process = Process::spawn("nats-server", &mut command(BINARY, ["-c".as_ref(), config.as_os_str()]));
    within(DEADLINE, || process.log().contains("Server is ready") || !process.is_running());
    if process.is_running() { Ok(process) } else { Err(process.tail()) }
}

/// Three servers that are one JetStream.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<Nats>,
}

impl NatsCluster {
    /// Starts them and waits until they have a leader.
    #[track_caller]
    pub fn start() -> Self {
        const NAMES: [&str; 3] = ["one", "two", "three"];
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS {
            let routes: Vec<u16> = NAMES.iter().map(|_| free_port()).collect();
            let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
            let launch = |(name, port): (&&str, &u16)| {
                let lines =
                    format!("cluster {{ name: tide, host: 127.0.0.1, port: {port}, routes: [{}] }}", all.join(", "));
                Nats::launch_new(name, free_port(), &lines)
            };
            match NAMES.iter().zip(&routes).map(launch).collect::<Result<Vec<_>, _>>() {
                Ok(servers) => {
                    let cluster = Self { servers };
                    cluster.wait_for_leader();
                    return cluster;
                }
                Err(tail) => log = tail,
            }
        }
        panic!("three nats-servers do not start{log}");
    }

    /// One of the three.
    pub fn server(&mut self, at: usize) -> &mut Nats {
        &mut self.servers[at]
    }

    /// As the keys `url` and `servers` of a configuration.
    pub fn keys(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(Nats::url).collect();
        format!("url = {:?}\nservers = {:?}", urls[0], &urls[1..])
    }

    /// A client of the first server that runs.
    #[track_caller]
    pub fn client(&mut self) -> NatsClient {
        let mut servers = self.servers.iter_mut();
        let running = servers.find_map(|server| server.process.is_running().then_some(server));
        running.expect("a server that runs").client()
    }

    /// Which of them leads a stream.
    #[track_caller]
    pub fn leader_of(&mut self, stream: &str) -> usize {
        let mut client = self.client();
        let mut found = None;
        within(DEADLINE, || {
            let info = client.api(&format!("STREAM.INFO.{stream}"), "{}");
            let leader = info["cluster"]["leader"].as_str().unwrap_or_default().to_owned();
            found = self.servers.iter().position(|server| server.name == leader);
            found.is_some()
        });
        found.expect("the stream has a leader")
    }

    #[track_caller]
    fn wait_for_leader(&self) {
        let mut client = self.servers[0].client();
        // Not the account's answer, which comes without a leader; and not before all have met, for a stream wants three.
        let ready = within(DEADLINE, || {
            let made = client.api(
                "STREAM.CREATE.READY",
                r#"{"name":"READY","subjects":["ready"],"retention":"limits","storage":"memory","num_replicas":3,
                   "max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msg_size":-1,"discard":"old"}"#,
            );
            made["error"].is_null() && made["config"].is_object()
        });
        assert!(ready, "the three servers find no leader{}", self.servers[0].process.tail());
        client.api("STREAM.DELETE.READY", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_what_is_published_with_its_headers_over_a_kill() {
        let mut server = Nats::start();
        let mut client = server.client();
        client.make_stream("S", &["a.>"], r#""num_replicas":1"#);
        client.publish("a.b", &[("Zone", "north")], b"21");
        let mut wait = || client.messages("S").len() == 1;
        assert!(within(DEADLINE, &mut wait));
        server.kill();
        server.restart();
        let kept = server.client().messages("S");
        assert_eq!((kept[0].subject.as_str(), kept[0].payload.as_slice()), ("a.b", &b"21"[..]));
        assert_eq!(kept[0].headers, [("Zone".to_owned(), "north".to_owned())]);
    }

    #[test]
    fn a_cluster_of_three_outlives_the_leader_of_a_stream() {
        let mut cluster = NatsCluster::start();
        cluster.client().make_stream("S", &["a"], r#""num_replicas":3"#);
        let leader = cluster.leader_of("S");
        cluster.server(leader).kill();
        let ready = within(DEADLINE, || cluster.leader_of("S") != leader);
        assert!(ready);
    }
}
