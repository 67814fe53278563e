//! A disk whose fsync fails, for a process that thinks its libc says so.

use super::from_the_box;
use crate::fixture::PATIENCE;
use std::fs;
use std::process::Command;
use tidegate_testkit::{Client, ClientOptions, Tidegate, Version, eventually};

/// Stands before libc: fdatasync and fsync fail as long as a file is there, and those for the spool write down that they were called.
const FAILING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int synced(const char *name, int fd) {
  const char *flag = getenv("FAIL_FLAG"), *calls = getenv("FAIL_CALLS");
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  if (flag == NULL || access(flag, F_OK) != 0) return real(fd);
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  if (strstr(path, "/spool/") != NULL) {
    int log = open(calls, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(log, "x", 1) != 1) abort();
    close(log);
  }
  errno = EIO;
  return -1;
}
int fdatasync(int fd) { return synced("fdatasync", fd); }
int fsync(int fd) { return synced("fsync", fd); }
"#;

#[test]
fn a_disk_that_fails_ends_the_gateway_with_74_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("failing.c"), folder.path().join("failing.so"));
    let (flag, calls) = (folder.path().join("flag"), folder.path().join("calls"));
    fs::write(&source, FAILING).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(built.expect("a C compiler").success());

    let (device, config) = from_the_box("");
    let mut tidegate = Tidegate::builder(&config)
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("FAIL_FLAG", flag.to_str().unwrap())
        .env("FAIL_CALLS", calls.to_str().unwrap())
        .spawn();
    eventually("it serves", PATIENCE, || tidegate.get("/health").is_ok());
    let mut publisher = Client::connect(device, &ClientOptions::new(Version::V5, "device")).unwrap();
    publisher.publish("dev/1", b"safe", 1, false).unwrap();

    fs::write(&flag, "").unwrap();
    publisher.send("dev/1", b"not safe", 1, false).unwrap();
    publisher.flush().unwrap();
    let status = tidegate.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(74), "{}", tidegate.log());
    tidegate.wait_for_log("the disk failed", PATIENCE);
    while publisher.turn(std::time::Duration::from_millis(5)).is_ok() {}
    assert!(publisher.completed().len() <= 1 && publisher.in_flight() == 1, "acknowledged though it is not durable");
    assert_eq!(fs::read(&calls).unwrap().len(), 1, "a failed fsync is not tried again");

    fs::remove_file(&flag).unwrap();
    tidegate.relaunch();
    eventually("it serves again", PATIENCE, || tidegate.get("/health").is_ok());
    let queued = tidegate.metrics().get("tidegate_spool_queued", &[("target", "office")]);
    // What was written and not synced may be there, too: only its source was not told.
    assert!(queued == Some(1.0) || queued == Some(2.0), "{queued:?}");
}
