//! The PROXY protocol, versions 1 and 2: who a connection is from that a proxy has handed on
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! Only who is known to be a proxy may be asked for this: anybody can write such a header.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end, in bytes (section 2.1).
const LINE_MAX: usize = 107;

/// What may stand behind the addresses in version 2 is read past; so long, in bytes, is nothing that a proxy says.
const LENGTH_MAX: usize = 4096;

/// Reads the header that a proxy begins with, and not a byte behind it. `None`: the proxy speaks for itself (to see whether we are
/// well), or does not know who the client is.
///
/// # Errors
/// There is no header, or one that makes no sense; the socket broke.
pub async fn proxied(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    socket.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return version_2(socket).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong("this connection comes from a proxy, and does not begin with its header"));
    }
    // Byte by byte: what is behind the line is the client's.
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_MAX {
            return Err(wrong("the line of the proxy has no end"));
        }
        line.push(socket.read_u8().await?);
    }
    version_1(&line[..line.len() - 2]).ok_or_else(|| wrong("the line of the proxy makes no sense"))
}

fn wrong(words: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("PROXY protocol: {words}"))
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 4000 1883`
fn version_1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", kind @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let (from, to): (IpAddr, IpAddr) = (from.parse().ok()?, to.parse().ok()?);
            let is_4 = kind == "TCP4";
            let (from_port, _to_port): (u16, u16) = (from_port.parse().ok()?, to_port.parse().ok()?);
            (from.is_ipv4() == is_4 && to.is_ipv4() == is_4).then_some(Some(SocketAddr::new(from, from_port)))
        }
        _ => None,
    }
}

async fn version_2(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    /// Who speaks: the proxy itself, or it for a client.
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    /// Of what the addresses are: TCP over IPv4, and over IPv6. All others are known, and none that we know.
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    let command = socket.read_u8().await?;
    let family = socket.read_u8().await?;
    let length = usize::from(socket.read_u16().await?);
    if length > LENGTH_MAX {
        return Err(wrong("the header of the proxy is too long"));
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    let address = match (command, family) {
        (LOCAL, _) => None,
        (PROXY, TCP4) => {
            let [from @ .., _, _, _, _, high, low, _, _] = first::<12>(&rest)?;
            Some(SocketAddr::new(Ipv4Addr::from(from).into(), u16::from_be_bytes([high, low])))
        }
        (PROXY, TCP6) => {
            let all = first::<36>(&rest)?;
            let (from, port) = (first::<16>(&all)?, first::<2>(&all[32..])?);
            Some(SocketAddr::new(Ipv6Addr::from(from).into(), u16::from_be_bytes(port)))
        }
        (PROXY, _) => None,
        _ => return Err(wrong("the proxy speaks a version that is not known")),
    };
    Ok(address)
}

/// The first bytes of these.
fn first<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.first_chunk().copied().ok_or_else(|| wrong("the header of the proxy is too short for its addresses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and what is left behind it.
    async fn read(bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let mut rest = bytes;
        let found = proxied(&mut rest).await;
        (found.map(|found| found.map(|at| at.to_string())).map_err(|error| error.to_string()), rest.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn both_versions_say_who_it_is_and_leave_what_is_behind_them() {
        let long = "PROXY TCP6 ffff:f:f:f:f:f:f:fff1 ffff:f:f:f:f:f:f:fff2 65535 65534\r\n";
        let mut tcp6 = [0; 40];
        (tcp6[15], tcp6[33]) = (1, 99);
        for (bytes, who) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 1883\r\n".to_vec(), Some("192.0.2.1:4000")),
            (long.as_bytes().to_vec(), Some("[ffff:f:f:f:f:f:f:fff1]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &[192, 0, 2, 7, 192, 0, 2, 8, 0x0F, 0xA0, 7, 91]), Some("192.0.2.7:4000")),
            // With a value behind the addresses.
            (v2(0x21, 0x21, &tcp6), Some("[::1]:99")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let with_more = [&bytes[..], b"\x10rest"].concat();
            let (found, rest) = read(&with_more).await;
            assert_eq!(found.unwrap().as_deref(), who, "{}", bytes.escape_ascii());
            assert_eq!(rest, b"\x10rest");
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end]).await.0.is_err(), "{}", bytes[..end].escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_in_words() {
        let endless = format!("PROXY TCP4 {}", "1".repeat(200));
        for (bytes, words) in [
            (b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\0".to_vec(), "does not begin with its header"),
            (b"PROXY TCP4 192.0.2.1 ::1 4000 1883\r\n".to_vec(), "makes no sense"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 70000 1883\r\n".to_vec(), "makes no sense"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 4000\r\n".to_vec(), "makes no sense"),
            (b"PROXY TCP9 192.0.2.1 192.0.2.2 4000 1\r\n".to_vec(), "makes no sense"),
            (endless.into_bytes(), "has no end"),
            (v2(0x31, 0x11, &[0; 12]), "a version that is not known"),
            (v2(0x21, 0x11, &[0; 11]), "too short"),
            (v2(0x21, 0x21, &[0; 35]), "too short"),
            (v2(0x21, 0x11, &[0; LENGTH_MAX + 1]), "too long"),
        ] {
            let error = read(&bytes).await.0.expect_err("no header");
            assert!(error.contains(words), "{error}");
        }
    }
}
