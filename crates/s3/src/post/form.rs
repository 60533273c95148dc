//! The fields of a form, and the file behind them.

use futures::TryStreamExt as _;
use http::{HeaderMap, header::CONTENT_TYPE};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};
use s3s_multipart::{Boundary, Error as PartError, Multipart, parse_content_disposition};

use super::file::{self, File, Source};

/// The most bytes of all fields together. S3 takes 20 KB.
const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// The most fields.
const FIELDS_MAX: usize = 100;
/// The most bytes of one part's head.
const PART_HEAD_BYTES_MAX: usize = 8 * 1024;
/// In any field, the name of the file.
const FILENAME: &str = "${filename}";
/// Bytes around the boundary behind a file that is the last part: `\r\n--BOUNDARY--\r\n`.
const LAST_BOUNDARY_BYTES: u64 = 8;

/// The fields, by their names in lower case: S3 does not tell cases apart.
#[derive(Debug, Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads the fields of `body`, which has `length` bytes, up to the file. What follows the file is of no account.
    pub(super) async fn read(headers: &HeaderMap, length: Option<u64>, body: Body) -> S3Result<(Self, File)> {
        let boundary = boundary(headers).ok_or_else(|| malformed("the boundary of the form is missing or malformed"))?;
        let source: Source = Box::pin(body.map_err(PartError::stream_read_failed));
        let mut parts = Multipart::new(source, &boundary, PART_HEAD_BYTES_MAX);
        let (mut form, mut taken) = (Self::default(), 0);
        while let Some(mut part) = parts.next_part().await.map_err(broken)? {
            let mut named = None;
            while let Some(header) = part.next_header().await.map_err(broken)? {
                if header.name.eq_ignore_ascii_case("content-disposition") {
                    named =
                        parse_content_disposition(header.value).map(|it| (it.name.map(<[u8]>::to_vec), it.file_name.map(<[u8]>::to_vec)));
                }
            }
            let (Some(name), file_name) = named.unwrap_or_default() else { return Err(malformed("a part of the form has no name")) };
            let name = text(name)?.to_ascii_lowercase();
            if name == "file" {
                form.fill_in(&file_name.map(text).transpose()?.unwrap_or_default());
                let content = part.take_data_stream().map_err(broken)?;
                let around = content.multipart_consumed() + boundary.len() as u64 + LAST_BOUNDARY_BYTES;
                return Ok((form, File::new(content, length.and_then(|length| length.checked_sub(around)))));
            }
            let mut value = Vec::new();
            while let Some(bytes) = part.next_data().await.map_err(broken)? {
                taken += bytes.len();
                if taken > FIELDS_BYTES_MAX {
                    let message = "Your POST request fields preceding the upload file were too large.";
                    return Err(S3Error::with_message(S3ErrorCode::MaxPostPreDataLengthExceededError, message));
                }
                value.extend_from_slice(&bytes);
            }
            form.set(&name, &text(value)?)?;
        }
        Err(malformed("POST requires exactly one file upload per request"))
    }

    /// Sets a field that may be there with this very value only, or not at all.
    pub(super) fn set(&mut self, name: &str, value: &str) -> S3Result<()> {
        match self.get(name) {
            Some(same) if same == value && name == "bucket" => return Ok(()),
            Some(_) if name == "bucket" => return Err(policy_says("the bucket of the form is not the bucket of the URL")),
            Some(_) => {
                let message = format!("the form has more than one field named {name:?}");
                return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
            }
            None if self.fields.len() == FIELDS_MAX => return Err(malformed("the form has too many fields")),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// The value of the field `name`, which is in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// All fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Puts the file's name where fields ask for it: without the directories that some browsers send along.
    fn fill_in(&mut self, file_name: &str) {
        let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        for (_, value) in &mut self.fields {
            if value.contains(FILENAME) {
                *value = value.replace(FILENAME, name);
            }
        }
    }

    /// A form with `fields`.
    #[cfg(test)]
    pub(super) fn of(fields: &[(&str, &str)]) -> Self {
        Self { fields: fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect() }
    }
}

/// A field that S3 must have.
pub(super) fn missing(name: &str) -> S3Error {
    let message = format!("Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields.");
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// What the policy forbids.
pub(super) fn policy_says(why: impl std::fmt::Display) -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, format!("Invalid according to Policy: {why}"))
}

fn malformed(why: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedPOSTRequest, why.to_owned())
}

/// What a form that cannot be read to its file is answered.
fn broken(error: PartError) -> S3Error {
    let code = file::code(&error);
    S3Error::with_source(code, Box::new(error))
}

fn text(bytes: Vec<u8>) -> S3Result<String> {
    String::from_utf8(bytes).map_err(|_| malformed("the fields of a form must be UTF-8"))
}

fn boundary(headers: &HeaderMap) -> Option<Boundary> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = kind.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    Boundary::new(value.trim().trim_matches('"').as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::TryStreamExt as _;
    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
    use s3s::{Body, S3Result};

    use super::{FIELDS_BYTES_MAX, FIELDS_MAX, File, Form};

    const KIND: &str = "multipart/form-data; charset=utf-8; boundary=\"XX\"";

    fn part(disposition: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    async fn read(document: &str) -> S3Result<(Form, File)> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(KIND))]);
        Form::read(&headers, Some(document.len() as u64), Body::from(Bytes::copy_from_slice(document.as_bytes()))).await
    }

    async fn refused(document: &str) -> String {
        read(document).await.map(|_| ()).unwrap_err().code().as_str().to_owned()
    }

    #[tokio::test]
    async fn fields_come_before_the_file_and_nothing_behind_it_counts() {
        let fields = part("name=\"Key\"", "a/${filename}") + &part("name=acl", "private");
        let file = part("name=\"file\"; filename=\"C:\\dir\\x.txt\"", "content\r\n--X");
        for rest in ["--XX--\r\n".to_owned(), "--XX--".to_owned(), part("name=submit", "go") + "--XX--\r\n"] {
            let (form, file) = read(&format!("{fields}{file}{rest}")).await.unwrap();
            assert_eq!((form.get("key"), form.get("acl"), form.get("submit")), (Some("a/x.txt"), Some("private"), None));
            assert_eq!(file.size_if_last == Some(12), rest == "--XX--\r\n", "{rest}");
            let content: Vec<Bytes> = file.stream.try_collect().await.unwrap();
            assert_eq!(content.concat(), b"content\r\n--X", "{rest}");
        }
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let file = part("name=file", "c");
        let many: String = (0..=FIELDS_MAX).map(|at| part(&format!("name=f{at}"), "")).collect();
        let cases = [
            ("no file".to_owned(), part("name=key", "k") + "--XX--\r\n", "MalformedPOSTRequest"),
            ("no name".to_owned(), part("filename=key", "k") + &file, "MalformedPOSTRequest"),
            ("no form".to_owned(), "key=k".to_owned(), "MalformedPOSTRequest"),
            ("cut off".to_owned(), "--XX\r\nContent-Dispo".to_owned(), "MalformedPOSTRequest"),
            ("twice".to_owned(), part("name=key", "k") + &part("name=KEY", "l") + &file, "InvalidArgument"),
            ("many".to_owned(), many + &file, "MalformedPOSTRequest"),
            ("large".to_owned(), part("name=key", &"k".repeat(FIELDS_BYTES_MAX + 1)) + &file, "MaxPostPreDataLengthExceeded"),
        ];
        for (name, document, code) in cases {
            assert!(refused(&document).await.starts_with(code), "{name}: {}", refused(&document).await);
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data"))]);
        assert!(Form::read(&headers, None, Body::empty()).await.is_err());
    }

    #[test]
    fn the_bucket_is_the_one_of_the_url() {
        let mut form = Form::of(&[("bucket", "b")]);
        form.set("bucket", "b").unwrap();
        assert_eq!(form.set("bucket", "c").unwrap_err().code().as_str(), "AccessDenied");
        assert_eq!(form.fields().count(), 1);
    }
}
