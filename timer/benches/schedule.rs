//! What exact 128-bit deadlines cost, and reading the clock beside it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use unisono_timer::{MonoTime, Period, Schedule};

fn arithmetic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    for (name, ticks, seconds) in [("50 Hz", 50, 1), ("33.3 Hz", 333, 10)] {
        let period = Period::from_rate(ticks, seconds).expect("a possible rate");
        let schedule = Schedule::new(MonoTime::from_nanos(987_654_321), period);
        let now = schedule.deadline(123_456_789);
        group.bench_function(format!("deadline at {name}"), |bencher| {
            bencher.iter(|| schedule.deadline(black_box(123_456_789)));
        });
        group.bench_function(format!("number_at at {name}"), |bencher| {
            bencher.iter(|| schedule.number_at(black_box(now)));
        });
    }
    group.bench_function("MonoTime::now", |bencher| bencher.iter(MonoTime::now));
}

criterion_group!(benches, arithmetic);
criterion_main!(benches);
