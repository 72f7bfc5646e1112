//! What PostgreSQL's text for a value means.
//!
//! Text is read under the settings that every connection of ours asks for: ISO dates, UTC, bytes in
//! hexadecimal. A type that neither JSON nor DynamoDB has a word for stays the text it is: times,
//! UUIDs, addresses, ranges, composites, enums.

use std::borrow::Cow;

use tokio_postgres::types::{Kind as TypeKind, Type};

use crate::change::Value;
use crate::table;

/// How to read a column's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Number,
    Text,
    Bytes,
    Json,
    /// An array of any number of dimensions.
    Array(Box<Kind>),
}

impl table::Kind for Kind {
    fn read<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>> {
        std::str::from_utf8(bytes).ok().map(|text| self.value(text))
    }
}

impl Kind {
    /// The kind of a type that every server has; `None` for one that somebody has made.
    pub(crate) fn of_built_in(oid: u32) -> Option<Self> {
        Type::from_oid(oid).map(|found| Self::of(&found))
    }

    fn of(of: &Type) -> Self {
        if let TypeKind::Array(item) = of.kind() {
            // A box is the one type whose arrays are not separated by commas.
            return match *item {
                Type::BOX => Self::Text,
                _ => Self::Array(Box::new(Self::of(item))),
            };
        }
        match *of {
            Type::BOOL => Self::Bool,
            Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::NUMERIC => Self::Number,
            Type::BYTEA => Self::Bytes,
            Type::JSON | Type::JSONB => Self::Json,
            // Foreign and open-ended.
            _ => Self::Text,
        }
    }

    /// The value that `text` stands for. Text that is not of the kind stays text.
    pub(crate) fn value<'a>(&self, text: &'a str) -> Value<'a> {
        match self {
            Self::Bool => match text {
                "t" => Value::Bool(true),
                "f" => Value::Bool(false),
                _ => Value::Text(text.into()),
            },
            // There is no number for `NaN` and the infinities in JSON, nor in DynamoDB.
            Self::Number if text.ends_with(|last: char| last.is_ascii_digit()) => {
                Value::Number(text.into())
            }
            Self::Number | Self::Text => Value::Text(text.into()),
            Self::Bytes => bytes(text).map_or_else(|| Value::Text(text.into()), Value::Bytes),
            Self::Json => Value::Json(text.into()),
            Self::Array(item) => array(text, item).unwrap_or_else(|| Value::Text(text.into())),
        }
    }

    fn read_owned(&self, text: Cow<'_, str>) -> Value<'static> {
        match self.value(&text) {
            Value::Null => Value::Null,
            Value::Bool(of) => Value::Bool(of),
            Value::Number(of) => Value::Number(Cow::Owned(of.into_owned())),
            Value::Text(of) => Value::Text(Cow::Owned(of.into_owned())),
            Value::Bytes(of) => Value::Bytes(of),
            Value::Json(of) => Value::Json(Cow::Owned(of.into_owned())),
            // Arrays have no arrays for items: dimensions are nested braces.
            Value::List(_) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |of: u8| char::from(of).to_digit(16);
    (digits.len() % 2 == 0).then_some(())?;
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok())
        .collect()
}

/// Reads `{1,"two",NULL,{…}}`, with bounds (`[0:1]={…}`) or without.
fn array<'a>(text: &'a str, item: &Kind) -> Option<Value<'a>> {
    let braces = match text.as_bytes().first()? {
        b'[' => text.split_once('=')?.1,
        _ => text,
    };
    let mut rest = braces;
    let list = list(&mut rest, item)?;
    rest.is_empty().then_some(list)
}

/// PostgreSQL has six dimensions at the most, which bounds the recursion.
fn list<'a>(rest: &mut &'a str, item: &Kind) -> Option<Value<'a>> {
    *rest = rest.strip_prefix('{')?;
    let mut items = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        return Some(Value::List(items));
    }
    loop {
        items.push(match rest.as_bytes().first()? {
            b'{' => list(rest, item)?,
            b'"' => item.read_owned(quoted(rest)?),
            _ => {
                let end = rest.find([',', '}'])?;
                let (bare, after) = rest.split_at(end);
                *rest = after;
                match bare {
                    "NULL" => Value::Null,
                    bare => item.read_owned(bare.into()),
                }
            }
        });
        let next = rest.chars().next()?;
        *rest = &rest[next.len_utf8()..];
        match next {
            ',' => {}
            '}' => return Some(Value::List(items)),
            _ => return None,
        }
    }
}

fn quoted(rest: &mut &str) -> Option<Cow<'static, str>> {
    let mut read = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                *rest = &rest[at + 1..];
                return Some(Cow::Owned(read));
            }
            '\\' => read.push(chars.next()?.1),
            char => read.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(of: &Type) -> Kind {
        Kind::of_built_in(of.oid()).unwrap()
    }

    fn text(of: &str) -> Value<'_> {
        Value::Text(of.into())
    }

    fn number(of: &str) -> Value<'_> {
        Value::Number(of.into())
    }

    #[test]
    fn what_no_number_can_say_is_text() {
        for of in [Type::NUMERIC, Type::FLOAT8] {
            assert_eq!(kind(&of).value("-1.50"), number("-1.50"));
            for odd in ["NaN", "Infinity", "-Infinity"] {
                assert_eq!(kind(&of).value(odd), text(odd));
            }
        }
    }

    #[test]
    fn arrays_are_read_with_their_dimensions_quotes_and_nulls() {
        assert_eq!(
            kind(&Type::INT4_ARRAY).value("{1,NULL,-3}"),
            Value::List(vec![number("1"), Value::Null, number("-3")])
        );
        assert_eq!(
            kind(&Type::TEXT_ARRAY).value(r#"{a,"b \"c\\,}","NULL",""}"#),
            Value::List(vec![text("a"), text("b \"c\\,}"), text("NULL"), text("")])
        );
        let row = |one, two| Value::List(vec![number(one), number(two)]);
        assert_eq!(
            kind(&Type::INT8_ARRAY).value("[0:1][1:2]={{1,2},{3,4}}"),
            Value::List(vec![row("1", "2"), row("3", "4")])
        );
        assert_eq!(kind(&Type::TEXT_ARRAY).value("{}"), Value::List(Vec::new()));
    }

    #[test]
    fn an_array_that_is_none_stays_text() {
        for odd in ["", "{", "{a", "{a,", "{\"a}", "{a}b", "[1:2]", "{\"a\"x}"] {
            assert_eq!(kind(&Type::TEXT_ARRAY).value(odd), text(odd));
        }
    }

    #[test]
    fn a_made_type_is_not_known_by_its_number() {
        assert_eq!(Kind::of_built_in(16_384), None);
    }

    proptest! {
        #[test]
        fn bytes_are_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written = format!("\\x{}", hex::encode(&bytes));
            prop_assert_eq!(kind(&Type::BYTEA).value(&written), Value::Bytes(bytes));
        }

        #[test]
        fn arbitrary_text_does_no_harm(of in "\\PC{0,40}", braces in "[\\[{][{}\",=a\\\\é]{0,20}") {
            for text in [of, braces] {
                for kind in [Type::TEXT_ARRAY, Type::BYTEA, Type::BOOL, Type::NUMERIC_ARRAY] {
                    let _ = super::tests::kind(&kind).value(&text);
                }
            }
        }
    }
}
