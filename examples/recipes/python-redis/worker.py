"""Does a piece of work and reports on it: python3 worker.py my_session "the sea"."""

import os
import sys
import time
from typing import Iterator

import redis

from reporter import Reporter


def write_report(topic: str) -> Iterator[str]:
    """Stands in for a model."""
    for word in f"This is a report about {topic}. 📄 It is written by a worker in Python.".split(" "):
        time.sleep(float(os.environ.get("SECONDS_PER_WORD", "0.1")))
        if word == os.environ.get("FAIL_AT"):
            raise RuntimeError("the model is away")
        yield f"{word} "


session_id, topic = sys.argv[1], sys.argv[2]
client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), socket_timeout=5)
with Reporter(client).job(session_id, {"prompt": topic}) as job:
    for piece in write_report(topic):
        job.write(piece)
    job.result = {"by": "a worker in Python"}
print(job.job_id)
