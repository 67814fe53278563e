//! `tidegate spool`, for who looks at what a gateway left.

use super::from_the_box;
use crate::fixture::{PATIENCE, run};
use tidegate_testkit::{Client, ClientOptions, Tidegate, Version, eventually};

#[test]
fn what_waits_is_shown_verified_and_exported_once_the_gateway_is_stopped() {
    let (device, config) = from_the_box("priority = \"high\"");
    let mut tidegate = Tidegate::builder(&config).spawn();
    eventually("it serves", PATIENCE, || tidegate.get("/health").is_ok());
    let mut publisher = Client::connect(device, &ClientOptions::new(Version::V5, "device")).unwrap();
    for payload in [b"one", b"two"] {
        publisher.publish("dev/1", payload, 1, false).unwrap();
    }
    let file = std::fs::read_dir(tidegate.dir()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "toml")).expect("its file");
    let spool = |what: &str| {
        let output = run(&["spool", what, "--config", file.to_str().unwrap()]);
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&words).into_owned())
    };
    let (code, words) = spool("status");
    assert!(code == Some(0) && words.contains("target office, priority high: 2 messages"), "{code:?} {words}");
    let (code, words) = spool("verify");
    assert!(code == Some(69) && words.contains("in use by another process"), "{code:?} {words}");
    assert_eq!(tidegate.terminate(PATIENCE).code(), Some(0));

    let (code, words) = spool("status");
    assert!(code == Some(0) && words.contains("target office, priority high: 2 messages"), "{code:?} {words}");
    assert_eq!(spool("verify").0, Some(0));
    let (code, words) = spool("export");
    let topics = words.matches("\"topic\":\"dev/1\"").count();
    let (one, two) = (words.find("b25l"), words.find("dHdv"));
    assert!(code == Some(0) && topics == 2 && one.is_some() && one < two, "{code:?} {words}");

    let data = tidegate.dir().join("data/spool");
    let logs = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
        let mut bytes = std::fs::read(&log).unwrap();
        if let Some(at) = bytes.windows(3).position(|part| part == b"one") {
            bytes[at] ^= 1;
            std::fs::write(&log, bytes).unwrap();
        }
    }
    let (code, words) = spool("verify");
    assert!(code == Some(1) && words.contains("checksum"), "{code:?} {words}");
    let (code, words) = spool("export");
    assert!(code == Some(0) && !words.contains("b25l") && words.contains("dHdv"), "{code:?} {words}");
}
