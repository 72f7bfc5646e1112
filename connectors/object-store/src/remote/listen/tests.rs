use std::sync::Arc;

use clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A store, as far as it is listened to.
struct Stub(TcpListener);

impl Stub {
    async fn bind() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn hints(&self, silence: Duration) -> (BoxStream<'static, Hint>, ChannelWatch) {
        let place = S3Place {
            endpoint: format!("http://{}", self.0.local_addr().unwrap()),
            region: "us-east-1".to_owned(),
            bucket: "in".to_owned(),
            access_key_id: "id".to_owned(),
            secret_access_key: "hush".to_owned(),
        };
        let clock = Arc::new(SystemClock::new());
        listening(place, Some("a/"), clock, silence).unwrap()
    }

    /// The next request, and the connection that it came on.
    async fn asked(&self) -> (String, TcpStream) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), stream)
    }

    /// The next connection, answered without an end.
    async fn heard(&self) -> TcpStream {
        let (_, mut stream) = self.asked().await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        )
        .await;
        stream
    }
}

async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

fn line(key: &str) -> String {
    let record = format!(r#"{{"s3":{{"bucket":{{"name":"in"}},"object":{{"key":"{key}"}}}}}}"#);
    format!("{{\"Records\":[{record}]}}\n")
}

fn object(key: &str) -> Option<Hint> {
    Some(Hint::Object(key.to_owned()))
}

#[tokio::test]
async fn what_comes_on_the_connection_is_a_hint_at_each_object() {
    let stub = Stub::bind().await;
    let (mut hints, watch) = stub.hints(SILENCE);
    let store = async {
        let (head, mut stream) = stub.asked().await;
        assert!(
            head.starts_with(
                "GET /in?events=s3%3AObjectCreated%3A%2A&events=s3%3AObjectRemoved%3A%2A&ping=2&prefix=a%2F HTTP/1.1\r\n"
            ),
            "{head}"
        );
        assert!(head.contains("AWS4-HMAC-SHA256 Credential=id/"), "{head}");
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\n\r\n  \n {\"Records\":null}\n ",
        )
        .await;
        let (one, two) = (line("a/1"), line("a/b+c"));
        let (begins, ends) = two.split_at(20);
        write(&mut stream, &format!("  {one}{begins}")).await;
        tokio::task::yield_now().await;
        write(&mut stream, &format!("{ends}nothing\n{}", line("a/2"))).await;
        stream
    };
    let (stream, first) = tokio::join!(store, hints.next());
    assert_eq!(first, Some(Hint::Anything));
    for key in ["a/1", "a/b+c", "a/b c", "a/2"] {
        assert_eq!(hints.next().await, object(key));
    }
    let state = watch.state().unwrap();
    assert_eq!((state.broken, state.refused.unwrap().count), (None, 1));
    drop(stream);
}

#[tokio::test]
async fn after_a_connection_that_ends_or_falls_silent_there_is_another_and_everything_is_looked_at()
{
    let stub = Stub::bind().await;
    let (mut hints, watch) = stub.hints(Duration::from_millis(200));
    let mut silent = Vec::new();
    for round in 0..3 {
        let (mut stream, hint) = tokio::join!(stub.heard(), hints.next());
        assert_eq!(hint, Some(Hint::Anything));
        write(&mut stream, &line("a/1")).await;
        assert_eq!(hints.next().await, object("a/1"));
        if round == 0 {
            silent.push(stream);
        }
    }
    // That is what connections do.
    assert_eq!(watch.state(), Some(Default::default()));
}

#[tokio::test]
async fn a_store_that_refuses_or_has_no_such_api_is_told_of_at_once() {
    let refusal = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let listing = "<ListBucketResult></ListBucketResult>";
    for (answer, told) in [
        (format!("403 -\r\n\r\n{refusal}"), "AccessDenied: no"),
        (
            format!("200 -\r\ncontent-type: application/xml\r\n\r\n{listing}"),
            "no listen API",
        ),
    ] {
        let stub = Stub::bind().await;
        let (mut hints, watch) = stub.hints(SILENCE);
        let store = async {
            let (_, mut stream) = stub.asked().await;
            write(&mut stream, &format!("HTTP/1.1 {answer}")).await;
            drop(stream);
            // It is asked again.
            stub.asked().await
        };
        tokio::select! {
            _ = store => {}
            hint = hints.next() => panic!("{hint:?}"),
        }
        let why = watch.state().unwrap().broken.unwrap().why;
        assert!(why.contains(told) && !why.contains("hush"), "{why}");
    }
}
