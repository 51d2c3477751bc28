/* libunisono_timer: tickers, real-time requests and a timing source for PBXes.
 *
 * Made from the sources by a test of timer/c, which says how to make it anew; do not edit.
 *
 * - Functions answer an unisono_status; unisono_strerror says it in words. Answers go through pointers.
 * - A pointer for an answer is valid to write to, or null where the function says so (elsewhere null is
 *   UNISONO_E_INVALID).
 * - Handles (unisono_ticker *, ...) are never addresses. One that is null, closed, of another kind or invented is
 *   UNISONO_E_HANDLE, never undefined. Closing one that another thread uses is safe: it goes as that call returns.
 * - "Any thread" means at the same time as any other call, too.
 * - Times are nanoseconds of CLOCK_MONOTONIC.
 */

#ifndef UNISONO_TIMER_H
#define UNISONO_TIMER_H

#include <stddef.h>
#include <stdint.h>

// What a function answers: 0 or more when it did what it was asked, less than 0 when not.
typedef enum unisono_status {
  // Done.
  UNISONO_OK = 0,
  // The tick has not come yet.
  UNISONO_EARLY = 1,
  // Some of what was asked for was refused; the text says what, why and what mends it.
  UNISONO_PARTLY = 2,
  // An argument is impossible.
  UNISONO_E_INVALID = -1,
  // The handle is null, closed, of another kind, or none at all.
  UNISONO_E_HANDLE = -2,
  // Another thread is using the object, which serves one at a time.
  UNISONO_E_BUSY = -3,
  // No tick is pending.
  UNISONO_E_NOTHING_PENDING = -4,
  // The source was made before a fork and this is the child.
  UNISONO_E_FORKED = -5,
  // No descriptor is left.
  UNISONO_E_DESCRIPTOR = -6,
  // The tick thread cannot be started.
  UNISONO_E_THREAD = -7,
  // There are a million objects of the kind.
  UNISONO_E_TOO_MANY = -8,
  // The kernel or a seccomp filter refused a call.
  UNISONO_E_SYSTEM = -9,
  // A fault of the library, which has been stopped from going further.
  UNISONO_E_PANIC = -10,
  // The thread has a watchdog already.
  UNISONO_E_WATCHED = -11,
} unisono_status;

// Why a timer's descriptor is readable.
typedef enum unisono_event {
  // It is not.
  UNISONO_EVENT_NONE = 0,
  // Ticks are pending.
  UNISONO_EVENT_EXPIRED = 1,
  // Continuous mode is on; ticks may be pending as well.
  UNISONO_EVENT_CONTINUOUS = 2,
} unisono_event;

// What a ticker does with deadlines that are late.
typedef enum unisono_late_policy {
  // One tick, the latest, for all that is due. The default.
  UNISONO_LATE_COALESCE = 0,
  // Each deadline is a tick of its own, at once and in order, up to a number behind.
  UNISONO_LATE_COUNT = 1,
  // What is late is dropped and counted as missed.
  UNISONO_LATE_SKIP = 2,
} unisono_late_policy;

// What can be asked for.
typedef enum unisono_realtime_part {
  // SCHED_FIFO, SCHED_RR or SCHED_DEADLINE.
  UNISONO_PART_SCHEDULING = 0,
  // Memory that is not swapped out.
  UNISONO_PART_MEMORY = 1,
  // One processor.
  UNISONO_PART_CPU = 2,
  // Stack that was touched.
  UNISONO_PART_STACK = 3,
  // Sleeps that are not delayed.
  UNISONO_PART_TIMER_SLACK = 4,
  // Processors that do not sleep deeply.
  UNISONO_PART_DMA_LATENCY = 5,
} unisono_realtime_part;

// What became of one thing that can be asked for.
typedef enum unisono_answer {
  // It was not asked for, or unisono_realtime_apply was not called yet.
  UNISONO_ANSWER_NONE = 0,
  // It is in force.
  UNISONO_ANSWER_GRANTED = 1,
  // It is not.
  UNISONO_ANSWER_REFUSED = 2,
} unisono_answer;

// Counts frames of samples, one every interval, and sleeps until the next. Takes no descriptor and no thread.
typedef struct unisono_frame_timer unisono_frame_timer;

// What a thread would like to have, and what became of it.
typedef struct unisono_realtime unisono_realtime;

// What timers are opened from. One real-time thread serves them all.
typedef struct unisono_source unisono_source;

// Counters and a histogram of lateness.
typedef struct unisono_stats unisono_stats;

// One thread's beat on absolute deadlines. Takes one descriptor.
typedef struct unisono_ticker unisono_ticker;

// One timer: a rate, ticks that wait to be acknowledged, and a descriptor that is readable meanwhile.
typedef struct unisono_timer unisono_timer;

// The watch over one real-time thread.
typedef struct unisono_watchdog unisono_watchdog;

// One deadline that has come. Times are nanoseconds of CLOCK_MONOTONIC.
typedef struct unisono_tick {
  // The deadline's number.
  uint64_t number;
  // When it was due.
  uint64_t deadline_ns;
  // When the thread ran again; never before.
  uint64_t woke_ns;
  // Deadlines missed before it.
  uint64_t missed;
} unisono_tick;

// What they say. Lateness in nanoseconds, to 0.8 % from 1 us on.
typedef struct unisono_lateness {
  // Ticks recorded.
  uint64_t ticks;
  // Deadlines missed.
  uint64_t missed;
  // Arithmetic mean.
  double mean_ns;
  // Half of the ticks were no later.
  uint64_t p50_ns;
  // 99 of 100 were no later.
  uint64_t p99_ns;
  // 999 of 1000 were no later.
  uint64_t p999_ns;
  // The latest.
  uint64_t max_ns;
} unisono_lateness;

// What precise mode does and costs.
typedef struct unisono_precision {
  // How long before a deadline the ticker wakes in order to spin.
  uint64_t window_ns;
  // Time spent spinning, and its share of one CPU.
  uint64_t spun_ns;
  // Share of one CPU, 0 to 1.
  double cpu_share;
} unisono_precision;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, such as "0.1.0". It lives for ever. Any thread.
const char *unisono_version(void);

// A timer whose first tick comes `interval_ms` (1 to 60000) after now, with `samples` (1 or more) an interval. Any thread.
//
// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
int unisono_frame_timer_new(uint32_t interval_ms,
                            uint32_t samples,
                            struct unisono_frame_timer **timer);

// Sleeps until the next tick, counts it and all that have come since; `*ticks`, unless null, is how many. One thread at a
// time, as for all that take a frame timer: another is answered UNISONO_E_BUSY.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY, UNISONO_E_SYSTEM.
int unisono_frame_timer_next(const struct unisono_frame_timer *timer,
                             uint64_t *ticks);

// Counts one tick, whether it has come or not.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_frame_timer_step(const struct unisono_frame_timer *timer);

// Brings the counters to where the clock is.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_frame_timer_sync(const struct unisono_frame_timer *timer);

// UNISONO_OK when the next tick has come, and counts it when `step` is not 0; UNISONO_EARLY when not. `*diff`, unless
// null, is how many ticks it is away: 0 when it has come. Does not sleep.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_frame_timer_check(const struct unisono_frame_timer *timer,
                              int step,
                              uint64_t *diff);

// Ticks and samples counted; either may be null.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_frame_timer_counts(const struct unisono_frame_timer *timer, uint64_t *ticks, uint64_t *samples);

// Closes the timer. A thread that sleeps on it comes back at its tick. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_frame_timer_free(const struct unisono_frame_timer *timer);

// A request for nothing yet. Any thread.
//
// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
int unisono_realtime_new(struct unisono_realtime **realtime);

// Asks for SCHED_FIFO at `priority`, 1 (least) to 99. One thread at a time, as for all that take a request.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
int unisono_realtime_fifo(const struct unisono_realtime *realtime, int priority);

// Asks for SCHED_RR at `priority`, 1 (least) to 99.
int unisono_realtime_round_robin(const struct unisono_realtime *realtime, int priority);

// Asks for SCHED_DEADLINE: `runtime_ns` of processor time within each `period_ns`, before all SCHED_FIFO threads. Needs CAP_SYS_NICE,
// and that the thread may run on all processors: it does not go with unisono_realtime_pin_to. Of the scheduling classes the last one
// asked for counts.
int unisono_realtime_deadline(const struct unisono_realtime *realtime,
                              uint64_t runtime_ns,
                              uint64_t period_ns);

// Asks that all memory of the process, present and future, is kept from being swapped out.
int unisono_realtime_lock_memory(const struct unisono_realtime *realtime);

// Asks that the thread runs on processor `cpu` only.
int unisono_realtime_pin_to(const struct unisono_realtime *realtime, size_t cpu);

// Asks that `bytes` of the thread's stack are touched beforehand.
int unisono_realtime_prefault_stack(const struct unisono_realtime *realtime, size_t bytes);

// Asks that sleeps of the thread are delayed by at most `slack_ns` to bundle wake-ups.
int unisono_realtime_timer_slack(const struct unisono_realtime *realtime, uint64_t slack_ns);

// Asks that processors which idle wake within `longest_ns`, until the request is freed or applied again.
int unisono_realtime_dma_latency(const struct unisono_realtime *realtime, uint64_t longest_ns);

// Asks the system, for the calling thread and (memory) its process. Takes milliseconds: once, as a thread starts.
//
// UNISONO_OK when all was granted, UNISONO_PARTLY when not; unisono_realtime_text says what, why, and what mends it.
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_realtime_apply(const struct unisono_realtime *realtime);

// The answers, one sentence a part, as a text of at most `size` bytes with its zero. `*needed`, unless null, is the
// size of the whole text. Before unisono_realtime_apply it says so.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
int unisono_realtime_text(const struct unisono_realtime *realtime,
                          char *text,
                          size_t size,
                          size_t *needed);

// The answer about one part, an unisono_realtime_part: in `*answer` an unisono_answer, and the sentence about it as a text like that of
// unisono_realtime_text.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID (no such part, too), UNISONO_E_BUSY.
int unisono_realtime_answer(const struct unisono_realtime *realtime,
                            int part,
                            int *answer,
                            char *text,
                            size_t size,
                            size_t *needed);

// Closes the request. What a thread was granted it keeps, but for unisono_realtime_dma_latency. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_realtime_free(const struct unisono_realtime *realtime);

// A source. Its thread starts with the first rate that is set, and asks for `realtime`, which may be freed afterwards; null asks for
// SCHED_FIFO priority 70. `backlog_ns` is how much unacknowledged time a timer keeps, in ticks; 0 means one second.
// Any thread.
//
// UNISONO_E_INVALID, UNISONO_E_HANDLE (the request's), UNISONO_E_BUSY, UNISONO_E_THREAD, UNISONO_E_TOO_MANY.
int unisono_source_new(const struct unisono_realtime *realtime,
                       uint64_t backlog_ns,
                       struct unisono_source **source);

// What the source's thread was granted, as unisono_realtime_text; and whether it was since demoted to an ordinary thread for work without sleep, or
// cannot be watched for that. Any thread.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_source_text(const struct unisono_source *source,
                        char *text,
                        size_t size,
                        size_t *needed);

// How often the source's thread was demoted to an ordinary one because it worked for two seconds of processor time without sleep. Any
// thread.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_source_demotions(const struct unisono_source *source,
                             uint64_t *demotions);

// Closes the source. Timers opened from it stay; its thread ends with the last of them. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_source_free(const struct unisono_source *source);

// Ticks per second that unisono_timer_set_rate takes at most. Any thread.
uint32_t unisono_timer_max_rate(void);

// Opens a timer, stopped and quiet. Takes one descriptor, closed on exec. Any thread.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_DESCRIPTOR, UNISONO_E_FORKED, UNISONO_E_TOO_MANY.
int unisono_timer_open(const struct unisono_source *source, struct unisono_timer **timer);

// Closes the timer and its descriptor; once for all threads, and as soon as no call is at work on it. In a forked child only the child's
// copy. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_timer_close(const struct unisono_timer *timer);

// The timer's descriptor, to be polled for POLLIN until the timer is closed: never read, written or closed.
// Readable exactly while ticks are pending or continuous mode is on. Any thread, as for all that take a timer.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_timer_fd(const struct unisono_timer *timer,
                     int *fd);

// From now on `rate` ticks per second, up to unisono_timer_max_rate; 0 stops. The same rate as before keeps its phase. Allowed in
// continuous mode. Ticks pending stay pending.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_THREAD, UNISONO_E_FORKED. The rate before then stays.
int unisono_timer_set_rate(const struct unisono_timer *timer,
                           uint32_t rate);

// From now on a tick every `samples` samples at `hz` samples per second, exactly, and 125 us apart or more; 0 samples stop.
//
// As unisono_timer_set_rate.
int unisono_timer_set_samples(const struct unisono_timer *timer,
                              uint32_t samples,
                              uint32_t hz);

// Acknowledges up to `ticks` ticks; `*acknowledged`, unless null, is how many there were.
//
// UNISONO_E_NOTHING_PENDING, UNISONO_E_HANDLE, UNISONO_E_FORKED.
int unisono_timer_ack(const struct unisono_timer *timer, uint32_t ticks, uint32_t *acknowledged);

// Acknowledges all pending ticks as one; otherwise as unisono_timer_ack.
int unisono_timer_ack_all(const struct unisono_timer *timer, uint32_t *acknowledged);

// Ticks that have come and have not been acknowledged.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_timer_pending(const struct unisono_timer *timer, uint32_t *pending);

// Ticks that came when the backlog was full already, and are gone.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_timer_missed(const struct unisono_timer *timer, uint64_t *missed);

// Makes the descriptor readable, whatever the rate, until unisono_timer_disable_continuous. One write at most.
//
// UNISONO_E_HANDLE, UNISONO_E_FORKED.
int unisono_timer_enable_continuous(const struct unisono_timer *timer);

// Ends continuous mode: the descriptor is readable only while ticks are pending. One read at most.
//
// UNISONO_E_HANDLE, UNISONO_E_FORKED.
int unisono_timer_disable_continuous(const struct unisono_timer *timer);

// Why the descriptor is readable: an unisono_event in `*event`.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
int unisono_timer_event(const struct unisono_timer *timer, int *event);

// Empty ones, about 32 KiB. Any thread.
//
// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
int unisono_stats_new(struct unisono_stats **stats);

// Counts one tick. Allocates, locks and waits for nothing. One thread at a time, while others may read; of two that
// record together a count may be lost.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID.
int unisono_stats_record(const struct unisono_stats *stats,
                         const struct unisono_tick *tick);

// What has been recorded so far. Any thread, without disturbing the one that records.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID.
int unisono_stats_read(const struct unisono_stats *stats, struct unisono_lateness *lateness);

// Closes them. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_stats_free(const struct unisono_stats *stats);

// A sentence about a status, which lives for ever. Never null, also for a number that is no status. Any thread, and
// signal handlers.
const char *unisono_strerror(int status);

// A ticker whose first tick comes `period_ns` after now; 1000 ns or more. The handle is in `*ticker`. Any thread.
//
// UNISONO_E_INVALID, UNISONO_E_DESCRIPTOR, UNISONO_E_TOO_MANY.
int unisono_ticker_new(uint64_t period_ns,
                       struct unisono_ticker **ticker);

// As unisono_ticker_new, with `ticks` deadlines every `seconds`, exactly: 30 and 1 are 30 Hz, 100 and 3 are 33.3 Hz.
int unisono_ticker_new_rate(uint64_t ticks,
                            uint64_t seconds,
                            struct unisono_ticker **ticker);

// Sleeps until the next deadline, at once when it has come. `tick` may be null. One thread at a time: another is
// answered UNISONO_E_BUSY. Allocates nothing and locks nothing. After a fork the child shares the kernel's timer with its
// parent: make a new one there.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY, UNISONO_E_SYSTEM.
int unisono_ticker_wait(const struct unisono_ticker *ticker,
                        struct unisono_tick *tick);

// From now on the ticker sleeps to shortly before each deadline and spins from there, using at most `cpu_share`
// (above 0, at most 1; 0.01 is a good one) of one CPU. Like unisono_ticker_wait, one thread at a time.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
int unisono_ticker_precise(const struct unisono_ticker *ticker,
                           double cpu_share);

// What the ticker does with late deadlines: an unisono_late_policy. `at_most` is how many a tick may be behind under
// UNISONO_LATE_COUNT, and not looked at otherwise. Like unisono_ticker_wait, one thread at a time.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
int unisono_ticker_late_policy(const struct unisono_ticker *ticker,
                               int policy,
                               uint32_t at_most);

// What precise mode does and costs; all zero when it is off. Like unisono_ticker_wait, one thread at a time.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
int unisono_ticker_precision(const struct unisono_ticker *ticker, struct unisono_precision *precision);

// By how much sleeps of a ticker that is not precise end ahead of their deadlines, to make up for what every wake-up costs, in `*ahead_ns`, and for
// how long it has spun since its first wait, in `*spun_ns`: never more than 0.1 % of one CPU and a millisecond. Either may be null. 0 in precise
// mode and without lead. Like unisono_ticker_wait, one thread at a time.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_ticker_lead(const struct unisono_ticker *ticker,
                        uint64_t *ahead_ns,
                        uint64_t *spun_ns);

// From now on no sleep ends ahead of its deadline: a ticker that is not precise never spins, and is later by what every wake-up costs. Like
// unisono_ticker_wait, one thread at a time.
//
// UNISONO_E_HANDLE, UNISONO_E_BUSY.
int unisono_ticker_without_lead(const struct unisono_ticker *ticker);

// Closes the ticker. A thread that waits on it comes back at its deadline, and the ticker goes then. Any thread.
//
// UNISONO_E_HANDLE.
int unisono_ticker_free(const struct unisono_ticker *ticker);

// Watches the calling thread, until it ends or frees this: while it is SCHED_FIFO, SCHED_RR or SCHED_DEADLINE it may use `limit_ns`
// of processor time without sleeping (2000000000 is a good one); beyond that it becomes an ordinary thread and goes on. Takes no
// thread and nothing in the tick. Handles SIGXCPU in the process and unblocks it in the thread; that of other origin acts as before.
//
// UNISONO_E_WATCHED, UNISONO_E_INVALID, UNISONO_E_SYSTEM, UNISONO_E_TOO_MANY. Go on without and say so.
int unisono_watchdog_new(uint64_t limit_ns,
                         struct unisono_watchdog **watchdog);

// How often the thread was demoted to an ordinary one, also after it has ended. Any thread.
//
// UNISONO_E_HANDLE, UNISONO_E_INVALID.
int unisono_watchdog_demotions(const struct unisono_watchdog *watchdog, uint64_t *demotions);

// Ends the watch when the watched thread calls it. Any other thread may close the handle so, too; the thread is then watched until it
// ends or asks for another watchdog.
//
// UNISONO_E_HANDLE.
int unisono_watchdog_free(const struct unisono_watchdog *watchdog);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNISONO_TIMER_H */
