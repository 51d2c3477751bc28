/* Children of all kinds, with descriptors that were open before. */
#include "dahdi.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static int timer_of(int samples)
{
    int fd = open_device("timer", 0);
    CHECK(ask_int(fd, TIMERCONFIG, samples) == 0);
    return fd;
}

static void wait_for(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void expect_ticks(int fd, int count)
{
    while (count-- > 0) {
        CHECK(is_ready(fd, POLLIN | POLLPRI, 30000));
        CHECK(answered(fd, GETEVENT) == EXPIRED);
        CHECK(ask_int(fd, TIMERACK, -1) == 0);
    }
}

/* A child goes on with a timer of its own, set as the parent's; each is deaf to the other's pings. */
static void child_uses(void)
{
    int fd = timer_of(160), copy = dup(fd);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        expect_ticks(fd, 5);
        expect_ticks(copy, 5);
        CHECK(ask_int(copy, TIMERCONFIG, 0) == 0);
        CHECK(ioctl(fd, TIMERPING) == 0);
        CHECK(answered(copy, GETEVENT) == PING);
        CHECK(open_device("timer", 0) > fd);
        _exit(0);
    }
    expect_ticks(fd, 5);
    wait_for(child);
    CHECK(answered(fd, GETEVENT) != PING);
    expect_ticks(fd, 5);
}

/* Each way of using it makes it the child's own: waiting too. */
static void child_waits(void)
{
    int fd = timer_of(160);
    for (int how = 0; how < 3; how++) {
        pid_t child = fork();
        if (child == 0) {
            fd_set set;
            FD_ZERO(&set);
            FD_SET(fd, &set);
            if (how == 0)
                CHECK(select(fd + 1, &set, NULL, NULL, NULL) == 1);
            else if (how == 1)
                CHECK(select(fd + 1, NULL, NULL, &set, NULL) == 1);
            else
                CHECK(is_ready(fd, POLLPRI, 30000));
            expect_ticks(fd, 3);
            _exit(0);
        }
        CHECK(ask_int(fd, TIMERACK, -1) == 0);
        wait_for(child);
    }
    expect_ticks(fd, 3);
}

/* A child that only closes and duplicates disturbs nobody. */
static void child_closes(void)
{
    int fd = timer_of(160), channel = open_device("pseudo", 0);
    char block[8192];
    CHECK(!ask_int(channel, SET_BLOCKSIZE, 160));
    for (int how = 0; how < 4; how++) {
        pid_t child = fork();
        if (child == 0) {
            if (how == 0)
                CHECK(!close(fd) && !close(channel));
            if (how == 1)
                closefrom(3);
            if (how == 2)
                CHECK(dup2(1, fd) == fd && dup2(fd, channel) == channel);
            if (how == 3) {
                for (int n = 3; n < 2000; n++)
                    close(n);
                open_as("timer", 3);
                exit(0);
            }
            _exit(0);
        }
        wait_for(child);
        expect_ticks(fd, 2);
        CHECK(read(channel, block, sizeof block) == 160);
        CHECK(answered(channel, CHANNO) == 0x8000);
    }
}

/* A program that opens its devices, forks and lets the parent go. */
static void daemon_pattern(void)
{
    int fd = timer_of(160), channel = open_device("pseudo", 0), report[2];
    CHECK(!ask_int(channel, SET_BLOCKSIZE, 160) && !ask_int(channel, SETLINEAR, 1));
    struct confinfo conf = { 0, 500, 0x304 };
    CHECK(!ioctl(channel, SETCONF, &conf));
    CHECK(!pipe(report));
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0)
            _exit(0);
        setsid();
        alarm(60);
        expect_ticks(fd, 5);
        char block[8192];
        for (int n = 0; n < 5; n++)
            CHECK(read(channel, block, sizeof block) == 320);
        CHECK(write(channel, block, 320) == 320);
        CHECK(answered(channel, GET_BLOCKSIZE) == 160);
        conf = (struct confinfo){ 0, 0, 0 };
        CHECK(!ioctl(channel, GETCONF, &conf));
        CHECK(conf.conference == 500 && conf.mode == 0x304);
        CHECK(write(report[1], "fine", 4) == 4);
        _exit(0);
    }
    close(report[1]);
    wait_for(parent);
    char answer[4] = "";
    CHECK(read(report[0], answer, sizeof answer) == 4 && !memcmp(answer, "fine", 4));
}

/* What `execute` starts, with two descriptors: one kept open, one not. */
static void executed(char **argv)
{
    CHECK(fcntl(atoi(argv[2]), F_GETFD) == 0);
    FAILS(EBADF, fcntl(atoi(argv[3]), F_GETFD));
    int fd = timer_of(160);
    expect_ticks(fd, 2);
    puts("as promised");
    exit(0);
}

static void execute(void)
{
    closefrom(3);
    int kept = timer_of(160), closed = open_device("pseudo", O_CLOEXEC);
    expect_ticks(kept, 1);
    char first[16], second[16];
    snprintf(first, sizeof first, "%d", kept);
    snprintf(second, sizeof second, "%d", closed);
    execl("/proc/self/exe", "fork", "executed", first, second, NULL);
    CHECK(!"executed");
}

/* A child that borrows our memory, of which nothing may change. */
static void borrowed(void)
{
    int fd = timer_of(160), channel = open_device("pseudo", 0);
    int borrowers[2];
    CHECK(!pipe2(borrowers, O_CLOEXEC));
    volatile pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        /* Its own descriptors are served by the kernel, also at numbers that are devices of ours. */
        close(fd);
        int said = dup2(borrowers[1], channel) == channel && write(channel, "hello", 5) == 5
            && (fcntl(channel, F_GETFL) & O_ACCMODE) == O_WRONLY;
        closefrom(3);
        _exit(!said);
    }
    wait_for(child);
    char heard[5];
    CHECK(read(borrowers[0], heard, sizeof heard) == 5 && !memcmp(heard, "hello", 5));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    posix_spawn_file_actions_adddup2(&actions, channel, 0);
    char *arguments[] = { "true", NULL };
    pid_t spawned;
    CHECK(!posix_spawnp(&spawned, "true", &actions, NULL, arguments, environ));
    wait_for(spawned);
    expect_ticks(fd, 3);
    CHECK(answered(channel, CHANNO) == 0x8000);
    CHECK(system("exec 3>&-; test -c /dev/dahdi/pseudo") == 0);
    expect_ticks(fd, 3);
}

static volatile int done;

static void *busy(void *unused)
{
    while (!done) {
        int fd = timer_of(8), copy = dup(fd), channel = open_device("pseudo", 0);
        ioctl(fd, TIMERPING);
        ioctl(copy, TIMERPONG);
        close(fd);
        close(channel);
        close(copy);
    }
    return unused;
}

/* Forks while other threads open, close and use devices. */
static void in_the_midst(void)
{
    int fd = timer_of(160), channel = open_device("pseudo", 0);
    char block[1024];
    pthread_t others[2];
    for (int n = 0; n < 2; n++)
        CHECK(!pthread_create(&others[n], NULL, busy, NULL));
    for (int n = 0; n < 100; n++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            int own = timer_of(8);
            expect_ticks(own, 1);
            if (n % 10 == 0) {
                expect_ticks(fd, 1);
                CHECK(!ask_int(channel, SET_BLOCKSIZE, 160));
                CHECK(read(channel, block, sizeof block) == 160);
            }
            _exit(0);
        }
        wait_for(child);
    }
    done = 1;
    for (int n = 0; n < 2; n++)
        pthread_join(others[n], NULL);
    expect_ticks(fd, 3);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        { "child_uses", child_uses },
        { "child_waits", child_waits },
        { "child_closes", child_closes },
        { "daemon_pattern", daemon_pattern },
        { "execute", execute },
        { "borrowed", borrowed },
        { "in_the_midst", in_the_midst },
        { NULL, NULL },
    };
    if (argc == 4 && !strcmp(argv[1], "executed"))
        executed(argv);
    return run_case(tests, argc, argv);
}
