//! Clients that mean no good, and limits.

mod alone;
mod bombs;
mod claims;
mod damage;
mod patience;

use std::net::{Ipv4Addr, SocketAddr};

use event_log::MemoryLog;
use kafka_protocol::messages::{ApiKey, RequestKind};
use tokio::io::AsyncWriteExt;

use super::client::Served;
use super::samples::{self, Subject};
use crate::{Error, Gateway, GatewayConfig};

#[tokio::test]
async fn an_address_that_others_could_reach_is_refused() {
    let log = MemoryLog::new();
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let refused = Gateway::bind(everywhere, GatewayConfig::default(), log).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Exposed { .. }));
}

#[tokio::test]
async fn a_frame_of_an_impossible_length_closes_the_connection() {
    let served = Served::new().await;
    for len in [-1, 0, 7, (16 << 20) + 1, i32::MAX] {
        let mut client = served.client().await;
        client.stream.write_i32(len).await.unwrap();
        // The rest of a Metadata request's head; nothing of what was claimed follows.
        client
            .stream
            .write_all(&[0, 3, 0, 9, 0, 0, 0, 1])
            .await
            .unwrap();
        assert_eq!(client.receive_frame().await, None, "{len}");
    }
    served.stop().await;
}

#[tokio::test]
async fn garbage_closes_the_connection_and_disturbs_nobody_else() {
    let served = Served::new().await;
    let mut other = served.client().await;
    for frame in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 26, 0, 3, 0, 0, 0, 1, 0xff, 0xff],
        &[0x7f, 0xff, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        &[
            0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f,
        ],
    ] {
        let mut client = served.client().await;
        client.send_frame(frame).await;
        assert_eq!(client.receive_frame().await, None);
    }
    let body = samples::request(ApiKey::Metadata, 9, &Subject::default());
    other.call(ApiKey::Metadata, 9, &body).await;
    served.stop().await;
}

#[tokio::test]
async fn requests_before_garbage_are_answered() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let body = samples::request(ApiKey::Metadata, 9, &Subject::default());
    client.send(ApiKey::Metadata, 9, &body).await;
    client.send_frame(b"garbage!").await;
    client.receive(ApiKey::Metadata, 9).await;
    assert_eq!(client.receive_frame().await, None);
    served.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let served = Served::with(GatewayConfig {
        max_connections: 1,
        ..GatewayConfig::default()
    })
    .await;
    let body = RequestKind::ApiVersions(Default::default());
    let mut first = served.client().await;
    first.call(ApiKey::ApiVersions, 0, &body).await;
    let mut second = served.client().await;
    assert_eq!(second.receive_frame().await, None);
    first.call(ApiKey::ApiVersions, 0, &body).await;
    served.stop().await;
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_refused_by_name() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = GatewayConfig {
        default_partitions: 0,
        ..GatewayConfig::default()
    };
    let error = Gateway::bind(any, config, MemoryLog::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("default_partitions"), "{error}");
}
