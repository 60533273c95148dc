//! How nodes know requests of one another: a header that only who has the store's key-encryption key can make.
//!
//! ```text
//! x-umbra-relay: 1 <unix seconds> <to> <from> <number> <turn> <face> <region> <client> <HMAC-SHA256 in hexadecimal>
//!
//! x-umbra-countersign: <HMAC-SHA256 in hexadecimal>
//!
//! key      = HKDF-SHA256(key-encryption key, salt = none, info = "umbra/node/1"), 32 bytes
//! message  = everything before the HMAC, without the space in between, then "\n<method> <path and query>"
//! answer   = "answer <HMAC of the request> <status>"
//! ```
//!
//! `to` and `from` are incarnations of nodes; `*` is whoever is there. `number` grows with each request of a node. `turn` is that of the leader as `from` last
//! read it: one that is far behind read it in a copy of the store. `region` is where the client came in; `*` in a store without regions. `client` is what the node that passes a request on says of its client, in the words of the front, or where
//! its own clients go, for the admin side; it has no spaces.
//!
//! A request is taken once: by the life of the node that it names, within the time that clocks may be apart, and by its number ([`Seen`]). So who listens on
//! the way and sends it again is refused. Bodies are not covered: those of requests that matter carry signatures of their own.
//!
//! Its answer is countersigned: whoever else listens by now where a node was, does not answer for the store.

mod seen;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use parking_lot::Mutex;
use ring::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use umbra_core::{Clock, Error, Result};

use self::seen::Seen;

pub(crate) const RELAY: HeaderName = HeaderName::from_static("x-umbra-relay");
/// Says that a node of the store gave an answer.
const COUNTERSIGN: HeaderName = HeaderName::from_static("x-umbra-countersign");
/// Marks an answer: the request was for another node or another life, and nothing of it was carried out.
pub const ASTRAY: HeaderName = HeaderName::from_static("x-umbra-astray");
/// How far the clocks of nodes may be apart.
const SKEW_MAX_SECS: i64 = 300;
/// How many heartbeats of the leader a node may not have seen: twice as many as it takes until one that sees none is shut out.
const TURNS_BEHIND_MAX: u64 = 120;
/// No node, or no region, in particular.
const ANYONE: &str = "*";

/// The turn of whoever leads, as this node last read it. It grows from leader to leader. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LeaderTurn(Arc<AtomicU64>);

impl LeaderTurn {
    pub(crate) fn note(&self, turn: u64) {
        self.0.store(turn, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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
    /// The life of the node that passed it on.
    pub from: String,
    /// Where it came in.
    pub face: Face,
    /// In which region, where the store has regions.
    pub region: Option<String>,
    /// What the other node says of its client.
    pub client: String,
}

/// Why a request is not taken for one of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No node made it, or not lately.
    Stranger,
    /// It is for another node, for an earlier life of this one, or from a copy of the store. The answer carries [`ASTRAY`]: whoever passed it on may send it elsewhere.
    Astray,
    /// It came before.
    Repeated,
}

/// The HMAC of a request, by which it is told from all others.
pub(crate) struct Mac(String);

impl Mac {
    fn message(&self, status: StatusCode) -> String {
        format!("answer {} {}", self.0, status.as_u16())
    }
}

/// What says of the answer to a request that a node of the store gave it.
pub struct Countersign {
    key: hmac::Key,
    tag: Mac,
}

impl Countersign {
    /// Puts it on the answer.
    pub fn put<B>(self, answer: &mut Response<B>) {
        let sign = hex::encode(hmac::sign(&self.key, self.tag.message(answer.status()).as_bytes()));
        answer.headers_mut().insert(COUNTERSIGN, HeaderValue::try_from(sign).expect("it is hexadecimal"));
    }
}

/// Marks requests for other nodes, and knows theirs. Clones are the same door.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    key: hmac::Key,
    clock: Arc<dyn Clock>,
    incarnation: String,
    region: Option<String>,
    turn: LeaderTurn,
    sent: AtomicU64,
    seen: Mutex<Seen>,
}

impl Door {
    /// The door of the node `incarnation`, in `region` where the store has regions, for the nodes of the store with the key-encryption key `kek`.
    /// Only requests of nodes that know about as much of who leads as `turn` says are taken.
    pub fn new(kek: &[u8; 32], clock: Arc<dyn Clock>, incarnation: &str, region: Option<String>, turn: LeaderTurn) -> Self {
        let secret = Salt::new(HKDF_SHA256, b"").extract(kek);
        let key = secret.expand(&[b"umbra/node/1"], hmac::HMAC_SHA256).expect("it is as long as one hash").into();
        let (sent, seen) = (AtomicU64::default(), Mutex::default());
        Self(Arc::new(Shared { key, clock, incarnation: incarnation.to_owned(), region, turn, sent, seen }))
    }

    /// Marks a request for `to`, or for whoever is there. Gives what its answer is known by.
    pub(crate) fn mark(
        &self,
        headers: &mut HeaderMap,
        (method, uri): (&Method, &Uri),
        to: Option<&str>,
        face: Face,
        client: &str,
    ) -> Result<Mac> {
        let Shared { key, incarnation, region, turn, sent, .. } = &*self.0;
        let (to, region) = (to.unwrap_or(ANYONE), region.as_deref().unwrap_or(ANYONE));
        let number = sent.fetch_add(1, Ordering::Relaxed) + 1;
        let head = format!("1 {} {to} {incarnation} {number} {} {} {region} {client}", self.now(), turn.get(), face.name());
        let tag = hex::encode(hmac::sign(key, message(&head, method, uri).as_bytes()));
        let value = HeaderValue::try_from(format!("{head} {tag}"));
        headers.insert(RELAY, value.map_err(|_| Error::internal("a client cannot be told of to another node"))?);
        Ok(Mac(tag))
    }

    /// Whether a node of the store gave this answer to the request of `tag`. What says so is taken off it.
    pub(crate) fn is_countersigned<B>(&self, tag: &Mac, answer: &mut Response<B>) -> bool {
        let sign = answer.headers_mut().remove(COUNTERSIGN).and_then(|sign| hex::decode(sign).ok());
        sign.is_some_and(|sign| hmac::verify(&self.0.key, tag.message(answer.status()).as_bytes(), &sign).is_ok())
    }

    /// For the answer to a request that [`Self::open`] did not take for a stranger's.
    pub fn countersign(&self, request: &HeaderMap) -> Countersign {
        let tag = request.get(RELAY).and_then(|value| value.to_str().ok()?.rsplit_once(' ')).map(|(_, tag)| tag.to_owned());
        Countersign { key: self.0.key.clone(), tag: Mac(tag.unwrap_or_default()) }
    }

    /// What another node says of a request that it passed on to this one. It is taken once.
    pub fn open(&self, headers: &HeaderMap, method: &Method, uri: &Uri) -> std::result::Result<Passed, Refusal> {
        let (passed, to, number, turn) = self.read(headers, method, uri).ok_or(Refusal::Stranger)?;
        let is_recent = turn.saturating_add(TURNS_BEHIND_MAX) >= self.0.turn.get();
        let is_meant = to == ANYONE || (to == self.0.incarnation && is_recent);
        if !is_meant {
            return Err(Refusal::Astray);
        }
        let is_first = self.0.seen.lock().is_first(&passed.from, number, self.now(), 2 * SKEW_MAX_SECS);
        if is_first { Ok(passed) } else { Err(Refusal::Repeated) }
    }

    fn read<'a>(&self, headers: &'a HeaderMap, method: &Method, uri: &Uri) -> Option<(Passed, &'a str, u64, u64)> {
        let (head, tag) = headers.get(RELAY)?.to_str().ok()?.rsplit_once(' ')?;
        hmac::verify(&self.0.key, message(head, method, uri).as_bytes(), &hex::decode(tag).ok()?).ok()?;
        let mut words = head.split(' ');
        let mut word = || words.next();
        let (version, secs, to, from, number) = (word()?, word()?, word()?, word()?, word()?.parse().ok()?);
        let turn = word()?.parse().ok()?;
        let (face, region, client) = (Face::parse(word()?)?, word()?, word()?.to_owned());
        let age = self.now().checked_sub(secs.parse().ok()?)?;
        let is_fresh = (-SKEW_MAX_SECS..=SKEW_MAX_SECS).contains(&age);
        (version == "1" && is_fresh).then_some(())?;
        let region = (region != ANYONE).then(|| region.to_owned());
        Some((Passed { from: from.to_owned(), face, region, client }, to, number, turn))
    }

    fn now(&self) -> i64 {
        self.0.clock.now().as_millis() / 1000
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

    use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
    use umbra_core::{ManualClock, Timestamp};

    use super::{COUNTERSIGN, Door, Face, LeaderTurn, Passed, RELAY, Refusal, TURNS_BEHIND_MAX};

    const CLIENT: &str = "10.0.0.1,1.3,X";

    struct Doors {
        clock: Arc<ManualClock>,
        ours: Door,
        theirs: Door,
        our_turn: LeaderTurn,
        their_turn: LeaderTurn,
    }

    fn doors() -> Doors {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000_000)));
        let [our_turn, their_turn] = [LeaderTurn::default(), LeaderTurn::default()];
        let door = |incarnation: &str, region: &str, turn: &LeaderTurn| {
            Door::new(&[1; 32], clock.clone(), incarnation, Some(region.to_owned()), turn.clone())
        };
        Doors { ours: door("ours-1", "fra", &our_turn), theirs: door("theirs-1", "iad", &their_turn), our_turn, their_turn, clock }
    }

    fn marked(door: &Door, to: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let _ = door.mark(&mut headers, (&Method::GET, &uri()), to, Face::Websites, CLIENT).unwrap();
        headers
    }

    fn uri() -> Uri {
        Uri::from_static("/bucket/key?acl")
    }

    #[test]
    fn a_request_of_another_node_is_known() {
        let Doors { clock, ours, theirs, .. } = doors();
        let stranger = Door::new(&[2; 32], clock.clone(), "ours-1", None, LeaderTurn::default());
        assert_eq!(ours.open(&HeaderMap::new(), &Method::GET, &uri()), Err(Refusal::Stranger));
        let headers = marked(&theirs, Some("ours-1"));
        let refused = |door: &Door, headers: &HeaderMap, method, uri| {
            assert_eq!(door.open(headers, &method, &uri), Err(Refusal::Stranger), "{headers:?} {method} {uri}");
        };
        refused(&stranger, &headers, Method::GET, uri());
        refused(&ours, &headers, Method::PUT, uri());
        refused(&ours, &headers, Method::GET, Uri::from_static("/bucket/key"));
        for (word, forged) in [
            ("10.0.0.1", "10.0.0.2"),
            ("iad", "fra"),
            ("websites", "admin"),
            (" 1 0 websites", " 2 0 websites"),
            (" 0 websites", " 9 websites"),
        ] {
            let forged = headers[&RELAY].to_str().unwrap().replace(word, forged);
            refused(&ours, &HeaderMap::from_iter([(RELAY, HeaderValue::try_from(forged).unwrap())]), Method::GET, uri());
        }
        let expected =
            Passed { from: "theirs-1".to_owned(), face: Face::Websites, region: Some("iad".to_owned()), client: CLIENT.to_owned() };
        assert_eq!(ours.open(&headers, &Method::GET, &uri()), Ok(expected));
        let headers = marked(&theirs, Some("ours-1"));
        clock.advance(Duration::from_secs(301));
        refused(&ours, &headers, Method::GET, uri());
    }

    #[test]
    fn a_request_is_taken_once_by_whom_it_is_for() {
        let Doors { clock, ours, theirs, .. } = doors();
        let (headers, later) = (marked(&theirs, Some("ours-1")), marked(&theirs, Some("ours-1")));
        let restarted = Door::new(&[1; 32], clock, "ours-2", None, LeaderTurn::default());
        assert_eq!(restarted.open(&headers, &Method::GET, &uri()), Err(Refusal::Astray), "it is not for this life");
        assert!(ours.open(&later, &Method::GET, &uri()).is_ok() && ours.open(&headers, &Method::GET, &uri()).is_ok());
        for headers in [&headers, &later] {
            assert_eq!(ours.open(headers, &Method::GET, &uri()), Err(Refusal::Repeated), "it came before");
        }
        let anyone = marked(&theirs, None);
        assert!(ours.open(&anyone, &Method::GET, &uri()).is_ok() && restarted.open(&anyone, &Method::GET, &uri()).is_ok());
        assert_eq!(ours.open(&anyone, &Method::GET, &uri()), Err(Refusal::Repeated));
    }

    #[test]
    fn what_comes_from_a_copy_of_the_store_is_for_another() {
        let Doors { ours, theirs, our_turn, their_turn, .. } = doors();
        let opened = |to, ours_is, theirs_is| {
            our_turn.note(ours_is);
            their_turn.note(theirs_is);
            ours.open(&marked(&theirs, to), &Method::GET, &uri()).map(drop)
        };
        assert_eq!(opened(Some("ours-1"), 1000, 1000), Ok(()));
        assert_eq!(opened(Some("ours-1"), 1000, 1000 - TURNS_BEHIND_MAX), Ok(()), "it may not have heard for a while");
        assert_eq!(opened(Some("ours-1"), 1000, 999 - TURNS_BEHIND_MAX), Err(Refusal::Astray));
        assert_eq!(opened(None, 1000, 0), Ok(()), "whoever asks who is here may know nothing yet");
        assert_eq!(opened(Some("ours-1"), 1000, u64::MAX), Ok(()), "it knows of a leader that we do not know yet");
    }

    #[test]
    fn an_answer_is_that_of_a_node_to_this_request() {
        let Doors { clock, ours, theirs, .. } = doors();
        let marked = || {
            let mut headers = HeaderMap::new();
            let tag = theirs.mark(&mut headers, (&Method::GET, &uri()), Some("ours-1"), Face::S3, CLIENT).unwrap();
            (headers, tag)
        };
        let answered = |door: &Door, headers: &HeaderMap| {
            let mut answer = Response::new(());
            door.countersign(headers).put(&mut answer);
            answer
        };
        let (headers, tag) = marked();
        let mut answer = answered(&ours, &headers);
        assert!(theirs.is_countersigned(&tag, &mut answer));
        assert!(!theirs.is_countersigned(&tag, &mut answer), "it was taken off");
        let refused = |mut answer: Response<()>, why| assert!(!theirs.is_countersigned(&tag, &mut answer), "{why}");
        refused(Response::new(()), "nobody says so");
        let stranger = Door::new(&[2; 32], clock, "ours-1", None, LeaderTurn::default());
        refused(answered(&stranger, &headers), "it has another key");
        refused(answered(&ours, &marked().0), "it is that to another request");
        let mut changed = answered(&ours, &headers);
        *changed.status_mut() = StatusCode::NOT_FOUND;
        refused(changed, "it was changed");
        let mut odd = Response::new(());
        odd.headers_mut().insert(COUNTERSIGN, HeaderValue::from_static("no hexadecimal"));
        refused(odd, "it makes no sense");
    }

    #[test]
    fn a_store_without_regions_names_none() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let [ours, theirs] =
            ["ours-1", "theirs-1"].map(|incarnation| Door::new(&[1; 32], clock.clone(), incarnation, None, LeaderTurn::default()));
        assert_eq!(ours.open(&marked(&theirs, Some("ours-1")), &Method::GET, &uri()).unwrap().region, None);
    }
}
