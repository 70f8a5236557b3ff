//! Recordings as a team lives with them: they come in over the network, somebody doubts a label, somebody wants to be
//! forgotten.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use base64::Engine as _;

use serde_json::Value;

use crate::{
    running::Server,
    workplace::{SETTINGS, Workplace, recording},
};

const UPLOADS: &str = r#"
[[data.source]]
root = "uploads"
uploads = true
rate_hz = 100.0
units = ["g"]
group = "{device}"
"#;

/// Status and body of a recording that is sent.
fn send(server: &Server, path: &str, name: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-File-Name: {name}\r\nContent-Length: {length}\r\n\r\n{body}",
        server.http
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A recording as firmware sends it.
fn message(machine: f32, hz: f32, device: &str) -> String {
    let table = recording(machine, hz);
    let rows: Vec<String> = table
        .lines()
        .skip(1)
        .map(|row| format!("[{row}]"))
        .collect();
    format!(
        r#"{{"protected":{{"ver":"v1","alg":"none"}},"signature":"00","payload":{{"device_name":"{device}","device_type":"FAN","interval_ms":10,"sensors":[{{"name":"x","units":"g"}},{{"name":"y","units":"g"}},{{"name":"z","units":"g"}}],"values":[{}]}}}}"#,
        rows.join(",")
    )
}

fn names(view: &Value) -> Vec<&str> {
    let list = view.as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn what_is_sent_is_trained_on_and_can_be_erased() {
    let place = Workplace::fans();
    place.write("tinyops.toml", &format!("{SETTINGS}{UPLOADS}"));
    // The folder of uploads is not there yet, and nothing is wrong.
    assert_eq!(
        place.check(&["data", "status", "--json"], 0).json()["detail"]["samples"],
        18
    );
    let server = Server::start(&place, &[]);
    for (label, hz) in [("bearing", 30.0), ("blade", 18.0), ("normal", 7.0)] {
        for take in 0..2 {
            let body = message(6.5 + take as f32, hz, "ac:87:07");
            let name = format!("{label}.{take}.json");
            let answer = send(&server, "/api/training/data", &name, &body);
            assert_eq!(answer, (200, name));
        }
    }
    let refused = send(&server, "/api/training/data", "normal.9", "{}");
    assert_eq!(refused.0, 400, "{refused:?}");
    let shown = place.check(&["data", "uploads", "--json"], 0).json();
    assert_eq!(shown["uploads"].as_array().unwrap().len(), 6);
    assert_eq!(shown["devices"][0]["device"], "ac:87:07");
    assert_eq!(shown["devices"][0]["count"], 6);
    let status = place.check(&["data", "status", "--json"], 0).json();
    assert_eq!(status["detail"]["samples"], 24, "{status}");

    let run = place.check(&["run", "--json"], 0).json();
    assert_eq!(run["version"], 1, "{run}");
    let plan = place
        .check(&["erase", "--device", "ac:87:07", "--json"], 0)
        .json();
    assert_eq!(plan["erased"], false);
    assert_eq!(plan["recordings"].as_array().unwrap().len(), 6);
    assert_eq!(plan["uploads"].as_array().unwrap().len(), 6);
    assert_eq!(plan["models"][0]["model"], "fan@1");
    assert!(plan["artifacts"].as_u64().unwrap() > 0, "{plan}");
    let kept = place.path("uploads/training/blade/ac:87:07/blade.0.json");
    assert!(kept.exists(), "a plan changes nothing");

    let args = [
        "erase",
        "--device",
        "ac:87:07",
        "--why",
        "asked for",
        "--yes",
    ];
    let said = place.check(&args, 0).stdout;
    assert!(
        said.contains("erased: 6 recordings in 6 files, 6 uploads"),
        "{said}"
    );
    assert!(!kept.exists());
    assert_eq!(
        place.check(&["data", "status", "--json"], 0).json()["detail"]["samples"],
        18
    );
    let shown = place.check(&["data", "uploads", "--json"], 0).json();
    assert!(shown["uploads"][0]["erased_at_ms"].is_i64() && names(&shown["devices"]).is_empty());
    let log = place.check(&["audit", "ls", "--json"], 0).stdout;
    assert!(
        log.contains("data.erase") && log.contains("asked for"),
        "{log}"
    );
    let refused = place.check(&["models", "promote", "fan@1", "--yes"], 1);
    assert!(refused.stderr.contains("rejected") || refused.stderr.contains("erased"));
    let again = place.check(&["erase", "--device", "ac:87:07"], 2);
    assert!(
        again.stderr.contains("nothing is known"),
        "{}",
        again.stderr
    );
    // Trained again without them, and that goes into production.
    assert_eq!(place.check(&["run", "--json"], 0).json()["version"], 2);
    place.check(&["models", "promote", "fan@2", "--yes"], 0);
    place.check(&["erase", "--expired"], 0);
    place.check(&["erase"], 2);
}

#[test]
fn an_erasure_that_is_cut_off_finds_again_what_only_its_upload_knows() {
    let place = Workplace::fans();
    place.write("tinyops.toml", &format!("{SETTINGS}{UPLOADS}"));
    let server = Server::start(&place, &[]);
    for name in ["normal.0.json", "normal.1.json"] {
        let body = message(6.5, 7.0, "ac:87:07");
        assert_eq!(
            send(&server, "/api/training/data", name, &body).0,
            200,
            "{name}"
        );
    }
    let folder = "uploads/training/normal/ac:87:07";
    // The second is no recording any more, and the first cannot be removed.
    place.write(&format!("{folder}/normal.1.json"), "{");
    let first = place.path(&format!("{folder}/normal.0.json"));
    std::fs::remove_file(&first).unwrap();
    std::fs::create_dir(&first).unwrap();
    let args = ["erase", "--device", "ac:87:07", "--yes"];
    let failed = place.check(&args, 3);
    assert!(failed.stderr.contains("normal.0.json"), "{}", failed.stderr);

    std::fs::remove_dir(&first).unwrap();
    let said = place.check(&args, 0).stdout;
    assert!(said.contains("2 uploads"), "{said}");
    assert!(!place.path(&format!("{folder}/normal.1.json")).exists());
    place.check(&args, 2);
}

#[test]
fn a_wrong_label_is_found_and_mended_and_the_history_says_by_whom() {
    let place = Workplace::fans();
    let label = |args: &[&str], code| place.check(&[&["data", "label"], args].concat(), code);
    let of = |name: &str| {
        // By its digest: a version that comes again is not the newest.
        let status = place.check(&["data", "status", "--json"], 0).json();
        let version = status["version"].as_str().unwrap();
        let shown = place.check(&["data", "show", version, "--json"], 0).json();
        let recordings = shown["recordings"].as_array().unwrap().clone();
        let found = recordings.into_iter().find(|shown| shown["name"] == name);
        found.unwrap()["label"].as_str().unwrap().to_owned()
    };
    let why = ["--why", "heard it", "--who", "ana"];
    let wrong = ["set", "m2/normal/0.csv", "--label", "blade"];
    label(&[&wrong[..], &why].concat(), 0);
    assert_eq!(of("m2/normal/0.csv"), "class blade");

    let found = label(&["issues", "--folds", "3", "--json"], 0).json();
    let first = &found["issues"][0];
    assert_eq!(first["recording"], "m2/normal/0.csv", "{found}");
    assert_eq!(
        (&first["label"], &first["likely"]),
        (&"blade".into(), &"normal".into())
    );
    assert!(first["score"].as_f64().unwrap() < 0.5 && first["is_whole"] == true);
    label(&[&["accept", "1"][..], &why].concat(), 0);
    let twice = label(&["reject", "1"], 1);
    assert!(
        twice.stderr.contains("`ana` has decided issue 1 already"),
        "{}",
        twice.stderr
    );
    assert_eq!(of("m2/normal/0.csv"), "class normal");

    let log = label(&["log", "--json"], 0).json();
    assert_eq!(log["entries"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&log["entries"][0]["who"], &log["entries"][0]["why"]),
        (&"ana".into(), &"heard it".into())
    );
    let id = log["entries"][0]["id"].as_str().unwrap();
    label(&["undo", id], 0);
    assert_eq!(of("m2/normal/0.csv"), "class blade");
    // What was looked into is not asked again.
    label(&["issues", "--folds", "3"], 0);
    label(&["reject", "1"], 0);
    let found = label(&["issues", "--folds", "3", "--json"], 0).json();
    let issues = found["issues"].as_array().unwrap();
    assert!(
        issues
            .iter()
            .all(|issue| issue["recording"] != "m2/normal/0.csv"),
        "{found}"
    );

    let range = [
        "range",
        "m0/normal/0.csv",
        "--from",
        "0.5",
        "--to",
        "1",
        "--label",
        "blade",
    ];
    label(&range, 0);
    assert_eq!(
        of("m0/normal/0.csv"),
        "segments 0-50 normal, 50-100 blade, 100-256 normal"
    );
    label(&["rule", "group=m3", "--label", "bearing"], 0);
    assert_eq!(of("m3/blade/0.csv"), "class bearing");
    let balance = label(&["balance", "--folds", "3", "--json"], 0).json();
    assert_eq!(balance["classes"].as_array().unwrap().len(), 3, "{balance}");
    assert!(balance["classes"][0]["newest_at_ms"].is_i64());

    for (args, word) in [
        (
            &["set", "m9/normal/0.csv", "--label", "x"][..],
            "no recording is called",
        ),
        (
            &[
                "range",
                "m0/normal/0.csv",
                "--readings",
                "200-999",
                "--label",
                "x",
            ],
            "has no readings",
        ),
        (&["undo", "00000000"], "no entry"),
        (&["accept", "99"], "no issue 99"),
        (&["rule", "group", "--label", "x"], "FIELD=PATTERN"),
    ] {
        let refused = label(args, 2);
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    place.write("labels.tsv", "tinyops-labels 1\nnonsense\n");
    let refused = place.check(&["data", "validate"], 2);
    assert!(
        refused.stdout.contains("labels.tsv, row 2"),
        "{}",
        refused.stdout
    );
}

/// A board on a TCP line that prints rows at 100 Hz, behind what a boot loader says.
fn printing_board() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = "5,0.7\nboot v1\nready\n".to_owned();
        let begun = Instant::now();
        for index in 0..600_u32 {
            let at = index as f32 / 100.0;
            text += &format!("{:.3},{:.3},{index}\r\n", at.sin(), at.cos());
            if index == 30 {
                text += "warning: sensor slow\n";
            }
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
            text.clear();
            let next = Duration::from_millis(10) * (index + 1);
            std::thread::sleep(next.saturating_sub(begun.elapsed()));
        }
    });
    address
}

#[test]
fn a_board_that_prints_numbers_is_recorded() {
    let place = Workplace::empty();
    place.write(
        "tinyops.toml",
        "[data.window]\nlen = 20\n[[data.source]]\nroot = \"uploads\"\nuploads = true\n",
    );
    let server = Server::start(&place, &[]);
    let board = printing_board();
    let line = [
        "gateway",
        "csv",
        "--json",
        "--tcp",
        &board,
        "--server",
        &server.http,
    ];
    let what = [
        "--label",
        "still",
        "--seconds",
        "1",
        "--count",
        "2",
        "--axes",
        "sin,cos,index",
        "--units",
        "g",
    ];
    let said = place.check(&[&line[..], &what].concat(), 0).stdout;
    let recorded: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(recorded.len(), 2);
    for one in &recorded {
        // A machine that is busy reads late, and then several lines at once; what is measured is the whole second.
        let rate = one["rate_hz"].as_f64().unwrap();
        assert!((60.0..160.0).contains(&rate), "{one}");
        assert_eq!(one["axes"], 3);
    }
    assert_eq!(
        recorded[0]["skipped"], 3,
        "two of the boot loader, one warning"
    );
    let shown = place.check(&["data", "uploads", "--json"], 0).json();
    let path = shown["uploads"][1]["path"].as_str().unwrap();
    assert!(
        path.starts_with("training/still/data-forwarder/still."),
        "{path}"
    );
    let kept = std::fs::read_to_string(place.path("uploads").join(path)).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let values = kept["payload"]["values"].as_array().unwrap();
    assert_eq!(values.len() as u64, recorded[0]["rows"].as_u64().unwrap());
    let steps = values
        .windows(2)
        .all(|two| two[1][2].as_f64().unwrap() - two[0][2].as_f64().unwrap() == 1.0);
    assert!(steps, "no row is lost between two");
    assert_eq!(kept["payload"]["sensors"][1]["name"], "cos");

    // Three names for two numbers; a board that prints no rows; a label that the server does not take.
    let board = printing_board();
    let line = [
        "gateway",
        "csv",
        "--tcp",
        &board,
        "--server",
        &server.http,
        "--seconds",
        "0.1",
    ];
    let refused = place.check(&[&line[..], &["--label", "x", "--axes", "a,b"]].concat(), 2);
    assert!(
        refused.stderr.contains("`--axes` names 2, and rows have 3"),
        "{}",
        refused.stderr
    );
    let board = printing_board();
    let line = [
        "gateway",
        "csv",
        "--tcp",
        &board,
        "--server",
        &server.http,
        "--seconds",
        "0.1",
    ];
    let refused = place.check(&[&line[..], &["--label", "../x"]].concat(), 2);
    assert!(
        refused.stderr.contains("cannot be kept"),
        "{}",
        refused.stderr
    );
}

/// A board on a TCP line that speaks AT commands, as firmware with the AT server does: echo, answer, prompt. It signs what
/// it samples.
fn at_board(sample: Vec<u8>) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, commands) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        for line in reader.lines().map_while(Result::ok) {
            let command = line.trim().to_owned();
            let answer = match command.split_once('=').map_or((command.as_str(), ""), |pair| pair) {
                ("AT+DEVICEID?", _) => "AC:87:A3:0A:2D:1B\r\n".to_owned(),
                ("AT+CONFIG?", _) => "===== Sensors ======\r\nName: Built-in accelerometer, Max sample length: 29s, Frequencies: [62.50 Hz]\r\n".to_owned(),
                ("AT+SAMPLESETTINGS", _) => "OK\r\n".to_owned(),
                ("AT+SAMPLESTART", "Built-in accelerometer") => format!(
                    "Sampling...\r\nDone sampling, total bytes collected: {0}\r\nNot uploading file, not connected to WiFi. Used buffer, from=64, to={1}.\r\nOK\r\n",
                    sample.len(),
                    64 + sample.len()
                ),
                ("AT+READBUFFER", span) => {
                    let (from, len) = span.split_once(',').unwrap();
                    let from = from.parse::<usize>().unwrap() - 64;
                    let part = &sample[from..][..len.parse::<usize>().unwrap()];
                    base64::engine::general_purpose::STANDARD.encode(part) + "\r\nOK\r\n"
                }
                ("AT+HELP", _) => "Command list\r\n".to_owned(),
                _ => "ERR unknown command\r\n".to_owned(),
            };
            let text = format!("{command}\r\n{answer}> ");
            let _ = heard.send(command);
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
    (address, commands)
}

#[test]
fn a_board_is_told_by_at_commands_to_sample_and_what_it_signed_comes_in_as_it_is() {
    let root = std::env::var("TINYOPS_DATA").map_or_else(
        |_| std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        std::path::PathBuf::from,
    );
    let folder = root.join("ei-gestures/resigned");
    let (Ok(sample), Ok(key)) = (
        std::fs::read(folder.join("circle.01.cbor")),
        std::fs::read_to_string(folder.join("HMAC_KEY.txt")),
    ) else {
        return;
    };
    let place = Workplace::empty();
    place.write(
        "tinyops.toml",
        "[data.window]\nlen = 20\n[[data.source]]\nroot = \"uploads\"\nuploads = true\nhmac_key_file = \".hmac.key\"\n",
    );
    place.write("uploads/.hmac.key", &key);
    let server = Server::start(&place, &[]);
    let (board, commands) = at_board(sample.clone());
    let args = [
        "gateway",
        "at",
        "--json",
        "--tcp",
        &board,
        "--server",
        &server.http,
        "--label",
        "circle",
        "--length-ms",
        "1000",
        "--interval-ms",
        "9.5",
        "--hmac-key-file",
        "uploads/.hmac.key",
    ];
    let said = place.check(&args, 0).json();
    assert_eq!(said["device"], "AC:87:A3:0A:2D:1B");
    assert_eq!(said["bytes"], sample.len());
    let shown = place.check(&["data", "uploads", "--json"], 0).json();
    let upload = &shown["uploads"][0];
    assert_eq!(
        (&upload["is_signed"], &upload["label"]),
        (&true.into(), &"circle".into())
    );
    let kept = std::fs::read(place.path("uploads").join(upload["path"].as_str().unwrap())).unwrap();
    assert!(kept == sample, "byte for byte");
    let heard: Vec<String> = commands.try_iter().collect();
    let settings = format!("AT+SAMPLESETTINGS=circle,9.5,1000,{}", key.trim());
    assert!(heard.contains(&settings), "{heard:?}");

    let (board, _) = at_board(sample);
    let args = [
        "gateway",
        "at",
        "--tcp",
        &board,
        "--server",
        &server.http,
        "--label",
        "x",
        "--sensor",
        "Nose",
    ];
    let refused = place.check(&args, 2);
    assert!(
        refused.stderr.contains("Built-in accelerometer"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_device_sends_what_its_owner_agreed_to_once_and_nobody_sends_for_it() {
    let place = Workplace::empty();
    place.write(
        "tinyops.toml",
        "[data.window]\nlen = 20\n[[data.source]]\nroot = \"uploads\"\nuploads = true\nrate_hz = 100.0\n",
    );
    place.write("idle.csv", &recording(1.0, 7.0));
    let server = Server::start(&place, &[]);
    let args = [
        "device",
        "upload",
        "idle.csv",
        "--board",
        "esp-eye",
        "--identity",
        "pump.json",
        "--server",
        &server.http,
        "--label",
        "idle",
        "--units",
        "g",
        "--days",
        "1",
        "--json",
        "--purpose",
    ];
    let sent = place.check(&[&args[..], &["training"]].concat(), 0).json();
    let path = sent["sent"][0]["path"].as_str().unwrap().to_owned();
    let shown = place.check(&["data", "uploads", "--json"], 0).json();
    let upload = &shown["uploads"][0];
    assert_eq!(
        (&upload["is_signed"], &upload["purpose"]),
        (&true.into(), &"training".into())
    );
    assert_eq!(upload["metadata"]["units"], "g");
    let device = upload["device"].as_str().unwrap();
    assert_eq!(path, format!("training/idle/{device}/idle.csv"));
    assert!(place.path("uploads").join(&path).exists());
    let refused = place.check(&[&args[..], &[" "]].concat(), 2);
    assert!(refused.stderr.contains("no purpose"), "{}", refused.stderr);

    // What went over the wire, again, and changed, and by another key.
    let identity = std::fs::read_to_string(place.path("pump.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    let digits = tinyops_server::unhex(identity["key"].as_str().unwrap()).unwrap();
    let key = tinyops_wire::DeviceKey(digits.try_into().unwrap());
    let head = |counter: u64| tinyops_fleet::recording::Head {
        device: device.to_owned(),
        counter,
        digest: String::new(),
        bytes: 0,
        name: "take.csv".to_owned(),
        category: "training".to_owned(),
        label: Some("idle".to_owned()),
        units: vec!["g".to_owned()],
        purpose: "training".to_owned(),
        until_ms: None,
    };
    let payload = recording(2.0, 7.0);
    let post_of = |body: &[u8], length: usize| {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        let patience = Duration::from_secs(30);
        stream.set_read_timeout(Some(patience)).unwrap();
        let host = &server.http;
        let head = format!(
            "POST /api/v1/recordings HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let document: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        (
            status,
            document["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let post = |body: &[u8]| post_of(body, body.len());
    // Counters of the command are milliseconds of today.
    let next = 4_000_000_000_000;
    let sealed = head(next).seal(&key, payload.as_bytes());
    assert_eq!(post(&sealed).0, 201);
    let told = |status, code: &str| (status, code.to_owned());
    assert_eq!(post(&sealed), told(409, "replayed"));
    assert_eq!(
        post(&head(next - 1).seal(&key, payload.as_bytes())),
        told(409, "replayed")
    );
    // A replay is known by its head, and its payload is not waited for.
    let begun = sealed.len() - payload.len();
    assert_eq!(
        post_of(&sealed[..begun], sealed.len()),
        told(409, "replayed")
    );
    // More and fewer bytes than were signed.
    let whole = head(next + 1).seal(&key, payload.as_bytes());
    assert_eq!(post(&whole[..whole.len() - 9]), told(422, "length"));
    assert_eq!(
        post(&[&whole[..], b"0,0,0\n"].concat()),
        told(422, "length")
    );
    let mut changed = head(next + 1).seal(&key, payload.as_bytes());
    let last = changed.len() - 3;
    changed[last] ^= 1;
    assert_eq!(post(&changed), told(422, "digest"));
    changed[last] ^= 1;
    changed[60] ^= 1;
    assert!(post(&changed).0 >= 400);
    let other = tinyops_wire::DeviceKey([9; 32]);
    assert_eq!(
        post(&head(next + 1).seal(&other, payload.as_bytes())),
        told(401, "tag")
    );
    let nobody = tinyops_fleet::recording::Head {
        device: "00000000000000aa".to_owned(),
        ..head(1)
    };
    assert_eq!(
        post(&nobody.seal(&key, payload.as_bytes())),
        told(401, "tag")
    );
    assert_eq!(post(b"RIFF"), told(400, "malformed"));
    assert_eq!(post(b"tinyops-recording 1\n{}"), told(400, "malformed"));
    assert_eq!(
        post(&head(next + 1).seal(&key, b"x\nnonsense\n")),
        told(422, "recording")
    );
    // None of these has used the counter up.
    assert_eq!(
        post(&head(next + 1).seal(&key, recording(3.0, 7.0).as_bytes())).0,
        201
    );
    place.check(&["devices", "revoke", device, "--yes"], 0);
    assert_eq!(
        post(&head(next + 2).seal(&key, payload.as_bytes())),
        told(401, "tag")
    );
}
