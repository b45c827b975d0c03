"""What a program must do that would know which keys there are."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        json.loads(line)["name"]
