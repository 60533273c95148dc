//! The operations of an origin that speaks S3.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use umbra_client::{GetOptions, GetResponse, ListOptions};
use umbra_core::{Body, ByteRange, ETag, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber, Tags, UploadId};
use umbra_store::ListedObject;

use super::{
    S3Origin, documented_order,
    headers::{etag, etag_is_md5, header_text, is_etag_weak, object_info, request_headers, uncarried},
    of_read,
};
use crate::origin::{
    ListOrder, Origin, OriginAttributes, OriginError, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange,
    PutConditions, Result, ShadowPath,
};

#[async_trait]
impl Origin for S3Origin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        let sent = if_match.filter(|_| !self.has_weak_etags.load(Ordering::Relaxed)).map(ETag::quoted);
        let options = GetOptions { range, if_match: sent, checksum_mode: range.is_none(), ..GetOptions::default() };
        let client = self.client(path);
        let response = match client.get_object(key.as_str(), &options).await {
            // Nothing matches a weak ETag, not even itself: perhaps that is all.
            Err(error) if options.if_match.is_some() && error.kind() == ErrorKind::Precondition && self.weakens(&client, key).await? => {
                let options = GetOptions { if_match: None, ..options };
                client.get_object(key.as_str(), &options).await.map_err(of_read)?
            }
            answer => answer.map_err(of_read)?,
        };
        let GetResponse { headers, content_length, content_range, body, .. } = response;
        // One that covers the whole may be answered with the whole.
        if let Some(range) = range
            && (content_range.is_some() || range.start > 0 || content_length.is_none_or(|size| size > range.len()))
        {
            self.ignores_ranges.store(content_range.is_none(), Ordering::Relaxed);
        }
        let size = match &content_range {
            Some(content_range) => content_range.size,
            None => content_length,
        };
        let info = object_info(&headers, size.unwrap_or(0))?;
        // Not every origin minds the condition, and some cannot be asked to.
        if if_match.is_some_and(|etag| *etag != info.etag) {
            return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "the object changed at the origin")));
        }
        Ok(OriginObject {
            etag_is_md5: etag_is_md5(&headers),
            tags_known: self.tells_tags(&headers),
            uncarried: uncarried(&headers),
            size,
            range: content_range.map(|content_range| content_range.range),
            info,
            body,
        })
    }

    fn ignores_ranges(&self) -> bool {
        self.ignores_ranges.load(Ordering::Relaxed)
    }

    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        let (headers, size) = self.head_headers(&self.client(path), key.as_str()).await?;
        Ok(OriginHead { info: object_info(&headers, size)?, uncarried: uncarried(&headers) })
    }

    async fn head_alone(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        let options = GetOptions { checksum_mode: true, ..GetOptions::default() };
        let headers = self.client(path).head_object(key.as_str(), &options).await.map_err(of_read)?;
        let size = header_text(&headers, "content-length").and_then(|size| size.parse().ok());
        object_info(&headers, size.unwrap_or(0))
    }

    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        let options = GetOptions { if_none_match: Some(etag.quoted()), ..GetOptions::default() };
        match self.client(path).head_object(key.as_str(), &options).await {
            Ok(headers) => Ok(self::etag(&headers)? == *etag),
            Err(error) if error.kind() == ErrorKind::NotModified => Ok(true),
            // Not every origin knows conditions, or answers a HEAD; and that the object is gone must be said with authority.
            Err(umbra_client::Error::S3(_)) => Ok(self.head(path, key).await?.info.etag == *etag),
            Err(error) => Err(of_read(error)),
        }
    }

    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        Ok(self.part_range(path, key, etag, part).await?.map(|part| part.range.len()))
    }

    async fn part_range(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>> {
        let if_match = (!self.has_weak_etags.load(Ordering::Relaxed)).then(|| etag.quoted());
        let options = GetOptions { part_number: Some(part), if_match, ..GetOptions::default() };
        let headers = match self.client(path).head_object(key.as_str(), &options).await {
            Ok(headers) => headers,
            // Not every origin knows the parameter. What they answer to it says nothing of the object.
            Err(umbra_client::Error::S3(_)) => return Ok(None),
            Err(error) => return Err(of_read(error)),
        };
        if header_text(&headers, "etag").map(ETag::parse).as_ref() != Some(etag) {
            return Ok(None);
        }
        let content_range = header_text(&headers, "content-range").and_then(umbra_client::ContentRange::parse);
        let count = header_text(&headers, "x-amz-mp-parts-count").and_then(|count| count.parse().ok());
        // An origin that takes no notice answers with the whole, which is a part only where there is one.
        Ok(content_range.and_then(|found| Some(PartRange { range: found.range, size: found.size?, count })))
    }

    async fn object_parts(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>> {
        if self.lacks_attributes.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (client, mut parts, mut after) = (self.client(path), Vec::new(), None);
        loop {
            let page = match client.get_object_attributes(key.as_str(), after).await {
                Ok(page) => page,
                // It does not know the operation, or answers with the object itself. A refusal may be for this object alone.
                Err(error) => {
                    let is_unknown = matches!(error, umbra_client::Error::BadResponse { .. })
                        || error.s3().is_some_and(|told| matches!(told.status, 400 | 405 | 501));
                    if !is_unknown && error.s3().is_none() {
                        return Err(of_read(error));
                    }
                    self.lacks_attributes.fetch_or(is_unknown, Ordering::Relaxed);
                    return Ok(None);
                }
            };
            if page.etag.as_ref() != Some(etag) {
                return Ok(None);
            }
            parts.extend(page.parts);
            match page.next {
                Some(next) => after = Some(next),
                // Amazon tells the number of parts, and no more, where they were uploaded without checksums.
                None => return Ok((!parts.is_empty()).then_some(parts)),
            }
        }
    }

    async fn put(
        &self,
        path: &ShadowPath,
        key: &ObjectKey,
        size: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag> {
        self.introduce(path).await;
        let mut headers = request_headers(attributes)?;
        if !conditions.is_empty() && self.judges_conditions(path).await? {
            if conditions.if_absent {
                headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            let if_match = conditions.if_match.as_ref().and_then(|etag| HeaderValue::from_str(&etag.quoted()).ok());
            headers.extend(if_match.map(|etag| (header::IF_MATCH, etag)));
        }
        let headers = self.client(path).put_object(key.as_str(), size, body, &headers).await?;
        etag(&headers)
    }

    async fn judges_conditions(&self, path: &ShadowPath) -> Result<bool> {
        self.judges_conditions.get_or_try_init(|| self.try_condition(path)).await.copied()
    }

    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        self.client(path).delete_object(key.as_str()).await?;
        Ok(())
    }

    fn order(&self) -> ListOrder {
        documented_order(self.client.endpoint())
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
        let page = self.client(path).list_objects(&options).await.map_err(of_read)?;
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
            answer => answer.map_err(of_read),
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

impl S3Origin {
    /// Whether the object's ETag turns out to be a weak one; remembered.
    async fn weakens(&self, client: &umbra_client::S3Client, key: &ObjectKey) -> Result<bool> {
        let (headers, _) = self.head_headers(client, key.as_str()).await?;
        let is_weak = is_etag_weak(&headers);
        self.has_weak_etags.fetch_or(is_weak, Ordering::Relaxed);
        Ok(is_weak)
    }
}
