//! Topics and filters from any text, and that what is said of them agrees. One line each: two filters and a topic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_message::{SubscriptionIndex, Topic, TopicFilter};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (a, b, topic) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let (a, b, topic) = (TopicFilter::new(a), TopicFilter::new(b), Topic::new(topic));
    let (Ok(a), Ok(topic)) = (a, topic) else { return };
    let mut index = SubscriptionIndex::default();
    index.insert(&a, 1);
    let mut found = 0;
    index.for_each_match(&topic, |_| found += 1);
    assert_eq!(found, usize::from(a.matches(&topic)), "{a} {topic}");
    let Ok(b) = b else { return };
    if a.matches(&topic) && b.matches(&topic) {
        assert!(a.overlaps(&b) && b.overlaps(&a), "{a} {b} {topic}");
    }
    if a.covers(&b) && b.matches(&topic) {
        assert!(a.matches(&topic), "{a} {b} {topic}");
    }
});
