//! A change in the record shape of DynamoDB Streams, as Lambda hands it to functions: the object that
//! a handler finds in `Records[]` (Amazon DynamoDB API reference, `Record` and `AttributeValue`).
//!
//! Two things DynamoDB does not have: a truncated table and lost changes are records without keys
//! whose `eventName` is `TRUNCATE` and `GAP`, which mappings have to ask for; and `Unchanged` lists columns whose value the database
//! did not tell, which are absent from `NewImage`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{separated, string};
use crate::Naming;
use crate::change::{Act, Change, Field, Value};

/// Levels to which DynamoDB nests documents; what is deeper stays text.
const DEEPEST: usize = 32;

pub(super) fn record(naming: &Naming, change: &Change<'_>) -> Vec<u8> {
    let mut images = Vec::with_capacity(512);
    let keys = Some(&change.keys).filter(|keys| !keys.is_empty());
    for (name, fields) in [
        ("Keys", keys),
        ("NewImage", change.new.as_ref()),
        ("OldImage", change.old.as_ref()),
    ] {
        if let Some(fields) = fields {
            member(&mut images, name);
            image(&mut images, fields);
        }
    }
    let table = naming.short(change.table);
    let mut to = Vec::with_capacity(images.len() + 512);
    to.extend_from_slice(b"{\"eventID\":");
    string(&mut to, &change.sequence);
    for (name, text) in [
        ("eventName", name(change.act)),
        ("eventVersion", "1.1"),
        ("eventSource", "aws:dynamodb"),
        ("awsRegion", &naming.region),
    ] {
        member(&mut to, name);
        string(&mut to, text);
    }
    member(&mut to, "dynamodb");
    to.extend_from_slice(
        format!(
            "{{\"ApproximateCreationDateTime\":{}",
            change.at.as_millis().div_euclid(1000)
        )
        .as_bytes(),
    );
    to.extend_from_slice(&images);
    member(&mut to, "SequenceNumber");
    string(&mut to, &change.sequence);
    member(&mut to, "SizeBytes");
    to.extend_from_slice(images.len().to_string().as_bytes());
    member(&mut to, "StreamViewType");
    string(&mut to, view(change));
    if !change.unchanged.is_empty() {
        member(&mut to, "Unchanged");
        to.push(b'[');
        separated(&mut to, &change.unchanged, |to, name| string(to, name));
        to.push(b']');
    }
    to.push(b'}');
    member(&mut to, "eventSourceARN");
    let Naming {
        region,
        account,
        connection,
        ..
    } = naming;
    let arn = format!("arn:aws:dynamodb:{region}:{account}:table/{table}/stream/{connection}");
    string(&mut to, &arn);
    to.push(b'}');
    to
}

const fn name(act: Act) -> &'static str {
    match act {
        Act::Insert | Act::Read => "INSERT",
        Act::Modify => "MODIFY",
        Act::Remove => "REMOVE",
        Act::Truncate => "TRUNCATE",
        Act::Gap => "GAP",
    }
}

const fn view(change: &Change<'_>) -> &'static str {
    match (&change.new, &change.old) {
        (_, Some(_)) => "NEW_AND_OLD_IMAGES",
        (Some(_), None) => "NEW_IMAGE",
        (None, None) => "KEYS_ONLY",
    }
}

fn member(to: &mut Vec<u8>, name: &str) {
    to.push(b',');
    string(to, name);
    to.push(b':');
}

fn image(to: &mut Vec<u8>, fields: &[Field<'_>]) {
    to.push(b'{');
    separated(to, fields, |to, field| {
        string(to, field.name);
        to.push(b':');
        attribute(to, &field.value);
    });
    to.push(b'}');
}

fn attribute(to: &mut Vec<u8>, of: &Value<'_>) {
    match of {
        Value::Null => to.extend_from_slice(b"{\"NULL\":true}"),
        Value::Bool(true) => to.extend_from_slice(b"{\"BOOL\":true}"),
        Value::Bool(false) => to.extend_from_slice(b"{\"BOOL\":false}"),
        Value::Number(text) => typed(to, "N", text),
        Value::Text(text) => typed(to, "S", text),
        Value::Bytes(bytes) => typed(to, "B", &STANDARD.encode(bytes)),
        Value::Json(text) => document(to, text, 0),
        Value::List(items) => {
            to.extend_from_slice(b"{\"L\":[");
            separated(to, items, attribute);
            to.extend_from_slice(b"]}");
        }
    }
}

fn typed(to: &mut Vec<u8>, kind: &str, text: &str) {
    to.push(b'{');
    string(to, kind);
    to.push(b':');
    string(to, text);
    to.push(b'}');
}

/// A JSON document as attributes. Numbers keep every digit.
fn document(to: &mut Vec<u8>, json: &str, depth: usize) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') if depth < DEEPEST => match serde_json::from_str::<Members<'_>>(json) {
            Ok(Members(members)) => {
                to.extend_from_slice(b"{\"M\":{");
                separated(to, &members, |to, (name, value)| {
                    string(to, name);
                    to.push(b':');
                    document(to, value.get(), depth + 1);
                });
                to.extend_from_slice(b"}}");
            }
            Err(_) => typed(to, "S", json),
        },
        Some(b'[') if depth < DEEPEST => match serde_json::from_str::<Vec<&RawValue>>(json) {
            Ok(items) => {
                to.extend_from_slice(b"{\"L\":[");
                separated(to, items, |to, item| document(to, item.get(), depth + 1));
                to.extend_from_slice(b"]}");
            }
            Err(_) => typed(to, "S", json),
        },
        Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(json) {
            Ok(text) => typed(to, "S", &text),
            Err(_) => typed(to, "S", json),
        },
        Some(b't') => to.extend_from_slice(b"{\"BOOL\":true}"),
        Some(b'f') => to.extend_from_slice(b"{\"BOOL\":false}"),
        Some(b'n') => to.extend_from_slice(b"{\"NULL\":true}"),
        Some(b'-' | b'0'..=b'9') => typed(to, "N", json),
        _ => typed(to, "S", json),
    }
}

/// The members of an object in their order, values unread. Of a name that repeats, which `json`
/// allows and a map does not, the last one is kept, as PostgreSQL itself reads it.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match places.get(&name) {
                        Some(place) => members[*place].1 = value,
                        None => {
                            places.insert(name.clone(), members.len());
                            members.push((name, value));
                        }
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests;
