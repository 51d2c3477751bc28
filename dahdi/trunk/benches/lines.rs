//! What sharing a conference costs a step of 20 ms, by the number of other processes in it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::{Directory, Trunk, TrunkLines};

fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("a shared conference");
    for others in [1, 4, 16] {
        let path = tempfile::tempdir_in("/dev/shm").unwrap();
        let directory = Directory::at(path.path()).unwrap();
        let trunks: Vec<Trunk> = (0..=others)
            .map(|_| Trunk::open(&directory, "bench").unwrap())
            .collect();
        let mut ends: Vec<TrunkLines> = trunks.iter().map(|trunk| trunk.lines().unwrap()).collect();
        for trunk in &trunks {
            trunk.open_line(1_000).unwrap();
            trunk.refresh().unwrap();
        }
        let mut step = 0;
        let mut frame = [0; STEP];
        group.bench_function(BenchmarkId::new("others", others), |b| {
            b.iter_custom(|rounds| {
                let mut time = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    step += STEP as u64;
                    for end in &mut ends[1..] {
                        end.outgoing(1_000, step - STEP as u64, &[100; STEP]);
                    }
                    let from = std::time::Instant::now();
                    ends[0].begin(step);
                    assert!(ends[0].is_shared(1_000));
                    assert!(ends[0].incoming(1_000, step, &mut frame));
                    ends[0].outgoing(1_000, step, black_box(&frame));
                    time += from.elapsed();
                }
                time
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
