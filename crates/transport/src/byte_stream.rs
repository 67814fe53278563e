//! What a connection is beside its bytes.

use crate::stream::Stream;
use crate::websocket::WebSocket;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A stream of bytes both ways, of which it is known whether the other end goes on, though nobody reads it.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Whether the other end has closed its side, or the connection is broken: what has come may still be read, and nothing follows it.
    fn is_closing(&self) -> bool;
}

macro_rules! of_socket {
    ($socket:ty) => {
        impl ByteStream for $socket {
            fn is_closing(&self) -> bool {
                match pin!(self.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(ready)) => ready.is_read_closed(),
                    Poll::Ready(Err(_)) => true,
                    Poll::Pending => false,
                }
            }
        }
    };
}

of_socket!(TcpStream);
of_socket!(UnixStream);

impl<S: ByteStream> ByteStream for TlsStream<S> {
    fn is_closing(&self) -> bool {
        self.get_ref().0.is_closing()
    }
}

impl<S: ByteStream> ByteStream for WebSocket<S> {
    fn is_closing(&self) -> bool {
        self.messages.get_ref().is_closing()
    }
}

impl ByteStream for Stream {
    fn is_closing(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_closing(),
            Self::Unix(stream) => stream.is_closing(),
            Self::Tls(stream) => stream.is_closing(),
            Self::Ws(stream) => stream.is_closing(),
            Self::Wss(stream) => stream.is_closing(),
        }
    }
}
