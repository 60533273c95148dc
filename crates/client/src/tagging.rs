//! Tags of an object.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, Method, header::HeaderName};
use md5::{Digest as _, Md5};
use umbra_core::Tags;

use crate::{
    Result, S3Client,
    xml::{escape, unexpected},
};

impl S3Client {
    /// Reads the tags of the object at `key`.
    pub async fn get_object_tagging(&self, key: &str) -> Result<Tags> {
        let mut tags = Vec::new();
        let (mut tag, mut value) = (None, None);
        let answer = self.send(self.object(Method::GET, key)?.sub_resource("tagging")).await?;
        answer
            .walk(&["Tagging"], |path, text| {
                match path {
                    ["TagSet", "Tag", "Key"] => tag = Some(text.to_owned()),
                    ["TagSet", "Tag", "Value"] => value = Some(text.to_owned()),
                    ["TagSet", "Tag"] => {
                        let key = tag.take().ok_or_else(|| unexpected("a tag has no key"))?;
                        tags.push((key, value.take().unwrap_or_default()));
                    }
                    _ => {}
                }
                Ok(())
            })
            .await?;
        Ok(Tags::new(tags))
    }

    /// Replaces the tags of the object at `key`.
    pub async fn put_object_tagging(&self, key: &str, tags: &Tags) -> Result<HeaderMap> {
        let tag = |(key, value)| format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escape(key), escape(value));
        let set: String = tags.iter().map(tag).collect();
        let document = format!("<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>{set}</TagSet></Tagging>");
        // Engines of before 2022 insist on this header, and newer ones still take it.
        let md5 = BASE64.encode(Md5::digest(&document));
        let call = self.object(Method::PUT, key)?.sub_resource("tagging").header(HeaderName::from_static("content-md5"), Some(&md5))?;
        Ok(self.send_document(call, document).await?.headers)
    }
}
