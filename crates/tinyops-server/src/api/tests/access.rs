//! Roles, tokens, and what comes without one.

use tinyops_fleet::access::{Right, may};
use tinyops_fleet::enrol::Entropy;
use tinyops_store::access::Role;

use super::*;

const ADMIN: &str = "0123456789abcdef0123456789abcdef";

async fn token(app: &App, role: Role, number: u8) -> String {
    let name = format!("{role}-{number}");
    let made = app.fleet().make_access_token(
        &name,
        role,
        Some(NOW.plus_ms(1)),
        Entropy([number; 40]),
        "test",
        NOW,
    );
    made.await.unwrap().1
}

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let app = app(Some(ADMIN)).await;
    let router = router(app.clone());
    let (_, document) = call(&router, "GET", "/api/v1/openapi.json", None, Value::Null).await;
    let mut seen = 0;
    for (number, role) in Role::ALL.iter().enumerate() {
        let token = token(&app, *role, number as u8).await;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let Some(right) = operation["x-right"].as_str() else {
                    continue;
                };
                let right = Right::ALL.iter().find(|known| known.word() == right);
                let may = may(*role, *right.unwrap());
                let path = path.replace(['{', '}'], "");
                let method = method.to_uppercase();
                let answer = call(&router, &method, &path, Some(&token), Value::Null).await;
                let code = answer.1["code"].as_str().unwrap_or_default();
                let is_let_in = !(code == "role" || code == "token");
                assert!(is_let_in == may, "{role} {method} {path}: {answer:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100);
    for (number, role) in Role::ALL.iter().enumerate() {
        let shown = format!("tinyops_{}", format!("{number:02x}").repeat(32));
        let new = enrolment::New::of(number as u8, None, "esp-eye");
        let wish = json!({ "request": new.hex() });
        let (status, _) = call(&router, "POST", "/api/v1/devices", Some(&shown), wish).await;
        let expected = if may(*role, Right::Operate) { 201 } else { 403 };
        assert_eq!(status.as_u16(), expected, "{role}");
    }
}

#[tokio::test]
async fn reads_need_a_token_off_loopback_and_health_does_not() {
    let router = router(app(Some(ADMIN)).await);
    for path in [
        "/api/v1/devices",
        "/api/v1/fleet",
        "/api/v1/audit",
        "/metrics",
    ] {
        let denied = call(&router, "GET", path, None, Value::Null).await;
        check_problem_or_bare(&denied, path);
        let (status, _) = call(&router, "GET", path, Some(ADMIN), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    for path in ["/health", "/ready", "/api/v1/openapi.json"] {
        let (status, _) = call(&router, "GET", path, None, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[track_caller]
fn check_problem_or_bare(answer: &(StatusCode, Value), path: &str) {
    assert_eq!(answer.0, StatusCode::UNAUTHORIZED, "{path}");
    assert_eq!(answer.1["code"], "token", "{path}");
}

#[tokio::test]
async fn a_token_that_is_over_revoked_or_unknown_says_so_even_on_loopback() {
    let app = app(None).await;
    let router = router(app.clone());
    let wish = |name: &str, at: i64| json!({ "name": name, "role": "viewer", "expires_at_ms": at });
    let (status, made) = call(
        &router,
        "POST",
        "/api/v1/tokens",
        None,
        wish("ana", NOW.0 + 1000),
    )
    .await;
    assert_eq!(status, StatusCode::CREATED);
    let shown = made["token"].as_str().unwrap();
    assert!(
        shown.starts_with("tinyops_") && shown.len() == 72,
        "{shown}"
    );
    let (_, listed) = call(&router, "GET", "/api/v1/tokens", None, Value::Null).await;
    assert_eq!(listed[0]["name"], "ana");
    assert!(
        !listed.to_string().contains(&shown[8..]),
        "a token is shown once"
    );
    let get = async |token: &str| {
        let answer = call(&router, "GET", "/api/v1/devices", Some(token), Value::Null).await;
        let message = answer.1["message"].as_str().unwrap_or_default().to_owned();
        (answer.0.as_u16(), message)
    };
    assert_eq!(get(shown).await.0, 200);
    let again = call(
        &router,
        "POST",
        "/api/v1/tokens",
        None,
        wish("ana", NOW.0 + 1000),
    )
    .await;
    check_problem(&again, 409, "exists");
    let over = call(&router, "POST", "/api/v1/tokens", None, wish("ben", NOW.0)).await;
    check_problem(&over, 422, "expiry");
    for code in [204, 409] {
        let (status, _) = call(&router, "DELETE", "/api/v1/tokens/ana", None, Value::Null).await;
        assert_eq!(status.as_u16(), code);
    }
    assert_eq!(get(shown).await, (401, "the token is revoked".into()));
    let unknown = "tinyops_00";
    assert_eq!(
        get(unknown).await,
        (401, "the token was not made here".into())
    );

    let made = app.fleet().make_access_token(
        "cleo",
        Role::Viewer,
        Some(NOW),
        Entropy([3; 40]),
        "test",
        NOW.plus_ms(-1),
    );
    let (_, ended) = made.await.unwrap();
    assert_eq!(get(&ended).await, (401, "the token's time is over".into()));
}

/// What a browser is made to send by a page elsewhere, or by a name that somebody's DNS says is this machine.
#[tokio::test]
async fn calls_on_loopback_that_come_from_elsewhere_are_not_local() {
    let router = router(app(None).await);
    let cases = [
        (vec![("host", "127.0.0.1:8420")], 202),
        (
            vec![
                ("host", "localhost:8420"),
                ("origin", "http://localhost:8420"),
            ],
            202,
        ),
        (
            vec![
                ("host", "localhost:8420"),
                ("origin", "http://evil.example"),
            ],
            403,
        ),
        (vec![("host", "localhost:8420"), ("origin", "null")], 403),
        (
            vec![("host", "localhost:8420"), ("sec-fetch-site", "cross-site")],
            403,
        ),
        (vec![("host", "evil.example:8420")], 401),
        (
            vec![("host", "localhost"), ("x-forwarded-for", "10.0.0.9")],
            401,
        ),
    ];
    for (headers, status) in cases {
        let mut request = Request::post("/api/v1/runs").header("content-type", "application/json");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from("{}")).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{headers:?}");
    }
}

async fn answer(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> axum::response::Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn text(answer: axum::response::Response) -> String {
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_browser_logs_in_looks_and_leaves() {
    let app = app(Some(ADMIN)).await;
    let router = router(app.clone());
    let viewer = token(&app, Role::Viewer, 1).await;
    let host = ("host", "tinyops.lan:8420");
    let own = ("origin", "http://tinyops.lan:8420");
    let form = ("content-type", "application/x-www-form-urlencoded");

    let sent = answer(&router, "GET", "/devices?after=1", &[host], "").await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let to = sent.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(to, "/login?next=/devices%3Fafter%3D1");
    let page = text(answer(&router, "GET", &to, &[host], "").await).await;
    assert!(page.contains("value=\"/devices?after=1\""), "{page}");

    let wrong = answer(&router, "POST", "/login", &[host, own, form], "token=wrong").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let foreign = [host, ("origin", "http://evil.example"), form];
    let shown = format!("token={viewer}&next=//evil.example");
    let refused = answer(&router, "POST", "/login", &foreign, &shown).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let gateway = token(&app, Role::Gateway, 2).await;
    let shown_by_gateway = format!("token={gateway}");
    let own_form = [host, own, form];
    let refused = answer(&router, "POST", "/login", &own_form, &shown_by_gateway).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    let entered = answer(&router, "POST", "/login", &[host, own, form], &shown).await;
    assert_eq!(entered.headers()[header::LOCATION], "/");
    let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Max-Age=43200", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(
        !cookie.contains(&viewer[8..]),
        "the cookie is not the token"
    );
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    let page = answer(&router, "GET", "/devices", &[host, cookie], "").await;
    assert_eq!(page.status(), StatusCode::OK);
    let you = text(answer(&router, "GET", "/login", &[host, cookie], "").await).await;
    assert!(you.contains("viewer-1"), "{you}");
    let word = you.split("name=\"word\" value=\"").nth(1).unwrap();
    let word = format!("word={}", word.split('"').next().unwrap());

    // The cookie opens the API for the server's own pages, as far as the role goes, and for no other page.
    let json = ("content-type", "application/json");
    for (origin, status) in [
        (Some(own.1), 403),
        (Some("http://evil.example"), 403),
        (None, 403),
    ] {
        let mut headers = vec![host, cookie, json];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let refused = answer(&router, "POST", "/api/v1/runs", &headers, "{}").await;
        assert_eq!(refused.status().as_u16(), status, "{origin:?}");
        let code = text(refused).await;
        let expected = if origin == Some(own.1) {
            "\"role\""
        } else {
            "\"origin\""
        };
        assert!(code.contains(expected), "{origin:?}: {code}");
    }

    let refused = answer(
        &router,
        "POST",
        "/logout",
        &[host, own, form, cookie],
        "word=0",
    )
    .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let left = answer(
        &router,
        "POST",
        "/logout",
        &[host, own, form, cookie],
        &word,
    )
    .await;
    assert!(
        left.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let page = answer(&router, "GET", "/devices", &[host, cookie], "").await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER, "the session is over");

    // A session ends with its token.
    let entered = answer(&router, "POST", "/login", &[host, own, form], &shown).await;
    let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    app.fleet()
        .revoke_access_token("viewer-1", "test", NOW)
        .await
        .unwrap();
    let page = answer(&router, "GET", "/devices", &[host, cookie], "").await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    let log = tinyops_store::audit::about(app.db(), "pages", 9)
        .await
        .unwrap();
    let actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["session.open", "session.close", "session.open"]);
}
