//! The real binary, with a configuration in a directory of its own.

use crate::process::{Process, command};
use crate::{Metrics, free_port, within};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;

/// Says which binary to run, before its neighbours are looked at.
const BINARY_VARIABLE: &str = "TIDEGATE_BIN";

/// An answer of the admin socket.
const ADMIN: Duration = Duration::from_secs(5);

/// From the start to ready.
const READY: Duration = Duration::from_secs(20);

/// How a Tidegate is to be started.
#[derive(Debug)]
pub struct TidegateBuilder {
    config: String,
    binary: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl TidegateBuilder {
    /// Another binary than [`Tidegate::binary`].
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// One more argument after `run --config FILE`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file beside the configuration: a plugin, a password.
    pub fn file(mut self, relative: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((relative.into(), bytes.into()));
        self
    }

    /// Starts it and waits until `/ready` says yes.
    #[track_caller]
    pub fn start(self) -> Tidegate {
        let mut tidegate = self.spawn();
        tidegate.wait_ready(READY);
        tidegate
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub fn spawn(self) -> Tidegate {
        let binary = self.binary.clone().unwrap_or_else(Tidegate::binary);
        assert!(binary.is_file(), "no tidegate at {}: build it first, or set {BINARY_VARIABLE}", binary.display());
        let dir = tempfile::tempdir().expect("a temporary directory for tidegate");
        let admin_port = free_port();
        for (relative, bytes) in &self.files {
            replace(&dir.path().join(relative), bytes);
        }
        let config = complete(&self.config, dir.path(), admin_port);
        replace(&config_path(dir.path()), config.as_bytes());
        let process = launch(&binary, dir.path(), &self.args, &self.env);
        Tidegate { process, dir, binary, args: self.args, env: self.env, admin_port }
    }
}

/// A running Tidegate. Killed when dropped.
#[derive(Debug)]
pub struct Tidegate {
    // Before the directory, so that the process is gone when its files go.
    process: Process,
    dir: TempDir,
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    admin_port: u16,
}

impl Tidegate {
    /// With this configuration. `{dir}` stands for its directory; `[gateway]` and `[admin]` are added where they are
    /// missing.
    pub fn builder(config: &str) -> TidegateBuilder {
        TidegateBuilder {
            config: config.to_owned(),
            binary: None,
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Builder and start in one.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::builder(config).start()
    }

    /// Where the binary is: in `TIDEGATE_BIN`, or built beside the running test.
    pub fn binary() -> PathBuf {
        if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
            return path.into();
        }
        // A test is in target/PROFILE/deps, another binary in target/PROFILE.
        let here = std::env::current_exe().unwrap_or_default();
        let folders = here.ancestors().skip(1).take(2);
        let found = folders.map(|folder| folder.join("tidegate")).find(|path| path.is_file());
        found.unwrap_or_else(|| here.with_file_name("tidegate"))
    }

    /// The process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its directory: configuration, plugins, data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has written to standard error and output since it was (re)started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until these words stand in its log: a line comes a moment after what it tells of. Panics with the log if
    /// they have not come by then.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str, deadline: Duration) {
        let said = within(deadline, || self.log().contains(words));
        assert!(said, "no `{words}` within {deadline:?}{}", self.process.tail());
    }

    /// True until it has ended.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Waits for its end; none if it still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.process.wait(deadline)
    }

    /// Waits until `/ready` says yes; panics with its log if it ends before, or at the deadline.
    #[track_caller]
    pub fn wait_ready(&mut self, deadline: Duration) {
        let ready = within(deadline, || self.is_ready() || !self.process.is_running()) && self.process.is_running();
        assert!(ready, "tidegate is not ready within {deadline:?}{}", self.process.tail());
    }

    /// What `/ready` says now.
    pub fn is_ready(&self) -> bool {
        self.get("/ready").is_ok_and(|(status, _)| status == 200)
    }

    /// A request to the admin socket: status and body.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        http_get(self.admin_port, path)
    }

    /// The counters now.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        match self.get("/metrics") {
            Ok((200, body)) => Metrics::parse(&body),
            other => panic!("/metrics says {other:?}{}", self.process.tail()),
        }
    }

    /// Another configuration, written aside and renamed, as an editor does.
    #[track_caller]
    pub fn edit_config(&self, config: &str) {
        replace(&config_path(self.dir()), complete(config, self.dir(), self.admin_port).as_bytes());
    }

    /// Another configuration, written over the old one.
    #[track_caller]
    pub fn edit_config_in_place(&self, config: &str) {
        let config = complete(config, self.dir(), self.admin_port);
        std::fs::write(config_path(self.dir()), config).expect("the configuration written");
    }

    /// Another version of a file beside the configuration, written aside and renamed.
    #[track_caller]
    pub fn replace_file(&self, relative: impl AsRef<Path>, bytes: &[u8]) {
        replace(&self.dir().join(relative), bytes);
    }

    /// Reload.
    pub fn sighup(&mut self) {
        self.process.signal(rustix::process::Signal::HUP);
    }

    /// SIGTERM, and waits for its end; panics at the deadline.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.process.terminate(deadline)
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same directory, after it has ended, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.relaunch();
        self.wait_ready(READY);
    }

    /// Starts it again and does not wait: it is ready only when every broker is there.
    #[track_caller]
    pub fn relaunch(&mut self) {
        self.process.kill();
        self.process = launch(&self.binary, self.dir.path(), &self.args, &self.env);
    }
}

fn http_get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ADMIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.into() };
    Ok((status, body))
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || size > after.len() {
            break;
        }
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

fn config_path(dir: &Path) -> PathBuf {
    dir.join("tidegate.toml")
}

fn complete(config: &str, dir: &Path, admin_port: u16) -> String {
    let mut text = config.replace("{dir}", &dir.display().to_string());
    let has = |text: &str, table: &str| text.lines().any(|line| line.trim_start().starts_with(table));
    if !has(&text, "[gateway]") {
        text.push_str(&format!("\n[gateway]\nname = \"test\"\ndata_dir = \"{}\"\n", dir.join("data").display()));
    }
    if !has(&text, "[admin]") {
        text.push_str(&format!("\n[admin]\nlisten = \"127.0.0.1:{admin_port}\"\n"));
    }
    text
}

#[track_caller]
fn replace(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("aside");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder for the file");
    }
    std::fs::write(&aside, bytes).expect("the file written aside");
    // It may be a password or a key.
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).expect("the file made private");
    std::fs::rename(&aside, path).expect("the file renamed");
}

#[track_caller]
fn launch(binary: &Path, dir: &Path, args: &[String], env: &[(String, String)]) -> Process {
    let mut command = command(binary, ["run", "--config"]);
    command.arg(config_path(dir)).args(args).current_dir(dir);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Process::spawn("tidegate", &mut command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SOON: Duration = Duration::from_secs(10);

    /// Stands in for the binary: an admin socket that knows how it was started and what the signals did.
    const STAND_IN: &str = r##"#!/usr/bin/python3
import http.server, re, signal, sys
config = sys.argv[3]
assert sys.argv[1:3] == ["run", "--config"], sys.argv
state = {"reloads": 0}
def reload(*_): state["reloads"] += 1
def leave(*_): sys.exit(0)
signal.signal(signal.SIGHUP, reload); signal.signal(signal.SIGTERM, leave)
text = open(config).read()
port = int(re.search(r'listen = "127.0.0.1:(\d+)"', text).group(1))
class Admin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(config).read() if self.path == "/config" else "# HELP x y\nreloads_total{of=\"a\"} %d\n" % state["reloads"]
        self.send_response(200 if self.path != "/no" else 404); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *_): pass
print("here I am", file=sys.stderr, flush=True)
http.server.HTTPServer(("127.0.0.1", port), Admin).serve_forever()
"##;

    fn stand_in(dir: &TempDir) -> PathBuf {
        let path = dir.path().join("stand-in");
        std::fs::write(&path, STAND_IN).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn it_is_started_told_and_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Tidegate::builder("a = \"{dir}/x\"").binary(stand_in(&dir)).file("plugins/p.wasm", *b"v1");
        let mut tidegate = builder.start();
        assert!(tidegate.log().contains("here I am"));
        assert_eq!(std::fs::read(tidegate.dir().join("plugins/p.wasm")).unwrap(), b"v1");
        let config = tidegate.get("/config").unwrap().1;
        assert!(config.contains(&format!("a = \"{}/x\"", tidegate.dir().display())), "{config}");
        assert!(config.contains("[gateway]") && config.contains("[admin]"));
        assert_eq!(tidegate.get("/no").unwrap().0, 404);

        tidegate.sighup();
        crate::eventually("SIGHUP arrives", SOON, || tidegate.metrics().get("reloads_total", &[]) == Some(1.0));
        tidegate.edit_config("b = 1");
        assert!(tidegate.get("/config").unwrap().1.starts_with("b = 1"));
        tidegate.edit_config_in_place("c = 1");
        assert!(tidegate.get("/config").unwrap().1.starts_with("c = 1"));
        tidegate.restart();
        assert_eq!(tidegate.metrics().get("reloads_total", &[("of", "a")]), Some(0.0));
        assert_eq!(tidegate.terminate(SOON).code(), Some(0));
        assert!(!tidegate.is_ready());
    }

    #[test]
    #[should_panic(expected = "no such thing")]
    fn one_that_ends_at_once_is_a_panic_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = stand_in(&dir);
        std::fs::write(&path, "#!/bin/sh\necho no such thing >&2; exit 78\n").unwrap();
        Tidegate::builder("").binary(path).start();
    }

    #[test]
    fn chunked_answers_are_joined() {
        assert_eq!(dechunk("4\r\ntide\r\n5\r\ngate\n\r\n0\r\n\r\n"), "tidegate\n");
    }
}
