//! Whatever comes in at the doors of the box's own broker, it answers or hangs up, and lets the next client in.
//!
//! The first byte chooses the door: plain MQTT, WebSocket, behind a proxy, TLS. The rest is what a client writes there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;
use tidegate_broker::{Broker, ListenTls, ListenTlsFiles, OwnCertificate, Scheme, Settings, bind};
use tidegate_testkit::Certs;
use tokio_util::sync::CancellationToken;

/// An answer is waited for this long: who says half a packet is waited for, too.
const PATIENCE: Duration = Duration::from_millis(50);

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

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    let door = doors()[usize::from(*choice) % 4];
    let mut stream = TcpStream::connect(door).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.take(1 << 20).read_to_end(&mut Vec::new());
    }
    let mut next = TcpStream::connect(doors()[0]).expect("it still listens");
    next.write_all(CONNECT).expect("it reads");
    let mut answer = [0; 4];
    next.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [0x20, 2, 0, 0]);
});
