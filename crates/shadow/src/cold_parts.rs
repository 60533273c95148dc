//! The parts of a multipart object that is still at the origin: `?partNumber=`, and GetObjectAttributes.

use std::sync::Arc;

use umbra_core::{ByteRange, Error, Fault, ObjectInfo, ObjectKey, PartInfo, PartNumber, RangeSpec, RequestContext, Result, check_read};
use umbra_store::{Bucket, GetObject, GetOptions};

use crate::{
    Shadow,
    origin::{Origin, ShadowPath},
};

/// Of how many parts an origin is asked the size of each.
const PARTS_ASKED_MAX: u16 = 100;

/// What a look at the parts of a cold object came to.
pub(crate) enum Parts {
    /// They are known; an object of one piece has none.
    Known(Vec<PartInfo>),
    /// The origin does not tell: the object was brought here, where they may be recovered from its content.
    LookHere,
}

impl Shadow {
    /// The parts of what `info` tells of, a cold object.
    pub(crate) async fn cold_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        info: &ObjectInfo,
        origin: &Arc<dyn Origin>,
    ) -> Result<Parts> {
        if info.etag.part_count().is_none() {
            return Ok(Parts::Known(Vec::new()));
        }
        let path = self.path(cx, bucket);
        let first = part_size(&**origin, &path, key, info, 1).await;
        let parts = known_parts(&**origin, &path, key, info, first).await;
        if !parts.is_empty() {
            return Ok(Parts::Known(parts));
        }
        self.hydrate_now(cx, bucket, key, origin).await?;
        Ok(Parts::LookHere)
    }

    /// Reads one part of a cold key. `None` when it is not cold any more.
    pub(crate) async fn read_cold_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        (number, options): (PartNumber, &GetOptions),
        origin: &Arc<dyn Origin>,
        first: bool,
    ) -> Result<Option<GetObject>> {
        let info = origin.head(&self.path(cx, bucket), key).await?.info;
        check_read(&options.preconditions, &info)?;
        let Parts::Known(parts) = self.cold_parts(cx, bucket, key, &info, origin).await? else { return Ok(None) };
        let range = part_range(number, info.size, &parts)?;
        // An empty part has no range to ask for; it is answered with the headers of the whole.
        let range = range.map(|range| RangeSpec::From { first: range.start, last: Some(range.end - 1) });
        let options = GetOptions { range, part_number: None, ..options.clone() };
        let object = self.read_cold(cx, bucket, key, &options, origin, first).await?;
        // The boundaries are those of the object that was asked about.
        let object = object.filter(|object| object.info.etag == info.etag);
        Ok(object.map(|object| GetObject { info: ObjectInfo { parts, ..object.info }, ..object }))
    }
}

/// Where part `number` lies; `None` if it holds nothing. An object of one piece is its own first part.
fn part_range(number: PartNumber, size: u64, parts: &[PartInfo]) -> Result<Option<ByteRange>> {
    let mut start = 0;
    let whole = parts.is_empty().then_some((1, size));
    for (part, size) in whole.into_iter().chain(parts.iter().map(|part| (part.number, part.size))) {
        let range = ByteRange::new(start, start + size);
        if part == number.get() {
            return Ok((!range.is_empty()).then_some(range));
        }
        start = range.end;
    }
    Err(Error::invalid(Fault::InvalidPartNumber, "the requested partnumber is not satisfiable"))
}

/// The size of one part, as far as the origin tells. That it does not costs only the boundaries.
async fn part_size(origin: &dyn Origin, path: &ShadowPath, key: &ObjectKey, info: &ObjectInfo, number: u16) -> Option<u64> {
    let part = PartNumber::new(number.into()).ok()?;
    origin.part_size(path, key, &info.etag, part).await.ok().flatten()
}

/// The parts of a multipart object, asked for together or one by one; none if they do not make up the whole. `first` is the size of the first.
pub(crate) async fn known_parts(
    origin: &dyn Origin,
    path: &ShadowPath,
    key: &ObjectKey,
    info: &ObjectInfo,
    first: Option<u64>,
) -> Vec<PartInfo> {
    let Some(count) = info.etag.part_count() else { return Vec::new() };
    let fits = |parts: &[PartInfo]| parts.iter().map(|part| part.size).sum::<u64>() == info.size;
    match origin.object_parts(path, key, &info.etag).await {
        Ok(Some(parts)) if fits(&parts) => return parts,
        _ => {}
    }
    let Some(first) = first.filter(|_| count <= PARTS_ASKED_MAX) else { return Vec::new() };
    let mut parts = vec![PartInfo { number: 1, size: first, checksums: Vec::new() }];
    for number in 2..=count {
        let Some(size) = part_size(origin, path, key, info, number).await else { return Vec::new() };
        parts.push(PartInfo { number, size, checksums: Vec::new() });
    }
    if fits(&parts) { parts } else { Vec::new() }
}
