use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use umbra_client::Credentials;

use super::{AdminClient, ClientError, Trust};

fn client(url: &str) -> AdminClient {
    AdminClient::new(url, Credentials::new("UMBRATEST", "secret"), Trust::Public).unwrap()
}

/// Answers one connection with `answer` and returns what was asked.
async fn serve_once(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 8192];
        let len = stream.read(&mut bytes).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    });
    (url, asked)
}

#[tokio::test]
async fn nobody_listening_is_said_plainly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&url).buckets(None).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach the admin address {url}: is `umbra serve` running?"));
}

#[tokio::test]
async fn what_is_not_an_address_is_refused() {
    for bad in ["", "127.0.0.1:9001", "ftp://host", "http://", "http://host/path", "http://host?query"] {
        let error = AdminClient::new(bad, Credentials::new("a", "b"), Trust::Public).unwrap_err();
        assert!(matches!(error, ClientError::Address(_)), "{bad}");
    }
}

#[tokio::test]
async fn the_servers_own_line_is_what_the_user_sees() {
    let answer =
        "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n{\"error\":{\"code\":\"no_such_bucket\",\"message\":\"no such bucket\"}}";
    let (url, asked) = serve_once(answer).await;
    let error = client(&url).bucket_status("a/b ü").await.unwrap_err();
    assert_eq!(error.to_string(), "no such bucket");
    assert!(matches!(error, ClientError::Answer { status: StatusCode::NOT_FOUND, code, .. } if code == "no_such_bucket"));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /v1/buckets/a%2Fb%20%C3%BC/status HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("/auto/umbra/aws4_request"), "{asked}");
}

#[tokio::test]
async fn a_stranger_at_the_address_is_named() {
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"] {
        let (url, _asked) = serve_once(answer).await;
        let error = client(&url).organizations().await.unwrap_err();
        assert!(matches!(error, ClientError::Foreign(..)), "{error}");
    }
}

#[tokio::test]
async fn what_no_node_has_begun_is_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refusal = |code| {
        let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"try again\"}}}}");
        format!("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{body}")
    };
    let answers = [refusal("no_leader"), refusal("no_leader"), "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), refusal("unavailable")];
    let asked = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 8192];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    client(&url).destroy_bucket("photos").await.unwrap();
    // What may have been done is not.
    let error = client(&url).destroy_bucket("photos").await.unwrap_err();
    assert!(matches!(error, ClientError::Answer { status: StatusCode::SERVICE_UNAVAILABLE, .. }), "{error}");
    asked.await.unwrap();
}

#[tokio::test]
async fn an_answer_without_content_is_no_error() {
    let (url, asked) = serve_once("HTTP/1.1 204 No Content\r\n\r\n").await;
    client(&url).destroy_bucket("photos").await.unwrap();
    assert!(asked.await.unwrap().starts_with("DELETE /v1/buckets/photos HTTP/1.1\r\n"));
}
