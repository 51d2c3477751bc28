/* What a PBX does with a timing source: opens timers, polls them with everything else, acknowledges ticks.
 *
 *   pbx_timer [TIMERS [RATE [MILLISECONDS]]]      default: 10 timers, 50 ticks a second, 1000 ms
 *
 * Build:  cc pbx_timer.c -o pbx_timer $(pkg-config --cflags --libs unisono-timer)
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unisono_timer.h>

#define MOST_TIMERS 100

static void check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, unisono_strerror(status));
        exit(1);
    }
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    int timers = argc > 1 ? atoi(argv[1]) : 10;
    int rate = argc > 2 ? atoi(argv[2]) : 50;
    int duration = argc > 3 ? atoi(argv[3]) : 1000;
    unisono_source *source;
    unisono_timer *timer[MOST_TIMERS];
    struct pollfd polled[MOST_TIMERS];
    unsigned long long ticks = 0;
    char granted[500];
    int i, event;

    if (timers < 1 || timers > MOST_TIMERS) {
        fprintf(stderr, "1 to %d timers, not %s\n", MOST_TIMERS, argv[1]);
        return 2;
    }
    check(unisono_source_new(NULL, 0, &source), "source");
    long long begin = now_ms();
    for (i = 0; i < timers; i++) {
        check(unisono_timer_open(source, &timer[i]), "open");
        check(unisono_timer_set_rate(timer[i], (uint32_t)rate), "rate");
        check(unisono_timer_fd(timer[i], &polled[i].fd), "descriptor");
        polled[i].events = POLLIN;
    }

    /* Another thread queued something: its timer is readable at once, and the ticks go on. */
    check(unisono_timer_enable_continuous(timer[0]), "continuous");
    check(unisono_timer_event(timer[0], &event), "event");
    if (event != UNISONO_EVENT_CONTINUOUS) {
        fprintf(stderr, "no continuous mode\n");
        return 1;
    }
    check(unisono_timer_disable_continuous(timer[0]), "continuous");

    while (now_ms() - begin < duration) {
        if (poll(polled, (nfds_t)timers, 100) <= 0)
            continue;
        for (i = 0; i < timers; i++) {
            uint32_t acknowledged = 0;
            if (!(polled[i].revents & POLLIN))
                continue;
            int status = unisono_timer_ack(timer[i], 1, &acknowledged);
            if (status != UNISONO_E_NOTHING_PENDING)
                check(status, "acknowledge");
            ticks += acknowledged;
        }
    }

    /* What came in the last moment, or while the machine stood still, counts as well. */
    for (i = 0; i < timers; i++) {
        uint32_t pending;
        uint64_t missed;
        check(unisono_timer_pending(timer[i], &pending), "pending");
        check(unisono_timer_missed(timer[i], &missed), "missed");
        ticks += pending + missed;
        check(unisono_timer_close(timer[i]), "close");
    }
    long long passed = now_ms() - begin;
    check(unisono_source_text(source, granted, sizeof granted, NULL), "grant");
    check(unisono_source_free(source), "source");
    printf("%s\n", granted);
    printf("%lld ms, %d timers, %llu ticks\n", passed, timers, ticks);
    return 0;
}
