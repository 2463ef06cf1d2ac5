"""Four tasks work as one: a ring all-reduce over the addresses that Iris gives to a gang.

    iris job run --replicas 4 --gang -- python3 "$PWD"/examples/reduce.py

Every task has a vector of its own, and at the end every task has the sum of all
of them. The tasks stand in a ring: each sends to the next one and receives from
the one before. The vector is cut into as many parts as there are tasks; n - 1
steps add the parts up on their way around, n - 1 more carry the sums around
(Patarasuk and Yuan, 2009). However many tasks there are, each sends less than
twice the vector: that is why training uses it.

A gang's tasks start together and are told about each other:

    IRIS_TASK_INDEX, IRIS_TASK_COUNT   which of how many this one is
    IRIS_TASK_ADDRESSES                HOST:PORT of every task, by index, with commas between
    IRIS_COORDINATOR_ADDRESS           that of task 0, for programs that have one who leads
"""

import os
import socket
import sys
import time
from array import array
from concurrent.futures import ThreadPoolExecutor

LENGTH = 1 << 16
MODULUS = 1009
# From the start of this task until it has met its neighbours.
MEETING_S = 60.0
# For any single message once they have met.
SILENCE_S = 60.0


def value(task: int, position: int) -> int:
    """What a task has at a position; anything would do that has a known sum."""
    return (task + 1) * (position % MODULUS)


def meet(index: int, addresses: list[str]) -> tuple[socket.socket, socket.socket]:
    """Connections to the next task in the ring, and from the one before."""
    deadline = time.monotonic() + MEETING_S
    # Open before anything else, so that the one before can get through.
    with socket.create_server(parse(addresses[index])) as server:
        following = call(addresses[(index + 1) % len(addresses)], deadline)
        server.settimeout(max(0.1, deadline - time.monotonic()))
        previous, _ = server.accept()
    for connection in (following, previous):
        connection.settimeout(SILENCE_S)
    return following, previous


def parse(address: str) -> tuple[str, int]:
    """HOST:PORT as sockets want it."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def call(address: str, deadline: float) -> socket.socket:
    """A connection to a task that may still be starting."""
    while True:
        try:
            return socket.create_connection(parse(address), timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def receive(connection: socket.socket, count: int) -> "array[int]":
    """So many numbers, in however many pieces they come."""
    part = array("q", bytes(8 * count))
    view, done = memoryview(part).cast("B"), 0
    while done < len(view):
        got = connection.recv_into(view[done:])
        if not got:
            raise ConnectionError("the task before this one has ended")
        done += got
    return part


def all_reduce(vector: "array[int]", index: int, addresses: list[str]) -> "array[int]":
    """The sum of all tasks' vectors, in every task."""
    count = len(addresses)
    size = -(-len(vector) // count)
    parts = [vector[begin : begin + size] for begin in range(0, size * count, size)]
    following, previous = meet(index, addresses)
    with following, previous, ThreadPoolExecutor(1) as sender:
        for step in range(2 * (count - 1)):
            out, into = (index - step) % count, (index - step - 1) % count
            # Both at once: if all sent first, nobody would be there to receive.
            sent = sender.submit(following.sendall, parts[out].tobytes())
            got = receive(previous, len(parts[into]))
            sent.result()
            adding = step < count - 1
            parts[into] = array("q", map(int.__add__, parts[into], got)) if adding else got
    return array("q", (number for part in parts for number in part))


def main() -> int:
    """Reduces, checks and says the result; 0 only if it is right."""
    index, count = int(os.environ["IRIS_TASK_INDEX"]), int(os.environ["IRIS_TASK_COUNT"])
    if "IRIS_TASK_ADDRESSES" not in os.environ:
        sys.exit("the tasks do not know each other; run them as a gang: iris job run --gang")
    addresses = os.environ["IRIS_TASK_ADDRESSES"].split(",")
    total = all_reduce(array("q", (value(index, k) for k in range(LENGTH))), index, addresses)
    # 1 + 2 + … + n times what each position adds.
    share = count * (count + 1) // 2
    right = len(addresses) == count and all(total[k] == share * (k % MODULUS) for k in range(LENGTH))
    print(f"task {index} of {count}: the sum over {LENGTH} positions is {sum(total)}, "
          f"{'as it should be' if right else 'which is WRONG'}", flush=True)  # fmt: skip
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
