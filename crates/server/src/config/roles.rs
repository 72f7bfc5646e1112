//! What roles may do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use access::{Policy, RoleName};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The name under which the policy of every role stands that has none of its own.
const OTHERS: &str = "*";

/// IAM policy documents (files) by roles' names, without path; `*` for every other role. Without that one,
/// others may read, write, delete and list objects, invoke functions and connect to Kafka.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Roles(BTreeMap<String, PathBuf>);

impl Roles {
    /// Reads the documents.
    ///
    /// # Errors
    /// One cannot be read or applied; its role and file are named.
    pub(crate) fn read(&self) -> anyhow::Result<access::Roles> {
        let mut named = Vec::new();
        let mut others = Policy::ordinary();
        for (name, path) in &self.0 {
            if name.contains(['/', ':']) {
                bail!("roles.\"{name}\" must be the role's name alone, without path or ARN");
            }
            let policy = read(path)
                .with_context(|| format!("apply roles.\"{name}\", {}", path.display()))?;
            match name.as_str() {
                OTHERS => others = policy,
                name => named.push((RoleName::new(name), policy)),
            }
        }
        Ok(access::Roles::new(named, others))
    }
}

fn read(path: &Path) -> anyhow::Result<Policy> {
    Ok(Policy::parse(&std::fs::read_to_string(path)?)?)
}

#[cfg(test)]
mod tests {
    use access::{AccessKey, Keyring};

    use super::*;

    #[test]
    fn a_document_is_its_roles_and_the_star_everybody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, action: &str| {
            let text = format!(
                r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}}}"#
            );
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            (name.to_owned(), path)
        };
        let files = [file("admin", "*"), file("*", "s3:GetObject")];
        let roles = Roles(files.into()).read().unwrap();
        let keys = Keyring::new("000000000000", AccessKey::new("id", "secret"), roles);
        let may = |role: &str, action: &str| {
            let key = keys.of_role(&RoleName::new(role));
            let known = keys.find(&key.id).unwrap();
            known.caller.check(action, "*").is_ok()
        };
        assert!(may("admin", "lambda:CreateFunction"));
        assert!(may("any", "s3:GetObject") && !may("any", "s3:PutObject"));
    }

    #[test]
    fn what_cannot_be_applied_is_told_with_its_role_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.json");
        let roles = Roles([("admin".to_owned(), path.clone())].into());
        let told = || format!("{:#}", roles.read().unwrap_err());
        assert!(told().contains("admin.json"), "{}", told());
        let text = r#"{"Statement": [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]}"#;
        std::fs::write(path, text).unwrap();
        let told = told();
        assert!(told.contains("roles.\"admin\""), "{told}");
        assert!(
            told.ends_with("statement 1: NotAction is not supported"),
            "{told}"
        );
    }
}
