//! `tidegate spool`: what a stopped gateway left on disk.

use crate::{Failure, check};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io::Write;
use tidegate_config::Config;
use tidegate_spool::{Disk, DiskError, OpenError, Report, export, verify};

/// Of `tidegate spool`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How much waits, for which target.
    Status,
    /// Read every record; exit with 1 if one is damaged.
    Verify,
    /// All messages that wait, one line of JSON each, in order for each target.
    Export,
}

/// Reads the folder and prints; changes nothing.
pub(crate) fn spool(arguments: Arguments) -> Result<(), Failure> {
    let disk = open(&arguments.config.load()?)?;
    match arguments.what {
        What::Status => {
            print!("{}", status(&verify(&disk).map_err(disk_failure)?));
            Ok(())
        }
        What::Verify => {
            let report = verify(&disk).map_err(disk_failure)?;
            for damage in &report.damaged {
                println!(
                    "{}:{}: this is no record, or one that does not match its checksum",
                    damage.file, damage.offset
                );
            }
            println!(
                "{} records in {} segments and {} checkpoints, {} bytes; {} damaged, {} bytes torn off at the end",
                report.records,
                report.segments,
                report.checkpoints,
                report.bytes,
                report.damaged.len(),
                report.torn_bytes
            );
            if report.damaged.is_empty() { Ok(()) } else { Err(Failure::Found) }
        }
        What::Export => write_out(&disk),
    }
}

/// The folder of a gateway that does not run.
pub(crate) fn open(config: &Config) -> Result<Disk, Failure> {
    let folder = config.gateway.data_dir.join("spool");
    Disk::open_existing(folder).map_err(|error| match error {
        DiskError::InUse(_) => Failure::Unavailable(error.to_string()),
        error => Failure::Disk(error.to_string()),
    })
}

pub(crate) fn disk_failure(error: OpenError) -> Failure {
    Failure::Disk(error.to_string())
}

fn priority(class: u8) -> &'static str {
    ["high", "normal", "low"].get(usize::from(class)).copied().unwrap_or("low")
}

fn status(report: &Report) -> String {
    let mut words = String::new();
    let waiting = report.queues.iter().filter(|queue| queue.items > 0);
    for queue in waiting {
        let (target, class) = (&queue.key.target, priority(queue.key.class));
        words += &format!("target {target}, priority {class}: {} messages, {} bytes\n", queue.items, queue.bytes);
    }
    if words.is_empty() {
        words += "no message waits\n";
    }
    words += &format!("{} messages are parked\n", report.parked);
    for plugin in &report.plugins_with_state {
        words += &format!("plugin {plugin} has state\n");
    }
    words + &format!("{} bytes on disk, {} places damaged\n", report.bytes, report.damaged.len())
}

fn write_out(disk: &Disk) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let exported = export(disk, |item| {
        if failed.is_some() {
            return;
        }
        let message = item.message;
        let mut line = serde_json::json!({
            "target": item.key.target,
            "priority": priority(item.key.class),
            "route": item.route,
            "received_ms": item.received_ms,
            "topic": message.topic.as_str(),
            "qos": message.qos as u8,
            "retain": message.retain,
            "payload_base64": BASE64.encode(&message.payload),
        });
        if let Some(properties) = &message.properties {
            let user: Vec<[&str; 2]> = properties.user.iter().map(|(name, value)| [&**name, &**value]).collect();
            line["properties"] = serde_json::json!({
                "content_type": properties.content_type.as_deref(),
                "response_topic": properties.response_topic.as_ref().map(|topic| topic.as_str()),
                "correlation_data_base64": properties.correlation_data.as_ref().map(|data| BASE64.encode(data)),
                "message_expiry_seconds": properties.message_expiry_seconds,
                "payload_is_utf8": properties.payload_is_utf8,
                "user": user,
            });
        }
        failed = writeln!(out, "{line}").err();
    });
    exported.map_err(disk_failure)?;
    match failed.or_else(|| out.flush().err()) {
        // Whoever reads has seen enough.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Some(error) => Err(Failure::Disk(format!("standard output: {error}"))),
        None => Ok(()),
    }
}
