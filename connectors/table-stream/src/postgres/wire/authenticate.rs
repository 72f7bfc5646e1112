//! Saying who we are.

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt as _;

use super::{Replication, WireError, server_error};

impl Replication {
    /// Answers what the server asks until it is ready for commands.
    pub(super) async fn authenticate(
        &mut self,
        config: &tokio_postgres::Config,
    ) -> Result<(), WireError> {
        let user = config.get_user().unwrap_or("postgres").as_bytes();
        let password = || {
            config
                .get_password()
                .ok_or_else(|| WireError::Unsupported("the server wants a password".to_owned()))
        };
        let mut scram = None;
        loop {
            let mut message = self.message().await?;
            let mut out = BytesMut::new();
            match message.tag {
                b'E' => return Err(server_error(message.body)),
                b'Z' => return Ok(()),
                b'R' => {}
                _ => continue,
            }
            let body = &mut message.body;
            let asked = body.try_get_u32().map_err(|_| garbled())?;
            match asked {
                0 => continue,
                3 => frontend::password_message(password()?, &mut out)?,
                5 => {
                    let salt = body[..].try_into().map_err(|_| garbled())?;
                    let hash = md5_hash(user, password()?, salt);
                    frontend::password_message(hash.as_bytes(), &mut out)?;
                }
                10 => {
                    let offered = |mechanism: &str| {
                        body.split(|byte| *byte == 0)
                            .any(|name| name == mechanism.as_bytes())
                    };
                    if !offered(SCRAM_SHA_256) {
                        return Err(WireError::Unsupported(
                            "the server offers no SCRAM-SHA-256".to_owned(),
                        ));
                    }
                    let client = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, client.message(), &mut out)?;
                    scram = Some(client);
                }
                11 => {
                    let client = scram.as_mut().ok_or_else(garbled)?;
                    client.update(&take(body))?;
                    frontend::sasl_response(client.message(), &mut out)?;
                }
                12 => {
                    let client = scram.as_mut().ok_or_else(garbled)?;
                    client.finish(&take(body))?;
                    continue;
                }
                asked => {
                    return Err(WireError::Unsupported(format!(
                        "the server wants authentication of kind {asked}"
                    )));
                }
            }
            self.socket.write_all(&out).await?;
            self.socket.flush().await?;
        }
    }
}

fn take(body: &mut Bytes) -> Bytes {
    body.split_to(body.len())
}

fn garbled() -> WireError {
    WireError::Protocol("its request for authentication is garbled")
}
