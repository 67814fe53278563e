//! How the subscriptions are, for those who ask.

use super::entry::{Entry, SubscriptionState};
use tidegate_message::TopicFilter;

/// A wanted subscription that is not there, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionProblem {
    /// Which.
    pub filter: TopicFilter,
    /// True when the broker has said no or hangs up; false while an answer is due.
    pub refused: bool,
    /// What is known of it.
    pub words: String,
}

/// A wanted subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Which.
    pub filter: TopicFilter,
    /// The QoS that was asked for.
    pub asked: u8,
    /// Why it is not there, or not yet.
    pub problem: Option<String>,
}

/// What is wanted and not there.
pub(super) fn problems(entries: &[Entry]) -> Vec<SubscriptionProblem> {
    let wanted = entries.iter().filter(|entry| entry.wanted.is_some());
    let problem = |entry: &Entry| {
        let (refused, words) = match &entry.state {
            SubscriptionState::Granted { .. } => return None,
            SubscriptionState::Refused { words, .. } => (true, words.clone()),
            SubscriptionState::Owed | SubscriptionState::Asked(_) if entry.refusals > 0 || entry.left_out > 0 => {
                (true, "refused before, and asked for again".to_owned())
            }
            SubscriptionState::Owed => (false, "not asked for yet".to_owned()),
            SubscriptionState::Asked(_) => (false, "not answered yet".to_owned()),
        };
        Some(SubscriptionProblem { filter: entry.filter.clone(), refused, words })
    };
    wanted.filter_map(problem).collect()
}

/// All that is wanted, in its order.
pub(super) fn wanted(entries: &[Entry]) -> Vec<Subscription> {
    let mut problems = problems(entries).into_iter().peekable();
    let wanted = entries.iter().filter_map(|entry| Some((entry, entry.wanted.as_ref()?)));
    let told = |(entry, wanted): (&Entry, &tidegate_mqtt::SubscribeFilter)| {
        let problem = problems.next_if(|problem| problem.filter == entry.filter).map(|problem| problem.words);
        Subscription { filter: entry.filter.clone(), asked: wanted.qos as u8, problem }
    };
    wanted.map(told).collect()
}
