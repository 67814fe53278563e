//! Whether everything that is needed is there, and what is not as it should be.

use tidegate_gateway::{SetSnapshot, Snapshot, SourceSnapshot};

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Every broker that is needed is connected, has granted our subscriptions and answers, and every set has a member that
    /// takes or brings messages.
    pub ready: bool,
    /// A line each.
    pub problems: Vec<String>,
}

impl Problems {
    /// Of a gateway.
    pub fn of(snapshot: &Snapshot) -> Self {
        let (mut ready, mut problems) = (true, Vec::new());
        for broker in snapshot.brokers.iter().filter(|broker| !broker.ready) {
            let name = &broker.name;
            // A member that is away takes nothing from its set as long as another is there, and a source's broker nothing
            // from it.
            ready &= !broker.needed;
            let has = |set: &SetSnapshot| set.members.iter().any(|member| member.broker == *name);
            let brings = |source: &SourceSnapshot| source.brokers.iter().any(|one| one.broker == *name);
            let sets = snapshot.sets.iter().filter(|set| has(set)).map(|set| (&set.name, &snapshot.sets_down));
            let sources = snapshot.sources.iter().filter(|source| brings(source));
            let mut all = sets.chain(sources.map(|source| (&source.name, &snapshot.sources_down)));
            let is_replaced = !broker.needed && all.any(|(name, down)| !down.contains(name));
            let aside = if is_replaced { " (others of its set are there)" } else { "" };
            if broker.problems.is_empty() {
                let doing = if broker.up { "subscribing" } else { "connecting" };
                let error = broker.error.as_deref().unwrap_or(doing);
                problems.push(format!("broker {name}: {error}{aside}"));
            }
            problems.extend(broker.problems.iter().map(|problem| format!("broker {name}: {problem}{aside}")));
            if let (false, false, Some(error)) = (broker.problems.is_empty(), broker.up, &broker.error) {
                problems.push(format!("broker {name}: {error}{aside}"));
            }
        }
        for set in &snapshot.sets_down {
            ready = false;
            problems.push(format!("target {set}: none of its members is connected"));
        }
        for source in &snapshot.sources_down {
            ready = false;
            problems.push(format!("source {source}: none of its brokers is subscribed to"));
        }
        for route in &snapshot.looping_routes {
            problems.push(format!("route {route}: in a loop over another gateway; what comes again is dropped"));
        }
        for route in &snapshot.waiting_routes {
            ready = false;
            problems.push(format!("route {route}: its plugins are being compiled"));
        }
        Self { ready, problems }
    }
}
