//! Who gets in, and over what.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::MemoryLog;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, RequestKind, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::client::{Client, Served, call};
use super::samples::{self, Subject, text};
use crate::apis::SERVED;
use crate::{Advertised, Error, Gateway, GatewayConfig, Login, Security, Tls};

fn login() -> Option<Login> {
    Some(Login::new("somebody", "hush"))
}

async fn with_sasl() -> Served {
    Served::with(GatewayConfig {
        security: Security {
            tls: None,
            sasl: login().map(Into::into),
        },
        ..GatewayConfig::default()
    })
    .await
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn tls(certified: &CertifiedKey<rcgen::KeyPair>) -> Option<Tls> {
    let certificate = certified.cert.pem();
    let key = certified.signing_key.serialize_pem();
    Some(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap())
}

/// Connects as a client that trusts the certificate.
async fn connected(
    address: SocketAddr,
    certified: &CertifiedKey<rcgen::KeyPair>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn handshake<S>(client: &mut Client<S>, mechanism: &str) -> i16
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
    let answer = call!(client, SaslHandshake, 1, asked);
    assert_eq!(answer.mechanisms.len(), 3);
    answer.error_code
}

/// Proves by PLAIN; returns the error code.
async fn prove<S>(client: &mut Client<S>, version: i16, token: &'static [u8]) -> i16
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(token));
    let answer = call!(client, SaslAuthenticate, version, asked);
    assert_eq!(answer.session_lifetime_ms, 0);
    answer.error_code
}

async fn is_served<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    let body = samples::request(ApiKey::Metadata, 9, &Subject::default());
    client.call(ApiKey::Metadata, 9, &body).await;
}

#[tokio::test]
async fn a_client_that_proves_the_login_is_served() {
    let served = with_sasl().await;
    for version in 0..=2 {
        let mut client = served.client().await;
        call!(client, ApiVersions, 3, ApiVersionsRequest::default());
        assert_eq!(handshake(&mut client, "PLAIN").await, 0);
        assert_eq!(prove(&mut client, version, b"\0somebody\0hush").await, 0);
        is_served(&mut client).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_the_connection_closed() {
    let served = with_sasl().await;
    let failed = ResponseError::SaslAuthenticationFailed.code();
    for token in [&b"\0somebody\0hus"[..], b"\0nobody\0hush", b"nonsense"] {
        let mut client = served.client().await;
        handshake(&mut client, "PLAIN").await;
        assert_eq!(prove(&mut client, 2, token).await, failed);
        assert_eq!(client.receive_frame().await, None);
    }
    served.stop().await;
}

#[tokio::test]
async fn a_wrong_mechanism_is_told_and_the_connection_closed() {
    let served = with_sasl().await;
    let mut client = served.client().await;
    let code = handshake(&mut client, "GSSAPI").await;
    assert_eq!(code, ResponseError::UnsupportedSaslMechanism.code());
    assert_eq!(client.receive_frame().await, None);
    served.stop().await;
}

#[tokio::test]
async fn nothing_else_is_answered_before_a_client_is_known() {
    let served = with_sasl().await;
    for entry in SERVED {
        if matches!(entry.api, ApiKey::ApiVersions | ApiKey::SaslHandshake) {
            continue;
        }
        for begun in [false, true] {
            if begun && entry.api == ApiKey::SaslAuthenticate {
                continue;
            }
            let mut client = served.client().await;
            if begun {
                handshake(&mut client, "SCRAM-SHA-256").await;
            }
            let body = samples::request(entry.api, entry.to, &Subject::default());
            client.send(entry.api, entry.to, &body).await;
            assert_eq!(client.receive_frame().await, None, "{:?}", entry.api);
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn an_unknown_client_cannot_send_much() {
    let served = with_sasl().await;
    let mut client = served.client().await;
    client.stream.write_i32(20_000).await.unwrap();
    // The head of a SaslAuthenticate request.
    let head = [0, 36, 0, 2, 0, 0, 0, 1];
    client.stream.write_all(&head).await.unwrap();
    assert_eq!(client.receive_frame().await, None);
    served.stop().await;
}

#[tokio::test]
async fn version_0_of_the_handshake_is_followed_by_bare_tokens() {
    let served = with_sasl().await;
    for (token, known) in [(&b"\0somebody\0hush"[..], true), (b"\0somebody\0no", false)] {
        let mut client = served.client().await;
        let asked = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        call!(client, SaslHandshake, 0, asked);
        client.send_frame(token).await;
        if known {
            assert_eq!(client.receive_frame().await, Some(Bytes::new()));
            is_served(&mut client).await;
        } else {
            assert_eq!(client.receive_frame().await, None);
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn tls_carries_requests_of_every_size() {
    let certified = certificate();
    let served = Served::with(GatewayConfig {
        security: Security {
            tls: tls(&certified),
            sasl: login().map(Into::into),
        },
        ..GatewayConfig::default()
    })
    .await;
    let stream = connected(served.address, &certified).await.unwrap();
    let mut client = Client::over(stream);
    handshake(&mut client, "PLAIN").await;
    assert_eq!(prove(&mut client, 2, b"\0somebody\0hush").await, 0);
    is_served(&mut client).await;
    let many = Subject {
        records: vec![0; 3 << 20].into(),
        ..Subject::default()
    };
    let body = samples::request(ApiKey::Produce, 9, &many);
    client.call(ApiKey::Produce, 9, &body).await;
    is_served(&mut client).await;
    served.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_is_turned_away_and_disturbs_nobody() {
    let certified = certificate();
    let served = Served::with(GatewayConfig {
        security: Security {
            tls: tls(&certified),
            sasl: None,
        },
        ..GatewayConfig::default()
    })
    .await;
    let stream = connected(served.address, &certified).await.unwrap();
    let mut known = Client::over(stream);
    let mut plain = served.client().await;
    let body = RequestKind::ApiVersions(ApiVersionsRequest::default());
    plain.send(ApiKey::ApiVersions, 0, &body).await;
    let mut rest = Vec::new();
    // A TLS alert, maybe, then the end.
    let _ = plain.stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 16, "{rest:?}");
    let other = connected(served.address, &certificate()).await;
    assert!(other.is_err(), "a client that trusts somebody else");
    is_served(&mut known).await;
    served.stop().await;
}

#[tokio::test]
async fn other_addresses_need_sasl_tls_and_a_name() {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let open = async |security: Security, advertised: Option<Advertised>| {
        let config = GatewayConfig {
            security,
            advertised,
            ..GatewayConfig::default()
        };
        Gateway::bind(everywhere, config, MemoryLog::new())
            .await
            .map(|_| ())
    };
    let tls = tls(&certificate());
    let only_sasl = Security {
        tls: None,
        sasl: login().map(Into::into),
    };
    let only_tls = Security {
        tls: tls.clone(),
        sasl: None,
    };
    let both = Security {
        tls,
        sasl: login().map(Into::into),
    };
    for half in [Security::default(), only_sasl, only_tls] {
        let refused = open(half, None).await.unwrap_err();
        assert!(matches!(refused, Error::Exposed { .. }), "{refused}");
    }
    let refused = open(both.clone(), None).await.unwrap_err();
    assert!(matches!(refused, Error::NotAdvertised { .. }), "{refused}");
    let name = "tidemill:9092".parse().unwrap();
    open(both, Some(name)).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_waiting_one_is_not() {
    let served = Served::with(GatewayConfig {
        max_idle: Duration::from_millis(50),
        ..GatewayConfig::default()
    })
    .await;
    let mut waiting = served.client().await;
    let subject = Subject {
        topic: "quiet",
        ..Subject::default()
    };
    // Makes the topic.
    let body = samples::request(ApiKey::Metadata, 3, &subject);
    waiting.call(ApiKey::Metadata, 3, &body).await;
    let RequestKind::Fetch(fetch) = samples::request(ApiKey::Fetch, 4, &subject) else {
        panic!("not a fetch");
    };
    // Longer than silence is borne.
    let fetch = fetch.with_max_wait_ms(200);
    let answer = call!(waiting, Fetch, 4, fetch);
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert_eq!(waiting.receive_frame().await, None, "closed when silent");
    served.stop().await;
}

#[tokio::test]
async fn silent_strangers_keep_nobody_out() {
    let served = Served::with(GatewayConfig {
        security: Security {
            tls: None,
            sasl: login().map(Into::into),
        },
        max_connections: 16, // Four of them for strangers.
        ..GatewayConfig::default()
    })
    .await;
    let mut known = served.client().await;
    assert_eq!(handshake(&mut known, "PLAIN").await, 0);
    assert_eq!(prove(&mut known, 2, b"\0somebody\0hush").await, 0);
    let mut silent = Vec::new();
    for _ in 0..=4 {
        let mut stranger = served.client().await;
        call!(stranger, ApiVersions, 3, ApiVersionsRequest::default());
        silent.push(stranger);
    }
    assert_eq!(silent[0].receive_frame().await, None, "it made room");
    is_served(&mut known).await;
    let mut late = served.client().await;
    assert_eq!(handshake(&mut late, "PLAIN").await, 0);
    assert_eq!(prove(&mut late, 2, b"\0somebody\0hush").await, 0);
    is_served(&mut late).await;
    served.stop().await;
}
