//! Who may connect, and how connections are protected.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::Error;

/// What a gateway asks of its clients. By default nothing: then it listens on loopback only.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Every connection is encrypted with this certificate; `None` for plain connections.
    pub tls: Option<Tls>,
    /// Every client proves by SASL that it knows a login; `None` for anonymous clients.
    pub sasl: Option<Sasl>,
}

/// Whose logins are known.
#[derive(Clone, Debug)]
pub struct Sasl {
    login: Login,
    users: Option<Arc<dyn Users>>,
}

/// Users beside the first, who log in by PLAIN: what SCRAM wants to be derived would have to be derived for
/// whoever asks.
pub trait Users: fmt::Debug + Send + Sync + 'static {
    /// The secret of a user; `None` for who may not connect.
    fn secret(&self, user: &str) -> Option<String>;
}

/// A certificate and its key, for TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

/// A user name and its secret, as SASL/PLAIN and SCRAM take them.
#[derive(Clone)]
pub struct Login {
    user: String,
    secret: String,
}

impl Security {
    /// Whether a gateway may listen on `ip`: addresses that other machines reach need both halves.
    pub(crate) fn allows(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || (self.tls.is_some() && self.sasl.is_some())
    }
}

impl Tls {
    /// A certificate chain, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1),
    /// both as PEM. Clients are not asked for certificates.
    ///
    /// # Errors
    /// [`Error::InvalidTls`] when one cannot be read or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| Error::tls("certificate", error))?;
        if chain.is_empty() {
            let none = rustls::Error::NoCertificatesPresented;
            return Err(Error::tls("certificate", none));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Error::tls("key", error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::tls("protocol", error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| Error::tls("key", error))?;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Who takes the first step with each client.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }
}

impl Sasl {
    /// This login, and those of `users`.
    #[must_use]
    pub fn new(login: Login, users: Arc<dyn Users>) -> Self {
        Self {
            login,
            users: Some(users),
        }
    }

    /// The login that every mechanism takes.
    pub(crate) const fn login(&self) -> &Login {
        &self.login
    }

    /// The login of that user, which PLAIN takes.
    pub(crate) fn login_of(&self, user: &str) -> Option<Login> {
        let secret = self.users.as_ref()?.secret(user)?;
        Some(Login::new(user, secret))
    }
}

impl From<Login> for Sasl {
    /// One login alone.
    fn from(login: Login) -> Self {
        Self { login, users: None }
    }
}

impl Login {
    /// Wraps both.
    #[must_use]
    pub fn new(user: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            secret: secret.into(),
        }
    }

    /// The name.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The secret.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let login = Login::new("somebody", "hush");
        assert!(!format!("{login:?}").contains("hush"));
    }

    #[test]
    fn only_loopback_is_open_to_half_a_protection() {
        let login = || Some(Login::new("somebody", "hush"));
        let half = Security {
            tls: None,
            sasl: login().map(Sasl::from),
        };
        for (ip, allowed) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.1", false),
            ("192.168.1.7", false),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(half.allows(ip), allowed, "{ip}");
            assert_eq!(Security::default().allows(ip), allowed, "{ip}");
        }
    }

    #[test]
    fn a_certificate_that_is_none_is_named() {
        let error = Tls::from_pem(b"hello", b"world").unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}
