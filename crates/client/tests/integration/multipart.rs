use http::{HeaderMap, HeaderName, HeaderValue};
use umbra_client::{Error, ObjectAttributes};
use umbra_core::{Body, Checksum, ChecksumAlgorithm, ChecksumType, ETag, Entity, ErrorKind, Fault, PartInfo, PartNumber, UploadId};

use crate::origin::{Act, Origin, answer, error};

fn number(number: i64) -> PartNumber {
    PartNumber::new(number).unwrap()
}

fn xml(document: &str) -> Act {
    Act::Answer(answer("200 OK", &[("Content-Type", "application/xml")], document))
}

#[tokio::test]
async fn an_upload_goes_its_way() {
    let complete =
        "<?xml version=\"1.0\"?><CompleteMultipartUploadResult xmlns=\"x\"><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>";
    let origin = Origin::start([
        xml("<InitiateMultipartUploadResult><UploadId>u+/=&amp;1</UploadId></InitiateMultipartUploadResult>"),
        Act::Answer(answer("200 OK", &[("ETag", "\"p1\"")], "")),
        // Engines send white space to keep the connection alive while they work.
        xml(&format!("   \n\n{complete}")),
        Act::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ])
    .await;
    let client = origin.client();
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-amz-meta-a"), HeaderValue::from_static("1"))]);
    let upload = client.create_multipart_upload("k", &headers).await.unwrap();
    assert_eq!(upload.as_str(), "u+/=&1");
    let part = client.upload_part("k", &upload, number(1), 5, Body::from_bytes("hello"), &HeaderMap::new()).await.unwrap();
    assert_eq!(part["etag"], "\"p1\"");
    let parts = [(number(1), ETag::parse("\"p1\"")), (number(10_000), ETag::parse("p2"))];
    let completed = client.complete_multipart_upload("k", &upload, &parts, &HeaderMap::new()).await.unwrap();
    assert_eq!((completed.etag.as_str(), completed.headers["content-type"].to_str().unwrap()), ("e-2", "application/xml"));
    client.abort_multipart_upload("k", &upload).await.unwrap();
    let seen = origin.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line()).collect();
    let expected = [
        "POST /photos/k?uploads",
        "PUT /photos/k?partNumber=1&uploadId=u%2B%2F%3D%261",
        "POST /photos/k?uploadId=u%2B%2F%3D%261",
        "DELETE /photos/k?uploadId=u%2B%2F%3D%261",
    ];
    assert_eq!(lines, expected);
    assert_eq!((seen[0].header("x-amz-meta-a"), seen[0].header("content-length")), (Some("1"), Some("0")));
    assert_eq!(seen[1].body, b"hello");
    let sent = String::from_utf8(seen[2].body.clone()).unwrap();
    let listed = "<Part><PartNumber>1</PartNumber><ETag>&quot;p1&quot;</ETag></Part><Part><PartNumber>10000</PartNumber><ETag>&quot;p2&quot;</ETag></Part>";
    assert!(sent.contains(listed), "{sent}");
}

#[tokio::test]
async fn a_completion_that_fails_late_fails() {
    let parts = [(number(1), ETag::parse("p1"))];
    for (act, kind, unknown) in [
        (xml("\n  <Error><Code>InternalError</Code><Message>m</Message></Error>"), ErrorKind::OriginUnavailable, true),
        (xml("<Error><Code>InvalidPart</Code></Error>"), ErrorKind::Invalid(Fault::InvalidPart), true),
        (xml(""), ErrorKind::OriginUnavailable, true),
        (xml("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"), ErrorKind::OriginUnavailable, true),
        (Act::Answer(error("404 Not Found", "NoSuchUpload")), ErrorKind::NotFound(Entity::Upload), false),
        (Act::Answer(error("400 Bad Request", "InvalidPartOrder")), ErrorKind::Invalid(Fault::InvalidPartOrder), false),
        (Act::Close, ErrorKind::OriginUnavailable, true),
    ] {
        let origin = Origin::start([act]).await;
        let upload = UploadId::parse("u");
        let failed = origin.client().complete_multipart_upload("k", &upload, &parts, &HeaderMap::new()).await.unwrap_err();
        assert_eq!((failed.kind(), failed.outcome_unknown()), (kind, unknown), "{failed:?}");
        assert_eq!(origin.seen().len(), 1);
    }
}

#[tokio::test]
async fn parts_are_listed_page_by_page() {
    let part = |number: u16| {
        format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>&quot;p{number}&quot;</ETag><Size>5</Size><LastModified>2013-05-24T00:00:00Z</LastModified></Part>"
        )
    };
    let origin = Origin::start([
        xml(&format!("<ListPartsResult><PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>3</NextPartNumberMarker><IsTruncated>true</IsTruncated>{}{}</ListPartsResult>", part(1), part(3))),
        xml(&format!("<ListPartsResult><NextPartNumberMarker>0</NextPartNumberMarker><IsTruncated>false</IsTruncated>{}</ListPartsResult>", part(7))),
        xml("<ListPartsResult><NextPartNumberMarker>3</NextPartNumberMarker><IsTruncated>true</IsTruncated></ListPartsResult>"),
        Act::Answer(error("404 Not Found", "NoSuchUpload")),
    ])
    .await;
    let (client, upload) = (origin.client(), UploadId::parse("u"));
    let first = client.list_parts("k", &upload, None).await.unwrap();
    let numbers: Vec<u16> = first.parts.iter().map(|part| part.number.get()).collect();
    assert_eq!((numbers, first.next), (vec![1, 3], Some(number(3))));
    assert_eq!((first.parts[1].size, first.parts[1].etag.as_str()), (5, "p3"));
    let second = client.list_parts("k", &upload, first.next).await.unwrap();
    assert_eq!((second.parts.len(), second.next), (1, None));
    assert!(matches!(client.list_parts("k", &upload, Some(number(3))).await, Err(Error::BadResponse { .. })), "it leads nowhere");
    assert_eq!(client.list_parts("k", &upload, None).await.unwrap_err().kind(), ErrorKind::NotFound(Entity::Upload));
    let seen = origin.seen();
    assert_eq!((seen[0].line(), seen[1].line()), ("GET /photos/k?uploadId=u", "GET /photos/k?uploadId=u&part-number-marker=3"));
}

#[tokio::test]
async fn attributes_tell_the_parts() {
    let document = "<GetObjectAttributesResponse><ETag>e-2</ETag><ObjectParts><TotalPartsCount>2</TotalPartsCount><IsTruncated>false</IsTruncated><NextPartNumberMarker>9</NextPartNumberMarker><Part><PartNumber>1</PartNumber><Size>5</Size><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part><Part><PartNumber>9</PartNumber><Size>2</Size></Part></ObjectParts><ObjectSize>7</ObjectSize></GetObjectAttributesResponse>";
    let origin = Origin::start([xml(document), Act::Answer(answer("200 OK", &[], "hello"))]).await;
    let attributes = origin.client().get_object_attributes("k", None).await.unwrap();
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumType::FullObject, value: "y/Q5Jg==".into() };
    let expected = ObjectAttributes {
        etag: Some(ETag::parse("e-2")),
        size: Some(7),
        parts_count: Some(2),
        parts: vec![PartInfo { number: 1, size: 5, checksums: vec![checksum] }, PartInfo { number: 9, size: 2, checksums: vec![] }],
        next: None,
    };
    assert_eq!(attributes, expected);
    let seen = origin.only();
    assert_eq!((seen.line(), seen.header("x-amz-object-attributes")), ("GET /photos/k?attributes", Some("ETag,ObjectParts,ObjectSize")));
    let object = origin.client().get_object_attributes("k", Some(9)).await;
    assert!(matches!(object, Err(Error::BadResponse { .. })), "an origin that does not know the operation: {object:?}");
    assert_eq!(origin.seen()[1].header("x-amz-part-number-marker"), Some("9"));
}
