//! The limits given to s3s.

use std::sync::Arc;

use s3s::{
    config::{S3Config, StaticConfigProvider},
    region::Region,
};
use umbra_core::{Error, Fault, Result, limits};

use crate::S3Settings;

/// The largest chunk of a signed aws-chunked body: it must be held whole before its signature can be checked. Clients use 64 KiB to 8 MiB.
const SIGNED_CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest XML document: 1,000 keys of a DeleteObjects, every byte escaped, fit.
const XML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What s3s is to allow.
pub(crate) fn config(settings: &S3Settings) -> Result<Arc<StaticConfigProvider>> {
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_BYTES_MAX;
    config.put_object_max_size = Some(limits::PUT_BYTES_MAX);
    // Among them are writes with headers in the query. What else is one reads documents, and no more of them than it takes.
    config.custom_route_max_body_size = Some(limits::PUT_BYTES_MAX);
    config.aws_chunked_stream_max_chunk_size = SIGNED_CHUNK_BYTES_MAX;
    config.sig_v4_allowed_services = vec!["s3".to_owned()];
    config.enable_sig_v2 = settings.allow_sigv2;
    // `x-id` would choose the operation regardless of what the rest of the request says; S3 ignores it.
    config.operation_id_routing = false;
    if settings.pin_region {
        config.expected_region = Some(region(&settings.region)?);
    }
    Ok(Arc::new(StaticConfigProvider::new(Arc::new(config))))
}

fn region(name: &str) -> Result<Region> {
    Region::new(name.into()).map_err(|error| Error::invalid(Fault::InvalidArgument, format!("{name:?} cannot be a region")).because(error))
}
