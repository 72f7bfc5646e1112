//! S3 door and object storage whose commit is the event's append.
