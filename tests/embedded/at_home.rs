//! A script of another client at home on the box's own broker: what it must say, and what must come to the office.

use super::Embedded;
use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_testkit::{Mosquitto, MosquittoSub, Tidegate, mosquitto_pub};

/// What the scripts say when all is well, in this order.
const CHECKS: [&str; 7] = ["every_qos", "retained", "will", "shared", "session", "properties", "office"];

/// A script may take this long.
const SCRIPT_S: &str = "90";

/// `device`, the box's own, and `office`, a mosquitto: `dev` goes there, `cmd` comes from there.
pub(super) struct Box {
    pub(super) device: Embedded,
    pub(super) office: Mosquitto,
    pub(super) tidegate: Tidegate,
}

impl Box {
    #[track_caller]
    pub(super) fn start() -> Self {
        let (device, office) = (Embedded::new("device"), Mosquitto::start());
        let mut config = device.config() + &broker("office", &office.url(), "");
        config += &route("device", &["dev/#"], &["office"], "");
        config += &route("office", &["cmd/#"], &["device"], "");
        let tidegate = Tidegate::start(&config);
        Self { device, office, tidegate }
    }
}

/// A Python that has this module.
#[track_caller]
pub(super) fn python(module: &str) -> PathBuf {
    let python = std::env::var_os("TIDEGATE_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let import = format!("import {module}");
    let has_it = Command::new(&python).args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    assert!(
        has_it,
        "{} has no {module}: run scripts/test, which installs it, or set TIDEGATE_TEST_PYTHON to a Python that has it",
        python.display()
    );
    python
}

/// This program, ended when it takes too long.
pub(super) fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", SCRIPT_S]).arg(program);
    command
}

/// A script of this folder.
pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded").join(name)
}

/// Runs a script by this program against the box's own broker, and looks at what has come to the office.
#[track_caller]
pub(super) fn at_home(mut program: Command, name: &str, transport: &str, version: &str) {
    let Box { device, office, tidegate } = Box::start();
    mosquitto_pub(office.port(), &["-t", "cmd/go", "-q", "1", "-r", "-m", "now"]);
    let at_office = MosquittoSub::start(office.port(), &["-t", "dev/#", "-q", "2"]);
    let port = if transport == "ws" { device.ws_port } else { device.port };
    let arguments = [&port.to_string(), transport, version];
    let output = program.arg(script(name)).args(arguments).output().expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().collect::<Vec<_>>(), CHECKS, "the script ends with {}:\n{errors}", output.status);
    let mut came = at_office.expect(3, PATIENCE);
    came.sort();
    assert_eq!(came, [0, 1, 2].map(|qos| format!("dev/{qos} {qos} 0 to the office")));
    assert_balanced(&tidegate);
}
