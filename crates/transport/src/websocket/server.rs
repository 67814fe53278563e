//! The handshake of a WebSocket that is opened to us.

use super::stream::{SUBPROTOCOL, WebSocket};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// What clients of MQTT 3.1 call it.
const SUBPROTOCOL_31: &str = "mqttv3.1";

/// A message may hold many packets: this much is taken, or one packet if packets may be larger, in bytes.
const MESSAGE_MAX_BYTES: usize = 1024 * 1024;

/// Which pages may connect from a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origins {
    /// Any: a password is asked for.
    All,
    /// Those of the host the broker is called by.
    SameHost,
    /// Those of this machine. A name that is not its own may have been pointed here by the page's owner.
    Loopback,
}

/// Does the WebSocket handshake.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    max_packet_size: u32,
    origins: Origins,
) -> io::Result<WebSocket<S>> {
    let max = MESSAGE_MAX_BYTES.max(max_packet_size as usize);
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    #[allow(clippy::result_large_err)] // the type is tungstenite's
    let answer = |request: &Request, mut response: Response| {
        let headers = request.headers();
        if !may_connect(headers, origins) {
            return Err(refusal(StatusCode::FORBIDDEN, "pages of other hosts may not connect without a password"));
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<&str> = offered.flat_map(|value| value.split(',')).map(str::trim).collect();
        // Where both stand, in whatever order, it is `mqtt` (MQTT 5.0 section 6).
        let Some(chosen) = [SUBPROTOCOL, SUBPROTOCOL_31].into_iter().find(|known| offered.contains(known)) else {
            return Err(refusal(StatusCode::BAD_REQUEST, "the subprotocol must be `mqtt`"));
        };
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
        Ok(response)
    };
    let accepted = accept_hdr_async_with_config(socket, answer, Some(config)).await;
    accepted.map(WebSocket::new).map_err(io::Error::other)
}

fn refusal(status: StatusCode, words: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(words.to_owned()));
    *response.status_mut() = status;
    response
}

/// Without a password, any page a browser on this machine visits could otherwise speak to a broker on loopback.
/// Programs send no origin.
fn may_connect(headers: &HeaderMap, origins: Origins) -> bool {
    let Some(origin) = headers.get(ORIGIN).filter(|_| origins != Origins::All) else { return true };
    let host_of = |value: &HeaderValue, scheme: &str| {
        let text = value.to_str().ok()?;
        let uri: Uri = format!("{scheme}{text}").parse().ok()?;
        uri.host().map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase())
    };
    let (Some(origin), Some(host)) = (host_of(origin, ""), headers.get(HOST).and_then(|host| host_of(host, "http://")))
    else {
        return false;
    };
    (origins == Origins::SameHost && origin == host) || (is_loopback(&origin) && is_loopback(&host))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_host_is_told_apart() {
        for (origin, host, same_host, loopback) in [
            (None, "127.0.0.1:9001", true, true),
            (Some("http://localhost:3000"), "127.0.0.1:9001", true, true),
            (Some("http://box.lan"), "box.lan:9001", true, false),
            (Some("http://BOX.lan"), "box.lan:9001", true, false),
            (Some("http://[::1]:80"), "localhost:9001", true, true),
            (Some("https://evil.example"), "127.0.0.1:9001", false, false),
            (Some("http://127.0.0.1.evil.example"), "127.0.0.1:9001", false, false),
            (Some("null"), "127.0.0.1:9001", false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert!(may_connect(&headers, Origins::All));
            assert_eq!(may_connect(&headers, Origins::SameHost), same_host, "{origin:?} {host}");
            assert_eq!(may_connect(&headers, Origins::Loopback), loopback, "{origin:?} {host}");
        }
    }
}
