//! Server-side encryption.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, dto::ServerSideEncryption};
use umbra_core::Encryption;
use umbra_store::{Bucket, CustomerKey, DEFAULT_KMS_KEY, Sealing};

use crate::error::{Failure, custom};

/// The one algorithm of SSE-C.
const CUSTOMER_ALGORITHM: &str = "AES256";
/// Bytes of an encryption context, in base64. Amazon's limit is that of all headers together.
const CONTEXT_MAX: usize = 4096;
/// Characters of a key's name: more than any ARN has.
const KEY_MAX: usize = 2048;
/// Headers of writes that make no sense with a read.
const OF_WRITES: [&str; 3] =
    ["x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context"];

/// The headers that ask for it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) algorithm: Option<&'a ServerSideEncryption>,
    pub(crate) kms_key: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) bucket_key: Option<bool>,
    pub(crate) customer_algorithm: Option<&'a str>,
    pub(crate) customer_key: Option<&'a str>,
    pub(crate) customer_key_md5: Option<&'a str>,
}

/// How the object is to be encrypted: as it asks, else as its bucket does with those that ask for nothing.
pub(crate) fn asked(asked: Asked<'_>, bucket: &Bucket) -> Result<Option<Sealing>, Failure> {
    let default = bucket.settings.extras.encryption.as_ref();
    let customer = customer_key(asked.customer_algorithm, asked.customer_key, asked.customer_key_md5)?;
    let Some(algorithm) = asked.algorithm else {
        if asked.kms_key.is_some() || asked.context.is_some() {
            return Err(invalid(
                "Server Side Encryption with KMS managed keys requires the HTTP header x-amz-server-side-encryption : aws:kms",
            ));
        }
        if customer.is_some() && default.is_some_and(|default| default.blocks_customer_keys) {
            let message = "Server Side Encryption with Customer provided keys is blocked in this bucket";
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message).into());
        }
        return Ok(customer.map(Sealing::Customer).or_else(|| default.map(umbra_store::DefaultEncryption::sealing)));
    };
    if customer.is_some() {
        return Err(invalid("Server Side Encryption with Customer provided key is incompatible with the encryption method specified"));
    }
    let dual = match algorithm.as_str() {
        ServerSideEncryption::AES256 if asked.kms_key.is_none() && asked.context.is_none() => {
            return Ok(Some(Sealing::Ours(Encryption::Managed)));
        }
        ServerSideEncryption::AES256 => {
            return Err(invalid(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ));
        }
        ServerSideEncryption::AWS_KMS => false,
        ServerSideEncryption::AWS_KMS_DSSE => true,
        _ => return Err(invalid("The encryption method specified is not supported")),
    };
    if asked.kms_key.is_some_and(|key| key.len() > KEY_MAX) {
        return Err(invalid("The name of the key is too long"));
    }
    let bucket_key = asked.bucket_key.or(default.and_then(|default| default.bucket_key));
    Ok(Some(Sealing::Ours(Encryption::Kms {
        key: asked.kms_key.filter(|key| !key.is_empty()).unwrap_or(DEFAULT_KMS_KEY).to_owned(),
        dual,
        // Keys of a bucket are not for two layers.
        bucket_key: bucket_key == Some(true) && !dual,
        context: asked.context.map(context).transpose()?,
    })))
}

fn context(context: &str) -> Result<String, Failure> {
    let decoded = BASE64.decode(context).ok().filter(|_| context.len() <= CONTEXT_MAX);
    let is_object = |json: &Vec<u8>| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json).is_ok();
    match decoded.filter(is_object) {
        Some(_) => Ok(context.to_owned()),
        None => Err(invalid("The header x-amz-server-side-encryption-context must be a JSON object in base64")),
    }
}

/// The client's key, if it sends one; whole or not at all.
pub(crate) fn customer_key(algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>) -> Result<Option<CustomerKey>, Failure> {
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    let lacking = |what| invalid(&format!("Requests specifying Server Side Encryption with Customer provided keys must provide {what}."));
    let algorithm = algorithm.ok_or_else(|| lacking("a valid encryption algorithm"))?;
    let key = key.ok_or_else(|| lacking("an appropriate secret key"))?;
    let md5 = md5.ok_or_else(|| lacking("the client calculated MD5 of the secret key"))?;
    if algorithm != CUSTOMER_ALGORITHM {
        let message = "The encryption request that you specified is not valid. Supported value: AES256.";
        return Err(custom("InvalidEncryptionAlgorithmError", StatusCode::BAD_REQUEST, message).into());
    }
    Ok(Some(CustomerKey::parse(key, md5)?))
}

/// The client's key in the fields of `$input`.
macro_rules! given_key {
    ($input:expr) => {{
        let input = &$input;
        $crate::convert::attributes::encryption::customer_key(
            input.sse_customer_algorithm.as_deref(),
            input.sse_customer_key.as_deref(),
            input.sse_customer_key_md5.as_deref(),
        )
    }};
}

/// The client's key of a copy's source, in the fields of `$input`.
macro_rules! source_key {
    ($input:expr) => {{
        let input = &$input;
        $crate::convert::attributes::encryption::customer_key(
            input.copy_source_sse_customer_algorithm.as_deref(),
            input.copy_source_sse_customer_key.as_deref(),
            input.copy_source_sse_customer_key_md5.as_deref(),
        )
    }};
}

/// Refuses a read that says how to encrypt: S3 takes it for a mistake.
pub(crate) fn refuse_on_read(headers: &HeaderMap) -> Result<(), Failure> {
    match OF_WRITES.iter().find(|name| headers.contains_key(**name)) {
        Some(name) => Err(invalid(&format!("{name} header is not supported for this operation."))),
        None => Ok(()),
    }
}

/// How an object is encrypted, in S3's words.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) algorithm: Option<ServerSideEncryption>,
    pub(crate) kms_key: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) bucket_key: Option<bool>,
    pub(crate) customer_algorithm: Option<String>,
    pub(crate) customer_key_md5: Option<String>,
}

/// Says how an object is encrypted.
pub(crate) fn shown(encryption: Option<&Encryption>) -> Shown {
    match encryption {
        None => Shown::default(),
        Some(Encryption::Managed) => {
            Shown { algorithm: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)), ..Shown::default() }
        }
        Some(Encryption::Kms { key, dual, bucket_key, context }) => Shown {
            algorithm: Some(kms_algorithm(*dual)),
            kms_key: Some(key.clone()),
            context: context.clone(),
            bucket_key: bucket_key.then_some(true),
            ..Shown::default()
        },
        Some(Encryption::Customer { key_md5 }) => {
            Shown { customer_algorithm: Some(CUSTOMER_ALGORITHM.to_owned()), customer_key_md5: Some(key_md5.clone()), ..Shown::default() }
        }
    }
}

/// The encryption context of an object, as the client sent it.
pub(crate) fn context_of(encryption: Option<&Encryption>) -> Option<String> {
    shown(encryption).context
}

/// The headers that tell of a customer's key, for an answer that has no fields for them.
pub(crate) fn customer_headers(encryption: Option<&Encryption>) -> HeaderMap {
    let Some(Encryption::Customer { key_md5 }) = encryption else { return HeaderMap::new() };
    let pairs = [
        ("x-amz-server-side-encryption-customer-algorithm", HeaderValue::from_static(CUSTOMER_ALGORITHM)),
        ("x-amz-server-side-encryption-customer-key-md5", HeaderValue::try_from(key_md5).expect("base64 makes a header")),
    ];
    pairs.map(|(name, value)| (HeaderName::from_static(name), value)).into_iter().collect()
}

/// The name of SSE-KMS, in one layer or two.
pub(crate) fn kms_algorithm(dual: bool) -> ServerSideEncryption {
    ServerSideEncryption::from_static(if dual { ServerSideEncryption::AWS_KMS_DSSE } else { ServerSideEncryption::AWS_KMS })
}

/// Puts how an object is encrypted into `$output`.
macro_rules! show {
    ($output:expr, $encryption:expr) => {{
        let shown = $crate::convert::attributes::encryption::shown($encryption);
        $output.sse_customer_algorithm = shown.customer_algorithm;
        $output.sse_customer_key_md5 = shown.customer_key_md5;
        $crate::convert::attributes::encryption::show_ours!($output, shown);
    }};
}

/// Puts how an object is encrypted with a key that is kept here into `$output`.
macro_rules! show_ours {
    ($output:expr, $shown:expr) => {
        $output.server_side_encryption = $shown.algorithm;
        $output.ssekms_key_id = $shown.kms_key;
        $output.bucket_key_enabled = $shown.bucket_key;
    };
}

pub(crate) use {given_key, show, show_ours, source_key};

fn invalid(message: &str) -> Failure {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message.to_owned()).into()
}

#[cfg(test)]
mod tests;
