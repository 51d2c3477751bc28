/* Programs that do what they should not, and others' descriptors beside ours. */
#include "dahdi.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* A constructor runs before main, and perhaps before our library's own. */
static int early = -2;

__attribute__((constructor)) static void before_main(void)
{
    early = open("/dev/dahdi/timer", O_RDWR);
    int samples = 160;
    if (ioctl(early, TIMERCONFIG, &samples))
        early = -3;
}

static void before_the_program(void)
{
    CHECK(early >= 0);
    CHECK(is_ready(early, POLLPRI, 30000));
}

static void bad_addresses(void)
{
    long page = sysconf(_SC_PAGESIZE);
    char *constant = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && !mprotect(memory + page, page, PROT_NONE));
    void *bad[] = { NULL, nowhere, memory + page, memory + page - 2, (void *)-1L };
    int timer = open_device("timer", 0), pseudo = open_device("pseudo", 0), ctl = open_device("ctl", 0);
    CHECK(!ask_int(pseudo, SET_BLOCKSIZE, 160));
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        void *volatile at = bad[n];
        FAILS(EFAULT, ioctl(timer, TIMERCONFIG, at));
        FAILS(EFAULT, ioctl(timer, TIMERACK, at));
        FAILS(EFAULT, ioctl(timer, GETEVENT, at));
        FAILS(EFAULT, ioctl(pseudo, SETCONF, at));
        FAILS(EFAULT, ioctl(pseudo, GET_BUFINFO, at));
        FAILS(EFAULT, ioctl(pseudo, SETGAINS, at));
        FAILS(EFAULT, ioctl(ctl, GETVERSION, at));
        FAILS(EFAULT, ioctl(ctl, INDIRECT, at));
        FAILS(EFAULT, ioctl(timer, FIONBIO, at));
        FAILS(EFAULT, write(pseudo, at, 160));
        FAILS(EFAULT, read(pseudo, at, 160));
        FAILS(EFAULT, readv(pseudo, at, 1));
        FAILS(EFAULT, poll(at, 1, 0));
        FAILS(EFAULT, select(64, NULL, NULL, at ? at : (void *)4, NULL));
        memset(memory, 'x', page);
        FAILS(EFAULT, open(at, O_RDWR));
        FAILS(EFAULT, access(at, F_OK));
        FAILS(EFAULT, stat("/dev/dahdi/timer", at));
        FAILS(EFAULT, fstat(timer, at));
    }
    FAILS(EFAULT, ioctl(timer, GETEVENT, constant));
    FAILS(EFAULT, read(pseudo, constant, 160));
    /* The same addresses do not hinder what needs none. */
    CHECK(!ioctl(timer, TIMERPING, nowhere));
    volatile int counts[] = { -1, 1025 };
    FAILS(EINVAL, readv(pseudo, nowhere, counts[0]));
    FAILS(EINVAL, readv(pseudo, nowhere, counts[1]));
    /* On the heap, on another thread's stack or at the end of a page is as good as on our own stack. */
    *(int *)(memory + page - 4) = 160;
    CHECK(!ioctl(timer, TIMERCONFIG, memory + page - 4));
}

/* Waiting for no descriptor is how programs sleep, whatever the address; a vector without parts does nothing. */
static void nothing_to_wait_for(void)
{
    int timer = open_device("timer", 0), pseudo = open_device("pseudo", 0);
    void *volatile places[] = { NULL, nowhere };
    struct timespec brief = { 0, 1000 };
    for (size_t n = 0; n < sizeof places / sizeof *places; n++) {
        void *at = places[n];
        volatile nfds_t none = 0;
        CHECK(poll(at, none, 1) == 0);
        CHECK(ppoll(at, none, &brief, NULL) == 0);
        struct timeval shortly = { 0, 1000 };
        CHECK(select(0, NULL, NULL, at, &shortly) == 0);
        CHECK(pselect(0, NULL, NULL, at, &brief, NULL) == 0);
        volatile int no_parts = 0;
        CHECK(readv(pseudo, at, no_parts) == 0);
        CHECK(writev(pseudo, at, no_parts) == 0);
    }
    /* The second part would lie beyond the end of all addresses. */
    volatile int parts = 1024;
    FAILS(EFAULT, writev(pseudo, (void *)-16L, parts));
    FAILS(EFAULT, readv(pseudo, (void *)-16L, parts));
    CHECK(!ioctl(timer, TIMERPING) && is_ready(timer, POLLPRI, 0));
}

static void limit_to(rlim_t most)
{
    struct rlimit limit = { most, most };
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
}

/* Descriptors of the library itself: its threads open them when they come to it, on a busy machine even while there are none left. */
enum { OF_THE_LIBRARY = 8 };

/* Opens a device until no descriptor is left, and closes all again. */
static void exhaust(const char *path)
{
    int fds[64], count = 0;
    while (count < 64 && (fds[count] = open(path, O_RDWR)) >= 0)
        count++;
    CHECK(count >= 15 && count < 64 && errno == EMFILE);
    FAILS(EMFILE, open(path, O_RDWR));
    /* What is closed can be opened again, unless a thread of the library has waited for it. */
    int again = -1;
    for (int closed = 0; again < 0 && closed < OF_THE_LIBRARY; closed++) {
        CHECK(!close(fds[--count]));
        again = open(path, O_RDWR);
        CHECK(again >= 0 || errno == EMFILE);
    }
    CHECK(!close(again));
    while (count > 0)
        CHECK(!close(fds[--count]));
}

/* Whether no more are open than that, now or in a moment: a timer may be closed by the thread that serves it. */
static int comes_down_to(int descriptors)
{
    for (int tries = 0; open_descriptors() > descriptors && tries < 2000; tries++)
        usleep(10000);
    return open_descriptors() <= descriptors;
}

/* What is lost at each refusal is more, after so many rounds, than what the library may have opened for itself meanwhile. */
static void exhausted_descriptors(void)
{
    const char *names[] = { "timer", "pseudo", "ctl" };
    limit_to(64);
    for (int n = 0; n < 3; n++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/dahdi/%s", names[n]);
        int before = open_descriptors();
        for (int round = 0; round <= OF_THE_LIBRARY; round++) {
            exhaust(path);
            CHECK(comes_down_to(before + OF_THE_LIBRARY));
        }
    }
}

/* Where the hard limit allows it, ours take nothing from what the program may open. */
static void room_above_the_limit(void)
{
    struct rlimit limit;
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 100;
    CHECK(limit.rlim_max >= 1000 && !setrlimit(RLIMIT_NOFILE, &limit));
    int timers = 0, fd, expected = 0;
    for (int n = 0; n < 100; n++)
        expected += fcntl(n, F_GETFD) < 0;
    while ((fd = open(timers % 2 ? "/dev/dahdi/pseudo" : "/dev/dahdi/timer", O_RDWR)) >= 0) {
        CHECK(fd < 100);
        timers++;
    }
    CHECK(errno == EMFILE && timers >= expected - 2);
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur == 100);
}

/* Programs close all they do not know; what is hidden from them is not theirs. */
static void closing_everything(void)
{
    limit_to(1024);
    for (int how = 0; how < 3; how++) {
        int fd = open_device("timer", 0), channel = open_device("pseudo", 0);
        CHECK(ask_int(fd, TIMERCONFIG, 160) == 0 && ask_int(channel, SET_BLOCKSIZE, 160) == 0);
        CHECK(dup2(fd, 1000) == 1000 && dup2(channel, 1001) == 1001);
        if (how == 0) {
            for (int n = 3; n < 1000; n++)
                close(n);
            for (int n = 1002; n < 1024; n++)
                close(n);
        } else if (how == 1) {
            CHECK(!close_range(3, 999, 0) && !close_range(1002, ~0U, 0));
        } else {
            FAILS(EBADF, ioctl(fd + 400, TIMERPING));
            /* The timer's, and two of the channel's. */
            int refused = 0;
            for (int n = 500; n < 1000; n++) {
                if (fcntl(n, F_GETFD) >= 0) {
                    FAILS(EBADF, dup2(1, n));
                    refused++;
                }
            }
            CHECK(refused >= 3);
        }
        char block[160];
        for (int n = 0; n < 3; n++) {
            CHECK(is_ready(1000, POLLPRI, 30000) && !ask_int(1000, TIMERACK, -1));
            CHECK(read(1001, block, sizeof block) == 160);
        }
        closefrom(3);
        FAILS(EBADF, ioctl(1000, TIMERPING));
        FAILS(EBADF, read(1001, block, 1));
        open_as("timer", 3);
        closefrom(3);
    }
}

/* What is hidden outlives the last device. Closing everything then spares it, or, past the C library, ends what needs it:
   nothing of ours goes on with numbers that have become the program's. */
static void closing_what_is_left(int past_the_library)
{
    int channel = open_device("pseudo", 0);
    struct confinfo conf = { 0, 5, 0x304 };
    CHECK(!ioctl(channel, SETCONF, &conf));
    usleep(100000);
    CHECK(!close(channel) && !close(early));
    if (past_the_library)
        CHECK(!syscall(SYS_close_range, 3, ~0U, 0));
    else
        closefrom(3);
    struct rusage before, after;
    CHECK(!getrusage(RUSAGE_SELF, &before));
    usleep(2000000);
    CHECK(!getrusage(RUSAGE_SELF, &after));
    int64_t used = (after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) * 1000000LL
        + after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec;
    CHECK(used < 1000000);
    /* The program's own take all the numbers that there are. */
    int ends[2], number, highest = 0;
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    while ((number = dup(ends[0])) >= 0)
        highest = number;
    CHECK(errno == EMFILE && highest >= 512);
    for (int n = 0; n < 20; n++) {
        char octets[16];
        CHECK(write(ends[1], "12345678", 8) == 8);
        usleep(50000);
        CHECK(recv(ends[0], octets, sizeof octets, MSG_DONTWAIT) == 8);
        FAILS(EAGAIN, recv(ends[1], octets, sizeof octets, MSG_DONTWAIT));
    }
    for (number = ends[1] + 1; number <= highest; number++)
        close(number);
    /* Nor does it keep the program from another device. */
    channel = open_device("pseudo", 0);
    CHECK(!ioctl(channel, SETCONF, &conf) && !ask_int(channel, SET_BLOCKSIZE, 160));
    char block[320];
    CHECK(read(channel, block, sizeof block) == 160);
}

static void closing_what_is_left_by_closefrom(void)
{
    limit_to(1024);
    closing_what_is_left(0);
}

static void closing_what_is_left_by_system_calls(void)
{
    limit_to(1024);
    closing_what_is_left(1);
}

/* From now on close_range fails: kernels before 5.9 do not have it, and some filters forbid it. */
static void refuse_close_range(int number)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void without_close_range(void)
{
    refuse_close_range(ENOSYS);
    /* As containers have it: too many numbers to try them all. */
    struct rlimit limit;
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
    /* The library's own thread has begun by then. */
    usleep(300000);
    for (int n = 0; n < 2; n++) {
        int timer = open_device("timer", 0), other = dup(1);
        closefrom(3);
        CLOSED(ioctl(timer, TIMERPING));
        CLOSED(fcntl(other, F_GETFD));
    }
    int timer = open_device("timer", 0);
    CHECK(!ask_int(timer, TIMERCONFIG, 160) && is_ready(timer, POLLPRI, 30000));
}

/* What could not be closed is a device still. */
static void refused_close_range(void)
{
    usleep(300000);
    refuse_close_range(EPERM);
    int timer = open_device("timer", 0), channel = open_device("pseudo", 0);
    FAILS(EPERM, close_range(3, ~0U, 0));
    CHECK(!ask_int(timer, TIMERCONFIG, 160) && is_ready(timer, POLLPRI, 30000));
    CHECK(answered(channel, CHANNO) == 0x8000);
    closefrom(3);
    CLOSED(ioctl(timer, TIMERPING));
    CLOSED(fcntl(channel, F_GETFD));
}

/* A number that was closed past us and is somebody else's now. */
static void closed_behind_our_back(void)
{
    int fd = open_device("timer", 0);
    CHECK(!syscall(SYS_close, fd));
    open_as("timer", fd);
    CHECK(!ask_int(fd, TIMERCONFIG, 160) && is_ready(fd, POLLPRI, 30000));
    CHECK(!syscall(SYS_close, fd));
    open_as("pseudo", fd);
    CHECK(answered(fd, CHANNO) == 0x8000);
    CHECK(!close(fd));
}

static volatile int shared_number, stop;

static void *flush_for_ever(void *unused)
{
    int all = FLUSH_ALL;
    while (!stop)
        ioctl(shared_number, FLUSH, &all);
    return unused;
}

/* One of two numbers of a channel is closed and becomes a socket while another thread uses it: nothing is put into that socket
   or taken from it. */
static void reused_in_the_midst(void)
{
    int channel = open_device("pseudo", O_NONBLOCK);
    CHECK(!ask_int(channel, SET_BLOCKSIZE, 16));
    shared_number = dup(channel);
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, flush_for_ever, NULL));
    int same = 0;
    for (int n = 0; n < 20000; n++) {
        int ends[2];
        char octets[64];
        close(shared_number);
        CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        if (ends[0] == shared_number) {
            CHECK(write(ends[1], "12345678", 8) == 8 && send(ends[0], "x", 1, MSG_DONTWAIT) == 1);
            usleep(20);
            CHECK(recv(ends[0], octets, sizeof octets, MSG_DONTWAIT) == 8);
            CHECK(recv(ends[1], octets, sizeof octets, MSG_DONTWAIT) == 1);
            same++;
        }
        close(ends[0]);
        close(ends[1]);
        CHECK(dup2(channel, shared_number) == shared_number);
        usleep(10);
    }
    CHECK(same > 10000);
    stop = 1;
    CHECK(!pthread_join(other, NULL));
}

static int pipes[2], cleaned;
static volatile int handled;

static void clean(void *unused)
{
    (void)unused;
    cleaned = 1;
}

static void *read_for_ever(void *unused)
{
    char octet;
    pthread_cleanup_push(clean, NULL);
    while (read(pipes[0], &octet, 1) >= 0)
        ;
    pthread_cleanup_pop(0);
    return unused;
}

static void *poll_for_ever(void *unused)
{
    struct pollfd one = { .fd = pipes[0], .events = POLLIN };
    pthread_cleanup_push(clean, NULL);
    while (poll(&one, 1, -1) >= 0)
        ;
    pthread_cleanup_pop(0);
    return unused;
}

/* Threads that wait elsewhere can be cancelled as ever, whether a device is open or not. */
static void cancellation(void)
{
    CHECK(!pipe(pipes));
    for (int n = 0; n < 4; n++) {
        pthread_t other;
        void *result;
        cleaned = 0;
        CHECK(!pthread_create(&other, NULL, n % 2 ? poll_for_ever : read_for_ever, NULL));
        usleep(100000);
        CHECK(!pthread_cancel(other));
        CHECK(!pthread_join(other, &result) && result == PTHREAD_CANCELED && cleaned);
        if (n == 1)
            open_device("timer", 0);
    }
}

static int to_close[2];

static void *close_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    for (int n = 0; n < 2; n++)
        close(to_close[n]);
    return unused;
}

/* Who is cancelled while it closes a device leaves nothing locked. */
static void cancelled_close(void)
{
    pthread_t other;
    void *result;
    to_close[0] = open_device("timer", 0);
    to_close[1] = open_device("pseudo", 0);
    CHECK(!pthread_create(&other, NULL, close_cancelled, NULL));
    CHECK(!pthread_join(other, &result) && result == NULL);
    for (int n = 0; n < 2; n++)
        CLOSED(fcntl(to_close[n], F_GETFD));
    open_as("timer", to_close[0]);
}

static void handle(int number)
{
    (void)number;
    char octet = 1;
    if (write(pipes[1], &octet, 1) == 1 && read(pipes[0], &octet, 1) == 1)
        handled++;
    int fd = dup(pipes[0]);
    close(fd);
}

/* A signal handler reads, writes and closes while the program opens and closes devices. */
static void in_signal_handlers(void)
{
    CHECK(!pipe(pipes));
    struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
    CHECK(!sigaction(SIGALRM, &action, NULL));
    ualarm(500, 500);
    for (int n = 0; n < 3000 || handled < 20; n++) {
        int fd = open_device("timer", 0);
        CHECK(!ask_int(fd, TIMERCONFIG, 8) && !ioctl(fd, TIMERPING));
        CHECK(answered(fd, GETEVENT) == PING);
        CHECK(!close(fd));
        CHECK(n < 3000000);
    }
    ualarm(0, 0);
}

static void ignore(int number)
{
    (void)number;
}

/* A signal ends a read that waits, unless its handler has it restarted. */
static void interruption(void)
{
    int fd = open_device("pseudo", 0);
    char block[8192];
    CHECK(!ask_int(fd, SET_BLOCKSIZE, 8192));
    struct sigaction action = { .sa_handler = ignore };
    CHECK(!sigaction(SIGALRM, &action, NULL));
    /* Again and again, as the first one may come before the read begins; and on a machine that stood still a block before that. */
    ualarm(50000, 50000);
    EVENTUALLY((errno = 0, read(fd, block, sizeof block)) == -1);
    CHECK(errno == EINTR);
    ualarm(0, 0);
    action.sa_flags = SA_RESTART;
    CHECK(!sigaction(SIGALRM, &action, NULL));
    ualarm(50000, 50000);
    CHECK(read(fd, block, sizeof block) == 8192);
    ualarm(0, 0);
}

/* Others' descriptors, and errno, are as they were. */
static void others(void)
{
    open_device("timer", 0);
    int ends[2];
    char octets[64];
    struct iovec part = { octets, sizeof octets };
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    errno = 1234;
    CHECK(write(ends[0], "hello", 5) == 5 && read(ends[1], octets, sizeof octets) == 5);
    CHECK(writev(ends[0], &part, 1) == 64 && readv(ends[1], &part, 1) == 64);
    int fd = open_device("timer", 0), copy = dup(fd);
    CHECK(!ioctl(fd, TIMERPING) && is_ready(fd, POLLPRI, 0) && !close(copy) && !close(fd));
    struct stat node;
    CHECK(!stat("/dev/dahdi/ctl", &node) && !access("/dev/dahdi/ctl", R_OK));
    CHECK(errno == 1234);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && (fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    FAILS(EAGAIN, read(ends[0], octets, 1));
    FAILS(EBADF, read(-1, octets, 1));
    FAILS(EBADF, read(0x7fffffff, octets, 1));
    FAILS(EBADF, close(-1));
    FAILS(ENOENT, open("/dev/none", O_RDONLY));
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0640);
    struct stat status;
    CHECK(file >= 0 && !fstat(file, &status) && (status.st_mode & 0777) == 0640);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        { "before_the_program", before_the_program },
        { "bad_addresses", bad_addresses },
        { "nothing_to_wait_for", nothing_to_wait_for },
        { "exhausted_descriptors", exhausted_descriptors },
        { "room_above_the_limit", room_above_the_limit },
        { "closing_everything", closing_everything },
        { "closing_what_is_left_by_closefrom", closing_what_is_left_by_closefrom },
        { "closing_what_is_left_by_system_calls", closing_what_is_left_by_system_calls },
        { "without_close_range", without_close_range },
        { "refused_close_range", refused_close_range },
        { "closed_behind_our_back", closed_behind_our_back },
        { "reused_in_the_midst", reused_in_the_midst },
        { "cancellation", cancellation },
        { "cancelled_close", cancelled_close },
        { "in_signal_handlers", in_signal_handlers },
        { "interruption", interruption },
        { "others", others },
        { NULL, NULL },
    };
    return run_case(tests, argc, argv);
}
