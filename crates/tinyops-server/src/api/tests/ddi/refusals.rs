//! What is refused, with which status and which words.

use tinyops_store::ddi::Packing;
use tinyops_store::{audit, device};

use super::*;

#[tokio::test]
async fn a_controller_id_alone_is_never_trusted() {
    let site = Site::new(2, &NewTarget::default()).await;
    let [own, other] = [0, 1].map(|index| site.devices[index].1.clone());
    let path = site.path(0, "");
    let get = async |path: &str, shown: Option<String>| {
        let shown = shown.unwrap_or_default();
        let headers: &[(&str, &str)] = match shown.is_empty() {
            true => &[],
            false => &[("authorization", &shown)],
        };
        site.raw("GET", path, headers, Vec::new()).await
    };
    assert_eq!(
        get(&path, Some(format!("TargetToken {own}"))).await.status,
        200
    );
    get(&path, None)
        .await
        .check(401, "target_token", "needs a target's or a gateway's token");
    let bearer = get(&path, Some(format!("Bearer {own}"))).await;
    bearer.check(401, "target_token", "needs a target's");
    // A wrong token, another device's token, and a controller that nobody knows are told apart by nothing.
    let wrong = "this token is not the token of a controller with this id";
    get(&path, Some("TargetToken wrong".into()))
        .await
        .check(401, "target_token", wrong);
    get(&path, Some(format!("TargetToken {other}")))
        .await
        .check(401, "target_token", wrong);
    let unknown = "/DEFAULT/controller/v1/nobody";
    get(unknown, Some(format!("TargetToken {own}")))
        .await
        .check(401, "target_token", wrong);
    let strange = get(
        "/DEFAULT/controller/v1/a%2Fb",
        Some(format!("TargetToken {own}")),
    )
    .await;
    strange.check(400, "controller", "`a/b` is no controller id");

    // A new token ends the old one; a revoked device has none.
    let device = format!("/api/v1/devices/{}", site.devices[0].0);
    let (status, made) = call(
        &site.router,
        "POST",
        &format!("{device}/ddi"),
        None,
        json!({}),
    )
    .await;
    assert_eq!(status, StatusCode::CREATED);
    let new = made["target_token"].as_str().unwrap();
    assert!(new.starts_with("tinyops_"), "{new}");
    get(&path, Some(format!("TargetToken {own}")))
        .await
        .check(401, "target_token", wrong);
    assert_eq!(
        get(&path, Some(format!("TargetToken {new}"))).await.status,
        200
    );
    let (status, _) = call(&site.router, "DELETE", &device, None, Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    get(&path, Some(format!("TargetToken {new}")))
        .await
        .check(401, "target_token", wrong);
    let again = call(
        &site.router,
        "POST",
        &format!("{device}/ddi"),
        None,
        json!({}),
    )
    .await;
    check_problem(&again, 404, "missing");
    let log = audit::about(site.app.db(), &site.devices[0].0.to_string(), 9)
        .await
        .unwrap();
    assert!(
        log.iter()
            .all(|entry| !entry.detail.to_string().contains(&own[8..]))
    );

    let taken = json!({ "controller": "nobody", "packing": "zip" });
    let second = format!("/api/v1/devices/{}/ddi", site.devices[1].0);
    check_problem(
        &call(&site.router, "POST", &second, None, taken).await,
        422,
        "packing",
    );
    let taken = json!({ "controller": site.devices[0].0.to_string() });
    check_problem(
        &call(&site.router, "POST", &second, None, taken).await,
        409,
        "exists",
    );
}

#[tokio::test]
async fn a_gateway_speaks_for_its_class_and_for_no_device_with_a_token() {
    let site = Site::new(1, &NewTarget::default()).await;
    let make = async |name: &str, class: &str| {
        let wish = json!({ "name": name, "role": "gateway", "class": class, "packing": "swu" });
        let (status, made) = call(&site.router, "POST", "/api/v1/tokens", None, wish).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made["token"].as_str().unwrap().to_owned()
    };
    let (hall, yard) = (
        make("line-7", "esp-eye/hall").await,
        make("line-8", "esp-eye/yard").await,
    );
    let get = async |path: &str, token: &str| {
        let shown = format!("GatewayToken {token}");
        site.raw("GET", path, &[("authorization", &shown)], Vec::new())
            .await
    };
    // What it names and nobody knows begins by polling, and belongs to its class.
    let path = "/DEFAULT/controller/v1/press-7";
    let early = get(&format!("{path}/deploymentBase/1"), &hall).await;
    early.check(401, "target_token", "not the token");
    assert_eq!(get(path, &hall).await.status, 200);
    let target = tinyops_store::ddi::get(site.app.db(), "press-7")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((target.token, target.packing), (None, Packing::Swu));
    let row = device::get(site.app.db(), target.device)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.board.as_str(), row.cohort.as_str()),
        ("esp-eye", "hall")
    );
    let log = audit::about(site.app.db(), &row.id.to_string(), 9)
        .await
        .unwrap();
    assert!(log.iter().all(|entry| entry.actor == "line-7"), "{log:?}");
    let count = device::count(site.app.db()).await.unwrap();
    assert_eq!(get(path, &hall).await.status, 200);
    assert_eq!(device::count(site.app.db()).await.unwrap(), count);

    let speaks = "the gateway speaks for devices of esp-eye/yard that have no token of their own";
    get(path, &yard).await.check(403, "class", speaks);
    let own = site.path(0, "");
    get(&own, &hall)
        .await
        .check(403, "class", "esp-eye/hall that have no token");
    get(path, "tinyops_00")
        .await
        .check(401, "target_token", "was not made here");
    let plain = json!({ "name": "carrier", "role": "gateway" });
    let (_, made) = call(&site.router, "POST", "/api/v1/tokens", None, plain).await;
    let carrier = get(path, made["token"].as_str().unwrap()).await;
    carrier.check(401, "target_token", "speaks for no class");
    let (status, _) = call(
        &site.router,
        "DELETE",
        "/api/v1/tokens/line-7",
        None,
        Value::Null,
    )
    .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    get(path, &hall)
        .await
        .check(401, "target_token", "is revoked");
    // A new token of the class speaks for the same devices; the list says which class.
    let third = make("line-7b", "esp-eye/hall").await;
    assert_eq!(get(path, &third).await.status, 200);
    let (_, listed) = call(&site.router, "GET", "/api/v1/tokens", None, Value::Null).await;
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|token| token["class"] == "esp-eye/yard")
    );
    for (wish, code) in [
        (
            json!({ "name": "x", "role": "viewer", "class": "a/b" }),
            "class",
        ),
        (
            json!({ "name": "x", "role": "gateway", "class": "a" }),
            "class",
        ),
        (
            json!({ "name": "x", "role": "gateway", "packing": "swu" }),
            "class",
        ),
        (
            json!({ "name": "x", "role": "gateway", "class": "a/b", "packing": "zip" }),
            "packing",
        ),
        (
            json!({ "name": "x", "role": "gateway", "class": "a b/c" }),
            "name",
        ),
    ] {
        check_problem(
            &call(&site.router, "POST", "/api/v1/tokens", None, wish).await,
            422,
            code,
        );
    }
}

#[tokio::test]
async fn what_is_not_the_devices_own_does_not_exist_for_it() {
    let site = Site::new(2, &NewTarget::default()).await;
    site.roll_out(1, json!({})).await;
    assert_eq!(site.poll(0).await, ["configData", "deploymentBase 1"]);
    let missing = "action 1 does not exist for this controller";
    let done = json!({ "status": { "execution": "closed", "result": { "finished": "success" } } });
    for below in [
        "deploymentBase/1",
        "cancelAction/1",
        "installedBase/1",
        "confirmationBase/1",
        "softwaremodules/1/artifacts",
        "softwaremodules/1/artifacts/fan.capsule",
    ] {
        site.get(1, below).await.check(404, "missing", missing);
    }
    for below in ["deploymentBase/1/feedback", "cancelAction/1/feedback"] {
        site.send(1, "POST", below, &done)
            .await
            .check(404, "missing", missing);
    }
    let yes = json!({ "confirmation": "confirmed" });
    site.send(1, "POST", "confirmationBase/1/feedback", &yes)
        .await
        .check(404, "missing", missing);
    // Its own, and not in this way.
    for below in ["cancelAction/1", "installedBase/1", "confirmationBase/1"] {
        site.get(0, below).await.check(404, "missing", missing);
    }
    site.send(0, "POST", "cancelAction/1/feedback", &done)
        .await
        .check(404, "missing", missing);
    site.get(0, "deploymentBase/x")
        .await
        .check(404, "missing", "action `x`");
    site.get(0, "softwaremodules/1/artifacts/other")
        .await
        .check(404, "missing", "artifact `other`");
    // Closed, it takes no more.
    assert_eq!(site.feed(0, 1, "closed", "failure").await, 200);
    let late = site
        .send(0, "POST", "deploymentBase/1/feedback", &done)
        .await;
    late.check(410, "closed", "action 1 is closed");
    site.send(0, "POST", "cancelAction/1/feedback", &done)
        .await
        .check(410, "closed", "action 1");
    site.get(0, "softwaremodules/1/artifacts/fan.capsule")
        .await
        .check(404, "missing", missing);
}

#[tokio::test]
async fn bodies_forms_and_ranges_that_are_wrong() {
    let site = Site::new(1, &NewTarget::default()).await;
    site.roll_out(1, json!({})).await;
    site.poll(0).await;
    let shown = format!("TargetToken {}", site.devices[0].1);
    let put = async |kind: &str, body: Vec<u8>| {
        let headers = [("authorization", shown.as_str()), ("content-type", kind)];
        site.raw("PUT", &site.path(0, "configData"), &headers, body)
            .await
    };
    let json = "application/json";
    put(json, b"{".to_vec())
        .await
        .check(400, "body", "not JSON");
    put(json, b"{}".to_vec())
        .await
        .check(400, "body", "missing field `data`");
    put(json, br#"{"data": {"a": 1}}"#.to_vec())
        .await
        .check(400, "body", "expected a string");
    put(json, br#"{"mode": "add", "data": {}}"#.to_vec())
        .await
        .check(400, "body", "unknown variant `add`");
    put(json, br#"{"data": {}}"#.to_vec())
        .await
        .check(400, "attributes", "there are none");
    put(json, vec![b' '; 65 * 1024])
        .await
        .check(413, "too_large", "too large");
    put("application/cbor", vec![0xff; 9])
        .await
        .check(400, "body", "not CBOR");
    put("application/cbor", vec![0; 65 * 1024])
        .await
        .check(413, "too_large", "too large");
    put("text/plain", b"{}".to_vec())
        .await
        .check(415, "content_type", "no form that is known");
    let feed = json!({ "status": { "execution": "done", "result": { "finished": "none" } } });
    let unknown = site
        .send(0, "POST", "deploymentBase/1/feedback", &feed)
        .await;
    unknown.check(400, "body", "unknown variant `done`");

    let take = async |accept: &str| {
        let headers = [("authorization", shown.as_str()), ("accept", accept)];
        let answer = site
            .raw("GET", &site.path(0, ""), &headers, Vec::new())
            .await;
        let kind = answer.headers.get(header::CONTENT_TYPE).cloned();
        (answer.status, kind.unwrap().to_str().unwrap().to_owned())
    };
    let hal = "application/hal+json";
    assert_eq!(take(&format!("{hal}, {json}")).await, (200, hal.to_owned()));
    assert_eq!(take("text/html, */*;q=0.1").await, (200, json.to_owned()));
    assert_eq!(take("text/html").await.0, 406);

    let part = async |range: &str| {
        let headers = [("authorization", shown.as_str()), ("range", range)];
        let path = site.path(0, "softwaremodules/1/artifacts/fan.capsule");
        site.raw("GET", &path, &headers, Vec::new()).await
    };
    let whole = site
        .get(0, "softwaremodules/1/artifacts/fan.capsule")
        .await
        .bytes;
    let middle = part("bytes=100-299").await;
    assert_eq!((middle.status, &middle.bytes[..]), (206, &whole[100..300]));
    let said = format!("bytes 100-299/{}", whole.len());
    assert_eq!(middle.headers[header::CONTENT_RANGE], said);
    let rest = part("bytes=2000-").await;
    assert_eq!(&rest.bytes[..], &whole[2000..]);
    let beyond = part(&format!("bytes={}-", whole.len())).await;
    beyond.check(
        416,
        "range",
        &format!("`fan.capsule` has {} bytes", whole.len()),
    );
    part("bytes=0-1,5-6").await.check(416, "range", "has");

    // However much a device says, what is kept of it stays small.
    let long = json!({ "status": { "execution": "proceeding", "result": { "finished": "none" },
        "details": vec!["x".repeat(2000); 20] } });
    for _ in 0..60 {
        assert_eq!(
            site.send(0, "POST", "deploymentBase/1/feedback", &long)
                .await
                .status,
            200
        );
    }
    let action = tinyops_store::ddi::newest(site.app.db(), site.devices[0].0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(action.detail["history"].as_array().unwrap().len(), 50);
    assert!(action.detail.to_string().len() < 300_000);
}
