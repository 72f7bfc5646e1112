//! The shapes of the requests that are served.
//!
//! From the schemas in Apache Kafka's `clients/src/main/resources/common/message`; fields that
//! lie wholly outside the served versions are left out. A test holds every shape against the codec.

use kafka_protocol::messages::ApiKey;

use super::scan::Kind::{Blob, Each, Fixed, List, Maybe, One, Text};
use super::scan::{Field, Kind, Shape};

const LAST: i16 = i16::MAX;

const fn since(from: i16, kind: Kind) -> Field {
    Field {
        from,
        to: LAST,
        kind,
    }
}

const fn until(to: i16, kind: Kind) -> Field {
    Field { from: 0, to, kind }
}

const fn within(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

const fn always(kind: Kind) -> Field {
    since(0, kind)
}

const fn of(fields: &'static [Field]) -> Shape {
    Shape { fields, tags: &[] }
}

const BOOL: Kind = Fixed(1);
const INT8: Kind = Fixed(1);
const INT16: Kind = Fixed(2);
const INT32: Kind = Fixed(4);
const INT64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);
const INT32S: Kind = List(&INT32);
const TEXTS: Kind = List(&Text);

const EMPTY: Shape = of(&[]);

const API_VERSIONS: Shape = of(&[since(3, Text), since(3, Text)]);

const SASL_HANDSHAKE: Shape = of(&[always(Text)]);

const SASL_AUTHENTICATE: Shape = of(&[always(Blob)]);

const METADATA: Shape = of(&[
    always(Each(&of(&[since(10, UUID), always(Text)]))),
    since(4, BOOL),
    within(8, 10, BOOL),
    since(8, BOOL),
]);

const PRODUCE: Shape = of(&[
    always(Text),
    always(INT16),
    always(INT32),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[always(INT32), always(Blob)]))),
    ]))),
]);

const FETCH: Shape = Shape {
    fields: &[
        until(14, INT32),
        always(INT32),
        always(INT32),
        always(INT32),
        always(INT8),
        since(7, INT32),
        since(7, INT32),
        always(Each(&of(&[
            until(12, Text),
            since(13, UUID),
            always(Each(&of(&[
                always(INT32),
                since(9, INT32),
                always(INT64),
                since(12, INT32),
                since(5, INT64),
                always(INT32),
            ]))),
        ]))),
        since(
            7,
            Each(&of(&[until(12, Text), since(13, UUID), always(INT32S)])),
        ),
        since(11, Text),
    ],
    tags: &[
        (0, Text),
        (1, One(&of(&[since(15, INT32), since(15, INT64)]))),
    ],
};

const LIST_OFFSETS: Shape = of(&[
    always(INT32),
    since(2, INT8),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[always(INT32), since(4, INT32), always(INT64)]))),
    ]))),
]);

const FIND_COORDINATOR: Shape = of(&[until(3, Text), since(1, INT8), since(4, TEXTS)]);

const JOIN_GROUP: Shape = of(&[
    always(Text),
    always(INT32),
    since(1, INT32),
    always(Text),
    since(5, Text),
    always(Text),
    always(Each(&of(&[always(Text), always(Blob)]))),
    since(8, Text),
]);

const SYNC_GROUP: Shape = of(&[
    always(Text),
    always(INT32),
    always(Text),
    since(3, Text),
    since(5, Text),
    since(5, Text),
    always(Each(&of(&[always(Text), always(Blob)]))),
]);

const HEARTBEAT: Shape = of(&[always(Text), always(INT32), always(Text), since(3, Text)]);

const LEAVE_GROUP: Shape = of(&[
    always(Text),
    until(2, Text),
    since(3, Each(&of(&[always(Text), always(Text), since(5, Text)]))),
]);

const OFFSET_COMMIT: Shape = of(&[
    always(Text),
    always(INT32),
    always(Text),
    since(7, Text),
    until(4, INT64),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[
            always(INT32),
            always(INT64),
            since(6, INT32),
            always(Text),
        ]))),
    ]))),
]);

const OFFSET_FETCH_TOPIC: Shape = of(&[always(Text), always(INT32S)]);

const OFFSET_FETCH: Shape = of(&[
    until(7, Text),
    until(7, Each(&OFFSET_FETCH_TOPIC)),
    since(
        8,
        Each(&of(&[
            always(Text),
            since(9, Text),
            since(9, INT32),
            always(Each(&OFFSET_FETCH_TOPIC)),
        ])),
    ),
    since(7, BOOL),
]);

const OFFSET_DELETE: Shape = of(&[
    always(Text),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[always(INT32)]))),
    ]))),
]);

const DESCRIBE_LOG_DIRS: Shape = of(&[always(Each(&of(&[always(Text), always(INT32S)])))]);

const LIST_GROUPS: Shape = of(&[since(4, TEXTS), since(5, TEXTS)]);

const DESCRIBE_GROUPS: Shape = of(&[always(TEXTS), since(3, BOOL)]);

const DELETE_GROUPS: Shape = of(&[always(TEXTS)]);

const CREATE_TOPICS: Shape = of(&[
    always(Each(&of(&[
        always(Text),
        always(INT32),
        always(INT16),
        always(Each(&of(&[always(INT32), always(INT32S)]))),
        always(Each(&of(&[always(Text), always(Text)]))),
    ]))),
    always(INT32),
    always(BOOL),
]);

const DELETE_TOPICS: Shape = of(&[
    since(6, Each(&of(&[always(Text), always(UUID)]))),
    until(5, TEXTS),
    always(INT32),
]);

const CREATE_PARTITIONS: Shape = of(&[
    always(Each(&of(&[
        always(Text),
        always(INT32),
        always(Each(&of(&[always(INT32S)]))),
    ]))),
    always(INT32),
    always(BOOL),
]);

const INIT_PRODUCER_ID: Shape = of(&[
    always(Text),
    always(INT32),
    since(3, INT64),
    since(3, INT16),
]);

const ADD_PARTITIONS_TO_TXN: Shape = of(&[
    always(Text),
    always(INT64),
    always(INT16),
    always(Each(&of(&[always(Text), always(INT32S)]))),
]);

const ADD_OFFSETS_TO_TXN: Shape = of(&[always(Text), always(INT64), always(INT16), always(Text)]);

const TXN_OFFSET_COMMIT: Shape = of(&[
    always(Text),
    always(Text),
    always(INT64),
    always(INT16),
    since(3, INT32),
    since(3, Text),
    since(3, Text),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[
            always(INT32),
            always(INT64),
            since(2, INT32),
            always(Text),
        ]))),
    ]))),
]);

const END_TXN: Shape = of(&[always(Text), always(INT64), always(INT16), always(BOOL)]);

const DESCRIBE_PRODUCERS: Shape = of(&[always(Each(&of(&[always(Text), always(INT32S)])))]);

const DESCRIBE_TRANSACTIONS: Shape = of(&[always(TEXTS)]);

const LIST_TRANSACTIONS: Shape = of(&[
    always(TEXTS),
    always(List(&INT64)),
    since(1, INT64),
    since(2, Text),
]);

const OFFSET_FOR_LEADER_EPOCH: Shape = of(&[
    since(3, INT32),
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[always(INT32), always(INT32), always(INT32)]))),
    ]))),
]);

const DESCRIBE_CONFIGS: Shape = of(&[
    always(Each(&of(&[always(INT8), always(Text), always(TEXTS)]))),
    always(BOOL),
    since(3, BOOL),
]);

const ALTER_CONFIGS: Shape = of(&[
    always(Each(&of(&[
        always(INT8),
        always(Text),
        always(Each(&of(&[always(Text), always(Text)]))),
    ]))),
    always(BOOL),
]);

const INCREMENTAL_ALTER_CONFIGS: Shape = of(&[
    always(Each(&of(&[
        always(INT8),
        always(Text),
        always(Each(&of(&[always(Text), always(INT8), always(Text)]))),
    ]))),
    always(BOOL),
]);

const DELETE_RECORDS: Shape = of(&[
    always(Each(&of(&[
        always(Text),
        always(Each(&of(&[always(INT32), always(INT64)]))),
    ]))),
    always(INT32),
]);

const DESCRIBE_TOPIC_PARTITIONS: Shape = of(&[
    always(Each(&of(&[always(Text)]))),
    always(INT32),
    always(Maybe(&of(&[always(Text), always(INT32)]))),
]);

const DESCRIBE_CLUSTER: Shape = of(&[always(BOOL), since(1, INT8)]);

const CONSUMER_GROUP_HEARTBEAT: Shape = of(&[
    always(Text),
    always(Text),
    always(INT32),
    always(Text),
    always(Text),
    always(INT32),
    always(TEXTS),
    since(1, Text),
    always(Text),
    always(Each(&of(&[always(UUID), always(INT32S)]))),
]);

const CONSUMER_GROUP_DESCRIBE: Shape = of(&[always(TEXTS), always(BOOL)]);

/// The shape of a request's body; empty for an API that is not served.
pub(super) fn shape(api: ApiKey) -> &'static Shape {
    match api {
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::SaslHandshake => &SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => &SASL_AUTHENTICATE,
        ApiKey::Metadata => &METADATA,
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::AddPartitionsToTxn => &ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => &ADD_OFFSETS_TO_TXN,
        ApiKey::TxnOffsetCommit => &TXN_OFFSET_COMMIT,
        ApiKey::EndTxn => &END_TXN,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::DescribeTransactions => &DESCRIBE_TRANSACTIONS,
        ApiKey::ListTransactions => &LIST_TRANSACTIONS,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE,
        _ => &EMPTY,
    }
}
