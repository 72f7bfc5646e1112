use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::database::{Database, Server};
use crate::run::Run;

/// Ada may log in with her password, and over TLS only.
const RULES: &str = "
    host    all postgres 127.0.0.1/32 trust
    hostssl all ada      127.0.0.1/32 scram-sha-256
";

/// Has the server speak TLS and know Ada, and returns what vouches for it.
async fn secured(server: &Server, admin: &Database) -> PathBuf {
    let data = server.data();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = given(&data, "server.crt", &cert.pem());
    given(&data, "server.key", &signing_key.serialize_pem());
    given(&data, "pg_hba.conf", RULES);
    admin.run("ALTER SYSTEM SET ssl = on").await;
    admin
        .run("CREATE ROLE ada LOGIN REPLICATION PASSWORD 'hush'")
        .await;
    let grant = format!("GRANT CREATE ON DATABASE {} TO ada", admin.name());
    admin.run(&grant).await;
    admin.run("SELECT pg_reload_conf()").await;
    certificate
}

/// A file that only the server may read, as it insists on for keys.
fn given(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let owner = std::fs::metadata(folder).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    path
}

#[tokio::test]
async fn a_login_with_scram_over_tls_reads_a_table_and_nothing_less_does() {
    let test = "a_login_with_scram_over_tls_reads_a_table_and_nothing_less_does";
    let Some(server) = Server::find(test, &[]).await else {
        return;
    };
    let database = Database::on(&server.address()).await;
    let certificate = secured(&server, &database).await;
    database
        .run(
            "CREATE TABLE item (id int PRIMARY KEY); ALTER TABLE item OWNER TO ada; \
             INSERT INTO item VALUES (1)",
        )
        .await;
    let mut run = Run::of(&database, &["item"]);
    run.config.url = run.config.url.replace("postgres@", "ada@");

    run.config.password = Some("hush".to_owned());
    run.start();
    let plain = refusal(&mut run).await;
    assert!(plain.contains("no encryption"), "{plain}");

    run.config.ca_certificates = Some(certificate);
    run.config.password = Some("guessed".to_owned());
    run.start();
    let guessed = refusal(&mut run).await;
    assert!(
        guessed.contains("password authentication failed"),
        "{guessed}"
    );

    run.config.password = Some("hush".to_owned());
    run.start();
    run.fence(&database, "item", 2).await;
    let encrypted = database
        .text(
            "SELECT bool_and(ssl)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE usename = 'ada'",
        )
        .await;
    assert_eq!(encrypted, "true");
    run.crash().await;
}

/// Why it gave up, causes and all.
async fn refusal(run: &mut Run) -> String {
    let error = run.given_up().await;
    assert!(!error.contains("hush"), "{error}");
    error
}
