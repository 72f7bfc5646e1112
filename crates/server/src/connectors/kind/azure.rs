//! `azure`: a container of Azure Blob Storage.

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_object_store::{AzureKey, AzurePlace, ObjectStoreSource, Remote, show_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::buckets::{WatchedBucket, default_interval};
use super::{Kind, Sources, Surroundings, Topics, default_partitions, rejected};
use crate::config::Secret;
use crate::connectors::ConnectorName;

/// A container of Azure Blob Storage: its blobs, then every blob that is created, replaced or removed.
///
/// The container is listed and compared with what was there before, so that nothing is missed; a million
/// blobs take the server some 50 MiB of memory. Events go to the topic bucket.CONTAINER in the shape of
/// S3's, with the blob's name as key and its ETag as eTag. Functions are attached as to a bucket of this
/// server: by a notification configuration, which sees what changes after it.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add azure --name partner --account partnerdata --container incoming \\
      --sas-token file:/etc/tidemill/partner.sas   # from: az storage container generate-sas --permissions l
  aws s3api put-bucket-notification-configuration --bucket incoming --notification-configuration \\
      '{\"LambdaFunctionConfigurations\": [{\"LambdaFunctionArn\":
        \"arn:aws:lambda:us-east-1:000000000000:function:import\", \"Events\": [\"s3:ObjectCreated:*\"]}]}'")]
pub(crate) struct Azure {
    /// The storage account
    #[arg(long)]
    account: String,
    /// The container
    #[arg(long)]
    container: String,
    /// Only blobs below this path
    #[arg(long, value_name = "PATH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The account's address [default: https://ACCOUNT.blob.core.windows.net]
    #[arg(long, value_name = "URL")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// One of the account's keys, as file:PATH or env:NAME
    #[arg(long, value_name = "SECRET", required_unless_present = "sas_token")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_key: Option<Secret>,
    /// In its stead a shared access signature that permits listing, as file:PATH or env:NAME
    #[arg(long, value_name = "SECRET", conflicts_with = "account_key")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sas_token: Option<Secret>,
    /// Seconds between two listings
    #[arg(long, value_name = "SECONDS", default_value_t = default_interval(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    #[serde(default = "default_interval")]
    interval_seconds: u64,
    /// Partitions of the topic when it has to be made; a blob's events are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    partitions: u32,
}

impl Azure {
    fn bucket(&self) -> WatchedBucket<'_> {
        WatchedBucket {
            setting: "container",
            name: &self.container,
            prefix: self.prefix.as_deref(),
            endpoint: self.endpoint.as_deref(),
            interval_seconds: self.interval_seconds,
            partitions: self.partitions,
        }
    }

    fn key(&self) -> anyhow::Result<AzureKey> {
        let read = |secret: &Secret, setting: &'static str| {
            let text = secret.read().context(setting)?;
            match text.trim() {
                "" => bail!("{setting} is empty"),
                text => Ok(text.to_owned()),
            }
        };
        match (&self.account_key, &self.sas_token) {
            (Some(secret), None) => read(secret, "account_key").map(AzureKey::Account),
            (None, Some(secret)) => read(secret, "sas_token").map(AzureKey::SharedAccessSignature),
            (Some(_), Some(_)) | (None, None) => {
                bail!("either account_key or sas_token must be given")
            }
        }
    }

    fn source(&self, around: &Surroundings) -> anyhow::Result<ObjectStoreSource> {
        let remote = Remote::azure(AzurePlace {
            endpoint: self.endpoint.clone().unwrap_or_default(),
            account: self.account.clone(),
            container: self.container.clone(),
            key: self.key()?,
        })?;
        self.bucket().source(remote, &around.region, around)
    }
}

#[async_trait]
impl Kind for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bucket().check()?;
        let of_account = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if self.account.is_empty() || !self.account.bytes().all(of_account) {
            bail!(
                "account {:?}: an account's name has lower-case letters and digits alone",
                self.account
            );
        }
        if self.account_key.is_some() == self.sas_token.is_some() {
            bail!("either account_key or sas_token must be given");
        }
        Ok(())
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        for secret in [&mut self.account_key, &mut self.sas_token] {
            *secret = secret.take().map(Secret::absolute).transpose()?;
        }
        Ok(())
    }

    fn reads(&self) -> String {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let at = match &self.endpoint {
            Some(endpoint) => format!(" at {endpoint}"),
            None => String::new(),
        };
        format!("azure://{}/{}/{prefix}{at}", self.account, self.container)
    }

    fn topics(&self, _name: &ConnectorName) -> Topics {
        self.bucket().topics()
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let source = self.source(around);
        let source = source.map_err(|error| rejected(format!("set up connector {name}"), error))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, _name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        vec![self.bucket().source_id()]
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_position(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: &str) -> String {
        let azure: Azure = toml::from_str(settings).unwrap();
        format!("{:#}", azure.check().unwrap_err())
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name_and_no_secret_repeated() {
        let right = "account = 'ada1'\ncontainer = 'incoming'\n";
        let key = "account_key = 'env:KEY'\n";
        let azure: Azure = toml::from_str(&format!("{right}{key}")).unwrap();
        azure.check().unwrap();
        let both = refusal(&format!("{right}{key}sas_token = 'env:SAS'\n"));
        assert!(both.contains("either account_key or sas_token"), "{both}");
        let neither = refusal(right);
        assert!(
            neither.contains("either account_key or sas_token"),
            "{neither}"
        );
        let account = refusal(&format!("account = 'a/b'\ncontainer = 'incoming'\n{key}"));
        assert!(account.contains("account"), "{account}");
        let container = refusal(&format!("account = 'ada1'\ncontainer = '$web'\n{key}"));
        assert!(container.contains("container"), "{container}");
        let signed = refusal(&format!("{right}{key}endpoint = 'https://s?sig=hush'\n"));
        assert!(
            signed.contains("endpoint") && !signed.contains("hush"),
            "{signed}"
        );
        let secret = toml::from_str::<Azure>(&format!("{right}account_key = 'hush'")).unwrap_err();
        assert!(secret.message().contains("file:PATH"), "{secret}");
    }
}
