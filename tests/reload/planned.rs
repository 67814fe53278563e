//! What a configuration would change, and what would be decided otherwise by it, before it is saved.

use super::*;
use serde_json::Value;

#[test]
fn a_plan_says_what_changes_what_connects_anew_and_what_would_be_decided_otherwise() {
    let house = House::new();
    let head = "[gateway]\nname = \"test\"\ndata_dir = \"{dir}/data\"\nrecent_messages = 500\n";
    let tidegate = house.gateway(&format!("{head}{MAIN}")).file("plugins/next.wasm", plugin("versioned-v2")).start();
    let text = std::fs::read_to_string(tidegate.dir().join("tidegate.toml")).unwrap();
    let other = tidegate.dir().join("other.toml");
    let plan = |text: &str| -> Value {
        std::fs::write(&other, text).unwrap();
        let mut command = Command::new(Tidegate::binary());
        let told = good(command.args(["plan", "--json", "--config", &other.display().to_string()]).output().unwrap());
        serde_json::from_str(&told).expect("JSON")
    };
    let publisher = house.publish("dev", RATE);
    eventually("some are kept", PATIENCE, || plan(&text)["recent"]["messages"].as_u64() == Some(500));
    publisher.stop();
    let same = plan(&text);
    assert_eq!((&same["changes"], &same["recent"]["differ"]), (&serde_json::json!([]), &Value::from(0)), "{same:#}");

    // Another component, another broker that connects anew, and one that comes.
    let new = text.replace("plugins/marked.wasm", "plugins/next.wasm").replace(
        "[brokers.office]\n",
        "[brokers.cloud]\nurl = \"mqtt://127.0.0.1:1\"\n[brokers.office]\nkeep_alive = \"17s\"\n",
    );
    let planned = plan(&new);
    assert_eq!(planned["reconnects"], serde_json::json!(["office"]), "{planned:#}");
    assert_eq!(planned["recent"]["differ"], 500, "{planned:#}");
    assert_eq!(planned["recent"]["differences"][0]["kind"], "payload");
    let mut command = Command::new(Tidegate::binary());
    let told = good(command.args(["plan", "--config", &other.display().to_string()]).output().unwrap());
    for line in ["+ brokers.cloud\n", "~ brokers.office, which connects anew\n", "~ plugins.marked\n"] {
        assert!(told.contains(line), "no {line} in {told}");
    }
    assert!(told.ends_with("of the last 500 messages 500 would be decided otherwise\n"), "{told}");
    // The gateway's own file may be named beside it.
    let (mut command, own) = (Command::new(Tidegate::binary()), tidegate.dir().join("tidegate.toml"));
    let beside = command.arg("plan").arg(&other).arg("--config").arg(own).output().unwrap();
    assert_eq!(good(beside), told);
    // Nothing is applied, and what would be refused is.
    assert_eq!(reloads(&tidegate), 0);
    std::fs::write(&other, new.replace("next.wasm", "none.wasm")).unwrap();
    let mut command = Command::new(Tidegate::binary());
    let refused = command.args(["plan", "--config", &other.display().to_string()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
}
