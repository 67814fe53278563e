//! TLS at the box's own broker: with mosquitto's clients, over tcp and WebSocket; certificates of clients, who they are by them, and
//! lists of those that are not good any more; certificates that are replaced while clients are connected.

use crate::fixture::{PATIENCE, run};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tidegate_testkit::{Certs, Identity, Tidegate, eventually, free_port};

/// An own broker with TLS, and what a client needs to speak with it.
struct Secure {
    port: u16,
    wss: u16,
    certs: Certs,
    tidegate: Tidegate,
}

impl Secure {
    /// `keys` are those of `tls` beside the certificate, `more` those of the broker.
    #[track_caller]
    fn start(keys: impl FnOnce(&Certs) -> String, more: &str, files: &[(&str, &str)]) -> Self {
        let (certs, port, wss) = (Certs::new(), free_port(), free_port());
        let Identity { cert, key, .. } = certs.server();
        let config = format!(
            "[brokers.device]\nembedded = true\nlisten = [\"mqtts://127.0.0.1:{port}\", \"wss://127.0.0.1:{wss}\"]\n{more}\n\
             [brokers.device.tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n{}\n",
            keys(&certs)
        );
        let mut builder = Tidegate::builder(&config)
            .file("server.pem", std::fs::read(cert).expect("a certificate"))
            .file("server.key", std::fs::read(key).expect("a key"));
        for (name, text) in files {
            builder = builder.file(name, text.as_bytes().to_vec());
        }
        Self { port, wss, certs, tidegate: builder.start() }
    }

    /// A client of mosquitto's, with a certificate if it has one.
    fn client(&self, program: &str, identity: Option<&Identity>, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "--cafile"]).arg(self.certs.ca());
        if let Some(Identity { cert, key, .. }) = identity {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        command.args(words);
        command
    }

    /// Waits for the one client.
    #[track_caller]
    fn hears(&self) {
        let clients = || self.tidegate.metrics().get("tidegate_own_clients", &[]);
        eventually("it is connected", PATIENCE, || clients() == Some(1.0));
        // It subscribes at once.
        std::thread::sleep(Duration::from_millis(500));
    }

    fn publish(&self, identity: Option<&Identity>, words: &[&str]) -> Output {
        let words = [&["-q", "1", "-m", "x"], words].concat();
        self.client("mosquitto_pub", identity, &words).output().expect("mosquitto_pub runs")
    }
}

fn failed(output: &Output) -> bool {
    !output.status.success()
}

#[test]
fn clients_of_mosquitto_are_served_with_tls() {
    let box_ = Secure::start(|_| String::new(), "", &[]);
    let hears = ["-t", "dev/#", "-C", "1", "-W", "10", "-V", "5"];
    let hearing =
        box_.client("mosquitto_sub", None, &hears).stdout(Stdio::piped()).spawn().expect("mosquitto_sub runs");
    box_.hears();
    let output = box_.publish(None, &["-t", "dev/1"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(hearing.wait_with_output().expect("it ends").stdout, b"x\n");
    // Who trusts somebody else is told by its own library, and the log says what it may be.
    let stranger = Certs::new();
    let mut distrusts = Command::new("mosquitto_pub");
    distrusts
        .args(["-h", "localhost", "-p", &box_.port.to_string(), "-t", "t", "-m", "x", "--cafile"])
        .arg(stranger.ca());
    assert!(failed(&distrusts.output().expect("mosquitto_pub runs")));
    // Who speaks none is told nothing that it could read, and the log says so.
    let mut plain = Command::new("mosquitto_pub");
    plain.args(["-h", "127.0.0.1", "-p", &box_.port.to_string(), "-t", "t", "-m", "x"]);
    assert!(failed(&plain.output().expect("mosquitto_pub runs")));
}

#[test]
fn a_page_is_served_over_a_websocket_with_tls() {
    let box_ = Secure::start(|_| String::new(), "", &[]);
    let script = "
import ssl, socket, base64, os, sys
context = ssl.create_default_context(cafile=sys.argv[2])
stream = context.wrap_socket(socket.create_connection(('localhost', int(sys.argv[1]))), server_hostname='localhost')
stream.sendall(b'GET /mqtt HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'
  b'Sec-WebSocket-Protocol: mqtt\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: ' + base64.b64encode(os.urandom(16)) + b'\\r\\n\\r\\n')
print(stream.recv(4096).split(b'\\r\\n')[0].decode())
";
    let mut python = Command::new("python3");
    python.args(["-c", script, &box_.wss.to_string()]).arg(box_.certs.ca());
    let output = python.output().expect("python3 runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "HTTP/1.1 101 Switching Protocols", "{output:?}");
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let keys = |certs: &Certs| {
        let revoked = certs.sign_client("revoked");
        let list = certs.revoke("clients", &[&revoked]);
        format!(
            "client_ca = \"{}\"\nclient_crl = \"{}\"\nidentity = \"common_name\"",
            certs.ca().display(),
            list.display()
        )
    };
    let box_ = Secure::start(keys, "acl_file = \"acl.txt\"", &[("acl.txt", "pattern write dev/%u/#\n")]);
    let dropped = || box_.tidegate.metrics().get("tidegate_own_dropped_total", &[("reason", "forbidden")]);
    let meter = box_.certs.sign_client("meter");
    let output = box_.publish(Some(&meter), &["-t", "dev/meter/1", "-u", "somebody", "-P", "else"]);
    assert!(output.status.success() && dropped() == Some(0.0), "{output:?}");
    let output = box_.publish(Some(&meter), &["-t", "dev/other/1", "-V", "5"]);
    eventually("it may not speak for others", PATIENCE, || dropped() == Some(1.0));
    drop(output);
    assert!(failed(&box_.publish(None, &["-t", "dev/meter/1"])), "a certificate is asked for");
    let stranger = Certs::new().sign_client("meter");
    assert!(failed(&box_.publish(Some(&stranger), &["-t", "dev/meter/1"])), "nobody here has signed it");
    // The first of these certificates was put on the list before the broker began.
    let revoked = Identity {
        cert: box_.certs.ca().with_file_name("revoked.pem"),
        key: box_.certs.ca().with_file_name("revoked.key"),
        serial: 0,
    };
    assert!(failed(&box_.publish(Some(&revoked), &["-t", "dev/revoked/1"])), "it was revoked");
    // A list that is saved holds for whoever comes from then on.
    let applied = || box_.tidegate.metrics().get("tidegate_reloads_total", &[]).unwrap_or_default();
    let before = applied();
    box_.certs.revoke("clients", &[&meter]);
    eventually("it is read", PATIENCE, || applied() > before);
    assert!(failed(&box_.publish(Some(&meter), &["-t", "dev/meter/1"])), "it is revoked now");
    assert!(box_.publish(Some(&revoked), &["-t", "dev/revoked/1"]).status.success(), "it is not any more");
}

/// The common name of the certificate that is shown to whoever asks for this host.
fn shown(port: u16, ca: &Path, host: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", host, "-CAfile"]).arg(ca);
    let output = command.stdin(Stdio::null()).output().expect("openssl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let subject = said.lines().find_map(|line| line.trim().strip_prefix("subject=")).unwrap_or(&said).to_owned();
    subject.rsplit(['=', ' ']).next().unwrap_or_default().to_owned()
}

#[test]
fn certificates_are_replaced_while_clients_are_connected_and_chosen_by_name() {
    let keys = |certs: &Certs| {
        let Identity { cert, key, .. } = certs.sign_server("plant", &["plant.example", "*.plant.example"]);
        format!("[[brokers.device.tls.certificates]]\ncert = \"{}\"\nkey = \"{}\"", cert.display(), key.display())
    };
    let box_ = Secure::start(keys, "", &[]);
    let ca = box_.certs.ca().to_owned();
    assert_eq!(shown(box_.port, &ca, "localhost"), "server");
    assert_eq!(shown(box_.port, &ca, "a.plant.example"), "plant");
    assert_eq!(shown(box_.port, &ca, "elsewhere.example"), "server");
    let hears = ["-t", "dev/#", "-C", "1", "-W", "20", "-i", "hearer"];
    let hearing =
        box_.client("mosquitto_sub", None, &hears).stdout(Stdio::piped()).spawn().expect("mosquitto_sub runs");
    box_.hears();
    let renewed = box_.certs.sign_server("renewed", &["localhost", "127.0.0.1"]);
    // The two are saved one after the other: what does not fit together is not taken.
    box_.tidegate.replace_file("server.pem", &std::fs::read(&renewed.cert).expect("a certificate"));
    box_.tidegate.wait_for_log("does not belong", PATIENCE);
    assert_eq!(shown(box_.port, &ca, "localhost"), "server");
    box_.tidegate.replace_file("server.key", &std::fs::read(&renewed.key).expect("a key"));
    eventually("it is shown", PATIENCE, || shown(box_.port, &ca, "localhost") == "renewed");
    assert!(box_.publish(None, &["-t", "dev/1"]).status.success());
    assert_eq!(hearing.wait_with_output().expect("it ends").stdout, b"x\n", "it stayed connected");
}

#[test]
fn a_rule_may_be_for_a_certificate_whatever_its_client_is_called() {
    let rule =
        "[[brokers.device.access]]\ncertificates = [\"meter\", \"meters.example\"]\nallow = { publish = [\"dev/#\"] }";
    let keys = |certs: &Certs| format!("client_ca = \"{}\"\n{rule}", certs.ca().display());
    let box_ = Secure::start(keys, "", &[]);
    let dropped = || box_.tidegate.metrics().get("tidegate_own_dropped_total", &[("reason", "forbidden")]);
    let (meter, other) = (box_.certs.sign_client("meter"), box_.certs.sign_client("other"));
    for words in [&["-t", "dev/1"][..], &["-t", "dev/1", "-u", "somebody", "-i", "other"]] {
        let output = box_.publish(Some(&meter), words);
        assert!(output.status.success() && dropped() == Some(0.0), "{output:?}");
    }
    box_.publish(Some(&other), &["-t", "dev/1", "-u", "meter", "-i", "meter"]);
    eventually("it has another", PATIENCE, || dropped() == Some(1.0));
    let config = box_.tidegate.dir().join("tidegate.toml").display().to_string();
    let explain = |more: &[&str]| {
        run(&[&["access", "explain", "--config", &config], more, &["publish", "dev/1"]].concat()).status.code()
    };
    assert_eq!(
        (explain(&["--certificate", "x", "--certificate", "meter"]), explain(&["--user", "meter"])),
        (Some(0), Some(1))
    );
}
