use std::sync::Arc;

use super::*;
use crate::{Login, Users};

fn gate() -> Gate {
    Gate::new(Login::new("user", "pencil").into())
}

fn begin(gate: &Gate, mechanism: &str) -> Exchange {
    gate.begin(mechanism).unwrap()
}

#[test]
fn plain_takes_the_login_and_nothing_else() {
    let gate = gate();
    for (token, outcome) in [
        (&b"\0user\0pencil"[..], Ok(Step::Done(Vec::new()))),
        (b"user\0user\0pencil", Ok(Step::Done(Vec::new()))),
        (b"admin\0user\0pencil", Err(Denied::OtherUser)),
        (b"\0user\0pencils", Err(Denied::Wrong)),
        (b"\0user\0penci", Err(Denied::Wrong)),
        (b"\0User\0pencil", Err(Denied::Wrong)),
        (b"\0nobody\0pencil", Err(Denied::Wrong)),
        (b"\0user\0", Err(Denied::Malformed)),
        (b"\0\0pencil", Err(Denied::Malformed)),
        (b"user\0pencil", Err(Denied::Malformed)),
        (b"\0user\0pencil\0", Err(Denied::Malformed)),
        (b"", Err(Denied::Malformed)),
    ] {
        let mut exchange = begin(&gate, "PLAIN");
        assert_eq!(exchange.step(&gate, token), outcome, "{token:?}");
    }
}

/// Everybody whose name is an `n` and a number has that number as the password.
#[derive(Debug)]
struct Numbers;

impl Users for Numbers {
    fn secret(&self, user: &str) -> Option<String> {
        let number = user.strip_prefix('n')?.parse::<u32>().ok()?;
        Some(number.to_string())
    }
}

#[test]
fn further_users_log_in_by_plain() {
    let login = Login::new("user", "pencil");
    let gate = Gate::new(Sasl::new(login, Arc::new(Numbers)));
    for (token, outcome) in [
        (&b"\0n7\x007"[..], Ok(Step::Done(Vec::new()))),
        (b"\0user\0pencil", Ok(Step::Done(Vec::new()))),
        (b"\0n7\x008", Err(Denied::Wrong)),
        (b"\0n7\0pencil", Err(Denied::Wrong)),
        (b"\0user\x007", Err(Denied::Wrong)),
        (b"\0seven\0seven", Err(Denied::Wrong)),
        (b"\0\xff\x007", Err(Denied::Wrong)),
    ] {
        let mut exchange = begin(&gate, "PLAIN");
        assert_eq!(exchange.step(&gate, token), outcome, "{token:?}");
    }
}

#[test]
fn no_mechanism_is_invented() {
    for mechanism in ["", "plain", "GSSAPI", "SCRAM-SHA-1", "OAUTHBEARER"] {
        assert!(gate().begin(mechanism).is_none(), "{mechanism}");
    }
}

/// What a SCRAM client does with the server's first message; it puts `ahead` before the nonce.
fn answered<H: scram::Hash>(secret: &str, bare: &str, first: &[u8], ahead: &str) -> String {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    let first = std::str::from_utf8(first).unwrap();
    let field = |prefix: &str| {
        let mut fields = first.split(',');
        fields.find_map(|field| field.strip_prefix(prefix)).unwrap()
    };
    let salted = H::stretch(secret.as_bytes(), &base64.decode(field("s=")).unwrap());
    let client_key = H::hmac(salted.as_ref(), b"Client Key");
    let unproven = format!("c=biws,r={ahead}{}", field("r="));
    let said = format!("{bare},{first},{unproven}");
    let signature = H::hmac(H::hash(client_key.as_ref()).as_ref(), said.as_bytes());
    let pairs = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = pairs.map(|(key, sign)| key ^ sign).collect();
    format!("{unproven},p={}", base64.encode(proof))
}

fn tried<H: scram::Hash>(mechanism: &str, user: &str, secret: &str) -> Result<Step, Denied> {
    let gate = gate();
    let mut exchange = begin(&gate, mechanism);
    let bare = format!("n={user},r=abc");
    let Step::Continue(first) = exchange.step(&gate, format!("n,,{bare}").as_bytes())? else {
        panic!("let in by a name");
    };
    let answer = answered::<H>(secret, &bare, &first, "");
    exchange.step(&gate, answer.as_bytes())
}

#[test]
fn scram_takes_who_knows_the_secret_and_nobody_else() {
    for (mechanism, try_it) in [
        (
            "SCRAM-SHA-256",
            tried::<scram::Sha256> as fn(&str, &str, &str) -> Result<Step, Denied>,
        ),
        ("SCRAM-SHA-512", tried::<scram::Sha512>),
    ] {
        let Ok(Step::Done(verifier)) = try_it(mechanism, "user", "pencil") else {
            panic!("{mechanism} does not take the login");
        };
        assert!(verifier.starts_with(b"v="));
        assert_eq!(try_it(mechanism, "user", "pen"), Err(Denied::Wrong));
        assert_eq!(try_it(mechanism, "nobody", "pencil"), Err(Denied::Wrong));
    }
}

#[test]
fn scram_takes_the_doubled_nonce_of_older_librdkafka_and_no_other() {
    for (ahead, lets_in) in [("abc", true), ("abd", false), ("abcabc", false)] {
        let gate = gate();
        let bare = "n=user,r=abc";
        let mut exchange = begin(&gate, "SCRAM-SHA-512");
        let Ok(Step::Continue(first)) = exchange.step(&gate, format!("n,,{bare}").as_bytes())
        else {
            panic!("no challenge");
        };
        let answer = answered::<scram::Sha512>("pencil", bare, &first, ahead);
        let ended = exchange.step(&gate, answer.as_bytes());
        assert_eq!(ended.is_ok(), lets_in, "{ahead}");
    }
}

#[test]
fn scram_refuses_what_it_does_not_do() {
    let gate = gate();
    for (first, denied) in [
        ("p=tls-unique,,n=user,r=abc", Denied::ChannelBinding),
        ("n,a=admin,n=user,r=abc", Denied::OtherUser),
        ("n,,m=new,n=user,r=abc", Denied::Extension),
        ("n,,n=user,r=abc,tokenauth=true", Denied::Extension),
        ("n,,n=,r=abc", Denied::Malformed),
        ("n,,n=user,r=", Denied::Malformed),
        ("n,,n=us=er,r=abc", Denied::Malformed),
        ("n,,n=user", Denied::Malformed),
        ("n=user,r=abc", Denied::Malformed),
        ("", Denied::Malformed),
    ] {
        let mut exchange = begin(&gate, "SCRAM-SHA-256");
        let refused = exchange.step(&gate, first.as_bytes());
        assert_eq!(refused, Err(denied), "{first}");
        let again = exchange.step(&gate, b"n,,n=user,r=abc");
        assert_eq!(again, Err(Denied::Malformed), "{first} was the last word");
    }
}

#[test]
fn a_proof_of_another_exchange_is_worth_nothing() {
    let gate = gate();
    let bare = "n=user,r=abc";
    let mut heard = begin(&gate, "SCRAM-SHA-256");
    let Ok(Step::Continue(first)) = heard.step(&gate, b"n,,n=user,r=abc") else {
        panic!("no challenge");
    };
    let proof = answered::<scram::Sha256>("pencil", bare, &first, "");
    let mut replayed = begin(&gate, "SCRAM-SHA-256");
    replayed.step(&gate, b"n,,n=user,r=abc").unwrap();
    let refused = replayed.step(&gate, proof.as_bytes());
    assert_eq!(refused, Err(Denied::Malformed));
}

#[test]
fn users_that_do_not_exist_keep_their_salt() {
    let gate = gate();
    assert_eq!(gate.salt("nobody"), gate.salt("nobody"));
    assert_ne!(gate.salt("nobody"), gate.salt("somebody"));
}
