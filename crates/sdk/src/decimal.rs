//! Numbers as the decimal texts they are: compared, scaled and rounded exactly.
//!
//! `0.8 - 0.6` is 0.2 here, and 9007199254740993 is not 9007199254740992. A number is a sign, up to 36 digits and a power of
//! ten. What would take more digits is `None`, for the caller to do with an `f64`, which then is as good.
//!
//! ```
//! use tidegate_sdk::decimal::{Affine, Decimal};
//!
//! let number = |text: &str| Decimal::parse(text).unwrap();
//! assert!(number("0.8").distance(number("0.6")).unwrap() <= number("0.2"));
//! // (v * 5 - 160) / 9: Fahrenheit to Celsius.
//! let celsius = Affine::new(number("5"), number("-160"), number("9")).unwrap();
//! let mut text = Vec::new();
//! assert!(celsius.write(number("72.5"), Some(1), &mut text));
//! assert_eq!(text, b"22.5");
//! ```

use std::cmp::Ordering;

/// So many digits are held.
const DIGITS_MAX: u32 = 36;

/// Powers of ten beyond this are no number of any device.
const EXPONENT_MAX: i32 = 1000;

/// An `f64` has no more digits than this that mean something.
const F64_DIGITS: u32 = 17;

/// An `f64` holds all whole numbers up to this.
const F64_WHOLE: u64 = 1 << 53;

/// Numbers with more digits than this before the point are too large for an `f64`.
const F64_MAGNITUDE: i32 = 308;

/// Numbers with more digits before the point, or zeros behind it, are written with an exponent.
const PLAIN_MAX: i32 = 25;

/// A number: `digits` times ten to the power of `exponent`. No trailing zeros in `digits`, so that equal numbers are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { digits: 0, exponent: 0 };

    /// One.
    pub const ONE: Self = Self { digits: 1, exponent: 0 };

    /// The number that a JSON number says (RFC 8259 section 6). `None` if it has more digits than are held, or is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).and_then(|(number, is_exact)| is_exact.then_some(number))
    }

    /// The same, cut after so many digits as are held.
    #[must_use]
    pub fn parse_cut(text: &str) -> Option<Self> {
        Self::read(text).map(|(number, _)| number)
    }

    /// The number, and whether all of its digits are in it.
    fn read(text: &str) -> Option<(Self, bool)> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mut short, mut digits, mut count) = (0_u64, 0_u128, 0_u32);
        let (mut exponent, mut is_exact, mut seen, mut in_fraction) = (0_i32, true, false, false);
        let mut power = None;
        for (at, byte) in rest.bytes().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    seen = true;
                    let digit = u64::from(byte - b'0');
                    if count == DIGITS_MAX {
                        is_exact &= digit == 0;
                        exponent += i32::from(!in_fraction);
                        continue;
                    }
                    // Leading zeros are no digits.
                    if count > 0 || digit > 0 {
                        count += 1;
                        if count <= 19 {
                            short = short * 10 + digit;
                            digits = u128::from(short);
                        } else {
                            digits = digits * 10 + u128::from(digit);
                        }
                    }
                    exponent -= i32::from(in_fraction);
                }
                b'.' if !in_fraction && seen => in_fraction = true,
                b'e' | b'E' if seen => {
                    power = rest.get(at + 1..);
                    break;
                }
                _ => return None,
            }
        }
        if !seen {
            return None;
        }
        if let Some(power) = power {
            let power: i32 = power.strip_prefix('+').unwrap_or(power).parse().ok()?;
            exponent = exponent.checked_add(power)?;
        }
        let digits = digits as i128; // at most 36 digits
        let number = Self { digits: if negative { -digits } else { digits }, exponent }.normal();
        (number.exponent.abs() <= EXPONENT_MAX).then_some((number, is_exact))
    }

    /// The number that a whole payload says: as JSON, or with a sign or a point that JSON has not (`+21.5`, `.5`), with white space
    /// around it. Digits beyond those that are held are cut.
    #[must_use]
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload.trim_ascii()).ok()?;
        Self::parse_cut(text).or_else(|| Self::of_f64(text.parse().ok()?)).filter(|number| number.fits_f64())
    }

    /// The number that the shortest text of an `f64` says, which is how somebody wrote it. `None` if it is not finite.
    #[must_use]
    pub fn of_f64(number: f64) -> Option<Self> {
        number.is_finite().then(|| format!("{number:e}")).and_then(|text| Self::parse(&text))
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// Whether it is no larger than an `f64` can be, which is the most that readers of JSON take.
    #[must_use]
    pub fn fits_f64(self) -> bool {
        digits_of(self.digits).cast_signed() + self.exponent <= F64_MAGNITUDE
    }

    fn normal(mut self) -> Self {
        if self.digits == 0 {
            return Self::ZERO;
        }
        // Most numbers fit, and division of 128 bits is slow in WebAssembly.
        if let Ok(mut short) = i64::try_from(self.digits) {
            while short % 10 == 0 {
                short /= 10;
                self.exponent += 1;
            }
            self.digits = i128::from(short);
        } else {
            while self.digits % 10 == 0 {
                self.digits /= 10;
                self.exponent += 1;
            }
        }
        self
    }

    /// The digits at a power of ten that is no higher than the number's own.
    fn at(self, exponent: i32) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let up = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.digits.checked_mul(power_of_ten(up)?)
    }

    /// The sum. `None` if it takes too many digits.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let exponent = match (self.digits, other.digits) {
            (0, _) => return Some(other),
            (_, 0) => return Some(self),
            _ => self.exponent.min(other.exponent),
        };
        let digits = self.at(exponent)?.checked_add(other.at(exponent)?)?;
        Some(Self { digits, exponent }.normal())
    }

    /// The difference. `None` if it takes too many digits.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self { digits: -other.digits, ..other })
    }

    /// The product. `None` if it takes too many digits.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, exponent: self.exponent.checked_add(other.exponent)? }.normal())
    }

    /// How far apart they are. `None` if that takes too many digits.
    #[must_use]
    pub fn distance(self, other: Self) -> Option<Self> {
        let difference = self.minus(other)?;
        Some(Self { digits: difference.digits.abs(), ..difference })
    }
}

impl std::fmt::Display for Decimal {
    /// As JSON, with all of its digits.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut text = Vec::new();
        write(*self, &mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl PartialOrd for Decimal {
    /// `None` if it takes too many digits to say.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.digits.signum(), other.digits.signum()) {
            (a, b) if a != b => return Some(a.cmp(&b)),
            (0, 0) => return Some(Ordering::Equal),
            _ => {}
        }
        let exponent = self.exponent.min(other.exponent);
        Some(self.at(exponent)?.cmp(&other.at(exponent)?))
    }
}

/// A change of a number: `(number * factor + summand) / divisor`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affine {
    factor: Decimal,
    summand: Decimal,
    /// Above zero.
    divisor: i128,
}

impl Affine {
    /// `None` if the divisor is zero, or if it takes too many digits.
    #[must_use]
    pub fn new(factor: Decimal, summand: Decimal, divisor: Decimal) -> Option<Self> {
        let Decimal { digits, exponent } = divisor;
        if digits == 0 {
            return None;
        }
        // The power of ten of the divisor goes to the others, and its sign.
        let sign = digits.signum();
        let moved = |of: Decimal| {
            let exponent = of.exponent.checked_sub(exponent)?;
            Some(Decimal { digits: of.digits * sign, exponent }.normal())
        };
        let (mut factor, mut summand) = (moved(factor)?, moved(summand)?);
        let mut divisor = digits.abs();
        let common = gcd(divisor, gcd(factor.digits.abs(), summand.digits.abs()));
        if common > 1 {
            divisor /= common;
            factor.digits /= common;
            summand.digits /= common;
        }
        Some(Self { factor, summand, divisor })
    }

    /// Writes the new number, rounded half away from zero to so many decimals, without trailing zeros. Without `round`: the
    /// exact digits if they are no more than an `f64` has or if it is whole, else the shortest text of the nearest `f64`.
    ///
    /// False, and nothing is written, if it takes too many digits.
    #[must_use]
    pub fn write(self, number: Decimal, round: Option<u32>, to: &mut Vec<u8>) -> bool {
        match self.changed(number, round) {
            Some(Changed::Exact(number)) if number.fits_f64() => write(number, to),
            Some(Changed::Near(number)) => return write_shortest(number, to),
            _ => return false,
        }
        true
    }

    fn changed(self, number: Decimal, round: Option<u32>) -> Option<Changed> {
        let above = number.times(self.factor)?.plus(self.summand)?;
        match round {
            Some(decimals) => {
                let decimals = i32::try_from(decimals).ok()?;
                Some(Changed::Exact(self.divided(above, decimals)?))
            }
            None if self.divisor == 1 => {
                let is_short = above.exponent >= 0 || digits_of(above.digits) <= F64_DIGITS;
                Some(if is_short { Changed::Exact(above) } else { Changed::Near(above.to_f64()) })
            }
            None => self.quotient(above),
        }
    }

    /// Rounded to so many decimals.
    fn divided(self, above: Decimal, decimals: i32) -> Option<Decimal> {
        // All of its digits are before the place: nothing to round.
        let up = above.exponent.checked_add(decimals)?;
        if self.divisor == 1 && up >= 0 {
            return Some(above);
        }
        let mut divisor = self.divisor;
        let mut digits = above.digits;
        match u32::try_from(up) {
            Ok(up) => digits = digits.checked_mul(power_of_ten(up)?)?,
            // So small that nothing is left.
            Err(_) if up < -(DIGITS_MAX as i32) - 2 => return Some(Decimal::ZERO),
            Err(_) => divisor = divisor.checked_mul(power_of_ten(up.unsigned_abs())?)?,
        }
        let (whole, rest) = divide(digits.abs(), divisor);
        let rounded = whole + i128::from(rest >= divisor - rest);
        let digits = if digits < 0 { -rounded } else { rounded };
        Some(Decimal { digits, exponent: -decimals }.normal())
    }

    /// The quotient where it has no end and an `f64` holds what is above and what is below the line: their quotient is the
    /// nearest then, and costs a division.
    fn quotient_of_floats(self, above: Decimal) -> Option<f64> {
        let (digits, divisor) = (u64::try_from(above.digits.unsigned_abs()).ok()?, u64::try_from(self.divisor).ok()?);
        let below = divisor.checked_mul(10_u64.checked_pow(u32::try_from(above.exponent.checked_neg()?).ok()?)?)?;
        if digits.max(below) > F64_WHOLE {
            return None;
        }
        let mut endless = divisor;
        for factor in [2, 5] {
            while endless.is_multiple_of(factor) {
                endless /= factor;
            }
        }
        let near = digits as f64 / below as f64;
        (!digits.is_multiple_of(endless)).then_some(if above.digits < 0 { -near } else { near })
    }

    /// As many digits as an `f64` has, and one more that says whether there are others.
    fn quotient(self, above: Decimal) -> Option<Changed> {
        if above.digits == 0 {
            return Some(Changed::Exact(Decimal::ZERO));
        }
        if let Some(near) = self.quotient_of_floats(above) {
            return Some(Changed::Near(near));
        }
        let wanted = F64_DIGITS + 2 + digits_of(self.divisor);
        let up = wanted.saturating_sub(digits_of(above.digits));
        let digits = above.digits.abs().checked_mul(power_of_ten(up)?)?;
        let (whole, rest) = divide(digits, self.divisor);
        let exponent = above.exponent.checked_sub(up.cast_signed())?;
        let sign = above.digits.signum();
        let found = Decimal { digits: whole * sign, exponent }.normal();
        if rest == 0 && (found.exponent >= 0 || digits_of(found.digits) <= F64_DIGITS) {
            return Some(Changed::Exact(found));
        }
        // The rest decides where the digits alone would be halfway between two.
        let sticky = Decimal { digits: (whole * 10 + i128::from(rest > 0)) * sign, exponent: exponent.checked_sub(1)? };
        Some(Changed::Near(sticky.to_f64()))
    }
}

enum Changed {
    Exact(Decimal),
    Near(f64),
}

fn divide(digits: i128, divisor: i128) -> (i128, i128) {
    match (u64::try_from(digits), u64::try_from(divisor)) {
        (Ok(digits), Ok(divisor)) => (i128::from(digits / divisor), i128::from(digits % divisor)),
        _ => (digits / divisor, digits % divisor),
    }
}

/// A table: 128 bits times 128 bits is slow in WebAssembly.
const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

fn power_of_ten(power: u32) -> Option<i128> {
    POWERS_OF_TEN.get(power as usize).copied()
}

fn digits_of(number: i128) -> u32 {
    let number = number.unsigned_abs();
    match u64::try_from(number) {
        Ok(short) => short.checked_ilog10().map_or(1, |log| log + 1),
        Err(_) => number.ilog10() + 1,
    }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Writes it as JSON, with all of its digits: plain, but for very large and very small numbers.
pub fn write(number: Decimal, to: &mut Vec<u8>) {
    let Decimal { digits, exponent } = number;
    if digits < 0 {
        to.push(b'-');
    }
    let text = match u64::try_from(digits.unsigned_abs()) {
        Ok(short) => short.to_string(),
        Err(_) => digits.unsigned_abs().to_string(),
    };
    let text = text.as_bytes();
    // Where the point stands, counted from the first digit.
    let point = exponent + text.len() as i32; // at most 39 digits
    if !(-PLAIN_MAX..=PLAIN_MAX).contains(&point) {
        to.push(text[0]);
        if text.len() > 1 {
            to.push(b'.');
            to.extend_from_slice(&text[1..]);
        }
        to.extend_from_slice(format!("e{}", point - 1).as_bytes());
        return;
    }
    match usize::try_from(point) {
        Ok(point) if point >= text.len() => {
            to.extend_from_slice(text);
            to.resize(to.len() + point - text.len(), b'0');
        }
        Ok(point) if point > 0 => {
            to.extend_from_slice(&text[..point]);
            to.push(b'.');
            to.extend_from_slice(&text[point..]);
        }
        _ => {
            to.extend_from_slice(b"0.");
            to.resize(to.len() + point.unsigned_abs() as usize, b'0');
            to.extend_from_slice(text);
        }
    }
}

/// The shortest text that reads back as the same `f64`; false if there is none in JSON.
pub fn write_shortest(number: f64, to: &mut Vec<u8>) -> bool {
    if !number.is_finite() {
        return false;
    }
    serde_json::to_writer(&mut *to, &number).expect("a finite number goes into memory");
    if to.ends_with(b".0") {
        to.truncate(to.len() - 2);
    }
    true
}

#[cfg(test)]
mod tests;
