//! The HTTP interface of a running server, over the wire.

mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use server::{Answer, Server};

#[test]
fn healthz_says_that_the_server_is_well() {
    let server = start("healthz", None);
    let answer = server.get("/healthz");
    assert_eq!(answer.status, 200, "{answer:?}");
    let health = answer.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["participants"], 0);
}

#[test]
fn metrics_are_in_the_text_format_of_prometheus() {
    let server = start("metrics", None);
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"),
        "{kind}"
    );
    let families: Vec<&str> = answer
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert!(families.len() > 5, "{families:?}");
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("unisono_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn an_idle_server_lists_no_conference() {
    let server = start("idle", None);
    let answer = server.get("/v1/conferences");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["conferences"], serde_json::json!([]));
}

#[test]
fn a_configured_conference_is_listed_before_anybody_calls() {
    let server = start(
        "configured",
        Some("[[conference]]\nname = \"1000\"\npin = \"4711\"\nmax_participants = 3\n"),
    );
    let answer = server.get("/v1/conferences/1000");
    assert_eq!(answer.status, 200, "{answer:?}");
    let conference = answer.json();
    assert_eq!(conference["name"], "1000");
    assert_eq!(conference["pin_required"], true);
    assert_eq!(conference["max_participants"], 3);
    assert_eq!(conference["participants"], 0);
    assert!(
        !answer.body.contains("4711"),
        "a PIN is nobody's business: {}",
        answer.body
    );
    assert!(server.participants("1000").is_empty());
}

#[test]
fn a_conference_is_locked_and_unlocked() {
    let server = start("lock", Some("[[conference]]\nname = \"1000\"\n"));
    for locked in [true, false] {
        let answer = server.patch("/v1/conferences/1000", &format!("{{\"locked\":{locked}}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["locked"], locked);
        assert_eq!(server.get("/v1/conferences/1000").json()["locked"], locked);
    }
}

#[test]
fn what_is_not_there_is_a_problem_of_status_404() {
    let server = start("not-found", None);
    for path in [
        "/",
        "/v2",
        "/v1/conferences/nobody",
        "/v1/conferences/nobody/participants",
        "/v1/conferences/nobody/participants/1",
        "/v1/conferences/%00",
    ] {
        assert_problem(&server.get(path), 404);
    }
    assert_problem(&server.delete("/v1/conferences/nobody/participants/1"), 404);
    assert_problem(
        &server.patch("/v1/conferences/nobody", "{\"locked\":true}"),
        404,
    );
}

#[test]
fn a_method_that_a_resource_does_not_take_is_a_problem_of_status_405() {
    let server = start("method", None);
    for (method, path) in [
        ("POST", "/v1/conferences"),
        ("DELETE", "/healthz"),
        ("PUT", "/v1/conferences/1000"),
    ] {
        let answer = server.request(method, path, "", Some("{}"));
        assert_problem(&answer, 405);
        assert!(
            answer
                .header("allow")
                .is_some_and(|allow| allow.contains("GET")),
            "{answer:?}"
        );
    }
}

#[test]
fn a_body_that_does_not_fit_is_a_problem_that_says_what_was_expected() {
    let server = start("body", Some("[[conference]]\nname = \"1000\"\n"));
    for body in [
        "",
        "{",
        "[]",
        "{}",
        "{\"locked\":1}",
        "{\"locked\":true,\"colour\":\"red\"}",
        "\u{0}",
    ] {
        let answer = server.patch("/v1/conferences/1000", body);
        assert!(matches!(answer.status, 400 | 422), "{body:?}: {answer:?}");
        assert_problem(&answer, answer.status);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("locked"), "{detail}");
    }
    assert_eq!(server.get("/v1/conferences/1000").json()["locked"], false);
}

#[test]
fn bytes_that_are_not_http_are_refused_and_the_server_goes_on() {
    let mut server = start("not-http", None);
    for nonsense in [
        "\r\n\r\n\r\n\r\n",
        "INVITE sip:100@127.0.0.1 SIP/2.0\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ] {
        if let Some(answer) = server.nonsense(nonsense) {
            assert_eq!(answer.status, 400, "{nonsense:?}: {answer:?}");
        }
    }
    assert!(server.is_running());
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn requests_and_nonsense_are_counted() {
    let server = start("counted", None);
    let of = |class: &str| server.metric(&format!("http_requests_total{{status=\"{class}\"}}"));
    let (well, wrong) = (of("2xx"), of("4xx"));
    assert_eq!(server.get("/nothing/here").status, 404);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(of("4xx"), wrong + 1.0);
    assert!(of("2xx") > well);
    assert_eq!(of("5xx"), 0.0);
    server.nonsense("nonsense\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.metric("http_connections_failed_total") < 1.0 {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(server.metric("http_connections_refused_total"), 0.0);
}

#[test]
fn with_a_token_only_those_who_know_it_are_served_and_health_is_everybodys() {
    let server = start("token", Some("[http]\ntoken = \"open-sesame\"\n"));
    let with = |authorization: &str| {
        server.request(
            "GET",
            "/v1/conferences",
            &format!("Authorization: {authorization}\r\n"),
            None,
        )
    };
    for path in ["/v1/conferences", "/v1/conferences/1", "/metrics"] {
        let answer = server.get(path);
        assert_problem(&answer, 401);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
    }
    assert_problem(&with("Bearer close-sesame"), 401);
    assert_problem(&with("Basic b3BlbiBzZXNhbWU="), 401);
    assert_eq!(with("Bearer open-sesame").status, 200);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn the_server_ends_with_status_0_when_asked_to() {
    let status = start("end", None).stop();
    assert_eq!(status.code(), Some(0));
}

fn start(name: &str, config: Option<&str>) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("http-{name}"));
    std::fs::create_dir_all(&folder).expect("make the test's folder");
    Server::start(&folder, config)
}

/// A problem as RFC 9457 has it, whose members agree with the answer.
fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    for member in ["title", "detail"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{problem}"
        );
    }
}
