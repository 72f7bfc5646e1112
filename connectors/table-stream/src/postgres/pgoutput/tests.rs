use bytes::{BufMut as _, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// The server's side of the protocol, for the round trip.
fn encode(decoded: &Decoded) -> Bytes {
    let mut to = BytesMut::new();
    let tagged = |to: &mut BytesMut, tag: u8| {
        to.put_u8(tag);
        if let Some(xid) = decoded.xid {
            to.put_u32(xid);
        }
    };
    match &decoded.message {
        Message::Begin {
            commit,
            committed_at,
            xid,
        } => {
            to.put_u8(b'B');
            to.put_u64(commit.get());
            to.put_i64(committed_at.0);
            to.put_u32(*xid);
        }
        Message::Commit(commit) => {
            to.put_u8(b'C');
            put_commit(&mut to, commit);
        }
        Message::Relation(relation) => {
            tagged(&mut to, b'R');
            put_relation(&mut to, relation);
        }
        Message::Insert { relation, new } => {
            tagged(&mut to, b'I');
            to.put_u32(*relation);
            put_tuple(&mut to, b'N', new);
        }
        Message::Update { relation, old, new } => {
            tagged(&mut to, b'U');
            to.put_u32(*relation);
            old.iter().for_each(|old| put_old(&mut to, old));
            put_tuple(&mut to, b'N', new);
        }
        Message::Delete { relation, old } => {
            tagged(&mut to, b'D');
            to.put_u32(*relation);
            put_old(&mut to, old);
        }
        Message::Truncate { relations } => {
            tagged(&mut to, b'T');
            to.put_u32(u32::try_from(relations.len()).unwrap());
            to.put_u8(0);
            relations.iter().for_each(|oid| to.put_u32(*oid));
        }
        Message::StreamStart { xid } => {
            to.put_u8(b'S');
            to.put_u32(*xid);
            to.put_u8(1);
        }
        Message::StreamStop => to.put_u8(b'E'),
        Message::StreamCommit { xid, commit } => {
            to.put_u8(b'c');
            to.put_u32(*xid);
            put_commit(&mut to, commit);
        }
        Message::StreamAbort {
            xid,
            subtransaction,
        } => {
            to.put_u8(b'A');
            to.put_u32(*xid);
            to.put_u32(*subtransaction);
        }
        Message::Other => {
            tagged(&mut to, b'Y');
            to.put_slice(b"whatever");
        }
    }
    to.freeze()
}

fn put_commit(to: &mut BytesMut, commit: &Commit) {
    to.put_u8(0);
    to.put_u64(commit.at.get());
    to.put_u64(commit.end.get());
    to.put_i64(commit.committed_at.0);
}

fn put_relation(to: &mut BytesMut, relation: &Relation) {
    to.put_u32(relation.oid);
    for text in [&relation.schema, &relation.name] {
        to.put_slice(text.as_bytes());
        to.put_u8(0);
    }
    to.put_u8(match relation.identity {
        Identity::Default => b'd',
        Identity::Nothing => b'n',
        Identity::Full => b'f',
        Identity::Index => b'i',
    });
    to.put_u16(u16::try_from(relation.columns.len()).unwrap());
    for column in &relation.columns {
        to.put_u8(u8::from(column.role == Role::Key));
        to.put_slice(column.name.as_bytes());
        to.put_u8(0);
        to.put_u32(column.type_oid);
        to.put_i32(column.modifier);
    }
}

fn put_old(to: &mut BytesMut, old: &Old) {
    match old {
        Old::Key(tuple) => put_tuple(to, b'K', tuple),
        Old::Row(tuple) => put_tuple(to, b'O', tuple),
    }
}

fn put_tuple(to: &mut BytesMut, kind: u8, tuple: &Tuple) {
    to.put_u8(kind);
    to.put_u16(u16::try_from(tuple.len()).unwrap());
    for cell in tuple {
        match cell {
            Cell::Null => to.put_u8(b'n'),
            Cell::Unchanged => to.put_u8(b'u'),
            Cell::Text(text) => {
                to.put_u8(b't');
                to.put_u32(u32::try_from(text.len()).unwrap());
                to.put_slice(text);
            }
        }
    }
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let text = vec(any::<u8>(), 0..40).prop_map(|text| Cell::Text(text.into()));
    vec(
        prop_oneof![Just(Cell::Null), Just(Cell::Unchanged), text],
        0..6,
    )
}

fn old() -> impl Strategy<Value = Old> {
    prop_oneof![tuple().prop_map(Old::Key), tuple().prop_map(Old::Row)]
}

fn commit() -> impl Strategy<Value = Commit> {
    any::<(u64, u64, i64)>().prop_map(|(at, end, micros)| Commit {
        at: Lsn::new(at),
        end: Lsn::new(end),
        committed_at: Micros(micros),
    })
}

fn relation() -> impl Strategy<Value = Relation> {
    let identity = prop_oneof![
        Just(Identity::Default),
        Just(Identity::Nothing),
        Just(Identity::Full),
        Just(Identity::Index)
    ];
    let column = ("\\PC{1,20}", any::<u32>(), any::<i32>(), any::<bool>());
    let column = column.prop_map(|(name, type_oid, modifier, key)| Column {
        name,
        type_oid,
        modifier,
        role: if key { Role::Key } else { Role::Plain },
    });
    let names = ("\\PC{1,20}", "\\PC{1,20}");
    (any::<u32>(), names, identity, vec(column, 0..6)).prop_map(
        |(oid, (schema, name), identity, columns)| Relation {
            oid,
            schema,
            name,
            identity,
            columns,
        },
    )
}

/// Messages that name their transaction within a streamed block.
fn change() -> impl Strategy<Value = Message> {
    prop_oneof![
        relation().prop_map(Message::Relation),
        (any::<u32>(), tuple()).prop_map(|(relation, new)| Message::Insert { relation, new }),
        (any::<u32>(), option::of(old()), tuple())
            .prop_map(|(relation, old, new)| Message::Update { relation, old, new }),
        (any::<u32>(), old()).prop_map(|(relation, old)| Message::Delete { relation, old }),
        vec(any::<u32>(), 0..5).prop_map(|relations| Message::Truncate { relations }),
        Just(Message::Other),
    ]
}

fn frame() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<(u64, i64, u32)>().prop_map(|(commit, micros, xid)| Message::Begin {
            commit: Lsn::new(commit),
            committed_at: Micros(micros),
            xid,
        }),
        commit().prop_map(Message::Commit),
        any::<u32>().prop_map(|xid| Message::StreamStart { xid }),
        Just(Message::StreamStop),
        (any::<u32>(), commit()).prop_map(|(xid, commit)| Message::StreamCommit { xid, commit }),
        any::<(u32, u32)>().prop_map(|(xid, subtransaction)| Message::StreamAbort {
            xid,
            subtransaction
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_is_read_back(message in prop_oneof![change(), frame()]) {
        let decoded = Decoded { xid: None, message };
        prop_assert_eq!(decode(encode(&decoded), Within::Plain), Ok(decoded));
    }

    #[test]
    fn a_streamed_change_names_its_transaction(xid: u32, message in change()) {
        let decoded = Decoded { xid: Some(xid), message };
        prop_assert_eq!(decode(encode(&decoded), Within::Stream), Ok(decoded));
    }

    #[test]
    fn a_message_cut_short_is_refused(message in frame(), cut in 1usize..8) {
        let bytes = encode(&Decoded { xid: None, message });
        let short = bytes.slice(..bytes.len().saturating_sub(cut));
        prop_assert!(decode(short, Within::Plain).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        for within in [Within::Plain, Within::Stream] {
            let _ = decode(bytes.clone().into(), within);
        }
    }
}

fn hex(text: &str) -> Bytes {
    hex::decode(text.replace(' ', "")).unwrap().into()
}

fn golden(text: &str) -> Message {
    decode(hex(text), Within::Plain).unwrap().message
}

/// What PostgreSQL 15 sent for
/// `CREATE TABLE golden (id int PRIMARY KEY, note text); INSERT INTO golden VALUES (7, 'ü');
/// UPDATE golden SET id = 8, note = NULL; DELETE FROM golden; TRUNCATE golden`.
#[test]
fn golden_bytes_of_postgresql_15() {
    let text = |text: &'static str| Cell::Text(Bytes::from_static(text.as_bytes()));
    assert_eq!(
        golden("42 00000000015290b0 000303c227d97e82 000002d6"),
        Message::Begin {
            commit: Lsn::new(0x015290b0),
            committed_at: Micros(0x0003_03c2_27d9_7e82),
            xid: 726,
        }
    );
    let column = |name: &str, type_oid, role| Column {
        name: name.to_owned(),
        type_oid,
        modifier: -1,
        role,
    };
    assert_eq!(
        golden(
            "52 00004000 7075626c696300 676f6c64656e00 64 0002 01 696400 00000017 ffffffff \
             00 6e6f746500 00000019 ffffffff"
        ),
        Message::Relation(Relation {
            oid: 16384,
            schema: "public".to_owned(),
            name: "golden".to_owned(),
            identity: Identity::Default,
            columns: vec![column("id", 23, Role::Key), column("note", 25, Role::Plain)],
        })
    );
    assert_eq!(
        golden("49 00004000 4e 0002 74 00000001 37 74 00000002 c3bc"),
        Message::Insert {
            relation: 16384,
            new: vec![text("7"), text("ü")],
        }
    );
    assert_eq!(
        golden("55 00004000 4b 0002 74 00000001 37 6e 4e 0002 74 00000001 38 6e"),
        Message::Update {
            relation: 16384,
            old: Some(Old::Key(vec![text("7"), Cell::Null])),
            new: vec![text("8"), Cell::Null],
        }
    );
    assert_eq!(
        golden("44 00004000 4b 0002 74 00000001 38 6e"),
        Message::Delete {
            relation: 16384,
            old: Old::Key(vec![text("8"), Cell::Null]),
        }
    );
    assert_eq!(
        golden("54 00000001 00 00004000"),
        Message::Truncate {
            relations: vec![16384],
        }
    );
    assert_eq!(
        golden("43 00 00000000015290b0 00000000015290e0 000303c227d97e82"),
        Message::Commit(Commit {
            at: Lsn::new(0x015290b0),
            end: Lsn::new(0x015290e0),
            committed_at: Micros(0x0003_03c2_27d9_7e82),
        })
    );
}
