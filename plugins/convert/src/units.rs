//! The units `convert` knows, each as a line through the base unit of its dimension.

use tidegate_sdk::decimal::Decimal;

/// `base = (value + shift) * numerator / denominator`, exactly: a pound is 0.45359237 kg and a pound-force 4.4482216152605 N by
/// definition (NIST SP 811, appendix B.8), a horsepower 550 foot-pounds-force a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    name: &'static str,
    dimension: Dimension,
    shift: &'static str,
    numerator: &'static str,
    denominator: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dimension {
    Temperature,
    Pressure,
    Length,
    Speed,
    Mass,
    Volume,
    Energy,
    Power,
    Voltage,
    Current,
    Time,
    Ratio,
}

const fn unit(dimension: Dimension, name: &'static str, numerator: &'static str, denominator: &'static str) -> Unit {
    Unit { name, dimension, shift: "0", numerator, denominator }
}

const UNITS: &[Unit] = {
    use Dimension::*;
    &[
        unit(Temperature, "celsius", "1", "1"),
        Unit { shift: "-32", ..unit(Temperature, "fahrenheit", "5", "9") },
        Unit { shift: "-273.15", ..unit(Temperature, "kelvin", "1", "1") },
        unit(Pressure, "pascal", "1", "1"),
        unit(Pressure, "hectopascal", "100", "1"),
        unit(Pressure, "kilopascal", "1000", "1"),
        unit(Pressure, "millibar", "100", "1"),
        unit(Pressure, "bar", "100000", "1"),
        unit(Pressure, "psi", "4.4482216152605", "0.00064516"),
        unit(Pressure, "mmhg", "133.322387415", "1"),
        unit(Pressure, "inhg", "3386.388640341", "1"),
        unit(Length, "metre", "1", "1"),
        unit(Length, "kilometre", "1000", "1"),
        unit(Length, "centimetre", "1", "100"),
        unit(Length, "millimetre", "1", "1000"),
        unit(Length, "inch", "254", "10000"),
        unit(Length, "foot", "3048", "10000"),
        unit(Length, "mile", "1609.344", "1"),
        unit(Speed, "metre-per-second", "1", "1"),
        unit(Speed, "kilometre-per-hour", "10", "36"),
        unit(Speed, "mile-per-hour", "44704", "100000"),
        unit(Speed, "knot", "1852", "3600"),
        unit(Mass, "kilogram", "1", "1"),
        unit(Mass, "gram", "1", "1000"),
        unit(Mass, "tonne", "1000", "1"),
        unit(Mass, "pound", "45359237", "100000000"),
        unit(Mass, "ounce", "45359237", "1600000000"),
        unit(Volume, "litre", "1", "1"),
        unit(Volume, "millilitre", "1", "1000"),
        unit(Volume, "cubic-metre", "1000", "1"),
        unit(Volume, "us-gallon", "3.785411784", "1"),
        unit(Volume, "imperial-gallon", "4.54609", "1"),
        unit(Energy, "joule", "1", "1"),
        unit(Energy, "kilojoule", "1000", "1"),
        unit(Energy, "watt-hour", "3600", "1"),
        unit(Energy, "kilowatt-hour", "3600000", "1"),
        unit(Power, "watt", "1", "1"),
        unit(Power, "milliwatt", "1", "1000"),
        unit(Power, "kilowatt", "1000", "1"),
        unit(Power, "horsepower", "745.69987158227022", "1"),
        unit(Voltage, "volt", "1", "1"),
        unit(Voltage, "millivolt", "1", "1000"),
        unit(Voltage, "kilovolt", "1000", "1"),
        unit(Current, "ampere", "1", "1"),
        unit(Current, "milliampere", "1", "1000"),
        unit(Time, "second", "1", "1"),
        unit(Time, "millisecond", "1", "1000"),
        unit(Time, "minute", "60", "1"),
        unit(Time, "hour", "3600", "1"),
        unit(Time, "day", "86400", "1"),
        unit(Ratio, "fraction", "1", "1"),
        unit(Ratio, "percent", "1", "100"),
        unit(Ratio, "permille", "1", "1000"),
    ]
};

impl Unit {
    /// The unit of this name, or what to write instead.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        UNITS.iter().find(|unit| unit.name == name).copied().ok_or_else(|| {
            let first = |length: usize| name.get(..length);
            let near = UNITS.iter().find(|unit| first(3).is_some_and(|start| unit.name.starts_with(start)));
            match near {
                Some(near) => format!("unknown unit `{name}`; did you mean `{}`?", near.name),
                None => format!("unknown unit `{name}`; known are {}", names(|_| true)),
            }
        })
    }

    /// Whether the two measure the same thing, or in what the first could be expressed.
    pub(crate) fn converts_to(self, other: Self) -> Result<(), String> {
        if self.dimension == other.dimension {
            return Ok(());
        }
        let fitting = names(|unit| unit.dimension == self.dimension);
        Err(format!("`{}` cannot be expressed in `{}`; one of {fitting} can", self.name, other.name))
    }

    pub(crate) fn shift(self) -> Decimal {
        exact(self.shift)
    }

    pub(crate) fn numerator(self) -> Decimal {
        exact(self.numerator)
    }

    pub(crate) fn denominator(self) -> Decimal {
        exact(self.denominator)
    }
}

fn exact(text: &str) -> Decimal {
    Decimal::parse(text).expect("the table has numbers")
}

fn names(wanted: impl Fn(&Unit) -> bool) -> String {
    let names: Vec<&str> = UNITS.iter().filter(|unit| wanted(unit)).map(|unit| unit.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Number;

    fn convert(value: &str, from: &str, to: &str) -> String {
        let units = (Unit::named(from).unwrap(), Unit::named(to).unwrap());
        let mut text = Vec::new();
        let change = Number::new(Some(units), Decimal::ONE, Decimal::ZERO, None);
        assert!(change.write(Decimal::parse(value), || f64::NAN, &mut text), "{value} {from} to {to}");
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn known_values_come_out() {
        for (value, from, to, expected) in [
            ("212", "fahrenheit", "celsius", "100"),
            ("-40", "celsius", "fahrenheit", "-40"),
            ("0", "kelvin", "celsius", "-273.15"),
            ("300", "kelvin", "celsius", "26.85"),
            ("1", "bar", "hectopascal", "1000"),
            ("36", "kilometre-per-hour", "metre-per-second", "10"),
            ("1", "mile", "foot", "5280"),
            ("1", "kilowatt-hour", "kilojoule", "3600"),
            ("16", "ounce", "pound", "1"),
            ("0.5", "fraction", "percent", "50"),
            ("1", "horsepower", "watt", "745.69987158227022"),
            ("1", "psi", "pascal", "6894.757293168362"),
        ] {
            assert_eq!(convert(value, from, to), expected, "{value} {from} to {to}");
        }
    }

    #[test]
    fn every_unit_returns_to_itself() {
        for unit in UNITS {
            assert_eq!(convert("12.5", unit.name, unit.name), "12.5", "{}", unit.name);
        }
    }

    #[test]
    fn a_wrong_unit_is_told_what_is_right() {
        assert_eq!(Unit::named("fahr").unwrap_err(), "unknown unit `fahr`; did you mean `fahrenheit`?");
        let error = Unit::named("celsius").unwrap().converts_to(Unit::named("bar").unwrap()).unwrap_err();
        assert!(error.ends_with("one of celsius, fahrenheit, kelvin can"), "{error}");
    }
}
