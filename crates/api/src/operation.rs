//! The operations of the Lambda API and the requests that mean them.

use http::Method;
use http::request::Parts;

use crate::query::percent_decoded;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateFunction,
    GetFunction,
    GetFunctionConfiguration,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
    DeleteFunction,
    ListFunctions,
    Invoke,
    CreateEventSourceMapping,
    GetEventSourceMapping,
    UpdateEventSourceMapping,
    DeleteEventSourceMapping,
    ListEventSourceMappings,
    PutFunctionConcurrency,
    GetFunctionConcurrency,
    DeleteFunctionConcurrency,
    ListProvisionedConcurrencyConfigs,
    DeleteProvisionedConcurrencyConfig,
    GetProvisionedConcurrencyConfig,
    PutProvisionedConcurrencyConfig,
    PutFunctionEventInvokeConfig,
    UpdateFunctionEventInvokeConfig,
    GetFunctionEventInvokeConfig,
    DeleteFunctionEventInvokeConfig,
    ListFunctionEventInvokeConfigs,
    GetAccountSettings,
    TagResource,
    UntagResource,
    ListTags,
    ListVersionsByFunction,
    PublishVersion,
    CreateAlias,
    GetAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    AddPermission,
    RemovePermission,
    GetPolicy,
    GetFunctionCodeSigningConfig,
    GetFunctionRecursionConfig,
    PublishLayerVersion,
    GetLayerVersion,
    GetLayerVersionByArn,
    ListLayers,
    ListLayerVersions,
    DeleteLayerVersion,
    /// Our own: the content of a layer, where `Content.Location` leads.
    DownloadLayer,
    /// Our own: the code of a function, where `GetFunction`'s `Code.Location` leads.
    DownloadCode,
    /// One that AWS has and this server has not.
    Unsupported(&'static str),
}

/// An operation and the pieces of the path that its pattern leaves open, decoded.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) pieces: Vec<String>,
}

impl Operation {
    /// Its name, as SDKs call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CreateFunction => "CreateFunction",
            Self::GetFunction => "GetFunction",
            Self::GetFunctionConfiguration => "GetFunctionConfiguration",
            Self::UpdateFunctionCode => "UpdateFunctionCode",
            Self::UpdateFunctionConfiguration => "UpdateFunctionConfiguration",
            Self::DeleteFunction => "DeleteFunction",
            Self::ListFunctions => "ListFunctions",
            Self::Invoke => "Invoke",
            Self::CreateEventSourceMapping => "CreateEventSourceMapping",
            Self::GetEventSourceMapping => "GetEventSourceMapping",
            Self::UpdateEventSourceMapping => "UpdateEventSourceMapping",
            Self::DeleteEventSourceMapping => "DeleteEventSourceMapping",
            Self::ListEventSourceMappings => "ListEventSourceMappings",
            Self::PutFunctionConcurrency => "PutFunctionConcurrency",
            Self::GetFunctionConcurrency => "GetFunctionConcurrency",
            Self::DeleteFunctionConcurrency => "DeleteFunctionConcurrency",
            Self::ListProvisionedConcurrencyConfigs => "ListProvisionedConcurrencyConfigs",
            Self::DeleteProvisionedConcurrencyConfig => "DeleteProvisionedConcurrencyConfig",
            Self::GetProvisionedConcurrencyConfig => "GetProvisionedConcurrencyConfig",
            Self::PutProvisionedConcurrencyConfig => "PutProvisionedConcurrencyConfig",
            Self::PutFunctionEventInvokeConfig => "PutFunctionEventInvokeConfig",
            Self::UpdateFunctionEventInvokeConfig => "UpdateFunctionEventInvokeConfig",
            Self::GetFunctionEventInvokeConfig => "GetFunctionEventInvokeConfig",
            Self::DeleteFunctionEventInvokeConfig => "DeleteFunctionEventInvokeConfig",
            Self::ListFunctionEventInvokeConfigs => "ListFunctionEventInvokeConfigs",
            Self::GetAccountSettings => "GetAccountSettings",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::ListTags => "ListTags",
            Self::ListVersionsByFunction => "ListVersionsByFunction",
            Self::PublishVersion => "PublishVersion",
            Self::CreateAlias => "CreateAlias",
            Self::GetAlias => "GetAlias",
            Self::UpdateAlias => "UpdateAlias",
            Self::DeleteAlias => "DeleteAlias",
            Self::ListAliases => "ListAliases",
            Self::AddPermission => "AddPermission",
            Self::RemovePermission => "RemovePermission",
            Self::GetPolicy => "GetPolicy",
            Self::GetFunctionCodeSigningConfig => "GetFunctionCodeSigningConfig",
            Self::GetFunctionRecursionConfig => "GetFunctionRecursionConfig",
            Self::PublishLayerVersion => "PublishLayerVersion",
            Self::GetLayerVersion => "GetLayerVersion",
            Self::GetLayerVersionByArn => "GetLayerVersionByArn",
            Self::ListLayers => "ListLayers",
            Self::ListLayerVersions => "ListLayerVersions",
            Self::DeleteLayerVersion => "DeleteLayerVersion",
            Self::DownloadLayer => "DownloadLayer",
            Self::DownloadCode => "DownloadCode",
            Self::Unsupported(name) => name,
        }
    }
}

/// What a request asks for; `None` when AWS has no such path.
pub(crate) fn find(parts: &Parts) -> Option<Call> {
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    OPERATIONS
        .iter()
        .filter(|(method, _, _)| *method == parts.method)
        .find_map(|(_, pattern, operation)| {
            let (pattern, query) = pattern.split_once('?').unwrap_or((pattern, ""));
            let pieces = pieces(pattern, &path)?;
            let asked = parts.uri.query().unwrap_or_default();
            (query.is_empty() || asked.split('&').any(|pair| pair == query)).then_some(Call {
                operation: *operation,
                pieces,
            })
        })
}

fn pieces(pattern: &str, path: &[&str]) -> Option<Vec<String>> {
    let pattern = pattern.trim_matches('/').split('/');
    if pattern.clone().count() != path.len() {
        return None;
    }
    let mut pieces = Vec::new();
    for (wanted, found) in pattern.zip(path) {
        match wanted {
            "{}" if !found.is_empty() => pieces.push(percent_decoded(found)),
            fixed if fixed == *found => {}
            _ => return None,
        }
    }
    Some(pieces)
}

const fn unsupported(name: &'static str) -> Operation {
    Operation::Unsupported(name)
}

/// Every operation of the Lambda service model (botocore 1.44.5, 91 operations) and our own ones at
/// the end. Where two share a path, the one that needs a query comes first.
#[rustfmt::skip]
const OPERATIONS: [(Method, &str, Operation); 93] = [
    (Method::GET, "/2019-09-30/functions/{}/provisioned-concurrency?List=ALL", Operation::ListProvisionedConcurrencyConfigs),
    (Method::GET, "/2018-10-31/layers?find=LayerVersion", Operation::GetLayerVersionByArn),
    (Method::POST, "/2015-03-31/functions", Operation::CreateFunction),
    (Method::GET, "/2015-03-31/functions/{}", Operation::GetFunction),
    (Method::GET, "/2015-03-31/functions/{}/configuration", Operation::GetFunctionConfiguration),
    (Method::PUT, "/2015-03-31/functions/{}/code", Operation::UpdateFunctionCode),
    (Method::PUT, "/2015-03-31/functions/{}/configuration", Operation::UpdateFunctionConfiguration),
    (Method::DELETE, "/2015-03-31/functions/{}", Operation::DeleteFunction),
    (Method::GET, "/2015-03-31/functions", Operation::ListFunctions),
    (Method::POST, "/2015-03-31/functions/{}/versions", Operation::PublishVersion),
    (Method::GET, "/2015-03-31/functions/{}/versions", Operation::ListVersionsByFunction),
    (Method::POST, "/2015-03-31/functions/{}/aliases", Operation::CreateAlias),
    (Method::GET, "/2015-03-31/functions/{}/aliases/{}", Operation::GetAlias),
    (Method::PUT, "/2015-03-31/functions/{}/aliases/{}", Operation::UpdateAlias),
    (Method::DELETE, "/2015-03-31/functions/{}/aliases/{}", Operation::DeleteAlias),
    (Method::GET, "/2015-03-31/functions/{}/aliases", Operation::ListAliases),
    (Method::POST, "/2015-03-31/functions/{}/invocations", Operation::Invoke),
    (Method::POST, "/2021-11-15/functions/{}/response-streaming-invocations", unsupported("InvokeWithResponseStream")),
    (Method::POST, "/2014-11-13/functions/{}/invoke-async", unsupported("InvokeAsync")),
    (Method::PUT, "/2019-09-25/functions/{}/event-invoke-config", Operation::PutFunctionEventInvokeConfig),
    (Method::POST, "/2019-09-25/functions/{}/event-invoke-config", Operation::UpdateFunctionEventInvokeConfig),
    (Method::GET, "/2019-09-25/functions/{}/event-invoke-config", Operation::GetFunctionEventInvokeConfig),
    (Method::DELETE, "/2019-09-25/functions/{}/event-invoke-config", Operation::DeleteFunctionEventInvokeConfig),
    (Method::GET, "/2019-09-25/functions/{}/event-invoke-config/list", Operation::ListFunctionEventInvokeConfigs),
    (Method::POST, "/2015-03-31/event-source-mappings", Operation::CreateEventSourceMapping),
    (Method::GET, "/2015-03-31/event-source-mappings/{}", Operation::GetEventSourceMapping),
    (Method::PUT, "/2015-03-31/event-source-mappings/{}", Operation::UpdateEventSourceMapping),
    (Method::DELETE, "/2015-03-31/event-source-mappings/{}", Operation::DeleteEventSourceMapping),
    (Method::GET, "/2015-03-31/event-source-mappings", Operation::ListEventSourceMappings),
    (Method::PUT, "/2017-10-31/functions/{}/concurrency", Operation::PutFunctionConcurrency),
    (Method::GET, "/2019-09-30/functions/{}/concurrency", Operation::GetFunctionConcurrency),
    (Method::DELETE, "/2017-10-31/functions/{}/concurrency", Operation::DeleteFunctionConcurrency),
    (Method::PUT, "/2019-09-30/functions/{}/provisioned-concurrency", Operation::PutProvisionedConcurrencyConfig),
    (Method::GET, "/2019-09-30/functions/{}/provisioned-concurrency", Operation::GetProvisionedConcurrencyConfig),
    (Method::DELETE, "/2019-09-30/functions/{}/provisioned-concurrency", Operation::DeleteProvisionedConcurrencyConfig),
    (Method::GET, "/2016-08-19/account-settings", Operation::GetAccountSettings),
    (Method::POST, "/2021-10-31/functions/{}/url", unsupported("CreateFunctionUrlConfig")),
    (Method::GET, "/2021-10-31/functions/{}/url", unsupported("GetFunctionUrlConfig")),
    (Method::PUT, "/2021-10-31/functions/{}/url", unsupported("UpdateFunctionUrlConfig")),
    (Method::DELETE, "/2021-10-31/functions/{}/url", unsupported("DeleteFunctionUrlConfig")),
    (Method::GET, "/2021-10-31/functions/{}/urls", unsupported("ListFunctionUrlConfigs")),
    (Method::POST, "/2018-10-31/layers/{}/versions", Operation::PublishLayerVersion),
    (Method::GET, "/2018-10-31/layers/{}/versions/{}", Operation::GetLayerVersion),
    (Method::DELETE, "/2018-10-31/layers/{}/versions/{}", Operation::DeleteLayerVersion),
    (Method::GET, "/2018-10-31/layers", Operation::ListLayers),
    (Method::GET, "/2018-10-31/layers/{}/versions", Operation::ListLayerVersions),
    (Method::POST, "/2018-10-31/layers/{}/versions/{}/policy", unsupported("AddLayerVersionPermission")),
    (Method::DELETE, "/2018-10-31/layers/{}/versions/{}/policy/{}", unsupported("RemoveLayerVersionPermission")),
    (Method::GET, "/2018-10-31/layers/{}/versions/{}/policy", unsupported("GetLayerVersionPolicy")),
    (Method::POST, "/2015-03-31/functions/{}/policy", Operation::AddPermission),
    (Method::DELETE, "/2015-03-31/functions/{}/policy/{}", Operation::RemovePermission),
    (Method::GET, "/2015-03-31/functions/{}/policy", Operation::GetPolicy),
    (Method::PUT, "/2026-07-09/resource-policy/{}", unsupported("PutResourcePolicy")),
    (Method::GET, "/2026-07-09/resource-policy/{}", unsupported("GetResourcePolicy")),
    (Method::DELETE, "/2026-07-09/resource-policy/{}", unsupported("DeleteResourcePolicy")),
    (Method::PUT, "/2021-07-20/functions/{}/runtime-management-config", unsupported("PutRuntimeManagementConfig")),
    (Method::GET, "/2021-07-20/functions/{}/runtime-management-config", unsupported("GetRuntimeManagementConfig")),
    (Method::PUT, "/2024-08-31/functions/{}/recursion-config", unsupported("PutFunctionRecursionConfig")),
    (Method::GET, "/2024-08-31/functions/{}/recursion-config", Operation::GetFunctionRecursionConfig),
    (Method::POST, "/2017-03-31/tags/{}", Operation::TagResource),
    (Method::DELETE, "/2017-03-31/tags/{}", Operation::UntagResource),
    (Method::GET, "/2017-03-31/tags/{}", Operation::ListTags),
    (Method::POST, "/2020-04-22/code-signing-configs", unsupported("CreateCodeSigningConfig")),
    (Method::GET, "/2020-04-22/code-signing-configs/{}", unsupported("GetCodeSigningConfig")),
    (Method::PUT, "/2020-04-22/code-signing-configs/{}", unsupported("UpdateCodeSigningConfig")),
    (Method::DELETE, "/2020-04-22/code-signing-configs/{}", unsupported("DeleteCodeSigningConfig")),
    (Method::GET, "/2020-04-22/code-signing-configs", unsupported("ListCodeSigningConfigs")),
    (Method::GET, "/2020-04-22/code-signing-configs/{}/functions", unsupported("ListFunctionsByCodeSigningConfig")),
    (Method::PUT, "/2020-06-30/functions/{}/code-signing-config", unsupported("PutFunctionCodeSigningConfig")),
    (Method::GET, "/2020-06-30/functions/{}/code-signing-config", Operation::GetFunctionCodeSigningConfig),
    (Method::DELETE, "/2020-06-30/functions/{}/code-signing-config", unsupported("DeleteFunctionCodeSigningConfig")),
    (Method::POST, "/2025-12-01/durable-executions/{}/checkpoint", unsupported("CheckpointDurableExecution")),
    (Method::GET, "/2025-12-01/durable-executions/{}", unsupported("GetDurableExecution")),
    (Method::GET, "/2025-12-01/durable-executions/{}/history", unsupported("GetDurableExecutionHistory")),
    (Method::GET, "/2025-12-01/durable-executions/{}/state", unsupported("GetDurableExecutionState")),
    (Method::GET, "/2025-12-01/functions/{}/durable-executions", unsupported("ListDurableExecutionsByFunction")),
    (Method::POST, "/2025-12-01/durable-executions/{}/stop", unsupported("StopDurableExecution")),
    (Method::POST, "/2025-12-01/durable-executions/{}/pause", unsupported("PauseDurableExecution")),
    (Method::POST, "/2025-12-01/durable-executions/{}/resume", unsupported("ResumeDurableExecution")),
    (Method::DELETE, "/2025-12-01/durable-executions/{}", unsupported("DeleteDurableExecution")),
    (Method::POST, "/2025-12-01/durable-execution-callbacks/{}/succeed", unsupported("SendDurableExecutionCallbackSuccess")),
    (Method::POST, "/2025-12-01/durable-execution-callbacks/{}/fail", unsupported("SendDurableExecutionCallbackFailure")),
    (Method::POST, "/2025-12-01/durable-execution-callbacks/{}/heartbeat", unsupported("SendDurableExecutionCallbackHeartbeat")),
    (Method::POST, "/2025-11-30/capacity-providers", unsupported("CreateCapacityProvider")),
    (Method::GET, "/2025-11-30/capacity-providers/{}", unsupported("GetCapacityProvider")),
    (Method::PUT, "/2025-11-30/capacity-providers/{}", unsupported("UpdateCapacityProvider")),
    (Method::DELETE, "/2025-11-30/capacity-providers/{}", unsupported("DeleteCapacityProvider")),
    (Method::GET, "/2025-11-30/capacity-providers", unsupported("ListCapacityProviders")),
    (Method::GET, "/2025-11-30/capacity-providers/{}/function-versions", unsupported("ListFunctionVersionsByCapacityProvider")),
    (Method::PUT, "/2025-11-30/functions/{}/function-scaling-config", unsupported("PutFunctionScalingConfig")),
    (Method::GET, "/2025-11-30/functions/{}/function-scaling-config", unsupported("GetFunctionScalingConfig")),
    (Method::GET, "/2015-03-31/functions/{}/code", Operation::DownloadCode),
    (Method::GET, "/2018-10-31/layers/{}/versions/{}/content", Operation::DownloadLayer),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str) -> Option<Call> {
        let request = http::Request::builder().method(method).uri(path);
        find(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_name_in_the_path_is_decoded() {
        let arn = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af";
        let call = call(Method::GET, arn).unwrap();
        assert_eq!(call.operation, Operation::GetFunction);
        assert_eq!(call.pieces, ["arn:aws:lambda:us-east-1:1:function:f"]);
    }

    #[test]
    fn operations_that_share_a_path_are_told_by_the_query() {
        let path = "/2019-09-30/functions/f/provisioned-concurrency";
        let name = |path: &str| call(Method::GET, path).unwrap().operation.name();
        assert_eq!(name(path), "GetProvisionedConcurrencyConfig");
        let list = format!("{path}?List=ALL");
        assert_eq!(name(&list), "ListProvisionedConcurrencyConfigs");
        assert_eq!(
            name("/2018-10-31/layers?find=LayerVersion&Arn=x"),
            "GetLayerVersionByArn"
        );
    }

    #[test]
    fn a_trailing_slash_and_another_date_make_a_difference_only_where_aws_sees_one() {
        let listed = call(Method::GET, "/2015-03-31/functions/").unwrap();
        assert_eq!(listed.operation, Operation::ListFunctions);
        assert!(call(Method::GET, "/2016-03-31/functions").is_none());
        assert!(call(Method::PATCH, "/2015-03-31/functions").is_none());
        assert!(call(Method::GET, "/").is_none());
    }
}
