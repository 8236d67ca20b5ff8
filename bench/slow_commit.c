/* A disk whose flushes take longer by SLOW_COMMIT_MS milliseconds, for a process started with
 * LD_PRELOAD: what an SD card does to a commit, without a change to whoever commits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int flush(int);

static struct timespec delay;

__attribute__((constructor)) static void read_delay(void)
{
    const char *text = getenv("SLOW_COMMIT_MS");
    long us = text ? (long)(atof(text) * 1000) : 0;
    delay.tv_sec = us / 1000000;
    delay.tv_nsec = us % 1000000 * 1000;
}

static int slowly(const char *name, int descriptor)
{
    flush *real = (flush *)dlsym(RTLD_NEXT, name);
    int answer = real(descriptor);
    nanosleep(&delay, NULL);
    return answer;
}

int fdatasync(int descriptor) { return slowly("fdatasync", descriptor); }

int fsync(int descriptor) { return slowly("fsync", descriptor); }
