//! Texts with a meaning of their own: names, sizes, urls, addresses.

use crate::bounds;
use crate::model::{BrokerUrl, CollectorUrl, Scheme};

/// What is wrong with a text, and what to do.
pub(crate) type Wrong = (String, String);

/// The path of a WebSocket unless written, as MQTT brokers have it.
const WEBSOCKET_PATH: &str = "/mqtt";

/// The longest path of a Unix socket, in bytes: `sun_path` less the null character (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The longest part of the user's text that a message repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// A text of the user's for a message: in backquotes, on one line, not endless.
pub(crate) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let start = characters.by_ref().take(SHOWN_CHARS).collect::<String>();
    let more = if characters.next().is_some() { "..." } else { "" };
    let start: String = start.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("`{start}{more}`")
}

/// Splits an error that says what to do behind a semicolon; one that does not gets this hint.
pub(crate) fn why_and_hint(error: &dyn std::error::Error, hint: &str) -> (String, String) {
    let text = error.to_string();
    match text.split_once("; ") {
        Some((why, hint)) => (why.to_owned(), hint.to_owned()),
        None => (text, hint.to_owned()),
    }
}

/// Whether something may be called so: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
pub fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.len() <= bounds::MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(rest)
}

/// SHA-256 as hexadecimal digits, colons between pairs or not, as `openssl` and `sha256sum` print it.
pub(crate) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let text = text.trim().strip_prefix("sha256:").unwrap_or(text.trim());
    let pairs: Vec<&str> = match text.contains(':') {
        true => text.split(':').collect(),
        false if text.is_ascii() => (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2)).collect(),
        false => return None,
    };
    if pairs.iter().map(|pair| pair.len()).sum::<usize>() != bounds::DIGEST_DIGITS {
        return None;
    }
    let byte = |pair: &&str| {
        let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("kiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

/// `"1MiB"`, `"64 KiB"`, `"512B"`, `"100"`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1));
    let digits = digits.trim_end_matches(' ');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The other way, in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    for (unit, factor) in &UNITS[..3] {
        if bytes > 0 && bytes.is_multiple_of(*factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// Where a broker is. No message repeats the text: there may be a password in it.
pub(crate) fn broker_url(text: &str) -> Result<BrokerUrl, Wrong> {
    let wrong = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("this url has no scheme", "write it as \"mqtt://host:1883\"");
    };
    let schemes = [Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss, Scheme::Unix];
    let Some(scheme) = schemes.into_iter().find(|known| known.as_str() == scheme) else {
        let near = match scheme {
            "tcp" => "mqtt",
            "nats" => return wrong("this is NATS, which does not speak MQTT on this port", "write `mqtt://`"),
            "ssl" | "tls" => "mqtts",
            "http" => "ws",
            "https" => "wss",
            other => {
                return wrong(
                    &format!("{} is not a scheme for brokers", shown(other)),
                    "it is one of mqtt, mqtts, ws, wss and unix",
                );
            }
        };
        return wrong(&format!("`{scheme}` is not a scheme for brokers"), &format!("write `{near}://`"));
    };
    if scheme == Scheme::Unix {
        if rest.len() < 2 || !rest.starts_with('/') || rest.contains('\0') {
            return wrong("this url names no socket", "write it as \"unix:///run/broker.sock\"");
        }
        check_socket_path(rest)?;
        return Ok(BrokerUrl { scheme, host: String::new(), port: 0, path: rest.to_owned() });
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return wrong("this url has a user name in it", "use the keys `username` and `password` instead");
    }
    let path = match path {
        "" | "/" if !scheme.is_websocket() => String::new(),
        "" => WEBSOCKET_PATH.to_owned(),
        path if scheme.is_websocket() && path.chars().all(|c| c.is_ascii_graphic()) => path.to_owned(),
        _ if scheme.is_websocket() => {
            return wrong("the path of this url has characters it cannot have", "percent-encode them");
        }
        _ => return wrong("this url has a path", "leave it out; only ws, wss and unix have one"),
    };
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(scheme.default_port());
    if port == 0 {
        return wrong("nothing can be connected to at port 0", "write the broker's port");
    }
    Ok(BrokerUrl { scheme, host, port, path })
}

/// Where a collector of traces is. No message repeats the text: there may be a password in it.
pub(crate) fn collector_url(text: &str) -> Result<CollectorUrl, Wrong> {
    let wrong = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
    let (is_tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(("grpc", _)) => {
            return wrong(
                "traces go over HTTP, not gRPC",
                "write the collector's HTTP port, such as \"http://host:4318\"",
            );
        }
        _ => return wrong("this is no url of a collector", "write it as \"http://host:4318/v1/traces\""),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return wrong(
            "this url has a user name in it",
            "use `headers = { Authorization = { env = \"...\" } }` instead",
        );
    }
    if !path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#')) {
        return wrong("the path of this url has characters it cannot have", "write it as \"/v1/traces\"");
    }
    let example = |(what, _): Wrong| (what, "write it as \"http://host:4318/v1/traces\"".to_owned());
    let (host, port) = host_and_port(authority).map_err(example)?;
    let port = match port {
        Some(0) => return wrong("nothing can be connected to at port 0", "write the collector's port, mostly 4318"),
        Some(port) => port,
        None if is_tls => 443,
        // 80 by the rules of urls, and 4318 where collectors listen.
        None => return wrong("this url has no port", "add the collector's port, mostly 4318"),
    };
    let path = if matches!(path, "" | "/") { "/v1/traces" } else { path };
    Ok(CollectorUrl { is_tls, host, port, path: path.to_owned() })
}

pub(crate) fn check_socket_path(path: &str) -> Result<(), Wrong> {
    if path.len() <= MAX_SOCKET_PATH_BYTES {
        return Ok(());
    }
    let what = format!("the path of this socket has {} bytes, and {MAX_SOCKET_PATH_BYTES} is the most", path.len());
    Err((what, "put the socket into a directory with a shorter path, such as /run".into()))
}

/// The address and the zone of `fe80::1%eth0`, or of `fe80::1%25eth0`, as RFC 6874 writes it in urls.
///
/// `%25` is a percent sign in a url, so a zone that is called `25` and more is written `%2525`...; alone it is a zone.
fn ipv6_with_zone(text: &str) -> Result<String, Wrong> {
    /// The longest name of an interface on Linux (its `IFNAMSIZ`, less the null character).
    const MAX_ZONE_BYTES: usize = 15;
    let no_address = || ("this is not an IPv6 address".to_owned(), "write it as \"mqtt://[::1]:1883\"".to_owned());
    let (address, zone) = match text.split_once('%') {
        None => (text, None),
        Some((address, zone)) => {
            (address, Some(zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone)))
        }
    };
    address.parse::<std::net::Ipv6Addr>().map_err(|_| no_address())?;
    let Some(zone) = zone else { return Ok(address.to_owned()) };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    if !(1..=MAX_ZONE_BYTES).contains(&zone.len()) || !zone.chars().all(fine) {
        let hint = "write the name of a network interface, as in \"mqtt://[fe80::1%eth0]:1883\"";
        return Err(("what stands behind `%` in this address is not a zone".into(), hint.into()));
    }
    Ok(format!("{address}%{zone}"))
}

/// `host`, `host:port`, `[ipv6]`, `[ipv6]:port`, `[ipv6%zone]:port`.
pub(crate) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Wrong> {
    let no_host = || ("this url has no host that can be".to_owned(), "write it as \"mqtt://host:1883\"".to_owned());
    let read_port = |port: &str| match port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse::<u16>()) {
        Some(Ok(port)) => Ok(port),
        _ => Err(("this port cannot be".to_owned(), "write a number from 1 to 65535".to_owned())),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(no_host)?;
            let host = ipv6_with_zone(host)?;
            let port = match port {
                "" => None,
                _ => Some(read_port(port.strip_prefix(':').ok_or_else(no_host)?)?),
            };
            return Ok((host, port));
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err((
                    "this url has an IPv6 address without brackets, or two ports".into(),
                    "write it as \"mqtt://[::1]:1883\"".into(),
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    /// Of a host name (RFC 1035 section 2.3.4).
    const MAX_HOST_BYTES: usize = 253;
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.chars().all(fine) {
        return Err(no_host());
    }
    Ok((host.to_owned(), port.map(read_port).transpose()?))
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for fine in ["a", "home-1", "B_2", "0", &"x".repeat(64)] {
            assert!(is_name(fine), "{fine}");
        }
        for bad in ["", "-a", "_a", "a b", "a.b", "ä", "a/b", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1MiB", 1 << 20), ("64 KiB", 65_536), ("512B", 512), ("7", 7), ("2MB", 2_000_000)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1B", "1.5MiB", "1 M", "99999999999GiB", "+1", "1TiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!([size_text(1 << 20), size_text(1000), size_text(0)], ["1MiB", "1000B", "0B"]);
    }

    #[test]
    fn urls() {
        let read = |text| broker_url(text).map(|url| url.to_string()).map_err(|(what, _)| what);
        for (text, shown) in [
            ("mqtt://home", "mqtt://home:1883"),
            ("mqtts://mqtt.office.example:8884/", "mqtts://mqtt.office.example:8884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtt://[fe80::1]:1", "mqtt://[fe80::1]:1"),
            ("mqtt://[fe80::1%eth0]:1", "mqtt://[fe80::1%eth0]:1"),
            ("mqtts://[fe80::1%25eth0.100]", "mqtts://[fe80::1%eth0.100]:8883"),
            ("mqtt://[fe80::1%2]", "mqtt://[fe80::1%2]:1883"),
            ("mqtt://[fe80::1%25]", "mqtt://[fe80::1%25]:1883"),
            ("ws://h", "ws://h:80/mqtt"),
            ("ws://h/", "ws://h:80/"),
            ("wss://h:9001/a?b=c", "wss://h:9001/a?b=c"),
            ("unix:///run/m.sock", "unix:///run/m.sock"),
        ] {
            assert_eq!(read(text), Ok(shown.to_owned()), "{text}");
        }
        for bad in [
            "",
            "home:1883",
            "tcp://h",
            "x://h",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://h:",
            "mqtt://h:0",
            "mqtt://h:65536",
            "mqtt://h:+1",
            "mqtt://::1",
            "mqtt://[::1",
            "mqtt://[h]:1",
            "mqtt://[fe80::1%]:1",
            "mqtt://[fe80::1%a b]:1",
            "mqtt://[fe80::1%averyveryverylongname]:1",
            "mqtt://h%eth0:1",
            "mqtt://[::1]1",
            "mqtt://h/path",
            "mqtt://a b",
            "mqtt://u:p@h",
            "ws://h/a b",
            "unix://",
            "unix://run/m.sock",
            "unix:///",
        ] {
            let error = read(bad).expect_err(bad);
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn collectors() {
        let read = |text: &str| collector_url(text).map(|url| url.to_string());
        for (text, is) in [
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otel.example/tenant/v1/traces", "https://otel.example:443/tenant/v1/traces"),
            ("http://[::1]:9", "http://[::1]:9/v1/traces"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(is));
        }
        for bad in [
            "localhost:4318",
            "grpc://a:4317",
            "http://",
            "http://a",
            "http://u:p@a:1",
            "http://a:0",
            "http://a:1?x=1",
            "http://a:1/ b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
