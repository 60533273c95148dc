//! ACLs of objects.

use umbra_core::{Acl, Attributes, Body, ErrorKind, Grant, Grantee, Permission, Tags};

use super::fixture::{Fixture, NO_OBJECT, key, kind};
use crate::{AclChange, GetOptions, PutOptions};

pub(super) async fn run(fixture: &Fixture) {
    let (cx, objects, bucket) = (&fixture.cx, &fixture.objects, &fixture.bucket);
    let grant = |grantee| Grant { grantee, permission: Permission::Read };
    let acl = |grantee| Some(Acl { owner: "acme".to_owned(), grants: vec![grant(grantee)] });
    let at = key("acl");
    assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("an absent object has no ACL"), None);
    assert_eq!(kind("absent", objects.put_acl(cx, bucket, &at, None, AclChange::to(acl(Grantee::Everyone))).await), NO_OBJECT);

    fixture.put("acl", "content").await;
    let before = objects.head(cx, bucket, &at, GetOptions::default()).await.expect("it is there");
    for wanted in [acl(Grantee::Everyone), acl(Grantee::Organization("evil".to_owned())), None] {
        objects.put_acl(cx, bucket, &at, None, AclChange::to(wanted.clone())).await.expect("the ACL is replaced");
        assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("the ACL is read"), wanted);
        let mut info = objects.head(cx, bucket, &at, GetOptions::default()).await.expect("it is there");
        assert_eq!(info.attributes.acl, wanted);
        info.attributes.acl = None;
        assert_eq!(info, before, "nothing else of it changes, not even its date");
    }

    objects.put_acl(cx, bucket, &at, None, AclChange::to(acl(Grantee::Everyone))).await.expect("the ACL is replaced");
    objects.put_tags(cx, bucket, &at, None, Tags::new([("a".to_owned(), "b".to_owned())])).await.expect("it is tagged");
    assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("the ACL is read"), acl(Grantee::Everyone), "tags leave it");
    fixture.put("acl", "newer").await;
    assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("the ACL is read"), None, "a new object has its own");
    let attributes = Attributes { acl: acl(Grantee::Authenticated), ..Attributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    fixture.try_put("acl", Body::from_bytes("newest"), options).await.expect("it is stored");
    assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("the ACL is read"), acl(Grantee::Authenticated));

    let judged = objects.head(cx, bucket, &at, GetOptions::default()).await.expect("it is there");
    let (etag, kept) = (judged.etag, judged.attributes.acl);
    let to = |judged| AclChange { judged: Some(judged), acl: acl(Grantee::Everyone) };
    for other in [(before.etag, kept.clone()), (etag.clone(), None)] {
        let lost = objects.put_acl(cx, bucket, &at, None, to(other)).await;
        assert_eq!(kind("acl", lost), ErrorKind::Conflict, "it was decided for another object");
    }
    objects.put_acl(cx, bucket, &at, None, to((etag, kept))).await.expect("it was decided for this one");
    assert_eq!(objects.acl(cx, bucket, &at, None).await.expect("the ACL is read"), acl(Grantee::Everyone));
}
