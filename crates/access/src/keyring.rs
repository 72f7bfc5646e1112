//! Keys: the account's own, and one of every role.
//!
//! A role's key id spells the role's name, and its secret is an HMAC of the id by the account's secret:
//! any node finds the secret of any role, none has to be kept, and all end with the account's key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{Caller, RoleName, Roles};

/// What ids of roles' keys begin with; the account's has another letter there.
const PREFIX: &str = "TMR0";
/// Bytes of a role's secret: 40 characters, as AWS's secrets have.
const SECRET_BYTES: usize = 30;

/// A key that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

/// Every key that is accepted.
#[derive(Clone, Debug)]
pub struct Keyring {
    account: String,
    own: AccessKey,
    roles: Roles,
}

/// A key that was found by its id.
#[derive(Clone)]
pub struct Known {
    /// Its secret half.
    pub secret: String,
    /// Who holds it.
    pub caller: Caller,
}

impl AccessKey {
    /// Wraps both halves.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
        }
    }
}

impl Keyring {
    /// The key of `account` (twelve digits), and those of its roles.
    #[must_use]
    pub fn new(account: impl Into<String>, own: AccessKey, roles: Roles) -> Self {
        Self {
            account: account.into(),
            own,
            roles,
        }
    }

    /// The account's own key.
    #[must_use]
    pub const fn own(&self) -> &AccessKey {
        &self.own
    }

    /// The key of a role. It is the same as long as the account's is.
    #[must_use]
    pub fn of_role(&self, name: &RoleName) -> AccessKey {
        let id = format!("{PREFIX}{}", hex::encode_upper(name.as_str()));
        let secret = self.secret_of(&id);
        AccessKey { id, secret }
    }

    /// The key with that id, if there is one.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Known> {
        if id == self.own.id {
            return Some(Known {
                secret: self.own.secret.clone(),
                caller: Caller::account(),
            });
        }
        let name = hex::decode(id.strip_prefix(PREFIX)?).ok()?;
        let name = RoleName::new(String::from_utf8(name).ok()?);
        Some(Known {
            secret: self.secret_of(id),
            caller: self.roles.caller(&self.account, name),
        })
    }

    fn secret_of(&self, id: &str) -> String {
        let key = self.own.secret.as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(b"role key\n");
        mac.update(id.as_bytes());
        BASE64.encode(&mac.finalize().into_bytes()[..SECRET_BYTES])
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(secret: &str) -> Keyring {
        let own = AccessKey::new("TMACCOUNT", secret);
        Keyring::new("000000000000", own, Roles::default())
    }

    #[test]
    fn every_node_finds_a_roles_key_and_who_it_belongs_to() {
        let role = RoleName::of_arn("arn:aws:iam::000000000000:role/team/sum-up+1");
        let key = keyring("s").of_role(&role);
        let known = keyring("s").find(&key.id).unwrap();
        assert_eq!(known.secret, key.secret);
        assert_eq!(known.secret.len(), 40);
        let denied = known.caller.check("lambda:CreateFunction", "*");
        let text = denied.unwrap_err().to_string();
        assert!(text.contains("assumed-role/sum-up+1 "), "{text}");
    }

    #[test]
    fn secrets_differ_between_roles_and_accounts_and_are_not_shown() {
        let (one, other) = (RoleName::new("one"), RoleName::new("other"));
        let of = |secret: &str, role| keyring(secret).of_role(role).secret;
        assert_ne!(of("s", &one), of("s", &other));
        assert_ne!(of("s", &one), of("t", &one));
        let shown = format!(
            "{:?} {:?}",
            keyring("hidden"),
            keyring("hidden").find("TMACCOUNT")
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn what_is_no_key_is_not_found() {
        for id in ["", "TMR0ZZ", "TMR0F", "TMR0FF", "AKIA0000", "tmaccount"] {
            assert!(keyring("s").find(id).is_none(), "{id}");
        }
    }
}
