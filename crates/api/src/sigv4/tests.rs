use std::sync::Arc;

use access::{AccessKey, Keyring, Roles};
use clock::{ManualClock, Timestamp};
use http::Request;
use http::request::Parts;
use proptest::prelude::*;

use super::canonical::{Scope, Signed};
use super::{SignatureError, Signer, Verifier, scope_service};

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-11-20T12:36:00Z.
const NOW: i64 = 1_795_178_160_000;

fn verifier_at(millis: i64) -> Verifier {
    let clock = ManualClock::starting_at(Timestamp::from_millis(millis));
    let own = AccessKey::new(ID, SECRET);
    let keys = Keyring::new("000000000000", own, Roles::default());
    Verifier::new(Arc::new(keys), Arc::new(clock))
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "127.0.0.1:4566");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn authorization(signed_headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, \
         SignedHeaders={signed_headers}, Signature={signature}"
    )
}

#[test]
fn the_documented_example_has_the_documented_signature() {
    // "Example: GET request that lists IAM users", AWS general reference, 20150830.
    let request = Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
        .header("host", "iam.amazonaws.com")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header("x-amz-date", "20150830T123600Z")
        .body(())
        .unwrap();
    let names = ["content-type", "host", "x-amz-date"].map(str::to_owned);
    let signature = Signed {
        method: "GET",
        uri: request.uri(),
        headers: request.headers(),
        signed_headers: &names,
        payload_hash: &super::verify::hash(b""),
        scope: &Scope {
            day: "20150830".to_owned(),
            region: "us-east-1".to_owned(),
            service: "iam".to_owned(),
        },
        amz_date: "20150830T123600Z",
    }
    .signature(SECRET);
    assert_eq!(
        hex::encode(signature),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// Requests as botocore 1.43.11 signed them.
fn signed_by_botocore() -> Vec<(Parts, &'static [u8])> {
    let date = ("x-amz-date", "20261120T123600Z");
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af";
    let invoke = authorization(
        "host;x-amz-date;x-amz-invocation-type;x-amz-log-type",
        "164f087cb34d02cb6427e9a06b6f4e46eeefab510b7b0a550249c161b28e46ed",
    );
    let list = authorization(
        "host;x-amz-date",
        "85242a57b058b69e25f4a8c89302cb06bca68367718cd629932556181a2f0329",
    );
    let untag = authorization(
        "host;x-amz-date",
        "163e79fb7e5088a47822447f04d391ded7e0894666217525ccce29b08581576c",
    );
    vec![
        (
            parts(
                "POST",
                &format!("/2015-03-31/functions/{arn}/invocations?Qualifier=%24LATEST"),
                &[
                    date,
                    ("authorization", &invoke),
                    ("x-amz-invocation-type", "RequestResponse"),
                    ("x-amz-log-type", " Tail   me "),
                ],
            ),
            b"{\"a\":1}",
        ),
        (
            parts(
                "GET",
                "/2015-03-31/functions/?MaxItems=2&Marker=a%20b%2B%2F",
                &[date, ("authorization", &list)],
            ),
            b"",
        ),
        (
            parts(
                "DELETE",
                &format!("/2017-03-31/tags/{arn}?tagKeys=b&tagKeys=a"),
                &[date, ("authorization", &untag)],
            ),
            b"",
        ),
        (parts("GET", PRESIGNED, &[]), b""),
    ]
}

const PRESIGNED: &str = "/2015-03-31/functions/f?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
    X-Amz-Credential=AKIDEXAMPLE%2F20261120%2Fus-east-1%2Flambda%2Faws4_request&\
    X-Amz-Date=20261120T123600Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&\
    X-Amz-Signature=03fe8ff64cd6c12070f4799ad8e3e55bfe6a7c63a4c5ffcda565a24db572e16c";

#[test]
fn what_botocore_signs_is_believed() {
    for (parts, body) in signed_by_botocore() {
        let verified = verifier_at(NOW).verify("lambda", &parts, body).map(drop);
        assert_eq!(verified, Ok(()), "{}", parts.uri);
        assert_eq!(scope_service(&parts).as_deref(), Some("lambda"));
    }
}

#[test]
fn another_body_path_query_or_header_is_not() {
    let mismatch = Err(SignatureError::Mismatch);
    for (parts, body) in signed_by_botocore() {
        let verify = |parts: &Parts, body: &[u8]| {
            let verified = verifier_at(NOW).verify("lambda", parts, body);
            verified.map(drop)
        };
        assert_eq!(verify(&parts, b"{\"a\":2}"), mismatch);
        let mut other = parts.clone();
        other.uri = parts
            .uri
            .to_string()
            .replace("functions", "tags2")
            .parse()
            .unwrap();
        other.uri = other.uri.to_string().replace("/f", "/g").parse().unwrap();
        if other.uri != parts.uri {
            assert_eq!(verify(&other, body), mismatch);
        }
        let mut other = parts.clone();
        other.uri = format!("{}&more=1", parts.uri).parse().unwrap();
        assert_eq!(verify(&other, body), mismatch);
        let mut other = parts.clone();
        other.headers.insert("host", "evil".parse().unwrap());
        assert_eq!(verify(&other, body), mismatch);
    }
}

#[test]
fn time_is_kept_to_a_quarter_of_an_hour_and_to_the_life_of_what_was_presigned() {
    let minutes = |minutes: i64| NOW + minutes * 60_000;
    let requests = signed_by_botocore();
    let (header, header_body) = &requests[0];
    let verify = |at| {
        verifier_at(at)
            .verify("lambda", header, header_body)
            .map(drop)
    };
    assert_eq!(verify(minutes(15)), Ok(()));
    assert_eq!(verify(minutes(-15)), Ok(()));
    for at in [minutes(16), minutes(-16)] {
        assert!(matches!(verify(at), Err(SignatureError::Skewed { .. })));
    }
    let (presigned, _) = &requests[3];
    let verify = |at| verifier_at(at).verify("lambda", presigned, b"").map(drop);
    assert_eq!(verify(minutes(5)), Ok(()));
    let expired = verify(minutes(6)).unwrap_err();
    assert_eq!(expired.code(), "RequestExpired");
    assert!(verify(minutes(-16)).is_err());
}

#[test]
fn every_flaw_has_its_own_name() {
    let date = ("x-amz-date", "20261120T123600Z");
    let verify = |headers: &[(&str, &str)]| {
        let parts = parts("GET", "/", headers);
        verifier_at(NOW).verify("lambda", &parts, b"").unwrap_err()
    };
    let code = |error: SignatureError| (error.status().as_u16(), error.code());
    assert_eq!(
        code(verify(&[])),
        (403, "MissingAuthenticationTokenException")
    );
    assert_eq!(
        code(verify(&[("authorization", "Basic eDp5")])),
        (400, "IncompleteSignatureException")
    );
    let good = authorization("host;x-amz-date", &"0".repeat(64));
    assert_eq!(
        code(verify(&[("authorization", &good)])),
        (400, "IncompleteSignatureException")
    );
    assert_eq!(
        code(verify(&[date, ("authorization", &good)])),
        (403, "InvalidSignatureException")
    );
    let unknown = good.replace("AKIDEXAMPLE", "AKIDSTRANGER");
    assert_eq!(
        code(verify(&[date, ("authorization", &unknown)])),
        (403, "UnrecognizedClientException")
    );
    for wrong in [
        good.replace("/lambda/", "/s3/"),
        good.replace("20261120/", "20261119/"),
    ] {
        assert_eq!(
            code(verify(&[date, ("authorization", &wrong)])),
            (403, "InvalidSignatureException")
        );
    }
    let unhosted = good.replace("host;", "");
    assert!(
        verify(&[date, ("authorization", &unhosted)])
            .to_string()
            .contains("must include host")
    );
}

fn signer(service: &str) -> Signer<'_> {
    Signer {
        access_key_id: ID,
        secret_access_key: SECRET,
        region: "us-east-1",
        service,
    }
}

#[test]
fn a_stated_hash_is_held_against_the_body() {
    let mut request = Request::post("http://127.0.0.1:4566/x").body(()).unwrap();
    signer("lambda").sign(&mut request, b"one", Timestamp::from_millis(NOW));
    let parts = request.into_parts().0;
    let verify = |body| verifier_at(NOW).verify("lambda", &parts, body).map(drop);
    assert_eq!(verify(b"one"), Ok(()));
    assert_eq!(verify(b"two"), Err(SignatureError::Body));
}

#[test]
fn what_we_presign_is_what_botocore_presigns() {
    let life = std::time::Duration::from_secs(300);
    let path = "/2015-03-31/functions/f";
    let now = Timestamp::from_millis(NOW);
    let url = signer("lambda").presign("127.0.0.1:4566", path, now, life);
    assert_eq!(url, Some(format!("http://127.0.0.1:4566{PRESIGNED}")));
    assert_eq!(signer("lambda").presign("no host", path, now, life), None);
}

#[test]
fn a_secret_never_shows() {
    let shown = format!("{:?} {:?}", verifier_at(NOW), signer("lambda"));
    assert!(shown.contains(ID) && !shown.contains(SECRET));
}

proptest! {
    #[test]
    fn what_we_sign_we_believe(
        path in "(/[a-z%.:~-]{0,8}){1,4}", query in "([a-z]{1,3}=[a-z%+/ ]{0,4}&?){0,3}",
        body in proptest::collection::vec(any::<u8>(), 0..50), s3 in any::<bool>(),
    ) {
        let service = if s3 { "s3" } else { "lambda" };
        let uri = format!("http://127.0.0.1:4566{path}?{}", query.replace(' ', "%20"));
        let uri = uri.parse::<http::Uri>();
        prop_assume!(uri.is_ok());
        let mut request = Request::put(uri.unwrap()).header("x-amz-a", "b  c").body(()).unwrap();
        signer(service).sign(&mut request, &body, Timestamp::from_millis(NOW));
        let (parts, ()) = request.into_parts();
        let verified = verifier_at(NOW).verify(service, &parts, &body);
        prop_assert_eq!(verified.map(drop), Ok(()));
    }
}
