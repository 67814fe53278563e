//! MQTT over WebSocket: a stream of binary messages looks like a stream of bytes (MQTT 5.0 section 6). One stream for
//! both ends; only the handshakes differ.

mod client;
mod server;
mod stream;

pub(crate) use client::{Request, shake_hands};
pub use server::Origins;
pub(crate) use server::accept;
pub use stream::WebSocket;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::SinkExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::Message;

    /// Larger than anything here.
    const PIPE_BYTES: usize = 64 * 1024;

    /// Both ends of one WebSocket, ours by our own handshakes.
    async fn both_ends() -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
        let (ours, theirs) = duplex(PIPE_BYTES);
        let request = Request { host: "box", port: 80, path: "mqtt", headers: &[] };
        let (client, server) = tokio::join!(shake_hands(ours, "ws", request), accept(theirs, 1024, Origins::All));
        (client.unwrap(), server.unwrap())
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_whatever_messages_they_were_sent_in() {
        let (mut client, mut server) = both_ends().await;
        for part in [&b"MQ"[..], b"TT", b"\x05 and more"] {
            client.write_all(part).await.unwrap();
        }
        client.flush().await.unwrap();
        let mut read = [0; 14];
        server.read_exact(&mut read[..3]).await.unwrap();
        server.read_exact(&mut read[3..]).await.unwrap();
        assert_eq!(&read, b"MQTT\x05 and more");
        server.write_all(b"back").await.unwrap();
        server.flush().await.unwrap();
        let mut read = [0; 4];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"back");
    }

    #[tokio::test]
    async fn a_stream_that_was_said_goodbye_on_has_ended_for_good_though_its_socket_is_open() {
        let (mut client, mut server) = both_ends().await;
        server.write_all(b"last").await.unwrap();
        server.messages.send(Message::Close(None)).await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"last");
        let mut byte = [0];
        let again = tokio::time::timeout(std::time::Duration::ZERO, client.read(&mut byte)).await;
        assert_eq!(again.expect("no wait").unwrap(), 0);
    }
}
