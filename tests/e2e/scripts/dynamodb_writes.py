"""Changes of a DynamoDB table: dynamodb_writes.py ENDPOINT ACT…, where an act is `create`,
`switch-off`, `switch-on`, `put:FROM:TO` (exclusive), `change:FROM:TO` or `remove:FROM:TO`."""

import sys

import boto3

table = "orders"
dynamodb = boto3.client(
    "dynamodb",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="tidemill-test",
    aws_secret_access_key="hush-9b2e",
)
stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}

for act in sys.argv[2:]:
    act, *bounds = act.split(":")
    ids = range(*map(int, bounds)) if bounds else ()
    if act == "create":
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=stream,
        )
    elif act == "switch-off":
        dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    elif act == "switch-on":
        dynamodb.update_table(TableName=table, StreamSpecification=stream)
    for id in ids:
        key = {"id": {"N": str(id)}}
        if act == "put":
            item = key | {"note": {"S": "new"}, "tags": {"SS": ["a", "b"]}}
            dynamodb.put_item(TableName=table, Item=item)
        elif act == "change":
            dynamodb.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET note = :note",
                ExpressionAttributeValues={":note": {"S": "changed"}},
            )
        elif act == "remove":
            dynamodb.delete_item(TableName=table, Key=key)
