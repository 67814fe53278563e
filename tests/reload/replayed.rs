//! Messages of a running gateway are recorded with what is decided on each, and decided again elsewhere.

use super::*;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use tidegate_testkit::{Client, free_port};

/// Records into a file until so many messages are there; returns once it does.
pub(crate) fn record(tidegate: &Tidegate, out: &Path, words: &[&str]) -> Child {
    let (file, out_text) = (tidegate.dir().join("tidegate.toml").display().to_string(), out.display().to_string());
    let mut command = Command::new(Tidegate::binary());
    let child = command.args(["record", "--config", &file, "--out", &out_text]).args(words).spawn().expect("it runs");
    // The first block says that it begins. What is written behind another recording may begin before its end.
    let begun = || std::fs::metadata(out).is_ok_and(|file| file.len() > 30);
    eventually("it records", PATIENCE, begun);
    child
}

pub(crate) fn replay(recording: &Path, config: &Path, words: &[&str]) -> (i32, Value) {
    let mut command = Command::new(Tidegate::binary());
    let (recording, config) = (recording.display().to_string(), config.display().to_string());
    let output =
        command.args(["replay", &recording, "--config", &config, "--json"]).args(words).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().unwrap_or(-1);
    (code, serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}{}", String::from_utf8_lossy(&output.stderr))))
}

/// The kinds of difference, each with its count.
fn kinds(found: &Value) -> Vec<(String, u64)> {
    let groups = found["groups"].as_array().expect("groups").iter();
    groups.map(|one| (one["kind"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap())).collect()
}

/// A file of samples: what is said of the plugin, and its messages.
struct Samples {
    plugin: String,
    head: String,
    messages: Vec<(String, String)>,
}

/// The samples of every plugin that is shipped, without those that are about a refusal, or about what was remembered before.
fn samples() -> Vec<Samples> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut all = Vec::new();
    for dist in std::fs::read_dir(plugins.join("dist")).expect("plugins").flatten() {
        let name = dist.file_name().to_string_lossy().into_owned();
        let Some(plugin) = name.strip_suffix(".wasm") else { continue };
        let mut files: Vec<PathBuf> = std::fs::read_dir(plugins.join(plugin).join("samples"))
            .expect("samples")
            .flatten()
            .map(|file| file.path())
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a text");
            let (head, steps) = text.split_once("[[step]]").unwrap_or((&text, ""));
            if head.lines().any(|line| line.starts_with("refused")) {
                continue;
            }
            let (mut kept, mut is_of_plugin) = (String::new(), true);
            for line in head.lines() {
                if line.starts_with('[') {
                    is_of_plugin = !line.starts_with("[state");
                }
                if is_of_plugin && !["state", "source"].iter().any(|key| line.starts_with(key)) {
                    kept += &format!("{line}\n");
                }
            }
            let head = kept;
            let value = |step: &str, key: &str| {
                let line = step.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")))?;
                match line.strip_prefix('\'') {
                    Some(text) => text.split('\'').next().map(str::to_owned),
                    // What stands in such quotes is the same in JSON, but for what no sample has.
                    None => serde_json::from_str(line).ok(),
                }
            };
            let step = |step: &str| Some((value(step, "topic")?, value(step, "payload")?));
            let messages = steps.split("[[step]]").filter_map(step).collect();
            all.push(Samples { plugin: plugin.to_owned(), head, messages });
        }
    }
    all
}

#[test]
fn a_recording_of_every_shipped_plugin_is_decided_as_it_was() {
    let all = samples();
    let (mut config, mut ports) = (String::new(), Vec::new());
    let own =
        |name: &str, port: u16| format!("[brokers.{name}]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n");
    config += &own("far", free_port());
    for (at, Samples { plugin, head, .. }) in all.iter().enumerate() {
        let port = free_port();
        ports.push(port);
        config += &own(&format!("near{at}"), port);
        let head = head
            .replace("[config", &format!("[plugins.p{at}.config"))
            .replace("[grants", &format!("[plugins.p{at}.grants"));
        let _ = write!(
            config,
            "[plugins.p{at}]\npath = \"{plugin}.wasm\"\n{head}\n[[routes]]\nname = \"r{at}\"\nplugins = [\"p{at}\"]\n\
             from = {{ broker = \"near{at}\", topics = [\"#\"] }}\nto = [\"far\"]\ntick = \"100ms\"\n"
        );
    }
    config = with_targets(config, &all);
    let names: std::collections::BTreeSet<&str> = all.iter().map(|one| &*one.plugin).collect();
    let mut builder = Tidegate::builder(&config);
    for name in &names {
        builder = builder.file(format!("{name}.wasm"), plugin(name));
    }
    let tidegate = builder.start();
    let out = tidegate.dir().join("all.tgr");
    let messages: usize = all.iter().map(|one| one.messages.len()).sum();
    assert!(names.len() >= 13 && messages >= 80, "{names:?}: {messages} messages");
    let mut recorder = record(&tidegate, &out, &["--for", "4s"]);
    for (port, Samples { messages, .. }) in ports.iter().zip(&all) {
        let mut device = Client::connect(*port, &ClientOptions::new(Version::V5, "device")).expect("a device");
        for (topic, payload) in messages {
            device.publish(topic, payload.as_bytes(), 1, false).expect("published");
        }
    }
    assert!(recorder.wait().expect("it ends").success());
    let file = tidegate.dir().join("tidegate.toml");
    let (code, found) = replay(&out, &file, &[]);
    assert_eq!(found["messages"], messages, "{found}");
    assert!(found["ticks"].as_u64() > Some(100), "{found}");
    assert_eq!((code, &found["differ"], &found["gaps"]), (0, &Value::from(0), &Value::from(0)), "{found:#}");
}

/// Targets that samples name are brokers of the box.
fn with_targets(config: String, all: &[Samples]) -> String {
    let mut named: Vec<&str> = Vec::new();
    for head in all.iter().map(|one| &*one.head) {
        let targets = head.split("targets = [").skip(1).filter_map(|rest| rest.split(']').next());
        named.extend(targets.flat_map(|list| list.split('"').skip(1).step_by(2)));
    }
    named.sort_unstable();
    named.dedup();
    named.iter().fold(config, |config, name| {
        format!("[brokers.{name}]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{}\"]\n{config}", free_port())
    })
}

#[test]
fn another_version_decides_exactly_what_was_planted_otherwise() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let out = tidegate.dir().join("main.tgr");
    let mut recorder = record(&tidegate, &out, &["--route", "main", "--count", "4000"]);
    let publisher = house.publish("dev", RATE);
    assert!(recorder.wait().expect("it ends").success());
    let file = tidegate.dir().join("tidegate.toml");
    let (code, found) = replay(&out, &file, &[]);
    assert_eq!((code, &found["messages"], &found["differ"]), (0, &Value::from(4_000), &Value::from(0)), "{found:#}");

    // Under another name, and only some topics.
    let text = std::fs::read_to_string(&file).unwrap();
    let other = tidegate.dir().join("other.toml");
    std::fs::write(
        &other,
        text.replace("prefix = \"main/\"", "prefix = \"other/\"").replace("dev/+/temp", "dev/+/none"),
    )
    .unwrap();
    let (code, found) = replay(&out, &other, &[]);
    assert_eq!((code, kinds(&found)), (1, vec![("taken no more".to_owned(), 4_000)]));
    std::fs::write(&other, text.replace("prefix = \"main/\"", "prefix = \"other/\"")).unwrap();
    let (code, found) = replay(&out, &other, &[]);
    assert_eq!((code, kinds(&found)), (1, vec![("topic".to_owned(), 4_000)]));

    // Another component: its mark, and nothing else. What is decided now becomes what is expected.
    let second = tidegate.dir().join("v2.wasm");
    std::fs::write(&second, plugin("versioned-v2")).unwrap();
    let given = format!("marked={}", second.display());
    let (code, found) = replay(&out, &file, &["--plugin", &given]);
    assert_eq!((code, kinds(&found)), (1, vec![("payload".to_owned(), 4_000)]));
    assert_eq!(replay(&out, &file, &["--plugin", &given, "--update"]).0, 0);
    assert_eq!(replay(&out, &file, &["--plugin", &given]).1["differ"], 0);
    assert_eq!(kinds(&replay(&out, &file, &[]).1), [("payload".to_owned(), 4_000)]);

    // More is written behind it, by a recorder that is killed: what it wrote by then counts, and can be written on.
    let mut recorder = record(&tidegate, &out, &["--append", "--payloads", "hashed"]);
    eventually("some is written", PATIENCE, || replay(&out, &file, &[]).1["messages"].as_u64() > Some(5_000));
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    let bytes = std::fs::read(&out).unwrap();
    std::fs::write(&out, &bytes[..bytes.len() - 3]).unwrap();
    let (_, found) = replay(&out, &file, &[]);
    assert!(found["bytes_cut_off"].as_u64() > Some(0), "{found:#}");
    assert_eq!((&found["recordings"], found["without_payload"].as_u64() > Some(0)), (&Value::from(2), true));
    assert!(record(&tidegate, &out, &["--append", "--count", "10"]).wait().unwrap().success());
    let (_, found) = replay(&out, &file, &[]);
    assert_eq!((&found["recordings"], &found["bytes_cut_off"]), (&Value::from(3), &Value::from(0)), "{found:#}");

    // What is no recording is refused, and a file that is there is not written over.
    let refused = Command::new(Tidegate::binary())
        .args(["replay", &file.display().to_string(), "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("this is no recording of Tidegate"), "{refused:?}");
    let again = command_of(&tidegate, "record", &["--out", &out.display().to_string()]);
    assert!(
        again.status.code() == Some(64) && String::from_utf8_lossy(&again.stderr).contains("is there already"),
        "{again:?}"
    );
    publisher.stop();
}
