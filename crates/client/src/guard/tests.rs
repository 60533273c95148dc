//! Every kind of address, by table, and what the guard does with lists of them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::BoxFuture;

use super::{EndpointGuard, GuardError, GuardPolicy, Resolve};

fn guard(allow: &[&str], allow_loopback: bool) -> EndpointGuard {
    EndpointGuard::new(GuardPolicy { allow: allow.iter().map(|network| network.parse().unwrap()).collect(), allow_loopback })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "52.216.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
    "2600:1f00::1",
    "2a00:1450:4001::200e",
    "2001:200::1",
    "2001:db7::1",
    "2003::1",
];

const RESTRICTED: &[&str] = &[
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.255",
    "240.0.0.1",
    "255.255.255.254",
    "::1",
    "::2",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:192.168.1.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    // Teredo: a private server, then a private client (10.0.0.1 with its bits flipped).
    "2001:0:a00:1:0:0:f7f7:f7f7",
    "2001:0:808:808:0:0:f5ff:fffe",
    "2600::5efe:10.0.0.1",
    "2600::200:5efe:192.168.0.1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
];

const NEVER: &[&str] = &[
    "0.0.0.0",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "::169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe:0:0:f7f7:f7f7",
    "2001:0:808:808:0:0:5601:5601",
    "2600::5efe:169.254.169.254",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "febf::1",
    "ff02::1",
];

#[test]
fn public_addresses_pass() {
    for address in PUBLIC {
        assert_eq!(guard(&[], false).check(ip(address)), Ok(()), "{address}");
    }
}

#[test]
fn restricted_addresses_pass_only_where_allowed() {
    for address in RESTRICTED {
        assert!(guard(&[], false).check(ip(address)).is_err(), "{address}");
        assert_eq!(guard(&["0.0.0.0/0", "::/0"], false).check(ip(address)), Ok(()), "{address}");
    }
}

#[test]
fn some_addresses_are_beyond_permission() {
    for address in NEVER {
        assert!(guard(&[], false).check(ip(address)).is_err(), "{address}");
        let all = guard(&["0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00:ec2::254"], true);
        assert!(all.check(ip(address)).is_err(), "{address}");
    }
}

#[test]
fn permission_is_for_the_network_named_and_no_other() {
    let lan = guard(&["192.168.7.0/24"], false);
    for (address, passes) in [
        ("192.168.7.9", true),
        ("::ffff:192.168.7.9", true),
        ("64:ff9b::192.168.7.9", true),
        ("192.168.8.9", false),
        ("::ffff:192.168.8.9", false),
        ("10.0.0.1", false),
        ("127.0.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(lan.check(ip(address)).is_ok(), passes, "{address}");
    }
    let local = guard(&[], true);
    for (address, passes) in [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)] {
        assert_eq!(local.check(ip(address)).is_ok(), passes, "{address}");
    }
    assert!(guard(&["127.0.0.1"], false).check(ip("127.0.0.1")).is_ok());
    assert!(guard(&["127.0.0.1"], false).check(ip("127.0.0.2")).is_err());
}

/// Answers with the next list each time it is asked, the last one for ever.
struct Scripted(Vec<Vec<&'static str>>, AtomicUsize);

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        let found = self.0[turn].iter().map(|address| SocketAddr::new(ip(address), port)).collect();
        Box::pin(std::future::ready(Ok(found)))
    }
}

fn scripted(answers: &[&[&'static str]]) -> EndpointGuard {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    EndpointGuard::with_resolver(GuardPolicy::default(), Scripted(answers, AtomicUsize::new(0)))
}

#[tokio::test]
async fn refused_addresses_are_dropped_from_the_list() {
    let guard = scripted(&[&["10.0.0.1", "1.1.1.1", "169.254.169.254", "2600::1", "::1"]]);
    let addresses = guard.addresses("origin.example", 443).await.unwrap();
    assert_eq!(addresses, ["1.1.1.1:443".parse().unwrap(), "[2600::1]:443".parse().unwrap()]);
}

#[tokio::test]
async fn a_name_is_checked_anew_each_time() {
    let guard = scripted(&[&["1.1.1.1"], &["127.0.0.1"]]);
    assert!(guard.addresses("rebinding.example", 80).await.is_ok());
    assert!(matches!(guard.addresses("rebinding.example", 80).await, Err(GuardError::Refused { .. })));
}

#[tokio::test]
async fn a_name_without_addresses_is_not_resolved() {
    assert!(matches!(scripted(&[&[]]).addresses("nowhere.example", 80).await, Err(GuardError::Resolve { .. })));
}

#[tokio::test]
async fn a_refusal_says_once_what_it_is_about() {
    let told = async |guard: EndpointGuard, host| guard.addresses(host, 80).await.unwrap_err().to_string();
    assert_eq!(told(guard(&[], false), "10.1.1.1").await, "10.1.1.1 is refused: it is a private address");
    assert_eq!(told(guard(&[], false), "169.254.169.254").await, "169.254.169.254 is refused: it is a link-local address, never allowed");
    assert_eq!(told(scripted(&[&["10.1.1.1"]]), "inside.example").await, "inside.example is refused: 10.1.1.1 is a private address");
}

#[tokio::test]
async fn literal_addresses_are_checked_likewise() {
    for literal in ["127.0.0.1", "::1", "169.254.169.254", "::ffff:10.1.1.1"] {
        let outcome = guard(&[], false).addresses(literal, 80).await;
        assert!(matches!(outcome, Err(GuardError::Refused { .. })), "{literal}");
    }
}
