//! What is worth an event: lines of the log that have a name for programs, which their words may change beneath.
//!
//! A line gets one where it is said, as the name of its callsite: `tracing::warn!(name: "failover", ...)`. A test holds the table
//! to all of those, another one the page of the documentation to the table.

/// Each with what has happened.
pub const EVENTS: &[(&str, &str)] = &[
    ("running", "the gateway has started"),
    ("draining", "it was told to stop, and delivers what is under way"),
    ("stopped", "its end"),
    ("connected", "a link is up"),
    ("disconnected", "a link is down, or a broker is not reached; said anew when the reason changes"),
    ("session_lost", "a broker had forgotten our session"),
    ("subscription_refused", "a broker does not let us subscribe to a filter"),
    ("subscription_reduced", "a broker grants a lower QoS than was asked for"),
    ("broker_not_started", "a link or the box's own broker waits for a file or an address"),
    ("broker_started_late", "and has it now"),
    ("broker_stopped", "the box's own broker has stopped"),
    ("listening", "the box's own broker listens at an address"),
    ("persistence_opened", "the box's own broker has what it kept over the restart"),
    ("persistence_damaged", "some of what it kept is damaged; the rest is there"),
    ("persistence_waits", "the disk is full: its clients wait for acknowledgements at QoS 1 and 2"),
    ("persistence_goes_on", "there is room again"),
    ("persistence_failed", "what it keeps cannot be written, and nothing of it is acknowledged any more"),
    ("given_up", "sets do without a broker: it is away, or acknowledges nothing, or refuses all"),
    ("failover", "a set, or a source of several brokers, goes to another one"),
    ("failback", "and back to one that is preferred"),
    ("balanced", "topics of a member of a set go to others, or to it again"),
    ("relieved", "a member of a set that is strained gets less, or more again"),
    ("all_away", "a set has no member that takes messages"),
    ("member_back", "and has one again"),
    ("recovered", "messages of an earlier run wait in the spool"),
    ("caught_up", "what had waited for a target is delivered"),
    ("quota_dropped", "a target's quota is full, or its messages are too old: some are dropped"),
    ("target_refused", "a target refuses a message"),
    ("hung_up_on", "a broker ends the connection at a message"),
    ("parked", "a plugin could not decide: a message is put aside"),
    ("unrouted", "a message that no route wants"),
    ("loop", "a message, or a route, goes round over other gateways"),
    ("plugins_compiled", "routes that waited for their plugins carry"),
    ("plugin_restarted", "a plugin has failed, and starts anew"),
    ("circuit_opened", "a plugin keeps failing, and is asked less often"),
    ("tick_refused", "what a plugin said on a tick is refused"),
    ("disk_full", "nothing is acknowledged until there is room"),
    ("disk_good", "there is room again"),
    ("disk_failed", "nothing is acknowledged any more"),
    ("reloaded", "a configuration, or a plugin, is in force"),
    ("reload_refused", "it is not, and why; one for each reason"),
    ("rolled_back", "an earlier version of a plugin runs again"),
    ("state_migrated", "what a plugin remembers is of another version, as the plugin that came reads it"),
    ("state_restored", "what a plugin remembers is again as an earlier version has left it"),
    ("candidate_promoted", "what was tried beside a plugin runs in its place"),
    ("candidate_abandoned", "and is tried no more"),
    ("rollback_over", "and what the configuration says of it does, which has changed"),
    ("saved", "a configuration was saved through the admin listener"),
    ("operated", "somebody has changed something through the admin listener"),
    ("client_disconnected", "an operator has disconnected a client of the box's own broker"),
    ("paused", "an operator has paused a broker, or lets it go on"),
    ("token_refused", "the admin listener was shown a wrong token"),
    ("traces_away", "a collector of traces does not take them"),
    ("traces_back", "and does again"),
];

/// The name of an event, if the name of a callsite is one: others are made of the place in the source.
pub(crate) fn named(callsite: &'static str) -> Option<&'static str> {
    EVENTS.iter().find(|(name, _)| *name == callsite).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `TIDEGATE_BLESS` set it is written.
    #[test]
    fn the_page_of_events_is_made_of_the_table_in_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, _) = page.split_once("| Event |").expect("a table");
        let rows: String = EVENTS.iter().map(|(name, what)| format!("| `{name}` | {what} |\n")).collect();
        let wanted = format!("{head}| Event | What has happened |\n|---|---|\n{rows}");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(path, wanted).unwrap();
        } else {
            assert!(page == wanted, "docs/events.md is stale: run this test with TIDEGATE_BLESS=1");
        }
    }
}
