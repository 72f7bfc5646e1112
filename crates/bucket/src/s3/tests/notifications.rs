use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, S3KeyFilter,
};

use super::*;

fn to(function: &str, event: Event) -> LambdaFunctionConfiguration {
    let to = LambdaFunctionConfiguration::builder();
    to.lambda_function_arn(function)
        .events(event)
        .build()
        .unwrap()
}

impl Fixture {
    async fn configure(&self, configuration: NotificationConfiguration) -> Result<(), String> {
        let put = self.client.put_bucket_notification_configuration();
        let put = put.bucket(BUCKET).notification_configuration(configuration);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.message().unwrap_or_default().to_owned()),
        }
    }

    async fn configured(&self) -> Vec<LambdaFunctionConfiguration> {
        let get = self.client.get_bucket_notification_configuration();
        let got = get.bucket(BUCKET).send().await.unwrap();
        got.lambda_function_configurations().to_vec()
    }
}

fn functions(
    functions: impl IntoIterator<Item = LambdaFunctionConfiguration>,
) -> NotificationConfiguration {
    let functions = functions.into_iter().collect();
    let configuration = NotificationConfiguration::builder();
    configuration
        .set_lambda_function_configurations(Some(functions))
        .build()
}

#[tokio::test]
async fn a_configuration_is_given_back_with_ids_and_forgotten_with_its_bucket() {
    let fixture = Fixture::new().await;
    let rule = |name, value| FilterRule::builder().name(name).value(value).build();
    let rules = S3KeyFilter::builder()
        .filter_rules(rule(FilterRuleName::Prefix, "in/"))
        .filter_rules(rule(FilterRuleName::Suffix, ".csv"));
    let mut filtered = to(KNOWN, Event::S3ObjectCreated);
    let filter = NotificationConfigurationFilter::builder().key(rules.build());
    filtered.filter = Some(filter.build());
    let removed = to(KNOWN, Event::S3ObjectRemovedDelete);
    fixture
        .configure(functions([filtered.clone(), removed]))
        .await
        .unwrap();
    let configured = fixture.configured().await;
    assert_eq!(configured.len(), 2);
    assert!(configured.iter().all(|one| one.id().is_some()));
    assert_eq!(configured[0].events(), filtered.events());
    let rules = configured[0]
        .filter()
        .unwrap()
        .key()
        .unwrap()
        .filter_rules();
    let values: Vec<_> = rules.iter().filter_map(|rule| rule.value()).collect();
    assert_eq!(values, ["in/", ".csv"]);

    let delete = fixture.client.delete_bucket().bucket(BUCKET).send();
    delete.await.unwrap();
    let create = fixture.client.create_bucket().bucket(BUCKET).send();
    create.await.unwrap();
    assert!(fixture.configured().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_delivered_is_refused_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let known = || to(KNOWN, Event::S3ObjectCreated);
    fixture.configure(functions([known()])).await.unwrap();
    let bridge = EventBridgeConfiguration::builder().build();
    let to_bridge = NotificationConfiguration::builder().event_bridge_configuration(bridge);
    for (configuration, reason) in [
        (
            functions([to(
                "arn:aws:lambda:us-east-1:0:function:no",
                Event::S3ObjectCreated,
            )]),
            "Unable to validate the following destination configurations",
        ),
        (
            functions([known(), to(KNOWN, Event::S3ObjectCreatedPut)]),
            "Configurations overlap",
        ),
        (
            functions([to(KNOWN, Event::S3ObjectRestore)]),
            "'s3:ObjectRestore:*' is not supported",
        ),
        (
            to_bridge.build(),
            "EventBridgeConfiguration is not supported",
        ),
    ] {
        let refused = fixture.configure(configuration).await.unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
    assert_eq!(fixture.configured().await.len(), 1);
}
