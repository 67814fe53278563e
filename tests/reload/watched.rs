//! Which files are followed. The gateway also looks by itself every 30 s; what is shown here comes sooner.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_testkit::{Client, Process, free_port};

/// Before the gateway looks by itself.
const SOON: Duration = Duration::from_secs(15);

/// Another configuration than `MAIN`, which disturbs nothing.
fn other(number: usize) -> String {
    MAIN.replace("prefix = \"main/\"", &format!("prefix = \"main/{number}/\""))
}

/// Does something, and waits until it has made for one more applied reload, which is before a look without any event.
#[track_caller]
fn applied_soon(tidegate: &Tidegate, change: impl FnOnce()) {
    let before = reloads(tidegate);
    change();
    eventually("the change is applied", SOON, || reloads(tidegate) > before);
}

fn connects(tidegate: &Tidegate, broker: &str) -> u64 {
    tidegate.metrics().get("tidegate_broker_connects_total", &[("broker", broker)]).unwrap_or_default() as u64
}

#[test]
fn a_configuration_named_without_its_folder_is_followed() {
    let (house, dir) = (House::new(), tempfile::tempdir().unwrap());
    let (file, aside) = (dir.path().join("gw.toml"), dir.path().join("gw.aside"));
    let text = |number: usize| {
        let rest = other(number).replace("plugins = [\"marked\"]", "").replace("[plugins.marked]", "[gateway]");
        let rest = rest.replace("limits = { deadline = \"5s\" }", "data_dir = \"data\"");
        house.config(&rest.replace("path = \"plugins/marked.wasm\"", "name = \"g\""))
    };
    std::fs::write(&file, text(0)).unwrap();
    let mut command = Command::new(Tidegate::binary());
    command.args(["run", "--config", "gw.toml"]).current_dir(dir.path());
    let tidegate = Process::spawn("tidegate", &mut command);
    eventually("it runs", PATIENCE, || tidegate.log().contains("running"));
    let applied = || tidegate.log().matches("routes.main.remap.prefix changed").count();
    std::fs::write(&aside, text(1)).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    eventually("a file renamed to it is read", SOON, || applied() == 1);
    std::fs::write(&file, text(2)).unwrap();
    eventually("what is written to it is read", SOON, || applied() == 2);
}

/// As Kubernetes mounts it: a link through a link to a directory, and that one is exchanged.
#[test]
fn a_configuration_in_a_mounted_directory_is_followed() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let (place, mount) = (tidegate.dir().join("tidegate.toml"), tidegate.dir().join("mount"));
    let text = std::fs::read_to_string(&place).unwrap();
    let swap = |link: &Path, to: &Path| {
        let aside = tidegate.dir().join("link.aside");
        symlink(to, &aside).unwrap();
        std::fs::rename(&aside, link).unwrap();
    };
    let version = |name: &str, prefix: &str| {
        std::fs::create_dir_all(mount.join(name)).unwrap();
        let text = text.replace("prefix = \"main/\"", &format!("prefix = \"{prefix}\""));
        std::fs::write(mount.join(name).join("tidegate.toml"), text).unwrap();
        swap(&mount.join("..data"), Path::new(name));
    };
    version("..first", "main/1/");
    // Paths in it are relative to where it is named, so it may move.
    applied_soon(&tidegate, || swap(&place, Path::new("mount/..data/tidegate.toml")));
    applied_soon(&tidegate, || version("..second", "main/2/"));
    applied_soon(&tidegate, || version("..third", "main/3/"));
    assert_undisturbed(&tidegate.metrics(), &["home", "office"]);
}

/// Writes a file over and over, until dropped.
struct Busy(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Busy {
    fn write(path: std::path::PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::fs::write(&path, "noise\n").unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_busy_file_beside_the_configuration_holds_no_reload_up() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).start();
    let busy = [Busy::write(tidegate.dir().join("noise")), Busy::write(tidegate.dir().join("plugins/noise"))];
    applied_soon(&tidegate, || tidegate.edit_config(&house.config(&other(1))));
    applied_soon(&tidegate, || tidegate.replace_file(PLUGIN, &plugin("versioned-v2")));
    let before = reloads(&tidegate);
    tidegate.sighup();
    eventually("SIGHUP is heard", SOON, || reloads(&tidegate) > before);
    drop(busy);
    assert_undisturbed(&tidegate.metrics(), &["home", "office"]);
}

#[test]
fn a_configuration_that_is_saved_without_a_pause_is_read_all_the_same() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let (before, mut number) = (reloads(&tidegate), 0);
    eventually("one of the edits is applied", SOON, || {
        for _ in 0..10 {
            number += 1;
            tidegate.edit_config(&house.config(&other(number)));
            std::thread::sleep(Duration::from_millis(10));
        }
        reloads(&tidegate) > before
    });
}

#[test]
fn a_secret_that_is_saved_reconnects_the_brokers_that_use_it_and_no_other() {
    let (home, office) = (Mosquitto::builder().password("gateway", "right").start(), Mosquitto::start());
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "wrong").unwrap();
    let config = format!(
        "[brokers.home]\nurl = \"{}\"\nusername = \"gateway\"\npassword = {{ file = {:?} }}\n[brokers.office]\nurl = \"{}\"\n\
         [[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"dev/#\"] }}\nto = [\"office\"]\n",
        home.url(),
        secret.path(),
        office.url()
    );
    let mut tidegate = Tidegate::builder(&config).spawn();
    eventually("it is refused", PATIENCE, || tidegate.log().contains("refused the connection"));
    eventually("the other is there", PATIENCE, || connects(&tidegate, "office") == 1);
    std::fs::write(secret.path(), "right").unwrap();
    eventually("the new one is used", SOON, || connects(&tidegate, "home") == 1);
    tidegate.wait_ready(PATIENCE);
    assert_eq!(connects(&tidegate, "office"), 1, "it was not disturbed");
    let log = tidegate.log();
    assert_eq!(log.matches("brokers.home has another password").count(), 1, "told once:\n{log}");
}

#[test]
fn users_of_the_own_broker_come_and_go_while_it_runs() {
    let (office, dir) = (Mosquitto::start(), tempfile::tempdir().unwrap());
    let file = dir.path().join("users.txt");
    let passwd = |arguments: &[&str]| {
        let aside = dir.path().join("aside.txt");
        if file.exists() {
            std::fs::copy(&file, &aside).unwrap();
        }
        let arguments: Vec<&str> =
            arguments.iter().map(|one| if *one == "FILE" { aside.to_str().unwrap() } else { one }).collect();
        assert!(Command::new("mosquitto_passwd").args(arguments).output().unwrap().status.success());
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    };
    passwd(&["-c", "-b", "FILE", "first", "one"]);
    let port = free_port();
    let config = format!(
        "[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\nusers = {file:?}\n[brokers.office]\nurl = \
         \"{}\"\n[[routes]]\nname = \"r\"\nfrom = {{ broker = \"own\", topics = [\"dev/#\"] }}\nto = [\"office\"]\n",
        office.url()
    );
    let tidegate = Tidegate::start(&config);
    let login = |user: &str, password: &str| {
        Client::connect(port, &ClientOptions::new(Version::V5, user).login(user, password))
    };
    let mut first = login("first", "one").unwrap();
    assert!(login("second", "two").is_err());

    applied_soon(&tidegate, || passwd(&["-b", "FILE", "second", "two"]));
    eventually("the second is let in", SOON, || login("second", "two").is_ok());
    first.publish("dev/1", b"x", 1, false).expect("the first was not sent away");
    tidegate.wait_for_log("brokers.own has other users, access lists, certificates or limits", PATIENCE);

    let reason = refused_after(&tidegate, || std::fs::write(&file, "second:secret\n").unwrap());
    assert!(reason.contains("mosquitto_passwd"), "{reason}");
    first.publish("dev/1", b"x", 1, false).expect("what ran keeps running");

    passwd(&["-c", "-b", "FILE", "second", "two"]);
    eventually("the first is not let in any more", SOON, || login("first", "one").is_err());
    assert_eq!(connects(&tidegate, "office"), 1);
}

#[test]
fn a_file_that_was_missing_for_a_refused_reload_brings_it_when_it_comes() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 100);
    let text = MAIN.replace(PLUGIN, "plugins/later.wasm");
    let reason = refused_after(&tidegate, || tidegate.edit_config(&house.config(&text)));
    assert!(reason.contains("later.wasm"), "{reason}");
    applied_soon(&tidegate, || tidegate.replace_file("plugins/later.wasm", &plugin("versioned-v2")));
    eventually("it decides", PATIENCE, || witness.last_mark() == " v2");
    house.assert_all_came("dev", publisher, &witness, "main", 10);
}
