//! Who may look and who may change something: tokens, the owner's key, pages of others, and what is too much.

use super::{CONTROL, House, ask};
use crate::fixture::{PATIENCE, run};
use std::io::{Read, Write};
use std::net::TcpStream;
use tidegate_testkit::{Certs, eventually, free_port};

const TOKEN: (&str, &str) = ("Authorization", "Bearer sesame");

fn refused(house: &House, reason: &str) -> f64 {
    house.tidegate_metrics().get("tidegate_admin_refused_total", &[("reason", reason)]).unwrap_or(0.0)
}

impl House {
    fn tidegate_metrics(&self) -> tidegate_testkit::Metrics {
        tidegate_testkit::Metrics::parse(&self.ask("GET", "/metrics", &[], "").1)
    }
}

#[test]
fn without_a_word_of_control_only_the_commands_of_the_gateways_user_change_anything() {
    let house = House::start("");
    house.device().publish("dev/1/temp", b"no json", 1, false).unwrap();
    eventually("it is parked", PATIENCE, || house.get("parked").as_array().unwrap().len() == 1);
    for (method, path) in [("DELETE", "/api/v1/parked/1"), ("DELETE", "/parked/1"), ("POST", "/api/v1/parked/1/replay")]
    {
        let (status, words) = house.ask(method, path, &[], "");
        assert!(status == 403 && words.contains("`control` of [admin] is off"), "{path}: {status} {words}");
    }
    assert_eq!(house.ask("DELETE", "/parked/1", &[("Authorization", "Bearer wrong")], "").0, 401);
    assert_eq!(house.get("parked").as_array().unwrap().len(), 1);
    assert_eq!((refused(&house, "not_allowed"), refused(&house, "wrong_token")), (3.0, 1.0));
    assert!(house.says(&["parked", "delete", "1"]).contains("message 1 is deleted"));
    house.tidegate.wait_for_log("operated through the admin server", PATIENCE);
    use std::os::unix::fs::PermissionsExt;
    let key = house.tidegate.dir().join("data/admin.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_token_changes_something_and_one_to_look_does_not() {
    let keys = format!("{CONTROL}read_token = {{ env = \"LOOK\" }}\n");
    let [admin, home, office, cloud] = [(); 4].map(|()| free_port());
    let config = super::config(admin, home, office, cloud, &keys);
    let tidegate = super::files(tidegate_testkit::Tidegate::builder(&config)).env("LOOK", "look").spawn();
    let admin = format!("127.0.0.1:{admin}");
    eventually("the admin listener is there", PATIENCE, || TcpStream::connect(&admin).is_ok());
    let look = ("Authorization", "Bearer look");
    let status = |method: &str, path: &str, headers: &[(&str, &str)]| ask(&admin, method, path, headers, "").0;
    for path in ["/api/v1/status", "/parked", "/api/v1/stream"] {
        assert_eq!(status("GET", path, &[]), 401, "{path}");
    }
    assert_eq!(status("GET", "/api/v1/status", &[look]), 200);
    assert_eq!(status("GET", "/", &[]), 200, "there is nothing in the page itself");
    assert_eq!(status("GET", "/metrics", &[]), 200, "monitoring needs none");
    assert_eq!(status("DELETE", "/api/v1/parked/1", &[look]), 403);
    assert_eq!(status("DELETE", "/api/v1/parked/1", &[TOKEN]), 404, "there is none, and he may");
    // A token is for the one who has it: it stands in no line of the log.
    assert!(!tidegate.log().contains("sesame") && !tidegate.log().contains("Bearer"), "{}", tidegate.log());
}

#[test]
fn pages_of_others_are_refused_under_whatever_name_they_come() {
    let house = House::start(CONTROL);
    let own = house.admin.clone();
    let status = |headers: &[(&str, &str)]| house.ask("GET", "/api/v1/status", headers, "").0;
    assert_eq!(status(&[("Host", &own)]), 200);
    assert_eq!(status(&[("Host", &own), ("Origin", &format!("http://{own}")), ("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(status(&[("Host", "evil.example")]), 403, "its name was made to mean this machine");
    assert_eq!(status(&[("Host", &own), ("Origin", "http://evil.example")]), 403);
    assert_eq!(status(&[("Host", &own), ("Origin", "null")]), 403);
    assert_eq!(status(&[("Host", &own), ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(status(&[("Host", &own), ("Sec-Fetch-Mode", "no-cors")]), 403);
    assert_eq!(
        house.ask("POST", "/api/v1/parked/1/replay", &[("Host", &own), ("Origin", "http://evil.example"), TOKEN], "").0,
        403
    );
    assert_eq!((refused(&house, "foreign_host"), refused(&house, "foreign_origin")), (1.0, 5.0));
}

#[test]
fn who_is_slow_or_speaks_no_http_costs_a_connection_for_a_moment() {
    let house = House::start("");
    let mut stream = TcpStream::connect(&house.admin).unwrap();
    stream.write_all(b"\x10\x0cMQTT, and no HTTP\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    eventually("it is counted", PATIENCE, || refused(&house, "no_http") == 1.0);
    let mut stream = TcpStream::connect(&house.admin).unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)).as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    eventually("a head without an end is counted", PATIENCE, || refused(&house, "no_http") == 2.0);
    // A head that drips in.
    let mut stream = TcpStream::connect(&house.admin).unwrap();
    stream.write_all(b"GET / HT").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(refused(&house, "too_slow"), 1.0);
    let (status, words) = house.ask("POST", "/api/v1/explain", &[], &"x".repeat(2 * 1024 * 1024));
    assert!(status == 413, "{status} {words}");
    assert_eq!(house.ask("GET", "/health", &[], ""), (200, "ok\n".to_owned()));
}

#[test]
fn a_unix_socket_is_for_whoever_may_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock").display().to_string();
    let config = |control: &str| {
        format!(
            "[admin]\nlisten = \"unix:{socket}\"\n{control}[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{}\"]\n\
             [brokers.other]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{}\"]\n\
             [[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"#\"] }}\nto = [\"other\"]\n",
            free_port(),
            free_port()
        )
    };
    for (control, expected) in [("", "403"), ("control = true\n", "404")] {
        let tidegate = tidegate_testkit::Tidegate::builder(&config(control)).spawn();
        eventually("it answers", PATIENCE, || curl(&socket, &["http://x/health"]).ends_with("200"));
        assert!(curl(&socket, &["http://evil.example/api/v1/status"]).ends_with("200"), "no page gets here");
        assert!(curl(&socket, &["-X", "DELETE", "http://x/api/v1/parked/1"]).ends_with(expected), "{control}");
        let file = tidegate.dir().join("tidegate.toml").display().to_string();
        let output = run(&["status", "--config", &file]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("ready"), "{output:?}");
    }
}

/// The body and the status.
fn curl(socket: &str, args: &[&str]) -> String {
    let mut command = std::process::Command::new("curl");
    command.args(["-s", "--unix-socket", socket, "-w", "%{http_code}"]).args(args);
    String::from_utf8(command.output().expect("curl runs").stdout).expect("text")
}

#[test]
fn with_tls_the_commands_trust_the_certificate_of_the_configuration_and_no_other() {
    let (certs, others) = (Certs::new(), Certs::new());
    let server = certs.server();
    let port = free_port();
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:{port}\"\ntls = {{ cert = {:?}, key = {:?} }}\n\
         [brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{}\"]\n\
         [brokers.other]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{}\"]\n\
         [[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"#\"] }}\nto = [\"other\"]\n",
        server.cert,
        server.key,
        free_port(),
        free_port()
    );
    let tidegate = tidegate_testkit::Tidegate::builder(&config).spawn();
    let file = tidegate.dir().join("tidegate.toml");
    let status = |file: &std::path::Path| run(&["status", "--config", &file.display().to_string()]);
    eventually("it answers", PATIENCE, || status(&file).status.success());
    assert!(String::from_utf8_lossy(&status(&file).stdout).contains("ready"));
    let text = std::fs::read_to_string(&file).unwrap();
    let other = tidegate.dir().join("other.toml");
    let cert = |certs: &Certs| format!("{:?}", certs.server().cert);
    std::fs::write(&other, text.replace(&cert(&certs), &cert(&others))).unwrap();
    let refused = status(&other);
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("certificate"),
        "{refused:?}"
    );
    let get = |args: &[&str]| {
        let url = format!("https://localhost:{port}/health");
        let output = std::process::Command::new("curl").arg("-s").args(args).arg(url).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(get(&["--cacert", &certs.ca().display().to_string()]), "ok\n");
    assert_eq!(get(&[]), "", "nobody has signed it that is known here");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.windows(2).any(|at| at == b"ok"), "nothing goes without TLS");
}

/// Somebody starts a second one by mistake: it finds the folder in use, and must not have touched the first one's key.
#[test]
fn a_second_gateway_in_the_same_folder_takes_nothing_from_the_first() {
    let house = House::start("");
    let text = std::fs::read_to_string(house.tidegate.dir().join("tidegate.toml")).unwrap();
    let other = house.tidegate.dir().join("other.toml");
    let port = house.admin.rsplit_once(':').unwrap().1;
    std::fs::write(&other, text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", free_port()))).unwrap();
    let output = run(&["run", "--config", &other.display().to_string()]);
    assert!(!output.status.success(), "{output:?}");
    house.device().publish("dev/1/temp", b"no json", 1, false).unwrap();
    eventually("it is parked", PATIENCE, || house.get("parked").as_array().unwrap().len() == 1);
    assert!(house.says(&["parked", "delete", "1"]).contains("message 1 is deleted"));
}
