//! Reads.

use umbra_core::{Body, ByteRange, Entity, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber, Result, check_read};

use super::{Native, Stored, content_stream};
use crate::{Bucket, GetObject, GetOptions, keyring::check_read as check_key};

/// How often a read begins anew because its object was overwritten and reclaimed under it.
const RETRIES_MAX: usize = 3;

impl Native {
    /// Answers a read from `stored`: conditions are judged, the range or part is resolved, the content is opened.
    ///
    /// When the content is gone, because `stored` was overwritten some time ago, that is [`Entity::Object`] not found:
    /// see [`Native::open_current`].
    pub async fn open(&self, bucket: &Bucket, stored: &Stored, options: &GetOptions) -> Result<GetObject> {
        match self.try_open(bucket, stored, options).await? {
            Ok(object) => Ok(object),
            Err(gone) => Err(Error::not_found(Entity::Object).because(gone)),
        }
    }

    /// Like [`Native::open`], beginning anew with what `key`, or the version in question, holds now when the content of `stored` is gone. When
    /// there is nothing any more, that is what a read says that begins now.
    pub async fn open_current(&self, bucket: &Bucket, key: &ObjectKey, mut stored: Stored, options: &GetOptions) -> Result<GetObject> {
        for _ in 0..RETRIES_MAX {
            let gone = match self.try_open(bucket, &stored, options).await? {
                Ok(object) => return Ok(object),
                Err(gone) => gone,
            };
            let current = self.find_version(bucket, key, options.version).await?;
            if current.revision == stored.revision {
                return Err(gone.into());
            }
            stored = current;
        }
        Ok(self.try_open(bucket, &stored, options).await??)
    }

    /// Opens the content; the inner error says that a blob is gone: the record that names it is old, or the store is damaged.
    async fn try_open(&self, bucket: &Bucket, stored: &Stored, options: &GetOptions) -> Result<Result<GetObject, umbra_blob::Error>> {
        let info = stored.judge(options)?;
        let range = stored.resolve(options)?;
        let wanted = range.unwrap_or(ByteRange::new(0, info.size));
        let blobs = self.sealed_blobs(bucket, info.attributes.narrowed.as_ref(), options.customer_key.as_ref());
        match content_stream::open(&blobs, self.reclaimer(), &stored.object.content, wanted).await {
            Ok(Ok(stream)) => Ok(Ok(GetObject { info, range, body: Body::new(Some(wanted.len()), stream) })),
            Ok(Err(gone @ umbra_blob::Error::NotFound(_))) => Ok(Err(gone)),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error),
        }
    }
}

impl Stored {
    /// What a client can learn of the object, if the conditions hold and the part exists.
    pub fn judge(&self, options: &GetOptions) -> Result<ObjectInfo> {
        let info = self.info();
        if !options.is_of_record {
            check_key(info.attributes.encryption.as_ref(), options.customer_key.as_ref())?;
        }
        check_read(&options.preconditions, &info)?;
        if let Some(number) = options.part_number {
            self.part(number)?;
        }
        Ok(info)
    }

    fn resolve(&self, options: &GetOptions) -> Result<Option<ByteRange>> {
        match (options.part_number, options.range) {
            (Some(number), _) => self.part(number),
            (None, Some(range)) => range.resolve(self.object.size).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Where part `number` lies. Part 1 of an object without parts is the whole; of an empty one that is no range.
    fn part(&self, number: PartNumber) -> Result<Option<ByteRange>> {
        let object = &self.object;
        if object.parts.is_empty() && object.etag.part_count().is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "the part boundaries of this object are known only at the origin it came from"));
        }
        let range = if object.parts.is_empty() {
            (number.get() == 1).then(|| ByteRange::new(0, object.size))
        } else {
            let mut start = 0;
            let mut ranges = object.parts.iter().map(|part| {
                let range = ByteRange::new(start, start + part.size);
                start = range.end;
                (part.number, range)
            });
            ranges.find(|(candidate, _)| *candidate == number.get()).map(|(_, range)| range)
        };
        let range = range.ok_or_else(|| Error::invalid(Fault::InvalidPartNumber, "the requested partnumber is not satisfiable"))?;
        Ok((!range.is_empty()).then_some(range))
    }
}
