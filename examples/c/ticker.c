/* Ten ticks of 20 ms, with how late each was.
 *
 * Build:  cc ticker.c -o ticker $(pkg-config --cflags --libs unisono-timer)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unisono_timer.h>

static void check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, unisono_strerror(status));
        exit(1);
    }
}

int main(void)
{
    unisono_realtime *realtime;
    unisono_ticker *ticker;
    unisono_stats *stats;
    unisono_lateness lateness;
    char answer[500];

    /* Ask first; whatever is refused, the beat goes on. */
    check(unisono_realtime_new(&realtime), "real-time request");
    check(unisono_realtime_fifo(realtime, 70), "priority");
    check(unisono_realtime_prefault_stack(realtime, 64 * 1024), "stack");
    check(unisono_realtime_apply(realtime), "real time");
    check(unisono_realtime_text(realtime, answer, sizeof answer, NULL), "answer");
    printf("%s\n", answer);

    check(unisono_stats_new(&stats), "statistics");
    check(unisono_ticker_new_rate(50, 1, &ticker), "ticker");
    check(unisono_ticker_precise(ticker, 0.01), "precise mode");
    for (int i = 0; i < 10; i++) {
        unisono_tick tick;
        check(unisono_ticker_wait(ticker, &tick), "wait");
        check(unisono_stats_record(stats, &tick), "statistics");
        printf("tick %2" PRIu64 "  %8.1f us late  %" PRIu64 " missed\n", tick.number,
               (double)(tick.woke_ns - tick.deadline_ns) / 1000, tick.missed);
    }
    check(unisono_stats_read(stats, &lateness), "statistics");
    printf("%" PRIu64 " ticks, median %" PRIu64 " ns\n", lateness.ticks, lateness.p50_ns);

    check(unisono_stats_free(stats), "statistics");
    check(unisono_ticker_free(ticker), "ticker");
    check(unisono_realtime_free(realtime), "real-time request");
    return 0;
}
