/* Pseudo channels, as programs for DAHDI know them. */
#include "dahdi.h"

#include <pthread.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { BLOCK = 160 };

/* A channel as MeetMe sets it: 32 blocks of 20 ms, linear. */
static int meetme_channel(int flags)
{
    int fd = open_device("pseudo", flags);
    struct bufinfo buffers = { 0, 0, 32, BLOCK, 0, 0 };
    CHECK(!ioctl(fd, SET_BUFINFO, &buffers));
    CHECK(!ask_int(fd, SETLINEAR, 1));
    return fd;
}

static void defaults(void)
{
    int fd = open_device("pseudo", 0), other = open_device("pseudo", 0);
    struct bufinfo buffers;
    CHECK(!ioctl(fd, GET_BUFINFO, &buffers));
    struct bufinfo expected = { 0, 0, 2, 1024, -1, -1 };
    CHECK(!memcmp(&buffers, &expected, sizeof buffers));
    CHECK(answered(fd, GET_BLOCKSIZE) == 1024);
    CHECK(answered(fd, CHANNO) == 0x8000 && answered(other, CHANNO) == 0x8001);
    close(fd);
    CHECK(answered(open_device("pseudo", 0), CHANNO) == 0x8000);
    struct confinfo conference = { 0, 77, 77 };
    CHECK(!ioctl(other, GETCONF, &conference));
    CHECK(conference.channel == 0x8001 && conference.conference == 0 && conference.mode == 0);
    struct stat status;
    CHECK(!fstat(other, &status) && S_ISCHR(status.st_mode) && status.st_rdev == 196 * 256 + 255);
}

static void exhaustion(void)
{
    static int fds[512];
    for (int n = 0; n < 512; n++)
        fds[n] = open_device("pseudo", 0);
    FAILS(ENOMEM, open("/dev/dahdi/pseudo", O_RDWR));
    int before = open_descriptors();
    FAILS(ENOMEM, open("/dev/dahdi/pseudo", O_RDWR));
    CHECK(open_descriptors() == before);
    close(fds[100]);
    CHECK(answered(open_device("pseudo", 0), CHANNO) == 0x8000 + 100);
}

static void buffer_limits(void)
{
    int fd = open_device("pseudo", 0);
    struct { struct bufinfo asked; int error, buffers; } cases[] = {
        { { 0, 0, 2, 15, 0, 0 }, EINVAL, 0 },   { { 0, 0, 2, 8193, 0, 0 }, EINVAL, 0 },
        { { 0, 0, 7, 4682, 0, 0 }, EINVAL, 0 }, { { 0, 0, 1, 160, 0, 0 }, 0, 2 },
        { { 0, 0, 99, 160, 0, 0 }, 0, 32 },     { { 0, 0, 4, 8192, 0, 0 }, 0, 4 },
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct bufinfo got;
        if (cases[n].error) {
            FAILS(cases[n].error, ioctl(fd, SET_BUFINFO, &cases[n].asked));
        } else {
            CHECK(!ioctl(fd, SET_BUFINFO, &cases[n].asked));
            CHECK(!ioctl(fd, GET_BUFINFO, &got));
            CHECK(got.buffers == cases[n].buffers && got.block == cases[n].asked.block);
        }
    }
    FAILS(EINVAL, ask_int(fd, SET_BLOCKSIZE, 15));
    FAILS(EINVAL, ask_int(fd, SET_BLOCKSIZE, 8193));
    /* Buffers that are set anew are empty. */
    CHECK(!ask_int(fd, SET_BLOCKSIZE, BLOCK));
    CHECK(is_ready(fd, POLLIN, 30000));
    /* On a machine that stood still for a second, another block may be there already. */
    EVENTUALLY(!ask_int(fd, SET_BLOCKSIZE, 8192) && !is_ready(fd, POLLIN, 0));
}

static void reading(void)
{
    int fd = open_device("pseudo", 0);
    char block[8192];
    volatile size_t all = sizeof block;
    struct iovec parts[2] = { { block, 100 }, { block, 2 * BLOCK } };
    CHECK(!ask_int(fd, SET_BLOCKSIZE, BLOCK));
    CHECK(read(fd, block, all) == BLOCK);
    CHECK(!ask_int(fd, SETLINEAR, 1));
    for (int n = 0; n < 3; n++) {
        CHECK(read(fd, block, all) == 2 * BLOCK);
        CHECK(read(fd, block, 100) == 100);
    }
    /* Each part of a vector is a block of its own. */
    CHECK(readv(fd, parts, 2) == 100 + 2 * BLOCK);
    FAILS(EINVAL, read(fd, block, 0));
    CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK));
    EVENTUALLY(!ask_int(fd, SET_BLOCKSIZE, 8192) && (errno = 0, read(fd, block, all)) == -1);
    CHECK(errno == EAGAIN);
    CHECK(!fcntl(fd, F_SETFL, 0));
    int64_t before = microseconds();
    CHECK(!ask_int(fd, SET_BLOCKSIZE, BLOCK));
    CHECK(read(fd, block, all) == 2 * BLOCK);
    CHECK(microseconds() - before >= 18000);
    CHECK(is_ready(fd, POLLIN, 30000));
}

static void writing(void)
{
    int fd = meetme_channel(O_NONBLOCK), accepted = 0;
    short block[BLOCK] = { 0 };
    int64_t before = microseconds();
    while (write(fd, block, sizeof block) == sizeof block)
        CHECK(accepted++ < 3000);
    CHECK(errno == EAGAIN);
    int64_t drained = (microseconds() - before) / 20000 + 1;
    CHECK(accepted >= 32 && accepted <= 32 + drained);
    /* Room comes as time passes, and a writer that waits gets it. */
    CHECK(is_ready(fd, POLLOUT, 30000));
    CHECK(!fcntl(fd, F_SETFL, 0));
    for (int n = 0; n < 10; n++)
        CHECK(write(fd, block, sizeof block) == sizeof block);
    /* One block at most, and what is shorter as it is. */
    char long_one[2000] = "";
    CHECK(write(fd, long_one, sizeof long_one) == 2 * BLOCK);
    CHECK(write(fd, long_one, 50) == 50);
    FAILS(EINVAL, write(fd, long_one, 0));
}

static void flushing_and_waiting(void)
{
    int fd = meetme_channel(O_NONBLOCK);
    short block[BLOCK] = { 0 };
    char companded[8192];
    FAILS(EINVAL, ask_int(fd, IOMUX, 0));
    int mask = MUX_WRITE | MUX_NO_WAIT;
    CHECK(!ioctl(fd, IOMUX, &mask) && mask == MUX_WRITE);
    do {
        while (write(fd, block, sizeof block) == sizeof block)
            ;
        CHECK(errno == EAGAIN);
        mask = MUX_WRITE;
        CHECK(!ioctl(fd, IOMUX, &mask) && mask == MUX_WRITE);
        CHECK(write(fd, block, sizeof block) == sizeof block);
        mask = MUX_WRITE_EMPTY | MUX_NO_WAIT;
        CHECK(!ioctl(fd, IOMUX, &mask));
        /* Only a machine that stood still for the length of all buffers has it empty already. */
    } while (mask != 0);
    CHECK(!ask_int(fd, FLUSH, FLUSH_WRITE));
    mask = MUX_WRITE_EMPTY | MUX_NO_WAIT;
    CHECK(!ioctl(fd, IOMUX, &mask) && mask == MUX_WRITE_EMPTY);
    CHECK(is_ready(fd, POLLIN, 30000));
    CHECK(!ask_int(fd, SET_BLOCKSIZE, 1024));
    CHECK(!ask_int(fd, SETLINEAR, 0));
    CHECK(is_ready(fd, POLLIN, 30000));
    /* Nothing is left after it, but what has come since on a machine that stood still. */
    EVENTUALLY(!ask_int(fd, FLUSH, FLUSH_READ) && read(fd, companded, sizeof companded) == -1);
    CHECK(errno == EAGAIN);
    int64_t before = microseconds();
    CHECK(write(fd, companded, 800) == 800);
    CHECK(!ioctl(fd, SYNC));
    CHECK(microseconds() - before >= 60000);
    mask = MUX_READ;
    CHECK(!ioctl(fd, IOMUX, &mask) && mask == MUX_READ);
    CHECK(!ask_int(fd, FLUSH, FLUSH_ALL));
}

static void refusals(void)
{
    int fd = open_device("pseudo", 0);
    unsigned long codes[] = { AUDIOMODE, HOOK, ECHOCANCEL, TONEDETECT, SPECIFY, BUFFER_EVENTS,
                              TIMERCONFIG, TIMERPING, GETVERSION, 0xdaff, 0x5401 };
    char argument[256] = "";
    for (size_t n = 0; n < sizeof codes / sizeof *codes; n++) {
        FAILS(ENOTTY, ioctl(fd, codes[n], argument));
        FAILS(ENOTTY, ioctl(fd, codes[n], nowhere));
    }
    struct gains gains = { 0, { 1 }, { 2 } };
    CHECK(!ioctl(fd, GETGAINS, &gains));
    for (int n = 0; n < 256; n++)
        CHECK(gains.rx[n] == n && gains.tx[n] == n);
    gains.rx[7] = 99;
    gains.channel = 0;
    CHECK(!ioctl(fd, SETGAINS, &gains));
    gains.rx[7] = 0;
    CHECK(!ioctl(fd, GETGAINS, &gains) && gains.rx[7] == 99);
    CHECK(answered(fd, GETEVENT) == NONE);
}

/* The control device knows channels by their numbers. */
static void control(void)
{
    int ctl = open_device("ctl", 0), fd = meetme_channel(0);
    struct version version;
    CHECK(!ioctl(ctl, GETVERSION, &version) && strlen(version.version) > 0);
    FAILS(ENOTTY, ioctl(ctl, CHANNO, &version));
    FAILS(ENOSYS, read(ctl, &version, 4));
    int block = 0;
    struct indirect indirect = { 0x8000, GET_BLOCKSIZE, &block };
    CHECK(!ioctl(ctl, INDIRECT, &indirect) && block == BLOCK);
    indirect.channel = 0x8001;
    FAILS(EINVAL, ioctl(ctl, INDIRECT, &indirect));
    indirect.channel = 0x8000;
    indirect.data = nowhere;
    FAILS(EFAULT, ioctl(ctl, INDIRECT, &indirect));
    struct gains gains = { 0x8000, { 0 }, { 0 } };
    CHECK(!ioctl(ctl, GETGAINS, &gains) && gains.tx[200] == 200);
    int channel = open_device("channel", 0);
    FAILS(ENOSYS, ioctl(channel, CHANNO, &block));
    FAILS(EBUSY, ask_int(channel, SPECIFY, 0x8000));
    FAILS(EINVAL, ask_int(channel, SPECIFY, 1));
    FAILS(ENOSYS, write(channel, "x", 1));
    CHECK(!is_ready(ctl, POLLIN | POLLPRI | POLLOUT, 0));
    CHECK(!is_ready(channel, POLLIN | POLLPRI | POLLOUT, 0));
    close(fd);
}

/* Two who speak, one who listens, as MeetMe has them. */
static void conference(void)
{
    int recorder = meetme_channel(0), talker = meetme_channel(0), listener = meetme_channel(0);
    struct confinfo conf = { 0, -1, 7 };
    CHECK(!ioctl(recorder, SETCONF, &conf));
    CHECK(conf.conference > 0 && conf.conference <= 1023);
    int number = conf.conference;
    int members[] = { talker, listener };
    for (int n = 0; n < 2; n++) {
        conf = (struct confinfo){ 0, number, 0x304 };
        CHECK(!ioctl(members[n], SETCONF, &conf));
        CHECK(!ask_int(members[n], FLUSH, FLUSH_ALL));
    }
    short tone[BLOCK], heard[BLOCK];
    for (int n = 0; n < BLOCK; n++)
        tone[n] = n % 8 < 4 ? 5000 : -5000;
    int is_heard = 0, is_recorded = 0, hears_itself = 0;
    for (int n = 0; n < 300 && !(is_heard && is_recorded); n++) {
        CHECK(write(talker, tone, sizeof tone) == sizeof tone);
        for (int who = 0; who < 3; who++) {
            int fd = who == 0 ? talker : who == 1 ? listener : recorder;
            CHECK(read(fd, heard, sizeof heard) == sizeof heard);
            for (int at = 0; at < BLOCK; at++) {
                hears_itself |= who == 0 && heard[at];
                is_heard |= who == 1 && abs(heard[at]) > 4000;
                is_recorded |= who == 2 && abs(heard[at]) > 4000;
            }
        }
    }
    CHECK(is_heard && is_recorded && !hears_itself);
    conf = (struct confinfo){ 0, 0, 0 };
    CHECK(!ioctl(talker, SETCONF, &conf));
}

static int shared;

static void *read_on(void *unused)
{
    char block[8192];
    while (read(shared, block, sizeof block) > 0)
        ;
    return unused;
}

/* A thread that reads is let go when another closes the channel. */
static void closed_while_read(void)
{
    shared = open_device("pseudo", 0);
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, read_on, NULL));
    usleep(200000);
    CHECK(!close(shared));
    CHECK(!pthread_join(other, NULL));
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        { "defaults", defaults },
        { "exhaustion", exhaustion },
        { "buffer_limits", buffer_limits },
        { "reading", reading },
        { "writing", writing },
        { "flushing_and_waiting", flushing_and_waiting },
        { "refusals", refusals },
        { "control", control },
        { "conference", conference },
        { "closed_while_read", closed_while_read },
        { NULL, NULL },
    };
    return run_case(tests, argc, argv);
}
