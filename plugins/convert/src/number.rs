//! What a rule does to a number: exactly, as long as its digits can be held, and as an `f64` beyond.

use crate::units::Unit;
use tidegate_sdk::decimal::{Affine, Decimal, write_shortest};

/// `(value in other units) * scale + offset`, rounded.
pub(crate) struct Number {
    /// `None` if the units, the scale and the offset have too many digits together.
    exact: Option<Affine>,
    /// The same as an `f64` can: a factor and a summand.
    near: (f64, f64),
    round: Option<u32>,
}

impl Number {
    pub(crate) fn new(units: Option<(Unit, Unit)>, scale: Decimal, offset: Decimal, round: Option<u32>) -> Self {
        let near = |of: Decimal| of.to_f64();
        let (exact, near) = match units {
            None => (Affine::new(scale, offset, Decimal::ONE), (near(scale), near(offset))),
            Some((from, to)) => {
                let factor = near(from.numerator()) / near(from.denominator());
                let factor = factor * near(to.denominator()) / near(to.numerator()) * near(scale);
                let summand = near(from.shift()) * factor - near(to.shift()) * near(scale) + near(offset);
                (affine(from, to, scale, offset), (factor, summand))
            }
        };
        Self { exact, near, round }
    }

    /// Writes what becomes of a number, as its text says it if that can be held, and as an `f64`. False if it is too large.
    pub(crate) fn write(&self, number: Option<Decimal>, near: impl FnOnce() -> f64, to: &mut Vec<u8>) -> bool {
        if let (Some(exact), Some(number)) = (self.exact, number)
            && exact.write(number, self.round, to)
        {
            return true;
        }
        let value = near() * self.near.0 + self.near.1;
        let rounding = Affine::new(Decimal::ONE, Decimal::ZERO, Decimal::ONE);
        match (self.round, Decimal::of_f64(value), rounding) {
            (Some(_), Some(value), Some(rounding)) if rounding.write(value, self.round, to) => true,
            _ => write_shortest(value, to),
        }
    }
}

/// To the base unit, from there to the other, and then the scale and the offset: one step, in whole numbers.
fn affine(from: Unit, to: Unit, scale: Decimal, offset: Decimal) -> Option<Affine> {
    let factor = from.numerator().times(to.denominator())?.times(scale)?;
    let divisor = from.denominator().times(to.numerator())?;
    let behind = offset.minus(to.shift().times(scale)?)?;
    let summand = from.shift().times(factor)?.plus(behind.times(divisor)?)?;
    Affine::new(factor, summand, divisor)
}
