//! The data folder's AWS credentials and the address of the server that runs on it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use access::{AccessKey, Keyring};
use anyhow::{Context, anyhow};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use uuid::Uuid;

use crate::config::Config;

/// An access key and its secret.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The AWS shared-credentials file of a data folder.
pub(crate) fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("credentials")
}

/// Reads the folder's credentials; on the first start makes them, readable by the owner only.
///
/// # Errors
/// The file cannot be read or written, or has no `[default]` profile with both keys.
pub(crate) fn load_or_create(data_dir: &Path) -> anyhow::Result<Credentials> {
    let path = file_in(data_dir);
    if path.exists() {
        return load(&path);
    }
    let credentials = Credentials::random();
    write(&path, &credentials)?;
    Ok(credentials)
}

/// The credentials that all nodes on a shared store accept, made by the first of them. They are
/// written into this node's data folder, too, for clients.
///
/// # Errors
/// The store or the folder cannot be read or written, or what the store holds is damaged.
pub(crate) async fn share(store: &dyn ObjectStore, data_dir: &Path) -> anyhow::Result<Credentials> {
    let key = object_store::path::Path::from("credentials");
    let made = Credentials::random();
    let options = PutOptions::from(PutMode::Create);
    let put = store
        .put_opts(&key, PutPayload::from(made.to_text()), options)
        .await;
    let credentials = match put {
        Ok(_) => made,
        Err(object_store::Error::AlreadyExists { .. }) => {
            let text = async { store.get(&key).await?.bytes().await }
                .await
                .context("read the nodes' credentials in the store")?;
            std::str::from_utf8(&text)
                .ok()
                .and_then(parse)
                .ok_or_else(|| anyhow!("{key} in the store holds no credentials"))?
        }
        Err(error) => {
            return Err(
                anyhow::Error::new(error).context("write the nodes' credentials to the store")
            );
        }
    };
    write(&file_in(data_dir), &credentials)?;
    Ok(credentials)
}

/// Those that the environment gives: by value, or by naming a file. `None` when it does neither.
pub(crate) fn from_environment() -> Option<anyhow::Result<Credentials>> {
    if let (Some(access_key_id), Some(secret_access_key)) = (
        environment("AWS_ACCESS_KEY_ID"),
        environment("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Some(Ok(Credentials {
            access_key_id,
            secret_access_key,
        }));
    }
    environment("AWS_SHARED_CREDENTIALS_FILE").map(|file| load(Path::new(&file)))
}

/// A variable of the environment; one that is empty counts as none.
#[expect(
    clippy::disallowed_methods,
    reason = "the server crate is the one that reads the environment"
)]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Credentials {
    fn random() -> Self {
        // Version 4 UUIDs are 122 random bits each from the operating system.
        let random = || Uuid::new_v4().simple().to_string();
        Self {
            access_key_id: format!("TM{}", random()[..18].to_uppercase()),
            secret_access_key: format!("{}{}", random(), &random()[..8]),
        }
    }

    /// These keys and those of the roles that are configured.
    ///
    /// # Errors
    /// A role's policy cannot be read or applied.
    pub(crate) fn keyring(&self, config: &Config) -> anyhow::Result<Keyring> {
        let own = AccessKey::new(&self.access_key_id, &self.secret_access_key);
        Ok(Keyring::new(&config.account, own, config.roles.read()?))
    }

    fn to_text(&self) -> String {
        format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.access_key_id, self.secret_access_key
        )
    }
}

fn write(path: &Path, credentials: &Credentials) -> anyhow::Result<()> {
    let staged = path.with_extension("new");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)
        .and_then(|mut file| {
            file.write_all(credentials.to_text().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&staged, path))
        .with_context(|| format!("write the credentials {}", path.display()))
}

/// Reads the `[default]` profile of an AWS shared-credentials file.
///
/// # Errors
/// The file cannot be read, or lacks the profile or one of its keys.
pub(crate) fn load(path: &Path) -> anyhow::Result<Credentials> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("read the credentials {}", path.display()))?;
    parse(&text).ok_or_else(|| {
        anyhow!(
            "the credentials {} lack a [default] profile with aws_access_key_id and aws_secret_access_key",
            path.display()
        )
    })
}

fn parse(text: &str) -> Option<Credentials> {
    let mut in_default = false;
    let (mut id, mut secret) = (None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_default = line == "[default]";
        } else if in_default && let Some((key, value)) = line.split_once('=') {
            match key.trim() {
                "aws_access_key_id" => id = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    Some(Credentials {
        access_key_id: id?,
        secret_access_key: secret?,
    })
}

/// Records where the server on this folder listens, for client commands.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_endpoint(data_dir: &Path, endpoint: &str) -> anyhow::Result<()> {
    let path = data_dir.join("endpoint");
    fs::write(&path, format!("{endpoint}\n"))
        .with_context(|| format!("record the address in {}", path.display()))
}

/// The address that the last server on this folder recorded.
pub(crate) fn read_endpoint(data_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(data_dir.join("endpoint")).ok()?;
    Some(text.trim().to_owned()).filter(|endpoint| !endpoint.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn credentials_are_made_once_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create(dir.path()).unwrap();
        let again = load_or_create(dir.path()).unwrap();
        assert_eq!(made.secret_access_key, again.secret_access_key);
        let mode = fs::metadata(file_in(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn nodes_on_one_store_accept_the_same_key() {
        let store = object_store::memory::InMemory::new();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = share(&store, one.path()).await.unwrap();
        let second = share(&store, other.path()).await.unwrap();
        assert_eq!(first.secret_access_key, second.secret_access_key);
        let for_clients = load(&file_in(other.path())).unwrap();
        assert_eq!(for_clients.access_key_id, first.access_key_id);
    }

    #[test]
    fn only_the_default_profile_counts() {
        let text = "[other]\naws_access_key_id = A\naws_secret_access_key = B\n[default]\naws_access_key_id=C\naws_secret_access_key = D=\n";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.access_key_id, "C");
        assert_eq!(parsed.secret_access_key, "D=");
    }
}
