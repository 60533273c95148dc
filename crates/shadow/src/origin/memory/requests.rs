//! The requests of the origin in memory, and how their faults come about.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::Ordering,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use umbra_core::{Body, ByteRange, ETag, Entity, Error, ErrorKind, ObjectKey, PartInfo, PartNumber, Tags};

use super::{CHUNK, Fault, Held, MemoryOrigin, Upload, held, md5};
use crate::{
    PROBE_KEY_PREFIX,
    origin::{
        ListOrder, Origin, OriginAttributes, OriginError, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange,
        PutConditions, Result, ShadowPath,
    },
};

impl MemoryOrigin {
    async fn pass(&self, doing: &'static str) {
        let gate = self.held_requests.lock().get(doing).cloned();
        if let Some(gate) = gate {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("the gate stays").forget();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn pass_gate(&self, key: &ObjectKey) {
        let gates = [self.held_puts.lock().clone(), self.held_keys.lock().get(key.as_str()).cloned()];
        for gate in gates.into_iter().flatten() {
            gate.acquire().await.expect("the gate stays").forget();
        }
    }

    fn fault(&self, doing: &'static str, key: &ObjectKey) -> Result<Option<Fault>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state.lock();
        let at = (doing, key.as_str().to_owned());
        let lasting = state.lasting.get(&at).cloned();
        if lasting.is_some() {
            *state.failures.entry(at).or_default() += 1;
        }
        let fault = lasting.or_else(|| state.faults.get_mut(doing).and_then(VecDeque::pop_front));
        drop(state);
        match fault {
            Some(Fault::Unavailable) => Err(OriginError::certain(unavailable())),
            Some(Fault::Refused) => Err(OriginError::certain(refused())),
            Some(Fault::Archived) => {
                Err(OriginError::certain(Error::invalid(umbra_core::Fault::InvalidObjectState, "the object is archived")))
            }
            Some(Fault::LoseRequest) => Err(OriginError { error: unavailable(), outcome_unknown: true }),
            fault => Ok(fault),
        }
    }

    /// Lets other tasks go first, as often as chance has it.
    async fn dawdle(&self) {
        let most = self.jitter.load(Ordering::SeqCst);
        if most > 0 {
            let turns = self.requests.load(Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            for _ in 0..turns % most {
                tokio::task::yield_now().await;
            }
        }
    }

    fn find(&self, key: &ObjectKey) -> Result<Held> {
        self.state.lock().objects.get(&self.place(key)).cloned().ok_or_else(|| OriginError::certain(Error::not_found(Entity::Object)))
    }

    fn body(&self, content: Bytes, fault: Option<Fault>) -> Body {
        let (size, slow) = (content.len(), self.slow.lock().clone());
        let keep = match fault {
            Some(Fault::Truncate(keep)) => keep.min(size),
            _ => size,
        };
        let chunks: Vec<_> = (0..keep).step_by(CHUNK).map(|at| Ok(content.slice(at..keep.min(at + CHUNK)))).collect();
        let broken = (keep < size).then(|| Err(unavailable()));
        let sent = self.bytes.clone();
        let stream = stream::iter(chunks.into_iter().chain(broken)).then(move |chunk: umbra_core::Result<Bytes>| {
            let (slow, sent) = (slow.clone(), sent.clone());
            async move {
                if let Some(gate) = slow {
                    gate.acquire().await.expect("the gate stays").forget();
                }
                sent.fetch_add(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64), Ordering::SeqCst);
                chunk
            }
        });
        let announced = (!self.hides_length.load(Ordering::SeqCst)).then_some(size as u64);
        Body::new(announced, stream)
    }
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let gate = self.held_gets.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        if self.refused_hop.lock().as_ref().is_some_and(|hop| path.0.contains(hop)) {
            return Err(OriginError::certain(Error::new(ErrorKind::OriginRefused, "shadow loop")));
        }
        let fault = self.fault("get", key)?;
        let found = self.find(key);
        self.pass("get").await;
        let held = found?;
        if if_match.is_some_and(|etag| *etag != held.info.etag) {
            return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "changed")));
        }
        let size = held.info.size;
        if range.is_some_and(|range| range.start >= size) {
            return Err(OriginError::certain(Error::invalid(umbra_core::Fault::InvalidRange, "the range is not satisfiable")));
        }
        let range = range.filter(|_| !self.ignores_ranges.load(Ordering::SeqCst));
        let range = range.map(|range| ByteRange::new(range.start, range.end.min(size)));
        let wanted = range.unwrap_or(ByteRange::new(0, size));
        let position = |at: u64| usize::try_from(at).expect("fits");
        let content = held.content.slice(position(wanted.start)..position(wanted.end));
        let body = self.body(content, fault);
        let size = body.size().map(|_| held.info.size);
        let mut info = held.info;
        if range.is_some() {
            // As most origins have it.
            info.checksums.clear();
        }
        Ok(OriginObject { etag_is_md5: true, tags_known: true, info, size, range, uncarried: held.uncarried, body })
    }

    fn ignores_ranges(&self) -> bool {
        self.is_known_to_ignore_ranges.load(Ordering::SeqCst)
    }

    async fn head(&self, _: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        self.heads.fetch_add(u64::from(!key.as_str().starts_with(PROBE_KEY_PREFIX)), Ordering::SeqCst);
        self.fault("head", key)?;
        let found = self.find(key);
        self.pass("head").await;
        let Held { mut info, uncarried, .. } = found?;
        if let Some(told) = self.told_by_head.lock().get(key.as_str()) {
            info = told.clone();
        }
        Ok(OriginHead { info, uncarried })
    }

    async fn is_unchanged(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.fault("revalidate", key)?;
        Ok(self.find(key)?.info.etag == *etag)
    }

    async fn part_size(&self, _: &ShadowPath, key: &ObjectKey, _: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.fault("part", key)?;
        let held = self.find(key);
        self.pass("part").await;
        Ok(held?.part_sizes.get(usize::from(part.get()) - 1).copied())
    }

    async fn part_range(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>> {
        self.fault("part", key)?;
        let Held { part_sizes, info, .. } = self.find(key)?;
        let index = usize::from(part.get()) - 1;
        let start: u64 = part_sizes.iter().take(index).sum();
        let size = part_sizes.get(index).filter(|_| info.etag == *etag);
        let range = size.map(|size| ByteRange::new(start, start + size));
        Ok(range.map(|range| PartRange { range, size: info.size, count: u16::try_from(part_sizes.len()).ok() }))
    }

    async fn object_parts(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>> {
        self.fault("parts_of", key)?;
        let Held { part_sizes, info, .. } = self.find(key)?;
        if self.hides_parts.load(Ordering::SeqCst) || part_sizes.is_empty() || info.etag != *etag {
            return Ok(None);
        }
        let part = |(size, number)| PartInfo { number, size, checksums: Vec::new() };
        Ok(Some(part_sizes.into_iter().zip(1..).map(part).collect()))
    }

    async fn judges_conditions(&self, _: &ShadowPath) -> Result<bool> {
        Ok(!self.ignores_conditions.load(Ordering::SeqCst))
    }

    fn order(&self) -> ListOrder {
        self.listing.lock().known
    }

    async fn put(
        &self,
        _: &ShadowPath,
        key: &ObjectKey,
        _: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag> {
        let fault = self.fault("put", key)?;
        let content = collect(body).await?;
        self.pass_gate(key).await;
        if self.state.lock().refused.contains(key.as_str()) {
            return Err(OriginError::certain(refused()));
        }
        self.dawdle().await;
        let etag = ETag::from_md5(md5(&content));
        let etag = if self.has_odd_etags.load(Ordering::SeqCst) { ETag::parse(&format!("odd-{etag}")) } else { etag };
        {
            let mut state = self.state.lock();
            let now = state.objects.get(key.as_str()).map(|held| &held.info.etag);
            if (conditions.if_absent && now.is_some()) || (conditions.if_match.is_some() && conditions.if_match.as_ref() != now) {
                return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "a condition of the write does not hold")));
            }
            state.objects.insert(self.place(key), held(key, content, attributes, etag.clone()));
            state.writes.push(format!("put {key}"));
        }
        self.dawdle().await;
        answer(fault, etag)
    }

    async fn delete(&self, _: &ShadowPath, key: &ObjectKey) -> Result<()> {
        let fault = self.fault("delete", key)?;
        self.dawdle().await;
        {
            let mut state = self.state.lock();
            state.objects.remove(&self.place(key));
            state.writes.push(format!("delete {key}"));
        }
        self.dawdle().await;
        answer(fault, ())
    }

    async fn list(&self, _: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.fault("list", &ObjectKey::parse("list").expect("a valid key"))?;
        let listing = *self.listing.lock();
        let mut page = listing.page(&self.state.lock().objects, list)?;
        if let Some((behind, tokens)) = &*self.stalled.lock() {
            stall(&mut page, list, behind, *tokens);
        }
        let gate = self.held_lists.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        Ok(page)
    }

    async fn tags(&self, _: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.fault("tags", key)?;
        self.pass("tags").await;
        Ok(self.find(key)?.tags)
    }

    async fn put_tags(&self, _: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        let fault = self.fault("put_tags", key)?;
        self.dawdle().await;
        let mut held = self.find(key)?;
        held.info.tag_count = tags.len();
        held.tags = tags.clone();
        self.state.lock().objects.insert(key.as_str().to_owned(), held);
        self.dawdle().await;
        answer(fault, ())
    }

    async fn create_upload(&self, _: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.fault("create", key)?;
        let mut state = self.state.lock();
        let upload = format!("{key}-{}", self.requests());
        let begun = Upload { key: key.as_str().to_owned(), attributes: attributes.clone(), parts: BTreeMap::new() };
        state.uploads.insert(upload.clone(), begun);
        Ok(upload)
    }

    async fn put_part(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, _: u64, body: Body) -> Result<ETag> {
        let fault = self.fault("put_part", key)?;
        let content = collect(body).await?;
        self.pass_gate(key).await;
        let etag = ETag::from_md5(md5(&content));
        let mut state = self.state.lock();
        state.uploads.get_mut(upload).ok_or_else(no_upload)?.parts.insert(number, content);
        answer(fault, etag)
    }

    async fn parts(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.fault("parts", key)?;
        let state = self.state.lock();
        let parts = &state.uploads.get(upload).ok_or_else(no_upload)?.parts;
        let part = |(number, content): (&PartNumber, &Bytes)| OriginPart {
            number: *number,
            etag: ETag::from_md5(md5(content)),
            size: content.len() as u64,
        };
        Ok(parts.iter().map(part).collect())
    }

    async fn complete_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, named: &[(PartNumber, ETag)]) -> Result<ETag> {
        let fault = self.fault("complete", key)?;
        self.dawdle().await;
        let mut state = self.state.lock();
        let Upload { attributes, parts, .. } = state.uploads.remove(upload).ok_or_else(no_upload)?;
        let chosen: Vec<_> = named.iter().map(|(number, _)| parts[number].clone()).collect();
        let digests: Vec<u8> = chosen.iter().flat_map(|content| md5(content)).collect();
        let etag = ETag::from_parts(md5(&digests), chosen.len());
        let whole = held(key, chosen.concat().into(), &attributes, etag.clone());
        let part_sizes = chosen.iter().map(|part| part.len() as u64).collect();
        state.objects.insert(key.as_str().to_owned(), Held { part_sizes, ..whole });
        state.writes.push(format!("put {key}"));
        answer(fault, etag)
    }

    async fn abort_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        self.fault("abort", key)?;
        self.state.lock().uploads.remove(upload);
        Ok(())
    }
}

/// Makes of a page one that shows nothing behind a key and is not the last.
fn stall(page: &mut OriginPage, list: &OriginList, behind: &str, tokens: u64) {
    if page.next.as_deref().is_some_and(|next| next < behind) {
        return;
    }
    page.objects.retain(|object| object.key.as_str() <= behind);
    page.common_prefixes.retain(|prefix| prefix.as_str() <= behind);
    let turn = list.token.as_deref().and_then(|token| token.strip_prefix(behind)?.strip_prefix('\0')?.parse().ok()).unwrap_or(0_u64);
    page.next = Some(format!("{behind}\0{}", (turn + 1) % tokens));
}

fn no_upload() -> OriginError {
    OriginError::certain(Error::not_found(Entity::Upload))
}

fn refused() -> Error {
    Error::new(ErrorKind::OriginRefused, "the origin refuses the request")
}

fn unavailable() -> Error {
    Error::new(ErrorKind::OriginUnavailable, "the origin cannot answer now; please try again")
}

/// After a write was applied: the answer, or its loss.
fn answer<T>(fault: Option<Fault>, answer: T) -> Result<T> {
    match fault {
        Some(Fault::LoseAnswer) => Err(OriginError { error: unavailable(), outcome_unknown: true }),
        _ => Ok(answer),
    }
}

async fn collect(body: Body) -> Result<Bytes> {
    let announced = body.size();
    let content = body.collect(usize::MAX).await.map_err(OriginError::certain)?;
    assert!(announced.is_none_or(|size| size == content.len() as u64), "a body is as long as announced");
    Ok(content)
}
