//! What a compiled pattern does with a value.

use std::net::IpAddr;

use serde_json::Value;

use super::compile::{Field, Fields};

/// One alternative of a field.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// This value.
    Exact(Value),
    /// A value is there (`true`) or not (`false`); objects are not values.
    Exists(bool),
    /// A value that is none of these.
    AnythingBut(Vec<Value>),
    /// A value that none of these accepts.
    AnythingButText(Vec<Text>),
    /// A number in a range.
    Numeric(Range),
    /// An IP address in a block.
    Cidr(Cidr),
    /// A string.
    Text(Text),
}

/// A condition on a string. The ones that ignore case hold lower-case text.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    EqualsIgnoreCase(String),
    Wildcard(Wildcard),
}

/// One or two comparisons that must hold together.
#[derive(Clone, Debug)]
pub(super) struct Range(pub(super) Vec<Comparison>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Less(f64),
    AtMost(f64),
    Equal(f64),
    AtLeast(f64),
    Greater(f64),
}

/// Literal pieces with anything in between: one more piece than stars.
#[derive(Clone, Debug)]
pub(super) struct Wildcard(Vec<String>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Cidr {
    network: IpAddr,
    bits: u32,
}

impl Fields {
    /// Whether `value` matches; `None` is a value that is not there.
    pub(super) fn matches(&self, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().any(|item| self.matches(Some(item)))
            }
            _ => {
                let object = value.and_then(Value::as_object);
                let field = |name: &String| object.and_then(|object| object.get(name));
                self.fields
                    .iter()
                    .all(|(name, wanted)| wanted.matches(field(name)))
                    && self
                        .either
                        .iter()
                        .all(|branches| branches.iter().any(|branch| branch.matches(value)))
            }
        }
    }
}

impl Field {
    fn matches(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Nested(fields) => fields.matches(value),
            Self::AnyOf(matchers) => matchers.iter().any(|matcher| matcher.matches(value)),
        }
    }
}

impl Matcher {
    fn matches(&self, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().any(|item| self.matches(Some(item)))
            }
            // An object has fields, not a value; so has an empty array.
            None | Some(Value::Object(_) | Value::Array(_)) => matches!(self, Self::Exists(false)),
            Some(scalar) => self.accepts(scalar),
        }
    }

    fn accepts(&self, scalar: &Value) -> bool {
        match self {
            Self::Exact(wanted) => wanted == scalar,
            Self::Exists(exists) => *exists,
            Self::AnythingBut(values) => !values.contains(scalar),
            Self::AnythingButText(texts) => {
                let text = scalar.as_str();
                !text.is_some_and(|text| texts.iter().any(|wanted| wanted.accepts(text)))
            }
            Self::Numeric(range) => scalar.as_f64().is_some_and(|number| range.holds(number)),
            Self::Cidr(block) => scalar
                .as_str()
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| block.contains(address)),
            Self::Text(wanted) => scalar.as_str().is_some_and(|text| wanted.accepts(text)),
        }
    }
}

impl Text {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::PrefixIgnoreCase(prefix) => text.to_lowercase().starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::SuffixIgnoreCase(suffix) => text.to_lowercase().ends_with(suffix),
            Self::EqualsIgnoreCase(wanted) => text.to_lowercase() == *wanted,
            Self::Wildcard(wildcard) => wildcard.accepts(text),
        }
    }
}

impl Range {
    fn holds(&self, number: f64) -> bool {
        self.0.iter().all(|comparison| match *comparison {
            Comparison::Less(than) => number < than,
            Comparison::AtMost(limit) => number <= limit,
            #[expect(clippy::float_cmp, reason = "`=` means the same number")]
            Comparison::Equal(to) => number == to,
            Comparison::AtLeast(limit) => number >= limit,
            Comparison::Greater(than) => number > than,
        })
    }
}

impl Comparison {
    pub(super) fn parse(operator: &str, number: f64) -> Option<Self> {
        match operator {
            "<" => Some(Self::Less(number)),
            "<=" => Some(Self::AtMost(number)),
            "=" => Some(Self::Equal(number)),
            ">=" => Some(Self::AtLeast(number)),
            ">" => Some(Self::Greater(number)),
            _ => None,
        }
    }
}

impl Wildcard {
    /// Reads `*` as anything, `\*` and `\\` as themselves.
    pub(super) fn parse(pattern: &str) -> Result<Self, &'static str> {
        let mut pieces = vec![String::new()];
        let mut characters = pattern.chars();
        let mut after_star = false;
        while let Some(character) = characters.next() {
            let literal = match character {
                '*' if after_star => return Err("two stars in a row are not allowed"),
                '*' => {
                    pieces.push(String::new());
                    after_star = true;
                    continue;
                }
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    _ => return Err("a backslash escapes a star or a backslash"),
                },
                other => other,
            };
            after_star = false;
            if let Some(piece) = pieces.last_mut() {
                piece.push(literal);
            }
        }
        Ok(Self(pieces))
    }

    fn accepts(&self, text: &str) -> bool {
        let (first, rest) = self.0.split_first().expect("there is always a first piece");
        let Some(text) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return text.is_empty();
        };
        // The earliest place for each middle piece leaves the most room for the others.
        let mut left = text;
        for piece in middle {
            match left.find(piece.as_str()) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }
}

impl Cidr {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (network, bits) = text.split_once('/')?;
        let network: IpAddr = network.parse().ok()?;
        let bits: u32 = bits.parse().ok()?;
        (bits <= width(network)).then_some(Self { network, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let host_bits = width(self.network) - self.bits;
        let prefix = |address: IpAddr| number(address).checked_shr(host_bits).unwrap_or(0);
        self.network.is_ipv4() == address.is_ipv4() && prefix(self.network) == prefix(address)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}
