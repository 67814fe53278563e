use super::*;
use crate::snapshot::RouteSnapshot;
use tidegate_router::Account;

#[test]
fn every_metric_has_help_and_a_unique_name_and_labels_are_escaped() {
    let mut names: Vec<_> = all().map(|family| family.0).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().count());
    assert!(all().all(|(name, kind, help, _)| {
        name.starts_with("tidegate_") && help.ends_with('.') && (*kind == "counter") == name.ends_with("_total")
    }));
    let dropped = [("say \"no\"\n".into(), 3)].into();
    let account = Account { received: 3, dropped, ..Default::default() };
    let route = RouteSnapshot { name: "r".into(), account, ..Default::default() };
    let text = Snapshot { routes: vec![route], ..Default::default() }.prometheus();
    assert!(text.contains("tidegate_route_received_total{route=\"r\"} 3\n"), "{text}");
    assert!(text.contains("reason=\"say \\\"no\\\"\\n\"} 3\n"), "{text}");
}
