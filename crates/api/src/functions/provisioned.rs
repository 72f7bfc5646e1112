//! Provisioned concurrency of versions and aliases.

use axum::response::Response;
use dispatcher::ProvisionError;
use function::{FunctionName, ProvisionedConcurrency, QualifiedName, Qualifier, Version};
use http::StatusCode;
use serde_json::{Value, json};

use super::permissions::attributes;
use super::read::listed;
use super::shape::moment;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

/// Configurations on one page (service model: at most 50).
const PAGE: usize = 50;
const MEMBER: &str = "ProvisionedConcurrentExecutions";

pub(crate) async fn put_provisioned(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let target = target(state, request)?;
    let mut members = request.members()?;
    let executions = members.natural(MEMBER, 1..=u32::MAX)?;
    members.finish()?;
    let Some(executions) = executions else {
        return Err(ApiError::Validation(
            "Value null at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member \
             must not be null"
                .to_owned(),
        ));
    };
    if state.expect_version(&target)?.version == Version::Latest {
        return Err(unpublished());
    }
    check(state, &target, executions)?;
    let provisioned = ProvisionedConcurrency {
        executions,
        configured_at: state.clock.now(),
    };
    state
        .registry
        .update_attributes_of(&target, None, |attributes| {
            attributes.provisioned = Some(provisioned);
        })
        .await?;
    let shown = json!({
        "RequestedProvisionedConcurrentExecutions": executions,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": moment(provisioned.configured_at),
    });
    Ok(answer(StatusCode::ACCEPTED, shown))
}

pub(crate) fn get_provisioned(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = target(state, request)?;
    let (attributes, _) = attributes(state, &target)?;
    match attributes.provisioned {
        Some(provisioned) => Ok(answer(StatusCode::OK, shape(state, &target, provisioned))),
        None => Err(ApiError::NotProvisioned),
    }
}

pub(crate) async fn delete_provisioned(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let target = target(state, request)?;
    attributes(state, &target)?;
    state
        .registry
        .update_attributes_of(&target, None, |attributes| attributes.provisioned = None)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) fn list_provisioned(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, PAGE)?;
    let function = state.expect_function(&request.function(state)?)?;
    let all = configured(state, &function.name);
    let (shown, next) = page.cut(all, |(target, _)| target.to_string());
    let shown = shown.iter().map(|(target, provisioned)| {
        let mut shown = shape(state, target, *provisioned);
        shown["FunctionArn"] = json!(state.target_arn(target));
        shown
    });
    Ok(answer(
        StatusCode::OK,
        listed("ProvisionedConcurrencyConfigs", shown.collect(), next),
    ))
}

/// What all versions and aliases of a function have together.
pub(super) fn provisioned_in_all(state: &State, function: &FunctionName) -> u32 {
    let all = configured(state, function).into_iter();
    all.fold(0, |sum, (_, it)| sum.saturating_add(it.executions))
}

/// What the path and its qualifier name: a published version or an alias.
fn target(state: &State, request: &Request) -> Result<QualifiedName, ApiError> {
    let target = request.target(state)?;
    match target.meant() {
        Qualifier::Version(Version::Published(_)) | Qualifier::Alias(_) => Ok(target),
        Qualifier::Version(Version::Latest) => Err(unpublished()),
    }
}

fn unpublished() -> ApiError {
    ApiError::InvalidParameter(
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            .to_owned(),
    )
}

/// Everything of a function that has some, by what it is called.
fn configured(
    state: &State,
    function: &FunctionName,
) -> Vec<(QualifiedName, ProvisionedConcurrency)> {
    let versions = state.registry.versions(function).into_iter();
    let versions =
        versions.map(|version| (Qualifier::Version(version.version), version.provisioned));
    let aliases = state.registry.aliases(function).into_iter();
    let aliases = aliases.map(|alias| (Qualifier::Alias(alias.name.clone()), alias.provisioned));
    let all = versions.chain(aliases);
    let mut all: Vec<_> = all
        .filter_map(|(qualifier, provisioned)| {
            let target = QualifiedName {
                name: function.clone(),
                qualifier: Some(qualifier),
            };
            Some((target, provisioned?))
        })
        .collect();
    all.sort_by_cached_key(|(target, _)| target.to_string());
    all
}

/// Refuses more than there is room for, and a version that has some twice.
fn check(state: &State, target: &QualifiedName, wanted: u32) -> Result<(), ApiError> {
    let function = state.expect_function(&target.name)?;
    let mut others = 0_u32;
    for (other, provisioned) in configured(state, &target.name) {
        if other.means_the_same(target) {
            continue;
        }
        others = others.saturating_add(provisioned.executions);
        match (target.meant(), other.meant()) {
            (Qualifier::Alias(alias), Qualifier::Version(version)) => {
                let alias = state.registry.alias(&target.name, alias);
                if alias.is_some_and(|alias| alias.points_at(*version)) {
                    return Err(ApiError::Conflict(
                        "Alias can't be used for Provisioned Concurrency configuration on an \
                         already Provisioned version"
                            .to_owned(),
                    ));
                }
            }
            (Qualifier::Version(version), Qualifier::Alias(alias)) => {
                let alias = state.registry.alias(&target.name, alias);
                if alias.is_some_and(|alias| alias.points_at(*version)) {
                    return Err(ApiError::Conflict(
                        "Version is pointed by a Provisioned Concurrency alias".to_owned(),
                    ));
                }
            }
            (Qualifier::Alias(_), Qualifier::Alias(_))
            | (Qualifier::Version(_), Qualifier::Version(_)) => {}
        }
    }
    let checked = state.invoker.check_provision(&function, wanted, others);
    checked.map_err(|refused| {
        ApiError::InvalidParameter(match refused {
            ProvisionError::Reserved { .. } => {
                "Requested Provisioned Concurrency should not be greater than the \
                 reservedConcurrentExecution for function"
                    .to_owned()
            }
            ProvisionError::Account { left } => format!(
                "Specified ConcurrentExecutions for function is greater than account's unreserved \
                 concurrency [{left}]."
            ),
        })
    })
}

fn shape(state: &State, target: &QualifiedName, provisioned: ProvisionedConcurrency) -> Value {
    let versions = versions(state, target);
    let wanted = provisioned.executions as usize;
    let statuses: Vec<_> = versions
        .iter()
        .filter_map(|version| state.invoker.provisioned(version))
        .collect();
    let available: usize = statuses.iter().map(|it| it.available).sum();
    let failure = statuses.iter().find_map(|it| it.failure.as_ref());
    let mut shown = json!({
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AvailableProvisionedConcurrentExecutions": available.min(wanted),
        "AllocatedProvisionedConcurrentExecutions": available.min(wanted),
        "Status": match failure {
            _ if available >= wanted => "READY",
            Some(_) => "FAILED",
            None => "IN_PROGRESS",
        },
        "LastModified": moment(provisioned.configured_at),
    });
    if let Some(reason) = failure.filter(|_| available < wanted) {
        shown["StatusReason"] = json!(reason);
    }
    shown
}

/// The versions that `target` may run.
fn versions(state: &State, target: &QualifiedName) -> Vec<std::sync::Arc<function::Function>> {
    let versions = match target.meant() {
        Qualifier::Version(version) => vec![*version],
        Qualifier::Alias(name) => {
            let alias = state.registry.alias(&target.name, name);
            alias.map_or_else(Vec::new, |alias| {
                let additional = alias.additional.map(|additional| additional.version);
                [Some(alias.version), additional]
                    .into_iter()
                    .flatten()
                    .collect()
            })
        }
    };
    let found = versions.into_iter();
    found
        .filter_map(|version| state.registry.version(&target.name, version))
        .collect()
}
