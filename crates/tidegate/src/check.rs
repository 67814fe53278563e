//! `tidegate check`: everything that is wrong with a configuration, at once.

use crate::check_report::{Format, Report};
use crate::own_cache::own_cache;
use crate::{Failure, admin_client, logs, runtime};
use std::path::{Path, PathBuf};
use tidegate_config::{AdminAddr, Config, Loaded, Problems, Severity};
use tidegate_gateway::{Comparison, Reached, reach};

/// Of `tidegate check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file; `-` reads standard input, with relative paths as from the current directory.
    #[arg(required_unless_present = "config")]
    file: Option<PathBuf>,
    /// The same.
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Leave the plugins out: do not compile, link and configure them.
    #[arg(long)]
    no_plugins: bool,
    /// Say too what follows without being written: what presets set, and the ways back of routes in both directions.
    #[arg(long)]
    verbose: bool,
    /// Fail for warnings too.
    #[arg(long)]
    strict: bool,
    /// Connect to every broker once, under a client id of its own that disturbs no session, and say what each can do.
    #[arg(long)]
    connect: bool,
    /// Compare it with what a running gateway has: what would change, and what that means to messages that wait. Asks the
    /// admin listener of the configuration.
    #[arg(long)]
    running: bool,
    /// Ask here instead: an address with its port, or `unix:/path`.
    #[arg(long, value_name = "ADDRESS", requires = "running")]
    admin: Option<AdminAddr>,
    /// How the answer looks; what plugins log meanwhile goes to stderr, as `--log-format` says.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints every problem to stdout.
pub(crate) fn check(arguments: Arguments, log_format: logs::Format) -> Result<(), Failure> {
    logs::init(log_format, "warn,wasmtime_internal_cache=off");
    if log_format == logs::Format::Json && arguments.format == Format::Text {
        eprintln!("tidegate: `--log-format` is how log lines look; for problems as JSON add `--format json`");
    }
    let path = arguments.file.or(arguments.config).unwrap_or_default(); // clap asks for one of them
    let mut notes = Vec::new();
    let (problems, config) = match read(&path) {
        Ok(loaded) => {
            let mut problems = tidegate_gateway::examine(&loaded, !arguments.no_plugins, own_cache().as_deref())?;
            if arguments.connect {
                for Reached { broker, found } in runtime::block_on(async { Ok(reach(&loaded.config).await) })? {
                    match found {
                        Ok(words) => notes.push(loaded.places.note(&broker, &words)),
                        Err(words) => {
                            problems.0.push(loaded.places.problem(Severity::Error, &broker, "url", &told(&words)))
                        }
                    }
                }
                problems = problems.sorted();
            }
            if arguments.verbose {
                notes.extend(loaded.notes);
            }
            (problems.0, Some(loaded.config))
        }
        Err(problems) => (problems.0, None),
    };
    let no_plugins = arguments.no_plugins;
    let mut report = Report { file: shown(&path), problems, notes, config, no_plugins, running: None };
    let compared = match &report.config {
        Some(config) if arguments.running => {
            let asked = match &arguments.admin {
                Some(admin) => admin_client::ask_at(admin, "GET", "/config"),
                None => admin_client::ask(config, "GET", "/config"),
            };
            asked.and_then(|answer| compared(config, &answer)).map(Some)
        }
        _ => Ok(None),
    };
    let unreachable = match compared {
        Ok(compared) => {
            report.running = compared;
            None
        }
        Err(failure) => Some(failure),
    };
    print!("{}", report.text(arguments.format, arguments.strict));
    if let Some(failure) = unreachable {
        return Err(failure);
    }
    if report.is_good(arguments.strict) { Ok(()) } else { Err(Failure::Found) }
}

/// Why there is no connection, with what to do.
fn told(words: &str) -> String {
    let hint = match words {
        words if words.contains("; ") => return format!("not connected: {words}"),
        words if words.contains("uthori") || words.contains("user name") => "look at `username` and `password`",
        words if words.contains("refused (os") => "nobody listens there: is the port right, and does the broker run?",
        _ => "see that the broker runs, and that `url` and what goes with it fit",
    };
    format!("not connected: {words}; {hint}")
}

/// Asks the gateway of a configuration what it has, and says what another one would change.
pub(crate) fn compare(config: &Config, asked: &Config) -> Result<Comparison, Failure> {
    compared(config, &admin_client::ask(asked, "GET", "/config")?)
}

/// What this configuration would change of what a gateway that runs says that it has.
fn compared(config: &Config, answer: &str) -> Result<Comparison, Failure> {
    let key = tidegate_gateway::running_key(&config.gateway.data_dir);
    let compared = tidegate_gateway::compare(answer, config, key.as_ref());
    let other = "who answers at the admin listener is no gateway of this version";
    compared.ok_or_else(|| Failure::Unavailable(other.to_owned()))
}

/// What standard input is called on the command line.
const STDIN: &str = "-";

/// What a file is called in messages.
fn shown(path: &Path) -> PathBuf {
    if path.as_os_str() == STDIN { PathBuf::from("<stdin>") } else { path.to_owned() }
}

/// Reads a configuration from a file, or from standard input for `-`.
fn read(path: &Path) -> Result<Loaded, Problems> {
    match path.as_os_str() == STDIN {
        true => tidegate_config::load_from(std::io::stdin().lock(), &shown(path)),
        false => tidegate_config::load(path),
    }
}

/// Loads a configuration for a command that needs a good one, `-` from standard input.
pub(crate) fn load_or_stdin(path: &Path) -> Result<Config, Failure> {
    read(path).map(|loaded| loaded.config).map_err(|problems| unusable(&problems))
}

/// The same for a command that is about what it says: what is worth a look is told.
pub(crate) fn load_and_warn(path: &Path) -> Result<Config, Failure> {
    let loaded = read(path).map_err(|problems| unusable(&problems))?;
    loaded.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    Ok(loaded.config)
}

/// The same for a command that goes on watching the file.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    if path.as_os_str() == STDIN {
        let words = "what comes from standard input cannot be watched; name a file, or use `check -`";
        return Err(Failure::Usage(words.to_owned()));
    }
    match read(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning:#}"));
            Ok(loaded.config)
        }
        Err(problems) => Err(unusable(&problems)),
    }
}

fn unusable(problems: &Problems) -> Failure {
    Failure::Config(format!("the configuration cannot be used\n{problems}"))
}

/// Where a package has put the configuration.
pub(crate) const DEFAULT_FILE: &str = "/etc/tidegate/tidegate.toml";

/// The file of who names none.
pub(crate) fn default_file() -> Result<PathBuf, Failure> {
    let file = PathBuf::from(DEFAULT_FILE);
    let missing = || Failure::Usage(format!("name the configuration with --config FILE; there is no {DEFAULT_FILE}"));
    if file.exists() { Ok(file) } else { Err(missing()) }
}

/// `--config` of a command with commands below it, where it may stand behind any of them.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file of the gateway, /etc/tidegate/tidegate.toml without it; `-` reads standard input.
    #[arg(long, short, global = true)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads it, if one was named.
    pub(crate) fn given(&self) -> Result<Option<Config>, Failure> {
        self.config.as_deref().map(load_or_stdin).transpose()
    }

    /// Reads it.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        match &self.config {
            Some(file) => load_or_stdin(file),
            None => load_or_stdin(&default_file()?),
        }
    }
}
