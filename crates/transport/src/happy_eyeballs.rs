//! From a host to a connection: all addresses of a name are tried beside each other, the next one starting while the
//! one before is still quiet (Happy Eyeballs, RFC 8305).

use crate::error::TransportError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an attempt may be alone before the next address is tried too (RFC 8305 section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// How many addresses are named in an error.
const NAMED_MAX: usize = 4;

/// What dialling needs of the world, so that it can be tested without one.
pub(crate) trait Network {
    /// A connection.
    type Stream;
    /// All addresses of a name, the preferred first.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
    /// Connects to one of them.
    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream>;
    /// The number of a network interface now: it may change when the interface goes and comes back.
    fn interface(&self, name: &str) -> io::Result<u32>;
}

/// The one that there is.
pub(crate) struct Real;

impl Network for Real {
    type Stream = TcpStream;

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to).await
    }

    fn interface(&self, name: &str) -> io::Result<u32> {
        use rustix::net::{AddressFamily, SocketType, netdevice, socket};
        let any = socket(AddressFamily::INET6, SocketType::DGRAM, None)
            .or_else(|_| socket(AddressFamily::INET, SocketType::DGRAM, None))?;
        Ok(netdevice::name_to_index(any, name)?)
    }
}

/// Connects to the first address that answers. Without a deadline of its own.
///
/// # Errors
/// In words, with what each address said.
pub(crate) async fn connect<N: Network>(network: &N, host: &str, port: u16) -> Result<N::Stream, TransportError> {
    let fail = |error: io::Error| TransportError::io(format!("{host}:{port}: {error}"), error);
    let addresses = match host.split_once('%') {
        Some((address, zone)) => vec![zoned(network, address, zone, port)?],
        None => match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => network.resolve(host, port).await.map_err(fail)?,
        },
    };
    if addresses.is_empty() {
        return Err(TransportError::no_address(format!("{host}: the name has no address")));
    }
    race(network, interleaved(addresses)).await.map_err(|errors| none_answers(host, port, errors))
}

/// What all addresses said; the cause is what the preferred one did.
fn none_answers(host: &str, port: u16, mut errors: Vec<(SocketAddr, io::Error)>) -> TransportError {
    let words = match &errors[..] {
        [(_, error)] => format!("{host}:{port}: {error}"),
        _ => {
            let named = errors.iter().take(NAMED_MAX).map(|(address, error)| format!("{address}: {error}"));
            let more = if errors.len() > NAMED_MAX { ", ..." } else { "" };
            let named = named.collect::<Vec<_>>().join(", ");
            format!("{host}: none of its {} addresses answers: {named}{more}", errors.len())
        }
    };
    match errors.is_empty() {
        true => TransportError::no_address(words),
        false => TransportError::io(words, errors.swap_remove(0).1),
    }
}

/// An address that means something on one network interface only (RFC 4007 section 11).
fn zoned<N: Network>(network: &N, address: &str, zone: &str, port: u16) -> Result<SocketAddr, TransportError> {
    let no_address = |_| TransportError::no_address(format!("`{address}` is not an IPv6 address"));
    let parsed: Ipv6Addr = address.parse().map_err(no_address)?;
    let index = match zone.parse() {
        Ok(index) => index,
        Err(_) => network
            .interface(zone)
            .map_err(|error| TransportError::io(format!("no network interface `{zone}` now: {error}"), error))?,
    };
    Ok(SocketAddrV6::new(parsed, port, 0, index).into())
}

/// IPv6 and IPv4 in turn, IPv6 first, each in the order of the resolver (RFC 8305 section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let mut known = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !known.contains(&address) {
            known.push(address);
        }
    }
    let (six, four): (Vec<_>, Vec<_>) = known.into_iter().partition(SocketAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut order = VecDeque::new();
    loop {
        let pair = (six.next(), four.next());
        if pair == (None, None) {
            break;
        }
        order.extend(pair.0);
        order.extend(pair.1);
    }
    order.truncate(ADDRESSES_MAX);
    order
}

/// The first connection that stands; the others are given up.
async fn race<N: Network>(
    network: &N,
    mut waiting: VecDeque<SocketAddr>,
) -> Result<N::Stream, Vec<(SocketAddr, io::Error)>> {
    let attempt = |address: SocketAddr| async move { (address, network.connect(address).await) };
    let (mut trying, mut errors) = (FuturesUnordered::new(), Vec::new());
    loop {
        // Straight on where the one before has failed already.
        if let Some(next) = waiting.pop_front() {
            trying.push(attempt(next));
        }
        let head_start = tokio::time::sleep(HEAD_START);
        tokio::pin!(head_start);
        loop {
            tokio::select! {
                biased;
                ended = trying.next() => match ended {
                    Some((_, Ok(stream))) => return Ok(stream),
                    Some((address, Err(error))) => {
                        errors.push((address, error));
                        if !waiting.is_empty() {
                            break;
                        }
                    }
                    None => return Err(errors),
                },
                () = &mut head_start, if !waiting.is_empty() => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use tokio::time::Instant;

    /// What an address does.
    #[derive(Clone, Copy)]
    enum Does {
        /// Answers after so many milliseconds.
        Answers(u64),
        /// Refuses after so many.
        Refuses(u64),
        /// Swallows what is sent.
        Swallows,
    }

    struct Fake {
        started: Instant,
        names: Vec<(SocketAddr, Does)>,
        /// When each was tried, in milliseconds.
        tried: RefCell<Vec<(SocketAddr, u128)>>,
        interfaces: RefCell<BTreeMap<&'static str, u32>>,
    }

    impl Fake {
        fn new(names: &[(&str, Does)]) -> Self {
            let names = names.iter().map(|(address, does)| (address.parse().unwrap(), *does)).collect();
            let (tried, interfaces) = (RefCell::default(), RefCell::default());
            Self { started: Instant::now(), names, tried, interfaces }
        }

        async fn dial(&self, host: &str) -> Result<SocketAddr, String> {
            /// Of a clock that runs on by itself while nobody has anything to do.
            const HOUR: Duration = Duration::from_secs(3600);
            let dialled = tokio::time::timeout(HOUR, connect(self, host, 1883)).await;
            dialled.map_or_else(|_| Err("stuck".to_owned()), |outcome| outcome.map_err(|error| error.to_string()))
        }

        fn order(&self) -> Vec<(String, u128)> {
            self.tried.borrow().iter().map(|(address, when)| (address.to_string(), *when)).collect()
        }
    }

    impl Network for Fake {
        type Stream = SocketAddr;

        async fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            match host {
                "nowhere" => Err(io::Error::other("no such name")),
                _ => Ok(self.names.iter().map(|(address, _)| *address).collect()),
            }
        }

        async fn connect(&self, to: SocketAddr) -> io::Result<SocketAddr> {
            self.tried.borrow_mut().push((to, self.started.elapsed().as_millis()));
            let does =
                self.names.iter().find(|(address, _)| *address == to).map_or(Does::Answers(0), |(_, does)| *does);
            match does {
                Does::Answers(after_ms) => {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    Ok(to)
                }
                Does::Refuses(after_ms) => {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
                Does::Swallows => std::future::pending().await,
            }
        }

        fn interface(&self, name: &str) -> io::Result<u32> {
            self.interfaces.borrow().get(name).copied().ok_or_else(|| io::Error::other("no such device"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_packets_does_not_keep_the_next_from_being_tried() {
        let network = Fake::new(&[("[::1]:1", Does::Swallows), ("127.0.0.1:1", Does::Answers(10))]);
        assert_eq!(network.dial("two").await.unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(network.order(), [("[::1]:1".to_owned(), 0), ("127.0.0.1:1".to_owned(), 250)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_is_followed_at_once_and_a_late_answer_still_counts() {
        let addresses =
            [("127.0.0.1:1", Does::Swallows), ("127.0.0.2:1", Does::Refuses(5)), ("[::1]:1", Does::Answers(600))];
        let network = Fake::new(&addresses);
        assert_eq!(network.dial("three").await.unwrap().to_string(), "[::1]:1", "it was first, and is waited for");
        let expected = [("[::1]:1", 0), ("127.0.0.1:1", 250), ("127.0.0.2:1", 500)];
        assert_eq!(network.order(), expected.map(|(address, when)| (address.to_owned(), when)));
    }

    #[tokio::test(start_paused = true)]
    async fn families_take_turns_and_there_is_an_end() {
        let many: Vec<String> =
            (0..40).map(|n| format!("10.0.0.{n}:1")).chain(["[::2]:1".into(), "[::3]:1".into()]).collect();
        let many: Vec<_> = many.iter().map(|address| (&**address, Does::Refuses(0))).collect();
        let network = Fake::new(&many);
        let error = network.dial("many").await.unwrap_err();
        let order: Vec<_> = network.order().into_iter().map(|(address, _)| address).collect();
        assert_eq!(order[..5], ["[::2]:1", "10.0.0.0:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(order.len(), ADDRESSES_MAX);
        assert!(error.contains("none of its 16 addresses") && error.contains("[::2]:1: connection refused"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_zone_is_looked_up_at_each_attempt() {
        let network = Fake::new(&[]);
        let away = network.dial("fe80::1%eth0").await.unwrap_err();
        assert!(away.contains("no network interface `eth0` now"), "{away}");
        for index in [3, 7] {
            network.interfaces.borrow_mut().insert("eth0", index);
            let SocketAddr::V6(dialled) = network.dial("fe80::1%eth0").await.unwrap() else { panic!("IPv6") };
            assert_eq!((dialled.ip().to_string(), dialled.port(), dialled.scope_id()), ("fe80::1".into(), 1883, index));
        }
        let SocketAddr::V6(dialled) = network.dial("fe80::1%12").await.unwrap() else { panic!("IPv6") };
        assert_eq!(dialled.scope_id(), 12, "a number is one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_none_says_so() {
        let network = Fake::new(&[]);
        assert!(network.dial("nowhere").await.unwrap_err().contains("no such name"));
        assert!(network.dial("empty").await.unwrap_err().contains("has no address"));
        assert_eq!(network.dial("::1").await.unwrap().to_string(), "[::1]:1883");
    }

    /// Two addresses of this machine behind one name.
    struct Loopback([SocketAddr; 2]);

    impl Network for Loopback {
        type Stream = TcpStream;

        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(self.0.to_vec())
        }

        async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
            Real.connect(to).await
        }

        fn interface(&self, name: &str) -> io::Result<u32> {
            Real.interface(name)
        }
    }

    #[tokio::test]
    async fn a_listener_whose_queue_is_full_does_not_keep_the_one_beside_it_from_being_reached() {
        /// A connection that does not stand after this long is not going to.
        const STUCK: Duration = Duration::from_millis(300);
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let swallows = full.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stands) = tokio::time::timeout(STUCK, TcpStream::connect(swallows)).await {
            queued.push(stands.unwrap());
            assert!(queued.len() < 64, "the queue is bounded");
        }
        let answers = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let network = Loopback([swallows, answers.local_addr().unwrap()]);
        let stream = connect(&network, "two", 0).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), answers.local_addr().unwrap());
    }

    #[test]
    fn this_machine_has_a_loopback_interface() {
        assert!(Real.interface("lo").is_ok_and(|index| index > 0));
        assert!(Real.interface("nosuchthing").is_err());
    }
}
