//! How layers are shown.

use std::time::Duration;

use function::{Function, LayerVersion};
use http::header::HOST;
use serde_json::{Value, json};

use crate::State;
use crate::functions::moment;
use crate::router::{Request, SERVICE};

/// How long a link to a layer's content is good for (AWS developer guide, `GetLayerVersion`, 2026).
const LOCATION_LIFE: Duration = Duration::from_secs(10 * 60);

/// AWS's `GetLayerVersionResponse`.
pub(super) fn published(state: &State, request: &Request, layer: &LayerVersion) -> Value {
    let mut shown = summary(state, layer);
    shown["LayerArn"] = json!(layer_arn(state, layer));
    shown["Content"] = json!({
        "CodeSha256": layer.content.sha256,
        "CodeSize": layer.content.size,
    });
    if let Some(location) = location(state, request, layer) {
        shown["Content"]["Location"] = json!(location);
    }
    shown
}

/// AWS's `LayerVersionsListItem`.
pub(super) fn summary(state: &State, layer: &LayerVersion) -> Value {
    let mut shown = json!({
        "LayerVersionArn": layer.id.arn(&state.region, &state.account),
        "Version": layer.id.version,
        "Description": layer.description,
        "CreatedDate": moment(layer.created),
    });
    if !layer.compatible_runtimes.is_empty() {
        shown["CompatibleRuntimes"] = json!(layer.compatible_runtimes);
    }
    if !layer.compatible_architectures.is_empty() {
        shown["CompatibleArchitectures"] = json!(layer.compatible_architectures);
    }
    if !layer.license.is_empty() {
        shown["LicenseInfo"] = json!(layer.license);
    }
    shown
}

/// A function's layers, in AWS's `FunctionConfiguration`. Deleted ones are shown with the rest.
pub(crate) fn shown_on_function(state: &State, function: &Function) -> Vec<Value> {
    let layers = function.layers.iter().map(|id| {
        let mut shown = json!({"Arn": id.arn(&state.region, &state.account)});
        if let Some(layer) = state.registry.layer_version(id) {
            shown["CodeSize"] = json!(layer.content.size);
        }
        shown
    });
    layers.collect()
}

pub(super) fn layer_arn(state: &State, layer: &LayerVersion) -> String {
    let (region, account, name) = (&state.region, &state.account, &layer.id.name);
    format!("arn:aws:lambda:{region}:{account}:layer:{name}")
}

/// A presigned link to the archive, on the host that the client used.
fn location(state: &State, request: &Request, layer: &LayerVersion) -> Option<String> {
    let host = request.headers.get(HOST)?.to_str().ok()?;
    let signer = state.verifier.signer(&state.region, SERVICE);
    let (name, version) = (&layer.id.name, layer.id.version);
    let path = format!("/2018-10-31/layers/{name}/versions/{version}/content");
    signer.presign(host, &path, state.clock.now(), LOCATION_LIFE)
}
