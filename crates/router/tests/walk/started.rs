//! A router that is configured and started, with nothing waiting.

use crate::source::Token;
use crate::target::Shared;
use std::path::Path;
use std::time::Instant;
use tidegate_config::Config;
use tidegate_router::{BrokerId, Moment, Router};
use tidegate_testkit::SimDisk;

/// What the clock says at the start, in microseconds since the epoch.
pub(crate) const US: u64 = 1_700_000_000_000_000;

/// A router with this configuration whose brokers, of these names, have all connected: whether each echoes, and carries marks.
pub(crate) fn started(
    text: &str,
    brokers: &[(&str, bool, bool)],
    start: Instant,
) -> (Router<Token, Shared>, Vec<BrokerId>, Config) {
    let parsed = tidegate_config::parse(text, Path::new("/g/tidegate.toml"));
    let (config, _) = parsed.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let now = Moment { at: start, us: US };
    let mut router = Router::new(crate::disk::open(&SimDisk::new()).expect("a spool"), Shared::default(), now);
    let ids: Vec<BrokerId> = brokers.iter().map(|(name, ..)| router.add_broker(name, true)).collect();
    router.configure(&config, now);
    let _ = router.recover(now);
    for (id, (_, echoes, carries_marks)) in ids.iter().zip(brokers) {
        router.connected(*id, *echoes, *carries_marks, now);
        router.broker_mut(*id).health.up_since = Some(start);
    }
    (router, ids, config)
}
