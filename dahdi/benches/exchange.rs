//! What a step of 20 ms costs: one conference in which everybody talks, every block written and read.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use unisono_dahdi::exchange::{ChannelNumber, Exchange, Limits};
use unisono_dahdi::request::{BufInfo, ConfInfo, Request};

fn meeting(users: usize) -> (Exchange, Vec<ChannelNumber>) {
    let mut exchange = Exchange::new(Limits::default());
    let channels = (0..users)
        .map(|_| {
            let channel = exchange.open(0).unwrap();
            let buffers = BufInfo {
                tx_policy: 0,
                rx_policy: 0,
                buffers: 32,
                block: 160,
                read_buffers: 0,
                write_buffers: 0,
            };
            let conference = ConfInfo {
                channel: 0,
                conference: 1023,
                mode: 0x304,
            };
            for request in [
                Request::SetBufInfo(buffers),
                Request::SetLinear(true),
                Request::SetConf(conference),
            ] {
                exchange.request(channel, request, 0).unwrap();
            }
            channel
        })
        .collect();
    (exchange, channels)
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    for users in [2, 10, 50, 500] {
        group.throughput(Throughput::Elements(users as u64));
        let (mut exchange, channels) = meeting(users);
        // 32 each, so that 500 fit 16 bits: limited sums are the mixer's own bench.
        let said: [u8; 320] = std::array::from_fn(|n| if n % 2 == 0 { 32 } else { 0 });
        let mut heard = [0; 320];
        let mut now = 0;
        group.bench_function(BenchmarkId::new("everybody talks", users), |b| {
            b.iter(|| {
                now += 160;
                for &channel in &channels {
                    let _ = exchange.write(channel, &said, now);
                }
                black_box(exchange.advance(now));
                for &channel in &channels {
                    let _ = black_box(exchange.read(channel, &mut heard, now));
                }
                black_box(exchange.next_deadline())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
