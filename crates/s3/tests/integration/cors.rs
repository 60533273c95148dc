//! Pages from elsewhere: preflights and answers, set in S3's way and in Tigris's.

use serde_json::json;
use umbra_store::Role;

use crate::{
    client::Ask,
    tigris::{metadata, set},
    world::World,
};

fn preflight(uri: &str, method: &str) -> Ask {
    let ask = Ask::method("OPTIONS", uri).unsigned("origin", "https://a.example").unsigned("access-control-request-method", method);
    ask.unsigned("access-control-request-headers", "content-type")
}

#[tokio::test]
async fn rules_are_set_shown_and_removed() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::get("/photos?cors")).await.error(), (404, "NoSuchCORSConfiguration"));
    let document = "<CORSConfiguration><CORSRule><ID>r</ID><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
                    <AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    assert_eq!(admin.send(Ask::put("/photos?cors").body(document)).await.status, 200);
    let shown = admin.send(Ask::get("/photos?cors")).await;
    for (name, value) in [
        ("ID", "r"),
        ("AllowedOrigin", "https://*.example"),
        ("AllowedMethod", "PUT"),
        ("AllowedHeader", "*"),
        ("ExposeHeader", "ETag"),
        ("MaxAgeSeconds", "60"),
    ] {
        assert_eq!(shown.element(name), Some(value), "{}", shown.text());
    }
    assert_eq!(metadata(&admin).await["cors"]["rules"][0]["allowedOrigin"], json!(["https://*.example"]));
    let bad = document.replace("PUT", "PATCH");
    assert_eq!(admin.send(Ask::put("/photos?cors").body(bad)).await.error(), (400, "InvalidRequest"));
    let editor = world.client(Some("acme"), Role::Editor).await;
    for ask in [Ask::put("/photos?cors").body(document), Ask::get("/photos?cors"), Ask::delete("/photos?cors")] {
        assert_eq!(editor.send(ask).await.error(), (403, "AccessDenied"));
    }
    assert_eq!(admin.send(Ask::delete("/photos?cors")).await.status, 204);
    assert_eq!(admin.send(Ask::head("/photos")).await.status, 200, "it was not the bucket that was deleted");
    assert_eq!(admin.send(Ask::get("/photos?cors")).await.error(), (404, "NoSuchCORSConfiguration"));
}

#[tokio::test]
async fn browsers_are_answered_by_the_rules() {
    let world = World::new().await;
    let admin = world.admin().await;
    let everyone = world.anonymous();
    for uri in ["/photos/k", "/nowhere/k", "/"] {
        assert_eq!(everyone.send(preflight(uri, "PUT")).await.error(), (403, "AccessForbidden"), "{uri}");
    }
    assert_eq!(everyone.send(Ask::method("OPTIONS", "/photos/k")).await.error(), (400, "BadRequest"));
    let rule = json!({ "allowedOrigin": ["https://a.example"], "allowedMethods": ["PUT", "GET"], "allowedHeaders": ["*"], "exposeHeaders": ["ETag"], "maxAge": 60 });
    set(&admin, json!({ "cors": { "rules": [rule] } })).await;
    let allowed = everyone.send(preflight("/photos/k", "PUT")).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, Some("https://a.example")));
    assert_eq!(
        (allowed.header("access-control-allow-headers"), allowed.header("access-control-max-age")),
        (Some("content-type"), Some("60"))
    );
    assert_eq!(everyone.send(preflight("/photos/k", "DELETE")).await.error(), (403, "AccessForbidden"));
    admin.send(Ask::put("/photos/k").body("content")).await;
    let read = admin.send(Ask::get("/photos/k").unsigned("origin", "https://a.example")).await;
    assert_eq!(
        (read.text(), read.header("access-control-allow-origin"), read.header("access-control-expose-headers")),
        ("content", Some("https://a.example"), Some("ETag"))
    );
    // An error must be readable too.
    assert_eq!(
        everyone.send(Ask::get("/photos/k").unsigned("origin", "https://a.example")).await.header("access-control-allow-origin"),
        Some("https://a.example")
    );
    assert_eq!(admin.send(Ask::get("/photos/k").unsigned("origin", "https://b.example")).await.header("access-control-allow-origin"), None);
    assert_eq!(admin.send(Ask::get("/photos/k")).await.header("vary"), None);
}
