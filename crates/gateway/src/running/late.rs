//! At a start, components that take long to compile, as those of interpreters do: what does not need them serves meanwhile.
//!
//! A route with such a plugin is there from the start, and holds what comes for it: its sources are subscribed to, and wait
//! for their acknowledgements. When all are compiled, the configuration is applied once more, which gives those routes their
//! plugins.

use super::Gateway;
use crate::Error;
use crate::embedded::Patience;
use crate::plugins::build::{Compiled, Preparer};
use crate::plugins::compile::{File, LARGE_BYTES};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_config::Config;
use tokio::task::JoinHandle;

/// What is compiled within this time, or was before, keeps nobody waiting.
const SOON: Duration = Duration::from_secs(1);

/// Components that are being compiled.
pub(super) struct Late {
    paths: Vec<PathBuf>,
    compiling: Option<JoinHandle<Vec<(PathBuf, Compiled)>>>,
}

impl Late {
    /// Begins with all that are large. None of them is late if that takes no longer than a moment: then they are the preparer's.
    pub(super) async fn begin(preparer: &mut Preparer, config: &Config) -> Self {
        let used = config.routes.iter().flat_map(|route| &route.plugins);
        let used = used.filter_map(|name| Some((config.plugins.get(name)?.path.clone(), name.clone())));
        let used: BTreeMap<PathBuf, String> = used.collect();
        let is_large = |path: &PathBuf| path.metadata().is_ok_and(|found| found.len() >= LARGE_BYTES as u64);
        let large: Vec<_> = used.into_iter().filter(|(path, _)| is_large(path)).collect();
        if large.is_empty() {
            return Self { paths: Vec::new(), compiling: None };
        }
        let paths: Vec<_> = large.iter().map(|(path, _)| path.clone()).collect();
        let host = preparer.host().clone();
        let mut compiling = tokio::task::spawn_blocking(move || {
            // What cannot be read or compiled is told by who comes for it.
            let file = |(path, plugin)| Some(File { plugin, path, bytes: std::fs::read(path).ok()? });
            let large = large.iter().map(|(path, plugin)| (path.as_path(), plugin.as_str()));
            let files: Vec<File<'_>> = large.filter_map(file).collect();
            let compiled = files.iter().zip(Compiled::all(&host, &files));
            compiled.filter_map(|(file, compiled)| Some((file.path.to_path_buf(), compiled.ok()?))).collect()
        });
        match tokio::time::timeout(SOON, &mut compiling).await {
            Ok(compiled) => {
                // After a bug it is compiled again, by who tells it.
                preparer.know(compiled.unwrap_or_default());
                Self { paths: Vec::new(), compiling: None }
            }
            Err(_) => Self { paths, compiling: Some(compiling) },
        }
    }

    /// Where those are that are not compiled yet.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Gateway {
    /// Waits for what is late, and gives the routes that wait for it their plugins.
    pub(super) async fn take_late(self, late: Late) {
        // A reload comes after it.
        let _one_at_a_time = self.inner.reloading.lock().await;
        for route in self.snapshot().waiting_routes {
            tracing::info!(route, "it holds its messages until its plugins are compiled");
        }
        // After a bug it is compiled again, by who tells it.
        if let Some(compiling) = late.compiling
            && let Ok(compiled) = compiling.await
            && let Some(mut preparer) = self.inner.preparer.take()
        {
            preparer.know(compiled);
            self.inner.preparer.set(Some(preparer));
        }
        let written = self.inner.written.borrow().as_ref().clone();
        match self.apply_alone(written, Patience::Hold, &[]).await {
            Ok(changes) => {
                changes.now.iter().for_each(|change| tracing::info!(name: "plugins_compiled", change, "compiled"))
            }
            Err(error) => {
                self.inner.failed.set(Some(error));
                self.inner.has_failed.notify_one();
            }
        }
    }

    /// Waits for what is wrong with a plugin that took too long to compile to keep the gateway from starting.
    pub async fn failed(&self) -> Error {
        loop {
            self.inner.has_failed.notified().await;
            if let Some(error) = self.inner.failed.take() {
                return error;
            }
        }
    }
}
