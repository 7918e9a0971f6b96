"""Kill with SIGKILL, again and again, what works on stores, and see that they hold all that was finished.

    python -m benchmarks.kill [500] [--moments write open export import compact s3]

Two processes do the same with one store, and are killed at random moments; exits with 1 if anything was ever damaged:
what was announced as done is there, whole and once, and every run opens. S3 is a server of this machine (moto).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.moments import MOMENTS
from layerwise.errors import LayerwiseError

_RUNS = ("resnet/seed0", "resnet/seed1")

# Kills after which a new store is taken, so that making one is interrupted too.
_KILLS_PER_STORE = 20


def act_forever(moment: str, place: str, run: str) -> None:
    """Do one thing after another, and announce each."""
    print("start", flush=True)
    for number in MOMENTS[moment].act(place, run):
        print(number, flush=True)


def start(moment: str, place: str, run: str) -> subprocess.Popen[str]:
    """A process that does it."""
    words = [sys.executable, __file__, "--moments", moment, "--place", place, "--run", run]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def kill_once(victim: subprocess.Popen[str], after: float, until: int) -> list[int]:
    """Kill a process `after` seconds beyond its line number `until`; what it announced."""
    assert victim.stdout is not None
    said = [victim.stdout.readline() for _ in range(until)]
    # Not to see the end of it is what is expected of one that goes on for ever.
    with contextlib.suppress(subprocess.TimeoutExpired):
        victim.wait(timeout=after)
    victim.kill()
    said += victim.communicate()[0].splitlines()
    if victim.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the process ended by itself, with {victim.returncode}")
    return [int(line) for line in said[1:]]


@contextlib.contextmanager
def bucket() -> Iterator[str]:
    """An S3 bucket on a server of this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made_up = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
    os.environ |= made_up | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")).close()
    yield "s3://bucket"
    server.stop()


def kill_at(moment: str, folder: str, kills: int, generator: random.Random) -> Counter[str]:
    """Kill at one moment so often; how many kills, damages and things done."""
    counts: Counter[str] = Counter()
    known = dict.fromkeys(_RUNS, 0)
    while counts["kills"] < kills:
        if counts["kills"] % _KILLS_PER_STORE == 0:
            known = dict.fromkeys(_RUNS, 0)
        place = f"{folder}/{moment}{counts['kills'] // _KILLS_PER_STORE}"
        victims = {run: start(moment, place, run) for run in _RUNS}
        announced = {
            run: kill_once(victims[run], generator.uniform(0.0, 0.2), until=generator.randint(1, 4))
            for run in generator.sample(_RUNS, len(_RUNS))
        }
        for run, said in announced.items():
            try:
                count, wrong = MOMENTS[moment].check(place, run, said[-1] if said else known[run])
            except LayerwiseError as error:
                count, wrong = known[run], str(error)
            counts += Counter(kills=1, done=max(count - known[run], 0), damaged=int(bool(wrong)))
            known[run] = count
            if wrong:
                print(f"{moment}, kill {counts['kills']}: {wrong}", flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=500, help="in all")
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=list(MOMENTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the stores are made, by default a temporary folder")
    parser.add_argument("--place", help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.place:
        act_forever(arguments.moments[0], arguments.place, arguments.run)
    generator, total = random.Random(arguments.seed), Counter[str]()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder))
        for moment in arguments.moments:
            place = stack.enter_context(bucket()) if moment == "s3" else folder
            counts = kill_at(moment, place, arguments.kills // len(arguments.moments), generator)
            print(f"{moment}: {counts['kills']} kills, {counts['damaged']} damaged, {counts['done']} done", flush=True)
            total += counts
    print(f"{total['kills']} kills, {total['damaged']} damaged, {total['done']} done in all")
    return int(total["damaged"] > 0)


if __name__ == "__main__":
    sys.exit(main())
