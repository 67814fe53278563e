//! `tidegate top` on a terminal, which Python opens and a terminal emulator (pyte) reads.

use super::House;
use crate::fixture::{PATIENCE, run};
use std::process::Command;
use tidegate_testkit::{Tidegate, eventually};

const LIVE: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
import pyte

binary, config = sys.argv[1:]
screen = pyte.Screen(80, 24)
stream = pyte.ByteStream(screen)
pid, fd = pty.fork()
if pid == 0:
    os.execve(binary, [binary, "top", "--config", config], {**os.environ, "TERM": "xterm-256color"})

def resize(columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen.resize(rows, columns)

def read(seconds=0.2):
    if select.select([fd], [], [], seconds)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            return False
        stream.feed(data)
    return True

def text():
    return "\n".join(screen.display)

def wait(*words):
    end = time.monotonic() + 20
    while not all(word in text() for word in words):
        assert time.monotonic() < end and read(), f"no {words} in\n{text()}"

def press(keys):
    os.write(fd, keys)

def row(name):
    return next(at for at, line in enumerate(screen.display) if line.startswith(name))

resize(80, 24)
wait("test ", "ROUTEv", "telemetry", "backup", "q: quit")
wait("unchanged 1")
assert row("backup") < row("telemetry"), text()
press(b"r")
wait("ROUTE^")
assert row("telemetry") < row("backup"), text()
press(b"\x1b[D\x1b[D\x1b[D")
wait("UNDER WAYv")
assert row("backup") < row("telemetry"), "it waits for the cloud\n" + text()
press(b"2")
wait("BROKERv", "cloud1", "away")
press(b"\t")
wait("WAITS FORv", "cloud", "2")
press(b"4")
wait("PLUGINv", "celsius", "changes")
for columns, rows in [(130, 40), (60, 20), (40, 10), (80, 24)]:
    resize(columns, rows)
    wait("1 Routes")
press(b"q")
while read():
    pass
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert code == 0, code
print("good")
"#;

#[test]
fn it_is_live_sorted_and_fits_every_width() {
    let house = House::start("");
    let mut device = house.device();
    for _ in 0..2 {
        device.publish("dev/1/temp", b"{\"temp\":70}", 1, false).unwrap();
    }
    eventually("all is decided", PATIENCE, || house.get("status")["routes"].to_string().contains("\"unchanged\":1"));
    let python = std::env::var("TIDEGATE_TEST_PYTHON").expect("scripts/test sets it");
    let config = house.tidegate.dir().join("tidegate.toml");
    let output = Command::new(python).args(["-c", LIVE]).arg(Tidegate::binary()).arg(&config).output().expect("Python");
    assert!(output.status.success() && output.stdout == b"good\n", "{output:?}");
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let house = House::start("");
    let config = house.tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&["top", "--config", &config]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("status --json"), "{output:?}");
}
