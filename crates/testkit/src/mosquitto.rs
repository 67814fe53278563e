//! A real mosquitto, on ports of its own, with a configuration made for one test.

use crate::certs::{Certs, Identity};
use crate::process::{Process, command};
use crate::{free_port, within};
use std::fmt::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian puts it, which is not in everybody's PATH.
const BINARY: &str = "/usr/sbin/mosquitto";

/// From the start to the first accepted connection, and from SIGTERM to the end.
const DEADLINE: Duration = Duration::from_secs(10);

/// Another process may take a free port before mosquitto does.
const START_ATTEMPTS: u32 = 5;

/// What a mosquitto is to be like. Starts plain: one TCP listener, anonymous, nothing persistent, no queue limit.
#[derive(Debug, Default)]
pub struct MosquittoBuilder {
    tls: Option<Tls>,
    websockets: bool,
    users: Vec<(String, String)>,
    persistence: bool,
    max_inflight: Option<u16>,
    lines: String,
    listener_lines: String,
}

#[derive(Debug)]
struct Tls {
    ca: PathBuf,
    server: Identity,
    require_client: bool,
}

impl MosquittoBuilder {
    /// Also a TLS listener, with the server certificate of `certs`.
    pub fn tls(self, certs: &Certs) -> Self {
        self.tls_identity(certs, certs.server())
    }

    /// Also a TLS listener, with this certificate.
    pub fn tls_identity(mut self, certs: &Certs, server: &Identity) -> Self {
        let require_client = self.tls.is_some_and(|tls| tls.require_client);
        self.tls = Some(Tls { ca: certs.ca().to_owned(), server: server.clone(), require_client });
        self
    }

    /// The TLS listener wants a client certificate; its common name becomes the user name. Call it after `tls`.
    #[track_caller]
    pub fn require_client_cert(mut self) -> Self {
        self.tls.as_mut().expect("`tls` is called first").require_client = true;
        self
    }

    /// Also a WebSocket listener.
    pub fn websockets(mut self) -> Self {
        self.websockets = true;
        self
    }

    /// Nobody without a password any more; may be called for several users.
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.users.push((user.to_owned(), password.to_owned()));
        self
    }

    /// Sessions and retained messages survive `restart` (and, as far as mosquitto cares, `kill`).
    pub fn persistence(mut self, on: bool) -> Self {
        self.persistence = on;
        self
    }

    /// The window to one MQTT 3 subscriber; mosquitto's own is 20.
    pub fn max_inflight(mut self, messages: u16) -> Self {
        self.max_inflight = Some(messages);
        self
    }

    /// One more line of mosquitto.conf, before the listeners (a bridge, for instance).
    pub fn line(mut self, line: &str) -> Self {
        let _ = writeln!(self.lines, "{line}");
        self
    }

    /// One more line for the plain TCP listener.
    pub fn listener_line(mut self, line: &str) -> Self {
        let _ = writeln!(self.listener_lines, "{line}");
        self
    }

    /// Starts it and waits until it accepts connections.
    #[track_caller]
    pub fn start(self) -> Mosquitto {
        let dir = tempfile::tempdir().expect("a temporary directory for mosquitto");
        if !self.users.is_empty() {
            write_passwords(dir.path(), &self.users);
        }
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS {
            let port = free_port();
            let tls_port = self.tls.is_some().then(free_port);
            let ws_port = self.websockets.then(free_port);
            let config = self.config(dir.path(), port, tls_port, ws_port);
            std::fs::write(dir.path().join("mosquitto.conf"), config).expect("mosquitto.conf written");
            match launch(dir.path(), port) {
                Ok(process) => return Mosquitto { process, dir, port, tls_port, ws_port },
                Err(tail) => log = tail,
            }
        }
        panic!("mosquitto does not start{log}");
    }

    fn config(&self, dir: &Path, port: u16, tls_port: Option<u16>, ws_port: Option<u16>) -> String {
        let mut config = String::new();
        let mut put = |line: String| {
            config.push_str(&line);
            config.push('\n');
        };
        // Started as root it would become a user who may not write into our directory.
        put("user root".to_owned());
        put("log_dest stderr".to_owned());
        put(format!("allow_anonymous {}", self.users.is_empty()));
        if !self.users.is_empty() {
            put(format!("password_file {}", dir.join("passwords").display()));
        }
        put(format!("persistence {}", self.persistence));
        if self.persistence {
            put(format!("persistence_location {}/", dir.display()));
            // Written on every change: what it has acknowledged survives `kill`.
            put("autosave_on_changes true".to_owned());
            put("autosave_interval 1".to_owned());
        }
        put("max_queued_messages 0".to_owned());
        if let Some(messages) = self.max_inflight {
            put(format!("max_inflight_messages {messages}"));
        }
        put(self.lines.clone());
        put(format!("listener {port} 127.0.0.1"));
        put(self.listener_lines.clone());
        if let (Some(tls), Some(port)) = (&self.tls, tls_port) {
            put(format!("listener {port} 127.0.0.1"));
            put(format!("cafile {}", tls.ca.display()));
            put(format!("certfile {}", tls.server.cert.display()));
            put(format!("keyfile {}", tls.server.key.display()));
            if tls.require_client {
                put("require_certificate true\nuse_identity_as_username true".to_owned());
            }
        }
        if let Some(port) = ws_port {
            put(format!("listener {port} 127.0.0.1\nprotocol websockets"));
        }
        config
    }
}

/// A running mosquitto. Killed when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    // Before the directory, so that the process is gone when its files go.
    process: Process,
    dir: TempDir,
    port: u16,
    tls_port: Option<u16>,
    ws_port: Option<u16>,
}

impl Mosquitto {
    /// A plain one.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One that is not plain.
    pub fn builder() -> MosquittoBuilder {
        MosquittoBuilder::default()
    }

    /// Of the plain TCP listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the plain TCP listener, as `mqtt://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Of the TLS listener, as `mqtts://localhost:PORT`.
    #[track_caller]
    pub fn tls_url(&self) -> String {
        format!("mqtts://localhost:{}", self.tls_port())
    }

    /// Of the TLS listener.
    #[track_caller]
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("started with `tls`")
    }

    /// Of the WebSocket listener, as `ws://127.0.0.1:PORT`.
    #[track_caller]
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.ws_port.expect("started with `websockets`"))
    }

    /// The process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged since it was (re)started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGTERM, and waits for its end: connections close, persistence is written.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.terminate(DEADLINE);
    }

    /// SIGKILL: what it has not written is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it if it runs, and starts it again on the same ports with the same files.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.process.is_running() {
            self.stop();
        }
        match launch(self.dir.path(), self.port) {
            Ok(process) => self.process = process,
            Err(tail) => panic!("mosquitto does not start again{tail}"),
        }
    }
}

/// The end of the log, if it does not come up.
fn launch(dir: &Path, port: u16) -> Result<Process, String> {
    let config = dir.join("mosquitto.conf");
    let mut process = Process::spawn("mosquitto", &mut command(BINARY, ["-c".as_ref(), config.as_os_str()]));
    within(DEADLINE, || {
        // Its own word, and not only an open port: the port may be somebody else's.
        let up = process.log().contains(" running") && TcpStream::connect(("127.0.0.1", port)).is_ok();
        up || !process.is_running()
    });
    if process.is_running() { Ok(process) } else { Err(process.tail()) }
}

#[track_caller]
fn write_passwords(dir: &Path, users: &[(String, String)]) {
    let file = dir.join("passwords");
    std::fs::write(&file, "").expect("the password file");
    for (user, password) in users {
        let args = ["-b".as_ref(), file.as_os_str(), user.as_ref(), password.as_ref()];
        let output = command("mosquitto_passwd", args).output().expect("mosquitto_passwd runs");
        assert!(output.status.success(), "mosquitto_passwd: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, ClientOptions, Version};

    fn options(id: &str) -> ClientOptions {
        ClientOptions::new(Version::V311, id)
    }

    #[test]
    fn it_carries_a_message_and_shows_its_log() {
        let broker = Mosquitto::start();
        let mut client = Client::connect(broker.port(), &options("tide")).unwrap();
        client.subscribe(&[("a/#", 1)]).unwrap();
        client.publish("a/b", b"21", 1, false).unwrap();
        assert_eq!(client.receive(DEADLINE).unwrap().unwrap().payload, b"21");
        // Its lines come through a pipe, perhaps after the message.
        assert!(within(DEADLINE, || broker.log().contains("tide")), "{}", broker.log());
    }

    #[test]
    fn a_wrong_line_is_a_panic_with_the_log() {
        let failure = std::panic::catch_unwind(|| Mosquitto::builder().line("no_such_option 1").start());
        let message = *failure.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("no_such_option"), "{message}");
    }

    #[test]
    fn persistent_sessions_survive_a_restart_on_the_same_port_and_others_do_not() {
        for persistence in [true, false] {
            let mut broker = Mosquitto::builder().persistence(persistence).start();
            let port = broker.port();
            let mut client = Client::connect(port, &options("keeper").clean(false)).unwrap();
            assert!(!client.session_present());
            client.subscribe(&[("a", 1)]).unwrap();
            client.disconnect().unwrap();
            broker.restart();
            assert_eq!(broker.port(), port);
            let client = Client::connect(port, &options("keeper").clean(false)).unwrap();
            assert_eq!(client.session_present(), persistence);
        }
    }

    #[test]
    fn a_killed_one_is_gone_until_it_is_restarted() {
        let mut broker = Mosquitto::start();
        broker.kill();
        assert!(Client::connect(broker.port(), &options("a")).is_err());
        broker.restart();
        assert!(Client::connect(broker.port(), &options("a")).is_ok());
    }

    #[test]
    fn passwords_are_asked_for() {
        let broker = Mosquitto::builder().password("gull", "s3cret").start();
        assert!(Client::connect(broker.port(), &options("a")).is_err());
        assert!(Client::connect(broker.port(), &options("a").login("gull", "wrong")).is_err());
        assert!(Client::connect(broker.port(), &options("a").login("gull", "s3cret")).is_ok());
    }

    #[test]
    fn tls_and_websocket_listeners_answer() {
        let certs = Certs::new();
        let broker = Mosquitto::builder().tls(&certs).require_client_cert().websockets().start();
        let ca = certs.ca().to_str().unwrap();
        let (cert, key) = (certs.client().cert.to_str().unwrap(), certs.client().key.to_str().unwrap());
        let port = broker.tls_port().to_string();
        let publish = |more: &[&str]| {
            let args = ["-h", "localhost", "-p", &port, "--cafile", ca, "-t", "a", "-m", "1", "-q", "1"];
            command("mosquitto_pub", args.iter().chain(more)).output().unwrap().status.success()
        };
        assert!(publish(&["--cert", cert, "--key", key]));
        assert!(!publish(&[]), "a client certificate is required");
        let host = broker.ws_url().replace("ws://", "");
        assert!(TcpStream::connect(host).is_ok());
    }
}
