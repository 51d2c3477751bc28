/* What the README promises, seen from C. Prints what fails; exit status 0 when nothing does. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unisono_timer.h>

static int failed;

#define EXPECT(what)                                                                                         \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            printf("line %d: %s\n", __LINE__, #what);                                                        \
            failed = 1;                                                                                      \
        }                                                                                                    \
    } while (0)

static int readable(int fd, int ms)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, ms) > 0;
}

static void *toggle(void *timer)
{
    for (int i = 0; i < 100000; i++) {
        unisono_timer_enable_continuous(timer);
        unisono_timer_disable_continuous(timer);
    }
    return NULL;
}

static void *wait_for_a_tick(void *ticker)
{
    unisono_ticker_wait(ticker, NULL);
    return NULL;
}

static void timers(void)
{
    unisono_source *source;
    unisono_timer *timer, *other;
    pthread_t thread[2];
    uint32_t pending, acknowledged = 7;
    int fd, event;

    EXPECT(unisono_source_new(NULL, 0, &source) == UNISONO_OK);
    EXPECT(unisono_timer_open(source, &timer) == UNISONO_OK);
    EXPECT(unisono_timer_fd(timer, &fd) == UNISONO_OK);
    EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) && (fcntl(fd, F_GETFL) & O_NONBLOCK));
    EXPECT(unisono_timer_ack(timer, 1, &acknowledged) == UNISONO_E_NOTHING_PENDING && acknowledged == 7);
    EXPECT(unisono_timer_set_rate(timer, unisono_timer_max_rate() + 1) == UNISONO_E_INVALID);
    EXPECT(unisono_timer_set_samples(timer, 160, 8000) == UNISONO_OK);
    EXPECT(readable(fd, 30000));
    EXPECT(unisono_timer_event(timer, &event) == UNISONO_OK && event == UNISONO_EVENT_EXPIRED);
    EXPECT(unisono_timer_ack_all(timer, &acknowledged) == UNISONO_OK && acknowledged >= 1);

    for (int i = 0; i < 2; i++)
        EXPECT(pthread_create(&thread[i], NULL, toggle, timer) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    EXPECT(unisono_timer_event(timer, &event) == UNISONO_OK && event != UNISONO_EVENT_CONTINUOUS);
    EXPECT(unisono_timer_enable_continuous(timer) == UNISONO_OK && readable(fd, 30000));
    EXPECT(unisono_timer_event(timer, &event) == UNISONO_OK && event == UNISONO_EVENT_CONTINUOUS);

    /* In a child the parent's timer is told apart, and a new one works. */
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        EXPECT(unisono_timer_set_rate(timer, 50) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_ack(timer, 1, NULL) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_open(source, &other) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_close(timer) == UNISONO_OK);
        EXPECT(unisono_source_free(source) == UNISONO_OK);
        EXPECT(unisono_source_new(NULL, 0, &source) == UNISONO_OK);
        EXPECT(unisono_timer_open(source, &other) == UNISONO_OK);
        EXPECT(unisono_timer_set_rate(other, 100) == UNISONO_OK);
        EXPECT(unisono_timer_fd(other, &fd) == UNISONO_OK && readable(fd, 20000));
        fflush(stdout);
        _exit(failed);
    }
    int status = 1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);

    EXPECT(unisono_source_free(source) == UNISONO_OK);
    EXPECT(unisono_timer_open(source, &other) == UNISONO_E_HANDLE);
    EXPECT(unisono_timer_pending(timer, &pending) == UNISONO_OK);
    EXPECT(unisono_timer_close(timer) == UNISONO_OK);
    EXPECT(unisono_timer_close(timer) == UNISONO_E_HANDLE);
    EXPECT(unisono_timer_set_rate(timer, 50) == UNISONO_E_HANDLE);
}

static void tickers(void)
{
    unisono_ticker *ticker;
    unisono_tick tick, before;
    unisono_precision precision;
    pthread_t thread;

    EXPECT(unisono_ticker_new(0, &ticker) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_new(20000000, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_new_rate(100, 3, &ticker) == UNISONO_OK);
    EXPECT(unisono_ticker_wait(ticker, &before) == UNISONO_OK && before.number >= 1);
    EXPECT(unisono_ticker_late_policy(ticker, UNISONO_LATE_COUNT, 50) == UNISONO_OK);
    EXPECT(unisono_ticker_late_policy(ticker, 9, 0) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_precise(ticker, 7.0) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_precise(ticker, 0.01) == UNISONO_OK);
    EXPECT(unisono_ticker_wait(ticker, &tick) == UNISONO_OK);
    EXPECT(tick.woke_ns >= tick.deadline_ns && tick.number == before.number + 1 + tick.missed);
    EXPECT(unisono_ticker_precision(ticker, &precision) == UNISONO_OK && precision.cpu_share <= 1);

    /* Closed while another thread waits: that one comes back, and the ticker goes. */
    EXPECT(pthread_create(&thread, NULL, wait_for_a_tick, ticker) == 0);
    EXPECT(unisono_ticker_free(ticker) == UNISONO_OK);
    pthread_join(thread, NULL);
    EXPECT(unisono_ticker_wait(ticker, NULL) == UNISONO_E_HANDLE);
}

static void frame_timers(void)
{
    unisono_frame_timer *timer;
    uint64_t diff, ticks, samples;

    EXPECT(unisono_frame_timer_new(0, 160, &timer) == UNISONO_E_INVALID);
    EXPECT(unisono_frame_timer_new(60000, 160, &timer) == UNISONO_OK);
    EXPECT(unisono_frame_timer_check(timer, 1, &diff) == UNISONO_EARLY && diff == 1);
    EXPECT(unisono_frame_timer_step(timer) == UNISONO_OK);
    EXPECT(unisono_frame_timer_check(timer, 1, &diff) == UNISONO_EARLY && diff == 2);
    EXPECT(unisono_frame_timer_counts(timer, &ticks, &samples) == UNISONO_OK && ticks == 1 && samples == 160);
    EXPECT(unisono_frame_timer_sync(timer) == UNISONO_OK);
    EXPECT(unisono_frame_timer_free(timer) == UNISONO_OK);

    EXPECT(unisono_frame_timer_new(1, 8, &timer) == UNISONO_OK);
    EXPECT(unisono_frame_timer_next(timer, &ticks) == UNISONO_OK && ticks >= 1);
    usleep(5000);
    EXPECT(unisono_frame_timer_check(timer, 1, &diff) == UNISONO_OK && diff == 0);
    EXPECT(unisono_frame_timer_free(timer) == UNISONO_OK);
}

static void bad_handles(void)
{
    char text[8];
    size_t needed;
    long local = 0;
    unisono_realtime *realtime;
    unisono_stats *stats;

    EXPECT(unisono_timer_set_rate(NULL, 50) == UNISONO_E_HANDLE);
    EXPECT(unisono_timer_close((unisono_timer *)&local) == UNISONO_E_HANDLE);
    EXPECT(unisono_realtime_new(&realtime) == UNISONO_OK);
    EXPECT(unisono_ticker_free((unisono_ticker *)realtime) == UNISONO_E_HANDLE);
    EXPECT(unisono_realtime_fifo(realtime, 100) == UNISONO_E_INVALID);
    EXPECT(unisono_realtime_apply(realtime) == UNISONO_OK);
    EXPECT(unisono_realtime_text(realtime, text, sizeof text, &needed) == UNISONO_OK);
    EXPECT(strlen(text) == 7 && needed == sizeof "nothing asked for");
    EXPECT(unisono_realtime_free(realtime) == UNISONO_OK);
    EXPECT(unisono_stats_new(&stats) == UNISONO_OK);
    EXPECT(unisono_stats_record(stats, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_stats_free(stats) == UNISONO_OK);
    EXPECT(strlen(unisono_strerror(-12345)) > 0 && strlen(unisono_version()) >= 5);
}

int main(void)
{
    timers();
    tickers();
    frame_timers();
    bad_handles();
    if (!failed)
        printf("all as promised\n");
    return failed;
}
