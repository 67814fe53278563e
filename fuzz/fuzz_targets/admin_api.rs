//! Whatever is sent to the admin listener, it answers or hangs up, and the gateway goes on.
//!
//! The input is what a client writes, many requests perhaps, to the listener of a gateway in this process; the sanitizers and the
//! panic hook see what it does there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidegate_admin::{Admin, Logbook, serve};
use tidegate_gateway::Service;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An answer is waited for this long: a tap goes on for ever.
const PATIENCE: Duration = Duration::from_millis(200);

/// The socket of a gateway that runs from the first input on.
fn socket() -> &'static PathBuf {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    SOCKET.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let (file, socket) = (dir.join("gw.toml"), dir.join("admin.sock"));
        let text = format!(
            "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n[admin]\nlisten = \"unix:{}\"\ncontrol = true\n\
             [brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n\
             [[routes]]\nname = \"r\"\nfrom = {{ broker = \"own\", topics = [\"a/#\"] }}\nto = [\"own\"]\nremap = {{ prefix = \"b/\" }}\n",
            socket.display()
        );
        std::fs::write(&file, text).expect("the configuration");
        let at = file.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let config = tidegate_config::load(&at).expect("it is good").config;
                let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
                let service = Service::open(&at, config).await.expect("a gateway");
                let admin = Admin::bind(service.config()).expect("its listener").expect("one");
                let (asked, serving) = (reload.clone(), stop.child_token());
                let started = |gateway: &tidegate_gateway::Gateway| {
                    serve(admin, gateway.console(), Logbook::default(), at.clone(), asked, serving)
                };
                service.run(stop, &reload, Duration::ZERO, started).await.expect("it runs");
            });
        });
        while UnixStream::connect(&socket).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        socket
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut stream = UnixStream::connect(socket()).expect("the listener is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.take(1 << 20).read_to_end(&mut Vec::new());
    }
    let mut health = UnixStream::connect(socket()).expect("the listener is still there");
    health.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    health.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
});
