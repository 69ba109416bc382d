"""Reports on jobs to an app with ai-canvas-ws, in its Redis. It needs redis-py, and no server of the app's own."""

from __future__ import annotations

import json
import random
import time
import uuid
from typing import Any, Callable, Optional

import redis
from redis.exceptions import NoPermissionError

Message = dict[str, Any]

FLUSH_S = 0.1  # One call for each token would be many.
MAX_DELTA = 100_000  # In bytes. The function takes 128 KiB.
BUCKETS = 64
FAILED = {"type": "internal_error", "message": "the worker failed", "retryable": True}


class GaveUp(Exception):
    """Redis could not be reached for too long, or no node of the app was connected to it."""


class AlreadyEnded(Exception):
    """A job with this id has ended before."""


class Reporter:
    """Publishes to sessions. A call is repeated for `give_up_s` seconds, and is published once, whatever happens to it."""

    def __init__(self, client: redis.Redis, *, prefix: str = "aicw", give_up_s: float = 300.0) -> None:
        self._redis, self._prefix, self._give_up_s = client, f"{prefix}:1:", give_up_s
        self._access: Optional[list[Any]] = None

    def publish(
        self, stream: str, kind: str, part: Message, *, job_id: str = "", delta: bytes = b"", offset: str = "", prepare: Optional[Callable[[], object]] = None
    ) -> Message:
        """
        Returns the receipt. `delta` is in UTF-16LE, and `offset` is the number of UTF-16 units that came before. `prepare` is called
        before a repetition, because Redis may have come back empty.
        """
        # allow_nan, because JSON has no NaN. One key for all attempts: the first that reaches Redis is published.
        args = [stream, kind, json.dumps(part, allow_nan=False), job_id, delta, offset, uuid.uuid4().hex]
        gives_up_at, delay = time.monotonic() + self._give_up_s, 0.2
        while True:
            try:
                if self._access is None:
                    self._access = self._read_access()
                    if prepare is not None:
                        prepare()
                function, settings = self._access
                return json.loads(self._redis.fcall(function, 1, self._key(stream), settings, *args))
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, LookupError) as error:
                # Any other answer may be repaired by a repetition: Redis is loading, is a replica now, has no room, or has lost its data.
                if isinstance(error, (redis.AuthenticationError, NoPermissionError)) or str(error).startswith("AICWARG"):
                    raise
                if time.monotonic() > gives_up_at:
                    raise GaveUp(f"{kind} was not published within {self._give_up_s} s") from error
                self._access = None
            time.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, 10.0)

    def job(self, session_id: str, task: Message, job_id: Optional[str] = None) -> Job:
        return Job(self, session_id, task, job_id or uuid.uuid4().hex)

    def _read_access(self) -> list[Any]:
        access = self._redis.hmget(f"{self._prefix}{{ctl}}remote", "function", "settings")
        if None in access:
            raise LookupError("no node of the app has been connected to this Redis since it is empty")
        return access

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
        # All of the text in UTF-16LE, and how many bytes of it Redis has.
        self._text, self._sent, self._flushed_at = bytearray(), 0, 0.0

    def __enter__(self) -> Job:
        if self._start().get("dropped") == "ended":
            raise AlreadyEnded(f"the job {self.job_id} has ended: choose another id")
        return self

    def __exit__(self, _type: Any, error: Optional[BaseException], _trace: Any) -> None:
        if isinstance(error, GaveUp):
            return
        try:
            # Not the exception's own message: clients see it.
            self._end("ai_complete", self.result) if error is None else self._end("ai_error", FAILED)
        except GaveUp:
            raise
        except Exception:
            # Such as a result that is no JSON.
            self._end("ai_error", FAILED)
            raise

    def write(self, piece: str) -> None:
        """Appends to the job's text."""
        self._text += piece.encode("utf-16-le", "surrogatepass")
        if time.monotonic() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        self._flushed_at = time.monotonic()
        while self._sent < len(self._text):
            piece = bytes(self._text[self._sent : self._sent + MAX_DELTA])
            if self._report("ai_progress", {}, delta=piece, offset=self._sent):
                self._sent += len(piece)

    def _start(self) -> Message:
        return self._reporter.publish(self._stream, "ai_start", self._task, job_id=self.job_id)

    def _end(self, kind: str, part: Message) -> None:
        self.flush()
        while not self._report(kind, part, offset=len(self._text)):
            self.flush()

    def _report(self, kind: str, part: Message, *, offset: int, delta: bytes = b"") -> bool:
        """Returns whether Redis has the text before `offset`, in bytes. Otherwise it was not published, and the text is sent again."""
        receipt = self._reporter.publish(
            self._stream, kind, part, job_id=self.job_id, delta=delta, offset=str(offset // 2), prepare=self._start
        )
        if receipt.get("dropped") != "gap":
            return True
        if receipt["textEnd"] == 0:
            self._start()
        self._sent = 2 * receipt["textEnd"]
        return False
