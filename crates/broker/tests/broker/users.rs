use crate::device::{Device, anonymous, config, lasting, message, with};
use std::process::Command;
use tidegate_broker::{Settings, UserHash, UserProblem, Users, user_line};
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version};

/// A user file as the well-known tool writes it.
fn made_by_mosquitto_passwd(users: &[(&str, &str)]) -> Users {
    Users::parse(&file_made_by_mosquitto_passwd(users)).unwrap()
}

fn file_made_by_mosquitto_passwd(users: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, "").unwrap();
    for (name, password) in users {
        let status = Command::new("mosquitto_passwd").arg("-b").arg(&file).args([name, password]).status();
        assert!(status.expect("mosquitto_passwd (Debian: mosquitto) is needed").success());
    }
    std::fs::read_to_string(file).unwrap()
}

fn login(id: &str, name: &str, password: &str) -> ClientConfig {
    ClientConfig {
        username: Some(name.to_owned().into()),
        password: Some(password.to_owned().into()),
        ..config(id, Version::V5)
    }
}

#[test]
fn the_password_file_of_mosquitto_lets_in_who_is_in_it() {
    let users = made_by_mosquitto_passwd(&[("alice", "wonder land"), ("bob", "ö")]);
    assert_eq!(users.len(), 2);
    assert!(users.verify("alice", b"wonder land") && users.verify("bob", "ö".as_bytes()));
    assert!(!users.verify("alice", b"wonder lane") && !users.verify("alice", b"") && !users.verify("carol", b""));
    with(Settings { users: Some(users), ..Settings::default() }, |server| async move {
        assert!(Device::try_connect(server.addr, login("a", "alice", "wonder land")).await.is_ok());
        for (name, password) in [("alice", "wrong"), ("alice", ""), ("carol", "wonder land"), ("", "")] {
            let refused = Device::try_connect(server.addr, login("a", name, password)).await.err();
            assert_eq!(refused, Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD), "{name} {password}");
            let old = ClientConfig { version: Version::V311, ..login("a", name, password) };
            let refused = Device::try_connect(server.addr, old).await.err();
            assert_eq!(refused, Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD));
        }
        let refused = Device::try_connect(server.addr, config("a", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED), "anonymous");
    });
}

/// Of mosquitto before 2.0 (its SHA-512 is Python's), of 2.1 (the vector is of Argon2's reference implementation, test.c), and our own.
#[test]
fn older_and_newer_hashes_of_mosquitto_are_known() {
    let text = format!(
        "old:$6$MDEyMzQ1Njc4OWFi$c6NiHNeTg4D++MzaDxQ12nvnkC/fR4JwIAR8cyJ5MiT3P0elhEayZ2sxhPmGRNW+k7yM713741h2qSzJVp8qkQ==\n\
         new:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n{}\n",
        user_line("ours", "ö \"x".as_bytes(), UserHash::Pbkdf2).unwrap()
    );
    let users = Users::parse(&text).unwrap();
    assert_eq!(users.names(), [("new", "Argon2id"), ("old", "SHA512"), ("ours", "PBKDF2-SHA512")]);
    assert!(users.verify("old", b"wonder land") && users.verify("new", b"password"));
    assert!(users.verify("ours", "ö \"x".as_bytes()));
    for name in ["old", "new", "ours", "nobody"] {
        assert!(!users.verify(name, b"wrong") && !users.verify(name, b""), "{name}");
    }
    for name in ["", "a:b", "#a", " a", "a\n"] {
        assert!(user_line(name, b"x", UserHash::Pbkdf2).is_err(), "{name:?}");
    }
    assert_ne!(
        user_line("a", b"x", UserHash::Pbkdf2),
        user_line("a", b"x", UserHash::Pbkdf2),
        "each has a salt of its own"
    );
}

#[test]
fn nobody_is_let_in_unless_somebody_says_so() {
    with(Settings::default(), |server| async move {
        let refused = Device::try_connect(server.addr, config("a", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED));
        let refused = Device::try_connect(server.addr, login("a", "alice", "x")).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED));
    });
}

#[test]
fn anonymous_clients_and_users_go_together_if_allowed() {
    let users = Some(made_by_mosquitto_passwd(&[("alice", "secret")]));
    with(Settings { users, ..anonymous() }, |server| async move {
        assert!(Device::try_connect(server.addr, config("a", Version::V5)).await.is_ok());
        assert!(Device::try_connect(server.addr, login("b", "alice", "secret")).await.is_ok());
        let refused = Device::try_connect(server.addr, login("b", "alice", "wrong")).await.err();
        assert_eq!(refused, Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD));
    });
}

#[test]
fn checking_passwords_does_not_stop_messages() {
    // About a second of work, with and without optimisation.
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let slow = format!("eve:$7${rounds}$c2FsdHNhbHRzYWx0$")
        + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    with(Settings { users: Some(Users::parse(&slow).unwrap()), ..anonymous() }, |server| async move {
        let mut device = server.device("d").await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        let addr = server.addr;
        let eve = tokio::task::spawn_local(Device::try_connect(addr, login("eve", "eve", "x")));
        let started = std::time::Instant::now();
        let mut rounds = 0;
        while !eve.is_finished() && started.elapsed() < std::time::Duration::from_millis(300) {
            device.publish(message("t", "x", QoS::AtLeastOnce)).await;
            device.next().await;
            rounds += 1;
        }
        assert!(rounds > 3, "{rounds}");
    });
}

#[test]
fn another_user_gets_neither_the_connection_nor_what_waits_in_the_session() {
    let users = Some(made_by_mosquitto_passwd(&[("alice", "a"), ("bob", "b")]));
    with(Settings { users, ..anonymous() }, |server| async move {
        let keeps = |name, password| login_lasting("shared-id", name, password);
        let mut alice = Device::connect(server.addr, keeps("alice", "a")).await;
        alice.subscribe("t", QoS::AtLeastOnce).await;
        let refused = Device::try_connect(server.addr, keeps("bob", "b")).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED));
        alice.goodbye().await;
        let mut publisher = server.device("from").await;
        publisher.publish(message("t", "for alice", QoS::AtLeastOnce)).await;
        let (mut bob, connected) = Device::try_connect(server.addr, keeps("bob", "b")).await.unwrap();
        assert!(!connected.session_present);
        assert!(bob.drain().await.is_empty());
    });
}

fn login_lasting(id: &str, name: &str, password: &str) -> ClientConfig {
    ClientConfig { session_expiry_s: 60, clean_start: false, ..login(id, name, password) }
}

#[test]
fn who_is_taken_out_of_the_file_is_sent_away() {
    let text = file_made_by_mosquitto_passwd(&[("alice", "a"), ("bob", "b")]);
    let settings = Settings { users: Some(Users::parse(&text).unwrap()), ..anonymous() };
    with(settings.clone(), |server| async move {
        let mut alice = Device::connect(server.addr, login("alice", "alice", "a")).await;
        let mut bob = Device::connect(server.addr, login("bob", "bob", "b")).await;
        let mut nobody = Device::connect(server.addr, lasting("nobody", Version::V5)).await;
        server.broker.reconfigure(settings.clone());
        let without_alice: String = text.lines().filter(|line| !line.starts_with("alice")).collect();
        let users = Some(Users::parse(&without_alice).unwrap());
        server.broker.reconfigure(Settings { users, ..settings.clone() });
        assert_eq!(alice.ended().await, Some(ReasonCode::NOT_AUTHORIZED));
        bob.subscribe("t", QoS::AtMostOnce).await;
        nobody.subscribe("t", QoS::AtMostOnce).await;
        server.broker.reconfigure(Settings { allow_anonymous: false, ..settings });
        assert_eq!(nobody.ended().await, Some(ReasonCode::NOT_AUTHORIZED));
    });
}

#[test]
fn a_user_file_that_is_none_is_refused_line_by_line() {
    let good = format!("good:$7$101$c2FsdA==${}==", "A".repeat(86));
    assert_eq!(Users::parse(&format!("# a comment\r\n\n{good}\r\n")).unwrap().len(), 1);
    let text = format!(
        "alice:secret\nno colon\n{good}\nold:$6$c2FsdA==$aGFzaA==\nbad:$7$101$c2FsdA==$!\n{good}\nx:$7$0$$\n:x\n\
         md5:$1$c2FsdA==$aGFzaA==\nbig:$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n\
         cut:$argon2id$v=19$m=65536,t=2"
    );
    let errors = Users::parse(&text).unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.line, error.problem)).collect();
    use UserProblem::{Costly, Damaged, Kind, PlainText, Shape, Twice};
    let hashes =
        [(4, Damaged), (5, Damaged), (6, Twice), (7, Damaged), (8, Shape), (9, Kind), (10, Costly), (11, Damaged)];
    assert_eq!(found, [&[(1, PlainText), (2, Shape)], &hashes[..]].concat());
    let words = errors[0].to_string();
    assert!(words.contains("mosquitto_passwd -U") && !words.contains("secret"), "{words}");
}
