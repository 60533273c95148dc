//! PutObject, and what uploads by forms amount to.

use s3s::{
    S3Request, S3Response,
    dto::{PutObjectInput, PutObjectOutput},
};
use umbra_core::{Error, ErrorKind, ObjectKey};
use umbra_store::{Cause, Integrity, PutOptions};

use super::Operations;
use crate::{
    acl, body,
    call::Call,
    convert::{attributes, attributes::encryption, attributes::narrowed, checksum, conditions, headers, integrity, tags, version},
    error::Answer,
    expiration,
    post::FormFile,
};

/// Stores an object whole.
pub(super) async fn put_object(operations: &Operations, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    let call = Call::of(&request)?;
    let asked = acl::Asked::of(&stated!(request));
    let narrowed = narrowed::asked(operations.catalog.topology(), &call, &request)?;
    let mut input = request.input;
    let (mut attributes, sealing) = attributes::asked!(input, call.bucket()?);
    operations.check_lock(&attributes)?;
    attributes.narrowed = narrowed;
    attributes.acl = acl::on_write(&operations.catalog, call.key.as_deref(), call.bucket()?, &asked).await?;
    if input.write_offset_bytes.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "appending to objects is not supported").into());
    }
    let key = ObjectKey::parse(&input.key)?;
    let given = checksum::given!(input)?;
    let options = PutOptions {
        headers: headers::stored!(input),
        metadata: headers::metadata(input.metadata.take())?,
        tags: tags::from_header(input.tagging.as_deref())?,
        attributes,
        preconditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        integrity: Integrity {
            sealing,
            ..integrity::announced(input.content_md5.as_deref(), given, &request.headers, request.trailing_headers)?
        },
        cause: if request.extensions.get::<FormFile>().is_some() { Cause::Post } else { Cause::Put },
    };
    let tags = call.bucket()?.settings.extras.lifecycle.is_active().then(|| options.tags.clone());
    let body = match request.extensions.get::<FormFile>() {
        Some(file) => body::of_form(input.body, *file, call.bucket()?),
        None => body::incoming(input.body, input.content_length)?,
    };
    let stored = operations.objects.put(&call.cx, call.bucket()?, &key, body, options).await?;
    let mut output = PutObjectOutput {
        e_tag: Some(conditions::etag(&stored.etag)),
        version_id: version::stored(call.bucket()?, stored.version),
        ..PutObjectOutput::default()
    };
    if let Some(tags) = tags {
        output.expiration = expiration::of_new_object(&call, &key, &stored, &tags);
    }
    checksum::show_with_type!(output, checksum::shown(&stored.checksums));
    encryption::show!(output, stored.encryption.as_ref());
    output.ssekms_encryption_context = encryption::context_of(stored.encryption.as_ref());
    Ok(S3Response::new(output))
}
