use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn record() -> impl Strategy<Value = Record> {
    let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (
        option::of(bytes()),
        option::of(bytes()),
        vec(("[a-z]{0,8}", option::of(bytes())), 0..3),
        0i64..4_000_000_000_000,
    )
        .prop_map(|(key, value, headers, millis)| Record {
            key,
            value,
            headers: headers
                .into_iter()
                .map(|(key, value)| event::Header { key, value })
                .collect(),
            timestamp: Timestamp::from_millis(millis),
        })
}

proptest! {
    #[test]
    fn records_survive_the_wire(records in vec(record(), 1..20), base in 0u64..1 << 40) {
        let batch = RecordBatch::of(&records).unwrap().at(Offset::new(base));
        let mut wire = batch.as_bytes().clone();
        let back = RecordBatch::take(&mut wire).unwrap();
        prop_assert!(wire.is_empty());
        let stored = back.records().unwrap();
        prop_assert_eq!(back.end_offset(), Offset::new(base + records.len() as u64));
        for (index, (stored, record)) in stored.into_iter().zip(records).enumerate() {
            prop_assert_eq!(stored.offset, Offset::new(base + index as u64));
            prop_assert_eq!(stored.record, record);
        }
    }

    #[test]
    fn no_flipped_bit_under_the_checksum_passes(records in vec(record(), 1..4), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut wire = BytesMut::from(&RecordBatch::of(&records).unwrap().as_bytes()[..]);
        let at = 21 + at.index(wire.len() - 21);
        wire[at] ^= 1 << bit;
        prop_assert!(RecordBatch::take(&mut wire.freeze()).is_err());
    }

    #[test]
    fn garbage_never_panics(garbage in vec(any::<u8>(), 0..300)) {
        let _ = RecordBatch::take(&mut Bytes::from(garbage));
    }
}

#[test]
fn a_batch_that_claims_more_records_than_bytes_is_refused() {
    let batch = RecordBatch::of_one(Record::new("x", Timestamp::default()));
    let mut lying = BytesMut::from(&batch.as_bytes()[..]);
    lying[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    lying[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    assert!(RecordBatch::take(&mut lying.freeze()).is_err());
}

#[test]
fn a_batch_of_countless_empty_headers_is_refused() {
    let mut record = Record::new("x", Timestamp::default());
    let empty = event::Header {
        key: String::new(),
        value: None,
    };
    record.headers = vec![empty; 100_001];
    let batch = RecordBatch::of_one(record);
    assert!(batch.records().is_err());
}
