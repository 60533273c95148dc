//! Every statement but those of the schema, as each connection prepares them.

/// A prepared statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sql {
    Find,
    FindMany,
    ScanHeads,
    ScanHeadsTo,
    ScanFull,
    ScanFullTo,
    Walk,
    WalkTo,
    LockShared,
    Lock,
    Draw,
    Judge,
    Put,
    Delete,
    Outcome,
    Forget,
}

/// What a listing needs, and what [`super::row`] expects.
macro_rules! heads {
    () => {
        "SELECT k, rev, head, hsum FROM umbra_kv WHERE p = $1"
    };
}

macro_rules! full {
    () => {
        "SELECT k, rev, head, hsum, bsum, body FROM umbra_kv WHERE p = $1"
    };
}

/// A listing with a delimiter that jumps: each step seeks the first key behind the last one, or behind all that its common prefix hides.
///
/// $5 is the delimiter, $6 the length of the prefix, $7 the successor of the delimiter.
macro_rules! walk {
    ($end:literal) => {
        concat!(
            "WITH RECURSIVE walk (k, rev, head, hsum, at, n) AS (
               (SELECT k, rev, head, hsum, position($5::bytea IN substring(k FROM $6::int4 + 1)), 1::int8
                  FROM umbra_kv WHERE p = $1 AND k >= $2",
            $end,
            " ORDER BY k LIMIT 1)
             UNION ALL
               SELECT next.k, next.rev, next.head, next.hsum, position($5::bytea IN substring(next.k FROM $6::int4 + 1)), walk.n + 1
                 FROM walk CROSS JOIN LATERAL (
                   SELECT k, rev, head, hsum FROM umbra_kv
                    WHERE p = $1 AND k >= CASE WHEN walk.at > 0 THEN substring(walk.k FROM 1 FOR $6::int4 + walk.at - 1) || $7::bytea
                                               ELSE walk.k || '\\x00'::bytea END",
            $end,
            " ORDER BY k LIMIT 1) AS next
                WHERE walk.n < $4::int8)
             SELECT k, rev, head, hsum FROM walk ORDER BY n LIMIT $4::int8"
        )
    };
}

impl Sql {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 16] = [
        Self::Find,
        Self::FindMany,
        Self::ScanHeads,
        Self::ScanHeadsTo,
        Self::ScanFull,
        Self::ScanFullTo,
        Self::Walk,
        Self::WalkTo,
        Self::LockShared,
        Self::Lock,
        Self::Draw,
        Self::Judge,
        Self::Put,
        Self::Delete,
        Self::Outcome,
        Self::Forget,
    ];

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Find => concat!(full!(), " AND k = $2"),
            Self::FindMany => concat!(full!(), " AND k = ANY ($2::bytea[])"),
            Self::ScanHeads => concat!(heads!(), " AND k >= $2 ORDER BY k LIMIT $3::int8"),
            Self::ScanHeadsTo => concat!(heads!(), " AND k >= $2 AND k < $4 ORDER BY k LIMIT $3::int8"),
            Self::ScanFull => concat!(full!(), " AND k >= $2 ORDER BY k LIMIT $3::int8"),
            Self::ScanFullTo => concat!(full!(), " AND k >= $2 AND k < $4 ORDER BY k LIMIT $3::int8"),
            // $3 is there for the sake of the same parameters, and says nothing.
            Self::Walk => walk!(" AND $3::bytea IS NULL"),
            Self::WalkTo => walk!(" AND k < $3"),
            Self::LockShared => "SELECT n FROM umbra_slot WHERE n = ANY ($1::int4[]) ORDER BY n FOR SHARE",
            Self::Lock => "SELECT n FROM umbra_slot WHERE n = ANY ($1::int4[]) ORDER BY n FOR UPDATE",
            Self::Draw => "UPDATE umbra_session SET rev = nextval('umbra_revision') WHERE id = $1 RETURNING rev",
            Self::Judge => concat!(heads!(), " AND k = ANY ($2::bytea[])"),
            Self::Put => {
                "INSERT INTO umbra_kv (p, k, rev, head, hsum, bsum, body)
                 SELECT $1::int8, w.k, $2::int8, w.head, w.hsum, w.bsum, w.body
                   FROM unnest($3::bytea[], $4::bytea[], $5::int8[], $6::int8[], $7::bytea[]) AS w (k, head, hsum, bsum, body)
                 ON CONFLICT (p, k) DO UPDATE
                 SET rev = excluded.rev, head = excluded.head, hsum = excluded.hsum, bsum = excluded.bsum, body = excluded.body"
            }
            Self::Delete => "DELETE FROM umbra_kv WHERE p = $1 AND k = ANY ($2::bytea[])",
            Self::Outcome => "SELECT rev FROM umbra_session WHERE id = $1 FOR UPDATE",
            Self::Forget => "DELETE FROM umbra_session WHERE id = $1",
        }
    }
}
