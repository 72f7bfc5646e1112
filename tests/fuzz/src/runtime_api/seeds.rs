//! What runtimes and extensions say, and some who do not mean well.

use crate::plan::{long, short};

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
const REGISTER: &str = "POST /2020-01-01/extension/register HTTP/1.1\r\n";
const EVENT: &str = "GET /2020-01-01/extension/event/next HTTP/1.1\r\n\
    lambda-extension-identifier: \u{3}\r\n\r\n";
const SUBSCRIPTION: &str = r#"{"schemaVersion":"2022-12-13","types":["platform","function"],"buffering":{"maxItems":1000,"timeoutMs":25},"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:4243/in"}}"#;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let answer = |word: &str| post(&format!("invocation/\u{1}/{word}"), "", "{}");
    let register = |name: &str, events: &str| {
        let body = format!(r#"{{"events":[{events}]}}"#);
        let name = format!("lambda-extension-name: {name}\r\n");
        format!("{REGISTER}{name}{}", with_body(&body))
    };
    let subscribe = format!(
        "PUT /2022-07-01/telemetry HTTP/1.1\r\nlambda-extension-identifier: \u{3}\r\n{}",
        with_body(SUBSCRIPTION)
    );
    let chunked = "POST /2018-06-01/runtime/invocation/\u{1}/response HTTP/1.1\r\n\
        transfer-encoding: chunked\r\ntrailer: lambda-runtime-function-error-type\r\n\r\n\
        2\r\n{}\r\n0\r\nlambda-runtime-function-error-type: E\r\n\
        lambda-runtime-function-error-body: e30=\r\n\r\n";
    let endless = "POST /2018-06-01/runtime/invocation/\u{1}/response HTTP/1.1\r\n\
        content-length: 9000000\r\n\r\n";
    let failing = "POST /2018-06-01/runtime/init/error HTTP/1.1\r\ncontent-length: 5000000\r\n\r\n";
    let failed = post(
        "init/error",
        "lambda-runtime-function-error-type: E\r\n",
        "{}",
    );
    let untyped = post("invocation/\u{1}/error", "", r#"{"errorType":"E"}"#);
    let stale = post("invocation/\u{2}/response", "", "1");
    let stale_error = post("invocation/\u{2}/error", "", "1");
    vec![
        [says(0, NEXT), says(0, &answer("response")), deed(9)].concat(),
        [
            says(0, NEXT),
            says(0, &untyped),
            deed(9),
            says(0, NEXT),
            says(1, &stale),
        ]
        .concat(),
        [
            says(0, NEXT),
            says(1, NEXT),
            says(2, chunked),
            says(0, &stale),
        ]
        .concat(),
        says(0, &format!("{NEXT}{}{NEXT}{stale}", answer("response"))),
        [says(0, &failed), says(0, NEXT), says(1, &answer("error"))].concat(),
        [
            says(0, &register("outside", r#""INVOKE","SHUTDOWN""#)),
            vec![15],
            says(0, &subscribe),
            says(0, EVENT),
            says(1, NEXT),
            [vec![11], short(b"printed")].concat(),
            deed(12),
            says(1, &answer("response")),
            vec![15],
            deed(13),
            says(0, EVENT),
        ]
        .concat(),
        [
            says(0, &register("inside", r#""INVOKE""#)),
            deed(10),
            says(1, &subscribe),
        ]
        .concat(),
        [
            says(0, NEXT),
            says(0, &untyped),
            deed(9),
            says(0, NEXT),
            says(1, &stale_error),
        ]
        .concat(),
        // As much as nobody may say, and as much as some may, from many at once.
        (0..8)
            .flat_map(|peer| {
                let body = repeats(peer, 4900, &"x".repeat(1000));
                [says(peer, failing), body].concat()
            })
            .collect(),
        [
            says(0, NEXT),
            says(1, endless),
            repeats(1, 9000, &"x".repeat(1000)),
        ]
        .concat(),
        [
            says(0, NEXT),
            says(1, endless),
            repeats(1, 500, "xxxx"),
            deed(7 | 16),
            says(2, NEXT),
        ]
        .concat(),
        [
            says(0, NEXT),
            deed(8),
            deed(7),
            says(1, NEXT),
            says(1, &answer("response")),
        ]
        .concat(),
        repeats(0, 4000, "header: value\r\n"),
        [
            says(0, "GET / HTTP/1.1\r\n"),
            repeats(0, 4000, "a: b\r\n"),
            says(0, "\r\n"),
        ]
        .concat(),
        says(
            0,
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\norigin: http://a\r\n\r\n",
        ),
        says(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ]
}

fn post(resource: &str, headers: &str, body: &str) -> String {
    let body = with_body(body);
    format!("POST /2018-06-01/runtime/{resource} HTTP/1.1\r\n{headers}{body}")
}

fn with_body(body: &str) -> String {
    format!("content-length: {}\r\n\r\n{body}", body.len())
}

fn deed(deed: u8) -> Vec<u8> {
    vec![deed]
}

fn says(peer: u8, text: &str) -> Vec<u8> {
    [vec![peer << 4], long(text.as_bytes())].concat()
}

fn repeats(peer: u8, times: u16, text: &str) -> Vec<u8> {
    let times = times.to_le_bytes().to_vec();
    [vec![peer << 4 | 6], times, long(text.as_bytes())].concat()
}
