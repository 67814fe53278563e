//! The datatypes of Sparkplug B (specification 3.0, section 6.4.16) by number and name.

/// One of them, or a number that the specification does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datatype(pub(crate) u32);

const NAMES: [&str; 35] = [
    "Unknown",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float",
    "Double",
    "Boolean",
    "String",
    "DateTime",
    "Text",
    "UUID",
    "DataSet",
    "Bytes",
    "File",
    "Template",
    "PropertySet",
    "PropertySetList",
    "Int8Array",
    "Int16Array",
    "Int32Array",
    "Int64Array",
    "UInt8Array",
    "UInt16Array",
    "UInt32Array",
    "UInt64Array",
    "FloatArray",
    "DoubleArray",
    "BooleanArray",
    "StringArray",
    "DateTimeArray",
];

impl Datatype {
    pub(crate) const UNKNOWN: Self = Self(0);
    pub(crate) const INT8: Self = Self(1);
    pub(crate) const INT16: Self = Self(2);
    pub(crate) const INT32: Self = Self(3);
    pub(crate) const INT64: Self = Self(4);
    pub(crate) const UINT8: Self = Self(5);
    pub(crate) const UINT16: Self = Self(6);
    pub(crate) const UINT32: Self = Self(7);
    pub(crate) const UINT64: Self = Self(8);
    pub(crate) const FLOAT: Self = Self(9);
    pub(crate) const DOUBLE: Self = Self(10);
    pub(crate) const BOOLEAN: Self = Self(11);
    pub(crate) const STRING: Self = Self(12);
    pub(crate) const DATETIME: Self = Self(13);
    pub(crate) const TEXT: Self = Self(14);
    pub(crate) const UUID: Self = Self(15);
    pub(crate) const DATASET: Self = Self(16);
    pub(crate) const BYTES: Self = Self(17);
    pub(crate) const FILE: Self = Self(18);
    pub(crate) const TEMPLATE: Self = Self(19);
    pub(crate) const PROPERTY_SET: Self = Self(20);
    pub(crate) const PROPERTY_SETS: Self = Self(21);
    pub(crate) const INT8_ARRAY: Self = Self(22);
    pub(crate) const BOOLEAN_ARRAY: Self = Self(32);
    pub(crate) const STRING_ARRAY: Self = Self(33);
    pub(crate) const DATETIME_ARRAY: Self = Self(34);

    /// Its name, if the specification has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|number| Self(number as u32))
    }

    /// Of an array the datatype of its elements, but of texts.
    pub(crate) fn element(self) -> Option<Self> {
        match self {
            // Int8Array to DoubleArray stand in the order of Int8 to Double.
            Self(number @ 22..=31) => Some(Self(number - Self::INT8_ARRAY.0 + Self::INT8.0)),
            Self::BOOLEAN_ARRAY => Some(Self::BOOLEAN),
            Self::DATETIME_ARRAY => Some(Self::DATETIME),
            _ => None,
        }
    }

    /// How many bytes a number of it takes in an array.
    pub(crate) fn bytes(self) -> Option<usize> {
        Some(match self {
            Self::INT8 | Self::UINT8 => 1,
            Self::INT16 | Self::UINT16 => 2,
            Self::INT32 | Self::UINT32 | Self::FLOAT => 4,
            Self::INT64 | Self::UINT64 | Self::DOUBLE | Self::DATETIME => 8,
            _ => return None,
        })
    }

    /// Whether it is a whole number.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self(1..=8) | Self::DATETIME)
    }

    /// Whether a negative number of it has a meaning.
    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self(1..=4) | Self::DATETIME)
    }

    /// Whether what it holds is a text.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::STRING | Self::TEXT | Self::UUID)
    }
}

impl std::fmt::Display for Datatype {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}
