//! The documentation: every link leads somewhere, and what it has readers type does what it says.

use std::path::Path;
use std::process::Command;
use tidegate_testkit::Tidegate;

#[test]
fn what_the_pages_say_is_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut book = Command::new(root.join("scripts/book"));
    let checked = book.arg("check").env("TIDEGATE_BIN", Tidegate::binary()).output().expect("it runs");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(checked.status.success(), "{}\n{}", words(&checked.stdout), words(&checked.stderr));
}
