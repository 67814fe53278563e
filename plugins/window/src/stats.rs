//! What is computed of the readings of one field, one at a time, so that the readings themselves need not be kept.

use serde::Deserialize;
use tidegate_sdk::decimal::{self, Affine, Decimal};

/// Of one reading or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stats {
    count: u64,
    sum: Decimal,
    min: Decimal,
    max: Decimal,
    first: Decimal,
    last: Decimal,
    /// Where it is asked for: it costs as much as all the others.
    deviation: Option<Deviation>,
}

/// By Welford's method: the sum of squares would take too many digits.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Deviation {
    mean: f64,
    /// The sum of the squares of the distances from it.
    squares: f64,
}

/// One that a window may say.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aggregate {
    Count,
    Sum,
    Mean,
    Min,
    Max,
    First,
    Last,
    Stddev,
}

impl Stats {
    pub(crate) fn of(reading: Decimal, with_deviation: bool) -> Self {
        let deviation = with_deviation.then(|| Deviation { mean: reading.to_f64(), squares: 0.0 });
        Self { count: 1, sum: reading, min: reading, max: reading, first: reading, last: reading, deviation }
    }

    /// With those of another, whose readings came later (Chan, Golub and LeVeque, 1983).
    pub(crate) fn and(self, later: Self) -> Self {
        let count = self.count + later.count;
        let share = later.count as f64 / count as f64;
        let joined = |(one, other): (Deviation, Deviation)| {
            let distance = other.mean - one.mean;
            let between = distance * distance * share * self.count as f64;
            Deviation { mean: one.mean + distance * share, squares: one.squares + other.squares + between }
        };
        Self {
            count,
            sum: plus(self.sum, later.sum),
            min: if later.min < self.min { later.min } else { self.min },
            max: if later.max > self.max { later.max } else { self.max },
            first: self.first,
            last: later.last,
            deviation: self.deviation.zip(later.deviation).map(joined),
        }
    }

    /// As JSON; `null` for what no `f64` can hold, and for a deviation of one reading.
    pub(crate) fn write(&self, aggregate: Aggregate, round: Option<u32>, to: &mut Vec<u8>) {
        let exact = |number: Decimal, to: &mut Vec<u8>| {
            let is_written = number.fits_f64();
            if is_written {
                decimal::write(number, to);
            }
            is_written
        };
        let divided = |number: Option<Decimal>, by: Decimal, to: &mut Vec<u8>| {
            let change = Affine::new(Decimal::ONE, Decimal::ZERO, by);
            number.zip(change).is_some_and(|(number, change)| change.write(number, round, to))
        };
        let is_written = match aggregate {
            Aggregate::Count => exact(whole(self.count), to),
            Aggregate::Sum => exact(self.sum, to),
            Aggregate::Mean => divided(Some(self.sum), whole(self.count), to),
            Aggregate::Min => exact(self.min, to),
            Aggregate::Max => exact(self.max, to),
            Aggregate::First => exact(self.first, to),
            Aggregate::Last => exact(self.last, to),
            Aggregate::Stddev if self.count < 2 => false,
            Aggregate::Stddev => {
                let variance = self.deviation.map(|deviation| deviation.squares / (self.count - 1) as f64);
                divided(variance.map(f64::sqrt).and_then(Decimal::of_f64), Decimal::ONE, to)
            }
        };
        if !is_written {
            to.extend_from_slice(b"null");
        }
    }
}

impl Aggregate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Stddev => "stddev",
        }
    }
}

fn whole(count: u64) -> Decimal {
    Decimal::parse(&count.to_string()).unwrap_or(Decimal::ZERO)
}

/// Exactly, or where that takes too many digits as an `f64` does it.
fn plus(a: Decimal, b: Decimal) -> Decimal {
    a.plus(b).or_else(|| Decimal::of_f64(a.to_f64() + b.to_f64())).unwrap_or(a)
}

/// In the state, a list: numbers as texts, so that none of their digits is lost.
#[derive(Deserialize)]
struct Kept(u64, String, String, String, String, String, Option<Deviation>);

impl Stats {
    /// As [`Kept`] reads it. By hand, for it is written with each message.
    pub(crate) fn keep(&self, to: &mut Vec<u8>) {
        let Self { count, sum, min, max, first, last, deviation } = self;
        to.push(b'[');
        to.extend_from_slice(count.to_string().as_bytes());
        for number in [sum, min, max, first, last] {
            to.extend_from_slice(b",\"");
            decimal::write(*number, to);
            to.push(b'"');
        }
        match deviation {
            // What is not finite any more is not there any more.
            Some(Deviation { mean, squares }) if mean.is_finite() && squares.is_finite() => {
                to.extend_from_slice(format!(",{{\"mean\":{mean:e},\"squares\":{squares:e}}}]").as_bytes());
            }
            _ => to.extend_from_slice(b",null]"),
        }
    }
}

impl<'de> Deserialize<'de> for Stats {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Kept(count, sum, min, max, first, last, deviation) = Kept::deserialize(from)?;
        let number = |text: String| Decimal::parse(&text).ok_or_else(|| serde::de::Error::custom("not a number"));
        let (sum, min, max) = (number(sum)?, number(min)?, number(max)?);
        Ok(Self { count, sum, min, max, first: number(first)?, last: number(last)?, deviation })
    }
}
