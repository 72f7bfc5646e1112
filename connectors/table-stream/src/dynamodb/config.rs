//! Which table to read, and where.

use crate::Naming;

/// A DynamoDB table with a stream.
#[derive(Clone, Debug)]
pub struct DynamoDbConfig {
    /// The names under which the table appears. Events have the shape of DynamoDB Streams.
    pub naming: Naming,
    /// The table.
    pub table: String,
    /// Its region.
    pub region: String,
    /// `http://` or `https://` and a host: another service than AWS's.
    pub endpoint: Option<String>,
    /// Who asks. The rights `dynamodb:ListStreams`, `DescribeStream`, `GetShardIterator` and
    /// `GetRecords` are needed.
    pub keys: DynamoDbKeys,
}

/// An access key of AWS.
#[derive(Clone)]
pub struct DynamoDbKeys {
    /// Its id.
    pub access_key_id: String,
    /// What signs.
    pub secret_access_key: String,
}

/// Without the secret.
impl std::fmt::Debug for DynamoDbKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDbKeys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}
