//! Container images: their own root, program and variables.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::Image;

/// An image with what a sandbox wants to find, and nothing to run.
fn image(bench: &Bench, command: &[&str]) -> Spec {
    let mut spec = bench.spec("provided.al2023", "", "README", "nothing");
    for folder in ["dev", "etc", "proc", "tmp"] {
        std::fs::create_dir(spec.code.join(folder)).unwrap();
    }
    for file in ["etc/hosts", "etc/resolv.conf"] {
        std::fs::write(spec.code.join(file), "").unwrap();
    }
    let pairs = [("GREETING", "image"), ("PATH", "/app"), ("OTHER", "image")];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    spec.image = Some(Image {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: pairs.into_iter().map(owned).collect(),
        directory: PathBuf::from("/"),
    });
    spec
}

fn program(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "not a program").unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn an_image_whose_program_cannot_be_executed_has_no_entry_point() {
    let Some(bench) = Bench::having("sh") else {
        return;
    };
    for command in [
        &[][..],
        &["/missing"],
        &["missing"],
        &["/README"],
        &["/app/broken"],
    ] {
        let spec = Arc::new(image(&bench, command));
        program(&spec.code.join("app/broken"));
        let launched = bench.launcher.launch(&spec).await;
        let refused = launched.err().unwrap();
        assert!(
            matches!(refused, LaunchError::EntryPoint { .. }),
            "{command:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_image_is_refused_where_there_is_no_sandbox() {
    let Some(bench) = Bench::plain("sh") else {
        return;
    };
    let spec = Arc::new(image(&bench, &["/missing"]));
    let refused = bench.launcher.launch(&spec).await.err().unwrap();
    assert!(matches!(refused, LaunchError::Image { .. }), "{refused:?}");
}

#[tokio::test]
async fn variables_of_an_image_give_way_to_the_functions_and_prevail_over_defaults() {
    let Some(bench) = Bench::plain("sh") else {
        return;
    };
    let mut spec = image(&bench, &["/missing"]);
    spec.handler = "app.handler".to_owned();
    let place = Place::inside();
    let environment = environment::of(&spec, &place.surroundings("api".to_owned(), "stream"));
    for (name, value) in [
        ("GREETING", "hello"),
        ("OTHER", "image"),
        ("PATH", "/app"),
        ("HOME", "/tmp"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("_HANDLER", "app.handler"),
        ("AWS_LAMBDA_RUNTIME_API", "api"),
    ] {
        assert_eq!(
            environment.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert!(!environment.contains_key("AWS_EXECUTION_ENV"));
    assert!(!environment.contains_key("LD_LIBRARY_PATH"));
}

#[tokio::test]
async fn extensions_of_an_image_are_looked_for_within_its_root() {
    let Some(bench) = Bench::plain("sh") else {
        return;
    };
    let spec = image(&bench, &["/missing"]);
    assert_eq!(extension::names(&spec).await.unwrap(), Vec::<String>::new());
    let extensions = spec.code.join("srv/extensions");
    program(&extensions.join("b"));
    program(&spec.code.join("srv/a"));
    std::fs::write(extensions.join("plain"), "").unwrap();
    std::fs::create_dir(extensions.join("folder")).unwrap();
    // By absolute links, as images have them. This machine has a shell, and the image has not.
    symlink("/srv", spec.code.join("opt")).unwrap();
    symlink("/srv/a", extensions.join("a")).unwrap();
    symlink("/bin/sh", extensions.join("shell")).unwrap();
    assert_eq!(extension::names(&spec).await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn extensions_behind_relative_links_are_found_while_others_rename() {
    let Some(bench) = Bench::plain("sh") else {
        return;
    };
    let spec = image(&bench, &["/missing"]);
    program(&spec.code.join("opt/a"));
    std::fs::create_dir(spec.code.join("opt/extensions")).unwrap();
    symlink("../../opt/../opt/a", spec.code.join("opt/extensions/a")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| elsewhere.path().join(name));
    std::fs::write(&one, "").unwrap();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let ending = Arc::clone(&over);
    let renaming = std::thread::spawn(move || {
        while !ending.load(relaxed) {
            std::fs::rename(&one, &other).unwrap();
            std::fs::rename(&other, &one).unwrap();
        }
    });
    let mut found = Vec::new();
    for _ in 0..2_000 {
        found.push(extension::names(&spec).await.unwrap());
    }
    over.store(true, relaxed);
    renaming.join().unwrap();
    assert_eq!(found.iter().find(|names| **names != ["a"]), None);
}
