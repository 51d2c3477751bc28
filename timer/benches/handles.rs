//! Ten thousand timers at 50 Hz: handles of one source beside as many timerfds, with the same consumer.
//!
//! `cargo bench -p unisono-timer --bench handles` (`HANDLES`, `ROUNDS` and `SECONDS` change its size). The kinds alternate,
//! medians and ranges are over the rounds. The consumer polls all of them with epoll and acknowledges each.
//!
//! The figure is processor time of the program by getrusage, per tick: consumer and tick thread. It leaves out the timer
//! interrupts that the kernel takes for timerfds while the machine idles, which are nobody's time; /proc/stat would have
//! them, but it samples at a tick that is in step with these timers, and is off by an order of magnitude.
//!
//! Each comes twice. The source: with its thread on any processor, where the consumer may run beside it, catch up and
//! sleep again within one burst of ticks; and on the consumer's own, where a burst is one wake-up. Timerfds: armed when their call
//! came, as programs do; and all on one grid of milliseconds, which is the best that a program could do with them.

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::PollTimeout;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::Pid;
use unisono_timer::{MonoTime, RealtimeRequest, SourceSettings, TimerHandle, TimingSource};

fn main() {
    let handles = setting("HANDLES", 10_000);
    let rounds = setting("ROUNDS", 5);
    let seconds = setting("SECONDS", 3);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of open files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit can be raised");
    if hard < handles as u64 + 64 {
        eprintln!("{handles} timers need as many descriptors, the limit is {hard}");
        std::process::exit(2);
    }
    println!("{handles} timers at 50 Hz, {rounds} rounds of {seconds} s each\n");

    let mut figures: [Vec<Figure>; KINDS.len()] = Default::default();
    for _ in 0..rounds {
        for (kind, figures) in KINDS.iter().zip(&mut figures) {
            let span = Duration::from_secs(seconds as u64);
            figures.push(match kind {
                Kind::Source => measure(&source(handles, SourceSettings::new()), span),
                Kind::SourceBeside => {
                    let everywhere = sched_getaffinity(CALLER).expect("an affinity");
                    let cpu = first_of(&everywhere);
                    sched_setaffinity(CALLER, &only(cpu)).expect("an allowed processor");
                    let request = RealtimeRequest::new().fifo(70).pin_to(cpu);
                    let settings = SourceSettings::new().realtime(request);
                    let figure = measure(&source(handles, settings), span);
                    sched_setaffinity(CALLER, &everywhere).expect("what it was before");
                    figure
                }
                Kind::Timerfds => measure(&timerfds(handles, None), span),
                Kind::AlignedTimerfds => {
                    measure(&timerfds(handles, Some(Duration::from_millis(1))), span)
                }
            });
            print!(".");
            let _ = std::io::stdout().flush();
        }
    }
    println!(
        "\n\n{:26}{:>26}{:>18}",
        "", "ns of CPU a tick", "ticks served"
    );
    for (kind, figures) in KINDS.iter().zip(&figures) {
        let process = Spread::of(figures, |figure| figure.process);
        let served = Spread::of(figures, |figure| figure.served);
        let served = 100.0 * served.median;
        println!("{:26}{process:>26}{served:>16.2} %", kind.name());
    }
    let median = |kind: usize| Spread::of(&figures[kind], |figure| figure.process).median;
    println!(
        "\nsource / timerfds {:.2}  source on one CPU / timerfds on a grid {:.2}",
        median(0) / median(2),
        median(1) / median(3),
    );
}

#[derive(Clone, Copy)]
enum Kind {
    Source,
    SourceBeside,
    Timerfds,
    AlignedTimerfds,
}

const KINDS: [Kind; 4] = [
    Kind::Source,
    Kind::SourceBeside,
    Kind::Timerfds,
    Kind::AlignedTimerfds,
];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Source => "one timing source",
            Self::SourceBeside => "one source, one CPU",
            Self::Timerfds => "timerfds",
            Self::AlignedTimerfds => "timerfds on a 1 ms grid",
        }
    }
}

/// Something that can be polled and acknowledged.
trait Timer: AsFd {
    /// How many ticks there were.
    fn acknowledge(&self) -> u64;
}

struct Handle(TimerHandle);

impl AsFd for Handle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Timer for Handle {
    fn acknowledge(&self) -> u64 {
        self.0.ack_all().unwrap_or(0).into()
    }
}

impl Timer for TimerFd {
    fn acknowledge(&self) -> u64 {
        let mut count = [0; 8];
        nix::unistd::read(self, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }
}

fn source(handles: usize, settings: SourceSettings) -> Vec<Handle> {
    let source = TimingSource::with_settings(settings).expect("a source");
    let mut arrivals = Arrivals::new(handles);
    (0..handles)
        .map(|_| {
            arrivals.wait();
            let timer = source.open().expect("a descriptor");
            timer.set_rate(50).expect("a rate");
            Handle(timer)
        })
        .collect()
}

fn timerfds(handles: usize, grid: Option<Duration>) -> Vec<TimerFd> {
    let mut arrivals = Arrivals::new(handles);
    (0..handles)
        .map(|_| {
            arrivals.wait();
            let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).expect("a descriptor");
            let first = MonoTime::now().as_nanos() + FRAME.as_nanos() as u64;
            let grid = grid.map_or(1, |grid| grid.as_nanos() as u64);
            let first = TimeSpec::nanoseconds((first.div_ceil(grid) * grid) as i64);
            let every = TimeSpec::from_duration(FRAME);
            timer
                .set(
                    Expiration::IntervalDelayed(first, every),
                    TimerSetTimeFlags::TFD_TIMER_ABSTIME,
                )
                .expect("a period");
            timer
        })
        .collect()
}

/// Calls come at random within half a second, the same ones each time.
struct Arrivals {
    random: u64,
    mean: u64,
    next: MonoTime,
}

impl Arrivals {
    fn new(count: usize) -> Self {
        Self {
            random: 42,
            mean: 500_000_000 / count.max(1) as u64,
            next: MonoTime::now(),
        }
    }

    fn wait(&mut self) {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let gap = (self.random >> 33) % (2 * self.mean);
        self.next = self.next + Duration::from_nanos(gap);
        while MonoTime::now() < self.next {
            std::hint::spin_loop();
        }
    }
}

struct Figure {
    /// Nanoseconds a tick.
    process: f64,
    /// The part of the ticks due that was acknowledged.
    served: f64,
}

fn measure(timers: &[impl Timer], span: Duration) -> Figure {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
    for (index, timer) in timers.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        epoll.add(timer, event).expect("a place in epoll");
    }
    let mut events = vec![EpollEvent::empty(); 512];
    let mut consume = |until: MonoTime| {
        let mut ticks = 0;
        while MonoTime::now() < until {
            let ready = epoll
                .wait(&mut events, PollTimeout::from(100_u8))
                .unwrap_or(0);
            for event in &events[..ready] {
                ticks += black_box(&timers[event.data() as usize]).acknowledge();
            }
        }
        ticks
    };
    consume(MonoTime::now() + Duration::from_secs(1));
    let (begin, process) = (MonoTime::now(), process_nanos());
    let ticks = consume(begin + span) as f64;
    let process = process_nanos() - process;
    let due = MonoTime::now().since(begin).as_secs_f64() / FRAME.as_secs_f64();
    Figure {
        process: process / ticks,
        served: ticks / (due * timers.len() as f64),
    }
}

/// Processor time of this program.
fn process_nanos() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 * 1e3
}

fn first_of(cpus: &CpuSet) -> usize {
    let mut all = 0..CpuSet::count();
    all.find(|&cpu| cpus.is_set(cpu) == Ok(true)).unwrap_or(0)
}

fn only(cpu: usize) -> CpuSet {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a processor's number");
    cpus
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: &[Figure], value: impl Fn(&Figure) -> f64) -> Self {
        let mut values: Vec<f64> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(values.len() / 2),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            least,
            median,
            most,
        } = self;
        f.pad(&format!("{median:.0} ({least:.0} to {most:.0})"))
    }
}

fn setting(name: &str, default: usize) -> usize {
    let value = std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok());
    value.unwrap_or(default)
}

const FRAME: Duration = Duration::from_millis(20);
const CALLER: Pid = Pid::from_raw(0);
