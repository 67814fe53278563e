//! `tidegate record`: messages of a running gateway with what is decided on each, into a file.

use crate::duration::duration;
use crate::looking::Looking;
use crate::tap::coded;
use crate::{Failure, admin_client, check};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_decisions::{MAGIC, whole_bytes};

/// Of `tidegate record`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    /// Topics as they come, such as 'dev/+/temp'.
    #[arg(default_value = "#")]
    filter: String,
    /// Only what enters this route.
    #[arg(long, short)]
    route: Option<String>,
    /// Only from this broker.
    #[arg(long, short)]
    broker: Option<String>,
    /// The file to write, by custom with the ending `.tgr`.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// If the file is there, write behind what is in it.
    #[arg(long)]
    append: bool,
    /// End after this time, such as 10m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
    /// End after so many messages.
    #[arg(long, short = 'n', value_name = "MESSAGES")]
    count: Option<u64>,
    /// What is kept of payloads. A rule that looks at them decides rightly only on whole ones.
    #[arg(long, value_enum, default_value_t = Payloads::Whole)]
    payloads: Payloads,
    /// At most so many messages a second; of more some are missing, which the recording says.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Payloads {
    /// All of them.
    Whole,
    /// Their SHA-256 and length.
    Hashed,
    /// Their length.
    None,
}

/// Records until it is enough, or interrupted: what is in the file by then can be read.
pub(crate) fn record(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    if let Some(route) = arguments.route.as_ref().filter(|name| config.routes.iter().all(|route| route.name != **name))
    {
        let known: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
        return Err(Failure::Usage(format!("no route `{route}` in the configuration; there are {}", known.join(", "))));
    }
    let mut file = open(&arguments.out, arguments.append)?;
    let mut path = format!("/api/v1/record?filter={}&rate={}", coded(&arguments.filter), arguments.rate);
    for (key, value) in [("route", &arguments.route), ("broker", &arguments.broker)] {
        path += &value.as_ref().map(|value| format!("&{key}={}", coded(value))).unwrap_or_default();
    }
    path += &arguments.count.map(|count| format!("&count={count}")).unwrap_or_default();
    path += &arguments.lasts.map(|lasts| format!("&seconds={}", lasts.as_secs().max(1))).unwrap_or_default();
    path += match arguments.payloads {
        Payloads::Whole => "",
        Payloads::Hashed => "&payloads=hashed",
        Payloads::None => "&payloads=none",
    };
    let mut looking = Looking::at(&arguments.filter, arguments.route.is_some() || arguments.broker.is_some());
    let here = |error: std::io::Error| Failure::Disk(format!("{}: {error}", arguments.out.display()));
    let mut blocks = 0;
    admin_client::listen(&config, &path, |name, data| {
        match name {
            "looking" => looking.begins(),
            "block" => {
                let wrong = |_| Failure::Unavailable("the gateway sends what is no recording".to_owned());
                file.write_all(&STANDARD.decode(data).map_err(wrong)?).map_err(here)?;
                blocks += 1;
                // The first one says that it begins.
                if blocks > 1 {
                    looking.sees();
                }
            }
            "end" => {
                file.sync_all().map_err(here)?;
                println!("{}: {data} messages", arguments.out.display());
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    })
}

/// A new file, or one that is written on: what is no whole block at its end is written over.
fn open(path: &Path, append: bool) -> Result<File, Failure> {
    let here = |error: std::io::Error| Failure::Disk(format!("{}: {error}", path.display()));
    if !append {
        let new = File::options().write(true).create_new(true).open(path);
        let mut file = new.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::Usage(format!("{} is there already: name another file, or add `--append`", path.display()))
            }
            _ => here(error),
        })?;
        file.write_all(MAGIC).map_err(here)?;
        return Ok(file);
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(here)?;
    let whole = match file.metadata().map_err(here)?.len() {
        0 => 0,
        _ => whole_bytes(std::io::BufReader::new(&file))
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?,
    };
    file.set_len(whole).map_err(here)?;
    file.seek(SeekFrom::Start(whole)).map_err(here)?;
    if whole == 0 {
        file.write_all(MAGIC).map_err(here)?;
    }
    Ok(file)
}
