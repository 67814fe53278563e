//! Compiled code is kept on disk, by digest and engine.

use crate::guest::{self, Extra, does};
use crate::{handle, spec};
use tidegate_plugin::{Host, HostConfig, Plugin};

#[test]
fn the_second_run_finds_the_code_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let config = HostConfig { cache_dir: Some(dir.path().join("a/compiled")), ..HostConfig::default() };
    let bytes = guest::component(Extra::None);
    for expected in [(0, 1), (1, 0)] {
        let host = Host::new(&config).unwrap();
        let component = host.compile(&bytes).unwrap();
        assert_eq!(host.cache_hits_and_misses(), expected);
        let mut instance = Plugin::new(&host, &component, spec()).unwrap().instantiate().unwrap();
        assert_eq!(handle(&mut instance, &[does::PASS]), ["pass"]);
    }
}

#[test]
fn a_damaged_cache_costs_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = HostConfig { cache_dir: Some(dir.path().to_owned()), ..HostConfig::default() };
    let bytes = guest::component(Extra::None);
    Host::new(&config).unwrap().compile(&bytes).unwrap();
    let mut damaged = 0;
    let mut dirs = vec![dir.path().to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let whole = std::fs::read(&path).unwrap();
                std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    Host::new(&config).unwrap().compile(&bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn nobody_else_can_write_compiled_code() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("compiled");
    Host::new(&HostConfig { cache_dir: Some(made.clone()), ..HostConfig::default() }).unwrap();
    assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
}
