//! Stands before every request: it comes under a name of ours, from no page of somebody else, and from who may.

use crate::access::{Access, Denied, Peer, Role};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Whoever shows a wrong token waits for the answer.
const WRONG_TOKEN_COSTS: Duration = Duration::from_millis(500);

/// What the guard knows.
pub(crate) struct Guard {
    access: Access,
    /// Beside addresses and `localhost`.
    hosts: Vec<String>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Guard {
    pub(crate) fn new(access: Access, hosts: Vec<String>) -> Self {
        Self { access, hosts, refused: Mutex::default() }
    }

    /// Counts one that was refused.
    pub(crate) fn count(&self, reason: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// How many were refused, by reason.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a token would let a page change something.
    pub(crate) const fn takes_control(&self) -> bool {
        self.access.takes_control()
    }

    /// Whether who sends this may do what wants this role.
    pub(crate) fn allows(&self, peer: Peer, headers: &HeaderMap, role: Role) -> Result<(), Denied> {
        self.access.allows(peer, token(headers), role)
    }

    /// Whether a browser may have been talked into sending this: the words for it, if so.
    fn is_foreign(&self, peer: Peer, headers: &HeaderMap, is_api: bool) -> Option<(&'static str, &'static str)> {
        let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST);
        // Whatever is named: a page of somebody else may have made its own name mean this machine.
        if peer != Peer::Socket && host.is_some_and(|host| !self.is_ours(host)) {
            let words =
                "the gateway is not asked for by this name; use its address, or add the name to `hosts` of [admin]";
            return Some(("foreign_host", words));
        }
        let same = |origin: &str| {
            let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            of.is_some() && of == host
        };
        if text(header::ORIGIN).is_some_and(|origin| !same(origin)) {
            return Some(("foreign_origin", "another page has asked for this"));
        }
        let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
        if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
            return Some(("foreign_origin", "another page has asked for this"));
        }
        let mode = headers.get("sec-fetch-mode").map(|value| value.to_str().unwrap_or("?"));
        if is_api && mode == Some("no-cors") {
            return Some(("foreign_origin", "a page asks for this as if it were a picture"));
        }
        None
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

/// What was shown, if anything.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = shown.split_at_checked(7)?;
    Some(if scheme.eq_ignore_ascii_case(b"bearer ") { token.trim_ascii() } else { shown })
}

/// What a request wants.
fn role(method: &Method, path: &str) -> Role {
    match path {
        "/health" | "/ready" | "/metrics" => Role::Monitor,
        // What everybody gets who asks for the program: there is nothing in it.
        path if !path.starts_with("/api/") && crate::page::has(path) => Role::Monitor,
        // What is asked is too long for an address.
        "/api/v1/explain" => Role::Read,
        _ if *method == Method::GET || *method == Method::HEAD => Role::Read,
        _ => Role::Control,
    }
}

/// Lets a request in, or says why not.
pub(crate) async fn pass(guard: Arc<Guard>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get().copied().unwrap_or(Peer::Remote);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if let Some((reason, words)) = guard.is_foreign(peer, request.headers(), path.starts_with("/api/")) {
        guard.count(reason);
        return refusal(StatusCode::FORBIDDEN, words);
    }
    let role = role(&method, &path);
    if let Err(denied) = guard.allows(peer, request.headers(), role) {
        guard.count(denied.reason());
        if denied == Denied::WrongToken {
            tracing::warn!(name: "token_refused", %method, path, ?peer, "the admin server was shown a wrong token");
            tokio::time::sleep(WRONG_TOKEN_COSTS).await;
        }
        let status = match denied {
            Denied::NoToken | Denied::WrongToken => StatusCode::UNAUTHORIZED,
            Denied::ReadOnly | Denied::NoControl => StatusCode::FORBIDDEN,
        };
        return refusal(status, denied.words());
    }
    let answer = next.run(request).await;
    if role == Role::Control {
        // Who operates a gateway is told in its log.
        let status = answer.status().as_u16();
        tracing::info!(name: "operated", %method, path, ?peer, status, "operated through the admin server");
    }
    answer
}

fn refusal(status: StatusCode, words: &str) -> Response {
    let mut answer = crate::plain::text(status, format!("{words}\n"));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use tidegate_config::AdminAddr;

    fn guard() -> Guard {
        let listen = AdminAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let admin = tidegate_config::Admin {
            listen,
            control: false,
            token: None,
            read_token: None,
            tls: None,
            hosts: Vec::new(),
        };
        Guard::new(Access::new(&admin).unwrap(), vec!["box.example".to_owned()])
    }

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_names_of_ours_are_answered() {
        let guard = guard();
        for good in
            ["127.0.0.1:9180", "[::1]:9180", "localhost", "LOCALHOST:1", "box.example:9180", "box.example.", "10.1.2.3"]
        {
            assert!(guard.is_ours(good), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example:9180", "127.0.0.1.evil.example", "", "box.example.evil"] {
            assert!(!guard.is_ours(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_page_of_somebody_else_sends_is_foreign() {
        let guard = guard();
        let is_foreign = |all: &[(&'static str, &'static str)]| {
            guard.is_foreign(Peer::Local, &headers(all), true).map(|(reason, _)| reason)
        };
        let host = ("host", "127.0.0.1:9180");
        assert_eq!(is_foreign(&[host]), None, "no browser");
        assert_eq!(is_foreign(&[]), None, "HTTP 1.0");
        assert_eq!(is_foreign(&[host, ("origin", "http://127.0.0.1:9180"), ("sec-fetch-site", "same-origin")]), None);
        assert_eq!(is_foreign(&[host, ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]), None);
        for origin in ["null", "http://evil.example", "http://127.0.0.1:80", "file://"] {
            assert_eq!(is_foreign(&[host, ("origin", origin)]), Some("foreign_origin"), "{origin}");
        }
        assert_eq!(is_foreign(&[host, ("sec-fetch-site", "cross-site")]), Some("foreign_origin"));
        assert_eq!(is_foreign(&[host, ("sec-fetch-site", "same-site")]), Some("foreign_origin"));
        assert_eq!(is_foreign(&[host, ("sec-fetch-mode", "no-cors")]), Some("foreign_origin"));
        assert_eq!(is_foreign(&[("host", "evil.example")]), Some("foreign_host"));
    }

    #[test]
    fn a_token_comes_with_or_without_the_word_before_it() {
        assert_eq!(token(&headers(&[("authorization", "Bearer  abc ")])), Some(&b"abc"[..]));
        assert_eq!(token(&headers(&[("authorization", "bearer abc")])), Some(&b"abc"[..]));
        assert_eq!(token(&headers(&[("authorization", "Basic abc")])), Some(&b"Basic abc"[..]), "which is wrong");
        assert_eq!(token(&headers(&[])), None);
    }

    #[test]
    fn whatever_is_no_question_wants_control() {
        assert_eq!(role(&Method::GET, "/api/v1/status"), Role::Read);
        assert_eq!(role(&Method::GET, "/parked"), Role::Read);
        assert_eq!(role(&Method::GET, "/metrics"), Role::Monitor);
        assert_eq!(role(&Method::GET, "/"), Role::Monitor);
        for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
            assert_eq!(role(&method, "/api/v1/parked/1"), Role::Control);
        }
    }
}
