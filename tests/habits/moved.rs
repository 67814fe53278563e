//! `tidegate backup`, `tidegate restore`, `tidegate spool import`; and what an earlier version has left is taken up.

use crate::command::{assert_contains, stderr, stdout};
use crate::fixture::{PATIENCE, plugin, run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tidegate_testkit::{Client, ClientOptions, Metrics, Mosquitto, Tidegate, Version, eventually, free_port};

/// A box whose cloud is away: what devices say waits, what is no JSON is parked, and a plugin remembers.
fn config(home: u16, cloud: &str) -> String {
    format!(
        "include = [\"routes.d/*.toml\"]\n[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{home}\"]\n\
         [brokers.cloud]\nurl = \"{cloud}\"\nreconnect = {{ min = \"100ms\", max = \"200ms\" }}\n\
         [plugins.celsius]\npath = \"plugins/convert.wasm\"\n\
         config = {{ field = \"temp\", from = \"fahrenheit\", to = \"celsius\", round = 1, on_missing = \"reject\" }}\n\
         [plugins.once]\npath = \"plugins/dedup.wasm\"\nconfig = {{ within = \"36500d\" }}\ngrants = {{ state = true }}\n"
    )
}

const ROUTE: &str = "[[routes]]\nname = \"up\"\nfrom = { broker = \"home\", topics = [\"dev/#\"] }\n\
                     plugins = [\"celsius\", \"once\"]\nto = [\"cloud\"]\n";

fn device(home: u16) -> Client {
    Client::connect(home, &ClientOptions::new(Version::V5, "device").clean(true)).unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_box_is_moved_with_all_that_it_holds_while_it_runs() {
    let (home, mut cloud) = (free_port(), Mosquitto::start());
    cloud.kill();
    let tidegate = Tidegate::builder(&config(home, &cloud.url()))
        .file("routes.d/up.toml", ROUTE)
        .file("plugins/convert.wasm", plugin("convert"))
        .file("plugins/dedup.wasm", plugin("dedup"))
        .spawn();
    let metric = |metrics: &Metrics, name: &str| metrics.get(name, &[]).unwrap_or_default();
    eventually("its broker listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", home)).is_ok());
    let mut sender = device(home);
    eventually("routes are there", PATIENCE, || tidegate.metrics().get("tidegate_route_received_total", &[]).is_some());
    for at in 0..20 {
        sender.publish(&format!("dev/{at}"), format!("{{\"temp\":{}}}", 32 + at).as_bytes(), 1, false).unwrap();
    }
    sender.publish("dev/bad", b"no json", 1, false).unwrap();
    eventually("one is parked", PATIENCE, || metric(&tidegate.metrics(), "tidegate_parked") == 1.0);

    let (file, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = file.path().join("box.tar");
    let old = tidegate.dir().join("tidegate.toml");
    let made = run(&["backup", "--config", &text(&old), &text(&archive)]);
    assert!(made.status.success(), "{made:?}");
    assert_contains(&stderr(&made), &["20 messages that wait, 1 parked"]);
    let again = run(&["backup", "--config", &text(&old), &text(&archive)]);
    assert!(!again.status.success(), "no backup is written over: {again:?}");
    let mode = archive.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds what people said");

    // Another box: another folder for everything.
    let (new, data) = (other.path().join("etc/tidegate.toml"), other.path().join("data"));
    let restore = ["restore", "--config", &text(&new), "--data-dir", &text(&data), &text(&archive)].map(str::to_owned);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    let restored = run(&restore);
    assert!(restored.status.success(), "{restored:?}");
    let twice = run(&restore);
    assert_contains(&stderr(&twice), &["holds something already"]);
    assert!(
        other.path().join("etc/routes.d/up.toml").exists() && other.path().join("etc/plugins/convert.wasm").exists()
    );
    let versions = ["versions/plugins.json", "versions/config/000001.json"].map(|file| data.join(file).exists());
    assert_eq!(versions, [true; 2], "the versions of plugins, and of the configuration");
    let moved = std::fs::read_to_string(&new).unwrap();
    assert_eq!(moved, std::fs::read_to_string(&old).unwrap());
    drop(tidegate);
    cloud.restart();
    let mut office = Client::connect(cloud.port(), &ClientOptions::new(Version::V5, "office").clean(true)).unwrap();
    office.subscribe(&[("#", 1)]).unwrap();
    let named = format!("[gateway]\nname = \"test\"\ndata_dir = \"{}\"\n", text(&data));
    let moved = Tidegate::builder(&format!("{}{named}", config(home, &cloud.url())))
        .file("routes.d/up.toml", ROUTE)
        .file("plugins/convert.wasm", plugin("convert"))
        .file("plugins/dedup.wasm", plugin("dedup"))
        .start();
    for at in 0..20 {
        let came = office.receive(PATIENCE).unwrap().expect("all that waited arrives");
        assert_eq!(came.topic, format!("dev/{at}"), "in order");
        office.ack(&came);
    }
    // What the plugin remembers was moved too: the same again is dropped.
    let mut sender = device(home);
    sender.publish("dev/3", b"{\"temp\":35}", 1, false).unwrap();
    let duplicates = |metrics: &Metrics| metrics.get("tidegate_route_dropped_total", &[("reason", "duplicate")]);
    eventually("it is dropped", PATIENCE, || duplicates(&moved.metrics()) == Some(1.0));
    assert_eq!(metric(&moved.metrics(), "tidegate_parked"), 1.0);
}

#[test]
fn what_is_no_backup_or_would_go_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let config = text(&dir.path().join("etc/tidegate.toml"));
    let restore = |what: &[u8]| {
        std::fs::write(&file, what).unwrap();
        run(&["restore", "--config", &config, "--data-dir", &text(&dir.path().join("data")), &text(&file)])
    };
    for bytes in [&b""[..], b"hello", &[0; 4096]] {
        let output = restore(bytes);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert_contains(&stderr(&output), &["this is no backup"]);
    }
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn what_was_exported_is_imported_on_another_box_as_it_was() {
    let gateway = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        let (home, cloud) = (free_port(), free_port());
        let text = format!(
            "[gateway]\nname = \"{name}\"\ndata_dir = \"{}\"\n[brokers.home]\nembedded = true\n\
             listen = [\"mqtt://127.0.0.1:{home}\"]\n[brokers.cloud]\nurl = \"mqtt://127.0.0.1:{cloud}\"\n\
             [[routes]]\nname = \"up\"\nfrom = {{ broker = \"home\", topics = [\"#\"] }}\nto = [\"cloud\"]\n",
            dir.path().join("data").display()
        );
        let path = dir.path().join("gw.toml");
        std::fs::write(&path, &text).unwrap();
        (dir, path, text, home)
    };
    let (_one, old, text_of_old, home) = gateway("one");
    let mut tidegate = Tidegate::builder(&text_of_old).spawn();
    eventually("its broker listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", home)).is_ok());
    let mut sender = device(home);
    sender.publish("a/\u{e9}", &[0, 255, 1], 2, true).unwrap();
    sender.publish("b", b"", 1, false).unwrap();
    tidegate.terminate(PATIENCE);
    let exported = run(&["spool", "export", "--config", &text(&old)]);
    assert_eq!(stdout(&exported).lines().count(), 2, "{exported:?}");
    let lines = old.with_file_name("lines.jsonl");
    std::fs::write(&lines, &exported.stdout).unwrap();

    let (_two, new, ..) = gateway("two");
    let import = |file: &Path| run(&["spool", "import", "--config", &text(&new), &text(file)]);
    let bad = old.with_file_name("bad.jsonl");
    std::fs::write(&bad, format!("{}{}", stdout(&exported), stdout(&exported).replace("cloud", "cloudy"))).unwrap();
    let refused = import(&bad);
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    assert_contains(
        &stderr(&refused),
        &["bad.jsonl:3: no broker or target set is called `cloudy`; nothing was imported"],
    );
    let imported = import(&lines);
    assert_eq!(stdout(&imported), "imported: 2 messages\n", "{imported:?}");
    let after = run(&["spool", "export", "--config", &text(&new)]);
    assert_eq!(stdout(&after), stdout(&exported), "all of each as it was");
    let verified = run(&["spool", "verify", "--config", &text(&new)]);
    assert!(verified.status.success(), "{verified:?}");
}

/// A backup that version 0.1.0 has made; a later version takes up all of it. To make one of another version: run the gateway of
/// [`config`] with that version, publish what the first test publishes, `tidegate backup`, and `gzip -9n`.
#[test]
fn what_version_0_1_0_left_is_taken_up() {
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/habits/backup-0.1.0.tar.gz"));
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("backup.tar");
    let unpacked = std::process::Command::new("gzip").arg("-dc").arg(&golden).output().expect("gzip");
    std::fs::write(&tar, &unpacked.stdout).unwrap();
    let (etc, data) = (dir.path().join("etc/tidegate.toml"), dir.path().join("data"));
    let restored = run(&["restore", "--config", &text(&etc), "--data-dir", &text(&data), &text(&tar)]);
    assert!(restored.status.success(), "{restored:?}");
    let (home, cloud) = (free_port(), Mosquitto::start());
    let mut office = Client::connect(cloud.port(), &ClientOptions::new(Version::V5, "office").clean(true)).unwrap();
    office.subscribe(&[("#", 1)]).unwrap();
    let named = format!("[gateway]\nname = \"test\"\ndata_dir = \"{}\"\n", data.display());
    let component = |name: &str| std::fs::read(dir.path().join("etc/plugins").join(name)).unwrap();
    let tidegate = Tidegate::builder(&format!("{}{named}", config(home, &cloud.url())))
        .file("routes.d/up.toml", std::fs::read(dir.path().join("etc/routes.d/up.toml")).unwrap())
        .file("plugins/convert.wasm", component("convert.wasm"))
        .file("plugins/dedup.wasm", component("dedup.wasm"))
        .start();
    for at in 0..20 {
        let came = office.receive(PATIENCE).unwrap().expect("all that waited arrives");
        assert_eq!(came.topic, format!("dev/{at}"), "in order");
        office.ack(&came);
    }
    assert_eq!(tidegate.metrics().get("tidegate_parked", &[]), Some(1.0));
    assert_eq!(tidegate.metrics().get("tidegate_spool_damaged_total", &[]), Some(0.0));
    let mut sender = device(home);
    sender.publish("dev/3", b"{\"temp\":35}", 1, false).unwrap();
    let duplicates = |metrics: &Metrics| metrics.get("tidegate_route_dropped_total", &[("reason", "duplicate")]);
    eventually("what the plugin remembers is there", PATIENCE, || duplicates(&tidegate.metrics()) == Some(1.0));
}
