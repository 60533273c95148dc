use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy};
use umbra_core::{Entity, ErrorKind, Fault, ObjectKey, ShadowSettings};
use umbra_store::Secret;

use super::S3Origins;
use crate::{
    origin::{Origin, OriginError, OriginList, ShadowPath},
    origins::OriginFactory,
};

/// An origin that gives every request the same answer.
fn always(status: &str, code: &str) -> Arc<dyn Origin> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let body = format!("<Error><Code>{code}</Code><Message>a word for us alone</Message></Error>");
    let head =
        format!("HTTP/1.1 {status} Said\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&chunk[..count]),
                }
            }
            let is_head = request.starts_with(b"HEAD");
            // A client that went away meanwhile has its reasons.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| if is_head { Ok(()) } else { stream.write_all(body.as_bytes()) });
        }
    });
    let guard = EndpointGuard::new(GuardPolicy { allow_loopback: true, ..GuardPolicy::default() });
    let settings = ShadowSettings {
        endpoint,
        region: "auto".into(),
        bucket: "old".into(),
        access_key: "key".into(),
        secret_key: umbra_core::SealedSecret(Vec::new()),
        write_through: false,
        hydrate: umbra_core::HydratePolicy::Whole,
        revalidate: None,
        price_per_gb: None,
    };
    S3Origins::new(guard, ClientSettings::default()).origin(&settings, &Secret::new("secret")).unwrap()
}

/// What every kind of read makes of it.
async fn reads(origin: &dyn Origin) -> [OriginError; 4] {
    let (path, key) = (ShadowPath::default(), ObjectKey::parse("k").unwrap());
    [
        origin.get(&path, &key, None, None).await.map(drop).unwrap_err(),
        origin.head(&path, &key).await.map(drop).unwrap_err(),
        origin.list(&path, &OriginList { limit: 1, ..OriginList::default() }).await.map(drop).unwrap_err(),
        origin.tags(&path, &key).await.map(drop).unwrap_err(),
    ]
}

/// "An origin that cannot answer … gives 503 with a reason, never 404": an answer that says nothing of the object is never handed on.
#[tokio::test]
async fn what_says_nothing_of_the_object_is_not_handed_on() {
    for (status, code) in [
        ("400", "InvalidRequest"),
        ("400", "InvalidArgument"),
        ("400", "AuthorizationHeaderMalformed"),
        ("405", "MethodNotAllowed"),
        ("409", "OperationAborted"),
        ("411", "MissingContentLength"),
        ("501", "NotImplemented"),
    ] {
        let origin = always(status, code);
        for error in reads(&*origin).await {
            assert_eq!(error.error.kind(), ErrorKind::OriginRefused, "{status} {code}");
            assert_eq!(error.error.message(), "the origin refuses the request", "{status} {code}");
            let told = format!("{:?}", error.error);
            assert!(told.contains(status), "the reason is kept for the operator: {told}");
            assert_eq!(told.matches("the origin refuses").count(), 1, "{told}");
        }
    }
}

/// What S3 says of the object itself is.
#[tokio::test]
async fn what_is_said_of_the_object_is_handed_on() {
    for (status, code, kind) in [
        ("404", "NoSuchKey", ErrorKind::NotFound(Entity::Object)),
        ("403", "InvalidObjectState", ErrorKind::Invalid(Fault::InvalidObjectState)),
    ] {
        let (path, key) = (ShadowPath::default(), ObjectKey::parse("k").unwrap());
        let error = always(status, code).get(&path, &key, None, None).await.map(drop).unwrap_err();
        assert_eq!(error.error.kind(), kind, "{code}");
    }
}
