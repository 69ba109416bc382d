"""Follows a session until its job ends, and prints what happens as lines of JSON."""

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from ai_canvas import Client, Job


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session_id")
    parser.add_argument("--url", default="ws://localhost:3001/ws")
    parser.add_argument("--backoff", type=float, default=3.0, help="base of the time between attempts, in seconds")
    args = parser.parse_args()
    ended: "asyncio.Future[int]" = asyncio.get_running_loop().create_future()

    def on_event(name: str, session_id: str, value: Any) -> None:
        shown = {"job": value.job_id, "status": value.status, "text": value.text, "error": value.error} if isinstance(value, Job) else value
        print(json.dumps({"event": name, "session": session_id, **shown}), flush=True)
        if name in ("complete", "error", "lost", "refused") and not ended.done():
            ended.set_result(0 if name == "complete" else 1)

    # In an environment variable, because everyone on a machine can read the arguments of a program.
    token = os.environ.get("TOKEN")
    client = Client(args.url, [args.session_id], on_event, get_token=(lambda: token) if token else None, backoff_s=args.backoff)
    running = asyncio.ensure_future(client.run())
    done, _ = await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
    if running in done:
        print(running.exception(), file=sys.stderr)
        return 2
    running.cancel()
    return ended.result()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
