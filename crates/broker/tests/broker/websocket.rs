use crate::device::{Raw, Server, anonymous, message, with};
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tidegate_message::QoS;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

const SESSION: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a\x82\x06\0\x01\0\x01t\x01\x32\x07\0\x01t\0\x09hi\xC0\0";

async fn open(
    server: &Server,
    protocol: Option<&'static str>,
    origin: Option<&'static str>,
) -> Result<WebSocketStream<TcpStream>, tokio_tungstenite::tungstenite::Error> {
    let stream = TcpStream::connect(server.ws).await.unwrap();
    let mut request = format!("ws://{}/any/path", server.ws).into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    }
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
    }
    client_async(request, stream).await.map(|(stream, _)| stream)
}

async fn read(stream: &mut WebSocketStream<TcpStream>, count: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    while bytes.len() < count {
        match stream.next().await.unwrap().unwrap() {
            Frame::Binary(part) => bytes.extend_from_slice(&part),
            Frame::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    bytes
}

#[test]
fn packets_may_be_cut_and_joined_by_frames_anyhow() {
    with(anonymous(), |server| async move {
        for size in [1, 2, 3, 7, 1000] {
            let mut stream = open(&server, Some("mqtt"), None).await.unwrap();
            for part in SESSION.chunks(size) {
                stream.send(Frame::Binary(part.to_vec().into())).await.unwrap();
                stream.send(Frame::Ping(vec![1].into())).await.unwrap();
                stream.send(Frame::Binary(Vec::new().into())).await.unwrap();
            }
            let answers = read(&mut stream, 4 + 5 + 9 + 4 + 2).await;
            assert_eq!(answers[..4], *b"\x20\x02\0\0");
            stream.close(None).await.unwrap();
        }
        server.until(|stats| stats.connections == 0).await;
    });
}

#[test]
fn tcp_and_websocket_clients_talk_to_each_other() {
    with(anonymous(), |server| async move {
        let mut stream = open(&server, Some("mqttv3.1, mqtt"), None).await.unwrap();
        stream.send(Frame::Binary(SESSION.to_vec().into())).await.unwrap();
        read(&mut stream, 24).await;
        let mut device = server.device("d").await;
        let payload = "x".repeat(500_000);
        device.send(message("t", &payload, QoS::AtLeastOnce)).await;
        let got = read(&mut stream, payload.len()).await;
        assert!(got.ends_with(&b"x".repeat(1000)));
    });
}

#[test]
fn text_a_missing_subprotocol_and_plain_http_are_refused() {
    with(anonymous(), |server| async move {
        assert!(open(&server, None, None).await.is_err());
        assert!(open(&server, Some("chat"), None).await.is_err());
        let mut stream = open(&server, Some("mqtt"), None).await.unwrap();
        stream.send(Frame::Text("hello".into())).await.unwrap();
        while let Some(Ok(frame)) = stream.next().await {
            assert!(!frame.is_binary(), "{frame:?}");
        }
        let mut raw = Raw::open(server.ws).await;
        raw.send(b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a\r\n\r\n").await;
        assert!(raw.is_closed().await);
    });
}

#[test]
fn a_web_page_from_elsewhere_cannot_reach_an_anonymous_broker_on_loopback() {
    with(anonymous(), |server| async move {
        assert!(open(&server, Some("mqtt"), Some("http://localhost:8080")).await.is_ok());
        assert!(open(&server, Some("mqtt"), Some("https://evil.example")).await.is_err());
    });
}
