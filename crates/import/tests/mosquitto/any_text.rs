//! No bytes make it panic, and what it takes becomes a configuration that Tidegate takes.

use super::{InMemory, import, said};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::path::Path;

/// In every password of these tests.
const SECRET: &str = "hunter2";

fn alone(text: impl Into<Vec<u8>>) -> InMemory {
    InMemory([("mosquitto.conf".into(), text.into())].into())
}

/// What must hold of all bytes, whatever they say.
fn survives(files: &InMemory) -> Result<(), TestCaseError> {
    for own in [false, true] {
        match import(files, own) {
            Ok(translation) => {
                let document = translation.document.to_toml();
                prop_assert!(!document.contains(SECRET) && !said(&translation).contains(SECRET), "{document}");
                let mosquitto = format!("{translation:?}");
                prop_assert!(!mosquitto.contains(SECRET), "{mosquitto}");
                if let Err(problems) = tidegate_config::parse(&document, Path::new("/etc/tidegate/gateway.toml")) {
                    return Err(TestCaseError::fail(format!("{problems}\n{document}")));
                }
            }
            Err(problems) => {
                prop_assert!(!problems.0.is_empty());
                for problem in problems.0 {
                    let shown = problem.to_string();
                    prop_assert!(!shown.contains('\n') && !problem.hint.is_empty(), "{shown}");
                    prop_assert!(!shown.contains(SECRET), "{shown}");
                }
            }
        }
    }
    Ok(())
}

/// A line that mosquitto takes, of a listener or of the whole broker.
fn of_the_broker() -> impl Strategy<Value = String> {
    let port = 1u16..=65_535;
    prop_oneof![
        prop::sample::select(vec![
            "allow_anonymous true",
            "allow_anonymous false",
            "persistence true",
            "protocol websockets",
            "protocol mqtt",
            "queue_qos0_messages true",
            "max_connections -1",
            "max_connections 100",
            "max_qos 1",
            "max_queued_messages 0",
            "max_packet_size 20",
            "persistent_client_expiration 2m",
            "log_type all",
            "log_dest file /var/log/x",
            "upgrade_outgoing_qos true",
            "require_certificate true",
            "socket_domain ipv6",
            "set_tcp_nodelay true",
            "retry_interval 3",
            "# a comment",
            "",
            "    ",
            "plugin /usr/lib/auth.so",
            "listener 0 /run/mosquitto.sock",
            "listener 1883",
            "listener 1884 192.168.1.2 # inside",
            "listener 1885 localhost",
            "listener 1886 ::1",
            "listener 1887 büro_1",
        ])
        .prop_map(str::to_owned),
        port.prop_map(|port| format!("port {port}")),
    ]
}

/// One line of a bridge.
fn of_a_bridge() -> impl Strategy<Value = String> {
    let word = "[a-zA-Z0-9äß._$-]{1,12}";
    let value = "[a-zA-Z0-9äß\"'#\\\\{} /=.+-]{0,12}[a-zA-Z0-9äß\"'#\\\\{}/=.+]";
    let keyword = |names: &[&'static str]| prop::sample::select(names.to_vec());
    let texts = ["remote_username", "remote_clientid", "bridge_alpn", "notification_topic", "bridge_bind_address"];
    let files = ["bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_keyfile"];
    let flags = [
        "cleansession",
        "try_private",
        "notifications",
        "notifications_local_only",
        "round_robin",
        "bridge_insecure",
        "bridge_attempt_unsubscribe",
        "bridge_outgoing_retain",
        "local_cleansession",
    ];
    let others = [
        "start_type lazy",
        "start_type once",
        "bridge_protocol_version mqttv50",
        "bridge_protocol_version mqttv31",
        "bridge_tls_version tlsv1.1",
        "log_type debug",
    ];
    prop_oneof![
        (keyword(&texts), value).prop_map(|(name, value)| format!("{name} {value}")),
        (keyword(&files), word).prop_map(|(name, value)| format!("{name} {value}")),
        (keyword(&flags), any::<bool>()).prop_map(|(name, value)| format!("{name} {value}")),
        ("(remote|local)_password", value).prop_map(|(name, value)| format!("{name} {SECRET}{value}")),
        (keyword(&["keepalive_interval", "restart_timeout", "threshold", "bridge_max_packet_size"]), 0..70_000_i32)
            .prop_map(|(name, number)| format!("{name} {}", number.min(65_535))),
        (1..100_000_i32, 0..100_000_i32).prop_map(|(base, more)| format!("restart_timeout {base} {}", base + more)),
        keyword(&others).prop_map(str::to_owned),
        topic(),
        topic(),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    let level = "(\\+|[ab]|\\$S|é|\"x)";
    let filter = prop_oneof![
        Just("#".to_owned()),
        Just("\"\"".to_owned()),
        prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/")),
        prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/") + "/#"),
    ];
    let prefix = prop::sample::select(vec!["\"\"", "l/", "l", "a/b/", "$SYS/", "é/", "#"]);
    let direction = prop::sample::select(vec!["", "in", "out", "both", "BOTH"]);
    (filter, direction, 0..3_u8, prefix.clone(), prefix, 0..5_usize).prop_map(
        |(filter, direction, qos, local, remote, words)| {
            let all = ["topic", &filter, direction, &qos.to_string(), local, remote].map(str::to_owned);
            let direction = if direction.is_empty() { 2 } else { 2 + words };
            all[..direction.min(6)].join(" ")
        },
    )
}

/// Settings that may stand once each: later ones of the same name are left out.
fn each_once(lines: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let often = ["topic", "listener", "log_type", "log_dest", "plugin"];
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.into_iter().filter(|line| often.contains(&&*name(line)) || seen.insert(name(line))).collect()
}

fn bridge(number: usize, addresses: Vec<String>, lines: Vec<String>) -> String {
    let lines = each_once(lines).join("\n");
    let addresses = addresses.join(" ");
    format!(
        "connection bridge.{number}\naddress {addresses}\n{lines}\ntopic x{number}/# out 1\nlocal_clientid c{number}\n"
    )
}

prop_compose! {
    fn mosquitto_conf()(
        broker in prop::collection::vec(of_the_broker(), 0..12),
        bridges in prop::collection::vec(
            (
                prop::collection::vec("[a-z]{1,8}(\\.example)?(:[1-9][0-9]{0,3})?|192\\.168\\.0\\.[1-9]|::1:1883", 1..4),
                prop::collection::vec(of_a_bridge(), 0..12),
            ),
            1..4,
        ),
    ) -> String {
        let broker = each_once(broker).join("\n");
        let bridges = bridges.into_iter().enumerate().map(|(at, (addresses, lines))| bridge(at, addresses, lines));
        format!("{broker}\n{}", bridges.collect::<String>())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&alone(bytes))?;
    }

    #[test]
    fn pieces_of_a_configuration_never_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "connection ", "a", "address ", "b:1883", "topic ", "#", "/", "+", " in ", " out ", " both ", " 1 ", "\n", "\n",
                "\n", " ", "\t", "\"\"", "listener ", "1883", "include_dir ", "mosquitto.conf", "remote_password pw\n",
                "remote_username u\n", "bridge_cafile c\n", "bridge_psk pw\n", "restart_timeout ", "true", "\r\n", "\0",
                "é", "per_listener_settings true\n", "password_file p\n", "acl_file a\n", "auth_opt_db pw\n", "plugin p\n",
                "notifications ", "round_robin ", "99999999999", "-1", "::1",
            ]),
            0..60,
        )
    ) {
        survives(&alone(pieces.concat()))?;
    }

    /// Most of them are taken, and then the document is one that Tidegate takes.
    #[test]
    fn what_mosquitto_takes_becomes_what_tidegate_takes(text in mosquitto_conf()) {
        survives(&alone(text))?;
    }
}

#[test]
fn most_generated_configurations_are_taken() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut taken = 0;
    for _ in 0..200 {
        let text = mosquitto_conf().new_tree(&mut runner).unwrap().current();
        taken += usize::from(import(&alone(text), false).is_ok());
    }
    assert!(taken > 40, "only {taken} of 200 say something");
}
