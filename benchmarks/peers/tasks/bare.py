"""What the memory of a worker is compared with: a loop over redis-py that calls a function, and nothing besides."""

from __future__ import annotations

import redis

from benchmarks.peers import job

BLOCK = 5  # seconds; the client's own timeout is off, as it would come first


def main() -> None:
    client = redis.Redis.from_url(job.URL, socket_timeout=None)
    while True:
        if popped := client.blpop(["bare"], BLOCK):
            job.ran(int(popped[1]))


if __name__ == "__main__":
    main()
