//! The one thread that serves every handle of a source.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::hub::{Hub, Slot, Storage};
use super::inbox::{Shared, Wish};
use crate::clock::{MonoTime, saturating_nanos};
use crate::realtime::RealtimeRequest;
use crate::watchdog::Watchdog;

/// Starts the thread. It gives its storage back when it ends, for somebody else to free.
pub(super) fn spawn(
    hub: Arc<Hub>,
    request: RealtimeRequest,
) -> io::Result<JoinHandle<Box<Storage>>> {
    // No signal of the program's is to be handled by this thread. It inherits what is blocked here.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let spawned = thread::Builder::new()
        .name("unisono-ticks".into())
        .stack_size(STACK_BYTES)
        .spawn(move || run(&hub, &request));
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    spawned
}

fn run(hub: &Hub, request: &RealtimeRequest) -> Box<Storage> {
    // Refused, the beat goes on without, and says so: the kernel's own limit on real-time time remains. It comes before the
    // grant, so that whoever sees that one can ask what became of it.
    let _watchdog = watch(hub, RUNAWAY);
    let _ = hub.grant.set(request.apply());
    let mut storage = hub
        .take_growth()
        .unwrap_or_else(|| Storage::with_capacity(0));
    while !hub.is_stopped() {
        let deadline = tick(hub, &mut storage, MonoTime::now());
        hub.sleep_until(deadline);
        hub.wakeups.fetch_add(1, Ordering::Relaxed);
    }
    storage
}

/// Watches the calling thread and leaves in the hub what any thread may read of that.
fn watch(hub: &Hub, limit: Duration) -> Option<Watchdog> {
    let watchdog = Watchdog::watch(limit);
    let _ = hub.watch.set(match &watchdog {
        Ok(watchdog) => Ok(watchdog.status()),
        Err(error) => Err(*error),
    });
    watchdog.ok()
}

/// From one sleep to the next. No allocation, no lock, and no system call but on descriptors that change.
///
/// `now` is from before the inbox is emptied: so a schedule whose end is not in there yet had not ended then, and
/// no tick is given that came after its end was told.
fn tick(hub: &Hub, storage: &mut Box<Storage>, now: MonoTime) -> Option<MonoTime> {
    // First the handles, then the storage: whoever sent a handle had left the storage that it needs before.
    let sent = hub.inbox.take();
    if let Some(mut larger) = hub.take_growth() {
        std::mem::swap(storage, &mut larger);
        storage.adopt(larger);
    }
    for shared in sent {
        if let Some(wish) = hub.inbox.open_mail(&shared) {
            fulfil(hub, storage, shared, wish);
        }
    }
    if let Some(deadline) = storage.beats.next_deadline()
        && deadline <= now
    {
        hub.lateness.record(saturating_nanos(now.since(deadline)));
    }
    let Storage { beats, slots, .. } = &mut **storage;
    beats.serve(now, |handle, ticks| {
        slots[handle as usize].give(ticks);
    });
    beats.next_deadline()
}

fn fulfil(hub: &Hub, storage: &mut Storage, shared: Arc<Shared>, wish: Wish) {
    let handle = shared.number;
    let slot = &mut storage.slots[handle as usize];
    storage.beats.stop(handle);
    match wish {
        Wish::Run {
            due,
            schedule,
            backlog,
        } => {
            slot.settle(shared, due, backlog);
            storage.beats.start(handle, schedule);
        }
        Wish::Stop { due, backlog } => slot.settle(shared, due, backlog),
        Wish::Close => {
            // Nothing is freed: the reference taken from the inbox goes back.
            *slot = Slot::default();
            hub.returned.push(shared);
        }
    }
}

/// Processor time without sleep after which the thread becomes an ordinary one.
const RUNAWAY: Duration = Duration::from_secs(2);
/// Plenty: the thread's deepest calls are those that ask for real-time treatment.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TimingSource;
    use super::super::handle::Desk;
    use super::super::signal::Signal;
    use super::*;
    use crate::schedule::{Period, Schedule};
    use crate::watchdog::WatchdogError;

    /// A user, his handle and the tick thread, all of them in virtual time.
    struct World {
        hub: Hub,
        storage: Box<Storage>,
        shared: Arc<Shared>,
        desk: Desk,
    }

    impl World {
        fn new() -> Self {
            Self {
                hub: Hub::default(),
                storage: Storage::with_capacity(1),
                shared: Arc::new(Shared::new(0, Signal::new(0).unwrap())),
                desk: Desk::new(),
            }
        }

        fn write(&mut self, wish: Wish) {
            if self.desk.pen.write(&self.shared, wish) {
                self.hub.send(Arc::clone(&self.shared));
            }
        }

        fn set_rate(&mut self, at: MonoTime, rate: u64) {
            let wish = self.desk.change(at, period(rate), BACKLOG);
            self.write(wish);
        }

        fn tick(&mut self, now: MonoTime) {
            tick(&self.hub, &mut self.storage, now);
        }

        fn accounted(&self) -> u64 {
            u64::from(self.shared.signal.level().pending()) + self.shared.signal.missed()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.shared.signal.close();
            self.write(Wish::Close);
            self.tick(MonoTime::MAX);
        }
    }

    const BACKLOG: u32 = 40;

    fn period(rate: u64) -> Option<Period> {
        Period::from_rate(rate, 1).ok()
    }

    fn at_millis(millis: u64) -> MonoTime {
        MonoTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn ticks_of_rates_that_the_thread_never_saw_are_given_nevertheless() {
        let mut world = World::new();
        world.set_rate(at_millis(1_000), 50);
        world.set_rate(at_millis(1_200), 1_000);
        world.set_rate(at_millis(1_300), 0);
        world.tick(at_millis(5_000));
        assert_eq!(world.accounted(), 10 + 100);
        assert_eq!(world.shared.signal.level().pending(), BACKLOG);
        world.tick(at_millis(6_000));
        assert_eq!(world.accounted(), 110);
    }

    #[test]
    fn a_rate_ends_when_it_was_changed_and_not_when_the_thread_looks() {
        let mut world = World::new();
        world.set_rate(at_millis(1_000), 1_000);
        world.tick(at_millis(1_050));
        assert_eq!(world.accounted(), 50);
        world.set_rate(at_millis(1_060), 10);
        world.set_rate(at_millis(1_360), 0);
        world.tick(at_millis(9_000));
        assert_eq!(world.accounted(), 60 + 3);
    }

    #[test]
    fn a_handle_with_the_number_of_a_closed_one_begins_at_nothing() {
        let mut world = World::new();
        world.set_rate(at_millis(1_000), 1_000);
        world.tick(at_millis(1_100));
        world.shared.signal.close();
        world.write(Wish::Close);
        world.tick(at_millis(1_200));
        world.shared = Arc::new(Shared::new(0, Signal::new(0).unwrap()));
        world.desk = Desk::new();
        world.set_rate(at_millis(1_300), 50);
        world.set_rate(at_millis(1_400), 0);
        world.tick(at_millis(1_500));
        assert_eq!(world.accounted(), 5);
    }

    #[test]
    fn hours_without_a_rate_are_followed_by_no_storm() {
        let mut world = World::new();
        world.set_rate(at_millis(1_000), 50);
        world.set_rate(at_millis(2_000), 0);
        world.tick(at_millis(2_000));
        assert_eq!(world.accounted(), 50);
        // The handle's first rate after a night, seen at once, and seen late.
        let morning = 12 * 3_600_000;
        world.set_rate(at_millis(morning), 50);
        world.tick(at_millis(morning));
        assert_eq!(world.accounted(), 50);
        world.tick(at_millis(morning + 19));
        assert_eq!(world.accounted(), 50);
        world.tick(at_millis(morning + 20));
        assert_eq!(world.accounted(), 51);
        world.set_rate(at_millis(morning + 30), 0);
        world.set_rate(at_millis(2 * morning), 50);
        world.tick(at_millis(2 * morning + 100));
        assert_eq!(world.accounted(), 51 + 5);
    }

    #[test]
    fn a_source_tells_that_its_thread_was_demoted_for_work_without_sleep() {
        let source = TimingSource::new().unwrap();
        assert_eq!(
            (source.demotions(), source.describe().as_str()),
            (0, "not asked yet")
        );
        let hub = Arc::clone(&source.registry.hub);
        let runaway = thread::spawn(move || {
            let _watchdog = watch(&hub, Duration::from_millis(100)).unwrap();
            let grant = hub
                .grant
                .get_or_init(|| RealtimeRequest::new().fifo(5).apply());
            println!("{grant}");
            // By the clock, so that a watchdog that fails fails this test and not the machine.
            let begin = MonoTime::now();
            let demoted = || matches!(hub.watch.get(), Some(Ok(watch)) if watch.demoted());
            while grant.realtime_granted() && !demoted() {
                assert!(MonoTime::now().since(begin) < Duration::from_secs(20));
            }
            grant.realtime_granted()
        });
        let demotions = u64::from(runaway.join().unwrap());
        assert_eq!(source.demotions(), demotions);
        let told = source.describe();
        let granted = source.grant().unwrap().to_string();
        assert!(told.starts_with(&granted), "{told}");
        assert_eq!(told.contains("since demoted"), demotions > 0, "{told}");
        assert!(matches!(source.watchdog(), Some(Ok(_))));
    }

    #[test]
    fn a_source_tells_that_its_thread_cannot_be_watched() {
        let source = TimingSource::new().unwrap();
        let hub = Arc::clone(&source.registry.hub);
        let unwatched = thread::spawn(move || {
            let _first = Watchdog::watch(RUNAWAY).unwrap();
            let second = watch(&hub, RUNAWAY);
            let _ = hub.grant.set(RealtimeRequest::new().apply());
            second.is_none()
        });
        assert!(unwatched.join().unwrap());
        let refusal = WatchdogError::AlreadyWatched;
        assert_eq!(source.watchdog().unwrap().as_ref().err(), Some(&refusal));
        assert_eq!(source.demotions(), 0);
        let told = source.describe();
        assert_eq!(
            told,
            format!("nothing asked for; not watched for work without sleep: {refusal}")
        );
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// To a rate, and how long it takes to write that down, in which the thread may tick.
        Change(u64, u64),
        Tick,
    }

    fn ops() -> impl Strategy<Value = Vec<(Op, u64)>> {
        let rate = prop::sample::select(vec![0, 1, 30, 50, 333, 1_000]);
        let delay = prop_oneof![3 => Just(0), 1 => 0_u64..50_000_000];
        let op = prop_oneof![
            2 => (rate, delay).prop_map(|(rate, delay)| Op::Change(rate, delay)),
            1 => Just(Op::Tick),
        ];
        prop::collection::vec((op, 0_u64..200_000_000), 1..60)
    }

    proptest! {
        /// However many changes the thread sees as one. Where writing takes no time, least and most are the same.
        #[test]
        fn every_tick_between_two_changes_is_given_once(ops in ops()) {
            let mut world = World::new();
            let mut now = at_millis(77_000);
            let mut running: Option<Schedule> = None;
            let (mut least, mut most) = (0, 0);
            for (op, nanos) in ops {
                now = now + Duration::from_nanos(nanos);
                match op {
                    Op::Change(rate, delay) => {
                        let at = now;
                        let wish = world.desk.change(at, period(rate), BACKLOG);
                        now = now + Duration::from_nanos(delay);
                        if delay > 0 {
                            world.tick(now);
                        }
                        world.write(wish);
                        least += running.map_or(0, |schedule| schedule.number_at(at));
                        most += running.map_or(0, |schedule| schedule.number_at(now));
                        running = world.desk.schedule;
                    }
                    Op::Tick => {
                        world.tick(now);
                        let due = running.map_or(0, |schedule| schedule.number_at(now));
                        prop_assert!((least + due..=most + due).contains(&world.accounted()));
                    }
                }
            }
            world.set_rate(now, 0);
            world.tick(now);
            let due = running.map_or(0, |schedule| schedule.number_at(now));
            prop_assert!((least + due..=most + due).contains(&world.accounted()));
        }
    }
}
