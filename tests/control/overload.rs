//! A server that has too much to do, as callers and operators see it. What is too much is set by the thresholds.

use unisono::config::Conference;
use unisono::engine::Level;

use crate::support::*;

const A: f64 = 500.0;
const B: f64 = 1500.0;

#[tokio::test(flavor = "multi_thread")]
async fn new_calls_are_refused_with_a_time_to_come_back_and_old_ones_go_on() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.participants == 2).await;
    let health = http(&server, "GET /healthz", "").await.json();
    assert_eq!(health["status"], "ok");

    let held = http(&server, "PATCH /v1/overload", r#"{"refuse_above": 0}"#).await;
    assert_eq!(
        (held.status, &held.json()["level"]),
        (200, &"refusing".into()),
        "{}",
        held.text
    );
    for number in ["100", "200"] {
        let mut raw = RawPhone::new(&server, number).await;
        let refused = raw.invite(&description(30_000, 1, "sendrecv")).await;
        assert!(refused.starts_with("SIP/2.0 503 Overloaded"), "{refused}");
        let seconds: u32 = header(&refused, "Retry-After").unwrap().parse().unwrap();
        assert!((5..=60).contains(&seconds), "{refused}");
    }

    // Those who are in it notice nothing, and may hold and come back.
    assert!(a.offer(2, "sendonly").await.contains("a=recvonly"));
    assert!(a.offer(3, "sendrecv").await.contains("a=sendrecv"));
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(a.hears(B) && b.hears(A));

    let health = http(&server, "GET /healthz", "").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &"degraded".into())
    );
    let reason = health.json()["reasons"][0].to_string();
    for word in ["worker 0", "refusing", "503", "docs/overload.md"] {
        assert!(reason.contains(word), "{reason}");
    }
    let metrics = http(&server, "GET /metrics", "").await.text;
    for line in [
        r#"unisono_calls_refused_total{reason="overload"} 2"#,
        r#"unisono_overload_level{worker="0"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(
        metrics.contains("unisono_worker_load_ratio{worker=\"0\"} 0."),
        "{metrics}"
    );
    let view = http(&server, "GET /v1/overload", "").await.json();
    assert_eq!(
        (&view["calls_refused"], &view["refuse_above"]),
        (&2.into(), &0.into())
    );
    assert_eq!(
        (&view["workers"][0]["legs"], &view["workers"][0]["worker"]),
        (&2.into(), &0.into())
    );

    http(&server, "PATCH /v1/overload", r#"{"refuse_above": 80}"#).await;
    until(&server, |o| o.overload_problem.is_none()).await;
    Phone::call(&server, "100").await.unwrap();
    Phone::call(&server, "200").await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_phones_doze_and_are_heard_when_they_begin_to_talk() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.participants == 2).await;
    let all = r#"{"refuse_above": 0, "trim_above": 0, "shed_above": 0}"#;
    let set = http(&server, "PATCH /v1/overload", all).await;
    assert_eq!(set.status, 200, "{}", set.text);
    until(&server, |o| o.workers[0].figures.dozing == 2).await;
    listen_to(&mut [(&mut a, Some(A)), (&mut b, None)]).await;
    assert!(b.hears(A) && !a.hears(A));
    let usual = r#"{"refuse_above": 80, "trim_above": 90, "shed_above": 97}"#;
    http(&server, "PATCH /v1/overload", usual).await;
    until(&server, |o| {
        o.workers[0].level == Level::Normal && o.workers[0].figures.dozing == 0
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_out_of_order_are_refused_and_change_nothing() {
    let server = server(|config| config.overload.refuse_above = 70).await;
    for (body, status) in [
        (r#"{"refuse_above": 95}"#, 422),
        (r#"{"shed_above": 101}"#, 422),
        (r#"{"trim_above": 300}"#, 422),
        (r#"{"refuse": 1}"#, 422),
        ("{", 400),
    ] {
        let answer = http(&server, "PATCH /v1/overload", body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let view = http(&server, "GET /v1/overload", "").await.json();
    assert_eq!(
        view,
        serde_json::json!({
            "level": "normal", "refuse_above": 70, "trim_above": 90, "shed_above": 97, "calls_refused": 0,
            "workers": [{
                "worker": 0, "level": "normal", "load": 0.0, "legs": 0, "conferences": 0, "dozing_legs": 0,
            }],
        })
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_begin_by_refusing() {
    let server = server(|config| config.overload.refuse_above = 0).await;
    let refused = Phone::call(&server, "100").await.unwrap_err();
    assert_eq!(refused, (503, "Overloaded".into()));
    until(&server, |o| {
        o.conferences == 0 && o.legs == 0 && o.rooms == 0
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_conferences_keep_no_worker_awake() {
    let server = server(|config| {
        let settings = config.policy.defaults.clone();
        config.conferences = (0..10_000)
            .map(|number| Conference {
                name: format!("{number}"),
                settings: settings.clone(),
            })
            .collect();
    })
    .await;
    let ticks = async || {
        let overview = server.control().overview().await.unwrap();
        overview.workers[0].lateness.count()
    };
    let list = http(&server, "GET /v1/conferences", "").await.json();
    assert_eq!(list["conferences"].as_array().unwrap().len(), 10_000);
    assert_eq!(ticks().await, 0, "nobody ever called");

    let mut phone = Phone::call(&server, "7777").await.unwrap();
    until(&server, |o| o.participants == 1 && o.rooms == 1).await;
    until(&server, |o| o.workers[0].lateness.count() > 10).await;
    phone.exchange.sip.hang_up(phone.call, "").await.unwrap();
    phone.end().await;
    until(&server, |o| {
        o.legs == 0 && o.rooms == 0 && o.workers[0].figures.legs == 0
    })
    .await;
    // It sleeps again, when the machine has let it get there.
    let mut before = ticks().await;
    let mut looks = 0;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = ticks().await;
        if now == before {
            break;
        }
        looks += 1;
        assert!(looks < 60, "it never sleeps");
        before = now;
    }
    let overview = server.control().overview().await.unwrap();
    assert_eq!(overview.conferences, 10_000);
    server.stop().await;
}
