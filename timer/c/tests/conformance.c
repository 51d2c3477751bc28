/* What the README promises, seen from C. Prints what fails; exit status 0 when nothing does. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
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
    struct pollfd polled = {fd, POLLIN, 0};
    return poll(&polled, 1, ms) > 0;
}

static void *toggle(void *argument)
{
    unisono_timer *timer = (unisono_timer *)argument;
    for (int i = 0; i < 100000; i++) {
        unisono_timer_enable_continuous(timer);
        unisono_timer_disable_continuous(timer);
    }
    return NULL;
}

static void *wait_for_a_tick(void *ticker)
{
    unisono_ticker_wait((unisono_ticker *)ticker, NULL);
    return NULL;
}

static void timers(void)
{
    unisono_source *source;
    unisono_timer *timer, *other;
    pthread_t thread[2];
    uint32_t pending, acknowledged = 7;
    uint64_t missed, demotions = 7;
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
        EXPECT(unisono_timer_event(timer, &event) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_pending(timer, &pending) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_missed(timer, &missed) == UNISONO_E_FORKED);
        EXPECT(unisono_timer_fd(timer, &fd) == UNISONO_E_FORKED);
        EXPECT(unisono_source_text(source, NULL, 0, NULL) == UNISONO_E_FORKED);
        EXPECT(unisono_source_demotions(source, &demotions) == UNISONO_E_FORKED);
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

    EXPECT(unisono_source_demotions(source, &demotions) == UNISONO_OK && demotions == 0);
    EXPECT(unisono_source_free(source) == UNISONO_OK);
    EXPECT(unisono_timer_open(source, &other) == UNISONO_E_HANDLE);
    EXPECT(unisono_timer_pending(timer, &pending) == UNISONO_OK);
    EXPECT(unisono_timer_missed(timer, &missed) == UNISONO_OK);
    EXPECT(unisono_timer_close(timer) == UNISONO_OK);
    EXPECT(unisono_timer_close(timer) == UNISONO_E_HANDLE);
    EXPECT(unisono_timer_set_rate(timer, 50) == UNISONO_E_HANDLE);
}

static void tickers(void)
{
    unisono_ticker *ticker;
    unisono_tick tick, before;
    unisono_precision precision;
    uint64_t ahead_ns = 7, spun_ns = 7;
    pthread_t thread;

    EXPECT(unisono_ticker_new(0, &ticker) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_new(20000000, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_ticker_new_rate(100, 3, &ticker) == UNISONO_OK);
    EXPECT(unisono_ticker_wait(ticker, &before) == UNISONO_OK && before.number >= 1);
    EXPECT(unisono_ticker_lead(ticker, &ahead_ns, NULL) == UNISONO_OK && ahead_ns <= 200000);
    EXPECT(unisono_ticker_without_lead(ticker) == UNISONO_OK);
    EXPECT(unisono_ticker_wait(ticker, &before) == UNISONO_OK);
    EXPECT(unisono_ticker_lead(ticker, &ahead_ns, &spun_ns) == UNISONO_OK && ahead_ns == 0 && spun_ns == 0);
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

static void realtime(void)
{
    unisono_realtime *asked;
    char text[256];
    int answer = 7;

    EXPECT(unisono_realtime_new(&asked) == UNISONO_OK);
    EXPECT(unisono_realtime_prefault_stack(asked, 4096) == UNISONO_OK);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_STACK, &answer, text, sizeof text, NULL) == UNISONO_OK);
    EXPECT(answer == UNISONO_ANSWER_NONE && strcmp(text, "not asked yet") == 0);
    EXPECT(unisono_realtime_pin_to(asked, 1000000) == UNISONO_OK);
    EXPECT(unisono_realtime_apply(asked) == UNISONO_PARTLY);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_STACK, &answer, text, sizeof text, NULL) == UNISONO_OK);
    EXPECT(answer == UNISONO_ANSWER_GRANTED && strncmp(text, "granted: ", 9) == 0);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_CPU, &answer, text, sizeof text, NULL) == UNISONO_OK);
    EXPECT(answer == UNISONO_ANSWER_REFUSED && strstr(text, "1000000") != NULL);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_SCHEDULING, &answer, NULL, 0, NULL) == UNISONO_OK);
    EXPECT(answer == UNISONO_ANSWER_NONE);
    EXPECT(unisono_realtime_answer(asked, 6, &answer, NULL, 0, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_realtime_answer(asked, -1, &answer, NULL, 0, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_CPU, NULL, NULL, 0, NULL) == UNISONO_E_INVALID);
    EXPECT(unisono_realtime_free(asked) == UNISONO_OK);

    /* More runtime than there is time is refused everywhere, and the thread stays as it was. */
    EXPECT(unisono_realtime_new(&asked) == UNISONO_OK);
    EXPECT(unisono_realtime_deadline(asked, 20000000, 10000000) == UNISONO_OK);
    EXPECT(unisono_realtime_apply(asked) == UNISONO_PARTLY);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_SCHEDULING, &answer, NULL, 0, NULL) == UNISONO_OK);
    EXPECT(answer == UNISONO_ANSWER_REFUSED);
    EXPECT(unisono_realtime_free(asked) == UNISONO_OK);
}

static void *watch(void *unused)
{
    (void)unused;
    unisono_watchdog *watchdog = NULL;
    return unisono_watchdog_new(2000000000, &watchdog) == UNISONO_OK ? watchdog : NULL;
}

/* Where real-time scheduling is refused there is nothing to demote. */
static void *run_away(void *unused)
{
    unisono_realtime *asked;
    unisono_watchdog *watchdog;
    uint64_t demotions = 0;
    int answer = 0;
    time_t begin = time(NULL);

    (void)unused;
    EXPECT(unisono_realtime_new(&asked) == UNISONO_OK);
    EXPECT(unisono_realtime_fifo(asked, 1) == UNISONO_OK);
    unisono_realtime_apply(asked);
    EXPECT(unisono_realtime_answer(asked, UNISONO_PART_SCHEDULING, &answer, NULL, 0, NULL) == UNISONO_OK);
    EXPECT(unisono_watchdog_new(100000000, &watchdog) == UNISONO_OK);
    while (answer == UNISONO_ANSWER_GRANTED && demotions == 0 && time(NULL) - begin < 30)
        EXPECT(unisono_watchdog_demotions(watchdog, &demotions) == UNISONO_OK);
    EXPECT(demotions == (answer == UNISONO_ANSWER_GRANTED));
    EXPECT(unisono_watchdog_free(watchdog) == UNISONO_OK);
    EXPECT(unisono_realtime_free(asked) == UNISONO_OK);
    return NULL;
}

static void watchdogs(void)
{
    unisono_watchdog *watchdog, *second;
    pthread_t thread;
    void *of_another = NULL;
    uint64_t demotions = 7;

    EXPECT(unisono_watchdog_new(2000000000, &watchdog) == UNISONO_OK);
    EXPECT(unisono_watchdog_new(2000000000, &second) == UNISONO_E_WATCHED);
    EXPECT(unisono_watchdog_demotions(watchdog, &demotions) == UNISONO_OK && demotions == 0);

    /* Of a thread that has ended the watch can still be asked. */
    EXPECT(pthread_create(&thread, NULL, watch, NULL) == 0);
    pthread_join(thread, &of_another);
    second = (unisono_watchdog *)of_another;
    EXPECT(unisono_watchdog_demotions(second, &demotions) == UNISONO_OK && demotions == 0);
    EXPECT(unisono_watchdog_free(second) == UNISONO_OK);

    EXPECT(pthread_create(&thread, NULL, run_away, NULL) == 0);
    pthread_join(thread, NULL);

    /* A child is not watched, and may watch itself. */
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(unisono_watchdog_new(2000000000, &second) == UNISONO_OK);
        EXPECT(unisono_watchdog_free(watchdog) == UNISONO_OK);
        EXPECT(unisono_watchdog_free(second) == UNISONO_OK);
        fflush(stdout);
        _exit(failed);
    }
    int status = 1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    EXPECT(unisono_watchdog_free(watchdog) == UNISONO_OK);
    EXPECT(unisono_watchdog_demotions(watchdog, &demotions) == UNISONO_E_HANDLE);
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
    realtime();
    watchdogs();
    bad_handles();
    if (!failed)
        printf("all as promised\n");
    return failed;
}
