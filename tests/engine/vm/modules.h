/*
 * Loads the drivers that a guest of the tests needs, as far as they are no part of its kernel.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void load_modules(const char *last)
{
    const char *const modules[] = {"virtio_ring", "virtio", "virtio_pci_legacy_dev",
                                   "virtio_pci_modern_dev", "virtio_pci", last};
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        char path[64];
        snprintf(path, sizeof path, "/%s.ko", modules[i]);
        int file = open(path, O_RDONLY);
        if (file < 0)
            continue; /* it is part of the kernel */
        if (syscall(SYS_finit_module, file, "", 0) != 0)
            perror(path);
        close(file);
    }
}
