//! Whether this build's Kafka client can do what its properties ask for.
//!
//! TLS and SCRAM need OpenSSL, which a build has only when it was asked for. Without this, the client
//! would say so in words about itself, and only once it connects.

use std::collections::BTreeMap;

use anyhow::bail;
use rdkafka::ClientConfig;

const HOW: &str = "build tidemill with --features kafka-tls";

/// Refuses properties that ask for what was not built in. `section` is what holds `client`.
///
/// # Errors
/// Names the property and what to do.
pub(super) fn check(section: &str, client: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let built_in = ClientConfig::new()
        .create_native_config()
        .and_then(|client| client.get("builtin.features"))?;
    match lacking(client, &built_in) {
        Some(what) => bail!("{section}.client: {what}"),
        None => Ok(()),
    }
}

/// What `client` asks for that is not among the features of librdkafka, comma separated.
fn lacking(client: &BTreeMap<String, String>, built_in: &str) -> Option<String> {
    let has = |feature| built_in.split(',').any(|it| it == feature);
    let protocol = client.get("security.protocol")?.to_ascii_lowercase();
    if protocol.ends_with("ssl") && !has("ssl") {
        return Some(format!(
            "security.protocol {protocol:?} is TLS, which this build does not have; {HOW}"
        ));
    }
    if !protocol.starts_with("sasl_") {
        return None;
    }
    let names = ["sasl.mechanism", "sasl.mechanisms"];
    let Some(mechanism) = names.iter().find_map(|name| client.get(*name)) else {
        return (!has("sasl_gssapi")).then(|| {
            format!("security.protocol {protocol:?} also needs sasl.mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        });
    };
    match mechanism.to_ascii_uppercase().as_str() {
        "GSSAPI" if !has("sasl_gssapi") => Some(
            "sasl.mechanism GSSAPI (Kerberos) is not built in: take PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
                .to_owned(),
        ),
        scram if scram.starts_with("SCRAM-") && !has("sasl_scram") => Some(format!(
            "sasl.mechanism {mechanism:?} needs OpenSSL, which this build does not have; {HOW}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAN: &str = "gzip,snappy,sasl,regex,lz4,sasl_plain,plugins";
    const FULL: &str = "gzip,snappy,ssl,sasl,regex,lz4,sasl_plain,sasl_scram,plugins";

    fn said(properties: &[(&str, &str)], built_in: &str) -> Option<String> {
        let properties = properties.iter();
        let client = properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        lacking(&client.collect(), built_in)
    }

    #[test]
    fn what_was_not_built_in_is_named_with_what_to_do() {
        for (properties, name) in [
            (&[("security.protocol", "SSL")][..], "security.protocol"),
            (
                &[
                    ("security.protocol", "sasl_ssl"),
                    ("sasl.mechanism", "PLAIN"),
                ],
                "security.protocol",
            ),
            (
                &[
                    ("security.protocol", "sasl_plaintext"),
                    ("sasl.mechanisms", "scram-sha-512"),
                ],
                "sasl.mechanism",
            ),
        ] {
            let text = said(properties, LEAN).unwrap();
            assert!(text.contains(name) && text.contains("kafka-tls"), "{text}");
            assert_eq!(said(properties, FULL), None);
        }
    }

    #[test]
    fn kerberos_is_never_built_in_and_is_what_no_mechanism_means() {
        for properties in [
            &[("security.protocol", "sasl_ssl")][..],
            &[
                ("security.protocol", "sasl_ssl"),
                ("sasl.mechanism", "GSSAPI"),
            ],
        ] {
            let text = said(properties, FULL).unwrap();
            assert!(text.contains("SCRAM-SHA-512"), "{text}");
        }
    }

    #[test]
    fn what_every_build_can_do_is_taken() {
        for properties in [
            &[][..],
            &[("sasl.username", "ada")],
            &[("security.protocol", "plaintext")],
            &[
                ("security.protocol", "sasl_plaintext"),
                ("sasl.mechanism", "PLAIN"),
            ],
        ] {
            assert_eq!(said(properties, LEAN), None);
        }
    }

    /// Whichever build this is: what the check lets pass, the client takes, and nothing else.
    #[test]
    fn the_client_agrees() {
        for (protocol, mechanism) in [
            ("ssl", "PLAIN"),
            ("sasl_ssl", "SCRAM-SHA-256"),
            ("sasl_plaintext", "SCRAM-SHA-512"),
            ("sasl_plaintext", "PLAIN"),
            ("sasl_plaintext", "GSSAPI"),
        ] {
            let properties = [
                ("security.protocol", protocol),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "ada"),
                ("sasl.password", "x"),
            ];
            let mut client = ClientConfig::new();
            for (name, value) in properties {
                client.set(name, value);
            }
            let made = client.create::<rdkafka::producer::BaseProducer>();
            let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let checked = check("connector", &properties.into());
            assert_eq!(
                checked.is_ok(),
                made.is_ok(),
                "{checked:?} {:?}",
                made.err()
            );
        }
    }
}
