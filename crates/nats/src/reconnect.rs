//! The life of a connection: attempt after attempt, for as long as it is wanted.

use crate::connect::{ANSWER_TIMEOUT, connect};
use crate::drive::Drive;
use crate::nats::Nats;
use crate::prepare::prepare_stream;
use crate::{NatsError, Port, Status};
use async_nats::jetstream::context::ContextBuilder;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_pacing::Backoff;
use tokio_util::sync::CancellationToken;

/// A connection that stood this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(5);

/// How many servers of a cluster are known at most.
const SERVERS_MAX: usize = 64;

/// The servers of a cluster: those of the configuration, and those that servers have named.
struct Servers {
    all: Vec<String>,
    /// Which is tried first.
    first: usize,
}

impl Servers {
    /// Adds what a server says of its cluster. Not with TLS: servers name addresses there, and certificates bear names.
    fn learn(&mut self, named: &[String], has_tls: bool) {
        for server in named.iter().filter(|_| !has_tls) {
            if self.all.len() < SERVERS_MAX && !self.all.contains(server) {
                self.all.push(server.clone());
            }
        }
    }

    /// All, the first first.
    fn in_turn(&self) -> Vec<usize> {
        (0..self.all.len()).map(|at| (self.first + at) % self.all.len()).collect()
    }
}

impl Nats {
    /// Connects, carries messages, reconnects, until stopped; then acknowledges what the owner has taken care of.
    pub async fn run<P: Port>(self, port: Rc<RefCell<P>>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        let mut servers = Servers { all: self.settings.servers.clone(), first: 0 };
        while !stop.is_cancelled() {
            let mut up_since = None;
            let ended = tokio::select! {
                drive = self.open(&port, &mut servers) => match drive {
                    Ok(mut drive) => {
                        self.shared.is_up.set(true);
                        up_since = Some(Instant::now());
                        let up = drive.up();
                        port.borrow_mut().status(&up);
                        drive.run(&stop).await
                    }
                    Err(error) => Some(error),
                },
                () = stop.cancelled() => None,
            };
            self.shared.is_up.set(false);
            let Some(error) = ended else { break };
            let was_up = up_since.is_some();
            if up_since.is_some_and(|since| since.elapsed() >= STABLE) {
                backoff.reset();
            }
            if was_up {
                // Another server has what this one had.
                servers.first = (servers.first + 1) % servers.all.len().max(1);
                self.give_back(&port);
            }
            let retry_in = backoff.advance();
            port.borrow_mut().status(&Status::Down { error, retry_in, was_up });
            tokio::select! {
                () = tokio::time::sleep(retry_in) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// What was sent stays, to be sent again under the same ids before all else; the rest waits with the owner.
    fn give_back<P: Port>(&self, port: &RefCell<P>) {
        let unsent = self.shared.outbox.borrow_mut().take_unsent();
        self.shared.outbox.borrow_mut().unsend_all();
        if !unsent.is_empty() {
            port.borrow_mut().returned(unsent, None, Instant::now());
        }
    }

    /// One attempt: a connection with all that it needs.
    async fn open<P: Port>(&self, port: &Rc<RefCell<P>>, servers: &mut Servers) -> Result<Drive<'_, P>, NatsError> {
        let mut wrong = Vec::new();
        let mut connected = None;
        for at in servers.in_turn() {
            match connect(&self.settings, &servers.all[at]).await {
                Ok(client) => {
                    servers.first = at;
                    connected = Some(client);
                    break;
                }
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let Some((client, events)) = connected else { return Err(NatsError::Connect(wrong.join("; "))) };
        servers.learn(&client.server_info().connect_urls, self.settings.tls.is_some());
        let context = ContextBuilder::new().timeout(ANSWER_TIMEOUT).build(client.clone());
        let tell = |status| port.borrow_mut().status(&status);
        let stream = prepare_stream(&context, &self.settings, tell).await?;
        let before = self.shared.created.borrow_mut().replace(stream.created.clone());
        if before.is_some_and(|before| before != stream.created) {
            self.shared.inbox.borrow_mut().forget();
        }
        let (shared, port) = (self.shared.clone(), port.clone());
        let mut drive = Drive::new(&self.settings, shared, port, (client, events), context, stream);
        drive.subscribe().await?;
        Ok(drive)
    }
}
