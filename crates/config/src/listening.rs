//! Where somebody listens, and from where others come.

use crate::model::{AdminAddr, ListenAddr, ListenScheme};
use crate::values::{Wrong, check_socket_path, shown};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// `127.0.0.1:1883`, `[::1]:1883` or `localhost:1883`.
fn socket_addr(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

/// Where the box's own broker listens.
pub(crate) fn listen_addr(text: &str) -> Result<ListenAddr, Wrong> {
    let example = "write it as \"mqtt://127.0.0.1:1883\" or \"ws://127.0.0.1:9001\"";
    if let Some(path) = text.strip_prefix("unix://") {
        if path.len() < 2 || !path.starts_with('/') || path.contains('\0') {
            let hint = "write it as \"unix:///run/tidegate/mqtt.sock\"";
            return Err((format!("{} names no socket", shown(text)), hint.into()));
        }
        check_socket_path(path)?;
        return Ok(ListenAddr::Unix(PathBuf::from(path)));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some(("mqtt", rest)) => (ListenScheme::Mqtt, rest),
        Some(("mqtts", rest)) => (ListenScheme::Mqtts, rest),
        Some(("ws", rest)) => (ListenScheme::Ws, rest),
        Some(("wss", rest)) => (ListenScheme::Wss, rest),
        _ => return Err((format!("{} is not an address to listen on", shown(text)), example.into())),
    };
    match socket_addr(rest.strip_suffix('/').unwrap_or(rest)) {
        Some(addr) => Ok(ListenAddr::Ip { scheme, addr }),
        None => Err((format!("{} has no IP address and port to listen on", shown(text)), example.into())),
    }
}

/// An address, or a network of them: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
pub(crate) fn ip_net(text: &str) -> Result<IpNet, Wrong> {
    let found = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    let hint = "write it as \"192.0.2.7\" or \"10.0.0.0/8\"";
    match found {
        Some(net) if net.trunc() == net => Ok(net),
        Some(net) => Err((
            format!("{} has digits behind its prefix", shown(text)),
            format!("write {}, or {}", net.trunc(), net.addr()),
        )),
        None => Err((format!("{} is neither an IP address nor a network of them", shown(text)), hint.into())),
    }
}

/// Where the admin server listens: an address and port, or `unix:/path`.
pub(crate) fn admin_addr(text: &str) -> Result<AdminAddr, Wrong> {
    let example = "write it as \"127.0.0.1:9180\" or \"unix:/run/tidegate/admin.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.len() > 1 && path.starts_with('/') && !path.contains('\0') {
            check_socket_path(path)?;
            return Ok(AdminAddr::Unix(PathBuf::from(path)));
        }
    } else if let Some(addr) = socket_addr(text.strip_prefix("http://").unwrap_or(text)) {
        return Ok(AdminAddr::Tcp(addr));
    }
    Err((format!("{} is not an address to listen on", shown(text)), example.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::broker_url;

    #[test]
    fn networks() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(ip_net(text).map(|net| net.to_string()).as_deref(), Ok(shown));
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.1/8", "home", "10.0.0/8", "*"] {
            assert!(ip_net(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_to_listen_on() {
        let listen = |text| listen_addr(text).map(|addr| addr.to_string()).ok();
        assert_eq!(listen("mqtt://127.0.0.1:1883").as_deref(), Some("mqtt://127.0.0.1:1883"));
        assert_eq!(listen("mqtts://0.0.0.0:8883").as_deref(), Some("mqtts://0.0.0.0:8883"));
        assert_eq!(listen("wss://[::1]:8884/").as_deref(), Some("wss://[::1]:8884"));
        assert_eq!(listen("ws://localhost:0").as_deref(), Some("ws://127.0.0.1:0"));
        assert_eq!(listen("mqtt://[::]:1883").as_deref(), Some("mqtt://[::]:1883"));
        assert_eq!(listen("unix:///run/m.sock").as_deref(), Some("unix:///run/m.sock"));
        for bad in [
            "",
            "unix://",
            "unix:///",
            "unix://run/m.sock",
            "127.0.0.1:1883",
            "mqtt://home:1883",
            "mqtt://127.0.0.1",
            "tls://127.0.0.1:1",
            "ws://1.2.3.4:x",
        ] {
            assert_eq!(listen(bad), None, "{bad}");
        }
        assert!(matches!(admin_addr("127.0.0.1:9180"), Ok(AdminAddr::Tcp(_))));
        for (bytes, fits) in [(107, true), (108, false)] {
            let path = format!("/{}", "x".repeat(bytes - 1));
            assert_eq!(admin_addr(&format!("unix:{path}")).is_ok(), fits, "{bytes}");
            assert_eq!(broker_url(&format!("unix://{path}")).is_ok(), fits, "{bytes}");
        }
        assert_eq!(admin_addr("unix:/run/a").ok(), Some(AdminAddr::Unix("/run/a".into())));
        assert_eq!(admin_addr("unix:///run/a").ok(), Some(AdminAddr::Unix("/run/a".into())));
        for bad in ["", "9180", "unix:", "unix:a", "localhost", "host:1"] {
            assert!(admin_addr(bad).is_err(), "{bad}");
        }
    }
}
