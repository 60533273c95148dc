"""Users beside a migration: how long their requests take while nothing else happens, while a backfill runs, and while rclone does the same."""

import http.client
import multiprocessing
import subprocess
import time

from .stage import KIB, percentile, target

HOT = 200
SIZE = 4 * KIB
METHODS = {"GET": "get_object", "PUT": "put_object"}


def _use(address, method, targets, until, answers):
    """One user: one request after the other. Sends how long each took."""
    connection = http.client.HTTPConnection(address)
    body, took = bytes(SIZE) if method == "PUT" else None, []
    while not until.is_set():
        what = targets[len(took) % len(targets)]
        began = time.perf_counter()
        connection.request(method, what, body)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - began)
        assert answer.status == 200, answer.status
    answers.put((method, took))


def _window(stage, name, seconds, goes_on):
    """Has one user read and one write for a while, or as long as `goes_on`; gives what each request took."""
    context = multiprocessing.get_context("fork")
    until, answers = context.Event(), context.Queue()
    users = []
    for method, operation in METHODS.items():
        targets = [target(stage.here, operation, name, f"hot/{number:04d}") for number in range(HOT)]
        users.append(context.Process(target=_use, args=(stage.umbra.listen, method, targets, until, answers), daemon=True))
    for user in users:
        user.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and goes_on():
        time.sleep(0.05)
    until.set()
    took = dict(answers.get(timeout=30) for _ in users)
    for user in users:
        user.join(30)
    return took


def beside(stage, load, rounds, seconds):
    """The rounds; gives the lines."""
    taken = {(beside, method): [] for beside in ("nothing", "umbra migrate", "rclone copy") for method in METHODS}
    moved = {"umbra migrate": [], "rclone copy": []}

    def window(beside, name, goes_on=lambda: True):
        for method, took in _window(stage, name, seconds, goes_on).items():
            taken[beside, method].append(took)

    for _ in range(rounds):
        name = stage.bucket(load)
        for number in range(HOT):
            stage.here.put_object(Bucket=name, Key=f"hot/{number:04d}", Body=bytes(SIZE))
        window("nothing", name)
        _with_rclone(stage, load, lambda goes_on: window("rclone copy", name, goes_on), moved)
        _with_backfill(stage, name, lambda: window("umbra migrate", name), moved, seconds)
    yield f"users: one that reads and one that writes {SIZE // KIB} KiB, in ms"
    for method in METHODS:
        base = None
        for beside in ("nothing", "umbra migrate", "rclone copy"):
            # Of each window, then the median of the windows.
            points = [sorted(percentile(took, percent) for took in taken[beside, method])[rounds // 2] * 1e3 for percent in (50, 99)]
            base = base or points
            ratios = "" if beside == "nothing" else "   ".join(["", *(f"{now / then:.2f} ×" for now, then in zip(points, base))])
            yield f"  {method} beside {beside:<14} p50 {points[0]:7.2f}  p99 {points[1]:7.2f}{ratios}"
    for who, rates in moved.items():
        yield f"  moved meanwhile by {who}: {sorted(rates)[rounds // 2]:.0f} objects/s"


def _with_backfill(stage, name, window, moved, seconds):
    stage.umbra.storage("migrate", name)
    time.sleep(0.3)
    before, began = stage.umbra.status(name)["objects"], time.perf_counter()
    window()
    after, took = stage.umbra.status(name)["objects"], time.perf_counter() - began
    moved["umbra migrate"].append((after - before) / took)
    stopped = stage.umbra.storage("migrate", name, "--cancel", check=False)
    assert stopped.status == 0, f"the backfill ended within {seconds} s: take more objects, or a shorter window: {stopped}"


def _with_rclone(stage, load, window, moved):
    name = stage.bucket()
    argv, env = stage.rclone(load, name)
    copy = subprocess.Popen(argv, env=env)
    try:
        time.sleep(0.3)
        began = time.perf_counter()
        window(lambda: copy.poll() is None)
        moved["rclone copy"].append(stage.umbra.status(name)["objects"] / (time.perf_counter() - began + 0.3))
    finally:
        copy.terminate()
        copy.wait()
