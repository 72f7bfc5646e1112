//! How a Java function is started.
//!
//! There is no Java of ours: AWS's own client runs the function, unmodified, from the package or a
//! layer. Users of Maven and Gradle have it there by naming one dependency more
//! (`com.amazonaws:aws-lambda-java-runtime-interface-client`).

use std::path::{Path, PathBuf};

use crate::Spec;

/// The class that asks for events.
const CLIENT: &str = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda";

/// The share of the function's memory that is the heap's, in percent. The rest is for the machine
/// itself, as at AWS (2026).
const HEAP_PERCENT: u64 = 85;

/// What Java is started with. It sees the memory of the whole machine, so it is told its own; one
/// collector thread and the quick compiler suit processes that live by milliseconds.
pub(super) fn arguments(spec: &Spec, code: &Path) -> Vec<PathBuf> {
    let heap = u64::from(spec.memory_mib) * 1024 * HEAP_PERCENT / 100;
    let code = code.display();
    let options = [
        format!("-XX:MaxHeapSize={heap}k"),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-Xshare:auto".to_owned(),
        "-cp".to_owned(),
        format!("{code}:{code}/lib/*:/opt/java/lib/*"),
        CLIENT.to_owned(),
        spec.handler.clone(),
    ];
    options.map(PathBuf::from).into()
}
