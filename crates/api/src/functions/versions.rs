//! Published versions.

use axum::response::Response;
use function::limits::DESCRIPTION_CHARS;
use function::{Function, NewVersion, Version};
use http::StatusCode;

use super::manage::revision;
use super::read::listed;
use super::shape::{configuration, numbered};
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

/// Versions on one page (AWS shows 50, whatever more is asked for).
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 10_000;

pub(crate) async fn publish_version(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let mut members = request.members()?;
    let new = NewVersion {
        description: members.short_text("Description", DESCRIPTION_CHARS)?,
        expected: revision(&mut members)?,
        code_sha256: members.text("CodeSha256")?.filter(|text| !text.is_empty()),
    };
    members.finish()?;
    state.expect_function(&name)?;
    let version = state.registry.publish_version(&name, new).await?;
    Ok(answer(StatusCode::CREATED, configuration(state, &version)))
}

pub(crate) fn list_versions(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, LONGEST_PAGE)?;
    let latest = state.expect_function(&request.function(state)?)?;
    let mut versions = state.registry.versions(&latest.name);
    versions.insert(0, latest);
    let (shown, next) = page.cut(versions, |version| place(version));
    let shown = shown.iter().map(|version| numbered(state, version));
    Ok(answer(
        StatusCode::OK,
        listed("Versions", shown.collect(), next),
    ))
}

/// Where a version stands in lists: functions by name, versions by number, `$LATEST` first. What
/// parts name and number comes before every character of a name.
pub(super) fn place(version: &Function) -> String {
    match version.version {
        Version::Latest => version.name.to_string(),
        Version::Published(number) => format!("{}!{number:020}", version.name),
    }
}
