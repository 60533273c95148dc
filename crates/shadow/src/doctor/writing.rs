//! What write-through will need: tried on keys of our own.

use bytes::Bytes;
use umbra_core::{Body, ObjectKey};

use super::{Visit, told};
use crate::{
    attach::PROBE_KEY_PREFIX,
    origin::{
        OriginAttributes, OriginList, PutConditions,
        folding::{Form, folds},
    },
};

const CONTENT: &[u8] = b"umbra was here, and leaves nothing behind";

impl Visit<'_> {
    /// Writes a few keys. Gives the one to try the rest on, if it could be written.
    pub(super) async fn write(&mut self) -> Option<ObjectKey> {
        let keys = self.keys();
        let put = self.put(&keys[0]).await;
        if let Err(error) = put {
            self.fail(
                "write",
                format!("nothing can be written: {}", told(&error)),
                "allow s3:PutObject on the bucket's objects, or leave --shadow-write-through out",
            );
            return None;
        }
        self.ok("write", "objects can be written");
        match self.origin.judges_conditions(&self.path).await {
            Ok(true) => self.ok("conditional write", "the origin judges If-Match and If-None-Match of a PUT itself"),
            Ok(false) => {
                let meaning = "the origin does not mind If-Match and If-None-Match of a PUT; they are judged here, against what was there a moment before";
                self.warn("conditional write", meaning, "let nobody else write to the origin");
            }
            Err(error) => self.warn("conditional write", format!("it could not be tried: {}", told(&error)), ""),
        }
        self.order_of_writes(&keys).await;
        Some(keys[0].clone())
    }

    /// A key, one below it and one beside it.
    fn keys(&self) -> [ObjectKey; 3] {
        let key = |end: &str| ObjectKey::parse(&format!("{PROBE_KEY_PREFIX}{}{end}", self.nonce)).expect("a short name is a key");
        [key(""), key("/below"), key("-beside")]
    }

    async fn put(&self, key: &ObjectKey) -> crate::origin::Result<()> {
        let body = Body::from_bytes(Bytes::from_static(CONTENT));
        let (attributes, conditions) = (OriginAttributes::default(), PutConditions::default());
        self.origin.put(&self.path, key, CONTENT.len() as u64, body, &attributes, &conditions).await.map(drop)
    }

    /// In which order keys are listed that tell.
    async fn order_of_writes(&mut self, keys: &[ObjectKey; 3]) {
        for key in &keys[1..] {
            if let Err(error) = self.put(key).await {
                let meaning = format!("the keys k and k/below cannot both be written: {}", told(&error));
                self.warn("keys as paths", meaning, "writes of such keys fail with write-through; use a store that keeps keys as they are");
                return;
            }
        }
        let list = OriginList { prefix: keys[0].as_str().to_owned(), limit: 10, ..OriginList::default() };
        let listed = match self.origin.list(&self.path, &list).await {
            Ok(page) => page.objects.into_iter().map(|object| object.key).collect::<Vec<_>>(),
            Err(error) => return self.warn("keys as paths", format!("what was written cannot be listed: {}", told(&error)), ""),
        };
        let [key, below, beside] = keys.clone();
        let (by_bytes, by_directories) = ([key.clone(), beside.clone(), below.clone()], [key, below, beside]);
        if listed == by_bytes {
            self.ok("keys as paths", "keys are listed in the order of bytes, slashes like any other character");
        } else if listed == by_directories {
            self.ok("keys as paths", "keys are listed by directories; listings here put them in the order of bytes");
        } else {
            let meaning = format!("of three keys written, {} are listed, or in an order of their own", listed.len());
            self.fail("keys as paths", meaning, "listings here cannot be merged with such an origin's");
        }
    }

    /// Whether what means something in a path is kept in a key.
    async fn folding(&mut self) {
        let mut folded = Vec::new();
        for form in Form::ALL {
            match folds(self.origin, &self.path, &format!("{PROBE_KEY_PREFIX}{}-path", self.nonce), form).await {
                Ok(true) => folded.push(form.example()),
                Ok(false) => {}
                Err(error) => return self.warn("folded keys", format!("it could not be tried: {}", told(&error)), ""),
            }
        }
        if folded.is_empty() {
            return self.ok("folded keys", "keys such as a//b are not taken for others");
        }
        let meaning = format!("keys such as {} are taken for others, as if they were paths", folded.join(", "));
        self.warn(
            "folded keys",
            meaning,
            "with write-through such keys cannot be written or deleted here, for the others would be replaced",
        );
    }

    /// Deletes what was written.
    pub(super) async fn clean_up(&mut self, _: &ObjectKey) {
        for key in self.keys() {
            if let Err(error) = self.origin.delete(&self.path, &key).await {
                let meaning = format!("nothing can be deleted: {}", told(&error));
                let advice = format!("allow s3:DeleteObject on the bucket's objects; {} was left there", key.as_str());
                return self.fail("delete", meaning, &advice);
            }
        }
        self.ok("delete", "objects can be deleted");
        self.folding().await;
    }
}
