//! GetObjectAttributes: where an origin can tell the parts an object was made of.

use http::{Method, header::HeaderName};
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumType, ETag, PartInfo};

use crate::{
    Error, Result, S3Client,
    xml::{XmlError, number, truth, unexpected},
};

/// What an origin knows of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectAttributes {
    /// Its ETag.
    pub etag: Option<ETag>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// How many parts it was made of; `None` when it was stored by one PUT.
    pub parts_count: Option<u32>,
    /// The parts of this page. Amazon names them only when they were uploaded with checksums.
    pub parts: Vec<PartInfo>,
    /// After which part the next page begins, when there is more.
    pub next: Option<u16>,
}

impl S3Client {
    /// Asks for the attributes of the object at `key`, and a page of its parts, beginning after part `after`. Many engines do not know
    /// the operation, and some of those answer with the object itself, which is an [`Error::BadResponse`].
    pub async fn get_object_attributes(&self, key: &str, after: Option<u16>) -> Result<ObjectAttributes> {
        let after_text = after.map(|after| after.to_string());
        let call = self
            .object(Method::GET, key)?
            .sub_resource("attributes")
            .header(HeaderName::from_static("x-amz-object-attributes"), Some("ETag,ObjectParts,ObjectSize"))?
            .header(HeaderName::from_static("x-amz-part-number-marker"), after_text.as_deref())?;
        let mut reader = Reader::default();
        let answer = self.send(call).await?;
        answer.walk(&["GetObjectAttributesResponse", "GetObjectAttributesOutput"], |path, text| reader.visit(path, text)).await?;
        let Reader { mut attributes, is_truncated, .. } = reader;
        if !is_truncated {
            attributes.next = None;
        } else if attributes.next <= after {
            return Err(Error::bad_response("a truncated page that does not lead to another one"));
        }
        Ok(attributes)
    }
}

#[derive(Default)]
struct Reader {
    attributes: ObjectAttributes,
    is_truncated: bool,
    part: (Option<u16>, Option<u64>, Vec<Checksum>),
}

impl Reader {
    fn visit(&mut self, path: &[&str], text: &str) -> Result<(), XmlError> {
        match path {
            ["ETag"] => self.attributes.etag = Some(ETag::parse(text)),
            ["ObjectSize"] => self.attributes.size = Some(number("ObjectSize", text)?),
            ["ObjectParts", "TotalPartsCount" | "PartsCount"] => self.attributes.parts_count = Some(number("PartsCount", text)?),
            ["ObjectParts", "IsTruncated"] => self.is_truncated = truth("IsTruncated", text)?,
            ["ObjectParts", "NextPartNumberMarker"] if !text.is_empty() => {
                self.attributes.next = Some(number("NextPartNumberMarker", text)?);
            }
            ["ObjectParts", "Part", "PartNumber"] => self.part.0 = Some(number("PartNumber", text)?),
            ["ObjectParts", "Part", "Size"] => self.part.1 = Some(number("Size", text)?),
            ["ObjectParts", "Part", element] => self.part.2.extend(checksum(element, text)),
            ["ObjectParts", "Part"] => {
                let (Some(number), Some(size), checksums) = std::mem::take(&mut self.part) else {
                    return Err(unexpected("a part lacks its number or size"));
                };
                self.attributes.parts.push(PartInfo { number, size, checksums });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The checksum that an element such as `ChecksumCRC32` holds.
fn checksum(element: &str, text: &str) -> Option<Checksum> {
    let algorithm = ChecksumAlgorithm::parse(element.strip_prefix("Checksum")?).ok()?;
    Some(Checksum { algorithm, kind: ChecksumType::FullObject, value: text.to_owned() })
}
