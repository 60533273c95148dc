//! The AWS SDK for Rust.

use std::{collections::BTreeSet, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Region},
    error::ProvideErrorMetadata,
    presigning::PresigningConfig,
    primitives::{ByteStream, Length},
    types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier},
};
use aws_smithy_http_client::Builder as HttpBuilder;
use futures::{StreamExt, TryStreamExt, stream};
use umbra_test_clients::{AT_ONCE, Outcome, PART, Place, bring_back, ensure, files, same, step};

/// A client, and where things are.
struct Sdk {
    place: Place,
    client: Client,
}

#[tokio::main]
async fn main() -> Outcome {
    let place = Place::from_environment()?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(HttpBuilder::new().build_http())
        .endpoint_url(&place.endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys(&place.access_key, &place.secret_key, None))
        .force_path_style(true)
        .build();
    let sdk = Sdk { place, client: Client::from_conf(config) };
    step("create", sdk.create()).await;
    step("put", sdk.put()).await;
    step("multipart", sdk.multipart()).await;
    step("get", sdk.get()).await;
    step("range", sdk.range()).await;
    step("list", sdk.list()).await;
    step("copy", sdk.copy()).await;
    step("conditional", sdk.conditional()).await;
    step("presign", sdk.presign()).await;
    step("checksums", sdk.checksums()).await;
    step("delete", sdk.delete()).await;
    step("sync up", sdk.up()).await;
    step("sync down", sdk.down()).await;
    Ok(())
}

/// Fails unless a request was refused with this code.
fn refused<T, E: ProvideErrorMetadata>(answer: Result<T, E>, code: &str) -> Outcome {
    match answer {
        Err(error) if error.code() == Some(code) => Ok(()),
        Err(error) => Err(format!("{:?} instead of {code}", error.code()).into()),
        Ok(_) => Err(format!("accepted instead of {code}").into()),
    }
}

impl Sdk {
    async fn content(&self, key: &str) -> Outcome<Vec<u8>> {
        let answer = self.client.get_object().bucket(&self.place.bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await?;
        Ok(answer.body.collect().await?.to_vec())
    }

    async fn create(&self) -> Outcome {
        self.client.create_bucket().bucket(&self.place.bucket).send().await?;
        self.client.head_bucket().bucket(&self.place.bucket).send().await?;
        Ok(())
    }

    async fn put(&self) -> Outcome {
        let (client, bucket) = (&self.client, &self.place.bucket);
        let body = ByteStream::from(self.place.small.clone());
        client.put_object().bucket(bucket).key("small.txt").metadata("by", "sdk").tagging("colour=blue").body(body).send().await?;
        // A body from a file is streamed in chunks with its checksum behind them.
        let body = ByteStream::from_path(&self.place.large_path).await?;
        client.put_object().bucket(bucket).key("streamed.bin").body(body).send().await?;
        same(&self.content("streamed.bin").await?, &self.place.large)?;
        let head = client.head_object().bucket(bucket).key("small.txt").send().await?;
        let by = head.metadata().and_then(|metadata| metadata.get("by"));
        ensure(by.is_some_and(|by| by == "sdk"), format!("{:?}", head.metadata()))
    }

    async fn multipart(&self) -> Outcome {
        let (client, bucket, key) = (&self.client, &self.place.bucket, "dir/large.bin");
        let begun = client.create_multipart_upload().bucket(bucket).key(key).checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await?;
        let id = begun.upload_id().ok_or("no upload id")?;
        let size = self.place.large.len();
        let part = |number: usize| async move {
            let (offset, length) = (number * PART, PART.min(size - number * PART));
            let file = ByteStream::read_from().path(&self.place.large_path).offset(offset as u64).length(Length::Exact(length as u64));
            let number = i32::try_from(number)? + 1;
            let request = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
            let sent = request.checksum_algorithm(ChecksumAlgorithm::Crc32C).body(file.build().await?).send().await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).set_checksum_crc32_c(sent.checksum_crc32_c);
            Outcome::Ok(part.build())
        };
        let parts: Vec<_> = stream::iter(0..size.div_ceil(PART)).map(part).buffered(4).try_collect().await?;
        let first_page = client.list_parts().bucket(bucket).key(key).upload_id(id).max_parts(2).send().await?;
        ensure(first_page.parts().len() == 2 && first_page.is_truncated() == Some(true), "the parts are not listed in pages")?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(parts).send().await?;
        let aborted = client.create_multipart_upload().bucket(bucket).key("aborted").send().await?;
        client.abort_multipart_upload().bucket(bucket).key("aborted").set_upload_id(aborted.upload_id).send().await?;
        Ok(())
    }

    async fn get(&self) -> Outcome {
        same(&self.content("small.txt").await?, &self.place.small)?;
        same(&self.content("dir/large.bin").await?, &self.place.large)?;
        refused(self.client.get_object().bucket(&self.place.bucket).key("absent").send().await, "NoSuchKey")
    }

    async fn range(&self) -> Outcome {
        for (range, expected) in [
            (format!("bytes={}-{}", PART - 3, PART + 96), &self.place.large[PART - 3..PART + 97]),
            ("bytes=-8".to_owned(), &self.place.large[self.place.large.len() - 8..]),
        ] {
            let answer = self.client.get_object().bucket(&self.place.bucket).key("dir/large.bin").range(range).send().await?;
            same(&answer.body.collect().await?.to_vec(), expected)?;
        }
        Ok(())
    }

    async fn list(&self) -> Outcome {
        let (client, bucket) = (&self.client, &self.place.bucket);
        let numbered: BTreeSet<String> = (0..25).map(|number| format!("list/{number:02}+ü")).collect();
        let one = |key: &String| client.put_object().bucket(bucket).key(key).body(ByteStream::from_static(b"x")).send();
        stream::iter(&numbered).map(one).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        let mut pages = client.list_objects_v2().bucket(bucket).prefix("list/").into_paginator().page_size(7).send();
        let (mut found, mut count) = (BTreeSet::new(), 0);
        while let Some(page) = pages.try_next().await? {
            found.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            count += 1;
        }
        ensure(found == numbered && count == 4, format!("{count} pages: {found:?}"))?;
        let folders = client.list_objects_v2().bucket(bucket).delimiter("/").send().await?;
        let folders: Vec<_> = folders.common_prefixes().iter().filter_map(|common| common.prefix()).collect();
        ensure(folders == ["dir/", "list/"], format!("{folders:?}"))
    }

    async fn copy(&self) -> Outcome {
        let source = format!("{}/dir/large.bin", self.place.bucket);
        self.client.copy_object().bucket(&self.place.bucket).key("copied.bin").copy_source(source).send().await?;
        same(&self.content("copied.bin").await?, &self.place.large)
    }

    async fn conditional(&self) -> Outcome {
        let put = |body: &'static [u8]| {
            let request = self.client.put_object().bucket(&self.place.bucket).key("conditional");
            request.body(ByteStream::from_static(body))
        };
        let first = put(b"one").if_none_match("*").send().await?.e_tag.ok_or("no ETag")?;
        refused(put(b"two").if_none_match("*").send().await, "PreconditionFailed")?;
        put(b"three").if_match(&first).send().await?;
        refused(put(b"four").if_match(&first).send().await, "PreconditionFailed")?;
        let stale = self.client.get_object().bucket(&self.place.bucket).key("conditional").if_match(&first);
        refused(stale.send().await, "PreconditionFailed")?;
        same(&self.content("conditional").await?, b"three")
    }

    async fn presign(&self) -> Outcome {
        let (client, bucket, http) = (&self.client, &self.place.bucket, reqwest::Client::new());
        let minute = PresigningConfig::expires_in(Duration::from_secs(60))?;
        let put = client.put_object().bucket(bucket).key("presigned").content_type("text/plain").presigned(minute.clone()).await?;
        let headers = put.headers().fold(http.put(put.uri()), |request, (name, value)| request.header(name, value));
        headers.body(self.place.small.clone()).send().await?.error_for_status()?;
        let get = client.get_object().bucket(bucket).key("presigned").response_content_type("text/x-asked").presigned(minute).await?;
        let answer = http.get(get.uri()).send().await?.error_for_status()?;
        ensure(answer.headers()["content-type"] == "text/x-asked", format!("{:?}", answer.headers()))?;
        same(&answer.bytes().await?, &self.place.small)?;
        let forged = http.get(get.uri().replace("presigned", "small.txt")).send().await?.status();
        ensure(forged == 403, format!("a link for another key is answered with {forged}"))
    }

    async fn checksums(&self) -> Outcome {
        let algorithms = [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32C,
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumAlgorithm::Sha1,
            ChecksumAlgorithm::Sha256,
        ];
        for algorithm in algorithms {
            let key = format!("checksum-{}", algorithm.as_str());
            let request = self.client.put_object().bucket(&self.place.bucket).key(&key).checksum_algorithm(algorithm.clone());
            request.body(ByteStream::from_path(&self.place.large_path).await?).send().await?;
            let head = self.client.head_object().bucket(&self.place.bucket).key(&key).checksum_mode(ChecksumMode::Enabled).send().await?;
            let kept = match algorithm {
                ChecksumAlgorithm::Crc32 => head.checksum_crc32(),
                ChecksumAlgorithm::Crc32C => head.checksum_crc32_c(),
                ChecksumAlgorithm::Crc64Nvme => head.checksum_crc64_nvme(),
                ChecksumAlgorithm::Sha1 => head.checksum_sha1(),
                _ => head.checksum_sha256(),
            };
            ensure(kept.is_some(), format!("{algorithm} was not kept"))?;
            // The SDK computes it anew over what it gets.
            same(&self.content(&key).await?, &self.place.large)?;
        }
        let wrong = self.client.put_object().bucket(&self.place.bucket).key("wrong").checksum_sha256("A".repeat(43) + "=");
        refused(wrong.body(ByteStream::from_static(b"x")).send().await, "BadDigest")
    }

    async fn delete(&self) -> Outcome {
        let (client, bucket) = (&self.client, &self.place.bucket);
        client.delete_object().bucket(bucket).key("presigned").send().await?;
        let listed = client.list_objects_v2().bucket(bucket).send().await?;
        let keys = listed.contents().iter().filter_map(|object| object.key());
        let keys = keys.map(|key| ObjectIdentifier::builder().key(key).build()).collect::<Result<Vec<_>, _>>()?;
        let count = keys.len();
        let all = Delete::builder().set_objects(Some(keys)).build()?;
        let answer = client.delete_objects().bucket(bucket).delete(all).send().await?;
        ensure(answer.errors().is_empty() && answer.deleted().len() == count, format!("{answer:?}"))?;
        let left = client.list_objects_v2().bucket(bucket).send().await?.contents().len();
        ensure(count > 25 && left == 0, format!("{left} left of {count}"))
    }

    async fn up(&self) -> Outcome {
        let one = |name: String| async move {
            let body = ByteStream::from_path(self.place.tree.join(&name)).await?;
            self.client.put_object().bucket(&self.place.bucket).key(format!("tree/{name}")).body(body).send().await?;
            Outcome::Ok(())
        };
        stream::iter(files(&self.place.tree)?).map(one).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn down(&self) -> Outcome {
        let mut pages = self.client.list_objects_v2().bucket(&self.place.bucket).prefix("tree/").into_paginator().page_size(300).send();
        while let Some(page) = pages.try_next().await? {
            let names = page.contents().iter().filter_map(|object| object.key()?.strip_prefix("tree/"));
            let one = |name: &str| {
                let name = name.to_owned();
                async move { bring_back(&self.place.back, &name, &self.content(&format!("tree/{name}")).await?).await }
            };
            stream::iter(names).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }
}
