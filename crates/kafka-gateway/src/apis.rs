//! Which requests are served, and in which versions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

/// The versions of one API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) api: ApiKey,
    /// What clients are told.
    advertised_from: i16,
    /// What is decoded; lower than this is refused.
    pub(crate) from: i16,
    /// The last version, inclusive.
    pub(crate) to: i16,
}

const fn served(api: ApiKey, from: i16, to: i16) -> Served {
    Served {
        api,
        advertised_from: from,
        from,
        to,
    }
}

/// Every API that is served. ACLs, quotas and telemetry are not there; clients fall back or say so.
///
/// Produce is advertised from 0 although 3 is the lowest that carries v2 batches: librdkafka before
/// 2.9 stops compressing when it sees a higher floor (KAFKA-18659).
pub(crate) const SERVED: &[Served] = &[
    Served {
        api: ApiKey::Produce,
        advertised_from: 0,
        from: 3,
        to: 11,
    },
    served(ApiKey::Fetch, 4, 16),
    served(ApiKey::ListOffsets, 1, 7),
    served(ApiKey::Metadata, 0, 12),
    served(ApiKey::OffsetCommit, 2, 9),
    served(ApiKey::OffsetFetch, 1, 9),
    served(ApiKey::FindCoordinator, 0, 4),
    served(ApiKey::JoinGroup, 0, 9),
    served(ApiKey::Heartbeat, 0, 4),
    served(ApiKey::LeaveGroup, 0, 5),
    served(ApiKey::SyncGroup, 0, 5),
    served(ApiKey::DescribeGroups, 0, 5),
    served(ApiKey::ListGroups, 0, 5),
    served(ApiKey::SaslHandshake, 0, 1),
    served(ApiKey::ApiVersions, 0, 4),
    served(ApiKey::CreateTopics, 2, 7),
    served(ApiKey::DeleteTopics, 1, 6),
    served(ApiKey::DeleteRecords, 0, 2),
    served(ApiKey::InitProducerId, 0, 5),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4),
    served(ApiKey::AddPartitionsToTxn, 0, 3),
    served(ApiKey::AddOffsetsToTxn, 0, 4),
    served(ApiKey::TxnOffsetCommit, 0, 4),
    served(ApiKey::EndTxn, 0, 4),
    served(ApiKey::DescribeConfigs, 1, 4),
    served(ApiKey::AlterConfigs, 0, 2),
    served(ApiKey::DescribeLogDirs, 1, 4),
    served(ApiKey::SaslAuthenticate, 0, 2),
    served(ApiKey::CreatePartitions, 0, 3),
    served(ApiKey::DeleteGroups, 0, 2),
    served(ApiKey::IncrementalAlterConfigs, 0, 1),
    served(ApiKey::OffsetDelete, 0, 0),
    served(ApiKey::DescribeCluster, 0, 1),
    served(ApiKey::DescribeProducers, 0, 0),
    served(ApiKey::DescribeTransactions, 0, 0),
    served(ApiKey::ListTransactions, 0, 2),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    served(ApiKey::ConsumerGroupDescribe, 0, 1),
    served(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The entry of `api`, when it is served at all.
pub(crate) fn find(api: ApiKey) -> Option<Served> {
    SERVED.iter().copied().find(|served| served.api == api)
}

impl Served {
    /// Whether requests of this version are decoded.
    pub(crate) fn takes(self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

/// The answer to `ApiVersions`.
pub(crate) fn versions() -> ApiVersionsResponse {
    let keys = SERVED.iter().map(|served| {
        ApiVersion::default()
            .with_api_key(served.api as i16)
            .with_min_version(served.advertised_from)
            .with_max_version(served.to)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}
