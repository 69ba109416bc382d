"""A client of ai-canvas-ws, written from lib/protocol/README.md. It needs nothing but the package websockets."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from urllib.parse import urlencode

import websockets

SILENCE_S = 30.0  # Section 6: only after so long in which nothing came,
PONG_S = 5.0  # a ping must be answered in so much.
SLOWEST_BYTES_S = 8_000  # The lowest speed that is accepted for a large message.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

Message = dict[str, Any]


@dataclass
class Job:
    """A job as far as it is known. Lengths of text count UTF-16 units, so the text is kept in UTF-16."""

    job_id: str
    status: str = "running"  # running, complete, error, or lost
    result: Message = field(default_factory=dict)
    error: Message = field(default_factory=dict)
    truncated: bool = False
    _start: int = 0
    _utf16: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return self._utf16.decode("utf-16-le", "replace")

    @property
    def units(self) -> int:
        """Where the text ends."""
        return self._start + len(self._utf16) // 2

    def add(self, progress: Message) -> bool:
        """Adds a piece of text. Returns whether it fits: otherwise something before it is missing."""
        delta, offset = progress.get("delta"), progress.get("offset")
        if not isinstance(delta, str) or not isinstance(offset, int):
            return True
        if offset > self.units or offset < self._start:
            if offset > self.units and not progress.get("truncated"):
                return False
            # What came before is no longer kept anywhere (or is sent anew, from further back).
            self._start, self._utf16 = offset, bytearray()
            self.truncated = offset > 0
        del self._utf16[(offset - self._start) * 2:]
        self._utf16 += delta.encode("utf-16-le", "surrogatepass")
        return True


@dataclass
class Session:
    session_id: str
    jobs: dict[str, Job] = field(default_factory=dict)
    position: Optional[tuple[str, int]] = None  # epoch and seq of the latest message that was handled
    _answer: Message = field(default_factory=dict)
    _to_replay: int = 0
    _heard: set[str] = field(default_factory=set)

    def request(self) -> Message:
        """The entry of a `subscribe`: where this client is, and how much it holds of each text."""
        entry: Message = {"sessionId": self.session_id}
        if self.position is not None:
            entry["since"] = f"{self.position[0]}:{self.position[1]}"
        have = {job.job_id: job.units for job in self.jobs.values() if job.status in ("running", "lost")}
        return {**entry, "have": have} if have else entry

    def subscribed(self, answer: Message) -> bool:
        """Returns whether what follows settles the state already."""
        self._answer, self._to_replay, self._heard = answer, answer["replaying"], set()
        if not answer["recovered"]:
            # Without a position until the present state is complete: a connection lost in between begins again.
            self.position = None
        return self._to_replay == 0

    def replayed(self) -> bool:
        """Counts a message from the past. Returns whether it was the last one."""
        self._to_replay -= 1
        return self._to_replay == 0

    def settle(self) -> list[Job]:
        """The replay is complete. Returns the jobs that the server knows nothing of any more."""
        self.position = (self._answer["epoch"], max(self._answer["seq"], self.position[1] if self.position else 0))
        if self._answer["recovered"]:
            return []
        lost = [job for job in self.jobs.values() if job.status == "running" and job.job_id not in self._heard]
        for job in lost:
            job.status, job.error = "lost", {"type": "lost", "message": "the server no longer knows the job", "retryable": True}
        return lost

    def is_new(self, message: Message) -> bool:
        """Whether a message was not handled yet. Those of the present state are always let through."""
        seq = message.get("seq")
        if not isinstance(seq, int) or message.get("replayed") == "snapshot" or self.position is None:
            return True
        if seq <= self.position[1]:
            return False
        self.position = (self.position[0], seq)
        return True

    def job(self, message: Message) -> Job:
        job_id = message["jobId"]
        self._heard.add(job_id)
        return self.jobs.setdefault(job_id, Job(job_id))


# Section 10. Codes from 4500 to 4999 mean "never", all others "backoff".
RULES = {1000: "never", 1008: "fresh-token", 1012: "soon", 1013: "later", 4000: "soon", 4001: "later", 4002: "soon"}


def rule_for(code: Optional[int]) -> str:
    return "never" if code is not None and 4500 <= code <= 4999 else RULES.get(code or 1006, "backoff")


class Closed(Exception):
    """The server does not want this client back."""


class Client:
    """
    Follows sessions and comes back by itself. `on_event(name, session_id, value)` is called in order: `start`, `progress`,
    `complete`, `error` and `lost` with a Job, `gap`, `refused` and `message` with a Message.
    """

    def __init__(self, url: str, session_ids: list[str], on_event: Callable[[str, str, Any], None], *,
                 get_token: Optional[Callable[[], str]] = None, backoff_s: float = 3.0) -> None:
        self.sessions = {session_id: Session(session_id) for session_id in session_ids}
        self._url, self._on_event, self._get_token, self._backoff_s = url, on_event, get_token, backoff_s
        self._socket: Any = None

    async def run(self) -> None:
        """Runs until it is cancelled. Raises Closed when the server says that it must not come back."""
        attempt, returns, was_unauthorized = 0, 0, False
        while True:
            code, reason, connected = await self._connect_once(returns)
            returns += 1
            attempt = 0 if connected else attempt + 1
            rule = rule_for(code)
            if rule == "never" or (rule == "fresh-token" and was_unauthorized):
                raise Closed(f"closed with {code} {reason}")
            was_unauthorized = rule == "fresh-token"
            if rule == "fresh-token":
                continue
            longest = min(30.0, self._backoff_s * 2 ** attempt)
            # If that fails, the client continues with the usual delays.
            if rule == "soon" and connected:
                longest = min(1.0, longest)
            wait = 30.0 if rule == "later" else 0.0
            await asyncio.sleep(wait + random.uniform(0, longest))

    async def cancel(self, session_id: str, job_id: Optional[str] = None) -> None:
        request = {"type": "cancel", "sessionId": session_id}
        await self._send({**request, "jobId": job_id} if job_id else request)

    async def _send(self, message: Message) -> None:
        await self._socket.send(json.dumps(message))

    async def _connect_once(self, returns: int) -> tuple[Optional[int], str, bool]:
        """Returns the close code and the reason, and whether the server let this client in."""
        protocols = ["ai-canvas.v1"]
        if self._get_token is not None:
            token = base64.urlsafe_b64encode(self._get_token().encode()).rstrip(b"=").decode()
            protocols.append(f"ai-canvas.token.{token}")
        url = f"{self._url}?{urlencode({'attempt': returns})}" if returns else self._url
        connected = False
        try:
            # The library answers pings. Its own are left out: the protocol says when a client should ask.
            async with websockets.connect(url, subprotocols=protocols, ping_interval=None, max_size=MAX_MESSAGE_BYTES) as socket:
                self._socket = socket
                allowance = SILENCE_S
                while True:
                    message = json.loads(await self._receive(socket, allowance))
                    allowance = SILENCE_S
                    kind = message.get("type")
                    if kind == "connection":
                        connected = True
                        await self._subscribe(list(self.sessions.values()), message.get("limits", {}).get("sessions"))
                    elif kind == "large_message":
                        allowance += message["bytes"] / SLOWEST_BYTES_S
                    else:
                        await self._handle(message)
        except websockets.ConnectionClosed as closed:
            return closed.code, closed.reason, connected
        except (OSError, asyncio.TimeoutError, websockets.InvalidHandshake):
            return 1006, "", connected

    async def _receive(self, socket: Any, allowance: float) -> str:
        try:
            return await asyncio.wait_for(socket.recv(), allowance)
        except asyncio.TimeoutError:
            await self._send({"type": "ping"})
            return await asyncio.wait_for(socket.recv(), PONG_S)

    async def _subscribe(self, sessions: list[Session], most: Optional[int]) -> None:
        for at in range(0, len(sessions), most or len(sessions)):
            entries = [session.request() for session in sessions[at:at + (most or len(sessions))]]
            await self._send({"type": "subscribe", "sessions": entries})

    async def _subscribe_later(self, session: Session) -> None:
        await asyncio.sleep(random.uniform(0, self._backoff_s))
        try:
            await self._subscribe([session], None)
        except websockets.ConnectionClosed:
            pass  # The next connection subscribes to it.

    async def _handle(self, message: Message) -> None:
        kind, session = message.get("type"), self.sessions.get(message.get("sessionId", ""))
        if session is None:
            return
        if kind == "subscribed":
            if not message["recovered"] and message.get("reason") != "new":
                self._on_event("gap", session.session_id, message)
            if session.subscribed(message):
                self._settle(session)
        elif kind == "error" and message.get("request") == "subscribe" and message.get("code") == "unavailable":
            self._retry = asyncio.ensure_future(self._subscribe_later(session))
        elif kind == "unsubscribed" or (kind == "error" and message.get("request") == "subscribe"):
            self._on_event("refused", session.session_id, message)
        elif kind in ("error", "cancelling"):
            self._on_event("message", session.session_id, message)
        else:
            if session.is_new(message):
                await self._deliver(session, message)
            if "replayed" in message and session.replayed():
                self._settle(session)

    def _settle(self, session: Session) -> None:
        for job in session.settle():
            self._on_event("lost", session.session_id, job)

    async def _deliver(self, session: Session, message: Message) -> None:
        kind = message["type"]
        if kind not in ("ai_start", "ai_progress", "ai_complete", "ai_error"):
            # Of the app's own, or of a type that came into the protocol later.
            self._on_event("message", session.session_id, message)
            return
        job = session.job(message)
        if kind == "ai_complete":
            job.status, job.result, job.error = "complete", message["result"], {}
        elif kind == "ai_error":
            job.status, job.error = "error", message["error"]
        else:
            # A job that was taken for lost, and is heard of, runs on.
            if job.status == "lost":
                job.status, job.error = "running", {}
            if kind == "ai_progress" and not job.add(message["progress"]):
                await self._subscribe([session], None)
                return
        self._on_event(kind[len("ai_"):], session.session_id, job)
