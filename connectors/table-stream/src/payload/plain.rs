//! A change as plain JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{separated, string};
use crate::change::{Change, Field, Value};

/// `{"op":"modify","schema":"public","table":"orders","sequence":"…","time":"…","key":{…},
/// "before":{…},"after":{…},"unchanged":[…]}`. What a change does not have is absent.
pub(super) fn document(change: &Change<'_>) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    to.extend_from_slice(b"{\"op\":");
    string(&mut to, change.act.word());
    for (name, text) in [
        ("schema", change.table.schema.as_str()),
        ("table", &change.table.name),
        ("sequence", &change.sequence),
        ("time", &change.at.to_rfc3339()),
    ] {
        member(&mut to, name);
        string(&mut to, text);
    }
    let keys = Some(&change.keys).filter(|keys| !keys.is_empty());
    let images = [
        ("key", keys),
        ("before", change.old.as_ref()),
        ("after", change.new.as_ref()),
    ];
    for (name, fields) in images {
        if let Some(fields) = fields {
            member(&mut to, name);
            to.extend_from_slice(&object(fields));
        }
    }
    if !change.unchanged.is_empty() {
        member(&mut to, "unchanged");
        to.push(b'[');
        separated(&mut to, &change.unchanged, |to, name| string(to, name));
        to.push(b']');
    }
    to.push(b'}');
    to
}

/// Columns as one JSON object, in their order.
pub(super) fn object(fields: &[Field<'_>]) -> Vec<u8> {
    let mut to = vec![b'{'];
    separated(&mut to, fields, |to, field| {
        string(to, field.name);
        to.push(b':');
        value(to, &field.value);
    });
    to.push(b'}');
    to
}

fn member(to: &mut Vec<u8>, name: &str) {
    to.push(b',');
    string(to, name);
    to.push(b':');
}

fn value(to: &mut Vec<u8>, of: &Value<'_>) {
    match of {
        Value::Null => to.extend_from_slice(b"null"),
        Value::Bool(true) => to.extend_from_slice(b"true"),
        Value::Bool(false) => to.extend_from_slice(b"false"),
        Value::Number(text) | Value::Json(text) => to.extend_from_slice(text.as_bytes()),
        Value::Text(text) => string(to, text),
        Value::Bytes(bytes) => string(to, &STANDARD.encode(bytes)),
        Value::List(items) => {
            to.push(b'[');
            separated(to, items, value);
            to.push(b']');
        }
    }
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;

    use super::*;
    use crate::change::{Act, TableName};

    #[test]
    fn a_change_is_one_object_without_what_it_lacks() {
        let table = TableName {
            schema: "public".to_owned(),
            name: "orders".to_owned(),
        };
        let field = |name, value| Field { name, value };
        let change = Change {
            act: Act::Modify,
            table: &table,
            keys: vec![field("id", Value::Number("7".into()))],
            new: Some(vec![
                field("id", Value::Number("7".into())),
                field("doc", Value::Json("{\"a\": 1.50}".into())),
                field("raw", Value::Bytes(vec![0, 255])),
                field(
                    "tags",
                    Value::List(vec![Value::Text("\"".into()), Value::Null]),
                ),
            ]),
            old: None,
            unchanged: vec!["body"],
            sequence: "12".to_owned(),
            at: Timestamp::from_millis(0),
        };
        assert_eq!(
            String::from_utf8(document(&change)).unwrap(),
            "{\"op\":\"modify\",\"schema\":\"public\",\"table\":\"orders\",\"sequence\":\"12\",\
             \"time\":\"1970-01-01T00:00:00.000Z\",\"key\":{\"id\":7},\"after\":{\"id\":7,\
             \"doc\":{\"a\": 1.50},\"raw\":\"AP8=\",\"tags\":[\"\\\"\",null]},\
             \"unchanged\":[\"body\"]}"
        );
    }
}
