//! Where contents are.

use umbra_blob::Badge;

use super::{on_every_engine, open};
use crate::ContentsPlace;

fn place(name: &str, badge: Option<u8>) -> ContentsPlace {
    ContentsPlace { name: name.to_owned(), badge: badge.map(|byte| Badge::from_bytes([byte; Badge::LEN])) }
}

#[tokio::test]
async fn the_first_says_where_contents_are() {
    on_every_engine(async |meta| {
        let (catalog, other) = (open(&meta).await, open(&meta).await);
        let whole = place("s3://b/fra", Some(1));
        assert_eq!(catalog.claim_contents("fra", &whole).await.unwrap(), whole);
        for late in [whole.clone(), place("s3://b/fra", None), place("s3://b/fra", Some(2)), place("s3://b/iad", Some(2))] {
            assert_eq!(other.claim_contents("fra", &late).await.unwrap(), whole, "{late:?}");
        }
        let iad = place("s3://b/iad", None);
        assert_eq!(catalog.claim_contents("iad", &iad).await.unwrap(), iad);
        assert_eq!(other.contents().await.unwrap(), [("fra".to_owned(), whole), ("iad".to_owned(), iad)]);
    })
    .await;
}

#[tokio::test]
async fn a_place_is_given_a_badge_later_and_once() {
    on_every_engine(async |meta| {
        let catalog = open(&meta).await;
        catalog.claim_contents("", &place("s3://b/p", None)).await.unwrap();
        assert_eq!(catalog.claim_contents("", &place("s3://b/q", Some(1))).await.unwrap(), place("s3://b/p", None));
        let whole = place("s3://b/p", Some(1));
        assert_eq!(catalog.claim_contents("", &whole).await.unwrap(), whole);
        assert_eq!(catalog.claim_contents("", &place("s3://b/p", Some(2))).await.unwrap(), whole);
        assert_eq!(catalog.contents().await.unwrap(), [(String::new(), whole)]);
    })
    .await;
}
