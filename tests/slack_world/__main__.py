"""`python -m tests.slack_world --port 8600 [--request-url http://127.0.0.1:8470] [--world FILE]`

Prints one line of JSON when it listens: {"api_url", "admin_url", "bot_token", "app_token", "signing_secret",
"channel"}; ends on SIGTERM, SIGINT or, with `--parent-pipe`, when its standard input closes (so that it never
outlives the program that started it). Without `--request-url` the app is reached through Socket Mode.
"""

import argparse
import asyncio
import copy
import json
import signal
import sys
from pathlib import Path

from tests.slack_world.server import SlackWorld
from tests.slack_world.trial import TRIAL, build


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.slack_world", description="A Slack on this machine.")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--world", type=Path, help="JSON document of workspaces, users, channels, apps")
    parser.add_argument("--request-url", default="", help="deliver by signed HTTP to this base address")
    parser.add_argument("--parent-pipe", action="store_true", help="end when standard input closes")
    return parser.parse_args()


async def _closed_input() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def _serve(arguments: argparse.Namespace) -> None:
    document = json.loads(arguments.world.read_text()) if arguments.world else copy.deepcopy(TRIAL)
    if arguments.request_url:
        document["apps"][0]["request_url"] = arguments.request_url.rstrip("/")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with SlackWorld(build(document), port=arguments.port) as slack:
        app = slack.world.apps[0]
        ready = {
            "api_url": slack.url,
            "admin_url": slack.url.removesuffix("api/") + "admin/",
            "bot_token": app.bot_token,
            "app_token": app.app_token,
            "signing_secret": app.signing_secret,
            "channel": "C0ACCESS" if "C0ACCESS" in slack.world.channels else next(iter(slack.world.channels)),
        }
        print(json.dumps(ready), flush=True)
        if arguments.parent_pipe:
            watcher = asyncio.create_task(_closed_input())
            watcher.add_done_callback(lambda _: stop.set())
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
