//! Writes a configuration with many routes, to measure what a check of it costs:
//!
//! ```sh
//! cargo run --release -p tidegate-config --example many_routes -- 10000 bridge >many.toml
//! time tidegate check --config many.toml
//! ```
//!
//! The shapes are those in which each route could have to do with each other one.

/// What is before the routes.
const HEAD: &str = "[gateway]\nname = \"many\"\ndata_dir = \"data\"\n[brokers.home]\nurl = \"mqtt://127.0.0.1:1883\"\n\
                    [brokers.office]\nurl = \"mqtt://127.0.0.1:1884\"\n";

/// `count` routes in one shape; `None` for a shape that is none.
///
/// - `bridge`: from one broker to the other, each with its own topics;
/// - `both-ways`: every second one back;
/// - `chain`: each sends what the next one takes, on one broker;
/// - `ring`: the same, and the last sends what the first takes;
/// - `wildcards`: filters that seem to overlap each other;
/// - `overlaps`: every second filter overlaps all others;
/// - `same`: all take the same topics;
/// - `wide`: one route with that many filters.
pub(crate) fn configuration(count: usize, shape: &str) -> Option<String> {
    let route = |n: usize, from: &str, filter: &str, to: &str, more: &str| {
        format!(
            "[[routes]]\nname = \"r{n}\"\nfrom = {{ broker = \"{from}\", topics = [\"{filter}\"] }}\nto = [\"{to}\"]\n\
             persist_qos0 = true\n{more}\n"
        )
    };
    let step = |n: usize, next: usize| {
        let remap = format!("remap = {{ strip = \"x{n}/\", prefix = \"x{next}/\" }}");
        route(n, "home", &format!("x{n}/#"), "home", &remap)
    };
    let one = |n: usize| match shape {
        "bridge" => Some(route(n, "home", &format!("site/{n}/#"), "office", "")),
        "both-ways" if n.is_multiple_of(2) => Some(route(n, "home", &format!("site/{n}/#"), "office", "")),
        "both-ways" => Some(route(n, "office", &format!("command/{n}/#"), "home", "")),
        "chain" => Some(step(n, n + 1)),
        "ring" => Some(step(n, (n + 1) % count)),
        "wildcards" if n.is_multiple_of(2) => Some(route(n, "home", &format!("+/{n}/temp"), "office", "")),
        "wildcards" => Some(route(n, "home", &format!("site/{n}/+"), "office", "")),
        "overlaps" if n.is_multiple_of(2) => Some(route(n, "home", &format!("+/{n}/+/temp"), "office", "")),
        "overlaps" => Some(route(n, "home", &format!("site/+/{n}/+"), "office", "")),
        "same" => Some(route(n, "home", "site/#", "office", "")),
        _ => None,
    };
    let routes = match shape {
        "wide" => {
            let filters = (0..count).map(|n| format!("site/{n}/#")).collect::<Vec<_>>().join("\", \"");
            Some(route(0, "home", &filters, "office", ""))
        }
        _ => (0..count).map(one).collect(),
    };
    routes.map(|routes: String| HEAD.to_owned() + &routes)
}

#[allow(dead_code)] // a test takes this file for its configurations
fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let shape = arguments.next().unwrap_or_else(|| "bridge".to_owned());
    match configuration(count, &shape) {
        Some(text) => print!("{text}"),
        None => eprintln!("no such shape: bridge, both-ways, chain, ring, wildcards, overlaps, same, wide"),
    }
}
