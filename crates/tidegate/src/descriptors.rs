//! Room for connections: how many descriptors the process may have, and a table that has them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_config::Config;

/// So many find a table that is large enough. The kernel doubles it when it is full, and of a process with threads it waits then until every
/// core has looked up: ten milliseconds, in which no message passes. It costs eight bytes each.
const ROOM: u64 = 16_384;

/// No more is asked for, whatever the system would give.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// What is open beside the own brokers' clients: links, files of the spool, the admin server, clients that are being turned away.
const BESIDE_CLIENTS: u64 = 1024;

/// Takes what the system lets us have: a shell gives 1,024 at first. To be called before there are threads.
pub(crate) fn make_room() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(u64::MAX).min(DESCRIPTORS_MAX);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    let last = allowed().min(ROOM).saturating_sub(1);
    // A copy of any with the last number, which is closed at once.
    let _ = i32::try_from(last).map(|last| rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), last));
}

/// Says so when clients may come for whom there will be no descriptor.
pub(crate) fn warn_of_too_few(config: &Config) {
    let clients = |broker: &tidegate_config::Broker| {
        broker.embedded().map_or(0, |embedded| u64::from(embedded.limits.max_connections))
    };
    let clients: u64 = config.brokers.values().map(clients).sum();
    let (allowed, wanted) = (allowed(), clients + BESIDE_CLIENTS);
    if clients > 0 && allowed < wanted {
        tracing::warn!(
            "this process may have {allowed} files and sockets, and `limits.max_connections` let {clients} clients in: raise the limit to \
             {wanted} (LimitNOFILE= of systemd, `ulimit -Hn` of a shell), or lower `max_connections`"
        );
    }
}

fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
