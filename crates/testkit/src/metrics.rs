//! What `/metrics` says, read.

use std::collections::BTreeMap;

/// Counters and gauges as `/metrics` gave them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(BTreeMap<String, Vec<Sample>>);

/// Labels and value.
pub type Sample = (BTreeMap<String, String>, f64);

impl Metrics {
    /// Reads Prometheus text; what is no sample is skipped.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, labels, value)) = sample(line) {
                metrics.0.entry(name).or_default().push((labels, value));
            }
        }
        metrics
    }

    /// The sum over all samples of `name` that have these labels; none if there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &BTreeMap<String, String>| {
            labels.iter().all(|&(label, value)| sample.get(label).is_some_and(|other| other == value))
        };
        let values: Vec<f64> = self.0.get(name)?.iter().filter(|(labels, _)| has(labels)).map(|&(_, v)| v).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// All samples of `name`: labels and value.
    pub fn samples(&self, name: &str) -> &[Sample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// The text up to the closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_is_read() {
        let text =
            "# TYPE in counter\nin{route=\"a\",q=\"say \\\"hi\\\"\"} 3\nin{route=\"b\"} 4 1700000000\nup 1\n\njunk\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.get("in", &[]), Some(7.0));
        assert_eq!(metrics.get("in", &[("route", "b")]), Some(4.0));
        assert_eq!(metrics.get("in", &[("q", "say \"hi\"")]), Some(3.0));
        assert_eq!(metrics.get("in", &[("route", "c")]), None);
        assert_eq!(metrics.get("up", &[]), Some(1.0));
        assert_eq!(metrics.samples("in").len(), 2);
        assert_eq!(metrics.names().collect::<Vec<_>>(), ["in", "up"]);
    }
}
