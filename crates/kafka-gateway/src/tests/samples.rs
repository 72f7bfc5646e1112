//! A request of every API and version, every field of that version filled.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::*;
use kafka_protocol::messages::create_partitions_request::*;
use kafka_protocol::messages::create_topics_request::*;
use kafka_protocol::messages::delete_topics_request::*;
use kafka_protocol::messages::describe_configs_request::*;
use kafka_protocol::messages::describe_producers_request::*;
use kafka_protocol::messages::fetch_request::*;
use kafka_protocol::messages::join_group_request::*;
use kafka_protocol::messages::leave_group_request::*;
use kafka_protocol::messages::list_offsets_request::*;
use kafka_protocol::messages::metadata_request::*;
use kafka_protocol::messages::offset_commit_request::*;
use kafka_protocol::messages::offset_fetch_request::*;
use kafka_protocol::messages::offset_for_leader_epoch_request::*;
use kafka_protocol::messages::produce_request::*;
use kafka_protocol::messages::sync_group_request::*;
use kafka_protocol::messages::txn_offset_commit_request::*;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

/// What the samples talk about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) topic: &'static str,
    pub(crate) id: Uuid,
    pub(crate) group: &'static str,
    pub(crate) records: Bytes,
}

impl Default for Subject {
    fn default() -> Self {
        Self {
            topic: "absent",
            id: Uuid::from_u128(7),
            group: "nobody",
            records: Bytes::from_static(b"not a batch"),
        }
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// `value` from version `from` on, else the default.
fn since<T: Default>(version: i16, from: i16, value: T) -> T {
    if version >= from { value } else { T::default() }
}

pub(crate) fn request(api: ApiKey, v: i16, subject: &Subject) -> RequestKind {
    let Subject {
        topic: name,
        id,
        group,
        records,
    } = subject.clone();
    let group_id = GroupId(text(group));
    let instance = |from| (v >= from).then(|| text("static-1"));
    match api {
        ApiKey::ApiVersions => RequestKind::ApiVersions(
            ApiVersionsRequest::default()
                .with_client_software_name(since(v, 3, text("sample")))
                .with_client_software_version(since(v, 3, text("1"))),
        ),
        ApiKey::SaslHandshake => RequestKind::SaslHandshake(
            SaslHandshakeRequest::default().with_mechanism(text("PLAIN")),
        ),
        ApiKey::SaslAuthenticate => RequestKind::SaslAuthenticate(
            SaslAuthenticateRequest::default()
                .with_auth_bytes(Bytes::from_static(b"\0somebody\0hush")),
        ),
        ApiKey::Metadata => RequestKind::Metadata(
            MetadataRequest::default()
                .with_topics(Some(vec![
                    MetadataRequestTopic::default()
                        .with_name(Some(topic(name)))
                        .with_topic_id(Uuid::nil()),
                ]))
                .with_allow_auto_topic_creation(v < 4)
                .with_include_topic_authorized_operations(v >= 8)
                .with_include_cluster_authorized_operations((8..=10).contains(&v)),
        ),
        ApiKey::Produce => RequestKind::Produce(
            ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(1_000)
                .with_topic_data(vec![
                    TopicProduceData::default()
                        .with_name(topic(name))
                        .with_partition_data(vec![
                            PartitionProduceData::default()
                                .with_index(0)
                                .with_records(Some(records)),
                        ]),
                ]),
        ),
        ApiKey::Fetch => {
            let mut wanted = FetchPartition::default()
                .with_partition(0)
                .with_fetch_offset(0)
                .with_partition_max_bytes(1 << 20);
            if v >= 5 {
                wanted.log_start_offset = 3;
            }
            let mut topics = FetchTopic::default().with_partitions(vec![wanted]);
            let mut forgotten = ForgottenTopic::default().with_partitions(vec![4, 5]);
            if v >= 13 {
                topics.topic_id = id;
                forgotten.topic_id = id;
            } else {
                topics.topic = topic(name);
                forgotten.topic = topic(name);
            }
            let mut fetch = FetchRequest::default()
                .with_max_wait_ms(0)
                .with_min_bytes(1)
                .with_max_bytes(1 << 20)
                .with_topics(vec![topics])
                .with_forgotten_topics_data(since(v, 7, vec![forgotten]))
                .with_rack_id(since(v, 11, text("rack")));
            fetch.session_epoch = -1;
            if v >= 12 {
                fetch.cluster_id = Some(text("cluster"));
            }
            if v >= 15 {
                fetch.replica_state.replica_epoch = 5;
            }
            RequestKind::Fetch(fetch)
        }
        ApiKey::ListOffsets => RequestKind::ListOffsets(
            ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_isolation_level(since(v, 2, 1))
                .with_topics(vec![
                    ListOffsetsTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![
                            ListOffsetsPartition::default().with_timestamp(0),
                            ListOffsetsPartition::default()
                                .with_partition_index(1)
                                .with_timestamp(-1),
                            ListOffsetsPartition::default()
                                .with_partition_index(2)
                                .with_timestamp(-2),
                            ListOffsetsPartition::default()
                                .with_partition_index(3)
                                .with_timestamp(-3),
                        ]),
                ]),
        ),
        ApiKey::FindCoordinator => RequestKind::FindCoordinator(
            FindCoordinatorRequest::default()
                .with_key(if v < 4 { text(group) } else { text("") })
                .with_coordinator_keys(since(v, 4, vec![text(group), text("other")])),
        ),
        ApiKey::JoinGroup => RequestKind::JoinGroup(
            JoinGroupRequest::default()
                .with_group_id(group_id)
                .with_session_timeout_ms(6_000)
                .with_rebalance_timeout_ms(if v >= 1 { 1_000 } else { -1 })
                .with_member_id(text("unknown"))
                .with_group_instance_id(instance(5))
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![
                    JoinGroupRequestProtocol::default()
                        .with_name(text("range"))
                        .with_metadata(Bytes::from_static(b"meta")),
                ])
                .with_reason((v >= 8).then(|| text("because"))),
        ),
        ApiKey::SyncGroup => RequestKind::SyncGroup(
            SyncGroupRequest::default()
                .with_group_id(group_id)
                .with_generation_id(1)
                .with_member_id(text("unknown"))
                .with_group_instance_id(instance(3))
                .with_protocol_type((v >= 5).then(|| text("consumer")))
                .with_protocol_name((v >= 5).then(|| text("range")))
                .with_assignments(vec![
                    SyncGroupRequestAssignment::default()
                        .with_member_id(text("unknown"))
                        .with_assignment(Bytes::from_static(b"all")),
                ]),
        ),
        ApiKey::Heartbeat => RequestKind::Heartbeat(
            HeartbeatRequest::default()
                .with_group_id(group_id)
                .with_generation_id(1)
                .with_member_id(text("unknown"))
                .with_group_instance_id(instance(3)),
        ),
        ApiKey::LeaveGroup => {
            let identity = MemberIdentity::default()
                .with_member_id(text("unknown"))
                .with_group_instance_id(instance(3))
                .with_reason((v >= 5).then(|| text("done")));
            RequestKind::LeaveGroup(
                LeaveGroupRequest::default()
                    .with_group_id(group_id)
                    .with_member_id(if v < 3 { text("unknown") } else { text("") })
                    .with_members(since(v, 3, vec![identity])),
            )
        }
        ApiKey::OffsetCommit => RequestKind::OffsetCommit(
            OffsetCommitRequest::default()
                .with_group_id(group_id)
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![
                    OffsetCommitRequestTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![
                            OffsetCommitRequestPartition::default()
                                .with_committed_offset(1)
                                .with_committed_metadata(Some(text("note"))),
                        ]),
                ]),
        ),
        ApiKey::OffsetFetch => {
            let single = OffsetFetchRequestTopic::default()
                .with_name(topic(name))
                .with_partition_indexes(vec![0, 1]);
            let grouped = OffsetFetchRequestGroup::default()
                .with_group_id(group_id.clone())
                .with_member_id(None)
                .with_member_epoch(-1)
                .with_topics(Some(vec![
                    OffsetFetchRequestTopics::default()
                        .with_name(topic(name))
                        .with_partition_indexes(vec![0, 1]),
                ]));
            RequestKind::OffsetFetch(if v >= 8 {
                OffsetFetchRequest::default()
                    .with_groups(vec![grouped])
                    .with_require_stable(true)
            } else {
                OffsetFetchRequest::default()
                    .with_group_id(group_id)
                    .with_topics(Some(vec![single]))
                    .with_require_stable(v >= 7)
            })
        }
        ApiKey::OffsetDelete => RequestKind::OffsetDelete(
            OffsetDeleteRequest::default()
                .with_group_id(group_id)
                .with_topics(vec![
                    offset_delete_request::OffsetDeleteRequestTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![
                            offset_delete_request::OffsetDeleteRequestPartition::default(),
                        ]),
                ]),
        ),
        ApiKey::DescribeLogDirs => {
            RequestKind::DescribeLogDirs(DescribeLogDirsRequest::default().with_topics(Some(vec![
                describe_log_dirs_request::DescribableLogDirTopic::default()
                    .with_topic(topic(name))
                    .with_partitions(vec![0, 1]),
            ])))
        }
        ApiKey::ListGroups => {
            let states = since(v, 4, vec![text("Empty"), text("Stable")]);
            let types = since(v, 5, vec![text("classic"), text("consumer")]);
            let list = ListGroupsRequest::default().with_states_filter(states);
            RequestKind::ListGroups(list.with_types_filter(types))
        }
        ApiKey::DescribeGroups => RequestKind::DescribeGroups(
            DescribeGroupsRequest::default()
                .with_groups(vec![group_id, GroupId(text("other"))])
                .with_include_authorized_operations(v >= 3),
        ),
        ApiKey::DeleteGroups => RequestKind::DeleteGroups(
            DeleteGroupsRequest::default().with_groups_names(vec![group_id]),
        ),
        ApiKey::CreateTopics => RequestKind::CreateTopics(
            CreateTopicsRequest::default()
                .with_timeout_ms(1_000)
                .with_topics(vec![
                    CreatableTopic::default()
                        .with_name(topic(&format!("created-{v}")))
                        .with_num_partitions(2)
                        .with_replication_factor(1)
                        .with_configs(vec![
                            CreatableTopicConfig::default()
                                .with_name(text("cleanup.policy"))
                                .with_value(Some(text("delete"))),
                        ]),
                    CreatableTopic::default()
                        .with_name(topic("refused"))
                        .with_num_partitions(-1)
                        .with_replication_factor(-1)
                        .with_assignments(vec![
                            CreatableReplicaAssignment::default()
                                .with_broker_ids(vec![BrokerId(1), BrokerId(2)]),
                        ]),
                ]),
        ),
        ApiKey::DeleteTopics => {
            let names = vec![topic(&format!("created-{v}")), topic("../etc")];
            RequestKind::DeleteTopics(if v >= 6 {
                let states = names
                    .into_iter()
                    .map(|name| DeleteTopicState::default().with_name(Some(name)));
                let by_id = DeleteTopicState::default().with_topic_id(Uuid::from_u128(99));
                DeleteTopicsRequest::default().with_topics(states.chain([by_id]).collect())
            } else {
                DeleteTopicsRequest::default().with_topic_names(names)
            })
        }
        ApiKey::CreatePartitions => {
            RequestKind::CreatePartitions(CreatePartitionsRequest::default().with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(topic(name))
                    .with_count(9)
                    .with_assignments(Some(vec![
                        CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]),
                    ])),
            ]))
        }
        ApiKey::InitProducerId => RequestKind::InitProducerId(
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(1_000)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        ),
        ApiKey::AddPartitionsToTxn => RequestKind::AddPartitionsToTxn(
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(text("sample")))
                .with_v3_and_below_producer_id(ProducerId(7))
                .with_v3_and_below_producer_epoch(1)
                .with_v3_and_below_topics(vec![
                    AddPartitionsToTxnTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![0, 1]),
                ]),
        ),
        ApiKey::AddOffsetsToTxn => RequestKind::AddOffsetsToTxn(
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(TransactionalId(text("sample")))
                .with_producer_id(ProducerId(7))
                .with_producer_epoch(1)
                .with_group_id(group_id),
        ),
        ApiKey::TxnOffsetCommit => RequestKind::TxnOffsetCommit(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(TransactionalId(text("sample")))
                .with_group_id(group_id)
                .with_producer_id(ProducerId(7))
                .with_producer_epoch(1)
                .with_generation_id(since(v, 3, 4) - i32::from(v < 3))
                .with_member_id(since(v, 3, text("member")))
                .with_group_instance_id(instance(3))
                .with_topics(vec![
                    TxnOffsetCommitRequestTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![
                            TxnOffsetCommitRequestPartition::default()
                                .with_committed_offset(1)
                                .with_committed_leader_epoch(if v >= 2 { 0 } else { -1 })
                                .with_committed_metadata(Some(text("note"))),
                        ]),
                ]),
        ),
        ApiKey::EndTxn => RequestKind::EndTxn(
            EndTxnRequest::default()
                .with_transactional_id(TransactionalId(text("sample")))
                .with_producer_id(ProducerId(7))
                .with_producer_epoch(1)
                .with_committed(true),
        ),
        ApiKey::DescribeProducers => {
            RequestKind::DescribeProducers(DescribeProducersRequest::default().with_topics(vec![
                TopicRequest::default()
                    .with_name(topic(name))
                    .with_partition_indexes(vec![0, 1]),
            ]))
        }
        ApiKey::DescribeTransactions => RequestKind::DescribeTransactions(
            DescribeTransactionsRequest::default()
                .with_transactional_ids(vec![TransactionalId(text("sample"))]),
        ),
        ApiKey::ListTransactions => RequestKind::ListTransactions(
            ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing"), text("Sleepy")])
                .with_producer_id_filters(vec![ProducerId(7)])
                .with_duration_filter(if v >= 1 { 5 } else { -1 })
                .with_transactional_id_pattern((v >= 2).then(|| text("sam.*"))),
        ),
        ApiKey::OffsetForLeaderEpoch => RequestKind::OffsetForLeaderEpoch(
            OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![
                    OffsetForLeaderTopic::default()
                        .with_topic(topic(name))
                        .with_partitions(vec![
                            OffsetForLeaderPartition::default().with_current_leader_epoch(0),
                        ]),
                ]),
        ),
        ApiKey::DescribeConfigs => RequestKind::DescribeConfigs(
            DescribeConfigsRequest::default()
                .with_resources(vec![
                    DescribeConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(text(name))
                        .with_configuration_keys(Some(vec![text("cleanup.policy")])),
                    DescribeConfigsResource::default()
                        .with_resource_type(4)
                        .with_resource_name(text("1"))
                        .with_configuration_keys(None),
                ])
                .with_include_documentation(v >= 3),
        ),
        ApiKey::AlterConfigs => RequestKind::AlterConfigs(
            AlterConfigsRequest::default()
                .with_resources(vec![
                    alter_configs_request::AlterConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(text(name))
                        .with_configs(vec![
                            alter_configs_request::AlterableConfig::default()
                                .with_name(text("retention.ms"))
                                .with_value(Some(text("60000"))),
                        ]),
                    alter_configs_request::AlterConfigsResource::default()
                        .with_resource_type(4)
                        .with_resource_name(text("1")),
                ])
                .with_validate_only(v == 1),
        ),
        ApiKey::IncrementalAlterConfigs => {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            RequestKind::IncrementalAlterConfigs(
                IncrementalAlterConfigsRequest::default().with_resources(vec![
                    AlterConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(text(name))
                        .with_configs(vec![
                            AlterableConfig::default()
                                .with_name(text("cleanup.policy"))
                                .with_config_operation(2)
                                .with_value(Some(text("delete"))),
                            AlterableConfig::default()
                                .with_name(text("retention.ms"))
                                .with_config_operation(1),
                        ]),
                ]),
            )
        }
        ApiKey::DeleteRecords => RequestKind::DeleteRecords(
            DeleteRecordsRequest::default()
                .with_timeout_ms(1_000)
                .with_topics(vec![
                    delete_records_request::DeleteRecordsTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![
                            delete_records_request::DeleteRecordsPartition::default(),
                        ]),
                ]),
        ),
        ApiKey::DescribeTopicPartitions => RequestKind::DescribeTopicPartitions(
            DescribeTopicPartitionsRequest::default()
                .with_topics(vec![
                    describe_topic_partitions_request::TopicRequest::default()
                        .with_name(topic(name)),
                ])
                .with_response_partition_limit(1)
                .with_cursor(Some(
                    describe_topic_partitions_request::Cursor::default()
                        .with_topic_name(topic("a")),
                )),
        ),
        ApiKey::DescribeCluster => {
            RequestKind::DescribeCluster(DescribeClusterRequest::default().with_endpoint_type(1))
        }
        ApiKey::ConsumerGroupHeartbeat => RequestKind::ConsumerGroupHeartbeat(
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group_id)
                .with_member_id(text(&format!("consumer-{v}")))
                .with_member_epoch(0)
                .with_instance_id(Some(text(&format!("static-{v}"))))
                .with_rack_id(Some(text("rack")))
                .with_rebalance_timeout_ms(1_000)
                .with_subscribed_topic_names(Some(vec![topic(name)]))
                .with_subscribed_topic_regex((v >= 1).then(|| text("t.*")))
                .with_server_assignor(Some(text("range")))
                .with_topic_partitions(Some(Vec::new())),
        ),
        ApiKey::ConsumerGroupDescribe => RequestKind::ConsumerGroupDescribe(
            ConsumerGroupDescribeRequest::default()
                .with_group_ids(vec![group_id, GroupId(text("other"))]),
        ),
        other => panic!("no sample of {other:?}"),
    }
}

/// A frame without its length.
pub(crate) fn frame(api: ApiKey, version: i16, correlation: i32, body: &RequestKind) -> Bytes {
    let mut frame = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(text("sample")))
        .encode(&mut frame, api.request_header_version(version))
        .unwrap();
    body.encode(&mut frame, version)
        .unwrap_or_else(|error| panic!("{api:?} v{version}: {error:#}"));
    frame.freeze()
}
