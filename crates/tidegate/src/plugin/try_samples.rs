//! `tidegate plugin test`: samples, tried in the host that a gateway has.

use super::host;
use crate::Failure;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tidegate_plugin::Host;
use tidegate_workbench::{Coverage, Project, sample_files};

/// How often files are looked at with `--watch`.
const LOOK: Duration = Duration::from_millis(300);

/// Of `tidegate plugin test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The component; or the folder of a plugin, whose component and `samples` are meant.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Files of samples, or folders of them (`*.toml`).
    samples: Vec<PathBuf>,
    /// Try again whenever one of the files is saved, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Print what the plugin says of samples that are good, too.
    #[arg(long, short)]
    verbose: bool,
}

/// Prints what does not hold, and a count.
pub(crate) fn try_samples(arguments: &Arguments) -> Result<(), Failure> {
    let (mut component, mut samples) = (arguments.plugin.clone(), arguments.samples.clone());
    if component.is_dir() {
        let project = Project::load(&component).map_err(Failure::Config)?;
        component = project.component();
        if samples.is_empty() {
            samples.push(project.samples());
        }
    }
    if samples.is_empty() {
        return Err(Failure::Usage("name files of samples, or a folder of them".to_owned()));
    }
    let (host, mut seen) = (host()?, None);
    loop {
        let files = files(&samples)?;
        let now = saved(&files, &component);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            let all_good = once(&host, &component, arguments.verbose, &files);
            if !arguments.watch {
                return if all_good? { Ok(()) } else { Err(Failure::Found) };
            }
            if let Err(failure) = all_good {
                println!("{}", failure.words().unwrap_or_default());
            }
        }
        std::thread::sleep(LOOK);
    }
}

pub(super) fn once(host: &Host, path: &Path, verbose: bool, files: &[PathBuf]) -> Result<bool, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
    let component = host.compile(&bytes).map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
    let (mut good, mut bad, mut coverage) = (0, 0, Coverage::new());
    for file in files {
        match tidegate_workbench::try_file(host, &component, file) {
            Ok(report) => {
                good += report.good;
                bad += report.bad.len();
                report.coverage.iter().for_each(|(word, count)| *coverage.entry(word).or_default() += count);
                if verbose || !report.bad.is_empty() {
                    report.lines.iter().for_each(|line| println!("  it said: {line}"));
                }
                report.bad.iter().for_each(|words| println!("{words}"));
            }
            Err(words) => {
                bad += 1;
                println!("{words}");
            }
        }
    }
    let met: Vec<String> = coverage.iter().map(|(word, count)| format!("{word} {count}")).collect();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    println!(
        "{}: {good} good, {bad} not, of {} file{}; decisions: {}",
        path.display(),
        files.len(),
        plural(files.len()),
        if met.is_empty() { "none".to_owned() } else { met.join(", ") }
    );
    Ok(bad == 0)
}

/// The files that are named, and those in folders that are, by name.
pub(crate) fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(sample_files(path).map_err(Failure::Config)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// When each was saved last.
fn saved(files: &[PathBuf], component: &Path) -> Vec<Option<(PathBuf, SystemTime)>> {
    let all = files.iter().map(PathBuf::as_path).chain([component]);
    all.map(|path| Some((path.to_owned(), path.metadata().ok()?.modified().ok()?))).collect()
}
