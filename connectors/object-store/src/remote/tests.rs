use clock::Timestamp;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that gives its answers one after the other, and keeps what it was asked.
struct Stub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn answering(answers: Vec<(u16, String)>) -> Self {
        // Clients take the one that is there, whichever test has put it there first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                heard.lock().push(String::from_utf8(head).unwrap());
                let answer = format!(
                    "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    fn s3(&self) -> Remote {
        let place = S3Place {
            endpoint: self.address.clone(),
            region: "us-east-1".to_owned(),
            bucket: "in".to_owned(),
            access_key_id: "id".to_owned(),
            secret_access_key: "hush".to_owned(),
        };
        Remote::s3(place).unwrap()
    }

    fn azure(&self, key: AzureKey) -> Remote {
        let place = AzurePlace {
            endpoint: format!("{}/ada", self.address),
            account: "ada".to_owned(),
            container: "in".to_owned(),
            key,
        };
        Remote::azure(place).unwrap()
    }

    fn gcs(&self) -> Remote {
        let account = r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;
        let place = GcsPlace {
            endpoint: self.address.clone(),
            bucket: "in".to_owned(),
            service_account: account.to_owned(),
        };
        Remote::gcs(place).unwrap()
    }
}

fn account_key() -> AzureKey {
    AzureKey::Account("aHVzaA==".to_owned())
}

fn s3_page(encoding: &str, key: &str, next: &str) -> (u16, String) {
    let body = format!(
        "<ListBucketResult>{encoding}<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>\
         <ETag>&quot;e&quot;</ETag><Size>3</Size></Contents>\
         <NextContinuationToken>{next}</NextContinuationToken></ListBucketResult>"
    );
    (200, body)
}

fn azure_page(names: &[&str], next: &str) -> (u16, String) {
    let blob = |name: &&str| {
        format!(
            "<Blob>{name}<Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x8D</Etag>\
             <Content-Length>3</Content-Length></Properties></Blob>"
        )
    };
    let blobs: String = names.iter().map(blob).collect();
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"in\">\
         <Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
    );
    (200, body)
}

fn gcs_page(items: &str, next: &str) -> (u16, String) {
    (
        200,
        format!("{{\"items\": [{items}], \"nextPageToken\": {next:?}}}"),
    )
}

fn gcs_item(name: &str, more: &str) -> String {
    format!(
        "{{\"name\": {name:?}, \"size\": \"3\", \"generation\": \"7\", \"timeCreated\": \"2026-01-02T03:04:05.678Z\"{more}}}"
    )
}

async fn keys(remote: &Remote) -> Vec<String> {
    let listed: Vec<Listed> = remote.all(Some("x y/")).try_collect().await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn a_listing_goes_on_where_a_page_has_ended() {
    let named = |name: &str| format!("<Name>{name}</Name>");
    let encoding = "<EncodingType>url</EncodingType>";
    let s3 = vec![s3_page(encoding, "a", "1 /+"), s3_page(encoding, "b", "")];
    // A page may be empty and not the last.
    let azure = vec![
        azure_page(&[&named("a")], "1 /+"),
        azure_page(&[], "2"),
        azure_page(&[&named("b")], ""),
    ];
    let gcs = vec![
        gcs_page(&gcs_item("a", ""), "1 /+"),
        gcs_page(&gcs_item("b", ""), ""),
    ];
    let with_key: fn(&Stub) -> Remote = |stub| stub.azure(account_key());
    for (answers, remote, prefix, after) in [
        (
            s3,
            Stub::s3 as fn(&Stub) -> Remote,
            "&prefix=x%20y%2F",
            "continuation-token",
        ),
        (azure, with_key, "&prefix=x%20y%2F", "marker"),
        (gcs, Stub::gcs, "&prefix=x%20y%2F", "pageToken"),
    ] {
        let stub = Stub::answering(answers).await;
        assert_eq!(keys(&remote(&stub)).await, ["a", "b"]);
        let asked = stub.asked();
        assert!(asked.iter().all(|it| it.contains(prefix)), "{asked:?}");
        assert!(!asked[0].contains(after), "{asked:?}");
        assert!(
            asked[1].contains(&format!("&{after}=1%20%2F%2B ")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn an_object_is_asked_for_by_itself_and_known_by_its_whole_key() {
    let page = |name: &str| gcs_page(&gcs_item(name, ""), "more");
    let stub = Stub::answering(vec![page("a/b"), page("a")]).await;
    let gcs = stub.gcs();
    assert_eq!(gcs.one("a").await.unwrap(), None);
    assert_eq!(gcs.one("a").await.unwrap().unwrap().key, "a");
    let asked = stub.asked();
    assert!(asked[1].contains("&maxResults=1&prefix=a "), "{asked:?}");
}

#[test]
fn keys_of_s3_are_read_byte_for_byte_however_they_travel() {
    let words = s3::S3Words::new(S3Place {
        endpoint: String::new(),
        region: String::new(),
        bucket: String::new(),
        access_key_id: String::new(),
        secret_access_key: String::new(),
    });
    let read = |encoding: &str, key: &str| words.page(&s3_page(encoding, key, "").1).unwrap();
    let encoding = "<EncodingType>url</EncodingType>";
    let found = read(encoding, "a//b/./c+d%2B%C3%BC%0A/").objects;
    let at = Timestamp::parse_rfc3339("2026-01-02T03:04:05.678Z").unwrap();
    let whole = Listed {
        key: "a//b/./c d+ü\n/".to_owned(),
        etag: Some("\"e\"".to_owned()),
        size: 3,
        modified: at,
    };
    assert_eq!(found, [whole]);
    assert_eq!(read("", " a+%2B ").objects[0].key, " a+%2B ");
    let empty = "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>";
    assert!(words.page(empty).unwrap().objects.is_empty());
}

#[tokio::test]
async fn names_of_azure_are_read_byte_for_byte_and_directories_left_out() {
    let names = [
        "<Name> a//b/./c+d%2B/ </Name>",
        "<Name Encoded=\"true\">a+%2B%EF%BF%BF</Name>",
        "<Name>&lt;&amp;&#x20;</Name>",
        "<Name Encoded=\"false\">%41</Name>",
    ];
    let (status, mut body) = azure_page(&names, "");
    body = body.replacen(
        "<Blobs>",
        "<Blobs><Blob><Name>a</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified>\
         <ResourceType>directory</ResourceType><Content-Length>0</Content-Length></Properties></Blob>",
        1,
    );
    let stub = Stub::answering(vec![(status, body)]).await;
    let azure = stub.azure(account_key());
    let listed: Vec<Listed> = azure.all(None).try_collect().await.unwrap();
    let keys: Vec<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, [" a//b/./c+d%2B/ ", "a++\u{ffff}", "<& ", "%41"]);
    assert_eq!(listed[0].etag.as_deref(), Some("0x8D"));
    assert_eq!(
        listed[0].modified,
        Timestamp::parse_rfc3339("2026-01-02T03:04:05Z").unwrap()
    );
    let asked = stub.asked().concat();
    assert!(asked.contains("authorization: SharedKey ada:"), "{asked}");
    assert!(
        asked.starts_with("GET /ada/in?restype=container&comp=list "),
        "{asked}"
    );
}

#[tokio::test]
async fn a_shared_access_signature_is_in_the_address_and_in_no_error() {
    let stub = Stub::answering(vec![(
        403,
        "<Error><Code>AuthenticationFailed</Code></Error>".to_owned(),
    )])
    .await;
    let signature = AzureKey::SharedAccessSignature("?sv=2023-11-03&sp=rl&sig=hu%2Bsh".to_owned());
    let azure = stub.azure(signature);
    let error = azure.one("a").await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }));
    let asked = stub.asked().concat();
    assert!(asked.contains("&sp=rl&sig=hu%2Bsh "), "{asked}");
    let told = format!("{error:?} {error} {azure:?}");
    assert!(
        told.contains("AuthenticationFailed") && !told.contains("sig="),
        "{told}"
    );
}

#[tokio::test]
async fn an_objects_tag_at_google_is_its_md5_and_else_its_generation() {
    let items = [
        gcs_item("a//b/", ", \"md5Hash\": \"1B2M2Y8AsgTpgAmY7PhCfg==\""),
        gcs_item("./c", ""),
    ];
    let stub = Stub::answering(vec![gcs_page(&items.join(","), "")]).await;
    let listed: Vec<Listed> = stub.gcs().all(None).try_collect().await.unwrap();
    let tags: Vec<_> = listed
        .iter()
        .map(|it| (it.key.as_str(), it.etag.as_deref()))
        .collect();
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(tags, [("a//b/", Some(md5)), ("./c", Some("7"))]);
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = || (503, "<Error><Code>SlowDown</Code></Error>".to_owned());
    let stub = Stub::answering(vec![busy(), busy(), s3_page("", "a", "")]).await;
    assert_eq!(keys(&stub.s3()).await, ["a"]);

    let refusal = "<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message><StringToSign>hush</StringToSign></Error>";
    let gone = r#"{"error": {"code": 404, "message": "The specified bucket does not exist.", "errors": [{"reason": "notFound"}]}}"#;
    let stub = Stub::answering(vec![(403, refusal.to_owned()), (404, gone.to_owned())]).await;
    let error = stub.s3().one("a").await.unwrap_err();
    let told = format!("{error:?}");
    assert!(matches!(error, Error::PermissionDenied { .. }));
    assert!(
        told.contains("SignatureDoesNotMatch: No. (the credentials") && !told.contains("hush"),
        "{told}"
    );
    let error = stub.gcs().one("a").await.unwrap_err().to_string();
    assert!(
        error.contains("404 notFound: The specified bucket does not exist. (make it there"),
        "{error}"
    );
}
