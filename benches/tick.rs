//! One whole tick of a worker without sockets: datagrams taken in, decoded, mixed, encoded, put into packets; and the mixer alone.
//!
//! Times are for all legs; criterion's throughput line gives legs a second, of which the inverse is the time a leg.

mod scene;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scene::mixing::Mixing;
use scene::{PLANS, Scene};

fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.throughput(Throughput::Elements(Mixing::LEGS as u64));
    let mut mixing = Mixing::new();
    group.bench_function(BenchmarkId::new(Mixing::NAME, Mixing::LEGS), |b| {
        b.iter_custom(|ticks| (0..ticks).map(|_| mixing.tick()).sum());
    });
    for plan in PLANS {
        let mut scene = Scene::new(plan);
        group.throughput(Throughput::Elements(plan.legs.into()));
        group.bench_function(BenchmarkId::new(plan.name, plan.legs), |b| {
            b.iter_custom(|ticks| (0..ticks).map(|_| scene.tick()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, tick);
criterion_main!(benches);
