"""The subcommands, one module each: flags in, work done, exit code out."""
