"""A tree of a million small files: does memory stay bounded when the count does not?

The files are noise from a fixed seed, so that nothing can be deduplicated and
every chunk has to be carried. They lie in memory, where they and their
restored copy take about 12 GiB, since each file occupies whole pages.
"""

import os
import random

from trees import Tree

DIRECTORIES = 1000
FILES_PER_DIRECTORY = 1000
MAX_FILE_BYTES = 2048
SEED = 1_000_000
NEEDED_BYTES = 14 * 2**30


def make(parent):
    """Make the tree below a directory; the same bytes every time."""
    noise = random.Random(SEED)
    for number in range(DIRECTORIES):
        folder = parent / "million" / f"d{number:03}"
        folder.mkdir(parents=True)
        _fill(folder, noise)
    return Tree("million", "million", parent, parent)


def _fill(folder, noise):
    """Make one directory's files; relative to its handle, which is faster by a third."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(FILES_PER_DIRECTORY):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = os.open(f"f{number:03}", flags, 0o644, dir_fd=handle)
        os.write(file, noise.randbytes(noise.randint(1, MAX_FILE_BYTES)))
        os.close(file)
    os.close(handle)
