//! Roles: names that policies belong to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Caller, Policy};

/// A role's name: what follows the last slash of its ARN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleName(String);

/// What each role may do.
#[derive(Clone, Debug)]
pub struct Roles {
    named: BTreeMap<RoleName, Arc<Policy>>,
    others: Arc<Policy>,
}

impl RoleName {
    /// Wraps a name, without its path.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name in `arn:aws:iam::<account>:role/<path>/<name>`. Accounts are not told apart: there is one.
    #[must_use]
    pub fn of_arn(arn: &str) -> Self {
        let name = arn.rsplit_once('/').map_or(arn, |(_, name)| name);
        Self(name.to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Roles {
    /// Roles with policies of their own, and one for every other.
    #[must_use]
    pub fn new(named: impl IntoIterator<Item = (RoleName, Policy)>, others: Policy) -> Self {
        let named = named.into_iter();
        Self {
            named: named
                .map(|(name, policy)| (name, Arc::new(policy)))
                .collect(),
            others: Arc::new(others),
        }
    }

    /// Who calls with the key of a role of that name.
    pub(crate) fn caller(&self, account: &str, name: RoleName) -> Caller {
        let policy = self.named.get(&name).unwrap_or(&self.others);
        Caller::role(account, name, Arc::clone(policy))
    }
}

impl Default for Roles {
    /// No role has a policy of its own; see [`Policy::ordinary`].
    fn default() -> Self {
        Self::new([], Policy::ordinary())
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
