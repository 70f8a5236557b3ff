//! From a poll to an installed model, and back.

use tinyops_store::ddi::Packing;
use tinyops_store::device;
use tinyops_wire::{Capsule, Statement};

use super::*;

#[tokio::test]
async fn a_client_installs_what_its_rollout_offers() {
    let site = Site::new(1, &NewTarget::default()).await;
    assert_eq!(site.poll(0).await, ["configData"]);
    let said = json!({ "mode": "merge", "data": { "hw": "rev 2", "os": "linux" } });
    let answer = site.send(0, "PUT", "configData", &said).await;
    assert_eq!((answer.status, answer.bytes.len()), (200, 0));
    assert_eq!(site.poll(0).await, [""; 0]);
    let row = device::get(site.app.db(), site.devices[0].0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.tags, ["ddi.hw=rev 2", "ddi.os=linux"]);

    let rollout = site.roll_out(1, json!({})).await;
    assert_eq!(site.poll(0).await, ["deploymentBase 1"]);
    let answer = site.get(0, "").await.json();
    assert_eq!(answer["config"]["polling"]["sleep"], "00:05:00");
    let href = answer["_links"]["deploymentBase"]["href"].as_str().unwrap();
    let base = format!("http://tinyops.lan{}", site.path(0, ""));
    assert!(
        href.starts_with(&format!("{base}/deploymentBase/1?c=")),
        "{href}"
    );

    let deployment = site
        .get(0, "deploymentBase/1?c=7&actionHistory=5")
        .await
        .json();
    assert_eq!(deployment["id"], "1");
    let inner = &deployment["deployment"];
    assert_eq!(
        (&inner["download"], &inner["update"]),
        (&json!("forced"), &json!("forced"))
    );
    assert!(
        inner.get("maintenanceWindow").is_none(),
        "there is no window"
    );
    let chunk = &inner["chunks"][0];
    assert_eq!(
        (&chunk["name"], &chunk["version"]),
        (&json!("fan"), &json!("1"))
    );
    let artifacts = chunk["artifacts"].as_array().unwrap();
    let names: Vec<&str> = artifacts
        .iter()
        .map(|a| a["filename"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["fan.capsule", "fan.statement"]);
    let listed = site.get(0, "softwaremodules/1/artifacts").await.json();
    assert_eq!(&listed, &chunk["artifacts"]);

    // What it downloads is what both roles have signed, for this device.
    let mut files = Vec::new();
    for artifact in artifacts {
        let href = artifact["_links"]["download-http"]["href"]
            .as_str()
            .unwrap();
        let below = href.strip_prefix(&format!("{base}/")).unwrap();
        let file = site.get(0, below).await;
        assert_eq!(file.status, 200);
        assert_eq!(artifact["size"], file.bytes.len());
        assert_eq!(
            artifact["hashes"]["sha256"],
            Digest::of(&file.bytes).to_string()
        );
        for (name, digits) in [("sha1", 40), ("md5", 32)] {
            assert_eq!(artifact["hashes"][name].as_str().unwrap().len(), digits);
        }
        let line = site.get(0, &format!("{below}.MD5SUM")).await;
        let expected = format!(
            "{}  {}",
            artifact["hashes"]["md5"].as_str().unwrap(),
            artifact["filename"].as_str().unwrap()
        );
        assert_eq!(String::from_utf8(line.bytes).unwrap(), expected);
        files.push(file.bytes);
    }
    let keyring = site.app.fleet().keys().unwrap();
    let keys = &keyring.trust.keys;
    let capsule = Capsule::verify(&files[0], keys.release.keys()).unwrap();
    let statement = Statement::verify(&files[1], keys.director.keys()).unwrap();
    assert_eq!(statement.device, site.devices[0].0);
    assert_eq!(statement.manifest, capsule.manifest_digest);
    assert_eq!(site.member(rollout, 0).await.delivery, Delivery::Taken);

    assert_eq!(site.feed(0, 1, "proceeding", "none").await, 200);
    let deployment = site
        .get(0, "deploymentBase/1?actionHistory=-1")
        .await
        .json();
    let history = &deployment["actionHistory"];
    assert_eq!(
        history,
        &json!({ "status": "RUNNING", "messages": ["said so"] })
    );
    assert_eq!(site.feed(0, 1, "closed", "success").await, 200);
    assert_eq!(site.member(rollout, 0).await.delivery, Delivery::Confirmed);
    assert_eq!(site.running(0).await.as_deref(), Some("fan@1"));
    assert_eq!(site.poll(0).await, ["configData", "installedBase 1"]);
    let installed = site.get(0, "installedBase/1").await.json();
    assert_eq!(installed["deployment"]["chunks"][0]["version"], "1");

    // Its polls are its reports: two, not closer than half the time between two polls.
    for minutes in [1, 2, 3, 5] {
        site.pass(minutes * MINUTE);
        site.poll(0).await;
    }
    site.turn().await;
    let row = rollout::get(site.app.db(), rollout).await.unwrap().unwrap();
    assert_eq!(row.state, rollout::RolloutState::Done, "{:?}", row.reason);
}

#[tokio::test]
async fn every_feedback_means_what_the_guide_says() {
    use Delivery::{Confirmed, Failed, Offered, Taken};
    let table = [
        ("closed", "success", Confirmed, false),
        ("closed", "none", Confirmed, false),
        ("closed", "failure", Failed, false),
        ("canceled", "none", Failed, false),
        ("rejected", "none", Offered, true),
        ("scheduled", "none", Taken, true),
        ("proceeding", "none", Taken, true),
        ("resumed", "none", Taken, true),
        ("download", "none", Taken, true),
        ("downloaded", "success", Taken, true),
    ];
    let site = Site::new(table.len() as u8, &NewTarget::default()).await;
    // None of them may halt what the others are asked.
    let rollout = site.roll_out(1, json!({ "failure_share_max": 1.0 })).await;
    for (device, (execution, finished, delivery, stands)) in table.into_iter().enumerate() {
        let links = site.poll(device).await;
        let id = device as i64 + 1;
        assert_eq!(
            links,
            ["configData".to_owned(), format!("deploymentBase {id}")]
        );
        site.pass(1);
        assert_eq!(site.feed(device, id, execution, finished).await, 200);
        let member = site.member(rollout, device).await;
        assert_eq!(member.delivery, delivery, "{execution} {finished}");
        let again = if stands { 200 } else { 410 };
        assert_eq!(site.feed(device, id, "rejected", "none").await, again);
        let is_asked = site
            .poll(device)
            .await
            .contains(&format!("deploymentBase {id}"));
        assert_eq!(is_asked, stands, "{execution} {finished}");
    }
    let failed = site.member(rollout, 2).await;
    assert_eq!(failed.detail["reason"], "said so");
}

#[tokio::test]
async fn a_rollout_that_is_held_or_reverted_takes_its_actions_back() {
    let site = Site::new(3, &NewTarget::default()).await;
    let first = site.roll_out(1, json!({})).await;
    for device in 0..3 {
        site.poll(device).await;
        assert_eq!(
            site.feed(device, device as i64 + 1, "closed", "success")
                .await,
            200
        );
    }
    for _ in 0..3 {
        site.pass(5 * MINUTE);
        for device in 0..3 {
            site.poll(device).await;
        }
        site.turn().await;
    }
    let row = rollout::get(site.app.db(), first).await.unwrap().unwrap();
    assert_eq!(row.state, rollout::RolloutState::Done);

    let second = site.roll_out(2, json!({})).await;
    let deploy = |links: Vec<String>| {
        let found = links
            .iter()
            .find(|link| !link.starts_with("configData") && !link.starts_with("installedBase"));
        found.cloned().unwrap_or_default()
    };
    assert_eq!(deploy(site.poll(0).await), "deploymentBase 4");
    assert_eq!(deploy(site.poll(1).await), "deploymentBase 5");
    assert_eq!(site.feed(1, 5, "proceeding", "none").await, 200);

    // Held: device 0 stops, device 1 is installing and says so.
    site.command(second, "pause").await;
    assert_eq!(site.get(0, "deploymentBase/4").await.status, 404);
    assert_eq!(deploy(site.poll(0).await), "cancelAction 4");
    let cancel = site.get(0, "cancelAction/4").await.json();
    assert_eq!(
        cancel,
        json!({ "id": "4", "cancelAction": { "stopId": "4" } })
    );
    let said = |execution: &str| json!({ "id": 4, "status": { "execution": execution, "result": { "finished": "success" } } });
    let feedback = site
        .send(0, "POST", "cancelAction/4/feedback", &said("closed"))
        .await;
    assert_eq!(feedback.status, 200);
    let again = site
        .send(0, "POST", "cancelAction/4/feedback", &said("closed"))
        .await;
    again.check(410, "closed", "action 4 is closed");
    assert_eq!(deploy(site.poll(0).await), "");
    assert_eq!(deploy(site.poll(1).await), "cancelAction 5");
    let refused = site
        .send(1, "POST", "cancelAction/5/feedback", &said("rejected"))
        .await;
    assert_eq!(refused.status, 200);
    assert_eq!(deploy(site.poll(1).await), "deploymentBase 5", "it goes on");
    assert_eq!(site.feed(1, 5, "closed", "success").await, 200);
    assert_eq!(deploy(site.poll(2).await), "", "nobody new is asked");

    // Let go on: who stopped is asked anew.
    site.command(second, "resume").await;
    assert_eq!(deploy(site.poll(0).await), "deploymentBase 6");
    assert_eq!(site.feed(0, 6, "closed", "success").await, 200);
    assert_eq!(site.running(0).await.as_deref(), Some("fan@2"));

    // Taken back: who has it gets the version before, who has not begun nothing.
    assert_eq!(deploy(site.poll(2).await), "deploymentBase 7");
    site.command(second, "revert").await;
    assert_eq!(deploy(site.poll(2).await), "cancelAction 7");
    let ended = site
        .send(2, "POST", "cancelAction/7/feedback", &said("closed"))
        .await;
    assert_eq!(ended.status, 200);
    assert_eq!(deploy(site.poll(2).await), "", "it never had it");
    assert_eq!(deploy(site.poll(0).await), "deploymentBase 8");
    let back = site.get(0, "deploymentBase/8").await.json();
    let chunk = &back["deployment"]["chunks"][0];
    assert_eq!(chunk["version"], "1");
    let undoes = chunk["metadata"].as_array().unwrap();
    assert!(
        undoes.iter().any(|entry| entry["key"] == "tinyops.undoes"),
        "{undoes:?}"
    );
    // One that cannot go back is not asked again at once.
    assert_eq!(site.feed(0, 8, "closed", "failure").await, 200);
    assert_eq!(deploy(site.poll(0).await), "");
    site.pass(16 * MINUTE);
    assert_eq!(deploy(site.poll(0).await), "deploymentBase 9");
    assert_eq!(site.feed(0, 9, "closed", "success").await, 200);
    assert_eq!(site.running(0).await.as_deref(), Some("fan@1"));
    assert_eq!(deploy(site.poll(0).await), "");
}

#[tokio::test]
async fn a_device_moves_on_with_the_rollout_that_it_belongs_to() {
    let site = Site::new(1, &NewTarget::default()).await;
    let first = site.roll_out(1, json!({})).await;
    assert_eq!(site.poll(0).await, ["configData", "deploymentBase 1"]);
    let wish =
        json!({ "model": "fan", "version": 2, "priority": 5, "selector": "ddi.ring = early" });
    let refused = call(&site.router, "POST", "/api/v1/rollouts", None, wish.clone()).await;
    assert_eq!(refused.0, StatusCode::CONFLICT, "no device has the label");
    let said = json!({ "data": { "ring": "early" } });
    assert_eq!(site.send(0, "PUT", "configData", &said).await.status, 200);
    let (status, _) = call(&site.router, "POST", "/api/v1/rollouts", None, wish).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(site.poll(0).await, ["cancelAction 1"]);
    let done =
        json!({ "status": { "execution": "canceled", "result": { "finished": "success" } } });
    assert_eq!(
        site.send(0, "POST", "cancelAction/1/feedback", &done)
            .await
            .status,
        200
    );
    assert_eq!(site.poll(0).await, ["deploymentBase 2"]);
    assert_eq!(site.member(first, 0).await.delivery, Delivery::Left);
    let version = site.get(0, "deploymentBase/2").await.json();
    assert_eq!(version["deployment"]["chunks"][0]["version"], "2");
}

#[tokio::test]
async fn outside_a_maintenance_window_a_device_may_fetch_and_does_not_install() {
    let site = Site::new(1, &NewTarget::default()).await;
    // NOW is in the window, three hours later is not.
    let now = NOW.0 / MINUTE % (24 * 60);
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let window = json!([{ "from": clock(now), "to": clock(now + 60) }]);
    site.roll_out(1, json!({ "windows": { "windows": window } }))
        .await;
    site.poll(0).await;
    let open = site.get(0, "deploymentBase/1").await.json();
    let said = |answer: &Value| {
        let deployment = &answer["deployment"];
        ["download", "update", "maintenanceWindow"]
            .map(|name| deployment[name].as_str().unwrap().to_owned())
    };
    assert_eq!(said(&open), ["forced", "forced", "available"]);
    let link = |answer: Value| answer["_links"]["deploymentBase"]["href"].clone();
    let before = link(site.get(0, "").await.json());
    site.pass(180 * MINUTE);
    let closed = site.get(0, "deploymentBase/1").await.json();
    assert_eq!(said(&closed), ["attempt", "skip", "unavailable"]);
    assert_ne!(
        link(site.get(0, "").await.json()),
        before,
        "clients that cache by link look again"
    );
    assert_eq!(site.feed(0, 1, "downloaded", "success").await, 200);
    site.pass(21 * 60 * MINUTE);
    assert_eq!(
        said(&site.get(0, "deploymentBase/1").await.json()),
        ["forced", "forced", "available"]
    );
}

#[tokio::test]
async fn a_user_is_asked_and_one_who_refuses_is_no_failure() {
    let asks = NewTarget {
        asks_consent: true,
        ..NewTarget::default()
    };
    let site = Site::new(3, &asks).await;
    let rollout = site.roll_out(1, json!({})).await;
    assert_eq!(site.poll(0).await, ["configData", "confirmationBase 1"]);
    assert_eq!(site.get(0, "deploymentBase/1").await.status, 404);
    assert_eq!(site.feed(0, 1, "proceeding", "none").await, 404);
    let base = site.get(0, "confirmationBase").await.json();
    assert_eq!(base["autoConfirm"], json!({ "active": false }));
    assert!(base["_links"].get("activateAutoConfirm").is_some());
    let asked = site.get(0, "confirmationBase/1").await.json();
    assert_eq!(asked["confirmation"]["chunks"][0]["name"], "fan");
    // While the user thinks, the device is not late.
    site.pass(4 * 24 * 60 * MINUTE);
    site.poll(0).await;
    site.turn().await;
    assert_eq!(site.member(rollout, 0).await.delivery, Delivery::Offered);
    let yes = json!({ "confirmation": "confirmed", "code": 200, "details": ["go"] });
    assert_eq!(
        site.send(0, "POST", "confirmationBase/1/feedback", &yes)
            .await
            .status,
        200
    );
    assert_eq!(site.poll(0).await, ["configData", "deploymentBase 1"]);
    let late = site
        .send(0, "POST", "confirmationBase/1/feedback", &yes)
        .await;
    late.check(404, "missing", "action 1 does not exist");

    site.poll(1).await;
    let no = json!({ "confirmation": "denied" });
    assert_eq!(
        site.send(1, "POST", "confirmationBase/2/feedback", &no)
            .await
            .status,
        200
    );
    assert_eq!(site.member(rollout, 1).await.delivery, Delivery::Left);
    assert_eq!(site.poll(1).await, ["configData"]);
    let again = site
        .send(1, "POST", "confirmationBase/2/feedback", &yes)
        .await;
    again.check(410, "closed", "action 2 is closed");

    site.poll(2).await;
    let auto = json!({ "initiator": "ana", "remark": "always" });
    let path = "confirmationBase/activateAutoConfirm";
    assert_eq!(site.send(2, "POST", path, &auto).await.status, 200);
    site.send(2, "POST", path, &auto)
        .await
        .check(409, "confirmed", "already");
    assert_eq!(site.poll(2).await, ["configData", "deploymentBase 3"]);
    let base = site.get(2, "confirmationBase").await.json();
    assert_eq!(base["autoConfirm"]["initiator"], "ana");
    let shown = format!("TargetToken {}", site.devices[2].1);
    let path = site.path(2, "confirmationBase/deactivateAutoConfirm");
    let bare = site
        .raw("POST", &path, &[("authorization", &shown)], Vec::new())
        .await;
    assert_eq!(bare.status, 200);
    let base = site.get(2, "confirmationBase").await.json();
    assert_eq!(base["autoConfirm"]["active"], false);
}

#[tokio::test]
async fn a_device_says_what_it_has_and_that_it_went_back() {
    let site = Site::new(1, &NewTarget::default()).await;
    let rollout = site.roll_out(1, json!({})).await;
    site.poll(0).await;
    let has = |version: &str| json!({ "name": "fan", "version": version });
    assert_eq!(
        site.send(0, "PUT", "installedBase", &has("1")).await.status,
        201
    );
    assert_eq!(
        site.send(0, "PUT", "installedBase", &has("1")).await.status,
        200
    );
    assert_eq!(site.running(0).await.as_deref(), Some("fan@1"));
    assert_eq!(site.member(rollout, 0).await.delivery, Delivery::Confirmed);
    for version in ["9", "x"] {
        let unknown = site.send(0, "PUT", "installedBase", &has(version)).await;
        unknown.check(404, "missing", "has no capsule for esp-eye");
    }
    // Version 2 is signed, and the device has it from elsewhere.
    let fleet = site.app.fleet();
    crate::release(fleet, &site.app.fleet().keys().unwrap(), "fan", 2, NOW)
        .await
        .unwrap();
    assert_eq!(
        site.send(0, "PUT", "installedBase", &has("2")).await.status,
        201
    );
    let member = site.member(rollout, 0).await;
    assert_eq!(member.delivery, Delivery::Reverted);
    assert_eq!(member.detail["reason"], "it says that it runs fan@2");
}

/// Clients that fail, and clients that poll and never install, halt a rollout like any device.
#[tokio::test]
async fn failures_and_silence_halt_a_rollout() {
    for answers in [true, false] {
        let site = Site::new(10, &NewTarget::default()).await;
        let rollout = site.roll_out(1, json!({})).await;
        for device in 0..10 {
            site.poll(device).await;
            if answers {
                site.feed(device, device as i64 + 1, "closed", "failure")
                    .await;
            }
        }
        if !answers {
            site.pass(3 * 24 * 60 * MINUTE + MINUTE);
            for device in 0..10 {
                site.poll(device).await;
            }
        }
        site.turn().await;
        let row = rollout::get(site.app.db(), rollout).await.unwrap().unwrap();
        assert_eq!(row.state, rollout::RolloutState::Halted, "{}", row.reason);
        assert_eq!(row.reason["metric"], "installs", "{}", row.reason);
    }
}

#[tokio::test]
async fn everything_goes_in_cbor_too() {
    let site = Site::new(1, &NewTarget::default()).await;
    site.roll_out(1, json!({})).await;
    let shown = format!("TargetToken {}", site.devices[0].1);
    let headers = [
        ("authorization", shown.as_str()),
        ("accept", "application/cbor"),
        ("content-type", "application/cbor"),
    ];
    let mut below = String::new();
    for place in [
        "/_links/deploymentBase/href",
        "/deployment/chunks/0/artifacts/0/_links/download-http/href",
    ] {
        let answer = site
            .raw("GET", &site.path(0, &below), &headers, Vec::new())
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/cbor");
        let value: Value = read(Form::Cbor, &answer.bytes).unwrap();
        let href = value.pointer(place).unwrap().as_str().unwrap();
        below = href
            .split("/controller/v1/")
            .nth(1)
            .unwrap()
            .split_once('/')
            .unwrap()
            .1
            .to_owned();
    }
    assert_eq!(below, "softwaremodules/1/artifacts/fan.capsule");
    let said = json!({ "status": { "execution": "closed", "result": { "finished": "success" } } });
    let path = site.path(0, "deploymentBase/1/feedback");
    let answer = site
        .raw("POST", &path, &headers, write(Form::Cbor, &said))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(site.running(0).await.as_deref(), Some("fan@1"));
    let cut = site
        .raw(
            "PUT",
            &site.path(0, "configData"),
            &headers,
            vec![0xa1, 0x64],
        )
        .await;
    cut.check(400, "body", "not CBOR");
}

#[tokio::test]
async fn clients_of_one_artifact_get_both_files_in_one() {
    let new = NewTarget {
        packing: Some(Packing::Swu),
        ..NewTarget::default()
    };
    let site = Site::new(1, &new).await;
    site.roll_out(1, json!({})).await;
    site.poll(0).await;
    let deployment = site.get(0, "deploymentBase/1").await.json();
    let artifacts = deployment["deployment"]["chunks"][0]["artifacts"]
        .as_array()
        .unwrap();
    assert_eq!(artifacts.len(), 1);
    assert_eq!(artifacts[0]["filename"], "fan.swu");
    let archive = site
        .get(0, "softwaremodules/1/artifacts/fan.swu")
        .await
        .bytes;
    assert_eq!(artifacts[0]["size"], archive.len());
    let members = members_of(&archive);
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sw-description", "fan.capsule", "fan.statement"]);
    let keyring = site.app.fleet().keys().unwrap();
    let keys = &keyring.trust.keys;
    Capsule::verify(&members[1].1, keys.release.keys()).unwrap();
    Statement::verify(&members[2].1, keys.director.keys()).unwrap();
    let description = String::from_utf8(members[0].1.clone()).unwrap();
    assert!(
        description.contains(&Digest::of(&members[1].1).to_string()),
        "{description}"
    );
}

/// The members of a cpio archive in the "new CRC" format, each held against its sum.
fn members_of(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(&archive[at..at + 6], b"070702");
        let number = |index: usize| {
            let digits = &archive[at + 6 + 8 * index..at + 14 + 8 * index];
            usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        let (len, name_len, sum) = (number(6), number(11), number(12));
        let name = &archive[at + 110..at + 110 + name_len - 1];
        let begin = (at + 110 + name_len).next_multiple_of(4);
        if name == b"TRAILER!!!" {
            return members;
        }
        let bytes = archive[begin..begin + len].to_vec();
        assert_eq!(
            bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>(),
            sum
        );
        members.push((String::from_utf8(name.to_vec()).unwrap(), bytes));
        at = (begin + len).next_multiple_of(4);
    }
}
