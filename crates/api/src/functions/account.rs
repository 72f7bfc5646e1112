//! The account's limits and what is used of them.

use axum::response::Response;
use function::limits::{UNZIPPED_BYTES, ZIP_BYTES};
use http::StatusCode;
use serde_json::json;

use crate::router::json as answer;
use crate::{ApiError, State};

/// Bytes of all packages that AWS keeps for an account (guide, 2026: 300 GB). Not enforced here: the
/// disk is the limit.
const CODE_STORAGE_BYTES: u64 = 300 * 1024 * 1024 * 1024;

pub(crate) fn account_settings(state: &State) -> Result<Response, ApiError> {
    let functions = state.registry.functions();
    let reserved: u32 = functions
        .iter()
        .filter_map(|function| function.reserved_concurrency)
        .sum();
    let concurrency = state.invoker.account_concurrency();
    let versions = state.registry.every_version();
    let every = functions.iter().chain(&versions);
    let code: u64 = every.map(|version| version.code.size).sum();
    let shown = json!({
        "AccountLimit": {
            "TotalCodeSize": CODE_STORAGE_BYTES,
            "CodeSizeUnzipped": UNZIPPED_BYTES,
            "CodeSizeZipped": ZIP_BYTES,
            "ConcurrentExecutions": concurrency,
            "UnreservedConcurrentExecutions": concurrency.saturating_sub(reserved),
        },
        "AccountUsage": {"TotalCodeSize": code, "FunctionCount": functions.len()},
    });
    Ok(answer(StatusCode::OK, shown))
}
