//! Who may look.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

/// The secrets of one start of the server: the token in the link that it prints, and the cookie that
/// the token is exchanged for. Both are random, so a restart ends all sessions.
pub struct Access {
    token: String,
    cookie: String,
    /// Differs between servers on one host: cookies do not tell ports apart.
    cookie_name: String,
}

/// Shows no secret.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// New random secrets.
    #[must_use]
    pub fn random() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        Self {
            token: secret(),
            cookie: secret(),
            cookie_name: format!("tidemill_{}", &name[..8]),
        }
    }

    /// The link to print: `base` is scheme, host and port, for example `http://127.0.0.1:4566`.
    #[must_use]
    pub fn link(&self, base: &str) -> String {
        format!("{base}/?token={}", self.token)
    }

    pub(crate) fn is_token(&self, offered: &str) -> bool {
        same(&self.token, offered)
    }

    /// Whether the request carries the cookie.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(name, value)| name == self.cookie_name && same(&self.cookie, value))
    }

    /// The `Set-Cookie` that admits from now on, until the browser or the server ends.
    pub(crate) fn set_cookie(&self) -> HeaderValue {
        let cookie = format!(
            "{}={}; HttpOnly; SameSite=Strict; Path=/",
            self.cookie_name, self.cookie
        );
        HeaderValue::from_str(&cookie).expect("hexadecimal digits are legal in a header")
    }
}

/// 244 random bits: two version 4 UUIDs, drawn from the operating system.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Compares in a time that does not tell how much of it was right.
fn same(secret: &str, offered: &str) -> bool {
    secret.as_bytes().ct_eq(offered.as_bytes()).into()
}
