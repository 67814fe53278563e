//! What a plugin costs: `cargo run --release -p tidegate-plugin --example call_cost -- plugin.wasm [config.json]`.
//!
//! Prints CPU time a message for batches of several sizes, the cost of a fresh instance, and resident memory. The
//! message is 200 bytes of JSON on a topic of 20 bytes.

use std::time::{Duration, Instant};
use tidegate_message::{Message, Properties, QoS, Topic, TopicFilter};
use tidegate_plugin::{Host, HostConfig, Input, Instance, Outcome, Plugin, Spec, StateGrant, run_here};

const BATCHES: [usize; 5] = [1, 8, 32, 128, 1024];
const ROUND: Duration = Duration::from_millis(1000);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: cost PLUGIN.wasm [CONFIG.json]")?;
    let bytes = std::fs::read(path)?;
    println!("resident before anything     {:>8} KiB", resident_kib());

    let cache_dir = std::env::temp_dir().join("tidegate-plugin-cost");
    let host = Host::new(&HostConfig { cache_dir: Some(cache_dir), ..HostConfig::default() })?;
    let began = Instant::now();
    let component = host.compile(&bytes)?;
    println!(
        "compile or load              {:>8.2} ms (cache hits, misses: {:?})",
        ms(began),
        host.cache_hits_and_misses()
    );

    let mut spec = Spec::new("cost");
    spec.grants.topics = vec![TopicFilter::new("#")?];
    spec.grants.state = StateGrant::Granted;
    if let Some(config) = args.next() {
        spec.config_json = std::fs::read_to_string(config)?;
    }
    spec.limits.memory_bytes = 256 << 20;
    spec.limits.configure_deadline = Duration::from_secs(10);
    let began = Instant::now();
    let plugin = Plugin::new(&host, &component, spec)?;
    println!("verify and link              {:>8.3} ms", ms(began));
    let mut instance = plugin.instantiate()?;
    println!("resident with one instance   {:>8} KiB", resident_kib());
    let began = Instant::now();
    const FRESH: u32 = 50;
    for _ in 0..FRESH {
        drop(plugin.instantiate()?);
    }
    println!("fresh instance               {:>8.3} ms", ms(began) / f64::from(FRESH));

    let plain = message();
    let mut rich = plain.clone();
    rich.properties = Some(Box::new(properties()));
    for (what, message) in [("no properties", plain), ("4 properties", rich)] {
        for batch in BATCHES {
            println!(
                "{what:<14} batch {batch:>5}    {:>8.0} ns CPU a message",
                measure(&mut instance, &message, batch)
            );
        }
    }
    println!("guest memory {} KiB, {:?}", instance.memory_bytes() / 1024, instance.stats());
    println!("resident at the end          {:>8} KiB", resident_kib());
    Ok(())
}

fn measure(instance: &mut Instance, message: &Message, batch: usize) -> f64 {
    let inputs: Vec<Input<'_>> =
        (0..batch as u64).map(|id| Input { id, message, received_ms: 1_700_000_000_000, redelivered: false }).collect();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(batch);
    let (mut messages, began, cpu) = (0u32, Instant::now(), thread_cpu());
    while began.elapsed() < ROUND {
        for _ in 0..32 {
            outcomes.clear();
            run_here(instance.handle("home", &inputs, &mut outcomes));
            messages += batch as u32;
        }
    }
    if let Some(bad) = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Fault(_) | Outcome::Reject(_))) {
        println!("  the plugin does not like the message: {bad:?}");
    }
    (thread_cpu() - cpu).as_nanos() as f64 / f64::from(messages)
}

fn message() -> Message {
    let mut payload = String::from(r#"{"temp": 21.5, "unit": "C", "pad": ""#);
    while payload.len() < 198 {
        payload.push('x');
    }
    payload.push_str("\"}");
    let topic = Topic::new("dev/0123456789a/temp").unwrap_or_else(|error| panic!("{error}"));
    Message::new(topic, payload, QoS::AtLeastOnce)
}

fn properties() -> Properties {
    Properties {
        content_type: Some("application/json".into()),
        message_expiry_seconds: Some(60),
        payload_is_utf8: true,
        user: vec![("site".into(), "cottage".into())],
        ..Properties::default()
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// CPU time of this thread, from the scheduler's own account.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
