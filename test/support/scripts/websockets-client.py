"""Prints the extensions that were negotiated, each message, and how it was closed, one a line. For websockets 10 and later."""
import asyncio
import sys

import websockets


async def main(url):
    async with websockets.connect(url) as connection:
        extensions = getattr(connection, "extensions", None) or connection.protocol.extensions
        print(",".join(extension.name for extension in extensions), flush=True)
        try:
            while True:
                print(await connection.recv(), flush=True)
        except websockets.ConnectionClosed as closed:
            print(closed.rcvd.code, closed.rcvd.reason, flush=True)


asyncio.run(main(sys.argv[1]))
