//! An origin that speaks S3.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};
use umbra_client::{Addressing, Credentials, Endpoint, EndpointGuard, GetOptions, GetResponse, ListOptions, S3Client};
use umbra_core::{
    Body, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, ETag, Entity, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber,
    ReadSource, ShadowSettings, SystemHeaders, Tags, Timestamp, UploadId, UserMetadata,
};
use umbra_store::{ListedObject, Secret};

use super::{Origin, OriginAttributes, OriginError, OriginList, OriginObject, OriginPage, OriginPart, Result, ShadowPath};
use crate::origins::OriginFactory;

/// The header that carries a [`ShadowPath`].
pub const SHADOW_PATH_HEADER: &str = "x-umbra-shadow-path";

/// Makes origins that speak S3.
pub struct S3Origins {
    guard: EndpointGuard,
    settings: umbra_client::ClientSettings,
}

impl S3Origins {
    /// Origins behind `guard`.
    pub const fn new(guard: EndpointGuard, settings: umbra_client::ClientSettings) -> Self {
        Self { guard, settings }
    }
}

impl std::fmt::Debug for S3Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("S3Origins")
    }
}

impl OriginFactory for S3Origins {
    fn origin(&self, settings: &ShadowSettings, secret: &Secret) -> umbra_core::Result<Arc<dyn Origin>> {
        let wrong =
            |error: &dyn std::fmt::Display| Error::invalid(Fault::InvalidArgument, format!("the shadow's endpoint is wrong: {error}"));
        let endpoint = Endpoint::parse(&settings.endpoint, &settings.region, Addressing::Auto).map_err(|error| wrong(&error))?;
        let credentials = Credentials::new(settings.access_key.clone(), secret.expose());
        let client = S3Client::new(endpoint, &settings.bucket, credentials, self.guard.clone(), self.settings.clone());
        Ok(Arc::new(S3Origin { client: client.map_err(|error| wrong(&error))? }))
    }
}

/// A bucket at an S3-compatible provider.
#[derive(Debug)]
pub struct S3Origin {
    client: S3Client,
}

impl S3Origin {
    fn client(&self, path: &ShadowPath) -> S3Client {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&path.0.join(",")) {
            headers.insert(HeaderName::from_static(SHADOW_PATH_HEADER), value);
        }
        self.client.with_headers(headers)
    }
}

impl From<umbra_client::Error> for OriginError {
    fn from(error: umbra_client::Error) -> Self {
        let (kind, outcome_unknown) = (error.kind(), error.outcome_unknown());
        let error = match error {
            // The body's own failure, as its source told it.
            umbra_client::Error::Body(cause) => cause,
            error => {
                let message = match kind {
                    ErrorKind::OriginUnavailable => "the origin cannot answer now; please try again".to_owned(),
                    ErrorKind::OriginRefused => "the origin refuses the request".to_owned(),
                    ErrorKind::NotFound(_) => "the specified key does not exist".to_owned(),
                    ErrorKind::Invalid(Fault::InvalidObjectState) => {
                        "the object is archived at the origin; restore it there first".to_owned()
                    }
                    _ => {
                        format!("the origin refuses: {}", error.s3().and_then(|s3| s3.message.clone()).unwrap_or_else(|| error.to_string()))
                    }
                };
                Error::new(kind, message).because(error)
            }
        };
        Self { error, outcome_unknown }
    }
}

/// What the failure of a read means: only what S3 says of an object is handed on as it is. Anything else an origin may answer to a request that
/// is sound means that it cannot be read, which is not the client's doing.
fn of_read(error: umbra_client::Error) -> OriginError {
    let error = OriginError::from(error);
    match error.error.kind() {
        ErrorKind::NotFound(_)
        | ErrorKind::Precondition
        | ErrorKind::NotModified
        | ErrorKind::Invalid(Fault::InvalidRange | Fault::InvalidObjectState)
        | ErrorKind::OriginUnavailable
        | ErrorKind::OriginRefused => error,
        _ => OriginError::certain(Error::new(ErrorKind::OriginRefused, "the origin refuses the request").because(error.error)),
    }
}

#[async_trait]
impl Origin for S3Origin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        let options = GetOptions { range, if_match: if_match.map(ETag::quoted), checksum_mode: range.is_none(), ..GetOptions::default() };
        let response = self.client(path).get_object(key.as_str(), &options).await.map_err(of_read)?;
        let GetResponse { headers, content_length, content_range, body, .. } = response;
        let size = match &content_range {
            Some(content_range) => content_range.size,
            None => content_length,
        };
        let info = object_info(&headers, size.unwrap_or(0))?;
        Ok(OriginObject {
            etag_is_md5: etag_is_md5(&headers),
            tags_known: headers.contains_key("x-amz-tagging-count"),
            size,
            range: content_range.map(|content_range| content_range.range),
            info,
            body,
        })
    }

    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        let client = self.client(path);
        let options = GetOptions { checksum_mode: true, ..GetOptions::default() };
        let headers = match client.head_object(key.as_str(), &options).await {
            // A HEAD has no body to say what is missing: the bucket must be seen to be there.
            Err(umbra_client::Error::S3(error)) if error.status == 404 => {
                client.head_bucket().await.map_err(of_read)?;
                return Err(umbra_client::Error::S3(error).into());
            }
            answer => answer.map_err(of_read)?,
        };
        let size = header_text(&headers, "content-length").and_then(|size| size.parse().ok());
        let size = size
            .ok_or_else(|| OriginError::certain(Error::new(ErrorKind::OriginUnavailable, "the origin does not tell the object's size")))?;
        object_info(&headers, size)
    }

    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        let client = self.client(path);
        let options = GetOptions { if_none_match: Some(etag.quoted()), ..GetOptions::default() };
        match client.head_object(key.as_str(), &options).await {
            Err(error) if error.kind() == ErrorKind::NotModified => Ok(true),
            // As for any HEAD: the bucket must be seen to be there.
            Err(umbra_client::Error::S3(error)) if error.status == 404 => {
                client.head_bucket().await.map_err(of_read)?;
                Err(umbra_client::Error::S3(error).into())
            }
            // Not every origin knows conditions.
            answer => Ok(self::etag(&answer.map_err(of_read)?)? == *etag),
        }
    }

    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        let options = GetOptions { part_number: Some(part), if_match: Some(etag.quoted()), ..GetOptions::default() };
        match self.client(path).head_object(key.as_str(), &options).await {
            Ok(headers) => Ok(header_text(&headers, "content-length").and_then(|size| size.parse().ok())),
            // Not every origin knows the parameter. What they answer to it says nothing of the object.
            Err(umbra_client::Error::S3(_)) => Ok(None),
            Err(error) => Err(of_read(error)),
        }
    }

    async fn put(&self, path: &ShadowPath, key: &ObjectKey, size: u64, body: Body, attributes: &OriginAttributes) -> Result<ETag> {
        let headers = self.client(path).put_object(key.as_str(), size, body, &request_headers(attributes)?).await?;
        etag(&headers)
    }

    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        self.client(path).delete_object(key.as_str()).await?;
        Ok(())
    }

    async fn list(&self, path: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let options = ListOptions {
            prefix: some(&list.prefix),
            delimiter: some(&list.delimiter),
            start_after: list.after.clone().filter(|_| list.token.is_none()),
            continuation: list.token.clone(),
            max_keys: u16::try_from(list.limit).ok(),
        };
        let page = self.client(path).list_objects_v2(&options).await.map_err(of_read)?;
        let listed = |object: umbra_client::ListedObject| {
            let key = ObjectKey::parse(&object.key).map_err(OriginError::certain)?;
            let storage_class = object.storage_class.filter(|class| class != "STANDARD");
            Ok(ListedObject { key, size: object.size, etag: object.etag, last_modified: object.last_modified, storage_class })
        };
        Ok(OriginPage {
            objects: page.objects.into_iter().map(listed).collect::<Result<_>>()?,
            common_prefixes: page.common_prefixes,
            next: page.next.filter(|_| page.is_truncated),
        })
    }

    async fn tags(&self, path: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        match self.client(path).get_object_tagging(key.as_str()).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Setting) => Ok(Tags::default()),
            answer => Ok(answer?),
        }
    }

    async fn put_tags(&self, path: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        self.client(path).put_object_tagging(key.as_str(), tags).await?;
        Ok(())
    }

    async fn create_upload(&self, path: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        let upload = self.client(path).create_multipart_upload(key.as_str(), &request_headers(attributes)?).await?;
        Ok(upload.as_str().to_owned())
    }

    async fn put_part(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, size: u64, body: Body) -> Result<ETag> {
        let upload = UploadId::parse(upload);
        let headers = self.client(path).upload_part(key.as_str(), &upload, number, size, body, &HeaderMap::new()).await?;
        etag(&headers)
    }

    async fn parts(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        let (client, upload) = (self.client(path), UploadId::parse(upload));
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let page = client.list_parts(key.as_str(), &upload, after).await?;
            parts.extend(page.parts.into_iter().map(|part| OriginPart { number: part.number, etag: part.etag, size: part.size }));
            match page.next {
                Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
                _ => return Ok(parts),
            }
        }
    }

    async fn complete_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, parts: &[(PartNumber, ETag)]) -> Result<ETag> {
        let completed =
            self.client(path).complete_multipart_upload(key.as_str(), &UploadId::parse(upload), parts, &HeaderMap::new()).await?;
        Ok(completed.etag)
    }

    async fn abort_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        match self.client(path).abort_multipart_upload(key.as_str(), &UploadId::parse(upload)).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Upload) => Ok(()),
            answer => Ok(answer?),
        }
    }
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    // Origins send UTF-8 in metadata; `HeaderValue::to_str` would refuse it.
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

fn etag(headers: &HeaderMap) -> Result<ETag> {
    let etag = header_text(headers, "etag").map(ETag::parse).filter(|etag| !etag.as_str().is_empty());
    // The write was taken: only what became of it is not known.
    etag.ok_or_else(|| OriginError {
        error: Error::new(ErrorKind::OriginUnavailable, "the origin does not tell the object's ETag"),
        outcome_unknown: true,
    })
}

/// Whether the ETag is the MD5 of the content: encryption under a customer's or KMS key makes it something else.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>
fn etag_is_md5(headers: &HeaderMap) -> bool {
    let encrypted = header_text(headers, "x-amz-server-side-encryption").is_some_and(|how| how.starts_with("aws:"));
    !encrypted && !headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

fn object_info(headers: &HeaderMap, size: u64) -> Result<ObjectInfo> {
    let text = |name: &str| header_text(headers, name).map(str::to_owned);
    let metadata = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    });
    Ok(ObjectInfo {
        size,
        etag: etag(headers)?,
        last_modified: text("last-modified").and_then(|date| http_date(&date)).unwrap_or_default(),
        headers: SystemHeaders {
            content_type: text("content-type"),
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            expires: text("expires"),
            website_redirect_location: text("x-amz-website-redirect-location"),
            storage_class: text("x-amz-storage-class"),
        },
        metadata: UserMetadata::new(metadata),
        checksums: checksums(headers),
        parts: Vec::new(),
        tag_count: text("x-amz-tagging-count").and_then(|count| count.parse().ok()).unwrap_or(0),
        source: ReadSource::Origin,
    })
}

fn checksums(headers: &HeaderMap) -> Vec<Checksum> {
    let composite = header_text(headers, "x-amz-checksum-type").is_some_and(|kind| kind.eq_ignore_ascii_case("COMPOSITE"));
    let one = |algorithm: ChecksumAlgorithm| {
        let value = header_text(headers, algorithm.header())?.to_owned();
        let kind = if composite || value.contains('-') { ChecksumType::Composite } else { ChecksumType::FullObject };
        Some(Checksum { algorithm, kind, value })
    };
    ChecksumAlgorithm::ALL.into_iter().filter_map(one).collect()
}

fn http_date(text: &str) -> Option<Timestamp> {
    let format = format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date: OffsetDateTime = PrimitiveDateTime::parse(text, &format).ok()?.assume_utc();
    Some(Timestamp::from_millis(date.unix_timestamp() * 1000))
}

fn request_headers(attributes: &OriginAttributes) -> Result<HeaderMap> {
    let OriginAttributes { headers: stored, metadata, tags } = attributes;
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, value: &str| -> Result<()> {
        let wrong =
            || OriginError::certain(Error::invalid(Fault::InvalidArgument, format!("the header {name} cannot be sent to the origin")));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(name.clone(), HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?);
        Ok(())
    };
    let standard = [
        (header::CONTENT_TYPE.as_str(), &stored.content_type),
        (header::CACHE_CONTROL.as_str(), &stored.cache_control),
        (header::CONTENT_DISPOSITION.as_str(), &stored.content_disposition),
        (header::CONTENT_ENCODING.as_str(), &stored.content_encoding),
        (header::CONTENT_LANGUAGE.as_str(), &stored.content_language),
        (header::EXPIRES.as_str(), &stored.expires),
        ("x-amz-website-redirect-location", &stored.website_redirect_location),
        ("x-amz-storage-class", &stored.storage_class),
    ];
    for (name, value) in standard {
        if let Some(value) = value {
            set(name, value)?;
        }
    }
    for (name, value) in metadata.iter() {
        set(&format!("x-amz-meta-{name}"), value)?;
    }
    if !tags.is_empty() {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        set("x-amz-tagging", &pairs.join("&"))?;
    }
    Ok(headers)
}
