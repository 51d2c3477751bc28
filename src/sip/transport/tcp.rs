//! TCP connections: one task each, bounded in memory and in patience.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::Inbound;
use super::framing::{Frame, Framer};
use crate::sip::agent::Flow;

/// A connection without traffic is closed after this long; session refreshes and keep-alives come
/// more often.
const IDLE_TIME: Duration = Duration::from_secs(3600);

/// How long a peer may take to accept a connection, or what we send.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const SEND_TIME: Duration = Duration::from_secs(10);

/// Messages that wait to be sent on one connection; when there are more, it is closed.
pub(super) const SEND_QUEUE: usize = 256;

/// Hands new connections to the agent's task, forever.
pub(super) async fn listen(listener: TcpListener, inbox: mpsc::Sender<Inbound>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Inbound::Accepted { stream, remote };
                if inbox.send(accepted).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or the peer is gone again: neither ends the listening.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a SIP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a connection that was accepted, and reports its end.
pub(super) async fn serve(
    stream: TcpStream,
    flow: Flow,
    inbox: mpsc::Sender<Inbound>,
    message_time: Duration,
    pongs: mpsc::Sender<Vec<u8>>,
    queue: mpsc::Receiver<Vec<u8>>,
) {
    // Signalling is small and urgent; failing to say so only delays it.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    tokio::select! {
        () = read(reading, flow, &inbox, message_time, pongs) => {}
        () = write(writing, queue) => {}
    }
    // The agent's task ends before its connections; then nobody needs to know.
    let _ = inbox.send(Inbound::Closed { flow }).await;
}

/// Opens a connection and serves it, and reports its end.
pub(super) async fn connect(
    flow: Flow,
    inbox: mpsc::Sender<Inbound>,
    message_time: Duration,
    pongs: mpsc::Sender<Vec<u8>>,
    queue: mpsc::Receiver<Vec<u8>>,
) {
    match timeout(CONNECT_TIME, TcpStream::connect(flow.remote)).await {
        Ok(Ok(stream)) => serve(stream, flow, inbox, message_time, pongs, queue).await,
        Ok(Err(_)) | Err(_) => {
            let _ = inbox.send(Inbound::Closed { flow }).await;
        }
    }
}

async fn read(
    mut reading: OwnedReadHalf,
    flow: Flow,
    inbox: &mpsc::Sender<Inbound>,
    message_time: Duration,
    pongs: mpsc::Sender<Vec<u8>>,
) {
    let mut framer = Framer::default();
    let mut chunk = vec![0; 4096];
    let mut deadline = Instant::now() + message_time;
    loop {
        let count = match timeout_at(deadline, reading.read(&mut chunk)).await {
            Ok(Ok(count)) if count > 0 => count,
            _ => return,
        };
        let was_within = framer.is_within_message();
        let frames = framer.push(&chunk[..count]);
        let progress = !frames.is_empty();
        for frame in frames {
            let (bytes, broken) = match frame {
                Frame::Message(bytes) => (bytes, false),
                Frame::Broken(bytes) => (bytes, true),
                Frame::Ping => {
                    // A peer that does not read its pongs loses them.
                    let _ = pongs.try_send(b"\r\n".to_vec());
                    continue;
                }
            };
            if inbox.send(Inbound::Message { flow, bytes }).await.is_err() {
                return;
            }
            if broken {
                // Leave the answer a moment to go out before the connection closes.
                tokio::time::sleep(Duration::from_millis(200)).await;
                return;
            }
        }
        if !framer.is_within_message() {
            deadline = Instant::now() + IDLE_TIME;
        } else if progress || !was_within {
            deadline = Instant::now() + message_time;
        }
    }
}

async fn write(mut writing: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        match timeout(SEND_TIME, writing.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
