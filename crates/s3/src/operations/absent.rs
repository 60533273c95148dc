//! Sub-resources that no bucket here has: what S3 answers for a bucket without them, because clients look before they act.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{
        DeleteBucketReplicationInput, DeleteBucketReplicationOutput, GetBucketReplicationInput, GetBucketReplicationOutput,
        ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput, ListBucketIntelligentTieringConfigurationsInput,
        ListBucketIntelligentTieringConfigurationsOutput, ListBucketInventoryConfigurationsInput, ListBucketInventoryConfigurationsOutput,
        ListBucketMetricsConfigurationsInput, ListBucketMetricsConfigurationsOutput,
    },
};

use super::Operations;
use crate::error::Answer;

/// Nothing is replicated.
pub(super) async fn get_bucket_replication(
    _operations: &Operations,
    _request: S3Request<GetBucketReplicationInput>,
) -> Answer<GetBucketReplicationOutput> {
    Err(S3ErrorCode::ReplicationConfigurationNotFoundError.into())
}

/// There is nothing to remove.
pub(super) async fn delete_bucket_replication(
    _operations: &Operations,
    _request: S3Request<DeleteBucketReplicationInput>,
) -> Answer<DeleteBucketReplicationOutput> {
    Ok(S3Response::new(DeleteBucketReplicationOutput::default()))
}

/// Writes an operation that lists none of its kind.
macro_rules! lists_none {
    ($($name:ident: $Input:ident => $Output:ident;)*) => {
        $(
            /// There are none.
            pub(super) async fn $name(_operations: &Operations, _request: S3Request<$Input>) -> Answer<$Output> {
                Ok(S3Response::new($Output { is_truncated: Some(false), ..$Output::default() }))
            }
        )*
    };
}

lists_none! {
    list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput;
    list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput;
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput;
    list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput;
}
