use crate::device::{Device, Raw, anonymous, config, message, with};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::{Duration, Instant};
use tidegate_broker::{Limits, Settings, UserHash, Users, user_line};
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version};

fn login(version: Version, password: &str) -> ClientConfig {
    ClientConfig {
        username: Some("ann".to_owned().into()),
        password: Some(password.to_owned().into()),
        ..config("a", version)
    }
}

fn with_ann(limits: Limits) -> Settings {
    let users = Some(Users::parse(&user_line("ann", b"right", UserHash::Pbkdf2).unwrap()).unwrap());
    Settings { users, limits, failed_login_delay: Duration::from_millis(100), ..Settings::default() }
}

/// All that is sent arrives, and no faster than the rate once a second's worth is used up.
#[test]
fn who_publishes_faster_than_it_may_is_read_from_more_slowly_and_loses_nothing() {
    for (limits, payload) in [
        (Limits { message_rate: NonZeroU32::new(1000), ..Limits::default() }, 1),
        (Limits { byte_rate: NonZeroU64::new(1_000_000), ..Limits::default() }, 1000),
    ] {
        with(Settings { limits, ..anonymous() }, |server| async move {
            let mut listener = server.device("listener").await;
            listener.subscribe("t", QoS::AtMostOnce).await;
            let mut flood = server.device("flood").await;
            let began = Instant::now();
            for number in 0..1500 {
                flood.send(message("t", &format!("{number:>payload$}"), QoS::AtMostOnce)).await;
            }
            for number in 0..1500 {
                assert_eq!(listener.next_payloads(1).await[0].trim_start(), number.to_string());
            }
            // A second's worth at once, and the rest in the half of one, less what is taken in one piece.
            assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
            assert!(server.broker.stats().held_up >= 1);
            let gateway = server.gateway(&[]);
            let known = gateway.local.client("flood").unwrap().client;
            assert_eq!((known.received, known.held_up > 0), (1500, true));
            assert_eq!(gateway.local.client("listener").unwrap().client.held_up, 0);
            // It is still there, and a limit that goes holds nobody up.
            server.broker.reconfigure(anonymous());
            for number in 0..3000 {
                flood.send(message("t", &number.to_string(), QoS::AtMostOnce)).await;
            }
            assert_eq!(listener.next_payloads(3000).await.len(), 3000);
        });
    }
}

/// A limit holds for clients that are there: they are not asked to come back first.
#[test]
fn a_rate_that_is_set_holds_for_who_is_connected() {
    with(anonymous(), |server| async move {
        let mut flood = Raw::connect(server.addr, 4).await;
        let limits = Limits { message_rate: NonZeroU32::new(10), ..Limits::default() };
        server.broker.reconfigure(Settings { limits, ..anonymous() });
        // Forty of QoS 0 and a ping in one piece: no more than a second's worth is taken of them at once.
        let packet = b"\x30\x04\x00\x01tx";
        flood.send(&packet.repeat(40)).await;
        server.until(|stats| stats.held_up > 0).await;
        assert!(server.broker.stats().received <= 20, "{:?}", server.broker.stats());
        server.until(|stats| stats.received == 40).await;
        flood.send(b"\xc0\x00").await;
        assert_eq!(flood.packet().await.unwrap(), b"\xd0\x00", "it was not taken for dead");
    });
}

#[test]
fn so_many_connections_come_from_one_address_and_the_next_is_told_so() {
    let limits = Limits { connections_per_address: NonZeroU32::new(2), ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let (first, _second) = (server.device("1").await, server.device_311("2").await);
        let refused = Device::try_connect(server.addr, config("3", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::QUOTA_EXCEEDED));
        let refused = Device::try_connect(server.addr, config("3", Version::V311)).await.err();
        assert_eq!(refused, Some(ReasonCode::SERVER_UNAVAILABLE), "as far as 3.1.1 can say it");
        first.goodbye().await;
        // The socket of whoever was refused counts until it is closed.
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(reason) = Device::try_connect(server.addr, config("3", Version::V5)).await {
            assert!(reason == ReasonCode::QUOTA_EXCEEDED && Instant::now() < deadline, "{reason}");
        }
    });
}

#[test]
fn who_comes_again_while_its_old_connection_counts_is_none_too_many() {
    let limits = Limits { connections_per_address: NonZeroU32::new(2), ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let _first = server.device("1").await;
        let _lost = server.device("2").await;
        let mut again = Vec::new();
        for version in [Version::V5, Version::V311, Version::V5] {
            let came = Device::try_connect(server.addr, config("2", version)).await;
            again.push(came.expect("it takes its own place"));
        }
        assert_eq!(server.broker.stats().connections, 2);
        let refused = Device::try_connect(server.addr, config("3", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::QUOTA_EXCEEDED));
    });
}

#[test]
fn connections_that_come_too_fast_are_told_so() {
    let limits = Limits { connect_rate: NonZeroU32::new(3), ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut answers = Vec::new();
        for number in 0..5 {
            answers.push(
                Device::try_connect(server.addr, config(&number.to_string(), Version::V5)).await.map(|_| ()).err(),
            );
        }
        assert_eq!(answers[..3], [None, None, None]);
        assert!(answers[3..].contains(&Some(ReasonCode::CONNECTION_RATE_EXCEEDED)), "{answers:?}");
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(Device::try_connect(server.addr, config("later", Version::V5)).await.is_ok());
    });
}

#[test]
fn a_wrong_password_costs_time_and_more_each_time_and_the_right_one_does_not() {
    with(with_ann(Limits::default()), |server| async move {
        for version in [Version::V5, Version::V311] {
            let began = Instant::now();
            let refused = Device::try_connect(server.addr, login(version, "wrong")).await.err();
            assert_eq!(refused, Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD));
            assert!(began.elapsed() >= Duration::from_millis(100));
        }
        let third = Instant::now();
        let _ = Device::try_connect(server.addr, login(Version::V5, "wrong")).await;
        assert!(third.elapsed() >= Duration::from_millis(400));
        assert!(Device::try_connect(server.addr, login(Version::V5, "right")).await.is_ok());
        let stats = server.broker.stats();
        assert_eq!((stats.failed_logins, stats.refused, stats.accepted), (3, 3, 1));
        let failed = server.gateway(&[]).local.failed_logins();
        assert_eq!(
            failed.iter().map(|one| (one.address.to_string(), one.count)).collect::<Vec<_>>(),
            [("127.0.0.1".to_owned(), 3)]
        );
    });
}

/// However many try at once: so many wait to be told, and the others are told to come later without being asked.
#[test]
fn who_guesses_in_parallel_is_held_to_a_few_at_a_time() {
    let settings = Settings { failed_login_delay: Duration::from_secs(2), ..with_ann(Limits::default()) };
    with(settings, |server| async move {
        let addr = server.addr;
        let guesses: Vec<_> = (0..40)
            .map(|_| {
                tokio::task::spawn_local(async move {
                    Device::try_connect(addr, login(Version::V5, "wrong")).await.map(|_| ()).err()
                })
            })
            .collect();
        let mut answers = Vec::new();
        for guess in guesses {
            answers.push(guess.await.unwrap());
        }
        let busy = answers.iter().filter(|answer| **answer == Some(ReasonCode::SERVER_BUSY)).count();
        let wrong = answers.iter().filter(|answer| **answer == Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD)).count();
        assert_eq!(busy + wrong, 40);
        assert!(busy > 0, "{answers:?}");
        assert_eq!(server.broker.stats().failed_logins, wrong as u64);
    });
}

/// What makes no message of its own comes first, and as much of it as is taken at a time: what is behind it waits for nobody.
#[test]
fn what_comes_in_one_piece_is_taken_to_its_end() {
    let limits = Limits { message_rate: NonZeroU32::new(10), ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut raw = Raw::connect(server.addr, 4).await;
        raw.send(&[&b"\xC0\0".repeat(5)[..], b"\x32\x06\0\x01t\0\x07x"].concat()).await;
        for _ in 0..5 {
            assert_eq!(raw.packet().await.unwrap(), b"\xD0\0");
        }
        assert_eq!(raw.packet().await.unwrap(), b"\x40\x02\0\x07");
        // Answers to nothing, then half a packet, and its end later.
        raw.send(&[&b"\x40\x02\0\x63".repeat(5)[..], b"\x82\x06\0\x01\0\x01t\0\xC0"].concat()).await;
        assert_eq!(raw.packet().await.unwrap(), b"\x90\x03\0\x01\0");
        raw.send(b"\0").await;
        assert_eq!(raw.packet().await.unwrap(), b"\xD0\0");
    });
}

/// Also when it has used up a quarter of an hour.
#[test]
fn a_rate_that_goes_frees_who_was_held_up_by_it() {
    let slow = |rate| Limits { byte_rate: NonZeroU64::new(rate), ..Limits::default() };
    for after in [Limits::default(), slow(1_000_000_000)] {
        with(Settings { limits: slow(1000), ..anonymous() }, |server| async move {
            let mut raw = Raw::connect(server.addr, 4).await;
            raw.send(&[b"\x30\xC3\xB8\x02\0\x01t", &[b'x'; 40_000][..]].concat()).await;
            server.until(|stats| stats.held_up == 1).await;
            raw.send(b"\xC0\0").await;
            server.broker.reconfigure(Settings { limits: after, ..anonymous() });
            assert_eq!(raw.packet().await.unwrap(), b"\xD0\0");
        });
    }
}
