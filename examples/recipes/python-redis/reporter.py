"""Reports on jobs to an app with ai-canvas-ws, in its Redis. It needs redis-py, and no server of the app's own."""

from __future__ import annotations

import json
import random
import time
import uuid
from typing import Any, Optional

import redis

Message = dict[str, Any]

FLUSH_S = 0.1  # One call for each token would be many.
MAX_DELTA = 250_000  # In bytes. The function takes 256 KiB.
BUCKETS = 64
# Answers of Redis that a repetition repairs: it has come back empty, is loading, is a replica now, or has no room at the moment.
REPAIRED = ("Function not found", "AICWGEN", "LOADING", "READONLY", "MASTERDOWN", "OOM")


class NotReady(Exception):
    """No node of the app has been connected to this Redis since it came back."""


class Reporter:
    """Publishes to sessions. A call is repeated for `give_up_s` seconds, and is published once, whatever happens to it."""

    def __init__(self, client: redis.Redis, *, prefix: str = "aicw", give_up_s: float = 300.0) -> None:
        self._redis, self._prefix, self._give_up_s = client, f"{prefix}:1:", give_up_s
        self._access: Optional[list[Any]] = None

    def publish(self, stream: str, kind: str, part: Message, *, job_id: str = "", delta: bytes = b"", offset: str = "") -> Message:
        """Returns the receipt. `delta` is in UTF-16LE, and `offset` is the number of UTF-16 units before it."""
        # allow_nan, because JSON has no NaN. One key for all attempts: the first that reaches Redis is published.
        args = [stream, kind, json.dumps(part, allow_nan=False), job_id, delta, offset, uuid.uuid4().hex]
        gives_up_at, delay = time.monotonic() + self._give_up_s, 0.2
        while True:
            try:
                if self._access is None:
                    self._access = self._read_access()
                function, settings = self._access
                return json.loads(self._redis.fcall(function, 1, self._key(stream), settings, *args))
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, NotReady) as error:
                is_answer = isinstance(error, redis.ResponseError)
                if (is_answer and not any(text in str(error) for text in REPAIRED)) or time.monotonic() > gives_up_at:
                    raise
                self._access = None
            time.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, 10.0)

    def job(self, session_id: str, task: Message, job_id: Optional[str] = None) -> Job:
        return Job(self, session_id, task, job_id or uuid.uuid4().hex)

    def _read_access(self) -> list[Any]:
        access = self._redis.hmget(f"{self._prefix}{{ctl}}remote", "function", "settings")
        if None in access:
            raise NotReady("no node of the app has been connected to this Redis")
        return [value.decode() if isinstance(value, bytes) else value for value in access]

    def _key(self, stream: str) -> str:
        return f"{self._prefix}{{b{bucket_of(stream)}}}m:{stream}"


def bucket_of(stream: str) -> int:
    """FNV-1a over the UTF-16 units of the name."""
    value, units = 0x811C9DC5, stream.encode("utf-16-le")
    for at in range(0, len(units), 2):
        value = (value ^ int.from_bytes(units[at : at + 2], "little")) * 0x01000193 % 2**32
    return value % BUCKETS


class Job:
    """A job of a session. As a context manager, it reports the start, and the end as well: also if the block raises an exception."""

    def __init__(self, reporter: Reporter, session_id: str, task: Message, job_id: str) -> None:
        self._reporter, self._stream, self._task = reporter, f"session:{session_id}", task
        self.job_id, self.result = job_id, {}
        # All of the text in UTF-16LE, and how many bytes of it were sent.
        self._text, self._sent, self._flushed_at = bytearray(), 0, 0.0

    def __enter__(self) -> Job:
        self._report("ai_start", self._task)
        return self

    def __exit__(self, _type: Any, error: Optional[BaseException], _trace: Any) -> None:
        self.flush()
        if error is None:
            self._report("ai_complete", self.result)
        else:
            # Not the exception's own message: clients see it.
            self._report("ai_error", {"type": "internal_error", "message": "the worker failed", "retryable": True})

    def write(self, piece: str) -> None:
        """Appends to the job's text."""
        self._text += piece.encode("utf-16-le", "surrogatepass")
        if time.monotonic() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        self._flushed_at = time.monotonic()
        while self._sent < len(self._text):
            piece = bytes(self._text[self._sent : self._sent + MAX_DELTA])
            receipt = self._report("ai_progress", {}, delta=piece, offset=str(self._sent // 2))
            if receipt.get("dropped") != "gap":
                self._sent += len(piece)
                continue
            # Redis has come back without all of the job, or without the job.
            if receipt["textEnd"] == 0:
                self._report("ai_start", self._task)
            self._sent = 2 * receipt["textEnd"]

    def _report(self, kind: str, part: Message, *, delta: bytes = b"", offset: str = "") -> Message:
        return self._reporter.publish(self._stream, kind, part, job_id=self.job_id, delta=delta, offset=offset)
