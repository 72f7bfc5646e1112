//! The environment of a process instance, as AWS Lambda sets it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::environment::{self, owned};
use crate::{Image, Runtime, Spec};

/// Where programs are looked for in an image that does not say it (container tools, 2026).
const IMAGE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an instance's environment takes from the platform.
pub(super) struct Surroundings<'a> {
    pub(super) runtime_api: String,
    pub(super) code: &'a Path,
    pub(super) runtimes: &'a Path,
    pub(super) search_path: &'a str,
    pub(super) temporary: &'a Path,
    pub(super) log_stream: &'a str,
}

/// What every instance of `runtime` has unless its function says otherwise.
pub(super) fn defaults(
    runtime: Runtime,
    surroundings: &Surroundings<'_>,
) -> BTreeMap<String, String> {
    let (runtimes, code) = (path(surroundings.runtimes), path(surroundings.code));
    let libraries = format!("{runtimes}:{runtimes}/lib:{code}:{code}/lib:/opt/lib");
    let defaults = [
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", surroundings.search_path.to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LD_LIBRARY_PATH", libraries),
        ("HOME", path(surroundings.temporary)),
    ];
    let modules = match runtime {
        Runtime::Node { major } => vec![(
            "NODE_PATH",
            format!(
                "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:{runtimes}/node_modules"
            ),
        )],
        Runtime::Ruby { major, minor } => {
            let version = format!("{major}.{minor}.0");
            let gems = format!("{code}/vendor/bundle/ruby/{version}:/opt/ruby/gems/{version}");
            vec![("GEM_PATH", gems), ("RUBYLIB", "/opt/ruby/lib".to_owned())]
        }
        Runtime::Python { .. }
        | Runtime::Java { .. }
        | Runtime::Dotnet { .. }
        | Runtime::Provided
        | Runtime::ProvidedAl2
        | Runtime::ProvidedAl2023
        | Runtime::Wasm => Vec::new(),
    };
    let defaults = defaults.into_iter().chain(modules);
    defaults.map(owned).collect()
}

/// The whole environment of an instance of `spec`. What the function configures gives way to what
/// the model reserves, and prevails over defaults.
pub(super) fn of(spec: &Spec, surroundings: &Surroundings<'_>) -> BTreeMap<String, String> {
    let places = [
        ("LAMBDA_TASK_ROOT", path(surroundings.code)),
        ("LAMBDA_RUNTIME_DIR", path(surroundings.runtimes)),
        ("TMPDIR", path(surroundings.temporary)),
    ];
    let places = places.into_iter().map(owned);
    let reserved = [
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            surroundings.log_stream.to_owned(),
        ),
        ("AWS_LAMBDA_RUNTIME_API", surroundings.runtime_api.clone()),
    ];
    let reserved = environment::reserved(spec).chain(reserved.into_iter().map(owned));
    match &spec.image {
        Some(image) => {
            let mut environment = of_image(image, places, surroundings);
            environment.extend(spec.environment.clone());
            environment.extend(reserved);
            environment
        }
        None => {
            let mut environment = defaults(spec.runtime, surroundings);
            environment.extend(spec.environment.clone());
            environment.extend(reserved);
            environment.extend(places);
            environment
        }
    }
}

/// What an image sets, which knows its own places, over what AWS's images have.
fn of_image(
    image: &Image,
    places: impl Iterator<Item = (String, String)>,
    surroundings: &Surroundings<'_>,
) -> BTreeMap<String, String> {
    let defaults = [
        ("PATH", IMAGE_PATH.to_owned()),
        ("HOME", path(surroundings.temporary)),
    ];
    let defaults = defaults.into_iter().map(owned).chain(places);
    defaults.chain(image.environment.clone()).collect()
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
