//! GetObjectAttributes.

use s3s::{
    S3Request, S3Response, dto,
    dto::{GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes, ObjectPart},
};
use umbra_core::{Error, Fault, ObjectInfo, ObjectKey, PartInfo, Permission, Result};
use umbra_store::GetOptions;

use super::{Operations, list_objects, reads};
use crate::{
    call::Call,
    convert::{attributes::encryption, checksum, conditions, headers::STANDARD, time, version},
    error::Answer,
};

/// Tells the asked-for attributes of an object.
pub(super) async fn get_object_attributes(
    operations: &Operations,
    request: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let call = Call::of(&request)?;
    encryption::refuse_on_read(&request.headers)?;
    let stated = stated!(request);
    let input = request.input;
    let version = version::asked(input.version_id.as_deref())?;
    let wanted = Wanted::parse(&input.object_attributes)?;
    let limit = list_objects::page_size(input.max_parts)?;
    let key = ObjectKey::parse(&input.key)?;
    let customer_key = encryption::given_key!(input)?;
    let options = GetOptions { version, wants_parts: wanted.parts, customer_key, ..GetOptions::default() };
    let info = operations.objects.head(&call.cx, call.bucket()?, &key, options.clone()).await.map_err(|error| call.told(error))?;
    call.check_reader(&operations.judge, stated, (&key, &info), Permission::Read).await?;
    reads::check_key(&info, &options)?;
    let storage_class = || info.headers.storage_class.clone().unwrap_or_else(|| STANDARD.to_owned()).into();
    let output = GetObjectAttributesOutput {
        version_id: version::shown(call.bucket()?, info.version),
        checksum: wanted.checksum.then(|| whole(&info)).flatten(),
        e_tag: wanted.etag.then(|| conditions::etag(&info.etag)),
        last_modified: Some(time::shown(info.last_modified)),
        object_parts: wanted.parts.then(|| parts(&info, input.part_number_marker.unwrap_or(0), limit)).flatten(),
        object_size: i64::try_from(info.size).ok().filter(|_| wanted.size),
        storage_class: wanted.storage_class.then(storage_class),
        ..GetObjectAttributesOutput::default()
    };
    let mut response = S3Response::new(output);
    reads::complete(&mut response, &info, call.bucket()?);
    Ok(response)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Wanted {
    /// Takes the names in the header, which s3s does not split.
    fn parse(headers: &[ObjectAttributes]) -> Result<Self> {
        let mut wanted = Self::default();
        for name in headers.iter().flat_map(|names| names.as_str().split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                ObjectAttributes::ETAG => wanted.etag = true,
                ObjectAttributes::CHECKSUM => wanted.checksum = true,
                ObjectAttributes::OBJECT_PARTS => wanted.parts = true,
                ObjectAttributes::STORAGE_CLASS => wanted.storage_class = true,
                ObjectAttributes::OBJECT_SIZE => wanted.size = true,
                _ => return Err(Error::invalid(Fault::InvalidArgument, "invalid attribute name specified")),
            }
        }
        if wanted == Self::default() {
            return Err(Error::invalid(
                Fault::InvalidArgument,
                "the x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        Ok(wanted)
    }
}

fn whole(info: &ObjectInfo) -> Option<dto::Checksum> {
    let shown = checksum::shown(&info.checksums)?;
    let mut whole = dto::Checksum::default();
    checksum::show_with_type!(whole, Some(shown));
    Some(whole)
}

/// One page of the parts behind number `marker`.
fn parts(info: &ObjectInfo, marker: i32, limit: usize) -> Option<GetObjectAttributesParts> {
    if info.parts.is_empty() {
        return None;
    }
    let behind: Vec<&PartInfo> = info.parts.iter().filter(|part| i32::from(part.number) > marker).collect();
    let page = &behind[..behind.len().min(limit)];
    Some(GetObjectAttributesParts {
        is_truncated: Some(behind.len() > limit),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: Some(page.last().map_or(marker, |part| part.number.into())),
        part_number_marker: Some(marker),
        parts: Some(page.iter().map(|part| shown(part)).collect()),
        total_parts_count: i32::try_from(info.parts.len()).ok(),
    })
}

fn shown(part: &PartInfo) -> ObjectPart {
    let mut shown = ObjectPart { part_number: Some(part.number.into()), size: i64::try_from(part.size).ok(), ..ObjectPart::default() };
    checksum::show!(shown, checksum::shown(&part.checksums));
    shown
}

#[cfg(test)]
mod tests {
    use s3s::dto::ObjectAttributes;
    use umbra_core::{ETag, ObjectInfo, PartInfo, ReadSource, SystemHeaders, Timestamp, UserMetadata};

    use super::{Wanted, parts};

    #[test]
    fn names_come_in_one_header_or_many() {
        let parse =
            |headers: &[&'static str]| Wanted::parse(&headers.iter().map(|names| ObjectAttributes::from_static(names)).collect::<Vec<_>>());
        let expected = Wanted { etag: true, size: true, ..Wanted::default() };
        assert_eq!(parse(&["ETag,ObjectSize"]).unwrap(), expected);
        assert_eq!(parse(&["ETag", " ObjectSize ,"]).unwrap(), expected);
        assert!(parse(&["ETag,Colour"]).is_err());
        assert!(parse(&[","]).is_err());
    }

    #[test]
    fn parts_come_in_pages() {
        let info = ObjectInfo {
            size: 30,
            etag: ETag::parse("x"),
            last_modified: Timestamp::default(),
            headers: SystemHeaders::default(),
            metadata: UserMetadata::default(),
            checksums: vec![],
            parts: [1, 3, 7].map(|number| PartInfo { number, size: 10, checksums: vec![] }).to_vec(),
            tag_count: 0,
            tags: None,
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Local,
        };
        let numbers = |marker, limit| {
            let page = parts(&info, marker, limit).unwrap();
            let numbers: Vec<i32> = page.parts.unwrap().iter().filter_map(|part| part.part_number).collect();
            (numbers, page.is_truncated.unwrap(), page.next_part_number_marker.unwrap(), page.total_parts_count.unwrap())
        };
        assert_eq!(numbers(0, 1000), (vec![1, 3, 7], false, 7, 3));
        assert_eq!(numbers(0, 2), (vec![1, 3], true, 3, 3));
        assert_eq!(numbers(3, 2), (vec![7], false, 7, 3));
        assert_eq!(numbers(7, 2), (vec![], false, 7, 3));
        assert!(parts(&ObjectInfo { parts: vec![], ..info }, 0, 1).is_none());
    }
}
