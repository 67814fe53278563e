use super::*;
use proptest::prelude::*;

fn number(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
}

fn plain(text: &str) -> String {
    let mut out = Vec::new();
    write(number(text), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn texts_are_read_and_written_as_they_are_meant() {
    for (text, same) in [
        ("0", "0"),
        ("-0.0", "0"),
        ("21.50", "21.5"),
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        ("-12.5e+1", "-125"),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0.000001", "0.000001"),
        ("1e30", "1e30"),
        ("-1.25e-40", "-1.25e-40"),
    ] {
        assert_eq!(plain(text), same, "{text}");
    }
    for none in ["", "-", ".5", "e5", "1e", "nan", "1_0", "1e99999", "1e2000", "0x1", "1.2.3", " 1"] {
        assert_eq!(Decimal::parse(none), None, "{none}");
    }
    let long = "1".repeat(40);
    assert_eq!((Decimal::parse(&long), Decimal::parse_cut(&long).is_some()), (None, true));
    assert_eq!(number(&format!("1{}", "0".repeat(60))), number("1e60"), "zeros are no digits");
}

#[test]
fn a_tolerance_means_what_it_says() {
    for (a, b, tolerance) in
        [("0.6", "0.8", "0.2"), ("1.9", "2.1", "0.2"), ("21.4", "21.5", "0.1"), ("1.0", "1.1", "0.1")]
    {
        assert!(number(a).distance(number(b)).unwrap() <= number(tolerance), "{a} {b}");
        assert!(number(a).distance(number(b)).unwrap() > number("0.0999999999999999999"), "{a} {b}");
    }
    assert!(number("9007199254740992") < number("9007199254740993"));
    assert_eq!(number("1e300").partial_cmp(&number("2")), None, "too far apart for so few digits");
}

fn affine(factor: &str, summand: &str, divisor: &str, value: &str, round: Option<u32>) -> String {
    let change = Affine::new(number(factor), number(summand), number(divisor)).unwrap();
    let mut out = Vec::new();
    assert!(change.write(number(value), round, &mut out), "{value}");
    String::from_utf8(out).unwrap()
}

#[test]
fn rounding_is_half_away_from_zero_of_the_text() {
    for (value, round, right) in [
        ("1.005", 2, "1.01"),
        ("0.285", 2, "0.29"),
        ("10.075", 2, "10.08"),
        ("1.255", 2, "1.26"),
        ("5.015", 2, "5.02"),
        ("-5.015", 2, "-5.02"),
        ("2.675", 2, "2.68"),
        ("4.4", 15, "4.4"),
        ("32.2", 14, "32.2"),
        ("4096.1", 12, "4096.1"),
        ("0.4999", 0, "0"),
        ("-0.5", 0, "-1"),
        ("1e-300", 3, "0"),
        ("9007199254740993", 0, "9007199254740993"),
        ("1e16", 0, "10000000000000000"),
    ] {
        assert_eq!(affine("1", "0", "1", value, Some(round)), right, "{value}");
    }
    assert_eq!(affine("0.001", "0", "1", "1025", Some(2)), "1.03");
    assert_eq!(affine("0.001", "0", "1", "145", Some(2)), "0.15");
}

#[test]
fn without_rounding_the_digits_are_exact_or_those_of_an_f64() {
    assert_eq!(affine("1", "-273.15", "1", "300", None), "26.85");
    assert_eq!(affine("1", "-273.15", "1", "294.25", None), "21.1");
    assert_eq!(affine("10", "0", "1", "21", None), "210");
    assert_eq!(affine("5", "-160", "9", "71.3", None), "21.833333333333332");
    assert_eq!(affine("5", "-160", "9", "72.5", None), "22.5");
    assert_eq!(affine("-5", "160", "-9", "72.5", None), "22.5");
    assert_eq!(affine("1", "0", "3", "-1", None), "-0.3333333333333333");
}

#[test]
fn what_takes_too_many_digits_is_told() {
    let change = Affine::new(number("123456789.123456789"), Decimal::ZERO, number("7")).unwrap();
    let mut out = Vec::new();
    assert!(!change.write(number(&"7".repeat(36)), None, &mut out) && out.is_empty());
    assert_eq!(Affine::new(number("1"), Decimal::ZERO, Decimal::ZERO), None);
}

proptest! {
    /// The nearest `f64` of an exact quotient is what division of two `f64` gives, if both are exact.
    #[test]
    fn a_quotient_is_the_nearest(a in -(1_i64 << 52)..(1_i64 << 52), b in 1_i64..100_000) {
        let text = affine("1", "0", &b.to_string(), &a.to_string(), None);
        prop_assert_eq!(text.parse::<f64>().unwrap(), a as f64 / b as f64);
    }

    #[test]
    fn a_text_comes_back(number in any::<f64>().prop_filter("finite", |n| n.is_finite() && n.abs() < 1e300)) {
        let mut out = Vec::new();
        prop_assert!(write_shortest(number, &mut out));
        prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap(), number);
    }

    #[test]
    fn sums_and_products_of_whole_numbers_are_exact(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000) {
        let of = |n: i64| number(&n.to_string());
        prop_assert_eq!(of(a).plus(of(b)), Some(of(a + b)));
        prop_assert_eq!(of(a).times(of(b)), Some(of(a * b)));
        prop_assert_eq!(of(a).partial_cmp(&of(b)), Some(a.cmp(&b)));
    }
}

#[test]
fn a_number_is_shown_as_it_is_read() {
    for text in ["0", "-21.5", "0.001", "12345678901234567890.12345", "1e-30", "1.5e40"] {
        assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
    }
    for (payload, shown) in [(" 21.50\n", "21.5"), ("+.5", "0.5"), ("5.", "5"), ("-0", "0")] {
        assert_eq!(Decimal::of_payload(payload.as_bytes()).unwrap().to_string(), shown);
    }
    for none in ["", "x", "NaN", "inf", "1e400", "1 2", "\"1\"", "{}"] {
        assert_eq!(Decimal::of_payload(none.as_bytes()), None, "{none}");
    }
}
