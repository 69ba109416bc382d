"""Reports on jobs to an app with ai-canvas-ws over HTTP. It needs nothing but Python's standard library."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, Optional

Message = dict[str, Any]

ATTEMPT_S = 15.0  # A job's end that the server can't confirm is answered after 5 seconds.
FLUSH_S = 0.1  # One request for each token would be many.
RETRIED = {429, 502, 503, 504}  # Any other status is an error that a repetition does not repair.


class Refused(Exception):
    """The server does not accept the request. Its answer says why."""


class Reporter:
    """Publishes to sessions. A request is repeated for `give_up_s` seconds, and is published once, whatever happens to it."""

    def __init__(self, url: str, secret: str, *, give_up_s: float = 300.0) -> None:
        self._url, self._secret, self._give_up_s = url, secret, give_up_s

    def publish(self, body: Message) -> Message:
        """Returns the receipt."""
        # One key for all attempts: the server publishes the first that reaches it, on whichever node.
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._secret}", "Idempotency-Key": uuid.uuid4().hex}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        gives_up_at, delay = time.monotonic() + self._give_up_s, 0.2
        while True:
            wait = random.uniform(delay / 2, delay)
            try:
                with urllib.request.urlopen(request, timeout=ATTEMPT_S) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                if error.code not in RETRIED:
                    raise Refused(f"{error.code} {error.read().decode(errors='replace')}") from error
                if time.monotonic() > gives_up_at:
                    raise
                wait = max(wait, retry_after(error))
            except (OSError, http.client.HTTPException, ValueError):
                # No answer, or half of one: nobody knows whether it was published.
                if time.monotonic() > gives_up_at:
                    raise
            time.sleep(wait)
            delay = min(2 * delay, 10.0)

    def job(self, session_id: str, task: Message, job_id: Optional[str] = None) -> Job:
        return Job(self, session_id, task, job_id or uuid.uuid4().hex)


def retry_after(error: urllib.error.HTTPError) -> float:
    try:
        return float(error.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0  # A date. The usual delay will do.


class Job:
    """A job of a session. As a context manager, it reports the start, and the end as well: also if the block raises an exception."""

    def __init__(self, reporter: Reporter, session_id: str, task: Message, job_id: str) -> None:
        self._reporter, self._task, self.job_id, self.result = reporter, task, job_id, {}
        self._about = {"sessionId": session_id, "jobId": job_id}
        self._pieces: list[str] = []
        self._flushed_at = 0.0

    def __enter__(self) -> Job:
        self._report("ai_start", task=self._task)
        return self

    def __exit__(self, _type: Any, error: Optional[BaseException], _trace: Any) -> None:
        self.flush()
        if error is None:
            self._report("ai_complete", result=self.result)
        else:
            # Not the exception's own message: clients see it.
            self._report("ai_error", error={"type": "internal_error", "message": "the worker failed", "retryable": True})

    def write(self, piece: str) -> None:
        """Appends to the job's text."""
        self._pieces.append(piece)
        if time.monotonic() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if not self._pieces:
            return
        delta, self._pieces, self._flushed_at = "".join(self._pieces), [], time.monotonic()
        self._report("ai_progress", progress={"delta": delta})

    def _report(self, kind: str, **part: Message) -> None:
        self._reporter.publish({"type": kind, **self._about, **part})
