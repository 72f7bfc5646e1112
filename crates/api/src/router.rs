//! From a request to the operation that answers it.

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::members::Members;
use crate::operation::{self, Operation};
use crate::query::Query;
use crate::sigv4::{Refused, authenticate};
use crate::{ApiError, State, authorization, functions, invoke, layers, mappings};

/// The service that requests are signed for.
pub(crate) const SERVICE: &str = "lambda";
/// Bytes of a request that carries a package: 50 MiB in base64 (AWS's own number, 2026).
const PACKAGE_REQUEST_BYTES: usize = 69_905_067;
/// Bytes of every other request but an invocation: ours.
const REQUEST_BYTES: usize = 1024 * 1024;

/// A verified request.
#[derive(Debug)]
pub(crate) struct Request {
    /// The pieces of the path that the operation leaves open, decoded.
    pub(crate) pieces: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// A UUID; also the invocation's id.
    pub(crate) request_id: String,
}

impl Request {
    /// An open piece of the path. The operation's pattern has it.
    pub(crate) fn piece(&self, index: usize) -> &str {
        self.pieces.get(index).map_or("", String::as_str)
    }

    /// What the path names, with the query's qualifier.
    pub(crate) fn target(&self, state: &State) -> Result<function::QualifiedName, ApiError> {
        state.qualified(self.piece(0), self.query.get("Qualifier"))
    }

    /// The function that the path names, where versions and aliases make no sense.
    pub(crate) fn function(&self, state: &State) -> Result<function::FunctionName, ApiError> {
        state.function_name(self.piece(0), self.query.get("Qualifier"))
    }

    pub(crate) fn members(&self) -> Result<Members, ApiError> {
        Members::parse(&self.body)
    }
}

/// Answers requests to the Lambda API. Every answer carries `x-amzn-requestid`.
pub fn router(state: State) -> Router {
    Router::new().fallback(move |request: HttpRequest| {
        let state = state.clone();
        async move { answer(&state, request).await }
    })
}

async fn answer(state: &State, request: HttpRequest) -> Response {
    let started = state.clock.monotonic();
    let request_id = Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let call = operation::find(&parts);
    let operation = call.as_ref().map(|call| call.operation);
    let limit = body_limit(operation);
    let answered = async {
        let (body, caller) = authenticate(&state.verifier, SERVICE, &parts, body, limit)
            .await
            .map_err(|refused| refusal(refused, operation, limit))?;
        let call = call.ok_or_else(|| {
            ApiError::UnknownOperation(format!("{} {}", parts.method, parts.uri.path()))
        })?;
        let request = Request {
            pieces: call.pieces,
            query: Query::parse(parts.uri.query()),
            headers: parts.headers,
            body,
            request_id: request_id.clone(),
        };
        authorization::check(state, &caller, call.operation, &request)?;
        run(state, call.operation, request).await
    };
    let mut response = answered.await.unwrap_or_else(ApiError::into_response);
    let id = HeaderValue::from_str(&request_id).expect("a UUID is legal in a header");
    response.headers_mut().insert("x-amzn-requestid", id);
    let name = operation.map_or("unknown", Operation::name);
    let took = state.clock.monotonic().since(started);
    metrics::counter!(
        "tidemill_api_requests_total",
        "operation" => name, "status" => response.status().as_u16().to_string()
    )
    .increment(1);
    metrics::histogram!("tidemill_api_request_seconds", "operation" => name)
        .record(took.as_secs_f64());
    response
}

async fn run(state: &State, operation: Operation, request: Request) -> Result<Response, ApiError> {
    match operation {
        Operation::CreateFunction => functions::create(state, &request).await,
        Operation::GetFunction => functions::get(state, &request),
        Operation::GetFunctionConfiguration => functions::get_configuration(state, &request),
        Operation::UpdateFunctionCode => functions::update_code(state, &request).await,
        Operation::UpdateFunctionConfiguration => {
            functions::update_configuration(state, &request).await
        }
        Operation::DeleteFunction => functions::delete(state, &request).await,
        Operation::ListFunctions => functions::list(state, &request),
        Operation::PublishVersion => functions::publish_version(state, &request).await,
        Operation::CreateAlias => functions::create_alias(state, &request).await,
        Operation::GetAlias => functions::get_alias(state, &request),
        Operation::UpdateAlias => functions::update_alias(state, &request).await,
        Operation::DeleteAlias => functions::delete_alias(state, &request).await,
        Operation::ListAliases => functions::list_aliases(state, &request),
        Operation::ListVersionsByFunction => functions::list_versions(state, &request),
        Operation::GetFunctionCodeSigningConfig => functions::get_code_signing(state, &request),
        Operation::GetFunctionRecursionConfig => functions::get_recursion(state, &request),
        Operation::GetAccountSettings => functions::account_settings(state),
        Operation::PutFunctionConcurrency => functions::put_concurrency(state, &request).await,
        Operation::GetFunctionConcurrency => functions::get_concurrency(state, &request),
        Operation::DeleteFunctionConcurrency => {
            functions::delete_concurrency(state, &request).await
        }
        Operation::PutProvisionedConcurrencyConfig => {
            functions::put_provisioned(state, &request).await
        }
        Operation::GetProvisionedConcurrencyConfig => functions::get_provisioned(state, &request),
        Operation::DeleteProvisionedConcurrencyConfig => {
            functions::delete_provisioned(state, &request).await
        }
        Operation::ListProvisionedConcurrencyConfigs => {
            functions::list_provisioned(state, &request)
        }
        Operation::PutFunctionEventInvokeConfig => {
            functions::put_event_invoke(state, &request).await
        }
        Operation::UpdateFunctionEventInvokeConfig => {
            functions::update_event_invoke(state, &request).await
        }
        Operation::GetFunctionEventInvokeConfig => functions::get_event_invoke(state, &request),
        Operation::DeleteFunctionEventInvokeConfig => {
            functions::delete_event_invoke(state, &request).await
        }
        Operation::ListFunctionEventInvokeConfigs => functions::list_event_invoke(state, &request),
        Operation::AddPermission => functions::add_permission(state, &request).await,
        Operation::RemovePermission => functions::remove_permission(state, &request).await,
        Operation::GetPolicy => functions::get_policy(state, &request),
        Operation::TagResource => functions::tag(state, &request).await,
        Operation::UntagResource => functions::untag(state, &request).await,
        Operation::ListTags => functions::list_tags(state, &request),
        Operation::Invoke => invoke::invoke(state, request).await,
        Operation::CreateEventSourceMapping => mappings::create(state, &request).await,
        Operation::GetEventSourceMapping => mappings::get(state, &request),
        Operation::UpdateEventSourceMapping => mappings::update(state, &request).await,
        Operation::DeleteEventSourceMapping => mappings::delete(state, &request).await,
        Operation::ListEventSourceMappings => mappings::list(state, &request),
        Operation::PublishLayerVersion => layers::publish(state, &request).await,
        Operation::GetLayerVersion => layers::get(state, &request),
        Operation::GetLayerVersionByArn => layers::get_by_arn(state, &request),
        Operation::ListLayers => layers::list(state, &request),
        Operation::ListLayerVersions => layers::list_versions(state, &request),
        Operation::DeleteLayerVersion => layers::delete(state, &request).await,
        Operation::DownloadLayer => layers::download(state, &request).await,
        Operation::DownloadCode => functions::download_code(state, &request).await,
        Operation::Unsupported(operation) => Err(ApiError::NotSupported { operation }),
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: Value) -> Response {
    (status, axum::Json(body)).into_response()
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    status.into_response()
}

fn body_limit(operation: Option<Operation>) -> usize {
    if operation == Some(Operation::Invoke) {
        return function::limits::SYNC_PAYLOAD_BYTES;
    }
    let package = [
        Operation::CreateFunction,
        Operation::UpdateFunctionCode,
        Operation::PublishLayerVersion,
    ];
    match operation {
        Some(operation) if package.contains(&operation) => PACKAGE_REQUEST_BYTES,
        Some(_) | None => REQUEST_BYTES,
    }
}

fn refusal(refused: Refused, operation: Option<Operation>, limit: usize) -> ApiError {
    match refused {
        Refused::Signature(error) => error.into(),
        Refused::TooLarge if operation == Some(Operation::Invoke) => {
            ApiError::PayloadTooLarge { limit }
        }
        Refused::TooLarge => ApiError::request_entity_too_large(limit),
        Refused::Broken(error) => ApiError::broken_request(&error),
    }
}

#[cfg(test)]
mod tests;
