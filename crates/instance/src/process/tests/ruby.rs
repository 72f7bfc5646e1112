use super::sandboxed::program;
use super::*;

fn ruby(bench: &Bench, text: &str) -> Spec {
    bench.spec("ruby3.4", "app.handler", "app.rb", text)
}

#[tokio::test]
async fn an_event_comes_back_with_its_context() {
    let Some(bench) = Bench::having("ruby") else {
        return;
    };
    let spec = Arc::new(ruby(
        &bench,
        r"
def handler(event:, context:)
  {
    event: event, greeting: ENV['GREETING'], cwd: Dir.pwd, trace: ENV['_X_AMZN_TRACE_ID'],
    names: [context.function_name, context.function_version, context.memory_limit_in_mb,
            context.aws_request_id, context.invoked_function_arn, context.log_group_name],
    custom: context.client_context['custom'], identity: context.identity,
    left: context.remaining_time_in_millis, until: context.deadline_ms,
    env: ENV['AWS_EXECUTION_ENV'], stream: context.log_stream_name == ENV['AWS_LAMBDA_LOG_STREAM_NAME'],
  }
end
",
    ));
    let event = json!({"text": "grüße, 世界 🌊 \u{0} \" \\", "number": 1.5, "none": null});
    let answer = bench.answer(&spec, &event).await;
    assert_eq!(answer["event"], event);
    assert_eq!(answer["greeting"], "hello");
    assert_eq!(answer["cwd"], "/var/task");
    assert_eq!(
        answer["names"],
        json!(["f", "$LATEST", "512", REQUEST, spec.arn, "/aws/lambda/f"])
    );
    assert_eq!(answer["custom"], json!({"a": "b"}));
    assert_eq!(answer["identity"], json!(null));
    assert_eq!(answer["trace"], "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
    assert_eq!(answer["env"], "AWS_Lambda_ruby3.4");
    assert_eq!(answer["stream"], true);
    let left = answer["left"].as_u64().unwrap();
    assert!((20_000..=30_000).contains(&left), "{left}");
    assert!(answer["until"].as_u64().unwrap() > left, "{answer}");
}

#[tokio::test]
async fn gems_and_files_of_a_layer_and_of_the_package_are_found() {
    let Some(bench) = Bench::having("ruby") else {
        return;
    };
    let text = "require 'shared'\nrequire 'layered'\nrequire 'vendored'\nrequire 'beside'\n\
                def handler(event:, context:) = [SHARED, LAYERED, VENDORED, BESIDE]\n";
    let mut spec = ruby(&bench, text);
    let opt = bench.folder.path().join("opt");
    program(&opt.join("ruby/lib/shared.rb"), "SHARED = 1");
    program(&spec.code.join("beside.rb"), "BESIDE = 4");
    let gem = |folder: &std::path::Path, name: &str, text: &str| {
        program(&folder.join(format!("gems/{name}-1.0/lib/{name}.rb")), text);
        let specification = format!(
            "Gem::Specification.new {{ |it| it.name = '{name}'; it.version = '1.0'; \
             it.summary = it.authors = 'a'; it.files = [] }}\n"
        );
        program(
            &folder.join(format!("specifications/{name}-1.0.gemspec")),
            &specification,
        );
    };
    gem(&opt.join("ruby/gems/3.4.0"), "layered", "LAYERED = 2");
    gem(
        &spec.code.join("vendor/bundle/ruby/3.4.0"),
        "vendored",
        "VENDORED = 3",
    );
    spec.opt = Some(opt);
    let answer = bench.answer(&Arc::new(spec), &json!({})).await;
    assert_eq!(answer, json!([1, 2, 3, 4]));
}

#[tokio::test]
async fn an_ordinary_error_leaves_the_instance_and_a_critical_one_ends_it() {
    let Some(mut bench) = Bench::having("ruby") else {
        return;
    };
    let text = "def handler(event:, context:)\n  \
                raise event['raise'] if event['raise']\n  absent if event['absent']\n  \
                $count = ($count || 0) + 1\nend\n";
    let spec = Arc::new(ruby(&bench, text));
    assert_eq!(bench.answer(&spec, &json!({})).await, 1);
    let error = bench.error(&spec, &json!({"raise": "nö"})).await;
    assert_eq!(error["errorType"], "Function<RuntimeError>");
    assert_eq!(error["errorMessage"], "nö");
    let trace = error["stackTrace"].as_array().unwrap();
    assert_eq!(trace.len(), 1, "the handler alone: {trace:?}");
    assert_eq!(bench.answer(&spec, &json!({})).await, 2);
    let error = bench.error(&spec, &json!({"absent": true})).await;
    assert_eq!(error["errorType"], "Function<NameError>");
    assert_eq!(bench.answer(&spec, &json!({})).await, 1, "another process");
    let log = bench.log();
    assert!(log.contains("Status: error\tError Type: Function<UserException>\n"));
    assert!(log.contains("Status: error\tError Type: Function<NameError>\n"));
}
