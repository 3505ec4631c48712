//! The table of request smuggling: what two readers of HTTP could take in two ways, and what becomes of it here. One
//! place for the tests of the parts and for those of the whole (`tests/tests/scenarios/smuggling.rs`).

/// Heads that are refused with 400, whatever is behind them: of them the node sees nothing. `{}` stands for method and
/// target, `Host: a` may be any host.
pub(crate) const HEADS: &[&str] = &[
    // Two lengths, or none that is one.
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 0\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5;x\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5e0\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length: \t \r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
    // A transfer coding that only some would know for `chunked`.
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\n\tTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chu\r\n nked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n",
    "{} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    // Lines that end elsewhere for others.
    "{} HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\nb: c\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
    "{} HTTP/1.1\r\n Host: a\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\n\n",
    "{} HTTP/1.1\nHost: a\n\n",
    "\r\n\r\n{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "\n{} HTTP/1.1\r\nHost: a\r\n\r\n",
    " {} HTTP/1.1\r\nHost: a\r\n\r\n",
    // Names and values that are none.
    "{} HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX y: b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX\ty: b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    // Hosts.
    "{} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "{} HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    "{} HTTP/1.1\r\nHost : a\r\n\r\n",
    "{} HTTP/1.1\r\nX: a\r\n\r\n",
    // Request lines.
    "{} HTTP/2.0\r\nHost: a\r\n\r\n",
    "{} HTTP/1.2\r\nHost: a\r\n\r\n",
    "{} HTTP/1.10\r\nHost: a\r\n\r\n",
    "{} HTTP/01.1\r\nHost: a\r\n\r\n",
    "{} http/1.1\r\nHost: a\r\n\r\n",
    "{} HTTP/1.1 \r\nHost: a\r\n\r\n",
    "{} HTTP/1.1 x\r\nHost: a\r\n\r\n",
    "{} x HTTP/1.1\r\nHost: a\r\n\r\n",
    "{}  HTTP/1.1\r\nHost: a\r\n\r\n",
    "{}\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "{}\r\nHost: a\r\n\r\n",
    "{}#fragment HTTP/1.1\r\nHost: a\r\n\r\n",
    "{}\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Bodies behind a head with `Transfer-Encoding: chunked` that are broken off where they say two things: their request
/// is never whole for the node, and no further one is taken.
pub(crate) const CHUNKS: &[&str] = &[
    "\r\n",
    "x",
    "-1",
    "+1\r\na\r\n",
    " 1\r\na\r\n",
    "1 \r\na\r\n",
    "1\t\r\na\r\n",
    "0x1\r\na\r\n",
    "1\na\r\n",
    "1\r\rna",
    "1\r\nab\r\n",
    "1\r\na\n",
    "1\r\na\r\r",
    "1\r\na0\r\n\r\n",
    "11111111111111111\r\n",
    "00000000000000001\r\n",
    "1;\x01\r\n",
    "1;a\rb\r\n",
    "1;a\nb\r\n",
    "1 ;a\r\n",
    "0\r\n\n",
    "0\r\nT: v\n\r\n",
    "0\r\nT: v\r\r\n",
    "0\n\n",
];

/// Requests that are served, and the one form in which the node sees them: its lines sorted, without what we add
/// (`x-request-id`, `x-forwarded-…`), then its body as it is on the wire. `HOST` stands for the node and its port.
pub(crate) const FORWARDED: &[(&str, &str)] = &[
    (
        "GET /plain?q=a%20b HTTP/1.1\r\nHost: HOST\r\nAccept: */*\r\n\r\n",
        "GET /plain?q=a%20b HTTP/1.1|accept: */*|host: HOST||",
    ),
    // What a lenient reader may take for something else is a plain header for this one.
    (
        "POST /names HTTP/1.1\r\nHost: HOST\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX-Content-Length: 9\r\n\r\n",
        "POST /names HTTP/1.1|content_length: 5|host: HOST|transfer_encoding: chunked|x-content-length: 9||",
    ),
    (
        "POST /length HTTP/1.1\r\nHost: HOST\r\nContent-Length: \t5 \r\n\r\nhello",
        "POST /length HTTP/1.1|content-length: 5|host: HOST||hello",
    ),
    (
        "\r\nGET /empty-line HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /empty-line HTTP/1.1|host: HOST||",
    ),
    // Chunks come anew: their extensions and zeros are gone, their sizes are ours.
    (
        "POST /chunks HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: CHUNKED\r\n\r\n0005;a=\"b;c\"\r\nhello\r\n00;x\r\n\r\n",
        "POST /chunks HTTP/1.1|host: HOST|transfer-encoding: chunked||5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "GET /chunked-get HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "GET /chunked-get HTTP/1.1|host: HOST|transfer-encoding: chunked||1\r\nx\r\n0\r\n\r\n",
    ),
    // Trailers that nobody announced are dropped, and those that would change the framing.
    (
        "POST /trailers HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\nHost: b\r\nX-T: v\r\n\r\n",
        "POST /trailers HTTP/1.1|host: HOST|transfer-encoding: chunked||1\r\nx\r\n0\r\n\r\n",
    ),
    // Where to, said twice.
    (
        "GET http://HOST/absolute HTTP/1.1\r\nHost: other.example\r\n\r\n",
        "GET /absolute HTTP/1.1|host: HOST||",
    ),
    (
        "GET http://HOST HTTP/1.1\r\nHost: other.example\r\n\r\n",
        "GET / HTTP/1.1|host: HOST||",
    ),
    (
        "GET /node-header HTTP/1.1\r\nHost: other.example\r\nX-Tunnel-Proxy-Host: HOST\r\n\r\n",
        "GET /node-header HTTP/1.1|host: other.example||",
    ),
    (
        "GET //two-slashes HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET //two-slashes HTTP/1.1|host: HOST||",
    ),
    (
        "GET /a%0d%0aX:%20y/%00/..;/%2e%2e HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /a%0d%0aX:%20y/%00/..;/%2e%2e HTTP/1.1|host: HOST||",
    ),
    // `Connection` names away what is its hop's, and nothing that frames or leads.
    (
        "POST /hops HTTP/1.1\r\nHost: HOST\r\nConnection: x-hop, host, content-length, transfer-encoding\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok",
        "POST /hops HTTP/1.1|content-length: 2|host: HOST||ok",
    ),
    (
        "GET /h2c HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "GET /h2c HTTP/1.1|host: HOST||",
    ),
    (
        "POST /upgrade-with-body HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        "POST /upgrade-with-body HTTP/1.1|connection: Upgrade|content-length: 5|host: HOST|upgrade: websocket||hello",
    ),
    (
        "PUT /expect HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /expect HTTP/1.1|content-length: 3|expect: 100-continue|host: HOST||abc",
    ),
    (
        "get /small HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "get /small HTTP/1.1|host: HOST||",
    ),
    (
        "POST /http10 HTTP/1.0\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nok",
        "POST /http10 HTTP/1.1|content-length: 2|host: HOST||ok",
    ),
];

/// `Host` and our own headers where they name no destination, or two: refused with 400, of which the node sees nothing.
pub(crate) const DESTINATIONS: &[&str] = &[
    "Host: user@HOST",
    "Host: HOST/path",
    "Host: HOST#x",
    "Host: HOST?x",
    "Host: HOST, HOST",
    "Host: HOST HOST",
    "Host: HOST:1",
    "Host: [HOST]",
    "Host: http://HOST",
    "Host:",
    "Host: a%20b",
    "Host: HOST\r\nX-Tunnel-Proxy-Host: a\r\nX-Tunnel-Proxy-Host: HOST",
    "Host: HOST\r\nX-Tunnel-Proxy-Dest: HOST\r\nX-Tunnel-Proxy-Dest: HOST",
    "Host: HOST\r\nX-Tunnel-Proxy-Dest: 192.0.2.1",
    "Host: HOST\r\nX-Tunnel-Proxy-Host: u@HOST",
    "Host: HOST\r\nX-Tunnel-Proxy-Host:",
];
