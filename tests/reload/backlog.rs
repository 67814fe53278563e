//! What is in the spool is dropped by no edit, whatever it adds, removes, renames or reorders.

use crate::fixture::{PATIENCE, Witness, broker, run};
use tidegate_testkit::{Client, ClientOptions, Ledger, Mosquitto, Tidegate, Version, eventually};

/// Where nobody answers.
pub(super) const DEAD: &str = "mqtt://127.0.0.1:1";

/// How many messages wait when the edit comes.
pub(super) const WAITING: usize = 300;

pub(super) fn set(members: &[&str]) -> String {
    let members: Vec<String> = members.iter().map(|member| format!("{member:?}")).collect();
    format!("[targets.up]\npolicy = \"failover\"\nmembers = [{}]\n", members.join(", "))
}

pub(super) fn route(to: &str) -> String {
    format!("[[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"dev/#\"] }}\nto = [\"{to}\"]\n")
}

fn payload(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

/// A gateway with messages at its source acknowledged, and waiting.
pub(super) struct Backlog {
    pub(super) tidegate: Tidegate,
    home: Mosquitto,
}

impl Backlog {
    #[track_caller]
    pub(super) fn new(config: impl Fn(&str) -> String) -> Self {
        let home = Mosquitto::start();
        let tidegate = Tidegate::builder(&config(&broker("home", &home.url(), ""))).spawn();
        eventually("it is subscribed", PATIENCE, || {
            tidegate.get("/health").is_ok()
                && tidegate.metrics().get("tidegate_broker_ready", &[("broker", "home")]) == Some(1.0)
        });
        let mut device = Client::connect(home.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
        for n in 0..WAITING {
            device.publish(&format!("dev/{}", n % 3), payload(n).as_bytes(), 1, false).unwrap();
        }
        let backlog = Self { tidegate, home };
        eventually("all of them wait, and their source knows", PATIENCE, || {
            backlog.queued() == WAITING && backlog.gauge("tidegate_unacknowledged") == 0.0
        });
        backlog
    }

    pub(super) fn gauge(&self, name: &str) -> f64 {
        self.tidegate.metrics().get(name, &[]).unwrap_or(0.0)
    }

    pub(super) fn queued(&self) -> usize {
        self.gauge("tidegate_spool_queued") as usize
    }

    #[track_caller]
    pub(super) fn edit(&self, config: &str) {
        let before = self.gauge("tidegate_reloads_total");
        self.tidegate.edit_config(&(broker("home", &self.home.url(), "") + config));
        eventually("it is reloaded", PATIENCE, || self.gauge("tidegate_reloads_total") > before);
    }

    /// `tidegate spool WORDS`: its exit code and what it prints.
    fn spool(&self, words: &[&str]) -> (Option<i32>, String) {
        let config = self.tidegate.dir().join("tidegate.toml").display().to_string();
        let output = run(&[&["spool"], words, &["--config", &config]].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Everything is at the office, each once, in order for each topic.
    #[track_caller]
    fn arrives(&self, office: &Witness) {
        eventually("all of it is at the office", PATIENCE, || office.count() >= WAITING);
        let came: Vec<String> = office.arrivals().into_iter().map(|arrival| arrival.payload).collect();
        for topic in 0..3 {
            let of_topic = |n: &usize| n % 3 == topic;
            let expected: Vec<String> = (0..WAITING).filter(of_topic).map(payload).collect();
            let found: Vec<String> = came.iter().filter(|payload| expected.contains(payload)).cloned().collect();
            assert_eq!(found, expected, "dev/{topic}");
        }
        eventually("nothing waits", PATIENCE, || self.queued() == 0);
        assert_eq!(self.gauge("tidegate_route_imbalance"), 0.0);
    }
}

fn witness(office: &Mosquitto) -> Witness {
    Witness::start(office.port(), "office", "#", &Ledger::new())
}

#[test]
fn a_set_keeps_its_backlog_when_its_preferred_dead_member_is_removed() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let backlog = Backlog::new(|home| {
        home.to_owned() + &broker("one", DEAD, "") + &broker("two", DEAD, "") + &set(&["one", "two"]) + &route("up")
    });
    // Nobody is left who answers: all of it still waits.
    backlog.edit(&(broker("two", DEAD, "") + &set(&["two"]) + &route("up")));
    assert_eq!(backlog.queued(), WAITING, "{}", backlog.tidegate.log());
    backlog.edit(&(broker("two", &office.url(), "") + &set(&["two"]) + &route("up")));
    backlog.arrives(&came);
}

#[test]
fn what_waits_for_a_target_that_is_removed_is_there_when_it_is_back_also_after_a_kill() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let mut backlog = Backlog::new(|home| home.to_owned() + &broker("office", DEAD, "") + &route("office"));
    backlog.edit("");
    assert_eq!(backlog.queued(), WAITING);
    let (code, words) = backlog.spool(&["status"]);
    assert!(code == Some(0) && words.contains("for a target that is not configured"), "{code:?} {words}");
    backlog.tidegate.kill();
    backlog.tidegate.restart();
    eventually("it still waits", PATIENCE, || backlog.queued() == WAITING);
    // Under its name, as a set now.
    backlog.edit(&(broker("other", &office.url(), "") + &set(&["other"]).replace("targets.up", "targets.office")));
    backlog.arrives(&came);
}

#[test]
fn what_waited_is_told_at_the_start_and_once_its_target_has_caught_up() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let mut backlog = Backlog::new(|home| home.to_owned() + &broker("office", DEAD, "") + &route("office"));
    backlog.tidegate.kill();
    // It is not ready: the target is not there.
    backlog.tidegate.relaunch();
    let told = |log: &str, words: &str| -> Vec<String> {
        let lines = log.lines().filter(|line| line.contains(words) && line.contains("target_name=\"office\""));
        lines.filter(|line| line.contains(&format!("messages={WAITING}"))).map(str::to_owned).collect()
    };
    let found = "recovered from the spool";
    eventually("it says what it has found", PATIENCE, || !told(&backlog.tidegate.log(), found).is_empty());
    eventually("the oldest has waited for some seconds", PATIENCE, || {
        backlog.tidegate.get("/health").is_ok() && backlog.gauge("tidegate_spool_oldest_seconds") > 6.0
    });
    assert_eq!(told(&backlog.tidegate.log(), "caught up"), [""; 0]);
    backlog.edit(&(broker("office", &office.url(), "") + &route("office")));
    backlog.arrives(&came);
    eventually("it says that all of it is there", PATIENCE, || {
        let lines = told(&backlog.tidegate.log(), "caught up");
        lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("took=") && lines[0].contains("waited=")
    });
}

#[test]
fn what_waits_for_nobody_is_moved_to_another_target_while_the_gateway_runs_and_while_it_does_not() {
    for runs in [true, false] {
        let office = Mosquitto::start();
        let came = witness(&office);
        let mut backlog = Backlog::new(|home| home.to_owned() + &broker("gone", DEAD, "") + &route("gone"));
        let (code, words) = backlog.spool(&["move", "gone", "nowhere"]);
        assert!(code == Some(69) && words.contains("`nowhere`"), "{code:?} {words}");
        backlog.edit(&(broker("office", &office.url(), "") + &route("office")));
        if !runs {
            assert_eq!(backlog.tidegate.terminate(PATIENCE).code(), Some(0));
        }
        let (code, words) = backlog.spool(&["move", "gone", "office"]);
        assert_eq!(
            (code, words),
            (Some(0), format!("{WAITING} messages that waited for `gone` now wait for `office`\n"))
        );
        if !runs {
            backlog.tidegate.restart();
        }
        backlog.arrives(&came);
        let (code, words) = backlog.spool(&["move", "gone", "office"]);
        assert!(code == Some(69) && words.contains("nothing waits"), "{code:?} {words}");
    }
}

#[test]
fn what_waits_for_nobody_is_discarded_and_counted() {
    for runs in [true, false] {
        let mut backlog = Backlog::new(|home| home.to_owned() + &broker("gone", DEAD, "") + &route("gone"));
        if !runs {
            assert_eq!(backlog.tidegate.terminate(PATIENCE).code(), Some(0));
        }
        let (code, words) = backlog.spool(&["discard", "gone"]);
        assert_eq!((code, words), (Some(0), format!("{WAITING} messages that waited for `gone` are discarded\n")));
        if runs {
            let labels = [("route", "r"), ("reason", "discarded")];
            assert_eq!(backlog.tidegate.metrics().get("tidegate_route_dropped_total", &labels), Some(WAITING as f64));
        } else {
            // It is not ready: the target is not there.
            backlog.tidegate.relaunch();
            eventually("it serves", PATIENCE, || backlog.tidegate.get("/health").is_ok());
        }
        assert_eq!(backlog.queued(), 0);
    }
}
