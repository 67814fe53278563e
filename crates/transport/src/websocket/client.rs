//! The handshake of a WebSocket that we open.

use super::stream::{SUBPROTOCOL, WebSocket};
use crate::error::TransportError;
use crate::hints;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// What is asked of the server.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Name or address, IPv6 without brackets and perhaps with a zone, which is nobody else's business (RFC 6874 section 4).
    pub(crate) host: &'a str,
    /// TCP port.
    pub(crate) port: u16,
    /// With or without its slash.
    pub(crate) path: &'a str,
    /// Beside the usual.
    pub(crate) headers: &'a [(String, String)],
}

/// Makes a stream a WebSocket that carries MQTT; `scheme` is `ws` or `wss`.
pub(crate) async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    scheme: &str,
    Request { host, port, path, headers }: Request<'_>,
) -> Result<WebSocket<S>, TransportError> {
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("{scheme}://{host}:{port}/{}", path.trim_start_matches('/'));
    let mut request = url.into_client_request().map_err(|error| TransportError::websocket(error.to_string(), error))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    for (name, value) in headers {
        // The words do not repeat the value: it may be a secret.
        let unfit = || format!("the header `{name}` cannot be sent as it is");
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.map_err(|error| TransportError::websocket(unfit(), error))?;
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|error| TransportError::websocket(unfit(), error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header, value);
    }
    let (stream, response) =
        client_async(request, stream).await.map_err(|error| hints::websocket_refused(error, path))?;
    let agreed = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if agreed.is_none_or(|value| value != SUBPROTOCOL) {
        let words = format!("the server does not agree to the subprotocol `{SUBPROTOCOL}`");
        return Err(TransportError::WebSocket { words, source: None });
    }
    Ok(WebSocket::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What a server that answers so reads of the request, and what becomes of it.
    async fn asked(host: &str, headers: &[(String, String)], answer: &str) -> (String, Result<(), String>) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let request = Request { host, port: 80, path: "/mqtt?a=b", headers };
        let server = async {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                theirs.read_exact(&mut byte).await.unwrap();
                read.extend(byte);
            }
            theirs.write_all(answer.as_bytes()).await.unwrap();
            drop(theirs);
            String::from_utf8(read).unwrap()
        };
        let (read, shaken) = tokio::join!(server, shake_hands(ours, "ws", request));
        (read, shaken.map(drop).map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn headers_are_in_the_request_and_what_is_refused_says_why() {
        let headers = [("X-Api-Key".to_owned(), "k e y".to_owned()), ("Host".to_owned(), "other.example".to_owned())];
        let (read, refused) = asked("h", &headers, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        let lower = read.to_ascii_lowercase();
        assert!(read.starts_with("GET /mqtt?a=b HTTP/1.1\r\n"), "{read}");
        assert!(lower.contains("\r\nx-api-key: k e y\r\n") && lower.contains("\r\nhost: other.example\r\n"), "{read}");
        assert_eq!(lower.matches("host:").count(), 1, "{read}");
        assert!(
            refused.as_ref().is_err_and(|words| words.contains("403") && words.contains("`headers`")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn a_zone_stays_on_this_machine_and_what_is_no_web_server_is_told() {
        let (read, refused) = asked("fe80::1%eth0", &[], "\x20\x02\x00\x01").await;
        assert!(read.to_ascii_lowercase().contains("host: [fe80::1]:80\r\n"), "{read}");
        assert!(
            refused.as_ref().is_err_and(|words| words.contains("mqtt://") || words.contains("closed")),
            "{refused:?}"
        );
    }
}
