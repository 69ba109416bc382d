"""Does a piece of work and reports on it: python3 worker.py my_session "the sea"."""

import os
import sys
import time
from typing import Iterator

from reporter import Reporter


def write_report(topic: str) -> Iterator[str]:
    """Stands in for a model."""
    for word in f"This is a report about {topic}. 📄 It is written by a worker in Python.".split(" "):
        time.sleep(float(os.environ.get("SECONDS_PER_WORD", "0.1")))
        if word == os.environ.get("FAIL_AT"):
            raise RuntimeError("the model is away")
        yield f"{word} "


session_id, topic = sys.argv[1], sys.argv[2]
reporter = Reporter(os.environ.get("PUBLISH_URL", "http://127.0.0.1:3001/api/ws/publish"), os.environ["PUBLISH_SECRET"])
with reporter.job(session_id, {"prompt": topic}) as job:
    for piece in write_report(topic):
        job.write(piece)
    job.result = {"by": "a worker in Python"}
print(job.job_id)
