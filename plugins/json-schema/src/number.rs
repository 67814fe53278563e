//! `minimum`, `maximum`, `multipleOf` and their kin, compared as the decimals that they are written as.
//!
//! boon compares `f64`s, for which 0.07 is no multiple of 0.01 and 9007199254740993 is not above 9007199254740992. But it
//! takes formats of one's own: so a schema's bounds become a format, whose function looks them up and compares.

use boon::Format;
use serde_json::{Map, Number, Value};
use std::{cell::RefCell, cmp::Ordering, error::Error, rc::Rc};
use tidegate_sdk::decimal::{Affine, Decimal};

/// The keywords, each with what it says of a number.
const KEYWORDS: [(&str, Rule); 5] = [
    ("minimum", Rule::AtLeast),
    ("maximum", Rule::AtMost),
    ("exclusiveMinimum", Rule::MoreThan),
    ("exclusiveMaximum", Rule::LessThan),
    ("multipleOf", Rule::MultipleOf),
];

#[derive(Clone, Copy)]
enum Rule {
    AtLeast,
    AtMost,
    MoreThan,
    LessThan,
    MultipleOf,
}

/// The bounds of one place of a schema.
pub(crate) type Bounds = Vec<Bound>;

pub(crate) struct Bound {
    keyword: &'static str,
    rule: Rule,
    wanted: Number,
}

thread_local! {
    /// Of the schema that is being asked: a format's function has no data of its own.
    static CURRENT: RefCell<Rc<[Bounds]>> = RefCell::new(Rc::new([]));
}

/// Makes these the ones that formats look up.
pub(crate) fn ask(bounds: &Rc<[Bounds]>) {
    CURRENT.set(Rc::clone(bounds));
}

macro_rules! formats {
    ($($slot:literal)*) => {
        /// As many places of a schema can have bounds of their own; those that are equal share one.
        pub(crate) const FORMATS: &[Format] = &[$(Format { name: concat!("tidegate-number-", $slot), func: check::<$slot> }),*];
    };
}

formats!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42
    43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84
    85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119
    120 121 122 123 124 125 126 127);

fn check<const SLOT: usize>(value: &Value) -> Result<(), Box<dyn Error>> {
    let Value::Number(number) = value else {
        return Ok(());
    };
    let bounds = CURRENT.with_borrow(Rc::clone);
    match bounds.get(SLOT).into_iter().flatten().find(|bound| !bound.allows(number)) {
        Some(Bound { keyword, wanted, .. }) => Err(format!("{keyword} {wanted}, but it is {number}").into()),
        None => Ok(()),
    }
}

/// The name of the format that stands for these bounds, or none if there is no room for more.
fn slot(bounds: Bounds, all: &mut Vec<Bounds>) -> Option<&'static str> {
    let same = |other: &Bounds| {
        other.len() == bounds.len()
            && other.iter().zip(&bounds).all(|(a, b)| a.keyword == b.keyword && a.wanted == b.wanted)
    };
    let at = all.iter().position(same).unwrap_or_else(|| {
        all.push(bounds);
        all.len() - 1
    });
    FORMATS.get(at).map(|format| format.name)
}

/// Takes the bounds out of a schema and puts a format in their place; of those within it too. False if there are too many.
pub(crate) fn replace(schema: &mut Value, all: &mut Vec<Bounds>) -> bool {
    let Value::Object(schema) = schema else {
        return true;
    };
    let mut bounds = Bounds::new();
    for (keyword, rule) in KEYWORDS {
        if let Some(Value::Number(wanted)) = schema.remove(keyword) {
            bounds.push(Bound { keyword, rule, wanted });
        }
    }
    if !bounds.is_empty() {
        let Some(name) = slot(bounds, all) else {
            return false;
        };
        let all_of = schema.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = all_of {
            list.push(serde_json::json!({ "format": name }));
        }
    }
    within(schema, all)
}

/// Where a schema has others in it (2020-12 and those before).
fn within(schema: &mut Map<String, Value>, all: &mut Vec<Bounds>) -> bool {
    schema.iter_mut().all(|(keyword, value)| match keyword.as_str() {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
            value.as_object_mut().is_none_or(|schemas| schemas.values_mut().all(|schema| replace(schema, all)))
        }
        "items"
        | "prefixItems"
        | "allOf"
        | "anyOf"
        | "oneOf"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "additionalProperties"
        | "additionalItems"
        | "unevaluatedItems"
        | "unevaluatedProperties" => match value {
            Value::Array(schemas) => schemas.iter_mut().all(|schema| replace(schema, all)),
            schema => replace(schema, all),
        },
        _ => true,
    })
}

impl Bound {
    fn allows(&self, number: &Number) -> bool {
        let (given, wanted) = (decimal(number), decimal(&self.wanted));
        if matches!(self.rule, Rule::MultipleOf) {
            let exact = given.zip(wanted).and_then(|(given, wanted)| is_multiple(given, wanted));
            return exact.unwrap_or_else(|| (float(number) / float(&self.wanted)).fract() == 0.0);
        }
        let exact = given.zip(wanted).and_then(|(given, wanted)| given.partial_cmp(&wanted));
        let Some(order) = exact.or_else(|| float(number).partial_cmp(&float(&self.wanted))) else {
            return false;
        };
        match self.rule {
            Rule::AtLeast => order != Ordering::Less,
            Rule::AtMost => order != Ordering::Greater,
            Rule::MoreThan => order == Ordering::Greater,
            Rule::LessThan | Rule::MultipleOf => order == Ordering::Less,
        }
    }
}

/// Whether the nearest whole number of times is exact. `None` if that takes too many digits.
fn is_multiple(given: Decimal, of: Decimal) -> Option<bool> {
    let mut text = Vec::new();
    if !Affine::new(Decimal::ONE, Decimal::ZERO, of)?.write(given, Some(0), &mut text) {
        return None;
    }
    let times = Decimal::parse(std::str::from_utf8(&text).ok()?)?;
    Some(times.times(of)? == given)
}

fn decimal(number: &Number) -> Option<Decimal> {
    Decimal::parse(&number.to_string())
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}
