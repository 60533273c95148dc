//! PutObject, and PostObject, which s3s turns into one.

use s3s::{
    S3Request, S3Response,
    dto::{PutObjectInput, PutObjectOutput},
};
use umbra_core::{Error, ErrorKind, ObjectKey};
use umbra_store::PutOptions;

use super::{Operations, form};
use crate::{
    access, acl, body,
    call::Call,
    convert::{attributes, checksum, conditions, headers, hoisted::Hoisted, integrity, tags},
    error::Answer,
};

/// Stores an object whole.
pub(super) async fn put_object(operations: &Operations, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    let call = Call::of(&request)?;
    let hoisted = Hoisted::of(&request.uri);
    let form = form::fields(&request);
    let mut stated = stated!(request);
    stated.form = form.as_deref();
    let (bucket, object) = (call.bucket()?, Some(request.input.key.as_str()));
    if form.is_some() {
        let asked = access::Request { cx: &call.cx, access_key: call.key.as_deref(), bucket, object, stated, given_tags: None };
        operations.judge.check(asked, "PostObject").await?;
    }
    let asked = acl::Asked::of(&stated);
    let mut input = request.input;
    let mut attributes = attributes::asked!(input, bucket);
    attributes.acl = acl::on_write(&operations.catalog, call.key.as_deref(), bucket, &asked).await?;
    if input.write_offset_bytes.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "appending to objects is not supported").into());
    }
    let key = ObjectKey::parse(&input.key)?;
    input.storage_class = input.storage_class.or(hoisted.storage_class);
    let given = checksum::given!(input)?;
    let options = PutOptions {
        headers: headers::stored!(input),
        metadata: headers::metadata(input.metadata.take(), hoisted.metadata)?,
        tags: tags::from_header(input.tagging.as_deref().or(hoisted.tagging.as_deref()))?,
        attributes,
        preconditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        integrity: integrity::announced(input.content_md5.as_deref(), given, &request.headers, request.trailing_headers)?,
    };
    let body = body::incoming(input.body, input.content_length)?;
    let stored = operations.objects.put(&call.cx, call.bucket()?, &key, body, options).await?;
    let mut output = PutObjectOutput { e_tag: Some(conditions::etag(&stored.etag)), ..PutObjectOutput::default() };
    checksum::show_with_type!(output, checksum::shown(&stored.checksums));
    Ok(S3Response::new(output))
}
