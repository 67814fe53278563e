//! TLS before a null broker: what comes in by TLS goes on in plain, and back. Its CPU time is the benchmark's own, not the
//! subject's.

use anyhow::Result;
use std::sync::Arc;
use std::thread::JoinHandle;
use tidegate_testkit::Certs;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is copied at a time: the null brokers write so much.
const COPY_BYTES: usize = 64 * 1024;

/// A door with TLS. Closed when it is dropped.
pub(crate) struct Door {
    port: u16,
    // Taken when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Before a plain port.
    pub(crate) fn before(plain_port: u16, certs: &Certs) -> Result<Self> {
        let identity = certs.server();
        let chain = vec![CertificateDer::from_pem_file(&identity.cert)?];
        let key = PrivateKeyDer::from_pem_file(&identity.key)?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(carry(stream, acceptor.clone(), plain_port)));
            }
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Dropped, it says so too.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// One connection; one that fails is seen by who waits for its messages.
async fn carry(stream: TcpStream, acceptor: TlsAcceptor, plain_port: u16) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outside = acceptor.accept(stream).await?;
    let mut inside = TcpStream::connect(("127.0.0.1", plain_port)).await?;
    inside.set_nodelay(true)?;
    tokio::io::copy_bidirectional_with_sizes(&mut outside, &mut inside, COPY_BYTES, COPY_BYTES).await?;
    Ok(())
}
