"""Backups and restores of real machines on libvirt and QEMU."""
