use super::*;

const NODE: &str = "nodejs20.x";

fn node(bench: &Bench, file: &str, text: &str) -> Arc<Spec> {
    Arc::new(bench.spec(NODE, "index.handler", file, text))
}

#[tokio::test]
async fn every_style_of_handler_answers() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let styles = [
        (
            "index.js",
            "exports.handler = async (event) => ({ got: event.a });",
        ),
        (
            "index.mjs",
            "export const handler = async (event) => ({ got: event.a });",
        ),
        (
            "index.cjs",
            "exports.handler = async (event) => ({ got: event.a });",
        ),
        (
            "index.js",
            "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, { got: event.a }), 5); };",
        ),
        (
            "index.js",
            "exports.handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, { got: event.a }); };",
        ),
        (
            "index.js",
            "exports.handler = (event, context) => { context.succeed({ got: event.a }); };",
        ),
        (
            "index.js",
            "exports.handler = (event, context) => { context.done(null, { got: event.a }); };",
        ),
    ];
    for (revision, (file, text)) in styles.into_iter().enumerate() {
        let mut spec = Spec::clone(&node(&bench, file, text));
        spec.revision = revision.to_string();
        let spec = Arc::new(spec);
        for _ in 0..3 {
            let answer = bench.answer(&spec, &json!({"a": "grüße 🌊"})).await;
            assert_eq!(answer, json!({"got": "grüße 🌊"}), "{text}");
        }
    }
}

#[tokio::test]
async fn a_package_of_modules_is_imported() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let spec = node(
        &bench,
        "index.js",
        "import { x } from './x.js'; export const handler = async () => x;",
    );
    std::fs::write(spec.code.join("package.json"), r#"{"type":"module"}"#).unwrap();
    std::fs::write(spec.code.join("x.js"), "export const x = 42;").unwrap();
    assert_eq!(bench.answer(&spec, &json!({})).await, 42);
}

#[tokio::test]
async fn a_handler_that_says_nothing_answers_null() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    for (revision, text) in [
        "exports.handler = () => { setTimeout(() => {}, 5); };",
        "exports.handler = async () => { await new Promise(() => {}); };",
        "exports.handler = async () => {};",
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = Spec::clone(&node(&bench, "index.js", text));
        spec.revision = revision.to_string();
        let spec = Arc::new(spec);
        for _ in 0..2 {
            assert_eq!(bench.answer(&spec, &json!({})).await, Value::Null, "{text}");
        }
    }
}

#[tokio::test]
async fn the_context_is_that_of_lambda() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async (event, c) => [c.functionName, c.functionVersion, c.memoryLimitInMB, c.awsRequestId, c.invokedFunctionArn, c.logGroupName, c.clientContext.custom.a, process.env._X_AMZN_TRACE_ID, c.getRemainingTimeInMillis() > 20000];";
    let spec = node(&bench, "index.js", text);
    assert_eq!(
        bench.answer(&spec, &json!({})).await,
        json!([
            "f",
            "$LATEST",
            "512",
            REQUEST,
            spec.arn,
            "/aws/lambda/f",
            "b",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            true
        ])
    );
}

#[tokio::test]
async fn what_is_thrown_has_the_shape_of_awss_and_the_instance_lives_on() {
    let Some(mut bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async (event) => { if (event.fail) throw new TypeError('nö'); if (event.text) throw 'text'; return process.pid; };";
    let spec = node(&bench, "index.js", text);
    let pid = bench.answer(&spec, &json!({})).await;
    let error = bench.error(&spec, &json!({"fail": true})).await;
    assert_eq!(error["errorType"], "TypeError");
    assert_eq!(error["errorMessage"], "nö");
    assert!(
        error["trace"][0]
            .as_str()
            .unwrap()
            .starts_with("TypeError: nö")
    );
    let error = bench.error(&spec, &json!({"text": true})).await;
    assert_eq!(
        error,
        json!({"errorType": "string", "errorMessage": "text", "trace": []})
    );
    assert_eq!(pid, bench.answer(&spec, &json!({})).await);
    let log = bench.log();
    assert!(log.contains(&format!(
        "Z\t{REQUEST}\tERROR\tInvoke Error \t{{\"errorType\":\"TypeError\""
    )));
}

#[tokio::test]
async fn console_lines_carry_time_request_and_level() {
    let Some(mut bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async () => { console.log('a %d', 1, { b: 2 }); console.warn('w'); console.error('e'); };";
    let spec = node(&bench, "index.js", text);
    bench.answer(&spec, &json!({})).await;
    let log = bench.log();
    assert!(
        log.contains(&format!("Z\t{REQUEST}\tINFO\ta 1 {{ b: 2 }}\n")),
        "{log}"
    );
    assert!(log.contains(&format!("Z\t{REQUEST}\tWARN\tw\n")));
    assert!(log.contains(&format!("Z\t{REQUEST}\tERROR\te\n")));
}

#[tokio::test]
async fn a_rejection_that_nobody_handles_is_reported_and_the_next_event_runs() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async (event) => { if (event.stray) { Promise.reject(new Error('lost')); await new Promise((done) => setTimeout(done, 1000)); } return 'ok'; };";
    let spec = node(&bench, "index.js", text);
    let error = bench.error(&spec, &json!({"stray": true})).await;
    assert_eq!(error["errorType"], "Runtime.UnhandledPromiseRejection");
    assert_eq!(error["errorMessage"], "Error: lost");
    assert_eq!(bench.answer(&spec, &json!({})).await, "ok");
}

#[tokio::test]
async fn a_handler_that_cannot_be_loaded_is_an_error_with_awss_type() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let cases = [
        (
            "index.js",
            "require('nowhere');",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nowhere'",
        ),
        (
            "index.mjs",
            "import 'nowhere';",
            "Runtime.ImportModuleError",
            "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'nowhere'",
        ),
        (
            "other.js",
            "",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'index'",
        ),
        (
            "index.js",
            "exports.x = 1;",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not exported",
        ),
        (
            "index.js",
            "exports.handler = (;",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: ",
        ),
        (
            "index.js",
            "throw new RangeError('at once');",
            "RangeError",
            "at once",
        ),
    ];
    for (file, text, error_type, message) in cases {
        let spec = node(&bench, file, text);
        let error = bench.error(&spec, &json!({})).await;
        assert_eq!(error["errorType"], error_type, "{error}");
        assert!(
            error["errorMessage"].as_str().unwrap().starts_with(message),
            "{error}"
        );
    }
}

#[tokio::test]
async fn six_megabytes_pass_both_ways_and_more_is_refused() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async (event) => event[0] === 'd' ? event + event : event;";
    let spec = node(&bench, "index.js", text);
    let payload = json!("x".repeat(6 * 1024 * 1024 - 2));
    assert_eq!(bench.answer(&spec, &payload).await, payload);
    let error = bench
        .error(&spec, &json!("d".repeat(4 * 1024 * 1024)))
        .await;
    assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(bench.answer(&spec, &json!("after")).await, "after");
}

#[tokio::test]
async fn an_exit_is_an_exit_error() {
    let Some(bench) = Bench::having("node") else {
        return;
    };
    let spec = node(
        &bench,
        "index.js",
        "exports.handler = async () => process.exit(3);",
    );
    let error = bench.error(&spec, &json!({})).await;
    assert_eq!(
        error["errorMessage"],
        format!("RequestId: {REQUEST} Error: Runtime exited with error: exit status 3")
    );
}
