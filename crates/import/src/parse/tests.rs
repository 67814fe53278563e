//! Every trap of the grammar. What mosquitto 2.0.11 itself says to these texts, tests/import/grammar.rs asks it.

use super::*;
use crate::settings::{Direction, Find};
use std::collections::BTreeMap;
use std::path::PathBuf;

struct InMemory(BTreeMap<PathBuf, Vec<u8>>);

impl Files for InMemory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = self.0.keys().filter(|path| path.parent() == Some(folder));
        let names: Vec<String> = files.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

fn read(files: &[(&str, &str)]) -> Result<Mosquitto, Problems> {
    let files = files.iter().map(|(name, text)| (name.into(), text.as_bytes().to_vec())).collect();
    parse(Path::new("m.conf"), &InMemory(files))
}

#[track_caller]
fn good(text: &str) -> Mosquitto {
    read(&[("m.conf", text)]).unwrap()
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let problems = read(&[("m.conf", text)]).unwrap_err().to_string();
    for word in words {
        assert!(problems.contains(word), "no `{word}` in: {problems}");
    }
}

const BRIDGE: &str = "connection a\naddress h\ntopic t out\n";

#[test]
fn a_comment_begins_in_the_first_column_and_nowhere_else() {
    assert!(good("# x\n#y\n\n   \n\r\n").general.is_empty());
    refused("  # x\n", &["m.conf:1: `#` is no keyword", "first column"]);
    refused(" #x\n", &["`#x` is no keyword"]);
}

#[test]
fn blanks_separate_and_tabs_do_not() {
    assert_eq!(good("   log_type    all   \n").general.text("log_type"), Some("all"));
    refused("persistence\ttrue\n", &["m.conf:1", "a tab is part of a word"]);
    refused("\t\n", &["is no keyword"]);
}

#[test]
fn a_text_is_the_rest_of_its_line_hash_and_all() {
    let text = format!("{BRIDGE}remote_username  ann \t \nremote_password  a # b \r\n");
    let settings = &good(&text).bridges[0].settings[..];
    assert_eq!((settings.text("remote_username"), settings.text("remote_password")), (Some("ann"), Some("a # b")));
    refused(&format!("{BRIDGE}remote_username\n"), &["m.conf:4: `remote_username` has no value"]);
    refused(&format!("{BRIDGE}remote_username    \n"), &["m.conf:4: `remote_username` has no value"]);
    refused(&format!("{BRIDGE}remote_username a\tb\n"), &["control characters"]);
}

#[test]
fn a_text_twice_is_an_error_also_under_its_old_name() {
    refused(&format!("{BRIDGE}remote_username a\nusername b\n"), &["m.conf:5", "has a value already, at m.conf:4"]);
    let twice =
        good("connection a\naddress h\ntopic t\nremote_username a\nconnection b\naddress h\ntopic t\nusername b\n");
    assert_eq!(twice.bridges[1].settings.text("remote_username"), Some("b"));
    assert_eq!(good("persistence true\nretained_persistence 0\n").general.flag("persistence"), Some(false));
}

#[test]
fn a_flag_is_one_of_four_words_and_what_follows_is_not_looked_at() {
    assert_eq!(good("persistence 1 # yes\n").general.flag("persistence"), Some(true));
    assert_eq!(good("persistence false true\n").general.flag("persistence"), Some(false));
    refused("persistence True\n", &["`True` is no value of `persistence`; write true or false"]);
    refused("persistence yes\n", &["`yes`"]);
    refused("persistence\n", &["has no value"]);
}

#[test]
fn a_number_is_what_a_word_begins_with() {
    let read = good(&format!("{BRIDGE}keepalive_interval 60s\n"));
    assert_eq!(read.bridges[0].settings.number("keepalive_interval"), Some(60));
    assert_eq!(read.remarks[0].words, "mosquitto takes `60s` of `keepalive_interval` for 60");
    assert_eq!(
        good(&format!("{BRIDGE}keepalive_interval 2\n")).bridges[0].settings.number("keepalive_interval"),
        Some(5)
    );
    assert_eq!(good(&format!("{BRIDGE}threshold x\n")).bridges[0].settings.number("threshold"), Some(1));
    refused(&format!("{BRIDGE}keepalive_interval 65536\n"), &["write 5 to 65535"]);
    refused("port 0\n", &["write 1 to 65535"]);
    refused("max_qos 3\n", &["write 0 to 2"]);
    refused("max_packet_size 19\n", &["`19`"]);
}

#[test]
fn keywords_are_written_in_small_letters() {
    refused("Topic a\n", &["`Topic` is no keyword; keywords are written in small letters"]);
    refused("nonsense 1\n", &["m.conf:1: `nonsense` is no keyword", "does not start with it"]);
    refused("\u{feff}persistence true\n", &["byte order mark"]);
}

#[test]
fn addresses_stand_in_one_line_once() {
    let read = good("connection a\naddresses h k:8883 ::1:1884 [::1]:1885 # x:y\ntopic t\n");
    let addresses: Vec<_> = read.bridges[0].addresses.iter().map(|address| (&*address.host, address.port)).collect();
    assert_eq!(addresses, [("h", 1883), ("k", 8883), ("::1", 1884), ("::1", 1885)]);
    refused(
        "connection a\naddress h\naddresses k\ntopic t\n",
        &["m.conf:3: this bridge has its addresses already, at m.conf:2"],
    );
    refused("connection a\naddress # none\ntopic t\n", &["names no broker"]);
    refused("connection a\naddress h:0\ntopic t\n", &["`0` is no port"]);
    refused("connection a\naddress h:x\ntopic t\n", &["`x` is no port"]);
    refused("connection a\naddress mqtt://h\ntopic t\n", &["without a scheme"]);
    refused("connection a\naddress ::1\ntopic t\n", &["for the host `:` and a port", "behind an IPv6 address"]);
    refused("connection a\ntopic t\n", &["m.conf:1: connection `a` has no address"]);
}

#[test]
fn what_is_of_a_bridge_stands_behind_its_connection_in_the_same_file() {
    refused("topic a out 1\n", &["m.conf:1: `topic` is of a bridge"]);
    refused("address h\n", &["`address` is of a bridge"]);
    refused("cleansession true\n", &["`cleansession` is of a bridge"]);
    let files = [("m.conf", "connection a\naddress h\ntopic t\ninclude_dir d\ntopic u\n"), ("d/x.conf", "topic v\n")];
    let problems = read(&files).unwrap_err().to_string();
    assert!(problems.starts_with("d/x.conf:1: `topic` is of a bridge") && !problems.contains("m.conf:5"), "{problems}");
    refused("connection a\naddress h\n", &["connection `a` has no topic"]);
    refused("connection\n", &["`connection` has no name"]);
    refused(&format!("{BRIDGE}{BRIDGE}"), &["m.conf:4: there is a connection `a` already, at m.conf:1"]);
}

#[test]
fn what_a_broker_logs_is_no_setting_of_a_bridge() {
    let read = good(&format!("{BRIDGE}log_type all\nnotifications false\n"));
    assert_eq!((read.general.text("log_type"), read.bridges[0].settings.len()), (Some("all"), 1));
}

#[test]
fn folders_are_included_in_an_order_of_their_own_by_the_main_file_alone() {
    let names =
        ["b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf", "ab.conf", ".conf", "x.conf.old", "conf"];
    let mut files: Vec<(String, String)> =
        names.iter().map(|name| (format!("d/{name}"), format!("connection {name}\naddress h\ntopic t\n"))).collect();
    files.push(("m.conf".into(), "include_dir d\n".into()));
    files.push(("d/z.conf".into(), "include_dir d\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let read = read(&files).unwrap();
    let names: Vec<&str> = read.bridges.iter().map(|bridge| &*bridge.name).collect();
    assert_eq!(names, ["00.conf", "01.conf", "A.conf", "a.conf", "ab.conf", "B.conf", "b.conf"]);
    assert_eq!(read.bridges[0].place.to_string(), "d/00.conf:1");
    assert!(read.remarks[0].to_string().starts_with("d/z.conf:1: mosquitto does not look at `include_dir`"));
}

#[test]
fn a_folder_is_named_by_the_rest_of_the_line_blanks_included() {
    let there = ("d/x.conf", "");
    assert!(read(&[("m.conf", "include_dir d\n"), there]).is_ok());
    for text in ["include_dir  d\n", "include_dir d \n", "include_dir\n"] {
        assert!(read(&[("m.conf", text), there]).is_err(), "{text}");
    }
}

#[test]
fn a_version_is_a_whole_line_without_a_blank_more() {
    let version = |text: &str| read(&[("m.conf", &format!("{BRIDGE}bridge_protocol_version {text}\n"))]);
    assert_eq!(version("mqttv50").unwrap().bridges[0].settings.text("bridge_protocol_version"), Some("mqttv50"));
    for text in ["mqttv311 ", " mqttv311", "mqttv5", "", "mqttv311 # x"] {
        assert!(version(text).is_err(), "{text}");
    }
    assert!(version("mqttv311 ").unwrap_err().to_string().contains("without a blank more"));
}

#[test]
fn waits_are_one_number_or_two() {
    let waits = |text: &str| {
        let read = good(&format!("{BRIDGE}restart_timeout {text}\n"));
        read.bridges[0].settings.setting("restart_timeout").map(|setting| setting.value.clone())
    };
    assert_eq!(waits("20"), Some(Value::Waits(20, None)));
    assert_eq!(waits("0 30"), Some(Value::Waits(1, Some(30))));
    refused(&format!("{BRIDGE}restart_timeout 10 5\n"), &["the cap is below the base"]);
    refused(&format!("{BRIDGE}restart_timeout 10 # s\n"), &["a comment needs a line of its own"]);
    refused(&format!("{BRIDGE}restart_timeout\n"), &["has no value"]);
}

#[test]
fn what_belongs_to_a_listener_is_told_apart() {
    let text = "max_connections 5\nlistener 1883 127.0.0.1 x\nallow_anonymous true\nprotocol mqtt\nlistener 0 /run/m\nmax_qos 1\n";
    let read = good(text);
    assert_eq!(read.default_listener.number("max_connections"), Some(5));
    assert_eq!(read.general.flag("allow_anonymous"), Some(true));
    let shown: Vec<_> = read.listeners.iter().map(|l| (l.port, l.bind.as_deref(), l.settings.len())).collect();
    assert_eq!(shown, [(1883, Some("127.0.0.1"), 1), (0, Some("/run/m"), 1)]);
    let per_listener = good(&format!("per_listener_settings true\n{text}"));
    assert_eq!(per_listener.listeners[0].settings.flag("allow_anonymous"), Some(true));
    refused("allow_anonymous true\nper_listener_settings true\n", &["m.conf:2", "move it before m.conf:1"]);
    refused("listener 0\n", &["nobody can listen"]);
    refused("listener 65536\n", &["nobody can listen"]);
    refused("listener\n", &["names no port"]);
    refused("mount_point x\n", &["stands before any `listener`"]);
    assert_eq!(good("listener 1883 # all\n").listeners[0].bind, None);
}

#[test]
fn keys_and_certificates_exclude_each_other() {
    refused(
        &format!("{BRIDGE}bridge_cafile c\nbridge_identity i\nbridge_psk aa\n"),
        &["certificates and a pre-shared key"],
    );
    refused(&format!("{BRIDGE}bridge_psk aa\n"), &["needs a `bridge_identity`"]);
    refused(&format!("{BRIDGE}bridge_identity aa\n"), &["needs a `bridge_psk`"]);
}

#[test]
fn local_ids_differ() {
    let same = "connection a\naddress h\ntopic t\nclientid x\nconnection b\naddress h\ntopic t\nremote_clientid x\n";
    refused(same, &["m.conf:5: connection `b` has the `local_clientid` of the one at m.conf:1"]);
    assert!(read(&[("m.conf", &format!("{same}local_clientid y\n"))]).is_ok());
}

#[test]
fn options_of_plugins_stand_behind_them() {
    refused("auth_opt_x hunter2\n", &["`auth_opt_x` stands before any `plugin`"]);
    assert_eq!(good("auth_plugin /p\nauth_opt_x 1\nplugin_opt_y 2\n").general.len(), 3);
}

#[test]
fn all_problems_are_told_at_once_and_no_secret_is() {
    let text = "nonsense 1\nconnection a\ntopic a b\nremote_password hunter2\u{1}\npersistence maybe\n";
    let problems = read(&[("m.conf", text)]).unwrap_err();
    let lines: Vec<usize> = problems.0.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [1, 3, 4, 5]);
    assert!(!problems.to_string().contains("hunter2"));
    let settings = good(&format!("{BRIDGE}remote_password hunter2\n"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn files_that_are_none_are_told() {
    assert_eq!(read(&[]).unwrap_err().0[0].place.to_string(), "m.conf");
    let bytes = [("m.conf".into(), b"a\0b\n".to_vec())];
    assert!(parse(Path::new("m.conf"), &InMemory(bytes.into())).unwrap_err().to_string().contains("null character"));
    let bytes = [("m.conf".into(), b"user \xff\n# \xff\n".to_vec())];
    let problems = parse(Path::new("m.conf"), &InMemory(bytes.into())).unwrap_err();
    assert_eq!(problems.to_string(), "m.conf:1: this line is not UTF-8; save the file as UTF-8");
    let bytes = [("m.conf".into(), vec![b'#'; MAX_FILE_BYTES + 1])];
    assert!(parse(Path::new("m.conf"), &InMemory(bytes.into())).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn directions_do_not_care_for_case() {
    let read = good("connection a\naddress h\ntopic t IN\n");
    assert_eq!(read.bridges[0].topics[0].direction, Direction::In);
}
