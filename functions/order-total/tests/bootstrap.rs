//! The compiled `bootstrap` in an instance: the upstream runtime client against our Runtime API.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SystemClock;
use instance::{
    Endpoints, Initialization, Invocation, Isolation, LogFormat, Outcome, Pool, PoolConfig,
    ProcessConfig, ProcessLauncher, Runtime, Spec, log_queue,
};
use serde_json::{Value, json};

async fn invoke(pool: &Pool, spec: &Arc<Spec>, event: Value) -> Outcome {
    let invocation = Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        payload: Bytes::from(event.to_string()),
        arn: spec.arn.clone(),
        trace_id: None,
        client_context: None,
    };
    let finished = pool.invoke(spec, invocation).await;
    finished.expect("the bootstrap starts").outcome
}

#[tokio::test]
async fn the_upstream_runtime_client_answers_unmodified() {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    std::fs::create_dir(&code).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    std::fs::copy(program, code.join("bootstrap")).unwrap();
    let config = ProcessConfig {
        instances: folder.path().join("instances"),
        runtimes: folder.path().join("runtimes"),
        search_path: "/usr/bin:/bin".to_owned(),
        endpoints: Endpoints::default(),
    };
    let (sink, mut logs) = log_queue(1 << 20);
    let isolation = Isolation::None(sandbox::PlainSpawner::start().unwrap());
    let clock = Arc::new(SystemClock::new());
    let launcher = ProcessLauncher::new(config, isolation, clock, Arc::new(sink)).unwrap();
    let pool = Pool::new(Arc::new(launcher), PoolConfig::default());
    let spec = Arc::new(Spec {
        account: "000000000000".to_owned(),
        function: "order-total".to_owned(),
        version: "$LATEST".to_owned(),
        revision: "1".to_owned(),
        arn: "arn:aws:lambda:us-east-1:000000000000:function:order-total".to_owned(),
        region: "us-east-1".to_owned(),
        runtime: Runtime::ProvidedAl2023,
        handler: "bootstrap".to_owned(),
        code,
        image: None,
        opt: None,
        memory_mib: 128,
        temporary_mib: 512,
        timeout: Duration::from_secs(30),
        environment: BTreeMap::new(),
        log_group: "/aws/lambda/order-total".to_owned(),
        log_format: LogFormat::Text,
        initialization: Initialization::OnDemand,
    });
    let order = json!({"order": "7", "items": [{"price": 2.59, "quantity": 3}]});
    for _ in 0..3 {
        let answer = invoke(&pool, &spec, order.clone()).await;
        let Outcome::Success(body) = answer else {
            panic!("{answer:?}")
        };
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"items": 1, "total_cents": 777}));
    }
    assert_eq!(pool.count().idle, 1, "one instance served all three");
    let Outcome::Error { body, .. } = invoke(&pool, &spec, json!([])).await else {
        panic!("no order")
    };
    let body: Value = serde_json::from_slice(&body).unwrap();
    let message = body["errorMessage"].as_str().unwrap();
    assert!(message.contains("neither an order nor a batch"), "{body}");
    let mut text = String::new();
    while let Some(chunk) = logs.try_next() {
        text.push_str(std::str::from_utf8(&chunk.text).unwrap());
    }
    assert_eq!(text.matches("order 7: 1 items, 777 cents\n").count(), 3);
}
