//! What a caller needs leave for: the action and the resource of each operation.
//!
//! Source: "Actions, resources, and condition keys for AWS Lambda", AWS service authorization reference,
//! 2026. Who makes or changes a function hands it its role, and may have code fetched from a bucket:
//! both need leave of their own.

use access::Caller;
use serde_json::Value;

use crate::operation::Operation;
use crate::router::Request;
use crate::{ApiError, State};

/// Whether `caller` may have `operation` done.
pub(crate) fn check(
    state: &State,
    caller: &Caller,
    operation: Operation,
    request: &Request,
) -> Result<(), ApiError> {
    if caller.is_account() {
        return Ok(());
    }
    // What is no JSON is refused by the operation itself.
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let action = format!("lambda:{}", action(operation));
    caller.check(&action, &resource(state, operation, request, &body)?)?;
    match operation {
        Operation::CreateFunction | Operation::UpdateFunctionConfiguration => {
            if let Some(role) = body["Role"].as_str() {
                caller.check("iam:PassRole", role)?;
            }
            check_code(caller, &body["Code"])
        }
        Operation::UpdateFunctionCode => check_code(caller, &body),
        Operation::PublishLayerVersion => check_code(caller, &body["Content"]),
        _ => Ok(()),
    }
}

/// Whether the caller may read the object that code is to be fetched from, if any.
fn check_code(caller: &Caller, place: &Value) -> Result<(), ApiError> {
    let (Some(bucket), Some(key)) = (place["S3Bucket"].as_str(), place["S3Key"].as_str()) else {
        return Ok(());
    };
    let action = match place["S3ObjectVersion"].as_str() {
        Some(_) => "s3:GetObjectVersion",
        None => "s3:GetObject",
    };
    Ok(caller.check(action, &format!("arn:aws:s3:::{bucket}/{key}"))?)
}

/// IAM's name of an operation, without the service.
fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Invoke => "InvokeFunction",
        Operation::GetLayerVersionByArn | Operation::DownloadLayer => "GetLayerVersion",
        Operation::DownloadCode => "GetFunction",
        other => other.name(),
    }
}

/// The ARN of what an operation is about; `*` where it is about none.
fn resource(
    state: &State,
    operation: Operation,
    request: &Request,
    body: &Value,
) -> Result<String, ApiError> {
    let (region, account) = (&state.region, &state.account);
    let arn = |rest: String| format!("arn:aws:lambda:{region}:{account}:{rest}");
    Ok(match operation {
        Operation::CreateFunction => {
            let name = body["FunctionName"].as_str().unwrap_or_default();
            state.target_arn(&state.qualified(name, None)?)
        }
        Operation::ListFunctions
        | Operation::GetAccountSettings
        | Operation::CreateEventSourceMapping
        | Operation::ListEventSourceMappings
        | Operation::ListLayers
        | Operation::ListLayerVersions
        | Operation::Unsupported(_) => "*".to_owned(),
        Operation::GetEventSourceMapping
        | Operation::UpdateEventSourceMapping
        | Operation::DeleteEventSourceMapping => {
            arn(format!("event-source-mapping:{}", request.piece(0)))
        }
        Operation::TagResource | Operation::UntagResource | Operation::ListTags => {
            request.piece(0).to_owned()
        }
        Operation::PublishLayerVersion => arn(format!("layer:{}", request.piece(0))),
        Operation::GetLayerVersion | Operation::DeleteLayerVersion | Operation::DownloadLayer => {
            arn(format!("layer:{}:{}", request.piece(0), request.piece(1)))
        }
        Operation::GetLayerVersionByArn => request.query.get("Arn").unwrap_or("*").to_owned(),
        Operation::GetFunction
        | Operation::GetFunctionConfiguration
        | Operation::UpdateFunctionCode
        | Operation::UpdateFunctionConfiguration
        | Operation::DeleteFunction
        | Operation::Invoke
        | Operation::PutFunctionConcurrency
        | Operation::GetFunctionConcurrency
        | Operation::DeleteFunctionConcurrency
        | Operation::ListProvisionedConcurrencyConfigs
        | Operation::DeleteProvisionedConcurrencyConfig
        | Operation::GetProvisionedConcurrencyConfig
        | Operation::PutProvisionedConcurrencyConfig
        | Operation::PutFunctionEventInvokeConfig
        | Operation::UpdateFunctionEventInvokeConfig
        | Operation::GetFunctionEventInvokeConfig
        | Operation::DeleteFunctionEventInvokeConfig
        | Operation::ListFunctionEventInvokeConfigs
        | Operation::ListVersionsByFunction
        | Operation::PublishVersion
        | Operation::CreateAlias
        | Operation::GetAlias
        | Operation::UpdateAlias
        | Operation::DeleteAlias
        | Operation::ListAliases
        | Operation::AddPermission
        | Operation::RemovePermission
        | Operation::GetPolicy
        | Operation::GetFunctionCodeSigningConfig
        | Operation::GetFunctionRecursionConfig
        | Operation::DownloadCode => state.target_arn(&request.target(state)?),
    })
}
