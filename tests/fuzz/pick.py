"""Picks the inputs that are kept: pick.py CONTROL DIRECTORY LIMIT

CONTROL is what libFuzzer notes when it merges: which features of the program each input
reaches. DIRECTORY gets those that reach the most between them, LIMIT at the most.
"""

import os
import shutil
import sys

control, directory, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(control, encoding="utf-8", errors="replace") as notes:
    lines = notes.read().split("\n")
count = int(lines[0])
paths = lines[2 : 2 + count]
reached = {}
for line in lines[2 + count :]:
    words = line.split()
    if words and words[0] == "FT":
        reached.setdefault(int(words[1]), set()).update(words[2:])

every = set().union(*reached.values())
found, chosen = set(), {}
while reached and len(chosen) < limit:
    best = max(reached, key=lambda at: (len(reached[at] - found), -os.path.getsize(paths[at])))
    more = reached.pop(best) - found
    if not more:
        break
    found |= more
    with open(paths[best], "rb") as file:
        chosen[os.path.basename(paths[best])] = file.read()
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
for name, contents in chosen.items():
    with open(os.path.join(directory, name), "wb") as file:
        file.write(contents)
print(f"{directory}: {len(chosen)} inputs reach {len(found)} of {len(every)} features")
