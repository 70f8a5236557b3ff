//! Boards in the air: the code of the board's end and the gateway's, over controllers that Bumble plays, with the real agent
//! behind. Needs a Python with Bumble (`cargo xtask test` brings one); says so where there is none.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

// The clock and the locks of the host are linked in, and nobody calls them here.
use critical_section as _;
use embassy_time as _;
use serde_json::Value;
use tinyops_ble::Line;
use tinyops_wire::serial::{Decoder, Message, OVERHEAD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use crate::live_rollout::{Body, Site, fetches_now_and_installs_when_it_is_told};

/// The packets of HCI on a stream, as the gateway reads and writes them.
#[path = "../../src/cmd/gateway/h4.rs"]
mod h4;

/// The device whose board it is; its id is in its name and address.
const DEVICE: u64 = 0x0123_4567_89ab_cdef;
const ADDRESS: &str = "C5:67:89:AB:CD:EF";

/// Controllers, and the gateway of another make.
struct Air {
    child: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
    radios: Vec<String>,
}

impl Air {
    /// `None` where there is no Bumble.
    fn open() -> Option<Air> {
        let Some(python) = python() else {
            eprintln!("skipped: no Python with Bumble; `pip install bumble` brings it");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/air.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = child.stdin.take().unwrap();
        let hears = BufReader::new(child.stdout.take().unwrap());
        let mut air = Air {
            child,
            says,
            hears,
            radios: Vec::new(),
        };
        let radios = air.document()["radios"].clone();
        let radios = radios.as_array().unwrap().iter();
        air.radios = radios
            .map(|radio| radio.as_str().unwrap().to_owned())
            .collect();
        Some(air)
    }

    fn document(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.hears.read_line(&mut line).unwrap() > 0, "it ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Has the other gateway do something.
    #[track_caller]
    fn has(&mut self, does: &str) -> Value {
        writeln!(self.says, "{does}").unwrap();
        let done = self.document();
        assert!(done.get("error").is_none(), "{does}: {done}");
        done
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has Bumble: the machine's own, or the one that `cargo xtask test` makes.
fn python() -> Option<PathBuf> {
    let build = std::env::current_exe().unwrap();
    let target = build.ancestors().nth(3)?;
    let made = target.join("bumble/python/bin/python3");
    [PathBuf::from("python3"), made].into_iter().find(|python| {
        let asked = Command::new(python)
            .args(["-c", "import bumble.controller"])
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    })
}

/// Starts a board on a radio; its line is a TCP stream for whoever is behind it, one at a time.
fn board(radio: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let radio = radio.to_owned();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = TcpStream::connect(radio).await.unwrap();
            let (reader, writer) = stream.into_split();
            let h4 = h4::H4::new(Box::new(reader), Box::new(writer));
            let controller = trouble_host::prelude::ExternalController::<_, 4>::new(h4);
            let mut resources = Box::new(tinyops_ble::Resources::new());
            let line = Line::new();
            let name = tinyops_ble::name(DEVICE);
            let address = tinyops_ble::address(DEVICE);
            let listener = TcpListener::from_std(listener).unwrap();
            // Ends with the air.
            tokio::select! {
                _ = tinyops_ble::serve(controller, &mut resources, address, &name, &line) => {}
                () = firmware(&listener, &line) => {}
            }
        });
    });
    address
}

/// What the firmware does with its line, for an agent that is at the end of a TCP stream.
async fn firmware(listener: &TcpListener, line: &Line) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut said, mut heard) = ([0; 512], [0; 64]);
        loop {
            let written = tokio::select! {
                count = stream.read(&mut said) => match count {
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        line.send(&said[..count]).await;
                        Ok(())
                    }
                },
                count = line.read(&mut heard) => stream.write_all(&heard[..count]).await,
            };
            if written.is_err() {
                break;
            }
        }
    }
}

/// It enrols, reports, takes a model and a delta of the next through the air, and both gateways of the suite count the same.
#[test]
fn a_board_in_the_air_goes_through_what_a_virtual_device_does() {
    let Some(air) = Air::open() else { return };
    let line = board(&air.radios[0]);
    let site = Site::reached(Body::InTheAir, Some((&air.radios[1], &line)));
    fetches_now_and_installs_when_it_is_told(&site);
    let counted = site.counted();
    assert_eq!(
        (&counted["refused"], &counted["damaged"]),
        (&0.into(), &0.into()),
        "{counted}"
    );
    let down = counted["down_bytes"].as_u64().unwrap();
    assert!(down < 12_000, "{counted}");
}

/// A frame as hexadecimal digits, in pieces of so many bytes at most.
fn pieces(frame: &[u8], bytes: usize) -> Vec<String> {
    let hex = |piece: &[u8]| piece.iter().map(|byte| format!("{byte:02x}")).collect();
    frame.chunks(bytes).map(hex).collect()
}

/// The agent's place is taken by what counts frames.
struct Behind {
    stream: std::net::TcpStream,
    decoder: Box<Decoder<{ 600 + OVERHEAD }>>,
    damaged: usize,
}

impl Behind {
    fn of(line: &str) -> Behind {
        let stream = std::net::TcpStream::connect(line).unwrap();
        let wait = Some(std::time::Duration::from_secs(60));
        stream.set_read_timeout(wait).unwrap();
        Behind {
            stream,
            decoder: Box::new(Decoder::new()),
            damaged: 0,
        }
    }

    /// The next whole frame's envelope.
    fn next(&mut self) -> Vec<u8> {
        use std::io::Read as _;
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            match self.decoder.push(byte[0]) {
                Some(Ok(Message::Down(envelope))) => return envelope.to_vec(),
                Some(_) => self.damaged += 1,
                None => {}
            }
        }
    }
}

fn frame(envelope: &[u8]) -> Vec<u8> {
    let mut line = vec![0; 1024];
    let len = Message::Down(envelope).encode(&mut line).unwrap();
    line.truncate(len);
    line
}

/// Of the attribute protocol, as no client would say them.
const HOSTILE: [&str; 19] = [
    "",
    "01",
    "01120c00",
    "0900",
    "02",
    "04010000",
    "0601",
    "0801",
    "0a00",
    "0c010000",
    "10010002",
    "12",
    "1200",
    "16010000",
    "18",
    "52",
    "52ffff00",
    "ff",
    "1001000200000102030405060708090a0b0c0d0e0f10",
];

/// A gateway of another make, which writes as it likes: every cut of a frame arrives, at the least MTU and at the most, and
/// whatever it does wrong costs what it said wrong and nothing else.
#[test]
fn another_gateway_may_cut_break_and_leave_as_it_likes() {
    let Some(mut air) = Air::open() else { return };
    let line = board(&air.radios[0]);
    let mut behind = Behind::of(&line);
    let connect = format!("connect {ADDRESS}");

    // The least MTU, since nobody asks for more: a short frame cut in two at every byte.
    air.has(&connect);
    assert_eq!(air.has("meet")["attributes"], 2);
    air.has("listen");
    let short: Vec<u8> = (0..12).map(|at| at * 21).collect();
    let bytes = frame(&short);
    for cut in 1..bytes.len() {
        let mut words = pieces(&bytes[..cut], 20);
        words.extend(pieces(&bytes[cut..], 20));
        air.has(&format!("write {}", words.join(" ")));
        assert_eq!(behind.next(), short, "cut at {cut}");
    }
    // A long one, by the rule of the window.
    let long: Vec<u8> = (0..512_u16).map(|at| (at % 251) as u8).collect();
    let talk = |air: &mut Air, most: usize| {
        for (at, piece) in pieces(&frame(&long), most).iter().enumerate() {
            let verb = if at % tinyops_ble::WINDOW == 0 {
                "ask"
            } else {
                "write"
            };
            air.has(&format!("{verb} {piece}"));
        }
    };
    talk(&mut air, 20);
    assert_eq!(behind.next(), long);
    assert_eq!(behind.damaged, 0);

    // Gone in the middle of a frame, and back: the next one is whole.
    let half = pieces(&bytes[..bytes.len() / 2], 20).join(" ");
    air.has(&format!("write {half}"));
    air.has("leave");
    air.has(&connect);
    assert_eq!(air.has("mtu 247")["mtu"], 247);
    air.has("meet");
    air.has("listen");
    talk(&mut air, 244);
    assert_eq!(behind.next(), long);
    assert_eq!(behind.damaged, 1, "the half of before");

    // What the board says comes up in pieces, and whole.
    behind.stream.write_all(&frame(&long)).unwrap();
    let expected = frame(&long).len();
    let heard = air.has(&format!("hear {expected}"));
    assert_eq!(heard["heard"], pieces(&frame(&long), 4096)[0]);

    // Noise; then what is no attribute, what is no request, and requests that are cut off, answered or not.
    air.has(&format!("ask {}", "fe".repeat(244)));
    for hostile in HOSTILE {
        air.has(&format!("raw {hostile}"));
    }
    air.has("leave");
    let meets = |air: &mut Air| {
        air.has(&connect);
        air.has("mtu 247");
        air.has("meet");
        air.has("listen");
    };
    meets(&mut air);
    // More without a response than any queue holds, and nobody asks: what is lost breaks frames, and no more than that.
    let flood = vec!["55".repeat(244); 60].join(" ");
    air.has(&format!("write {flood}"));
    air.has("ask 00");
    talk(&mut air, 244);
    assert_eq!(behind.next(), long);
    air.has("leave");

    // While nobody listens, what is said waits for whoever comes.
    behind.stream.write_all(&frame(&short)).unwrap();
    meets(&mut air);
    let heard = air.has(&format!("hear {}", bytes.len()));
    assert_eq!(heard["heard"], pieces(&bytes, 4096)[0]);
}
