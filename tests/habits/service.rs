//! What systemd is told, see sd_notify(3); and what its units may forbid.

use crate::fixture::{PATIENCE, broker, plugin, route, wrapped};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use tidegate_testkit::{Mosquitto, MosquittoSub, Tidegate, free_port, mosquitto_pub};

/// Where a gateway says how it does.
struct Supervisor {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, dir }
    }

    fn start(&self, url: &str, watchdog: Option<Duration>) -> Tidegate {
        let text = format!(
            "[brokers.a]\nurl = \"{url}\"\nreconnect = {{ min = \"100ms\", max = \"200ms\" }}\n\
             [brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
             [[routes]]\nname = \"r\"\nfrom = {{ broker = \"a\", topics = [\"x/#\"] }}\nto = [\"own\"]\n"
        );
        let socket = self.dir.path().join("notify").display().to_string();
        let mut builder = Tidegate::builder(&text).env("NOTIFY_SOCKET", &socket);
        if let Some(within) = watchdog {
            builder = builder.env("WATCHDOG_USEC", &within.as_micros().to_string());
        }
        builder.spawn()
    }

    /// What comes until a line does, that one included.
    #[track_caller]
    fn until(&self, wanted: &str) -> Vec<String> {
        let (mut all, began, mut bytes) = (Vec::new(), Instant::now(), [0; 4096]);
        while began.elapsed() < PATIENCE {
            let Ok(count) = self.socket.recv(&mut bytes) else { continue };
            let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
            all.extend(said.lines().map(str::to_owned));
            if all.iter().any(|line| line.starts_with(wanted)) {
                return all;
            }
        }
        panic!("no {wanted} in {all:?}");
    }
}

#[test]
fn it_is_ready_when_it_is_subscribed_and_feeds_the_watchdog_until_it_stops() {
    let (supervisor, broker) = (Supervisor::new(), Mosquitto::start());
    let mut tidegate = supervisor.start(&broker.url(), Some(Duration::from_secs(1)));
    let said = supervisor.until("READY=1");
    assert!(said.iter().any(|line| line == "READY=1"), "{said:?}");
    assert!(tidegate.is_ready(), "it said so");
    supervisor.until("STATUS=2 of 2 brokers connected");
    for _ in 0..3 {
        supervisor.until("WATCHDOG=1");
    }
    tidegate.terminate(PATIENCE);
    supervisor.until("STOPPING=1");
}

#[test]
fn a_broker_that_is_away_makes_it_ready_late_and_is_named() {
    let (supervisor, port) = (Supervisor::new(), free_port());
    let _tidegate = supervisor.start(&format!("mqtt://127.0.0.1:{port}"), None);
    let before = supervisor.until("STATUS=1 of 2 brokers connected; ");
    assert!(before.iter().all(|line| line != "READY=1"), "it is not: {before:?}");
    let said = supervisor.until("READY=1");
    assert!(said.iter().all(|line| !line.starts_with("WATCHDOG")), "nobody asked: {said:?}");
}

/// Begins a program which the kernel lets make no memory executable, where it can (Linux 6.3): PR_SET_MDWE of prctl(2).
const WITHOUT_EXECUTABLE_MEMORY: &str = "exec python3 -c 'import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])'";

/// Memory of a process that is executable and is no file's.
fn executable_memory(pid: u32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let is_made = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].contains('x') && fields[4] == "0" && !fields.get(5).is_some_and(|name| name.starts_with("[v"))
    };
    maps.lines().filter(is_made).map(str::to_owned).collect()
}

/// `MemoryDenyWriteExecute=` in a unit: no memory may be made executable.
#[test]
fn interpreted_plugins_decide_where_no_memory_may_be_made_executable() {
    let dir = tempfile::tempdir().unwrap();
    let wrapper = wrapped(dir.path(), WITHOUT_EXECUTABLE_MEMORY);
    for (engine, binary) in [("compiler", &Tidegate::binary()), ("interpreter", &wrapper)] {
        let (home, office) = (Mosquitto::start(), Mosquitto::start());
        let mut config = format!("[plugins]\nengine = \"{engine}\"\n");
        config += "[plugins.celsius]\npath = \"convert.wasm\"\nconfig = { field = \"temp\", from = \"fahrenheit\", to = \"celsius\" }\n";
        config += &(broker("home", &home.url(), "") + &broker("office", &office.url(), ""));
        config += &route("home", &["dev/#"], &["office"], "plugins = [\"celsius\"]\n");
        let tidegate = Tidegate::builder(&config).file("convert.wasm", plugin("convert")).binary(binary).start();
        let at_office = MosquittoSub::start(office.port(), &["-t", "#", "-q", "1"]);
        mosquitto_pub(home.port(), &["-t", "dev/1", "-q", "1", "-m", r#"{"temp": 50}"#]);
        assert_eq!(at_office.expect(1, PATIENCE), [r#"dev/1 1 0 {"temp": 10}"#], "{engine}");
        let made = executable_memory(tidegate.pid());
        assert_eq!(made.is_empty(), engine == "interpreter", "{engine}: {made:#?}");
    }
}
