//! Multipart uploads.

use bytes::Bytes;
use http::{HeaderMap, Method};
use umbra_core::{Body, ETag, PartNumber, Timestamp, UploadId};

use crate::{
    Error, Result, S3Client,
    listing::timestamp,
    xml::{escape, number, truth, unexpected},
};

/// A completed upload.
#[derive(Clone, Debug)]
pub struct CompletedUpload {
    /// The object's ETag.
    pub etag: ETag,
    /// The headers of the answer.
    pub headers: HeaderMap,
}

/// A page of an upload's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartPage {
    /// The parts, in order of their numbers.
    pub parts: Vec<ListedPart>,
    /// After which part the next page begins, when there is more.
    pub next: Option<PartNumber>,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// When it was uploaded, where the origin says.
    pub last_modified: Option<Timestamp>,
}

/// A page of the uploads that are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<ListedUpload>,
    /// After which upload the next page begins, when there is more.
    pub next: Option<UploadMarker>,
}

/// Where a page of uploads ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    /// The key of the last upload.
    pub key: String,
    /// Its identifier, where the origin says.
    pub id: Option<UploadId>,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// Its key.
    pub key: String,
    /// Its identifier.
    pub id: UploadId,
    /// When it was started, where the origin says.
    pub initiated: Option<Timestamp>,
}

impl S3Client {
    /// Starts an upload to `key`.
    pub async fn create_multipart_upload(&self, key: &str, headers: &HeaderMap) -> Result<UploadId> {
        let call = self.object(Method::POST, key)?.sub_resource("uploads").headers(headers);
        let mut id = None;
        let answer = self.send(call).await?;
        answer
            .walk(&["InitiateMultipartUploadResult"], |path, text| {
                if path == ["UploadId"] && !text.is_empty() {
                    id = Some(UploadId::parse(text));
                }
                Ok(())
            })
            .await?;
        id.ok_or_else(|| Error::bad_response("a new upload without an identifier"))
    }

    /// Uploads part `number` of `size` bytes and returns the headers of the answer; like [`S3Client::put_object`] in all else.
    pub async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: PartNumber,
        size: u64,
        body: Body,
        headers: &HeaderMap,
    ) -> Result<HeaderMap> {
        let call = self
            .object(Method::PUT, key)?
            .query("partNumber", number.get().to_string())
            .query("uploadId", upload.as_str())
            .headers(headers);
        Ok(self.send_content(call, size, body).await?.headers)
    }

    /// Uploads part `number` out of memory; tried again like a read.
    pub async fn upload_part_bytes(&self, key: &str, upload: &UploadId, number: PartNumber, content: &Bytes) -> Result<HeaderMap> {
        let call = self.object(Method::PUT, key)?.query("partNumber", number.get().to_string()).query("uploadId", upload.as_str());
        Ok(self.send_bytes(call, content).await?.headers)
    }

    /// Makes an object of the upload's `parts`, given in order. An origin that finds out late that it cannot is heard all the same.
    pub async fn complete_multipart_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[(PartNumber, ETag)],
        headers: &HeaderMap,
    ) -> Result<CompletedUpload> {
        let mut call = self.object(Method::POST, key)?.query("uploadId", upload.as_str()).headers(headers);
        call.is_completion = true;
        let mut etag = None;
        let answer = self.send_document(call, completion(parts)).await?;
        let headers = answer
            .walk_late(&["CompleteMultipartUploadResult"], |path, text| {
                if path == ["ETag"] {
                    etag = Some(ETag::parse(text));
                }
                Ok(())
            })
            .await?;
        let etag =
            etag.filter(|etag| !etag.as_str().is_empty()).ok_or_else(|| Error::bad_response("a completed upload without an ETag"))?;
        Ok(CompletedUpload { etag, headers })
    }

    /// Gives an upload up.
    pub async fn abort_multipart_upload(&self, key: &str, upload: &UploadId) -> Result<()> {
        self.send(self.object(Method::DELETE, key)?.query("uploadId", upload.as_str())).await.map(drop)
    }

    /// Lists a page of the uploads under way to keys that begin with `prefix`, beginning after the upload `after`.
    pub async fn list_multipart_uploads(&self, prefix: &str, after: Option<&UploadMarker>) -> Result<UploadPage> {
        let call = self
            .whole_bucket(Method::GET)
            .sub_resource("uploads")
            .query_opt("prefix", Some(prefix).filter(|prefix| !prefix.is_empty()))
            .query_opt("key-marker", after.map(|after| after.key.as_str()))
            .query_opt("upload-id-marker", after.and_then(|after| after.id.as_ref()).map(UploadId::as_str));
        let mut page = UploadPage::default();
        let (mut is_truncated, mut next_key, mut next_id) = (false, None, None);
        let mut upload = PartialUpload::default();
        let answer = self.send(call).await?;
        answer
            .walk(&["ListMultipartUploadsResult"], |path, text| {
                match path {
                    ["Upload", "Key"] => upload.key = Some(text.to_owned()),
                    ["Upload", "UploadId"] => upload.id = Some(UploadId::parse(text)),
                    ["Upload", "Initiated"] => upload.initiated = Some(timestamp(text)?),
                    ["Upload"] => {
                        let whole = std::mem::take(&mut upload).whole();
                        page.uploads.push(whole.ok_or_else(|| unexpected("an upload lacks its key or identifier"))?);
                    }
                    ["IsTruncated"] => is_truncated = truth("IsTruncated", text)?,
                    ["NextKeyMarker"] if !text.is_empty() => next_key = Some(text.to_owned()),
                    ["NextUploadIdMarker"] if !text.is_empty() => next_id = Some(UploadId::parse(text)),
                    _ => {}
                }
                Ok(())
            })
            .await?;
        if is_truncated {
            let key = next_key.ok_or_else(|| Error::bad_response("a truncated page without a marker"))?;
            let next = UploadMarker { key, id: next_id };
            if after == Some(&next) {
                return Err(Error::bad_response("a truncated page that does not lead to another one"));
            }
            page.next = Some(next);
        }
        Ok(page)
    }

    /// Lists a page of the parts uploaded so far, beginning after part `after`.
    pub async fn list_parts(&self, key: &str, upload: &UploadId, after: Option<PartNumber>) -> Result<PartPage> {
        let call = self
            .object(Method::GET, key)?
            .query("uploadId", upload.as_str())
            .query_opt("part-number-marker", after.map(|after| after.get().to_string()));
        let mut page = PartPage::default();
        let (mut is_truncated, mut marker) = (false, None);
        let mut part = PartialPart::default();
        let answer = self.send(call).await?;
        answer
            .walk(&["ListPartsResult"], |path, text| {
                match path {
                    ["Part", "PartNumber"] => part.number = PartNumber::new(number("PartNumber", text)?).ok(),
                    ["Part", "Size"] => part.size = Some(number("Size", text)?),
                    ["Part", "ETag"] => part.etag = Some(ETag::parse(text)),
                    ["Part", "LastModified"] => part.last_modified = Some(timestamp(text)?),
                    ["Part"] => {
                        let whole = std::mem::take(&mut part).whole();
                        page.parts.push(whole.ok_or_else(|| unexpected("a part lacks its number, size or ETag"))?);
                    }
                    ["IsTruncated"] => is_truncated = truth("IsTruncated", text)?,
                    ["NextPartNumberMarker"] if !text.is_empty() => marker = PartNumber::new(number("NextPartNumberMarker", text)?).ok(),
                    _ => {}
                }
                Ok(())
            })
            .await?;
        if is_truncated {
            page.next = marker.or(page.parts.last().map(|part| part.number));
            if page.next <= after {
                return Err(Error::bad_response("a truncated page that does not lead to another one"));
            }
        }
        Ok(page)
    }
}

#[derive(Default)]
struct PartialPart {
    number: Option<PartNumber>,
    size: Option<u64>,
    etag: Option<ETag>,
    last_modified: Option<Timestamp>,
}

impl PartialPart {
    fn whole(self) -> Option<ListedPart> {
        Some(ListedPart { number: self.number?, size: self.size?, etag: self.etag?, last_modified: self.last_modified })
    }
}

#[derive(Default)]
struct PartialUpload {
    key: Option<String>,
    id: Option<UploadId>,
    initiated: Option<Timestamp>,
}

impl PartialUpload {
    fn whole(self) -> Option<ListedUpload> {
        Some(ListedUpload { key: self.key?, id: self.id?, initiated: self.initiated })
    }
}

fn completion(parts: &[(PartNumber, ETag)]) -> String {
    let part = |(number, etag): &(PartNumber, ETag)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number.get(), escape(&etag.quoted()))
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>")
}
