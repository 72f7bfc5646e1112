//! Looking at layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use function::{LayerId, LayerVersion};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::shape::{layer_arn, published, summary};
use crate::functions::listed;
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

/// Items on one page (service model, `MaxLayerListItems`).
const PAGE: usize = 50;

pub(crate) fn get(state: &State, request: &Request) -> Result<Response, ApiError> {
    let id = state.layer_id(request.piece(0), request.piece(1))?;
    let layer = expect(state, &id)?;
    Ok(answer(StatusCode::OK, published(state, request, &layer)))
}

pub(crate) fn get_by_arn(state: &State, request: &Request) -> Result<Response, ApiError> {
    let arn = request.query.get("Arn").unwrap_or_default();
    let id = state.layer_version_arn(arn)?;
    let layer = expect(state, &id)?;
    Ok(answer(StatusCode::OK, published(state, request, &layer)))
}

pub(crate) fn list(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, PAGE)?;
    // Versions come in ascending order, so that the last one of a layer is what stays.
    let mut latest = BTreeMap::new();
    for layer in matching(state, request) {
        latest.insert(layer.id.name.clone(), layer);
    }
    let (layers, next) = page.cut(latest.into_values(), |layer| {
        layer.id.name.as_str().to_owned()
    });
    let shown = layers.iter().map(|layer| {
        json!({
            "LayerName": layer.id.name.as_str(),
            "LayerArn": layer_arn(state, layer),
            "LatestMatchingVersion": summary(state, layer),
        })
    });
    Ok(answer(
        StatusCode::OK,
        listed("Layers", shown.collect(), next),
    ))
}

/// The latest first.
pub(crate) fn list_versions(state: &State, request: &Request) -> Result<Response, ApiError> {
    let name = state.layer_name(request.piece(0))?;
    let page = request.query.page(PAGE, PAGE)?;
    let versions = matching(state, request).rev();
    let versions = versions.filter(|layer| layer.id.name == name);
    // Pages go by ascending keys, versions the other way.
    let (versions, next) = page.cut(versions, |layer| {
        format!("{:020}", u64::MAX - layer.id.version)
    });
    let shown = versions.iter().map(|layer| summary(state, layer));
    let shown = listed("LayerVersions", shown.collect(), next);
    Ok(answer(StatusCode::OK, shown))
}

pub(crate) async fn download(state: &State, request: &Request) -> Result<Response, ApiError> {
    let id = state.layer_id(request.piece(0), request.piece(1))?;
    let layer = expect(state, &id)?;
    let archive = state.registry.layer_archive(&layer).await?;
    let mut response = archive.into_response();
    let zip = HeaderValue::from_static("application/zip");
    response.headers_mut().insert(CONTENT_TYPE, zip);
    Ok(response)
}

/// What the query's filters leave, by name and version.
fn matching(
    state: &State,
    request: &Request,
) -> impl DoubleEndedIterator<Item = Arc<LayerVersion>> {
    let runtime = request.query.get("CompatibleRuntime").map(str::to_owned);
    let machine = request.query.get("CompatibleArchitecture");
    let machine = machine.map(str::to_owned);
    let layers = state.registry.layer_versions().into_iter();
    layers.filter(move |layer| {
        let among = |wanted: &Option<String>, found: &[String]| {
            wanted.as_ref().is_none_or(|wanted| found.contains(wanted))
        };
        among(&runtime, &layer.compatible_runtimes)
            && among(&machine, &layer.compatible_architectures)
    })
}

fn expect(state: &State, id: &LayerId) -> Result<Arc<LayerVersion>, ApiError> {
    state
        .registry
        .layer_version(id)
        .ok_or_else(|| ApiError::NotFound("The resource you requested does not exist.".to_owned()))
}
