//! The demo on a terminal, which Python opens and reads as one would: 80 columns, then others.

use crate::fixture::PATIENCE;
use tidegate_testkit::{Tidegate, python};

/// A terminal that knows what the demo writes, and fails at anything else and at a line that is too long.
const TERMINAL: &str = r#"
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

class Terminal:
    def __init__(self, command, columns, rows, env={}):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, {**os.environ, "TERM": "xterm", **env})
        self.resize(columns, rows)
        self.text, self.other, self.row, self.column, self.rest = {}, False, 0, 0, ""

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.2):
        """Takes what has come; false at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.rest += data.decode()
        while self.rest:
            match = re.match(r"\x1b\[(\??[0-9;]*)([a-zA-Z])", self.rest)
            if match:
                self.control(*match.groups())
                self.rest = self.rest[match.end():]
            elif self.rest[0] == "\x1b" and data and len(self.rest) < 16:
                break
            else:
                self.character(self.rest[0])
                self.rest = self.rest[1:]
        return bool(data)

    def control(self, numbers, what):
        if what == "h" or what == "l":
            if numbers == "?1049":
                self.other = what == "h"
        elif what == "H":
            self.row = self.column = 0
        elif what == "K" and numbers == "2":
            self.text[self.row] = {}
        elif what == "J":
            for row in range(self.row, 1000):
                self.text.pop(row, None)
        elif what != "m":
            raise SystemExit(f"unknown: {numbers}{what}")

    def character(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.row += 1
        else:
            # A picture for the size before may be on its way.
            if self.other and time.monotonic() > self.settled and (self.column >= self.columns or self.row >= self.rows):
                raise SystemExit(f"{c!r} at {self.column}, {self.row} of {self.columns}x{self.rows}\n{self.screen()}")
            self.text.setdefault(self.row, {})[self.column] = c
            self.column += 1

    settled = 0

    def screen(self):
        line = lambda cells: "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))
        return "\n".join(line(self.text.get(row, {})) for row in range(max(self.text, default=-1) + 1))

    def wait(self, words, seconds=30):
        end = time.monotonic() + seconds
        while words not in self.screen():
            if time.monotonic() > end or not self.read():
                raise SystemExit(f"no {words!r} in\n{self.screen()}")

    def end(self):
        while self.read(30):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

def edit(path, old, new):
    with open(path) as file:
        text = file.read()
    assert old in text, old
    with open(path + ".new", "w") as file:
        file.write(text.replace(old, new))
    os.rename(path + ".new", path)
"#;

const REDRAWN: &str = r#"
binary, directory = sys.argv[1:]
terminal = Terminal([binary, "demo", "--dir", directory], 80, 24)
terminal.wait("p99")
terminal.wait("explain -c")
assert directory + "/demo.toml" in terminal.screen(), terminal.screen()
terminal.wait("alarms-only@")
edit(directory + "/demo.toml", "round = 1", "round = 0")
terminal.wait("plugins.celsius.config.round changed")
calm = re.search("calm@[0-9a-f]{8}", terminal.screen()).group()
with open(directory + "/plugins/spare/drop-unchanged.wasm", "rb") as spare, open(directory + "/plugins/new", "wb") as new:
    new.write(spare.read())
os.rename(directory + "/plugins/new", directory + "/plugins/calm.wasm")
terminal.wait("runs calm@")
terminal.wait("unchang")
assert calm not in terminal.screen(), terminal.screen()
edit(directory + "/demo.toml", "strip =", "stripp =")
terminal.wait("reload refused, what ran keeps running: demo.toml:")
terminal.wait("did you mean")
for columns, rows in [(130, 40), (100, 30), (60, 24), (80, 24)]:
    terminal.settled = time.monotonic() + 1.5
    terminal.resize(columns, rows)
    while time.monotonic() < terminal.settled + 1.5:
        assert terminal.read()
    screen = terminal.screen()
    for once in ["route  ", "What has happened", "tidegate demo"]:
        assert screen.count(once) == 1, f"{screen.count(once)} times {once!r} at {columns} columns:\n{screen}"
os.write(terminal.fd, b"\x03")
code = terminal.end()
assert code == 0 and not terminal.other, (code, terminal.other)
assert "accounted for" in terminal.screen() and ": yes" in terminal.screen(), terminal.screen()
assert os.path.exists(directory + "/demo.toml")
print("good")
"#;

const CLOSED: &str = r#"
binary, directory = sys.argv[1:]
for number in (signal.SIGHUP, signal.SIGTERM, None):
    terminal = Terminal([binary, "demo"], 80, 24, {"TMPDIR": directory})
    terminal.wait("p99")
    assert len(os.listdir(directory)) == 1, os.listdir(directory)
    if number:
        os.kill(terminal.pid, number)
        assert terminal.end() == 0
    else:
        os.close(terminal.fd)
        os.waitpid(terminal.pid, 0)
    assert os.listdir(directory) == [], os.listdir(directory)
print("good")
"#;

#[track_caller]
fn good(script: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [Tidegate::binary().display().to_string(), dir.path().display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(python(&format!("{TERMINAL}{script}"), &args, 3 * PATIENCE), "good\n");
}

#[test]
fn the_demo_is_drawn_anew_at_any_width_and_shows_every_reload() {
    good(REDRAWN);
}

#[test]
fn the_demo_leaves_nothing_behind_when_its_terminal_is_closed() {
    good(CLOSED);
}
