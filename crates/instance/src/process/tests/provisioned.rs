//! Instances that are started before anybody asks.

use tokio_util::sync::CancellationToken;

use super::*;

const HANDLER: &str = "
import os
why = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']
def handler(event, context):
  return why
";

fn ahead(spec: &Spec) -> Arc<Spec> {
    Arc::new(Spec {
        initialization: Initialization::Provisioned,
        ..spec.clone()
    })
}

#[tokio::test]
async fn an_instance_that_was_started_ahead_knows_why_and_charges_nobody_for_it() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = Arc::new(bench.spec("python3.11", "app.handler", "app.py", HANDLER));
    let stop = CancellationToken::new();
    let invoking = async {
        bench.pool.provision(vec![(ahead(&spec), 2)]);
        while bench.pool.provisioned(&spec).unwrap().available < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let finished = bench.invoke(&spec, &json!({})).await;
            let why = Bytes::from_static(b"\"provisioned-concurrency\"");
            assert_eq!(finished.outcome, Outcome::Success(why));
            assert_eq!(finished.metrics.init, None);
            let tail = String::from_utf8(finished.log_tail.to_vec()).unwrap();
            assert!(!tail.contains("Init Duration"), "{tail}");
        }
        bench.pool.provision(Vec::new());
        assert_eq!(bench.answer(&spec, &json!({})).await, "on-demand");
        stop.cancel();
    };
    tokio::join!(bench.pool.run(stop.clone()), invoking);
}

#[tokio::test]
async fn a_function_that_cannot_be_initialised_ahead_is_said_to_fail_and_nothing_is_left() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let broken = "raise ValueError('no')\n";
    let spec = Arc::new(bench.spec("python3.11", "app.handler", "app.py", broken));
    let stop = CancellationToken::new();
    let failing = async {
        bench.pool.provision(vec![(ahead(&spec), 2)]);
        while bench.pool.provisioned(&spec).unwrap().failure.is_none() {
            tokio::task::yield_now().await;
        }
        let error = bench.error(&spec, &json!({})).await;
        assert_eq!(error["errorType"], "ValueError");
        assert_eq!(bench.pool.count().idle, 0);
        stop.cancel();
    };
    tokio::join!(bench.pool.run(stop.clone()), failing);
}
