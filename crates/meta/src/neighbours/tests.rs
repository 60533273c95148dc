use std::time::Duration;

use tokio::time::{Instant, advance};

use super::{DECLARED_AHEAD, Declaration, Duty, MARGIN, Neighbours, RENEWED_MAX, SILENCE_MAX, TRUST};

const SECOND: Duration = Duration::from_secs(1);

fn reading(server: i64) -> Option<Declaration> {
    Some(Declaration { server: Some(server), is_trusted: true, behind_ms: 0 })
}

fn seeing(nodes: &[(&str, Duration, Option<Declaration>)]) -> Neighbours {
    let neighbours = Neighbours::new("fra");
    neighbours.note(Instant::now(), nodes.iter().copied());
    neighbours
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_those_who_read_near() {
    let now = Instant::now();
    let none = Some(Declaration { server: None, is_trusted: false, behind_ms: 0 });
    let cases = [
        (vec![], Duty::Nothing, false),
        (vec![("fra", SECOND, None), ("fra", SECOND, none)], Duty::Nothing, false),
        (vec![("iad", SECOND, reading(7))], Duty::Nothing, true),
        (vec![("fra", SECOND, reading(7)), ("fra", SECOND, reading(7)), ("iad", SECOND, reading(8))], Duty::Replayed(7), true),
        (vec![("fra", SECOND, reading(7)), ("fra", SECOND, reading(8))], Duty::Time, true),
        (vec![("fra", SILENCE_MAX * 2, reading(7))], Duty::Nothing, false),
    ];
    for (nodes, duty, is_anywhere) in cases {
        let neighbours = seeing(&nodes);
        assert_eq!(neighbours.duty(now), duty, "{nodes:?}");
        assert_eq!(neighbours.lag_max(), if is_anywhere { TRUST + MARGIN } else { Duration::ZERO }, "{nodes:?}");
    }
    assert_eq!(Neighbours::new("fra").duty(now), Duty::Nothing, "who has not joined serves nobody");
}

#[tokio::test(start_paused = true)]
async fn who_has_not_looked_for_long_knows_nothing() {
    let (neighbours, without) = (seeing(&[]), seeing(&[]));
    neighbours.tell(reading(7).unwrap());
    advance(DECLARED_AHEAD - SECOND).await;
    assert_eq!((neighbours.duty(Instant::now()), neighbours.lag_max()), (Duty::Nothing, Duration::ZERO));
    advance(SECOND).await;
    assert_eq!((neighbours.duty(Instant::now()), neighbours.lag_max()), (Duty::Time, TRUST + MARGIN));
    assert_eq!((without.duty(Instant::now()), without.lag_max()), (Duty::Nothing, TRUST + MARGIN), "it has none, and saw none");
    let without = seeing(&[("fra", SECOND, reading(7))]);
    advance(DECLARED_AHEAD).await;
    assert_eq!(without.duty(Instant::now()), Duty::Time);
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_read_that_was_declared_for_long_and_lately() {
    let neighbours = Neighbours::new("fra");
    let may = |server| {
        let now = Instant::now();
        neighbours.permits(server, now, now)
    };
    let beat = || neighbours.declared(neighbours.declaration(), Instant::now());
    neighbours.tell(reading(7).unwrap());
    assert!(!may(7), "nobody was told");
    beat();
    advance(DECLARED_AHEAD - SECOND).await;
    beat();
    assert!(!may(7), "not everybody has looked");
    let early = Instant::now();
    advance(SECOND).await;
    assert!(may(7) && !may(8));
    assert!(!neighbours.permits(7, early, Instant::now()), "what was learned before does not count");
    advance(RENEWED_MAX).await;
    assert!(!may(7), "it was not renewed");
    beat();
    assert!(may(7));
    neighbours.tell(Declaration { server: None, is_trusted: false, behind_ms: 0 });
    assert!(!may(7), "it is to be withdrawn");
    neighbours.tell(reading(7).unwrap());
    assert!(may(7), "it was not withdrawn");
    neighbours.tell(reading(8).unwrap());
    beat();
    neighbours.tell(reading(7).unwrap());
    beat();
    assert!(!may(7), "it was withdrawn, and begins anew");
}
