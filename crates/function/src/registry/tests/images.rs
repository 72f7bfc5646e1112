//! Functions that are container images, from an OCI layout.

use std::fs;
use std::path::Path;

use container_image::{Digest, Image, Source, SourceConfig};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::{Arriving, ImageFault, ImageFaultKind, ImageOverrides, NewCode};

/// A folder of layouts.
struct Layouts(TempDir);

impl Layouts {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn blob(&self, layout: &Path, bytes: &[u8], media_type: &str) -> Value {
        let digest = Digest::of(bytes);
        let folder = layout.join("blobs/sha256");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// An image of one layer for each text, which is its file `text`.
    fn write(&self, name: &str, texts: &[&str]) {
        let layout = self.0.path().join(name);
        let archives = texts.iter().map(|text| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, "text", text.as_bytes())
                .unwrap();
            archive.into_inner().unwrap()
        });
        let archives: Vec<_> = archives.collect();
        let layers = archives
            .iter()
            .map(|archive| self.blob(&layout, archive, "application/vnd.oci.image.layer.v1.tar"));
        let layers: Vec<_> = layers.collect();
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive)).collect();
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let config = json!({
            "os": "linux", "architecture": architecture,
            "config": {"Cmd": ["main"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = self.blob(&layout, config.as_bytes(), kind);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = self.blob(&layout, manifest.to_string().as_bytes(), kind);
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
    }

    fn source(&self) -> Source {
        Source::new(SourceConfig {
            layouts: Some(self.0.path().to_owned()),
            max_bytes: 1 << 20,
            ..SourceConfig::default()
        })
    }

    async fn image(&self, name: &str) -> Image {
        let name = format!("oci:{name}").parse().unwrap();
        self.source().resolve(&name).await.unwrap()
    }
}

fn image_function(text: &str) -> NewFunction {
    NewFunction {
        runtime: String::new(),
        handler: String::new(),
        ..new(text)
    }
}

impl Place {
    async fn layers(&self) -> usize {
        let folder = object_store::path::Path::from("images");
        let listed: Vec<_> = self.store.list(Some(&folder)).try_collect().await.unwrap();
        listed.len()
    }
}

impl Registry {
    async fn create_image(&self, text: &str, image: Image) {
        let code = NewCode::Image(Box::new(image), ImageOverrides::default());
        self.create_function(image_function(text), code)
            .await
            .unwrap();
    }

    /// What the server does with what is awaited.
    async fn bring_all_in(&self, source: &Source) {
        for (name, image) in self.awaited_images() {
            self.bring_in(&image, source).await.unwrap();
            self.image_arrived(&name, &image, Ok(())).await.unwrap();
        }
    }

    async fn text(&self, function: &str) -> String {
        let function = self.function(&name(function)).unwrap();
        let root = self.code_dir(&function).await.unwrap();
        fs::read_to_string(root.join("text")).unwrap()
    }
}

#[tokio::test]
async fn an_image_outlives_its_source_the_cache_and_the_process() {
    let (place, layouts) = (Place::new(), Layouts::new());
    layouts.write("a", &["1", "2"]);
    let registry = place.open().await;
    registry.create_image("f", layouts.image("a").await).await;
    let function = registry.function(&name("f")).unwrap();
    let waits = registry.code_dir(&function).await.unwrap_err();
    assert!(matches!(waits, Error::ImagePending { .. }));
    // A crash before it has arrived.
    drop(registry);
    let registry = place.open().await;
    registry.bring_all_in(&layouts.source()).await;
    assert_eq!(registry.awaited_images(), []);
    drop((registry, layouts));
    fs::remove_dir_all(place.cache.path()).unwrap();
    let registry = place.open().await;
    assert_eq!(registry.text("f").await, "2");
    let left: Vec<_> = fs::read_dir(place.cache.path().join("images"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn an_update_runs_when_it_has_arrived_and_not_when_it_is_given_up() {
    let (place, layouts) = (Place::new(), Layouts::new());
    layouts.write("a", &["1"]);
    layouts.write("b", &["1", "2"]);
    let registry = place.open().await;
    registry.create_image("f", layouts.image("a").await).await;
    registry.bring_all_in(&layouts.source()).await;
    let (f, b) = (name("f"), layouts.image("b").await);
    let code = || NewCode::Image(Box::new(b.clone()), ImageOverrides::default());
    let before = registry.update_code(&f, None, code()).await.unwrap();
    assert_eq!(registry.text("f").await, "1");
    let again = registry.update_code(&f, None, code()).await.unwrap_err();
    assert!(matches!(again, Error::ImagePending { .. }));
    let zip = registry.update_code(&f, None, zip("1")).await.unwrap_err();
    assert!(matches!(zip, Error::OtherPackageType { .. }));
    let fault = ImageFault {
        kind: ImageFaultKind::Gone,
        reason: "gone".to_owned(),
    };
    registry.image_arrived(&f, &b, Err(fault)).await.unwrap();
    let failed = registry.function(&f).unwrap();
    assert_ne!(failed.revision, before.revision);
    let arriving = failed.image.as_ref().unwrap().arriving.as_ref().unwrap();
    assert!(matches!(arriving, Arriving::Failed { .. }));
    assert_eq!(registry.text("f").await, "1");
    registry.update_code(&f, None, code()).await.unwrap();
    registry.bring_all_in(&layouts.source()).await;
    assert_eq!(registry.text("f").await, "2");
}

#[tokio::test]
async fn layers_that_no_function_names_are_removed_and_others_stay() {
    let (place, layouts) = (Place::new(), Layouts::new());
    layouts.write("a", &["shared", "1"]);
    layouts.write("b", &["shared", "2"]);
    let registry = place.open().await;
    for (function, image) in [("f", "a"), ("g", "b")] {
        registry
            .create_image(function, layouts.image(image).await)
            .await;
    }
    registry.bring_all_in(&layouts.source()).await;
    assert_eq!(place.layers().await, 3);
    registry.delete_function(&name("f")).await.unwrap();
    assert_eq!(place.layers().await, 2);
    registry.delete_function(&name("g")).await.unwrap();
    assert_eq!(place.layers().await, 0);
}

#[tokio::test]
async fn a_layer_that_is_damaged_where_it_comes_from_or_is_kept_is_refused() {
    let (place, layouts) = (Place::new(), Layouts::new());
    layouts.write("a", &["1"]);
    let image = layouts.image("a").await;
    let layer = image.layers[0].digest;
    let file = layouts.0.path().join("a/blobs/sha256").join(layer.hex());
    let whole = fs::read(&file).unwrap();
    let mut broken = whole.clone();
    broken[600] ^= 1;
    fs::write(&file, &broken).unwrap();
    let registry = place.open().await;
    let refused = registry
        .bring_in(&image, &layouts.source())
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Image(container_image::Error::Invalid { .. })
        ),
        "{refused:?}"
    );
    fs::write(&file, &whole).unwrap();
    registry.create_image("f", image).await;
    registry.bring_all_in(&layouts.source()).await;
    drop(registry);
    fs::remove_dir_all(place.cache.path()).unwrap();
    let path = object_store::path::Path::from(format!("images/sha256/{}", layer.hex()));
    place.store.put(&path, broken.into()).await.unwrap();
    let registry = place.open().await;
    let function = registry.function(&name("f")).unwrap();
    let refused = registry.code_dir(&function).await.unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused:?}");
}

#[tokio::test]
async fn nothing_but_files_of_layouts_below_the_folder_can_be_read() {
    let layouts = Layouts::new();
    layouts.write("inner/a", &["1"]);
    let folder = layouts.0.path();
    for (link, target) in [("inner/link", "a"), ("file", "/etc/passwd")] {
        std::os::unix::fs::symlink(target, folder.join(link)).unwrap();
    }
    let inner = Source::new(SourceConfig {
        layouts: Some(folder.join("inner")),
        max_bytes: 1 << 20,
        ..SourceConfig::default()
    });
    inner.resolve(&"oci:a".parse().unwrap()).await.unwrap();
    for name in ["oci:link", "oci:b", "oci:a:other", "oci:a/blobs"] {
        let refused = inner.resolve(&name.parse().unwrap()).await;
        assert!(refused.is_err(), "{name}");
    }
    let none = Source::new(SourceConfig::default());
    for name in ["oci:a", "r.example/a", "127.0.0.1:5000/a"] {
        let refused = none.resolve(&name.parse().unwrap()).await.unwrap_err();
        assert!(
            matches!(refused, container_image::Error::NotPermitted { .. }),
            "{refused:?}"
        );
    }
}
