//! Whom S3's notification configuration has told of changes.

/// One `TopicConfiguration`, `QueueConfiguration` or `CloudFunctionConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHook {
    /// Its name.
    pub id: String,
    /// Which of the three it is. It makes no difference to what is sent.
    pub kind: EventHookKind,
    /// The receiver: a web hook of the operator's.
    pub arn: String,
    /// The kinds of changes it is told of, as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// What keys begin with.
    pub prefix: Option<String>,
    /// What keys end with.
    pub suffix: Option<String>,
}

/// What a receiver is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are S3's own")]
pub enum EventHookKind {
    Topic,
    Queue,
    Function,
}
