//! Publishing and deleting versions of layers.

use axum::response::Response;
use function::NewLayerVersion;
use function::limits::{
    COMPATIBLE_ARCHITECTURES, COMPATIBLE_RUNTIMES, DESCRIPTION_CHARS, LICENSE_CHARS,
};
use http::StatusCode;

use super::shape::published;
use crate::functions::package;
use crate::members::Members;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

/// What a layer may be meant for (service model, `Architecture`).
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

pub(crate) async fn publish(state: &State, request: &Request) -> Result<Response, ApiError> {
    let name = state.layer_name(request.piece(0))?;
    let mut members = request.members()?;
    let description = members.short_text("Description", DESCRIPTION_CHARS)?;
    let license = members.short_text("LicenseInfo", LICENSE_CHARS)?;
    let compatible_runtimes = some_of(&mut members, "CompatibleRuntimes", COMPATIBLE_RUNTIMES)?;
    let compatible_architectures = some_of(
        &mut members,
        "CompatibleArchitectures",
        COMPATIBLE_ARCHITECTURES,
    )?;
    if let Some(other) = compatible_architectures
        .iter()
        .find(|found| !ARCHITECTURES.contains(&found.as_str()))
    {
        let constraint = "satisfy enum value set: [x86_64, arm64]";
        return Err(members.unsatisfied("CompatibleArchitectures", other, constraint));
    }
    let Some(mut place) = members.object("Content")? else {
        return Err(ApiError::Validation(
            "Value null at 'content' failed to satisfy constraint: Member must not be null"
                .to_owned(),
        ));
    };
    members.finish()?;
    let archive = package(state, &mut place).await?;
    place.finish()?;
    let new = NewLayerVersion {
        account: state.account.clone(),
        name,
        description: description.unwrap_or_default(),
        license: license.unwrap_or_default(),
        compatible_runtimes,
        compatible_architectures,
    };
    let layer = state.registry.publish_layer(new, archive).await?;
    let shown = published(state, request, &layer);
    Ok(answer(StatusCode::CREATED, shown))
}

/// Succeeds for a version that is not there, as with AWS.
pub(crate) async fn delete(state: &State, request: &Request) -> Result<Response, ApiError> {
    let id = state.layer_id(request.piece(0), request.piece(1))?;
    state.registry.delete_layer_version(&id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A list of at most `most` words.
fn some_of(members: &mut Members, name: &str, most: usize) -> Result<Vec<String>, ApiError> {
    let words = members.texts(name)?.unwrap_or_default();
    if words.len() > most {
        let constraint = format!("have length less than or equal to {most}");
        return Err(members.unsatisfied(name, &format!("[{}]", words.join(", ")), &constraint));
    }
    Ok(words)
}
