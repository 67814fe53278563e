//! JSON that is written piece by piece, within a bound.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{fmt::Display, io::Write};
use tidegate_sdk::json::write_string;

/// Whole numbers beyond this lose digits in readers that know only `f64`.
const F64_WHOLE: u64 = 1 << 53;

/// How what JSON has no word for is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) not_finite: NotFinite,
    pub(crate) large_integers: LargeIntegers,
}

/// NaN and the infinities.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NotFinite {
    #[default]
    Null,
    Text,
}

/// Whole numbers beyond 2^53.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LargeIntegers {
    #[default]
    Digits,
    Text,
}

/// What has been written.
pub(crate) struct Json {
    out: Vec<u8>,
    max: usize,
    is_full: bool,
    pub(crate) style: Style,
}

impl Json {
    pub(crate) fn new(style: Style, max: usize) -> Self {
        Self { out: Vec::with_capacity(256), max, is_full: false, style }
    }

    /// Whether more was to be written than fits; what is here is no JSON then.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Back to what it was when it had this length.
    pub(crate) fn cut(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// A brace or a bracket that opens.
    pub(crate) fn open(&mut self, bracket: u8) {
        self.comma();
        self.out.push(bracket);
    }

    pub(crate) fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// The name of a member; its value is what is written next.
    pub(crate) fn member(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(b':');
        self
    }

    pub(crate) fn text(&mut self, text: &str) {
        if !self.has_room(text.len() + 2) {
            return;
        }
        self.comma();
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            // Nearly every text, at a tenth of the cost.
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        } else {
            write_string(text, &mut self.out);
        }
    }

    pub(crate) fn base64(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len() / 3 * 4 + 6) {
            self.text(&BASE64_STANDARD.encode(bytes));
        }
    }

    pub(crate) fn null(&mut self) {
        self.display("null");
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.display(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.integer(value, value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.integer(value, value.unsigned_abs());
    }

    fn integer(&mut self, value: impl Display, magnitude: u64) {
        match self.style.large_integers {
            LargeIntegers::Text if magnitude > F64_WHOLE => self.display(format_args!("\"{value}\"")),
            _ => self.display(value),
        }
    }

    /// By its shortest text that reads back as the same 32 bits.
    pub(crate) fn f32(&mut self, value: f32) {
        if is_plain(f64::from(value).abs()) {
            self.display(value);
        } else if value.is_finite() {
            self.display(format_args!("{value:e}"));
        } else {
            self.not_finite(f64::from(value));
        }
    }

    pub(crate) fn f64(&mut self, value: f64) {
        if is_plain(value.abs()) {
            self.display(value);
        } else if value.is_finite() {
            self.display(format_args!("{value:e}"));
        } else {
            self.not_finite(value);
        }
    }

    fn not_finite(&mut self, value: f64) {
        match self.style.not_finite {
            NotFinite::Null => self.null(),
            NotFinite::Text => self.text(name_of(value)),
        }
    }

    fn display(&mut self, value: impl Display) {
        if self.has_room(1) {
            self.comma();
            let _ = write!(self.out, "{value}"); // into memory, which never fails
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.is_full |= self.out.len() + bytes > self.max;
        !self.is_full
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

/// The words for what is no number of JSON.
pub(crate) fn name_of(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn is_plain(magnitude: f64) -> bool {
    magnitude == 0.0 || (1e-7..1e21).contains(&magnitude)
}
