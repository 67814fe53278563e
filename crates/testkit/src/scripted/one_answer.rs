//! A listener that is no broker: it answers whatever comes with the same bytes.

use crate::packet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a first request may take, and how long the other side has to close.
const QUIET: Duration = Duration::from_secs(2);

/// More than any first request in these tests.
const REQUEST_BYTES: usize = 16 * 1024;

/// Answers each connection with the same bytes and closes it; remembers what was asked.
#[derive(Debug)]
pub struct OneAnswer {
    port: u16,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    stopped: Arc<AtomicBool>,
}

impl OneAnswer {
    /// Listens from here on.
    #[track_caller]
    pub fn start(answer: &[u8]) -> Self {
        let port = crate::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let (requests, stopped) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, ended, answer) = (requests.clone(), stopped.clone(), answer.to_vec());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (requests, answer) = (theirs.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &answer, &requests));
            }
        });
        Self { port, requests, stopped }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What each connection has asked, as text.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

impl Drop for OneAnswer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the one who accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], requests: &Mutex<Vec<Vec<u8>>>) {
    let (mut request, mut chunk) = (Vec::new(), [0; REQUEST_BYTES]);
    let _ = stream.set_read_timeout(Some(QUIET));
    while !is_complete(&request) {
        match stream.read(&mut chunk) {
            Ok(read) if read > 0 && request.len() < REQUEST_BYTES => request.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let _ = stream.write_all(answer).and_then(|()| stream.shutdown(Shutdown::Write));
    // Until the other side closes, so that the answer is not lost to an RST.
    while stream.read(&mut chunk).is_ok_and(|read| read > 0) {}
}

/// A whole head of HTTP, a whole packet of MQTT, or the begin of a handshake of TLS.
fn is_complete(request: &[u8]) -> bool {
    const TLS_HANDSHAKE: u8 = 22;
    request.ends_with(b"\r\n\r\n")
        || request.first() == Some(&TLS_HANDSHAKE)
        || matches!(packet::frame(request), Ok(Some((frame, _))) if frame.kind() == 1)
}
