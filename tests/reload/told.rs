//! What the log says of a reload.

use super::*;

/// The lines of the log from here on that hold all of these words.
fn lines(tidegate: &Tidegate, from: usize, words: &[&str]) -> Vec<String> {
    let log = tidegate.log()[from..].to_owned();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

/// Does something, and waits until the log has a line with these words; returns from where on to look.
#[track_caller]
fn logged_after(tidegate: &Tidegate, words: &[&str], change: impl FnOnce()) -> usize {
    let from = tidegate.log().len();
    change();
    eventually(&format!("the log has {words:?}"), PATIENCE, || !lines(tidegate, from, words).is_empty());
    from
}

#[test]
fn a_change_is_told_once_by_its_key_and_no_value_is_told() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let text = house.config(&MAIN.replace("[plugins.marked]", "[plugins.marked]\nconfig = { tag = \"hunter2\" }"));
    let text = text.replace("[brokers.office]", "[brokers.office]\nkeep_alive = \"31s\"");
    let from = logged_after(&tidegate, &["reloaded", "route `main` runs marked@"], || tidegate.edit_config(&text));
    let expected = ["brokers.office.keep_alive changed from 30s to 31s", "plugins.marked.config added"];
    for change in expected {
        assert_eq!(lines(&tidegate, from, &["INFO", "reloaded", change]).len(), 1, "{}", tidegate.log());
    }
    let told = lines(&tidegate, from, &["reloaded"]);
    assert_eq!(told.len(), expected.len() + 1, "{told:?}");
    assert!(!tidegate.log().contains("hunter2"));
}

#[test]
fn warnings_are_warnings_of_what_is_refused_and_of_what_is_applied() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let unused = MAIN.replace("[[routes]]", "[plugins.calm]\npath = \"plugins/marked.wasm\"\n[[routes]]");
    let words = ["WARN", "no route uses the plugin `calm`"];
    let from = logged_after(&tidegate, &words, || tidegate.edit_config(&house.config(&unused)));
    assert!(lines(&tidegate, from, &["ERROR"]).is_empty(), "it is applied");
    eventually("it is", PATIENCE, || reloads(&tidegate) == 1);

    let bad =
        unused.replacen("[plugins.calm]\npath = \"plugins/marked.wasm\"", "[plugins.calm]\npath = \"gone.wasm\"", 1);
    let from = logged_after(&tidegate, &words, || tidegate.edit_config(&house.config(&bad)));
    let errors = lines(&tidegate, from, &["ERROR"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("reload refused") && errors[0].contains("there is no file"), "{errors:?}");
    assert!(!tidegate.log().contains("warning:"), "the level says so:\n{}", tidegate.log());
}

#[test]
fn a_file_that_was_gone_and_is_there_again_is_told_as_that() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let metrics = tidegate.metrics();
    let at =
        |metrics: &Metrics, which: &str| metrics.get(&format!("tidegate_reload_last_{which}_timestamp_seconds"), &[]);
    assert!(at(&metrics, "success") > Some(1.6e9), "in seconds of Unix time");
    assert_eq!(at(&metrics, "refused"), None, "there was none");

    refused_after(&tidegate, || std::fs::remove_file(tidegate.dir().join(PLUGIN)).unwrap());
    let metrics = tidegate.metrics();
    assert!(at(&metrics, "refused") > at(&metrics, "success"));
    let words = ["INFO", "nothing has changed: what was refused is as it was again"];
    logged_after(&tidegate, &words, || tidegate.replace_file(PLUGIN, &plugin("versioned-v1")));
    let metrics = tidegate.metrics();
    assert!(at(&metrics, "success") > at(&metrics, "refused"));
    assert_undisturbed(&metrics, &["home", "office"]);
}

#[test]
fn a_new_name_waits_for_the_next_start_with_the_client_ids_made_of_it() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).start();
    let named = |name: &str, rest: &str| {
        let data = tidegate.dir().join("data");
        house.config(rest) + &format!("[gateway]\nname = \"{name}\"\ndata_dir = {data:?}\n")
    };
    let words = ["WARN", "gateway.name changes at the next start", "client id at `home`, `office`", "`session_expiry`"];
    let (renamed, more) = (named("chalet", MAIN), named("chalet", &MAIN.replace("\"main/\"", "\"main/1/\"")));
    let back = named("test", MAIN);
    let from = logged_after(&tidegate, &words, || tidegate.edit_config(&renamed));
    logged_after(&tidegate, &["routes.main.remap.prefix changed"], || tidegate.edit_config(&more));
    let told = lines(&tidegate, from, &["gateway.name"]);
    assert_eq!(told.len(), 1, "once: {told:?}");
    logged_after(&tidegate, &["gateway.name is again as it runs"], || tidegate.edit_config(&back));
    assert!(lines(&tidegate, from, &["client_id"]).iter().all(|line| line.contains("set `client_id`")));
    assert_undisturbed(&tidegate.metrics(), &["home", "office"]);

    logged_after(&tidegate, &words, || tidegate.edit_config(&renamed));
    assert!(tidegate.terminate(PATIENCE).success());
    tidegate.restart();
    eventually("it runs under its name", PATIENCE, || tidegate.log().contains("running gateway=\"chalet\""));
}
