//! Which of its failures may pass, and which somebody must see to.

use connector::SourceError;
use mysql_async::{DriverError, Error};

pub(super) use crate::failure::{rejected, unavailable};

/// For what the server or the connection to it says.
pub(super) fn sql(act: &str) -> impl FnOnce(Error) -> SourceError + '_ {
    move |error| match is_final(&error) {
        true => rejected(act, error),
        false => unavailable(act, error),
    }
}

/// Whether somebody must change something first: credentials, rights, a name, a certificate.
fn is_final(error: &Error) -> bool {
    /// Access denied, to a database, to a table, to a column or for want of a privilege; an unknown
    /// database or table; a host that is not allowed; an authentication that is not to be had.
    const FINAL: [u16; 11] = [
        1044, 1045, 1049, 1130, 1142, 1143, 1146, 1227, 1251, 1524, 1698,
    ];
    match error {
        Error::Server(error) => FINAL.contains(&error.code),
        Error::Driver(error) => matches!(
            error,
            DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::NoClientSslFlagFromServer
                | DriverError::CleartextPluginDisabled
        ),
        Error::Url(_) => true,
        Error::Io(_) | Error::Other(_) => false,
    }
}
