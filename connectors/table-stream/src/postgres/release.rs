//! Taking back what a source has made at the server.

use connector::SourceError;

use super::PostgresConfig;
use super::catalog::{Catalog, quoted};
use super::failure::{rejected, sql};
use super::source::address;
use super::tls::Tls;

/// Drops the slot, and the publication where it has the name that the connector gives it itself: one
/// that was named in the configuration belongs to somebody else. What is gone already is no error.
///
/// # Errors
/// [`SourceError::Unavailable`] when the server cannot be reached or the slot is still read from;
/// [`SourceError::Rejected`] when it refuses us.
pub async fn release(config: &PostgresConfig) -> Result<(), SourceError> {
    let act = "prepare connections";
    let address = address(config).map_err(|error| rejected(act, error))?;
    let tls = Tls::new(config.ca_certificates.as_deref()).map_err(|error| rejected(act, error))?;
    let catalog = Catalog::new(config, address, &tls).map_err(|error| rejected(act, error))?;
    let slot = config.slot();
    if catalog.slot(&slot).await?.is_some() {
        catalog.drop_slot(&slot).await?;
    }
    if config.publication.is_none() {
        let name = config.publication();
        let act = format!("drop publication {name}");
        let drop = format!("DROP PUBLICATION IF EXISTS {}", quoted(&name));
        let client = catalog.connection().await?;
        client.batch_execute(&drop).await.map_err(sql(&act))?;
    }
    Ok(())
}
