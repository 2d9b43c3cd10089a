//! Handing something over by HTTPS.

use std::net::IpAddr;
use std::sync::Arc;

use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::https::HttpsClient;
use byrnie_net::https::HttpsUrl;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;

use crate::sts_fetch::Authority;
use crate::sts_fetch::OneHost;
use crate::sts_fetch::Server;

/// The host that takes reports.
const HOST: &str = "reports.example.org";

#[tokio::test]
async fn a_body_is_posted_and_the_status_says_what_became_of_it() {
    let request = check("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201).await;
    let request = request.to_ascii_lowercase();
    assert!(
        request.starts_with("post /v1/tlsrpt?x=y http/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("\r\ncontent-type: application/tlsrpt+gzip\r\n"),
        "{request}"
    );
    assert!(request.contains(&format!("\r\nhost: {HOST}:")), "{request}");
    assert!(request.ends_with("\r\n\r\nthe report"), "{request}");
}

#[tokio::test]
async fn what_a_host_says_besides_its_status_does_not_matter() {
    check("HTTP/1.1 500 Oh\r\n\r\nno", 500).await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        200,
    )
    .await;
    // A redirect is an answer like any other.
    check(
        "HTTP/1.1 301 X\r\nLocation: https://b.example/\r\n\r\n",
        301,
    )
    .await;
}

/// Posts a report to a host with this answer, which has this status; gives the request.
async fn check(answer: &str, status: u16) -> String {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(&[HOST]), answer.as_bytes().to_vec());
    let IpAddr::V4(address) = server.address.ip() else {
        panic!("the host listens at an IPv4 address");
    };
    let dns = OneHost(Ok(Outcome::Records(vec![RecordData::A(address)])));
    let client = HttpsClient::new(Arc::new(dns), authority.tls());
    let url = format!("https://{HOST}:{}/v1/tlsrpt?x=y", server.address.port());
    let url: HttpsUrl = url.parse().unwrap();
    let mut headers = HeaderMap::new();
    let media_type = HeaderValue::from_static("application/tlsrpt+gzip");
    headers.insert(CONTENT_TYPE, media_type);
    let posted = client
        .post(&url, headers, Bytes::from_static(b"the report"))
        .await;
    assert_eq!(posted.unwrap().as_u16(), status, "{answer}");
    server.request.await.unwrap()
}
