//! The messages of a WebSocket as bytes in a row.

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The subprotocol both ends must agree on (MQTT-6.0.0-3).
pub(super) const SUBPROTOCOL: &str = "mqtt";

/// A WebSocket whose binary messages are bytes in a row.
#[derive(Debug)]
pub struct WebSocket<S> {
    pub(crate) messages: WebSocketStream<S>,
    /// What is left of the last message read. Packets may cross message borders.
    rest: Bytes,
    /// The other end has said goodbye: nothing follows, though the socket below may stay open for as long as it likes.
    is_closed: bool,
    /// An answer to a ping has not left.
    owes_pong: bool,
}

impl<S> WebSocket<S> {
    pub(super) fn new(messages: WebSocketStream<S>) -> Self {
        Self { messages, rest: Bytes::new(), is_closed: false, owes_pong: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            if self.is_closed {
                return Poll::Ready(Ok(()));
            }
            if self.owes_pong {
                // Who pings and does not take the answers is not read from: they would gather without end.
                ready!(Pin::new(&mut self.messages).poll_flush(cx)).map_err(io::Error::other)?;
                self.owes_pong = false;
            }
            match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_))) => self.owes_pong = true,
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
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
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// Its pongs would gather in memory without end.
    #[tokio::test]
    async fn who_pings_and_reads_no_pongs_is_not_read_from() {
        // "abcd", masked with zeros.
        const PING: &[u8] = b"\x89\x84\0\0\0\0abcd";
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let mut socket = WebSocket::new(WebSocketStream::from_raw_socket(ours, Role::Server, None).await);
        let reader = tokio::spawn(async move {
            let mut bytes = [0; 16];
            let count = socket.read(&mut bytes).await.unwrap();
            bytes[..count].to_vec()
        });
        let mut sent = 0;
        while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), theirs.write(&PING[sent % 10..])).await {
            sent += written.unwrap();
            assert!(sent < 1_000_000, "it is read from for ever");
        }
        // Once they are read, all are there, and what it says is heard.
        let mut pong = [0; 6];
        for number in 0..sent / PING.len() {
            theirs.read_exact(&mut pong).await.unwrap();
            assert_eq!(&pong, b"\x8A\x04abcd", "{number}");
        }
        theirs.write_all(&PING[sent % 10..]).await.unwrap();
        theirs.write_all(b"\x82\x82\0\0\0\0hi").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"hi");
    }
}
