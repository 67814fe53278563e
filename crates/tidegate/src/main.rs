//! The `tidegate` command: an MQTT edge gateway whose rules are WebAssembly plugins.
//!
//! `main` parses the arguments and turns what happened into an exit code after `sysexits.h`; each subcommand is a file.

mod access;
mod admin_client;
mod apply;
mod backup;
mod check;
mod check_report;
mod client;
mod clients;
mod config;
mod demo;
mod descriptors;
mod differences;
mod dropped;
mod duration;
mod events;
mod explain;
mod import;
mod logs;
mod looking;
mod operate;
mod own_cache;
mod parked;
mod people;
mod plan;
mod plugin;
mod record;
mod replay;
mod run;
mod runtime;
mod shell;
mod spool;
mod status;
mod supervisor;
mod table;
mod tap;
mod test;
mod top;
mod trace;
mod user;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Messages are allocated on one thread and freed on another, which this one is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An MQTT edge gateway: every message passes through WebAssembly plugins that are replaced while traffic flows.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true)]
struct Arguments {
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = logs::Format::Text)]
    log_format: logs::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM. SIGHUP, saving the file or saving a plugin reloads.
    Run(run::Arguments),
    /// Check a configuration and its plugins: every problem at once, as file:line:column.
    Check(check::Arguments),
    /// Two brokers, simulated devices and plugins in one process; nothing to install.
    Demo(demo::Arguments),
    /// Publish a message, or one a line, and wait until the broker has it.
    Pub(client::publish::Arguments),
    /// Subscribe, and print what comes.
    Sub(client::subscribe::Arguments),
    /// Say what would become of a message, and why, without sending it.
    Explain(explain::Arguments),
    /// Play a configuration through: messages come, time passes, and what would be sent is what must be.
    Test(test::Arguments),
    /// Save a configuration in the place of the one that runs: checked, whole, and followed until it runs.
    Apply(apply::Arguments),
    /// What a configuration would change of a running gateway, and of what it decides; nothing is applied.
    Plan(plan::Arguments),
    /// The configurations that have run: what each changed, how they differ, and back to one.
    Config(config::Arguments),
    /// How a running gateway does: brokers, sets, routes, what waits.
    Status(status::Arguments),
    /// The same live: routes, brokers, what waits and plugins, sorted by what one likes.
    Top(top::Arguments),
    /// The last messages that a running gateway has dropped, with their reasons.
    Dropped(dropped::Arguments),
    /// What has changed in a running gateway: links, sets, reloads, the disk, by name.
    Events(events::Arguments),
    /// Messages on their way, as they go: what comes, what each plugin says, what goes on.
    Tap(tap::Arguments),
    /// Follows messages from their receipt to their end, with the time of each step.
    Trace(trace::Arguments),
    /// Write down messages of a running gateway, with what is decided on each, to decide them again.
    Record(record::Arguments),
    /// Decide a recording again, by another configuration or plugin: what would be decided otherwise.
    Replay(replay::Arguments),
    /// Send nothing more to a broker; what is for it waits, or goes to others of its set.
    Pause(operate::OfBroker),
    /// Go on with a broker that was paused.
    Resume(operate::OfBroker),
    /// Have the configuration and its files read once more, as SIGHUP does.
    Reload(operate::Reload),
    /// Who is connected to the box's own broker, or has a session there; and sending one away.
    Clients(clients::Arguments),
    /// List, show, replay or delete the messages that a running gateway keeps aside.
    Parked(parked::Arguments),
    /// Make a configuration out of that of another broker.
    Import(import::Arguments),
    /// Look at what waits on disk, have it moved to another target, or discard it.
    Spool(spool::Arguments),
    /// Write plugins, try them, measure them, and look at what they remember.
    Plugin(plugin::Arguments),
    /// Who may connect to the box's own broker: its user file.
    User(user::Arguments),
    /// What clients of the box's own broker may publish and hear.
    Access(access::Arguments),
    /// Put everything of a gateway into one file: its configuration, plugins, and what waits. It may run.
    Backup(backup::Backup),
    /// Put back what `backup` has written, here or on another box.
    Restore(backup::Restore),
    /// Print what a shell needs to complete this command's arguments.
    Completions(shell::Completions),
    /// Write manual pages into a folder.
    Man(shell::Man),
    /// Print the JSON schema of the configuration, for editors.
    Schema,
}

/// There is a bug.
const EX_SOFTWARE: u8 = 70;

/// How a command can end, with the code of `sysexits.h`.
#[derive(Debug)]
enum Failure {
    /// `check` found problems.
    Found,
    /// Wrong use of the command (EX_USAGE).
    Usage(String),
    /// Something is wrong with the configuration (EX_CONFIG).
    Config(String),
    /// The disk failed (EX_IOERR).
    Disk(String),
    /// Whoever should have answered did not (EX_UNAVAILABLE).
    Unavailable(String),
    /// The system does not let us (EX_NOPERM).
    NotPermitted(String),
    /// A bug (EX_SOFTWARE).
    Bug(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Found => 1,
            Self::Usage(_) => 64,
            Self::Unavailable(_) => 69,
            Self::Bug(_) => EX_SOFTWARE,
            Self::Disk(_) => 74,
            Self::NotPermitted(_) => 77,
            Self::Config(_) => 78,
        }
    }

    fn words(&self) -> Option<&str> {
        match self {
            Self::Found => None,
            Self::Usage(words)
            | Self::Config(words)
            | Self::Disk(words)
            | Self::Unavailable(words)
            | Self::NotPermitted(words)
            | Self::Bug(words) => Some(words),
        }
    }
}

impl From<tidegate_gateway::Error> for Failure {
    fn from(error: tidegate_gateway::Error) -> Self {
        use tidegate_gateway::Error;
        let words = error.to_string();
        match error {
            Error::Config(_) => Self::Config(words),
            Error::InUse(_) => Self::Unavailable(words),
            Error::NotPermitted(_) => Self::NotPermitted(words),
            Error::DataDir { .. } | Error::Spool(_) | Error::Disk(_) => Self::Disk(words),
            Error::Engine(_) => Self::Unavailable(words),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Asking for help is no mistake.
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = std::panic::catch_unwind(|| match arguments.command {
        Command::Run(run) => run::run(run, arguments.log_format),
        Command::Check(check) => check::check(check, arguments.log_format),
        Command::Demo(demo) => demo::demo(demo),
        Command::Pub(arguments) => client::publish::publish(arguments),
        Command::Sub(arguments) => client::subscribe::subscribe(arguments),
        Command::Explain(explain) => explain::explain(explain, arguments.log_format),
        Command::Test(test) => test::test(test, arguments.log_format),
        Command::Import(arguments) => import::import(arguments),
        Command::Apply(arguments) => apply::apply(arguments),
        Command::Plan(arguments) => plan::plan(arguments),
        Command::Status(arguments) => status::status(arguments),
        Command::Top(arguments) => top::top(arguments),
        Command::Config(arguments) => config::config(arguments),
        Command::Dropped(arguments) => dropped::dropped(arguments),
        Command::Events(arguments) => events::events(arguments),
        Command::Tap(arguments) => tap::tap(arguments),
        Command::Trace(arguments) => trace::trace(arguments),
        Command::Record(arguments) => record::record(arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Pause(arguments) => operate::pause(&arguments, true),
        Command::Resume(arguments) => operate::pause(&arguments, false),
        Command::Reload(arguments) => operate::reload(&arguments),
        Command::Clients(arguments) => clients::clients(arguments),
        Command::Parked(parked) => parked::parked(parked),
        Command::Spool(arguments) => spool::spool(arguments),
        Command::Plugin(arguments) => plugin::plugin(arguments),
        Command::User(arguments) => user::user(arguments),
        Command::Access(arguments) => access::access(arguments),
        Command::Backup(arguments) => backup::backup(arguments),
        Command::Restore(arguments) => backup::restore(arguments),
        Command::Completions(arguments) => shell::completions(arguments, Arguments::command()),
        Command::Man(arguments) => shell::man(arguments, Arguments::command()),
        Command::Schema => shell::print(tidegate_config::SCHEMA.as_bytes()),
    });
    let failure = match outcome {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Bug("this is a bug in tidegate; please report it with the lines above".to_owned()),
    };
    if let Some(words) = failure.words() {
        eprintln!("tidegate: {words}");
    }
    ExitCode::from(failure.code())
}
