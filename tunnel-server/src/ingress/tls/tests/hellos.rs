//! ClientHellos of every shape: each goes on byte for byte, or is refused with the alert that says why.

use super::*;
use crate::ingress::tls::fuzzing::{client_hello, recut};
use crate::ingress::tls::hello::RAW_MAX;

const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What comes back for these parts, each of which is read before the next one comes; and to whom they went.
async fn said(parts: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let fake = echo();
    let context = context(Way::Tls, fake.clone());
    let serving = context.clone();
    context
        .shutdown
        .spawn(async move { serving.pass(server, None, KUBELET).await });
    for part in parts {
        // A refused caller's connection may be gone.
        if client.write_all(part).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = client.shutdown().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    (answer, fake.destinations())
}

async fn passes(parts: &[&[u8]], destination: &str) {
    let (back, to) = said(parts).await;
    assert!(
        back == parts.concat(),
        "bytes were changed on the way to {destination}"
    );
    assert_eq!(to, [destination]);
}

async fn refused(parts: &[&[u8]], alert: [u8; 7], what: &str) {
    let (back, to) = said(parts).await;
    assert_eq!(back, alert, "{what}");
    assert!(to.is_empty(), "{what} went to {to:?}");
}

/// A post-quantum key share makes it more than one packet.
fn real() -> Vec<u8> {
    let raw = client_hello("edge-1", true);
    assert!(raw.len() > 1200, "{}", raw.len());
    raw
}

#[tokio::test]
async fn a_real_one_passes_byte_by_byte() {
    let raw = real();
    let bytes: Vec<_> = raw.chunks(1).collect();
    passes(&bytes, "edge-1:10250").await;
}

#[tokio::test]
async fn a_real_one_passes_cut_in_two_records_at_any_place() {
    let raw = real();
    // In the message's header, its random, its name, its key share, in front of its last byte.
    for at in 1..raw.len() - 5 {
        let mut sizes = [at, usize::MAX].into_iter();
        let cut = recut(&raw, || sizes.next().unwrap());
        assert_eq!(cut.len(), raw.len() + 5);
        passes(&[&cut], "edge-1:10250").await;
    }
    // In records of one byte, and each of these byte by byte.
    let cut = recut(&raw, || 1);
    passes(&cut.chunks(1).collect::<Vec<_>>(), "edge-1:10250").await;
}

#[tokio::test]
async fn what_follows_it_goes_along() {
    // Early data (RFC 8446, 4.2.10): a change of cipher, then records that only the node can read.
    let early = [&[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 200][..], &[9; 200]].concat();
    let raw = real();
    passes(&[&raw, &early], "edge-1:10250").await;
    passes(&[&[&raw[..], &early].concat()], "edge-1:10250").await;
    // A record that holds the end of the message, and something else behind it.
    let mut longer = raw;
    let length = u16::from_be_bytes([longer[3], longer[4]]) + 3;
    longer[3..5].copy_from_slice(&length.to_be_bytes());
    longer.extend([1, 2, 3]);
    passes(&[&longer], "edge-1:10250").await;
}

#[tokio::test]
async fn the_cap_is_exact() {
    // The most that fits: extensions fill what the name and the frame leave, four records of 16 KiB at most.
    let frame = hello(&[sni(b"edge-1"), (0xfafa, vec![])], 1 << 14).len();
    let of = |length: usize| {
        let records = 3 * 5;
        hello(
            &[sni(b"edge-1"), (0xfafa, vec![0; length - frame - records])],
            1 << 14,
        )
    };
    let most = of(RAW_MAX);
    assert_eq!(most.len(), RAW_MAX);
    passes(&[&most], "edge-1:10250").await;
    passes(&most.chunks(1000).collect::<Vec<_>>(), "edge-1:10250").await;
    let more = of(RAW_MAX + 1);
    assert_eq!(more.len(), RAW_MAX + 1);
    refused(&[&more], DECODE_ERROR, "one byte above the cap").await;
    refused(
        &more.chunks(1000).collect::<Vec<_>>(),
        DECODE_ERROR,
        "the same in parts",
    )
    .await;
}

/// Values that mean nothing and must be passed over (RFC 8701): in ciphers, extensions, groups, versions, key shares.
#[tokio::test]
async fn grease_passes() {
    let share = [
        &[0x4a, 0x4a, 0, 1, 0][..],
        &[0x11, 0xec, 4, 0xc0],
        &[5; 1216],
    ]
    .concat();
    let shares = [
        &u16::try_from(share.len()).unwrap().to_be_bytes()[..],
        &share,
    ]
    .concat();
    let raw = hello(
        &[
            (0x0a0a, vec![]),
            sni(b"edge-1"),
            (10, vec![0, 6, 0x2a, 0x2a, 0x11, 0xec, 0, 29]),
            (43, vec![4, 0x3a, 0x3a, 3, 4]),
            (51, shares),
            (0xfafa, vec![0]),
        ],
        1 << 14,
    );
    passes(&[&raw], "edge-1:10250").await;
}

#[tokio::test]
async fn names_lead_to_one_node_or_to_an_alert() {
    for (name, destination) in [
        (&b"edge-1"[..], "edge-1:10250"),
        (b"EDGE-1.Shop", "edge-1.shop:10250"),
        (b"edge-1.", "edge-1:10250"),
        (b"192.0.2.1", "192.0.2.1:10250"),
        (b"2001:db8::1", "[2001:db8::1]:10250"),
    ] {
        passes(&[&hello(&[sni(name)], 500)], destination).await;
    }
    for name in [
        &b""[..],
        b".",
        b"edge-1..",
        b"*.shop",
        b"edge-1:10250",
        b"edge-1\0.shop",
        b"edge-1/",
        b"1.2.3.4.",
        b"\xff",
        &[b'a'; 254],
    ] {
        refused(
            &[&hello(&[sni(name)], 500)],
            UNRECOGNIZED_NAME,
            "no node's name",
        )
        .await;
    }
    for (raw, what) in [
        (client_hello("edge-1", false), "without a name"),
        (
            client_hello("192.0.2.1", true),
            "to an address, without a name",
        ),
    ] {
        refused(&[&raw], UNRECOGNIZED_NAME, what).await;
    }
}

#[tokio::test]
async fn two_names_are_none() {
    let (kind, mut list) = sni(b"edge-1");
    list.extend([0, 0, 6]);
    list.extend(b"edge-2");
    list[1] += 9;
    let another_kind = (kind, [&[0, 9, 7][..], &[0, 6], b"edge-1"].concat());
    for (extensions, what) in [
        (vec![(kind, list)], "two names in a list"),
        (vec![sni(b"edge-1"), sni(b"edge-2")], "two lists"),
        (vec![sni(b"edge-1"), sni(b"edge-1")], "one list twice"),
        (vec![(kind, vec![0, 0])], "an empty list"),
        (vec![another_kind], "a name of another kind"),
    ] {
        refused(&[&hello(&extensions, 500)], DECODE_ERROR, what).await;
    }
}
