//! What mosquitto takes is taken, and what it refuses is refused.

use super::{import, written};
use crate::fixture::PATIENCE;
use std::process::Command;
use tidegate_testkit::{Process, free_port, within};

const BRIDGE: &str = "connection a\naddress 127.0.0.1:1\ntopic t out\n";

/// Whether mosquitto starts with it.
#[track_caller]
fn mosquitto_takes(text: &str) -> bool {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = format!("{text}\nlistener {} 127.0.0.1\nlog_dest stderr\n", free_port());
    let file = written(dir.path(), &whole);
    let mut command = Command::new("/usr/sbin/mosquitto");
    let mut process = Process::spawn("mosquitto", command.arg("-c").arg(file));
    let decided = within(PATIENCE, || process.log().contains(" running") || !process.is_running());
    assert!(decided, "{}", process.log());
    process.is_running()
}

#[test]
fn it_is_mosquittos() {
    let of_a_bridge = [
        "remote_username ann \t \nremote_password  a # b",
        "remote_username",
        "remote_username a\tb",
        "remote_username a\nusername b",
        "keepalive_interval 60s",
        "keepalive_interval 65536",
        "bridge_protocol_version mqttv50",
        "bridge_protocol_version mqttv311 ",
        "bridge_protocol_version  mqttv311",
        "restart_timeout 20",
        "restart_timeout 0 30",
        "restart_timeout 10 5",
        "restart_timeout 10 # s",
        "cleansession 1 # yes",
        "cleansession True",
        "start_type once",
        "start_type manual",
        "notifications",
        "address h",
        "bridge_cafile c\nbridge_identity i\nbridge_psk aa",
        "bridge_psk aa",
        "connection a\naddress 127.0.0.1:1\ntopic t",
        "connection b\ntopic t",
        "connection b\naddress 127.0.0.1:1",
        "connection b\naddress ::1:1 127.0.0.1:1 # x:y\ntopic t",
        "connection b\naddress # x\ntopic t",
        "connection b\naddress h:0\ntopic t",
        "connection b\naddress mqtt://h\ntopic t",
        "local_clientid x\nconnection b\naddress 127.0.0.1:1\ntopic t\nlocal_clientid x",
        "topic a/# IN 1",
        "topic # both l/ r/",
        "topic a out 258",
        "topic a out 3",
        "topic a out -1",
        "topic a out # b c d",
        "topic a out 1 l/ # b c",
        "topic a # b",
        "topic a sideways",
        "topic \"a b\" out",
        "topic \"\" in 1 here there",
        "topic \"\" in 1 here",
        "topic \"\" in 1 \"\" there",
        "topic a out 1 l/# r/",
        "topic # out 1 l/ r",
        "topic +/a out 1 l r",
        "topic a/# out 1 l r",
        "topic",
        "topic a# out",
        "topic a out 1 l/ r/ more",
    ];
    let others = [
        "# x\n#y\n\n   \n\r\n",
        "  # x",
        "\t",
        "persistence\ttrue",
        "   log_type    all   ",
        "log_type some",
        "log_type",
        "max_connections",
        "persistence True",
        "nonsense 1",
        "Topic a",
        "topic a out 1",
        "port 0",
        "max_qos 3",
        "max_packet_size 19",
        "persistent_client_expiration 14d",
        "persistent_client_expiration 14",
        "persistent_client_expiration 0d",
        "retry_interval 20",
        "allow_anonymous true\nper_listener_settings true",
        "per_listener_settings true\nallow_anonymous true",
        "mount_point x",
        "listener 0",
        "listener 65536",
        "auth_opt_x 1",
        "max_inflight_messages 65536",
        "sys_interval 65536",
        "log_facility 8",
        "include_dir /nowhere",
    ];
    let all = of_a_bridge.iter().map(|text| format!("{BRIDGE}{text}")).chain(others.map(str::to_owned));
    let mut wrong = Vec::new();
    for text in all {
        let dir = tempfile::tempdir().expect("a folder");
        let output = import(&written(dir.path(), &text), &["--own"]);
        let taken = output.status.success();
        if taken != mosquitto_takes(&text) {
            wrong.push(format!("{text:?}: taken {taken}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "mosquitto says otherwise of\n{}", wrong.join("\n"));
}
