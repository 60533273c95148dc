//! What can be seen without writing.

use umbra_client::{ListOptions, ListVersion, ListedObject, S3Client};
use umbra_core::{ByteRange, ETag, ErrorKind, Fault, ObjectKey, PartNumber};

use super::{Visit, told};
use crate::{
    attach::{PROBE_KEY_PREFIX, is_to_allow},
    list_order::Shown,
    origin::{ListOrder, OriginError, OriginList, PartRange, s3::REFUSES},
};

/// A difference of clocks that is worth a word, and that S3 begins to mind before long.
const SKEW_MS: u64 = 60_000;
const ALLOW: &str = "start the server with `umbra serve --shadow-allow-cidr NETWORK` if this network is meant";
const RIGHTS: &str =
    "check the access key, the secret key and what they are allowed: s3:ListBucket on the bucket and s3:GetObject on its objects";

impl Visit<'_> {
    /// Whether anything answers, and listens to us. What does not leaves nothing to look at.
    pub(super) async fn reach(&mut self) -> bool {
        let list = OriginList { limit: 1, ..OriginList::default() };
        let answer = self.origin.list(&self.path, &list).await;
        let Err(error) = answer else {
            self.reached();
            return true;
        };
        let why = told(&error);
        match error.error.kind() {
            ErrorKind::OriginUnavailable => {
                let advice = "check the endpoint's host, port and scheme, and that this server's network leads there";
                self.fail("reach", format!("nothing answers as S3 does: {why}"), advice);
            }
            _ if is_to_allow(&why) => self.fail("guard", why, ALLOW),
            _ if why.contains(" is refused: ") => self.fail("guard", why, "use an address of the origin that others can reach"),
            _ => {
                self.reached();
                self.refused("credentials", &why);
            }
        }
        false
    }

    fn reached(&mut self) {
        let server = self.client.as_ref().and_then(S3Client::server);
        let who = server.map(|server| format!(", which calls itself {server}")).unwrap_or_default();
        let endpoint = self.settings.endpoint.clone();
        self.ok("reach", format!("{endpoint} answers{who}"));
        self.ok("guard", "its address may be reached from this server");
        if self.client.as_ref().is_some_and(|client| !client.endpoint().is_tls()) {
            self.warn(
                "encryption",
                "what goes to and comes from the origin can be read on the way",
                "use an https:// endpoint unless the network is your own",
            );
        }
    }

    fn refused(&mut self, check: &'static str, why: &str) {
        let advice = if why.contains("NoSuchBucket") {
            "check --shadow-name: the origin knows no bucket of this name, or not at this endpoint"
        } else if why.contains("its endpoint is") || why.contains("its region is") {
            "the bucket is elsewhere: use the endpoint and the region named here"
        } else {
            RIGHTS
        };
        let why = why.strip_prefix(REFUSES).map_or(why, |why| why.trim_start_matches(": "));
        self.fail(check, if why.is_empty() { REFUSES.to_owned() } else { format!("{REFUSES}: {why}") }, advice);
    }

    /// Whether keys can be listed, and how.
    pub(super) async fn list(&mut self) -> bool {
        self.ok("credentials", "the origin takes the access key, and lets it list the bucket");
        let Some(client) = self.client.clone() else { return true };
        let page = match client.list_objects(&ListOptions::default()).await {
            Ok(page) => page,
            Err(error) => {
                self.refused("list", &told(&OriginError::from(error)));
                return false;
            }
        };
        self.place(&client);
        self.clock(&client).await;
        match client.list_version() {
            Some(ListVersion::V1) => self.ok("list version", "it knows version 1 of the listing only, which is used"),
            _ => self.ok("list version", "it lists with version 2"),
        }
        if page.names_encoded || page.objects.is_empty() {
            self.ok("key encoding", "keys are listed encoded, so that any can be told");
        } else {
            let meaning =
                "keys are listed as they are, though asked to be encoded: one with control characters makes the listing unreadable";
            self.warn("key encoding", meaning, "rename such keys at the origin, if there are any");
        }
        self.order(&page.objects);
        true
    }

    /// How requests are addressed and signed.
    fn place(&mut self, client: &S3Client) {
        let place = if client.is_bucket_in_host() { "the host name" } else { "the path" };
        self.ok("addressing", format!("the bucket is named in {place}"));
        let (given, signed) = (self.settings.region.clone(), client.signing_region());
        if given == signed || given == "auto" {
            self.ok("region", format!("requests are signed for {signed}"));
        } else {
            self.warn(
                "region",
                format!("the origin wants {signed} and not {given}"),
                &format!("use --shadow-region {signed}, which saves a request at each start"),
            );
        }
    }

    /// How far the clocks are apart.
    async fn clock(&mut self, client: &S3Client) {
        let date = match client.head_bucket().await {
            Ok(headers) => headers.get("date").and_then(|date| umbra_client::date::parse(date.to_str().ok()?)),
            Err(_) => None,
        };
        let apart = date.map_or(0, |date| date.as_millis().saturating_sub(self.now.as_millis()));
        let (seconds, way) = (apart.unsigned_abs() / 1000, if apart > 0 { "ahead of" } else { "behind" });
        let meaning = format!("the origin's clock is {seconds} s {way} this server's");
        let advice = "set this server's clock: whatever is signed minds it";
        match client.clock_ahead_ms() {
            0 if apart.unsigned_abs() < SKEW_MS => self.ok("clock", "the clocks agree"),
            0 => self.warn("clock", meaning, advice),
            _ => self.warn("clock", format!("{meaning}; requests are dated by the origin's"), advice),
        }
    }

    /// In which order keys are listed, as far as those of one page tell.
    fn order(&mut self, objects: &[ListedObject]) {
        let names = objects.iter().map(|object| object.key.as_str()).collect();
        let known = self.origin.order();
        match Shown::default().take(known, &[names]) {
            Ok(ListOrder::Bytes) => self.ok("order", "keys are listed in the order of bytes"),
            Ok(ListOrder::Directories) => self.ok("order", "keys are listed by directories; listings here put them in the order of bytes"),
            Ok(ListOrder::Unknown) => {
                self.ok("order", "nothing listed so far tells the order of bytes from that of directories; either is understood");
            }
            Err(_) => {
                let meaning = "keys are listed in no order that can be merged: listings here are answered 503 while the origin is attached";
                self.fail("order", meaning, "reads and writes work; move everything before you list");
            }
        }
    }

    /// Whether objects can be read, and how faithfully. `written` is one that was written for this.
    pub(super) async fn read(&mut self, written: Option<ObjectKey>) {
        self.absent().await;
        let listed = match &self.client {
            Some(client) => client.list_objects(&ListOptions::default()).await.map(|page| page.objects).unwrap_or_default(),
            None => Vec::new(),
        };
        let is_readable =
            |object: &&ListedObject| object.size > 0 && !matches!(object.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"));
        let first = listed.iter().find(is_readable).and_then(|object| ObjectKey::parse(&object.key).ok());
        let Some(key) = written.or(first) else {
            let meaning = "there is no object to try reading on; ranges, conditions, tags and parts were not looked at";
            self.warn("read", meaning, "run this again when the bucket holds something, or with --shadow-write-through");
            return;
        };
        let Some(etag) = self.first_byte(&key).await else { return };
        self.conditions(&key).await;
        self.tags(&key).await;
        let parts = listed.iter().find(|object| object.etag.part_count().is_some_and(|count| count > 1));
        let in_parts = parts.and_then(|object| Some((ObjectKey::parse(&object.key).ok()?, object.etag.clone())));
        self.parts(in_parts.unwrap_or((key, etag))).await;
    }

    /// What is said of a key that does not exist.
    async fn absent(&mut self) {
        let Ok(stranger) = ObjectKey::parse(&format!("{PROBE_KEY_PREFIX}{}-absent", self.nonce)) else { return };
        match self.origin.head(&self.path, &stranger).await {
            Err(error) if error.is_not_found() => self.ok("absent keys", "a key that does not exist is answered 404"),
            Ok(_) => self.fail("absent keys", "a key that does not exist is answered as if it did", "check what answers at this endpoint"),
            Err(error) => {
                let meaning =
                    format!("a key that does not exist is not answered 404 but so: {}; reading it here is answered 503", told(&error));
                self.fail("absent keys", meaning, "allow s3:ListBucket on the bucket itself, without which Amazon hides what exists");
            }
        }
    }

    /// Whether a piece of an object can be read; gives the object's ETag.
    async fn first_byte(&mut self, key: &ObjectKey) -> Option<ETag> {
        let object = match self.origin.get(&self.path, key, Some(ByteRange::new(0, 1)), None).await {
            Ok(object) => object,
            Err(error) if error.error.kind() == ErrorKind::Invalid(Fault::InvalidObjectState) => {
                self.warn(
                    "read",
                    format!("{:?} is archived and cannot be read", key.as_str()),
                    "restore archived objects before they are wanted",
                );
                return None;
            }
            Err(error) => {
                self.fail("read", format!("{:?} cannot be read: {}", key.as_str(), told(&error)), RIGHTS);
                return None;
            }
        };
        self.ok("read", "objects can be read");
        match (object.range, object.size) {
            (Some(_), _) => self.ok("ranges", "a piece of an object can be asked for"),
            (None, Some(_)) => {
                self.warn("ranges", "asked for a piece it sends the whole: a range of a cold object waits for what lies before it", "")
            }
            (None, None) => self.warn("ranges", "asked for a piece it sends the whole, and does not say how long that is", ""),
        }
        let etag = object.info.etag.clone();
        match (etag.as_md5(), etag.part_count()) {
            (Some(_), _) if object.etag_is_md5 => self.ok("etag", "ETags are MD5s: what is moved is compared with them"),
            (_, Some(_)) => self.ok("etag", "ETags are those of uploads in parts, and kept as they are"),
            _ => self.ok("etag", "ETags are no MD5s: they are kept as they are, and length and checksums alone tell a broken transfer"),
        }
        for uncarried in &object.uncarried {
            self.warn("fidelity", format!("of {:?}: {uncarried}", key.as_str()), "");
        }
        Some(etag)
    }

    /// Whether a condition on a read is minded.
    async fn conditions(&mut self, key: &ObjectKey) {
        let Some(client) = &self.client else { return };
        let options = umbra_client::GetOptions {
            range: Some(ByteRange::new(0, 1)),
            if_match: Some("\"umbra-doctor\"".to_owned()),
            ..umbra_client::GetOptions::default()
        };
        match client.get_object(key.as_str(), &options).await {
            Err(error) if error.kind() == ErrorKind::Precondition => self.ok("if-match", "a read can be tied to one ETag"),
            Ok(_) => self.ok("if-match", "a condition on a read is not minded; the ETag of every answer is compared here instead"),
            Err(error) => {
                let meaning = format!("a condition on a read is answered so: {}", told(&OriginError::from(error)));
                self.warn("if-match", meaning, "pieces of objects may not be had; then the whole is asked for");
            }
        }
    }

    async fn tags(&mut self, key: &ObjectKey) {
        match self.origin.tags(&self.path, key).await {
            Ok(_) => self.ok("tags", "tags can be read, and move along"),
            Err(error) if error.error.kind() == ErrorKind::Unsupported => self.ok("tags", "the origin knows no tags"),
            Err(error) => {
                let meaning = format!("tags cannot be read and stay behind: {}", told(&error));
                self.warn("tags", meaning, "allow s3:GetObjectTagging, if objects have tags");
            }
        }
    }

    /// Whether the boundaries of parts can be told.
    async fn parts(&mut self, (key, etag): (ObjectKey, ETag)) {
        let Some(count) = etag.part_count().filter(|count| *count > 1) else {
            return self.ok("parts", "no object seen was uploaded in parts");
        };
        let second = PartNumber::new(2).expect("2 is the number of a part");
        let untold = "keep in mind that ?partNumber= of such an object may answer 501 here";
        match self.origin.part_range(&self.path, &key, &etag, second).await {
            Ok(Some(PartRange { count: Some(told), .. })) if told == count => {
                self.ok("parts", "the parts of an object can be told, and are kept")
            }
            Ok(Some(_)) => self.ok("parts", "the sizes of parts can be told, and are kept"),
            Ok(None) => self.warn("parts", "the parts of an object cannot be told, except where they are all of one size", untold),
            Err(error) => self.warn("parts", format!("the parts of an object cannot be told: {}", told(&error)), untold),
        }
    }
}
