//! A server that speaks TLS, and the clients of this project that speak to it: with a chain of certificates made here.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::running::{Running, Server, port};
use crate::workplace::{Answer, Workplace};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

/// An authority and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for these names with its issuer behind it, and its key, in PEM.
    fn sign(&self, names: &[&str], years: (i32, i32)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (format!("{}{}", leaf.pem(), self.pem), key.serialize_pem())
    }
}

fn file(place: &Workplace, name: &str, text: &str) -> String {
    fs::write(place.path(name), text).unwrap();
    place.path(name).display().to_string()
}

/// Tries to enrol; the exit code and what was said.
fn enrol(place: &Workplace, server: &str, ca: Option<&str>, own: &str) -> (i32, String) {
    let own: PathBuf = place.path(own);
    let own = own.display().to_string();
    let mut args = vec!["device", "enrol", "--board", "esp-eye", "--identity", &own];
    args.extend(["--server", server]);
    args.extend(ca.into_iter().flat_map(|ca| ["--ca", ca]));
    let answer = place.run(&args);
    (answer.code, answer.stderr)
}

#[track_caller]
fn refused(answer: (i32, String), code: i32, why: &str) {
    assert_eq!(answer.0, code, "{}", answer.1);
    assert!(answer.1.contains(why), "{why}: {}", answer.1);
}

#[test]
fn devices_and_gateways_speak_tls_and_say_what_is_wrong() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (chain, key) = authority.sign(&["localhost"], (2020, 2051));
    let (chain, key) = (
        file(&place, "server.pem", &chain),
        file(&place, "server.key", &key),
    );
    let ca = file(&place, "ca.pem", &authority.pem);
    let other = file(&place, "other.pem", &stranger.pem);
    let server = Server::start(
        &place,
        &["--no-loops", "--tls-cert", &chain, "--tls-key", &key],
    );
    let https = server.https();

    assert_eq!(enrol(&place, &https, Some(&ca), "one.json").0, 0);
    let by = |ca: Option<&str>, server: &str| enrol(&place, server, ca, "two.json");
    refused(
        by(Some(&other), &https),
        3,
        "not signed by whom `--ca` trusts",
    );
    let by_address = format!("https://127.0.0.1:{}", port(&server.http));
    refused(
        by(Some(&ca), &by_address),
        3,
        "for other names than `127.0.0.1`",
    );
    refused(by(None, &https), 2, "--ca FILE");
    let plain = format!("http://localhost:{}", port(&server.http));
    refused(by(None, &plain), 3, "write https://localhost");
    refused(by(Some(&ca), &plain), 2, "`--ca` proves nothing");
    refused(by(Some("nowhere.pem"), &https), 2, "nowhere.pem");
    refused(by(Some(&key), &https), 2, "holds no certificate");
    refused(by(Some(&ca), "https://"), 2, "no address of a server");

    // A report over MQTT through TLS, and a client that trusts somebody else.
    let mqtts = format!("mqtts://localhost:{}", port(&server.mqtt));
    let own = place.path("one.json").display().to_string();
    let run = |ca: &str, code: i32| {
        let args = [
            "device",
            "run",
            "--board",
            "esp-eye",
            "--identity",
            &own,
            "--server",
            &https,
            "--mqtt",
            &mqtts,
            "--ca",
            ca,
            "--replay",
            "data/m0/normal/0.csv",
            "--quiet",
        ];
        place.check(&args, code)
    };
    run(&ca, 0);
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    assert!(
        listed["devices"][0]["report_count"].as_i64() >= Some(1),
        "{listed}"
    );
    let said = run(&other, 3).stderr;
    assert!(said.contains("not signed by whom"), "{said}");

    // A gateway, whose line brings what another device says.
    let gateway = gateway(&place, &["--server", &https, "--ca", &ca]);
    let listening = gateway.document()["listening"][0].clone();
    let line = listening.as_str().unwrap();
    let ran = on_line(&place, line, &["--server", &https, "--ca", &ca]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    gateway.status(|status| status["stored"].as_u64() >= Some(1));
    let wrong = place.check(
        &["gateway", "--listen", "127.0.0.1:0", "--server", &https],
        2,
    );
    assert!(wrong.stderr.contains("--ca FILE"), "{}", wrong.stderr);
}

/// A gateway that says every second how it goes.
fn gateway(place: &Workplace, more: &[&str]) -> Running {
    let listens = ["gateway", "--listen", "127.0.0.1:0", "--poll-ms", "50"];
    let says = ["--status-seconds", "1", "--json"];
    Running::start(place, &[&listens, &says[..], more].concat())
}

/// A device that replays one recording over a gateway's line.
fn on_line(place: &Workplace, line: &str, more: &[&str]) -> Answer {
    let own = place.path("on-line.json").display().to_string();
    let runs = ["device", "run", "--board", "esp-eye", "--identity", &own];
    let says = ["--replay", "data/m0/normal/0.csv", "--quiet", "--line"];
    place.run(&[&runs, &says[..], &[line], more].concat())
}

#[test]
fn lines_of_a_gateway_speak_tls_and_take_up_a_renewed_certificate() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let server = Server::start(&place, &["--no-loops"]);
    let (authority, next) = (Authority::new(), Authority::new());
    let (ca, next_ca) = (
        file(&place, "ca.pem", &authority.pem),
        file(&place, "next.pem", &next.pem),
    );
    let (chain, key) = authority.sign(&["localhost"], (2020, 2051));
    let (chain, key) = (
        file(&place, "line.pem", &chain),
        file(&place, "line.key", &key),
    );
    let tls = ["--tls-cert", &chain, "--tls-key", &key];
    let gateway = gateway(&place, &[&["--server", &server.http], &tls[..]].concat());
    let listening = gateway.document()["listening"][0].clone();
    let address = listening.as_str().unwrap().to_owned();
    let line = format!("tls://localhost:{}", port(&address));
    let on_line = |line: &str, ca: &[&str]| {
        on_line(&place, line, &[&["--server", &server.http], ca].concat())
    };

    let ran = on_line(&line, &["--ca", &ca]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    gateway.status(|status| status["stored"].as_u64() >= Some(1));
    let is_refused = |answer: Answer, code: i32, why: &str| {
        refused((answer.code, answer.stderr), code, why);
    };
    is_refused(on_line(&line, &["--ca", &next_ca]), 3, "not signed by whom");
    is_refused(on_line(&line, &[]), 2, "--ca FILE");
    let by_address = format!("tls://{address}");
    is_refused(
        on_line(&by_address, &["--ca", &ca]),
        3,
        "for other names than `127.0.0.1`",
    );
    is_refused(
        on_line(&address, &["--ca", &ca]),
        2,
        "`--ca` proves nothing",
    );

    // Whoever speaks no TLS is let go, and what it says is not taken for a frame.
    let before = gateway.status(|status| status["lines"] == 0);
    let mut plain = TcpStream::connect(&address).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    plain.write_all(&[0x55; 64]).unwrap();
    let mut answer = Vec::new();
    // An alert, or an end without a word.
    let _ = plain.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    let after = gateway.status(|_| true);
    assert_eq!(
        (&after["up"], &after["damaged"]),
        (&before["up"], &before["damaged"])
    );

    // A renewed certificate, of another authority: new lines get it without a restart, and one that stands stays.
    let connect = |trusted: &str| {
        let port = port(&address).parse().unwrap();
        handshake(port, &fs::read_to_string(trusted).unwrap())
    };
    let _standing = connect(&ca).unwrap();
    gateway.status(|status| status["lines"] == 1);
    let renewed = next.sign(&["localhost"], (2020, 2051));
    file(&place, "line.pem", &renewed.0);
    file(&place, "line.key", &renewed.1);
    let begun = Instant::now();
    while connect(&next_ca).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "taken up");
        std::thread::sleep(Duration::from_millis(100));
    }
    connect(&ca).expect_err("the old certificate is not shown any more");
    gateway.status(|status| status["lines"] == 1);
    let stored = gateway.status(|_| true)["stored"].as_u64();
    let ran = on_line(&line, &["--ca", &next_ca]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    gateway.status(|status| status["stored"].as_u64() > stored);

    // Where a gateway itself connects, it speaks TLS as well: here to the line of the other.
    let args = ["gateway", "--tcp", &line, "--server", &server.http];
    let says = ["--status-seconds", "1", "--json"];
    let connecting = Running::start(&place, &[&args[..], &["--ca", &next_ca], &says].concat());
    connecting.status(|status| status["lines"] == 1);
}

#[test]
fn a_gateway_whose_tls_cannot_be_offered_says_why() {
    let place = Workplace::empty();
    let (chain, key) = Authority::new().sign(&["localhost"], (2020, 2051));
    let (_, other) = Authority::new().sign(&["localhost"], (2020, 2051));
    let chain = file(&place, "line.pem", &chain);
    let (key, other) = (
        file(&place, "line.key", &key),
        file(&place, "other.key", &other),
    );
    let tls = ["--tls-cert", &chain, "--tls-key", &key];
    let nothing = [&["gateway", "--tcp", "127.0.0.1:1"], &tls[..]].concat();
    let said = place.check(&nothing, 2).stderr;
    assert!(said.contains("`--listen ADDRESS`"), "{said}");
    let listens = ["gateway", "--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", &chain, "--tls-key", &other];
    let said = place.check(&[&listens, &tls[..]].concat(), 3).stderr;
    assert!(said.contains("is not the key of the certificate"), "{said}");
    let said = place.check(&[&listens, &tls[..2]].concat(), 2).stderr;
    assert!(said.contains("--tls-key"), "{said}");
}

/// A client's handshake, which trusts only those in this PEM; what keeps it from one.
fn handshake(port: u16, trusted: &str) -> std::io::Result<TcpStream> {
    let config = tinyops_server::trusting(trusted.as_bytes()).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(config, name).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(tcp)
}

#[test]
fn a_server_that_speaks_no_tls_and_one_whose_certificate_is_over() {
    let place = Workplace::fans();
    let authority = Authority::new();
    let ca = file(&place, "ca.pem", &authority.pem);
    let server = Server::start(&place, &["--no-loops"]);
    let https = server.https();
    refused(
        enrol(&place, &https, Some(&ca), "one.json"),
        3,
        "speaks no TLS",
    );

    // Our own server would not start with it.
    let (chain, key) = authority.sign(&["localhost"], (2020, 2024));
    let files = (
        file(&place, "over.pem", &chain),
        file(&place, "over.key", &key),
    );
    let started = place.run(&["serve", "--tls-cert", &files.0, "--tls-key", &files.1]);
    assert!(
        started.stderr.contains("ended 2024-01-01"),
        "{}",
        started.stderr
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = config(&chain, &key);
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let _ = stream.read(&mut [0; 64]);
        }
    });
    let https = format!("https://localhost:{port}");
    refused(
        enrol(&place, &https, Some(&ca), "one.json"),
        3,
        "certificate is over",
    );
}

fn config(chain: &str, key: &str) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    Arc::new(config)
}
