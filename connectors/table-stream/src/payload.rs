//! The shapes in which a change reaches functions.

mod dynamodb;

mod plain;

use bytes::Bytes;
use event::{Event, EventId, Header, SourceId};

use crate::change::{Act, Change, Field};
use crate::{Naming, Shape};

/// The event that carries `change`.
pub(crate) fn event(source: &SourceId, naming: &Naming, change: &Change<'_>) -> Event {
    let data = match naming.shape {
        Shape::DynamoDb => dynamodb::record(naming, change),
        Shape::Plain => plain::document(change),
    };
    let key = match change.act {
        Act::Truncate | Act::Gap => None,
        Act::Insert | Act::Read | Act::Modify | Act::Remove => Some(key(&change.keys)),
    };
    let snapshot = (change.act == Act::Read).then(|| Header {
        key: "tm-snapshot".to_owned(),
        value: Some(Bytes::from_static(b"true")),
    });
    Event {
        id: EventId::new(change.sequence.clone()),
        source: source.clone(),
        kind: format!("tidemill.table.{}", change.act.word()),
        subject: Some(change.table.to_string()),
        time: change.at,
        key,
        content_type: Some("application/json".to_owned()),
        data: Some(data.into()),
        extensions: snapshot.into_iter().collect(),
    }
}

/// The key of a row's records.
pub(crate) fn key(fields: &[Field<'_>]) -> Bytes {
    plain::object(fields).into()
}

/// Writes `text` as a JSON string.
fn string(to: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(to, text).expect("writing text to memory cannot fail");
}

/// Writes `items` with commas between them.
fn separated<T>(
    to: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            to.push(b',');
        }
        write(to, item);
    }
}
