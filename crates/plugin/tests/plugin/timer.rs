//! Plugins that act on time.

use crate::guest::Extra;
use crate::{instance, plugin, spec};
use tidegate_plugin::{Destination, Spec, run_here};

#[test]
fn a_tick_gives_outputs_with_their_topics() {
    let mut instance = instance(Extra::Timer, spec());
    assert!(instance.plugin().has_timer());
    let outputs = run_here(instance.tick(1)).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(
        (outputs[0].to, outputs[0].topic.as_ref().map(|topic| topic.as_str())),
        (Destination::Onward, Some("site/a"))
    );
}

#[test]
fn a_tick_is_held_to_grants_and_limits_and_survives_a_trap() {
    let mut instance = instance(Extra::Timer, spec());
    assert_eq!(run_here(instance.tick(2)).unwrap_err().kind(), "bad_topic", "the second output has no topic");
    assert_eq!(run_here(instance.tick(65)).unwrap_err().kind(), "too_many_outputs");
    assert_eq!(run_here(instance.tick(0)).unwrap_err().kind(), "trap");
    assert_eq!(run_here(instance.tick(1)).unwrap().len(), 1, "a fresh guest took over");

    let mut bare = plugin(Extra::Timer, Spec::new("bare")).instantiate().unwrap();
    assert_eq!(run_here(bare.tick(1)).unwrap_err().kind(), "foreign_topic");
}

#[test]
fn without_a_timer_a_tick_is_nothing() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(run_here(instance.tick(0)), Ok(vec![]));
}
