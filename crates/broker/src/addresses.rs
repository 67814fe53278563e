//! What is known of the addresses that clients come from: how many connections they have, how fast they open them, and how often
//! they failed to log in.

use crate::settings::Limits;
use ahash::AHashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};
use tidegate_mqtt::ReasonCode;
use tidegate_pacing::{Bucket, Doubling};

/// Addresses without a connection that are remembered for their failures; the one that failed longest ago goes.
const REMEMBERED: usize = 4096;

/// Failures are forgotten when there was none for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// So many of one address wait at a time to be told that they failed; others are told to come later, and asked nothing.
const WAITING: u32 = 16;

/// The longest that somebody waits to be told that a log-in failed; see [`Settings::failed_login_delay`](crate::Settings::failed_login_delay).
const DELAY_MAX: Duration = Duration::from_secs(5);

/// What is known of one address, or of one IPv6 network of 64 bits, which one machine has all of.
#[derive(Debug, Default)]
struct Address {
    connections: u32,
    /// How fast it opens them, while that is limited.
    opened: Option<Bucket>,
    failed: u32,
    failed_at: Option<Instant>,
    /// So many wait to be told that they failed.
    waiting: u32,
}

/// What is known of all of them.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    known: AHashMap<IpAddr, Address>,
}

/// One address from which somebody failed to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLogins {
    /// The address, or the first one of an IPv6 network of 64 bits.
    pub address: IpAddr,
    /// How often, since it was well for ten minutes.
    pub count: u32,
    /// How long ago the last one was.
    pub ago: Duration,
}

/// What addresses are told apart by.
pub(crate) fn place(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        },
        v4 => v4,
    }
}

impl Addresses {
    /// A connection came, and counts until it is [closed](Self::close).
    ///
    /// # Errors
    /// What its client is to be told: there are too many from there, or they come too fast.
    pub(crate) fn open(&mut self, address: IpAddr, limits: &Limits, now: Instant) -> Result<(), ReasonCode> {
        let known = self.known.entry(place(address)).or_default();
        known.connections += 1;
        let Some(rate) = limits.connect_rate else {
            known.opened = None;
            return known.within(limits);
        };
        let bucket = || Bucket::new(rate.get(), Duration::from_secs(1), rate.get());
        if !known.opened.get_or_insert_with(bucket).try_take(now) {
            return Err(ReasonCode::CONNECTION_RATE_EXCEEDED);
        }
        known.within(limits)
    }

    /// A connection is gone.
    pub(crate) fn close(&mut self, address: IpAddr, now: Instant) {
        let place = place(address);
        let Some(known) = self.known.get_mut(&place) else { return };
        known.connections = known.connections.saturating_sub(1);
        if known.connections == 0 && known.failed_at.is_none() && known.opened.is_none() {
            self.known.remove(&place);
        }
        if self.known.len() > REMEMBERED {
            self.tidy(now);
        }
    }

    /// Forgets what is old; of what is not, half of the oldest, so that this is seldom done.
    fn tidy(&mut self, now: Instant) {
        self.known.retain(|_, known| known.connections > 0 || known.failed_ago(now).is_some());
        let idle = self.known.iter().filter(|(_, known)| known.connections == 0);
        let mut idle: Vec<(Option<Instant>, IpAddr)> = idle.map(|(at, known)| (known.failed_at, *at)).collect();
        if idle.len() > REMEMBERED / 2 {
            idle.sort_unstable();
            for (_, address) in &idle[..idle.len() - REMEMBERED / 2] {
                self.known.remove(address);
            }
        }
    }

    /// Whether a client from there may say its password now.
    pub(crate) fn may_try(&self, address: IpAddr) -> bool {
        self.known.get(&place(address)).is_none_or(|known| known.waiting < WAITING)
    }

    /// A log-in failed. Returns how often that was so from there, and how long its client waits to be told; then it is
    /// [told](Self::told).
    pub(crate) fn failed(&mut self, address: IpAddr, first_delay: Duration, now: Instant) -> (u32, Duration) {
        let known = self.known.entry(place(address)).or_default();
        known.failed = if known.failed_ago(now).is_some() { known.failed.saturating_add(1) } else { 1 };
        known.failed_at = Some(now);
        known.waiting += 1;
        (known.failed, Doubling::new(first_delay, DELAY_MAX.max(first_delay)).after(known.failed - 1))
    }

    /// A client from there was told that it failed, or has gone.
    pub(crate) fn told(&mut self, address: IpAddr) {
        if let Some(known) = self.known.get_mut(&place(address)) {
            known.waiting = known.waiting.saturating_sub(1);
        }
    }

    /// From where log-ins failed, the most first.
    pub(crate) fn failures(&self, now: Instant) -> Vec<FailedLogins> {
        let failed = self.known.iter().filter_map(|(address, known)| {
            Some(FailedLogins { address: *address, count: known.failed, ago: known.failed_ago(now)? })
        });
        let mut failed: Vec<_> = failed.collect();
        failed.sort_unstable_by_key(|one| (std::cmp::Reverse(one.count), one.address));
        failed
    }
}

impl Address {
    /// How long ago the last failure was that is not forgotten.
    fn failed_ago(&self, now: Instant) -> Option<Duration> {
        let ago = now.saturating_duration_since(self.failed_at?);
        (ago <= FORGOTTEN_AFTER).then_some(ago)
    }

    fn within(&self, limits: &Limits) -> Result<(), ReasonCode> {
        match limits.connections_per_address {
            Some(most) if self.connections > most.get() => Err(ReasonCode::QUOTA_EXCEEDED),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn connections_are_counted_by_address_and_ipv6_by_its_network() {
        let limits = Limits { connections_per_address: NonZeroU32::new(2), ..Limits::default() };
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let open = |addresses: &mut Addresses, at: IpAddr| addresses.open(at, &limits, now);
        assert_eq!(open(&mut addresses, address(1)), Ok(()));
        assert_eq!(open(&mut addresses, "::ffff:192.0.2.1".parse().unwrap()), Ok(()));
        assert_eq!(open(&mut addresses, address(1)), Err(ReasonCode::QUOTA_EXCEEDED));
        assert_eq!(open(&mut addresses, address(2)), Ok(()));
        for (last, answer) in [("1", Ok(())), ("2", Ok(())), ("3", Err(ReasonCode::QUOTA_EXCEEDED))] {
            assert_eq!(open(&mut addresses, format!("2001:db8::{last}").parse().unwrap()), answer);
        }
        // Who was refused counts until it has gone.
        addresses.close(address(1), now);
        assert_eq!(open(&mut addresses, address(1)), Err(ReasonCode::QUOTA_EXCEEDED));
        for _ in 0..3 {
            addresses.close(address(1), now);
        }
        assert_eq!(open(&mut addresses, address(1)), Ok(()));
        assert_eq!(addresses.known.len(), 3);
    }

    #[test]
    fn connections_that_come_too_fast_are_refused_and_later_ones_are_not() {
        let limits = Limits { connect_rate: NonZeroU32::new(10), ..Limits::default() };
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let taken = (0..100).filter(|_| addresses.open(address(1), &limits, now).is_ok()).count();
        assert_eq!(taken, 10);
        for _ in 0..100 {
            addresses.close(address(1), now);
        }
        assert_eq!(addresses.open(address(1), &limits, now), Err(ReasonCode::CONNECTION_RATE_EXCEEDED));
        let later = now + Duration::from_secs(1);
        assert_eq!(addresses.open(address(1), &limits, later), Ok(()));
        assert_eq!(addresses.open(address(1), &Limits::default(), now), Ok(()), "the limit is gone");
    }

    #[test]
    fn failures_cost_more_each_time_and_are_forgotten() {
        let (mut addresses, now, first) = (Addresses::default(), Instant::now(), Duration::from_millis(250));
        let delays: Vec<u128> = (0..8).map(|_| addresses.failed(address(1), first, now).1.as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(addresses.failures(now).iter().map(|one| one.count).collect::<Vec<_>>(), [8]);
        assert!(addresses.may_try(address(1)));
        for _ in 0..8 {
            addresses.failed(address(1), first, now);
        }
        assert!(!addresses.may_try(address(1)));
        assert!(addresses.may_try(address(2)));
        addresses.told(address(1));
        assert!(addresses.may_try(address(1)));
        let later = now + FORGOTTEN_AFTER + Duration::from_secs(1);
        assert_eq!(addresses.failures(later), []);
        assert_eq!(addresses.failed(address(1), first, later), (1, first));
    }

    #[test]
    fn however_many_fail_few_are_remembered() {
        let (mut addresses, now, limits) = (Addresses::default(), Instant::now(), Limits::default());
        for number in 0..3 * REMEMBERED as u32 {
            let address = IpAddr::V4(number.into());
            addresses.open(address, &limits, now).unwrap();
            addresses.failed(address, Duration::from_millis(1), now + Duration::from_millis(u64::from(number)));
            addresses.told(address);
            addresses.close(address, now + Duration::from_millis(u64::from(number)));
        }
        assert!(addresses.known.len() <= REMEMBERED, "{}", addresses.known.len());
        let last = IpAddr::V4((3 * REMEMBERED as u32 - 1).into());
        assert!(addresses.known.contains_key(&last), "the newest ones stay");
    }
}
