//! What a tick pays for being counted.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use unisono_timer::{LatencyHistogram, MonoTime, Tick, TickStats};

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stats");

    let histogram = LatencyHistogram::new();
    let mut nanos = 1_u64;
    group.bench_function("histogram record", |bencher| {
        bencher.iter(|| {
            // Lateness from 1 us to 1 ms, in no order.
            nanos = nanos
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            histogram.record(black_box(1_000 + nanos % 1_000_000));
        });
    });

    let stats = TickStats::new();
    let deadline = MonoTime::from_nanos(1_000_000_000);
    let tick = Tick {
        number: 1,
        deadline,
        woke: deadline + Duration::from_micros(40),
        missed: 0,
    };
    group.bench_function("tick record", |bencher| {
        bencher.iter(|| stats.record(black_box(&tick)))
    });

    group.bench_function("histogram snapshot", |bencher| {
        bencher.iter(|| histogram.snapshot())
    });
    let snapshot = histogram.snapshot();
    group.bench_function("snapshot quantile", |bencher| {
        bencher.iter(|| snapshot.quantile(black_box(0.999)))
    });
}

criterion_group!(benches, record);
criterion_main!(benches);
