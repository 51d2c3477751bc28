/* The timer device, as programs for DAHDI know it. */
#include "dahdi.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int timer_of(int samples)
{
    int fd = open_device("timer", 0);
    CHECK(ask_int(fd, TIMERCONFIG, samples) == 0);
    return fd;
}

/* Takes what is pending, one by one. */
static int drain(int fd)
{
    int count = 0;
    while (answered(fd, GETEVENT) == EXPIRED) {
        CHECK(ask_int(fd, TIMERACK, 1) == 0);
        count++;
    }
    return count;
}

/* Stops a timer and lets what was due by then arrive. */
static void settle(int fd)
{
    CHECK(ask_int(fd, TIMERCONFIG, 0) == 0);
    usleep(300000);
}

/* Every tick of `count` periods comes, none too early, and none is lost however late the program is. */
static void ticks_of(int samples, int milliseconds, int count)
{
    int64_t before = microseconds();
    int fd = timer_of(samples);
    int64_t after = microseconds();
    int ticks = 0;
    while (ticks < count) {
        CHECK(is_ready(fd, POLLIN | POLLPRI, 30000) == (POLLIN | POLLPRI));
        CHECK(answered(fd, GETEVENT) == EXPIRED);
        CHECK(ask_int(fd, TIMERACK, 1) == 0);
        ticks++;
        CHECK(microseconds() - before >= (int64_t)ticks * milliseconds * 1000);
    }
    int64_t least = (microseconds() - after - 1000) / (milliseconds * 1000);
    CHECK(ask_int(fd, TIMERCONFIG, 0) == 0);
    int64_t most = (microseconds() - before) / (milliseconds * 1000);
    EVENTUALLY((ticks += drain(fd)) >= least);
    CHECK(ticks <= most);
    CHECK(close(fd) == 0);
}

static void periods(void)
{
    ticks_of(160, 20, 50);
    ticks_of(100, 13, 50);
    ticks_of(8, 1, 500);
    ticks_of(1, 1, 100);
}

static void disarmed(void)
{
    int values[] = { 0, -1, -2147483647 - 1 };
    for (int n = 0; n < 3; n++) {
        int fd = timer_of(8);
        CHECK(is_ready(fd, POLLPRI, 30000));
        CHECK(ask_int(fd, TIMERCONFIG, values[n]) == 0);
        usleep(300000);
        CHECK(answered(fd, GETEVENT) == EXPIRED);
        CHECK(ask_int(fd, TIMERACK, -1) == 0);
        usleep(50000);
        CHECK(answered(fd, GETEVENT) == NONE);
        CHECK(!is_ready(fd, POLLIN | POLLPRI, 0));
        close(fd);
    }
}

/* Set again and again to what it is, a timer would never expire if that began its period anew. */
static void same_period(void)
{
    int fd = timer_of(4000);
    EVENTUALLY(ask_int(fd, TIMERCONFIG, 4000) == 0 && answered(fd, GETEVENT) == EXPIRED);
    close(fd);
}

static void acknowledging(void)
{
    int counts[] = { -1, 0, 99 };
    for (int n = 0; n < 3; n++) {
        int fd = timer_of(160);
        usleep(110000);
        settle(fd);
        CHECK(ask_int(fd, TIMERACK, 1) == 0);
        CHECK(answered(fd, GETEVENT) == EXPIRED);
        CHECK(is_ready(fd, POLLIN, 0));
        CHECK(ask_int(fd, TIMERACK, 1) == 0);
        CHECK(is_ready(fd, POLLPRI, 0));
        CHECK(ask_int(fd, TIMERACK, counts[n]) == 0);
        CHECK(answered(fd, GETEVENT) == NONE);
        CHECK(!is_ready(fd, POLLIN | POLLPRI, 0));
        CHECK(ask_int(fd, TIMERACK, 5) == 0);
        close(fd);
    }
}

static int shared;

static void *ping_later(void *unused)
{
    usleep(50000);
    /* Asterisk passes an address, which is not looked at. */
    CHECK(ioctl(shared, TIMERPING, (void *)1) == 0);
    return unused;
}

static void pinging(void)
{
    shared = open_device("timer", 0);
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, ping_later, NULL));
    CHECK(is_ready(shared, POLLPRI, 30000) == POLLPRI);
    CHECK(answered(shared, GETEVENT) == PING);
    pthread_join(other, NULL);
    CHECK(ask_int(shared, TIMERCONFIG, 8) == 0);
    usleep(50000);
    settle(shared);
    CHECK(answered(shared, GETEVENT) == PING);
    CHECK(ioctl(shared, TIMERPING) == 0);
    CHECK(ioctl(shared, TIMERPONG) == 0);
    CHECK(answered(shared, GETEVENT) == EXPIRED);
    CHECK(drain(shared) > 1);
    CHECK(!is_ready(shared, POLLIN, 0));
}

static void *ping_pong(void *unused)
{
    for (int n = 0; n < 500000; n++) {
        if (ioctl(shared, TIMERPING) || ioctl(shared, TIMERPONG))
            CHECK(!"a ping or a pong failed");
    }
    return unused;
}

/* A million pings and pongs from two threads, with ticks and acknowledgements between. */
static void race(void)
{
    shared = timer_of(8);
    pthread_t others[2];
    for (int n = 0; n < 2; n++)
        CHECK(!pthread_create(&others[n], NULL, ping_pong, NULL));
    for (int n = 0; n < 20000; n++)
        CHECK(ask_int(shared, TIMERACK, 1) == 0);
    for (int n = 0; n < 2; n++)
        pthread_join(others[n], NULL);
    settle(shared);
    CHECK(ask_int(shared, TIMERACK, -1) == 0);
    CHECK(answered(shared, GETEVENT) == NONE);
    for (int n = 0; n < 3; n++) {
        CHECK(!is_ready(shared, POLLIN | POLLPRI, 0));
        CHECK(ioctl(shared, TIMERPING) == 0);
        CHECK(is_ready(shared, POLLIN | POLLPRI, 0));
        CHECK(ioctl(shared, TIMERPONG) == 0);
    }
}

static void refusals(void)
{
    int fd = open_device("timer", 0);
    char octets[16] = "";
    struct iovec part = { octets, sizeof octets };
    FAILS(ENOSYS, read(fd, octets, 4));
    FAILS(ENOSYS, write(fd, octets, 8));
    FAILS(ENOSYS, readv(fd, &part, 1));
    FAILS(ENOSYS, writev(fd, &part, 1));
    FAILS(ENOTTY, ioctl(fd, CHANNO, octets));
    FAILS(ENOTTY, ioctl(fd, 0xda77, octets));
    FAILS(ENOTTY, ioctl(fd, _IOR(0xda, 48, char[9]), octets));
    FAILS(ENOTTY, ioctl(fd, 0x5401, octets));
    CHECK(!isatty(fd));
    struct stat status;
    CHECK(!fstat(fd, &status) && S_ISCHR(status.st_mode) && status.st_rdev == 196 * 256 + 253);
    CHECK(!stat("/dev/dahdi/timer", &status) && status.st_rdev == 196 * 256 + 253);
    CHECK(!fstatat(fd, "", &status, AT_EMPTY_PATH) && status.st_rdev == 196 * 256 + 253);
    CHECK(access("/dev/dahdi/timer", R_OK | W_OK) == 0);
    FAILS(ENOENT, access("/dev/dahdi/1", F_OK));
    FAILS(ENXIO, open("/dev/dahdi/1", O_RDWR));
    FAILS(ENXIO, open("/dev/dahdi/transcode", O_RDWR));
    FAILS(ENOENT, open("/dev/dahdi/250", O_RDWR));
    FAILS(ENOENT, open("/dev/dahdi/nothing", O_RDWR));
    FAILS(EEXIST, open("/dev/dahdi/timer", O_RDWR | O_CREAT | O_EXCL, 0600));
    CHECK(close(fd) == 0);
    CLOSED(ioctl(fd, TIMERPING));
    FAILS(EBADF, close(fd));
}

static void flags(void)
{
    int fd = open_device("timer", O_NONBLOCK | O_CLOEXEC);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK));
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    int on = 1;
    CHECK(ioctl(fd, FIONBIO, &on) == 0);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    int other = open_device("timer", 0);
    CHECK(fcntl(other, F_GETFD) == 0);
    /* Descriptors have the lowest free numbers, as of any open: unless a thread of the library opens something just then. */
    EVENTUALLY(close(fd) == 0 && (other = open_device("timer", 0)) == fd);
}

static void duplicates(void)
{
    int fd = timer_of(160);
    int copies[] = { dup(fd), dup2(fd, 200), dup3(fd, 201, O_CLOEXEC), fcntl(fd, F_DUPFD, 300),
                     fcntl(fd, F_DUPFD_CLOEXEC, 301) };
    CHECK(close(fd) == 0);
    for (int n = 0; n < 5; n++) {
        CHECK(is_ready(copies[n], POLLPRI, 30000));
        CHECK(answered(copies[n], GETEVENT) == EXPIRED);
    }
    CHECK(fcntl(201, F_GETFD) == FD_CLOEXEC && fcntl(200, F_GETFD) == 0);
    /* Something else over one of them, and one of them over something else. */
    int pipes[2];
    CHECK(!pipe(pipes));
    CHECK(dup2(pipes[1], 200) == 200);
    CHECK(write(200, "x", 1) == 1);
    CHECK(dup2(201, pipes[0]) == pipes[0]);
    CHECK(ask_int(pipes[0], TIMERCONFIG, 0) == 0);
    FAILS(ENOTTY, ask_int(200, TIMERCONFIG, 0));
    for (int n = 0; n < 5; n++)
        close(copies[n]);
    CHECK(ioctl(pipes[0], TIMERPING) == 0);
    CHECK(answered(pipes[0], GETEVENT) == PING);
}

static void *wait_for_it(void *unused)
{
    struct pollfd one = { .fd = shared, .events = POLLPRI | POLLIN };
    poll(&one, 1, -1);
    return unused;
}

/* Who waits for a descriptor that another thread closes does not wait for ever. */
static void closed_while_waited_for(void)
{
    shared = open_device("timer", 0);
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, wait_for_it, NULL));
    usleep(100000);
    CHECK(close(shared) == 0);
    CHECK(!pthread_join(other, NULL));
}

static void selecting(void)
{
    int fd = timer_of(160);
    for (int n = 0; n < 5; n++) {
        fd_set read, write, except;
        FD_ZERO(&read);
        FD_ZERO(&write);
        FD_ZERO(&except);
        FD_SET(fd, &except);
        FD_SET(fd, &write);
        struct timeval half_a_minute = { 30, 0 };
        CHECK(select(fd + 1, n % 2 ? NULL : &read, &write, &except, &half_a_minute) == 1);
        CHECK(FD_ISSET(fd, &except) && !FD_ISSET(fd, &write) && !FD_ISSET(fd, &read));
        CHECK(ask_int(fd, TIMERACK, -1) == 0);
    }
    settle(fd);
    CHECK(ask_int(fd, TIMERACK, -1) == 0);
    fd_set read, except;
    FD_ZERO(&read);
    FD_ZERO(&except);
    FD_SET(fd, &except);
    FD_SET(fd, &read);
    struct timespec none = { 0, 0 };
    CHECK(pselect(fd + 1, &read, NULL, &except, &none, NULL) == 0);
    CHECK(!FD_ISSET(fd, &read) && !FD_ISSET(fd, &except));
    CHECK(ioctl(fd, TIMERPING) == 0);
    FD_SET(fd, &except);
    FD_SET(fd, &read);
    CHECK(pselect(fd + 1, &read, NULL, &except, &none, NULL) == 2);
}

static void polling(void)
{
    int fd = open_device("timer", 0), pipes[2];
    CHECK(!pipe(pipes));
    CHECK(!is_ready(fd, POLLIN | POLLPRI | POLLOUT, 0));
    CHECK(ioctl(fd, TIMERPING) == 0);
    CHECK(is_ready(fd, POLLIN | POLLPRI | POLLOUT, 0) == (POLLIN | POLLPRI));
    CHECK(is_ready(fd, POLLPRI, 0) == POLLPRI);
    CHECK(is_ready(fd, POLLIN, 0) == POLLIN);
    /* Among many others, in memory that is not the stack. */
    struct pollfd *many = calloc(100, sizeof *many);
    for (int n = 0; n < 100; n++)
        many[n] = (struct pollfd){ .fd = n == 70 ? fd : n == 71 ? pipes[1] : -1, .events = POLLPRI | POLLOUT };
    struct timespec none = { 0, 0 };
    volatile nfds_t count = 100;
    CHECK(ppoll(many, count, &none, NULL) == 2);
    CHECK(many[70].revents == POLLPRI && many[70].events == (POLLPRI | POLLOUT));
    CHECK(many[71].revents == POLLOUT);
    FAILS(EFAULT, poll(nowhere, 1, 0));
    int epoll = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLPRI | EPOLLOUT, .data.fd = 1234 };
    CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CHECK(event.events == (EPOLLPRI | EPOLLOUT));
    struct epoll_event told;
    /* The kernel answers for an eventfd, which knows nothing urgent. */
    CHECK(epoll_wait(epoll, &told, 1, 0) == 1 && told.data.fd == 1234 && told.events == EPOLLIN);
    CHECK(ioctl(fd, TIMERPONG) == 0);
    CHECK(epoll_wait(epoll, &told, 1, 0) == 0);
}

static void five_thousand(void)
{
    enum { COUNT = 5000 };
    /* Each takes two descriptors where the limit cannot be lifted. */
    struct rlimit limit;
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
    int count = limit.rlim_max >= 2 * COUNT + 100 ? COUNT : (int)(limit.rlim_max - 100) / 2;
    if (count < COUNT)
        dprintf(2, "not tested: %d timers instead of %d, as no more than %d files may be open: raise the hard limit (ulimit -Hn)\n", count,
                COUNT, (int)limit.rlim_max);
    int before = open_descriptors();
    static int timers[COUNT];
    for (int n = 0; n < count; n++)
        timers[n] = timer_of(160);
    for (int round = 0; round < 3; round++) {
        for (int n = 0; n < count; n++) {
            CHECK(is_ready(timers[n], POLLPRI, 30000));
            CHECK(ask_int(timers[n], TIMERACK, -1) == 0);
        }
    }
    for (int n = 0; n < count; n++)
        CHECK(close(timers[n]) == 0);
    /* But for the few that a process has with its first device. */
    CHECK(open_descriptors() <= before + 4);
}

/* After a standstill of four seconds, three seconds' worth of ticks and one wake-up. */
static void stopped(void)
{
    int fd = timer_of(160);
    pid_t self = getpid(), other = fork();
    if (other == 0) {
        kill(self, SIGSTOP);
        sleep(4);
        kill(self, SIGCONT);
        _exit(0);
    }
    CHECK(waitpid(other, NULL, 0) == other);
    settle(fd);
    CHECK(drain(fd) == 150);
    close(fd);
}

/* What Asterisk does to see whether there is a timer. */
static void load_sequence(void)
{
    int fd = open("/dev/dahdi/timer", O_RDWR), samples = 160;
    CHECK(fd >= 0);
    CHECK(!ioctl(fd, TIMERCONFIG, &samples));
    CHECK(is_ready(fd, POLLIN | POLLPRI, 30000));
    CHECK(!close(fd));
}

int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);

static void paths(void)
{
    int dir = open("/tmp", O_RDONLY | O_DIRECTORY);
    int fds[] = { open("//dev/./dahdi//timer", O_RDWR),
                  openat(dir, "/dev/dahdi/timer", O_RDWR),
                  open64("/dev/dahdi/timer", O_RDWR),
                  openat64(AT_FDCWD, "/dev/dahdi/timer", O_RDWR),
                  creat("/dev/dahdi/timer", 0600),
                  __open_2("/dev/dahdi/timer", O_RDWR),
                  __open64_2("/dev/dahdi/timer", O_RDWR),
                  __openat_2(dir, "/dev/dahdi/timer", O_RDWR),
                  __openat64_2(dir, "/dev/dahdi/timer", O_RDWR) };
    for (int n = 0; n < 9; n++)
        CHECK(fds[n] >= 0 && ioctl(fds[n], TIMERPING) == 0);
    FAILS(EFAULT, open(nowhere, O_RDWR));
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        { "periods", periods },
        { "disarmed", disarmed },
        { "same_period", same_period },
        { "acknowledging", acknowledging },
        { "pinging", pinging },
        { "race", race },
        { "refusals", refusals },
        { "flags", flags },
        { "duplicates", duplicates },
        { "closed_while_waited_for", closed_while_waited_for },
        { "selecting", selecting },
        { "polling", polling },
        { "five_thousand", five_thousand },
        { "stopped", stopped },
        { "load_sequence", load_sequence },
        { "paths", paths },
        { NULL, NULL },
    };
    return run_case(tests, argc, argv);
}
