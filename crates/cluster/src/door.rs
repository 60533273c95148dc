//! How nodes know requests of one another: a header that only who has the store's key-encryption key can make.
//!
//! ```text
//! x-umbra-relay: 1 <unix seconds> <face> <client> <HMAC-SHA256 in hexadecimal>
//!
//! key      = HKDF-SHA256(key-encryption key, salt = none, info = "umbra/node/1"), 32 bytes
//! message  = "1 <unix seconds> <face> <client>\n<method> <path and query>"
//! ```
//!
//! `client` is what the node that passes a request on says of its client, in the words of the front; it has no spaces. Bodies are not
//! covered: those of requests that matter carry signatures of their own.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ring::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use umbra_core::{Clock, Error, Result};

pub(crate) const RELAY: HeaderName = HeaderName::from_static("x-umbra-relay");
/// How far the clocks of nodes may be apart.
const SKEW_MAX_SECS: i64 = 300;

/// Which address of a node a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// S3.
    S3,
    /// Websites.
    Websites,
    /// The admin API.
    Admin,
    /// None: it is the node's own.
    Node,
}

impl Face {
    const ALL: [(Self, &'static str); 4] = [(Self::S3, "s3"), (Self::Websites, "websites"), (Self::Admin, "admin"), (Self::Node, "node")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(face, _)| *face == self).map_or("node", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(face, _)| *face)
    }
}

/// Marks a request that another node has passed on: it is not passed on again.
#[derive(Clone, Copy, Debug)]
pub struct IsPassed;

/// A request that another node has passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Where it came in.
    pub face: Face,
    /// What the other node says of its client.
    pub client: String,
}

/// Marks requests for other nodes, and knows theirs. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    key: hmac::Key,
    clock: Arc<dyn Clock>,
}

impl Door {
    /// A door for the nodes of the store with the key-encryption key `kek`.
    pub fn new(kek: &[u8; 32], clock: Arc<dyn Clock>) -> Self {
        let secret = Salt::new(HKDF_SHA256, b"").extract(kek);
        let key = secret.expand(&[b"umbra/node/1"], hmac::HMAC_SHA256).expect("it is as long as one hash").into();
        Self { key, clock }
    }

    /// Marks a request.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, method: &Method, uri: &Uri, passed: &Passed) -> Result<()> {
        let head = format!("1 {} {} {}", self.now(), passed.face.name(), passed.client);
        let tag = hmac::sign(&self.key, message(&head, method, uri).as_bytes());
        let value = HeaderValue::try_from(format!("{head} {}", hex::encode(tag)));
        headers.insert(RELAY, value.map_err(|_| Error::internal("a client cannot be told of to another node"))?);
        Ok(())
    }

    /// What another node says of a request that it passed on; `None` when no other node did.
    pub fn open(&self, headers: &HeaderMap, method: &Method, uri: &Uri) -> Option<Passed> {
        let (head, tag) = headers.get(RELAY)?.to_str().ok()?.rsplit_once(' ')?;
        hmac::verify(&self.key, message(head, method, uri).as_bytes(), &hex::decode(tag).ok()?).ok()?;
        let mut words = head.split(' ');
        let (version, secs, face, client) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let age = self.now().checked_sub(secs.parse().ok()?)?;
        let is_fresh = (-SKEW_MAX_SECS..=SKEW_MAX_SECS).contains(&age);
        (version == "1" && is_fresh).then_some(())?;
        Some(Passed { face: Face::parse(face)?, client: client.to_owned() })
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis() / 1000
    }
}

fn message(head: &str, method: &Method, uri: &Uri) -> String {
    format!("{head}\n{method} {}", uri.path_and_query().map_or("/", |target| target.as_str()))
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use http::{HeaderMap, HeaderValue, Method, Uri};
    use umbra_core::{ManualClock, Timestamp};

    use super::{Door, Face, Passed, RELAY};

    #[test]
    fn a_request_of_another_node_is_known() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let (door, stranger) = (Door::new(&[1; 32], clock.clone()), Door::new(&[2; 32], clock.clone()));
        let passed = Passed { face: Face::Websites, client: "10.0.0.1,1.3,X".to_owned() };
        let uri = Uri::from_static("/bucket/key?acl");
        let mut headers = HeaderMap::new();
        assert_eq!(door.open(&headers, &Method::GET, &uri), None);
        door.mark(&mut headers, &Method::GET, &uri, &passed).unwrap();
        assert_eq!(door.open(&headers, &Method::GET, &uri), Some(passed.clone()));
        assert_eq!(stranger.open(&headers, &Method::GET, &uri), None);
        assert_eq!(door.open(&headers, &Method::PUT, &uri), None);
        assert_eq!(door.open(&headers, &Method::GET, &Uri::from_static("/bucket/key")), None);
        let forged = headers[&RELAY].to_str().unwrap().replace("10.0.0.1", "10.0.0.2");
        let forged = HeaderMap::from_iter([(RELAY, HeaderValue::try_from(forged).unwrap())]);
        assert_eq!(door.open(&forged, &Method::GET, &uri), None);
        clock.advance(Duration::from_secs(301));
        assert_eq!(door.open(&headers, &Method::GET, &uri), None, "it is old");
    }
}
