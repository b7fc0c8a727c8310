/*
 * The only program of a guest that answers as QEMU's guest agent does, as far as backups ask it.
 *
 * File systems are frozen and thawed in word only: "guest-fsfreeze-status" says which. After
 * "be-slow" it takes so many seconds as its argument "s" says to freeze them.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modules.h"

static int frozen;
static unsigned delay;

static int open_port(void)
{
    for (;; usleep(10000)) {
        for (int device = 0; device < 4; device++) {
            char path[32];
            snprintf(path, sizeof path, "/dev/vport%dp1", device);
            int port = open(path, O_RDWR);
            if (port >= 0)
                return port;
        }
    }
}

static long number_after(const char *line, const char *name)
{
    const char *found = strstr(line, name);
    return found == NULL ? 0 : strtol(found + strlen(name), NULL, 10);
}

static void answer(FILE *port, const char *line)
{
    if (strstr(line, "guest-sync")) {
        fprintf(port, "{\"return\":%ld}\n", number_after(line, "\"id\":"));
    } else if (strstr(line, "guest-fsfreeze-status")) {
        fprintf(port, "{\"return\":\"%s\"}\n", frozen ? "frozen" : "thawed");
    } else if (strstr(line, "guest-fsfreeze-freeze")) {
        sleep(delay);
        frozen = 1;
        fputs("{\"return\":1}\n", port);
    } else if (strstr(line, "guest-fsfreeze-thaw")) {
        fprintf(port, "{\"return\":%d}\n", frozen);
        frozen = 0;
    } else if (strstr(line, "be-slow")) {
        delay = number_after(line, "\"s\":");
        fputs("{\"return\":{}}\n", port);
    } else {
        fputs("{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"unknown\"}}\n", port);
    }
}

int main(void)
{
    static char line[4096];
    setvbuf(stdout, NULL, _IONBF, 0);
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, "");
    load_modules("virtio_console");
    int descriptor = open_port();
    puts("The agent listens.");
    FILE *port = fdopen(dup(descriptor), "w");
    setvbuf(port, NULL, _IOLBF, sizeof line);
    for (size_t length = 0;;) {
        char sign;
        if (read(descriptor, &sign, 1) != 1) {
            usleep(10000); /* nobody is at the other end */
        } else if (sign == '\n') {
            line[length] = '\0';
            if (length > 1)
                answer(port, line);
            length = 0;
        } else if (length < sizeof line - 1) {
            line[length++] = sign;
        }
    }
}
