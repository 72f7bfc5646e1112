use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::database::{Database, address};
use crate::run::Run;

const TABLE: &str = "CREATE TABLE item (id int PRIMARY KEY)";

/// Files that the server may read, and what vouches for it.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(
        (1..=u8::MAX)
            .map(|it| address(it).to_string())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    let given = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, readable).unwrap();
        path
    };
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, open).unwrap();
    (
        given("server.crt", &cert.pem()),
        given("server.key", &signing_key.serialize_pem()),
    )
}

#[tokio::test]
async fn a_login_with_few_rights_over_tls_reads_a_table_and_nothing_less_does() {
    let test = "a_login_with_few_rights_over_tls_reads_a_table_and_nothing_less_does";
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(files.path());
    let settings = [
        format!("--ssl-cert={}", certificate.display()),
        format!("--ssl-key={}", key.display()),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let Some(database) = Database::find_with(test, &settings).await else {
        return;
    };
    database.run(TABLE).await;
    database
        .run(
            "INSERT INTO item VALUES (1);
CREATE USER ada@'127.0.0.1' IDENTIFIED BY 'hush' REQUIRE SSL;
GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO ada@'127.0.0.1'",
        )
        .await;
    let mut run = Run::of(&database, &["item"]);
    run.config.url = run.config.url.replace("root@", "ada@");
    run.config.password = Some("hush".to_owned());
    run.start();
    let refused = refusal(&mut run).await;
    assert!(refused.contains("Access denied"), "{refused}");

    run.config.ca_certificates = Some(certificate);
    run.config.password = Some("guessed".to_owned());
    run.start();
    let refused = refusal(&mut run).await;
    assert!(refused.contains("Access denied"), "{refused}");

    run.config.password = Some("hush".to_owned());
    run.start();
    let refused = refusal(&mut run).await;
    assert!(
        refused.contains("shop") && refused.contains("denied"),
        "{refused}"
    );

    database
        .run("GRANT SELECT ON shop.item TO ada@'127.0.0.1'")
        .await;
    run.start();
    let events = run.fence(&database, "item", 2).await;
    assert_eq!(events.len(), 1);
    run.crash().await;
}

/// Why it gave up, causes and all.
async fn refusal(run: &mut Run) -> String {
    let error = run.given_up().await;
    assert!(!error.contains("hush"), "{error}");
    error
}

#[tokio::test]
async fn a_log_without_every_row_is_refused_with_what_to_set() {
    let test = "a_log_without_every_row_is_refused_with_what_to_set";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    for (name, value, right) in [
        ("binlog_format", "STATEMENT", "ROW"),
        ("binlog_row_image", "MINIMAL", "FULL"),
        ("binlog_row_metadata", "NO_LOG", "FULL"),
        ("log_bin_compress", "ON", "OFF"),
    ] {
        database.run(&format!("SET GLOBAL {name} = {value}")).await;
        let mut run = Run::of(&database, &["item"]);
        run.start();
        let refused = run.given_up().await;
        let remedy = format!("SET GLOBAL {name} = {right}");
        assert!(refused.contains(&remedy), "{refused}");
        database.run(&remedy).await;
    }
}

#[tokio::test]
async fn tables_that_cannot_be_read_exactly_are_refused_by_name() {
    let test = "tables_that_cannot_be_read_exactly_are_refused_by_name";
    let Some(database) = Database::find(test).await else {
        return;
    };
    for (definition, why) in [
        ("(n int)", "primary key"),
        ("(id int PRIMARY KEY) ENGINE = Aria", "Aria"),
        ("(id int PRIMARY KEY, u uuid)", "uuid"),
        ("(id int PRIMARY KEY, p point)", "point"),
        ("(id float PRIMARY KEY)", "key"),
        ("(id int PRIMARY KEY, t text CHARACTER SET big5)", "big5"),
    ] {
        let create = format!("CREATE OR REPLACE TABLE odd {definition}");
        database.run(&create).await;
        let mut run = Run::of(&database, &["odd"]);
        run.start();
        let refused = run.given_up().await;
        assert!(
            refused.contains("odd") && refused.contains(why),
            "{refused}"
        );
    }
    let mut run = Run::of(&database, &["missing"]);
    run.start();
    let refused = run.given_up().await;
    assert!(refused.contains("shop.missing"), "{refused}");
}
