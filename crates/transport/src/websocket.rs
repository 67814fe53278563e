//! MQTT over WebSocket: a stream of binary messages looks like a stream of bytes (MQTT 5.0 section 6). One stream for
//! both ends; only the handshakes differ.

mod client;
mod server;

pub(crate) use client::{Request, shake_hands};
pub use server::Origins;
pub(crate) use server::accept;

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The subprotocol both ends must agree on (MQTT-6.0.0-3).
const SUBPROTOCOL: &str = "mqtt";

/// A WebSocket whose binary messages are bytes in a row.
#[derive(Debug)]
pub struct WebSocket<S> {
    messages: WebSocketStream<S>,
    /// What is left of the last message read. Packets may cross message borders.
    rest: Bytes,
    /// The other end has said goodbye: nothing follows, though the socket below may stay open for as long as it likes.
    is_closed: bool,
}

impl<S> WebSocket<S> {
    fn new(messages: WebSocketStream<S>) -> Self {
        Self { messages, rest: Bytes::new(), is_closed: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            if self.is_closed {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::other("a WebSocket text message; MQTT is binary")));
                }
                Some(Ok(Message::Close(_))) | None => self.is_closed = true,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = self.rest.len().min(out.remaining());
        out.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.messages).poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.messages).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::SinkExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

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
