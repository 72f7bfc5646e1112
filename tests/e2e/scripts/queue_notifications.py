"""A bucket that notifies a queue: queue_notifications.py ENDPOINT ACT…, where an act is `create`,
`put:FROM:TO` (exclusive), `replace:FROM:TO`, `remove:FROM:TO`, `lose:FROM:TO` (written without a
notification), `repeat` (the last notification comes again), `foreign` (what is no notification of the
bucket), or `left` and `listed`, which print what is in the queue and in the bucket."""

import json
import sys

import boto3

bucket, other, name = "told", "other", "told-changes"


def client(service):
    return boto3.client(
        service,
        endpoint_url=sys.argv[1],
        region_name="us-east-1",
        aws_access_key_id="tidemill-test",
        aws_secret_access_key="hush-9b2e",
    )


s3, sqs = client("s3"), client("sqs")
url = None if sys.argv[2] == "create" else sqs.get_queue_url(QueueName=name)["QueueUrl"]


def notify(of, arn):
    queues = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
    configuration = {"QueueConfigurations": queues} if arn else {}
    s3.put_bucket_notification_configuration(Bucket=of, NotificationConfiguration=configuration)


def arn():
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def key(id):
    return f"in/a b+{id}.csv"


for act in sys.argv[2:]:
    act, *bounds = act.split(":")
    ids = range(*map(int, bounds)) if bounds else ()
    if act == "create":
        # What is received and not deleted comes again soon.
        url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
        for each in (bucket, other):
            s3.create_bucket(Bucket=each)
            notify(each, arn())
        print(url)
    elif act == "lose":
        notify(bucket, None)
    elif act == "repeat":
        record = {"s3": {"bucket": {"name": bucket}, "object": {"key": "in%2Fa+b%2B0.csv"}}}
        for _ in range(3):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [record]}))
    elif act == "foreign":
        s3.put_object(Bucket=other, Key="else", Body=b"")
        sqs.send_message(QueueUrl=url, MessageBody="no JSON")
        sns = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:a", "Message": "{}"}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(sns))
    elif act == "left":
        # Whoever else has received some has them for a second.
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        print(sum(int(counts[name]) for name in names))
    elif act == "listed":
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        print(json.dumps({each["Key"]: each["ETag"].strip('"') for each in found}))
    for id in ids:
        if act == "remove":
            s3.delete_object(Bucket=bucket, Key=key(id))
        else:
            s3.put_object(Bucket=bucket, Key=key(id), Body=f"{act} {id}".encode())
    if act == "lose":
        notify(bucket, arn())
