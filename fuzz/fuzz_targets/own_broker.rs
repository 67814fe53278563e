//! Whatever comes in at the doors of the box's own broker, it answers or hangs up, and lets the next client in.
//!
//! The first byte chooses the door: plain MQTT, WebSocket, TLS, behind a proxy. The rest is what a client writes there; or, of a client that
//! logs in by SCRAM, the first and, behind a zero byte, the last of what it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;
use tidegate_broker::{Broker, ListenTls, ListenTlsFiles, OwnCertificate, Scheme, Settings, Users, bind};
use tidegate_testkit::Certs;
use tokio_util::sync::CancellationToken;

/// An answer is waited for this long: who says half a packet is waited for, too.
const PATIENCE: Duration = Duration::from_millis(50);

/// That of the example of RFC 7677.
const USER: &str = "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";

/// Where they are, from the first input on: MQTT, WebSocket, TLS, and one for which this machine is a proxy.
fn doors() -> &'static [SocketAddr; 4] {
    static DOORS: OnceLock<[SocketAddr; 4]> = OnceLock::new();
    DOORS.get_or_init(|| {
        let (told, found) = mpsc::channel();
        std::thread::spawn(move || {
            let certs = Certs::new();
            let own = OwnCertificate { cert: &certs.server().cert, key: &certs.server().key, key_password: None };
            let files = ListenTlsFiles { certificates: vec![own], ..ListenTlsFiles::default() };
            let settings = Settings {
                allow_anonymous: true,
                tls: Some(ListenTls::new(&files).expect("a certificate")),
                users: Some(Users::parse(USER).expect("a user")),
                failed_login_delay: Duration::ZERO,
                connect_timeout: Duration::from_secs(1),
                max_packet_size: 4096,
                ..Settings::default()
            };
            let proxied = Settings { proxies: vec!["127.0.0.0/8".parse().expect("a network")], ..settings.clone() };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let mut listeners = Vec::new();
                for scheme in [Scheme::Mqtt, Scheme::Ws, Scheme::Mqtts, Scheme::Mqtt] {
                    listeners.push(bind("127.0.0.1:0", scheme).await.expect("a port"));
                }
                let at = |n: usize| listeners[n].local_addr().expect("an address");
                told.send([at(0), at(1), at(2), at(3)]).expect("somebody asks");
                let behind = listeners.split_off(3);
                let stop = CancellationToken::new();
                let (one, other) = (Broker::new(settings), Broker::new(proxied));
                let (one, other) = tokio::join!(one.run(listeners, stop.clone()), other.run(behind, stop));
                one.and(other).expect("they run");
            });
        });
        found.recv().expect("it runs")
    })
}

/// Of CONNECT and AUTH: the method, and what is said in it.
fn properties(data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(1000)];
    let mut all = b"\x15\0\x0dSCRAM-SHA-256\x16".to_vec();
    all.extend((data.len() as u16).to_be_bytes());
    all.extend(data);
    [length(all.len()), all].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [vec![first], length(body.len()), body.to_vec()].concat()
}

fn length(bytes: usize) -> Vec<u8> {
    if bytes < 128 { vec![bytes as u8] } else { vec![bytes as u8 | 0x80, (bytes >> 7) as u8] }
}

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    let choice = usize::from(*choice) % 5;
    let mut stream = TcpStream::connect(doors()[choice % 4]).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let bytes = match choice {
        4 => {
            let first = properties(parts.next().unwrap_or_default());
            let question = packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3c", &first[..], b"\0\x01s"].concat());
            let _ = stream.write_all(&question).and_then(|()| stream.read(&mut [0; 512]));
            packet(0xF0, &[&[0x18][..], &properties(parts.next().unwrap_or_default())].concat())
        }
        _ => bytes.to_vec(),
    };
    if stream.write_all(&bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.take(1 << 20).read_to_end(&mut Vec::new());
    }
    let mut next = TcpStream::connect(doors()[0]).expect("it still listens");
    next.write_all(CONNECT).expect("it reads");
    let mut answer = [0; 4];
    next.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [0x20, 2, 0, 0]);
});
