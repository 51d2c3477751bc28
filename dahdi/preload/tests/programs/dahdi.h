/* What the test programs share: DAHDI's requests, and how a check fails. */
#ifndef DAHDI_H
#define DAHDI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define GET_BLOCKSIZE _IOR(0xda, 1, int)
#define SET_BLOCKSIZE _IOW(0xda, 1, int)
#define FLUSH _IOW(0xda, 3, int)
#define SYNC _IO(0xda, 4)
#define HOOK _IOW(0xda, 7, int)
#define GETEVENT _IOR(0xda, 8, int)
#define IOMUX _IOWR(0xda, 9, int)
#define SETCONF _IOWR(0xda, 13, struct confinfo)
#define GETCONF _IOWR(0xda, 12, struct confinfo)
#define GETGAINS _IOWR(0xda, 16, struct gains)
#define SETGAINS _IOW(0xda, 16, struct gains)
#define GET_BUFINFO _IOR(0xda, 27, struct bufinfo)
#define SET_BUFINFO _IOW(0xda, 27, struct bufinfo)
#define AUDIOMODE _IOW(0xda, 32, int)
#define ECHOCANCEL _IOW(0xda, 33, int)
#define CHANNO _IOR(0xda, 34, int)
#define SPECIFY _IOW(0xda, 38, int)
#define SETLINEAR _IOW(0xda, 40, int)
#define TIMERCONFIG _IOW(0xda, 47, int)
#define TIMERACK _IOW(0xda, 48, int)
#define TIMERPING _IO(0xda, 52)
#define TIMERPONG _IO(0xda, 53)
#define INDIRECT _IOWR(0xda, 56, struct indirect)
#define GETVERSION _IOR(0xda, 57, struct version)
#define TONEDETECT _IOW(0xda, 91, int)
#define BUFFER_EVENTS _IOW(0xda, 105, int)

enum { NONE = 0, EXPIRED = 15, PING = 16 };
enum { FLUSH_READ = 1, FLUSH_WRITE = 2, FLUSH_ALL = 7 };
enum { MUX_READ = 1, MUX_WRITE = 2, MUX_WRITE_EMPTY = 4, MUX_NO_WAIT = 0x100 };

struct confinfo { int channel, conference, mode; };
struct bufinfo { int tx_policy, rx_policy, buffers, block, read_buffers, write_buffers; };
struct gains { int channel; unsigned char rx[256], tx[256]; };
struct indirect { int channel, code; void *data; };
struct version { char version[80], echo_cancellers[80]; };

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            dprintf(2, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            _exit(1);                                                                 \
        }                                                                             \
    } while (0)
/* A call that has to fail, and why. */
#define FAILS(number, call)                 \
    do {                                    \
        errno = 0;                          \
        CHECK((call) == -1);                \
        CHECK(errno == (number));           \
    } while (0)
/* Only a hang takes half a minute. */
#define EVENTUALLY(condition)               \
    do {                                    \
        int left_ = 3000;                   \
        while (!(condition)) {              \
            CHECK(left_-- > 0);             \
            usleep(10000);                  \
        }                                   \
    } while (0)

/* A number that is closed: unless a thread of the library has it just then. */
#define CLOSED(call) EVENTUALLY((errno = 0, (call) == -1) && errno == EBADF)

/* An address of which the compiler knows nothing and the kernel no good. */
static void *volatile nowhere __attribute__((unused)) = (void *)8;

struct test { const char *name; void (*run)(void); };

/* Runs the case that the first argument names. */
static inline int run_case(const struct test *tests, int argc, char **argv)
{
    for (; argc > 1 && tests->name; tests++) {
        if (!strcmp(tests->name, argv[1])) {
            alarm(120);
            tests->run();
            puts("as promised");
            return 0;
        }
    }
    fputs("name a case\n", stderr);
    return 2;
}

static inline int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* Not inline: so that, where the C library checks, it is asked by the names that check. */
static __attribute__((noinline, unused)) int open_device(const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/dahdi/%s", name);
    int fd = open(path, O_RDWR | flags);
    CHECK(fd >= 0);
    return fd;
}

/* The lowest free number is that of what is opened, unless a thread of the library has it just then. */
static __attribute__((unused)) void open_as(const char *device, int number)
{
    int got;
    EVENTUALLY((got = open_device(device, 0)) == number || close(got));
}

static inline int ask_int(int fd, unsigned long code, int value)
{
    return ioctl(fd, code, &value);
}

static inline int answered(int fd, unsigned long code)
{
    int value = -77;
    CHECK(ioctl(fd, code, &value) == 0);
    return value;
}

static inline int is_ready(int fd, short events, int milliseconds)
{
    struct pollfd one = { .fd = fd, .events = events };
    volatile nfds_t count = 1;
    int ready = poll(&one, count, milliseconds);
    CHECK(ready >= 0);
    CHECK(!(one.revents & ~events));
    return one.revents;
}

/* The descriptors that the process has open. */
static inline int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 32768; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#endif
