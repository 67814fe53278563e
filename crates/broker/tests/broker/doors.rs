use crate::device::{Device, PATIENCE, Raw, anonymous, config, message, with};
use crate::statements::{ask, connect, text};
use std::time::Duration;
use tidegate_broker::{Scheme, Settings, UserHash, Users, bind, bind_unix, user_line};
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, Control, ReasonCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

const CONNECT: &[u8] = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04unix";

#[test]
fn clients_come_in_at_a_unix_socket() {
    with(anonymous(), |server| async move {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        // Left behind by a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, stop) = (bind_unix(&path).unwrap(), CancellationToken::new());
        assert_eq!(listener.scheme(), Scheme::Unix);
        assert!(bind_unix(&path).is_err(), "somebody answers there");
        let serving = tokio::task::spawn_local(server.broker.clone().serve(listener, stop.clone()));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(CONNECT).await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        let gateway = server.gateway(&[("t", QoS::AtMostOnce)]);
        client.write_all(b"\x30\x04\x00\x01tx").await.unwrap();
        assert_eq!(gateway.next().await.message.payload, "x");
        let known = gateway.local.client("unix").unwrap().client.connection.unwrap();
        assert_eq!((&*known.peer, known.transport), ("unix", "unix"));
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(!path.exists(), "it is taken away when nobody listens any more");
    });
}

/// Another file at that path is not ours to remove.
#[test]
fn a_file_in_the_way_of_a_unix_socket_stays() {
    with(anonymous(), |_| async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        assert!(bind_unix(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    });
}

#[test]
fn behind_a_proxy_clients_are_who_it_says() {
    let settings = Settings { proxies: vec!["127.0.0.0/8".parse().unwrap()], ..anonymous() };
    with(settings, |server| async move {
        let gateway = server.gateway(&[]);
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        v2.extend([192, 0, 2, 8, 192, 0, 2, 1, 0x0F, 0xA0, 7, 91]);
        for (header, is) in [
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 1883\r\n".to_vec(), "192.0.2.7:4000"),
            (v2, "192.0.2.8:4000"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 1883\r\n".to_vec(), "[2001:db8::7]:4000"),
        ] {
            let mut client = TcpStream::connect(server.addr).await.unwrap();
            // In two pieces, the second with what is behind the header.
            client.write_all(&header[..5]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.write_all(&[&header[5..], CONNECT].concat()).await.unwrap();
            let mut answer = [0; 4];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [0x20, 2, 0, 0]);
            assert_eq!(gateway.local.client("unix").unwrap().client.connection.unwrap().peer, is);
        }
        // Who is known as a proxy and does not speak as one is not let in, and does not hold anything up.
        let mut bare = Raw::open(server.addr).await;
        bare.send(CONNECT).await;
        assert!(tokio::time::timeout(PATIENCE, bare.is_closed()).await.unwrap());
        server.until(|stats| stats.refused == 1).await;
    });
}

#[test]
fn who_is_no_proxy_cannot_say_that_it_is_somebody_else() {
    let settings = Settings { proxies: vec!["192.0.2.0/24".parse().unwrap()], ..anonymous() };
    with(settings, |server| async move {
        let mut liar = Raw::open(server.addr).await;
        liar.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 1883\r\n").await;
        assert!(tokio::time::timeout(PATIENCE, liar.is_closed()).await.unwrap());
        assert!(Device::try_connect(server.addr, config("honest", Version::V5)).await.is_ok());
    });
}

/// MQTT 5.0 sections 3.1.2.11.6 and 3.2.2.3.15.
#[test]
fn who_asks_where_answers_may_be_sent_is_told_a_topic_of_its_own() {
    let users = Users::parse(&user_line("ann", b"secret", UserHash::Pbkdf2).unwrap()).unwrap();
    let settings = Settings {
        response_information: Some("answers/%u/%c".to_owned()),
        users: Some(users),
        allow_anonymous: true,
        ..anonymous()
    };
    with(settings, |server| async move {
        let asks = async |properties: &[u8], id: &str, user: Option<&str>| {
            let mut raw = Raw::open(server.addr).await;
            let (flags, login) = user.map_or((2, Vec::new()), |user| (0xC2, [text(user), text("secret")].concat()));
            let mut answer = ask(&mut raw, &connect(5, flags, properties, &[&text(id), &login])).await;
            assert_eq!((answer[0], answer[3]), (0x20, 0), "{}", answer.escape_ascii());
            let at = answer.iter().position(|byte| *byte == 0x1A)?;
            Some(String::from_utf8(answer.split_off(at + 3)).unwrap())
        };
        assert_eq!(asks(b"\x19\x01", "c1", Some("ann")).await.as_deref(), Some("answers/ann/c1"));
        assert_eq!(asks(b"\x19\x00", "c1", Some("ann")).await, None, "it does not ask");
        assert_eq!(asks(b"", "c1", Some("ann")).await, None, "nor does this one");
        assert_eq!(asks(b"\x19\x01", "c1", None).await, None, "it has no user name");
        assert_eq!(asks(b"\x19\x01", "c+", Some("ann")).await, None, "that makes no topic");
        // A client that takes no packet so long is let in without.
        assert_eq!(asks(b"\x19\x01\x27\0\0\0\x28", "c1", Some("ann")).await, None);
        let settings = Settings { response_information: Some("box/answers".to_owned()), ..anonymous() };
        server.broker.reconfigure(settings);
        assert_eq!(asks(b"\x19\x01", "c1", None).await.as_deref(), Some("box/answers"));
    });
}

#[test]
fn a_box_that_is_drained_sends_its_clients_to_another_server() {
    with(anonymous(), |server| async move {
        let (mut new, mut old) = (server.device("new").await, server.device_311("old").await);
        let elsewhere = Some("other.example:8883".to_owned());
        server.broker.reconfigure(Settings { server_reference: elsewhere.clone(), ..anonymous() });
        match new.next_control().await {
            Control::Disconnected { reason, server_reference, .. } => {
                assert_eq!((reason, server_reference), (ReasonCode::USE_ANOTHER_SERVER, elsewhere));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(old.ended().await, None);
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03raw").await;
        let answer = raw.packet().await.unwrap();
        assert_eq!((answer[0], answer[3]), (0x20, ReasonCode::USE_ANOTHER_SERVER.0));
        assert!(answer.ends_with(b"\x1c\x00\x12other.example:8883"), "{}", answer.escape_ascii());
        let refused = Device::try_connect(server.addr, config("old", Version::V311)).await.err();
        assert_eq!(refused, Some(ReasonCode::SERVER_UNAVAILABLE));
        server.broker.reconfigure(anonymous());
        assert!(Device::try_connect(server.addr, config("old", Version::V311)).await.is_ok());
    });
}

#[test]
fn a_longer_keep_alive_is_shortened_and_the_client_is_told() {
    with(Settings { keep_alive_max_s: Some(2), ..anonymous() }, |server| async move {
        for asked in [0, 60] {
            let config = ClientConfig { keep_alive_s: asked, ..config("c", Version::V5) };
            let (mut device, connected) = Device::try_connect(server.addr, config).await.unwrap();
            assert_eq!(connected.keep_alive_s, 2);
            device.publish(message("t", "x", QoS::AtLeastOnce)).await;
        }
    });
}

/// After a power cut all of them come at once, and who finds no room waits for a second.
#[tokio::test]
async fn a_crowd_finds_room_before_it_is_looked_at() {
    let listener = bind("127.0.0.1:0", Scheme::Mqtt).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse::<usize>().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..most.min(300) {
        let came = tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await;
        crowd.push(came.expect("there is room").unwrap());
    }
    drop(listener);
}
