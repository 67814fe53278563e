//! The units `convert` knows, each as a line through the base unit of its dimension.

/// `base = (value + shift) * numerator / denominator`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    name: &'static str,
    dimension: Dimension,
    shift: f64,
    numerator: f64,
    denominator: f64,
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

const fn unit(dimension: Dimension, name: &'static str, numerator: f64, denominator: f64) -> Unit {
    Unit { name, dimension, shift: 0.0, numerator, denominator }
}

const UNITS: &[Unit] = {
    use Dimension::*;
    &[
        unit(Temperature, "celsius", 1.0, 1.0),
        Unit { shift: -32.0, ..unit(Temperature, "fahrenheit", 5.0, 9.0) },
        Unit { shift: -273.15, ..unit(Temperature, "kelvin", 1.0, 1.0) },
        unit(Pressure, "pascal", 1.0, 1.0),
        unit(Pressure, "hectopascal", 100.0, 1.0),
        unit(Pressure, "kilopascal", 1_000.0, 1.0),
        unit(Pressure, "millibar", 100.0, 1.0),
        unit(Pressure, "bar", 100_000.0, 1.0),
        unit(Pressure, "psi", 6_894.757_293_168, 1.0),
        unit(Pressure, "mmhg", 133.322_387_415, 1.0),
        unit(Pressure, "inhg", 3_386.388_640_341, 1.0),
        unit(Length, "metre", 1.0, 1.0),
        unit(Length, "kilometre", 1_000.0, 1.0),
        unit(Length, "centimetre", 1.0, 100.0),
        unit(Length, "millimetre", 1.0, 1_000.0),
        unit(Length, "inch", 254.0, 10_000.0),
        unit(Length, "foot", 3_048.0, 10_000.0),
        unit(Length, "mile", 1_609.344, 1.0),
        unit(Speed, "metre-per-second", 1.0, 1.0),
        unit(Speed, "kilometre-per-hour", 10.0, 36.0),
        unit(Speed, "mile-per-hour", 44_704.0, 100_000.0),
        unit(Speed, "knot", 1_852.0, 3_600.0),
        unit(Mass, "kilogram", 1.0, 1.0),
        unit(Mass, "gram", 1.0, 1_000.0),
        unit(Mass, "tonne", 1_000.0, 1.0),
        unit(Mass, "pound", 45_359_237.0, 100_000_000.0),
        unit(Mass, "ounce", 45_359_237.0, 1_600_000_000.0),
        unit(Volume, "litre", 1.0, 1.0),
        unit(Volume, "millilitre", 1.0, 1_000.0),
        unit(Volume, "cubic-metre", 1_000.0, 1.0),
        unit(Volume, "us-gallon", 3.785_411_784, 1.0),
        unit(Volume, "imperial-gallon", 4.546_09, 1.0),
        unit(Energy, "joule", 1.0, 1.0),
        unit(Energy, "kilojoule", 1_000.0, 1.0),
        unit(Energy, "watt-hour", 3_600.0, 1.0),
        unit(Energy, "kilowatt-hour", 3_600_000.0, 1.0),
        unit(Power, "watt", 1.0, 1.0),
        unit(Power, "milliwatt", 1.0, 1_000.0),
        unit(Power, "kilowatt", 1_000.0, 1.0),
        unit(Power, "horsepower", 745.699_871_582, 1.0),
        unit(Voltage, "volt", 1.0, 1.0),
        unit(Voltage, "millivolt", 1.0, 1_000.0),
        unit(Voltage, "kilovolt", 1_000.0, 1.0),
        unit(Current, "ampere", 1.0, 1.0),
        unit(Current, "milliampere", 1.0, 1_000.0),
        unit(Time, "second", 1.0, 1.0),
        unit(Time, "millisecond", 1.0, 1_000.0),
        unit(Time, "minute", 60.0, 1.0),
        unit(Time, "hour", 3_600.0, 1.0),
        unit(Time, "day", 86_400.0, 1.0),
        unit(Ratio, "fraction", 1.0, 1.0),
        unit(Ratio, "percent", 1.0, 100.0),
        unit(Ratio, "permille", 1.0, 1_000.0),
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

    pub(crate) fn base_of(self, value: f64) -> f64 {
        (value + self.shift) * self.numerator / self.denominator
    }

    pub(crate) fn of_base(self, base: f64) -> f64 {
        base * self.denominator / self.numerator - self.shift
    }
}

fn names(wanted: impl Fn(&Unit) -> bool) -> String {
    let names: Vec<&str> = UNITS.iter().filter(|unit| wanted(unit)).map(|unit| unit.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(value: f64, from: &str, to: &str) -> f64 {
        Unit::named(to).unwrap().of_base(Unit::named(from).unwrap().base_of(value))
    }

    #[test]
    fn known_values_come_out() {
        for (value, from, to, expected) in [
            (212.0, "fahrenheit", "celsius", 100.0),
            (-40.0, "celsius", "fahrenheit", -40.0),
            (0.0, "kelvin", "celsius", -273.15),
            (1.0, "bar", "hectopascal", 1_000.0),
            (29.921, "inhg", "hectopascal", 1_013.241),
            (36.0, "kilometre-per-hour", "metre-per-second", 10.0),
            (1.0, "mile", "foot", 5_280.0),
            (1.0, "kilowatt-hour", "kilojoule", 3_600.0),
            (16.0, "ounce", "pound", 1.0),
            (0.5, "fraction", "percent", 50.0),
        ] {
            assert!((convert(value, from, to) - expected).abs() < 1e-3, "{value} {from} to {to}");
        }
    }

    #[test]
    fn every_unit_returns_to_itself() {
        for unit in UNITS {
            assert!((unit.of_base(unit.base_of(12.5)) - 12.5).abs() < 1e-9, "{}", unit.name);
        }
    }

    #[test]
    fn a_wrong_unit_is_told_what_is_right() {
        assert_eq!(Unit::named("fahr").unwrap_err(), "unknown unit `fahr`; did you mean `fahrenheit`?");
        let error = Unit::named("celsius").unwrap().converts_to(Unit::named("bar").unwrap()).unwrap_err();
        assert!(error.ends_with("one of celsius, fahrenheit, kelvin can"), "{error}");
    }
}
