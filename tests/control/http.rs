//! The HTTP interface, as a program that speaks to it sees it.

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem_document() {
    let server = server(|_| {}).await;
    let _phone = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.participants == 1).await;
    let id = participants(&server, "100").await[0];
    let participant = format!("/v1/conferences/100/participants/{id}");
    let typed = "PATCH /v1/conferences/100\nContent-Type";
    let long = "x".repeat(20_000);
    for (status, head, body) in [
        (404, "GET /".to_owned(), ""),
        (404, "GET /v1/nothing".into(), ""),
        (404, "GET /v1/conferences/none".into(), ""),
        (404, "GET /v1/conferences/none/participants".into(), ""),
        (
            404,
            "GET /v1/conferences/100/participants/999999".into(),
            "",
        ),
        (404, "GET /v1/conferences/100/participants/alice".into(), ""),
        (404, "DELETE /v1/conferences/none".into(), ""),
        (
            404,
            format!("PATCH {}", participant.replace("100", "1")),
            "{}",
        ),
        (400, "GET /v1/conferences/%ff".into(), ""),
        (400, "PATCH /v1/conferences/100".into(), ""),
        (400, "PATCH /v1/conferences/100".into(), "{\"locked\": tru"),
        (422, "PATCH /v1/conferences/100".into(), "{\"locked\": 1}"),
        (422, "PATCH /v1/conferences/100".into(), "{\"lock\": true}"),
        (
            422,
            format!("PATCH {participant}"),
            "{\"input_gain_db\": 25}",
        ),
        (422, format!("PATCH {participant}"), "{\"gain\": 1}"),
        (405, "POST /v1/conferences".into(), "{}"),
        (405, "PUT /healthz".into(), ""),
        (413, "PATCH /v1/conferences/100".into(), &long),
        (415, format!("{typed}: text/plain"), "{\"locked\": true}"),
        (
            415,
            format!("{typed}: application/x-www-form-urlencoded"),
            "{\"locked\": true}",
        ),
    ] {
        let answer = http(&server, &head, body).await;
        let about = format!("{head}: {}", answer.text);
        assert_eq!(answer.status, status, "{about}");
        let kind = answer.header("Content-Type");
        assert_eq!(kind, Some("application/problem+json"), "{about}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{about}");
        assert_eq!(problem["type"], "about:blank", "{about}");
        for text in ["title", "detail"] {
            assert!(!problem[text].as_str().unwrap().is_empty(), "{about}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_http_asks_of_every_resource_are_there() {
    let server = server(|_| {}).await;
    let head = http(&server, "HEAD /v1/conferences", "").await;
    assert_eq!((head.status, body(&head.text)), (200, ""));
    assert_eq!(head.header("Content-Type"), Some("application/json"));
    let options = http(&server, "OPTIONS /v1/conferences/100", "").await;
    assert_eq!((options.status, body(&options.text)), (204, ""));
    assert_eq!(options.header("Allow"), Some("GET,HEAD,PATCH,DELETE"));
    let refused = http(&server, "PUT /v1/conferences", "").await;
    assert_eq!(refused.header("Allow"), Some("GET,HEAD"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conferences_and_participants_are_shown_as_documented() {
    let server = server(|_| {}).await;
    let empty = http(&server, "GET /v1/conferences", "").await;
    assert_eq!(empty.json(), json!({"conferences": []}));
    let mut phone = Phone::call(&server, "a+b~c").await.unwrap();
    until(&server, |o| o.participants == 1).await;
    talk(&mut [(&mut phone, Some(500.0))], 1000).await;

    let list = http(&server, "GET /v1/conferences", "").await.json();
    let one = http(&server, "GET /v1/conferences/a%2Bb%7Ec", "").await;
    assert_eq!(one.status, 200, "{}", one.text);
    let one = one.json();
    assert_eq!(list["conferences"][0]["name"], one["name"]);
    let id = &one["talkers"][0];
    assert_eq!(
        one,
        json!({
            "name": "a+b~c", "participants": 1, "talkers": [id], "locked": false, "pin_required": false,
            "configured": false, "max_participants": 0, "rate": "auto", "created_at": one["created_at"],
        })
    );
    let path = format!("GET /v1/conferences/a+b~c/participants/{id}");
    let mut shown = http(&server, &path, "").await.json();
    let media = shown["media"].take();
    let at = shown["joined_at"].as_str().unwrap().to_owned();
    assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
    assert_eq!(
        shown,
        json!({
            "id": id, "caller": {"name": "Alice", "number": "alice"}, "muted": false, "deaf": false,
            "talking": true, "admin": false, "joined_at": at, "media": null,
        })
    );
    assert_eq!(media["codec"], "PCMU");
    assert_eq!(media["sample_rate"], 8000);
    assert_eq!(media["ptime_ms"], 20);
    assert_eq!(media["on_hold"], false);
    assert_eq!(media["loss_fraction"], 0.0);
    assert!(media["packets_received"].as_u64().unwrap() > 30, "{media}");
    assert!(media["packets_sent"].as_u64().unwrap() > 30, "{media}");
    let level = media["level_in_dbov"].as_f64().unwrap();
    assert!((-20.0..-10.0).contains(&level), "{level}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_health_is_shown_without_it() {
    let server = server(|config| config.http.token = Some("secret".into())).await;
    assert_eq!(http(&server, "GET /healthz", "").await.status, 200);
    for path in ["/metrics", "/v1/conferences", "/v1/conferences/1"] {
        let refused = http(&server, &format!("GET {path}"), "").await;
        assert_eq!(refused.status, 401);
        let challenge = refused.header("WWW-Authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"unisono\""));
        assert_eq!(refused.json()["status"], 401);
        let wrong = format!("GET {path}\nAuthorization: Bearer wrong");
        assert_eq!(http(&server, &wrong, "").await.status, 401);
        let right = format!("GET {path}\nAuthorization: Bearer secret");
        assert_ne!(http(&server, &right, "").await.status, 401);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_metrics() {
    let server = server(|_| {}).await;
    let mut phone = Phone::call(&server, "100").await.unwrap();
    talk(&mut [(&mut phone, Some(500.0))], 500).await;
    let answer = http(&server, "GET /metrics", "").await;
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = body(&answer.text);
    assert!(text.ends_with("\n# EOF\n"));
    let value = |name: &str| -> f64 {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .unwrap()
    };
    assert_eq!(value("unisono_participants"), 1.0);
    assert_eq!(value("unisono_legs"), 1.0);
    assert_eq!(value("unisono_sip_calls_received_total"), 1.0);
    assert!(value("unisono_intervals_mixed_total{worker=\"0\"}") > 10.0);
    assert!(value("unisono_worker_busy_seconds_total{worker=\"0\"}") > 0.0);

    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("unisono_tick_lateness_seconds_bucket{le=\""))
        .map(|line| {
            let (bound, rest) = line.split_once('"').unwrap();
            let bound = if bound == "+Inf" { "inf" } else { bound };
            let count = rest.rsplit(' ').next().unwrap();
            (bound.parse().unwrap(), count.parse().unwrap())
        })
        .collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert!(buckets.iter().map(|bucket| bucket.1).is_sorted());
    let (bound, count) = *buckets.last().unwrap();
    assert_eq!(bound, f64::INFINITY);
    assert!(count > 10.0);
    assert_eq!(
        count,
        value("unisono_tick_lateness_seconds_count{worker=\"0\"}")
    );
    // Each family is described once, before its samples.
    let mut described: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let families = described.len();
    described.sort_unstable();
    described.dedup();
    assert_eq!(described.len(), families);
    server.stop().await;
}
