use kafka_protocol::messages::RequestKind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::apis::SERVED;
use crate::tests::samples::{self, Subject};

fn every_request() -> impl Iterator<Item = (ApiKey, i16, Bytes)> {
    SERVED.iter().flat_map(|served| {
        (served.from..=served.to).map(|version| {
            let body = samples::request(served.api, version, &Subject::default());
            let frame = samples::frame(served.api, version, 5, &body);
            (served.api, version, frame)
        })
    })
}

#[test]
fn every_shape_ends_where_the_codec_ends() {
    for (api, version, frame) in every_request() {
        let walked = scan::walk(&frame, api, version).unwrap();
        assert!(walked.rest.is_empty(), "{api:?} v{version}");
        let request = decode(frame).unwrap();
        assert_eq!(request.header.correlation, 5);
        assert_eq!(request.header.client_id, "sample");
    }
}

#[test]
fn a_frame_cut_off_anywhere_is_refused() {
    for (api, version, frame) in every_request() {
        for len in 0..frame.len() {
            let cut = decode(frame.slice(..len));
            assert!(cut.is_err(), "{api:?} v{version} cut to {len} bytes");
        }
    }
}

/// Without the scan the codec would ask for terabytes here, which ends the process.
#[test]
fn a_lying_count_anywhere_costs_nothing() {
    for lie in [
        &i32::MAX.to_be_bytes()[..],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x80, 0x80, 0x80, 0x08],
    ] {
        for (_, _, frame) in every_request() {
            for at in FIXED_HEADER..=frame.len().saturating_sub(lie.len()) {
                let mut lying = BytesMut::from(&frame[..]);
                lying[at..at + lie.len()].copy_from_slice(lie);
                // Some lies hit payload and pass; none may cost memory.
                let _ = decode(lying.freeze());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_request_makes_it_panic(
        which in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (_, _, frame) = which.get(&every_request().collect::<Vec<_>>()).clone();
        let mut damaged = BytesMut::from(&frame[..]);
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        // Damage may hit payload and pass.
        let _ = decode(damaged.freeze());
    }
}

#[test]
fn too_many_elements_are_refused() {
    let mut frame = BytesMut::new();
    frame.put_i16(ApiKey::DeleteGroups as i16);
    frame.put_i16(0);
    frame.put_i32(1);
    frame.put_i16(-1);
    frame.put_i32(200_000);
    for _ in 0..200_000 {
        frame.put_i16(0);
    }
    let refused = decode(frame.freeze());
    assert!(
        matches!(refused, Err(WireError::Malformed { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_unknown_tagged_field_is_skipped() {
    let body = samples::request(ApiKey::Metadata, 12, &Subject::default());
    let mut frame = BytesMut::from(&samples::frame(ApiKey::Metadata, 12, 1, &body)[..]);
    let last = frame.len() - 1;
    assert_eq!(frame[last], 0, "the request's own tagged fields");
    frame.truncate(last);
    frame.extend_from_slice(&[1, 77, 3, b'a', b'b', b'c']);
    let request = decode(frame.freeze()).unwrap();
    assert!(matches!(
        request.body,
        Body::Served(RequestKind::Metadata(_))
    ));
}

#[test]
fn an_api_that_is_not_served_is_named() {
    let mut frame = BytesMut::new();
    frame.put_i16(ApiKey::WriteTxnMarkers as i16);
    frame.put_i16(3);
    frame.put_i32(1);
    let refused = decode(frame.freeze()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "WriteTxnMarkers in version 3 is not served"
    );
}

#[test]
fn only_records_may_be_large() {
    let mut head = [0; FIXED_HEADER];
    assert_eq!(limit(&head, 100 << 20), 100 << 20);
    head[1] = ApiKey::Metadata as u8;
    assert_eq!(limit(&head, 100 << 20), 16 << 20);
}
