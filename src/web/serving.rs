//! Connections: not more than a number at a time, and none that idles or dawdles for long.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::meter::WebMeter;

/// HTTP connections at one time, for whose descriptors the capacity leaves room.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// What clients get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at one time; further ones are closed at once.
    pub(super) connections: usize,
    /// A request's head must be complete so long after its connection, or after the answer before it.
    pub(super) header_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            header_time: Duration::from_secs(30),
        }
    }
}

/// Accepts and serves until `stop` becomes true, and then until the requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    limits: Limits,
    router: Router,
    meter: Arc<WebMeter>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < limits.connections => {
                let (router, meter) = (router.clone(), Arc::clone(&meter));
                connections.spawn(connection(stream, limits, router, meter, stop.clone()));
            }
            Ok(_) => WebMeter::add(&meter.connections_refused),
            Err(error) if is_of_one_connection(&error) => {}
            // Out of descriptors, for example, which passes.
            Err(error) => {
                WebMeter::add(&meter.accept_failures);
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    limits: Limits,
    router: Router,
    meter: Arc<WebMeter>,
    mut stop: watch::Receiver<bool>,
) {
    // Whoever does not read what was asked for, also who keeps the window at zero, is given up by the kernel.
    let patience = Some(limits.header_time);
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(patience) {
        tracing::debug!(%error, "an HTTP client that does not read is not given up");
    }
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        WebMeter::add(&meter.connections_failed);
        tracing::debug!(%error, "an HTTP connection failed");
    }
}

/// The sender being gone means the same: the server is going down.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether only the connection that was about to be accepted is concerned: its peer is gone again.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::Ordering::Relaxed;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Long enough that only a hang reaches it.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Fixture {
        address: SocketAddr,
        meter: Arc<WebMeter>,
        stop: watch::Sender<bool>,
        served: tokio::task::JoinHandle<()>,
    }

    impl Fixture {
        async fn new(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let meter = Arc::new(WebMeter::default());
            let (stop, stopped) = watch::channel(false);
            let router = Router::new().route("/", get(|| async { "here" }));
            let served = tokio::spawn(serve(listener, limits, router, Arc::clone(&meter), stopped));
            Self {
                address,
                meter,
                stop,
                served,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    /// An answer to `GET /` on a connection that is kept; `None` if it is closed instead.
    async fn ask(stream: &mut TcpStream) -> Option<String> {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .ok()?;
        let mut answer = String::new();
        while !answer.ends_with("here") {
            let mut part = [0; 512];
            match stream.read(&mut part).await {
                Ok(count) if count > 0 => answer += std::str::from_utf8(&part[..count]).unwrap(),
                _ => return None,
            }
        }
        Some(answer)
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_the_others_go_on() {
        let it = Fixture::new(Limits {
            connections: 3,
            ..Limits::default()
        })
        .await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut stream = it.connect().await;
            assert!(ask(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
            open.push(stream);
        }
        assert_eq!(ask(&mut it.connect().await).await, None);
        assert_eq!(it.meter.connections_refused.load(Relaxed), 1);
        assert!(ask(&mut open[1]).await.is_some());
        drop(open.pop());
        // Its end is noticed a moment later.
        while ask(&mut it.connect().await).await.is_none() {
            tokio::task::yield_now().await;
        }
        // Idle connections do not hold up the end.
        it.stop.send(true).unwrap();
        it.served.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_http_is_counted() {
        let it = Fixture::new(Limits::default()).await;
        let mut stream = it.connect().await;
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"));
        while it.meter.connections_failed.load(Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_sends_no_whole_request_is_closed_however_it_dawdles() {
        let it = Fixture::new(Limits {
            header_time: Duration::from_millis(300),
            ..Limits::default()
        })
        .await;
        let mut silent = it.connect().await;
        let mut kept = it.connect().await;
        // On a machine that stands still it is closed before that.
        let _ = ask(&mut kept).await;
        let (mut reading, mut writing) = it.connect().await.into_split();
        let dawdling = tokio::spawn(async move {
            let _ = writing.write_all(b"GET / HTTP/1.1\r\nX: ").await;
            while writing.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        // Closed, or reset as there was more to read.
        let mut rest = Vec::new();
        for ended in [
            timeout(PATIENCE, silent.read_to_end(&mut rest)).await,
            timeout(PATIENCE, kept.read_to_end(&mut rest)).await,
            timeout(PATIENCE, reading.read_to_end(&mut rest)).await,
        ] {
            assert!(ended.is_ok(), "still open");
        }
        timeout(PATIENCE, dawdling).await.unwrap().unwrap();
    }
}
