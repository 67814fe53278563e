//! `check` finds what `run` would refuse; what is wrong with one broker, or one address, stays there.

use super::*;
use crate::fixture::run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use tidegate_testkit::{Certs, Mosquitto, Script, free_port};

const FOUND_PROBLEMS: i32 = 1;

/// An address for documentation, which no machine has (RFC 5737).
const ABSENT: &str = "192.0.2.1";

/// Runs openssl in a directory; panics if it fails.
#[track_caller]
pub(super) fn openssl(dir: &Path, words: &str) -> String {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file that is its owner's alone.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("a file written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode set");
}

/// What `check` says of a configuration, whose files are in this directory.
fn check(dir: &Path, config: &str) -> (Output, String) {
    let path = dir.join("gw.toml");
    fs::write(&path, format!("[gateway]\nname = \"g\"\ndata_dir = \"data\"\n{config}")).expect("written");
    let output = run(&["check", "--config", &path.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

/// `check` refuses, and says all of these.
#[track_caller]
fn is_found(dir: &Path, config: &str, words: &[&str]) {
    let (output, said) = check(dir, config);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{words:?} is not found: {said}");
    for word in words {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "no `{word}` in\n{said}");
    }
}

/// A client certificate and its RSA key, and another key, in a directory.
struct Files {
    dir: TempDir,
    certs: Certs,
}

impl Files {
    fn new() -> Self {
        let (dir, certs) = (tempfile::tempdir().expect("a directory"), Certs::new());
        let files = Self { dir, certs };
        openssl(files.path(), "req -x509 -newkey rsa:2048 -nodes -keyout gw.key -out gw.pem -days 30 -subj /CN=gw");
        openssl(files.path(), "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.key");
        fs::copy(files.certs.ca(), files.at("ca.pem")).expect("copied");
        files
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).expect("a file")
    }

    fn config(keys: &str) -> String {
        link("b", "mqtts://broker.example:8883", "5", &format!("tls = {{ {keys} }}"))
    }

    #[track_caller]
    fn is_found(&self, keys: &str, words: &[&str]) {
        is_found(self.path(), &Self::config(keys), words);
    }
}

const GOOD: &str = r#"ca = "ca.pem", cert = "gw.pem", key = "gw.key""#;

#[test]
fn check_finds_a_key_with_a_passphrase() {
    let files = Files::new();
    let (output, said) = check(files.path(), &Files::config(GOOD));
    assert!(output.status.success(), "{said}");
    openssl(files.path(), "pkcs8 -topk8 -in gw.key -out locked.key -passout pass:x");
    openssl(files.path(), "rsa -aes256 -traditional -in gw.key -out old.key -passout pass:x");
    for key in ["locked.key", "old.key"] {
        fs::set_permissions(files.at(key), fs::Permissions::from_mode(0o600)).expect("a mode set");
        files.is_found(&GOOD.replace("gw.key", key), &[key, "passphrase", "key_password"]);
    }
}

#[test]
fn check_finds_a_certificate_and_a_key_that_do_not_belong_together() {
    let files = Files::new();
    files.is_found(&GOOD.replace("gw.key", "other.key"), &["gw.pem", "other.key"]);
    write(&files.at("chain.pem"), [files.read("ca.pem"), files.read("gw.pem")].concat());
    files.is_found(&GOOD.replace("gw.pem", "chain.pem"), &["chain.pem", "first certificate"]);
    files.is_found(r#"ca = "ca.pem", cert = "gw.key", key = "gw.pem""#, &["gw.key", "gw.pem", "certificate", "key"]);
}

#[test]
fn check_finds_files_that_hold_something_else() {
    let files = Files::new();
    openssl(files.path(), "x509 -in gw.pem -outform DER -out der.crt");
    openssl(files.path(), "x509 -in gw.pem -trustout -out trusted.pem");
    write(&files.at("empty.pem"), "");
    for (name, words) in [
        ("der.crt", &["der.crt", "der", "openssl x509"][..]),
        ("trusted.pem", &["trusted.pem", "trusted certificate"]),
        ("empty.pem", &["empty.pem", "empty"]),
    ] {
        files.is_found(&GOOD.replace("gw.pem", name), words);
        files.is_found(&GOOD.replace("ca.pem", name), words);
    }
    openssl(files.path(), "pkcs8 -topk8 -nocrypt -in gw.key -outform DER -out der.key");
    write(&files.at("empty.key"), "");
    fs::set_permissions(files.at("der.key"), fs::Permissions::from_mode(0o600)).expect("a mode set");
    files.is_found(&GOOD.replace("gw.key", "der.key"), &["der.key", "der"]);
    files.is_found(&GOOD.replace("gw.key", "empty.key"), &["empty.key", "empty"]);
}

#[test]
fn a_byte_order_mark_is_taken_or_told() {
    let files = Files::new();
    for name in ["gw.pem", "gw.key", "ca.pem"] {
        let marked = format!("bom-{name}");
        write(&files.at(&marked), [b"\xef\xbb\xbf".to_vec(), files.read(name)].concat());
        let (output, said) = check(files.path(), &Files::config(&GOOD.replace(name, &marked)));
        assert!(said.contains("byte order mark") || works_at_run(&files, &marked, name), "{output:?}: {said}");
    }
}

/// `run` gets as far as dialling.
fn works_at_run(files: &Files, marked: &str, name: &str) -> bool {
    let at = |name: &str| files.at(name).display().to_string();
    let keys = format!("ca = {:?}, cert = {:?}, key = {:?}", at("ca.pem"), at("gw.pem"), at("gw.key"));
    let config = link(
        "b",
        &format!("mqtts://127.0.0.1:{}", free_port()),
        "5",
        &format!("tls = {{ {} }}", keys.replace(name, marked)),
    );
    let mut tidegate = Tidegate::builder(&config).spawn();
    within(PATIENCE, || lines_with(&tidegate, &["not connected"]) > 0 || !tidegate.is_running());
    tidegate.is_running()
}

#[test]
fn a_key_with_a_passphrase_is_used_with_key_password() {
    let (certs, dir) = (Certs::new(), tempfile::tempdir().expect("a directory"));
    let key = certs.client().key.display().to_string();
    openssl(dir.path(), &format!("pkcs8 -topk8 -v2 aes256 -in {key} -out locked.key -passout pass:correct-horse"));
    fs::set_permissions(dir.path().join("locked.key"), fs::Permissions::from_mode(0o600)).expect("a mode set");
    write(&dir.path().join("passphrase"), "correct-horse\n");
    let t = Mosquitto::builder().tls(&certs).require_client_cert().start();
    let tls = format!(
        "tls = {{ ca = {:?}, cert = {:?}, key = {:?}, key_password = {{ file = {:?} }} }}",
        certs.ca(),
        certs.client().cert,
        dir.path().join("locked.key"),
        dir.path().join("passphrase")
    );
    let s = ScriptedBroker::start(Script::new());
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.tls_url(), "5", &tls)
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let tidegate = Tidegate::start(&config);
    assert!(!tidegate.log().contains("correct-horse"));
    write(&dir.path().join("passphrase"), "incorrect-mule\n");
    is_found(dir.path(), &link("t", "mqtts://localhost:1", "5", &tls), &["locked.key", "key_password"]);
}

#[test]
fn check_finds_users_that_run_would_refuse() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = "[brokers.own]\nembedded = true\nusers = \"users.txt\"\nlisten = [\"mqtt://127.0.0.1:1\"]\n";
    let again = "tidegate user passwd NAME";
    for (line, told) in [
        ("u:$6$salt$c29tZXRoaW5n", again),
        ("u:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", again),
        ("u:$5$salt$aGFzaA", again),
        ("u:plain", "mosquitto_passwd -U"),
    ] {
        write(&dir.path().join("users.txt"), format!("{line}\n"));
        is_found(dir.path(), config, &["users.txt", told]);
    }
}

#[test]
fn check_finds_a_socket_whose_path_is_too_long() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = format!("/run/{}", "x".repeat(120));
    is_found(dir.path(), &link("b", &format!("unix://{long}"), "5", ""), &["107", "path"]);
    is_found(dir.path(), &format!("[admin]\nlisten = \"unix:{long}\"\n"), &["107", "path"]);
}

#[test]
fn check_warns_of_a_password_file_that_is_empty_or_begins_with_a_mark() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = link("b", "mqtt://broker.example", "5", "username = \"u\"\npassword = { file = \"pass\" }");
    for (bytes, word) in [(&b""[..], "empty"), (b"\n", "empty"), (b"\xef\xbb\xbfsecret\n", "byte order mark")] {
        write(&dir.path().join("pass"), bytes);
        let (output, said) = check(dir.path(), &config);
        let warned = said.lines().any(|line| line.contains("warning") && line.contains("pass") && line.contains(word));
        assert!(warned && output.status.success(), "{word}: {said}");
    }
}

/// Two brokers that are well beside one whose files are not.
#[test]
fn one_bad_file_of_one_broker_keeps_only_that_from_starting() {
    let files = Files::new();
    openssl(files.path(), "pkcs8 -topk8 -in gw.key -out locked.key -passout pass:x");
    fs::set_permissions(files.at("locked.key"), fs::Permissions::from_mode(0o600)).expect("a mode set");
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}", files.at("gw.pem"), files.at("locked.key"));
    let config = line(&s, &t, "5", &["a/#"])
        + &link("bad", "mqtts://127.0.0.1:1", "5", &tls)
        + &named_route("other", "s", &["b/#"], 1, &["bad"], "");
    let mut tidegate = Tidegate::builder(&config).spawn();
    let up = within(PATIENCE, || s.filters().len() == 2 || !tidegate.is_running());
    assert!(up && tidegate.is_running(), "{}", tidegate.log());
    send(&s, "a/b", 1, ["m".to_owned()]);
    arrives(&t, "m");
    not_ready(&tidegate, &["bad", "locked.key"]);
    says(&tidegate, &["bad", "locked.key"]);
}

/// A users file that `run` takes.
fn users(dir: &Path) -> String {
    let path = dir.join("users.txt");
    let output = Command::new("mosquitto_passwd").args(["-c", "-b"]).arg(&path).args(["u", "p"]).output();
    assert!(output.expect("mosquitto_passwd runs").status.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode set");
    format!("users = {path:?}")
}

#[test]
fn an_address_that_is_not_there_yet_keeps_only_that_listener_away() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let dir = tempfile::tempdir().expect("a directory");
    let there = free_port();
    let own = format!(
        "[brokers.own]\nembedded = true\n{}\nlisten = [\"mqtt://127.0.0.1:{there}\", \"mqtt://{ABSENT}:1883\"]\n",
        users(dir.path())
    );
    let config = line(&s, &t, "5", &["a/#"]) + &own + &named_route("own", "own", &["b/#"], 1, &["t"], "");
    let mut tidegate = Tidegate::builder(&config).spawn();
    let up = within(PATIENCE, || !s.filters().is_empty() || !tidegate.is_running());
    assert!(up && tidegate.is_running(), "{}", tidegate.log());
    send(&s, "a/b", 1, ["m".to_owned()]);
    arrives(&t, "m");
    not_ready(&tidegate, &["own", ABSENT]);
    says(&tidegate, &["warn", ABSENT]);
    let login = tidegate_testkit::ClientOptions::new(tidegate_testkit::Version::V5, "c").login("u", "p");
    tidegate_testkit::Client::connect(there, &login).expect("the other listener is there");
}

#[test]
fn an_admin_address_that_is_not_there_yet_keeps_only_that_away() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let config = line(&s, &t, "5", &["a/#"]) + &format!("[admin]\nlisten = \"{ABSENT}:9180\"\nallow_remote = true\n");
    let mut tidegate = Tidegate::builder(&config).spawn();
    let up = within(PATIENCE, || !s.filters().is_empty() || !tidegate.is_running());
    assert!(up && tidegate.is_running(), "{}", tidegate.log());
    send(&s, "a/b", 1, ["m".to_owned()]);
    arrives(&t, "m");
    says(&tidegate, &["warn", ABSENT]);
}

/// In words, before any link is opened, and so that systemd tries again: the one who has it may go.
#[test]
fn a_port_that_is_taken_ends_the_start_before_any_link_is_opened() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let own = format!("[brokers.own]\nembedded = true\nlisten = [\"mqtt://{address}\"]\n");
    for more in [own, format!("[admin]\nlisten = \"{address}\"\n")] {
        let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
        let mut tidegate = Tidegate::builder(&(line(&s, &t, "5", &["a/#"]) + &more)).spawn();
        let status = tidegate.wait(PATIENCE).expect("it ends");
        says(&tidegate, &[&address]);
        let code = status.code().expect("an exit code");
        assert!(code != 0 && !prevents_restart(code), "{code} is not tried again\n{}", tidegate.log());
        assert_eq!(s.connections() + t.connections(), 0, "no link is opened");
    }
}

/// Whether the shipped unit gives up at this exit code.
fn prevents_restart(code: i32) -> bool {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tidegate.service");
    let text = fs::read_to_string(unit).expect("the unit");
    let codes = text.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).expect("its line");
    codes.split(' ').any(|listed| listed == code.to_string())
}

#[test]
fn a_set_is_ready_while_one_member_takes_messages() {
    for policy in ["failover", "balance"] {
        let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
        let config = link("s", &s.url(), "5", "")
            + &link("t", &t.url(), "5", "")
            + &link("away", &format!("mqtt://127.0.0.1:{}", free_port()), "5", "")
            + &format!("[targets.up]\npolicy = \"{policy}\"\nmembers = [\"away\", \"t\"]\n")
            + &named_route("r", "s", &["a/#"], 1, &["up"], "");
        let tidegate = Tidegate::builder(&config).spawn();
        ready(&tidegate);
        send(&s, "a/b", 1, ["m".to_owned()]);
        arrives(&t, "m");
        t.cut(&tidegate_testkit::End::fin());
        drop(t);
        not_ready(&tidegate, &["t"]);
    }
}
