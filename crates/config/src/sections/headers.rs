//! Reads `headers`: what a request says beside the usual: that for a WebSocket (RFC 6455 section 4.1), or one with traces.

use super::secret::read_secret;
use crate::bounds;
use crate::model::{Header, HeaderValue, Scheme};
use crate::tree::Value;
use crate::values::shown;
use toml::de::DeValue;

/// What the request itself says.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// What is a secret as a rule.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// `{ "X-Name" = "text", Authorization = { env = "TOKEN" } }`. `scheme` is that of a url that could be read.
pub(crate) fn read_headers(value: &Value<'_, '_, '_, '_>, scheme: Option<Scheme>) -> Vec<Header> {
    let context = value.context;
    if let Some(scheme) = scheme
        && !scheme.is_websocket()
    {
        let what = format!("`headers` say nothing to a broker at {scheme}://");
        value.error(what, "write the url with ws:// or wss://, or leave out `headers`");
    }
    let Some(table) = value.table("headers = { Authorization = { env = \"TOKEN\" } }") else { return Vec::new() };
    if table.len() > bounds::MAX_HEADERS {
        let most = bounds::MAX_HEADERS;
        value.error(format!("{} headers are too many for a request", table.len()), format!("write at most {most}"));
    }
    let mut headers: Vec<Header> = Vec::with_capacity(table.len());
    for (name, written) in table {
        let (at, name) = (name.span(), &**name.get_ref());
        if !is_header_name(name) {
            let hint = "write letters, digits and `-`, such as \"X-Api-Key\"";
            context.error(&at, format!("{} cannot be the name of a header", shown(name)), hint);
            continue;
        }
        let lower = name.to_ascii_lowercase();
        if OURS.contains(&&*lower) {
            context.error(&at, format!("the header `{name}` is the request's own"), "leave it out");
            continue;
        }
        if headers.iter().any(|before| before.name.eq_ignore_ascii_case(name)) {
            context.error(&at, format!("`headers` names `{name}` twice"), "leave out one of them");
            continue;
        }
        let one = value.entry(written.span(), written.get_ref());
        #[cfg(test)]
        one.asked(crate::tree::asked::Kind::Text);
        let said = match one.value {
            DeValue::String(text) if is_header_value(text) => {
                if SECRET.contains(&&*lower) {
                    let hint = "use { file = \"...\" }, { env = \"...\" } or { credential = \"...\" }";
                    one.context.warning(&one.at, format!("the header `{name}` looks like a secret in this file"), hint);
                }
                Some(HeaderValue::Text(text.to_string()))
            }
            DeValue::String(_) => {
                let most = bounds::MAX_HEADER_BYTES;
                let what = format!("the header `{name}` cannot say this");
                one.error(
                    what,
                    format!("write at most {most} printable ASCII characters, without a blank at the ends"),
                );
                None
            }
            DeValue::Table(_) => read_secret(&one, "secret").map(HeaderValue::Secret),
            _ => {
                let what = format!("the header `{name}` must be a string, or say where one is");
                one.error(what, "put it in double quotes, or write { file = \"...\" }, { env = \"...\" } or { credential = \"...\" }");
                None
            }
        };
        headers.extend(said.map(|value| Header { name: name.to_owned(), value }));
    }
    headers
}

/// A token (RFC 9110 section 5.6.2).
fn is_header_name(name: &str) -> bool {
    /// No header that anybody uses is longer.
    const MAX_BYTES: usize = 128;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MAX_BYTES).contains(&name.len()) && name.bytes().all(fine)
}

/// Field content (RFC 9110 section 5.5), without what only some servers take.
fn is_header_value(text: &str) -> bool {
    text.len() <= bounds::MAX_HEADER_BYTES
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && text.trim_matches(' ') == text
}
