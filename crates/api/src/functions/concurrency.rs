//! Reserved concurrency.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::provisioned::provisioned_in_all;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

const MEMBER: &str = "ReservedConcurrentExecutions";

pub(crate) async fn put_concurrency(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let mut members = request.members()?;
    let wanted = members.natural(MEMBER, 0..=u32::MAX)?;
    members.finish()?;
    let Some(wanted) = wanted else {
        return Err(ApiError::Validation(
            "Value null at 'reservedConcurrentExecutions' failed to satisfy constraint: Member \
             must not be null"
                .to_owned(),
        ));
    };
    state.expect_function(&name)?;
    let provisioned = provisioned_in_all(state, &name);
    if wanted < provisioned {
        return Err(ApiError::InvalidParameter(format!(
            "ReservedConcurrentExecutions  {wanted} should not be lower than function's total \
             provisioned concurrency {provisioned}."
        )));
    }
    state
        .invoker
        .check_reservation(&name, wanted)
        .map_err(|refused| {
            ApiError::InvalidParameter(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [{}]. At most {} can be \
             reserved.",
                refused.minimum_unreserved, refused.available
            ))
        })?;
    state
        .registry
        .update_attributes(&name, None, |function| {
            function.reserved_concurrency = Some(wanted);
        })
        .await?;
    Ok(answer(StatusCode::OK, json!({MEMBER: wanted})))
}

pub(crate) fn get_concurrency(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = state.expect_function(&request.function(state)?)?;
    let shown = match function.reserved_concurrency {
        Some(reserved) => json!({MEMBER: reserved}),
        None => json!({}),
    };
    Ok(answer(StatusCode::OK, shown))
}

pub(crate) async fn delete_concurrency(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    state.expect_function(&name)?;
    state
        .registry
        .update_attributes(&name, None, |function| function.reserved_concurrency = None)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
