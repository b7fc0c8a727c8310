/*
 * The only program of a guest that writes to its disks all the time, as fast as it can.
 *
 * On /dev/vdb, write number n fills block (n * 2053) % count with the number n, and is on the disk
 * before the next one begins: so n alone says what every block holds. On /dev/vda it makes, changes,
 * renames and removes files of an ext4 file system.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modules.h"

enum { BLOCK = 4096, STEP = 2053, FILES = 300 };

static void fail(const char *what)
{
    perror(what);
    for (;;)
        pause();
}

static void count_on(const char *path)
{
    uint64_t size, *block;
    int disk = open(path, O_RDWR | O_DIRECT | O_DSYNC);
    if (disk < 0 || ioctl(disk, BLKGETSIZE64, &size) != 0)
        fail(path);
    if (posix_memalign((void **)&block, BLOCK, BLOCK) != 0)
        fail("memory");
    for (uint64_t n = 1;; n++) {
        for (size_t i = 0; i < BLOCK / sizeof n; i++)
            block[i] = n;
        if (pwrite(disk, block, BLOCK, (n * STEP) % (size / BLOCK) * BLOCK) != BLOCK)
            fail("writing");
        if (n == 100)
            puts("The guest is writing.");
    }
}

static void keep_files_on(const char *path)
{
    static char content[64 * 1024];
    mkdir("/files", 0755);
    if (mount(path, "/files", "ext4", 0, "") != 0)
        fail(path);
    for (unsigned n = 0;; n++) {
        char name[64], final[64];
        snprintf(name, sizeof name, "/files/new%u", n % 7);
        snprintf(final, sizeof final, "/files/%u", n * 31 % FILES);
        memset(content, 'a' + n % 26, sizeof content);
        int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
        if (file < 0 || write(file, content, n * 4099 % sizeof content) < 0)
            fail(name);
        if (n % 5 == 0)
            fsync(file);
        close(file);
        if (n % 3 == 0)
            unlink(final);
        else if (rename(name, final) != 0)
            fail(final);
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, "");
    load_modules("virtio_blk");
    while (access("/dev/vdb", F_OK) != 0)
        usleep(10000);
    if (fork() == 0)
        keep_files_on("/dev/vda");
    count_on("/dev/vdb");
}
