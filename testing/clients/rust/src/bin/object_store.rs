//! The crate object_store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, TagSet,
    WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, Checksum, S3CopyIfNotExists},
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
    signer::Signer,
};
use reqwest::Method;
use umbra_test_clients::{AT_ONCE, Outcome, PART, Place, bring_back, ensure, files, same, step};

#[tokio::main]
async fn main() -> Outcome {
    let place = Place::from_environment()?;
    let store = Arc::new(builder(&place).build()?);
    step("put", put(&place, &store)).await;
    step("multipart", multipart(&place, &store)).await;
    step("get", get(&place, &store)).await;
    step("range", range(&place, &store)).await;
    step("list", list(&store)).await;
    step("copy, rename", copy(&place, &store)).await;
    step("conditional", conditional(&store)).await;
    step("presign", presign(&place, &store)).await;
    step("checksums", checksums(&place)).await;
    step("delete", delete(&store)).await;
    step("sync up", up(&place, &store)).await;
    step("sync down", down(&place, &store)).await;
    Ok(())
}

fn builder(place: &Place) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(&place.endpoint)
        .with_allow_http(true)
        .with_bucket_name(&place.bucket)
        .with_region("us-east-1")
        .with_access_key_id(&place.access_key)
        .with_secret_access_key(&place.secret_key)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
}

async fn content(store: &AmazonS3, key: &str) -> Outcome<Bytes> {
    Ok(store.get(&Path::parse(key)?).await?.bytes().await?)
}

async fn put(place: &Place, store: &AmazonS3) -> Outcome {
    let mut tags = TagSet::default();
    tags.push("colour", "dark blue");
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain"), (Attribute::Metadata("by".into()), "object_store")]);
    let options = PutOptions { tags, attributes: attributes.clone(), ..PutOptions::default() };
    store.put_opts(&"small.txt".into(), place.small.clone().into(), options).await?;
    let answer = store.get(&"small.txt".into()).await?;
    ensure(answer.attributes == attributes, format!("{:?}", answer.attributes))
}

async fn multipart(place: &Place, store: &AmazonS3) -> Outcome {
    let upload = store.put_multipart(&"dir/large.bin".into()).await?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
    for chunk in place.large.chunks(1 << 20) {
        writer.wait_for_capacity(4).await?;
        writer.write(chunk);
    }
    writer.finish().await?;
    let mut aborted = store.put_multipart(&"aborted".into()).await?;
    aborted.put_part(PutPayload::from(place.small.clone())).await?;
    Ok(aborted.abort().await?)
}

async fn get(place: &Place, store: &AmazonS3) -> Outcome {
    same(&content(store, "small.txt").await?, &place.small)?;
    same(&content(store, "dir/large.bin").await?, &place.large)?;
    match content(store, "absent").await {
        Err(error) if matches!(error.downcast_ref(), Some(Error::NotFound { .. })) => Ok(()),
        other => Err(format!("an absent key is answered with {other:?}").into()),
    }
}

async fn range(place: &Place, store: &AmazonS3) -> Outcome {
    let key = Path::from("dir/large.bin");
    let (size, part) = (place.large.len(), PART as u64);
    same(&store.get_range(&key, part - 3..part + 97).await?, &place.large[PART - 3..PART + 97])?;
    let several = store.get_ranges(&key, &[0..10, part..part + 10]).await?;
    same(&several.concat(), &[&place.large[..10], &place.large[PART..PART + 10]].concat())?;
    let last = GetOptions { range: Some(GetRange::Suffix(8)), ..GetOptions::default() };
    same(&store.get_opts(&key, last).await?.bytes().await?, &place.large[size - 8..])
}

async fn list(store: &AmazonS3) -> Outcome {
    let numbered: Vec<String> = (0..25).map(|number| format!("list/{number:02}")).collect();
    stream::iter(&numbered)
        .map(|key| async { store.put(&key.as_str().into(), "x".into()).await })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let (mut found, mut pages, mut page_token) = (Vec::new(), 0, None);
    loop {
        let options = PaginatedListOptions { max_keys: Some(7), page_token, ..PaginatedListOptions::default() };
        let page = store.list_paginated(Some("list/"), options).await?;
        found.extend(page.result.objects.into_iter().map(|object| object.location.to_string()));
        pages += 1;
        page_token = page.page_token;
        if page_token.is_none() {
            break;
        }
    }
    ensure(found == numbered && pages == 4, format!("{pages} pages: {found:?}"))?;
    let folders = store.list_with_delimiter(None).await?.common_prefixes;
    ensure(folders == [Path::from("dir"), Path::from("list")], format!("{folders:?}"))?;
    let after: Vec<_> = store.list_with_offset(Some(&"list".into()), &"list/22".into()).try_collect().await?;
    ensure(after.len() == 2, format!("{after:?}"))
}

async fn copy(place: &Place, store: &AmazonS3) -> Outcome {
    let (from, to) = (Path::from("dir/large.bin"), Path::from("copied.bin"));
    store.copy(&from, &to).await?;
    store.rename(&to, &"renamed.bin".into()).await?;
    same(&content(store, "renamed.bin").await?, &place.large)?;
    store.copy_if_not_exists(&"small.txt".into(), &to).await?;
    same(&content(store, "copied.bin").await?, &place.small)?;
    match store.copy_if_not_exists(&"small.txt".into(), &to).await {
        Err(Error::AlreadyExists { .. }) => Ok(()),
        other => Err(format!("a copy onto what is there is answered with {other:?}").into()),
    }
}

async fn conditional(store: &AmazonS3) -> Outcome {
    let key = Path::from("conditional");
    let created = store.put_opts(&key, "one".into(), PutMode::Create.into()).await?;
    match store.put_opts(&key, "two".into(), PutMode::Create.into()).await {
        Err(Error::AlreadyExists { .. }) => {}
        other => return Err(format!("created twice: {other:?}").into()),
    }
    let first = || PutMode::Update(created.clone().into()).into();
    store.put_opts(&key, "three".into(), first()).await?;
    match store.put_opts(&key, "four".into(), first()).await {
        Err(Error::Precondition { .. }) => {}
        other => return Err(format!("updated what had changed: {other:?}").into()),
    }
    let e_tag = store.head(&key).await?.e_tag;
    match store.get_opts(&key, GetOptions { if_none_match: e_tag.clone(), ..GetOptions::default() }).await {
        Err(Error::NotModified { .. }) => {}
        other => return Err(format!("got what had not changed: {other:?}").into()),
    }
    let matching = GetOptions { if_match: e_tag, ..GetOptions::default() };
    same(&store.get_opts(&key, matching).await?.bytes().await?, b"three")
}

async fn presign(place: &Place, store: &AmazonS3) -> Outcome {
    let http = reqwest::Client::new();
    let minute = Duration::from_secs(60);
    let put = store.signed_url(Method::PUT, &"presigned".into(), minute).await?;
    http.put(put).body(place.small.clone()).send().await?.error_for_status()?;
    let get = store.signed_url(Method::GET, &"presigned".into(), minute).await?;
    same(&http.get(get.clone()).send().await?.error_for_status()?.bytes().await?, &place.small)?;
    let forged = http.get(get.as_str().replace("presigned", "small.txt")).send().await?.status();
    ensure(forged == 403, format!("a link for another key is answered with {forged}"))
}

async fn checksums(place: &Place) -> Outcome {
    for algorithm in [Checksum::SHA256, Checksum::CRC64NVME] {
        let store = builder(place).with_checksum_algorithm(algorithm).build()?;
        let key = format!("checksum-{algorithm}");
        store.put(&key.as_str().into(), place.large.clone().into()).await?;
        same(&content(&store, &key).await?, &place.large)?;
        let mut writer = WriteMultipart::new_with_chunk_size(store.put_multipart(&key.as_str().into()).await?, PART);
        writer.write(&place.large);
        writer.finish().await?;
        same(&content(&store, &key).await?, &place.large)?;
    }
    Ok(())
}

async fn delete(store: &AmazonS3) -> Outcome {
    store.delete(&"presigned".into()).await?;
    let all = store.list(None).map_ok(|object| object.location).boxed();
    let deleted: Vec<Path> = store.delete_stream(all).try_collect().await?;
    let left: Vec<_> = store.list(None).try_collect().await?;
    ensure(deleted.len() > 25 && left.is_empty(), format!("{} deleted, {left:?} left", deleted.len()))
}

async fn up(place: &Place, store: &Arc<AmazonS3>) -> Outcome {
    let one = |name: String| async move {
        let content = tokio::fs::read(place.tree.join(&name)).await?;
        store.put(&Path::parse(format!("tree/{name}"))?, content.into()).await?;
        Outcome::Ok(())
    };
    stream::iter(files(&place.tree)?).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

async fn down(place: &Place, store: &Arc<AmazonS3>) -> Outcome {
    let one = |object: object_store::ObjectMeta| async move {
        let content = content(store, object.location.as_ref()).await?;
        let name = object.location.as_ref().strip_prefix("tree/").ok_or("listed without its prefix")?;
        bring_back(&place.back, name, &content).await
    };
    store.list(Some(&"tree".into())).map_err(Into::into).map_ok(one).try_buffer_unordered(AT_ONCE).try_collect().await
}
