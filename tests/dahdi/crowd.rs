//! Many callers of one process: our own phones in software, each of which keeps what it heard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use unisono::caller::{
    Call, CallRequest, Line, LineAddress, LineConfig, LineCounts, MediaThread, Phone,
};
use unisono::sip::sdp::{CodecOrder, LocalMedia};
use unisono_rtp::codec::Codec;
use unisono_rtp::net::{PortPool, SocketOptions};
use unisono_rtp::outbound::{Format, Origin};
use unisono_timer::MonoTime;

use crate::host::Host;
use crate::sound::{Recording, Voice};

/// Below that of the library's threads.
const PRIORITY: u8 = 10;

/// None that Asterisk uses.
const PORTS: std::ops::RangeInclusive<u16> = 40_000..=49_999;

/// Most seconds of what each hears that are kept.
const KEPT: u32 = 60;

/// Who calls: a number, and what is said from the moment on when all are there.
pub(crate) type Caller = (String, Option<Voice>);

/// Callers in their calls.
pub(crate) struct Crowd {
    runtime: Runtime,
    media: MediaThread,
    calls: Vec<Call>,
    callers: Vec<Caller>,
}

/// What a caller heard since all were there.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) recording: Recording,
    pub(crate) counts: LineCounts,
}

impl Crowd {
    /// They call, one after the other, and are silent.
    pub(crate) fn call(host: &Host, callers: Vec<Caller>) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let media = MediaThread::start(Some(PRIORITY)).expect("a thread");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut ports = PortPool::new(loopback, PORTS, SocketOptions::default(), rand::random());
        let calls = runtime.block_on(async {
            let phone = Phone::bind(SocketAddr::new(loopback, 0)).expect("a phone");
            let mut calls = Vec::new();
            for (n, (number, voice)) in callers.iter().enumerate() {
                let socket = ports.bind_pair(true).expect("ports").rtp;
                let request = CallRequest {
                    server: host.sip,
                    number,
                    caller: &format!("caller{n}"),
                    media: offered(socket.local_addr()),
                };
                let call = phone
                    .call(request)
                    .await
                    .unwrap_or_else(|error| panic!("caller {n}: {error}"));
                let speech = voice.map(|voice| voice.clip(8000)).unwrap_or_default();
                let line = Line::new(config(&call, speech.into()), MonoTime::now().as_nanos());
                let remote = call.remote();
                let address = LineAddress { socket, remote };
                media.add(line, address).expect("another line");
                calls.push(call);
            }
            calls
        });
        Self {
            runtime,
            media,
            calls,
            callers,
        }
    }

    /// They talk for a while and hang up.
    pub(crate) fn talk(mut self, time: Duration) -> Vec<Heard> {
        let from = MonoTime::now();
        for (n, (_, voice)) in self.callers.iter().enumerate() {
            if voice.is_some() {
                self.media.speak_from(n, from.as_nanos()).expect("a line");
            }
        }
        thread::sleep(time);
        for (n, call) in self.calls.iter_mut().enumerate() {
            assert_eq!(call.ended(), None, "caller {n} was cut off");
        }
        let lines = self.media.finish().expect("lines");
        self.runtime.block_on(async {
            for call in self.calls {
                call.hang_up("over").await;
            }
        });
        lines
            .into_iter()
            .map(|finished| {
                let recording = finished.line.recording().expect("it was kept");
                let recording = recording.since(from.as_nanos());
                Heard {
                    recording: Recording {
                        rate: recording.sample_rate,
                        samples: recording.samples,
                    },
                    counts: finished.line.counts(),
                }
            })
            .collect()
    }
}

fn offered(address: SocketAddr) -> LocalMedia {
    LocalMedia {
        address: address.ip(),
        rtp_port: address.port(),
        rtcp_port: None,
        rtcp_mux: true,
        codecs: vec![Codec::Pcmu],
        codec_order: CodecOrder::Ours,
        ptime_ms: Some(20),
        telephone_event: false,
        comfort_noise: false,
        session_id: u64::from(rand::random::<u32>()),
        session_version: 1,
    }
}

fn config(call: &Call, speech: Arc<[i16]>) -> LineConfig {
    let agreed = call.agreed();
    LineConfig {
        format: Format {
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            ptime_ms: agreed.ptime_ms.into(),
        },
        receive_payload_type: agreed.receive_payload_type,
        speech,
        keep_seconds: KEPT,
        origin: Origin::from_random(rand::random()),
        random: rand::random(),
    }
}
