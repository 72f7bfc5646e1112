use super::*;

const NOW: Timestamp = Timestamp::from_millis(0);

fn subscription(name: &str, streams: &[Stream], buffering: Buffering) -> Subscription {
    Subscription {
        name: name.to_owned(),
        streams: streams.to_vec(),
        buffering,
        destination: Destination {
            authority: "sandbox.localdomain:4243".to_owned(),
            port: 4243,
            path: "/".to_owned(),
        },
    }
}

fn say(telemetry: &Telemetry, stream: Stream, word: &str) {
    telemetry.tell(stream, &Bytes::from(word.to_owned()));
}

fn words(batch: &Batch) -> Vec<&str> {
    let word = |event| std::str::from_utf8(event).unwrap();
    batch.events.iter().map(|event| word(event)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_hears_of_the_whole_initialisation_and_only_what_it_asked_for() {
    let telemetry = Telemetry::new();
    say(&telemetry, Stream::Platform, "start");
    say(&telemetry, Stream::Function, "printed");
    let both = [Stream::Platform, Stream::Extension];
    let wanted = subscription("a", &both, Buffering::default());
    telemetry.subscribe(wanted.clone()).unwrap();
    say(&telemetry, Stream::Function, "printed");
    say(&telemetry, Stream::Extension, "said");
    assert_eq!(telemetry.close(), [("a".to_owned(), both.to_vec())]);
    assert_eq!(telemetry.subscribe(wanted), Err(Closed));
    assert_eq!(telemetry.take(), None, "it is not due yet");
    telemetry.due().await;
    assert_eq!(words(&telemetry.take().unwrap()), ["start", "said"]);
    assert_eq!(telemetry.take(), None);
    assert!(telemetry.is_heard());
}

#[tokio::test(start_paused = true)]
async fn what_gathers_is_due_when_it_is_as_much_as_wanted_or_as_old_or_asked_for() {
    let telemetry = Telemetry::new();
    let buffering = Buffering {
        items: 3,
        bytes: 10,
        timeout: Duration::from_secs(20),
    };
    let wanted = subscription("a", &[Stream::Function], buffering);
    telemetry.subscribe(wanted).unwrap();
    let begun = Instant::now();
    for word in ["1", "2", "3", "4"] {
        say(&telemetry, Stream::Function, word);
    }
    telemetry.due().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(words(&telemetry.take().unwrap()), ["1", "2", "3"]);
    assert_eq!(telemetry.take(), None);
    say(&telemetry, Stream::Function, "nine long");
    telemetry.due().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(words(&telemetry.take().unwrap()), ["4", "nine long"]);
    say(&telemetry, Stream::Function, "5");
    telemetry.due().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(20));
    assert_eq!(words(&telemetry.take().unwrap()), ["5"]);
    say(&telemetry, Stream::Function, "6");
    telemetry.hurry();
    telemetry.due().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(20));
    assert_eq!(words(&telemetry.take().unwrap()), ["6"]);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_counted_and_told() {
    let telemetry = Telemetry::new();
    let buffering = Buffering {
        items: 2,
        ..Buffering::default()
    };
    let wanted = subscription("a", &[Stream::Function, Stream::Platform], buffering);
    telemetry.subscribe(wanted).unwrap();
    for word in ["1", "2", "3", "4", "lost", "lost"] {
        say(&telemetry, Stream::Function, word);
    }
    let batch = telemetry.take().unwrap();
    assert_eq!(words(&batch), ["1", "2"]);
    telemetry.handed_over(&batch, Ok(()), NOW);
    assert_eq!(words(&telemetry.take().unwrap()), ["3", "4"]);
    telemetry.hurry();
    let told: Value = serde_json::from_str(words(&telemetry.take().unwrap())[0]).unwrap();
    assert_eq!(told["type"], "platform.logsDropped");
    assert_eq!(told["record"]["droppedRecords"], 2);
    assert_eq!(told["record"]["droppedBytes"], 8);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_did_not_arrive_is_told_as_dropped() {
    let telemetry = Telemetry::new();
    let wanted = subscription("a", &Stream::ALL, Buffering::default());
    telemetry.subscribe(wanted).unwrap();
    say(&telemetry, Stream::Extension, "four");
    telemetry.hurry();
    let batch = telemetry.take().unwrap();
    telemetry.handed_over(&batch, Err(Lost), NOW);
    telemetry.hurry();
    let told: Value = serde_json::from_str(words(&telemetry.take().unwrap())[0]).unwrap();
    assert_eq!(told["record"]["droppedRecords"], 1);
    assert_eq!(told["record"]["droppedBytes"], 4);
}
