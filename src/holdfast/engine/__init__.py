"""The engine moves data: disk images with qemu-img, file trees with restic.

It is given a plan (source, target, parent point) and answers with progress and a result. It knows
nothing of the API, of databases or of sessions; whoever calls it records what it answers.
"""
