use std::time::Duration;

use tokio::time::{Instant, advance};

use super::{CUT_OFF_AFTER, Proof, Trust};
use crate::{
    Declaration, Neighbours,
    neighbours::{DECLARED_AHEAD, TRUST},
    postgres::position::{Instance, Position},
};

const PRIMARY: Instance = Instance(1);
const STANDBY: Instance = Instance(2);
const ANOTHER: Instance = Instance(3);
const MOMENT: Duration = Duration::from_millis(1);

const fn at(instance: Instance, lsn: u64) -> Position {
    Position { instance, lsn }
}

const fn proof(standby: Instance) -> Proof {
    Proof { primary: PRIMARY, session: 7, standby }
}

/// A standby that may be read from now on.
async fn trusted() -> (Trust, Neighbours) {
    let neighbours = Neighbours::new("fra");
    let declaration = Declaration { server: Some(STANDBY.0), is_trusted: false, behind_ms: 0 };
    neighbours.tell(declaration);
    neighbours.declared(Some(declaration), Instant::now());
    advance(DECLARED_AHEAD).await;
    neighbours.declared(Some(declaration), Instant::now());
    let mut trust = Trust::new(Instant::now());
    trust.note_replayed(at(STANDBY, 100));
    trust.prove(proof(STANDBY));
    assert_eq!(trust.trusted(&neighbours, Instant::now()), None, "it was not compared yet");
    assert!(!trust.note_check(Instant::now()));
    assert_eq!(trust.trusted(&neighbours, Instant::now()), Some(STANDBY));
    (trust, neighbours)
}

#[tokio::test(start_paused = true)]
async fn trust_lasts_from_when_the_primary_was_asked() {
    let (mut trust, neighbours) = trusted().await;
    advance(TRUST - MOMENT).await;
    assert_eq!(trust.trusted(&neighbours, Instant::now()), Some(STANDBY));
    advance(MOMENT).await;
    assert_eq!(trust.trusted(&neighbours, Instant::now()), None);
    trust.note_check(Instant::now() - TRUST);
    assert_eq!(trust.trusted(&neighbours, Instant::now()), None, "the answer came too late");
    trust.note_check(Instant::now());
    assert_eq!(trust.trusted(&neighbours, Instant::now()), Some(STANDBY));
}

#[tokio::test(start_paused = true)]
async fn another_server_begins_without_trust() {
    for make_another in [
        |trust: &mut Trust| trust.note_replayed(at(ANOTHER, 500)),
        |trust: &mut Trust| trust.prove(proof(ANOTHER)),
        |trust: &mut Trust| trust.note_loss(),
    ] {
        let (mut trust, neighbours) = trusted().await;
        make_another(&mut trust);
        assert_eq!(trust.trusted(&neighbours, Instant::now()), None);
    }
    let (trust, _) = trusted().await;
    assert!(trust.follows(STANDBY, PRIMARY) && !trust.follows(STANDBY, ANOTHER) && !trust.follows(ANOTHER, PRIMARY));
    assert!(trust.has_replayed(STANDBY, 100) && !trust.has_replayed(STANDBY, 101) && !trust.has_replayed(ANOTHER, 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_a_place_ends_trust_until_the_next_check() {
    let (mut trust, neighbours) = trusted().await;
    let asked = Instant::now();
    advance(MOMENT).await;
    trust.note_unplaced(Instant::now());
    assert_eq!(trust.trusted(&neighbours, Instant::now()), None);
    assert!(!trust.note_check(asked), "it was asked before");
    assert_eq!(trust.trusted(&neighbours, Instant::now()), None);
    advance(CUT_OFF_AFTER * 2).await;
    assert_eq!(trust.last_resort(Instant::now(), 0), None, "nobody knows whether it has what was acknowledged");
    assert!(trust.note_check(Instant::now()));
    assert_eq!(trust.last_resort(Instant::now(), 0), Some(STANDBY));
}

#[tokio::test(start_paused = true)]
async fn it_is_read_alone_while_the_primary_is_silent_and_it_lacks_nothing() {
    let (mut trust, _) = trusted().await;
    trust.note_answer(Instant::now());
    assert_eq!(trust.last_resort(Instant::now(), 0), None, "the primary answers");
    advance(CUT_OFF_AFTER + MOMENT).await;
    assert_eq!(trust.last_resort(Instant::now(), 100), Some(STANDBY));
    assert_eq!(trust.last_resort(Instant::now(), 101), None, "it lacks what was shown");
    trust.note_replayed(at(STANDBY, 101));
    assert_eq!(trust.last_resort(Instant::now(), 101), Some(STANDBY));
    trust.note_replayed(at(ANOTHER, 200));
    assert_eq!(trust.last_resort(Instant::now(), 101), None, "it was not shown to be of this database");
    trust.prove(proof(ANOTHER));
    assert_eq!(trust.last_resort(Instant::now(), 101), Some(ANOTHER));
    trust.note_answer(Instant::now());
    assert_eq!(trust.last_resort(Instant::now(), 101), None);
}
