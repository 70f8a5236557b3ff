//! Devices that enrol over HTTP, and those that may not.

use tinyops_fleet::enrol::device_password;
use tinyops_wire::enrolment::{
    ClassToken, EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request as Asked, open,
};
use tinyops_wire::{DeviceId, DeviceKey};

use super::*;

/// A device before it is anyone.
pub(super) struct New {
    secret: EnrolmentSecret,
    request: Vec<u8>,
}

impl New {
    /// One whose request an operator brings.
    pub(super) fn of(number: u8, device: Option<u64>, board: &str) -> New {
        New::with(number, device, board, Proof::Operator)
    }

    fn with(number: u8, device: Option<u64>, board: &str, proof: Proof<'_>) -> New {
        let secret = EnrolmentSecret::from_bytes([number; 32]);
        let asked = Asked {
            key_set: 1,
            device: device.map(DeviceId),
            public: secret.public(),
            nonce: [number; 16],
            board,
        };
        let mut request = vec![0; REQUEST_BYTES_MAX];
        let written = asked.encode(proof, &mut request).unwrap();
        request.truncate(written);
        New { secret, request }
    }

    pub(super) fn hex(&self) -> String {
        crate::text::hex(&self.request)
    }

    fn open(&self, answer: &[u8]) -> (DeviceId, DeviceKey) {
        let trust = Keyring::from_seed(&[7; 32]).trust;
        let opened = open(
            &self.secret,
            &self.request,
            answer,
            &trust.roots,
            &trust.keys,
        );
        let opened = opened.unwrap();
        (opened.device, opened.key)
    }
}

async fn post(router: &Router, bytes: &[u8]) -> (StatusCode, Vec<u8>) {
    let request = Request::post("/api/v1/enrol").body(Body::from(bytes.to_vec()));
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, bytes.to_vec())
}

async fn token(router: &Router, admin: Option<&str>) -> ClassToken {
    let wish = json!({ "board": "esp-eye", "cohort": "hall-2", "uses": 1 });
    let (status, made) = call(router, "POST", "/api/v1/class-tokens", admin, wish).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["token"].as_str().unwrap().parse().unwrap()
}

/// What the walk over all calls asks of this one.
pub(super) async fn enrol_by_token(app: &App, router: &Router) -> StatusCode {
    let new = tinyops_fleet::credential::NewToken {
        board: "esp-eye".into(),
        cohort: "hall-2".into(),
        tags: Vec::new(),
        uses: 1,
        expires_at: None,
    };
    let entropy = tinyops_fleet::enrol::Entropy([77; 40]);
    let made = app.fleet().make_class_token(&new, entropy, "test", NOW);
    let token = made.await.unwrap().1;
    let device = New::with(88, None, "esp-eye", Proof::Token(&token));
    post(router, &device.request).await.0
}

#[tokio::test]
async fn a_device_enrols_by_itself_where_everybody_else_shows_a_token() {
    const ADMIN: Option<&str> = Some("0123456789abcdef0123456789abcdef");
    let router = router(app(ADMIN).await);
    let token = token(&router, ADMIN).await;
    let device = New::with(1, None, "esp-eye", Proof::Token(&token));
    let (status, answer) = post(&router, &device.request).await;
    assert_eq!(status, StatusCode::OK);
    let (id, key) = device.open(&answer);
    let shown = format!("{id}.{}", device_password(&key, id));
    let owed = async |shown: &str| {
        let answer = call(&router, "GET", "/api/v1/owed", Some(shown), Value::Null).await;
        answer.0.as_u16()
    };
    assert_eq!(owed(&shown).await, 200);
    // The same again, as after an answer that was lost.
    assert_eq!(post(&router, &device.request).await, (status, answer));

    let (_, listed) = call(&router, "GET", "/api/v1/class-tokens", ADMIN, Value::Null).await;
    assert_eq!(
        (&listed[0]["used"], &listed[0]["uses"]),
        (&json!(1), &json!(1))
    );
    let text = token.text().to_string();
    assert!(
        !listed.to_string().contains(&text[30..]),
        "it is shown once"
    );
    let path = format!("/api/v1/devices/{id}");
    let (_, about) = call(&router, "GET", &path, ADMIN, Value::Null).await;
    assert_eq!(
        (&about["cohort"], &about["state"]),
        (&json!("hall-2"), &json!("active"))
    );

    let refusals = [
        (
            New::with(2, None, "esp-eye", Proof::Token(&token)),
            403,
            "token_used_up",
        ),
        (
            New::with(3, None, "arduino", Proof::Token(&token)),
            403,
            "board",
        ),
        (
            New::with(4, None, "esp-eye", Proof::Operator),
            401,
            "no_proof",
        ),
        (
            New::with(
                5,
                None,
                "esp-eye",
                Proof::Token(&ClassToken::new(token.id, [0; 32])),
            ),
            401,
            "token_tag",
        ),
        (
            New::with(1, Some(7), "esp-eye", Proof::Token(&token)),
            409,
            "key_used",
        ),
    ];
    for (new, status, code) in refusals {
        let (got, body) = post(&router, &new.request).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["is_final"], true, "{code}");
        check_problem(&(got, problem), status, code);
    }
    let (got, body) = post(&router, b"").await;
    check_problem(
        &(got, serde_json::from_slice(&body).unwrap()),
        422,
        "malformed",
    );
    // From one address so often and not more: there is none in this test, which is one, too.
    for _ in 0..80 {
        post(&router, b"guess").await;
    }
    let (status, body) = post(&router, b"guess").await;
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.get("is_final"), None, "later, it may be let in");
    check_problem(&(status, problem), 429, "address_rate");

    // Revoked, it is out at once; allowed, another key comes back under the same id.
    let revoked = call(&router, "DELETE", &path, ADMIN, Value::Null).await;
    assert_eq!(revoked.0, StatusCode::NO_CONTENT);
    assert_eq!(owed(&shown).await, 401);
    let back = New::of(6, Some(id.0), "esp-eye");
    let wish = || json!({ "request": back.hex() });
    let refused = call(&router, "POST", "/api/v1/devices", ADMIN, wish()).await;
    check_problem(&refused, 403, "revoked");
    let allow = format!("{path}/allow");
    for (hours, status) in [(0, 422), (721, 422), (1, 204)] {
        let answer = call(&router, "POST", &allow, ADMIN, json!({ "hours": hours })).await;
        assert_eq!(answer.0.as_u16(), status, "{hours}");
    }
    let (status, registered) = call(&router, "POST", "/api/v1/devices", ADMIN, wish()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(registered["up"], format!("t/{id}/up"));
    let answer = registered["answer"].as_str().unwrap();
    let bytes = |at: usize| u8::from_str_radix(&answer[at..at + 2], 16).unwrap();
    let answer: Vec<u8> = (0..answer.len()).step_by(2).map(bytes).collect();
    let (same, new_key) = back.open(&answer);
    assert_eq!(same, id);
    assert!(registered.get("key").is_none() && registered.get("password").is_none());
    assert_eq!(owed(&shown).await, 401, "the key of before");
    let shown = format!("{id}.{}", device_password(&new_key, id));
    assert_eq!(owed(&shown).await, 200);
}

#[tokio::test]
async fn what_lets_devices_in_is_made_by_those_who_may() {
    const ADMIN: Option<&str> = Some("0123456789abcdef0123456789abcdef");
    let router = router(app(ADMIN).await);
    let class = json!({ "board": "esp-eye", "cohort": "hall-2", "uses": 1 });
    let device = json!({ "request": New::of(1, None, "esp-eye").hex() });
    let authority = json!({ "name": "plant-2", "public": "00" });
    for (path, wish) in [
        ("/api/v1/class-tokens", &class),
        ("/api/v1/devices", &device),
        ("/api/v1/claim-authorities", &authority),
    ] {
        for token in [None, Some("wrong"), Some("")] {
            let denied = call(&router, "POST", path, token, wish.clone()).await;
            check_problem(&denied, 401, "token");
        }
    }
    let bad = call(
        &router,
        "POST",
        "/api/v1/claim-authorities",
        ADMIN,
        authority,
    )
    .await;
    check_problem(&bad, 422, "public_key");
    let none = json!({ "board": "esp-eye", "cohort": "hall-2", "uses": 0 });
    let bad = call(&router, "POST", "/api/v1/class-tokens", ADMIN, none).await;
    check_problem(&bad, 422, "value");
    let bad = call(
        &router,
        "POST",
        "/api/v1/devices",
        ADMIN,
        json!({ "request": "0x" }),
    )
    .await;
    check_problem(&bad, 422, "malformed");
    // A device without a key: nobody can speak in its name.
    let keyless = json!({ "board": "esp-eye", "device": "0000000000000077" });
    let (status, registered) =
        call(&router, "POST", "/api/v1/devices", ADMIN, keyless.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        (&registered["device"], &registered["answer"]),
        (&json!("0000000000000077"), &Value::Null)
    );
    let again = call(&router, "POST", "/api/v1/devices", ADMIN, keyless).await;
    check_problem(&again, 409, "exists");
    let both = json!({ "board": "esp-eye", "request": New::of(9, None, "esp-eye").hex() });
    for wish in [both, json!({ "cohort": "hall-2" })] {
        let bad = call(&router, "POST", "/api/v1/devices", ADMIN, wish).await;
        check_problem(&bad, 422, "body");
    }
    for path in [
        "/api/v1/class-tokens/0000000000000001",
        "/api/v1/class-tokens/x",
        "/api/v1/claim-authorities/none",
    ] {
        let missing = call(&router, "DELETE", path, ADMIN, Value::Null).await;
        check_problem(&missing, 404, "missing");
    }
}
