//! A server that speaks TLS, and the clients of this project that speak to it: with a chain of certificates made here.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Stdio},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::workplace::Workplace;

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

/// A server with TLS; killed when it is dropped.
struct Server {
    child: Child,
    http: u16,
    mqtt: u16,
}

impl Server {
    fn start(place: &Workplace, tls: &[&str]) -> Server {
        let listen = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"];
        let args = [&["serve", "--json", "--no-loops"], &listen[..], tls].concat();
        let mut child = place
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let document: Value = loop {
            text += &lines.next().expect("the server says something").unwrap();
            if let Ok(document) = serde_json::from_str(&text) {
                break document;
            }
        };
        let port = |name: &str| {
            let url = document[name].as_str().unwrap();
            url.rsplit(':').next().unwrap().parse().unwrap()
        };
        Server {
            http: port("http"),
            mqtt: port("mqtt"),
            child,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    let server = Server::start(&place, &["--tls-cert", &chain, "--tls-key", &key]);
    let https = format!("https://localhost:{}", server.http);

    assert_eq!(enrol(&place, &https, Some(&ca), "one.json").0, 0);
    let by = |ca: Option<&str>, server: &str| enrol(&place, server, ca, "two.json");
    refused(
        by(Some(&other), &https),
        3,
        "not signed by whom `--ca` trusts",
    );
    let by_address = format!("https://127.0.0.1:{}", server.http);
    refused(
        by(Some(&ca), &by_address),
        3,
        "for other names than `127.0.0.1`",
    );
    refused(by(None, &https), 2, "--ca FILE");
    let plain = format!("http://localhost:{}", server.http);
    refused(by(None, &plain), 3, "write https://localhost");
    refused(by(Some(&ca), &plain), 2, "`--ca` proves nothing");
    refused(by(Some("nowhere.pem"), &https), 2, "nowhere.pem");
    refused(by(Some(&key), &https), 2, "holds no certificate");
    refused(by(Some(&ca), "https://"), 2, "no address of a server");

    // A report over MQTT through TLS, and a client that trusts somebody else.
    let mqtts = format!("mqtts://localhost:{}", server.mqtt);
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
    let mut gateway = place
        .command(&[
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--server",
            &https,
            "--ca",
            &ca,
            "--poll-ms",
            "50",
            "--status-seconds",
            "1",
            "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let line = first["listening"][0].as_str().unwrap();
    let own = place.path("three.json").display().to_string();
    let args = [
        "device",
        "run",
        "--board",
        "esp-eye",
        "--identity",
        &own,
        "--server",
        &https,
        "--ca",
        &ca,
        "--line",
        line,
        "--replay",
        "data/m0/normal/0.csv",
        "--quiet",
    ];
    place.check(&args, 0);
    let stored = lines.map_while(Result::ok).take(60).any(|line| {
        let status: Value = serde_json::from_str(&line).unwrap();
        status["stored"].as_u64() >= Some(1)
    });
    let _ = gateway.kill();
    let _ = gateway.wait();
    assert!(stored, "the gateway brought it");
    let wrong = place.check(
        &["gateway", "--listen", "127.0.0.1:0", "--server", &https],
        2,
    );
    assert!(wrong.stderr.contains("--ca FILE"), "{}", wrong.stderr);
}

#[test]
fn a_server_that_speaks_no_tls_and_one_whose_certificate_is_over() {
    let place = Workplace::fans();
    let authority = Authority::new();
    let ca = file(&place, "ca.pem", &authority.pem);
    let server = Server::start(&place, &[]);
    let https = format!("https://localhost:{}", server.http);
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
