//! Whoever sent a request that was verified.

use std::sync::Arc;

use crate::policy::Verdict;
use crate::{Policy, RoleName};

/// Whoever sent a request that was verified. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller(Who);

#[derive(Clone, Debug)]
enum Who {
    Account,
    Role {
        account: Arc<str>,
        name: RoleName,
        policy: Arc<Policy>,
    },
}

/// The caller may not do that. Reject; the text is AWS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("User: {user} is not authorized to perform: {action} on resource: {resource} {reason}")]
pub struct Denied {
    user: String,
    action: String,
    resource: String,
    reason: String,
}

impl Caller {
    /// Who holds the account's own key, and may do everything.
    #[must_use]
    pub const fn account() -> Self {
        Self(Who::Account)
    }

    pub(crate) fn role(account: &str, name: RoleName, policy: Arc<Policy>) -> Self {
        Self(Who::Role {
            account: account.into(),
            name,
            policy,
        })
    }

    /// Whether it may do everything.
    #[must_use]
    pub const fn is_account(&self) -> bool {
        matches!(self.0, Who::Account)
    }

    /// Whether it may do `action` (`s3:GetObject`) with `resource` (`arn:aws:s3:::bucket/key`, or `*`
    /// where an action has no resource).
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, action: &str, resource: &str) -> Result<(), Denied> {
        let Who::Role { policy, .. } = &self.0 else {
            return Ok(());
        };
        let reason = match policy.verdict(action, resource) {
            Verdict::Allowed => return Ok(()),
            Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
            Verdict::NotAllowed => {
                format!("because no identity-based policy allows the {action} action")
            }
        };
        Err(Denied {
            user: self.arn(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            reason,
        })
    }

    /// As errors name it.
    fn arn(&self) -> String {
        match &self.0 {
            Who::Account => "root".to_owned(),
            Who::Role { account, name, .. } => {
                format!("arn:aws:sts::{account}:assumed-role/{name}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_may_everything_and_a_role_what_its_policy_says() {
        assert_eq!(
            Caller::account().check("lambda:DeleteFunction", "x"),
            Ok(())
        );
        let text = r#"{"Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::inbox/*"},
            {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}]}"#;
        let policy = Arc::new(Policy::parse(text).unwrap());
        let caller = Caller::role("000000000000", RoleName::new("reader"), policy);
        assert_eq!(caller.check("s3:GetObject", "arn:aws:s3:::inbox/a"), Ok(()));
        let told =
            |action: &str, resource: &str| caller.check(action, resource).unwrap_err().to_string();
        assert_eq!(
            told("s3:GetObject", "arn:aws:s3:::other/a"),
            "User: arn:aws:sts::000000000000:assumed-role/reader is not authorized to perform: \
             s3:GetObject on resource: arn:aws:s3:::other/a because no identity-based policy allows \
             the s3:GetObject action"
        );
        let denied = told("s3:DeleteObject", "arn:aws:s3:::inbox/a");
        assert!(denied.ends_with("with an explicit deny in an identity-based policy"));
    }
}
